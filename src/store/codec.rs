//! The values, byte for byte. All numbers little-endian.
//!
//! ```text
//! pack   format u8 | crc u32 | where the next pack begins [16], zeros for nowhere | length of the rows u32 | the rows, as an
//!        LZ4 block: one after the other in the order of their ids: id [16] | lsn u64 | length u32 | payload
//! mark   format u8 | store [16] | epoch u64 | applied u64 | chain u32 | crc u32
//! ```
//!
//! The crc is CRC-32 (IEEE) over the value's key, then the value without the crc itself: a value that sled hands out under
//! another key than its own is as bad as one with a flipped bit. The format is private, and no older one is ever read:
//! a store of another format is rebuilt.
//!
//! Rows have much in common, and lie together by time: they are compressed.

use super::{Mark, keys};
use crate::{
    journal::{Lsn, block},
    payment::PaymentId,
};

/// All values' format. A change of any, or of a payload's encoding, makes it the next number.
const FORMAT: u8 = 4;

const ROW_HEADER: usize = 16 + 8 + 4;
const MARK_LENGTH: usize = 1 + 16 + 8 + 8 + 4 + 4;
/// Where a pack's crc is, and what it covers begins behind it.
const CRC: std::ops::Range<usize> = 1..5;

const OTHER_FORMAT: &str = "it is of another format than this version writes";
const TOO_SHORT: &str = "it is cut short";
const WRONG_LENGTH: &str = "it is of the wrong length";
const WRONG_CRC: &str = "its checksum does not match";

/// A row's place in the journal and its payload, where they lie.
pub(super) type Packed<'a> = (Lsn, &'a [u8]);

/// Rows, by id.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Pack {
    /// Where the next pack begins; none: it is the last.
    pub(super) until: Option<PaymentId>,
    /// Row after row.
    bytes: Vec<u8>,
}

impl Pack {
    /// In the order of their ids.
    pub(super) fn rows(&self) -> impl Iterator<Item = (PaymentId, Packed<'_>)> {
        let mut rest = self.bytes.as_slice();
        std::iter::from_fn(move || {
            let (row, after) = split_row(rest)?;
            rest = after;
            Some(row)
        })
    }
}

pub(super) fn encode_pack(key: &[u8], until: Option<PaymentId>, rows: &[(PaymentId, Packed<'_>)]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (id, (lsn, payload)) in rows {
        bytes.extend(id.as_bytes());
        bytes.extend(lsn.get().to_le_bytes());
        bytes.extend(u32::try_from(payload.len()).unwrap_or(u32::MAX).to_le_bytes());
        bytes.extend(*payload);
    }
    let mut value = vec![FORMAT, 0, 0, 0, 0];
    value.extend(until.unwrap_or(keys::FIRST).as_bytes());
    value.extend(block::pack(&bytes));
    seal(key, value)
}

fn seal(key: &[u8], mut value: Vec<u8>) -> Vec<u8> {
    let told = crc(&[key, &[FORMAT], value.get(CRC.end..).unwrap_or_default()]).to_le_bytes();
    value.iter_mut().skip(CRC.start).zip(told).for_each(|(byte, new)| *byte = new);
    value
}

/// The rows under a key, or what is wrong with them.
pub(super) fn decode_pack(key: &[u8], value: &[u8]) -> Result<Pack, &'static str> {
    check_format(value)?;
    let (_, rest) = value.split_at_checked(CRC.start).ok_or(TOO_SHORT)?;
    let (told, rest) = rest.split_first_chunk::<4>().ok_or(TOO_SHORT)?;
    if u32::from_le_bytes(*told) != crc(&[key, &[FORMAT], rest]) {
        return Err(WRONG_CRC);
    }
    let (until, rest) = rest.split_first_chunk::<16>().ok_or(TOO_SHORT)?;
    let bytes = block::unpack(rest, usize::MAX).ok_or(WRONG_LENGTH)?;
    let until = Some(PaymentId::from_bytes(*until)).filter(|until| *until != keys::FIRST);
    let pack = Pack { until, bytes };
    let whole = pack.rows().map(|(_, (_, payload))| ROW_HEADER + payload.len()).sum::<usize>() == pack.bytes.len();
    if whole { Ok(pack) } else { Err(WRONG_LENGTH) }
}

fn split_row(rest: &[u8]) -> Option<((PaymentId, Packed<'_>), &[u8])> {
    let (id, rest) = rest.split_first_chunk::<16>()?;
    let (lsn, rest) = rest.split_first_chunk::<8>()?;
    let (length, rest) = rest.split_first_chunk::<4>()?;
    let (payload, rest) = rest.split_at_checked(usize::try_from(u32::from_le_bytes(*length)).ok()?)?;
    Some(((PaymentId::from_bytes(*id), (Lsn::new(u64::from_le_bytes(*lsn)), payload)), rest))
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
    const UNTIL: PaymentId = PaymentId::from_bytes([7; 16]);

    fn rows() -> [(PaymentId, Packed<'static>); 2] {
        let row = |first, lsn, payload: &'static [u8]| (PaymentId::from_bytes([first; 16]), (Lsn::new(lsn), payload));
        [row(1, 0x0102_0304_0506_0708, b"payload"), row(2, 9, b"")]
    }

    fn mark() -> Mark {
        Mark { store: [3; 16], epoch: 4, applied: Lsn::new(5), chain: 6 }
    }

    /// A change here is a change of format: give it the next number. How the rows are compressed may change.
    #[test]
    fn the_bytes_of_format_4_never_change() {
        let pack = encode_pack(KEY, Some(UNTIL), &rows());
        assert_eq!(hex(&pack[..1]), "04");
        assert_eq!(hex(&pack[5..25]), "070707070707070707070707070707073f000000");
        assert_eq!(
            hex(&block::unpack(&pack[21..], 63).expect("a block")),
            "01010101010101010101010101010101080706050403020107000000\
             7061796c6f616402020202020202020202020202020202090000000000000000000000"
        );
        assert_eq!(
            hex(&encode_mark(KEY, &mark())),
            "040303030303030303030303030303030304000000000000000500000000000000060000001d2c7ed1"
        );
    }

    #[test]
    fn what_was_packed_is_found_in_it() {
        for until in [Some(UNTIL), None] {
            let pack = decode_pack(KEY, &encode_pack(KEY, until, &rows())).expect("whole");
            assert_eq!((pack.until, pack.rows().collect::<Vec<_>>()), (until, rows().to_vec()));
        }
        assert_eq!(decode_pack(KEY, &encode_pack(KEY, None, &[])), Ok(Pack::default()));
    }

    #[test]
    fn every_flipped_bit_and_every_cut_is_noticed() {
        assert_notices_damage(encode_pack(KEY, Some(UNTIL), &rows()), |value| decode_pack(KEY, value).is_ok());
        assert_notices_damage(encode_mark(KEY, &mark()), |value| decode_mark(KEY, value).is_ok());
    }

    #[test]
    fn a_value_under_another_key_is_refused() {
        assert_eq!(decode_pack(b"pkex", &encode_pack(KEY, None, &rows())), Err(WRONG_CRC));
        assert_eq!(decode_mark(b"n", &encode_mark(b"m", &mark())), Err(WRONG_CRC));
    }

    /// Whatever a checksum vouches for by chance.
    #[test]
    fn rows_that_end_within_one_or_are_no_block_or_claim_a_length_that_no_block_has_are_refused() {
        let sealed = |length: u32, block: &[u8]| {
            seal(KEY, [&[FORMAT, 0, 0, 0, 0][..], &[0; 16], &length.to_le_bytes(), block].concat())
        };
        let whole = encode_pack(KEY, None, &rows());
        assert!(decode_pack(KEY, &sealed(63, &whole[25..])).is_ok());
        for (length, block) in [(62, &whole[25..]), (64, &whole[25..]), (63, &[0xFF; 40]), (u32::MAX, &whole[25..])] {
            assert_eq!(decode_pack(KEY, &sealed(length, block)), Err(WRONG_LENGTH), "{length}");
        }
        let within = block::pack(&[1; 30]);
        assert_eq!(decode_pack(KEY, &sealed(30, &within[4..])), Err(WRONG_LENGTH));
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
