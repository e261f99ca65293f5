//! Checkpoints: what a start need not replay. Everything unresolved is carried into the journal, the store is flushed,
//! and a note says from where to replay.

use std::sync::Arc;

use super::{Machine, Stopped};
use crate::{
    journal::{Appended, Checkpoint, Closed, Lsn, Position, Record, encode_payment},
    payment::{Payment, Tenant, Timestamp},
};

/// What the journal takes around a record that is alone in its batch, in bytes: at the most. Also for the note itself.
const AROUND: usize = 1024;

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

    /// Whether the disk has room for what a checkpoint carries, besides what is kept for outcomes. If not, it is put off
    /// until as much journal has been written again.
    pub fn may_checkpoint(&mut self, now: Timestamp) -> bool {
        let rows = self.unresolved_rows().map(|payment| encode_payment(payment).len().saturating_add(AROUND));
        let carried =
            u64::try_from(rows.fold(2 * AROUND + self.size_of_pauses(), usize::saturating_add)).unwrap_or(u64::MAX);
        // Twice: a segment is left when the next batch does not fit, and what remains of it stays unused.
        let wanted = self.reserved().saturating_add(carried.saturating_mul(2));
        let may = self.has_room(wanted, now);
        if !may {
            self.since_checkpoint = 0;
        }
        may
    }

    fn unresolved_rows(&self) -> impl Iterator<Item = &Arc<Payment>> {
        self.overlay.entries(None).map(|entry| &entry.payment).filter(|payment| !payment.is_at_rest())
    }

    /// Carries what is unresolved. Once the store has taken everything released before, with the [`Machine::mark`] of
    /// before, and was flushed, call [`Machine::finish_checkpoint`].
    pub fn begin_checkpoint(&mut self, now: Timestamp) -> Result<Carrying, Stopped> {
        let carrying = Carrying { upto: self.durable(), from: self.journal.position() };
        let carried: Vec<Record> =
            self.unresolved_rows().map(|payment| Record::Carried(Box::new(payment.as_ref().clone()))).collect();
        self.append_all(now, carried)?;
        self.append_all(now, self.carried_pauses())?;
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
        self.append_all_of(now, records, &|_| None)
    }

    /// The same for records that do not say whose they are.
    pub(super) fn append_all_of(
        &mut self,
        now: Timestamp,
        records: Vec<Record>,
        owner: &dyn Fn(&Record) -> Option<Tenant>,
    ) -> Result<(), Stopped> {
        if records.is_empty() {
            return Ok(());
        }
        let groups: Vec<Vec<Record>> = records.into_iter().map(|record| vec![record]).collect();
        let wall = now.max(self.last_wall);
        let appended = self.journal.append_of(wall, &groups, owner)?;
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
