//! The sandbox's rules of money: what may be done to what, and how much of it.

use std::fmt;

use super::{
    instruction::Instruction,
    ledger::{Manner, Told},
};
use crate::payment::{Amount, Currency, Kind, OperationKey, Timestamp};

/// What the sandbox decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Done.
    Succeeded,
    /// Decided against.
    Declined(Why),
    /// Will be done at that time.
    Pending { until: Timestamp },
    /// Waits for its payer; decided against if nobody has come by that time.
    Challenged { until: Timestamp },
}

/// Why the sandbox declines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Why {
    Card,
    TooMuch,
    Voided,
    NotVoidable,
    ChallengeFailed,
    ChallengeExpired,
}

/// One operation, as the ledger remembers it.
pub(super) struct Entry {
    pub(super) operation_key: OperationKey,
    /// A hash of every parameter, to know the same key with others.
    pub(super) fingerprint: u64,
    pub(super) kind: Kind,
    pub(super) amount: Amount,
    pub(super) currency: Currency,
    pub(super) charge: Option<OperationKey>,
    pub(super) verdict: Verdict,
    pub(super) number: u64,
    /// Inquiries are told "not found" before this.
    pub(super) hidden_until: Timestamp,
    /// Whether it has moved money.
    pub(super) moved: bool,
    /// A void of what had not happened yet: there is nothing that it could move.
    pub(super) moves_nothing: bool,
    /// What was captured of it, or is on its way: of a charge, all of it.
    captured: u64,
    refunded: u64,
    voided: bool,
}

impl Entry {
    pub(super) fn new(asked: &Instruction, fingerprint: u64, verdict: Verdict, number: u64) -> Entry {
        Entry {
            operation_key: asked.operation_key,
            fingerprint,
            kind: asked.kind,
            amount: asked.amount,
            currency: asked.currency,
            charge: asked.charge,
            verdict,
            number,
            hidden_until: Timestamp::default(),
            moved: false,
            moves_nothing: false,
            captured: if asked.kind == Kind::Charge { asked.amount.minor_units() } else { 0 },
            refunded: 0,
            voided: false,
        }
    }

    pub(super) fn told(&self) -> Told {
        let Entry { verdict, number, amount, currency, .. } = *self;
        Told::Decided { verdict, number, amount, currency }
    }

    /// Takes note of a capture, void or refund of this operation. Pending ones count at once, so that two together
    /// cannot exceed it. What has not happened yet is ended by its void.
    pub(super) fn acted_on(&mut self, asked: &Instruction, verdict: Verdict) {
        let amount = asked.amount.minor_units();
        match (asked.kind, verdict) {
            (_, Verdict::Declined(_))
            | (
                Kind::Charge | Kind::Authorize,
                Verdict::Succeeded | Verdict::Pending { .. } | Verdict::Challenged { .. },
            ) => {}
            (Kind::Capture, Verdict::Succeeded | Verdict::Pending { .. } | Verdict::Challenged { .. }) => {
                self.captured = self.captured.saturating_add(amount);
            }
            (Kind::Void, Verdict::Succeeded | Verdict::Pending { .. } | Verdict::Challenged { .. }) => {
                self.voided = true;
                if self.verdict.is_open() {
                    self.verdict = Verdict::Declined(Why::Voided);
                }
            }
            (Kind::Refund, Verdict::Succeeded | Verdict::Pending { .. } | Verdict::Challenged { .. }) => {
                self.refunded = self.refunded.saturating_add(amount);
            }
        }
    }
}

/// Code and message of an instruction that cannot even be considered.
type Rejection = (&'static str, &'static str);

/// Decides about an instruction, given the charge or authorization that it acts on.
pub(super) fn check(asked: &Instruction, base: Option<&Entry>) -> Result<Verdict, Rejection> {
    match asked.kind {
        Kind::Charge | Kind::Authorize => Ok(by_name(&asked.source)),
        Kind::Capture | Kind::Void | Kind::Refund => {
            let base = base.ok_or(("unknown_charge", "no such charge or authorization is known here"))?;
            let voidable = asked.kind == Kind::Void && base.verdict.is_open();
            if base.verdict != Verdict::Succeeded && !voidable {
                return Err(("invalid_charge", "the charge or authorization has not succeeded"));
            }
            if base.currency != asked.currency {
                return Err(("currency_mismatch", "the charge or authorization is in another currency"));
            }
            if voidable {
                return Ok(Verdict::Succeeded);
            }
            Ok(against(asked, base).map_or(Verdict::Succeeded, Verdict::Declined))
        }
    }
}

/// Why the base does not allow it, if it does not.
fn against(asked: &Instruction, base: &Entry) -> Option<Why> {
    let fits = |left: u64| asked.amount.minor_units() <= left;
    match asked.kind {
        Kind::Charge | Kind::Authorize => None,
        Kind::Capture if base.voided => Some(Why::Voided),
        Kind::Capture => (!fits(base.amount.minor_units().saturating_sub(base.captured))).then_some(Why::TooMuch),
        Kind::Void => (base.kind != Kind::Authorize || base.voided || base.captured > 0).then_some(Why::NotVoidable),
        Kind::Refund => (!fits(base.captured.saturating_sub(base.refunded))).then_some(Why::TooMuch),
    }
}

/// A source whose name begins with `acct_decline` is always declined.
fn by_name(source: &str) -> Verdict {
    if source.starts_with("acct_decline") { Verdict::Declined(Why::Card) } else { Verdict::Succeeded }
}

impl Verdict {
    /// Turns a success into what the faults make of it.
    pub(super) fn unless_otherwise(self, manner: &Manner) -> Verdict {
        match (self, manner.challenged_until, manner.settles_at) {
            (Verdict::Succeeded, _, _) if manner.declines => Verdict::Declined(Why::Card),
            (Verdict::Succeeded, Some(until), _) => Verdict::Challenged { until },
            (Verdict::Succeeded, None, Some(until)) => Verdict::Pending { until },
            (
                Verdict::Succeeded | Verdict::Declined(_) | Verdict::Pending { .. } | Verdict::Challenged { .. },
                _,
                _,
            ) => self,
        }
    }

    /// Whether it has not been decided yet.
    pub(super) fn is_open(self) -> bool {
        match self {
            Verdict::Pending { .. } | Verdict::Challenged { .. } => true,
            Verdict::Succeeded | Verdict::Declined(_) => false,
        }
    }

    /// Until when its payer has to act.
    pub(super) fn challenge_until(self) -> Option<Timestamp> {
        match self {
            Verdict::Challenged { until } => Some(until),
            Verdict::Succeeded | Verdict::Declined(_) | Verdict::Pending { .. } => None,
        }
    }

    pub(super) fn status(self) -> &'static str {
        match self {
            Verdict::Succeeded => "succeeded",
            Verdict::Declined(_) => "declined",
            Verdict::Pending { .. } | Verdict::Challenged { .. } => "pending",
        }
    }

    /// Code and message, as in replies.
    pub(super) fn words(self) -> (&'static str, &'static str) {
        match self {
            Verdict::Succeeded => ("ok", "done"),
            Verdict::Declined(why) => (why.as_str(), why.message()),
            Verdict::Pending { .. } => ("pending", "accepted; will be done soon"),
            Verdict::Challenged { .. } => ("challenge", "accepted; its payer has to act first"),
        }
    }

    /// Reads what `Display` wrote.
    pub(super) fn parse(word: &str) -> Option<Verdict> {
        match word.split_once(':') {
            None => (word == "succeeded").then_some(Verdict::Succeeded),
            Some(("declined", why)) => Why::ALL.into_iter().find(|known| known.as_str() == why).map(Verdict::Declined),
            Some(("pending", until)) => {
                until.parse().ok().map(|until| Verdict::Pending { until: Timestamp::from_millis(until) })
            }
            Some(("challenged", until)) => {
                until.parse().ok().map(|until| Verdict::Challenged { until: Timestamp::from_millis(until) })
            }
            Some(_) => None,
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Verdict::Succeeded => f.write_str("succeeded"),
            Verdict::Declined(why) => write!(f, "declined:{}", why.as_str()),
            Verdict::Pending { until } => write!(f, "pending:{}", until.as_millis()),
            Verdict::Challenged { until } => write!(f, "challenged:{}", until.as_millis()),
        }
    }
}

impl Why {
    const ALL: [Why; 6] =
        [Why::Card, Why::TooMuch, Why::Voided, Why::NotVoidable, Why::ChallengeFailed, Why::ChallengeExpired];

    const fn as_str(self) -> &'static str {
        match self {
            Why::Card => "card_declined",
            Why::TooMuch => "amount_too_large",
            Why::Voided => "voided",
            Why::NotVoidable => "not_voidable",
            Why::ChallengeFailed => "challenge_failed",
            Why::ChallengeExpired => "challenge_expired",
        }
    }

    const fn message(self) -> &'static str {
        match self {
            Why::Card => "the issuer declined",
            Why::TooMuch => "more than is left",
            Why::Voided => "it was voided",
            Why::NotVoidable => "only an authorization that is neither captured nor voided can be voided",
            Why::ChallengeFailed => "the payer was asked, and did not pass",
            Why::ChallengeExpired => "the payer was asked, and did not come in time",
        }
    }
}
