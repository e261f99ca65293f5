//! When a daemon dies: at random, at chosen points, while it starts, while it stops.

use std::{
    fs, io,
    path::PathBuf,
    process::ExitStatus,
    thread,
    time::{Duration, Instant},
};

use payonce::sim::Rng;

use super::{
    process::{Introduced, Process, Site, disk_use, tail},
    record::{CutShort, GLANCE, Promise, Record, Seen},
    small_disk::SmallDisk,
};

/// What a start may take before it counts as hung; recovery of a torture's data takes a fraction of a second.
pub(super) const START: Duration = Duration::from_secs(60);
/// The exit code of a daemon that cannot go on.
pub(super) const REFUSED: i32 = 3;
/// What a stop may take: it waits up to 10 s for what is under way.
pub(super) const STOP: Duration = Duration::from_secs(30);
/// What the first whole start is taken to take, in microseconds.
const FIRST_START: u64 = 100_000;
/// How many starts in a row are cut short before one is let through.
const CUT_SHORT: u64 = 10;
/// The longest time between two kills, in milliseconds; half of it on average. In that time dozens of payments are made.
const GAP: u64 = 250;
/// Now and then a daemon is left alone for longer, and so is the next one that is to be killed then, in milliseconds.
const LONG_GAP: u64 = 1_200;
/// How often: one gap in so many.
const LONG_GAPS: u64 = 20;
/// How long a chosen point may be waited for; some do not come in every life.
const CHANCE: Duration = Duration::from_millis(200);
/// At times it is left alone for so long that what is in doubt is sent again, in milliseconds: then that is cut short
/// too. Quarantine and askings take 12 s with the contract of a torture.
const REST: (u64, u64) = (11_000, 15_000);
/// How often it is: one gap in so many, and whenever a start has taken up so many unresolved payments: asking about all of
/// them at each start takes the time in which others could be made.
const RESTS: u64 = 200;
const CROWD: u64 = 160;
/// How many lives end by SIGTERM: one in so many.
const STOPS: u64 = 25;
/// Before how many starts the store is removed: one in so many.
const REBUILDS: u64 = 12;
/// How many lives have a disk that fails, if there are to be such: one in so many, the first included.
const DISK_FAULTS: u64 = 5;
/// The most that a data folder may come to, in bytes, before a round ends; half of the small filesystems.
pub(super) const ROUND_BYTES: u64 = 256 << 20;
/// How often it is looked at, in kills.
const LOOK_EVERY: u64 = 20;

/// A moment to die at.
#[derive(Clone, Copy, Debug)]
enum Moment {
    /// Whenever.
    AnyTime,
    /// A caller asks.
    Asked,
    /// A caller is answered.
    Answered,
    /// A gateway writes into its ledger.
    Moved,
    /// A file is made or removed in the journal's folder.
    Filed,
}

const MOMENTS: [Moment; 6] =
    [Moment::AnyTime, Moment::AnyTime, Moment::Asked, Moment::Answered, Moment::Moved, Moment::Filed];

/// Starts daemons, and kills them.
pub(super) struct Killer<'a> {
    pub(super) site: &'a Site,
    pub(super) record: &'a Record,
    pub(super) dice: Rng,
    /// The flags of the daemon, one set for each gateway; the first is the usual one.
    pub(super) gateways: &'a [Vec<String>],
    /// How many kills of a hundred are to come before the daemon is ready.
    pub(super) start_share: u64,
    /// Whether the disk under the journal is to fail at times.
    pub(super) disk_faults: bool,
    /// A filesystem that is to be full at times.
    pub(super) disk: Option<&'a SmallDisk>,
    /// How many kills a round has.
    pub(super) round: u64,
    pub(super) state: State,
}

/// What a killer keeps in mind.
#[derive(Default)]
pub(super) struct State {
    /// How many more starts are to be cut short before one is let through.
    burst: u64,
    /// How many starts were let through.
    lives: u64,
    /// The store was removed since the last whole start.
    pub(super) rebuilding: bool,
    /// What the last whole start took, in microseconds: an ordinary one, and one with a rebuild.
    whole: [u64; 2],
}

impl Killer<'_> {
    /// Kills until it is enough, or a promise is broken. Nothing runs afterwards.
    pub(super) fn run(&mut self) -> io::Result<()> {
        while !self.is_enough()? {
            self.remove_store()?;
            if self.dies_in_start() {
                self.kill_during_start()?;
                continue;
            }
            self.state.lives += 1;
            if self.disk_faults && self.state.lives % DISK_FAULTS == 1 {
                self.live_with_fault()?;
            } else {
                let gateway = self.gateway();
                let began = Instant::now();
                if let Some(daemon) = start(self.site, self.record, &gateway)? {
                    self.note_whole(began.elapsed());
                    self.live(daemon)?;
                }
            }
        }
        Ok(())
    }

    fn is_enough(&self) -> io::Result<bool> {
        let kills = self.record.read(|seen| seen.kills);
        if self.record.is_enough() || kills >= self.round {
            return Ok(true);
        }
        Ok(kills.is_multiple_of(LOOK_EVERY) && disk_use(&self.site.data)? > ROUND_BYTES)
    }

    /// Before some starts there is no store, so that it has to be made from the journal.
    fn remove_store(&mut self) -> io::Result<()> {
        let store = self.site.data.join("store");
        if !self.dice.one_in(REBUILDS) || !store.exists() {
            return Ok(());
        }
        self.state.rebuilding = true;
        self.record.note(|seen| seen.stores_removed += 1);
        fs::remove_dir_all(store)
    }

    /// Several starts in a row are cut short, as often as their share asks for: what one leaves half done is recovered by
    /// the next, which is cut short too.
    fn dies_in_start(&mut self) -> bool {
        if self.state.burst == 0 {
            let (kills, early) = self.record.read(|seen| (seen.kills, seen.cut_short.len()));
            let owed = u64::try_from(early).unwrap_or(u64::MAX) * 100 < self.start_share * (kills + CUT_SHORT);
            if owed {
                self.state.burst = self.dice.between((CUT_SHORT * self.start_share / 100).max(1), CUT_SHORT) + 1;
            }
        }
        self.state.burst = self.state.burst.saturating_sub(1);
        self.state.burst > 0
    }

    /// Mostly the usual one.
    pub(super) fn gateway(&mut self) -> Vec<String> {
        let count = u64::try_from(self.gateways.len()).unwrap_or(1);
        let other = if self.dice.one_in(2) { self.dice.below(count) } else { 0 };
        self.gateways.get(usize::try_from(other).unwrap_or(0)).cloned().unwrap_or_default()
    }

    fn whole(&mut self) -> &mut u64 {
        let [ordinary, rebuild] = &mut self.state.whole;
        if self.state.rebuilding { rebuild } else { ordinary }
    }

    fn note_whole(&mut self, took: Duration) {
        *self.whole() = micros(took);
        self.state.rebuilding = false;
    }

    /// Somewhere in the start, from its first moment to its last: evenly over what the last whole one took.
    fn kill_during_start(&mut self) -> io::Result<()> {
        let whole = if *self.whole() == 0 { FIRST_START } else { *self.whole() };
        let patience = Duration::from_micros(self.dice.below(whole));
        let gateway = self.gateway();
        self.record.note(|seen| seen.starts += 1);
        let began = Instant::now();
        let mut daemon = self.site.start_daemon(&gateway)?;
        match daemon.introduced(patience.saturating_sub(began.elapsed())) {
            // It was faster: it dies as it gets ready.
            Introduced::Said(_) => {
                self.note_whole(began.elapsed());
                self.kill(daemon, |_| {})
            }
            Introduced::Silent => {
                let after = micros(began.elapsed());
                let depth = (after * 1_000 / whole).min(1_000);
                let rebuilding = u64::from(self.state.rebuilding);
                self.kill(daemon, |seen| {
                    seen.cut_short.push(CutShort { after, depth });
                    seen.kills_during_rebuild += rebuilding;
                })
            }
            Introduced::Ended => refused(self.site, self.record, daemon),
        }
    }

    /// Lets it work for a while, and ends it.
    fn live(&mut self, daemon: Process) -> io::Result<()> {
        // A daemon need not start on a full disk; but one that has started goes on.
        let full = self.disk.filter(|_| self.dice.one_in(2));
        full.map_or(Ok(()), SmallDisk::fill)?;
        let lived = self.live_and_die(daemon, full.is_some());
        self.disk.map_or(Ok(()), SmallDisk::free)?;
        lived
    }

    fn live_and_die(&mut self, mut daemon: Process, was_full: bool) -> io::Result<()> {
        let (gap, rests) = self.gap(was_full);
        self.record.rest(rests);
        let ended = self.wait(&mut daemon, gap);
        self.record.rest(false);
        if let Some(status) = ended? {
            self.fell(status, was_full);
            return Ok(());
        }
        if let Some(disk) = self.disk.filter(|_| self.dice.one_in(2)) {
            disk.free()?;
        }
        if !was_full && self.dice.one_in(STOPS) {
            return self.kill_during_stop(daemon);
        }
        self.await_moment();
        self.kill_alive(daemon, was_full)
    }

    /// How long it lives, and whether that is a rest.
    fn gap(&mut self, was_full: bool) -> (Duration, bool) {
        let crowded = self.record.read(|seen| seen.taken_up_last) >= CROWD;
        // What was made ahead has to be used up before the disk is felt to be full.
        let rests = was_full || crowded || self.dice.one_in(RESTS);
        let longest = if self.dice.one_in(LONG_GAPS) { LONG_GAP } else { GAP };
        let gap = if rests { self.dice.between(REST.0, REST.1) } else { self.dice.below(longest) };
        (Duration::from_millis(gap), rests)
    }

    /// Waits for so long, and tells how it ended if it ended by itself.
    pub(super) fn wait(&self, daemon: &mut Process, lasts: Duration) -> io::Result<Option<ExitStatus>> {
        let until = Instant::now() + lasts;
        loop {
            let left = until.saturating_duration_since(Instant::now());
            if let Some(status) = daemon.ended(left.min(Duration::from_millis(50)))? {
                self.record.publish(None);
                return Ok(Some(status));
            }
            if Instant::now() >= until || self.record.is_enough() {
                return Ok(None);
            }
        }
    }

    pub(super) fn kill_alive(&self, mut daemon: Process, was_full: bool) -> io::Result<()> {
        if let Some(status) = daemon.ended(Duration::ZERO)? {
            self.record.publish(None);
            self.fell(status, was_full);
            return Ok(());
        }
        self.kill(daemon, |_| {})
    }

    /// It ended by itself: which it may only where the disk was full, and then in an orderly way.
    pub(super) fn fell(&self, status: ExitStatus, was_full: bool) {
        if was_full && status.code() == Some(REFUSED) {
            return self.record.note(|seen| seen.stops_on_full_disk += 1);
        }
        let log = tail(&self.site.log_path("daemon"));
        self.record.broke(Promise::Fell, format!("the daemon stopped by itself ({status}): {log}"));
    }

    /// SIGTERM, and sometimes SIGKILL on its heels.
    fn kill_during_stop(&mut self, mut daemon: Process) -> io::Result<()> {
        if self.dice.one_in(2) {
            return stop(self.site, self.record, daemon);
        }
        daemon.tell_to_stop()?;
        let stopped = daemon.ended(Duration::from_micros(self.dice.below(FIRST_START)))?;
        match stopped {
            Some(status) if status.success() => {
                self.record.publish(None);
                self.record.note(|seen| seen.clean_stops += 1);
            }
            Some(_) | None => self.kill(daemon, |seen| seen.kills_during_stop += 1)?,
        }
        Ok(())
    }

    fn kill(&self, mut daemon: Process, count: impl FnOnce(&mut Seen)) -> io::Result<()> {
        let in_flight = u64::from(self.record.count_in_flight() > 0);
        let status = daemon.kill()?;
        self.record.publish(None);
        if status.code().is_some() {
            self.fell(status, false);
        }
        self.record.note_kill(|seen| {
            seen.kills_in_flight += in_flight;
            count(seen);
        });
        Ok(())
    }

    /// Waits for something to happen, and then a little: what follows from it takes microseconds to milliseconds.
    fn await_moment(&mut self) {
        let place = usize::try_from(self.dice.below(u64::try_from(MOMENTS.len()).unwrap_or(1))).unwrap_or(0);
        let moment = MOMENTS.get(place).copied().unwrap_or(Moment::AnyTime);
        let until = Instant::now() + CHANCE;
        let before = self.look(moment);
        while !matches!(moment, Moment::AnyTime) && Instant::now() < until && self.look(moment) == before {
            thread::sleep(GLANCE / 20);
        }
        if self.dice.one_in(2) {
            thread::sleep(Duration::from_micros(self.dice.below(5_000)));
        }
    }

    /// A number that changes when the moment comes.
    fn look(&self, moment: Moment) -> u64 {
        match moment {
            Moment::AnyTime => 0,
            Moment::Asked => self.record.read(|seen| seen.asked),
            Moment::Answered => self.record.read(|seen| seen.answered),
            Moment::Moved => length(self.site.ledger("gateway")),
            Moment::Filed => files(self.site.data.join("journal")),
        }
    }
}

fn length(path: PathBuf) -> u64 {
    fs::metadata(path).map_or(0, |found| found.len())
}

fn files(folder: PathBuf) -> u64 {
    fs::read_dir(folder).map_or(0, |entries| u64::try_from(entries.count()).unwrap_or(0))
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

/// Starts a daemon, waits until it is ready, and publishes where it is. `None`: a promise was broken.
pub(super) fn start(site: &Site, record: &Record, flags: &[String]) -> io::Result<Option<Process>> {
    record.note(|seen| seen.starts += 1);
    let mut daemon = site.start_daemon(flags)?;
    match daemon.introduced(START) {
        Introduced::Said(line) => {
            introduce(record, &line);
            Ok(Some(daemon))
        }
        Introduced::Silent => hung(record).map(|()| None),
        Introduced::Ended => refused(site, record, daemon).map(|()| None),
    }
}

/// Publishes where a daemon is, and notes what it has taken up.
pub(super) fn introduce(record: &Record, line: &str) {
    let introduction: serde_json::Value = serde_json::from_str(line).unwrap_or_default();
    record.publish(introduction.get("url").and_then(serde_json::Value::as_str));
    // "17 records replayed, 4 unresolved payments taken up"
    let recovery = super::wire::text(&introduction, "/recovery/0");
    let taken_up = recovery.split(", ").nth(1).and_then(|part| part.split(' ').next()?.parse::<u64>().ok());
    record.note(|seen| {
        seen.taken_up_last = taken_up.unwrap_or(0);
        seen.taken_up += seen.taken_up_last;
    });
}

/// SIGTERM, and waits for the end.
pub(super) fn stop(site: &Site, record: &Record, mut daemon: Process) -> io::Result<()> {
    daemon.tell_to_stop()?;
    let status = daemon.ended(STOP)?;
    record.publish(None);
    match status {
        Some(status) if status.success() => record.note(|seen| seen.clean_stops += 1),
        Some(status) => {
            let log = tail(&site.log_path("daemon"));
            record.broke(Promise::Fell, format!("told to stop, the daemon ended with {status}: {log}"));
        }
        None => record.broke(Promise::Hung, format!("told to stop, the daemon was still there after {STOP:?}")),
    }
    Ok(())
}

pub(super) fn hung(record: &Record) -> io::Result<()> {
    record.broke(Promise::Hung, format!("a start took longer than {START:?}"));
    Ok(())
}

fn refused(site: &Site, record: &Record, mut daemon: Process) -> io::Result<()> {
    let status = daemon.ended(STOP)?;
    let log = tail(&site.log_path("daemon"));
    record.broke(Promise::RefusedStart, format!("a start ended with {status:?}: {log}"));
    Ok(())
}
