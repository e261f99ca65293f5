//! PROVE. The whole engine on one thread, from one seed.
//!
//! The real core, journal, engine and recovery, over a disk that loses what was not synced ([`SimDisk`]), a gateway
//! that is the ledger of truth and a network as bad as the contract allows ([`SimGateway`]), callers who retry, conflict
//! and vanish, and a clock that jumps over what nobody waits for. After every step the [`Oracle`] asks for the promises.
//! [`run`] lives such a world; [`every_crash_point`] stops scripted lives at each step of the disk; [`decide_again`] and
//! [`relive`] take up a recorded history.
//!
//! Knows nothing of threads, real files, real clocks, sled, or HTTP.

#![allow(clippy::as_conversions, reason = "small counts of a simulation; no money is counted here")]

mod rng;

mod disk;

mod rot;

mod book;

mod gateway;

mod oracle;

mod start;

mod world;

mod people;

mod company;

mod news;

mod routing;

mod operators;

mod deaths;

mod points;

mod history;

pub use disk::{Damage, Fault, Loss, SimDisk};
pub use gateway::{Course, SimGateway, Weather};
pub use history::{Disagreement, History, decide_again};
pub use oracle::{Oracle, Violation};
pub use points::{Points, every_crash_point, scripts};
pub use rng::Rng;
pub use world::{Options, Report, relive, run, shrink};
