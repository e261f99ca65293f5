//! Events and webhooks, as written in version 1.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::payment as now;

use super::{
    Evidence, Identity, Malformed, OperationRef, Order, Outcome, ParkReason, Person, Reply, bytes, from_time, id, time,
};

#[derive(Serialize, Deserialize)]
pub(in super::super) struct Event<'a> {
    #[serde(with = "id")]
    payment: [u8; 16],
    at: u64,
    #[serde(borrow)]
    fact: Fact<'a>,
}

#[derive(Serialize, Deserialize)]
enum Fact<'a> {
    /// 0
    Accepted {
        tenant: &'a str,
        key: &'a str,
        namespace: &'a str,
        #[serde(borrow)]
        order: Order<'a>,
    },
    /// 1
    Intended {
        operation: OperationRef,
        key: &'a str,
        #[serde(with = "id")]
        operation_key: [u8; 16],
        #[serde(borrow)]
        gateway: Identity<'a>,
        #[serde(serialize_with = "bytes::serialize")]
        request: &'a [u8],
    },
    /// 2
    Prepared {
        operation: OperationRef,
        reference: &'a str,
        #[serde(serialize_with = "bytes::serialize")]
        request: &'a [u8],
    },
    /// 3
    AttemptStarted {
        operation: OperationRef,
        attempt: u32,
        not_after: u64,
        #[serde(borrow)]
        cause: Cause<'a>,
    },
    /// 4
    AttemptEnded {
        operation: OperationRef,
        attempt: u32,
        #[serde(borrow)]
        outcome: Outcome<'a>,
        #[serde(borrow)]
        evidence: Evidence<'a>,
    },
    /// 5
    Learned {
        operation: OperationRef,
        #[serde(borrow)]
        outcome: Outcome<'a>,
        #[serde(borrow)]
        evidence: Evidence<'a>,
        open_until: Option<u64>,
    },
    /// 6
    Parked {
        operation: OperationRef,
        reason: ParkReason,
        #[serde(borrow)]
        reply: Reply<'a>,
    },
    /// 7
    Unparked { operation: OperationRef },
    /// 8
    Canceled {
        operation: OperationRef,
        #[serde(borrow)]
        reply: Reply<'a>,
    },
    /// 9
    Contradicted {
        operation: OperationRef,
        #[serde(borrow)]
        outcome: Outcome<'a>,
        #[serde(borrow)]
        evidence: Evidence<'a>,
    },
    /// 10
    WindowClosed { operation: OperationRef },
}

#[derive(Serialize, Deserialize)]
enum Cause<'a> {
    First,           // 0
    NothingHappened, // 1
    ProvenNotFound {
        times: u32,
    }, // 2
    SameKey,         // 3
    #[serde(borrow)]
    Person(Person<'a>), // 4
}

impl<'a> Event<'a> {
    /// As written in version 1; `None` for what that has no place for.
    pub(in super::super) fn of(event: &'a now::Event) -> Option<Event<'a>> {
        Some(Event { payment: *event.payment.as_bytes(), at: time(event.at), fact: Fact::of(&event.fact)? })
    }
}

/// Whether version 1 has a place for all that it says.
pub(in super::super) fn says_all(event: &now::Event) -> bool {
    match &event.fact {
        now::Fact::Accepted { order, .. } => order.gateway.is_none(),
        now::Fact::Rerouted { .. } => false,
        now::Fact::Intended { .. }
        | now::Fact::Prepared { .. }
        | now::Fact::AttemptStarted { .. }
        | now::Fact::AttemptEnded { .. }
        | now::Fact::Learned { .. }
        | now::Fact::Parked { .. }
        | now::Fact::Unparked { .. }
        | now::Fact::Canceled { .. }
        | now::Fact::Contradicted { .. }
        | now::Fact::WindowClosed { .. } => true,
    }
}

impl TryFrom<Event<'_>> for now::Event {
    type Error = Malformed;

    fn try_from(event: Event<'_>) -> Result<now::Event, Malformed> {
        Ok(now::Event {
            payment: now::PaymentId::from_bytes(event.payment),
            at: from_time(event.at),
            fact: event.fact.try_into()?,
        })
    }
}

impl<'a> Fact<'a> {
    fn of(fact: &'a now::Fact) -> Option<Fact<'a>> {
        Some(match fact {
            now::Fact::Rerouted { .. } => return None,
            now::Fact::Accepted { tenant, key, namespace, order } => Fact::Accepted {
                tenant: tenant.as_str(),
                key: key.as_str(),
                namespace: namespace.as_str(),
                order: order.as_ref().into(),
            },
            now::Fact::Intended { operation, key, operation_key, gateway, request } => Fact::Intended {
                operation: (*operation).into(),
                key: key.as_str(),
                operation_key: *operation_key.as_bytes(),
                gateway: gateway.into(),
                request,
            },
            now::Fact::Prepared { operation, reference, request } => {
                Fact::Prepared { operation: (*operation).into(), reference, request }
            }
            now::Fact::AttemptStarted { operation, attempt, not_after, cause } => Fact::AttemptStarted {
                operation: (*operation).into(),
                attempt: *attempt,
                not_after: time(*not_after),
                cause: cause.into(),
            },
            now::Fact::AttemptEnded { operation, attempt, outcome, evidence } => Fact::AttemptEnded {
                operation: (*operation).into(),
                attempt: *attempt,
                outcome: outcome.into(),
                evidence: evidence.into(),
            },
            now::Fact::Learned { operation, outcome, evidence, open_until } => Fact::Learned {
                operation: (*operation).into(),
                outcome: outcome.into(),
                evidence: evidence.into(),
                open_until: open_until.map(time),
            },
            now::Fact::Parked { operation, reason, reply } => {
                Fact::Parked { operation: (*operation).into(), reason: (*reason).into(), reply: reply.into() }
            }
            now::Fact::Unparked { operation } => Fact::Unparked { operation: (*operation).into() },
            now::Fact::Canceled { operation, reply } => {
                Fact::Canceled { operation: (*operation).into(), reply: reply.into() }
            }
            now::Fact::Contradicted { operation, outcome, evidence } => Fact::Contradicted {
                operation: (*operation).into(),
                outcome: outcome.into(),
                evidence: evidence.into(),
            },
            now::Fact::WindowClosed { operation } => Fact::WindowClosed { operation: (*operation).into() },
        })
    }
}

impl TryFrom<Fact<'_>> for now::Fact {
    type Error = Malformed;

    fn try_from(fact: Fact<'_>) -> Result<now::Fact, Malformed> {
        Ok(match fact {
            Fact::Accepted { tenant, key, namespace, order } => now::Fact::Accepted {
                tenant: now::Tenant::new(tenant)?,
                key: now::IdempotencyKey::new(key)?,
                namespace: now::Namespace::new(namespace)?,
                order: Arc::new(order.try_into()?),
            },
            Fact::Intended { operation, key, operation_key, gateway, request } => now::Fact::Intended {
                operation: operation.try_into()?,
                key: now::IdempotencyKey::new(key)?,
                operation_key: now::OperationKey::from_bytes(operation_key),
                gateway: gateway.into(),
                request: request.to_owned(),
            },
            Fact::Prepared { operation, reference, request } => now::Fact::Prepared {
                operation: operation.try_into()?,
                reference: reference.to_owned(),
                request: request.to_owned(),
            },
            Fact::AttemptStarted { operation, attempt, not_after, cause } => now::Fact::AttemptStarted {
                operation: operation.try_into()?,
                attempt,
                not_after: from_time(not_after),
                cause: cause.into(),
            },
            Fact::AttemptEnded { operation, attempt, outcome, evidence } => now::Fact::AttemptEnded {
                operation: operation.try_into()?,
                attempt,
                outcome: outcome.try_into()?,
                evidence: evidence.into(),
            },
            Fact::Learned { operation, outcome, evidence, open_until } => now::Fact::Learned {
                operation: operation.try_into()?,
                outcome: outcome.try_into()?,
                evidence: evidence.into(),
                open_until: open_until.map(from_time),
            },
            Fact::Parked { operation, reason, reply } => {
                now::Fact::Parked { operation: operation.try_into()?, reason: reason.into(), reply: reply.try_into()? }
            }
            Fact::Unparked { operation } => now::Fact::Unparked { operation: operation.try_into()? },
            Fact::Canceled { operation, reply } => {
                now::Fact::Canceled { operation: operation.try_into()?, reply: reply.try_into()? }
            }
            Fact::Contradicted { operation, outcome, evidence } => now::Fact::Contradicted {
                operation: operation.try_into()?,
                outcome: outcome.try_into()?,
                evidence: evidence.into(),
            },
            Fact::WindowClosed { operation } => now::Fact::WindowClosed { operation: operation.try_into()? },
        })
    }
}

impl<'a> From<&'a now::Cause> for Cause<'a> {
    fn from(cause: &'a now::Cause) -> Cause<'a> {
        match cause {
            now::Cause::First => Cause::First,
            now::Cause::NothingHappened => Cause::NothingHappened,
            now::Cause::ProvenNotFound { times } => Cause::ProvenNotFound { times: *times },
            now::Cause::SameKey => Cause::SameKey,
            now::Cause::Person(person) => Cause::Person(person.into()),
        }
    }
}

impl From<Cause<'_>> for now::Cause {
    fn from(cause: Cause<'_>) -> now::Cause {
        match cause {
            Cause::First => now::Cause::First,
            Cause::NothingHappened => now::Cause::NothingHappened,
            Cause::ProvenNotFound { times } => now::Cause::ProvenNotFound { times },
            Cause::SameKey => now::Cause::SameKey,
            Cause::Person(person) => now::Cause::Person(person.into()),
        }
    }
}

#[derive(Serialize, Deserialize)]
pub(in super::super) struct Webhook<'a> {
    gateway: &'a str,
    event_id: &'a str,
    at: u64,
    operation_key: Option<[u8; 16]>,
    #[serde(serialize_with = "bytes::serialize")]
    body: &'a [u8],
}

impl<'a> From<&'a now::Webhook> for Webhook<'a> {
    fn from(webhook: &'a now::Webhook) -> Webhook<'a> {
        Webhook {
            gateway: &webhook.gateway,
            event_id: &webhook.event_id,
            at: time(webhook.at),
            operation_key: webhook.operation_key.map(|key| *key.as_bytes()),
            body: &webhook.body,
        }
    }
}

impl From<Webhook<'_>> for now::Webhook {
    fn from(webhook: Webhook<'_>) -> now::Webhook {
        now::Webhook {
            gateway: webhook.gateway.to_owned(),
            event_id: webhook.event_id.to_owned(),
            at: from_time(webhook.at),
            operation_key: webhook.operation_key.map(now::OperationKey::from_bytes),
            body: webhook.body.to_owned(),
        }
    }
}
