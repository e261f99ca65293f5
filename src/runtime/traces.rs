//! What traces and logs are told of payments: ids, kinds, states, amounts, the gateway's name, one word for an outcome.
//! Nothing else that a caller wrote. Where nobody listens at this level, nothing is made.

use std::sync::Arc;

use tracing::{Level, Span, field::Empty};

use crate::payment::{Action, Outcome, Payment};

/// One call to a gateway, from when a turn released it until it is reported, the wait for a free slot included.
pub(super) fn call(action: &Action, gateway: &str) -> Span {
    let (asked, call, attempt) = match action {
        Action::Prepare { call, .. } => ("prepare", call, None),
        Action::Send { call, attempt, .. } => ("send", call, Some(*attempt)),
        Action::Inquire(call) => ("inquire", call, None),
    };
    tracing::info_span!(
        "gateway_call",
        payment = %call.payment,
        operation = call.operation,
        kind = call.kind.as_str(),
        amount = call.amount.minor_units(),
        currency = call.currency.as_str(),
        gateway,
        call = asked,
        attempt,
        outcome = Empty,
    )
}

/// How a call ended.
pub(super) fn ended(span: &Span, outcome: &Outcome) {
    span.record("outcome", outcome.name());
}

/// A turn has changed these. `settled` is said once what its caller is told is final; should more happen to a payment
/// within that millisecond, it is said again, in the same words.
pub(super) fn changed(payments: &[Arc<Payment>]) {
    if !tracing::enabled!(target: "payonce::payment", Level::INFO) {
        return;
    }
    for payment in payments {
        let state = payment.state().as_str();
        match payment.settled_at {
            Some(at) if at == payment.updated_at => tracing::info!(
                name: "settled",
                target: "payonce::payment",
                payment = %payment.id,
                state,
                amount = payment.order.amount.minor_units(),
                currency = payment.order.currency.as_str(),
                created_ms = payment.created_at.as_millis(),
                settled_ms = at.as_millis(),
                "settled"
            ),
            Some(_) | None => {
                let what = payment.timeline.last().map(|moment| moment.what.as_ref());
                tracing::debug!(target: "payonce::payment", payment = %payment.id, state, what, "changed");
            }
        }
    }
}
