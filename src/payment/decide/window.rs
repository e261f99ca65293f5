//! Soft declines: final for the caller, and open until the gateway can no longer reverse them (late authorization).

use super::{Step, chase};
use crate::payment::{Clock, Evidence, Fact, Operation, Outcome, Tick, Timestamp};

/// A soft decline: final for the caller, kept open until the gateway can no longer reverse it.
pub(super) fn open(operation: &Operation, outcome: &Outcome, evidence: Evidence, step: &mut Step<'_>) {
    let open_until = step.rules.contract.soft_decline_window.map(|window| step.now.wall.plus(window));
    chase::learn(operation, outcome, evidence, open_until, step);
    if let Some(until) = open_until {
        step.pursuit(operation).due = step.now.tick_at(until);
    }
}

pub(super) fn look_through(operation: &Operation, until: Timestamp, step: &mut Step<'_>) {
    if step.now.wall < until {
        step.pursuit(operation).due = step.now.tick_at(until);
    } else if step.now.clock == Clock::Diverged {
        // By another clock it may be open still.
        chase::back_off(operation, None, step);
    } else if !chase::is_ours(operation, step) {
        // Only the gateway that declined can say: the window stays open until it is back.
        chase::back_off(operation, None, step);
    } else if !chase::ask_now(operation, step) {
        step.facts.push(Fact::WindowClosed { operation: operation.this });
    }
}

/// Only an answer to what was asked after its end closes it: the gateway may have reversed it since an earlier question.
pub(super) fn close(operation: &Operation, until: Timestamp, asked: Tick, outcome: &Outcome, step: &mut Step<'_>) {
    let since_asked = step.now.tick.since(asked);
    let over = step.now.clock == Clock::Trusted && step.now.wall >= until.plus(since_asked);
    match outcome {
        Outcome::Succeeded(_) => {
            chase::contradict(operation, outcome, Evidence::Inquiry, step);
            step.facts.push(Fact::WindowClosed { operation: operation.this });
        }
        Outcome::Declined(_, _) if over => step.facts.push(Fact::WindowClosed { operation: operation.this }),
        Outcome::Declined(_, _) if step.now.wall >= until => chase::back_off(operation, None, step),
        Outcome::Declined(_, _) => step.pursuit(operation).due = step.now.tick_at(until),
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
