//! REMEMBER. The index: each payment's folded state as one opaque row, found by its id.
//!
//! The journal is the truth. The store may lag it, never leads it, and can always be rebuilt from it; so nothing here is
//! ever repaired. A row that cannot be vouched for is an error that names what was asked for, and a folder that cannot be
//! vouched for is moved aside: either way the caller rebuilds. What must not happen is a wrong answer.
//!
//! - [`Store`] is what the engine needs; [`SledStore`] is the real one, [`MemoryStore`] the simulator's.
//! - [`open`] brings up the real one, whatever state its folder is in.
//! - Most keys that are asked for are new, and known for that without a look: `known`, with a Bloom filter in `filter`.
//! - A [`Mark`] says how far the journal is folded in. It moves in the same atomic batch as the rows it speaks of.
//!
//! Knows nothing of what a row means, of the journal's files, or of when to write, flush or rebuild.

use std::error::Error;
use std::fmt;
use std::path::PathBuf;

use crate::journal::Lsn;
use crate::payment::PaymentId;

mod keys;

mod codec;

mod pack;

mod unpacked;

mod filter;

mod known;

mod memory;

mod sled_store;

mod opening;

pub use memory::MemoryStore;
pub use opening::{Condition, Expected, OpenError, Opening, move_aside, open, shorter_than_noted};
pub use sled_store::{Options, SledStore};

/// How far, and of which journal, the rows are folded.
///
/// A rebuild that does not write in the journal's order keeps `applied` at [`Lsn::ZERO`] until its last batch: a rebuild
/// cut short must not pass for a whole one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark {
    /// The uuid of the data folder that this index belongs to.
    pub store: [u8; 16],
    /// The journal's epoch in which the last batch was applied.
    pub epoch: u64,
    /// The last record folded in.
    pub applied: Lsn,
    /// The journal's chain value at that record.
    pub chain: u32,
}

/// One payment's state, as the engine encodes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// The last record that this state holds.
    pub lsn: Lsn,
    /// Returned byte for byte; never looked into.
    pub payload: Vec<u8>,
}

/// A place in which rows are found by payment id. One of the three seams that the simulator substitutes.
///
/// Callers' threads may read while one thread writes.
pub trait Store: Send + Sync {
    /// The payment's row, verified; `None` when there is none.
    fn get(&self, id: &PaymentId) -> Result<Option<Row>, StoreError>;

    /// Puts whole rows, and the mark, in one atomic batch. Give a few hundred at a time: sled took 1.4 GB of memory for
    /// batches of 4,000 where batches of 500 cost nothing. After an error the store refuses everything but being dropped:
    /// sled may hold half of the batch in memory, which opening it again discards.
    fn apply(&self, rows: &[(PaymentId, Row)], mark: &Mark) -> Result<(), StoreError>;

    /// The mark of the last batch; `None` before the first.
    fn mark(&self) -> Result<Option<Mark>, StoreError>;

    /// Up to `limit` rows in id order, beginning behind `after`.
    fn page(&self, after: Option<&PaymentId>, limit: usize) -> Result<Vec<(PaymentId, Row)>, StoreError>;

    /// Makes all that was applied durable. Until then nothing may depend on it: a killed process loses the last batches,
    /// a power failure may lose rows of any age. Returns the files that a checkpoint notes, by name within the store's
    /// folder, with their lengths in bytes. An error is final, as for [`Store::apply`]: a failed fsync is never retried.
    fn flush(&self) -> Result<Vec<(String, u64)>, StoreError>;
}

/// What went wrong in an open store. Each leads to the same end: drop it, [`move_aside`] its folder, rebuild from the
/// journal. No payment is at risk meanwhile, as long as an error is not taken for "no such payment".
#[derive(Debug)]
pub enum StoreError {
    /// The row of this payment, or one behind it in a list, is damaged, or of a format that this version does not read.
    Row {
        /// Whose row, or from where on the list was read.
        payment: PaymentId,
        /// What is wrong with it.
        why: &'static str,
    },
    /// The mark is damaged, or of a format that this version does not read.
    Mark {
        /// What is wrong with it.
        why: &'static str,
    },
    /// sled failed or panicked.
    Index {
        /// What was asked of it.
        doing: &'static str,
        /// What it said.
        why: String,
    },
    /// A file of the store could not be made durable.
    File {
        /// Which.
        path: PathBuf,
        /// What the system said.
        error: std::io::Error,
    },
    /// An earlier error left this store unusable.
    Broken {
        /// That error.
        since: String,
    },
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StoreError::Row { payment, why } => write!(f, "the store's row of payment {payment} is unusable: {why}")?,
            StoreError::Mark { why } => write!(f, "the store's mark is unusable: {why}")?,
            StoreError::Index { doing, why } => write!(f, "the store failed {doing}: {why}")?,
            StoreError::File { path, error } => write!(f, "{} could not be made durable: {error}", path.display())?,
            StoreError::Broken { since } => {
                return write!(f, "the store is out of use since an earlier error: {since}");
            }
        }
        f.write_str("; the journal has it all: rebuild the store from it")
    }
}

impl Error for StoreError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            StoreError::File { error, .. } => Some(error),
            StoreError::Row { .. } | StoreError::Mark { .. } | StoreError::Index { .. } | StoreError::Broken { .. } => {
                None
            }
        }
    }
}
