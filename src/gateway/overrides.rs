//! `--gateway-contract KEY=VALUE`: what an operator knows about a gateway better than our defaults do.

use std::{fmt, time::Duration};

use crate::payment::{Contract, Deduplication, Inquiry};

/// What can be overridden, with an example of each.
pub const OVERRIDES: &str = "dedup=none|24h, inquiry=yes|no, max_processing=5s, not_found_lag=1s, deadline=2s, \
                             not_found_times=3, park_after=24h";

/// The most times that "not found" may be asked for: an hour of askings at the slowest pace.
const MAX_NOT_FOUND_TIMES: u32 = 60;

/// An override that cannot be applied, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidOverride {
    given: String,
    why: String,
}

impl fmt::Display for InvalidOverride {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} {}", self.given, self.why)
    }
}

impl std::error::Error for InvalidOverride {}

/// Applies one `KEY=VALUE` to a contract. They are applied in the order given: `inquiry=no` before `not_found_lag=1s`
/// is a contradiction, and refused.
pub fn apply_override(contract: &mut Contract, given: &str) -> Result<(), InvalidOverride> {
    apply(contract, given).map_err(|why| InvalidOverride { given: given.to_owned(), why })
}

/// A duration as people write it: a whole number and a unit, `250ms`, `30s`, `5m`, `24h` or `7d`; or `0`.
pub fn parse_duration(text: &str) -> Option<Duration> {
    if text == "0" {
        return Some(Duration::ZERO);
    }
    let digits = text.trim_end_matches(|c: char| c.is_ascii_lowercase());
    let millis = match text.get(digits.len()..)? {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return None,
    };
    let plain = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
    let number: u64 = plain.then(|| digits.parse().ok()).flatten()?;
    number.checked_mul(millis).map(Duration::from_millis)
}

fn apply(contract: &mut Contract, given: &str) -> Result<(), String> {
    let (key, value) = given.split_once('=').ok_or_else(|| format!("is not KEY=VALUE; known: {OVERRIDES}"))?;
    match key.trim() {
        "dedup" => contract.deduplication = deduplication(value)?,
        "inquiry" => contract.inquiry = inquiry(value, contract.inquiry)?,
        "max_processing" => contract.max_processing = duration(value)?,
        "not_found_lag" => *asked_how(&mut contract.inquiry)?.0 = duration(value)?,
        "not_found_times" => *asked_how(&mut contract.inquiry)?.1 = times(value)?,
        "deadline" => contract.deadline = above_zero(value)?,
        "park_after" => contract.park_after = above_zero(value)?,
        _ => return Err(format!("names nothing that can be set; known: {OVERRIDES}")),
    }
    Ok(())
}

fn deduplication(value: &str) -> Result<Deduplication, String> {
    match value.trim() {
        "none" => Ok(Deduplication::None),
        ttl => Ok(Deduplication::ByKey { ttl: above_zero(ttl)? }),
    }
}

fn inquiry(value: &str, before: Inquiry) -> Result<Inquiry, String> {
    match (value.trim(), before) {
        ("no", Inquiry::None | Inquiry::ByKey { .. }) => Ok(Inquiry::None),
        ("yes", Inquiry::ByKey { .. }) => Ok(before),
        ("yes", Inquiry::None) => Ok(Contract::standard(crate::payment::Identity::default()).inquiry),
        (_, Inquiry::None | Inquiry::ByKey { .. }) => Err("must be yes or no".to_owned()),
    }
}

fn asked_how(inquiry: &mut Inquiry) -> Result<(&mut Duration, &mut u32), String> {
    match inquiry {
        Inquiry::ByKey { not_found_lag, not_found_times } => Ok((not_found_lag, not_found_times)),
        Inquiry::None => Err("says how to ask a gateway that cannot be asked (inquiry=no)".to_owned()),
    }
}

fn times(value: &str) -> Result<u32, String> {
    let times = value.trim().parse().ok().filter(|times| (1..=MAX_NOT_FOUND_TIMES).contains(times));
    times.ok_or_else(|| format!("must be a whole number from 1 to {MAX_NOT_FOUND_TIMES}"))
}

fn duration(value: &str) -> Result<Duration, String> {
    parse_duration(value.trim()).ok_or_else(|| "must be a duration, such as 250ms, 5s, 10m, 24h or 7d".to_owned())
}

fn above_zero(value: &str) -> Result<Duration, String> {
    let duration = duration(value)?;
    if duration.is_zero() { Err("must be longer than zero".to_owned()) } else { Ok(duration) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::payment::Identity;

    fn overridden(given: &[&str]) -> Result<Contract, InvalidOverride> {
        let mut contract = Contract::standard(Identity::default());
        given.iter().try_for_each(|one| apply_override(&mut contract, one)).map(|()| contract)
    }

    #[test]
    fn every_key_sets_its_own_field_and_no_other() {
        let standard = Contract::standard(Identity::default());
        let secs = Duration::from_secs;
        let by_key =
            |secs, not_found_times| Inquiry::ByKey { not_found_lag: Duration::from_secs(secs), not_found_times };
        for (given, expected) in [
            ("dedup=none", Contract { deduplication: Deduplication::None, ..standard.clone() }),
            (
                "dedup=7d",
                Contract { deduplication: Deduplication::ByKey { ttl: secs(7 * 24 * 3600) }, ..standard.clone() },
            ),
            ("inquiry=no", Contract { inquiry: Inquiry::None, ..standard.clone() }),
            ("inquiry=yes", standard.clone()),
            ("max_processing=5s", Contract { max_processing: secs(5), ..standard.clone() }),
            ("not_found_lag=1s", Contract { inquiry: by_key(1, 3), ..standard.clone() }),
            ("not_found_times=5", Contract { inquiry: by_key(10, 5), ..standard.clone() }),
            ("deadline=250ms", Contract { deadline: Duration::from_millis(250), ..standard.clone() }),
            ("park_after=10m", Contract { park_after: secs(600), ..standard.clone() }),
        ] {
            assert_eq!(overridden(&[given]), Ok(expected), "{given}");
        }
    }

    #[test]
    fn nonsense_is_refused_and_quoted() {
        for given in [
            "",
            "dedup",
            "dedup=",
            "dedup=0",
            "dedup=yes",
            "inquiry=maybe",
            "deadline=0",
            "deadline=0s",
            "deadline=5",
            "deadline=-5s",
            "deadline=+5s",
            "deadline=5 s",
            "deadline=5w",
            "park_after=1.5h",
            "not_found_times=0",
            "not_found_times=61",
            "max_processing=99999999999999999999d",
            "max_processing=1000000000000d",
            "color=red",
        ] {
            let refused = overridden(&[given]).expect_err(given).to_string();
            assert!(refused.contains(&format!("{given:?}")), "{refused}");
        }
    }

    #[test]
    fn how_to_ask_what_cannot_be_asked_is_a_contradiction() {
        assert!(overridden(&["inquiry=no", "not_found_lag=1s"]).is_err());
        assert!(overridden(&["inquiry=no", "inquiry=yes", "not_found_lag=1s"]).is_ok());
    }
}
