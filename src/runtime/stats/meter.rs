//! Where the engine's threads and tasks count. Each lock is held for as long as it takes to add a few numbers, and none
//! while anything waits.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use super::{CallStats, GatewayStats, Histogram, JournalStats, Queue, Stats, StoreStats, understood};
use crate::{
    engine::Recorded,
    journal::Lsn,
    payment::{Contract, Fact, Outcome, Reply, State, Timestamp},
};

/// What is asked of a gateway.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::runtime) enum Asking {
    Send,
    Inquire,
    Prepare,
}

impl Asking {
    const ALL: [Asking; 3] = [Asking::Send, Asking::Inquire, Asking::Prepare];

    const fn as_str(self) -> &'static str {
        match self {
            Asking::Send => "send",
            Asking::Inquire => "inquire",
            Asking::Prepare => "prepare",
        }
    }
}

pub(in crate::runtime) struct Meter {
    opened: Instant,
    turns: Mutex<Turns>,
    standing: Mutex<Standing>,
    fsync: Mutex<Histogram>,
    transit: Mutex<Transit>,
    /// By their places.
    gateways: Mutex<Vec<Gateway>>,
}

/// What the turns so far have done.
struct Turns {
    time: Histogram,
    records: Histogram,
    bytes: Histogram,
    settle: Histogram,
    facts: BTreeMap<&'static str, u64>,
    settled: BTreeMap<State, u64>,
    checkpoint: Option<(Timestamp, Lsn)>,
}

/// How the engine thread left things when it last looked.
#[derive(Default)]
pub(super) struct Standing {
    pub(super) unresolved: BTreeMap<State, usize>,
    pub(super) oldest_doubt: Option<Timestamp>,
    pub(super) queue: Queue,
    /// Calls under way, and how many may be, by the gateways' places.
    pub(super) windows: Vec<(usize, usize)>,
    pub(super) journal: JournalStats,
    pub(super) in_memory: usize,
    pub(super) troubles: BTreeMap<&'static str, bool>,
}

/// What the store has been given, and what of it it has taken.
#[derive(Default)]
struct Transit {
    given: Lsn,
    taken: Lsn,
    under_way: VecDeque<(Lsn, Instant)>,
}

struct Gateway {
    name: String,
    contract: Contract,
    calls: BTreeMap<&'static str, CallStats>,
    heard: Option<Instant>,
    failing: u64,
    failure: Option<String>,
}

impl Meter {
    /// Counts from now on. The gateways are shown before anything is asked of them.
    pub(in crate::runtime) fn new(contracts: &[(String, Contract)]) -> Meter {
        let gateways = contracts.iter().map(|(name, contract)| Gateway::new(name, contract));
        Meter {
            opened: Instant::now(),
            turns: Mutex::new(Turns::new()),
            standing: Mutex::default(),
            fsync: Mutex::new(Histogram::of_seconds()),
            transit: Mutex::default(),
            gateways: Mutex::new(gateways.collect()),
        }
    }

    /// A turn has ended, and left so many bytes more in the journal.
    pub(super) fn turned(&self, time: Duration, records: u64, bytes: u64, recorded: Recorded) {
        let mut turns = lock(&self.turns);
        turns.time.add_time(time);
        if records > 0 {
            turns.records.add_number(records);
            turns.bytes.add_number(bytes);
        }
        for (name, count) in recorded.facts {
            *turns.facts.entry(name).or_default() += count;
        }
        for (state, took) in recorded.settled {
            *turns.settled.entry(state).or_default() += 1;
            turns.settle.add_time(took);
        }
    }

    /// The engine begins: the store has everything up to `durable` that is not in memory.
    pub(super) fn begins(&self, durable: Lsn) {
        *lock(&self.transit) = Transit { given: durable, taken: durable, under_way: VecDeque::new() };
    }

    /// How things stand after the engine thread has done something.
    pub(super) fn stands(&self, standing: Standing) {
        *lock(&self.standing) = standing;
    }

    pub(super) fn synced(&self, time: Duration) {
        lock(&self.fsync).add_time(time);
    }

    pub(in crate::runtime) fn checkpointed(&self, at: Timestamp, upto: Lsn) {
        lock(&self.turns).checkpoint = Some((at, upto));
    }

    /// The store was given rows, and everything up to `upto` with them.
    pub(in crate::runtime) fn given(&self, upto: Lsn) {
        let mut transit = lock(&self.transit);
        transit.given = upto;
        transit.under_way.push_back((upto, Instant::now()));
    }

    /// The store has taken everything up to `upto`.
    pub(in crate::runtime) fn taken(&self, upto: Lsn) {
        let mut transit = lock(&self.transit);
        transit.taken = upto;
        while transit.under_way.front().is_some_and(|(lsn, _)| *lsn <= upto) {
            transit.under_way.pop_front();
        }
    }

    /// The gateway at a place was called.
    pub(in crate::runtime) fn called(&self, place: usize, asking: Asking, outcome: &Outcome, time: Duration) {
        if let Some(gateway) = lock(&self.gateways).get_mut(place) {
            gateway.called(asking, outcome, time);
        }
    }

    /// One reading.
    pub(in crate::runtime) fn read(&self, waiting: usize, now: Timestamp, disk_free: Option<u64>) -> Stats {
        let fsync = lock(&self.fsync).clone();
        let standing = lock(&self.standing);
        let windows = standing.windows.iter().copied().chain(std::iter::repeat((0, 0)));
        let gateways = lock(&self.gateways).iter().zip(windows).map(|(gateway, window)| gateway.read(window)).collect();
        let store = lock(&self.transit).read(standing.in_memory);
        let turns = lock(&self.turns);
        Stats {
            uptime: self.opened.elapsed(),
            turn: turns.time.clone(),
            batch_records: turns.records.clone(),
            batch_bytes: turns.bytes.clone(),
            fsync,
            settle: turns.settle.clone(),
            facts: turns.facts.clone(),
            settled: turns.settled.clone(),
            unresolved: standing.unresolved.clone(),
            oldest_doubt: standing.oldest_doubt.map(|since| (since, now.since(since))),
            queue: Queue { waiting, ..standing.queue },
            gateways,
            journal: JournalStats { last_checkpoint: turns.checkpoint, disk_free, ..standing.journal },
            store,
            troubles: standing.troubles.clone(),
        }
    }
}

impl Turns {
    fn new() -> Turns {
        Turns {
            time: Histogram::of_seconds(),
            records: Histogram::of_records(),
            bytes: Histogram::of_bytes(),
            settle: Histogram::of_seconds(),
            facts: Fact::NAMES.map(|name| (name, 0)).into(),
            settled: State::ALL.into_iter().filter(|state| state.is_settled()).map(|state| (state, 0)).collect(),
            checkpoint: None,
        }
    }
}

impl Transit {
    fn read(&self, in_memory: usize) -> StoreStats {
        StoreStats {
            taken: self.taken,
            lag: self.given.get().saturating_sub(self.taken.get()),
            lag_time: self.under_way.front().map_or(Duration::ZERO, |(_, since)| since.elapsed()),
            in_memory,
        }
    }
}

impl Gateway {
    fn new(name: &str, contract: &Contract) -> Gateway {
        let outcomes = BTreeMap::from(Outcome::NAMES.map(|name| (name, 0)));
        let none = || CallStats { time: Histogram::of_seconds(), outcomes: outcomes.clone() };
        let calls = Asking::ALL.map(|asking| (asking.as_str(), none())).into();
        let (name, contract) = (name.to_owned(), contract.clone());
        Gateway { name, contract, calls, heard: None, failing: 0, failure: None }
    }

    fn called(&mut self, asking: Asking, outcome: &Outcome, time: Duration) {
        if let Some(calls) = self.calls.get_mut(asking.as_str()) {
            calls.time.add_time(time);
            *calls.outcomes.entry(outcome.name()).or_default() += 1;
        }
        if understood(outcome) {
            (self.heard, self.failing) = (Some(Instant::now()), 0);
        } else {
            self.failing += 1;
            self.failure = outcome.reply().map(Reply::code).map(str::to_owned);
        }
    }

    fn read(&self, (calling, slots): (usize, usize)) -> GatewayStats {
        GatewayStats {
            name: self.name.clone(),
            contract: self.contract.clone(),
            calls: self.calls.clone(),
            last_heard: self.heard.map(|heard| heard.elapsed()),
            failing: self.failing,
            last_failure: self.failure.clone(),
            shut: false,
            pause: None,
            calling,
            slots,
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::payment::Identity;

    fn bank() -> [(String, Contract); 1] {
        [("bank".to_owned(), Contract::standard(Identity::default()))]
    }

    fn read(meter: &Meter) -> Stats {
        meter.read(0, Timestamp::default(), None)
    }

    #[test]
    fn the_store_lags_by_what_it_was_given_and_has_not_taken() {
        let meter = Meter::new(&[]);
        for upto in [5, 9, 12] {
            meter.given(Lsn::new(upto));
        }
        meter.taken(Lsn::new(9));
        let StoreStats { taken, lag, .. } = read(&meter).store;
        assert_eq!((taken, lag), (Lsn::new(9), 3));
        meter.taken(Lsn::new(12));
        let StoreStats { lag, lag_time, .. } = read(&meter).store;
        assert_eq!((lag, lag_time), (0, Duration::ZERO));
    }

    #[test]
    fn a_gateway_that_is_not_understood_is_failing_until_it_is() {
        let (meter, lost) = (Meter::new(&bank()), Outcome::Unknown(Reply::new("timeout", "")));
        assert_eq!(read(&meter).gateways[0].last_heard, None, "shown before it was called");
        for outcome in [&lost, &lost] {
            meter.called(0, Asking::Send, outcome, Duration::from_secs(1));
        }
        let bank = read(&meter).gateways[0].clone();
        assert_eq!((bank.failing, bank.last_failure.as_deref()), (2, Some("timeout")));
        let outcomes = &bank.calls["send"].outcomes;
        assert_eq!((outcomes["unknown"], outcomes["succeeded"], outcomes.len()), (2, 0, 8), "zeros are told too");
        meter.called(0, Asking::Inquire, &Outcome::NotFound, Duration::from_secs(1));
        let bank = read(&meter).gateways[0].clone();
        assert_eq!((bank.failing, bank.last_heard.is_some()), (0, true));
        assert_eq!(bank.calls["inquire"].time.count(), 1);
    }

    #[test]
    fn a_turn_that_recorded_nothing_is_no_batch() {
        let meter = Meter::new(&[]);
        meter.turned(Duration::from_micros(50), 0, 0, Recorded::default());
        let settled = vec![(State::Succeeded, Duration::from_millis(20))];
        let recorded = Recorded { facts: vec![("accepted", 2)], settled };
        meter.turned(Duration::from_millis(1), 3, 512, recorded);
        let stats = read(&meter);
        assert_eq!((stats.turn.count(), stats.batch_records.count(), stats.settle.count()), (2, 1, 1));
        assert_eq!((stats.facts["accepted"], stats.settled[&State::Succeeded]), (2, 1));
    }
}
