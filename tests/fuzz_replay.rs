//! Every committed input of the fuzz targets, with the stable compiler: what was found once stays found.

#![cfg(feature = "cli")]
#![allow(
    dead_code,
    unreachable_pub,
    clippy::as_conversions,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::wildcard_enum_match_arm,
    reason = "a test that cannot go on has failed"
)]

#[path = "../fuzz/src/lib.rs"]
mod fuzz;

use std::{fs, path::Path};

/// Each target has its own corpus, and the same oracle as the fuzzer.
#[test]
fn nothing_that_the_fuzzers_keep_breaks_a_promise() {
    for (name, target) in fuzz::TARGETS {
        let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(name);
        let inputs: Vec<_> =
            fs::read_dir(&corpus).expect("a corpus").map(|entry| entry.expect("a file").path()).collect();
        assert!(inputs.len() >= 3, "{name} has no corpus");
        for input in inputs {
            // Shown when it fails.
            eprintln!("{}", input.display());
            target(&fs::read(&input).expect("a file"));
        }
    }
}
