//! payonce makes one payment happen once.

#![cfg_attr(
    test,
    allow(
        clippy::expect_used,
        clippy::unwrap_used,
        clippy::indexing_slicing,
        clippy::wildcard_enum_match_arm,
        reason = "a test that finds something else has failed, and says so"
    )
)]

pub mod payment;

pub mod disk;

pub mod journal;

pub mod store;

pub mod gateway;

pub use payment::{Amount, Currency, Invalid, Order};
