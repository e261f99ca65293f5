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
    /// When the monotonic clock will show what the wall clock shows at `wall`; now, if that is past.
    pub fn tick_at(&self, wall: Timestamp) -> Tick {
        self.tick.plus(wall.since(self.wall))
    }

    /// When the monotonic clock showed, or will show, what the wall clock shows at `wall`; its beginning, if that was before.
    pub fn tick_of(&self, wall: Timestamp) -> Tick {
        let past = Tick(0).plus(self.wall.since(wall));
        if wall >= self.wall { self.tick_at(wall) } else { Tick(self.tick.0.saturating_sub(past.0)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn time_is_counted_in_milliseconds() {
        let (wall, tick) = (Timestamp::from_millis(5_000), Tick::from_millis(700));
        assert_eq!((wall.as_millis(), wall.plus(SECOND).as_millis()), (5_000, 6_000));
        assert_eq!((tick.as_millis(), tick.plus(SECOND).as_millis()), (700, 1_700));
        assert_eq!(wall.plus(SECOND).since(wall), SECOND);
        assert_eq!(tick.plus(SECOND).since(tick), SECOND);
    }

    #[test]
    fn time_stops_at_its_ends_and_never_wraps() {
        let (start, end) = (Timestamp::from_millis(0), Timestamp::from_millis(u64::MAX));
        assert_eq!((end.plus(SECOND), start.plus(Duration::MAX)), (end, end));
        assert_eq!(start.since(end), Duration::ZERO);
        let (start, end) = (Tick::from_millis(0), Tick::from_millis(u64::MAX));
        assert_eq!((end.plus(SECOND), start.plus(Duration::MAX)), (end, end));
        assert_eq!(start.since(end), Duration::ZERO);
    }

    #[test]
    fn what_is_due_at_a_wall_time_is_due_as_much_later_on_the_monotonic_clock() {
        let now = Now { wall: Timestamp::from_millis(5_000), tick: Tick::from_millis(700), clock: Clock::Trusted };
        assert_eq!(now.tick_at(Timestamp::from_millis(8_000)), Tick::from_millis(3_700));
        assert_eq!(now.tick_at(Timestamp::from_millis(1_000)), now.tick, "what is past is due at once");
        assert_eq!(now.tick_of(Timestamp::from_millis(8_000)), Tick::from_millis(3_700));
        assert_eq!(now.tick_of(Timestamp::from_millis(4_800)), Tick::from_millis(500));
        assert_eq!(now.tick_of(Timestamp::from_millis(1_000)), Tick::from_millis(0));
    }
}
