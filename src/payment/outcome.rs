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
    /// What [`Outcome::name`] says, of every kind of outcome.
    pub const NAMES: [&'static str; 8] =
        ["succeeded", "declined", "declined_soft", "pending", "not_sent", "refused", "not_found", "unknown"];

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
    if text.len() <= max && !text.bytes().any(|byte| byte.is_ascii_control()) && text.is_ascii() {
        return text.to_owned(); // As most are.
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    fn reply() -> Reply {
        Reply::new("timeout", "no answer within 10 s").with_reference("ch_1")
    }

    #[test]
    fn every_outcome_has_a_word_of_its_own_and_keeps_what_the_gateway_said() {
        for (outcome, name) in [
            (Outcome::Succeeded(reply()), "succeeded"),
            (Outcome::Declined(Finality::Hard, reply()), "declined"),
            (Outcome::Declined(Finality::Soft, reply()), "declined_soft"),
            (Outcome::Pending(None, reply()), "pending"),
            (Outcome::NotSent(reply()), "not_sent"),
            (Outcome::Refused(Lasting::ForGood, reply()), "refused"),
            (Outcome::Unknown(reply()), "unknown"),
        ] {
            assert_eq!((outcome.name(), outcome.reply()), (name, Some(&reply())));
            assert!(Outcome::NAMES.contains(&name));
        }
        assert_eq!((Outcome::NotFound.name(), Outcome::NotFound.reply()), ("not_found", None));
        assert!(Outcome::NAMES.contains(&"not_found"));
    }

    #[test]
    fn a_reply_is_what_the_gateway_said_without_what_could_break_a_line() {
        let reply = Reply::new("do_not\u{0}_honor", "ask\r\nyour bank\u{7f}").with_reference("ch_1");
        assert_eq!((reply.code(), reply.message(), reply.reference()), ("do_not_honor", "askyour bank", Some("ch_1")));
    }

    #[test]
    fn a_reply_always_fits_the_space_that_was_reserved_for_it() {
        let (code, message, reference) = Reply::MAX;
        let reply = Reply::new(&"\u{e9}".repeat(code + 1), &"\u{e9}".repeat(message + 1));
        assert_eq!((reply.code().chars().count(), reply.message().chars().count()), (code, message));
        let whole = "r".repeat(reference);
        assert_eq!(reply.with_reference(&whole).reference(), Some(whole.as_str()));
    }

    #[test]
    fn a_reference_that_cannot_be_the_gateways_is_left_out_and_never_cut() {
        for reference in [String::new(), "r".repeat(Reply::MAX.2 + 1), "ch\n1".to_owned()] {
            assert_eq!(reply().with_reference(&reference).reference(), None, "{reference:?}");
        }
    }

    #[test]
    fn evidence_is_told_in_a_word_and_a_persons_with_who_and_why() {
        for (evidence, name) in [
            (Evidence::NoByteLeft, "no_byte_left"),
            (Evidence::Reply, "reply"),
            (Evidence::Inquiry, "inquiry"),
            (Evidence::Webhook, "webhook"),
            (Evidence::Stopped, "stopped"),
        ] {
            assert_eq!((evidence.name(), evidence.to_string().as_str()), (name, name));
        }
        let person = Evidence::Person(Person { actor: "ann".to_owned(), reason: "saw the statement".to_owned() });
        assert_eq!((person.name(), person.to_string().as_str()), ("person", "person ann: saw the statement"));
    }
}
