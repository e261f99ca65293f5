//! Findings, counted; the first of each kind kept.

use std::collections::BTreeMap;

use super::{Finding, What};

/// What a settlement came to. A statement of another account can differ in every line, and its report still fits in
/// memory.
#[derive(Clone, Debug, Default)]
pub struct Report {
    counts: BTreeMap<What, u64>,
    kept: BTreeMap<What, Vec<Finding>>,
}

impl Report {
    /// How many of each kind are kept: more than anybody reads, some megabytes at the most.
    pub const KEPT: usize = 10_000;

    /// Takes a finding. What matched, was out of the window, or moves no money is only counted.
    pub fn take(&mut self, finding: Finding) {
        let what = finding.what;
        let count = self.counts.entry(what).or_default();
        *count = count.saturating_add(1);
        if what.is_only_counted() {
            return;
        }
        let kept = self.kept.entry(what).or_default();
        if kept.len() < Report::KEPT {
            kept.push(finding);
        }
    }

    /// How many there were.
    pub fn count(&self, what: What) -> u64 {
        self.counts.get(&what).copied().unwrap_or(0)
    }

    /// The first of them.
    pub fn kept(&self, what: What) -> &[Finding] {
        self.kept.get(&what).map_or(&[], Vec::as_slice)
    }

    /// How many differences there were.
    pub fn differences(&self) -> u64 {
        let differences = self.counts.iter().filter(|(what, _)| what.is_difference());
        differences.fold(0, |sum, (_, count)| sum.saturating_add(*count))
    }
}

impl Extend<Finding> for Report {
    fn extend<T: IntoIterator<Item = Finding>>(&mut self, findings: T) {
        findings.into_iter().for_each(|finding| self.take(finding));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_are_counted_and_the_first_are_kept() {
        let mut report = Report::default();
        let finding = |what| Finding { what, ours: None, line: None };
        report.extend((0..=Report::KEPT).map(|_| finding(What::MissingHere)));
        report.extend([finding(What::Matched), finding(What::TooRecent)]);
        assert_eq!((report.count(What::MissingHere), report.kept(What::MissingHere).len()), (10_001, 10_000));
        assert_eq!((report.count(What::Matched), report.kept(What::Matched)), (1, &[][..]));
        assert_eq!((report.count(What::TooRecent), report.kept(What::TooRecent).len()), (1, 1));
        assert_eq!((report.count(What::Twice), report.differences()), (0, 10_001));
    }
}
