//! What many records or rows have in common, written once: an LZ4 block, after the length of what it holds, in four bytes.
//! The only place that names LZ4.

use super::bytes::{Fields, to_u32, to_usize};

/// No LZ4 block holds more than so many times its own length.
const MOST: usize = 255;

/// A block that holds these bytes.
pub(crate) fn pack(bytes: &[u8]) -> Vec<u8> {
    let mut block = to_u32(bytes.len()).to_le_bytes().to_vec();
    block.extend(lz4_flex::block::compress(bytes));
    block
}

/// What a block holds; `None` if it is none, or holds more than `limit` bytes. Never panics, nor takes memory for a length
/// that no block of its size has, whatever the bytes.
pub(crate) fn unpack(block: &[u8], limit: usize) -> Option<Vec<u8>> {
    let mut fields = Fields(block);
    let length = to_usize(fields.u32()?.into());
    if length > limit.min(fields.0.len().saturating_mul(MOST)) {
        return None;
    }
    let bytes = lz4_flex::block::decompress(fields.0, length).ok()?;
    (bytes.len() == length).then_some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_gives_back_what_it_holds_and_says_no_to_more_than_the_limit() {
        for length in [0, 1, 12, 13, 300, 70_000] {
            let bytes: Vec<u8> = (0..length).map(|at: usize| [7, 7, 9, (at / 5).to_le_bytes()[0]][at % 4]).collect();
            let block = pack(&bytes);
            assert_eq!(unpack(&block, length), Some(bytes));
            assert_eq!(length.checked_sub(1).and_then(|less| unpack(&block, less)), None, "{length}");
        }
        assert!(pack(&[5; 1000]).len() < 40);
    }

    #[test]
    fn what_is_no_block_is_refused_without_believing_its_length() {
        let block = pack(&[b"pay once, pay once, pay once, and pay".as_slice(); 9].concat());
        for length in 0..block.len() {
            assert_eq!(unpack(&block[..length], usize::MAX), None, "{length} bytes of it");
        }
        assert_eq!(unpack(&[block.as_slice(), &[0]].concat(), usize::MAX), None, "a byte too many");
        let boastful = [&u32::MAX.to_le_bytes(), &block[4..]].concat();
        assert_eq!(unpack(&boastful, usize::MAX), None, "four GB");
        let longer = [&(1_000_u32).to_le_bytes(), &block[4..]].concat();
        assert_eq!(unpack(&longer, 1_000), None, "less than it says");
        let shorter = [&(100_u32).to_le_bytes(), &block[4..]].concat();
        assert_eq!(unpack(&shorter, 1_000), None, "more than it says");
    }
}
