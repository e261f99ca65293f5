//! Stand-in: the words of the runtime.

use std::{fmt, path::PathBuf, sync::Arc, time::Duration};

use crate::journal::Lsn;
use crate::payment::{Event, IdempotencyKey, Invalid, Namespace, Payment, PaymentId, Person, Reply, State, Tenant};

/// An answer to a submit.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The payment as it is.
    pub payment: Arc<Payment>,
    /// How the caller came to it.
    pub delivery: Delivery,
}

/// How a caller came to an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Delivery {
    /// It was new.
    Fresh,
    /// It was under way.
    Attached,
    /// It was settled before.
    Replayed,
}

/// Why nothing was answered.
#[derive(Clone, Debug)]
pub enum Rejection {
    /// Same key, other parameters.
    Conflict {
        /// The payment of that key.
        id: PaymentId,
        /// The names of the fields that differ.
        differing: Vec<&'static str>,
    },
    /// Too much under way; nothing was recorded.
    Overloaded {
        /// When to come back.
        retry_after: Duration,
    },
    /// No space; nothing was recorded.
    StorageFull {
        /// When to come back.
        retry_after: Duration,
    },
    /// The data folder was copied or restored.
    Moved,
    /// No such payment.
    NotFound,
    /// Not in this state.
    InvalidState {
        /// Why.
        why: String,
    },
    /// The gateway cannot encode it.
    InvalidOrder(Invalid),
    /// The engine has stopped.
    Stopped(Stopped),
}

/// Why an engine stopped by itself.
#[derive(Clone, Debug)]
pub struct Stopped {
    /// Why.
    pub why: String,
}

impl fmt::Display for Stopped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.why)
    }
}

impl std::error::Error for Stopped {}

/// Which payments.
#[derive(Clone, Debug)]
pub struct Filter {
    /// Whose.
    pub tenant: Tenant,
    /// In which state.
    pub state: Option<State>,
    /// Under which key.
    pub key: Option<IdempotencyKey>,
    /// After which.
    pub after: Option<PaymentId>,
    /// How many at most.
    pub limit: usize,
}

/// Some payments.
#[derive(Clone, Debug)]
pub struct Page {
    /// In order.
    pub payments: Vec<Arc<Payment>>,
    /// Where to go on.
    pub next: Option<PaymentId>,
}

/// What a person decided.
#[derive(Clone, Debug)]
pub struct Resolution {
    /// About which operation; the only one in doubt if left out.
    pub operation: Option<u32>,
    /// What.
    pub verdict: Verdict,
    /// What the gateway is known to have said.
    pub reply: Option<Reply>,
    /// Who, and why.
    pub person: Person,
}

/// What a person decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The money moved.
    Succeeded,
    /// It did not.
    Declined,
    /// Send it again, under the same rules.
    Resend,
    /// It was never executed, and will not be.
    Cancel,
}

/// How to open an engine.
#[derive(Clone, Debug)]
pub struct Options {
    /// The data folder.
    pub data: PathBuf,
    /// Said once after the folder was moved.
    pub moved: bool,
    /// The size of a segment.
    pub segment_bytes: u64,
    /// How many callers may queue.
    pub queue: usize,
    /// How many calls may be under way.
    pub gateway_slots: usize,
    /// The store's cache.
    pub store_cache_bytes: u64,
    /// What goes into operation keys besides.
    pub namespace: Namespace,
}

impl Options {
    /// The defaults.
    pub fn new(data: impl Into<PathBuf>) -> Options {
        Options {
            data: data.into(),
            moved: false,
            segment_bytes: 64 << 20,
            queue: 4096,
            gateway_slots: 256,
            store_cache_bytes: 64 << 20,
            namespace: Namespace::default(),
        }
    }
}

/// Why an engine did not open.
#[derive(Debug)]
pub struct OpenError {
    pub(super) why: String,
    pub(super) usage: bool,
}

impl OpenError {
    /// Whether the options were at fault.
    pub fn is_usage(&self) -> bool {
        self.usage
    }
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.why)
    }
}

impl std::error::Error for OpenError {}

/// What opening did.
#[derive(Clone, Debug)]
pub struct OpenReport {
    pub(super) lines: String,
}

impl fmt::Display for OpenReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.lines)
    }
}

/// A feed of events.
pub struct Events {
    pub(super) feed: tokio::sync::watch::Receiver<Vec<(Lsn, Event)>>,
    pub(super) after: Lsn,
}

impl Events {
    /// The next event; `None` when the engine has closed.
    pub async fn next(&mut self) -> Option<(Lsn, Event)> {
        loop {
            let found = self.feed.borrow_and_update().iter().find(|(lsn, _)| *lsn > self.after).cloned();
            if let Some((lsn, event)) = found {
                self.after = lsn;
                return Some((lsn, event));
            }
            self.feed.changed().await.ok()?;
        }
    }
}
