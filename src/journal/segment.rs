//! A segment: one file of batches. Its name, its header, and how one is made ahead of need.

use std::{
    collections::VecDeque,
    io,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
};

use crate::disk::{Access, Disk, Handle};

use super::{
    LARGEST_BATCH, Lsn, Position,
    batch::{SECTOR, STAMP},
    bytes::{Fields, is_zero, to_usize},
};

/// The folder of the segments, under the data folder.
pub(super) const FOLDER: &str = "journal";
/// A segment's header has this much of the file to itself: a page, so that no batch is ever written near it.
pub(super) const HEADER: u64 = 4096;

const MAGIC: [u8; 8] = *b"PAYONCEJ";
const FORMAT: u32 = 1;
/// The bytes of a header that its CRC covers.
const COVERED: usize = 4088;
/// What no count of starts, segments, records or bytes ever comes to, with as much again left above it.
const OUT_OF_REACH: u64 = u64::MAX >> 1;

/// How much is zeroed, and synced, at once while a segment is made: what a batch that is synced meanwhile may have to wait
/// behind. All of a segment in one sync held batches up for a tenth of a second; 4 MiB take a processor for 20 ms, where
/// memory is new to the machine.
const ZEROS: u64 = 1 << 20;

/// A segment's file.
pub(super) fn path(number: u64) -> String {
    format!("{FOLDER}/{number:010}.log")
}

fn path_while_made(number: u64) -> String {
    format!("{FOLDER}/{number:010}.tmp")
}

/// The number in a segment's file name; `None` for any other file.
pub(super) fn number_of(name: &str) -> Option<u64> {
    let number = name.strip_suffix(".log")?.parse().ok()?;
    (number <= OUT_OF_REACH && path(number) == format!("{FOLDER}/{name}")).then_some(number)
}

/// A segment's header. The bytes are drawn in `journal/mod.rs`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Header {
    /// The most that one batch takes of the file, padding included.
    pub(super) largest_batch: u32,
    /// How long the file was made.
    pub(super) segment_bytes: u64,
    /// The data folder's identity.
    pub(super) store: [u8; 16],
    pub(super) boot: [u8; 16],
    pub(super) epoch: u64,
    pub(super) salt: u64,
    pub(super) number: u64,
    /// The inode number of the lock file of the folder that this journal belongs in.
    pub(super) lock_inode: u64,
    /// Where the predecessor was known to be durable; its number is here. Zero: there is none.
    pub(super) proven: Position,
    /// Where the predecessor was seen to end.
    pub(super) seen: Position,
    /// Of the encoded header: the chain value before the first batch.
    pub(super) crc: u32,
}

impl Header {
    /// The header's 4 KiB; sets `crc`.
    pub(super) fn encode(&mut self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(to_usize(HEADER));
        bytes.extend_from_slice(&MAGIC);
        bytes.extend_from_slice(&FORMAT.to_le_bytes());
        bytes.extend_from_slice(&self.largest_batch.to_le_bytes());
        bytes.extend_from_slice(&self.segment_bytes.to_le_bytes());
        bytes.extend_from_slice(&self.store);
        bytes.extend_from_slice(&self.boot);
        for field in [self.epoch, self.salt, self.number, self.lock_inode, self.proven.segment] {
            bytes.extend_from_slice(&field.to_le_bytes());
        }
        for end in [self.proven, self.seen] {
            bytes.extend_from_slice(&end.offset.to_le_bytes());
            bytes.extend_from_slice(&end.next.get().to_le_bytes());
            bytes.extend_from_slice(&end.chain.to_le_bytes());
        }
        // At once: `resize` goes byte by byte in a build that is not optimized, and every start writes a header.
        bytes.extend_from_slice(&vec![0; COVERED.saturating_sub(bytes.len())]);
        self.crc = crc32fast::hash(&bytes);
        bytes.extend_from_slice(&self.crc.to_le_bytes());
        bytes.extend_from_slice(&[0, 0, 0, STAMP]);
        bytes
    }

    /// `None`: not a header that was ever wholly written.
    pub(super) fn decode(bytes: &[u8]) -> Option<Header> {
        let mut fields = Fields(bytes);
        let (magic, format) = (fields.bytes()?, fields.u32()?);
        let (largest_batch, segment_bytes) = (fields.u32()?, fields.u64()?);
        let (store, boot) = (fields.bytes()?, fields.bytes()?);
        let (epoch, salt, number, lock_inode) = (fields.u64()?, fields.u64()?, fields.u64()?, fields.u64()?);
        let segment = fields.u64()?;
        let mut end = || {
            let (offset, next) = (fields.u64()?, Lsn::new(fields.u64()?));
            Some(Position { segment, offset, next, chain: fields.u32()? })
        };
        let (proven, seen) = (end()?, end()?);
        let mut last = Fields(bytes.get(COVERED..to_usize(HEADER))?);
        let (crc, spare, stamp) = (last.u32()?, last.bytes::<3>()?, last.u8()?);
        let right = magic == MAGIC
            && format == FORMAT
            && crc == crc32fast::hash(bytes.get(..COVERED)?)
            && spare == [0; 3]
            && stamp == STAMP;
        let header =
            Header { largest_batch, segment_bytes, store, boot, epoch, salt, number, lock_inode, proven, seen, crc };
        right.then_some(header)
    }

    /// Whether a number in it is so large that counting on from it might overflow, or that a batch that claims it would
    /// take memory without end once it is unpacked.
    pub(super) fn is_out_of_reach(&self) -> bool {
        let Header { largest_batch, segment_bytes, epoch, number, proven, seen, .. } = self;
        let ends = [proven, seen].map(|end| end.offset.max(end.next.get()).max(end.segment));
        let mut counted = ends.into_iter().chain([*segment_bytes, *epoch, *number]);
        *largest_batch > LARGEST_BATCH || counted.any(|counted| counted > OUT_OF_REACH)
    }

    /// Whether these bytes are a header of a format that this version does not know.
    pub(super) fn of_another_format(bytes: &[u8]) -> Option<u32> {
        let mut fields = Fields(bytes);
        let (magic, format) = (fields.bytes::<8>()?, fields.u32()?);
        let crc = Fields(bytes.get(COVERED..)?).u32()?;
        let whole = magic == MAGIC && crc == crc32fast::hash(bytes.get(..COVERED)?);
        (whole && format != FORMAT).then_some(format)
    }

    /// Before its first batch.
    pub(super) fn start(&self) -> Position {
        Position { segment: self.number, offset: HEADER, next: self.seen.next, chain: self.crc }
    }

    /// The segment before; `None`: this is the first.
    pub(super) fn predecessor(&self) -> Option<u64> {
        (self.proven.segment != 0).then_some(self.proven.segment)
    }
}

/// An open file that is closed when it is no longer needed.
pub(super) struct SegmentFile {
    disk: Arc<dyn Disk>,
    handle: Handle,
    bytes: u64,
}

impl SegmentFile {
    pub(super) fn open(disk: &Arc<dyn Disk>, number: u64, access: Access) -> io::Result<SegmentFile> {
        let handle = disk.open(&path(number), access)?;
        let mut file = SegmentFile { disk: Arc::clone(disk), handle, bytes: 0 };
        file.bytes = file.disk.len(handle)?;
        Ok(file)
    }

    /// How long it was when it was opened: while it is open nothing makes it longer.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Up to `length` bytes from `offset`; fewer where the file ends.
    pub(super) fn read(&self, offset: u64, length: usize) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; length.min(to_usize(self.bytes.saturating_sub(offset)))];
        let read = self.disk.read_at(self.handle, offset, &mut bytes)?;
        bytes.truncate(read);
        Ok(bytes)
    }

    pub(super) fn write_and_sync(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.disk.write_at(self.handle, offset, bytes)?;
        self.disk.sync_data(self.handle)
    }

    pub(super) fn cut(&self, bytes: u64) -> io::Result<()> {
        self.disk.set_len(self.handle, bytes)?;
        self.disk.sync_all(self.handle)
    }

    /// The end of the last sector at or after `from` that holds anything; `None` if all is zero to the file's end.
    pub(super) fn last_written(&self, from: u64) -> io::Result<Option<u64>> {
        let (mut at, mut last) = (from, None);
        loop {
            let chunk = self.read(at, to_usize(ZEROS))?;
            if chunk.is_empty() {
                return Ok(last);
            }
            if !is_zero(&chunk) {
                let sectors = chunk.chunks(to_usize(SECTOR)).zip((at..).step_by(to_usize(SECTOR)));
                last = sectors.filter(|(bytes, _)| !is_zero(bytes)).map(|(_, at)| at + SECTOR).last();
            }
            at += ZEROS;
        }
    }
}

impl Drop for SegmentFile {
    fn drop(&mut self) {
        self.disk.close(self.handle);
    }
}

/// Segments that are made and not yet begun, shared by the journal and whoever makes them ahead of need.
pub(super) struct Spares {
    disk: Arc<dyn Disk>,
    segment_bytes: u64,
    /// How many should be ready.
    aim: AtomicUsize,
    /// Somebody waits for the next one, or soon will.
    hurry: AtomicBool,
    /// Held while one is made, so that two never make the same one; the list is not locked meanwhile.
    making: Mutex<()>,
    list: Mutex<SpareList>,
}

struct SpareList {
    ready: VecDeque<u64>,
    next: u64,
}

impl Spares {
    pub(super) fn new(disk: Arc<dyn Disk>, segment_bytes: u64, ready: VecDeque<u64>, next: u64) -> Spares {
        let list = Mutex::new(SpareList { ready, next });
        let (aim, hurry) = (AtomicUsize::new(1), AtomicBool::new(false));
        Spares { disk, segment_bytes, aim, hurry, making: Mutex::new(()), list }
    }

    pub(super) fn ready(&self) -> usize {
        self.list().ready.len()
    }

    /// Makes spares until `count` are ready: somebody waits. Whoever is making one goes on without a rest.
    pub(super) fn make_at_once(&self, count: usize) -> io::Result<bool> {
        self.hurry.store(true, Ordering::Relaxed);
        self.make_up_to(count, &|| {})
    }

    /// Makes spares until `count` are ready. Unless it must hurry, it rests between their parts.
    fn make_up_to(&self, count: usize, rest: &dyn Fn()) -> io::Result<bool> {
        let rest = || {
            if !self.hurry.load(Ordering::Relaxed) {
                rest();
            }
        };
        let _making = self.making.lock().unwrap_or_else(PoisonError::into_inner);
        let mut made = false;
        while self.ready() < count {
            let number = self.list().next;
            make(self.disk.as_ref(), number, self.segment_bytes, &rest)?;
            let mut list = self.list();
            list.ready.push_back(number);
            list.next = number + 1;
            made = true;
        }
        Ok(made)
    }

    /// How many should be ready from now on, instead of one; and whether whoever makes them should not rest.
    pub(super) fn aim(&self, count: usize, hurry: bool) {
        self.aim.store(count, Ordering::Relaxed);
        self.hurry.store(hurry, Ordering::Relaxed);
    }

    /// Takes the next one.
    pub(super) fn take(&self) -> Option<u64> {
        self.list().ready.pop_front()
    }

    fn list(&self) -> MutexGuard<'_, SpareList> {
        self.list.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Makes segments ahead of need, so that the journal does not wait for one. For a background thread.
#[derive(Clone)]
pub struct SpareMaker(pub(super) Arc<Spares>);

impl SpareMaker {
    /// Whether [`SpareMaker::make`] would make one. Cheap.
    pub fn wanted(&self) -> bool {
        self.0.ready() < self.0.aim.load(Ordering::Relaxed)
    }

    /// Whoever is making one goes on without a rest.
    pub fn hurry(&self) {
        self.0.hurry.store(true, Ordering::Relaxed);
    }

    /// Makes one more, ready or not: for space that must be certain. As [`SpareMaker::make`] otherwise.
    pub fn make_another(&self) -> io::Result<()> {
        self.0.make_at_once(self.0.ready() + 1).map(drop)
    }

    /// Makes one segment if fewer are ready than should be: zero-filled, fsynced, and under its name. Returns whether it
    /// made one. An error (no space, most likely) harms nothing that is written: the journal tries itself when it needs one.
    pub fn make(&self) -> io::Result<bool> {
        self.make_gently(&|| {})
    }

    /// The same, with rests between the parts of the segment, so that who writes the journal meanwhile has the processor and
    /// the disk for most of the time. No rests while somebody waits.
    pub fn make_gently(&self, rest: &dyn Fn()) -> io::Result<bool> {
        let next = self.0.ready() + 1;
        self.0.make_up_to(next.min(self.0.aim.load(Ordering::Relaxed)), rest)
    }

    /// How long a segment is made.
    pub fn segment_bytes(&self) -> u64 {
        self.0.segment_bytes
    }
}

/// Written out with zeros, not merely lengthened, so that no later write needs space, and no fsync has metadata to sync.
fn make(disk: &dyn Disk, number: u64, bytes: u64, rest: &dyn Fn()) -> io::Result<()> {
    let unfinished = path_while_made(number);
    // Left over from a kill. Mostly there is none; one that stays makes the next line fail, and says why.
    let _ = disk.remove(&unfinished);
    let file = disk.create(&unfinished)?;
    let filled = fill(disk, file, bytes, rest);
    disk.close(file);
    if let Err(error) = filled {
        // What it took is given back: it may be just what an outcome needs. If that fails too, the first error counts.
        let _ = disk.remove(&unfinished);
        return Err(error);
    }
    disk.rename(&unfinished, &path(number))?;
    disk.sync_dir(FOLDER)
}

fn fill(disk: &dyn Disk, file: Handle, bytes: u64, rest: &dyn Fn()) -> io::Result<()> {
    let zeros = vec![0; to_usize(ZEROS.min(bytes))];
    let mut at = 0;
    while at < bytes {
        let part = zeros.get(..to_usize(bytes - at)).unwrap_or(&zeros);
        disk.write_at(file, at, part)?;
        disk.sync_all(file)?;
        at += ZEROS;
        if at < bytes {
            rest();
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sim::SimDisk;

    fn header() -> Header {
        let proven = Position { segment: 8, offset: 8192, next: Lsn::new(20), chain: 5 };
        let seen = Position { offset: 9216, next: Lsn::new(21), chain: 6, ..proven };
        Header {
            largest_batch: 4096,
            segment_bytes: 64 << 10,
            store: [1; 16],
            boot: [2; 16],
            epoch: 3,
            salt: 4,
            number: 9,
            lock_inode: 42,
            proven,
            seen,
            crc: 0,
        }
    }

    #[test]
    fn the_names_of_files_never_change() {
        assert_eq!(path(7), "journal/0000000007.log");
        assert_eq!(path_while_made(7), "journal/0000000007.tmp");
        assert_eq!(
            (number_of("0000000007.log"), number_of("0000000007.tmp"), number_of("7.log")),
            (Some(7), None, None)
        );
    }

    #[test]
    fn a_header_is_read_back_and_none_with_any_flipped_bit_is() {
        let mut header = header();
        let bytes = header.encode();
        assert_eq!((bytes.len(), Header::decode(&bytes)), (to_usize(HEADER), Some(header)));
        assert!(header.crc != 0);
        for byte in 0..bytes.len() {
            let mut bytes = bytes.clone();
            bytes[byte] ^= 1 << (byte % 8);
            assert_eq!(Header::decode(&bytes), None, "byte {byte}");
            assert_eq!(Header::of_another_format(&bytes), None, "byte {byte}: damage is no other format");
        }
        assert_eq!(Header::decode(&bytes[..bytes.len() - 1]), None);
    }

    #[test]
    fn a_whole_header_of_another_format_is_named_and_its_own_is_not() {
        let mut bytes = header().encode();
        assert_eq!(Header::of_another_format(&bytes), None);
        bytes[8] = 2;
        let crc = crc32fast::hash(&bytes[..COVERED]).to_le_bytes();
        bytes[COVERED..COVERED + 4].copy_from_slice(&crc);
        assert_eq!((Header::decode(&bytes), Header::of_another_format(&bytes)), (None, Some(2)));
        bytes[0] = b'?';
        let crc = crc32fast::hash(&bytes[..COVERED]).to_le_bytes();
        bytes[COVERED..COVERED + 4].copy_from_slice(&crc);
        assert_eq!(Header::of_another_format(&bytes), None, "another program's file");
    }

    #[test]
    fn a_segment_begins_after_its_header_where_the_one_before_was_seen_to_end() {
        let mut header = header();
        header.encode();
        assert_eq!(header.start(), Position { segment: 9, offset: 4096, next: Lsn::new(21), chain: header.crc });
        assert_eq!(header.predecessor(), Some(8));
        assert_eq!(Header::default().predecessor(), None);
    }

    #[test]
    fn numbers_that_counting_could_overflow_are_out_of_reach() {
        type Set = fn(&mut Header, u64);
        let fields: [Set; 9] = [
            |header, number| header.segment_bytes = number,
            |header, number| header.epoch = number,
            |header, number| header.number = number,
            |header, number| header.proven.segment = number,
            |header, number| header.proven.offset = number,
            |header, number| header.proven.next = Lsn::new(number),
            |header, number| header.seen.segment = number,
            |header, number| header.seen.offset = number,
            |header, number| header.seen.next = Lsn::new(number),
        ];
        for (field, set) in fields.into_iter().enumerate() {
            let reaches = |number| {
                let mut header = header();
                set(&mut header, number);
                !header.is_out_of_reach()
            };
            assert!(reaches(u64::MAX / 2) && !reaches(u64::MAX / 2 + 1) && !reaches(u64::MAX), "field {field}");
        }
        for (largest_batch, reaches) in [(LARGEST_BATCH, true), (LARGEST_BATCH + 1, false), (u32::MAX, false)] {
            assert_eq!(!Header { largest_batch, ..header() }.is_out_of_reach(), reaches, "{largest_batch}");
        }
    }

    #[test]
    fn only_the_very_names_that_segments_are_given_are_theirs() {
        assert_eq!(path(7), "journal/0000000007.log");
        assert_eq!(number_of("0000000007.log"), Some(7));
        assert_eq!(number_of("12345678901.log"), Some(12_345_678_901), "beyond ten digits they just get longer");
        assert_eq!(number_of("9223372036854775807.log"), Some(u64::MAX / 2));
        for name in ["9223372036854775808.log", "7.log", "00000000007.log", "+000000007.log", "0000000007.tmp", "x.log"]
        {
            assert_eq!(number_of(name), None, "{name}");
        }
    }

    #[test]
    fn what_is_written_last_is_found_however_far_behind() {
        let disk: Arc<dyn Disk> = Arc::new(SimDisk::new());
        disk.make_dir(FOLDER).expect("space");
        let handle = disk.create(&path(1)).expect("space");
        disk.set_len(handle, 3 * ZEROS).expect("space");
        let file = SegmentFile::open(&disk, 1, Access::Read).expect("there");
        assert_eq!(file.last_written(HEADER).expect("readable"), None);
        for (at, end) in [(HEADER, HEADER + SECTOR), (2 * ZEROS + 700, 2 * ZEROS + 2 * SECTOR)] {
            disk.write_at(handle, at, &[1]).expect("space");
            assert_eq!(file.last_written(HEADER).expect("readable"), Some(end));
        }
    }
}
