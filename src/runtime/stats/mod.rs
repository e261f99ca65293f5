//! What an operator sees of a running engine: counters, gauges and histograms, read at any time without asking the
//! engine thread, which may be waiting for a disk.
//!
//! Knows nothing of payments one by one, nor of who looks.

mod histogram;

mod meter;

mod noting;

mod timed;

use std::{collections::BTreeMap, time::Duration};

pub use histogram::Histogram;
pub(super) use meter::{Asking, Meter};
pub(super) use timed::TimedDisk;

use crate::{
    journal::Lsn,
    payment::{Audit, Contract, Outcome, State, Timestamp},
};

/// One reading. Counters and histograms count from the engine's start.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Stats {
    /// How long the engine has been open.
    pub uptime: Duration,
    /// The time of turns that had something to do: deciding, recording, fsync, releasing.
    pub turn: Histogram,
    /// The records that each of them made durable.
    pub batch_records: Histogram,
    /// The bytes that they took of the journal.
    pub batch_bytes: Histogram,
    /// The time of the journal's fdatasync.
    pub fsync: Histogram,
    /// From a payment's acceptance to its final answer.
    pub settle: Histogram,
    /// How many facts of each name were recorded.
    pub facts: BTreeMap<&'static str, u64>,
    /// How many payments were given their final answer, by state.
    pub settled: BTreeMap<State, u64>,
    /// How many payments are unresolved, by what they wait for; zeros are told. `Declined` are soft declines that may
    /// still turn.
    pub unresolved: BTreeMap<State, usize>,
    /// Since when the oldest doubt lasts, and how long that is.
    pub oldest_doubt: Option<(Timestamp, Duration)>,
    /// Those who wait for the engine.
    pub queue: Queue,
    /// Each gateway, the one that is preferred first.
    pub gateways: Vec<GatewayStats>,
    /// The journal.
    pub journal: JournalStats,
    /// The store.
    pub store: StoreStats,
    /// What can keep payments from being taken up or sent, and whether it does: `draining`, `moved`, `stopping`,
    /// `storage_full`, `store_failed`.
    pub troubles: BTreeMap<&'static str, bool>,
}

/// Those who wait for the engine.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Queue {
    /// Callers who were not taken up yet.
    pub waiting: usize,
    /// Callers who were, and wait for a gateway call to be free.
    pub held: usize,
    /// How many may wait in all.
    pub limit: usize,
}

/// What was asked of a gateway, and what came of it.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct GatewayStats {
    /// How callers and operators name it.
    pub name: String,
    /// Which it is, and what it promises.
    pub contract: Contract,
    /// The calls, by what was asked: `send`, `inquire` and `prepare`.
    pub calls: BTreeMap<&'static str, CallStats>,
    /// How long ago it last said something that was understood.
    pub last_heard: Option<Duration>,
    /// How many calls in a row ended without that.
    pub failing: u64,
    /// What came instead, of the last one that did.
    pub last_failure: Option<String>,
    /// Whether it is left alone at present, because it did not answer.
    pub shut: bool,
    /// The deed of the operator who has nothing sent to it; none: nobody has.
    pub pause: Option<Audit>,
    /// Calls under way.
    pub calling: usize,
    /// How many may be.
    pub slots: usize,
}

/// The calls of one kind.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct CallStats {
    /// From a call's beginning to its outcome.
    pub time: Histogram,
    /// How many had each outcome.
    pub outcomes: BTreeMap<&'static str, u64>,
}

/// How the journal stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct JournalStats {
    /// The last record that is durable.
    pub durable: Lsn,
    /// The segment that is being written.
    pub segment: u64,
    /// How much of it is written, in bytes.
    pub offset: u64,
    /// How long a segment is.
    pub segment_bytes: u64,
    /// How much a start would have to replay, in bytes.
    pub since_checkpoint: u64,
    /// The last checkpoint of this process: when, and up to which record.
    pub last_checkpoint: Option<(Timestamp, Lsn)>,
    /// What the data folder's disk has left, in bytes; none, where the system does not say.
    pub disk_free: Option<u64>,
}

/// How far the store is behind.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct StoreStats {
    /// The last record that it has taken.
    pub taken: Lsn,
    /// How many records it has been given, and has not taken.
    pub lag: u64,
    /// How long the oldest of them waits.
    pub lag_time: Duration,
    /// How many payments are in memory: unresolved, or not taken yet.
    pub in_memory: usize,
}

/// Whether an outcome shows that the gateway was reached and understood.
const fn understood(outcome: &Outcome) -> bool {
    match outcome {
        Outcome::Succeeded(_)
        | Outcome::Declined(_, _)
        | Outcome::Pending(_, _)
        | Outcome::Refused(_, _)
        | Outcome::NotFound => true,
        Outcome::NotSent(_) | Outcome::Unknown(_) => false,
    }
}
