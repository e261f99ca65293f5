//! What a round has seen: counts, broken promises, and where the daemon is at present. Shared by everybody in it.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::Duration,
};

use payonce::gateway::sandbox::Summary;

use super::goal::Goal;

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
    /// Nothing is asked of a gateway that the payment does not have: amounts are held from the intent on.
    AskedTooMuch,
    /// Without deduplication nothing is sent again once a byte may have left (P2).
    SentAgain,
    /// Every payment is driven to the truth, or parked.
    Unresolved,
    /// Nobody but the gateway is heard in its name.
    HeardForgery,
    /// It always starts again.
    RefusedStart,
    /// It starts, and stops, within reasonable time.
    Hung,
    /// It does not stop by itself.
    Fell,
    /// It does not go on after the disk failed under a batch (P8).
    WentOn,
    /// What is left on disk is undamaged.
    Damaged,
}

/// How the daemon's disk faults of one kind ended.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Struck {
    /// Of all that were set, those that struck; the others' daemons were killed first.
    pub(super) struck: u64,
    /// It stopped with exit code 3, as it must when a batch was hit.
    pub(super) stopped: u64,
    /// The same while it started: nobody had been answered yet.
    pub(super) stopped_in_start: u64,
    /// Only a segment made ahead of need was hit, or the cutting of an old one: it went on, and was killed later.
    pub(super) harmless: u64,
}

/// A kill during a start: after how long, in microseconds, and in thousandths of what the last whole start took.
#[derive(Clone, Copy, Debug)]
pub(super) struct CutShort {
    pub(super) after: u64,
    pub(super) depth: u64,
}

/// Counts.
#[derive(Clone, Debug, Default)]
pub(super) struct Seen {
    pub(super) rounds: u64,
    pub(super) starts: u64,
    /// Unresolved payments that starts took up, in all.
    pub(super) taken_up: u64,
    /// The last of them.
    pub(super) taken_up_last: u64,
    pub(super) kills: u64,
    /// Kills while a caller waited for the first word about a payment.
    pub(super) kills_in_flight: u64,
    pub(super) cut_short: Vec<CutShort>,
    /// Those of them while the store was rebuilt.
    pub(super) kills_during_rebuild: u64,
    pub(super) kills_during_stop: u64,
    pub(super) clean_stops: u64,
    /// How often the store was removed.
    pub(super) stores_removed: u64,
    /// Requests that callers made, and answers that they got.
    pub(super) asked: u64,
    pub(super) answered: u64,
    /// Answers that were the first about something settled.
    pub(super) settled: u64,
    pub(super) replays: u64,
    pub(super) conflicts: u64,
    /// Captures, voids and refunds refused because the payment did not have that: nothing was recorded.
    pub(super) impossible: u64,
    /// Charges that a person ended, because their voids waited for what would never come.
    pub(super) decided: u64,
    /// Answers that there is no room.
    pub(super) no_room: u64,
    /// How often the daemon stopped because the disk was full.
    pub(super) stops_on_full_disk: u64,
    pub(super) disk_faults: BTreeMap<&'static str, Struck>,
    /// From the daemon's own list, at the end.
    pub(super) payments: u64,
    pub(super) succeeded: u64,
    pub(super) authorized: u64,
    pub(super) declined: u64,
    pub(super) canceled: u64,
    pub(super) parked: u64,
    pub(super) in_doubt: u64,
    /// Captures, voids and refunds, and how many of each were done.
    pub(super) operations: u64,
    pub(super) captures: u64,
    pub(super) voids: u64,
    pub(super) refunds: u64,
    /// Why payments are parked, and how many for that reason.
    pub(super) parked_because: BTreeMap<String, u64>,
    /// Rounds with two gateways, how often one of them was gone, and payments that went over to the other.
    pub(super) rounds_of_two: u64,
    pub(super) outages: u64,
    pub(super) rerouted: u64,
    /// Attempts beyond the first of a payment.
    pub(super) further_attempts: u64,
    /// From the gateways' ledgers, at the end.
    pub(super) ledger: Summary,
    /// News that was taken, and forged news that was refused.
    pub(super) news: u64,
    pub(super) forged_refused: u64,
    /// What the data folder took at the end of a round, at most.
    pub(super) data_bytes: u64,
    pub(super) broken: Vec<(Promise, String)>,
}

impl Seen {
    /// How often a promise was broken.
    pub(super) fn times(&self, promise: Promise) -> usize {
        self.broken.iter().filter(|(broken, _)| *broken == promise).count()
    }

    /// Adds what another round has seen.
    pub(super) fn add(&mut self, other: Seen) {
        let pairs = [
            (&mut self.rounds, other.rounds),
            (&mut self.starts, other.starts),
            (&mut self.taken_up, other.taken_up),
            (&mut self.kills, other.kills),
            (&mut self.kills_in_flight, other.kills_in_flight),
            (&mut self.kills_during_rebuild, other.kills_during_rebuild),
            (&mut self.kills_during_stop, other.kills_during_stop),
            (&mut self.clean_stops, other.clean_stops),
            (&mut self.stores_removed, other.stores_removed),
            (&mut self.asked, other.asked),
            (&mut self.answered, other.answered),
            (&mut self.settled, other.settled),
            (&mut self.replays, other.replays),
            (&mut self.conflicts, other.conflicts),
            (&mut self.impossible, other.impossible),
            (&mut self.decided, other.decided),
            (&mut self.no_room, other.no_room),
            (&mut self.stops_on_full_disk, other.stops_on_full_disk),
            (&mut self.payments, other.payments),
            (&mut self.succeeded, other.succeeded),
            (&mut self.authorized, other.authorized),
            (&mut self.declined, other.declined),
            (&mut self.canceled, other.canceled),
            (&mut self.parked, other.parked),
            (&mut self.in_doubt, other.in_doubt),
            (&mut self.operations, other.operations),
            (&mut self.captures, other.captures),
            (&mut self.voids, other.voids),
            (&mut self.refunds, other.refunds),
            (&mut self.rounds_of_two, other.rounds_of_two),
            (&mut self.outages, other.outages),
            (&mut self.rerouted, other.rerouted),
            (&mut self.further_attempts, other.further_attempts),
            (&mut self.news, other.news),
            (&mut self.forged_refused, other.forged_refused),
            (&mut self.ledger.operations, other.ledger.operations),
            (&mut self.ledger.movements, other.ledger.movements),
            (&mut self.ledger.moved_twice, other.ledger.moved_twice),
        ];
        pairs.into_iter().for_each(|(sum, more)| *sum += more);
        for (kind, more) in other.disk_faults {
            let sum = self.disk_faults.entry(kind).or_default();
            sum.struck += more.struck;
            sum.stopped += more.stopped;
            sum.stopped_in_start += more.stopped_in_start;
            sum.harmless += more.harmless;
        }
        for (reason, more) in other.parked_because {
            *self.parked_because.entry(reason).or_default() += more;
        }
        self.data_bytes = self.data_bytes.max(other.data_bytes);
        self.cut_short.extend(other.cut_short);
        self.broken.extend(other.broken);
    }
}

/// The shared record.
pub(super) struct Record {
    goal: Arc<Goal>,
    seen: Mutex<Seen>,
    daemon: Mutex<Option<String>>,
    /// Payments whose callers wait for the first word about them.
    in_flight: AtomicU64,
    resting: AtomicBool,
    finishing: AtomicBool,
    over: AtomicBool,
}

impl Record {
    pub(super) fn new(goal: Arc<Goal>) -> Record {
        Record {
            goal,
            seen: Mutex::default(),
            daemon: Mutex::default(),
            in_flight: AtomicU64::new(0),
            resting: AtomicBool::new(false),
            finishing: AtomicBool::new(false),
            over: AtomicBool::new(false),
        }
    }

    /// Counts something.
    pub(super) fn note(&self, change: impl FnOnce(&mut Seen)) {
        change(&mut lock(&self.seen));
    }

    /// Counts a kill, and what it was.
    pub(super) fn note_kill(&self, change: impl FnOnce(&mut Seen)) {
        self.goal.count_kill();
        self.note(|seen| {
            seen.kills += 1;
            change(seen);
        });
    }

    /// Counts a payment that a caller has seen settled.
    pub(super) fn note_settled(&self) {
        self.goal.count_settled();
        self.note(|seen| seen.settled += 1);
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

    /// Does something while a payment is in flight.
    pub(super) fn in_flight<T>(&self, act: impl FnOnce() -> T) -> T {
        self.in_flight.fetch_add(1, Ordering::Relaxed);
        let done = act();
        self.in_flight.fetch_sub(1, Ordering::Relaxed);
        done
    }

    /// How many payments are.
    pub(super) fn count_in_flight(&self) -> u64 {
        self.in_flight.load(Ordering::Relaxed)
    }

    /// Says whether the daemon is left alone to find out about what is in doubt.
    pub(super) fn rest(&self, resting: bool) {
        self.resting.store(resting, Ordering::Relaxed);
    }

    pub(super) fn is_resting(&self) -> bool {
        self.resting.load(Ordering::Relaxed)
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
        self.over.load(Ordering::Acquire) || self.goal.is_given_up()
    }

    /// Whether there is to be no further kill.
    pub(super) fn is_enough(&self) -> bool {
        self.is_over() || self.goal.is_reached()
    }
}

/// Counts are whole after every change, so a thread that panicked has left nothing half done.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
