//! Past-tense facts about a payment. With the journal's own housekeeping, the only thing that is recorded.

use std::sync::Arc;

use super::{
    Evidence, IdempotencyKey, Identity, Namespace, OperationKey, OperationRef, Order, Outcome, ParkReason, PaymentId,
    Person, Reply, Tenant, Timestamp,
};

/// A fact, and which payment it is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// Which payment.
    pub payment: PaymentId,
    /// When it was decided.
    pub at: Timestamp,
    /// What happened.
    pub fact: Fact,
}

/// In place of a number: an attempt of whose time this journal knows nothing, so that the age of its key is not known.
pub const UNKNOWN_ATTEMPT: u32 = 0;

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fact {
    /// A caller asked for a payment that was new.
    Accepted {
        /// Whose key.
        tenant: Tenant,
        /// Under which key.
        key: IdempotencyKey,
        /// What goes into its operation keys besides.
        namespace: Namespace,
        /// What was asked for.
        order: Arc<Order>,
    },
    /// An operation was decided on. Its amount is reserved and its bytes are frozen from here on.
    Intended {
        /// Which.
        operation: OperationRef,
        /// The caller's name for it.
        key: IdempotencyKey,
        /// Its name at the gateway.
        operation_key: OperationKey,
        /// The gateway that will be asked.
        gateway: Identity,
        /// The exact bytes, without secrets.
        request: Vec<u8>,
    },
    /// An operation that certainly has not happened goes to another gateway than the one that it was meant for.
    Rerouted {
        /// Which.
        operation: OperationRef,
        /// The gateway that will be asked from here on.
        gateway: Identity,
        /// The exact bytes for that one, without secrets.
        request: Vec<u8>,
    },
    /// The gateway minted its own id for an operation that has not been sent.
    Prepared {
        /// Which.
        operation: OperationRef,
        /// The gateway's id.
        reference: String,
        /// The bytes that will be sent, now that the id is known.
        request: Vec<u8>,
    },
    /// A sending is about to start: the last fact before the first byte.
    AttemptStarted {
        /// Which.
        operation: OperationRef,
        /// Its number; 1 is the first.
        attempt: u32,
        /// Not one byte leaves after this.
        not_after: Timestamp,
        /// Why it may be sent.
        cause: Cause,
    },
    /// A sending has ended.
    AttemptEnded {
        /// Which.
        operation: OperationRef,
        /// Its number; [`UNKNOWN_ATTEMPT`] if this journal does not know when it was.
        attempt: u32,
        /// How.
        outcome: Outcome,
        /// Why we believe so.
        evidence: Evidence,
    },
    /// The truth about an operation that had been sent.
    Learned {
        /// Which.
        operation: OperationRef,
        /// What.
        outcome: Outcome,
        /// From whom.
        evidence: Evidence,
        /// For a soft decline: when to ask for the last time.
        open_until: Option<Timestamp>,
    },
    /// An operation was left to people.
    Parked {
        /// Which.
        operation: OperationRef,
        /// Why.
        reason: ParkReason,
        /// What was known.
        reply: Reply,
    },
    /// What had parked it is over: it is in doubt again, and being asked about.
    Unparked {
        /// Which.
        operation: OperationRef,
    },
    /// Nothing was done, and nothing will be.
    Canceled {
        /// Which.
        operation: OperationRef,
        /// Why.
        reply: Reply,
    },
    /// News that contradicts what was told. Changes no answer.
    Contradicted {
        /// Which.
        operation: OperationRef,
        /// What is said now.
        outcome: Outcome,
        /// By whom.
        evidence: Evidence,
    },
    /// A soft decline was confirmed after its window: nothing is left to find out.
    WindowClosed {
        /// Which.
        operation: OperationRef,
    },
}

/// Why an attempt may be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cause {
    /// It is the first.
    First,
    /// Every attempt before ended NotSent or Refused.
    NothingHappened,
    /// "Not found" was proven, and the gateway deduplicates by a key that is still alive there.
    ProvenNotFound {
        /// How often it was said.
        times: u32,
    },
    /// The gateway cannot be asked, but deduplicates by a key that is still alive there.
    SameKey,
    /// A person said so, under the same rules.
    Person(Person),
}

/// News from a gateway that came by itself, kept as it came: a hint that leads to an inquiry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Webhook {
    /// Which gateway's: its whole identity, for two accounts may name their news alike.
    pub gateway: String,
    /// The gateway's name for this piece of news: the same news may come twice.
    pub event_id: String,
    /// When it came.
    pub at: Timestamp,
    /// The operation it speaks of, where it says.
    pub operation_key: Option<OperationKey>,
    /// What came, without secrets.
    pub body: Vec<u8>,
}

impl Fact {
    /// What [`Fact::name`] says, of every kind of fact.
    pub const NAMES: [&'static str; 12] = [
        "accepted",
        "intended",
        "rerouted",
        "prepared",
        "attempt_started",
        "attempt_ended",
        "learned",
        "parked",
        "unparked",
        "canceled",
        "contradicted",
        "window_closed",
    ];

    /// Which operation it is about; none, before there is one.
    pub const fn operation(&self) -> Option<OperationRef> {
        match self {
            Fact::Accepted { .. } => None,
            Fact::Intended { operation, .. }
            | Fact::Rerouted { operation, .. }
            | Fact::Prepared { operation, .. }
            | Fact::AttemptStarted { operation, .. }
            | Fact::AttemptEnded { operation, .. }
            | Fact::Learned { operation, .. }
            | Fact::Parked { operation, .. }
            | Fact::Unparked { operation }
            | Fact::Canceled { operation, .. }
            | Fact::Contradicted { operation, .. }
            | Fact::WindowClosed { operation } => Some(*operation),
        }
    }

    /// One word or two for timelines, feeds and logs.
    pub const fn name(&self) -> &'static str {
        match self {
            Fact::Accepted { .. } => "accepted",
            Fact::Intended { .. } => "intended",
            Fact::Rerouted { .. } => "rerouted",
            Fact::Prepared { .. } => "prepared",
            Fact::AttemptStarted { .. } => "attempt_started",
            Fact::AttemptEnded { .. } => "attempt_ended",
            Fact::Learned { .. } => "learned",
            Fact::Parked { .. } => "parked",
            Fact::Unparked { .. } => "unparked",
            Fact::Canceled { .. } => "canceled",
            Fact::Contradicted { .. } => "contradicted",
            Fact::WindowClosed { .. } => "window_closed",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::payment::samples::{accepted, charge, ended, intended, learned, reply, started};

    #[test]
    fn the_words_of_facts_never_change() {
        let (operation, outcome, evidence) = (charge(), Outcome::NotFound, Evidence::Reply);
        let facts = [
            (accepted(), "accepted"),
            (intended(operation), "intended"),
            (Fact::Rerouted { operation, gateway: Identity::default(), request: Vec::new() }, "rerouted"),
            (Fact::Prepared { operation, reference: String::new(), request: Vec::new() }, "prepared"),
            (started(1), "attempt_started"),
            (ended(1, outcome.clone()), "attempt_ended"),
            (learned(outcome.clone()), "learned"),
            (Fact::Parked { operation, reason: ParkReason::Defect, reply: reply() }, "parked"),
            (Fact::Unparked { operation }, "unparked"),
            (Fact::Canceled { operation, reply: reply() }, "canceled"),
            (Fact::Contradicted { operation, outcome, evidence }, "contradicted"),
            (Fact::WindowClosed { operation }, "window_closed"),
        ];
        for (fact, name) in &facts {
            assert_eq!(fact.name(), *name);
        }
        assert_eq!(facts.map(|(_, name)| name), Fact::NAMES);
    }
}
