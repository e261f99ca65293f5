//! ACT. The other side: what every gateway adapter offers.
//!
//! Knows nothing of journals, stores, engines, or why it is asked.

mod judge;

mod overrides;

pub mod sandbox;

pub mod probe;

#[cfg(feature = "http-gateway")]
pub mod wire;

#[cfg(feature = "http-gateway")]
pub mod http;

use std::{future::Future, pin::Pin, time::Instant};

pub use overrides::{InvalidOverride, OVERRIDES, apply_override, parse_duration};

use crate::payment::{Amount, Contract, Currency, Invalid, Kind, OperationKey, Order, Outcome};

/// What a gateway's answer will be: an outcome, never an error.
pub type Answer<'a> = Pin<Box<dyn Future<Output = Outcome> + Send + 'a>>;

/// A payment gateway. Adapters classify; they decide nothing, and never send anything a second time.
pub trait Gateway: Send + Sync + 'static {
    /// What it promises.
    fn contract(&self) -> &Contract;

    /// The exact request bytes for an operation, without secrets. Pure: they are recorded before anything is sent,
    /// and are what is sent, now and after any restart.
    fn encode(&self, asked: &Asked<'_>) -> Result<Vec<u8>, Invalid>;

    /// Sends the frozen bytes, once. Not one byte may leave after the deadline; when it passes, the answer is
    /// [`Outcome::NotSent`] if none has left and [`Outcome::Unknown`] if one has.
    fn send(&self, sending: Sending) -> Answer<'_>;

    /// Asks what became of an operation. `NotSent`, `Refused` and `Unknown` here mean that no answer was had.
    fn inquire(&self, question: Question) -> Answer<'_>;
}

/// An operation to be encoded.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    /// What is asked.
    pub kind: Kind,
    /// Under which key.
    pub operation_key: OperationKey,
    /// How much.
    pub amount: Amount,
    /// What the caller asked for.
    pub order: &'a Order,
    /// For captures, voids and refunds: the operation that they act on.
    pub charge: Option<OperationKey>,
}

/// One sending of an operation's frozen bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sending {
    /// What is asked.
    pub kind: Kind,
    /// Under which key.
    pub operation_key: OperationKey,
    /// The frozen bytes.
    pub request: Vec<u8>,
    /// What the reply must speak of.
    pub amount: Amount,
    /// What the reply must speak of.
    pub currency: Currency,
    /// When to stop.
    pub deadline: Instant,
}

/// One question about an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Question {
    /// What had been asked.
    pub kind: Kind,
    /// Under which key.
    pub operation_key: OperationKey,
    /// What the answer must speak of.
    pub amount: Amount,
    /// What the answer must speak of.
    pub currency: Currency,
    /// When to stop.
    pub deadline: Instant,
}
