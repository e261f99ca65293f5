//! What a start finds: which segments count, where the journal ends, and from where it has to be replayed.

use std::{collections::BTreeMap, fmt, sync::Arc};

use crate::{
    disk::Disk,
    payment::{Tenant, Timestamp},
};

use super::{
    Checkpoint, Closed, Damage, Lsn, OpenError, Options, Position, Record,
    batch::SECTOR,
    folder::{Folder, Segment},
    level::{self, NEWEST_VERSION, SEALING, UNSAID, finalize, say_sealed},
    reader::Records,
    seal::Seal,
    walk::{Batch, Bounds, End, Step, Walk},
};

/// From where records are handed out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReplayFrom {
    /// From where the last checkpoint says; without one, from the beginning.
    Checkpoint,
    /// From the first record ever written: the store is to be rebuilt.
    Beginning,
}

/// What a start found. Nothing has been changed yet; [`Found::begin`] does.
pub struct Found {
    pub(super) disk: Arc<dyn Disk>,
    pub(super) options: Options,
    pub(super) seal: Option<Arc<Seal>>,
    pub(super) folder: Folder,
    /// Up to which version records may be written.
    pub(super) level: u8,
    /// Those that count, oldest first.
    pub(super) segments: Vec<Segment>,
    pub(super) proven: Position,
    pub(super) seen: Position,
    torn: bool,
    checkpoint: Option<(Lsn, Checkpoint)>,
    closed: Option<Closed>,
    last_wall: Option<Timestamp>,
    chains: BTreeMap<Lsn, u32>,
    unverified_bytes: u64,
}

/// Reads what is there, and changes nothing. Every segment's header is read; the segments since the last checkpoint are
/// read whole; older ones as far as [`Options::verify_bytes`] goes.
pub fn open(disk: Arc<dyn Disk>, options: Options) -> Result<Found, OpenError> {
    open_with(disk, options, Seal::read)
}

/// The same where the key of one tenant may be gone already: what is sealed under it is taken as erased.
pub fn open_without(disk: Arc<dyn Disk>, options: Options, gone: &Tenant) -> Result<Found, OpenError> {
    open_with(disk, options, |disk| Seal::read_without(disk, Some(gone)))
}

/// The same without the keys to personal data: what is sealed is taken as erased. To look at, never to go on with.
pub fn open_shut(disk: Arc<dyn Disk>, options: Options) -> Result<Found, OpenError> {
    open_with(disk, options, |disk| Ok(Some(Seal::shut(disk))))
}

fn open_with(
    disk: Arc<dyn Disk>,
    options: Options,
    seal: impl FnOnce(&Arc<dyn Disk>) -> Result<Option<Arc<Seal>>, OpenError>,
) -> Result<Found, OpenError> {
    options.check();
    let said = level::said(&disk)?;
    let folder = Folder::read(&disk)?;
    let segments = folder.counted(&disk)?;
    let level = said.unwrap_or(if segments.is_empty() { NEWEST_VERSION } else { UNSAID });
    let seal = seal(&disk)?;
    let start = Position { segment: 0, offset: 0, next: Lsn::new(1), chain: 0 };
    let mut found = Found {
        disk,
        options,
        seal,
        folder,
        level,
        segments,
        proven: start,
        seen: start,
        torn: false,
        checkpoint: None,
        closed: None,
        last_wall: None,
        chains: BTreeMap::new(),
        unverified_bytes: 0,
    };
    found.survey()?;
    Ok(found)
}

impl Found {
    /// Whether there is no journal yet. Then nothing was ever acknowledged here.
    pub fn is_new(&self) -> bool {
        self.segments.is_empty()
    }

    /// The data folder's identity; `None` if it is new.
    pub fn store_uuid(&self) -> Option<[u8; 16]> {
        self.segments.last().map(|segment| segment.header.store)
    }

    /// Seals personal data from here on, and for good. Where that has begun before, it goes on whether it is asked for or not;
    /// `seed` is what new keys are made from: random, and kept nowhere.
    pub fn sealing(mut self, begin: bool, seed: [u8; 32]) -> Result<Found, OpenError> {
        if self.seal.is_none() && begin {
            self.allow_sealing()?;
            self.seal = Some(Seal::begin(&self.disk)?);
        }
        if self.seal.is_some() {
            say_sealed(&self.disk, self.level)?;
        }
        let started = self.seal.as_ref().map_or(Ok(()), |seal| seal.start(seed));
        started.map_err(OpenError::disk("removing a key that was erased"))?;
        Ok(self)
    }

    /// A folder that nothing was ever written in has no way back to keep open.
    fn allow_sealing(&mut self) -> Result<(), OpenError> {
        if self.level < SEALING && self.is_new() {
            finalize(&self.disk)?;
            self.level = NEWEST_VERSION;
        }
        if self.level >= SEALING {
            return Ok(());
        }
        Err(OpenError::Sealed(format!(
            "personal data cannot be sealed yet: that needs records of version {SEALING}, and none above {} are written \
             here before the upgrade is final: `payonce upgrade finalize`. Nothing was changed",
            self.level
        )))
    }

    /// The keys under which personal data is sealed here, if it is.
    pub fn seal(&self) -> Option<&Arc<Seal>> {
        self.seal.as_ref()
    }

    /// The last start that counts; 0 if there was none.
    pub fn epoch(&self) -> u64 {
        self.segments.last().map_or(0, |segment| segment.header.epoch)
    }

    /// The boot in which the last process ran; zeros where that could not be told.
    pub fn boot_id(&self) -> Option<[u8; 16]> {
        self.segments.last().map(|segment| segment.header.boot)
    }

    /// The inode number of the lock file of the folder that this journal belongs in.
    pub fn lock_inode(&self) -> Option<u64> {
        self.segments.last().map(|segment| segment.header.lock_inode)
    }

    /// The last record there is.
    pub fn last(&self) -> Lsn {
        self.seen.next.before()
    }

    /// The last record that is known to have been durable. Records after it, up to [`Found::last`], are the last batch
    /// that lacks evidence: they are to be recorded again before anything in them reaches the store or a caller.
    pub fn proven(&self) -> Lsn {
        self.proven.next.before()
    }

    /// Whether a batch was stepped over that had never been acknowledged.
    pub fn stepped_over_torn_batch(&self) -> bool {
        self.torn
    }

    /// The latest wall time of any batch that was read. `None`: there was none.
    pub fn last_wall(&self) -> Option<Timestamp> {
        self.last_wall
    }

    /// The close mark, if the last process stopped in order.
    pub fn closed(&self) -> Option<&Closed> {
        self.closed.as_ref()
    }

    /// The last checkpoint.
    pub fn checkpoint(&self) -> Option<&Checkpoint> {
        self.checkpoint.as_ref().map(|(_, checkpoint)| checkpoint)
    }

    /// Up to which record the store was flushed at the last orderly stop, or else at the last checkpoint.
    pub fn flushed(&self) -> Lsn {
        let stopped = self.closed().map(|closed| closed.applied);
        stopped.or(self.checkpoint().map(|checkpoint| checkpoint.upto)).unwrap_or(Lsn::ZERO)
    }

    /// How many bytes of old segments were left unread. Replay from the beginning and `verify` read them.
    pub fn unverified_bytes(&self) -> u64 {
        self.unverified_bytes
    }

    /// The chain value after the batch that ends with `lsn`, as [`super::Appended`] told it; `None` for a place that
    /// ends no batch, or that was not read. Every batch since the last checkpoint's `from` has been read.
    pub fn chain_at(&self, lsn: Lsn) -> Option<u32> {
        self.chains.get(&lsn).copied()
    }

    /// Hands out the records in order, to the last one there is; what a later start has recorded again is left out of
    /// its first place. Stops at the first error.
    pub fn replay<E: From<OpenError>>(
        &self,
        from: ReplayFrom,
        take: &mut dyn FnMut(Lsn, Timestamp, Record) -> Result<(), E>,
    ) -> Result<(), E> {
        let from = match (from, &self.checkpoint) {
            (ReplayFrom::Checkpoint, Some((_, checkpoint))) => Some(checkpoint.from),
            (ReplayFrom::Checkpoint, None) | (ReplayFrom::Beginning, _) => None,
        };
        for entry in Records::new(self.source(), self.segments.iter().map(|segment| segment.header), from) {
            let entry = entry?;
            if !entry.superseded {
                take(entry.lsn, entry.wall, entry.record)?;
            }
        }
        Ok(())
    }

    /// What the new start has to record again, before its `Opened`: the records of the last batch that lacks evidence, as
    /// they are to be written. Events become [`Record::Relogged`]; recovery skips those, so every payment that they are
    /// about has to be carried too, at rest or not. Housekeeping is left out.
    pub fn to_record_again(&self) -> Result<Vec<Record>, OpenError> {
        let mut records = Vec::new();
        let line = self.segments.last().map(|segment| segment.header);
        for entry in Records::new(self.source(), line.into_iter(), Some(self.proven)) {
            match entry?.record {
                Record::Event(event) | Record::Relogged(event) => records.push(Record::Relogged(event)),
                again @ (Record::Carried(_) | Record::Inbox(_) | Record::Audit(_)) => records.push(again),
                Record::Opened(_) | Record::Checkpoint(_) | Record::Closed(_) => {}
            }
        }
        Ok(records)
    }

    fn source(&self) -> (Arc<dyn Disk>, Option<Arc<Seal>>) {
        (Arc::clone(&self.disk), self.seal.clone())
    }

    /// Reads the segments that replay needs, from the newest backwards, then older ones as far as the budget goes.
    fn survey(&mut self) -> Result<(), OpenError> {
        let segments = self.segments.clone();
        let mut budget = self.options.verify_bytes;
        let mut next = None;
        for (index, segment) in segments.iter().enumerate().rev() {
            let is_last = next.is_none();
            let bounds = next.map_or(Bounds::Last, |next| Bounds::before(&next));
            next = Some(segment.header);
            let from = self.checkpoint.as_ref().map(|(_, checkpoint)| checkpoint.from.segment);
            let needed = from.is_none_or(|from| segment.header.number >= from);
            if !needed && budget < segment.bytes {
                self.unverified_bytes = segments.iter().take(index + 1).map(|segment| segment.bytes).sum();
                break;
            }
            if !needed {
                budget -= segment.bytes;
            }
            self.survey_segment(segment, bounds, is_last, needed)?;
        }
        self.check_checkpoint()
    }

    fn survey_segment(&mut self, segment: &Segment, bounds: Bounds, last: bool, keep: bool) -> Result<(), OpenError> {
        let mut walk = Walk::new(&self.disk, segment.header, bounds, segment.header.start())?;
        let mut notes = Notes { before_last: segment.header.start(), ..Notes::default() };
        let end = loop {
            match walk.next()? {
                Step::Batch(batch) => {
                    notes.take(&batch)?;
                    if keep && batch.end.next != batch.at.next {
                        self.chains.insert(batch.end.next.before(), batch.end.chain);
                    }
                }
                Step::End(end) => break end,
            }
        };
        if let Bounds::Followed { proven, seen } = bounds
            && keep
            && proven.next != seen.next
        {
            self.chains.insert(seen.next.before(), seen.chain);
        }
        self.last_wall = self.last_wall.max(notes.wall);
        if self.checkpoint.is_none() {
            self.checkpoint = notes.checkpoint;
        }
        if last {
            self.note_end(walk.at(), notes.before_last, end);
            self.closed = notes.closed;
        }
        Ok(())
    }

    /// Every batch proves all before it, and none proves itself.
    fn note_end(&mut self, seen: Position, before_last: Position, end: End) {
        self.seen = seen;
        self.proven = if end.proves { seen } else { before_last };
        self.torn = end.torn;
    }

    /// A checkpoint that names a place which is not there would make replay skip records.
    fn check_checkpoint(&self) -> Result<(), OpenError> {
        let Some((lsn, checkpoint)) = &self.checkpoint else { return Ok(()) };
        let from = checkpoint.from;
        let there = self.segments.iter().any(|segment| {
            let start = segment.header.start();
            from.segment == start.segment && from.offset >= start.offset && from.next >= start.next
        });
        if there && from.offset.is_multiple_of(SECTOR) && from.next <= *lsn {
            return Ok(());
        }
        let why = "a checkpoint names this place, which is not in the journal".to_owned();
        Err(Damage { segment: from.segment, offset: from.offset, lsn: from.next, why }.into())
    }
}

impl fmt::Debug for Found {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Found { proven, seen, torn, .. } = self;
        f.debug_struct("Found")
            .field("epoch", &self.epoch())
            .field("proven", proven)
            .field("seen", seen)
            .field("torn", torn)
            .finish_non_exhaustive()
    }
}

/// What is remembered of a segment's records without decoding them all.
#[derive(Default)]
struct Notes {
    before_last: Position,
    wall: Option<Timestamp>,
    checkpoint: Option<(Lsn, Checkpoint)>,
    closed: Option<Closed>,
}

impl Notes {
    fn take(&mut self, batch: &Batch<'_>) -> Result<(), OpenError> {
        self.before_last = batch.at;
        self.wall = self.wall.max(Some(batch.wall));
        self.closed = None;
        let wanted = |frame: &super::codec::Frame<'_>| frame.is_closed() || frame.is_checkpoint();
        for (lsn, frame) in batch.records().filter(|(_, frame)| wanted(frame)) {
            match frame.decode(None).map_err(|why| batch.malformed(lsn, &why))? {
                Record::Closed(closed) => self.closed = Some(closed),
                // What is written again in the next segment does not count here.
                Record::Checkpoint(checkpoint) if !batch.superseded => self.checkpoint = Some((lsn, checkpoint)),
                Record::Checkpoint(_)
                | Record::Event(_)
                | Record::Relogged(_)
                | Record::Carried(_)
                | Record::Inbox(_)
                | Record::Audit(_)
                | Record::Opened(_) => {}
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{journal::samples::start, sim::SimDisk};

    const SIZES: Options =
        Options { segment_bytes: 64 << 10, batch_bytes: 4 << 10, largest_batch_bytes: 8 << 10, verify_bytes: 0 };

    #[test]
    fn where_an_older_payonce_can_still_be_put_back_sealing_is_refused_and_nothing_is_changed() {
        let sim = Arc::new(SimDisk::new());
        let disk: Arc<dyn Disk> = sim.clone();
        level::say(&disk, 2).expect("space");
        drop(start(&disk, SIZES));
        let (files, steps) = (sim.files(), sim.steps());
        let found = open(Arc::clone(&disk), SIZES).expect("readable");
        let refused = found.sealing(true, [7; 32]).expect_err("not final").to_string();
        assert!(refused.contains("none above 2 are written") && refused.contains("upgrade finalize"), "{refused}");
        assert_eq!((sim.files(), sim.steps(), level::level(&disk).expect("readable")), (files, steps, 2));
    }

    #[cfg(feature = "erasure")]
    #[test]
    fn a_folder_that_nothing_was_ever_written_in_is_sealed_from_its_first_record_on() {
        for (said, then) in [(None, NEWEST_VERSION), (Some(2), NEWEST_VERSION), (Some(SEALING), SEALING)] {
            let disk: Arc<dyn Disk> = Arc::new(SimDisk::new());
            said.into_iter().for_each(|said| level::say(&disk, said).expect("space"));
            let found = open(Arc::clone(&disk), SIZES).expect("new").sealing(true, [7; 32]).expect("space");
            assert_eq!((found.level(), level::level(&disk).expect("readable")), (then, then));
            assert!(open(disk, SIZES).expect("readable").seal().is_some());
        }
    }
}
