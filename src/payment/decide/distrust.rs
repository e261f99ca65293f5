//! What a start cannot rely on: its folder may be a copy, or the wall clock may have been wrong. Then whatever that makes
//! uncertain is doubted before anything else, durably, so that no later start takes it for certain again.

use crate::payment::{Evidence, Fact, Kind, Operation, Outcome, Payment, Reply, Standing, UNKNOWN_ATTEMPT};

/// Why a start takes less for certain than its journal says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Distrust {
    /// The folder is a copy, or was restored: the original may have sent, ended or undone since whatever is unresolved here.
    Folder,
    /// The wall clock was wrong for a time, or is: how old keys are at the gateway is not known.
    Clock,
}

/// What has to be recorded about a payment, so that nothing of it is sent again whose key may be older than it looks, or
/// that may have gone on elsewhere: it is asked about, and what the gateway does not know is left to a person.
pub fn doubt(payment: &Payment, distrust: Distrust) -> Vec<Fact> {
    let of = |operation: &Operation| {
        let outcome = outcome(payment, operation, distrust)?;
        let (this, evidence) = (operation.this, Evidence::Stopped);
        let window = window(operation, &outcome);
        let end = Fact::AttemptEnded { operation: this, attempt: UNKNOWN_ATTEMPT, outcome, evidence };
        Some(std::iter::once(end).chain(window))
    };
    payment.operations.iter().filter_map(of).flatten().collect()
}

/// A soft decline stays as open as it was: what the gateway may still make of it, the original may have undone.
fn window(operation: &Operation, outcome: &Outcome) -> Option<Fact> {
    let Standing::Declined { open_until: Some(until), .. } = operation.standing else { return None };
    let (outcome, evidence) = (outcome.clone(), Evidence::Stopped);
    Some(Fact::Learned { operation: operation.this, outcome, evidence, open_until: Some(until) })
}

/// How an attempt of unknown age must be taken to have ended; `None`: nothing is more uncertain than it was.
fn outcome(payment: &Payment, operation: &Operation, distrust: Distrust) -> Option<Outcome> {
    let aged = operation.first_sent.is_some();
    match (&operation.standing, distrust) {
        (Standing::Intended, Distrust::Folder) => (!waits(payment, operation)).then(|| unknown(distrust)),
        // It has not acted, and may be sent; but the gateway may have seen its key, nobody knows when.
        (Standing::Intended, Distrust::Clock) => aged.then(|| Outcome::NotSent(reason(distrust))),
        (Standing::Sent { .. }, Distrust::Folder | Distrust::Clock) => Some(unknown(distrust)),
        (Standing::AtGateway { next_action, reply, .. }, Distrust::Folder | Distrust::Clock) => {
            aged.then(|| Outcome::Pending(next_action.clone(), reply.clone()))
        }
        (Standing::InDoubt { .. }, Distrust::Folder | Distrust::Clock) => aged.then(|| unknown(distrust)),
        (Standing::Parked { .. }, Distrust::Folder) => (aged || !operation.may_have_acted).then(|| unknown(distrust)),
        (Standing::Parked { .. }, Distrust::Clock) if operation.may_have_acted => aged.then(|| unknown(distrust)),
        (Standing::Parked { .. }, Distrust::Clock) => aged.then(|| Outcome::NotSent(reason(distrust))),
        (Standing::Declined { finality, open_until: Some(_), reply }, Distrust::Folder) => {
            aged.then(|| Outcome::Declined(*finality, reply.clone()))
        }
        (
            Standing::Succeeded(_) | Standing::Declined { .. } | Standing::Canceled(_),
            Distrust::Folder | Distrust::Clock,
        ) => None,
    }
}

fn unknown(distrust: Distrust) -> Outcome {
    Outcome::Unknown(reason(distrust))
}

fn reason(distrust: Distrust) -> Reply {
    match distrust {
        Distrust::Folder => Reply::new(
            "restored",
            "the data folder was copied or restored: the original may have gone on with it since",
        ),
        Distrust::Clock => {
            Reply::new("clock_doubted", "the wall clock was wrong for a time: how old its key is by now is not known")
        }
    }
}

/// An operation of payonce's own, such as a refund in place of a void, in a payment that was doubted: the original of this
/// folder may have begun the very same, under the same key.
pub(super) fn of_own(operation: &Operation, payment: &Payment) -> Option<Fact> {
    let doubted = payment.operations.iter().any(|one| one.may_have_acted && one.first_sent.is_none());
    doubted.then(|| Fact::AttemptEnded {
        operation: operation.this,
        attempt: UNKNOWN_ATTEMPT,
        outcome: unknown(Distrust::Folder),
        evidence: Evidence::Stopped,
    })
}

/// Whether it is a void that waits for what it is to undo: then it was not sent, and is not in doubt.
fn waits(payment: &Payment, operation: &Operation) -> bool {
    operation.this.kind == Kind::Void && payment.first().is_some_and(|first| !first.is_final())
}
