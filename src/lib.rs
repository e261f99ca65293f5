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

pub mod engine;

pub mod gateway;

pub mod runtime;

#[cfg(feature = "server")]
pub mod http;

#[cfg(feature = "cli")]
pub mod config;

pub mod sim;

pub use engine::{Filter, Page, Stopped};
pub use journal::Lsn;
pub use payment::{
    Amount, Capture, Currency, Event, Fact, IdempotencyKey, Invalid, Namespace, Order, Payment, PaymentId, Person,
    Resolution, State, Tenant, Timestamp, Verdict,
};
pub use runtime::{Answer, Delivery, Engine, Events, OpenError, OpenReport, Options, Rejection};
