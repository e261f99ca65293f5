//! The gateway speaks, the schedule says that it is time, or the process has started: the chase for the truth.
//!
//! Each function is one column of the table: every standing, no wildcard.

use super::{Action, Step, failover, gate, parked, window};
use crate::payment::{
    Cause, Evidence, Fact, Finality, Inquiry, Lasting, Operation, Outcome, ParkReason, Person, Pursuit, Reply,
    Standing, Tick, Timestamp,
};

/// A sending has ended: its worker says so.
pub(super) fn ended(operation: &Operation, attempt: u32, outcome: &Outcome, step: &mut Step<'_>) {
    match &operation.standing {
        Standing::Sent { .. } if attempt == operation.attempts => conclude_attempt(operation, outcome, step),
        // A worker reports each attempt once, and none starts before the last has ended: this is old news.
        Standing::Sent { .. } | Standing::Intended => {}
        Standing::AtGateway { .. } | Standing::InDoubt { .. } | Standing::Parked { .. } => {
            step.pursuit(operation).calling = false;
            learn_final(operation, outcome, Evidence::Reply, step);
        }
        Standing::Succeeded(_) | Standing::Declined { .. } | Standing::Canceled(_) => {
            step.pursuit(operation).calling = false;
            contradict(operation, outcome, Evidence::Reply, step);
        }
    }
}

fn conclude_attempt(operation: &Operation, outcome: &Outcome, step: &mut Step<'_>) {
    let outcome = match outcome {
        Outcome::NotFound => Outcome::Unknown(Reply::new("not_found", "the gateway answered a sending with not found")),
        Outcome::Succeeded(_)
        | Outcome::Declined(_, _)
        | Outcome::Pending(_, _)
        | Outcome::NotSent(_)
        | Outcome::Refused(_, _)
        | Outcome::Unknown(_) => outcome.clone(),
    };
    let evidence = if matches!(outcome, Outcome::NotSent(_)) { Evidence::NoByteLeft } else { Evidence::Reply };
    end_attempt(operation, &outcome, evidence, step);
    step.pursuit(operation).calling = false;
    match &outcome {
        Outcome::Succeeded(_) | Outcome::Declined(Finality::Hard, _) => {}
        Outcome::Declined(Finality::Soft, _) => window::open(operation, &outcome, Evidence::Reply, step),
        Outcome::Pending(_, _) => await_pending(operation, step),
        Outcome::NotSent(_) | Outcome::Refused(_, _) if operation.may_have_acted => begin_doubt(operation, step),
        Outcome::NotSent(_) => failover::elsewhere_or_later(operation, None, step),
        Outcome::Refused(Lasting::ForNow { retry_after }, _) => {
            failover::elsewhere_or_later(operation, *retry_after, step)
        }
        Outcome::Refused(Lasting::ForGood, reply) => {
            step.facts.push(Fact::Canceled { operation: operation.this, reply: reply.clone() });
        }
        Outcome::Unknown(_) | Outcome::NotFound => begin_doubt(operation, step),
    }
}

fn end_attempt(operation: &Operation, outcome: &Outcome, evidence: Evidence, step: &mut Step<'_>) {
    let (outcome, attempt) = (outcome.clone(), operation.attempts);
    step.facts.push(Fact::AttemptEnded { operation: operation.this, attempt, outcome, evidence });
}

/// An inquiry was answered, or was not.
pub(super) fn answered(operation: &Operation, asked: Tick, outcome: &Outcome, step: &mut Step<'_>) {
    match &operation.standing {
        // Nothing is asked about these.
        Standing::Intended | Standing::Sent { .. } => {}
        Standing::AtGateway { .. } | Standing::InDoubt { .. } | Standing::Parked { .. } => {
            step.pursuit(operation).calling = false;
            if !learn_final(operation, outcome, Evidence::Inquiry, step) {
                no_final_answer(operation, asked, outcome, step);
            }
        }
        Standing::Declined { open_until: Some(until), .. } => {
            step.pursuit(operation).calling = false;
            window::close(operation, *until, asked, outcome, step);
        }
        Standing::Succeeded(_) | Standing::Declined { open_until: None, .. } | Standing::Canceled(_) => {
            step.pursuit(operation).calling = false;
            contradict(operation, outcome, Evidence::Inquiry, step);
        }
    }
}

/// A gateway that cannot be asked has said by itself what became of it.
pub(super) fn told(operation: &Operation, outcome: &Outcome, step: &mut Step<'_>) {
    match &operation.standing {
        // Certainly nothing has happened: whatever is meant, it is not this.
        Standing::Intended => {}
        Standing::Sent { .. } | Standing::AtGateway { .. } | Standing::InDoubt { .. } | Standing::Parked { .. } => {
            learn_final(operation, outcome, Evidence::Webhook, step);
        }
        Standing::Succeeded(_) | Standing::Declined { .. } | Standing::Canceled(_) => {
            contradict(operation, outcome, Evidence::Webhook, step);
        }
    }
}

/// The schedule says that it is time.
pub(super) fn due(operation: &Operation, step: &mut Step<'_>) {
    let pursuit = *step.pursuit(operation);
    if pursuit.calling || step.now.tick < pursuit.due {
        return;
    }
    match &operation.standing {
        // One that has just been ended together with the first is only made to wait: see `gate`.
        Standing::Intended => gate::send_if_possible(operation, step),
        // Its worker will report.
        Standing::Sent { .. } => {}
        Standing::AtGateway { since, .. } => pursue_pending(operation, *since, step),
        Standing::InDoubt { since, .. } => pursue_doubt(operation, *since, step),
        Standing::Parked { .. } => ask(operation, step),
        Standing::Declined { open_until: Some(until), .. } => window::look_through(operation, *until, step),
        Standing::Succeeded(_) | Standing::Declined { open_until: None, .. } | Standing::Canceled(_) => {}
    }
}

/// The process has started, and found the operation as the last one left it.
pub(super) fn resume(operation: &Operation, step: &mut Step<'_>) {
    let believable_from = step.rules.schedule.believable_from(&step.rules.contract, step.now);
    let now = step.now.tick;
    *step.pursuit(operation) = Pursuit { believable_from, heard: now, ..Pursuit::default() };
    match &operation.standing {
        Standing::Sent { .. } => {
            let reply = Reply::new("process_stopped", "the process stopped before it recorded the attempt's end");
            end_attempt(operation, &Outcome::Unknown(reply), Evidence::Stopped, step);
            begin_doubt(operation, step);
        }
        Standing::Parked { reason: ParkReason::GatewayChanged, .. } if is_ours(operation, step) => {
            step.facts.push(Fact::Unparked { operation: operation.this });
            // What it is now is decided in the next turn, on the fold of this one.
        }
        Standing::Intended
        | Standing::AtGateway { .. }
        | Standing::InDoubt { .. }
        | Standing::Parked { .. }
        | Standing::Declined { .. }
        | Standing::Succeeded(_)
        | Standing::Canceled(_) => due(operation, step),
    }
}

/// Records a final answer, if it is one.
fn learn_final(operation: &Operation, outcome: &Outcome, evidence: Evidence, step: &mut Step<'_>) -> bool {
    match outcome {
        Outcome::Succeeded(_) | Outcome::Declined(Finality::Hard, _) => {
            learn(operation, outcome, evidence, None, step);
            true
        }
        Outcome::Declined(Finality::Soft, _) => {
            window::open(operation, outcome, evidence, step);
            true
        }
        Outcome::Pending(_, _)
        | Outcome::NotSent(_)
        | Outcome::Refused(_, _)
        | Outcome::NotFound
        | Outcome::Unknown(_) => false,
    }
}

pub(super) fn learn(
    operation: &Operation,
    outcome: &Outcome,
    evidence: Evidence,
    open_until: Option<Timestamp>,
    step: &mut Step<'_>,
) {
    step.facts.push(Fact::Learned { operation: operation.this, outcome: outcome.clone(), evidence, open_until });
}

/// What an inquiry without a final answer means. Time is never evidence: nothing here declines anything.
fn no_final_answer(operation: &Operation, asked: Tick, outcome: &Outcome, step: &mut Step<'_>) {
    let pursuit = step.pursuit(operation);
    pursuit.inquiries = pursuit.inquiries.saturating_add(1);
    let in_doubt = matches!(operation.standing, Standing::InDoubt { .. } | Standing::Parked { .. });
    match outcome {
        Outcome::Pending(next_action, _) => {
            let now = step.now.tick;
            step.pursuit(operation).heard = now;
            let known = matches!(&operation.standing, Standing::AtGateway { next_action: k, .. } if k == next_action);
            if !known {
                learn(operation, outcome, Evidence::Inquiry, None, step);
            }
            await_news(operation, step);
        }
        Outcome::NotFound if in_doubt => not_found(operation, asked, step),
        Outcome::Succeeded(_)
        | Outcome::Declined(_, _)
        | Outcome::NotSent(_)
        | Outcome::Refused(_, _)
        | Outcome::NotFound
        | Outcome::Unknown(_) => await_news(operation, step),
    }
}

/// "Not found" counts only if it was asked after the last moment at which the gateway could still have acted or
/// lagged; and only enough of them, spaced, are a proof (Hyperswitch#10285: an inquiry overtakes its request).
fn not_found(operation: &Operation, asked: Tick, step: &mut Step<'_>) {
    let times = match step.rules.contract.inquiry {
        Inquiry::None => u32::MAX,
        Inquiry::ByKey { not_found_times, .. } => not_found_times,
    };
    let spacing = step.rules.schedule.not_found_spacing;
    let now = step.now.tick;
    let pursuit = step.pursuit(operation);
    if asked < pursuit.believable_from {
        let believable_from = pursuit.believable_from;
        await_news(operation, step);
        let pursuit = step.pursuit(operation);
        pursuit.due = pursuit.due.min(believable_from);
        return;
    }
    if pursuit.not_founds == 0 || asked >= pursuit.not_found_asked.plus(spacing) {
        pursuit.not_founds = pursuit.not_founds.saturating_add(1);
        pursuit.not_found_asked = asked;
    }
    let counted = pursuit.not_founds;
    if matches!(operation.standing, Standing::Parked { .. }) {
        // For a person who wants it sent again: nothing parked is sent by itself.
        await_news(operation, step);
    } else if counted < times {
        pursuit.due = now.plus(spacing);
    } else {
        resend_or_park(operation, Cause::ProvenNotFound { times: counted }, step);
    }
}

/// Sends the same bytes again under the same key to the same gateway, if that cannot move money twice.
fn resend_or_park(operation: &Operation, cause: Cause, step: &mut Step<'_>) {
    let rules = step.rules;
    if is_unwanted(operation, step) {
        // Nor is it over: what was sent may still arrive. Where nobody can be asked, only news or a person can end it.
        return match rules.contract.inquiry {
            Inquiry::ByKey { .. } => await_news(operation, step),
            Inquiry::None => {
                let due = step.now.tick.plus(rules.schedule.pause_parked);
                step.pursuit(operation).due = due;
            }
        };
    }
    match rules.schedule.may_resend(operation, &step.payment.order, &rules.contract, step.now) {
        Ok(true) if rules.may_send_again() => start_attempt(operation, cause, step),
        // The clock cannot be believed, the folder may be a copy, or the gateway is paused: keep asking until a person has looked.
        Ok(_) => back_off(operation, None, step),
        Err(reason) => park(operation, reason, step),
    }
}

/// A person's wish to send again: the same rules, but an answer instead of a parking.
pub(super) fn resend_for(operation: &Operation, person: &Person, step: &mut Step<'_>) -> Result<(), String> {
    let rules = step.rules;
    let pursuit = *step.pursuit(operation);
    let proven = match rules.contract.inquiry {
        Inquiry::None => step.now.tick >= pursuit.believable_from,
        Inquiry::ByKey { not_found_times, .. } => pursuit.not_founds >= not_found_times,
    };
    let allowed = rules.schedule.may_resend(operation, &step.payment.order, &rules.contract, step.now);
    match allowed {
        Err(reason) => Err(format!("it cannot be sent again without risking a second charge: {}", reason.message())),
        Ok(false) => Err("the wall clock cannot be believed, so the age of the key is not known".to_owned()),
        Ok(true) if !rules.sending => Err("nothing is sent from this folder until `serve --moved`".to_owned()),
        Ok(true) if rules.is_paused() => Err("an operator has paused its gateway".to_owned()),
        Ok(true) if is_unwanted(operation, step) => Err("its caller has asked for it to be voided".to_owned()),
        Ok(true) if pursuit.calling => Err("the gateway is being asked right now; try again".to_owned()),
        Ok(true) if !proven => Err("it is not proven yet that the gateway does not know it".to_owned()),
        Ok(true) => {
            start_attempt(operation, Cause::Person(person.clone()), step);
            Ok(())
        }
    }
}

pub(super) fn start_attempt(operation: &Operation, cause: Cause, step: &mut Step<'_>) {
    if operation.request.is_empty() && step.payment.order.erased {
        // An older copy of the journal beside newer keys: it was resolved elsewhere, before what it would send was erased.
        return park(operation, ParkReason::KeyExpired, step);
    }
    let (attempt, not_after) = (operation.attempts.saturating_add(1), step.not_after(operation));
    step.facts.push(Fact::AttemptStarted { operation: operation.this, attempt, not_after, cause });
    let (call, request) = (step.call(operation), operation.request.clone());
    step.actions.push(Action::Send { call, attempt, request, not_after });
    let pursuit = step.pursuit(operation);
    pursuit.calling = true;
    pursuit.inquiries = 0;
    pursuit.not_founds = 0;
}

/// Something may have happened: find out how the contract lets us.
fn begin_doubt(operation: &Operation, step: &mut Step<'_>) {
    let believable_from = step.rules.schedule.believable_from(&step.rules.contract, step.now);
    let pursuit = step.pursuit(operation);
    pursuit.believable_from = believable_from;
    pursuit.inquiries = 0;
    pursuit.not_founds = 0;
    if !is_ours(operation, step) {
        return park(operation, ParkReason::GatewayChanged, step);
    }
    match (step.rules.contract.inquiry, step.rules.schedule.key_life(&step.rules.contract)) {
        (Inquiry::ByKey { .. }, _) => ask(operation, step),
        (Inquiry::None, Some(_)) => step.pursuit(operation).due = believable_from,
        (Inquiry::None, None) => park(operation, ParkReason::NoWayToKnow, step),
    }
}

fn pursue_doubt(operation: &Operation, since: Timestamp, step: &mut Step<'_>) {
    if !is_ours(operation, step) {
        return park(operation, ParkReason::GatewayChanged, step);
    }
    // After a long stop the gateway is asked first: it had time to find out.
    let asked = step.pursuit(operation).inquiries > 0 || matches!(step.rules.contract.inquiry, Inquiry::None);
    if asked && step.now.wall >= since.plus(step.rules.contract.park_after) {
        return park(operation, ParkReason::Exhausted, step);
    }
    match (step.rules.contract.inquiry, step.rules.schedule.key_life(&step.rules.contract)) {
        (Inquiry::ByKey { .. }, _) => ask(operation, step),
        (Inquiry::None, None) => park(operation, ParkReason::NoWayToKnow, step),
        (Inquiry::None, Some(_)) => {
            let believable_from = step.pursuit(operation).believable_from;
            if step.now.tick >= believable_from {
                resend_or_park(operation, Cause::SameKey, step);
            } else {
                step.pursuit(operation).due = believable_from;
            }
        }
    }
}

/// Accepted, and not decided yet. Where the gateway cannot be asked, its answer to the same bytes under the same key is
/// as good; where that would be a second sending, only a webhook or a person can end it, and in time a person is told.
fn pursue_pending(operation: &Operation, since: Timestamp, step: &mut Step<'_>) {
    gate::let_go_of_expired(operation, step);
    let rules = step.rules;
    let askable = matches!(rules.contract.inquiry, Inquiry::ByKey { .. });
    if askable && is_ours(operation, step) {
        let heard = step.pursuit(operation).heard;
        let silent = step.now.tick.since(heard) >= rules.contract.park_after;
        return if silent { park(operation, ParkReason::Exhausted, step) } else { ask(operation, step) };
    }
    match rules.schedule.may_resend(operation, &step.payment.order, &rules.contract, step.now) {
        Ok(true) if rules.may_send_again() => start_attempt(operation, Cause::SameKey, step),
        Err(ParkReason::GatewayChanged) => park(operation, ParkReason::GatewayChanged, step),
        Ok(_) | Err(_) if step.now.wall >= since.plus(rules.contract.park_after) => {
            park(operation, ParkReason::NoWayToKnow, step);
        }
        Ok(_) | Err(_) => ask(operation, step),
    }
}

/// Asks, where the gateway can be asked and is the one that may have acted. Returns whether it does.
pub(super) fn ask_now(operation: &Operation, step: &mut Step<'_>) -> bool {
    let askable = matches!(step.rules.contract.inquiry, Inquiry::ByKey { .. }) && is_ours(operation, step);
    let free = !step.pursuit(operation).calling;
    if askable && free {
        step.actions.push(Action::Inquire(step.call(operation)));
        step.pursuit(operation).calling = true;
    }
    askable
}

fn ask(operation: &Operation, step: &mut Step<'_>) {
    if !ask_now(operation, step) {
        // Nobody to ask: what ends it is a webhook or a person, and neither needs waking for.
        let due = step.now.tick.plus(step.rules.schedule.pause_parked);
        step.pursuit(operation).due = due;
    }
}

/// A sending was accepted, and will be decided later.
fn await_pending(operation: &Operation, step: &mut Step<'_>) {
    let now = step.now.tick;
    step.pursuit(operation).heard = now;
    if matches!(step.rules.contract.inquiry, Inquiry::None) {
        // To look again is to send again: not often.
        let due = step.now.tick.plus(step.rules.schedule.pause_parked);
        step.pursuit(operation).due = due;
    } else {
        await_news(operation, step);
    }
}

/// When to look again: 1, 2, 4 .. 60 s, or rarely once parked.
pub(super) fn await_news(operation: &Operation, step: &mut Step<'_>) {
    let (schedule, now) = (&step.rules.schedule, step.now.tick);
    let pause = if matches!(operation.standing, Standing::Parked { .. }) {
        schedule.pause_parked
    } else {
        let asked = step.pursuit(operation).inquiries;
        schedule.pause(asked.saturating_sub(1))
    };
    step.pursuit(operation).due = now.plus(pause);
}

pub(super) fn back_off(operation: &Operation, at_least: Option<std::time::Duration>, step: &mut Step<'_>) {
    let now = step.now.tick;
    let setbacks = step.pursuit(operation).setbacks;
    let pause = step.rules.schedule.pause(setbacks).max(at_least.unwrap_or_default());
    let pursuit = step.pursuit(operation);
    pursuit.setbacks = setbacks.saturating_add(1);
    pursuit.due = now.plus(pause);
}

pub(super) fn park(operation: &Operation, reason: ParkReason, step: &mut Step<'_>) {
    step.facts.push(parked(operation, reason));
    let due = step.now.tick.plus(step.rules.schedule.pause_parked);
    step.pursuit(operation).due = due;
}

/// News about what is final: recorded if it contradicts what was told, once. It rewrites nothing.
pub(super) fn contradict(operation: &Operation, outcome: &Outcome, evidence: Evidence, step: &mut Step<'_>) {
    let contradicts = match (&operation.standing, outcome) {
        (Standing::Declined { .. } | Standing::Canceled(_), Outcome::Succeeded(_))
        | (Standing::Succeeded(_), Outcome::Declined(_, _)) => operation.contradicted.is_none(),
        (
            Standing::Declined { .. } | Standing::Canceled(_) | Standing::Succeeded(_),
            Outcome::Succeeded(_)
            | Outcome::Declined(_, _)
            | Outcome::Pending(_, _)
            | Outcome::NotSent(_)
            | Outcome::Refused(_, _)
            | Outcome::NotFound
            | Outcome::Unknown(_),
        )
        | (
            Standing::Intended
            | Standing::Sent { .. }
            | Standing::AtGateway { .. }
            | Standing::InDoubt { .. }
            | Standing::Parked { .. },
            _,
        ) => false,
    };
    if contradicts {
        step.facts.push(Fact::Contradicted { operation: operation.this, outcome: outcome.clone(), evidence });
        if matches!(outcome, Outcome::Succeeded(_)) {
            gate::late_success(operation, step);
        }
    }
}

pub(super) fn is_ours(operation: &Operation, step: &Step<'_>) -> bool {
    operation.gateway == step.rules.contract.identity
}

/// Whether its caller has asked for it to be voided: then it is not sent again, whatever is not found.
fn is_unwanted(operation: &Operation, step: &Step<'_>) -> bool {
    operation.this.number == 0 && step.payment.voiding().is_some()
}
