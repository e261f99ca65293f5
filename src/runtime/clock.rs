//! The one place that reads clocks.

use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use crate::payment::{Clock as Trust, Now, Tick, Timestamp};

/// How often the wall clock is compared with the time since boot.
const COMPARE_EVERY: Duration = Duration::from_secs(1);

/// The kernel tells the time since boot in hundredths of a second, and a busy machine may hold this thread between one
/// clock and the other: less than this apart says nothing.
const LEAST_MARGIN: Duration = Duration::from_millis(500);

/// Instead of a time that cannot be expressed: to be looked at again then.
const FAR: Duration = Duration::from_secs(3600);

/// In the data folder, from when the wall clock was found wrong until a start has doubted what was sent by it: by then the
/// clock may look right again, and keys younger than they are.
const NOTE: &str = "clock-was-wrong";

/// Wall and monotonic time, and whether the first can be believed.
pub(super) struct Clock {
    start: Instant,
    /// Wall time and time since boot, read together at the start.
    origin: (Duration, Duration),
    margin: Duration,
    compared: Instant,
    trust: Trust,
    data: PathBuf,
}

impl Clock {
    /// Starts the monotonic clock. `recorded` is the last wall time in the journal.
    pub(super) fn start(margin: Duration, recorded: Timestamp, data: &Path) -> Clock {
        let start = Instant::now();
        let origin = (wall(), since_boot(start, start));
        let behind = recorded.since(timestamp(origin.0)) > margin;
        if behind {
            tracing::warn!(
                "the wall clock is behind the journal: nothing is sent again until a start at which it is right"
            );
            note(data);
        }
        Clock {
            start,
            origin,
            margin: margin.max(LEAST_MARGIN),
            compared: start,
            trust: if behind { Trust::Diverged } else { Trust::Trusted },
            data: data.to_owned(),
        }
    }

    /// Whether the clock was found wrong, and no start has doubted yet what was sent by it.
    pub(super) fn was_wrong(&self) -> bool {
        self.data.join(NOTE).exists()
    }

    /// What was sent by a wrong clock is doubted durably. While the clock is wrong still, there will be more.
    pub(super) fn doubted(&self) -> io::Result<()> {
        if self.trust == Trust::Diverged || !self.was_wrong() {
            return Ok(());
        }
        fs::remove_file(self.data.join(NOTE))?;
        File::open(&self.data)?.sync_all()
    }

    pub(super) fn now(&mut self) -> Now {
        let now = Instant::now();
        if now.duration_since(self.compared) >= COMPARE_EVERY {
            self.compared = now;
            self.compare(now);
        }
        let millis = u64::try_from(now.duration_since(self.start).as_millis()).unwrap_or(u64::MAX);
        Now { wall: timestamp(wall()), tick: Tick::from_millis(millis), clock: self.trust }
    }

    /// When the monotonic clock will show `tick`.
    pub(super) fn instant(&self, tick: Tick) -> Instant {
        let at = self.start.checked_add(Duration::from_millis(tick.as_millis()));
        at.unwrap_or_else(|| Instant::now() + FAR)
    }

    /// A wall clock that was set, by more than the margin, says nothing about the age of a key.
    fn compare(&mut self, now: Instant) {
        let wall = wall().abs_diff(self.origin.0);
        let boot = since_boot(self.start, now).abs_diff(self.origin.1);
        if self.trust == Trust::Trusted && wall.abs_diff(boot) > self.margin {
            tracing::warn!("the wall clock jumped: nothing is sent again until the next start");
            self.trust = Trust::Diverged;
            note(&self.data);
        }
    }
}

/// Durable: the process may be killed, and the machine with it, before a start gets to doubt anything.
fn note(data: &Path) {
    let write = || {
        File::create(data.join(NOTE))?.sync_all()?;
        File::open(data)?.sync_all()
    };
    if let Err(error) = write() {
        tracing::error!(%error, "that the clock was wrong could not be noted: until it is, do not restart with payments in doubt");
    }
}

/// The wall clock as it is, for people: not for deciding.
pub(super) fn wall_clock() -> Timestamp {
    timestamp(wall())
}

fn wall() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

fn timestamp(wall: Duration) -> Timestamp {
    Timestamp::from_millis(0).plus(wall)
}

/// Time since boot, the machine's sleep included, where the kernel tells; else the process's own monotonic time, which
/// makes a sleep look like a jump: safe, and rare on servers.
fn since_boot(start: Instant, now: Instant) -> Duration {
    let uptime = fs::read_to_string("/proc/uptime").ok();
    let seconds = uptime.and_then(|text| text.split(' ').next()?.parse::<f64>().ok());
    let told = seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    told.unwrap_or_else(|| now.duration_since(start))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrong_clock_is_noted_until_a_start_by_a_right_one_has_doubted_what_was_sent_by_it() {
        let data = std::env::temp_dir().join(format!("payonce-clock-{}", std::process::id()));
        fs::create_dir_all(&data).expect("a folder");
        let (margin, ahead) = (Duration::from_secs(2), wall_clock().plus(Duration::from_secs(3_600)));
        assert!(!Clock::start(margin, wall_clock(), &data).was_wrong());
        let behind = Clock::start(margin, ahead, &data);
        behind.doubted().expect("nothing to do");
        assert!((behind.was_wrong(), behind.trust) == (true, Trust::Diverged), "it is wrong still");
        let right = Clock::start(margin, wall_clock(), &data);
        assert!((right.was_wrong(), right.trust) == (true, Trust::Trusted), "and what it has written is");
        right.doubted().expect("removed");
        assert!(!right.was_wrong());
        let mut jumped = right;
        jumped.origin.0 += Duration::from_secs(3_600);
        jumped.compare(Instant::now());
        assert!((jumped.was_wrong(), jumped.trust) == (true, Trust::Diverged));
        fs::remove_dir_all(&data).expect("removed");
    }
}
