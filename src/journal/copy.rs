//! A copy of a journal up to one moment, also while a process goes on writing it.

use std::{io, sync::Arc};

use crate::disk::{Access, Disk, Handle};

use super::{
    Found, OpenError,
    batch::SECTOR,
    bytes::{round_up, to_u64, to_usize},
    folder::reading,
    reader::verify_shut,
    scan::open_shut,
    segment::{FOLDER, Header, SegmentFile, path},
};

/// How much is copied at once.
const CHUNK: u64 = 1 << 20;

impl Found {
    /// Copies everything that counts, up to the last record that was found, into a folder of another disk that must not be
    /// there yet. What was found never changes, so the copy is one moment's, whatever is written meanwhile. Durable, and
    /// read again, byte for byte, when this returns.
    pub fn copy(&self, to: &Arc<dyn Disk>) -> Result<(), OpenError> {
        let writing = || OpenError::disk("writing the copy");
        to.make_dir(FOLDER).map_err(writing())?;
        to.sync_dir("").map_err(writing())?;
        for (index, segment) in self.segments.iter().enumerate() {
            let header = &segment.header;
            let (end, length) = match self.segments.get(index + 1) {
                Some(next) => (next.header.seen.offset, round_up(next.header.seen.offset, SECTOR)),
                None => (self.seen.offset, header.segment_bytes),
            };
            self.copy_segment(header, end, length, to)?;
        }
        to.sync_dir(FOLDER).map_err(writing())?;
        self.check_copy(to)
    }

    fn copy_segment(&self, header: &Header, end: u64, length: u64, to: &Arc<dyn Disk>) -> Result<(), OpenError> {
        let file = SegmentFile::open(&self.disk, header.number, Access::Read).map_err(reading(header.number))?;
        let writing = || OpenError::disk(format!("writing the copy of {}", path(header.number)));
        let copy = Open::create(to, &path(header.number)).map_err(writing())?;
        let mut at = 0;
        while at < end {
            let bytes = file.read(at, to_usize(CHUNK.min(end - at))).map_err(reading(header.number))?;
            if bytes.is_empty() {
                break; // It ends in a batch that was recorded again, and is not needed.
            }
            to.write_at(copy.file, at, &bytes).map_err(writing())?;
            at += to_u64(bytes.len());
        }
        to.set_len(copy.file, length).and_then(|()| to.sync_all(copy.file)).map_err(writing())
    }

    /// Reads all of the copy: it holds what was found here, and is whole.
    fn check_copy(&self, to: &Arc<dyn Disk>) -> Result<(), OpenError> {
        if let Some(failure) = verify_shut(Arc::clone(to), self.options)?.failures.into_iter().next() {
            return Err(failure);
        }
        let copy = open_shut(Arc::clone(to), self.options)?;
        let same = (copy.store_uuid(), copy.seen) == (self.store_uuid(), self.seen);
        let differs = || io::Error::other("the copy does not hold what was copied");
        if same { Ok(()) } else { Err(OpenError::disk("reading the copy")(differs())) }
    }
}

/// A file that is closed when it is no longer needed.
struct Open<'a> {
    disk: &'a Arc<dyn Disk>,
    file: Handle,
}

impl<'a> Open<'a> {
    fn create(disk: &'a Arc<dyn Disk>, path: &str) -> io::Result<Open<'a>> {
        Ok(Open { disk, file: disk.create(path)? })
    }
}

impl Drop for Open<'_> {
    fn drop(&mut self) {
        self.disk.close(self.file);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        journal::{
            Journal, Lsn, Options, Record, ReplayFrom, open,
            samples::{self, WALL, news},
        },
        sim::SimDisk,
    };

    const SIZES: Options =
        Options { segment_bytes: 32 << 10, batch_bytes: 4 << 10, largest_batch_bytes: 8 << 10, verify_bytes: 0 };

    fn start(disk: &Arc<dyn Disk>) -> Journal {
        samples::start(disk, SIZES)
    }

    fn write(journal: &mut Journal, count: usize) {
        for _ in 0..count {
            journal.append(WALL, &[vec![news(1_200)]]).expect("room");
        }
    }

    fn records(found: &Found) -> Vec<(Lsn, Record)> {
        let mut records = Vec::new();
        let read = found.replay(ReplayFrom::Beginning, &mut |lsn, _, record| {
            records.push((lsn, record));
            Ok::<(), OpenError>(())
        });
        read.map(|()| records).expect("whole")
    }

    /// Three starts, and several segments of each.
    fn written() -> (Arc<dyn Disk>, Journal) {
        let disk: Arc<dyn Disk> = Arc::new(SimDisk::new());
        for _ in 0..2 {
            write(&mut start(&disk), 40);
        }
        let mut journal = start(&disk);
        write(&mut journal, 50);
        (disk, journal)
    }

    #[test]
    fn a_copy_holds_what_was_found_and_nothing_that_was_written_since() {
        let (disk, mut journal) = written();
        let found = open(Arc::clone(&disk), SIZES).expect("readable");
        let before = records(&found);
        write(&mut journal, 30);
        let copy: Arc<dyn Disk> = Arc::new(SimDisk::new());
        found.copy(&copy).expect("space");
        let copied = open(Arc::clone(&copy), SIZES).expect("readable");
        assert_eq!(records(&copied), before);
        assert!(copied.last() < journal.last());
        let mut onwards = start(&copy);
        write(&mut onwards, 5);
        assert_eq!(records(&open(copy, SIZES).expect("readable")).len(), before.len() + 1 + 5);
    }

    /// So long a segment is copied in several pieces.
    #[test]
    fn of_a_long_segment_nothing_is_copied_that_was_written_since() {
        let sizes = Options { segment_bytes: 8 << 20, ..SIZES };
        let disk: Arc<dyn Disk> = Arc::new(SimDisk::new());
        let mut journal = samples::start(&disk, sizes);
        write(&mut journal, 1_500);
        let found = open(Arc::clone(&disk), sizes).expect("readable");
        write(&mut journal, 500);
        let copy: Arc<dyn Disk> = Arc::new(SimDisk::new());
        found.copy(&copy).expect("space");
        assert_eq!(open(copy, sizes).expect("readable").last(), found.last());
    }

    #[test]
    fn nothing_is_copied_over_what_is_there() {
        let (disk, _journal) = written();
        let found = open(Arc::clone(&disk), SIZES).expect("readable");
        let copy: Arc<dyn Disk> = Arc::new(SimDisk::new());
        found.copy(&copy).expect("space");
        assert!(found.copy(&copy).is_err() && found.copy(&disk).is_err());
        assert_eq!(records(&found), records(&open(copy, SIZES).expect("readable")));
    }

    #[test]
    fn a_journal_that_is_being_written_is_never_taken_for_a_damaged_one() {
        // So large that a place at the end takes more than one read.
        let sizes = Options { segment_bytes: 16 << 20, largest_batch_bytes: 4 << 20, ..SIZES };
        let disk: Arc<dyn Disk> = Arc::new(SimDisk::new());
        let mut journal = samples::start(&disk, sizes);
        let mut last = Lsn::ZERO;
        std::thread::scope(|scope| {
            let writer = scope.spawn(|| write(&mut journal, 3_000));
            while !writer.is_finished() {
                let found = open(Arc::clone(&disk), sizes).expect("not damaged");
                assert!(found.last() >= last);
                last = found.last();
            }
        });
        assert!(last > Lsn::new(1), "it was read meanwhile");
    }

    #[test]
    fn a_copy_that_is_not_what_was_copied_is_refused() {
        let (disk, _journal) = written();
        let found = open(Arc::clone(&disk), SIZES).expect("readable");
        let copied = || {
            let copy: Arc<dyn Disk> = Arc::new(SimDisk::new());
            found.copy(&copy).expect("space");
            copy
        };
        assert!(found.check_copy(&copied()).is_ok());
        let further = copied();
        write(&mut start(&further), 1);
        assert!(found.check_copy(&further).is_err(), "it goes on where this one ends");
        let damaged = copied();
        let first = damaged.open(&path(1), Access::ReadWrite).expect("there");
        damaged.write_at(first, 8_192, &[0xFF; 600]).expect("space");
        assert!(found.check_copy(&damaged).is_err(), "its oldest records are read as well");
    }

    #[test]
    fn no_file_is_left_open_by_a_copy_on_either_side() {
        let (from, to) = (Arc::new(SimDisk::new()), Arc::new(SimDisk::new()));
        let (disk, copy): (Arc<dyn Disk>, Arc<dyn Disk>) = (from.clone(), to.clone());
        write(&mut start(&disk), 40);
        open(disk, SIZES).expect("readable").copy(&copy).expect("space");
        assert_eq!((from.open_files(), to.open_files()), (0, 0));
    }
}
