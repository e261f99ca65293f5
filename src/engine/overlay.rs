//! What is in memory: every unresolved payment, and those at rest that the store has not taken yet. Looked up before
//! the store, always.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use super::archive::Present;
use crate::{
    journal::Lsn,
    payment::{Now, Payment, PaymentId, Pursuit, Standing, State, Tick, Timestamp},
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
    /// How many of them wait for what.
    waiting: BTreeMap<State, usize>,
    /// Those in doubt or parked, the oldest doubt first.
    doubts: BTreeSet<(Timestamp, PaymentId)>,
    /// For those who read the store on other threads, if there are any.
    present: Option<Arc<Present>>,
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

    /// How many payments wait for what.
    pub(super) const fn waiting(&self) -> &BTreeMap<State, usize> {
        &self.waiting
    }

    /// Since when the oldest doubt lasts.
    pub(super) fn oldest_doubt(&self) -> Option<Timestamp> {
        self.doubts.first().map(|(since, _)| *since)
    }

    /// Tells from now on, on any thread, what may be in memory.
    pub(super) fn present(&mut self) -> Arc<Present> {
        let entries = &self.entries;
        let count = || {
            let present = Present::new();
            entries.keys().for_each(|id| present.enters(id));
            Arc::new(present)
        };
        self.present.get_or_insert_with(count).clone()
    }

    /// Publishes a payment's new state.
    pub(super) fn put(&mut self, entry: Entry) {
        let id = entry.payment.id;
        self.unresolved += usize::from(!entry.payment.is_at_rest());
        if let Some(state) = entry.payment.unresolved() {
            *self.waiting.entry(state).or_default() += 1;
        }
        let doubt = entry.payment.in_doubt_since();
        if let Some(due) = due(&entry) {
            self.timers.insert((due, id));
        }
        match (self.entries.insert(id, entry), &self.present) {
            (Some(old), _) => self.forget(&old),
            (None, Some(present)) => present.enters(&id),
            (None, None) => {}
        }
        self.doubts.extend(doubt.map(|since| (since, id)));
    }

    /// The store took it at `lsn`: if nothing has happened since, and nothing is left to find out, it may go.
    pub(super) fn stored(&mut self, id: &PaymentId, lsn: Lsn) {
        if self.entries.get(id).is_some_and(|entry| entry.lsn == lsn && entry.payment.is_at_rest()) {
            self.entries.remove(id);
            if let Some(present) = &self.present {
                present.leaves(id);
            }
        }
    }

    /// Keeps the counts and the timers true when an entry is replaced.
    fn forget(&mut self, old: &Entry) {
        self.unresolved -= usize::from(!old.payment.is_at_rest());
        let id = old.payment.id;
        if let Some(count) = old.payment.unresolved().and_then(|state| self.waiting.get_mut(&state)) {
            *count -= 1;
        }
        if let Some(since) = old.payment.in_doubt_since() {
            self.doubts.remove(&(since, id));
        }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::payment::{
        Amount, Clock, Currency, Event, Fact, Finality, IdempotencyKey, Identity, Kind, Namespace, OperationKey,
        OperationRef, Order, Reply, Tenant, apply,
    };

    fn id(number: u8) -> PaymentId {
        PaymentId::from_bytes([number; 16])
    }

    fn payment(number: u8, standings: &[Standing]) -> Payment {
        let (amount, key) = (Amount::new(1050).expect("legal"), IdempotencyKey::new("order-1").expect("legal"));
        let order = Order::new(amount, Currency::new("USD").expect("legal"), "a", "b").expect("legal");
        let (tenant, namespace) = (Tenant::default(), Namespace::default());
        let mut facts = vec![Fact::Accepted { tenant, key: key.clone(), namespace, order: Arc::new(order) }];
        for number in (0..).take(standings.len()) {
            let operation = OperationRef { number, kind: Kind::Charge, amount };
            let (operation_key, gateway) = (OperationKey::from_bytes([1; 16]), Identity::default());
            facts.push(Fact::Intended { operation, key: key.clone(), operation_key, gateway, request: Vec::new() });
        }
        let mut payment = None;
        for fact in facts {
            let event = Event { payment: id(number), at: Timestamp::default(), fact };
            apply(&mut payment, &event).expect("in order");
        }
        let mut payment = payment.expect("accepted");
        for (operation, standing) in payment.operations.iter_mut().zip(standings) {
            operation.standing = standing.clone();
        }
        payment
    }

    fn waiting(due: u64) -> Pursuit {
        Pursuit { due: Tick::from_millis(due), ..Pursuit::default() }
    }

    /// With one operation that stands somewhere and is due at some time.
    fn entry(number: u8, standing: Standing, due: u64) -> Entry {
        Entry {
            payment: Arc::new(payment(number, &[standing])),
            pursuits: vec![waiting(due)],
            lsn: Lsn::new(u64::from(number)),
        }
    }

    fn doubt() -> Standing {
        Standing::InDoubt { reply: Reply::default(), since: Timestamp::default() }
    }

    fn done() -> Standing {
        Standing::Succeeded(Reply::default())
    }

    fn due_at(overlay: &Overlay, tick: u64, limit: usize) -> Vec<PaymentId> {
        let now = Now { wall: Timestamp::default(), tick: Tick::from_millis(tick), clock: Clock::Trusted };
        overlay.due(&now, limit)
    }

    #[test]
    fn payments_are_due_at_their_time_the_longest_overdue_first_and_no_more_than_asked_for() {
        let mut overlay = Overlay::default();
        for entry in [entry(1, doubt(), 30), entry(2, doubt(), 10), entry(3, doubt(), 20)] {
            overlay.put(entry);
        }
        assert_eq!(overlay.next_due(), Some(Tick::from_millis(10)));
        assert_eq!(due_at(&overlay, 9, 9), []);
        assert_eq!(due_at(&overlay, 20, 9), [id(2), id(3)]);
        assert_eq!(due_at(&overlay, 99, 2), [id(2), id(3)]);
    }

    #[test]
    fn a_payment_that_changes_is_due_at_its_new_time_only() {
        let mut overlay = Overlay::default();
        overlay.put(entry(1, doubt(), 10));
        overlay.put(entry(1, doubt(), 10));
        assert_eq!(due_at(&overlay, 10, 9), [id(1)], "nothing has changed");
        overlay.put(entry(1, doubt(), 40));
        assert_eq!((due_at(&overlay, 39, 9), due_at(&overlay, 40, 9)), (vec![], vec![id(1)]));
        overlay.put(entry(1, done(), 40));
        assert_eq!((due_at(&overlay, 99, 9), overlay.next_due()), (vec![], None));
    }

    #[test]
    fn unresolved_are_those_that_are_not_at_rest_each_counted_once() {
        let mut overlay = Overlay::default();
        for (entry, unresolved) in [
            (entry(1, doubt(), 10), 1),
            (entry(1, doubt(), 20), 1),
            (entry(2, Standing::Intended, 10), 2),
            (entry(3, done(), 10), 2),
            (entry(1, done(), 10), 1),
            (entry(2, done(), 10), 0),
        ] {
            overlay.put(entry);
            assert_eq!(overlay.unresolved(), unresolved);
            assert_eq!(overlay.waiting().values().sum::<usize>(), unresolved);
        }
        assert_eq!(overlay.len(), 3);
    }

    #[test]
    fn the_oldest_doubt_is_known_until_it_ends() {
        let since = |millis| Standing::InDoubt { reply: Reply::default(), since: Timestamp::from_millis(millis) };
        let mut overlay = Overlay::default();
        for (entry, oldest) in [
            (entry(1, since(50), 10), Some(50)),
            (entry(2, since(30), 10), Some(30)),
            (entry(2, since(30), 20), Some(30)),
            (entry(2, done(), 20), Some(50)),
            (entry(1, done(), 20), None),
        ] {
            overlay.put(entry);
            assert_eq!(overlay.oldest_doubt(), oldest.map(Timestamp::from_millis));
        }
        assert_eq!(overlay.waiting().get(&State::InDoubt), Some(&0));
    }

    #[test]
    fn only_what_is_at_rest_and_as_the_store_took_it_leaves_memory() {
        let mut overlay = Overlay::default();
        overlay.put(entry(5, done(), 10));
        overlay.stored(&id(5), Lsn::new(4));
        assert!(overlay.get(&id(5)).is_some(), "something has happened since");
        overlay.stored(&id(5), Lsn::new(5));
        assert!(overlay.get(&id(5)).is_none());
        overlay.put(entry(6, doubt(), 10));
        overlay.stored(&id(6), Lsn::new(6));
        assert!(overlay.get(&id(6)).is_some(), "unresolved payments stay");
        overlay.stored(&id(7), Lsn::new(7));
        assert_eq!(overlay.len(), 1);
    }

    #[test]
    fn a_payment_waits_for_the_earliest_of_its_operations_that_waits_for_a_time() {
        let (since, reply) = (Timestamp::default(), Reply::default());
        let declined = |open_until| Standing::Declined { finality: Finality::Soft, open_until, reply: reply.clone() };
        let open = declined(Some(since));
        let standings =
            [done(), declined(None), Standing::Sent { not_after: since }, open, doubt(), Standing::Intended];
        let calling = Pursuit { calling: true, ..waiting(1) };
        let pursuits = vec![waiting(1), waiting(1), waiting(1), waiting(50), calling, waiting(60)];
        let mut waits = Entry { payment: Arc::new(payment(1, &standings)), pursuits, lsn: Lsn::new(1) };
        assert_eq!(due(&waits), Some(Tick::from_millis(50)), "the open window");
        waits.pursuits[5] = waiting(40);
        assert_eq!(due(&waits), Some(Tick::from_millis(40)), "what is to be sent");
        waits.pursuits[4].calling = false;
        assert_eq!(due(&waits), Some(Tick::from_millis(1)), "what is in doubt");
    }

    #[test]
    fn entries_come_in_id_order_behind_the_one_that_is_named() {
        let mut overlay = Overlay::default();
        for entry in [entry(3, done(), 1), entry(1, done(), 1), entry(2, doubt(), 1)] {
            overlay.put(entry);
        }
        let ids = |after: Option<PaymentId>| -> Vec<PaymentId> {
            overlay.entries(after.as_ref()).map(|entry| entry.payment.id).collect()
        };
        assert_eq!((ids(None), ids(Some(id(1)))), (vec![id(1), id(2), id(3)], vec![id(2), id(3)]));
    }
}
