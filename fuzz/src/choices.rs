//! Choices made by bytes. When they run out, every choice is the first.

/// The bytes that are left.
pub(super) struct Choices<'a>(pub(super) &'a [u8]);

impl<'a> Choices<'a> {
    pub(super) fn is_done(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn byte(&mut self) -> u8 {
        self.take(1).first().copied().unwrap_or(0)
    }

    pub(super) fn word(&mut self) -> usize {
        usize::from(self.byte()) | usize::from(self.byte()) << 8
    }

    pub(super) fn long(&mut self) -> u64 {
        let mut bytes = [0; 8];
        self.take(8).iter().zip(&mut bytes).for_each(|(from, to)| *to = *from);
        u64::from_le_bytes(bytes)
    }

    /// One of `count`, which is at most 256.
    pub(super) fn below(&mut self, count: usize) -> usize {
        usize::from(self.byte()) % count.max(1)
    }

    /// Rarely: only the bytes from `0xF0` on say yes.
    pub(super) fn seldom(&mut self) -> bool {
        self.byte() >= 0xF0
    }

    pub(super) fn yes(&mut self) -> bool {
        self.byte() & 1 == 1
    }

    /// Up to `count` bytes.
    pub(super) fn take(&mut self, count: usize) -> &'a [u8] {
        let (taken, rest) = self.0.split_at(count.min(self.0.len()));
        self.0 = rest;
        taken
    }

    /// Mostly what is right; sometimes next to it, or anything.
    pub(super) fn deviate(&mut self, right: u64) -> u64 {
        match self.byte() {
            0xF0..=0xF3 => right.wrapping_add(1),
            0xF4..=0xF7 => right.wrapping_sub(1),
            0xF8..=0xFB => u64::MAX - u64::from(self.byte()),
            0xFC..=0xFF => self.long(),
            0..=0xEF => right,
        }
    }

    /// A text of up to `max` bytes; what is not UTF-8 is replaced.
    pub(super) fn text(&mut self, max: usize) -> String {
        let length = self.below(max + 1);
        String::from_utf8_lossy(self.take(length)).into_owned()
    }
}
