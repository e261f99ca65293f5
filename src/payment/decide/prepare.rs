//! Gateways that mint their own id first: it is asked for, recorded, and only then is anything sent, under it.
//!
//! Asking moves no money, so it may be repeated until it works; but never once an attempt exists, for then that attempt's
//! id is the one to know.

use super::{Action, Step, chase, gate};
use crate::payment::{Asked, Fact, Kind, Lasting, Operation, Outcome, Reply, Standing};

/// Whether the operation has to have an id of the gateway's before it is sent, and has none.
pub(super) fn is_needed(operation: &Operation, step: &Step<'_>) -> bool {
    match operation.this.kind {
        Kind::Charge | Kind::Authorize => step.rules.contract.mints_id_first && operation.prepared.is_none(),
        // They act on what has an id.
        Kind::Capture | Kind::Void | Kind::Refund => false,
    }
}

/// Asks for the id.
pub(super) fn prepare(operation: &Operation, step: &mut Step<'_>) {
    let (call, request) = (step.call(operation), operation.request.clone());
    step.actions.push(Action::Prepare { call, request });
    step.pursuit(operation).calling = true;
}

/// The gateway has answered, or has not.
pub(super) fn prepared(operation: &Operation, outcome: &Outcome, step: &mut Step<'_>) {
    match &operation.standing {
        Standing::Intended if is_needed(operation, step) => {}
        // Old news: nothing else is prepared.
        Standing::Intended
        | Standing::Sent { .. }
        | Standing::AtGateway { .. }
        | Standing::InDoubt { .. }
        | Standing::Parked { .. }
        | Standing::Succeeded(_)
        | Standing::Declined { .. }
        | Standing::Canceled(_) => return,
    }
    step.pursuit(operation).calling = false;
    match outcome {
        Outcome::Succeeded(reply) => match reply.reference() {
            Some(reference) => go_on(operation, reference, step),
            None => chase::back_off(operation, None, step),
        },
        Outcome::Declined(_, reply) | Outcome::Refused(Lasting::ForGood, reply) => {
            step.facts.push(Fact::Canceled { operation: operation.this, reply: reply.clone() });
        }
        Outcome::Refused(Lasting::ForNow { retry_after }, _) => chase::back_off(operation, *retry_after, step),
        Outcome::Pending(_, _) | Outcome::NotSent(_) | Outcome::NotFound | Outcome::Unknown(_) => {
            chase::back_off(operation, None, step);
        }
    }
}

/// The id is recorded together with the bytes that will be sent under it, and with the attempt.
fn go_on(operation: &Operation, reference: &str, step: &mut Step<'_>) {
    let Operation { this, operation_key, .. } = *operation;
    let asked = Asked {
        kind: this.kind,
        operation_key,
        amount: this.amount,
        order: &step.payment.order,
        charge: None,
        reference: Some(reference),
    };
    match step.rules.encoder.encode(&asked) {
        Ok(request) => {
            let reference = reference.to_owned();
            let operation =
                Operation { prepared: Some(reference.clone()), request: request.clone(), ..operation.clone() };
            step.facts.push(Fact::Prepared { operation: this, reference, request });
            gate::send_if_possible(&operation, step);
        }
        Err(invalid) => {
            let reply = Reply::new("inexpressible", &invalid.to_string());
            step.facts.push(Fact::Canceled { operation: this, reply });
        }
    }
}
