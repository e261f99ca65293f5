//! When the killing ends, and how far it is: shared by every arena.

use std::{
    fmt,
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    time::{Duration, Instant},
};

/// What is to be reached.
#[derive(Clone, Copy, Debug)]
pub(super) enum Until {
    Kills(u64),
    Time { began: Instant, lasts: Duration },
}

/// The one goal of all arenas.
pub(super) struct Goal {
    until: Until,
    kills: AtomicU64,
    settled: AtomicU64,
    cut_short: AtomicBool,
    given_up: AtomicBool,
}

impl Goal {
    pub(super) fn new(until: Until) -> Goal {
        let [cut_short, given_up] = [false; 2].map(AtomicBool::new);
        Goal { until, kills: AtomicU64::new(0), settled: AtomicU64::new(0), cut_short, given_up }
    }

    /// How much is done, in thousandths.
    pub(super) fn progress(&self) -> u64 {
        let kills = self.kills.load(Ordering::Relaxed);
        let (done, all) = match self.until {
            Until::Kills(all) => (u128::from(kills), u128::from(all)),
            Until::Time { began, lasts } => (began.elapsed().as_millis(), lasts.as_millis()),
        };
        u64::try_from(done.saturating_mul(1_000).checked_div(all).unwrap_or(1_000)).unwrap_or(1_000).min(1_000)
    }

    pub(super) fn is_reached(&self) -> bool {
        self.progress() >= 1_000 || self.cut_short.load(Ordering::Acquire)
    }

    /// Somebody does not want to wait: no further kill, but what was done is compared. Told again: not even that.
    pub(super) fn cut_short(&self) {
        if self.cut_short.swap(true, Ordering::AcqRel) {
            self.give_up();
        }
    }

    pub(super) fn count_kill(&self) {
        self.kills.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn count_settled(&self) {
        self.settled.fetch_add(1, Ordering::Relaxed);
    }

    /// Something is wrong in one arena: the others need not go on.
    pub(super) fn give_up(&self) {
        self.given_up.store(true, Ordering::Release);
    }

    pub(super) fn is_given_up(&self) -> bool {
        self.given_up.load(Ordering::Acquire)
    }
}

impl fmt::Display for Goal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [kills, settled] = [&self.kills, &self.settled].map(|count| count.load(Ordering::Relaxed));
        write!(f, "{kills} kills, {settled} payments settled")?;
        if self.is_reached() { f.write_str("; comparing") } else { Ok(()) }
    }
}
