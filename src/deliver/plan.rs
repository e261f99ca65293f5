//! Which delivery may start now, and what follows from how it ended. No clock, no socket, no thread: time and chance are
//! arguments.
//!
//! ```text
//! feed --take--> fresh --next--> under way --taken--> gone
//!                                    |--refused--> waiting: tried again, ever more slowly
//!                                    `--410, or refused for three days while others were taken--> dead
//! ```
//!
//! A payment's letters are in one line, and only the first of it is ever under way. What is fresh holds the cursor back;
//! what waits, or stands behind what waits, is in the state, so the cursor goes on without it. There is one bound on
//! everything held: when it is reached nothing more is read, and the cursor stands still.
//!
//! A receiver that takes nothing is told apart from a letter that is not taken. After a few failures in a row, with
//! nothing taken between, one letter at a time asks whether it is back, and nothing dies of age.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    time::Duration,
};

use crate::{
    payment::{PaymentId, Timestamp},
    runtime::Lsn,
};

/// How fast, how patiently, and how much at once. A first pause or rest that is longer than the longest is the longest.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Pace {
    /// How long one delivery may take. The standard says 15 to 30 s.
    pub timeout: Duration,
    /// How many deliveries may be under way: enough for 500 a second where each takes 30 ms, few enough for a receiver
    /// that was built for one at a time.
    pub in_flight: usize,
    /// How long a letter waits after its first failure; then as long again as it has been failing. A receiver that is
    /// being restarted is back in seconds.
    pub pause_first: Duration,
    /// The longest pause of a letter: what is put right is noticed within the hour.
    pub pause_max: Duration,
    /// How long a letter is tried while others are taken: a long weekend.
    pub horizon: Duration,
    /// How many failures in a row, with nothing taken between, make the receiver one that takes nothing.
    pub down_after: u32,
    /// How long such a receiver is left alone at first; then as long again as it has been failing.
    pub rest_first: Duration,
    /// The longest rest: one that is back is noticed within a minute, and one that is not is not stormed.
    pub rest_max: Duration,
    /// How many letters are held in memory and in the state, at about 500 bytes each.
    pub held: usize,
    /// How many dead letters are kept. When there are as many, nothing more dies: it goes on waiting.
    pub dead: usize,
    /// The state is written at most this often: what a kill makes come again is what was delivered since.
    pub save_every: Duration,
}

impl Default for Pace {
    fn default() -> Pace {
        Pace {
            timeout: Duration::from_secs(15),
            in_flight: 16,
            pause_first: Duration::from_secs(5),
            pause_max: Duration::from_secs(3600),
            horizon: Duration::from_secs(72 * 3600),
            down_after: 8,
            rest_first: Duration::from_secs(1),
            rest_max: Duration::from_secs(60),
            held: 1_000,
            dead: 1_000,
            save_every: Duration::from_secs(1),
        }
    }
}

/// One event, written out for one receiver.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Letter {
    /// The event's place in the journal.
    pub(super) lsn: Lsn,
    pub(super) payment: PaymentId,
    /// The `webhook-id`.
    pub(super) id: String,
    /// Such as `payment.succeeded`.
    pub(super) kind: String,
    pub(super) body: String,
}

/// What is known of a letter that was not taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Failure {
    /// How often it was tried.
    pub(super) times: u32,
    /// When it was not taken for the first time.
    pub(super) since: Timestamp,
    /// Why, the last time.
    pub(super) why: String,
}

/// A letter, and what is known if it was not taken: the form in which it is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Kept {
    pub(super) letter: Letter,
    pub(super) failure: Option<Failure>,
}

/// All that has to survive the process.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct State {
    /// Everything up to here was delivered, not wanted, or is in one of the lists.
    pub(super) cursor: Lsn,
    /// In the journal's order.
    pub(super) waiting: Vec<Kept>,
    /// In the journal's order.
    pub(super) dead: Vec<Kept>,
}

/// A delivery that was not taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    pub(super) why: String,
    /// 410: never again.
    pub(super) gone: bool,
    /// When the receiver asks to be left alone until.
    pub(super) retry_after: Option<Duration>,
}

/// The receiver as a whole.
#[derive(Clone, Debug, Default)]
struct Health {
    /// Failures since something was taken.
    in_a_row: u32,
    /// The first of them.
    since: Timestamp,
    why: String,
    not_before: Timestamp,
    /// When something was taken the last time, in this process.
    taken_at: Option<Timestamp>,
}

#[derive(Debug)]
struct Held {
    letter: Letter,
    failure: Option<Failure>,
    due: Timestamp,
}

/// The letters of one payment.
#[derive(Debug, Default)]
struct Line {
    letters: BTreeSet<Lsn>,
    /// One of them is under way.
    busy: bool,
    /// Its entry in `ready`.
    offered: Option<(Timestamp, Lsn)>,
}

/// What one receiver is still to be told.
#[derive(Debug)]
pub(super) struct Plan {
    pace: Pace,
    read: Lsn,
    held: BTreeMap<Lsn, Held>,
    lines: HashMap<PaymentId, Line>,
    /// The first letters of the lines that are not busy, by when they are due.
    ready: BTreeSet<(Timestamp, Lsn)>,
    /// Held, but in no list of the state: the cursor stands before the first of them.
    fresh: BTreeSet<Lsn>,
    dead: BTreeMap<Lsn, Kept>,
    under_way: usize,
    health: Health,
}

impl Plan {
    /// Goes on from a state. Whatever waits is due at once: a start is as good a reason to try as any.
    pub(super) fn new(pace: Pace, state: State) -> Plan {
        let State { cursor, waiting, dead } = state;
        let mut plan = Plan {
            pace,
            read: cursor,
            held: BTreeMap::new(),
            lines: HashMap::new(),
            ready: BTreeSet::new(),
            fresh: BTreeSet::new(),
            dead: dead.into_iter().map(|kept| (kept.letter.lsn, kept)).collect(),
            under_way: 0,
            health: Health::default(),
        };
        waiting.into_iter().for_each(|kept| plan.hold(kept, Timestamp::default()));
        plan
    }

    /// Whether another letter may be taken in.
    pub(super) fn has_room(&self) -> bool {
        self.held.len() < self.pace.held
    }

    /// The event at this place is not wanted.
    pub(super) fn pass(&mut self, lsn: Lsn) {
        self.read = self.read.max(lsn);
    }

    /// Takes a letter in; one that is in a list of the state already is there.
    pub(super) fn take(&mut self, letter: Letter, now: Timestamp) {
        let lsn = letter.lsn;
        self.pass(lsn);
        if self.held.contains_key(&lsn) || self.dead.contains_key(&lsn) {
            return;
        }
        let before = self.lines.get(&letter.payment).and_then(|line| line.letters.last());
        let waits = before.is_some_and(|before| !self.fresh.contains(before));
        if !waits {
            self.fresh.insert(lsn);
        }
        self.hold(Kept { letter, failure: None }, now);
    }

    /// The next letter to be delivered, if one may be. It is under way from here on.
    pub(super) fn next(&mut self, now: Timestamp) -> Option<Letter> {
        if self.under_way >= self.slots() || self.resting_until().is_some_and(|until| now < until) {
            return None;
        }
        let (due, lsn) = *self.ready.first().filter(|(due, _)| *due <= now)?;
        self.ready.remove(&(due, lsn));
        let letter = self.held.get(&lsn)?.letter.clone();
        let line = self.lines.entry(letter.payment).or_default();
        (line.busy, line.offered) = (true, None);
        self.under_way += 1;
        Some(letter)
    }

    /// When [`Plan::next`] has something, if nothing else happens before.
    pub(super) fn wake(&self) -> Option<Timestamp> {
        let (due, _) = self.ready.first().filter(|_| self.under_way < self.slots())?;
        Some(self.resting_until().map_or(*due, |until| until.max(*due)))
    }

    /// A letter that was under way has arrived.
    pub(super) fn taken(&mut self, lsn: Lsn, now: Timestamp) {
        let was_down = self.is_down();
        self.health = Health { taken_at: Some(now), ..Health::default() };
        self.let_go(lsn);
        if was_down {
            // What failed meanwhile need not have been at fault.
            self.hurry(None, now);
        }
    }

    /// A letter that was under way was not taken.
    pub(super) fn refused(&mut self, lsn: Lsn, refusal: Refusal, now: Timestamp, chance: u64) {
        self.note_failure(&refusal, now, chance);
        let room_for_dead = self.dead.len() < self.pace.dead;
        let Some(held) = self.held.get_mut(&lsn) else { return };
        let failed = held.failure.take();
        let since = failed.as_ref().map_or(now, |failed| failed.since.min(now));
        let times = failed.map_or(0, |failed| failed.times).saturating_add(1);
        let old = now.since(since) >= self.pace.horizon && self.health.taken_at.is_some_and(|taken| taken > since);
        let pause = grown(now.since(since), self.pace.pause_first, self.pace.pause_max);
        held.due = now.plus(jittered(pause, chance).max(refusal.retry_after.unwrap_or_default()));
        held.failure = Some(Failure { times, since, why: refusal.why });
        if (refusal.gone || old) && room_for_dead {
            let kept = Kept { letter: held.letter.clone(), failure: held.failure.clone() };
            self.dead.insert(lsn, kept);
            return self.let_go(lsn);
        }
        let payment = held.letter.payment;
        let line = self.lines.entry(payment).or_default();
        for behind in line.letters.range(lsn..) {
            self.fresh.remove(behind);
        }
        line.busy = false;
        self.under_way = self.under_way.saturating_sub(1);
        self.line_up(payment);
    }

    /// Tries dead and waiting letters again now: those of this id, or all. Says how many there were.
    pub(super) fn replay(&mut self, id: Option<&str>, now: Timestamp) -> usize {
        let meant = |kept: &Kept| id.is_none_or(|id| id == kept.letter.id);
        let risen: Vec<Lsn> = self.dead.values().filter(|kept| meant(kept)).map(|kept| kept.letter.lsn).collect();
        for lsn in &risen {
            if let Some(Kept { letter, .. }) = self.dead.remove(lsn) {
                self.hold(Kept { letter, failure: None }, now);
            }
        }
        self.health.not_before = now;
        risen.len() + self.hurry(id, now)
    }

    /// Forgets dead letters: those of this id. Says how many there were.
    pub(super) fn discard(&mut self, id: &str) -> usize {
        let before = self.dead.len();
        self.dead.retain(|_, kept| kept.letter.id != id);
        before - self.dead.len()
    }

    /// What has to survive the process.
    pub(super) fn state(&self) -> State {
        let waiting = self.held.iter().filter(|(lsn, _)| !self.fresh.contains(lsn));
        let kept = |held: &Held| Kept { letter: held.letter.clone(), failure: held.failure.clone() };
        State {
            cursor: self.fresh.first().map_or(self.read, |first| first.before()),
            waiting: waiting.map(|(_, held)| kept(held)).collect(),
            dead: self.dead.values().cloned().collect(),
        }
    }

    /// Since when the receiver has taken nothing of what it was sent, how often, and why.
    pub(super) fn failing(&self) -> Option<Failure> {
        let Health { in_a_row, since, why, .. } = &self.health;
        (*in_a_row > 0).then(|| Failure { times: *in_a_row, since: *since, why: why.clone() })
    }

    fn is_down(&self) -> bool {
        self.health.in_a_row >= self.pace.down_after
    }

    fn slots(&self) -> usize {
        if self.is_down() { 1 } else { self.pace.in_flight }
    }

    fn resting_until(&self) -> Option<Timestamp> {
        self.is_down().then_some(self.health.not_before)
    }

    fn note_failure(&mut self, refusal: &Refusal, now: Timestamp, chance: u64) {
        let health = &mut self.health;
        health.since = if health.in_a_row == 0 { now } else { health.since };
        health.in_a_row = health.in_a_row.saturating_add(1);
        health.why.clone_from(&refusal.why);
        let rest = grown(now.since(health.since), self.pace.rest_first, self.pace.rest_max);
        health.not_before = now.plus(jittered(rest, chance).max(refusal.retry_after.unwrap_or_default()));
    }

    fn hold(&mut self, kept: Kept, due: Timestamp) {
        let Kept { letter, failure } = kept;
        let payment = letter.payment;
        self.lines.entry(payment).or_default().letters.insert(letter.lsn);
        self.held.insert(letter.lsn, Held { letter, failure, due });
        self.line_up(payment);
    }

    /// A letter that was under way is dealt with; the next one of its payment may go.
    fn let_go(&mut self, lsn: Lsn) {
        self.fresh.remove(&lsn);
        let Some(Held { letter, .. }) = self.held.remove(&lsn) else { return };
        let line = self.lines.entry(letter.payment).or_default();
        line.letters.remove(&lsn);
        line.busy = false;
        self.under_way = self.under_way.saturating_sub(1);
        self.line_up(letter.payment);
    }

    /// Makes waiting letters due: those of this id, or all. Says how many there were.
    fn hurry(&mut self, id: Option<&str>, now: Timestamp) -> usize {
        let mut hurried = Vec::new();
        for held in self.held.values_mut().filter(|held| id.is_none_or(|id| id == held.letter.id)) {
            if held.failure.is_some() {
                held.due = held.due.min(now);
                hurried.push(held.letter.payment);
            }
        }
        hurried.iter().for_each(|payment| self.line_up(*payment));
        hurried.len()
    }

    /// Offers the first letter of a payment's line, or none while one is under way.
    fn line_up(&mut self, payment: PaymentId) {
        let Some(line) = self.lines.get_mut(&payment) else { return };
        if let Some(offered) = line.offered.take() {
            self.ready.remove(&offered);
        }
        let first = line.letters.first().and_then(|first| Some((self.held.get(first)?.due, *first)));
        match first {
            None if !line.busy => drop(self.lines.remove(&payment)),
            Some(first) if !line.busy => {
                line.offered = Some(first);
                self.ready.insert(first);
            }
            None | Some(_) => {}
        }
    }
}

/// As long as it has been failing, within bounds. The upper one counts where a [`Pace`] has them the wrong way round.
fn grown(failing: Duration, first: Duration, most: Duration) -> Duration {
    failing.max(first).min(most)
}

/// From three quarters to five quarters of a pause, so that what failed together does not come back together.
fn jittered(pause: Duration, chance: u64) -> Duration {
    let percent = u32::try_from(75 + chance % 51).unwrap_or(100);
    pause.saturating_mul(percent) / 100
}

#[cfg(test)]
mod tests;
