//! The conformance kit: measures what a gateway does, beside what its contract declares.
//!
//! A [`Probe`] makes a handful of small payments through an adapter, asks about them, and turns each observation into
//! a [`Finding`]. From these follows a [`Contract`](crate::payment::Contract): the declared one, less whatever was
//! seen to be untrue. It never claims what was not measured, and is never more optimistic than what was declared: that
//! a gateway noticed ten keys out of ten does not prove that it notices the eleventh, so such a finding says "not
//! contradicted", and no probe can tell for how long a key is remembered.
//!
//! ```no_run
//! # async fn check(adapter: &dyn payonce::gateway::Gateway) -> Result<(), Box<dyn std::error::Error>> {
//! use payonce::{Amount, Currency, IdempotencyKey, Order, gateway::probe::{Plan, Probe}};
//!
//! let order = Order::new(Amount::new(100)?, Currency::new("USD")?, "acct_alice", "acct_bob")?;
//! let run = IdempotencyKey::new("a-name-that-no-other-run-had")?;
//! let report = Probe::new(adapter, Plan::new(run, order)).run().await?;
//! assert_eq!(report.contradictions().count(), 0, "{report}");
//! # Ok(())
//! # }
//! ```
//!
//! It moves money: with a live account behind the adapter, real money. It reads the clock, because it measures time,
//! and draws nothing at random: every operation key follows from [`Plan::run`].
//!
//! Knows nothing of HTTP, engines, or how its findings are shown.

mod finding;

mod report;

mod line;

mod sending;

mod asking;

use std::{fmt, time::Duration};

pub use finding::{Certainty, Check, Finding};
pub use report::{Field, Origin, Report};

use crate::{
    gateway::Gateway,
    payment::{Currency, Deduplication, IdempotencyKey, Inquiry, OperationKey, Order, Reply},
};
use finding::Learned;
use line::Line;

/// How many times each check that chance plays into is made: what goes wrong every other time is missed by one probe in
/// eight, and an account at a gateway that deduplicates is charged less than twenty times.
const TRIES: u32 = 3;
/// How many sendings of one key are under way at once: more than the replicas of most gateways.
const AT_ONCE: u32 = 8;
/// The longest that one payment is asked about. By the standard contract, what was given up on may act for 30 s and not
/// be found for 10 s more; another 10 s show whether it keeps to that.
const PATIENCE: Duration = Duration::from_secs(60);

/// What a probe is to use.
#[derive(Clone, Debug)]
pub struct Plan {
    /// A name that no other run against this gateway had or will have: all operation keys follow from it. A gateway
    /// that has seen them before answers with what it did then.
    pub run: IdempotencyKey,
    /// What is charged, over and over. Its amount should be the smallest that the gateway takes.
    pub order: Order,
    /// For the same key in another currency. Default: EUR, or USD where the order is in EUR.
    pub other_currency: Currency,
    /// For the same key to another destination: best one that the gateway knows. Default: the order's with `_other`.
    pub other_destination: String,
    /// A source that the gateway always declines. Default: none, and declines are not measured.
    pub declining_source: Option<String>,
    /// How many times each check that chance plays into is made. Default: 3.
    pub tries: u32,
    /// How many sendings of one key are under way at once. Default: 8.
    pub at_once: u32,
    /// The longest that one payment is asked about. Default: 60 s.
    pub patience: Duration,
}

impl Plan {
    /// The defaults.
    pub fn new(run: IdempotencyKey, order: Order) -> Plan {
        let other = if order.currency.as_str() == "EUR" { "USD" } else { "EUR" };
        Plan {
            run,
            // Both are codes of ISO 4217; were they not, the same currency again would be a harmless repeat.
            other_currency: Currency::new(other).unwrap_or(order.currency),
            other_destination: format!("{}_other", order.destination),
            order,
            declining_source: None,
            tries: TRIES,
            at_once: AT_ONCE,
            patience: PATIENCE,
        }
    }

    /// The most sendings that may move money, each of the order's amount (or one minor unit more): how many do, if
    /// the gateway notices no repeat.
    pub fn most_sendings(&self) -> u32 {
        // One charge, one to ask about, one twice, one at once and once more, and the first of each pair with others.
        let each_try = 1 + 1 + 2 + self.at_once.saturating_add(1) + 3;
        // The second of each pair, the replies given up on with one repeat, one past its deadline, a decline twice.
        let once = 3 + asking::GIVEN_UP_AFTER.len().try_into().unwrap_or(u32::MAX) + 1 + 1 + 2;
        self.tries.max(1).saturating_mul(each_try).saturating_add(once)
    }
}

/// Counts the movements of money that a gateway made under a key: the truth, where a test can see it.
pub type Witness<'a> = Box<dyn Fn(OperationKey) -> u64 + Send + Sync + 'a>;

/// A gateway about to be measured.
pub struct Probe<'a> {
    gateway: &'a dyn Gateway,
    plan: Plan,
    witness: Option<Witness<'a>>,
}

impl<'a> Probe<'a> {
    /// Of a gateway of which only the answers are seen: two references under one key are two movements, and a second
    /// movement under the same reference goes unseen.
    pub fn new(gateway: &'a dyn Gateway, plan: Plan) -> Probe<'a> {
        Probe { gateway, plan, witness: None }
    }

    /// Movements are counted by the witness, in place of comparing references.
    #[must_use]
    pub fn with_witness(mut self, witness: impl Fn(OperationKey) -> u64 + Send + Sync + 'a) -> Probe<'a> {
        self.witness = Some(Box::new(witness));
        self
    }

    /// Measures. Needs a tokio runtime with time. Fails only if not one byte could be sent to the gateway.
    pub async fn run(&self) -> Result<Report, Unreached> {
        self.run_telling(&mut |_| ()).await
    }

    /// As [`Probe::run`], and tells each finding as it is made: with a slow gateway a probe takes minutes.
    pub async fn run_telling(&self, tell: &mut (dyn FnMut(&Finding) + Send)) -> Result<Report, Unreached> {
        let line = Line::new(self.gateway, &self.plan, self.witness.as_ref());
        let mut findings = Findings { made: Vec::new(), tell };
        let charge = sending::charge(&line).await?;
        let works = charge.certainty == Certainty::Shown;
        findings.add(charge);
        if works {
            Self::measure(&line, &mut findings).await;
        }
        for check in Check::ALL {
            if !findings.made.iter().any(|made| made.check == check) {
                findings.add(Finding::not_measured(check, "no charge worked, so there is nothing to compare with"));
            }
        }
        Ok(Report::of(self.gateway.contract(), findings.made, line.sendings()))
    }

    async fn measure(line: &Line<'_>, findings: &mut Findings<'_>) {
        findings.add(asking::never_sent(line).await);
        for finding in asking::after_success(line).await {
            findings.add(finding);
        }
        findings.add(sending::same_key_again(line).await);
        for check in [Check::SameKeyAtOnce, Check::OtherAmount, Check::OtherCurrency, Check::OtherDestination] {
            // What a gateway that notices no repeat makes of these is known, and would only cost more.
            findings.add(match Self::trust(line, findings).deduplicates {
                true if check == Check::SameKeyAtOnce => sending::same_key_at_once(line).await,
                true => sending::other_parameters(line, check).await,
                false => Finding::not_measured(check, "it does not deduplicate: each would be a payment of its own"),
            });
        }
        let (lost, unsent) = asking::reply_lost(line, Self::trust(line, findings)).await;
        findings.add(lost);
        findings.add(asking::not_sent(line, Self::trust(line, findings), unsent).await);
        findings.add(asking::declined(line, Self::trust(line, findings)).await);
        findings.add(key_lifetime(line));
    }

    /// What is declared and not yet refuted: one check's lie must not be found again by all that follow.
    fn trust(line: &Line<'_>, findings: &Findings<'_>) -> Trust {
        let refuted = |lesson| findings.made.iter().any(|made| made.learned.contains(&lesson));
        let contract = line.contract();
        let learned = findings.made.iter().flat_map(|made| &made.learned).filter_map(|lesson| match lesson {
            Learned::NotFoundLag(lag) => Some(*lag),
            Learned::NoDeduplication | Learned::NoInquiry | Learned::NotFoundTimes(_) | Learned::MaxProcessing(_) => {
                None
            }
        });
        Trust {
            not_found_lag: learned.fold(line.lag(), Duration::max),
            deduplicates: contract.deduplication != Deduplication::None && !refuted(Learned::NoDeduplication),
            answers: contract.inquiry != Inquiry::None && !refuted(Learned::NoInquiry),
        }
    }
}

/// What later checks may build on.
#[derive(Clone, Copy, Debug)]
struct Trust {
    /// A repeat is harmless.
    deduplicates: bool,
    /// Inquiries tell the truth.
    answers: bool,
    /// For so long they may not.
    not_found_lag: Duration,
}

impl fmt::Debug for Probe<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Probe").field("plan", &self.plan).finish_non_exhaustive()
    }
}

/// What was found so far, and who is told.
struct Findings<'a> {
    made: Vec<Finding>,
    tell: &'a mut (dyn FnMut(&Finding) + Send),
}

impl Findings<'_> {
    fn add(&mut self, finding: Finding) {
        (self.tell)(&finding);
        self.made.push(finding);
    }
}

fn key_lifetime(line: &Line<'_>) -> Finding {
    let said = match line.contract().deduplication {
        Deduplication::None => "declared as one that does not deduplicate".to_owned(),
        Deduplication::ByKey { ttl } => {
            format!(
                "declared: {}. No probe can measure it: take it from the gateway's documentation",
                report::written(ttl)
            )
        }
    };
    Finding::not_measured(Check::KeyLifetime, &said)
}

/// Nothing can be sent to the gateway, so nothing was measured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unreached {
    reply: Reply,
}

impl fmt::Display for Unreached {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (code, message) = (self.reply.code(), self.reply.message());
        write!(f, "nothing can be sent to the gateway ({code}): {message}; nothing was measured, and no money moved")
    }
}

impl std::error::Error for Unreached {}
