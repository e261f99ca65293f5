//! payonce makes one payment happen once.

#![cfg_attr(test, allow(clippy::expect_used, clippy::unwrap_used, clippy::indexing_slicing, reason = "tests"))]

pub mod payment;

pub mod disk;

pub mod journal;

pub mod store;

pub mod gateway;

pub mod runtime;

#[cfg(feature = "server")]
pub mod http;

#[cfg(feature = "cli")]
pub mod config;

pub use payment::{Amount, Currency, Invalid, Order};
pub use runtime::{
    Answer, Delivery, Engine, Events, Filter, OpenError, OpenReport, Options, Page, Rejection, Resolution, Stopped,
    Verdict,
};
