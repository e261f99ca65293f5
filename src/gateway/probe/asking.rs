//! What a gateway says about operations: those never sent, those that succeeded, those given up on, those declined.

use std::time::Duration;

use super::{
    Trust,
    finding::{Check, Finding, Learned},
    line::{Line, Watch, knows, reference, tally, told, took_on},
    report::written,
};
use crate::payment::{Finality, Inquiry, OperationKey, Order, Outcome};

/// After which parts of a usual reply's time a call is given up on: the first bytes have left by then, or they have
/// not, and only trying tells.
pub(super) const GIVEN_UP_AFTER: [(u32, u32); 5] = [(1, 2), (1, 4), (3, 4), (1, 8), (7, 8)];
/// The shortest time after which a call is given up on: timers are no finer.
const SHORTEST_CALL: Duration = Duration::from_millis(1);
/// Learned durations are rounded up to this: nobody measures a lag to the millisecond.
const GRAIN: Duration = Duration::from_millis(100);

/// Is what was never sent "not found"?
pub(super) async fn never_sent(line: &Line<'_>) -> Finding {
    if line.contract().inquiry == Inquiry::None {
        return unaskable(Check::NeverSent);
    }
    let mut answers = Vec::new();
    for _ in 0..line.plan.tries.max(1) {
        answers.push(line.ask(line.fresh_key(), &line.plan.order).await);
    }
    let all = tally(answers.iter());
    if answers.iter().any(knows) {
        let seen = format!("keys that were never sent: {all}; its answers are not about our keys");
        return Finding::contradicted(Check::NeverSent, seen, &[Learned::NoInquiry]);
    }
    match answers.contains(&Outcome::NotFound) {
        true => Finding::not_contradicted(Check::NeverSent, all),
        false => Finding::not_measured(Check::NeverSent, &format!("no answer was had: {all}; what is lost will park")),
    }
}

/// Is what succeeded found, as it was answered; and how late was "not found" still said?
pub(super) async fn after_success(line: &Line<'_>) -> Vec<Finding> {
    if line.contract().inquiry == Inquiry::None {
        return vec![unaskable(Check::Inquiry), unaskable(Check::NotFoundLag)];
    }
    let mut tries = Vec::new();
    for _ in 0..line.plan.tries.max(1) {
        let key = line.fresh_key();
        let sent = line.send(key, &line.plan.order).await;
        if took_on(&sent) {
            let watch = line.watch(key, &line.plan.order, line.horizon()).await;
            let hopeless = watch.found().is_none();
            tries.push((sent, watch));
            if hopeless {
                // One whole horizon has shown it; another would only take as long again.
                break;
            }
        }
    }
    vec![found(line, &tries), not_found_lag(line, &tries)]
}

fn found(line: &Line<'_>, tries: &[(Outcome, Watch)]) -> Finding {
    let Some((sent, watch)) = tries.iter().find(|(sent, watch)| misanswered(sent, watch)).or_else(|| tries.last())
    else {
        return Finding::not_measured(Check::Inquiry, "no sending was answered, so there is nothing to ask about");
    };
    let answers = watch.tally();
    if misanswered(sent, watch) {
        let seen = format!("answered {}, then asked: {answers}; not the same, or not the same reference", told(sent));
        return Finding::contradicted(Check::Inquiry, seen, &[Learned::NoInquiry]);
    }
    let asked_for = written(line.horizon());
    match watch.found() {
        Some(_) => {
            let asked = tries.iter().flat_map(|(_, watch)| &watch.answers).map(|(_, answer)| answer);
            Finding::not_contradicted(Check::Inquiry, format!("{} payments: {}", tries.len(), tally(asked)))
        }
        None if line.horizon() > line.lag() => {
            let seen = format!("succeeded, and was not found for {asked_for}: {answers}");
            Finding::contradicted(Check::Inquiry, seen, &[Learned::NoInquiry])
        }
        None => {
            let why = format!("not found for {asked_for}, and no longer asked: {answers}; take more patience");
            Finding::not_measured(Check::Inquiry, &why)
        }
    }
}

/// Whether an inquiry contradicts the reply: no where it was yes, or another reference.
fn misanswered(sent: &Outcome, watch: &Watch) -> bool {
    watch.answers.iter().any(|(_, answer)| match (sent, answer) {
        (Outcome::Succeeded(_), Outcome::Declined(..)) => true,
        _ if took_on(answer) => reference(answer).zip(reference(sent)).is_some_and(|(now, then)| now != then),
        _ => false,
    })
}

fn not_found_lag(line: &Line<'_>, tries: &[(Outcome, Watch)]) -> Finding {
    let declared = line.lag();
    let found = || tries.iter().map(|(_, watch)| watch).filter(|watch| watch.found().is_some());
    let Some(last) = found().map(Watch::last_not_found).max() else {
        return Finding::not_measured(Check::NotFoundLag, "nothing was found, so there is no lag to measure");
    };
    let Some(last) = last else {
        let seen = format!("found at the first asking, {} times; declared: {}", tries.len(), written(declared));
        return Finding::not_contradicted(Check::NotFoundLag, seen);
    };
    let wrong: usize = found().map(Watch::not_founds).sum();
    let found_at = found().filter_map(Watch::found).max().unwrap_or(last);
    let lost_again = found().map(Watch::lost_again).max().unwrap_or(0);
    let mut seen = format!(
        "wrong {wrong} times, the last one {} after the reply, found after {}; declared: {}",
        written(last),
        written(found_at),
        written(declared)
    );
    let mut learned = Vec::new();
    if lost_again > 0 {
        seen.push_str(&format!("; after it had been found, not found {lost_again} times in a row"));
        learned.push(Learned::NotFoundTimes(lost_again.saturating_add(1)));
    }
    if last <= declared {
        return Finding { learned, ..Finding::not_contradicted(Check::NotFoundLag, seen) };
    }
    learned.push(Learned::NotFoundLag(rounded_up(found_at)));
    Finding::contradicted(Check::NotFoundLag, seen, &learned)
}

/// A call given up on after its bytes left, and asked about; then sent again, where that is safe. Also returns the keys
/// that are said not to have been sent.
pub(super) async fn reply_lost(line: &Line<'_>, trust: Trust) -> (Finding, Vec<OperationKey>) {
    let mut unsent = Vec::new();
    for (part, of) in GIVEN_UP_AFTER {
        let (key, patience) = (line.fresh_key(), (line.quickest() * part / of).max(SHORTEST_CALL));
        match line.send_within(key, &line.plan.order, patience).await {
            Outcome::Unknown(_) => return (given_up_on(line, key, patience, trust).await, unsent),
            Outcome::NotSent(_) => unsent.push(key),
            Outcome::Succeeded(_)
            | Outcome::Pending(..)
            | Outcome::Declined(..)
            | Outcome::Refused(..)
            | Outcome::NotFound => {}
        }
    }
    let why = format!("it answers in {}: too quick to be given up on half-way", written(line.quickest()));
    (Finding::not_measured(Check::ReplyLost, &why), unsent)
}

async fn given_up_on(line: &Line<'_>, key: OperationKey, patience: Duration, trust: Trust) -> Finding {
    let order = &line.plan.order;
    let limit = line.contract().max_processing + trust.not_found_lag;
    let mut seen = format!("given up on after {}", written(patience));
    let (mut late, mut outcomes) = (None, Vec::new());
    if trust.answers {
        let horizon = (limit + trust.not_found_lag).max(line.horizon()).min(line.plan.patience);
        let watch = line.watch(key, order, horizon).await;
        late = watch.found().filter(|_| watch.last_not_found().is_some_and(|at| at > limit));
        seen.push_str(&match watch.found() {
            Some(at) => format!("; found {} later ({})", written(at), watch.tally()),
            None => format!("; never found in {} ({})", written(horizon), watch.tally()),
        });
        outcomes.extend(watch.answers.into_iter().map(|(_, answer)| answer).filter(knows));
    }
    if trust.deduplicates {
        let again = line.send(key, order).await;
        seen.push_str(&format!("; sent again: {}", told(&again)));
        outcomes.push(again);
        if let Some(moved) = line.movements(key, &outcomes).filter(|moved| *moved > 1) {
            let seen = format!("{seen}, and money moved {moved} times");
            return Finding::contradicted(Check::ReplyLost, seen, &[Learned::NoDeduplication]);
        }
    }
    match late {
        Some(at) => {
            let acted_within = rounded_up(at.saturating_sub(trust.not_found_lag));
            Finding::contradicted(Check::ReplyLost, seen, &[Learned::MaxProcessing(acted_within)])
        }
        None => Finding::not_contradicted(Check::ReplyLost, seen),
    }
}

/// Did nothing come of what is said not to have been sent? `unsent` are such keys; one more is sent too late.
pub(super) async fn not_sent(line: &Line<'_>, trust: Trust, mut unsent: Vec<OperationKey>) -> Finding {
    let key = line.fresh_key();
    let late = line.send_within(key, &line.plan.order, Duration::ZERO).await;
    if took_on(&late) {
        let seen = format!("sent after its deadline, when it was counted as not sent: {}", told(&late));
        return Finding::contradicted(Check::NotSent, seen, &[]);
    }
    if matches!(late, Outcome::NotSent(_)) {
        unsent.push(key);
    }
    let mut acted = 0;
    for key in &unsent {
        let known = trust.answers && knows(&line.ask(*key, &line.plan.order).await);
        acted += usize::from(known || line.witnessed(*key).is_some_and(|moved| moved > 0));
    }
    let keys = unsent.len();
    match acted {
        0 if keys == 0 => Finding::not_measured(Check::NotSent, &format!("nothing was not sent: {}", told(&late))),
        0 => Finding::not_contradicted(
            Check::NotSent,
            format!("{keys} said not to have been sent; nothing came of them"),
        ),
        _ => {
            let seen = format!("{acted} of {keys} that the adapter said were not sent reached the gateway");
            Finding::contradicted(Check::NotSent, seen, &[])
        }
    }
}

/// Does a decline stay one, when it is repeated and asked about?
pub(super) async fn declined(line: &Line<'_>, trust: Trust) -> Finding {
    let Some(source) = &line.plan.declining_source else {
        return Finding::not_measured(Check::Declined, "no source was named that the gateway always declines");
    };
    let order = Order { source: source.clone(), ..line.plan.order.clone() };
    let key = line.fresh_key();
    let first = line.send(key, &order).await;
    let Outcome::Declined(finality, _) = first else {
        return Finding::not_measured(Check::Declined, &format!("it was not declined: {}", told(&first)));
    };
    let mut seen = told(&first);
    if finality == Finality::Soft && line.contract().soft_decline_window.is_none() {
        let seen = format!("{seen}: it may turn, though no window for that is declared");
        return Finding::contradicted(Check::Declined, seen, &[]);
    }
    if trust.deduplicates {
        let again = line.send(key, &order).await;
        seen.push_str(&format!("; repeated: {}", told(&again)));
        if took_on(&again) {
            return Finding::contradicted(Check::Declined, seen, &[Learned::NoDeduplication]);
        }
    }
    if trust.answers {
        let watch = line.watch(key, &order, line.horizon()).await;
        seen.push_str(&format!("; asked: {}", watch.tally()));
        if watch.answers.iter().any(|(_, answer)| took_on(answer)) {
            return Finding::contradicted(Check::Declined, seen, &[Learned::NoInquiry]);
        }
    }
    Finding::not_contradicted(Check::Declined, seen)
}

fn unaskable(check: Check) -> Finding {
    Finding::not_measured(check, "declared as one that cannot be asked")
}

fn rounded_up(duration: Duration) -> Duration {
    let grains = duration.as_nanos().div_ceil(GRAIN.as_nanos());
    GRAIN.saturating_mul(u32::try_from(grains).unwrap_or(u32::MAX))
}
