//! ACT. The other side: what every gateway adapter offers.
//!
//! Knows nothing of journals, stores, engines, or why it is asked.

mod judge;

mod news;

mod overrides;

pub mod sandbox;

pub mod probe;

#[cfg(feature = "http-gateway")]
pub mod wire;

#[cfg(feature = "http-gateway")]
pub mod http;

#[cfg(feature = "http-gateway")]
pub mod stripe;

use std::{future::Future, pin::Pin, time::Instant};

pub use news::{Forged, News, Post, Said};
pub use overrides::{InvalidOverride, OVERRIDES, apply_override, parse_duration};

use crate::payment::{Amount, Contract, Currency, Invalid, Kind, Lasting, OperationKey, Outcome, Reply};

pub use crate::payment::Asked;

/// What a gateway's answer will be: an outcome, never an error.
pub type Answer<'a> = Pin<Box<dyn Future<Output = Outcome> + Send + 'a>>;

/// A payment gateway. Adapters classify; they decide nothing, and never send anything a second time.
pub trait Gateway: Send + Sync + 'static {
    /// What it promises.
    fn contract(&self) -> &Contract;

    /// The exact request bytes for an operation, without secrets. Pure: they are recorded before anything is sent,
    /// and are what is sent, now and after any restart. A capture, void or refund may be of a payment whose personal data was
    /// erased ([`Order::erased`](crate::Order)): an adapter that cannot do without says [`Invalid`], and nothing is recorded;
    /// no bytes at all are not sent for such a payment.
    fn encode(&self, asked: &Asked<'_>) -> Result<Vec<u8>, Invalid>;

    /// Has the gateway mint its own id for an operation that has not been sent, where the contract says
    /// [`Contract::mints_id_first`]: a success carries it as the reply's reference. Must move nothing, and may be called
    /// again until it works.
    fn prepare(&self, sending: Sending) -> Answer<'_> {
        let _ = sending;
        Box::pin(async { Outcome::Refused(Lasting::ForGood, Reply::new("unsupported", "this gateway mints no ids")) })
    }

    /// Sends the frozen bytes, once. Not one byte may leave after the deadline; when it passes, the answer is
    /// [`Outcome::NotSent`] if none has left and [`Outcome::Unknown`] if one has.
    fn send(&self, sending: Sending) -> Answer<'_>;

    /// Reads news that came by itself, if it is the gateway's: its signature is checked, in constant time, and that it is
    /// not a repetition of an old one. Pure. By default nothing is believed to come from the gateway.
    fn news(&self, post: &Post<'_>) -> Result<News, Forged> {
        let _ = post;
        Err(Forged::Unsupported)
    }

    /// Asks what became of an operation. `NotSent`, `Refused` and `Unknown` here mean that no answer was had.
    fn inquire(&self, question: Question) -> Answer<'_>;

    /// Whether its answers are ready when they are first polled: a gateway within this process that waits for nothing and
    /// nobody. Then it is called on the engine's own thread, which saves a task and two wakings for each call, and where
    /// it must not block: everybody waits meanwhile. An answer that is not ready then is [`Outcome::Unknown`].
    fn answers_at_once(&self) -> bool {
        false
    }
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
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Question {
    /// What had been asked.
    pub kind: Kind,
    /// Under which key.
    pub operation_key: OperationKey,
    /// What the answer must speak of.
    pub amount: Amount,
    /// What the answer must speak of.
    pub currency: Currency,
    /// The gateway's own id: the one that it minted for this operation, or that of the operation that it acts on.
    pub reference: Option<String>,
    /// When to stop.
    pub deadline: Instant,
}
