//! A payment: the fold of its events.

use super::{
    Evidence, IdempotencyKey, Kind, Namespace, NextAction, Operation, Order, PaymentId, Standing, Tenant, Timestamp,
};

/// The life of one payment id: an order and the operations on it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Payment {
    /// Its id: a function of tenant and key.
    pub id: PaymentId,
    /// Whose it is.
    pub tenant: Tenant,
    /// The caller's name for it. Compared before anything else: ids are hashes.
    pub key: IdempotencyKey,
    /// What goes into its operation keys besides.
    pub namespace: Namespace,
    /// What was asked for.
    pub order: Order,
    /// What was asked of gateways, in order. The first is the charge or the authorization.
    pub operations: Vec<Operation>,
    /// When it was accepted.
    pub created_at: Timestamp,
    /// When the first operation became final.
    pub settled_at: Option<Timestamp>,
    /// When anything last happened.
    pub updated_at: Timestamp,
    /// Whether news has contradicted what was told.
    pub contradicted: bool,
    /// What happened, for people.
    pub timeline: Vec<Moment>,
}

/// One line of a payment's timeline.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Moment {
    /// When.
    pub at: Timestamp,
    /// Of which operation.
    pub operation: u32,
    /// What, such as `attempt_started` or `attempt_ended: unknown`.
    pub what: String,
    /// Why we believe it.
    pub evidence: Option<Evidence>,
}

/// Where a payment stands, in one word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum State {
    /// On its way.
    Processing,
    /// The payer has to act.
    RequiresAction,
    /// Set aside, not moved.
    Authorized,
    /// Moved.
    Succeeded,
    /// Decided against.
    Declined,
    /// Only the gateway knows, and is being asked.
    InDoubt,
    /// Only the gateway knows, and a person should look.
    Parked,
    /// Nothing was done, and nothing will be.
    Canceled,
}

impl State {
    /// Every state, in the order of a payment's life.
    pub const ALL: [State; 8] = [
        State::Processing,
        State::RequiresAction,
        State::Authorized,
        State::Succeeded,
        State::Declined,
        State::InDoubt,
        State::Parked,
        State::Canceled,
    ];

    /// As in HTTP bodies.
    pub const fn as_str(self) -> &'static str {
        match self {
            State::Processing => "processing",
            State::RequiresAction => "requires_action",
            State::Authorized => "authorized",
            State::Succeeded => "succeeded",
            State::Declined => "declined",
            State::InDoubt => "in_doubt",
            State::Parked => "parked",
            State::Canceled => "canceled",
        }
    }

    /// Reads what `as_str` wrote.
    pub fn parse(text: &str) -> Option<State> {
        State::ALL.into_iter().find(|state| state.as_str() == text)
    }

    /// Whether the caller has a final answer.
    pub const fn is_settled(self) -> bool {
        match self {
            State::Authorized | State::Succeeded | State::Declined | State::Canceled => true,
            State::Processing | State::RequiresAction | State::InDoubt | State::Parked => false,
        }
    }
}

impl Payment {
    /// Where the first operation stands: what callers are told.
    pub fn state(&self) -> State {
        self.operations.first().map_or(State::Processing, Operation::state)
    }

    /// Whether the caller has a final answer.
    pub fn is_settled(&self) -> bool {
        self.state().is_settled()
    }

    /// Whether nothing is left to find out about any of its operations. Only such payments leave memory.
    pub fn is_at_rest(&self) -> bool {
        !self.operations.is_empty() && self.operations.iter().all(Operation::is_at_rest)
    }

    /// The charge or the authorization.
    pub fn first(&self) -> Option<&Operation> {
        self.operations.first()
    }

    /// What the payer has to do next.
    pub fn next_action(&self) -> Option<&NextAction> {
        match &self.first()?.standing {
            Standing::AtGateway { next_action, .. } => next_action.as_ref(),
            Standing::Intended
            | Standing::Sent { .. }
            | Standing::InDoubt { .. }
            | Standing::Parked { .. }
            | Standing::Succeeded(_)
            | Standing::Declined { .. }
            | Standing::Canceled(_) => None,
        }
    }

    /// The sum of the succeeded operations of some kinds, in minor units.
    fn moved(&self, kinds: &[Kind]) -> u64 {
        let moved = self.operations.iter().filter(|operation| {
            kinds.contains(&operation.this.kind) && matches!(operation.standing, Standing::Succeeded(_))
        });
        moved.fold(0, |sum, operation| sum.saturating_add(operation.this.amount.minor_units()))
    }

    /// How much has moved to the destination, in minor units.
    pub fn captured(&self) -> u64 {
        self.moved(&[Kind::Charge, Kind::Capture])
    }

    /// How much has moved back, in minor units.
    pub fn refunded(&self) -> u64 {
        self.moved(&[Kind::Refund])
    }
}

impl Operation {
    /// Where it stands, in one word.
    pub fn state(&self) -> State {
        match &self.standing {
            Standing::Intended | Standing::Sent { .. } | Standing::AtGateway { next_action: None, .. } => {
                State::Processing
            }
            Standing::AtGateway { next_action: Some(_), .. } => State::RequiresAction,
            Standing::InDoubt { .. } => State::InDoubt,
            Standing::Parked { .. } => State::Parked,
            Standing::Succeeded(_) if self.this.kind == Kind::Authorize => State::Authorized,
            Standing::Succeeded(_) => State::Succeeded,
            Standing::Declined { .. } => State::Declined,
            Standing::Canceled(_) => State::Canceled,
        }
    }
}
