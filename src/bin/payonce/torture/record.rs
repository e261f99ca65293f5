//! What a run has seen: counts, broken promises, and where the daemon is at present. Shared by everybody in it.

use std::{
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use payonce::gateway::sandbox::Summary;

/// How often somebody who waits looks again: far below what is measured, and no burden.
pub(super) const GLANCE: Duration = Duration::from_millis(2);

/// What can be broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Promise {
    /// An operation moves money at most once (P2).
    MovedTwice,
    /// A payment that a caller was told of is still known (P3).
    LostAnswer,
    /// A final answer never changes (P3).
    ChangedAnswer,
    /// The same key with other parameters is refused (P5), and with the same ones never.
    WrongRefusal,
    /// What was told is what the ledger says.
    WrongMovement,
    /// Without deduplication nothing is sent again once a byte may have left (P2).
    SentAgain,
    /// Every payment is driven to the truth, or parked.
    Unresolved,
    /// It always starts again.
    RefusedStart,
    /// It starts, and stops, within reasonable time.
    Hung,
    /// It does not stop by itself.
    Fell,
    /// What is left on disk is undamaged.
    Damaged,
}

/// Counts.
#[derive(Clone, Debug, Default)]
pub(super) struct Seen {
    pub(super) starts: u64,
    /// How long the last start took that came about, in microseconds.
    pub(super) start_took: u64,
    pub(super) kills: u64,
    pub(super) kills_during_start: u64,
    pub(super) kills_during_stop: u64,
    pub(super) clean_stops: u64,
    /// Requests that callers made, and answers that they got.
    pub(super) asked: u64,
    pub(super) answered: u64,
    /// Answers that were the first about something settled.
    pub(super) settled: u64,
    pub(super) replays: u64,
    pub(super) conflicts: u64,
    /// Answers that there is no room.
    pub(super) no_room: u64,
    /// How often the daemon stopped because the disk was full.
    pub(super) stops_on_full_disk: u64,
    /// From the daemon's own list, at the end.
    pub(super) payments: u64,
    pub(super) succeeded: u64,
    pub(super) authorized: u64,
    pub(super) declined: u64,
    pub(super) canceled: u64,
    pub(super) parked: u64,
    pub(super) in_doubt: u64,
    /// Why payments are parked, and how many for that reason.
    pub(super) parked_because: std::collections::BTreeMap<String, u64>,
    /// Attempts beyond the first of a payment.
    pub(super) further_attempts: u64,
    /// From the gateways' ledgers, at the end.
    pub(super) ledger: Summary,
    pub(super) broken: Vec<(Promise, String)>,
}

impl Seen {
    /// How often a promise was broken.
    pub(super) fn times(&self, promise: Promise) -> usize {
        self.broken.iter().filter(|(broken, _)| *broken == promise).count()
    }
}

/// The shared record.
#[derive(Default)]
pub(super) struct Record {
    seen: Mutex<Seen>,
    daemon: Mutex<Option<String>>,
    finishing: AtomicBool,
    over: AtomicBool,
}

impl Record {
    /// Counts something.
    pub(super) fn note(&self, change: impl FnOnce(&mut Seen)) {
        change(&mut lock(&self.seen));
    }

    /// Reads the counts.
    pub(super) fn read<T>(&self, look: impl FnOnce(&Seen) -> T) -> T {
        look(&lock(&self.seen))
    }

    /// Notes a broken promise. The run goes no further than it must: the evidence is to stay as it is.
    pub(super) fn broke(&self, promise: Promise, what: impl Into<String>) {
        self.note(|seen| seen.broken.push((promise, what.into())));
        self.give_up();
    }

    /// Whether anything was broken.
    pub(super) fn is_broken(&self) -> bool {
        self.read(|seen| !seen.broken.is_empty())
    }

    /// Says where the daemon is, or that there is none.
    pub(super) fn publish(&self, url: Option<&str>) {
        *lock(&self.daemon) = url.map(str::to_owned);
    }

    /// Where the daemon is, once there is one. `None`: the run is over, and there is none.
    pub(super) fn daemon(&self) -> Option<String> {
        loop {
            if let Some(url) = lock(&self.daemon).clone() {
                return Some(url);
            }
            if self.is_over() {
                return None;
            }
            thread::sleep(GLANCE);
        }
    }

    /// Begins nothing new from here on, but brings to an end what was begun.
    pub(super) fn finish(&self) {
        self.finishing.store(true, Ordering::Release);
    }

    pub(super) fn is_finishing(&self) -> bool {
        self.finishing.load(Ordering::Acquire)
    }

    /// Ends everything.
    pub(super) fn give_up(&self) {
        self.over.store(true, Ordering::Release);
    }

    pub(super) fn is_over(&self) -> bool {
        self.over.load(Ordering::Acquire)
    }
}

/// Counts are whole after every change, so a thread that panicked has left nothing half done.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
