//! The time that a statement covers.

use std::time::Duration;

use crate::payment::Timestamp;

/// From when to when a statement reaches, and how sharply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// Its first moment; `None`: it has everything from the beginning.
    pub from: Option<Timestamp>,
    /// Its end, not included.
    pub to: Timestamp,
    /// How far the gateway's times and ours may be apart.
    pub margin: Duration,
    /// When reading our book began: it may lack what happened later.
    pub as_of: Timestamp,
}

/// Where a span of time lies in a window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// Certainly before it.
    Before,
    /// At its start: perhaps before it.
    AtStart,
    /// Certainly in it.
    Inside,
    /// At its end: perhaps after it.
    AtEnd,
    /// Certainly after it.
    After,
}

impl Window {
    /// Where a movement lies that happened at some moment from `earliest` to `latest`, by our clock. What may be beyond
    /// both ends is at the end.
    pub fn place(&self, earliest: Timestamp, latest: Timestamp) -> Place {
        let before = |at: Timestamp| self.from.is_some_and(|from| at < from);
        let early = |at: Timestamp| self.from.is_some_and(|from| at < from.plus(self.margin));
        if earliest >= self.to.plus(self.margin) {
            Place::After
        } else if before(latest.plus(self.margin)) {
            Place::Before
        } else if latest.plus(self.margin) >= self.to {
            Place::AtEnd
        } else if early(earliest) {
            Place::AtStart
        } else {
            Place::Inside
        }
    }

    /// Whether a line's own time is one that the statement covers. One without a time is.
    pub fn covers(&self, at: Option<Timestamp>) -> bool {
        at.is_none_or(|at| at < self.to && self.from.is_none_or(|from| at >= from))
    }

    /// Whether what happened at that time may have been too late for our book, or for the daemon to have found out.
    pub fn is_recent(&self, at: Timestamp) -> bool {
        at.plus(self.margin) > self.as_of
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn at(millis: u64) -> Timestamp {
        Timestamp::from_millis(millis)
    }

    fn window(from: Option<u64>, to: u64, margin: u64) -> Window {
        Window { from: from.map(at), to: at(to), margin: Duration::from_millis(margin), as_of: at(10_000) }
    }

    #[test]
    fn only_a_span_a_margin_away_from_both_ends_is_inside() {
        let window = window(Some(1000), 2000, 100);
        for (earliest, latest, place) in [
            (0, 899, Place::Before),
            (0, 900, Place::AtStart),
            (1099, 1500, Place::AtStart),
            (1100, 1100, Place::Inside),
            (1100, 1899, Place::Inside),
            (1100, 1900, Place::AtEnd),
            (500, 2500, Place::AtEnd),
            (2099, 2099, Place::AtEnd),
            (2100, 2100, Place::After),
        ] {
            assert_eq!(window.place(at(earliest), at(latest)), place, "{earliest} to {latest}");
        }
    }

    #[test]
    fn without_a_beginning_nothing_is_too_early() {
        let window = window(None, 2000, 100);
        assert_eq!(window.place(at(0), at(0)), Place::Inside);
        assert_eq!(window.place(at(0), at(1900)), Place::AtEnd);
    }

    /// What the module says about two statements.
    #[test]
    fn nothing_falls_between_two_statements_that_overlap_by_twice_the_margin() {
        let (first, second) = (window(Some(1000), 2000, 100), window(Some(1800), 2800, 100));
        for moment in 1100..2700 {
            let inside = |window: &Window| window.place(at(moment), at(moment)) == Place::Inside;
            assert!(inside(&first) || inside(&second), "{moment}");
        }
    }

    #[test]
    fn a_statement_covers_its_first_moment_and_not_its_end() {
        let window = window(Some(1000), 2000, 100);
        for (moment, covered) in [(999, false), (1000, true), (1999, true), (2000, false)] {
            assert_eq!(window.covers(Some(at(moment))), covered, "{moment}");
        }
        assert!(window.covers(None));
        assert!(!window.is_recent(at(9_900)) && window.is_recent(at(9_901)));
    }
}
