//! Reading back: everything in order, or a stretch while the journal is being written.

use std::{
    collections::VecDeque,
    sync::{Arc, PoisonError},
};

use crate::{disk::Disk, payment::Timestamp};

use super::{
    Lsn, OpenError, Position, Record,
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

/// Every record, in order. Ends after the first error: what comes after damage is not to be trusted.
pub struct Records {
    disk: Arc<dyn Disk>,
    line: VecDeque<Header>,
    from: Option<Position>,
    walk: Option<Walk>,
    ready: VecDeque<Entry>,
}

impl Records {
    /// Of these segments, from `from` or their beginning.
    pub(super) fn new(disk: Arc<dyn Disk>, line: impl Iterator<Item = Header>, from: Option<Position>) -> Records {
        let first = from.map_or(0, |from| from.segment);
        let line = line.filter(|header| header.number >= first).collect();
        Records { disk, line, from, walk: None, ready: VecDeque::new() }
    }

    /// Reads batches until one holds a record; `false` at the end.
    fn read_on(&mut self) -> Result<bool, OpenError> {
        while self.ready.is_empty() {
            let Some(walk) = &mut self.walk else {
                let Some(header) = self.line.pop_front() else { return Ok(false) };
                let bounds = self.line.front().map_or(Bounds::Last, Bounds::before);
                let from = self.from.take().unwrap_or_else(|| header.start());
                self.walk = Some(Walk::new(&self.disk, header, bounds, from)?);
                continue;
            };
            match walk.next()? {
                Step::Batch(batch) => decode(&batch, Lsn::ZERO, usize::MAX, &mut self.ready)?,
                Step::End(_) => self.walk = None,
            }
        }
        Ok(true)
    }
}

impl Iterator for Records {
    type Item = Result<Entry, OpenError>;

    fn next(&mut self) -> Option<Result<Entry, OpenError>> {
        match self.read_on() {
            Ok(_) => self.ready.pop_front().map(Ok),
            Err(error) => {
                (self.walk, self.line) = (None, VecDeque::new());
                Some(Err(error))
            }
        }
    }
}

/// Reads while the journal is being written, with files of its own: for the event feed. Send it where it is needed.
#[derive(Clone)]
pub struct Reader {
    disk: Arc<dyn Disk>,
    line: Line,
    /// Where the last reading stopped.
    cursor: Position,
}

impl Reader {
    pub(super) fn new(disk: Arc<dyn Disk>, line: Line) -> Reader {
        Reader { disk, line, cursor: Position::default() }
    }

    /// Up to `max` records from `from` on, in order, none after `durable`: the `last` of an append that had returned
    /// before this was called. What a later start has recorded again is left out of its first place. Goes on quickest
    /// where the last reading stopped.
    pub fn read_from(&mut self, from: Lsn, durable: Lsn, max: usize) -> Result<Vec<(Lsn, Record)>, OpenError> {
        let line = self.line_from(from);
        let mut entries = VecDeque::new();
        for (index, header) in line.iter().enumerate() {
            let bounds = line.get(index + 1).map_or(Bounds::Durable(durable), Bounds::before);
            let start = header.start();
            let usable = self.cursor.segment == start.segment && self.cursor.next <= from;
            let mut walk = Walk::new(&self.disk, *header, bounds, if usable { self.cursor } else { start })?;
            while entries.len() < max && walk.at().next <= durable {
                let Step::Batch(batch) = walk.next()? else { break };
                if !batch.superseded && batch.end.next > from {
                    decode(&batch, from, max, &mut entries)?;
                }
                if batch.end.next <= from.max(entries.back().map_or(Lsn::ZERO, |entry| entry.lsn.plus(1))) {
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

    /// The headers from the segment that holds `from`.
    fn line_from(&self, from: Lsn) -> Vec<Header> {
        let line = self.line.read().unwrap_or_else(PoisonError::into_inner);
        let after = line.partition_point(|header| header.start().next <= from);
        line.iter().skip(after.saturating_sub(1)).copied().collect()
    }
}

/// Decodes a batch's records from `from` on, until `into` holds `max`.
fn decode(batch: &Batch<'_>, from: Lsn, max: usize, into: &mut VecDeque<Entry>) -> Result<(), OpenError> {
    for (lsn, frame) in batch.records().filter(|(lsn, _)| *lsn >= from) {
        if into.len() >= max {
            break;
        }
        into.push_back(Entry {
            lsn,
            segment: batch.at.segment,
            offset: batch.at.offset,
            wall: batch.wall,
            superseded: batch.superseded,
            record: frame.decode().map_err(|why| batch.malformed(lsn, &why))?,
        });
    }
    Ok(())
}
