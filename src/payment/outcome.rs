//! What a gateway's answer means, and why we believe it.

use std::{fmt, time::Duration};

use super::Timestamp;

/// What became of one sending, or what an inquiry learned. Deliberately not a `Result`: no `?` can swallow a payment
/// in doubt. Everything that is not understood is [`Outcome::Unknown`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The gateway did it.
    Succeeded(Reply),
    /// The gateway decided against it.
    Declined(Finality, Reply),
    /// The gateway has accepted it, and will decide later; perhaps after the payer has acted.
    Pending(Option<NextAction>, Reply),
    /// Not one byte of the request left.
    NotSent(Reply),
    /// A reply that the gateway's contract lists as never executed.
    Refused(Lasting, Reply),
    /// An inquiry's answer: the gateway does not know the operation. Weak evidence; see [`Schedule`](super::Schedule).
    NotFound,
    /// Everything else: timeout, reset, 5xx, 409 "in progress", an unreadable body, a reply about something else.
    Unknown(Reply),
}

impl Outcome {
    /// What the gateway said, or what was said for it.
    pub fn reply(&self) -> Option<&Reply> {
        match self {
            Outcome::Succeeded(reply)
            | Outcome::Declined(_, reply)
            | Outcome::Pending(_, reply)
            | Outcome::NotSent(reply)
            | Outcome::Refused(_, reply)
            | Outcome::Unknown(reply) => Some(reply),
            Outcome::NotFound => None,
        }
    }

    /// One word for timelines, logs and metrics.
    pub const fn name(&self) -> &'static str {
        match self {
            Outcome::Succeeded(_) => "succeeded",
            Outcome::Declined(Finality::Hard, _) => "declined",
            Outcome::Declined(Finality::Soft, _) => "declined_soft",
            Outcome::Pending(_, _) => "pending",
            Outcome::NotSent(_) => "not_sent",
            Outcome::Refused(_, _) => "refused",
            Outcome::NotFound => "not_found",
            Outcome::Unknown(_) => "unknown",
        }
    }
}

/// Whether a decline can still turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Finality {
    /// It stays declined.
    Hard,
    /// Final for the caller, but gateways of this kind have been seen to reverse it within days (Razorpay's late
    /// authorization): the reservation stays until an inquiry after the contract's window says so again.
    Soft,
}

/// Whether a refusal may pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lasting {
    /// Such as bad credentials or a rate limit. Not sent again before `retry_after`, if the gateway named a time.
    ForNow {
        /// The gateway's `Retry-After`.
        retry_after: Option<Duration>,
    },
    /// Such as a failed validation: the same bytes can only be refused again.
    ForGood,
}

/// What the payer has to do before the gateway goes on, such as 3-D Secure.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NextAction {
    /// Where to send the payer.
    pub url: String,
    /// When the gateway stops waiting.
    pub expires_at: Option<Timestamp>,
}

/// The words that came with an outcome, cut to lengths that a record always has room for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reply {
    code: String,
    message: String,
    reference: Option<String>,
}

impl Reply {
    /// The longest code, message and reference, in characters. Space for them is reserved before anything is sent.
    pub const MAX: (usize, usize, usize) = (64, 256, 255);

    /// A reply without a reference of the gateway's. Control characters are dropped, and long texts cut.
    pub fn new(code: &str, message: &str) -> Reply {
        Reply { code: cut(code, Reply::MAX.0), message: cut(message, Reply::MAX.1), reference: None }
    }

    /// Adds the gateway's own name for the operation. One that is too long to be true is left out, never cut.
    #[must_use]
    pub fn with_reference(mut self, reference: &str) -> Reply {
        let whole = cut(reference, Reply::MAX.2) == reference && !reference.is_empty();
        self.reference = whole.then(|| reference.to_owned());
        self
    }

    /// A short, stable word, such as `insufficient_funds` or `timeout`.
    pub fn code(&self) -> &str {
        &self.code
    }

    /// A sentence for people.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// The gateway's own name for the operation.
    pub fn reference(&self) -> Option<&str> {
        self.reference.as_deref()
    }
}

fn cut(text: &str, max: usize) -> String {
    text.chars().filter(|c| !c.is_control()).take(max).collect()
}

/// Why we believe an outcome.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Evidence {
    /// Our own socket: not one byte was written to it.
    NoByteLeft,
    /// The gateway's reply to our request, or that none came.
    Reply,
    /// The gateway's answer to our question.
    Inquiry,
    /// The gateway told us, where it cannot be asked.
    Webhook,
    /// A person decided.
    Person(Person),
    /// Nothing: the process stopped with the attempt under way.
    Stopped,
}

impl Evidence {
    /// One word for timelines and logs.
    pub const fn name(&self) -> &'static str {
        match self {
            Evidence::NoByteLeft => "no_byte_left",
            Evidence::Reply => "reply",
            Evidence::Inquiry => "inquiry",
            Evidence::Webhook => "webhook",
            Evidence::Person(_) => "person",
            Evidence::Stopped => "stopped",
        }
    }
}

impl fmt::Display for Evidence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Evidence::Person(person) => write!(f, "person {}: {}", person.actor, person.reason),
            Evidence::NoByteLeft | Evidence::Reply | Evidence::Inquiry | Evidence::Webhook | Evidence::Stopped => {
                f.write_str(self.name())
            }
        }
    }
}

/// Who decided, and why: kept with what they decided.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Person {
    /// Who.
    pub actor: String,
    /// Why.
    pub reason: String,
}
