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
    let outcomes =
        payment.operations.iter().filter_map(|operation| Some((operation, outcome(payment, operation, distrust)?)));
    let end = |(operation, outcome): (&Operation, Outcome)| Fact::AttemptEnded {
        operation: operation.this,
        attempt: UNKNOWN_ATTEMPT,
        outcome,
        evidence: Evidence::Stopped,
    };
    outcomes.map(end).collect()
}

/// How an attempt of unknown age must be taken to have ended; `None`: nothing is more uncertain than it was.
fn outcome(payment: &Payment, operation: &Operation, distrust: Distrust) -> Option<Outcome> {
    let aged = operation.first_sent.is_some();
    match (&operation.standing, distrust) {
        (Standing::Intended, Distrust::Folder) => (!waits(payment, operation)).then(|| unknown(distrust)),
        // It has not acted there: the next sending is the first that counts.
        (Standing::Intended, Distrust::Clock) => aged.then(|| Outcome::NotSent(reason(distrust))),
        (Standing::Sent { .. }, Distrust::Folder | Distrust::Clock) => Some(unknown(distrust)),
        (Standing::AtGateway { next_action, reply, .. }, Distrust::Folder | Distrust::Clock) => {
            aged.then(|| Outcome::Pending(next_action.clone(), reply.clone()))
        }
        (Standing::InDoubt { .. }, Distrust::Folder | Distrust::Clock) => aged.then(|| unknown(distrust)),
        (Standing::Parked { .. }, Distrust::Folder) => (aged || !operation.may_have_acted).then(|| unknown(distrust)),
        (Standing::Parked { .. }, Distrust::Clock) if operation.may_have_acted => aged.then(|| unknown(distrust)),
        (Standing::Parked { .. }, Distrust::Clock) => aged.then(|| Outcome::NotSent(reason(distrust))),
        (Standing::Succeeded(_) | Standing::Declined { .. } | Standing::Canceled(_), _) => None,
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

/// Whether it is a void that waits for what it is to undo: then it was not sent, and is not in doubt.
fn waits(payment: &Payment, operation: &Operation) -> bool {
    operation.this.kind == Kind::Void && payment.first().is_some_and(|first| !first.is_final())
}
