//! A caller goes on from a payment: captures, voids or refunds it.

use super::{FollowUp, Response, Step, distrust, gate};
use crate::payment::operation::OWN_KEYS;
use crate::payment::{Amount, Asked, IdempotencyKey, Invalid, Kind, Operation, OperationKey, OperationRef, Tenant};

/// The most operations of one payment: it is carried whole, and has to fit its record (4 MiB) with all of them open.
const MAX_OPERATIONS: usize = 200;

/// Joins or replays the operation of this key; or begins it, if the payment has that much left for it.
pub(super) fn operate(tenant: &Tenant, key: &IdempotencyKey, follow_up: FollowUp, step: &mut Step<'_>) {
    step.response = Some(if step.payment.tenant != *tenant {
        Response::NotFound
    } else if let Some(known) = step.payment.follow_up(key) {
        repeat(known, follow_up)
    } else {
        match begin(key, follow_up, step) {
            Ok(()) => Response::Fresh,
            Err(refusal) => refusal,
        }
    });
}

/// What a caller leaves out, it does not contradict: an operation is known by its key.
fn repeat(known: &Operation, follow_up: FollowUp) -> Response {
    let other_kind = known.this.kind != follow_up.kind();
    let other_amount = follow_up.amount().is_some_and(|amount| amount != known.this.amount);
    let differing = [("operation", other_kind), ("amount", other_amount)];
    let differing: Vec<&'static str> =
        differing.into_iter().filter(|(_, differs)| *differs).map(|(it, _)| it).collect();
    if !differing.is_empty() {
        Response::Conflict(differing)
    } else if known.is_final() {
        Response::Replayed
    } else {
        Response::Attached
    }
}

fn begin(key: &IdempotencyKey, follow_up: FollowUp, step: &mut Step<'_>) -> Result<(), Response> {
    let invalid = |why: String| Err(Response::InvalidState(why));
    if key.as_str().starts_with(OWN_KEYS) {
        return Err(Response::Inexpressible(Invalid::new("idempotency_key", "must not begin with \"payonce:\"")));
    }
    if step.payment.operations.len() >= MAX_OPERATIONS {
        return invalid(format!("a payment has up to {MAX_OPERATIONS} operations, and this one has them"));
    }
    let Some(first) = step.payment.first() else {
        return invalid("nothing has been asked of a gateway for this payment yet".to_owned());
    };
    if !step.rules.sending {
        return Err(Response::Moved);
    }
    if first.gateway != step.rules.contract.identity {
        return invalid("the payment was made with another gateway or account than the configured one".to_owned());
    }
    let amount = match follow_up {
        FollowUp::Capture(asked) => share(asked, may_capture(first, step).map(|()| step.payment.capturable()))?,
        FollowUp::Refund(asked) => share(asked, may_refund(first, step).map(|()| step.payment.refundable()))?,
        FollowUp::Void => may_void(first, step).map(|()| first.this.amount)?,
    };
    let operation = intended(follow_up.kind(), key, amount, step).map_err(Response::Inexpressible)?;
    step.intend(operation.clone());
    gate::send_or_wait(&operation, step);
    Ok(())
}

/// The operation as it will be recorded: its bytes are frozen here.
pub(super) fn intended(
    kind: Kind,
    key: &IdempotencyKey,
    amount: Amount,
    step: &Step<'_>,
) -> Result<Operation, Invalid> {
    let payment = step.payment;
    let number = u32::try_from(step.pursuits.len()).unwrap_or(u32::MAX);
    let operation_key = OperationKey::derive(&payment.namespace, &payment.id, kind, key);
    let first = payment.first();
    let charge = first.map(|first| first.operation_key);
    let reference = first.and_then(Operation::gateway_id);
    let asked = Asked { kind, operation_key, amount, order: &payment.order, charge, reference };
    let (request, gateway) = (step.rules.encoder.encode(&asked)?, step.rules.contract.identity.clone());
    Ok(Operation::intended(OperationRef { number, kind, amount }, key.clone(), operation_key, gateway, request))
}

/// As much as is asked for; all that is left, if nothing is said.
fn share(asked: Option<Amount>, left: Result<u64, Response>) -> Result<Amount, Response> {
    let left = left?;
    let too_large = Response::AmountTooLarge { left };
    match asked {
        Some(amount) if amount.minor_units() <= left => Ok(amount),
        Some(_) => Err(too_large),
        None => Amount::new(left).map_err(|_| too_large),
    }
}

fn may_capture(first: &Operation, step: &Step<'_>) -> Result<(), Response> {
    let invalid = |why: &str| Err(Response::InvalidState(why.to_owned()));
    if first.this.kind != Kind::Authorize {
        return invalid(
            "the payment is captured with its charge: only one with \"capture\":\"manual\" is captured later",
        );
    }
    if step.payment.voiding().is_some() {
        return invalid("the authorization is voided, or being voided");
    }
    if !first.has_happened() {
        let state = first.state().as_str();
        return invalid(&format!("the payment is {state}: only what is authorized can be captured"));
    }
    Ok(())
}

fn may_refund(first: &Operation, step: &Step<'_>) -> Result<(), Response> {
    if step.payment.captured() == 0 {
        let state = first.state().as_str();
        return Err(Response::InvalidState(format!("the payment is {state}, and nothing of it has been captured")));
    }
    Ok(())
}

fn may_void(first: &Operation, step: &Step<'_>) -> Result<(), Response> {
    let invalid = |why: &str| Err(Response::InvalidState(why.to_owned()));
    if step.payment.voiding().is_some() {
        return invalid("the payment is voided, or being voided, under another key");
    }
    if !first.is_final() {
        return Ok(());
    }
    if step.payment.held(Kind::Capture) > 0 {
        return invalid("it has been captured, or is being captured, in part at least: refund that");
    }
    match (first.has_happened(), first.this.kind == Kind::Authorize) {
        (true, true) => Ok(()),
        (true, false) => invalid("the money has moved: refund it"),
        (false, _) => invalid(&format!("the payment is {}: there is nothing to void", first.state().as_str())),
    }
}

/// An operation of the engine's own, once; it goes out when its time comes, which is at once. Where the gateway's adapter
/// cannot express it, or is not the one that the payment was made with, a person has to look.
pub(super) fn intend_own(kind: Kind, why: &str, amount: Amount, step: &mut Step<'_>) -> bool {
    let Ok(key) = IdempotencyKey::new(&format!("{OWN_KEYS}{why}")) else { return false };
    let elsewhere = step.payment.first().is_none_or(|first| first.gateway != step.rules.contract.identity);
    if elsewhere || step.payment.follow_up(&key).is_some() {
        return false;
    }
    let intended = intended(kind, &key, amount, step);
    intended.is_ok_and(|operation| {
        let doubt = distrust::of_own(&operation, step.payment);
        step.intend(operation);
        step.facts.extend(doubt);
        true
    })
}
