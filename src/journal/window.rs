//! A piece of a segment's file in memory.

use std::io;

use super::{bytes::to_usize, segment::SegmentFile};

/// How much is read at once.
const WINDOW: usize = 1 << 20;

/// The piece, and the file.
pub(super) struct Window {
    pub(super) file: SegmentFile,
    at: u64,
    bytes: Vec<u8>,
}

impl Window {
    pub(super) fn new(file: SegmentFile) -> Window {
        Window { file, at: 0, bytes: Vec::new() }
    }

    /// What is asked for next is read anew.
    pub(super) fn forget(&mut self) {
        self.bytes.clear();
    }

    /// Up to `length` bytes from `offset`; fewer where the file ends.
    pub(super) fn get(&mut self, offset: u64, length: usize) -> io::Result<&[u8]> {
        let within = offset.checked_sub(self.at).map(to_usize).filter(|skip| skip + length <= self.bytes.len());
        let skip = match within {
            Some(skip) => skip,
            None => {
                self.bytes = self.file.read(offset, length.max(WINDOW))?;
                self.at = offset;
                0
            }
        };
        let rest = self.bytes.get(skip..).unwrap_or_default();
        Ok(rest.get(..length).unwrap_or(rest))
    }
}
