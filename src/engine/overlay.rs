//! What is in memory: every unresolved payment, and those at rest that the store has not taken yet. Looked up before
//! the store, always.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use crate::{
    journal::Lsn,
    payment::{Now, Payment, PaymentId, Pursuit, Standing, Tick},
};

/// One payment in memory.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    /// As of its last durable event.
    pub(super) payment: Arc<Payment>,
    /// One for each operation.
    pub(super) pursuits: Vec<Pursuit>,
    /// The last record about it.
    pub(super) lsn: Lsn,
}

#[derive(Debug, Default)]
pub(super) struct Overlay {
    entries: BTreeMap<PaymentId, Entry>,
    timers: BTreeSet<(Tick, PaymentId)>,
    unresolved: usize,
}

impl Overlay {
    pub(super) fn get(&self, id: &PaymentId) -> Option<&Entry> {
        self.entries.get(id)
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    /// How many are not at rest.
    pub(super) const fn unresolved(&self) -> usize {
        self.unresolved
    }

    /// Publishes a payment's new state.
    pub(super) fn put(&mut self, entry: Entry) {
        let id = entry.payment.id;
        self.unresolved += usize::from(!entry.payment.is_at_rest());
        if let Some(due) = due(&entry) {
            self.timers.insert((due, id));
        }
        if let Some(old) = self.entries.insert(id, entry) {
            self.forget(&old);
        }
    }

    /// The store took it at `lsn`: if nothing has happened since, and nothing is left to find out, it may go.
    pub(super) fn stored(&mut self, id: &PaymentId, lsn: Lsn) {
        if self.entries.get(id).is_some_and(|entry| entry.lsn == lsn && entry.payment.is_at_rest()) {
            self.entries.remove(id);
        }
    }

    /// Keeps the count and the timers true when an entry is replaced.
    fn forget(&mut self, old: &Entry) {
        self.unresolved -= usize::from(!old.payment.is_at_rest());
        let id = old.payment.id;
        let kept = self.entries.get(&id).and_then(due);
        if let Some(due) = due(old).filter(|due| kept != Some(*due)) {
            self.timers.remove(&(due, id));
        }
    }

    /// Up to `limit` payments whose time has come.
    pub(super) fn due(&self, now: &Now, limit: usize) -> Vec<PaymentId> {
        self.timers.iter().take_while(|(due, _)| *due <= now.tick).take(limit).map(|(_, id)| *id).collect()
    }

    /// When the next payment's time comes.
    pub(super) fn next_due(&self) -> Option<Tick> {
        self.timers.first().map(|(due, _)| *due)
    }

    /// In id order, beginning behind `after`.
    pub(super) fn entries(&self, after: Option<&PaymentId>) -> impl Iterator<Item = &Entry> {
        let start = after.map_or(std::ops::Bound::Unbounded, |id| std::ops::Bound::Excluded(*id));
        self.entries.range((start, std::ops::Bound::Unbounded)).map(|(_, entry)| entry)
    }
}

/// When something is to be done about it: the earliest of its operations that wait for a time, not for a call.
fn due(entry: &Entry) -> Option<Tick> {
    let waiting = entry.payment.operations.iter().zip(&entry.pursuits).filter(|(operation, pursuit)| {
        let waits = match operation.standing {
            Standing::Sent { .. } => false,
            Standing::Intended
            | Standing::AtGateway { .. }
            | Standing::InDoubt { .. }
            | Standing::Parked { .. }
            | Standing::Declined { open_until: Some(_), .. } => true,
            Standing::Succeeded(_) | Standing::Declined { open_until: None, .. } | Standing::Canceled(_) => false,
        };
        waits && !pursuit.calling
    });
    waiting.map(|(_, pursuit)| pursuit.due).min()
}
