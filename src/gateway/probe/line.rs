//! The line to the gateway: fresh keys, sendings, questions, and what can be seen of the money.

use std::{
    collections::{BTreeMap, BTreeSet},
    future::{Future, poll_fn},
    pin::Pin,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU32, AtomicU64, Ordering},
    },
    task::Poll,
    time::{Duration, Instant},
};

use super::{Plan, Witness};
use crate::{
    gateway::{Answer, Asked, Gateway, Question, Sending},
    payment::{Contract, Inquiry, Kind, Namespace, OperationKey, Order, Outcome, PaymentId, Reply},
};

/// How long past its deadline an adapter is waited for before it is given up on.
const GRACE: Duration = Duration::from_millis(250);
/// The pause between the first two askings, and the longest one: they grow by half each time.
const FIRST_PAUSE: Duration = Duration::from_millis(5);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);
/// The longest pause before what was found is asked for again.
const LONGEST_DOUBLE_CHECK: Duration = Duration::from_millis(50);
/// How many answers in a row must know an operation before it counts as found: one may hit the replica that does, two
/// the same one.
const FOUND_IN_A_ROW: usize = 3;
/// How often is asked at least before nothing is given for found: some answers may be slow, or lost.
const FEWEST_ASKINGS: usize = 8;
/// The shortest time for which "not found" is looked for: a gateway that declares no lag is to be given a chance to
/// show one.
const SHORTEST_HORIZON: Duration = Duration::from_secs(2);

/// Stands where the id of a payment stands in the keys of payments. Those are UUIDs of version 8, and this is none: a
/// probe's keys are no payment's keys.
const NO_PAYMENT: &[u8; 16] = b"payonce probe id";

const _: () = assert!(FEWEST_ASKINGS > 2 * FOUND_IN_A_ROW);
const _: () = assert!(FIRST_PAUSE.as_millis() < LONGEST_PAUSE.as_millis());
const _: () = assert!(LONGEST_PAUSE.as_millis() < SHORTEST_HORIZON.as_millis());

/// The line to one gateway during one probe.
pub(super) struct Line<'a> {
    gateway: &'a dyn Gateway,
    pub(super) plan: &'a Plan,
    witness: Option<&'a Witness<'a>>,
    base: OperationKey,
    keys: AtomicU32,
    sendings: AtomicU32,
    /// How long the quickest sending took that the gateway took on, in microseconds.
    quickest: AtomicU64,
    /// The ids that the gateway minted first, where it does: the last one for each key.
    minted: Mutex<BTreeMap<OperationKey, String>>,
}

impl<'a> Line<'a> {
    pub(super) fn new(gateway: &'a dyn Gateway, plan: &'a Plan, witness: Option<&'a Witness<'a>>) -> Line<'a> {
        let (keys, sendings, quickest) = (AtomicU32::new(0), AtomicU32::new(0), AtomicU64::new(u64::MAX));
        let nobodys = PaymentId::from_bytes(*NO_PAYMENT);
        let base = OperationKey::derive(&Namespace::default(), &nobodys, Kind::Charge, &plan.run);
        Line { gateway, plan, witness, base, keys, sendings, quickest, minted: Mutex::default() }
    }

    pub(super) fn contract(&self) -> &Contract {
        self.gateway.contract()
    }

    pub(super) fn sendings(&self) -> u32 {
        self.sendings.load(Ordering::Relaxed)
    }

    /// How long the quickest sending took that the gateway took on.
    pub(super) fn quickest(&self) -> Duration {
        Duration::from_micros(self.quickest.load(Ordering::Relaxed))
    }

    /// A key that this run has not used: the run's own, with the key's place in its last bytes.
    pub(super) fn fresh_key(&self) -> OperationKey {
        let place = self.keys.fetch_add(1, Ordering::Relaxed);
        let mut bytes = *self.base.as_bytes();
        bytes.iter_mut().rev().zip(place.to_le_bytes()).for_each(|(byte, place)| *byte ^= place);
        OperationKey::from_bytes(bytes)
    }

    /// Sends, and waits as long as the contract says.
    pub(super) async fn send(&self, key: OperationKey, order: &Order) -> Outcome {
        self.send_within(key, order, self.contract().deadline).await
    }

    /// Sends, and gives up after `patience`. Zero: its deadline has passed before it is sent.
    pub(super) async fn send_within(&self, key: OperationKey, order: &Order, patience: Duration) -> Outcome {
        let began = Instant::now();
        let deadline = began + patience;
        let sending = match self.prepared(key, order, deadline).await {
            Ok(sending) => sending,
            Err(outcome) => return outcome,
        };
        self.sendings.fetch_add(1, Ordering::Relaxed);
        let outcome = in_time(self.gateway.send(sending), deadline).await;
        if took_on(&outcome) {
            let micros = u64::try_from(began.elapsed().as_micros()).unwrap_or(u64::MAX);
            self.quickest.fetch_min(micros, Ordering::Relaxed);
        }
        outcome
    }

    /// What is to be sent. Where the gateway mints an id first, it is asked for one each time: whether it gives the same
    /// one again is what a second sending is to show.
    async fn prepared(&self, key: OperationKey, order: &Order, deadline: Instant) -> Result<Sending, Outcome> {
        let sending = self.encoded(key, order, None, deadline)?;
        if !self.contract().mints_id_first {
            return Ok(sending);
        }
        // Nothing moves, so it may take its time even where the sending itself may not.
        let patience = deadline.max(Instant::now() + self.contract().deadline);
        let outcome = in_time(self.gateway.prepare(Sending { deadline: patience, ..sending }), patience).await;
        let Outcome::Succeeded(reply) = &outcome else { return Err(outcome) };
        let Some(id) = reply.reference() else {
            return Err(Outcome::NotSent(Reply::new("no_id", "the gateway was asked for an id, and gave none")));
        };
        self.minted.lock().unwrap_or_else(PoisonError::into_inner).insert(key, id.to_owned());
        self.encoded(key, order, Some(id), deadline)
    }

    fn encoded(
        &self,
        operation_key: OperationKey,
        order: &Order,
        reference: Option<&str>,
        deadline: Instant,
    ) -> Result<Sending, Outcome> {
        let (kind, amount, currency) = (Kind::Charge, order.amount, order.currency);
        let asked = Asked { kind, operation_key, amount, order, charge: None, reference };
        match self.gateway.encode(&asked) {
            Ok(request) => Ok(Sending { kind, operation_key, request, amount, currency, deadline }),
            Err(invalid) => Err(Outcome::NotSent(Reply::new("invalid_order", &invalid.to_string()))),
        }
    }

    /// Sends the same `times` times, all under way at once.
    pub(super) async fn send_at_once(&self, key: OperationKey, order: &Order, times: u32) -> Vec<Outcome> {
        let call = |_| -> Answer<'_> { Box::pin(self.send(key, order)) };
        all((0..times).map(call).collect()).await
    }

    /// Asks once.
    pub(super) async fn ask(&self, key: OperationKey, order: &Order) -> Outcome {
        let deadline = Instant::now() + self.contract().deadline;
        let (kind, amount, currency) = (Kind::Charge, order.amount, order.currency);
        let reference = self.minted.lock().unwrap_or_else(PoisonError::into_inner).get(&key).cloned();
        let question = Question { kind, operation_key: key, amount, currency, reference, deadline };
        in_time(self.gateway.inquire(question), deadline).await
    }

    /// Asks at growing intervals until it is found several times in a row, or the horizon has passed.
    pub(super) async fn watch(&self, key: OperationKey, order: &Order, horizon: Duration) -> Watch {
        let (began, mut pause, mut answers) = (Instant::now(), FIRST_PAUSE, Vec::new());
        loop {
            let at = began.elapsed();
            answers.push((at, self.ask(key, order).await));
            let found = answers.iter().rev().take_while(|(_, answer)| knows(answer)).count();
            if found >= FOUND_IN_A_ROW || at >= horizon && answers.len() >= FEWEST_ASKINGS {
                return Watch { answers };
            }
            if found > 0 {
                tokio::time::sleep(pause.min(LONGEST_DOUBLE_CHECK)).await;
            } else {
                tokio::time::sleep(pause).await;
                pause = (pause * 3 / 2).min(LONGEST_PAUSE);
            }
        }
    }

    /// How long to look for an operation that has succeeded: as long again as the contract lets "not found" be wrong.
    pub(super) fn horizon(&self) -> Duration {
        (self.lag() * 2).max(SHORTEST_HORIZON).min(self.plan.patience)
    }

    /// How late "not found" may be wrong, as declared.
    pub(super) fn lag(&self) -> Duration {
        match self.contract().inquiry {
            Inquiry::None => Duration::ZERO,
            Inquiry::ByKey { not_found_lag, .. } => not_found_lag,
        }
    }

    /// How many movements of money these sendings of one key made; `None`: it cannot be seen.
    pub(super) fn movements(&self, key: OperationKey, outcomes: &[Outcome]) -> Option<u64> {
        let left = outcomes.iter().filter(|outcome| !matches!(outcome, Outcome::NotSent(_))).count();
        if let Some(moved) = self.witnessed(key) {
            // What was sent once shows nothing about a second time, unless it moved twice by itself.
            return (left > 1 || moved > 1).then_some(moved);
        }
        let unclear = |outcome: &&Outcome| matches!(outcome, Outcome::Unknown(_));
        let acted = |outcome: &&Outcome| took_on(outcome) || unclear(outcome);
        let replies = outcomes.iter().filter(acted).filter_map(Outcome::reply);
        let references: BTreeSet<&str> = replies.filter_map(Reply::reference).collect();
        let nameless = outcomes.iter().any(|outcome| took_on(outcome) && reference(outcome).is_none());
        let clear = left.saturating_sub(outcomes.iter().filter(unclear).count());
        let visible = references.len() > 1 || !nameless && clear > 1;
        visible.then(|| u64::try_from(references.len()).unwrap_or(u64::MAX))
    }

    /// What really moved under a key, where somebody can tell.
    pub(super) fn witnessed(&self, key: OperationKey) -> Option<u64> {
        self.witness.map(|witness| witness(key))
    }
}

/// What was answered about one operation, and when it was asked.
pub(super) struct Watch {
    pub(super) answers: Vec<(Duration, Outcome)>,
}

impl Watch {
    /// When it was last not found.
    pub(super) fn last_not_found(&self) -> Option<Duration> {
        self.answers.iter().rev().find(|(_, answer)| *answer == Outcome::NotFound).map(|(at, _)| *at)
    }

    /// When it was found for good; `None`: it was not, or it was lost again.
    pub(super) fn found(&self) -> Option<Duration> {
        let lost = self.answers.iter().rposition(|(_, answer)| *answer == Outcome::NotFound);
        let after = self.answers.iter().skip(lost.map_or(0, |lost| lost + 1));
        after.filter(|(_, answer)| knows(answer)).map(|(at, _)| *at).next()
    }

    /// How many "not found" came.
    pub(super) fn not_founds(&self) -> usize {
        self.answers.iter().filter(|(_, answer)| *answer == Outcome::NotFound).count()
    }

    /// The most "not found" in a row after it had been found.
    pub(super) fn lost_again(&self) -> u32 {
        let after = self.answers.iter().skip_while(|(_, answer)| !knows(answer));
        let runs = after.scan(0u32, |run, (_, answer)| {
            *run = if *answer == Outcome::NotFound { *run + 1 } else { 0 };
            Some(*run)
        });
        runs.max().unwrap_or(0)
    }

    /// What was answered, each with how often.
    pub(super) fn tally(&self) -> String {
        tally(self.answers.iter().map(|(_, answer)| answer))
    }
}

/// Whether the gateway has taken it on: it did it, or will decide about it.
pub(super) fn took_on(outcome: &Outcome) -> bool {
    matches!(outcome, Outcome::Succeeded(_) | Outcome::Pending(..))
}

/// Whether the gateway knows the operation.
pub(super) fn knows(answer: &Outcome) -> bool {
    took_on(answer) || matches!(answer, Outcome::Declined(..))
}

/// The gateway's own name for what it did.
pub(super) fn reference(outcome: &Outcome) -> Option<&str> {
    outcome.reply().and_then(Reply::reference)
}

/// An outcome in a few words, without its reference.
pub(super) fn told(outcome: &Outcome) -> String {
    match (outcome, outcome.reply().map_or("", Reply::code)) {
        (Outcome::NotFound, _) => "not found".to_owned(),
        (Outcome::Succeeded(_), _) | (_, "") => outcome.name().replace('_', " "),
        (_, code) => format!("{} ({code})", outcome.name().replace('_', " ")),
    }
}

/// Outcomes in a few words, each with how often it came.
pub(super) fn tally<'a>(outcomes: impl Iterator<Item = &'a Outcome>) -> String {
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    for outcome in outcomes {
        *counts.entry(told(outcome)).or_default() += 1;
    }
    let parts: Vec<String> = counts.into_iter().map(|(what, times)| format!("{times} {what}")).collect();
    parts.join(", ")
}

/// An adapter that does not end at its deadline is given up on, a little later.
async fn in_time(answer: impl Future<Output = Outcome>, deadline: Instant) -> Outcome {
    let overdue = |_| Outcome::Unknown(Reply::new("overdue", "the adapter did not end at its deadline"));
    tokio::time::timeout_at((deadline + GRACE).into(), answer).await.unwrap_or_else(overdue)
}

/// Waits for all, each polled in turn on this task.
async fn all(mut calls: Vec<Answer<'_>>) -> Vec<Outcome> {
    let mut ended = Vec::new();
    poll_fn(|context| {
        calls.retain_mut(|call| match Pin::new(call).poll(context) {
            Poll::Ready(outcome) => {
                ended.push(outcome);
                false
            }
            Poll::Pending => true,
        });
        if calls.is_empty() { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
    ended
}
