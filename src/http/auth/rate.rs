//! How much a key may ask: a bucket that fills steadily, kept as one number (the generic cell rate algorithm).

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, Instant},
};

/// Holds a second's worth of requests: a burst of so many is let through, and then the rate.
#[derive(Debug)]
pub(super) struct Bucket {
    began: Instant,
    /// How long one request takes up, in nanoseconds.
    each: u64,
    /// When all that was let through will have been made up for, in nanoseconds since `began`.
    full_at: AtomicU64,
}

/// As much as may be drawn ahead, in nanoseconds.
const AHEAD: u64 = 1_000_000_000;

impl Bucket {
    /// Of so many requests a second, at least one.
    pub(super) fn new(rate: u32, began: Instant) -> Bucket {
        Bucket { began, each: AHEAD / u64::from(rate.max(1)), full_at: AtomicU64::new(0) }
    }

    /// Takes one; how long to wait, if none is left.
    pub(super) fn take(&self, now: Instant) -> Result<(), Duration> {
        let now = u64::try_from(now.saturating_duration_since(self.began).as_nanos()).unwrap_or(u64::MAX);
        let latest = now.saturating_add(AHEAD);
        let next = |full_at: u64| Some(full_at.max(now).saturating_add(self.each)).filter(|next| *next <= latest);
        match self.full_at.fetch_update(Ordering::Relaxed, Ordering::Relaxed, next) {
            Ok(_) => Ok(()),
            Err(full_at) => {
                Err(Duration::from_nanos(full_at.max(now).saturating_add(self.each).saturating_sub(latest)))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seconds_worth_goes_at_once_and_then_the_rate() {
        let began = Instant::now();
        let at = |millis| began + Duration::from_millis(millis);
        let bucket = Bucket::new(10, began);
        let taken = |millis, times: usize| (0..times).filter(|_| bucket.take(at(millis)).is_ok()).count();
        assert_eq!(taken(0, 20), 10);
        assert_eq!(bucket.take(at(0)), Err(Duration::from_millis(100)));
        assert_eq!((taken(99, 5), taken(100, 5), taken(450, 9)), (0, 1, 3));
        assert_eq!(taken(60_000, 20), 10, "what was not used is not saved up");
    }

    #[test]
    fn a_clock_that_stands_before_the_beginning_is_no_way_in() {
        let now = Instant::now();
        let bucket = Bucket::new(1, now + Duration::from_secs(5));
        assert_eq!((bucket.take(now), bucket.take(now).is_err()), (Ok(()), true));
    }
}
