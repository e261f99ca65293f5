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

/// How many payments are carried between two turns: of usual ones some 200 KB, which the disk takes in a few milliseconds.
pub const SLICE: usize = 256;
/// After so many bytes no more are carried at once: the largest payments take hundreds of kilobytes.
const SLICE_BYTES: usize = 1 << 20;

/// A checkpoint under way: some may have yet to be carried, and the store to be flushed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Carrying {
    /// What the store must hold before the checkpoint is true.
    pub upto: Lsn,
    from: Position,
}

/// How far a checkpoint has come.
#[derive(Debug)]
pub(super) enum Stage {
    /// None is under way.
    Idle,
    /// Some has yet to be carried.
    Carrying(Carry),
    /// All is carried, and the store is to be flushed.
    Carried,
    /// It is not going to be made.
    GivenUp,
}

/// What there is to know of checkpoints between turns.
#[derive(Debug)]
pub(super) struct Checkpointing {
    pub(super) stage: Stage,
    /// How many bytes of journal a start would have to replay, from the checkpoint under way if there is one.
    pub(super) since: u64,
    /// How many there were when it was begun: to be replayed as well if it is given up.
    before: u64,
    /// How many there were when one was put off: not tried again before as many have come once more.
    tried_at: u64,
    /// What a payment took that was carried lately, in bytes.
    usual: usize,
}

/// What a payment with a request in doubt takes, until it is known better.
const USUAL: usize = 1024;

impl Checkpointing {
    pub(super) const fn new(since: u64) -> Checkpointing {
        Checkpointing { stage: Stage::Idle, since, before: 0, tried_at: 0, usual: USUAL }
    }

    fn put_off(&mut self) {
        self.since = self.since.saturating_add(std::mem::take(&mut self.before));
        self.tried_at = self.since;
        self.stage = Stage::GivenUp;
    }
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
        self.checkpoint.since
    }

    /// Whether so many bytes have been written since the last checkpoint, or since one was put off.
    pub const fn is_checkpoint_due(&self, bytes: u64) -> bool {
        self.checkpoint.since.saturating_sub(self.checkpoint.tried_at) >= bytes
    }

    /// Whether the disk most likely has room for what a checkpoint carries, besides what is kept for outcomes. If not, it is
    /// put off until as much journal has been written again.
    pub fn may_checkpoint(&mut self, now: Timestamp) -> bool {
        let may = self.has_room(self.reserved().saturating_add(self.to_carry()), now);
        if !may {
            self.checkpoint.tried_at = self.checkpoint.since;
        }
        may
    }

    /// What a checkpoint is expected to take of the journal's room, in bytes.
    pub(super) fn to_carry(&self) -> u64 {
        let payments = self.overlay.unresolved().saturating_mul(self.checkpoint.usual.saturating_add(AROUND));
        twice(payments.saturating_add(2 * AROUND + self.size_of_pauses()))
    }

    /// Begins to carry what is unresolved: the first so many. Carry on with [`Machine::carry_on`], between turns. Once that
    /// is done, and the store has taken everything released before, with the [`Machine::mark`] of before, and was flushed,
    /// call [`Machine::finish_checkpoint`].
    pub fn begin_checkpoint(&mut self, now: Timestamp, most: usize) -> Result<Carrying, Stopped> {
        self.journal.check_running()?;
        let carrying = Carrying { upto: self.durable(), from: self.journal.position() };
        self.checkpoint.stage = Stage::Carrying(Carry { after: None, upto: carrying.upto });
        self.append_all(now, self.carried_pauses())?;
        self.checkpoint.before = self.checkpoint.before.saturating_add(std::mem::take(&mut self.checkpoint.since));
        self.carry_on(now, most)?;
        Ok(carrying)
    }

    /// Carries up to so many more. Whether that was all: everything is carried, or there is no room for the rest, and the
    /// checkpoint is put off.
    pub fn carry_on(&mut self, now: Timestamp, most: usize) -> Result<bool, Stopped> {
        let since = self.checkpoint.since;
        let Stage::Carrying(carry) = &mut self.checkpoint.stage else { return Ok(true) };
        let entries = self.overlay.entries(carry.after.as_ref());
        let due = entries.filter(|entry| carry.is_due(&entry.payment, entry.lsn)).map(|entry| &entry.payment);
        let mut bytes = 0_usize;
        let small = |payment: &&Arc<Payment>| {
            let fits = bytes < SLICE_BYTES;
            bytes = bytes.saturating_add(encode_payment(payment).len());
            fits
        };
        let some: Vec<Arc<Payment>> = due.take(most.max(1)).take_while(small).cloned().collect();
        let Some(last) = some.last() else {
            self.checkpoint.stage = Stage::Carried;
            return Ok(true);
        };
        carry.after = Some(last.id);
        self.checkpoint.usual = bytes.div_ceil(some.len());
        if !self.has_room_for(bytes.saturating_add(some.len().saturating_mul(AROUND)), 0, now) {
            return Ok(true);
        }
        self.append_all(now, some.into_iter().map(copy).collect())?;
        // What was carried would have to be replayed too, but another checkpoint would only carry it again.
        self.checkpoint.since = since;
        Ok(false)
    }

    /// Whether so many bytes of records fit besides what is kept for outcomes, and for what is `planned`. If not, the
    /// checkpoint under way is put off.
    fn has_room_for(&mut self, bytes: usize, planned: u64, now: Timestamp) -> bool {
        let kept = self.reserved().saturating_add(planned);
        let fits = self.has_room(kept.saturating_add(twice(bytes)), now);
        if !fits {
            tracing::warn!("the disk has no room for a checkpoint: it is put off, and a start will take longer");
            self.checkpoint.put_off();
        }
        fits
    }

    /// What was begun is not going to be finished: the store failed.
    pub fn give_up_checkpoint(&mut self) {
        self.checkpoint.put_off();
    }

    /// The copies that a turn has to write first, of payments that it speaks of: each how it stands, as of its last record.
    /// None, if they do not fit besides what the turn has `planned`: then no checkpoint needs them any more.
    pub(super) fn copies_first<'a>(
        &mut self,
        spoken_of: impl Iterator<Item = (&'a Arc<Payment>, Lsn)>,
        planned: u64,
        now: Timestamp,
    ) -> Vec<Record> {
        let Stage::Carrying(carry) = &self.checkpoint.stage else { return Vec::new() };
        let due: Vec<&Arc<Payment>> =
            spoken_of.filter(|(payment, lsn)| carry.is_due(payment, *lsn)).map(|(payment, _)| payment).collect();
        let bytes = size_of(due.iter().copied()).saturating_add(due.len().saturating_mul(AROUND));
        if due.is_empty() || !self.has_room_for(bytes, planned, now) {
            return Vec::new();
        }
        due.into_iter().cloned().map(copy).collect()
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
        match std::mem::replace(&mut self.checkpoint.stage, Stage::Idle) {
            Stage::Carried if self.has_room_for(2 * (AROUND + names), 0, now) => {}
            Stage::Idle | Stage::Carrying(_) | Stage::Carried | Stage::GivenUp => return Ok(false),
        }
        let Carrying { upto, from } = carrying;
        let checkpoint = Checkpoint { store: self.folder, upto, from, files };
        self.append_all(now, vec![Record::Checkpoint(checkpoint)])?;
        (self.checkpoint.before, self.checkpoint.tried_at) = (0, 0);
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
        self.checkpoint.since = self.checkpoint.since.saturating_add(at.offset.saturating_sub(start));
        self.at = at;
    }
}

fn size_of<'a>(payments: impl Iterator<Item = &'a Arc<Payment>>) -> usize {
    payments.map(|payment| encode_payment(payment).len()).fold(0, usize::saturating_add)
}

/// What records take of the journal's room: a segment is left when the next batch does not fit, and what remains of it stays
/// unused.
fn twice(bytes: usize) -> u64 {
    u64::try_from(bytes).unwrap_or(u64::MAX).saturating_mul(2)
}

fn copy(payment: Arc<Payment>) -> Record {
    Record::Carried(Box::new(Arc::unwrap_or_clone(payment)))
}
