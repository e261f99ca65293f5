//! RECORD. The write-ahead log: the truth.
//!
//! Knows nothing of deciding.

mod batch;

mod bytes;

mod codec;

mod damage;

mod folder;

mod format1;

mod reader;

mod record;

mod scan;

mod segment;

mod verdict;

mod walk;

mod writer;

pub use codec::{Malformed, decode_payment, encode_payment};
pub use damage::{Damage, OpenError};
pub use reader::{Entry, Reader, Records, Verified, dump, verify};
pub use record::{Checkpoint, Closed, Lsn, Opened, Position, Record};
pub use scan::{Found, ReplayFrom, open};
pub use segment::SpareMaker;
pub use writer::{AppendError, Appended, Begin, Journal};

use segment::HEADER;

/// Sizes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// How long a segment is made.
    pub segment_bytes: u64,
    /// Groups share a batch up to this much of the file.
    pub batch_bytes: u32,
    /// The most that one batch, and so one group, takes of the file.
    pub largest_batch_bytes: u32,
    /// How much of what is older than the last checkpoint is read at a start.
    pub verify_bytes: u64,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            // A minute or more at full speed, so that the spare is always ready; zeroed in a tenth of a second.
            segment_bytes: 64 << 20,
            // Takes a disk about as long to write as to sync: larger ones would only wait longer.
            batch_bytes: 1 << 20,
            // A payment whole, with the bytes of dozens of operations in doubt.
            largest_batch_bytes: LARGEST_BATCH,
            // Half a second at a checksum's speed.
            verify_bytes: 1 << 30,
        }
    }
}

/// See [`Options::largest_batch_bytes`].
const LARGEST_BATCH: u32 = 4 << 20;

/// The most that one step records: an order, in characters of up to four bytes, and its request, of up to 64 KiB, with
/// keys, identities and replies. It must fit in one batch: a group is never split.
const LARGEST_STEP: usize = {
    use crate::payment::{MAX_DESCRIPTION, MAX_METADATA, MAX_METADATA_KEY, MAX_METADATA_VALUE, MAX_PARTY};
    4 * (MAX_METADATA * (MAX_METADATA_KEY + MAX_METADATA_VALUE) + MAX_DESCRIPTION + 2 * MAX_PARTY)
        + (64 << 10)
        + (16 << 10)
};

const _: () = assert!(LARGEST_STEP < 1 << 20, "one step fits in one batch of the default size");

impl Options {
    /// Asserts how sizes relate.
    fn check(&self) {
        assert!(self.batch_bytes <= self.largest_batch_bytes, "the usual batch is no larger than the largest");
        let largest = u64::from(self.largest_batch_bytes);
        assert!(self.segment_bytes >= HEADER + largest, "a segment holds the largest batch");
        assert!(largest.is_multiple_of(batch::SECTOR) && self.segment_bytes.is_multiple_of(HEADER), "whole sectors");
    }
}
