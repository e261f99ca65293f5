//! Time, as an argument: what the caller's clocks say at one turn.

use std::time::Duration;

/// Wall-clock time: milliseconds since 1970-01-01T00:00:00Z.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(u64);

impl Timestamp {
    /// From milliseconds since 1970.
    pub const fn from_millis(millis: u64) -> Timestamp {
        Timestamp(millis)
    }

    /// Milliseconds since 1970.
    pub const fn as_millis(self) -> u64 {
        self.0
    }

    /// Later by `time`; the end of time if that overflows.
    pub fn plus(self, time: Duration) -> Timestamp {
        Timestamp(self.0.saturating_add(millis(time)))
    }

    /// How long after `earlier`; zero if it is not.
    pub fn since(self, earlier: Timestamp) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0))
    }
}

/// Monotonic time: milliseconds since the engine was opened. Starts anew with each process, and so is never recorded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tick(u64);

impl Tick {
    /// From milliseconds since the engine was opened.
    pub const fn from_millis(millis: u64) -> Tick {
        Tick(millis)
    }

    /// Milliseconds since the engine was opened.
    pub const fn as_millis(self) -> u64 {
        self.0
    }

    /// Later by `time`; the end of time if that overflows.
    pub fn plus(self, time: Duration) -> Tick {
        Tick(self.0.saturating_add(millis(time)))
    }

    /// How long after `earlier`; zero if it is not.
    pub fn since(self, earlier: Tick) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0))
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// Whether the wall clock can be believed when the age of a key is at stake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Clock {
    /// It has kept pace with the monotonic clock, and is not behind the journal.
    Trusted,
    /// It jumped, or is behind the journal, by more than the margin: nothing is sent again on its word.
    Diverged,
}

/// One reading of the clocks. `wall` never runs behind what the journal has already recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Now {
    /// For what is recorded and told.
    pub wall: Timestamp,
    /// For what is waited for.
    pub tick: Tick,
    /// Whether `wall` may decide the age of a key.
    pub clock: Clock,
}

impl Now {
    /// When the monotonic clock will show what the wall clock shows at `wall`.
    pub fn tick_at(&self, wall: Timestamp) -> Tick {
        self.tick.plus(wall.since(self.wall))
    }
}
