//! The values, byte for byte. All numbers little-endian.
//!
//! ```text
//! row    format u8 | lsn u64 | crc u32 | payload, to the end
//! mark   format u8 | store [16] | epoch u64 | applied u64 | chain u32 | crc u32
//! ```
//!
//! The crc is CRC-32 (IEEE) over the value's key, then the value without the crc itself: a row that sled hands out under
//! another key than its own is as bad as one with a flipped bit. The format is private, and no older one is ever read:
//! a store of another format is rebuilt.

use super::{Mark, Row};
use crate::journal::Lsn;

/// Both values' format. A change of either, or of a payload's encoding, makes it the next number.
const FORMAT: u8 = 1;

const ROW_HEADER: usize = 1 + 8 + 4;
const MARK_LENGTH: usize = 1 + 16 + 8 + 8 + 4 + 4;

const OTHER_FORMAT: &str = "it is of another format than this version writes";
const TOO_SHORT: &str = "it is cut short";
const WRONG_LENGTH: &str = "it is of the wrong length";
const WRONG_CRC: &str = "its checksum does not match";

pub(super) fn encode_row(key: &[u8], row: &Row) -> Vec<u8> {
    let mut value = Vec::with_capacity(ROW_HEADER + row.payload.len());
    value.push(FORMAT);
    value.extend(row.lsn.get().to_le_bytes());
    value.extend(crc(&[key, &value, &row.payload]).to_le_bytes());
    value.extend(&row.payload);
    value
}

/// The row, or what is wrong with it.
pub(super) fn decode_row(key: &[u8], value: &[u8]) -> Result<Row, &'static str> {
    check_format(value)?;
    let (head, rest) = value.split_at_checked(ROW_HEADER - 4).ok_or(TOO_SHORT)?;
    let (told, payload) = rest.split_first_chunk::<4>().ok_or(TOO_SHORT)?;
    if u32::from_le_bytes(*told) != crc(&[key, head, payload]) {
        return Err(WRONG_CRC);
    }
    let lsn = head.last_chunk().ok_or(TOO_SHORT)?;
    Ok(Row { lsn: Lsn::new(u64::from_le_bytes(*lsn)), payload: payload.to_vec() })
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

    fn row() -> Row {
        Row { lsn: Lsn::new(0x0102_0304_0506_0708), payload: b"payload".to_vec() }
    }

    fn mark() -> Mark {
        Mark { store: [3; 16], epoch: 4, applied: Lsn::new(5), chain: 6 }
    }

    /// A change here is a change of format: give it the next number.
    #[test]
    fn the_bytes_of_format_1_never_change() {
        assert_eq!(hex(&encode_row(KEY, &row())), "0108070605040302015528c75d7061796c6f6164");
        assert_eq!(
            hex(&encode_mark(KEY, &mark())),
            "01030303030303030303030303030303030400000000000000050000000000000006000000bd6ddd3f"
        );
    }

    #[test]
    fn every_flipped_bit_and_every_cut_is_noticed() {
        assert_notices_damage(encode_row(KEY, &row()), |value| decode_row(KEY, value).is_ok());
        assert_notices_damage(encode_mark(KEY, &mark()), |value| decode_mark(KEY, value).is_ok());
    }

    #[test]
    fn a_value_under_another_key_is_refused() {
        assert_eq!(decode_row(b"pkex", &encode_row(KEY, &row())), Err(WRONG_CRC));
        assert_eq!(decode_mark(b"n", &encode_mark(b"m", &mark())), Err(WRONG_CRC));
    }

    #[test]
    fn an_empty_payload_is_a_payload() {
        let empty = Row { lsn: Lsn::ZERO, payload: Vec::new() };
        assert_eq!(decode_row(KEY, &encode_row(KEY, &empty)), Ok(empty));
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
