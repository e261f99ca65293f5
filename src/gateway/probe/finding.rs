//! What was checked, what came of it, and how certain that is.

use std::{fmt, time::Duration};

/// One question to a gateway.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Check {
    /// Does a charge work at all?
    Charge,
    /// Is what was never sent "not found", and never "declined"?
    NeverSent,
    /// Is what was sent found by our key, and as it was answered?
    Inquiry,
    /// For how long after a success is "not found" said?
    NotFoundLag,
    /// The same bytes under the same key, one after the other: does money move once?
    SameKeyAgain,
    /// The same bytes under the same key, at once: does money move once?
    SameKeyAtOnce,
    /// The same key with another amount: is it executed?
    OtherAmount,
    /// The same key in another currency: is it executed?
    OtherCurrency,
    /// The same key to another destination: is it executed?
    OtherDestination,
    /// A call given up on after its bytes left: what is said about it, and when?
    ReplyLost,
    /// Did nothing come of what is said not to have been sent?
    NotSent,
    /// Does a decline stay one, when it is repeated and asked about?
    Declined,
    /// For how long is a key remembered? Never measured.
    KeyLifetime,
}

impl Check {
    /// Every check, in the order in which they are made.
    pub const ALL: [Check; 13] = [
        Check::Charge,
        Check::NeverSent,
        Check::Inquiry,
        Check::NotFoundLag,
        Check::SameKeyAgain,
        Check::SameKeyAtOnce,
        Check::OtherAmount,
        Check::OtherCurrency,
        Check::OtherDestination,
        Check::ReplyLost,
        Check::NotSent,
        Check::Declined,
        Check::KeyLifetime,
    ];

    /// One word for scripts.
    pub const fn as_str(self) -> &'static str {
        match self {
            Check::Charge => "charge",
            Check::NeverSent => "never_sent",
            Check::Inquiry => "inquiry",
            Check::NotFoundLag => "not_found_lag",
            Check::SameKeyAgain => "same_key_again",
            Check::SameKeyAtOnce => "same_key_at_once",
            Check::OtherAmount => "other_amount",
            Check::OtherCurrency => "other_currency",
            Check::OtherDestination => "other_destination",
            Check::ReplyLost => "reply_lost",
            Check::NotSent => "not_sent",
            Check::Declined => "declined",
            Check::KeyLifetime => "key_lifetime",
        }
    }

    /// A few words for people.
    pub const fn title(self) -> &'static str {
        match self {
            Check::Charge => "a charge works",
            Check::NeverSent => "never sent is not found",
            Check::Inquiry => "sent is found by our key",
            Check::NotFoundLag => "how late \"not found\" is",
            Check::SameKeyAgain => "same key, sent again",
            Check::SameKeyAtOnce => "same key, at once",
            Check::OtherAmount => "same key, other amount",
            Check::OtherCurrency => "same key, other currency",
            Check::OtherDestination => "same key, other payee",
            Check::ReplyLost => "a lost reply",
            Check::NotSent => "not sent means not sent",
            Check::Declined => "a decline stays one",
            Check::KeyLifetime => "how long keys last",
        }
    }
}

/// How certain a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Certainty {
    /// Seen: one observation is enough to know it.
    Shown,
    /// As declared every time that it was tried. The next time may differ.
    NotContradicted,
    /// Seen to be otherwise than declared.
    Contradicted,
    /// Nothing is known, and why.
    NotMeasured,
}

impl Certainty {
    /// One word for scripts.
    pub const fn as_str(self) -> &'static str {
        match self {
            Certainty::Shown => "shown",
            Certainty::NotContradicted => "not_contradicted",
            Certainty::Contradicted => "contradicted",
            Certainty::NotMeasured => "not_measured",
        }
    }

    /// As people read it.
    pub const fn title(self) -> &'static str {
        match self {
            Certainty::Shown => "shown",
            Certainty::NotContradicted => "not contradicted",
            Certainty::Contradicted => "CONTRADICTED",
            Certainty::NotMeasured => "not measured",
        }
    }
}

/// What came of one check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// What was asked.
    pub check: Check,
    /// How certain it is.
    pub certainty: Certainty,
    /// What was seen, as a sentence for people.
    pub seen: String,
    /// What the contract must say now.
    pub(super) learned: Vec<Learned>,
}

/// What a contract can no longer claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Learned {
    NoDeduplication,
    NoInquiry,
    NotFoundLag(Duration),
    NotFoundTimes(u32),
    MaxProcessing(Duration),
}

impl Finding {
    pub(super) fn shown(check: Check, seen: String) -> Finding {
        Finding { check, certainty: Certainty::Shown, seen, learned: Vec::new() }
    }

    pub(super) fn not_contradicted(check: Check, seen: String) -> Finding {
        Finding { check, certainty: Certainty::NotContradicted, seen, learned: Vec::new() }
    }

    pub(super) fn contradicted(check: Check, seen: String, learned: &[Learned]) -> Finding {
        Finding { check, certainty: Certainty::Contradicted, seen, learned: learned.to_vec() }
    }

    pub(super) fn not_measured(check: Check, why: &str) -> Finding {
        Finding { check, certainty: Certainty::NotMeasured, seen: why.to_owned(), learned: Vec::new() }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:24}  {:16}  {}", self.check.title(), self.certainty.title(), self.seen)
    }
}
