//! Format 3: records and rows that hold personal data, where it is sealed, or was erased. In bytes:
//!
//! ```text
//!  0  the version of the clear part: 1 or 2     1
//!  1  its length                                4
//!  5  the clear part, as that version writes it: in place of source and destination "-", no description, no metadata, and
//!     every request and body of no bytes
//!  n  0: what is personal was erased; nothing follows
//!     1: it is sealed                           1
//!        under the key of this id              16
//!        with this nonce                       24
//!        the sealed text, to the end
//! ```
//!
//! What is sealed is a [`Personal`], encoded as the others are, and bound to a label, the record's kind (0 for a row), and all
//! bytes before the nonce. Where the key was erased it is taken as erased; where the key is missing, or the seal does not
//! open, it is not read at all.
//!
//! Personal is what an order says beside money and time, the bytes that are sent to gateways, and the bodies of news from
//! them. What gateways say in words stays clear, as their codes and references do: decisions and answers are made of it.
//!
//! Knows nothing of frames, batches or files, or of whose key it is.

use std::{collections::BTreeMap, sync::Arc};

use serde::{Deserialize, Serialize};

use super::{
    Record,
    bytes::{Fields, to_u32},
    codec::{self, Malformed},
    seal::{Key, KeyId, NONCE, Seal},
};
use crate::payment::{Event, Fact, Order, Payment};

/// Bound to every seal. Frozen.
const LABEL: &[u8] = b"payonce format 3";

/// In place of a source and a destination.
const ABSENT: &str = "-";

const ERASED: u8 = 0;
const SEALED: u8 = 1;

/// What a record holds of persons. Frozen.
#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
struct Personal {
    /// None in a record without an order, or whose order was erased before.
    order: Option<Party>,
    /// The request of each operation, in their order; or the one body.
    bytes: Vec<Vec<u8>>,
}

/// What an order holds of persons. Frozen.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Party {
    source: String,
    destination: String,
    description: Option<String>,
    metadata: BTreeMap<String, String>,
}

impl Party {
    fn absent() -> Party {
        let absent = || ABSENT.to_owned();
        Party { source: absent(), destination: absent(), description: None, metadata: BTreeMap::new() }
    }
}

/// A record's payload in this version; `None`: it is to be written in another.
pub(super) fn record(record: &Record, kind: u8, key: Option<&Key>) -> Option<Vec<u8>> {
    let key = key.filter(|_| holds_personal(record));
    if !concerns(key, order_of(record)) {
        return None;
    }
    let mut clear = record.clone();
    let personal = take_from_record(&mut clear);
    write(kind, key, &personal, |out| codec::clear_record(&clear, out))
}

/// Reads what [`record`] wrote.
pub(super) fn read_record(payload: &[u8], kind: u8, seal: Option<&Seal>) -> Result<Record, Malformed> {
    read_with(payload, kind, |whole| whole.open(kind, seal))
}

/// The same, and what is sealed is taken as erased.
pub(super) fn read_clear(payload: &[u8], kind: u8) -> Result<Record, Malformed> {
    read_with(payload, kind, |_| Ok(None))
}

fn read_with(
    payload: &[u8],
    kind: u8,
    open: impl FnOnce(&Whole<'_>) -> Result<Option<Personal>, Malformed>,
) -> Result<Record, Malformed> {
    let whole = Whole::read(payload)?;
    let mut record = codec::read_clear_record(kind, whole.version, whole.clear)?;
    let has_order = order_of(&record).is_some();
    let count = check_clear(take_from_record(&mut record), has_order)?;
    if whole.sealed.is_none() && !has_order {
        return Err(mismatch()); // What holds nothing any more is written in another version.
    }
    match give_to_record(&mut record, open(&whole)?, count) {
        true => Ok(record),
        false => Err(mismatch()),
    }
}

/// A payment's bytes in this version; `None`: it is to be written in another.
pub(super) fn payment(payment: &Payment, kind: u8, key: Option<&Key>) -> Option<Vec<u8>> {
    let key = key.filter(|_| is_personal(payment));
    if !concerns(key, Some(&payment.order)) {
        return None;
    }
    let mut clear = payment.clone();
    let personal = take_from_payment(&mut clear);
    write(kind, key, &personal, |out| codec::clear_payment(&clear, out).then(|| codec::version_of(&clear)))
}

/// Reads what [`payment`] wrote.
pub(super) fn read_payment(payload: &[u8], kind: u8, seal: Option<&Seal>) -> Result<Payment, Malformed> {
    let whole = Whole::read(payload)?;
    let mut payment = codec::read_clear_payment(whole.version, whole.clear)?;
    let count = check_clear(take_from_payment(&mut payment), true)?;
    let personal = whole.open(kind, seal)?;
    match give_to_payment(&mut payment, personal, count) {
        true => Ok(payment),
        false => Err(mismatch()),
    }
}

/// What holds nothing personal needs no key, and without one only what was erased is written so.
fn concerns(key: Option<&Key>, order: Option<&Order>) -> bool {
    key.is_some() || order.is_some_and(|order| order.erased)
}

fn write(
    kind: u8,
    key: Option<&Key>,
    personal: &Personal,
    clear: impl FnOnce(&mut Vec<u8>) -> Option<u8>,
) -> Option<Vec<u8>> {
    let mut out = vec![0; 5];
    let version = clear(&mut out)?;
    let length = to_u32(out.len() - 5).to_le_bytes();
    out.iter_mut().zip([version].into_iter().chain(length)).for_each(|(byte, new)| *byte = new);
    match key {
        Some(key) => {
            let mut plain = Vec::new();
            codec::into(&mut plain, personal).then_some(())?;
            out.push(SEALED);
            out.extend_from_slice(&key.id.0);
            let (nonce, sealed) = key.close(&bound(kind, &out), &plain);
            out.extend_from_slice(&nonce);
            out.extend_from_slice(&sealed);
        }
        None => out.push(ERASED),
    }
    Some(out)
}

/// What a seal is bound to: it opens nowhere else.
fn bound(kind: u8, before: &[u8]) -> Vec<u8> {
    [LABEL, &[kind], before].concat()
}

/// A payload, taken apart.
struct Whole<'a> {
    version: u8,
    clear: &'a [u8],
    sealed: Option<Sealed<'a>>,
}

struct Sealed<'a> {
    before: &'a [u8],
    key: KeyId,
    nonce: [u8; NONCE],
    text: &'a [u8],
}

impl<'a> Whole<'a> {
    fn read(payload: &'a [u8]) -> Result<Whole<'a>, Malformed> {
        Whole::split(payload).ok_or_else(|| Malformed("a sealed record that is not whole".to_owned()))
    }

    fn split(payload: &'a [u8]) -> Option<Whole<'a>> {
        let mut fields = Fields(payload);
        let version = fields.u8()?;
        let length = fields.u32()?;
        let clear = fields.slice(length)?;
        let sealed = match fields.u8()? {
            ERASED => fields.0.is_empty().then_some(None)?,
            SEALED => {
                let key = KeyId(fields.bytes()?);
                let before = payload.get(..payload.len() - fields.0.len())?;
                Some(Sealed { before, key, nonce: fields.bytes()?, text: fields.0 })
            }
            _ => return None,
        };
        Some(Whole { version, clear, sealed })
    }

    /// What was sealed; `None`: it was erased.
    fn open(&self, kind: u8, seal: Option<&Seal>) -> Result<Option<Personal>, Malformed> {
        let Some(Sealed { before, key, nonce, text }) = &self.sealed else { return Ok(None) };
        let no_keys = || Malformed(format!("personal data is sealed under key {key}, and there are no keys here"));
        let opened = seal.ok_or_else(no_keys)?.open(*key, &bound(kind, before), nonce, text)?;
        opened.map(|plain| codec::from_bytes::<Personal>(&plain)).transpose()
    }
}

/// The clear part must say nothing of persons. How many requests or bodies it has a place for.
fn check_clear(found: Personal, has_order: bool) -> Result<usize, Malformed> {
    let absent = found.order == has_order.then(Party::absent) && found.bytes.iter().all(Vec::is_empty);
    if absent { Ok(found.bytes.len()) } else { Err(mismatch()) }
}

fn mismatch() -> Malformed {
    Malformed("the clear and the sealed part of a record do not belong together".to_owned())
}

/// The order in a record, if there is one.
fn order_of(record: &Record) -> Option<&Order> {
    match record {
        Record::Event(event) | Record::Relogged(event) => {
            if let Fact::Accepted { order, .. } = &event.fact {
                Some(order)
            } else {
                None
            }
        }
        Record::Carried(payment) => Some(&payment.order),
        Record::Inbox(_) | Record::Audit(_) | Record::Opened(_) | Record::Checkpoint(_) | Record::Closed(_) => None,
    }
}

/// Whether anything of a payment is personal: of one that was erased nothing is.
pub(super) fn is_personal(payment: &Payment) -> bool {
    !payment.order.erased || payment.operations.iter().any(|operation| !operation.request.is_empty())
}

/// Whether a record holds personal data. Every fact stands here: one that comes to hold some has to be taken and given below.
pub(super) fn holds_personal(record: &Record) -> bool {
    match record {
        Record::Event(event) | Record::Relogged(event) => match &event.fact {
            Fact::Accepted { order, .. } => !order.erased,
            Fact::Intended { request, .. } | Fact::Rerouted { request, .. } | Fact::Prepared { request, .. } => {
                !request.is_empty()
            }
            Fact::AttemptStarted { .. }
            | Fact::AttemptEnded { .. }
            | Fact::Learned { .. }
            | Fact::Parked { .. }
            | Fact::Unparked { .. }
            | Fact::Canceled { .. }
            | Fact::Contradicted { .. }
            | Fact::WindowClosed { .. } => false,
        },
        Record::Carried(payment) => is_personal(payment),
        Record::Inbox(news) => !news.body.is_empty(),
        Record::Audit(_) | Record::Opened(_) | Record::Checkpoint(_) | Record::Closed(_) => false,
    }
}

/// Takes out what is personal, and leaves what stands in its place.
fn take_from_record(record: &mut Record) -> Personal {
    match record {
        Record::Event(event) | Record::Relogged(event) => Personal {
            bytes: request_of(event).map(std::mem::take).into_iter().collect(),
            order: order_in(event).and_then(take_from_order),
        },
        Record::Carried(payment) => take_from_payment(payment),
        Record::Inbox(news) => Personal { order: None, bytes: vec![std::mem::take(&mut news.body)] },
        Record::Audit(_) | Record::Opened(_) | Record::Checkpoint(_) | Record::Closed(_) => Personal::default(),
    }
}

fn request_of(event: &mut Event) -> Option<&mut Vec<u8>> {
    let (Fact::Intended { request, .. } | Fact::Rerouted { request, .. } | Fact::Prepared { request, .. }) =
        &mut event.fact
    else {
        return None;
    };
    Some(request)
}

fn order_in(event: &mut Event) -> Option<&mut Order> {
    if let Fact::Accepted { order, .. } = &mut event.fact { Some(Arc::make_mut(order)) } else { None }
}

fn take_from_payment(payment: &mut Payment) -> Personal {
    let requests = payment.operations.iter_mut().map(|operation| std::mem::take(&mut operation.request));
    Personal { bytes: requests.collect(), order: take_from_order(Arc::make_mut(&mut payment.order)) }
}

fn take_from_order(order: &mut Order) -> Option<Party> {
    let absent = Party::absent();
    let party = Party {
        source: std::mem::replace(&mut order.source, absent.source),
        destination: std::mem::replace(&mut order.destination, absent.destination),
        description: order.description.take(),
        metadata: std::mem::take(&mut order.metadata),
    };
    // Of one that was erased before nothing is left: an empty source is nobody's.
    (!std::mem::replace(&mut order.erased, false)).then_some(party)
}

/// Puts back what was opened, or marks as erased. Whether the two belong together.
fn give_to_record(record: &mut Record, personal: Option<Personal>, count: usize) -> bool {
    match record {
        Record::Event(event) | Record::Relogged(event) => {
            let Some((order, bytes)) = parts(personal, count) else { return false };
            let mut request = bytes.into_iter();
            if let Some(place) = request_of(event) {
                *place = request.next().unwrap_or_default();
                return order.is_none();
            }
            order_in(event).is_some_and(|place| give_to_order(place, order))
        }
        Record::Carried(payment) => give_to_payment(payment, personal, count),
        Record::Inbox(news) => {
            let Some((None, bytes)) = parts(personal, count) else { return false };
            news.body = bytes.into_iter().next().unwrap_or_default();
            true
        }
        Record::Audit(_) | Record::Opened(_) | Record::Checkpoint(_) | Record::Closed(_) => false,
    }
}

fn give_to_payment(payment: &mut Payment, personal: Option<Personal>, count: usize) -> bool {
    let Some((order, bytes)) = parts(personal, count) else { return false };
    payment.operations.iter_mut().zip(bytes).for_each(|(operation, request)| operation.request = request);
    give_to_order(Arc::make_mut(&mut payment.order), order)
}

fn give_to_order(order: &mut Order, party: Option<Party>) -> bool {
    match party {
        Some(Party { source, destination, description, metadata }) => {
            *order = Order { source, destination, description, metadata, ..order.clone() };
        }
        None => *order = order.erased(),
    }
    true
}

/// The order and the requests; nothing of either where they were erased. `None`: there are not as many as there are places.
fn parts(personal: Option<Personal>, count: usize) -> Option<(Option<Party>, Vec<Vec<u8>>)> {
    match personal {
        Some(Personal { order, bytes }) => (bytes.len() == count).then_some((order, bytes)),
        None => Some((None, Vec::new())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        journal::samples,
        payment::{Kind, OperationRef},
    };

    fn event(fact: Fact) -> Record {
        let payment = samples::payment(&[]);
        Record::Event(Event { payment: payment.id, at: payment.created_at, fact })
    }

    fn accepted(order: Order) -> Record {
        let Payment { tenant, key, namespace, .. } = samples::payment(&[]);
        event(Fact::Accepted { tenant, key, namespace, order: Arc::new(order) })
    }

    fn order() -> Order {
        let order = Order::clone(&samples::payment(&[]).order).with_description("two coffees");
        order.and_then(|order| order.with_metadata("table", "7")).expect("legal")
    }

    fn carried(order: Order, request: &[u8]) -> Record {
        let mut payment = Payment { order: Arc::new(order), ..samples::payment(&[None]) };
        payment.operations[0].request = request.to_vec();
        Record::Carried(Box::new(payment))
    }

    fn prepared(request: &[u8]) -> Record {
        let operation = OperationRef { number: 0, kind: Kind::Charge, amount: order().amount };
        event(Fact::Prepared { operation, reference: "pi_1".to_owned(), request: request.to_vec() })
    }

    /// The frame of a record whose personal part was erased, with exactly this as the clear part.
    fn frame(clear: &Record) -> Vec<u8> {
        let kind = codec::encode_record(clear).expect("short")[4];
        let payload = write(kind, None, &Personal::default(), |out| codec::clear_record(clear, out)).expect("short");
        [&to_u32(payload.len()).to_le_bytes()[..], &[kind, 3], &payload].concat()
    }

    #[test]
    fn what_was_erased_is_written_as_erased_and_stays_so() {
        let record = accepted(order().erased());
        let bytes = codec::encode_record(&record).expect("short");
        assert_eq!((bytes[5], bytes.last(), codec::decode_record(&bytes)), (3, Some(&ERASED), Ok(record.clone())));
        let mut clear = record;
        take_from_record(&mut clear);
        assert_eq!(frame(&clear), bytes);
    }

    #[test]
    fn a_record_that_says_something_of_persons_beside_its_seal_is_refused() {
        let mut payment = samples::payment(&[None]);
        take_from_payment(&mut payment);
        let clear = Order::clone(&payment.order);
        assert!(codec::decode_record(&frame(&carried(clear.clone(), b""))).is_ok());
        for clear in [accepted(order()), carried(clear, b"to bob"), carried(order(), b"")] {
            let refused = codec::decode_record(&frame(&clear)).expect_err("not clear").to_string();
            assert!(refused.contains("do not belong together"), "{refused}");
        }
    }

    #[test]
    fn a_record_of_which_nothing_is_left_to_erase_is_in_another_version_or_refused() {
        assert_eq!(codec::encode_record(&prepared(b"")).expect("short")[5], 1);
        assert!(codec::decode_record(&frame(&prepared(b""))).is_err());
    }

    #[cfg(feature = "erasure")]
    #[test]
    fn what_is_sealed_is_opened_with_its_key_and_taken_as_erased_by_who_has_no_keys() {
        let disk: Arc<dyn crate::disk::Disk> = Arc::new(crate::sim::SimDisk::new());
        let seal = samples::seal(&disk);
        let key = seal.key_of(None).expect("space");
        for (record, erased) in [
            (accepted(order()), accepted(order().erased())),
            (prepared(b"to bob"), prepared(b"")),
            (carried(order(), b"to bob"), carried(order().erased(), b"")),
            (carried(order(), b""), carried(order().erased(), b"")),
            (samples::news(3), samples::news(0)),
        ] {
            let mut bytes = Vec::new();
            assert_eq!(codec::encode(&record, Some(&key), &mut bytes), Ok(3));
            let frame = codec::frames(&bytes, 1).expect("one").remove(0);
            assert_eq!((frame.decode(Some(&seal)), frame.decode_clear()), (Ok(record), Ok(erased.clone())));
            assert!(frame.decode(None).is_err(), "not read without keys: that would be taken for an erasure");
            let mut alike = Vec::new();
            codec::encode(&erased, Some(&key), &mut alike).expect("short");
            assert_eq!(alike, codec::encode_record(&erased).expect("short"), "nothing in it needs a key");
        }
        let erased = Payment { order: Arc::new(order().erased()), ..samples::payment(&[None]) };
        assert_eq!(payment(&erased, 0, Some(&key)), payment(&erased, 0, None));
    }

    #[cfg(feature = "erasure")]
    #[test]
    fn a_seal_opens_in_no_record_but_its_own() {
        let disk: Arc<dyn crate::disk::Disk> = Arc::new(crate::sim::SimDisk::new());
        let seal = samples::seal(&disk);
        let key = seal.key_of(None).expect("space");
        let mut bytes = Vec::new();
        codec::encode(&prepared(b"to bob"), Some(&key), &mut bytes).expect("short");
        let opens = |bytes: &[u8]| codec::frames(bytes, 1).expect("one").remove(0).decode(Some(&seal)).is_ok();
        assert!(opens(&bytes));
        let (event, relogged, payments_first) = (1, 2, codec::FRAME + 5);
        assert_eq!(bytes[4], event);
        for (place, other) in [(4, relogged), (payments_first, bytes[payments_first] ^ 1)] {
            let mut changed = bytes.clone();
            changed[place] = other;
            assert!(codec::decode_record(&changed).is_ok() && !opens(&changed), "byte {place}");
        }
    }
}
