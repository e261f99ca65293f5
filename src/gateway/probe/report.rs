//! What follows from the findings: the contract, field by field, as it is configured.

use std::{fmt, time::Duration};

use super::finding::{Certainty, Check, Finding, Learned};
use crate::payment::{Contract, Deduplication, Inquiry};

/// What a probe found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// What the adapter declares.
    pub declared: Contract,
    /// What follows: the declared contract, less what was seen to be untrue.
    pub contract: Contract,
    /// The same, as far as it can be configured, with where each value comes from.
    pub fields: Vec<Field>,
    /// What was checked, in the order in which it was.
    pub findings: Vec<Finding>,
    /// How many sendings were made that may have moved money.
    pub sendings: u32,
}

/// One value of the contract that follows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Field {
    /// As in `--gateway-contract` and [`apply_override`](crate::gateway::apply_override).
    pub name: &'static str,
    /// As there.
    pub value: String,
    /// Where it comes from.
    pub origin: Origin,
}

/// Where a value comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Origin {
    /// The adapter says so, and nothing was learned about it.
    Declared,
    /// The adapter says so, and what was tried does not contradict it.
    NotContradicted,
    /// It was seen.
    Measured,
}

impl Origin {
    /// One word for scripts.
    pub const fn as_str(self) -> &'static str {
        match self {
            Origin::Declared => "declared",
            Origin::NotContradicted => "not_contradicted",
            Origin::Measured => "measured",
        }
    }

    /// As people read it.
    pub const fn title(self) -> &'static str {
        match self {
            Origin::Declared => "declared, not measured",
            Origin::NotContradicted => "declared, not contradicted",
            Origin::Measured => "measured",
        }
    }
}

/// The checks that say something about deduplication, and about inquiries.
const REPEATS: [Check; 7] = [
    Check::SameKeyAgain,
    Check::SameKeyAtOnce,
    Check::OtherAmount,
    Check::OtherCurrency,
    Check::OtherDestination,
    Check::ReplyLost,
    Check::Declined,
];
const ASKINGS: [Check; 4] = [Check::NeverSent, Check::Inquiry, Check::NotFoundLag, Check::Declined];

impl Report {
    pub(super) fn of(declared: &Contract, findings: Vec<Finding>, sendings: u32) -> Report {
        let contract = follow(declared, &findings);
        let fields = fields(&contract, &findings);
        Report { declared: declared.clone(), contract, fields, findings, sendings }
    }

    /// What was seen to be otherwise than declared.
    pub fn contradictions(&self) -> impl Iterator<Item = &Finding> {
        self.findings.iter().filter(|finding| finding.certainty == Certainty::Contradicted)
    }

    /// Whether a charge worked. Where none did, nothing was measured.
    pub fn measured(&self) -> bool {
        self.certainty(Check::Charge) == Certainty::Shown
    }

    /// How certain one check's finding is.
    pub fn certainty(&self, check: Check) -> Certainty {
        let found = self.findings.iter().find(|finding| finding.check == check);
        found.map_or(Certainty::NotMeasured, |finding| finding.certainty)
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.findings.iter().try_for_each(|finding| writeln!(f, "{finding}"))?;
        self.fields.iter().try_for_each(|field| writeln!(f, "{field}"))
    }
}

impl fmt::Display for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:15}  {:6}  {}", self.name, self.value, self.origin.title())
    }
}

/// The declared contract, less what was seen to be untrue. Nothing here ever adds a promise.
fn follow(declared: &Contract, findings: &[Finding]) -> Contract {
    let mut contract = declared.clone();
    for learned in findings.iter().flat_map(|finding| &finding.learned) {
        match (*learned, &mut contract.inquiry) {
            (Learned::NoDeduplication, _) => contract.deduplication = Deduplication::None,
            (Learned::NoInquiry, inquiry) => *inquiry = Inquiry::None,
            (Learned::MaxProcessing(seen), _) => contract.max_processing = contract.max_processing.max(seen),
            (Learned::NotFoundLag(seen), Inquiry::ByKey { not_found_lag, .. }) => {
                *not_found_lag = (*not_found_lag).max(seen);
            }
            (Learned::NotFoundTimes(seen), Inquiry::ByKey { not_found_times, .. }) => {
                *not_found_times = (*not_found_times).max(seen);
            }
            (Learned::NotFoundLag(_) | Learned::NotFoundTimes(_), Inquiry::None) => {}
        }
    }
    contract
}

fn fields(contract: &Contract, findings: &[Finding]) -> Vec<Field> {
    let field = |name, value, checks: &[Check]| {
        let origin = origin(findings.iter().filter(|finding| checks.contains(&finding.check)), name);
        Field { name, value, origin }
    };
    let dedup = match contract.deduplication {
        Deduplication::None => "none".to_owned(),
        Deduplication::ByKey { ttl } => written(ttl),
    };
    let mut fields = vec![field("dedup", dedup, &REPEATS)];
    match contract.inquiry {
        Inquiry::None => fields.push(field("inquiry", "no".to_owned(), &ASKINGS)),
        Inquiry::ByKey { not_found_lag, not_found_times } => {
            fields.push(field("inquiry", "yes".to_owned(), &ASKINGS));
            fields.push(field("not_found_lag", written(not_found_lag), &[Check::NotFoundLag]));
            fields.push(field("not_found_times", not_found_times.to_string(), &[Check::NotFoundLag]));
        }
    }
    fields.push(field("max_processing", written(contract.max_processing), &[Check::ReplyLost]));
    // These are ours to choose: how long we wait.
    fields.push(field("deadline", written(contract.deadline), &[]));
    fields.push(field("park_after", written(contract.park_after), &[]));
    fields
}

/// Measured, if a finding about it changed it or shows it.
fn origin<'a>(findings: impl Iterator<Item = &'a Finding>, name: &str) -> Origin {
    findings.fold(Origin::Declared, |origin, finding| match (finding.certainty, origin) {
        _ if finding.learned.iter().any(|learned| learned.field() == name) => Origin::Measured,
        (Certainty::Shown, _) => Origin::Measured,
        (Certainty::NotContradicted, Origin::Declared) => Origin::NotContradicted,
        (Certainty::NotContradicted | Certainty::Contradicted | Certainty::NotMeasured, _) => origin,
    })
}

impl Learned {
    const fn field(self) -> &'static str {
        match self {
            Learned::NoDeduplication => "dedup",
            Learned::NoInquiry => "inquiry",
            Learned::NotFoundLag(_) => "not_found_lag",
            Learned::NotFoundTimes(_) => "not_found_times",
            Learned::MaxProcessing(_) => "max_processing",
        }
    }
}

/// A duration as it is configured: the largest unit that says it exactly, and never less than it is.
pub(super) fn written(duration: Duration) -> String {
    let millis = duration.as_nanos().div_ceil(1_000_000);
    let units = [(3_600_000, "h"), (60_000, "m"), (1_000, "s"), (1, "ms")];
    let exact = units.into_iter().find(|(unit, _)| millis > 0 && millis.is_multiple_of(*unit));
    exact.map_or_else(|| "0s".to_owned(), |(unit, name)| format!("{}{name}", millis / unit))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        gateway::{apply_override, parse_duration},
        payment::Identity,
    };

    #[test]
    fn a_duration_is_written_as_it_is_read_and_never_shorter_than_it_is() {
        for (nanos, text) in [
            (0, "0s"),
            (1, "1ms"),
            (999_999, "1ms"),
            (1_000_001, "2ms"),
            (1_500_000_000, "1500ms"),
            (30_000_000_000, "30s"),
            (120_000_000_000, "2m"),
            (86_400_000_000_000, "24h"),
        ] {
            let duration = Duration::from_nanos(nanos);
            assert_eq!(written(duration), text);
            assert!(parse_duration(text).is_some_and(|read| read >= duration), "{text}");
        }
    }

    /// Every lesson makes the contract promise less, and what is printed configures exactly that contract.
    #[test]
    fn lessons_only_take_away_and_are_configured_as_printed() {
        let declared = Contract::standard(Identity::default());
        let short = Duration::from_millis(1);
        for lesson in [Learned::NotFoundLag(short), Learned::NotFoundTimes(1), Learned::MaxProcessing(short)] {
            let finding = Finding::contradicted(Check::Charge, String::new(), &[lesson]);
            assert_eq!(follow(&declared, &[finding]), declared, "{lesson:?} is less than was declared anyway");
        }
        let long = Duration::from_millis(61_500);
        let lessons = [
            vec![Learned::NoDeduplication],
            vec![Learned::NoInquiry, Learned::NotFoundLag(long)],
            vec![Learned::NotFoundLag(long), Learned::NotFoundTimes(7)],
            vec![Learned::MaxProcessing(long)],
        ];
        for lesson in lessons {
            let finding = Finding::contradicted(Check::Charge, String::new(), &lesson);
            let report = Report::of(&declared, vec![finding], 1);
            assert_ne!(report.contract, declared, "{lesson:?}");
            let mut configured = declared.clone();
            for Field { name, value, .. } in &report.fields {
                assert_eq!(apply_override(&mut configured, &format!("{name}={value}")), Ok(()));
            }
            assert_eq!(configured, report.contract, "{lesson:?}");
        }
    }
}
