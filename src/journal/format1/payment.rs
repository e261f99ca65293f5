//! A whole payment, as written in version 1: in `Carried` records, and in the store's rows.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::payment as now;

use super::{
    Evidence, Finality, Identity, Malformed, NextAction, OperationRef, Order, ParkReason, Reply, bytes, from_time, id,
    time,
};

#[derive(Serialize, Deserialize)]
pub(in super::super) struct Payment<'a> {
    #[serde(with = "id")]
    id: [u8; 16],
    tenant: &'a str,
    key: &'a str,
    namespace: &'a str,
    #[serde(borrow)]
    order: Order<'a>,
    #[serde(borrow)]
    operations: Vec<Operation<'a>>,
    created_at: u64,
    settled_at: Option<u64>,
    updated_at: u64,
    contradicted: bool,
    #[serde(borrow)]
    timeline: Vec<Moment<'a>>,
}

impl<'a> From<&'a now::Payment> for Payment<'a> {
    fn from(payment: &'a now::Payment) -> Payment<'a> {
        Payment {
            id: *payment.id.as_bytes(),
            tenant: payment.tenant.as_str(),
            key: payment.key.as_str(),
            namespace: payment.namespace.as_str(),
            order: payment.order.as_ref().into(),
            operations: payment.operations.iter().map(Into::into).collect(),
            created_at: time(payment.created_at),
            settled_at: payment.settled_at.map(time),
            updated_at: time(payment.updated_at),
            contradicted: payment.first().is_some_and(|first| first.contradicted.is_some()),
            timeline: payment.timeline.iter().map(Into::into).collect(),
        }
    }
}

impl TryFrom<Payment<'_>> for now::Payment {
    type Error = Malformed;

    fn try_from(payment: Payment<'_>) -> Result<now::Payment, Malformed> {
        let mut read = now::Payment {
            id: now::PaymentId::from_bytes(payment.id),
            tenant: now::Tenant::new(payment.tenant)?,
            key: now::IdempotencyKey::new(payment.key)?,
            namespace: now::Namespace::new(payment.namespace)?,
            order: Arc::new(payment.order.try_into()?),
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
struct Moment<'a> {
    at: u64,
    operation: u32,
    what: &'a str,
    #[serde(borrow)]
    evidence: Option<Evidence<'a>>,
}

impl<'a> From<&'a now::Moment> for Moment<'a> {
    fn from(moment: &'a now::Moment) -> Moment<'a> {
        Moment {
            at: time(moment.at),
            operation: moment.operation,
            what: &moment.what,
            evidence: moment.evidence.as_ref().map(Into::into),
        }
    }
}

impl From<Moment<'_>> for now::Moment {
    fn from(moment: Moment<'_>) -> now::Moment {
        now::Moment {
            at: from_time(moment.at),
            operation: moment.operation,
            what: moment.what.to_owned().into(),
            evidence: moment.evidence.map(Into::into),
        }
    }
}

#[derive(Serialize, Deserialize)]
struct Operation<'a> {
    this: OperationRef,
    key: &'a str,
    #[serde(with = "id")]
    operation_key: [u8; 16],
    #[serde(borrow)]
    gateway: Identity<'a>,
    #[serde(serialize_with = "bytes::serialize")]
    request: &'a [u8],
    #[serde(borrow)]
    prepared: Option<&'a str>,
    attempts: u32,
    first_sent: Option<u64>,
    may_have_acted: bool,
    #[serde(borrow)]
    standing: Standing<'a>,
}

impl<'a> From<&'a now::Operation> for Operation<'a> {
    fn from(operation: &'a now::Operation) -> Operation<'a> {
        Operation {
            this: operation.this.into(),
            key: operation.key.as_str(),
            operation_key: *operation.operation_key.as_bytes(),
            gateway: (&operation.gateway).into(),
            request: &operation.request,
            prepared: operation.prepared.as_deref(),
            attempts: operation.attempts,
            first_sent: operation.first_sent.map(time),
            may_have_acted: operation.may_have_acted,
            standing: (&operation.standing).into(),
        }
    }
}

impl TryFrom<Operation<'_>> for now::Operation {
    type Error = Malformed;

    fn try_from(operation: Operation<'_>) -> Result<now::Operation, Malformed> {
        Ok(now::Operation {
            this: operation.this.try_into()?,
            key: now::IdempotencyKey::new(operation.key)?,
            operation_key: now::OperationKey::from_bytes(operation.operation_key),
            gateway: operation.gateway.into(),
            request: operation.request.to_owned(),
            prepared: operation.prepared.map(str::to_owned),
            attempts: operation.attempts,
            first_sent: operation.first_sent.map(from_time),
            may_have_acted: operation.may_have_acted,
            standing: operation.standing.try_into()?,
            contradicted: None,
        })
    }
}

#[derive(Serialize, Deserialize)]
enum Standing<'a> {
    /// 0
    Intended,
    /// 1
    Sent { not_after: u64 },
    /// 2
    AtGateway {
        #[serde(borrow)]
        next_action: Option<NextAction<'a>>,
        #[serde(borrow)]
        reply: Reply<'a>,
        since: u64,
    },
    /// 3
    InDoubt {
        #[serde(borrow)]
        reply: Reply<'a>,
        since: u64,
    },
    /// 4
    Parked {
        reason: ParkReason,
        #[serde(borrow)]
        reply: Reply<'a>,
        since: u64,
    },
    /// 5
    #[serde(borrow)]
    Succeeded(Reply<'a>),
    /// 6
    Declined {
        finality: Finality,
        open_until: Option<u64>,
        #[serde(borrow)]
        reply: Reply<'a>,
    },
    /// 7
    #[serde(borrow)]
    Canceled(Reply<'a>),
}

impl<'a> From<&'a now::Standing> for Standing<'a> {
    fn from(standing: &'a now::Standing) -> Standing<'a> {
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

impl TryFrom<Standing<'_>> for now::Standing {
    type Error = Malformed;

    fn try_from(standing: Standing<'_>) -> Result<now::Standing, Malformed> {
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
