//! Reading back: everything in order, or a stretch while the journal is being written.

use std::{
    collections::VecDeque,
    iter,
    sync::{Arc, PoisonError},
};

use crate::{
    disk::Disk,
    payment::{Audit, Timestamp},
};

use super::{
    Lsn, OpenError, Options, Position, Record, folder,
    scan::{open, open_shut},
    seal::Seal,
    segment::Header,
    walk::{Batch, Bounds, Step, Walk},
    writer::Line,
};

/// One record, as it stands in the journal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its place.
    pub lsn: Lsn,
    /// The segment that it is in.
    pub segment: u64,
    /// The byte at which its batch begins.
    pub offset: u64,
    /// When its batch was written.
    pub wall: Timestamp,
    /// Whether a later start has recorded again what is here: then this does not count.
    pub superseded: bool,
    /// The record.
    pub record: Record,
}

/// Every record, in order.
pub struct Records {
    disk: Arc<dyn Disk>,
    seal: Option<Arc<Seal>>,
    line: VecDeque<Header>,
    from: Option<Position>,
    walk: Option<Walk>,
    ready: VecDeque<Result<Entry, OpenError>>,
    /// Whether to go on with the next segment after damage.
    goes_on: bool,
}

/// Everything that can be read, damaged or not, for people: each segment in turn, those that do not count included, each
/// up to its first damage. Changes nothing.
pub fn dump(disk: Arc<dyn Disk>) -> Result<Records, OpenError> {
    let seal = Seal::read(&disk)?;
    dump_with(disk, seal)
}

fn dump_with(disk: Arc<dyn Disk>, seal: Option<Arc<Seal>>) -> Result<Records, OpenError> {
    let mut records = Records::new((Arc::clone(&disk), seal), iter::empty(), None);
    records.goes_on = true;
    for number in folder::numbers(&disk)? {
        match folder::look_at(&disk, number) {
            Ok((Some(header), _)) => records.line.push_back(header),
            Ok((None, _)) => {}
            Err(error) => records.ready.push_back(Err(error)),
        }
    }
    Ok(records)
}

/// What reading everything came to.
#[derive(Debug)]
pub struct Verified {
    /// How many records could be read.
    pub records: u64,
    /// Why a start would refuse, and the first damage of each segment. None: all is well.
    pub failures: Vec<OpenError>,
}

/// Reads everything there is, every record of every segment, whatever is found. Changes nothing.
pub fn verify(disk: Arc<dyn Disk>, options: Options) -> Result<Verified, OpenError> {
    let opened = open(Arc::clone(&disk), Options { verify_bytes: u64::MAX, ..options });
    verify_all(dump(disk)?, opened.err())
}

/// The same without the keys to personal data: everything but what is sealed.
pub fn verify_shut(disk: Arc<dyn Disk>, options: Options) -> Result<Verified, OpenError> {
    let opened = open_shut(Arc::clone(&disk), Options { verify_bytes: u64::MAX, ..options });
    let seal = Some(Seal::shut(&disk));
    verify_all(dump_with(disk, seal)?, opened.err())
}

fn verify_all(records: Records, refused: Option<OpenError>) -> Result<Verified, OpenError> {
    let mut verified = Verified { records: 0, failures: refused.into_iter().collect() };
    for entry in records {
        match entry {
            Ok(_) => verified.records += 1,
            Err(error) => {
                let known = verified.failures.iter().any(|known| known.to_string() == error.to_string());
                if !known {
                    verified.failures.push(error);
                }
            }
        }
    }
    Ok(verified)
}

impl Records {
    /// Of these segments, from `from` or their beginning, to the first damage.
    pub(super) fn new(
        (disk, seal): (Arc<dyn Disk>, Option<Arc<Seal>>),
        line: impl Iterator<Item = Header>,
        from: Option<Position>,
    ) -> Records {
        let first = from.map_or(0, |from| from.segment);
        let line = line.filter(|header| header.number >= first).collect();
        Records { disk, seal, line, from, walk: None, ready: VecDeque::new(), goes_on: false }
    }

    /// Reads batches until one holds a record, or there is no more.
    fn read_on(&mut self) -> Result<(), OpenError> {
        while self.ready.is_empty() {
            let Some(walk) = &mut self.walk else {
                let Some(header) = self.line.pop_front() else { break };
                let next = self.line.iter().rfind(|next| next.predecessor() == Some(header.number));
                let from = self.from.take().unwrap_or_else(|| header.start());
                self.walk = Some(Walk::new(&self.disk, header, next.map_or(Bounds::Last, Bounds::before), from)?);
                continue;
            };
            match walk.next()? {
                Step::Batch(batch) => {
                    let entries = decode(&batch, self.seal.as_deref(), Lsn::ZERO, usize::MAX)?;
                    self.ready.extend(entries.into_iter().map(Ok));
                }
                Step::End(_) => self.walk = None,
            }
        }
        Ok(())
    }
}

impl Iterator for Records {
    type Item = Result<Entry, OpenError>;

    fn next(&mut self) -> Option<Result<Entry, OpenError>> {
        if let Err(error) = self.read_on() {
            self.walk = None;
            if !self.goes_on {
                // What comes after damage is not to be trusted.
                self.line.clear();
            }
            return Some(Err(error));
        }
        self.ready.pop_front()
    }
}

/// What operators did, newest first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Audits {
    /// Each with its place in the journal.
    pub audits: Vec<(Lsn, Audit)>,
    /// Before which place to go on; none: there is no more.
    pub next: Option<Lsn>,
}

/// Reads while the journal is being written, with files of its own: for the event feed. Send it where it is needed.
#[derive(Clone)]
pub struct Reader {
    disk: Arc<dyn Disk>,
    seal: Option<Arc<Seal>>,
    line: Line,
    /// Where the last reading stopped.
    cursor: Position,
}

impl Reader {
    pub(super) fn new(disk: Arc<dyn Disk>, seal: Option<Arc<Seal>>, line: Line) -> Reader {
        Reader { disk, seal, line, cursor: Position::default() }
    }

    /// Up to `max` records from `from` on, in order, none after `durable`: the `last` of an append that had returned
    /// before this was called. What a later start has recorded again is left out of its first place. Goes on quickest
    /// where the last reading stopped.
    pub fn read_from(&mut self, from: Lsn, durable: Lsn, max: usize) -> Result<Vec<(Lsn, Record)>, OpenError> {
        let line = self.line_from(from);
        let mut entries: Vec<Entry> = Vec::new();
        for (index, header) in line.iter().enumerate() {
            let bounds = line.get(index + 1).map_or(Bounds::Durable(durable), Bounds::before);
            let start = header.start();
            let usable = self.cursor.segment == start.segment && self.cursor.next <= from;
            let mut walk = Walk::new(&self.disk, *header, bounds, if usable { self.cursor } else { start })?;
            while entries.len() < max && walk.at().next <= durable {
                let Step::Batch(batch) = walk.next()? else { break };
                if !batch.superseded && batch.end.next > from {
                    entries.extend(decode(&batch, self.seal.as_deref(), from, max - entries.len())?);
                }
                if batch.end.next <= from.max(entries.last().map_or(Lsn::ZERO, |entry| entry.lsn.plus(1))) {
                    self.cursor = batch.end;
                }
            }
            if entries.len() >= max {
                break;
            }
        }
        let upto = entries.into_iter().filter(|entry| entry.lsn <= durable);
        Ok(upto.map(|entry| (entry.lsn, entry.record)).collect())
    }

    /// A place before which nothing was written after a time: the beginning of a segment.
    pub fn first_after(&mut self, time: Timestamp) -> Result<Lsn, OpenError> {
        let line = self.line_from(Lsn::ZERO);
        for (index, header) in line.iter().enumerate().rev() {
            let bounds = line.get(index + 1).map_or(Bounds::Last, Bounds::before);
            let mut walk = Walk::new(&self.disk, *header, bounds, header.start())?;
            if let Step::Batch(batch) = walk.next()?
                && batch.wall <= time
            {
                return Ok(header.start().next);
            }
        }
        Ok(line.first().map_or(Lsn::ZERO, |header| header.start().next))
    }

    /// What operators did before a place: of the last segment that begins before it the last `max`, newest first; and before
    /// which place to go on, if there is more. Copies of what was in force are left out.
    pub fn audits_before(&mut self, before: Lsn, durable: Lsn, max: usize) -> Result<Audits, OpenError> {
        let line = self.line_from(before.before());
        let Some(header) = line.first() else { return Ok(Audits::default()) };
        let bounds = line.get(1).map_or(Bounds::Durable(durable), Bounds::before);
        let mut walk = Walk::new(&self.disk, *header, bounds, header.start())?;
        let mut found = VecDeque::new();
        while walk.at().next < before && walk.at().next <= durable {
            let Step::Batch(batch) = walk.next()? else { break };
            let audits = batch.records().filter(|(lsn, frame)| frame.is_audit() && *lsn < before && !batch.superseded);
            for (lsn, frame) in audits {
                if let Record::Audit(audit) = frame.decode(None).map_err(|why| batch.malformed(lsn, &why))?
                    && !audit.carried
                {
                    found.push_front((lsn, audit));
                    found.truncate(max);
                }
            }
        }
        let first = header.start().next;
        let next = match found.back() {
            Some((oldest, _)) if found.len() == max => Some(*oldest),
            Some(_) | None => Some(first).filter(|first| *first > Lsn::new(1)),
        };
        Ok(Audits { audits: found.into(), next })
    }

    /// The headers from the segment that holds `from`.
    fn line_from(&self, from: Lsn) -> Vec<Header> {
        let line = self.line.read().unwrap_or_else(PoisonError::into_inner);
        let after = line.partition_point(|header| header.start().next <= from);
        line.iter().skip(after.saturating_sub(1)).copied().collect()
    }
}

/// Decodes a batch's records from `from` on, up to `max` of them.
fn decode(batch: &Batch<'_>, seal: Option<&Seal>, from: Lsn, max: usize) -> Result<Vec<Entry>, OpenError> {
    let wanted = batch.records().filter(|(lsn, _)| *lsn >= from).take(max);
    let entries = wanted.map(|(lsn, frame)| {
        Ok(Entry {
            lsn,
            segment: batch.at.segment,
            offset: batch.at.offset,
            wall: batch.wall,
            superseded: batch.superseded,
            record: frame.decode(seal).map_err(|why| batch.malformed(lsn, &why))?,
        })
    });
    entries.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        journal::{
            Journal,
            samples::{WALL, news, start},
        },
        payment::{Deed, PaymentId, Person},
        sim::SimDisk,
    };

    const SIZES: Options =
        Options { segment_bytes: 16 << 10, batch_bytes: 4 << 10, largest_batch_bytes: 8 << 10, verify_bytes: 0 };

    fn deed(number: u8, carried: bool) -> Record {
        let person = Person { actor: "ann".to_owned(), reason: "asked".to_owned() };
        let deed = Deed::Inquire(PaymentId::from_bytes([number; 16]));
        Record::Audit(Audit { at: WALL, key: None, person, deed, carried })
    }

    /// Two starts with several segments each; deeds between other records, some of them copies. What the first start
    /// wrote last, the second has recorded again.
    fn written() -> (Arc<dyn Disk>, Journal) {
        let disk: Arc<dyn Disk> = Arc::new(SimDisk::new());
        let write = |first: u8| {
            let mut journal = start(&disk, SIZES);
            for number in first..first + 20 {
                let (some, other) = (deed(number, number.is_multiple_of(5)), deed(number + 100, false));
                journal.append(WALL, &[vec![news(700), some, news(701), other]]).expect("room");
            }
            journal
        };
        write(1);
        let journal = write(21);
        (disk, journal)
    }

    #[test]
    fn deeds_are_read_newest_first_segment_by_segment_and_each_once() {
        let (disk, journal) = written();
        let last = journal.last();
        let all: Vec<Entry> = dump(disk).expect("readable").map(|entry| entry.expect("whole")).collect();
        assert!(all.iter().any(|entry| entry.superseded && matches!(entry.record, Record::Audit(_))));
        let firsts: Vec<Lsn> = journal.reader().line_from(Lsn::ZERO).iter().map(|header| header.start().next).collect();
        assert!(firsts.len() > 5, "several segments of each start: {firsts:?}");
        let mut reader = journal.reader();
        for before in (1..=last.get() + 2).map(Lsn::new) {
            let first = firsts.iter().rfind(|first| **first < before).copied().unwrap_or(Lsn::new(1));
            let wanted: Vec<(Lsn, Audit)> = (all.iter().rev())
                .filter(|entry| !entry.superseded && entry.lsn >= first && entry.lsn < before)
                .filter_map(|entry| match &entry.record {
                    Record::Audit(audit) if !audit.carried => Some((entry.lsn, audit.clone())),
                    _ => None,
                })
                .collect();
            for max in 1..6 {
                let read = reader.audits_before(before, last, max).expect("readable");
                assert_eq!(read.audits, wanted[..max.min(wanted.len())], "before {before:?}, {max} of them");
                let oldest = read.audits.last().map(|(lsn, _)| *lsn).filter(|_| read.audits.len() == max);
                assert_eq!(read.next, oldest.or(Some(first).filter(|first| *first > Lsn::new(1))), "{before:?} {max}");
            }
        }
    }

    #[test]
    fn no_deed_is_told_before_it_is_durable() {
        let (_, journal) = written();
        let (last, mut reader) = (journal.last(), journal.reader());
        let at = |durable: u64| {
            let mut reader = reader.clone();
            let read = reader.audits_before(last.plus(1), Lsn::new(durable), 1).expect("readable");
            read.audits.first().map(|(lsn, _)| lsn.get())
        };
        assert_eq!(at(last.get()), Some(last.get()));
        assert_eq!(at(last.get() - 4), Some(last.get() - 4), "the group before");
        assert_eq!(reader.audits_before(Lsn::new(1), last, 9).expect("readable"), Audits::default());
    }
}
