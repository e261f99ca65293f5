//! RECORD. The write-ahead log: the truth.
//!
//! A journal is a line of segments, files under `journal/`; a segment is a header and batches; a batch is the records
//! under one fsync. All integers are little-endian. Format 1:
//!
//! ```text
//! segment    0 +------------------------------------------+
//!              | header                           4096 B  |  written and fsynced before the first batch
//!         4096 +------------------------------------------+
//!              | batch          a multiple of     512 B   |  one write, one fdatasync each
//!              +------------------------------------------+
//!              | batch                                    |
//!              +------------------------------------------+
//!              | zeros, to the length it was made with    |  given back once a later start counts
//!              +------------------------------------------+
//!
//! header     0  magic "PAYONCEJ"        8        batch      0  magic "POB1"             4
//!            8  format: 1               4                   4  length, of all but       4
//!           12  largest batch, bytes    4                      the padding
//!           16  length as made, bytes   8                   8  epoch                    8
//!           24  the folder's uuid      16                  16  salt                     8
//!           40  boot id                16                  24  first LSN                8
//!           56  epoch                   8                  32  durable before: LSN      8
//!           64  salt                    8                  40  wall time, ms            8
//!           72  number                  8                  48  number of records        4
//!           80  lock file's inode       8                  52  chain before it          4
//!           88  predecessor's number,   8                  56  sectors zero by content  2
//!               0 for none                                 58  packed: 0 or 1           1
//!           96  its proven end:                            59  CRC of 0..59             4
//!               offset                  8                  63  end stamp: E5            1
//!               next LSN                8                  64  records
//!               chain                   4                   n  chain after it           4
//!          116  its seen end, likewise 20                 n+4  zero                     3
//!          136  zeros                                     n+7  end stamp: E5            1
//!         4088  CRC of 0..4088          4                 n+8  zeros to the sector's end
//!         4092  zeros                   3
//!         4095  end stamp: E5           1        record     0  payload length           4
//!                                                           4  kind                     1
//!                                                           5  version                  1
//!                                                           6  payload: see `format1` to 3
//! ```
//!
//! In place of its records a packed batch has one block (`block`): their length in 4 bytes, and an LZ4 block of them, so
//! that what they have in common is written once. Unpacked they would fit into the largest batch too. A batch is packed if
//! that takes fewer sectors, and its folder's file `format` allows it: see `level`.
//!
//! The CRC is CRC-32 (ISO-HDLC). The chain is the same CRC over a batch's header and what follows it, as it stands,
//! seeded with the chain before it; a segment's first batch is seeded with its header's CRC. The first record of a
//! segment has the LSN that its predecessor's seen end names as the next. An empty batch has no records and only shows
//! that all before it is durable; so does any batch, for those before it, and a header, for its predecessor up to the
//! *proven* end.
//!
//! **What is valid.** A batch is, if its header and its chain match, and it continues the one before. At most one batch is
//! ever not fsynced, so only the last one may be torn: it is, if its end stamp, or a sector that was written with content,
//! reads zero, nothing was written after it, and nothing says that it was durable. A torn batch was never acknowledged; it
//! is stepped over, and kept. Everything else is damage, and refused. The whole table is in `verdict`.
//!
//! **Epochs.** Every start makes a new epoch, in a new segment, and changes nothing that earlier ones wrote. It records
//! again what lacks evidence of being durable (between the *proven* and the *seen* end; the originals are *superseded*, and
//! may be lost from then on), carries what is unresolved, and ends with `Opened`. Without a valid `Opened` an epoch does not
//! count: the next start goes back to where this one began. The segments that count are those of the newest epoch that
//! has its `Opened`, and all that they follow, header by header, to the first. A last one without a batch does not count
//! either: its header may have been seen without being durable.
//!
//! **Versions.** A record is written in the oldest version that has a place for all of it, and never in a newer one than the
//! folder's file `format` allows: see `level`.
//!
//! **Personal data.** Where that was asked for, what a record holds of persons is sealed under a key for each tenant, and goes
//! with that key: see `format3` and `seal`. Everything that says what money did stays clear.
//!
//! **Assumed of the disk.** What was fsynced stays, and does not read as zeros later. A sector of 512 bytes is written
//! whole; only the last one that a stop finds under way may have been written in part, front to back. No bit flips in a
//! sector of the last batch that holds nothing but that bit: then it reads as if it had never been written. Within the
//! bytes that a finished fsync covers nothing changes unless it is written. A file that was zero-filled and fsynced needs
//! no more space when it is overwritten.
//!
//! Knows nothing of deciding, of what a record means, of stores, gateways, threads or clocks.

mod batch;

pub(crate) mod block;

mod bytes;

mod codec;

mod copy;

mod damage;

mod folder;

mod format1;

mod format2;

mod format3;

mod level;

mod quote;

mod reader;

mod record;

#[cfg(test)]
mod samples;

mod scan;

mod seal;

mod segment;

mod verdict;

mod walk;

mod window;

mod writer;

pub use codec::{Malformed, decode_payment, decode_record, decode_row, encode_payment, encode_record, encode_row};
pub use damage::{Damage, OpenError};
pub use level::{NEWEST_VERSION, finalize, level};
pub use quote::Quote;
pub use reader::{Audits, Entry, Reader, Records, Verified, dump, verify, verify_shut};
pub use record::{Checkpoint, Closed, Lsn, Opened, Position, Record};
pub use scan::{Found, ReplayFrom, open, open_shut, open_without};
pub use seal::{Erased, KEYS, SEALED, Seal};
pub use segment::SpareMaker;
pub use writer::{AppendError, Appended, Begin, Journal};

use segment::HEADER;

/// Sizes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// How long a segment is made.
    pub segment_bytes: u64,
    /// Groups share a batch up to this much, as they are before they are packed.
    pub batch_bytes: u32,
    /// The most that one batch, and so one group, takes of the file.
    pub largest_batch_bytes: u32,
    /// How much of what is older than the last checkpoint is read at a start.
    pub verify_bytes: u64,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            // Seconds at full speed, in which the next one is made beside; zeroed in some tenths of one.
            segment_bytes: 64 << 20,
            // Takes a disk about as long to write as to sync, at the most: larger ones would only wait longer.
            batch_bytes: 1 << 20,
            // A payment whole, with the bytes of dozens of operations in doubt.
            largest_batch_bytes: LARGEST_BATCH,
            // Half a second at a checksum's speed.
            verify_bytes: 1 << 30,
        }
    }
}

/// See [`Options::largest_batch_bytes`]. No payload is longer, and a batch's sectors are counted in 16 bits.
const LARGEST_BATCH: u32 = 4 << 20;

const _: () = assert!(codec::MAX_PAYLOAD == 4 << 20 && LARGEST_BATCH / 512 <= 0xFFFF);

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
    /// What a segment that is ready adds to the room. A segment is left when the next batch does not fit: up to one batch
    /// of it may stay unused.
    fn of_a_spare(&self) -> u64 {
        self.segment_bytes - HEADER - u64::from(self.largest_batch_bytes)
    }

    /// Asserts how sizes relate.
    fn check(&self) {
        assert!(self.largest_batch_bytes <= LARGEST_BATCH, "decoding and the count of zero sectors have limits");
        assert!(self.batch_bytes <= self.largest_batch_bytes, "the usual batch is no larger than the largest");
        let largest = u64::from(self.largest_batch_bytes);
        assert!(self.segment_bytes > HEADER + largest, "a segment holds the largest batch, and more");
        assert!(largest.is_multiple_of(batch::SECTOR) && self.segment_bytes.is_multiple_of(HEADER), "whole sectors");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 50 pairs of 540 characters, a description of 1,000, two parties of 255, at four bytes each; and 80 KiB.
    #[test]
    fn the_most_that_one_step_records_is_known() {
        assert_eq!(LARGEST_STEP, 4 * (50 * 540 + 1_000 + 2 * 255) + 80 * 1024);
    }

    #[test]
    fn sizes_that_do_not_fit_together_are_a_defect() {
        let whole = Options::default();
        whole.check();
        for (options, wrong) in [
            (Options { largest_batch_bytes: LARGEST_BATCH + 512, ..whole }, "limits"),
            (Options { batch_bytes: whole.largest_batch_bytes + 1, ..whole }, "no larger than the largest"),
            (Options { segment_bytes: 4 << 20, ..whole }, "holds the largest batch"),
            (Options { segment_bytes: (64 << 20) + 512, ..whole }, "whole sectors"),
        ] {
            let panicked = std::panic::catch_unwind(|| options.check()).expect_err(wrong);
            let message = panicked.downcast_ref::<&str>().copied().unwrap_or_default();
            assert!(message.contains(wrong), "{message}");
        }
    }
}
