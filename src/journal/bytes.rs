//! Fixed-width little-endian fields, one after the other.

/// The largest file offset and length are `u64`, and memory's are `usize`: on the machines that this runs on the two
/// are the same, and where they are not, what does not fit is out of every bound.
pub(super) fn to_usize(number: u64) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

/// See [`to_usize`].
pub(super) fn to_u64(number: usize) -> u64 {
    u64::try_from(number).unwrap_or(u64::MAX)
}

/// See [`to_usize`]. Lengths of records and batches: limits keep them far below.
pub(super) fn to_u32(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

/// Up to the next multiple of `unit`.
pub(super) fn round_up(number: u64, unit: u64) -> u64 {
    number.div_ceil(unit).saturating_mul(unit)
}

/// Whether every byte is zero; eight at a time, because whole segments are looked through.
pub(super) fn is_zero(bytes: &[u8]) -> bool {
    let (words, rest) = bytes.as_chunks::<64>();
    words.iter().all(|word| *word == [0; 64]) && rest.iter().all(|byte| *byte == 0)
}

/// Reads fields off the front of a slice.
pub(super) struct Fields<'a>(pub(super) &'a [u8]);

impl<'a> Fields<'a> {
    pub(super) fn bytes<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (field, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*field)
    }

    pub(super) fn slice(&mut self, length: u32) -> Option<&'a [u8]> {
        let (field, rest) = self.0.split_at_checked(usize::try_from(length).ok()?)?;
        self.0 = rest;
        Some(field)
    }

    pub(super) fn u8(&mut self) -> Option<u8> {
        self.bytes::<1>().map(|[byte]| byte)
    }

    pub(super) fn u16(&mut self) -> Option<u16> {
        self.bytes().map(u16::from_le_bytes)
    }

    pub(super) fn u32(&mut self) -> Option<u32> {
        self.bytes().map(u32::from_le_bytes)
    }

    pub(super) fn u64(&mut self) -> Option<u64> {
        self.bytes().map(u64::from_le_bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_are_rounded_up_to_whole_units() {
        for (number, rounded) in [(0, 0), (1, 512), (511, 512), (512, 512), (513, 1024)] {
            assert_eq!(round_up(number, 512), rounded);
        }
        assert_eq!(round_up(u64::MAX, 512), u64::MAX, "out of every bound, and no overflow");
    }

    #[test]
    fn numbers_keep_their_value_and_stop_at_the_largest() {
        assert_eq!((to_usize(77), to_u64(77), to_u32(77)), (77, 77, 77));
        assert_eq!(to_u32(usize::MAX), u32::MAX);
    }

    #[test]
    fn one_byte_anywhere_is_not_zero() {
        for length in [0, 1, 63, 64, 65, 200] {
            let mut bytes = vec![0; length];
            assert!(is_zero(&bytes), "{length} zeros");
            for place in 0..length {
                bytes[place] = 1;
                assert!(!is_zero(&bytes), "byte {place} of {length}");
                bytes[place] = 0;
            }
        }
    }

    #[test]
    fn fields_are_little_endian_one_after_the_other_and_never_past_the_end() {
        let mut fields = Fields(&[1, 2, 0, 3, 0, 0, 0, 4, 0, 0, 0, 0, 0, 0, 0, 5, 6, 7]);
        assert_eq!((fields.u8(), fields.u16(), fields.u32(), fields.u64()), (Some(1), Some(2), Some(3), Some(4)));
        assert_eq!((fields.slice(4), fields.slice(2)), (None, Some(&[5, 6][..])));
        assert_eq!((fields.u16(), fields.bytes::<2>()), (None, None));
        assert_eq!((fields.bytes(), fields.u8()), (Some([7]), None));
    }
}
