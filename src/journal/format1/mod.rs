//! Format 1: the payloads of version 1 of every kind of record, frozen.
//!
//! These structs mirror the words of `payment` as they were when the format was fixed. They never change: not a field,
//! not an order, not a type. A word that grows gets a version 2 beside it, in `format2`, and what is here goes on to be
//! read. The golden files under `tests/fixtures/journal_v1` hold every variant.
//!
//! How they look in bytes: fields in the order of declaration, without names or padding. Integers are fixed-width and
//! little-endian. `bool`: one byte, 0 or 1. `String` and `Vec`: length (u64), then the items. `Option`: one byte, 0
//! for none, 1 and the value for some. An enum: its variant's tag (u32), which is its place in the declaration and is
//! written beside it, then its fields. Ids and uuids: 16 bytes. Times: milliseconds since 1970 (u64).
//!
//! Texts and bytes are borrowed, from what is written and from what is read: nothing is copied on the way.
//!
//! What is read is checked by the same constructors that checked it when it came in, so the rules of `payment` may be
//! loosened but never tightened: a tightened rule would refuse history. Nothing here panics.
//!
//! Knows nothing of frames, batches or files.

mod audit;

mod event;

mod housekeeping;

mod payment;

use std::{sync::Arc, time::Duration};

use serde::{Deserialize, Serialize};

use crate::payment as now;

use super::codec::Malformed;

pub(super) use audit::Audit;
pub(super) use event::{Event, Webhook, says_all};
pub(super) use housekeeping::{Checkpoint, Closed, Opened};
pub(super) use payment::{Payment, fits};

/// Two enums without fields, variant for variant.
macro_rules! mirror {
    ($then:ident, $now:ty: $($variant:ident)+) => {
        impl From<$now> for $then {
            fn from(value: $now) -> $then {
                match value { $(<$now>::$variant => $then::$variant,)+ }
            }
        }

        impl From<$then> for $now {
            fn from(value: $then) -> $now {
                match value { $($then::$variant => <$now>::$variant,)+ }
            }
        }
    };
}

/// A checked text or number was not what its constructor makes of it.
fn malformed(what: &str) -> Malformed {
    Malformed(format!("a recorded value is not legal: {what}"))
}

pub(super) fn time(at: now::Timestamp) -> u64 {
    at.as_millis()
}

pub(super) fn from_time(millis: u64) -> now::Timestamp {
    now::Timestamp::from_millis(millis)
}

/// Bytes in one piece. They are written as a `Vec` of anything else is, which is taken item by item.
pub(super) mod bytes {
    use serde::Serializer;

    pub(in super::super) fn serialize<S: Serializer>(bytes: &&[u8], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(bytes)
    }
}

/// Sixteen bytes in one piece: as one little-endian number they are the same sixteen bytes.
pub(super) mod id {
    use serde::{Deserialize, Deserializer, Serializer};

    pub(in super::super) fn serialize<S: Serializer>(id: &[u8; 16], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u128(u128::from_le_bytes(*id))
    }

    pub(in super::super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<[u8; 16], D::Error> {
        Ok(u128::deserialize(deserializer)?.to_le_bytes())
    }
}

#[derive(Serialize, Deserialize)]
enum Kind {
    Charge,    // 0
    Authorize, // 1
    Capture,   // 2
    Void,      // 3
    Refund,    // 4
}

mirror!(Kind, now::Kind: Charge Authorize Capture Void Refund);

#[derive(Serialize, Deserialize)]
pub(super) struct OperationRef {
    number: u32,
    kind: Kind,
    amount: u64,
}

impl From<now::OperationRef> for OperationRef {
    fn from(this: now::OperationRef) -> OperationRef {
        OperationRef { number: this.number, kind: this.kind.into(), amount: this.amount.minor_units() }
    }
}

impl TryFrom<OperationRef> for now::OperationRef {
    type Error = Malformed;

    fn try_from(this: OperationRef) -> Result<now::OperationRef, Malformed> {
        Ok(now::OperationRef { number: this.number, kind: this.kind.into(), amount: now::Amount::new(this.amount)? })
    }
}

#[derive(Serialize, Deserialize)]
pub(super) struct Identity<'a> {
    name: &'a str,
    account: &'a str,
    environment: &'a str,
    api_version: &'a str,
}

impl<'a> From<&'a now::Identity> for Identity<'a> {
    fn from(identity: &'a now::Identity) -> Identity<'a> {
        let now::Identity { name, account, environment, api_version } = identity;
        Identity { name, account, environment, api_version }
    }
}

impl From<Identity<'_>> for now::Identity {
    fn from(identity: Identity<'_>) -> now::Identity {
        // Most are empty: those share one.
        let shared = |text: &str| if text.is_empty() { Arc::default() } else { Arc::from(text) };
        let [name, account, environment, api_version] =
            [identity.name, identity.account, identity.environment, identity.api_version].map(shared);
        now::Identity { name, account, environment, api_version }
    }
}

#[derive(Serialize, Deserialize)]
enum Capture {
    Automatic, // 0
    Manual,    // 1
}

mirror!(Capture, now::Capture: Automatic Manual);

#[derive(Serialize, Deserialize)]
pub(super) struct Order<'a> {
    amount: u64,
    /// Three capital letters.
    currency: [u8; 3],
    source: &'a str,
    destination: &'a str,
    capture: Capture,
    #[serde(borrow)]
    description: Option<&'a str>,
    /// In the order of the keys.
    #[serde(borrow)]
    metadata: Vec<(&'a str, &'a str)>,
    expires_at: Option<u64>,
}

impl<'a> From<&'a now::Order> for Order<'a> {
    fn from(order: &'a now::Order) -> Order<'a> {
        Order {
            amount: order.amount.minor_units(),
            currency: order.currency.as_str().as_bytes().try_into().unwrap_or_default(),
            source: &order.source,
            destination: &order.destination,
            capture: order.capture.into(),
            description: order.description.as_deref(),
            metadata: order.metadata.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect(),
            expires_at: order.expires_at.map(time),
        }
    }
}

impl TryFrom<Order<'_>> for now::Order {
    type Error = Malformed;

    fn try_from(order: Order<'_>) -> Result<now::Order, Malformed> {
        let currency = str::from_utf8(&order.currency).map_err(|_| malformed("currency"))?;
        let (amount, currency) = (now::Amount::new(order.amount)?, now::Currency::new(currency)?);
        let mut made = now::Order::new(amount, currency, order.source, order.destination)?;
        made = made.with_capture(order.capture.into());
        if let Some(description) = order.description {
            made = made.with_description(description)?;
        }
        if !order.metadata.is_sorted_by(|(one, _), (next, _)| one < next) {
            return Err(malformed("metadata"));
        }
        for (key, value) in &order.metadata {
            made = made.with_metadata(key, value)?;
        }
        made.expires_at = order.expires_at.map(from_time);
        Ok(made)
    }
}

#[derive(Serialize, Deserialize)]
struct Reply<'a> {
    code: &'a str,
    message: &'a str,
    #[serde(borrow)]
    reference: Option<&'a str>,
}

impl<'a> From<&'a now::Reply> for Reply<'a> {
    fn from(reply: &'a now::Reply) -> Reply<'a> {
        Reply { code: reply.code(), message: reply.message(), reference: reply.reference() }
    }
}

impl TryFrom<Reply<'_>> for now::Reply {
    type Error = Malformed;

    fn try_from(reply: Reply<'_>) -> Result<now::Reply, Malformed> {
        let mut made = now::Reply::new(reply.code, reply.message);
        if let Some(reference) = reply.reference {
            made = made.with_reference(reference);
        }
        let whole = made.code() == reply.code && made.message() == reply.message && made.reference() == reply.reference;
        if whole { Ok(made) } else { Err(malformed("reply")) }
    }
}

#[derive(Serialize, Deserialize)]
struct NextAction<'a> {
    url: &'a str,
    expires_at: Option<u64>,
}

impl<'a> From<&'a now::NextAction> for NextAction<'a> {
    fn from(action: &'a now::NextAction) -> NextAction<'a> {
        NextAction { url: &action.url, expires_at: action.expires_at.map(time) }
    }
}

impl From<NextAction<'_>> for now::NextAction {
    fn from(action: NextAction<'_>) -> now::NextAction {
        now::NextAction { url: action.url.to_owned(), expires_at: action.expires_at.map(from_time) }
    }
}

#[derive(Serialize, Deserialize)]
enum Finality {
    Hard, // 0
    Soft, // 1
}

mirror!(Finality, now::Finality: Hard Soft);

#[derive(Serialize, Deserialize)]
enum Lasting {
    /// 0. Nanoseconds are kept: what was recorded comes back equal.
    ForNow { retry_after: Option<(u64, u32)> },
    /// 1
    ForGood,
}

impl From<now::Lasting> for Lasting {
    fn from(lasting: now::Lasting) -> Lasting {
        match lasting {
            now::Lasting::ForNow { retry_after } => {
                Lasting::ForNow { retry_after: retry_after.map(|time| (time.as_secs(), time.subsec_nanos())) }
            }
            now::Lasting::ForGood => Lasting::ForGood,
        }
    }
}

impl TryFrom<Lasting> for now::Lasting {
    type Error = Malformed;

    fn try_from(lasting: Lasting) -> Result<now::Lasting, Malformed> {
        Ok(match lasting {
            Lasting::ForNow { retry_after: None } => now::Lasting::ForNow { retry_after: None },
            Lasting::ForNow { retry_after: Some((_, 1_000_000_000..)) } => return Err(malformed("retry_after")),
            Lasting::ForNow { retry_after: Some((seconds, nanos)) } => {
                now::Lasting::ForNow { retry_after: Some(Duration::new(seconds, nanos)) }
            }
            Lasting::ForGood => now::Lasting::ForGood,
        })
    }
}

#[derive(Serialize, Deserialize)]
enum Outcome<'a> {
    #[serde(borrow)]
    Succeeded(Reply<'a>), // 0
    Declined(Finality, #[serde(borrow)] Reply<'a>), // 1
    Pending(#[serde(borrow)] Option<NextAction<'a>>, #[serde(borrow)] Reply<'a>), // 2
    #[serde(borrow)]
    NotSent(Reply<'a>),         // 3
    Refused(Lasting, #[serde(borrow)] Reply<'a>),   // 4
    NotFound,                                       // 5
    #[serde(borrow)]
    Unknown(Reply<'a>),         // 6
}

impl<'a> From<&'a now::Outcome> for Outcome<'a> {
    fn from(outcome: &'a now::Outcome) -> Outcome<'a> {
        match outcome {
            now::Outcome::Succeeded(reply) => Outcome::Succeeded(reply.into()),
            now::Outcome::Declined(finality, reply) => Outcome::Declined((*finality).into(), reply.into()),
            now::Outcome::Pending(action, reply) => Outcome::Pending(action.as_ref().map(Into::into), reply.into()),
            now::Outcome::NotSent(reply) => Outcome::NotSent(reply.into()),
            now::Outcome::Refused(lasting, reply) => Outcome::Refused((*lasting).into(), reply.into()),
            now::Outcome::NotFound => Outcome::NotFound,
            now::Outcome::Unknown(reply) => Outcome::Unknown(reply.into()),
        }
    }
}

impl TryFrom<Outcome<'_>> for now::Outcome {
    type Error = Malformed;

    fn try_from(outcome: Outcome<'_>) -> Result<now::Outcome, Malformed> {
        Ok(match outcome {
            Outcome::Succeeded(reply) => now::Outcome::Succeeded(reply.try_into()?),
            Outcome::Declined(finality, reply) => now::Outcome::Declined(finality.into(), reply.try_into()?),
            Outcome::Pending(action, reply) => now::Outcome::Pending(action.map(Into::into), reply.try_into()?),
            Outcome::NotSent(reply) => now::Outcome::NotSent(reply.try_into()?),
            Outcome::Refused(lasting, reply) => now::Outcome::Refused(lasting.try_into()?, reply.try_into()?),
            Outcome::NotFound => now::Outcome::NotFound,
            Outcome::Unknown(reply) => now::Outcome::Unknown(reply.try_into()?),
        })
    }
}

#[derive(Serialize, Deserialize)]
enum Evidence<'a> {
    NoByteLeft, // 0
    Reply,      // 1
    Inquiry,    // 2
    Webhook,    // 3
    #[serde(borrow)]
    Person(Person<'a>), // 4
    Stopped,    // 5
}

impl<'a> From<&'a now::Evidence> for Evidence<'a> {
    fn from(evidence: &'a now::Evidence) -> Evidence<'a> {
        match evidence {
            now::Evidence::NoByteLeft => Evidence::NoByteLeft,
            now::Evidence::Reply => Evidence::Reply,
            now::Evidence::Inquiry => Evidence::Inquiry,
            now::Evidence::Webhook => Evidence::Webhook,
            now::Evidence::Person(person) => Evidence::Person(person.into()),
            now::Evidence::Stopped => Evidence::Stopped,
        }
    }
}

impl From<Evidence<'_>> for now::Evidence {
    fn from(evidence: Evidence<'_>) -> now::Evidence {
        match evidence {
            Evidence::NoByteLeft => now::Evidence::NoByteLeft,
            Evidence::Reply => now::Evidence::Reply,
            Evidence::Inquiry => now::Evidence::Inquiry,
            Evidence::Webhook => now::Evidence::Webhook,
            Evidence::Person(person) => now::Evidence::Person(person.into()),
            Evidence::Stopped => now::Evidence::Stopped,
        }
    }
}

#[derive(Serialize, Deserialize)]
struct Person<'a> {
    actor: &'a str,
    reason: &'a str,
}

impl<'a> From<&'a now::Person> for Person<'a> {
    fn from(person: &'a now::Person) -> Person<'a> {
        Person { actor: &person.actor, reason: &person.reason }
    }
}

impl From<Person<'_>> for now::Person {
    fn from(person: Person<'_>) -> now::Person {
        now::Person { actor: person.actor.to_owned(), reason: person.reason.to_owned() }
    }
}

#[derive(Serialize, Deserialize)]
enum ParkReason {
    Exhausted,                    // 0
    NotFoundWithoutDeduplication, // 1
    KeyExpired,                   // 2
    NoWayToKnow,                  // 3
    GatewayChanged,               // 4
    OrderExpired,                 // 5
    Defect,                       // 6
}

mirror!(ParkReason, now::ParkReason:
    Exhausted NotFoundWithoutDeduplication KeyExpired NoWayToKnow GatewayChanged OrderExpired Defect);

#[cfg(test)]
mod tests {
    use super::*;

    fn read(metadata: &[&'static str]) -> Result<now::Order, Malformed> {
        let made =
            now::Order::new(now::Amount::new(1).expect("legal"), now::Currency::new("USD").expect("legal"), "a", "b");
        let made = made.expect("legal");
        Order { metadata: metadata.iter().map(|key| (*key, "v")).collect(), ..Order::from(&made) }.try_into()
    }

    #[test]
    fn metadata_that_is_out_of_order_or_names_a_key_twice_was_never_written() {
        assert!(read(&["a", "b", "c"]).is_ok());
        assert!(read(&["b", "a"]).is_err());
        assert!(read(&["a", "a"]).is_err());
    }

    #[test]
    fn a_reply_comes_back_whole_and_one_that_would_be_cut_was_never_written() {
        let whole = now::Reply::new("ok", "done").with_reference("sb_1");
        assert_eq!(now::Reply::try_from(Reply::from(&whole)), Ok(whole));
        let (code, message, reference) = ("c".repeat(65), "m".repeat(257), "r".repeat(256));
        let reference = Some(reference.as_str());
        for reply in [
            Reply { code: &code, message: "m", reference: None },
            Reply { code: "c", message: &message, reference: None },
            Reply { code: "c", message: "m", reference },
            Reply { code: "c\n", message: "m", reference: Some("r") },
            Reply { code: "c", message: "m", reference: Some("") },
        ] {
            assert!(now::Reply::try_from(reply).is_err());
        }
    }
}
