//! What one operation means for another: a void waits for what it is to undo, and a charge that is no longer wanted is
//! not sent.

use super::{Step, chase, failover, operate, pay, prepare};
use crate::payment::{Amount, Cause, Evidence, Fact, Kind, Late, Operation, Outcome, ParkReason, Reply, Standing};

/// Whether an operation that certainly has not happened may go out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Gate {
    /// It may.
    Open,
    /// Not before it is known what became of the payment's first operation.
    Wait,
    /// The caller no longer wants the first operation, which certainly has not happened.
    Unwanted,
    /// There is nothing to undo.
    Moot,
    /// The money has moved: only a refund undoes that.
    TooLate,
}

fn gate(operation: &Operation, step: &mut Step<'_>) -> Gate {
    let Some(first) = step.payment.first() else { return Gate::Open };
    match operation.this.kind {
        Kind::Capture | Kind::Refund => Gate::Open,
        Kind::Charge | Kind::Authorize if step.payment.voiding().is_some() => Gate::Unwanted,
        Kind::Charge | Kind::Authorize => Gate::Open,
        // Until the gateway that has it is back, nothing is known, and nothing can be undone.
        Kind::Void if first.gateway != step.rules.contract.identity => Gate::Wait,
        Kind::Void if first.has_happened() && first.this.kind == Kind::Authorize => Gate::Open,
        Kind::Void if first.has_happened() => Gate::TooLate,
        Kind::Void => match &first.standing {
            // What is decided about it in this step will be known in the next one.
            _ if step.speaks_of(first) => Gate::Wait,
            Standing::Intended if step.pursuit(first).calling => Gate::Wait,
            Standing::Intended => Gate::Unwanted,
            Standing::Sent { .. } | Standing::InDoubt { .. } | Standing::Parked { .. } => Gate::Wait,
            // The gateway can still let go of it.
            Standing::AtGateway { .. } => Gate::Open,
            // It may still turn.
            Standing::Declined { open_until: Some(_), .. } => Gate::Wait,
            Standing::Succeeded(_) | Standing::Declined { open_until: None, .. } | Standing::Canceled(_) => Gate::Moot,
        },
    }
}

/// A new operation: it goes out in the step in which it was decided on, or waits.
pub(super) fn send_or_wait(operation: &Operation, step: &mut Step<'_>) {
    pass(operation, step, |operation, step| chase::start_attempt(operation, Cause::First, step));
}

/// An operation that certainly has not happened: send it, unless it must not be sent, or not from here.
pub(super) fn send_if_possible(operation: &Operation, step: &mut Step<'_>) {
    pass(operation, step, |operation, step| {
        if operation.this.number == 0 && step.payment.order.expired(step.now.wall) {
            step.facts.push(Fact::Canceled { operation: operation.this, reply: pay::expired() });
        } else if !chase::is_ours(operation, step) {
            chase::park(operation, ParkReason::GatewayChanged, step);
        } else if !step.rules.sending {
            chase::back_off(operation, None, step);
        } else if step.rules.is_closed() {
            // Not worth sending now, or not to be sent.
            if !failover::move_on(operation, step) {
                chase::back_off(operation, None, step);
            }
        } else {
            if prepare::is_needed(operation, step) {
                return prepare::prepare(operation, step);
            }
            let cause = if operation.attempts == 0 { Cause::First } else { Cause::NothingHappened };
            chase::start_attempt(operation, cause, step);
        }
    });
}

fn pass<'a>(operation: &Operation, step: &mut Step<'a>, open: impl FnOnce(&Operation, &mut Step<'a>)) {
    match gate(operation, step) {
        Gate::Open => open(operation, step),
        Gate::Wait => {
            let due = step.now.tick.plus(step.rules.schedule.pause_parked);
            step.pursuit(operation).due = due;
        }
        Gate::Unwanted => cancel_first(operation, step),
        Gate::Moot => {
            end_void(operation, "nothing_to_void", "the payment did not happen; nothing had to be voided", step)
        }
        Gate::TooLate => too_late(operation, step),
    }
}

/// Cancels the first operation, which certainly has not happened, and with it ends the void that asked for that.
fn cancel_first(operation: &Operation, step: &mut Step<'_>) {
    let (void, first) = match operation.this.kind {
        Kind::Void => (Some(operation), step.payment.first()),
        Kind::Charge | Kind::Authorize | Kind::Capture | Kind::Refund => (step.payment.voiding(), Some(operation)),
    };
    if let Some(first) = first {
        let reply = Reply::new("canceled", "canceled by its caller before it was sent; no money moved");
        step.facts.push(Fact::Canceled { operation: first.this, reply });
    }
    if let Some(void) = void {
        end_void(void, "canceled", "the payment was canceled before it was sent", step);
    }
}

fn end_void(void: &Operation, code: &str, message: &str, step: &mut Step<'_>) {
    let (outcome, evidence) = (Outcome::Succeeded(Reply::new(code, message)), Evidence::NoByteLeft);
    step.facts.push(Fact::Learned { operation: void.this, outcome, evidence, open_until: None });
}

/// The charge that was to be canceled has happened: by policy it is refunded, and either is said.
fn too_late(void: &Operation, step: &mut Step<'_>) {
    // Its caller may have been quicker: what is already going back goes back once. And what expired was wanted: it came
    // too late, and its caller is told that it succeeded.
    let own = void.is_own();
    let refunded = match (step.rules.policies.late_void, Amount::new(step.payment.refundable())) {
        _ if own => false,
        (Late::Refund, Ok(left)) => {
            operate::intend_own(Kind::Refund, &format!("void-{}", void.this.number), left, step)
        }
        (Late::Adopt, _) | (Late::Refund, Err(_)) => false,
    };
    let reply = if refunded {
        Reply::new("refunded_instead", "the money had moved already; it is being refunded by an operation of its own")
    } else {
        Reply::new("too_late", "the money had moved already; what is not being refunded has to be")
    };
    step.facts.push(Fact::Canceled { operation: void.this, reply });
}

/// A void was sent, the gateway would not carry it out, and the charge has happened: as after a void that comes too late,
/// by policy it is refunded, and what was told stays. Whichever of the two is known last is known since this step.
pub(super) fn refund_in_place_of_void(step: &mut Step<'_>) {
    let sent = |one: &&Operation| one.this.kind == Kind::Void && one.attempts > 0 && !one.is_own();
    let Some(void) = step.payment.operations.iter().rfind(sent) else { return };
    let is_news = step.speaks_of(void) || step.payment.first().is_some_and(|first| step.speaks_of(first));
    let Some(now) = step.folded().filter(|_| is_news) else { return };
    let refused = now.operations.iter().find(|one| one.this == void.this).is_some_and(was_not_carried_out);
    let is_charge = now.first().is_some_and(|first| first.this.kind == Kind::Charge);
    // Nothing is left where nothing has moved, or where this very step has begun to give it back.
    if let (true, true, Late::Refund, Ok(left)) =
        (refused, is_charge, step.rules.policies.late_void, Amount::new(now.refundable()))
    {
        operate::intend_own(Kind::Refund, &format!("void-{}", void.this.number), left, step);
    }
}

/// Declined, or refused for good; but not taken back by a person.
fn was_not_carried_out(void: &Operation) -> bool {
    match &void.standing {
        Standing::Declined { open_until, .. } => open_until.is_none() && !void.has_happened(),
        Standing::Canceled(reply) => reply.code() != "canceled",
        Standing::Intended
        | Standing::Sent { .. }
        | Standing::AtGateway { .. }
        | Standing::InDoubt { .. }
        | Standing::Parked { .. }
        | Standing::Succeeded(_) => false,
    }
}

/// Money has moved after its caller was told that it would not: by policy it goes back.
pub(super) fn late_success(operation: &Operation, step: &mut Step<'_>) {
    let undo = match operation.this.kind {
        Kind::Charge | Kind::Capture => Kind::Refund,
        Kind::Authorize => Kind::Void,
        // What was let go of, or went back, is where the policy wants it.
        Kind::Void | Kind::Refund => return,
    };
    // What has just turned out to have moved, or to have been set aside, is not in the book yet.
    let moved = operation.this.amount.minor_units();
    let left = step.payment.captured().saturating_add(moved).saturating_sub(step.payment.held(Kind::Refund)).min(moved);
    if let (Late::Refund, Ok(amount)) = (step.rules.policies.late_success, Amount::new(left)) {
        operate::intend_own(undo, &format!("late-{}", operation.this.number), amount, step);
    }
}

/// A payment that waits at the gateway, perhaps for its payer, and that its order no longer wants: it is let go of there.
pub(super) fn let_go_of_expired(operation: &Operation, step: &mut Step<'_>) {
    let expired = operation.this.number == 0 && step.payment.order.expired(step.now.wall);
    if expired && step.rules.sending && step.payment.voiding().is_none() {
        operate::intend_own(Kind::Void, "expired", operation.this.amount, step);
    }
}
