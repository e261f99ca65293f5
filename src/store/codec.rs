//! The values, byte for byte. All numbers little-endian.
//!
//! ```text
//! pack   format u8 | 0 | crc u32 | rows, in the order of their ids: id [16] | lsn u64 | length u32 | payload
//! fork   format u8 | 1 | crc u32
//! mark   format u8 | store [16] | epoch u64 | applied u64 | chain u32 | crc u32
//! ```
//!
//! The crc is CRC-32 (IEEE) over the value's key, then the value without the crc itself: a value that sled hands out under
//! another key than its own is as bad as one with a flipped bit. The format is private, and no older one is ever read:
//! a store of another format is rebuilt.

use std::collections::BTreeMap;

use super::{Mark, Row};
use crate::{journal::Lsn, payment::PaymentId};

/// All values' format. A change of any, or of a payload's encoding, makes it the next number.
const FORMAT: u8 = 2;

const PACK: u8 = 0;
const FORK: u8 = 1;

const HEAD: usize = 2;
const ROW_HEADER: usize = 16 + 8 + 4;
const MARK_LENGTH: usize = 1 + 16 + 8 + 8 + 4 + 4;

const OTHER_FORMAT: &str = "it is of another format than this version writes";
const TOO_SHORT: &str = "it is cut short";
const WRONG_LENGTH: &str = "it is of the wrong length";
const WRONG_CRC: &str = "its checksum does not match";
const WRONG_KIND: &str = "it is neither a pack nor a fork";

/// A row's place in the journal and its payload, where they lie.
pub(super) type Packed<'a> = (Lsn, &'a [u8]);

/// What a key of the index leads to.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Node<'a> {
    /// Rows, by id.
    Pack(BTreeMap<PaymentId, Packed<'a>>),
    /// Longer keys have them.
    Fork,
}

pub(super) fn encode_pack(key: &[u8], rows: &BTreeMap<PaymentId, Packed<'_>>) -> Vec<u8> {
    let size = rows.values().map(|(_, payload)| ROW_HEADER + payload.len()).sum::<usize>();
    let mut value = Vec::with_capacity(HEAD + 4 + size);
    value.extend([FORMAT, PACK, 0, 0, 0, 0]);
    for (id, (lsn, payload)) in rows {
        value.extend(id.as_bytes());
        value.extend(lsn.get().to_le_bytes());
        value.extend(u32::try_from(payload.len()).unwrap_or(u32::MAX).to_le_bytes());
        value.extend(*payload);
    }
    seal(key, value)
}

pub(super) fn encode_fork(key: &[u8]) -> Vec<u8> {
    seal(key, vec![FORMAT, FORK, 0, 0, 0, 0])
}

fn seal(key: &[u8], mut value: Vec<u8>) -> Vec<u8> {
    let (head, rest) = value.split_at(HEAD);
    let told = crc(&[key, head, rest.get(4..).unwrap_or_default()]).to_le_bytes();
    value.iter_mut().skip(HEAD).zip(told).for_each(|(byte, new)| *byte = new);
    value
}

/// What the key leads to, or what is wrong with it.
pub(super) fn decode_node<'a>(key: &[u8], value: &'a [u8]) -> Result<Node<'a>, &'static str> {
    check_format(value)?;
    let (head, rest) = value.split_at_checked(HEAD).ok_or(TOO_SHORT)?;
    let (told, rows) = rest.split_first_chunk::<4>().ok_or(TOO_SHORT)?;
    if u32::from_le_bytes(*told) != crc(&[key, head, rows]) {
        return Err(WRONG_CRC);
    }
    match (head.last(), rows) {
        (Some(&PACK), rows) => decode_rows(rows).map(Node::Pack).ok_or(WRONG_LENGTH),
        (Some(&FORK), []) => Ok(Node::Fork),
        (Some(_) | None, _) => Err(WRONG_KIND),
    }
}

fn decode_rows(mut rest: &[u8]) -> Option<BTreeMap<PaymentId, Packed<'_>>> {
    let mut rows = BTreeMap::new();
    while !rest.is_empty() {
        let (id, after) = rest.split_first_chunk::<16>()?;
        let (lsn, after) = after.split_first_chunk::<8>()?;
        let (length, after) = after.split_first_chunk::<4>()?;
        let (payload, after) = after.split_at_checked(usize::try_from(u32::from_le_bytes(*length)).ok()?)?;
        rows.insert(PaymentId::from_bytes(*id), (Lsn::new(u64::from_le_bytes(*lsn)), payload));
        rest = after;
    }
    Some(rows)
}

/// A row of its own.
pub(super) fn row((lsn, payload): Packed<'_>) -> Row {
    Row { lsn, payload: payload.to_vec() }
}

pub(super) fn encode_mark(key: &[u8], mark: &Mark) -> Vec<u8> {
    let mut value = Vec::with_capacity(MARK_LENGTH);
    value.push(FORMAT);
    value.extend(mark.store);
    value.extend(mark.epoch.to_le_bytes());
    value.extend(mark.applied.get().to_le_bytes());
    value.extend(mark.chain.to_le_bytes());
    value.extend(crc(&[key, &value]).to_le_bytes());
    value
}

/// The mark, or what is wrong with it.
pub(super) fn decode_mark(key: &[u8], value: &[u8]) -> Result<Mark, &'static str> {
    check_format(value)?;
    if value.len() != MARK_LENGTH {
        return Err(WRONG_LENGTH);
    }
    let (rest, told) = value.split_last_chunk::<4>().ok_or(WRONG_LENGTH)?;
    if u32::from_le_bytes(*told) != crc(&[key, rest]) {
        return Err(WRONG_CRC);
    }
    let (rest, chain) = rest.split_last_chunk::<4>().ok_or(WRONG_LENGTH)?;
    let (rest, applied) = rest.split_last_chunk::<8>().ok_or(WRONG_LENGTH)?;
    let (rest, epoch) = rest.split_last_chunk::<8>().ok_or(WRONG_LENGTH)?;
    Ok(Mark {
        store: *rest.last_chunk::<16>().ok_or(WRONG_LENGTH)?,
        epoch: u64::from_le_bytes(*epoch),
        applied: Lsn::new(u64::from_le_bytes(*applied)),
        chain: u32::from_le_bytes(*chain),
    })
}

/// Asked first, because another format may have its checksum elsewhere.
fn check_format(value: &[u8]) -> Result<(), &'static str> {
    match value.first() {
        Some(&FORMAT) => Ok(()),
        Some(_) => Err(OTHER_FORMAT),
        None => Err(TOO_SHORT),
    }
}

fn crc(parts: &[&[u8]]) -> u32 {
    let mut hash = crc32fast::Hasher::new();
    parts.iter().for_each(|part| hash.update(part));
    hash.finalize()
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &[u8] = b"pkey";

    fn rows() -> BTreeMap<PaymentId, Packed<'static>> {
        let row = |first, lsn, payload: &'static [u8]| (PaymentId::from_bytes([first; 16]), (Lsn::new(lsn), payload));
        BTreeMap::from([row(1, 0x0102_0304_0506_0708, b"payload"), row(2, 9, b"")])
    }

    fn mark() -> Mark {
        Mark { store: [3; 16], epoch: 4, applied: Lsn::new(5), chain: 6 }
    }

    /// A change here is a change of format: give it the next number.
    #[test]
    fn the_bytes_of_format_2_never_change() {
        assert_eq!(
            hex(&encode_pack(KEY, &rows())),
            "020002f3ec48010101010101010101010101010101010807060504030201070000007061796c6f61640202020202020202020202020202020209000000000000000000\
             0000"
        );
        assert_eq!(hex(&encode_fork(KEY)), "0201c4eceb46");
        assert_eq!(
            hex(&encode_mark(KEY, &mark())),
            "02030303030303030303030303030303030400000000000000050000000000000006000000dd52bc65"
        );
    }

    #[test]
    fn what_was_packed_is_found_in_it() {
        let pack = encode_pack(KEY, &rows());
        assert_eq!(decode_node(KEY, &pack), Ok(Node::Pack(rows())));
        assert_eq!(decode_node(KEY, &encode_fork(KEY)), Ok(Node::Fork));
        let empty = encode_pack(KEY, &BTreeMap::new());
        assert_eq!(decode_node(KEY, &empty), Ok(Node::Pack(BTreeMap::new())));
    }

    #[test]
    fn every_flipped_bit_and_every_cut_is_noticed() {
        assert_notices_damage(encode_pack(KEY, &rows()), |value| decode_node(KEY, value).is_ok());
        assert_notices_damage(encode_fork(KEY), |value| decode_node(KEY, value).is_ok());
        assert_notices_damage(encode_mark(KEY, &mark()), |value| decode_mark(KEY, value).is_ok());
    }

    #[test]
    fn a_value_under_another_key_is_refused() {
        assert_eq!(decode_node(b"pkex", &encode_pack(KEY, &rows())), Err(WRONG_CRC));
        assert_eq!(decode_mark(b"n", &encode_mark(b"m", &mark())), Err(WRONG_CRC));
    }

    /// Whatever a checksum vouches for by chance.
    #[test]
    fn a_value_that_is_neither_or_ends_within_a_row_is_refused() {
        let odd = seal(KEY, vec![FORMAT, 7, 0, 0, 0, 0]);
        assert_eq!(decode_node(KEY, &odd), Err(WRONG_KIND));
        assert_eq!(decode_node(KEY, &seal(KEY, vec![FORMAT, FORK, 0, 0, 0, 0, 1])), Err(WRONG_KIND));
        assert_eq!(decode_node(KEY, &seal(KEY, vec![FORMAT, PACK, 0, 0, 0, 0, 1])), Err(WRONG_LENGTH));
    }

    fn assert_notices_damage(mut value: Vec<u8>, is_ok: impl Fn(&[u8]) -> bool) {
        assert!(is_ok(&value));
        for place in 0..value.len() * 8 {
            value[place / 8] ^= 1 << (place % 8);
            assert!(!is_ok(&value), "bit {place}");
            value[place / 8] ^= 1 << (place % 8);
        }
        for length in 0..value.len() {
            assert!(!is_ok(&value[..length]), "cut to {length}");
        }
    }

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }
}
