//! Checkpoints: what a start need not replay. Everything unresolved is carried into the journal, the store is flushed,
//! and a note says from where to replay.

use super::{Machine, Stopped};
use crate::{
    journal::{Appended, Checkpoint, Closed, Lsn, Position, Record},
    payment::Timestamp,
};

/// A checkpoint under way: the store has yet to be flushed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Carrying {
    /// What the store must hold before the checkpoint is true.
    pub upto: Lsn,
    from: Position,
}

impl Machine {
    /// How many bytes of journal a start would have to replay.
    pub const fn since_checkpoint(&self) -> u64 {
        self.since_checkpoint
    }

    /// Carries what is unresolved. Once the store has taken everything released before, with the [`Machine::mark`] of
    /// before, and was flushed, call [`Machine::finish_checkpoint`].
    pub fn begin_checkpoint(&mut self, now: Timestamp) -> Result<Carrying, Stopped> {
        let carrying = Carrying { upto: self.durable(), from: self.journal.position() };
        let unresolved = self.overlay.entries(None).filter(|entry| !entry.payment.is_at_rest());
        let carried: Vec<Record> =
            unresolved.map(|entry| Record::Carried(Box::new(entry.payment.as_ref().clone()))).collect();
        self.append_all(now, carried)?;
        // What was carried would have to be replayed too, but another checkpoint would only carry it again.
        self.since_checkpoint = 0;
        Ok(carrying)
    }

    /// The store holds everything up to the checkpoint's place, durably.
    pub fn finish_checkpoint(
        &mut self,
        now: Timestamp,
        carrying: Carrying,
        files: Vec<(String, u64)>,
    ) -> Result<(), Stopped> {
        let Carrying { upto, from } = carrying;
        let checkpoint = Checkpoint { store: self.folder, upto, from, files };
        self.append_all(now, vec![Record::Checkpoint(checkpoint)])
    }

    /// The last batch of an orderly stop, right after a last checkpoint.
    pub fn close(mut self, now: Timestamp, last: Carrying, files: Vec<(String, u64)>) -> Result<(), Stopped> {
        let closed = Closed { store: self.folder, applied: last.upto, files };
        Ok(self.journal.close(now.max(self.last_wall), closed)?)
    }

    /// Appends housekeeping: each record may go into a batch of its own.
    pub(super) fn append_all(&mut self, now: Timestamp, records: Vec<Record>) -> Result<(), Stopped> {
        if records.is_empty() {
            return Ok(());
        }
        let groups: Vec<Vec<Record>> = records.into_iter().map(|record| vec![record]).collect();
        let wall = now.max(self.last_wall);
        let appended = self.journal.append(wall, &groups)?;
        self.note(wall, &appended);
        Ok(())
    }

    /// What was appended is durable.
    pub(super) fn note(&mut self, wall: Timestamp, appended: &Appended) {
        self.durable = (appended.last, appended.chain);
        self.last_wall = wall;
        let at = self.journal.position();
        let start = if at.segment == self.at.segment { self.at.offset } else { 0 };
        self.since_checkpoint = self.since_checkpoint.saturating_add(at.offset.saturating_sub(start));
        self.at = at;
    }
}
