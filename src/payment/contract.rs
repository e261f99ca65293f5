//! What a gateway promises. Published by the adapter, checked against our schedule when an engine opens, and printed.

use std::{fmt, sync::Arc, time::Duration};

/// Which gateway, exactly. Frozen into every intent: an operation is asked about and sent again only where it matches.
/// Its texts are shared: every payment has one, and it is copied and compared several times a turn.
/// Its texts are shared, since every payment has one, and compares it several times a turn.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Identity {
    /// Which gateway, such as `sandbox` or a URL's origin and path.
    pub name: Arc<str>,
    /// Whose account there.
    pub account: Arc<str>,
    /// Which of the gateway's worlds, such as `live` or `test`.
    pub environment: Arc<str>,
    /// Which version of its API the frozen bytes are written for.
    pub api_version: Arc<str>,
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)?;
        for (label, value) in [("account", &self.account), ("environment", &self.environment)] {
            if !value.is_empty() {
                write!(f, ", {label} {value}")?;
            }
        }
        if !self.api_version.is_empty() {
            write!(f, ", API {}", self.api_version)?;
        }
        Ok(())
    }
}

/// Whether, and for how long, a gateway answers a key that it has seen with what it did the first time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deduplication {
    /// It does not: a second sending would move money a second time.
    None,
    /// By our key, for this long after it first saw the key.
    ByKey {
        /// The published time.
        ttl: Duration,
    },
}

/// Whether a gateway can be asked what became of an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Inquiry {
    /// It cannot.
    None,
    /// By our operation key.
    ByKey {
        /// How long after it acted it may still answer "not found".
        not_found_lag: Duration,
        /// How many "not found" it takes.
        not_found_times: u32,
    },
}

/// What a gateway promises.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Contract {
    /// Which gateway.
    pub identity: Identity,
    /// What it does with a key that it has seen.
    pub deduplication: Deduplication,
    /// Whether it can be asked.
    pub inquiry: Inquiry,
    /// How long after it got a request it may still act on it.
    pub max_processing: Duration,
    /// How long we wait for its reply.
    pub deadline: Duration,
    /// For how long its soft declines may turn; `None`: it has no soft declines.
    pub soft_decline_window: Option<Duration>,
    /// Whether an operation needs an id of the gateway's before it can be sent.
    pub mints_id_first: bool,
    /// When a payment in doubt is left to people.
    pub park_after: Duration,
}

impl Contract {
    /// The contract assumed of a gateway that speaks the protocol of DESIGN section 8 and says nothing else.
    pub fn standard(identity: Identity) -> Contract {
        Contract {
            identity,
            // Stripe's published time; Adyen and Braintree keep keys at least as long.
            deduplication: Deduplication::ByKey { ttl: Duration::from_secs(24 * 3600) },
            // Three askings: one may hit a lagging replica, two may hit the same one.
            inquiry: Inquiry::ByKey { not_found_lag: Duration::from_secs(10), not_found_times: 3 },
            // The longest that card networks let an issuer take.
            max_processing: Duration::from_secs(30),
            // Long enough for a slow issuer, short enough that a caller who waits 10 s learns that it is in doubt.
            deadline: Duration::from_secs(10),
            soft_decline_window: None,
            mints_id_first: false,
            // A gateway's outage over a working day is survived without waking anybody.
            park_after: Duration::from_secs(24 * 3600),
        }
    }

    /// Which promise holds with this gateway (P2), as a sentence.
    pub const fn guarantee(&self) -> &'static str {
        match (self.deduplication, self.inquiry) {
            (Deduplication::ByKey { .. }, _) => {
                "exactly once: the gateway deduplicates, so what is in doubt is sent again only under its own key"
            }
            (Deduplication::None, Inquiry::ByKey { .. }) => {
                "at most once: nothing is ever sent twice; what the gateway did is learned by asking, the rest is parked"
            }
            (Deduplication::None, Inquiry::None) => {
                "at most once: nothing is ever sent twice, and what is in doubt is parked for a person"
            }
        }
    }
}

impl fmt::Display for Contract {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.deduplication {
            Deduplication::None => f.write_str("does not deduplicate")?,
            Deduplication::ByKey { ttl } => write!(f, "deduplicates by key for {}", Spoken(ttl))?,
        }
        match self.inquiry {
            Inquiry::None => f.write_str(", cannot be asked")?,
            Inquiry::ByKey { not_found_lag, not_found_times } => write!(
                f,
                ", can be asked (not found: believed after {not_found_times} answers, may lag {})",
                Spoken(not_found_lag)
            )?,
        }
        write!(
            f,
            ", acts within {}, answers within {}, parked after {}",
            Spoken(self.max_processing),
            Spoken(self.deadline),
            Spoken(self.park_after)
        )
    }
}

/// A duration as people write it: `24h`, `30s`, `250ms`.
struct Spoken(Duration);

impl fmt::Display for Spoken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let millis = self.0.as_millis();
        match millis {
            _ if millis > 0 && millis.is_multiple_of(3_600_000) => write!(f, "{}h", millis / 3_600_000),
            _ if millis > 0 && millis.is_multiple_of(60_000) => write!(f, "{}m", millis / 60_000),
            _ if millis.is_multiple_of(1_000) => write!(f, "{}s", millis / 1_000),
            _ => write!(f, "{millis}ms"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn standard() -> Contract {
        Contract::standard(Identity::default())
    }

    #[test]
    fn the_contract_assumed_of_a_silent_gateway_is_the_documented_one() {
        assert_eq!(
            standard().to_string(),
            "deduplicates by key for 24h, can be asked (not found: believed after 3 answers, may lag 10s), \
             acts within 30s, answers within 10s, parked after 24h"
        );
    }

    #[test]
    fn a_contract_says_what_the_gateway_does_not_do() {
        let silent = Contract { deduplication: Deduplication::None, inquiry: Inquiry::None, ..standard() };
        assert!(silent.to_string().starts_with("does not deduplicate, cannot be asked, "), "{silent}");
    }

    #[test]
    fn exactly_once_is_claimed_only_of_a_gateway_that_deduplicates() {
        let mut contract = standard();
        assert!(contract.guarantee().starts_with("exactly once: "));
        contract.inquiry = Inquiry::None;
        assert!(contract.guarantee().starts_with("exactly once: "));
        contract.deduplication = Deduplication::None;
        assert!(contract.guarantee().starts_with("at most once: "));
        assert!(contract.guarantee().contains("parked for a person"));
        contract.inquiry = standard().inquiry;
        assert!(contract.guarantee().starts_with("at most once: "));
        assert!(contract.guarantee().contains("learned by asking"));
    }

    #[test]
    fn durations_are_told_in_the_largest_whole_unit() {
        for (millis, told) in [
            (0, "0s"),
            (1, "1ms"),
            (999, "999ms"),
            (1_500, "1500ms"),
            (2_000, "2s"),
            (90_000, "90s"),
            (120_000, "2m"),
            (5_400_000, "90m"),
            (7_200_000, "2h"),
        ] {
            assert_eq!(Spoken(Duration::from_millis(millis)).to_string(), told);
        }
    }

    #[test]
    fn an_identity_names_every_part_that_it_has() {
        let whole = Identity {
            name: "stripe".into(),
            account: "acct_1".into(),
            environment: "live".into(),
            api_version: "2026-01".into(),
        };
        assert_eq!(whole.to_string(), "stripe, account acct_1, environment live, API 2026-01");
        let bare = Identity { name: "sandbox".into(), ..Identity::default() };
        assert_eq!(bare.to_string(), "sandbox");
    }
}
