//! Soft declines: final for the caller, and open until the gateway can no longer reverse them (late authorization).

use super::{Step, chase};
use crate::payment::{Clock, Evidence, Fact, Operation, Outcome, Tick, Timestamp};

/// A soft decline: final for the caller, kept open until the gateway can no longer reverse it.
pub(super) fn open(operation: &Operation, outcome: &Outcome, evidence: Evidence, step: &mut Step<'_>) {
    let open_until = step.rules.contract.soft_decline_window.map(|window| step.now.wall.plus(window));
    chase::learn(operation, outcome, evidence, open_until, step);
    if let Some(until) = open_until {
        let (heard, due) = (step.now.tick, step.now.tick_at(until));
        let pursuit = step.pursuit(operation);
        (pursuit.heard, pursuit.due) = (heard, due);
    }
}

/// When the window ends. Where the wall clock cannot be believed, all of it counts from when this process took it up.
fn end(operation: &Operation, until: Timestamp, step: &mut Step<'_>) -> Tick {
    match step.now.clock {
        Clock::Trusted => step.now.tick_of(until),
        Clock::Diverged => {
            let window = step.rules.contract.soft_decline_window.unwrap_or_default();
            step.pursuit(operation).heard.plus(window)
        }
    }
}

pub(super) fn look_through(operation: &Operation, until: Timestamp, step: &mut Step<'_>) {
    let end = end(operation, until, step);
    if step.now.tick < end {
        step.pursuit(operation).due = end;
    } else if !chase::is_ours(operation, step) {
        // Only the gateway that declined can say: the window stays open until it is back.
        chase::back_off(operation, None, step);
    } else if !chase::ask_now(operation, step) {
        step.facts.push(Fact::WindowClosed { operation: operation.this });
    }
}

/// Only an answer to what was asked after its end closes it: the gateway may have reversed it since an earlier question.
pub(super) fn close(operation: &Operation, until: Timestamp, asked: Tick, outcome: &Outcome, step: &mut Step<'_>) {
    let end = end(operation, until, step);
    match outcome {
        Outcome::Succeeded(_) => {
            chase::contradict(operation, outcome, Evidence::Inquiry, step);
            step.facts.push(Fact::WindowClosed { operation: operation.this });
        }
        Outcome::Declined(_, _) if asked >= end => {
            step.facts.push(Fact::WindowClosed { operation: operation.this });
        }
        Outcome::Declined(_, _) if step.now.tick >= end => chase::back_off(operation, None, step),
        Outcome::Declined(_, _) => step.pursuit(operation).due = end,
        Outcome::Pending(_, _)
        | Outcome::NotSent(_)
        | Outcome::Refused(_, _)
        | Outcome::NotFound
        | Outcome::Unknown(_) => {
            let pursuit = step.pursuit(operation);
            pursuit.inquiries = pursuit.inquiries.saturating_add(1);
            chase::await_news(operation, step);
        }
    }
}
