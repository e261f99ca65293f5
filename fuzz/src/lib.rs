//! What the fuzz targets do with their bytes, and what must then hold: one function a target.
//!
//! The targets in `fuzz_targets/` feed them what libFuzzer makes up; `tests/fuzz_replay.rs` feeds them every file of
//! `corpus/`, with the stable compiler, in every `cargo test`. Each module begins with what its target asserts.

mod choices;

mod forge;

mod records;

mod codec;

mod config;

mod gateway_reply;

mod http_input;

mod journal_damage;

mod journal_scan;

mod machine;

mod model;

pub use codec::codec;
pub use config::config;
pub use gateway_reply::gateway_reply;
pub use http_input::http_input;
pub use journal_damage::journal_damage;
pub use journal_scan::journal_scan;
pub use machine::machine;

/// A target.
pub type Target = fn(&[u8]);

/// Every target, by the name of its corpus.
pub const TARGETS: [(&str, Target); 7] = [
    ("codec", codec),
    ("config", config),
    ("gateway_reply", gateway_reply),
    ("http_input", http_input),
    ("journal_damage", journal_damage),
    ("journal_scan", journal_scan),
    ("machine", machine),
];
