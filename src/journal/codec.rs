//! Records to bytes and back. The only place that names bincode.
//!
//! A record's frame: payload length (u32), kind (u8), version (u8), payload. A payload is decoded only after the batch
//! that holds it has matched its checksum, from a slice, with a limit.

use std::{fmt, io};

use bincode::Options as _;
use serde::{Deserialize, Serialize};

use crate::payment::{Event, Invalid, Payment};

use super::{
    Record,
    bytes::{Fields, to_u32},
    format1, format2, format3,
    seal::{Key, Seal},
};

/// A record's length, kind and version.
pub(super) const FRAME: usize = 6;
/// The largest payload, in bytes. The largest batch there may be has to hold it whole.
pub(super) const MAX_PAYLOAD: u64 = 4 << 20;
/// The version that is written of everything it has a place for.
const VERSION: u8 = 1;
/// Of what version 1 has no place for.
const VERSION_2: u8 = 2;
/// Of either, with personal data sealed or erased.
const VERSION_3: u8 = 3;

/// The kinds of records. Frozen.
mod kind {
    /// In place of a kind: a payment in the store.
    pub(super) const ROW: u8 = 0;
    pub(super) const EVENT: u8 = 1;
    pub(super) const RELOGGED: u8 = 2;
    pub(super) const CARRIED: u8 = 3;
    pub(super) const INBOX: u8 = 4;
    pub(super) const OPENED: u8 = 5;
    pub(super) const CHECKPOINT: u8 = 6;
    pub(super) const CLOSED: u8 = 7;
    pub(super) const AUDIT: u8 = 8;
}

/// Bytes that are not what this version writes, although their checksum matched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Malformed(pub(super) String);

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Malformed {}

impl From<Invalid> for Malformed {
    fn from(invalid: Invalid) -> Malformed {
        Malformed(format!("a recorded value is not legal: {invalid}"))
    }
}

/// A payment as the bytes of a store's row: a version byte, and what a `Carried` record holds. Nothing is sealed.
pub fn encode_payment(payment: &Payment) -> Vec<u8> {
    encode_under(payment, None)
}

/// Reads what [`encode_payment`] wrote. Never panics, whatever the bytes.
pub fn decode_payment(bytes: &[u8]) -> Result<Payment, Malformed> {
    decode_row(bytes, None)
}

/// As [`encode_payment`], with its personal data sealed under the key of its tenant, which is made if need be.
pub fn encode_row(payment: &Payment, seal: Option<&Seal>) -> io::Result<Vec<u8>> {
    let seal = seal.filter(|_| format3::is_personal(payment));
    let key = seal.map(|seal| seal.key_of(Some(&payment.tenant))).transpose()?;
    Ok(encode_under(payment, key.as_deref()))
}

/// What a payment with one operation takes, and some more: so that its row grows once.
const USUAL_ROW: usize = 512;

fn encode_under(payment: &Payment, key: Option<&Key>) -> Vec<u8> {
    if let Some(bytes) = format3::payment(payment, kind::ROW, key) {
        return [&[VERSION_3], bytes.as_slice()].concat();
    }
    let mut bytes = Vec::with_capacity(USUAL_ROW);
    bytes.push(version_of(payment));
    if !clear_payment(payment, &mut bytes) {
        bytes.clear();
    }
    bytes
}

/// Reads what [`encode_row`] wrote. What was erased of it stays erased. Never panics, whatever the bytes.
pub fn decode_row(bytes: &[u8], seal: Option<&Seal>) -> Result<Payment, Malformed> {
    match bytes.split_first() {
        Some((&VERSION_3, payload)) => format3::read_payment(payload, kind::ROW, seal),
        Some((version, payload)) => read_clear_payment(*version, payload),
        None => Err(Malformed("a payment of no bytes".to_owned())),
    }
}

/// In version 1 or 2. Into memory, and without a limit: a row may be longer than a record.
pub(super) fn clear_payment(payment: &Payment, out: &mut Vec<u8>) -> bool {
    let written = match version_of(payment) {
        VERSION => options_unlimited().serialize_into(out, &format1::Payment::from(payment)),
        _ => options_unlimited().serialize_into(out, &format2::Payment::from(payment)),
    };
    written.is_ok()
}

pub(super) fn read_clear_payment(version: u8, payload: &[u8]) -> Result<Payment, Malformed> {
    match version {
        VERSION => from_bytes::<format1::Payment<'_>>(payload)?.try_into(),
        VERSION_2 => from_bytes::<format2::Payment<'_>>(payload)?.try_into(),
        _ => Err(Malformed(format!("a payment of version {version}, which this payonce does not know"))),
    }
}

/// A record's frame, as in a batch; `None` if it is too long.
pub fn encode_record(record: &Record) -> Option<Vec<u8>> {
    let mut frame = Vec::new();
    encode(record, None, &mut frame).ok().map(|_| frame)
}

/// Reads one record's frame, as a start does once a batch's checksum has matched; but what is sealed in it is taken as
/// erased. Never panics, whatever the bytes.
pub fn decode_record(frame: &[u8]) -> Result<Record, Malformed> {
    match frames(frame, 1).as_deref() {
        Some([frame]) => frame.decode_clear(),
        Some(_) | None => Err(Malformed("not one record's frame".to_owned())),
    }
}

/// Appends the record's frame; with a key, its personal data is sealed under it. Returns the version that it is written in:
/// the oldest that has a place for all of it. `Err` with the length that would be too long; `out` is then as it was.
pub(super) fn encode(record: &Record, key: Option<&Key>, out: &mut Vec<u8>) -> Result<u8, u64> {
    let start = out.len();
    let (kind, clear) = kind_of(record);
    let sealed = format3::record(record, kind, key);
    let version = if sealed.is_some() { VERSION_3 } else { clear };
    out.extend_from_slice(&[0, 0, 0, 0, kind, version]);
    let written = match sealed {
        Some(payload) => {
            out.extend_from_slice(&payload);
            payload.len() <= usize::try_from(MAX_PAYLOAD).unwrap_or(usize::MAX)
        }
        None => encode_clear(record, version, out),
    };
    if !written {
        out.truncate(start);
        return Err(MAX_PAYLOAD);
    }
    let length = to_u32(out.len() - start - FRAME).to_le_bytes();
    out.iter_mut().skip(start).zip(length).for_each(|(byte, new)| *byte = new);
    Ok(version)
}

/// The payload in version 1 or 2, as [`kind_of`] says.
fn encode_clear(record: &Record, version: u8, out: &mut Vec<u8>) -> bool {
    match record {
        Record::Event(event) | Record::Relogged(event) => match format1::Event::of(event) {
            Some(written) if version == VERSION => into(out, &written),
            Some(_) | None => format2::Event::of(event).is_some_and(|written| into(out, &written)),
        },
        Record::Carried(payment) if version == VERSION_2 => into(out, &format2::Payment::from(payment.as_ref())),
        Record::Carried(payment) => into(out, &format1::Payment::from(payment.as_ref())),
        Record::Inbox(webhook) => into(out, &format1::Webhook::from(webhook)),
        Record::Opened(opened) => into(out, &format1::Opened::from(opened)),
        Record::Checkpoint(checkpoint) => into(out, &format1::Checkpoint::from(checkpoint)),
        Record::Closed(closed) => into(out, &format1::Closed::from(closed)),
        Record::Audit(audit) => into(out, &format1::Audit::from(audit)),
    }
}

/// Appends what a record holds, in version 1 or 2, which is returned.
pub(super) fn clear_record(record: &Record, out: &mut Vec<u8>) -> Option<u8> {
    let (_, version) = kind_of(record);
    encode_clear(record, version, out).then_some(version)
}

/// The kind, and the version.
fn kind_of(record: &Record) -> (u8, u8) {
    match record {
        Record::Event(event) => (kind::EVENT, version_of_event(event)),
        Record::Relogged(event) => (kind::RELOGGED, version_of_event(event)),
        Record::Carried(payment) => (kind::CARRIED, version_of(payment)),
        Record::Inbox(_) => (kind::INBOX, VERSION),
        Record::Opened(_) => (kind::OPENED, VERSION),
        Record::Checkpoint(_) => (kind::CHECKPOINT, VERSION),
        Record::Closed(_) => (kind::CLOSED, VERSION),
        Record::Audit(_) => (kind::AUDIT, VERSION),
    }
}

pub(super) fn version_of(payment: &Payment) -> u8 {
    if format1::fits(payment) { VERSION } else { VERSION_2 }
}

fn version_of_event(event: &Event) -> u8 {
    if format1::says_all(event) { VERSION } else { VERSION_2 }
}

/// A record's frame, taken apart but not decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Frame<'a> {
    kind: u8,
    version: u8,
    payload: &'a [u8],
}

impl Frame<'_> {
    /// Kinds that a start looks for without decoding the rest.
    pub(super) fn is_opened(&self) -> bool {
        self.kind == kind::OPENED
    }

    pub(super) fn is_checkpoint(&self) -> bool {
        self.kind == kind::CHECKPOINT
    }

    pub(super) fn is_closed(&self) -> bool {
        self.kind == kind::CLOSED
    }

    pub(super) fn is_audit(&self) -> bool {
        self.kind == kind::AUDIT
    }

    pub(super) fn version(&self) -> u8 {
        self.version
    }

    /// Its exact bytes.
    pub(super) fn bytes(&self) -> Vec<u8> {
        let length = to_u32(self.payload.len()).to_le_bytes();
        [&length[..], &[self.kind, self.version], self.payload].concat()
    }

    /// The record. What was erased of it stays erased; what is sealed is opened with these keys.
    pub(super) fn decode(&self, seal: Option<&Seal>) -> Result<Record, Malformed> {
        match self.version {
            VERSION => self.decode_version_1(),
            VERSION_2 => self.decode_version_2(),
            VERSION_3 => format3::read_record(self.payload, self.kind, seal),
            _ => Err(self.unknown()),
        }
    }

    /// The record without what is sealed of it, as though that had been erased.
    pub(super) fn decode_clear(&self) -> Result<Record, Malformed> {
        match self.version {
            VERSION_3 => format3::read_clear(self.payload, self.kind),
            _ => self.decode(None),
        }
    }

    fn decode_version_1(&self) -> Result<Record, Malformed> {
        let payload = self.payload;
        Ok(match self.kind {
            kind::EVENT => Record::Event(from_bytes::<format1::Event<'_>>(payload)?.try_into()?),
            kind::RELOGGED => Record::Relogged(from_bytes::<format1::Event<'_>>(payload)?.try_into()?),
            kind::CARRIED => Record::Carried(Box::new(from_bytes::<format1::Payment<'_>>(payload)?.try_into()?)),
            kind::INBOX => Record::Inbox(from_bytes::<format1::Webhook<'_>>(payload)?.into()),
            kind::OPENED => Record::Opened(from_bytes::<format1::Opened>(payload)?.into()),
            kind::CHECKPOINT => Record::Checkpoint(from_bytes::<format1::Checkpoint>(payload)?.into()),
            kind::CLOSED => Record::Closed(from_bytes::<format1::Closed>(payload)?.into()),
            kind::AUDIT => Record::Audit(from_bytes::<format1::Audit<'_>>(payload)?.into()),
            _ => return Err(self.unknown()),
        })
    }

    fn decode_version_2(&self) -> Result<Record, Malformed> {
        let payload = self.payload;
        Ok(match self.kind {
            kind::EVENT => Record::Event(from_bytes::<format2::Event<'_>>(payload)?.try_into()?),
            kind::RELOGGED => Record::Relogged(from_bytes::<format2::Event<'_>>(payload)?.try_into()?),
            kind::CARRIED => Record::Carried(Box::new(from_bytes::<format2::Payment<'_>>(payload)?.try_into()?)),
            _ => return Err(self.unknown()),
        })
    }

    fn unknown(&self) -> Malformed {
        let (kind, version) = (self.kind, self.version);
        Malformed(format!(
            "a record of kind {kind}, version {version}, which this payonce does not know: use a newer one"
        ))
    }
}

/// Reads what [`clear_record`] wrote.
pub(super) fn read_clear_record(kind: u8, version: u8, payload: &[u8]) -> Result<Record, Malformed> {
    let frame = Frame { kind, version, payload };
    match version {
        VERSION | VERSION_2 => frame.decode(None),
        _ => Err(frame.unknown()),
    }
}

/// Takes a batch's frames apart; `None` if they do not fill it exactly.
pub(super) fn frames(bytes: &[u8], count: u32) -> Option<Vec<Frame<'_>>> {
    let mut fields = Fields(bytes);
    let mut frames = Vec::new();
    for _ in 0..count {
        let (length, kind, version) = (fields.u32()?, fields.u8()?, fields.u8()?);
        frames.push(Frame { kind, version, payload: fields.slice(length)? });
    }
    fields.0.is_empty().then_some(frames)
}

pub(super) fn into<T: Serialize>(out: &mut Vec<u8>, value: &T) -> bool {
    options().serialize_into(out, value).is_ok()
}

pub(super) fn from_bytes<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> Result<T, Malformed> {
    options().deserialize(bytes).map_err(|error| Malformed(format!("a record cannot be decoded: {error}")))
}

/// The encoding: fixed-width integers, little-endian, nothing after the value, up to [`MAX_PAYLOAD`].
fn options() -> impl bincode::Options {
    options_unlimited().with_limit(MAX_PAYLOAD)
}

fn options_unlimited() -> impl bincode::Options {
    bincode::DefaultOptions::new().with_fixint_encoding().with_little_endian().reject_trailing_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        journal::{Checkpoint, Closed, Opened, bytes::to_usize},
        payment::{Timestamp, Webhook},
    };

    fn news(bytes: usize) -> Record {
        let (gateway, event_id, at) = ("a".to_owned(), "b".to_owned(), Timestamp::default());
        Record::Inbox(Webhook { gateway, event_id, at, operation_key: None, body: vec![7; bytes] })
    }

    fn frame_of(bytes: &[u8]) -> Frame<'_> {
        frames(bytes, 1).expect("one frame").remove(0)
    }

    #[test]
    fn a_kind_or_version_that_is_not_known_is_refused_by_name() {
        let mut bytes = Vec::new();
        encode(&Record::Opened(Opened::default()), None, &mut bytes).expect("short");
        assert_eq!(frame_of(&bytes).decode(None), Ok(Record::Opened(Opened::default())));
        for (place, name) in [(4, "kind 200, version 1"), (5, "kind 5, version 200")] {
            let mut bytes = bytes.clone();
            bytes[place] = 200;
            let refused = frame_of(&bytes).decode(None).expect_err("unknown").to_string();
            assert!(refused.contains(name), "{refused}");
        }
    }

    #[test]
    fn frames_that_do_not_fill_their_batch_are_refused() {
        let mut bytes = Vec::new();
        encode(&Record::Opened(Opened::default()), None, &mut bytes).expect("short");
        assert!(frames(&bytes, 1).is_some());
        assert!(frames(&bytes, 0).is_none() && frames(&bytes, 2).is_none() && frames(&bytes, u32::MAX).is_none());
        bytes[..4].copy_from_slice(&u32::MAX.to_le_bytes());
        assert!(frames(&bytes, 1).is_none(), "a length is not believed");
    }

    #[test]
    fn a_payload_with_a_byte_too_many_or_too_few_is_refused() {
        let mut bytes = Vec::new();
        encode(&Record::Opened(Opened::default()), None, &mut bytes).expect("short");
        let payload = &bytes[FRAME..];
        let longer = [payload, &[0]].concat();
        for payload in [&payload[1..], &longer, &[]] {
            assert!(Frame { kind: kind::OPENED, version: VERSION, payload }.decode(None).is_err());
        }
    }

    #[test]
    fn a_start_tells_the_kinds_that_it_looks_for_from_all_others() {
        for (record, kinds) in [
            (Record::Opened(Opened::default()), [true, false, false]),
            (Record::Checkpoint(Checkpoint::default()), [false, true, false]),
            (Record::Closed(Closed::default()), [false, false, true]),
            (news(1), [false, false, false]),
        ] {
            let bytes = encode_record(&record).expect("short");
            let frame = frame_of(&bytes);
            assert_eq!([frame.is_opened(), frame.is_checkpoint(), frame.is_closed()], kinds);
            assert_eq!((frame.bytes(), decode_record(&bytes)), (bytes.clone(), Ok(record)));
        }
    }

    #[test]
    fn a_record_too_long_for_any_batch_leaves_what_was_being_put_together_as_it_was() {
        let mut bytes = b"before".to_vec();
        assert_eq!(encode(&news(to_usize(MAX_PAYLOAD)), None, &mut bytes), Err(MAX_PAYLOAD));
        assert_eq!((bytes.as_slice(), encode_record(&news(to_usize(MAX_PAYLOAD)))), (&b"before"[..], None));
        encode(&news(9), None, &mut bytes).expect("short");
        assert_eq!(bytes[b"before".len()..], encode_record(&news(9)).expect("short"));
    }

    #[test]
    fn what_cannot_be_read_is_named() {
        assert_eq!(decode_record(b"").expect_err("nothing").to_string(), "not one record's frame");
        assert_eq!(decode_payment(b"").expect_err("nothing").to_string(), "a payment of no bytes");
        let refused = Malformed::from(crate::payment::Amount::new(0).expect_err("nothing"));
        assert!(refused.to_string().starts_with("a recorded value is not legal: amount must be"), "{refused}");
    }
}
