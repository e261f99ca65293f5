//! What a gateway says by itself: whether it came from there, and what it speaks of.

use std::fmt;

use crate::payment::{OperationKey, Outcome, Timestamp};

/// A request that claims to be news from a gateway, as it came.
#[derive(Clone, Copy, Debug)]
pub struct Post<'a> {
    /// Its headers; names in lower case.
    pub headers: &'a [(String, String)],
    /// Its body.
    pub body: &'a [u8],
    /// When it came, by the wall clock.
    pub at: Timestamp,
}

impl<'a> Post<'a> {
    /// The value of a header that was given once; of one given twice nobody knows which counts.
    pub fn header(&self, name: &str) -> Option<&'a str> {
        let mut values = self.headers.iter().filter(|(known, _)| known == name).map(|(_, value)| value.as_str());
        values.next().filter(|_| values.next().is_none())
    }
}

/// News that came from the gateway.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct News {
    /// The gateway's name for this piece of news: it may come twice.
    pub event_id: String,
    /// The operation that it speaks of, where it says.
    pub operation_key: Option<OperationKey>,
    /// What it says of it, where that is understood, and key, amount and currency are told. Counts only where the
    /// gateway cannot be asked; whether amount and currency match is asked by [`Said`].
    pub said: Option<Said>,
}

/// What news says of an operation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Said {
    /// What became of it.
    pub outcome: Outcome,
    /// Of how much, in minor units.
    pub amount: u64,
    /// Of which currency.
    pub currency: String,
}

/// Why what came is no news.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Forged {
    /// This gateway says nothing by itself, or the secret that would tell its voice is not configured.
    Unsupported,
    /// The signature is missing, or is not the gateway's.
    Signature,
    /// It was signed too long ago, or for a time to come: somebody may be repeating it.
    Stale,
    /// It is the gateway's, and cannot be read.
    Unreadable,
}

impl fmt::Display for Forged {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Forged::Unsupported => "no webhook secret is configured for this gateway",
            Forged::Signature => "the signature is missing, or is not that of the configured secret",
            Forged::Stale => "the signature is of another time than now: a repetition, or a clock that is wrong",
            Forged::Unreadable => "the signature is right, but the body cannot be read",
        })
    }
}

impl std::error::Error for Forged {}
