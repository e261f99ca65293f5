//! What an event is called in a webhook: `payment.succeeded`, `refund.declined` and so on. One table.

use std::fmt;

use crate::payment::{Fact, Finality, Kind as Operation, Outcome};

/// What an event is about, and what happened to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Kind {
    subject: &'static str,
    word: &'static str,
}

/// The payment itself, which its charge or authorization stands for, and the later operations on it.
const SUBJECTS: [&str; 4] = ["payment", "capture", "void", "refund"];

/// What happens. Frozen: receivers match on them.
const WORDS: [&str; 19] = [
    "accepted",
    "intended",
    "rerouted",
    "prepared",
    "attempt_started",
    "succeeded",
    "authorized",
    "declined",
    "pending",
    "requires_action",
    "not_sent",
    "refused",
    "not_found",
    "in_doubt",
    "parked",
    "unparked",
    "canceled",
    "contradicted",
    "window_closed",
];

/// Only payments are accepted and authorized.
const OF_PAYMENTS: [&str; 2] = ["accepted", "authorized"];

impl Kind {
    /// Of what happened.
    pub fn of(fact: &Fact) -> Kind {
        let (operation, word) = match fact {
            Fact::Accepted { .. } => return Kind { subject: "payment", word: "accepted" },
            Fact::Intended { operation, .. } => (operation, "intended"),
            Fact::Rerouted { operation, .. } => (operation, "rerouted"),
            Fact::Prepared { operation, .. } => (operation, "prepared"),
            Fact::AttemptStarted { operation, .. } => (operation, "attempt_started"),
            Fact::AttemptEnded { operation, outcome, .. } | Fact::Learned { operation, outcome, .. } => {
                (operation, word_of(operation.kind, outcome))
            }
            Fact::Parked { operation, .. } => (operation, "parked"),
            Fact::Unparked { operation } => (operation, "unparked"),
            Fact::Canceled { operation, .. } => (operation, "canceled"),
            Fact::Contradicted { operation, .. } => (operation, "contradicted"),
            Fact::WindowClosed { operation } => (operation, "window_closed"),
        };
        Kind { subject: subject_of(operation.kind), word }
    }

    /// The names of all.
    pub fn all() -> Vec<String> {
        let names = SUBJECTS.iter().flat_map(|subject| WORDS.iter().map(move |word| format!("{subject}.{word}")));
        names.filter(|name| Kind::parse(name).is_some()).collect()
    }

    /// Of a text. `None`: there is no such kind.
    pub fn parse(text: &str) -> Option<Kind> {
        let (subject, word) = text.split_once('.')?;
        let subject = *SUBJECTS.iter().find(|known| **known == subject)?;
        let word = *WORDS.iter().find(|known| **known == word)?;
        (subject == "payment" || !OF_PAYMENTS.contains(&word)).then_some(Kind { subject, word })
    }
}

fn subject_of(kind: Operation) -> &'static str {
    match kind {
        Operation::Charge | Operation::Authorize => "payment",
        Operation::Capture => "capture",
        Operation::Void => "void",
        Operation::Refund => "refund",
    }
}

fn word_of(kind: Operation, outcome: &Outcome) -> &'static str {
    match outcome {
        Outcome::Succeeded(_) if kind == Operation::Authorize => "authorized",
        Outcome::Succeeded(_) => "succeeded",
        // A soft decline too is final for the caller.
        Outcome::Declined(Finality::Hard | Finality::Soft, _) => "declined",
        Outcome::Pending(None, _) => "pending",
        Outcome::Pending(Some(_), _) => "requires_action",
        Outcome::NotSent(_) => "not_sent",
        Outcome::Refused(..) => "refused",
        Outcome::NotFound => "not_found",
        Outcome::Unknown(_) => "in_doubt",
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.subject, self.word)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::payment::{Amount, Evidence, Identity, Lasting, NextAction, OperationRef, ParkReason, Reply};

    fn operation(kind: Operation) -> OperationRef {
        OperationRef { number: 0, kind, amount: Amount::new(1).expect("positive") }
    }

    fn ended(kind: Operation, outcome: Outcome) -> String {
        let operation = operation(kind);
        Kind::of(&Fact::AttemptEnded { operation, attempt: 1, outcome, evidence: Evidence::Reply }).to_string()
    }

    #[test]
    fn every_outcome_of_every_operation_has_a_name_that_can_be_asked_for() {
        let reply = Reply::default;
        let next = NextAction { url: String::new(), expires_at: None };
        for (outcome, word) in [
            (Outcome::Succeeded(reply()), "succeeded"),
            (Outcome::Declined(Finality::Soft, reply()), "declined"),
            (Outcome::Pending(None, reply()), "pending"),
            (Outcome::Pending(Some(next), reply()), "requires_action"),
            (Outcome::NotSent(reply()), "not_sent"),
            (Outcome::Refused(Lasting::ForGood, reply()), "refused"),
            (Outcome::NotFound, "not_found"),
            (Outcome::Unknown(reply()), "in_doubt"),
        ] {
            for (kind, subject) in [
                (Operation::Charge, "payment"),
                (Operation::Capture, "capture"),
                (Operation::Void, "void"),
                (Operation::Refund, "refund"),
            ] {
                let name = ended(kind, outcome.clone());
                assert_eq!(name, format!("{subject}.{word}"));
                assert_eq!(Kind::parse(&name).map(|kind| kind.to_string()), Some(name));
            }
        }
        assert_eq!(ended(Operation::Authorize, Outcome::Succeeded(reply())), "payment.authorized");
        assert_eq!(ended(Operation::Authorize, Outcome::Unknown(reply())), "payment.in_doubt");
    }

    #[test]
    fn what_people_have_to_see_has_a_name() {
        let operation = operation(Operation::Charge);
        let (reply, outcome) = (Reply::default(), Outcome::NotFound);
        for (fact, name) in [
            (Fact::Rerouted { operation, gateway: Identity::default(), request: Vec::new() }, "payment.rerouted"),
            (Fact::Parked { operation, reason: ParkReason::Defect, reply: reply.clone() }, "payment.parked"),
            (Fact::Unparked { operation }, "payment.unparked"),
            (Fact::Canceled { operation, reply }, "payment.canceled"),
            (Fact::Contradicted { operation, outcome, evidence: Evidence::Inquiry }, "payment.contradicted"),
            (Fact::WindowClosed { operation }, "payment.window_closed"),
        ] {
            assert_eq!(Kind::of(&fact).to_string(), name);
            assert_eq!(Kind::parse(name).map(|kind| kind.to_string()).as_deref(), Some(name));
        }
    }

    #[test]
    fn what_never_happens_cannot_be_asked_for() {
        for text in
            ["", "payment", "payment.", "Payment.succeeded", "refund.accepted", "capture.authorized", "x.parked"]
        {
            assert_eq!(Kind::parse(text), None, "{text}");
        }
    }
}
