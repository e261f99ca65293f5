//! What many records have in common, written once: an LZ4 block, after the length of what it holds, in four bytes.

use super::bytes::{Fields, to_u32, to_usize};

/// A block that holds these bytes.
pub(super) fn pack(bytes: &[u8]) -> Vec<u8> {
    let mut block = to_u32(bytes.len()).to_le_bytes().to_vec();
    block.extend(lz4_flex::block::compress(bytes));
    block
}

/// What a block holds; `None` if it is none, or holds more than `limit`. Never panics, whatever the bytes.
pub(super) fn unpack(block: &[u8], limit: u32) -> Option<Vec<u8>> {
    let mut fields = Fields(block);
    let length = fields.u32().filter(|length| *length <= limit)?;
    let bytes = lz4_flex::block::decompress(fields.0, to_usize(length.into())).ok()?;
    (to_u32(bytes.len()) == length).then_some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_gives_back_what_it_holds_and_says_no_to_more_than_the_limit() {
        for length in [0, 1, 12, 13, 300, 70_000] {
            let bytes: Vec<u8> = (0..length).map(|at: usize| [7, 7, 9, (at / 5).to_le_bytes()[0]][at % 4]).collect();
            let block = pack(&bytes);
            let exact = to_u32(length);
            assert_eq!(unpack(&block, exact), Some(bytes));
            assert_eq!(exact.checked_sub(1).and_then(|less| unpack(&block, less)), None, "{length}");
        }
        assert!(pack(&[5; 1000]).len() < 40);
    }

    #[test]
    fn what_is_no_block_is_refused_without_believing_its_length() {
        let block = pack(&[b"pay once, pay once, pay once, and pay".as_slice(); 9].concat());
        for length in 0..block.len() {
            assert_eq!(unpack(&block[..length], u32::MAX >> 8), None, "{length} bytes of it");
        }
        assert_eq!(unpack(&[block.as_slice(), &[0]].concat(), u32::MAX >> 8), None, "a byte too many");
        let longer = [&(1_000_u32).to_le_bytes(), &block[4..]].concat();
        assert_eq!(unpack(&longer, 1_000), None, "less than it says");
        let shorter = [&(100_u32).to_le_bytes(), &block[4..]].concat();
        assert_eq!(unpack(&shorter, 1_000), None, "more than it says");
    }
}
