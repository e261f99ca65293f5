//! RECEIPT. One payment's records as a document of their own, which can be checked without the journal.
//!
//! An entry holds a record's exact bytes as the journal holds them, and beside them what they say, for people. A chain of
//! hashes runs through the entries. With SHA-256, integers as u64 in little-endian, ids as 16 bytes, and texts as ASCII
//! with a zero byte at their end:
//!
//! ```text
//! before the first entry   "payonce receipt 1", the journal's id, the payment's id
//! of an entry              "payonce receipt 1 entry", the hash before it, lsn, segment, offset, chain, wall_ms,
//!                          the number of bytes, the bytes
//! head                     "payonce receipt 1 head", the hash of the last entry, the number of entries, upto
//! ```
//!
//! **What it proves.** The head names everything in the document. Whoever knows the head from elsewhere (it was printed on
//! an invoice, mailed, or put on a ledger at that time) can tell that nothing was altered, left out or added since. Whoever
//! does not, can tell only that the document agrees with itself: anybody can make such a document, with a head of its own.
//! It never proves that payonce recorded the truth, nor that this was all that it recorded later. With the journal at hand
//! each record can also be looked up: [`compare`].
//!
//! What a start or a checkpoint carries over is not in it, because it repeats what the events say; that it does is checked
//! when the receipt is made. Request bytes are in it, with source and destination as the gateway got them. There are no
//! credentials in them: those are added when sending.
//!
//! Knows nothing of files, of how a document is printed, or of who asks for it.

mod check;

mod chain;

mod spoken;

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::Value;

pub use check::{Checked, check, compare};

use crate::{
    journal::{Found, OpenError, Quote, Record},
    payment::{Misfit, Payment, PaymentId, apply},
};
use chain::{Chain, hex, rfc3339};

/// The only format there is.
const FORMAT: &str = "payonce receipt 1";

/// One payment's records, and what they add up to.
// The order of its fields is that of the document.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Receipt {
    /// Which format this is.
    pub format: String,
    /// What the records are said to add up to.
    pub claim: Claim,
    /// The identity of the journal that they are from.
    pub journal: String,
    /// The last record that had been read when this was made.
    pub upto: u64,
    /// The records, oldest first.
    pub entries: Vec<Entry>,
    /// The hash that names all of it but the claim, which follows from it.
    pub head: String,
}

/// What a payment's records are said to add up to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Claim {
    /// The payment's id.
    pub payment: String,
    /// Whose it is.
    pub tenant: String,
    /// The caller's name for it.
    pub idempotency_key: String,
    /// Where it stands.
    pub state: String,
    /// Of how much it is, in minor units.
    pub amount: u64,
    /// Of which currency.
    pub currency: String,
    /// How much has moved, in minor units.
    pub captured: u64,
    /// How much has moved back, in minor units.
    pub refunded: u64,
}

/// One record.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    /// Its place in the journal.
    pub lsn: u64,
    /// The segment that it is in.
    pub segment: u64,
    /// The byte at which its batch begins there.
    pub offset: u64,
    /// The journal's own chain value after that batch.
    pub chain: u32,
    /// When its batch was written, in milliseconds since 1970.
    pub wall_ms: u64,
    /// The same, for people.
    pub wall: String,
    /// `event`, or `relogged` where a start has recorded an event again that might have been lost.
    pub record: String,
    /// What it says, for people.
    pub event: Value,
    /// Its exact bytes, in hexadecimal.
    pub bytes: String,
    /// The hash over all of this, and over the one before it.
    pub hash: String,
}

/// Why there is no receipt.
#[derive(Debug)]
pub enum Refused {
    /// The journal cannot be read.
    Journal(OpenError),
    /// It holds nothing about this payment.
    Unknown(PaymentId),
    /// Its records do not add up.
    Misfit(Misfit),
    /// What a start or a checkpoint has carried over is something else than what the events say.
    Carried(PaymentId),
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Refused::Journal(error) => error.fmt(f),
            Refused::Unknown(id) => write!(
                f,
                "the journal holds nothing about payment {id} yet that is durable beyond doubt; what was recorded last \
                 becomes so within a second or two"
            ),
            Refused::Misfit(misfit) => misfit.fmt(f),
            Refused::Carried(id) => {
                write!(
                    f,
                    "what was carried over of payment {id} is not what its events say: see `payonce journal verify`"
                )
            }
        }
    }
}

impl std::error::Error for Refused {}

impl From<OpenError> for Refused {
    fn from(error: OpenError) -> Refused {
        Refused::Journal(error)
    }
}

impl From<Misfit> for Refused {
    fn from(misfit: Misfit) -> Refused {
        Refused::Misfit(misfit)
    }
}

/// Makes the receipt of a payment from what a start would find.
pub fn receipt(found: &Found, id: &PaymentId) -> Result<Receipt, Refused> {
    let journal = found.store_uuid().unwrap_or_default();
    let mut chain = Chain::start(&journal, id);
    let (mut payment, mut entries) = (None, Vec::new());
    for quote in found.quote(id)? {
        match &quote.record {
            Record::Event(event) | Record::Relogged(event) => {
                apply(&mut payment, event)?;
                entries.push(entry(&quote, spoken::event(event), &mut chain));
            }
            Record::Carried(carried) if payment.as_ref().is_some_and(|payment| is_same(payment, carried)) => {}
            Record::Carried(_) => return Err(Refused::Carried(*id)),
            Record::Inbox(_) | Record::Audit(_) | Record::Opened(_) | Record::Checkpoint(_) | Record::Closed(_) => {}
        }
    }
    let payment = payment.ok_or(Refused::Unknown(*id))?;
    let upto = found.proven().get();
    let head = chain.head(entries.len(), upto);
    Ok(Receipt { format: FORMAT.to_owned(), claim: Claim::of(&payment), journal: hex(&journal), upto, entries, head })
}

/// A timeline is made of words for people, which may change.
fn is_same(payment: &Payment, carried: &Payment) -> bool {
    let without_words = |payment: &Payment| Payment { timeline: Vec::new(), ..payment.clone() };
    without_words(payment) == without_words(carried)
}

fn entry(quote: &Quote, event: Value, chain: &mut Chain) -> Entry {
    let mut entry = Entry {
        lsn: quote.lsn.get(),
        segment: quote.segment,
        offset: quote.offset,
        chain: quote.chain,
        wall_ms: quote.wall.as_millis(),
        wall: rfc3339(quote.wall),
        record: quote.record.name().to_owned(),
        event,
        bytes: hex(&quote.bytes),
        hash: String::new(),
    };
    entry.hash = chain.link(&entry, &quote.bytes);
    entry
}

impl Claim {
    fn of(payment: &Payment) -> Claim {
        Claim {
            payment: payment.id.to_string(),
            tenant: payment.tenant.as_str().to_owned(),
            idempotency_key: payment.key.as_str().to_owned(),
            state: payment.state_now().as_str().to_owned(),
            amount: payment.order.amount.minor_units(),
            currency: payment.order.currency.as_str().to_owned(),
            captured: payment.captured(),
            refunded: payment.refunded(),
        }
    }
}
