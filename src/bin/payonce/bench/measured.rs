//! What callers saw: how long answers took, and how they came.

use std::time::{Duration, Instant};

use super::float;

/// Columns of the chart. A run's time is cut into as many slots, or fewer.
const COLUMNS: usize = 60;

/// Answers in one slot of the chart before it is put together.
const SLOT: Duration = Duration::from_millis(100);

/// Up to here each microsecond has a bucket of its own; above, each doubling has as many buckets: 1.6 % wide, at the most.
const FINE: usize = 64;

/// Answers, one after another.
pub(super) struct Measured {
    began: Instant,
    buckets: Vec<u64>,
    count: u64,
    longest: Duration,
    /// When the last answer came, and the longest time without one.
    last: Instant,
    gap: Duration,
    slots: Vec<u64>,
}

impl Measured {
    pub(super) fn new() -> Measured {
        let now = Instant::now();
        Measured {
            began: now,
            buckets: Vec::new(),
            count: 0,
            longest: Duration::ZERO,
            last: now,
            gap: Duration::ZERO,
            slots: Vec::new(),
        }
    }

    /// Notes an answer that came now, and took so long.
    pub(super) fn note(&mut self, took: Duration) {
        let now = Instant::now();
        add(&mut self.buckets, bucket(took));
        self.count += 1;
        self.longest = self.longest.max(took);
        self.gap = self.gap.max(now.saturating_duration_since(self.last));
        self.last = self.last.max(now);
        let since = now.saturating_duration_since(self.began);
        add(&mut self.slots, usize::try_from(since.as_millis() / SLOT.as_millis()).unwrap_or(usize::MAX));
    }

    pub(super) const fn count(&self) -> u64 {
        self.count
    }

    pub(super) const fn gap(&self) -> Duration {
        self.gap
    }

    /// A second, from the beginning to the last answer.
    pub(super) fn rate(&self) -> f64 {
        float(self.count) / self.last.saturating_duration_since(self.began).as_secs_f64()
    }

    /// The time within which this share of the answers came.
    pub(super) fn percentile(&self, share: f64) -> Duration {
        let mut seen = 0;
        for (place, answers) in self.buckets.iter().enumerate() {
            seen += answers;
            if float(seen) >= share * float(self.count) {
                return upper(place).min(self.longest);
            }
        }
        self.longest
    }

    /// Answers a second over the run, as blocks beside the best column.
    pub(super) fn chart(&self) -> String {
        let wide = self.slots.len().div_ceil(COLUMNS).max(1);
        // The last slot was not a whole one.
        let whole = self.slots.len().saturating_sub(1) / wide * wide;
        let columns: Vec<u64> = self.slots.iter().take(whole).collect::<Vec<_>>().chunks(wide).map(sum).collect();
        let best = columns.iter().copied().max().unwrap_or_default().max(1);
        let blocks = ['\u{2581}', '\u{2582}', '\u{2583}', '\u{2584}', '\u{2585}', '\u{2586}', '\u{2587}', '\u{2588}'];
        let block = |column: &u64| usize::try_from(column * 7 / best).ok().and_then(|height| blocks.get(height));
        let drawn: String = columns.iter().filter_map(block).collect();
        let slots = u64::try_from(wide).unwrap_or(u64::MAX);
        format!("{drawn} best {}/s", best * 1000 / (slots * 100))
    }
}

fn sum(slots: &[&u64]) -> u64 {
    slots.iter().copied().sum()
}

fn add(counts: &mut Vec<u64>, place: usize) {
    if counts.len() <= place {
        counts.resize(place + 1, 0);
    }
    if let Some(count) = counts.get_mut(place) {
        *count += 1;
    }
}

fn bucket(took: Duration) -> usize {
    let micros = usize::try_from(took.as_micros()).unwrap_or(usize::MAX);
    let shift = (micros / FINE).checked_ilog2().map_or(0, |log| log + 1);
    let place = usize::try_from(shift).unwrap_or_default() * FINE / 2;
    place + (micros >> shift)
}

/// The end of a bucket: the inverse of [`bucket`].
fn upper(place: usize) -> Duration {
    let half = FINE / 2;
    let shift = (place / half).saturating_sub(1);
    let within = place - shift * half;
    Duration::from_micros(u64::try_from(((within + 1) << shift) - 1).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_time_is_in_the_bucket_that_ends_at_it_or_just_after() {
        for micros in (0..100_000).chain([1 << 20, (1 << 33) + 7]) {
            let end = upper(bucket(Duration::from_micros(micros)));
            let over = end.as_micros() - u128::from(micros);
            assert!(end >= Duration::from_micros(micros) && over * 32 <= u128::from(micros), "{micros}: {end:?}");
        }
    }

    #[test]
    fn a_percentile_is_the_time_within_which_so_many_answers_came() {
        let mut measured = Measured::new();
        (1..=100).for_each(|micros| measured.note(Duration::from_micros(micros)));
        assert_eq!(measured.percentile(0.5), Duration::from_micros(50));
        assert_eq!(measured.percentile(1.0), Duration::from_micros(100));
        assert_eq!(measured.count(), 100);
    }

    #[test]
    fn a_chart_has_a_block_for_each_whole_slot_and_says_what_the_best_is() {
        let mut measured = Measured::new();
        measured.slots = vec![10, 20, 40, 80, 3];
        assert_eq!(measured.chart(), "\u{2581}\u{2582}\u{2584}\u{2588} best 800/s");
    }
}
