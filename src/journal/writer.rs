//! Appending: one write and one fsync a batch, then nothing before it can be lost.

use std::{
    fmt, io,
    sync::{Arc, PoisonError, RwLock},
};

use crate::{
    disk::{Access, Disk},
    payment::{Event, Fact, Tenant, Timestamp},
};

use super::{
    Closed, Found, Lsn, Options, Position, Reader, Record, SpareMaker,
    batch::{Draft, HEAD, Head, SECTOR, TAIL, extent},
    bytes::{round_up, to_u64},
    codec,
    damage::is_full,
    folder::Segment,
    format3,
    level::{self, PACKING},
    seal::{Key, Seal},
    segment::{FOLDER, HEADER, Header, SegmentFile, Spares, path},
};

/// What a new start brings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Begin {
    /// The data folder's identity, if it is new: random. One that is there already keeps its own.
    pub store_uuid: [u8; 16],
    /// Random: tells this start's batches from those of any other.
    pub salt: u64,
    /// This boot of this machine; zeros where that cannot be told.
    pub boot_id: [u8; 16],
    /// The inode number of the lock file of the folder that this journal belongs in: the one found in the journal, until
    /// somebody has said that the folder was moved on purpose.
    pub lock_inode: u64,
}

/// What was appended, durably.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Appended {
    /// The first record's place. One more than `last` if there was no record.
    pub first: Lsn,
    /// The last record's place.
    pub last: Lsn,
    /// The chain value after it: what [`Found::chain_at`] tells of `last`.
    pub chain: u32,
    /// How many batches it took, each with its own fsync.
    pub batches: usize,
}

/// Why nothing was appended, or why nobody knows.
#[derive(Debug)]
pub enum AppendError {
    /// There is no space for another segment. Nothing was written; what fits in [`Journal::room`] still can be.
    Full(io::Error),
    /// A group is longer than any batch may be. Nothing was written.
    TooLarge {
        /// Its length, or the least that it is, in bytes.
        bytes: u64,
        /// The most that a batch holds.
        limit: u64,
    },
    /// A record can be written only in a version that may not be written here yet. Nothing was written.
    NotFinal {
        /// The version that it needs.
        version: u8,
        /// Up to which version records may be written.
        level: u8,
    },
    /// A write or an fsync failed, now or before, or the journal is closed. What was being appended may or may not be
    /// durable; only a new start can tell. The process must stop.
    Stopped(String),
}

impl fmt::Display for AppendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            AppendError::Full(error) => {
                write!(f, "no space for another journal segment: {error}. Nothing was recorded: free some and repeat")
            }
            AppendError::TooLarge { bytes, limit } => {
                write!(f, "a step of {bytes} bytes is more than the {limit} that a batch holds. Nothing was recorded")
            }
            AppendError::NotFinal { version, level } => write!(
                f,
                "a record of version {version} is needed, and none above {level} are written before the upgrade is \
                 final: `payonce upgrade finalize`. Nothing was recorded"
            ),
            AppendError::Stopped(why) => write!(
                f,
                "the journal has stopped: {why}. Whether the last records are durable is not known: restart, and \
                 repeat under the same keys"
            ),
        }
    }
}

impl std::error::Error for AppendError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            AppendError::Full(error) => Some(error),
            AppendError::TooLarge { .. } | AppendError::NotFinal { .. } | AppendError::Stopped(_) => None,
        }
    }
}

/// The headers of the segments that count, oldest first; the last one is being written. Shared with readers.
pub(super) type Line = Arc<RwLock<Vec<Header>>>;

/// A journal that is being written.
///
/// A start: [`super::open`], replay, [`Found::to_record_again`], [`Found::begin`]; then append those records, each payment
/// whole that they are about or that is unresolved ([`Record::Carried`]) and, last, [`Record::Opened`]; then
/// [`Journal::clean_up`].
pub struct Journal {
    disk: Arc<dyn Disk>,
    options: Options,
    seal: Option<Arc<Seal>>,
    /// Up to which version records may be written.
    level: u8,
    file: SegmentFile,
    header: Header,
    at: Position,
    line: Line,
    spares: Arc<Spares>,
    old: OldFiles,
    /// Whether the last batch holds records that no later write has proven durable.
    unconfirmed: bool,
    opened: bool,
    stopped: Option<String>,
}

/// What earlier starts left behind.
struct OldFiles {
    segments: Vec<Segment>,
    /// Segments that do not count.
    ignored: Vec<u64>,
}

impl Found {
    /// Begins a new epoch in a new segment, which is durable when this returns. It does not count before its `Opened` does:
    /// until then the next start finds what this one found.
    pub fn begin(self, begin: Begin) -> Result<Journal, AppendError> {
        if self.is_new() {
            level::say(&self.disk, self.level).map_err(|error| making("writing `format`", error))?;
        }
        let prepared = self.prepare();
        let (spares, old) = prepared.map_err(|error| making("preparing the journal's folder", error))?;
        if spares.ready() == 0 {
            spares.make_at_once(1).map_err(|error| making("making the first segment", error))?;
        }
        let number = spares.take().ok_or_else(|| AppendError::Stopped("no segment was made".to_owned()))?;
        let header = Header {
            largest_batch: self.options.largest_batch_bytes,
            segment_bytes: self.options.segment_bytes,
            // A first start that was cut short has named the folder already.
            store: self.folder.begun.values().next().map_or(begin.store_uuid, |segment| segment.header.store),
            boot: begin.boot_id,
            epoch: self.folder.begun.values().map(|segment| segment.header.epoch).max().unwrap_or(0) + 1,
            salt: begin.salt,
            number,
            lock_inode: begin.lock_inode,
            proven: self.proven,
            seen: self.seen,
            crc: 0,
        };
        let (file, header) = activate(&self.disk, header).map_err(|error| stopped("beginning a segment", &error))?;
        let mut line: Vec<Header> = self.segments.iter().map(|segment| segment.header).collect();
        line.push(header);
        Ok(Journal {
            disk: self.disk,
            options: self.options,
            seal: self.seal,
            level: self.level,
            file,
            header,
            at: header.start(),
            line: Arc::new(RwLock::new(line)),
            spares: Arc::new(spares),
            old,
            unconfirmed: false,
            opened: false,
            stopped: None,
        })
    }

    /// Makes the folder, removes half-made files, and sorts the rest into spares and leftovers.
    fn prepare(&self) -> io::Result<(Spares, OldFiles)> {
        self.disk.make_dir(FOLDER)?;
        self.disk.sync_dir("")?;
        for name in &self.folder.unfinished {
            self.disk.remove(&format!("{FOLDER}/{name}"))?;
        }
        // The last process may have been killed before the name of the spare that is used next was durable.
        self.disk.sync_dir(FOLDER)?;
        let begun = self.folder.begun.last_key_value().map_or(0, |(number, _)| *number);
        let (mut ready, mut ignored) = (Vec::new(), Vec::new());
        for (&number, &bytes) in &self.folder.unbegun {
            let usable = number > begun && bytes == self.options.segment_bytes;
            if usable { ready.push(number) } else { ignored.push(number) }
        }
        let counts = |number: &u64| self.segments.iter().any(|segment| segment.header.number == *number);
        ignored.extend(self.folder.begun.keys().filter(|number| !counts(number)));
        let next = self.folder.highest() + 1;
        let spares = Spares::new(Arc::clone(&self.disk), self.options.segment_bytes, ready.into(), next);
        Ok((spares, OldFiles { segments: self.segments.clone(), ignored }))
    }
}

impl Journal {
    /// The most that a batch takes of [`Journal::room`] beside its records: header, trailer, and padding to a sector.
    pub const BATCH_OVERHEAD: u64 = 64 + 8 + (SECTOR - 1);

    /// What a record takes beside its payload.
    pub const RECORD_OVERHEAD: u64 = 6;

    /// Appends groups of records, each whole within one batch, and makes them durable. Several groups share a batch, and
    /// its fsync, as far as [`Options::batch_bytes`] goes.
    pub fn append(&mut self, wall: Timestamp, groups: &[Vec<Record>]) -> Result<Appended, AppendError> {
        self.append_of(wall, groups, &|_| None)
    }

    /// The same, where personal data may be sealed: `owner` says whose a record is that does not say it itself.
    pub fn append_of(
        &mut self,
        wall: Timestamp,
        groups: &[Vec<Record>],
        owner: &dyn Fn(&Record) -> Option<Tenant>,
    ) -> Result<Appended, AppendError> {
        self.check_running()?;
        let drafts = self.drafts_of(groups, owner)?;
        self.make_segments_for(&drafts)?;
        let (first, batches) = (self.at.next, drafts.len());
        for draft in drafts {
            self.write(wall, draft)?;
        }
        let has = |wanted: fn(&Record) -> bool| groups.iter().flatten().any(wanted);
        self.opened |= has(|record| matches!(record, Record::Opened(_)));
        if has(|record| matches!(record, Record::Closed(_))) {
            self.stopped = Some("it is closed".to_owned());
        }
        Ok(Appended { first, last: self.at.next.before(), chain: self.at.chain, batches })
    }

    /// Makes it evident that the last batch is durable, with an empty batch; does nothing if it is evident already. To
    /// be called when nothing has followed for a second: what lacks evidence has to be recorded again at the next start.
    pub fn confirm(&mut self, wall: Timestamp) -> Result<(), AppendError> {
        self.check_running()?;
        if !self.unconfirmed {
            return Ok(());
        }
        let drafts = [Draft::new()];
        self.make_segments_for(&drafts)?;
        drafts.into_iter().try_for_each(|draft| self.write(wall, draft))
    }

    /// Writes the close mark. The store must be flushed and synced. Nothing can be appended after it.
    pub fn close(&mut self, wall: Timestamp, closed: Closed) -> Result<(), AppendError> {
        self.append(wall, &[vec![Record::Closed(closed)]]).map(drop)
    }

    /// Where the next batch goes: what a [`super::Checkpoint`] names as `from`, before the payments are carried.
    pub fn position(&self) -> Position {
        self.at
    }

    /// The last record.
    pub fn last(&self) -> Lsn {
        self.at.next.before()
    }

    /// Which start this is.
    pub fn epoch(&self) -> u64 {
        self.header.epoch
    }

    /// The data folder's identity.
    pub fn store_uuid(&self) -> [u8; 16] {
        self.header.store
    }

    /// How many bytes can still be appended for sure, without asking for space: in this segment and the finished spares.
    /// A batch counts with its records and [`Journal::BATCH_OVERHEAD`].
    pub fn room(&self) -> u64 {
        let left = self.options.segment_bytes.saturating_sub(self.at.offset);
        left + self.options.of_a_spare() * to_u64(self.spares.ready())
    }

    /// Tells who makes segments how many are wanted: one beyond those without which `reserved` bytes do not fit.
    pub fn plan(&self, reserved: u64) {
        let left = self.options.segment_bytes.saturating_sub(self.at.offset);
        let beyond = reserved.saturating_sub(left).div_ceil(self.options.of_a_spare());
        let soon = self.room() < reserved.saturating_add(self.options.segment_bytes / 2);
        self.spares.aim(usize::try_from(beyond).unwrap_or(usize::MAX).saturating_add(1), soon);
    }

    /// For the thread that makes segments ahead of need.
    pub fn spare_maker(&self) -> SpareMaker {
        SpareMaker(Arc::clone(&self.spares))
    }

    /// For reading while this is being written.
    pub fn reader(&self) -> Reader {
        Reader::new(Arc::clone(&self.disk), self.seal.clone(), Arc::clone(&self.line))
    }

    /// Once `Opened` is durable: gives back the unused zeros of older segments and removes those that never counted.
    /// Returns how many bytes that freed. An error leaves only something to do for the next start.
    pub fn clean_up(&mut self) -> io::Result<u64> {
        if !self.opened {
            return Err(io::Error::other("nothing is removed before this start counts"));
        }
        let mut freed = 0;
        for number in std::mem::take(&mut self.old.ignored) {
            freed += SegmentFile::open(&self.disk, number, Access::Read)?.bytes();
            self.disk.remove(&path(number))?;
        }
        self.disk.sync_dir(FOLDER)?;
        let line = self.line.read().unwrap_or_else(PoisonError::into_inner).clone();
        for (old, next) in self.old.segments.iter().zip(line.iter().skip(1)) {
            let end = round_up(next.seen.offset, SECTOR);
            if old.bytes > end {
                let file = SegmentFile::open(&self.disk, old.header.number, Access::ReadWrite)?;
                // A torn batch is stepped over and kept: only zeros go.
                let end = file.last_written(end)?.unwrap_or(end);
                if end < old.bytes {
                    file.cut(end)?;
                    freed += old.bytes - end;
                }
            }
        }
        self.old.segments.clear();
        Ok(freed)
    }

    /// Whether it can still be appended to: not once anything failed, or it was closed.
    pub fn check_running(&self) -> Result<(), AppendError> {
        self.stopped.clone().map_or(Ok(()), |why| Err(AppendError::Stopped(why)))
    }

    /// What is to be written, batch by batch. Whether they share one is measured before they are packed.
    fn drafts_of(
        &mut self,
        groups: &[Vec<Record>],
        owner: &dyn Fn(&Record) -> Option<Tenant>,
    ) -> Result<Vec<Draft>, AppendError> {
        let (aim, limit) = (self.options.batch_bytes.into(), self.options.largest_batch_bytes.into());
        let (mut drafts, mut draft, mut frames) = (Vec::new(), Draft::new(), Vec::new());
        for group in groups.iter().filter(|group| !group.is_empty()) {
            frames.clear();
            for record in group {
                let key = self.key_of(record, owner)?;
                let version = codec::encode(record, key.as_deref(), &mut frames)
                    .map_err(|bytes| AppendError::TooLarge { bytes, limit })?;
                self.check_version(version)?;
            }
            let alone = extent(to_u64(HEAD + frames.len() + TAIL));
            if alone > limit {
                return Err(AppendError::TooLarge { bytes: alone, limit });
            }
            if draft.count > 0 && draft.extent_with(frames.len()) > aim {
                drafts.push(std::mem::replace(&mut draft, Draft::new()));
            }
            draft.push(&frames, u32::try_from(group.len()).unwrap_or(u32::MAX));
        }
        if draft.count > 0 {
            drafts.push(draft);
        }
        if self.level >= PACKING {
            drafts.iter_mut().for_each(Draft::pack);
        }
        Ok(drafts)
    }

    /// The key under which a record's personal data is sealed: durable, before anything is sealed under it.
    fn key_of(
        &mut self,
        record: &Record,
        owner: &dyn Fn(&Record) -> Option<Tenant>,
    ) -> Result<Option<Arc<Key>>, AppendError> {
        let Some(seal) = self.seal.as_ref().filter(|_| format3::holds_personal(record)) else { return Ok(None) };
        let own = match record {
            Record::Carried(payment) => Some(&payment.tenant),
            Record::Event(Event { fact: Fact::Accepted { tenant, .. }, .. })
            | Record::Relogged(Event { fact: Fact::Accepted { tenant, .. }, .. }) => Some(tenant),
            Record::Event(_)
            | Record::Relogged(_)
            | Record::Inbox(_)
            | Record::Audit(_)
            | Record::Opened(_)
            | Record::Checkpoint(_)
            | Record::Closed(_) => None,
        };
        let made = match own {
            Some(tenant) => seal.key_of(Some(tenant)),
            None => seal.key_of(owner(record).as_ref()),
        };
        made.map(Some).map_err(|error| match making("making a key", error) {
            AppendError::Stopped(why) => self.stop(why),
            full @ (AppendError::Full(_) | AppendError::TooLarge { .. } | AppendError::NotFinal { .. }) => full,
        })
    }

    fn check_version(&self, version: u8) -> Result<(), AppendError> {
        let level = self.level;
        if version > level { Err(AppendError::NotFinal { version, level }) } else { Ok(()) }
    }

    /// All segments that the batches will need, before the first of them is written: either all of them fit, or none is.
    fn make_segments_for(&mut self, drafts: &[Draft]) -> Result<(), AppendError> {
        let (mut offset, mut segments) = (self.at.offset, 0);
        for draft in drafts {
            if offset + draft.extent_with(0) > self.options.segment_bytes {
                segments += 1;
                offset = HEADER;
            }
            offset += draft.extent_with(0);
        }
        if segments <= self.spares.ready() {
            return Ok(());
        }
        let made = self.spares.make_at_once(segments);
        made.map(drop).map_err(|error| match making("making a segment", error) {
            AppendError::Stopped(why) => self.stop(why),
            full @ (AppendError::Full(_) | AppendError::TooLarge { .. } | AppendError::NotFinal { .. }) => full,
        })
    }

    fn write(&mut self, wall: Timestamp, draft: Draft) -> Result<(), AppendError> {
        if self.at.offset + draft.extent_with(0) > self.options.segment_bytes {
            self.roll().map_err(|error| self.stop(format!("beginning a segment failed: {error}")))?;
        }
        // What an earlier start left unproven is not this one's to vouch for.
        let durable = if self.at == self.header.start() { self.header.proven.next } else { self.at.next };
        let count = draft.count;
        let (bytes, chain) = draft.finish(Head {
            length: 0,
            epoch: self.header.epoch,
            salt: self.header.salt,
            first: self.at.next,
            durable: durable.before(),
            wall,
            count: 0,
            previous: self.at.chain,
            zero_sectors: 0,
            packed: false,
        });
        let written = self.file.write_and_sync(self.at.offset, &bytes);
        written.map_err(|error| self.stop(format!("writing a batch failed: {error}")))?;
        self.at.offset += to_u64(bytes.len());
        self.at.next = self.at.next.plus(count.into());
        self.at.chain = chain;
        self.unconfirmed = count > 0;
        Ok(())
    }

    /// Goes on in the next segment. Its header says that this one is durable.
    fn roll(&mut self) -> io::Result<()> {
        let number = self.spares.take().ok_or_else(|| io::Error::other("no segment was made"))?;
        let next = Header { number, proven: self.at, seen: self.at, ..self.header };
        let (file, header) = activate(&self.disk, next)?;
        self.line.write().unwrap_or_else(PoisonError::into_inner).push(header);
        (self.file, self.header, self.at) = (file, header, header.start());
        Ok(())
    }

    /// After a failed write or fsync nobody knows what is durable, and asking again proves nothing.
    fn stop(&mut self, why: String) -> AppendError {
        self.stopped = Some(why.clone());
        AppendError::Stopped(why)
    }
}

impl fmt::Debug for Journal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Journal")
            .field("epoch", &self.header.epoch)
            .field("at", &self.at)
            .field("stopped", &self.stopped)
            .finish_non_exhaustive()
    }
}

/// Writes a spare's header and makes it durable.
fn activate(disk: &Arc<dyn Disk>, mut header: Header) -> io::Result<(SegmentFile, Header)> {
    let file = SegmentFile::open(disk, header.number, Access::ReadWrite)?;
    let bytes = header.encode();
    file.write_and_sync(0, &bytes)?;
    Ok((file, header))
}

fn making(what: &str, error: io::Error) -> AppendError {
    if is_full(&error) { AppendError::Full(error) } else { stopped(what, &error) }
}

fn stopped(what: &str, error: &io::Error) -> AppendError {
    AppendError::Stopped(format!("{what} failed: {error}"))
}
