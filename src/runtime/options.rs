//! What a user can turn, and why it is set as it is.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use crate::{
    disk::DiskFault,
    engine::Watch,
    payment::{Namespace, Policies, Schedule},
};

/// How an engine runs.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Options {
    /// The data folder: made if it is not there. One process at a time.
    pub data: PathBuf,
    /// Says that a copied or restored folder is meant to go on sending from here.
    pub moved: bool,
    /// What goes into operation keys besides: set it where two installs share one account at a gateway. Never change it.
    pub namespace: Namespace,
    /// Our side's patience.
    pub schedule: Schedule,
    /// What becomes of money that has moved although a caller was told, or wished, that it would not.
    pub policies: Policies,
    /// What is held as a possible duplicate under another key. By default nothing: only the caller knows whether two
    /// coffees in a minute are one.
    pub duplicates: Option<Watch>,
    /// Whether personal data is sealed under a key for each tenant, so that it can be erased. For good: a folder in which
    /// that has begun goes on with it, whatever is said here. Needs the feature `erasure`.
    pub seal_personal_data: bool,
    /// Journal segments, in bytes. 64 MiB hold some 500,000 payments: few files, and zero-filling one ahead of need
    /// takes some tenths of a second, off the hot path.
    pub segment_bytes: u64,
    /// How much is written with one fsync, in bytes before they are packed, where more is waiting: 1 MiB takes a disk at most
    /// about as long to write as to sync. Less, and the first of many waits less and the last waits more; more than that
    /// only makes all of them wait.
    pub batch_bytes: u32,
    /// The store is flushed after this many bytes of journal: what a start after a kill has to replay, at some 100,000
    /// payments a second. Half of it, and such a start takes half as long, and the store is flushed twice as often.
    pub checkpoint_bytes: u64,
    /// How much of the older journal a start checks, in bytes, newest first. A gigabyte is read in about a second.
    pub verify_bytes: u64,
    /// The store's cache, in bytes. The process's memory follows it: see [`crate::store::Options`].
    pub store_cache_bytes: u64,
    /// The most that the filter of new keys takes, in bytes: see [`crate::store::Options`]. Zero: there is none.
    pub store_filter_bytes: u64,
    /// How many callers may wait to be taken up. Beyond them a caller is told at once to come back: by then the last
    /// in line would have waited for a second and more.
    pub queue: usize,
    /// How many gateway calls may be under way. Each holds a socket: with as many callers' connections, 400 stay below the
    /// 1,024 files that processes are commonly given.
    pub gateway_slots: usize,
    /// How many payments may wait in memory for the store, at about a kilobyte each, before no new ones are taken.
    pub memory_payments: usize,
    /// How long [`Engine::pay`](super::Engine::pay) waits for the outcome before it answers with what there is.
    pub wait: Duration,
    /// How long a stop waits for gateway calls under way; the rest is asked about at the next start.
    pub drain: Duration,
    /// For tests: one failure of the disk under the journal, to see what becomes of it. The store's files are not
    /// concerned. Never set it where payments are real.
    pub disk_fault: Option<DiskFault>,
}

impl Options {
    /// The defaults, with a data folder.
    pub fn new(data: impl AsRef<Path>) -> Options {
        Options {
            data: data.as_ref().to_owned(),
            moved: false,
            namespace: Namespace::default(),
            schedule: Schedule::default(),
            policies: Policies::default(),
            duplicates: None,
            seal_personal_data: false,
            segment_bytes: 64 << 20,
            batch_bytes: MOST_IN_A_BATCH,
            checkpoint_bytes: 32 << 20,
            verify_bytes: 1 << 30,
            store_cache_bytes: 64 << 20,
            store_filter_bytes: 128 << 20,
            queue: 16_384,
            gateway_slots: 400,
            memory_payments: 100_000,
            wait: Duration::from_secs(10),
            drain: Duration::from_secs(10),
            disk_fault: None,
        }
    }

    /// What cannot be, if there is something.
    pub(super) fn check(&self) -> Result<(), &'static str> {
        if self.segment_bytes < LEAST_SEGMENT || !self.segment_bytes.is_multiple_of(4096) {
            return Err("segment_bytes must be a multiple of 4096 from 8388608 (8 MiB) on: the largest batch must fit");
        }
        if self.batch_bytes < LEAST_IN_A_BATCH || self.batch_bytes > MOST_IN_A_BATCH {
            return Err("batch_bytes must be from 4096 to 1048576");
        }
        if self.checkpoint_bytes < LEAST_CHECKPOINT {
            return Err("checkpoint_bytes must be at least 65536: each checkpoint flushes the whole store");
        }
        if self.gateway_slots == 0 || self.queue == 0 {
            return Err("gateway_slots and queue must be at least 1");
        }
        Ok(())
    }
}

/// A payment or two; less would only be rounded up.
const LEAST_IN_A_BATCH: u32 = 4096;
const MOST_IN_A_BATCH: u32 = 1 << 20;
/// Some 100 payments.
const LEAST_CHECKPOINT: u64 = 64 << 10;

/// Twice the largest batch.
const LEAST_SEGMENT: u64 = 8 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_is_refused_by_name_up_to_its_limit() {
        let whole = Options::new("./data");
        assert_eq!(whole.check(), Ok(()));
        let least = Options {
            segment_bytes: LEAST_SEGMENT,
            batch_bytes: LEAST_IN_A_BATCH,
            checkpoint_bytes: LEAST_CHECKPOINT,
            gateway_slots: 1,
            queue: 1,
            ..whole.clone()
        };
        assert_eq!(least.check(), Ok(()));
        for (options, named) in [
            (Options { segment_bytes: LEAST_SEGMENT - 4096, ..whole.clone() }, "segment_bytes"),
            (Options { segment_bytes: LEAST_SEGMENT + 512, ..whole.clone() }, "segment_bytes"),
            (Options { batch_bytes: LEAST_IN_A_BATCH - 1, ..whole.clone() }, "batch_bytes"),
            (Options { batch_bytes: MOST_IN_A_BATCH + 1, ..whole.clone() }, "batch_bytes"),
            (Options { checkpoint_bytes: LEAST_CHECKPOINT - 1, ..whole.clone() }, "checkpoint_bytes"),
            (Options { gateway_slots: 0, ..whole.clone() }, "gateway_slots"),
            (Options { queue: 0, ..whole.clone() }, "queue"),
        ] {
            assert!(options.check().is_err_and(|why| why.contains(named)), "{named}");
        }
    }
}
