//! A whole payment, as written in version 1: in `Carried` records, and in the store's rows.

use serde::{Deserialize, Serialize};

use crate::payment as now;

use super::{
    Evidence, Finality, Identity, Malformed, NextAction, OperationRef, Order, ParkReason, Reply, bytes, from_time, id,
    time,
};

#[derive(Serialize, Deserialize)]
pub(in super::super) struct Payment {
    #[serde(with = "id")]
    id: [u8; 16],
    tenant: String,
    key: String,
    namespace: String,
    order: Order,
    operations: Vec<Operation>,
    created_at: u64,
    settled_at: Option<u64>,
    updated_at: u64,
    contradicted: bool,
    timeline: Vec<Moment>,
}

impl From<&now::Payment> for Payment {
    fn from(payment: &now::Payment) -> Payment {
        Payment {
            id: *payment.id.as_bytes(),
            tenant: payment.tenant.as_str().to_owned(),
            key: payment.key.as_str().to_owned(),
            namespace: payment.namespace.as_str().to_owned(),
            order: (&payment.order).into(),
            operations: payment.operations.iter().map(Into::into).collect(),
            created_at: time(payment.created_at),
            settled_at: payment.settled_at.map(time),
            updated_at: time(payment.updated_at),
            contradicted: payment.first().is_some_and(|first| first.contradicted.is_some()),
            timeline: payment.timeline.iter().map(Into::into).collect(),
        }
    }
}

impl TryFrom<Payment> for now::Payment {
    type Error = Malformed;

    fn try_from(payment: Payment) -> Result<now::Payment, Malformed> {
        let mut read = now::Payment {
            id: now::PaymentId::from_bytes(payment.id),
            tenant: now::Tenant::new(&payment.tenant)?,
            key: now::IdempotencyKey::new(&payment.key)?,
            namespace: now::Namespace::new(&payment.namespace)?,
            order: payment.order.try_into()?,
            operations: payment.operations.into_iter().map(TryInto::try_into).collect::<Result<_, Malformed>>()?,
            created_at: from_time(payment.created_at),
            settled_at: payment.settled_at.map(from_time),
            updated_at: from_time(payment.updated_at),
            timeline: payment.timeline.into_iter().map(Into::into).collect(),
        };
        if let Some(first) = read.operations.first_mut().filter(|_| payment.contradicted) {
            first.contradicted = Some(against(&first.standing));
        }
        Ok(read)
    }
}

/// Version 1 says only that news contradicted what was told of the first operation: the news said the other thing.
fn against(told: &now::Standing) -> now::Contradiction {
    match told {
        now::Standing::Succeeded(_) => now::Contradiction::Reversed,
        now::Standing::Intended
        | now::Standing::Sent { .. }
        | now::Standing::AtGateway { .. }
        | now::Standing::InDoubt { .. }
        | now::Standing::Parked { .. }
        | now::Standing::Declined { .. }
        | now::Standing::Canceled(_) => now::Contradiction::Moved,
    }
}

/// Whether version 1 has a place for all that is known of it.
pub(in super::super) fn fits(payment: &now::Payment) -> bool {
    payment.order.gateway.is_none()
        && payment.operations.iter().zip(0..).all(|(operation, place)| match operation.contradicted {
            None => true,
            Some(contradicted) => place == 0 && contradicted == against(&operation.standing),
        })
}

#[derive(Serialize, Deserialize)]
struct Moment {
    at: u64,
    operation: u32,
    what: String,
    evidence: Option<Evidence>,
}

impl From<&now::Moment> for Moment {
    fn from(moment: &now::Moment) -> Moment {
        Moment {
            at: time(moment.at),
            operation: moment.operation,
            what: moment.what.clone(),
            evidence: moment.evidence.as_ref().map(Into::into),
        }
    }
}

impl From<Moment> for now::Moment {
    fn from(moment: Moment) -> now::Moment {
        now::Moment {
            at: from_time(moment.at),
            operation: moment.operation,
            what: moment.what,
            evidence: moment.evidence.map(Into::into),
        }
    }
}

#[derive(Serialize, Deserialize)]
struct Operation {
    this: OperationRef,
    key: String,
    #[serde(with = "id")]
    operation_key: [u8; 16],
    gateway: Identity,
    #[serde(with = "bytes")]
    request: Vec<u8>,
    prepared: Option<String>,
    attempts: u32,
    first_sent: Option<u64>,
    may_have_acted: bool,
    standing: Standing,
}

impl From<&now::Operation> for Operation {
    fn from(operation: &now::Operation) -> Operation {
        Operation {
            this: operation.this.into(),
            key: operation.key.as_str().to_owned(),
            operation_key: *operation.operation_key.as_bytes(),
            gateway: (&operation.gateway).into(),
            request: operation.request.clone(),
            prepared: operation.prepared.clone(),
            attempts: operation.attempts,
            first_sent: operation.first_sent.map(time),
            may_have_acted: operation.may_have_acted,
            standing: (&operation.standing).into(),
        }
    }
}

impl TryFrom<Operation> for now::Operation {
    type Error = Malformed;

    fn try_from(operation: Operation) -> Result<now::Operation, Malformed> {
        Ok(now::Operation {
            this: operation.this.try_into()?,
            key: now::IdempotencyKey::new(&operation.key)?,
            operation_key: now::OperationKey::from_bytes(operation.operation_key),
            gateway: operation.gateway.into(),
            request: operation.request,
            prepared: operation.prepared,
            attempts: operation.attempts,
            first_sent: operation.first_sent.map(from_time),
            may_have_acted: operation.may_have_acted,
            standing: operation.standing.try_into()?,
            contradicted: None,
        })
    }
}

#[derive(Serialize, Deserialize)]
enum Standing {
    /// 0
    Intended,
    /// 1
    Sent { not_after: u64 },
    /// 2
    AtGateway { next_action: Option<NextAction>, reply: Reply, since: u64 },
    /// 3
    InDoubt { reply: Reply, since: u64 },
    /// 4
    Parked { reason: ParkReason, reply: Reply, since: u64 },
    /// 5
    Succeeded(Reply),
    /// 6
    Declined { finality: Finality, open_until: Option<u64>, reply: Reply },
    /// 7
    Canceled(Reply),
}

impl From<&now::Standing> for Standing {
    fn from(standing: &now::Standing) -> Standing {
        match standing {
            now::Standing::Intended => Standing::Intended,
            now::Standing::Sent { not_after } => Standing::Sent { not_after: time(*not_after) },
            now::Standing::AtGateway { next_action, reply, since } => Standing::AtGateway {
                next_action: next_action.as_ref().map(Into::into),
                reply: reply.into(),
                since: time(*since),
            },
            now::Standing::InDoubt { reply, since } => Standing::InDoubt { reply: reply.into(), since: time(*since) },
            now::Standing::Parked { reason, reply, since } => {
                Standing::Parked { reason: (*reason).into(), reply: reply.into(), since: time(*since) }
            }
            now::Standing::Succeeded(reply) => Standing::Succeeded(reply.into()),
            now::Standing::Declined { finality, open_until, reply } => Standing::Declined {
                finality: (*finality).into(),
                open_until: open_until.map(time),
                reply: reply.into(),
            },
            now::Standing::Canceled(reply) => Standing::Canceled(reply.into()),
        }
    }
}

impl TryFrom<Standing> for now::Standing {
    type Error = Malformed;

    fn try_from(standing: Standing) -> Result<now::Standing, Malformed> {
        Ok(match standing {
            Standing::Intended => now::Standing::Intended,
            Standing::Sent { not_after } => now::Standing::Sent { not_after: from_time(not_after) },
            Standing::AtGateway { next_action, reply, since } => now::Standing::AtGateway {
                next_action: next_action.map(Into::into),
                reply: reply.try_into()?,
                since: from_time(since),
            },
            Standing::InDoubt { reply, since } => {
                now::Standing::InDoubt { reply: reply.try_into()?, since: from_time(since) }
            }
            Standing::Parked { reason, reply, since } => {
                now::Standing::Parked { reason: reason.into(), reply: reply.try_into()?, since: from_time(since) }
            }
            Standing::Succeeded(reply) => now::Standing::Succeeded(reply.try_into()?),
            Standing::Declined { finality, open_until, reply } => now::Standing::Declined {
                finality: finality.into(),
                open_until: open_until.map(from_time),
                reply: reply.try_into()?,
            },
            Standing::Canceled(reply) => now::Standing::Canceled(reply.try_into()?),
        })
    }
}
