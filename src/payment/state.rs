//! A payment: the fold of its events.

use std::{borrow::Cow, sync::Arc};

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
    pub order: Arc<Order>,
    /// What was asked of gateways, in order. The first is the charge or the authorization.
    pub operations: Vec<Operation>,
    /// When it was accepted.
    pub created_at: Timestamp,
    /// When the first operation became final.
    pub settled_at: Option<Timestamp>,
    /// When anything last happened.
    pub updated_at: Timestamp,
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
    pub what: Cow<'static, str>,
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

    /// How much a state asks of people: a doubt more than a wait, a decision of theirs most of all.
    const fn urgency(self) -> u8 {
        match self {
            State::Authorized | State::Succeeded | State::Declined | State::Canceled => 0,
            State::Processing => 1,
            State::RequiresAction => 2,
            State::InDoubt => 3,
            State::Parked => 4,
        }
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

    /// Where the payment stands by now: an authorization that was captured has succeeded, one that was voided is canceled.
    pub fn state_now(&self) -> State {
        let voided = self.operations.iter().any(|one| one.this.kind == Kind::Void && one.has_happened());
        match self.state() {
            State::Authorized if self.captured() > 0 => State::Succeeded,
            State::Authorized if voided => State::Canceled,
            told @ (State::Processing
            | State::RequiresAction
            | State::Authorized
            | State::Succeeded
            | State::Declined
            | State::InDoubt
            | State::Parked
            | State::Canceled) => told,
        }
    }

    /// Whether it, or one of its operations that is not final, is in a state: where a list shows it.
    pub fn is_in(&self, state: State) -> bool {
        self.state_now() == state || self.operations.iter().any(|one| !one.is_final() && one.state() == state)
    }

    /// Whether news has contradicted what was told.
    pub fn is_contradicted(&self) -> bool {
        self.operations.iter().any(|operation| operation.contradicted.is_some())
    }

    /// Whether a person should look at it: it is parked, news has contradicted what was told, or what the engine began by
    /// itself, to give money back, did not succeed.
    pub fn needs_attention(&self) -> bool {
        let failed = |one: &Operation| match one.standing {
            Standing::Declined { .. } | Standing::Canceled(_) => one.is_own(),
            Standing::Intended
            | Standing::Sent { .. }
            | Standing::AtGateway { .. }
            | Standing::InDoubt { .. }
            | Standing::Parked { .. }
            | Standing::Succeeded(_) => false,
        };
        self.is_in(State::Parked) || self.is_contradicted() || self.operations.iter().any(failed)
    }

    /// The capture, void or refund of a key. Keys of operations are apart from those of payments.
    pub fn follow_up(&self, key: &IdempotencyKey) -> Option<&Operation> {
        self.operations.iter().skip(1).find(|operation| operation.key == *key)
    }

    /// Whether the caller has a final answer.
    pub fn is_settled(&self) -> bool {
        self.state().is_settled()
    }

    /// Whether nothing is left to find out about any of its operations. Only such payments leave memory.
    pub fn is_at_rest(&self) -> bool {
        !self.operations.is_empty() && self.operations.iter().all(Operation::is_at_rest)
    }

    /// What it waits for, while anything is left to find out: the most pressing state of its operations that are not at
    /// rest. `Declined` is a soft decline that may still turn.
    pub fn unresolved(&self) -> Option<State> {
        let open = self.operations.iter().filter(|operation| !operation.is_at_rest()).map(Operation::state);
        (!self.is_at_rest()).then(|| open.max_by_key(|state| state.urgency()).unwrap_or(State::Processing))
    }

    /// Since when the oldest of its doubts lasts, parked ones included.
    pub fn in_doubt_since(&self) -> Option<Timestamp> {
        let since = self.operations.iter().filter_map(|operation| match operation.standing {
            Standing::InDoubt { since, .. } | Standing::Parked { since, .. } => Some(since),
            Standing::Intended
            | Standing::Sent { .. }
            | Standing::AtGateway { .. }
            | Standing::Succeeded(_)
            | Standing::Declined { .. }
            | Standing::Canceled(_) => None,
        });
        since.min()
    }

    /// The charge or the authorization.
    pub fn first(&self) -> Option<&Operation> {
        self.operations.first()
    }

    /// The gateway's own id that belongs to an operation: the one minted for it, or that of the first, which later ones
    /// act on.
    pub fn reference_for<'a>(&'a self, operation: &'a Operation) -> Option<&'a str> {
        let first = self.first().filter(|first| first.this.number != operation.this.number);
        operation.prepared.as_deref().or(first.and_then(Operation::gateway_id))
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::payment::{
        Finality, ParkReason,
        samples::{accepted, at, charge, fold, operation, reference, reply},
    };

    fn payment(operations: Vec<Operation>) -> Payment {
        Payment { operations, ..fold([accepted()]).expect("the first fact") }
    }

    #[test]
    fn the_words_of_states_never_change_and_are_read_back() {
        let words = State::ALL.map(State::as_str);
        assert_eq!(
            words,
            ["processing", "requires_action", "authorized", "succeeded", "declined", "in_doubt", "parked", "canceled"]
        );
        assert_eq!(words.map(State::parse), State::ALL.map(Some));
        assert_eq!((State::parse("settled"), State::parse("")), (None, None));
    }

    #[test]
    fn a_payment_is_what_its_first_operation_is() {
        let since = at(5);
        let next_action = NextAction { url: "https://bank.example/3ds".to_owned(), expires_at: None };
        let waits = |next_action| Standing::AtGateway { next_action, reply: reply(), since };
        let declined = Standing::Declined { finality: Finality::Hard, open_until: None, reply: reply() };
        let parked = Standing::Parked { reason: ParkReason::Exhausted, reply: reply(), since };
        for (kind, standing, state, settled) in [
            (Kind::Charge, Standing::Intended, State::Processing, false),
            (Kind::Charge, Standing::Sent { not_after: since }, State::Processing, false),
            (Kind::Charge, waits(None), State::Processing, false),
            (Kind::Charge, waits(Some(next_action.clone())), State::RequiresAction, false),
            (Kind::Charge, Standing::InDoubt { reply: reply(), since }, State::InDoubt, false),
            (Kind::Charge, parked, State::Parked, false),
            (Kind::Authorize, Standing::Succeeded(reply()), State::Authorized, true),
            (Kind::Charge, Standing::Succeeded(reply()), State::Succeeded, true),
            (Kind::Charge, declined, State::Declined, true),
            (Kind::Charge, Standing::Canceled(reply()), State::Canceled, true),
        ] {
            let later = operation(reference(1, Kind::Refund, 50), Standing::InDoubt { reply: reply(), since });
            let payment = payment(vec![operation(reference(0, kind, 1050), standing), later]);
            assert_eq!((payment.state(), payment.is_settled()), (state, settled), "{payment:?}");
            let asked = (state == State::RequiresAction).then_some(&next_action);
            assert_eq!(payment.next_action(), asked, "{payment:?}");
            assert_eq!(payment.first().map(|first| first.this.kind), Some(kind));
        }
    }

    #[test]
    fn a_payment_waits_for_the_most_pressing_of_its_operations_that_are_not_at_rest() {
        let doubt =
            |since| operation(reference(1, Kind::Refund, 50), Standing::InDoubt { reply: reply(), since: at(since) });
        let done = || operation(charge(), Standing::Succeeded(reply()));
        let turning = Standing::Declined { finality: Finality::Soft, open_until: Some(at(9)), reply: reply() };
        let parked = Standing::Parked { reason: ParkReason::Exhausted, reply: reply(), since: at(3) };
        let operation = |standing| operation(charge(), standing);
        for (operations, waits, since) in [
            (vec![], Some(State::Processing), None),
            (vec![done()], None, None),
            (vec![operation(turning)], Some(State::Declined), None),
            (vec![operation(Standing::Intended)], Some(State::Processing), None),
            (vec![done(), doubt(7)], Some(State::InDoubt), Some(at(7))),
            (vec![operation(parked), doubt(7)], Some(State::Parked), Some(at(3))),
        ] {
            let payment = payment(operations);
            assert_eq!((payment.unresolved(), payment.in_doubt_since()), (waits, since), "{payment:?}");
        }
    }

    #[test]
    fn a_payment_rests_only_when_every_operation_does() {
        let done = || operation(charge(), Standing::Succeeded(reply()));
        let open = operation(reference(1, Kind::Refund, 50), Standing::Intended);
        assert!(payment(vec![done()]).is_at_rest());
        assert!(!payment(vec![done(), open]).is_at_rest());
        let bare = payment(Vec::new());
        assert!(!bare.is_at_rest(), "accepted, and nothing decided: the start has to see it");
        assert_eq!((bare.state(), bare.first(), bare.next_action()), (State::Processing, None, None));
    }

    #[test]
    fn a_person_looks_at_what_is_parked_contradicted_or_was_to_go_back_and_did_not() {
        let parked = Standing::Parked { reason: ParkReason::Exhausted, reply: reply(), since: at(5) };
        let declined = || Standing::Declined { finality: Finality::Hard, open_until: None, reply: reply() };
        let done = || Standing::Succeeded(reply());
        let refund = |key: &str, standing| Operation {
            key: IdempotencyKey::new(key).expect("legal"),
            ..operation(reference(1, Kind::Refund, 5), standing)
        };
        let charged = || operation(charge(), done());
        let contradicted = Operation { contradicted: Some(crate::payment::Contradiction::Reversed), ..charged() };
        for (operations, looked_at) in [
            (vec![charged()], false),
            (vec![operation(charge(), declined())], false),
            (vec![operation(charge(), parked.clone())], true),
            (vec![contradicted], true),
            (vec![charged(), refund("mine", declined())], false),
            (vec![charged(), refund("mine", parked)], true),
            (vec![charged(), refund("payonce:void-1", done())], false),
            (vec![charged(), refund("payonce:void-1", declined())], true),
            (vec![charged(), refund("payonce:void-1", Standing::Canceled(reply()))], true),
        ] {
            let payment = payment(operations);
            assert_eq!(payment.needs_attention(), looked_at, "{:?}", payment.operations);
        }
    }
}
