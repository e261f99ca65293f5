//! Fixed buckets: cheap to count into, and all that a chart or an alert needs.

use std::time::Duration;

/// How often a value fell between two bounds.
#[derive(Clone, Debug, PartialEq)]
pub struct Histogram {
    bounds: &'static [f64],
    counts: Vec<u64>,
    sum: f64,
}

/// Seconds: from what memory takes to what nobody waits for. An fsync of a good disk is in the second decade, a gateway
/// in the fourth.
const SECONDS: &[f64] = &[
    0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0,
    60.0, 300.0, 3_600.0,
];

/// Records and bytes: powers of four, up to the largest turn and the largest batch.
const RECORDS: &[f64] = &[1.0, 4.0, 16.0, 64.0, 256.0, 1_024.0, 4_096.0];
const BYTES: &[f64] = &[512.0, 1_024.0, 4_096.0, 16_384.0, 65_536.0, 262_144.0, 1_048_576.0, 4_194_304.0];

impl Histogram {
    const fn over(bounds: &'static [f64]) -> Histogram {
        Histogram { bounds, counts: Vec::new(), sum: 0.0 }
    }

    pub(super) const fn of_seconds() -> Histogram {
        Histogram::over(SECONDS)
    }

    pub(super) const fn of_records() -> Histogram {
        Histogram::over(RECORDS)
    }

    pub(super) const fn of_bytes() -> Histogram {
        Histogram::over(BYTES)
    }

    pub(super) fn add(&mut self, value: f64) {
        self.counts.resize(self.bounds.len() + 1, 0);
        let place = self.bounds.partition_point(|bound| *bound < value);
        if let Some(count) = self.counts.get_mut(place) {
            *count += 1;
            self.sum += value;
        }
    }

    pub(super) fn add_time(&mut self, time: Duration) {
        self.add(time.as_secs_f64());
    }

    /// A number that may be cut at four thousand million, which no bucket tells apart.
    pub(super) fn add_number(&mut self, number: u64) {
        self.add(f64::from(u32::try_from(number).unwrap_or(u32::MAX)));
    }

    /// The upper bounds; above the last there is one bucket more.
    pub const fn bounds(&self) -> &'static [f64] {
        self.bounds
    }

    /// How many values fell below each bound and above the one before; the last: above all bounds. As many as there are
    /// buckets.
    pub fn counts(&self) -> impl Iterator<Item = u64> {
        self.counts.iter().copied().chain(std::iter::repeat(0)).take(self.bounds.len() + 1)
    }

    /// How many values there were.
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// What they add up to.
    pub const fn sum(&self) -> f64 {
        self.sum
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_counted_once_at_the_first_bound_that_it_does_not_exceed() {
        let mut histogram = Histogram::of_records();
        assert_eq!(histogram.counts().collect::<Vec<_>>(), [0; 8], "all buckets, before anything was counted");
        for value in [0, 1, 2, 4, 4_096, 4_097, u64::MAX] {
            histogram.add_number(value);
        }
        assert_eq!(histogram.counts().collect::<Vec<_>>(), [2, 2, 0, 0, 0, 0, 1, 2]);
        assert_eq!(histogram.count(), 7);
    }

    #[test]
    fn times_are_summed_in_seconds() {
        let mut histogram = Histogram::of_seconds();
        histogram.add_time(Duration::from_millis(1_500));
        histogram.add_time(Duration::from_micros(100));
        assert!((histogram.sum() - 1.5001).abs() < 1e-9, "{}", histogram.sum());
        assert_eq!(histogram.counts().position(|count| count > 0), Some(0), "100 us is within the first bound");
    }

    #[test]
    fn bounds_rise() {
        for bounds in [SECONDS, RECORDS, BYTES] {
            assert!(bounds.windows(2).all(|pair| pair[0] < pair[1]));
        }
    }
}
