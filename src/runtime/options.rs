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
    /// Journal segments, in bytes. 64 MiB hold some 100,000 payments: few files, and zero-filling one ahead of need
    /// takes a tenth of a second, off the hot path.
    pub segment_bytes: u64,
    /// The store is flushed after this many bytes of journal: what a start after a kill has to replay, at some 100,000
    /// payments a second.
    pub checkpoint_bytes: u64,
    /// How much of the older journal a start checks, in bytes, newest first. A gigabyte is read in about a second.
    pub verify_bytes: u64,
    /// The store's cache, in bytes. The process's memory follows it: see [`crate::store::Options`].
    pub store_cache_bytes: u64,
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
            checkpoint_bytes: 32 << 20,
            verify_bytes: 1 << 30,
            store_cache_bytes: 64 << 20,
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
        if self.gateway_slots == 0 || self.queue == 0 {
            return Err("gateway_slots and queue must be at least 1");
        }
        Ok(())
    }
}

/// Twice the largest batch.
const LEAST_SEGMENT: u64 = 8 << 20;
