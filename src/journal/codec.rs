//! Records to bytes and back. The only place that names bincode.
//!
//! A record's frame: payload length (u32), kind (u8), version (u8), payload. A payload is decoded only after the batch
//! that holds it has matched its checksum, from a slice, with a limit.

use std::fmt;

use bincode::Options as _;
use serde::{Deserialize, Serialize};

use crate::payment::{Event, Invalid, Payment};

use super::{
    Record,
    bytes::{Fields, to_u32},
    format1, format2,
};

/// A record's length, kind and version.
pub(super) const FRAME: usize = 6;
/// The largest payload, in bytes. The largest batch there may be has to hold it whole.
pub(super) const MAX_PAYLOAD: u64 = 4 << 20;
/// The version that is written of everything it has a place for.
const VERSION: u8 = 1;
/// Of what version 1 has no place for.
const VERSION_2: u8 = 2;

/// The kinds of records. Frozen.
mod kind {
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

/// A payment as the bytes of a store's row: a version byte, and what a `Carried` record holds.
pub fn encode_payment(payment: &Payment) -> Vec<u8> {
    let version = version_of(payment);
    let mut bytes = vec![version];
    // Into memory, and without a limit: a row may be longer than a record.
    let written = match version {
        VERSION => options_unlimited().serialize_into(&mut bytes, &format1::Payment::from(payment)),
        _ => options_unlimited().serialize_into(&mut bytes, &format2::Payment::from(payment)),
    };
    if written.is_err() {
        bytes.clear();
    }
    bytes
}

/// Reads what [`encode_payment`] wrote. Never panics, whatever the bytes.
pub fn decode_payment(bytes: &[u8]) -> Result<Payment, Malformed> {
    match bytes.split_first() {
        Some((&VERSION, payload)) => from_bytes::<format1::Payment<'_>>(payload)?.try_into(),
        Some((&VERSION_2, payload)) => from_bytes::<format2::Payment<'_>>(payload)?.try_into(),
        Some((version, _)) => {
            Err(Malformed(format!("a payment of version {version}, which this payonce does not know")))
        }
        None => Err(Malformed("a payment of no bytes".to_owned())),
    }
}

/// A record's frame, as in a batch; `None` if it is too long.
pub fn encode_record(record: &Record) -> Option<Vec<u8>> {
    let mut frame = Vec::new();
    encode(record, &mut frame).ok().map(|()| frame)
}

/// Reads one record's frame, as a start does once a batch's checksum has matched. Never panics, whatever the bytes.
pub fn decode_record(frame: &[u8]) -> Result<Record, Malformed> {
    match frames(frame, 1).as_deref() {
        Some([frame]) => frame.decode(),
        Some(_) | None => Err(Malformed("not one record's frame".to_owned())),
    }
}

/// The version that a record is written in: the oldest that has a place for all of it.
pub(super) fn version(record: &Record) -> u8 {
    kind_of(record).1
}

/// Appends the record's frame. `Err` with the length that would be too long; `out` is then as it was.
pub(super) fn encode(record: &Record, out: &mut Vec<u8>) -> Result<(), u64> {
    let start = out.len();
    let (kind, version) = kind_of(record);
    out.extend_from_slice(&[0, 0, 0, 0, kind, version]);
    let written = match record {
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
    };
    if !written {
        out.truncate(start);
        return Err(MAX_PAYLOAD);
    }
    let length = to_u32(out.len() - start - FRAME).to_le_bytes();
    out.iter_mut().skip(start).zip(length).for_each(|(byte, new)| *byte = new);
    Ok(())
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

fn version_of(payment: &Payment) -> u8 {
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

    /// The record.
    pub(super) fn decode(&self) -> Result<Record, Malformed> {
        let payload = self.payload;
        match (self.kind, self.version) {
            (_, VERSION) => {}
            (_, VERSION_2) => return self.decode_version_2(),
            _ => return Err(self.unknown()),
        }
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

fn into<T: Serialize>(out: &mut Vec<u8>, value: &T) -> bool {
    options().serialize_into(out, value).is_ok()
}

fn from_bytes<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> Result<T, Malformed> {
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
        encode(&Record::Opened(Opened::default()), &mut bytes).expect("short");
        assert_eq!(frame_of(&bytes).decode(), Ok(Record::Opened(Opened::default())));
        for (place, name) in [(4, "kind 200, version 1"), (5, "kind 5, version 200")] {
            let mut bytes = bytes.clone();
            bytes[place] = 200;
            let refused = frame_of(&bytes).decode().expect_err("unknown").to_string();
            assert!(refused.contains(name), "{refused}");
        }
    }

    #[test]
    fn frames_that_do_not_fill_their_batch_are_refused() {
        let mut bytes = Vec::new();
        encode(&Record::Opened(Opened::default()), &mut bytes).expect("short");
        assert!(frames(&bytes, 1).is_some());
        assert!(frames(&bytes, 0).is_none() && frames(&bytes, 2).is_none() && frames(&bytes, u32::MAX).is_none());
        bytes[..4].copy_from_slice(&u32::MAX.to_le_bytes());
        assert!(frames(&bytes, 1).is_none(), "a length is not believed");
    }

    #[test]
    fn a_payload_with_a_byte_too_many_or_too_few_is_refused() {
        let mut bytes = Vec::new();
        encode(&Record::Opened(Opened::default()), &mut bytes).expect("short");
        let payload = &bytes[FRAME..];
        let longer = [payload, &[0]].concat();
        for payload in [&payload[1..], &longer, &[]] {
            assert!(Frame { kind: kind::OPENED, version: VERSION, payload }.decode().is_err());
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
        assert_eq!(encode(&news(to_usize(MAX_PAYLOAD)), &mut bytes), Err(MAX_PAYLOAD));
        assert_eq!((bytes.as_slice(), encode_record(&news(to_usize(MAX_PAYLOAD)))), (&b"before"[..], None));
        encode(&news(9), &mut bytes).expect("short");
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
