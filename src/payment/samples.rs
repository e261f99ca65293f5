//! Payments for tests, and how to lead one through facts.

use std::sync::Arc;

use super::{
    Amount, Cause, Currency, Event, Evidence, Fact, IdempotencyKey, Identity, Kind, Misfit, Namespace, Operation,
    OperationKey, OperationRef, Order, Outcome, Payment, PaymentId, Reply, Standing, Tenant, Timestamp, apply,
};

pub(super) fn reply() -> Reply {
    Reply::new("code", "message")
}

pub(super) fn at(millis: u64) -> Timestamp {
    Timestamp::from_millis(millis)
}

pub(super) fn reference(number: u32, kind: Kind, amount: u64) -> OperationRef {
    OperationRef { number, kind, amount: Amount::new(amount).expect("legal") }
}

/// The charge of a payment.
pub(super) fn charge() -> OperationRef {
    reference(0, Kind::Charge, 1050)
}

/// An operation that was sent once, and stands somewhere.
pub(super) fn operation(this: OperationRef, standing: Standing) -> Operation {
    Operation {
        this,
        key: IdempotencyKey::new("order-1").expect("legal"),
        operation_key: OperationKey::from_bytes([1; 16]),
        gateway: Identity::default(),
        request: b"bytes".to_vec(),
        prepared: None,
        attempts: 1,
        first_sent: Some(at(0)),
        may_have_acted: true,
        standing,
        contradicted: None,
    }
}

pub(super) fn accepted() -> Fact {
    let amount = Amount::new(1050).expect("legal");
    Fact::Accepted {
        tenant: Tenant::default(),
        key: IdempotencyKey::new("order-1").expect("legal"),
        namespace: Namespace::default(),
        order: Arc::new(Order::new(amount, Currency::new("USD").expect("legal"), "a", "b").expect("legal")),
    }
}

pub(super) fn intended(operation: OperationRef) -> Fact {
    Fact::Intended {
        operation,
        key: IdempotencyKey::new("order-1").expect("legal"),
        operation_key: OperationKey::from_bytes([1; 16]),
        gateway: Identity::default(),
        request: b"bytes".to_vec(),
    }
}

pub(super) fn started(attempt: u32) -> Fact {
    Fact::AttemptStarted { operation: charge(), attempt, not_after: at(99), cause: Cause::First }
}

pub(super) fn ended(attempt: u32, outcome: Outcome) -> Fact {
    Fact::AttemptEnded { operation: charge(), attempt, outcome, evidence: Evidence::Reply }
}

pub(super) fn learned(outcome: Outcome) -> Fact {
    Fact::Learned { operation: charge(), outcome, evidence: Evidence::Inquiry, open_until: None }
}

pub(super) fn event(millis: u64, fact: Fact) -> Event {
    Event { payment: PaymentId::from_bytes([7; 16]), at: at(millis), fact }
}

/// Folds facts, one a millisecond, the first at 1.
pub(super) fn fold(facts: impl IntoIterator<Item = Fact>) -> Result<Payment, Misfit> {
    let mut payment = None;
    for (millis, fact) in (1..).zip(facts) {
        apply(&mut payment, &event(millis, fact))?;
    }
    Ok(payment.expect("some fact came first"))
}
