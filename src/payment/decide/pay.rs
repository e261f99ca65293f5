//! A caller speaks.

use std::sync::Arc;

use super::{Action, Call, Decision, Response, Rules, not_after};
use crate::payment::{
    Capture, Cause, Fact, IdempotencyKey, Invalid, Kind, Now, OperationKey, OperationRef, Order, Payment, PaymentId,
    Pursuit, Reply, Tenant,
};

/// A key that was never seen: accept the order, and send its first operation, unless it may not be sent any more.
pub(super) fn accept(
    tenant: &Tenant,
    key: &IdempotencyKey,
    order: &Arc<Order>,
    request: &Result<Vec<u8>, Invalid>,
    now: &Now,
    rules: &Rules,
) -> Decision {
    let request = match request {
        Ok(request) => request,
        Err(invalid) => return Decision::nothing(&[], Some(Response::Inexpressible(invalid.clone()))),
    };
    if !rules.sending {
        return Decision::nothing(&[], Some(Response::Moved));
    }
    let (payment, kind) = (PaymentId::derive(tenant, key), first_kind(order));
    let operation = OperationRef { number: 0, kind, amount: order.amount };
    let operation_key = OperationKey::derive(&rules.namespace, &payment, kind, key);
    let mut facts = vec![
        Fact::Accepted {
            tenant: tenant.clone(),
            key: key.clone(),
            namespace: rules.namespace.clone(),
            order: order.clone(),
        },
        Fact::Intended {
            operation,
            key: key.clone(),
            operation_key,
            gateway: rules.contract.identity.clone(),
            request: request.clone(),
        },
    ];
    let mut actions = Vec::new();
    if order.expired(now.wall) {
        facts.push(Fact::Canceled { operation, reply: expired() });
    } else {
        let (amount, currency) = (order.amount, order.currency);
        let gateway = rules.contract.identity.clone();
        let call = Call { payment, gateway, operation: 0, kind, operation_key, amount, currency, reference: None };
        let request = request.clone();
        if rules.contract.mints_id_first {
            actions.push(Action::Prepare { call, request });
        } else {
            let not_after = not_after(order, now, rules);
            facts.push(Fact::AttemptStarted { operation, attempt: 1, not_after, cause: Cause::First });
            actions.push(Action::Send { call, attempt: 1, request, not_after });
        }
    }
    let pursuit = Pursuit { calling: !actions.is_empty(), ..Pursuit::default() };
    Decision { facts, pursuits: vec![pursuit], actions, response: Some(Response::Fresh) }
}

/// A key that is known: join or replay its one payment, or refuse other parameters. Compared before anything else. Nothing
/// is recorded of it.
pub fn repeat(payment: &Payment, tenant: &Tenant, key: &IdempotencyKey, order: &Order) -> Response {
    if payment.tenant != *tenant || payment.key != *key {
        return Response::Conflict(vec!["idempotency_key"]);
    }
    let differing = payment.order.differing_fields(order);
    if !differing.is_empty() {
        return Response::Conflict(differing);
    }
    if payment.is_settled() { Response::Replayed } else { Response::Attached }
}

pub(super) fn expired() -> Reply {
    Reply::new("expired", "the order's expires_at passed before it was sent; no money moved")
}

const fn first_kind(order: &Order) -> Kind {
    match order.capture {
        Capture::Automatic => Kind::Charge,
        Capture::Manual => Kind::Authorize,
    }
}
