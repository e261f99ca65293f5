//! What a readable answer means: does it speak of our operation, and what does it say about it?

use crate::payment::{Amount, Currency, Finality, NextAction, OperationKey, Outcome, Reply};

/// What an answer must speak of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Expected {
    /// The operation.
    pub(super) operation_key: OperationKey,
    /// How much.
    pub(super) amount: Amount,
    /// Of which currency.
    pub(super) currency: Currency,
}

/// What an answer says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Said<'a> {
    /// The operation's key.
    pub(super) reference: &'a str,
    /// The gateway's own name for it.
    pub(super) gateway_reference: &'a str,
    /// `succeeded`, `declined` or `pending`.
    pub(super) status: &'a str,
    /// In minor units.
    pub(super) amount: u64,
    /// ISO 4217, in capitals.
    pub(super) currency: &'a str,
    /// A short word.
    pub(super) code: &'a str,
    /// A sentence for people.
    pub(super) message: &'a str,
    /// With `pending`: what the payer has to do first.
    pub(super) next_action: Option<&'a NextAction>,
}

/// The outcome that an answer proves. One about something else than was asked proves nothing.
pub(super) fn judge(expected: &Expected, said: &Said<'_>) -> Outcome {
    let reply = Reply::new(said.code, said.message).with_reference(said.gateway_reference);
    if let Some(what) = mismatch(expected, said) {
        let message = format!("the answer is about another {what} than the one asked about");
        return Outcome::Unknown(Reply::new("mismatched_reply", &message).with_reference(said.gateway_reference));
    }
    match said.status {
        "succeeded" => Outcome::Succeeded(reply),
        // The protocol has no declines that turn.
        "declined" => Outcome::Declined(Finality::Hard, reply),
        "pending" => Outcome::Pending(said.next_action.cloned(), reply),
        other => Outcome::Unknown(Reply::new("unreadable_reply", &format!("a status that we do not know: {other}"))),
    }
}

fn mismatch(expected: &Expected, said: &Said<'_>) -> Option<&'static str> {
    if OperationKey::parse(said.reference) != Some(expected.operation_key) {
        Some("operation")
    } else if said.amount != expected.amount.minor_units() {
        Some("amount")
    } else if said.currency != expected.currency.as_str() {
        Some("currency")
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "0b0b0b0b-0b0b-0b0b-0b0b-0b0b0b0b0b0b";

    fn expected() -> Expected {
        Expected {
            operation_key: OperationKey::from_bytes([11; 16]),
            amount: Amount::new(1050).expect("legal"),
            currency: Currency::new("USD").expect("legal"),
        }
    }

    fn said(status: &'static str) -> Said<'static> {
        let (code, message) = ("c", "m");
        let next_action = None;
        Said {
            reference: KEY,
            gateway_reference: "gw_1",
            status,
            amount: 1050,
            currency: "USD",
            code,
            message,
            next_action,
        }
    }

    #[test]
    fn an_answer_about_the_operation_proves_what_it_says() {
        let reply = Reply::new("c", "m").with_reference("gw_1");
        assert_eq!(judge(&expected(), &said("succeeded")), Outcome::Succeeded(reply.clone()));
        assert_eq!(judge(&expected(), &said("declined")), Outcome::Declined(Finality::Hard, reply.clone()));
        assert_eq!(judge(&expected(), &said("pending")), Outcome::Pending(None, reply));
    }

    #[test]
    fn an_answer_about_anything_else_proves_nothing() {
        let other_key = "0c0b0b0b-0b0b-0b0b-0b0b-0b0b0b0b0b0b";
        for status in ["succeeded", "declined", "pending"] {
            for answer in [
                Said { reference: other_key, ..said(status) },
                Said { reference: "", ..said(status) },
                Said { amount: 1051, ..said(status) },
                Said { currency: "EUR", ..said(status) },
                Said { currency: "usd", ..said(status) },
            ] {
                let outcome = judge(&expected(), &answer);
                assert_eq!(outcome.reply().map(Reply::code), Some("mismatched_reply"), "{answer:?}");
                assert_eq!(outcome.name(), "unknown");
            }
        }
        for status in ["", "Succeeded", "failed", "requires_action"] {
            assert_eq!(judge(&expected(), &said(status)).name(), "unknown", "{status}");
        }
    }
}
