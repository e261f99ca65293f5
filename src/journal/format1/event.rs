//! Events and webhooks, as written in version 1.

use serde::{Deserialize, Serialize};

use crate::payment as now;

use super::{
    Evidence, Identity, Malformed, OperationRef, Order, Outcome, ParkReason, Person, Reply, bytes, from_time, id, time,
};

#[derive(Serialize, Deserialize)]
pub(in super::super) struct Event {
    #[serde(with = "id")]
    payment: [u8; 16],
    at: u64,
    fact: Fact,
}

#[derive(Serialize, Deserialize)]
enum Fact {
    /// 0
    Accepted { tenant: String, key: String, namespace: String, order: Order },
    /// 1
    Intended {
        operation: OperationRef,
        key: String,
        #[serde(with = "id")]
        operation_key: [u8; 16],
        gateway: Identity,
        #[serde(with = "bytes")]
        request: Vec<u8>,
    },
    /// 2
    Prepared {
        operation: OperationRef,
        reference: String,
        #[serde(with = "bytes")]
        request: Vec<u8>,
    },
    /// 3
    AttemptStarted { operation: OperationRef, attempt: u32, not_after: u64, cause: Cause },
    /// 4
    AttemptEnded { operation: OperationRef, attempt: u32, outcome: Outcome, evidence: Evidence },
    /// 5
    Learned { operation: OperationRef, outcome: Outcome, evidence: Evidence, open_until: Option<u64> },
    /// 6
    Parked { operation: OperationRef, reason: ParkReason, reply: Reply },
    /// 7
    Unparked { operation: OperationRef },
    /// 8
    Canceled { operation: OperationRef, reply: Reply },
    /// 9
    Contradicted { operation: OperationRef, outcome: Outcome, evidence: Evidence },
    /// 10
    WindowClosed { operation: OperationRef },
}

#[derive(Serialize, Deserialize)]
enum Cause {
    First,                         // 0
    NothingHappened,               // 1
    ProvenNotFound { times: u32 }, // 2
    SameKey,                       // 3
    Person(Person),                // 4
}

impl Event {
    /// As written in version 1; `None` for what that has no place for.
    pub(in super::super) fn of(event: &now::Event) -> Option<Event> {
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

impl TryFrom<Event> for now::Event {
    type Error = Malformed;

    fn try_from(event: Event) -> Result<now::Event, Malformed> {
        Ok(now::Event {
            payment: now::PaymentId::from_bytes(event.payment),
            at: from_time(event.at),
            fact: event.fact.try_into()?,
        })
    }
}

impl Fact {
    fn of(fact: &now::Fact) -> Option<Fact> {
        Some(match fact {
            now::Fact::Rerouted { .. } => return None,
            now::Fact::Accepted { tenant, key, namespace, order } => Fact::Accepted {
                tenant: tenant.as_str().to_owned(),
                key: key.as_str().to_owned(),
                namespace: namespace.as_str().to_owned(),
                order: order.into(),
            },
            now::Fact::Intended { operation, key, operation_key, gateway, request } => Fact::Intended {
                operation: (*operation).into(),
                key: key.as_str().to_owned(),
                operation_key: *operation_key.as_bytes(),
                gateway: gateway.into(),
                request: request.clone(),
            },
            now::Fact::Prepared { operation, reference, request } => Fact::Prepared {
                operation: (*operation).into(),
                reference: reference.clone(),
                request: request.clone(),
            },
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

impl TryFrom<Fact> for now::Fact {
    type Error = Malformed;

    fn try_from(fact: Fact) -> Result<now::Fact, Malformed> {
        Ok(match fact {
            Fact::Accepted { tenant, key, namespace, order } => now::Fact::Accepted {
                tenant: now::Tenant::new(&tenant)?,
                key: now::IdempotencyKey::new(&key)?,
                namespace: now::Namespace::new(&namespace)?,
                order: order.try_into()?,
            },
            Fact::Intended { operation, key, operation_key, gateway, request } => now::Fact::Intended {
                operation: operation.try_into()?,
                key: now::IdempotencyKey::new(&key)?,
                operation_key: now::OperationKey::from_bytes(operation_key),
                gateway: gateway.into(),
                request,
            },
            Fact::Prepared { operation, reference, request } => {
                now::Fact::Prepared { operation: operation.try_into()?, reference, request }
            }
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

impl From<&now::Cause> for Cause {
    fn from(cause: &now::Cause) -> Cause {
        match cause {
            now::Cause::First => Cause::First,
            now::Cause::NothingHappened => Cause::NothingHappened,
            now::Cause::ProvenNotFound { times } => Cause::ProvenNotFound { times: *times },
            now::Cause::SameKey => Cause::SameKey,
            now::Cause::Person(person) => Cause::Person(person.into()),
        }
    }
}

impl From<Cause> for now::Cause {
    fn from(cause: Cause) -> now::Cause {
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
pub(in super::super) struct Webhook {
    gateway: String,
    event_id: String,
    at: u64,
    operation_key: Option<[u8; 16]>,
    #[serde(with = "bytes")]
    body: Vec<u8>,
}

impl From<&now::Webhook> for Webhook {
    fn from(webhook: &now::Webhook) -> Webhook {
        Webhook {
            gateway: webhook.gateway.clone(),
            event_id: webhook.event_id.clone(),
            at: time(webhook.at),
            operation_key: webhook.operation_key.map(|key| *key.as_bytes()),
            body: webhook.body.clone(),
        }
    }
}

impl From<Webhook> for now::Webhook {
    fn from(webhook: Webhook) -> now::Webhook {
        now::Webhook {
            gateway: webhook.gateway,
            event_id: webhook.event_id,
            at: from_time(webhook.at),
            operation_key: webhook.operation_key.map(now::OperationKey::from_bytes),
            body: webhook.body,
        }
    }
}
