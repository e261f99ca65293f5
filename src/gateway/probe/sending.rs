//! What a gateway makes of sendings: of one, of the same one again, and of another one under the same key.

use super::{
    Unreached,
    finding::{Check, Finding, Learned},
    line::{Line, reference, tally, told, took_on},
    report::written,
};
use crate::payment::{Deduplication, OperationKey, Order, Outcome};

/// Does a charge work at all? Tried under several keys; fails if none of them could be sent.
pub(super) async fn charge(line: &Line<'_>) -> Result<Finding, Unreached> {
    let mut outcomes = Vec::new();
    for _ in 0..line.plan.tries.max(1) {
        let outcome = line.send(line.fresh_key(), &line.plan.order).await;
        if took_on(&outcome) {
            let seen = format!("{}, answered in {}", named(&outcome), written(line.quickest()));
            return Ok(Finding::shown(Check::Charge, seen));
        }
        outcomes.push(outcome);
    }
    let unreached = outcomes.iter().all(|outcome| matches!(outcome, Outcome::NotSent(_)));
    match outcomes.pop() {
        Some(Outcome::NotSent(reply)) if unreached => Err(Unreached { reply }),
        last => Ok(Finding::not_measured(Check::Charge, &last.map_or_else(String::new, |last| no_charge(&last)))),
    }
}

fn no_charge(last: &Outcome) -> String {
    let message = last.reply().map_or("", |reply| reply.message());
    format!("{}: {message}. Take an amount, currency, source and destination that the gateway accepts", told(last))
}

/// The same bytes under the same key, one after the other.
pub(super) async fn same_key_again(line: &Line<'_>) -> Finding {
    let mut tries = Vec::new();
    for _ in 0..line.plan.tries.max(1) {
        let key = line.fresh_key();
        let first = line.send(key, &line.plan.order).await;
        let second = line.send(key, &line.plan.order).await;
        tries.push(Repeats::of(line, key, vec![first, second]));
    }
    judge(line, Check::SameKeyAgain, &tries)
}

/// The same bytes under the same key, all under way at once, and once more when all have ended: those that came second
/// may only have been told that one is in progress.
pub(super) async fn same_key_at_once(line: &Line<'_>) -> Finding {
    let mut tries = Vec::new();
    for _ in 0..line.plan.tries.max(1) {
        let key = line.fresh_key();
        let mut outcomes = line.send_at_once(key, &line.plan.order, line.plan.at_once).await;
        outcomes.push(line.send(key, &line.plan.order).await);
        tries.push(Repeats::of(line, key, outcomes));
    }
    judge(line, Check::SameKeyAtOnce, &tries)
}

/// Sendings of the same bytes under one key, and how often money moved; `None`: it cannot be seen.
struct Repeats {
    outcomes: Vec<Outcome>,
    movements: Option<u64>,
}

impl Repeats {
    fn of(line: &Line<'_>, key: OperationKey, outcomes: Vec<Outcome>) -> Repeats {
        let movements = line.movements(key, &outcomes);
        Repeats { outcomes, movements }
    }

    /// Whether the same key was answered with yes and with no.
    fn disagree(&self) -> bool {
        self.outcomes.iter().any(took_on) && self.outcomes.iter().any(|one| matches!(one, Outcome::Declined(..)))
    }
}

fn judge(line: &Line<'_>, check: Check, tries: &[Repeats]) -> Finding {
    let replies = tally(tries.iter().flat_map(|one| &one.outcomes));
    let seen: Vec<u64> = tries.iter().filter_map(|one| one.movements).collect();
    let (keys, most) = (seen.len(), seen.iter().max().copied().unwrap_or_default());
    let declared_none = line.contract().deduplication == Deduplication::None;
    let twice = seen.iter().filter(|moved| **moved > 1).count();
    if twice > 0 {
        let seen = format!("{twice} of {keys} keys moved money more than once (up to {most} times); {replies}");
        return match declared_none {
            true => Finding::shown(check, format!("{seen}, as declared")),
            false => Finding::contradicted(check, seen, &[Learned::NoDeduplication]),
        };
    }
    if tries.iter().any(Repeats::disagree) && !declared_none {
        let seen = format!("one key was answered with yes and with no: {replies}");
        return Finding::contradicted(check, seen, &[Learned::NoDeduplication]);
    }
    match keys {
        0 => Finding::not_measured(check, &format!("a second movement would go unseen: {replies}")),
        _ if declared_none => {
            let seen = format!("it moved once, though declared not to deduplicate; not relied on: {replies}");
            Finding::not_contradicted(check, seen)
        }
        _ => Finding::not_contradicted(check, format!("{keys} keys, none moved money twice: {replies}")),
    }
}

/// The same key with something else in it: the amount, the currency or the destination.
pub(super) async fn other_parameters(line: &Line<'_>, check: Check) -> Finding {
    let Some(other) = changed(line, check) else {
        return Finding::not_measured(check, "there is nothing else to ask for");
    };
    let (key, first) = first_taken(line).await;
    if !took_on(&first) {
        return Finding::not_measured(check, &format!("the first sending was no success: {}", told(&first)));
    }
    let second = line.send(key, &other).await;
    let movements = line.movements(key, &[first.clone(), second.clone()]);
    judge_other(check, &first, &second, movements)
}

/// A charge that the gateway takes on, or the last of as many tries as allowed.
async fn first_taken(line: &Line<'_>) -> (OperationKey, Outcome) {
    let mut left = line.plan.tries;
    loop {
        let key = line.fresh_key();
        let outcome = line.send(key, &line.plan.order).await;
        left = left.saturating_sub(1);
        if took_on(&outcome) || left == 0 {
            return (key, outcome);
        }
    }
}

fn changed(line: &Line<'_>, check: Check) -> Option<Order> {
    let mut other = line.plan.order.clone();
    match check {
        Check::OtherAmount => {
            let units = other.amount.minor_units();
            other.amount = crate::payment::Amount::new(units.checked_add(1)?).ok()?;
        }
        Check::OtherCurrency => other.currency = line.plan.other_currency,
        Check::OtherDestination => other.destination.clone_from(&line.plan.other_destination),
        Check::Charge
        | Check::NeverSent
        | Check::Inquiry
        | Check::NotFoundLag
        | Check::SameKeyAgain
        | Check::SameKeyAtOnce
        | Check::ReplyLost
        | Check::NotSent
        | Check::Declined
        | Check::KeyLifetime => return None,
    }
    (other != line.plan.order).then_some(other)
}

fn judge_other(check: Check, first: &Outcome, second: &Outcome, movements: Option<u64>) -> Finding {
    // A reply that speaks of another amount or currency is not this one's; where the money goes, replies do not say.
    let told_apart = check != Check::OtherDestination;
    let both = format!("{}, then {}", named(first), named(second));
    match (second, movements) {
        (_, Some(moved)) if moved > 1 => {
            let seen = format!("executed as a second payment ({both}): it deduplicates by more than the key");
            Finding::contradicted(check, seen, &[Learned::NoDeduplication])
        }
        (Outcome::Succeeded(_) | Outcome::Pending(..), Some(_)) if told_apart => {
            let seen = format!("the first outcome passed for this one's ({both}): the adapter does not compare");
            Finding::contradicted(check, seen, &[])
        }
        (Outcome::Succeeded(_) | Outcome::Pending(..), None) if told_apart => {
            let seen = format!("executed, or passed for executed ({both}); without references nobody can tell");
            Finding::contradicted(check, seen, &[Learned::NoDeduplication])
        }
        (Outcome::Succeeded(_) | Outcome::Pending(..), Some(_)) => {
            Finding::not_contradicted(check, format!("answered with the first outcome: {}", named(second)))
        }
        (Outcome::Refused(..), _) => Finding::not_contradicted(check, told(second)),
        (Outcome::Declined(..), _) => Finding::not_contradicted(check, format!("decided against: {}", told(second))),
        (Outcome::Unknown(reply), Some(_)) => {
            Finding::not_contradicted(check, format!("not executed: {}: {}", told(second), reply.message()))
        }
        (Outcome::Unknown(reply), None) if reply.reference().is_some() && reply.reference() == reference(first) => {
            let seen = format!("answered with the first outcome, and the adapter noticed: {}", told(second));
            Finding::not_contradicted(check, seen)
        }
        (
            Outcome::Succeeded(_)
            | Outcome::Pending(..)
            | Outcome::Unknown(_)
            | Outcome::NotSent(_)
            | Outcome::NotFound,
            _,
        ) => Finding::not_measured(check, &format!("what came of it cannot be seen: {}", told(second))),
    }
}

/// An outcome with its reference.
fn named(outcome: &Outcome) -> String {
    reference(outcome).map_or_else(|| told(outcome), |reference| format!("{} {reference}", told(outcome)))
}
