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
    process::{Introduced, Process, Site, tail},
    record::{GLANCE, Promise, Record},
    small_disk::SmallDisk,
};

/// What a start may take before it counts as hung; recovery of a torture's data takes a fraction of a second.
const START: Duration = Duration::from_secs(60);
/// The exit code of a daemon that cannot go on.
const REFUSED: i32 = 3;
/// What a stop may take: it waits up to 10 s for what is under way.
const STOP: Duration = Duration::from_secs(30);
/// How far into a start it is killed, in microseconds; every second time, how long the last one took that came about.
const EARLY: u64 = 50_000;
/// How many starts in a row are cut short before one is let through.
const CUT_SHORT: u64 = 10;
/// The longest time between two kills, in milliseconds; half of it on average.
const GAP: u64 = 1_500;
/// How long a chosen point may be waited for; some do not come in every life.
const CHANCE: Duration = Duration::from_millis(500);
/// Now and then it is left alone for so long that what is in doubt is sent again, in milliseconds: then that is cut
/// short too. Quarantine and askings take 12 s with the contract of a torture.
const REST: (u64, u64) = (11_000, 15_000);
/// How often it is: one gap in so many.
const RESTS: u64 = 25;
/// How many lives end by SIGTERM: one in so many.
const STOPS: u64 = 15;

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

/// When the killing ends.
#[derive(Clone, Copy, Debug)]
pub(super) enum Until {
    Kills(u64),
    Time { began: Instant, lasts: Duration },
}

impl Until {
    /// How much is done, in thousandths.
    pub(super) fn progress(&self, kills: u64) -> u64 {
        let (done, all) = match self {
            Until::Kills(all) => (u128::from(kills), u128::from(*all)),
            Until::Time { began, lasts } => (began.elapsed().as_millis(), lasts.as_millis()),
        };
        u64::try_from(done.saturating_mul(1_000).checked_div(all).unwrap_or(1_000)).unwrap_or(1_000).min(1_000)
    }
}

/// Starts daemons, and kills them.
pub(super) struct Killer<'a> {
    pub(super) site: &'a Site,
    pub(super) record: &'a Record,
    pub(super) dice: Rng,
    /// The flags of the daemon, one set for each gateway; the first is the usual one.
    pub(super) gateways: &'a [Vec<String>],
    /// How many starts of a hundred are killed before they are ready.
    pub(super) start_share: u64,
    pub(super) until: Until,
    /// A filesystem that is to be full at times.
    pub(super) disk: Option<&'a SmallDisk>,
    pub(super) cut_short: u64,
}

impl Killer<'_> {
    /// Kills until it is enough, or a promise is broken. Nothing runs afterwards.
    pub(super) fn run(&mut self, mut progress: impl FnMut(u64)) -> io::Result<()> {
        while !self.is_over() {
            progress(self.until.progress(self.record.read(|seen| seen.kills)));
            if self.cut_short < CUT_SHORT && self.dice.percent(self.start_share) {
                self.cut_short += 1;
                self.kill_during_start()?;
            } else {
                self.cut_short = 0;
                let gateway = self.gateway();
                if let Some(daemon) = start(self.site, self.record, &gateway)? {
                    self.live(daemon)?;
                }
            }
        }
        Ok(())
    }

    fn is_over(&self) -> bool {
        self.record.is_over() || self.until.progress(self.record.read(|seen| seen.kills)) >= 1_000
    }

    /// Mostly the usual one.
    fn gateway(&mut self) -> Vec<String> {
        let count = u64::try_from(self.gateways.len()).unwrap_or(1);
        let other = if self.dice.one_in(2) { self.dice.below(count) } else { 0 };
        self.gateways.get(usize::try_from(other).unwrap_or(0)).cloned().unwrap_or_default()
    }

    fn kill_during_start(&mut self) -> io::Result<()> {
        let whole = self.record.read(|seen| seen.start_took);
        let range = if self.dice.one_in(2) { EARLY } else { EARLY.max(whole) };
        let patience = Duration::from_micros(self.dice.below(range));
        let gateway = self.gateway();
        self.record.note(|seen| seen.starts += 1);
        let mut daemon = self.site.start_daemon(&gateway)?;
        match daemon.introduced(patience) {
            // It was faster: it dies as it gets ready.
            Introduced::Said(_) => self.kill(daemon, |seen| seen.kills += 1),
            Introduced::Silent => self.kill(daemon, |seen| {
                seen.kills += 1;
                seen.kills_during_start += 1;
            }),
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
        // What was made ahead has to be used up before the disk is felt to be full.
        let gap =
            if was_full || self.dice.one_in(RESTS) { self.dice.between(REST.0, REST.1) } else { self.dice.below(GAP) };
        let until = Instant::now() + Duration::from_millis(gap);
        while Instant::now() < until && !self.is_over() {
            let left = until.saturating_duration_since(Instant::now());
            if let Some(status) = daemon.ended(left.min(Duration::from_millis(50)))? {
                self.record.publish(None);
                self.fell(status, was_full);
                return Ok(());
            }
        }
        if let Some(disk) = self.disk.filter(|_| self.dice.one_in(2)) {
            disk.free()?;
        }
        if !was_full && self.dice.one_in(STOPS) {
            return self.kill_during_stop(daemon);
        }
        self.await_moment();
        self.record.publish(None);
        if let Some(status) = daemon.ended(Duration::ZERO)? {
            self.fell(status, was_full);
            return Ok(());
        }
        self.kill(daemon, |seen| seen.kills += 1)
    }

    /// It ended by itself: which it may only where the disk was full, and then in an orderly way.
    fn fell(&self, status: ExitStatus, was_full: bool) {
        if was_full && status.code() == Some(REFUSED) {
            return self.record.note(|seen| seen.stops_on_full_disk += 1);
        }
        let log = tail(&self.site.folder.join("daemon.log"));
        self.record.broke(Promise::Fell, format!("the daemon stopped by itself ({status}): {log}"));
    }

    /// SIGTERM, and sometimes SIGKILL on its heels.
    fn kill_during_stop(&mut self, mut daemon: Process) -> io::Result<()> {
        if self.dice.one_in(2) {
            return stop(self.site, self.record, daemon);
        }
        daemon.tell_to_stop()?;
        let stopped = daemon.ended(Duration::from_micros(self.dice.below(4 * EARLY)))?;
        self.record.publish(None);
        match stopped {
            Some(status) if status.success() => self.record.note(|seen| seen.clean_stops += 1),
            Some(_) | None => self.kill(daemon, |seen| {
                seen.kills += 1;
                seen.kills_during_stop += 1;
            })?,
        }
        Ok(())
    }

    fn kill(&self, mut daemon: Process, count: impl FnOnce(&mut super::record::Seen)) -> io::Result<()> {
        let status = daemon.kill()?;
        if status.code().is_some() {
            self.fell(status, false);
        }
        self.record.note(count);
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

/// Starts a daemon, waits until it is ready, and publishes where it is. `None`: a promise was broken.
pub(super) fn start(site: &Site, record: &Record, flags: &[String]) -> io::Result<Option<Process>> {
    let began = Instant::now();
    record.note(|seen| seen.starts += 1);
    let mut daemon = site.start_daemon(flags)?;
    match daemon.introduced(START) {
        Introduced::Said(line) => {
            let took = u64::try_from(began.elapsed().as_micros()).unwrap_or(u64::MAX);
            record.note(|seen| seen.start_took = took);
            let introduction: serde_json::Value = serde_json::from_str(&line).unwrap_or_default();
            record.publish(introduction.get("url").and_then(serde_json::Value::as_str));
            Ok(Some(daemon))
        }
        Introduced::Silent => {
            record.broke(Promise::Hung, format!("a start took longer than {START:?}"));
            Ok(None)
        }
        Introduced::Ended => {
            refused(site, record, daemon)?;
            Ok(None)
        }
    }
}

/// SIGTERM, and waits for the end.
pub(super) fn stop(site: &Site, record: &Record, mut daemon: Process) -> io::Result<()> {
    daemon.tell_to_stop()?;
    let status = daemon.ended(STOP)?;
    record.publish(None);
    match status {
        Some(status) if status.success() => record.note(|seen| seen.clean_stops += 1),
        Some(status) => {
            let log = tail(&site.folder.join("daemon.log"));
            record.broke(Promise::Fell, format!("told to stop, the daemon ended with {status}: {log}"));
        }
        None => record.broke(Promise::Hung, format!("told to stop, the daemon was still there after {STOP:?}")),
    }
    Ok(())
}

fn refused(site: &Site, record: &Record, mut daemon: Process) -> io::Result<()> {
    let status = daemon.ended(STOP)?;
    let log = tail(&site.folder.join("daemon.log"));
    record.broke(Promise::RefusedStart, format!("a start ended with {status:?}: {log}"));
    Ok(())
}
