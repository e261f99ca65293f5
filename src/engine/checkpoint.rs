//! Checkpoints: what a start need not replay. Everything unresolved is carried into the journal, the store is flushed,
//! and a note says from where to replay.
//!
//! ```text
//! .. | from                                                              note: replay from there |
//!    | carried carried | turn | carried | turn, with its payments' copies first | carried | .. |
//! ```
//!
//! While a gateway is down, a hundred thousand payments may be unresolved, and to write them all takes seconds: so they are
//! carried some at a time, between turns. Whoever replays from there must know a payment before it reads what happened to
//! it next: a turn that has something to say of one that has not been carried yet writes its copy first.

use std::sync::Arc;

use super::{Machine, Stopped};
use crate::{
    journal::{Appended, Checkpoint, Closed, Lsn, Position, Record, encode_payment},
    payment::{Payment, PaymentId, Tenant, Timestamp},
};

/// What the journal takes around a record that is alone in its batch, in bytes: at the most. Also for the note, and for the
/// close mark, beside the names of files in it.
const AROUND: usize = 1024;

/// What a file takes in a note besides its name: two lengths, at their longest.
const FILE: usize = 20;

/// How many payments are carried between two turns: some 200 KB, which the disk takes in a few milliseconds.
pub const SLICE: usize = 256;

/// A checkpoint under way: some may have yet to be carried, and the store to be flushed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Carrying {
    /// What the store must hold before the checkpoint is true.
    pub upto: Lsn,
    from: Position,
}

/// What is left to carry: what is unresolved, has an id behind `after`, and was last spoken of up to `upto`. What was
/// spoken of later is known to who replays: it is newer than the checkpoint, or its copy was written first.
#[derive(Debug)]
pub(super) struct Carry {
    after: Option<PaymentId>,
    upto: Lsn,
}

impl Carry {
    fn is_due(&self, payment: &Payment, lsn: Lsn) -> bool {
        lsn <= self.upto && self.after.is_none_or(|after| payment.id > after) && !payment.is_at_rest()
    }
}

impl Machine {
    /// How many bytes of journal a start would have to replay.
    pub const fn since_checkpoint(&self) -> u64 {
        self.since_checkpoint
    }

    /// Whether the disk has room to begin a checkpoint, besides what is kept for outcomes. If not, it is put off until as
    /// much journal has been written again.
    pub fn may_checkpoint(&mut self, now: Timestamp) -> bool {
        let may = self.has_room_beside(2 * AROUND + self.size_of_pauses(), now);
        if !may {
            self.since_checkpoint = 0;
        }
        may
    }

    /// Whether so many bytes of records fit besides what is kept for outcomes.
    fn has_room_beside(&mut self, bytes: usize, now: Timestamp) -> bool {
        // Twice: a segment is left when the next batch does not fit, and what remains of it stays unused.
        let wanted = u64::try_from(bytes).unwrap_or(u64::MAX).saturating_mul(2);
        self.has_room(self.reserved().saturating_add(wanted), now)
    }

    /// Begins to carry what is unresolved: the first so many. Carry on with [`Machine::carry_on`], between turns. Once that
    /// is done, and the store has taken everything released before, with the [`Machine::mark`] of before, and was flushed,
    /// call [`Machine::finish_checkpoint`].
    pub fn begin_checkpoint(&mut self, now: Timestamp, most: usize) -> Result<Carrying, Stopped> {
        self.journal.check_running()?;
        let carrying = Carrying { upto: self.durable(), from: self.journal.position() };
        self.carry = Some(Carry { after: None, upto: carrying.upto });
        self.put_off = false;
        self.append_all(now, self.carried_pauses())?;
        self.since_checkpoint = 0;
        self.carry_on(now, most)?;
        Ok(carrying)
    }

    /// Carries up to so many more. Whether that was all: everything is carried, or there is no room for the rest, and the
    /// checkpoint is put off.
    pub fn carry_on(&mut self, now: Timestamp, most: usize) -> Result<bool, Stopped> {
        let since = self.since_checkpoint;
        let Some(carry) = &mut self.carry else { return Ok(true) };
        let entries = self.overlay.entries(carry.after.as_ref());
        let due = entries.filter(|entry| carry.is_due(&entry.payment, entry.lsn)).map(|entry| &entry.payment);
        let some: Vec<Arc<Payment>> = due.take(most.max(1)).cloned().collect();
        let Some(last) = some.last() else {
            self.carry = None;
            return Ok(true);
        };
        carry.after = Some(last.id);
        let bytes = some.iter().map(|payment| encode_payment(payment).len().saturating_add(AROUND));
        if !self.has_room_beside(bytes.fold(0, usize::saturating_add), now) {
            self.give_up_checkpoint();
            return Ok(true);
        }
        self.append_all(now, some.into_iter().map(copy).collect())?;
        // What was carried would have to be replayed too, but another checkpoint would only carry it again.
        self.since_checkpoint = since;
        Ok(false)
    }

    /// What was begun is not going to be finished: the store failed, or the disk has no room.
    pub fn give_up_checkpoint(&mut self) {
        self.carry = None;
        self.put_off = true;
    }

    /// A payment's copy, if a turn that speaks of it has to write that first. `before` is how it stands, as of `lsn`.
    pub(super) fn copy_first(&self, before: Option<&Arc<Payment>>, lsn: Lsn) -> Option<Record> {
        let due = |payment: &&Arc<Payment>| self.carry.as_ref().is_some_and(|carry| carry.is_due(payment, lsn));
        before.filter(due).cloned().map(copy)
    }

    /// The store holds everything up to the checkpoint's place, durably. What is not carried yet is carried here. Returns
    /// whether the checkpoint is made: not, if the disk had no room for all of it, and for a close mark after it.
    pub fn finish_checkpoint(
        &mut self,
        now: Timestamp,
        carrying: Carrying,
        files: Vec<(String, u64)>,
    ) -> Result<bool, Stopped> {
        while !self.carry_on(now, SLICE)? {}
        let names: usize = files.iter().map(|(name, _)| name.len() + FILE).sum();
        if self.put_off || !self.has_room_beside(2 * (AROUND + names), now) {
            self.since_checkpoint = 0;
            return Ok(false);
        }
        let Carrying { upto, from } = carrying;
        let checkpoint = Checkpoint { store: self.folder, upto, from, files };
        self.append_all(now, vec![Record::Checkpoint(checkpoint)])?;
        Ok(true)
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

fn copy(payment: Arc<Payment>) -> Record {
    Record::Carried(Box::new(Arc::unwrap_or_clone(payment)))
}
