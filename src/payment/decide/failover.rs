//! A payment goes to another gateway: only while it certainly has not happened at the one that it was meant for, which
//! is while every attempt there ended NotSent or Refused (HAZARDS H31).

use std::time::Duration;

use super::{Step, chase};
use crate::payment::{Asked, Fact, Kind, Operation, Route, route};

/// The gateway has just not taken it: the others get a try at once, each one, before anybody waits.
pub(super) fn elsewhere_or_later(operation: &Operation, at_least: Option<Duration>, step: &mut Step<'_>) {
    let tried = usize::try_from(operation.attempts).unwrap_or(usize::MAX);
    let untried = tried < route::count(&step.rules.routes, &step.payment.order);
    if !(untried && move_on(operation, step)) {
        chase::back_off(operation, at_least, step);
    }
}

/// Moves it to the next gateway that is for it, if there is one that can express it. It is sent there in the next turn.
pub(super) fn move_on(operation: &Operation, step: &mut Step<'_>) -> bool {
    let routes = step.rules.routes.clone();
    let first = match operation.this.kind {
        Kind::Charge | Kind::Authorize => !operation.may_have_acted,
        // They act on what the gateway has.
        Kind::Capture | Kind::Void | Kind::Refund => false,
    };
    let wanted = first && step.rules.sending && !step.payment.order.expired(step.now.wall);
    let Some(route) = route::next(&routes, &step.payment.order, &operation.gateway).filter(|_| wanted) else {
        return false;
    };
    let Some(request) = encode(operation, route, step) else { return false };
    let gateway = route.contract.identity.clone();
    step.facts.push(Fact::Rerouted { operation: operation.this, gateway, request });
    let now = step.now.tick;
    let pursuit = step.pursuit(operation);
    pursuit.calling = false;
    pursuit.due = now;
    true
}

fn encode(operation: &Operation, route: &Route, step: &Step<'_>) -> Option<Vec<u8>> {
    let Operation { this, operation_key, .. } = *operation;
    let order = &step.payment.order;
    let asked = Asked { kind: this.kind, operation_key, amount: this.amount, order, charge: None, reference: None };
    route.encoder.encode(&asked).ok()
}
