//! The sandbox's rules of money: what may be done to what, and how much of it.

use std::fmt;

use super::{instruction::Instruction, ledger::Told};
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
}

/// Why the sandbox declines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Why {
    Card,
    TooMuch,
    Voided,
    NotVoidable,
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
    /// cannot exceed it.
    pub(super) fn acted_on(&mut self, asked: &Instruction, verdict: Verdict) {
        let amount = asked.amount.minor_units();
        match (asked.kind, verdict) {
            (_, Verdict::Declined(_))
            | (Kind::Charge | Kind::Authorize, Verdict::Succeeded | Verdict::Pending { .. }) => {}
            (Kind::Capture, Verdict::Succeeded | Verdict::Pending { .. }) => {
                self.captured = self.captured.saturating_add(amount);
            }
            (Kind::Void, Verdict::Succeeded | Verdict::Pending { .. }) => self.voided = true,
            (Kind::Refund, Verdict::Succeeded | Verdict::Pending { .. }) => {
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
            if base.verdict != Verdict::Succeeded {
                return Err(("invalid_charge", "the charge or authorization has not succeeded"));
            }
            if base.currency != asked.currency {
                return Err(("currency_mismatch", "the charge or authorization is in another currency"));
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
    pub(super) fn unless_otherwise(self, declines: bool, settles_at: Option<Timestamp>) -> Verdict {
        match (self, settles_at) {
            (Verdict::Succeeded, _) if declines => Verdict::Declined(Why::Card),
            (Verdict::Succeeded, Some(until)) => Verdict::Pending { until },
            (Verdict::Succeeded | Verdict::Declined(_) | Verdict::Pending { .. }, _) => self,
        }
    }

    pub(super) fn status(self) -> &'static str {
        match self {
            Verdict::Succeeded => "succeeded",
            Verdict::Declined(_) => "declined",
            Verdict::Pending { .. } => "pending",
        }
    }

    /// Code and message, as in replies.
    pub(super) fn words(self) -> (&'static str, &'static str) {
        match self {
            Verdict::Succeeded => ("ok", "done"),
            Verdict::Declined(why) => (why.as_str(), why.message()),
            Verdict::Pending { .. } => ("pending", "accepted; will be done soon"),
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
            Some(_) => None,
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.status())?;
        match self {
            Verdict::Succeeded => Ok(()),
            Verdict::Declined(why) => write!(f, ":{}", why.as_str()),
            Verdict::Pending { until } => write!(f, ":{}", until.as_millis()),
        }
    }
}

impl Why {
    const ALL: [Why; 4] = [Why::Card, Why::TooMuch, Why::Voided, Why::NotVoidable];

    const fn as_str(self) -> &'static str {
        match self {
            Why::Card => "card_declined",
            Why::TooMuch => "amount_too_large",
            Why::Voided => "voided",
            Why::NotVoidable => "not_voidable",
        }
    }

    const fn message(self) -> &'static str {
        match self {
            Why::Card => "the issuer declined",
            Why::TooMuch => "more than is left",
            Why::Voided => "the authorization was voided",
            Why::NotVoidable => "only an authorization that is neither captured nor voided can be voided",
        }
    }
}
