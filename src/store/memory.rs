//! The simulator's store: a map with a flush point.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::{Mark, Row, Store, StoreError, filter::Size, known::Known};
use crate::{journal::Lsn, payment::PaymentId};

/// Rows in memory, and what of them a [`crash`](MemoryStore::crash) leaves.
#[derive(Debug, Default)]
pub struct MemoryStore(Mutex<Books>);

#[derive(Debug)]
struct Books {
    live: State,
    flushed: State,
    /// What was put since the flush, in order.
    unflushed: Vec<Put>,
    /// As the real store knows it.
    known: Known,
    /// The layers of its filter, as of the last flush.
    filter: Vec<Option<Vec<u8>>>,
    /// And as of the one before it.
    before: Vec<Option<Vec<u8>>>,
}

/// So small that it grows in a simulation.
const FILTER: Size = Size { first: 64, largest: 1024, all: 64 << 10 };

impl Default for Books {
    fn default() -> Books {
        let (known, filter, before) = (Known::nothing(FILTER), Vec::new(), Vec::new());
        Books { live: State::default(), flushed: State::default(), unflushed: Vec::new(), known, filter, before }
    }
}

#[derive(Clone, Debug, Default)]
struct State {
    rows: BTreeMap<PaymentId, Row>,
    mark: Option<Mark>,
}

#[derive(Clone, Debug)]
enum Put {
    Row(PaymentId, Row),
    Mark(Mark),
}

impl MemoryStore {
    /// Empty.
    pub fn new() -> MemoryStore {
        MemoryStore::default()
    }

    /// Forgets what was not flushed, but for what `survives`: it is asked once for each row and each mark put since, in
    /// the order they were put. `|| false` is a killed process; a coin is a power failure, which heeds no batch.
    pub fn crash(&self, mut survives: impl FnMut() -> bool) {
        let mut books = self.books();
        let mut left = books.flushed.clone();
        std::mem::take(&mut books.unflushed).into_iter().filter(|_| survives()).for_each(|put| left.put(put));
        books.live = left.clone();
        books.flushed = left;
        books.known = Known::unknown(FILTER);
    }

    /// Puts each layer of the filter back to what it was before the last flush, but for what `survives`: none is synced, and
    /// a process may be killed between two of them.
    pub(crate) fn lose_layers(&self, mut survives: impl FnMut() -> bool) {
        let Books { filter, before, .. } = &mut *self.books();
        for (number, layer) in filter.iter_mut().enumerate() {
            if !survives() {
                *layer = before.get(number).cloned().flatten();
            }
        }
    }

    /// What the real store learns at a start, of which the journal says how far a checkpoint has flushed it.
    pub(crate) fn start(&self, upto: Lsn) {
        let books = &mut *self.books();
        let last = books.live.rows.last_key_value().map(|(id, _)| *id);
        let layers = books.filter.iter().map_while(Clone::clone);
        books.known = Known::found(FILTER, books.live.mark.as_ref(), last, upto, layers);
    }

    /// A panicking caller leaves whole rows behind, so a poisoned lock is of no concern.
    fn books(&self) -> MutexGuard<'_, Books> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn put(&mut self, put: Put) {
        match put {
            Put::Row(id, row) => {
                self.rows.insert(id, row);
            }
            Put::Mark(mark) => self.mark = Some(mark),
        }
    }

    fn page(&self, after: Option<&PaymentId>, limit: usize) -> Vec<(PaymentId, Row)> {
        let start = after.map_or(Bound::Unbounded, Bound::Excluded);
        let rows = self.rows.range::<PaymentId, _>((start, Bound::Unbounded));
        rows.take(limit).map(|(id, row)| (*id, row.clone())).collect()
    }

    /// As if there were packs of three rows.
    fn ids(&self, from: &PaymentId) -> (Vec<PaymentId>, Option<PaymentId>) {
        let mut ids = self.rows.range(from..).map(|(id, _)| *id);
        (ids.by_ref().take(3).collect(), ids.next())
    }
}

impl Store for MemoryStore {
    fn get(&self, id: &PaymentId) -> Result<Option<Row>, StoreError> {
        let books = self.books();
        match books.live.rows.get(id) {
            // The real one would deny it, and it might be paid again.
            Some(_) if books.known.is_new(id) => {
                Err(StoreError::Row { payment: *id, why: "it is taken for a new one" })
            }
            row => Ok(row.cloned()),
        }
    }

    fn apply(&self, rows: &[(PaymentId, Row)], mark: &Mark) -> Result<(), StoreError> {
        let mut books = self.books();
        books.known.note(rows);
        let puts = rows.iter().map(|(id, row)| Put::Row(*id, row.clone())).chain([Put::Mark(*mark)]);
        for put in puts {
            books.live.put(put.clone());
            books.unflushed.push(put);
        }
        books.known.advance(mark, &|from| Ok(books.live.ids(from)));
        Ok(())
    }

    fn mark(&self) -> Result<Option<Mark>, StoreError> {
        Ok(self.books().live.mark)
    }

    fn page(&self, after: Option<&PaymentId>, limit: usize) -> Result<Vec<(PaymentId, Row)>, StoreError> {
        Ok(self.books().live.page(after, limit))
    }

    /// It has no files.
    fn flush(&self) -> Result<Vec<(String, u64)>, StoreError> {
        let mut books = self.books();
        for put in std::mem::take(&mut books.unflushed) {
            books.flushed.put(put);
        }
        let Books { live, known, filter, before, .. } = &mut *books;
        before.clone_from(filter);
        let keep = &mut |number: usize, layer| {
            filter.resize(filter.len().max(number + 1), None);
            filter.get_mut(number).map(|place| place.replace(layer));
            Ok::<(), StoreError>(())
        };
        live.mark.map_or(Ok(()), |mark| known.save(&mark, keep))?;
        Ok(Vec::new())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::journal::Lsn;

    fn id(n: u8) -> PaymentId {
        PaymentId::from_bytes([n; 16])
    }

    fn row(lsn: u64) -> Row {
        Row { lsn: Lsn::new(lsn), payload: vec![1] }
    }

    fn mark(applied: u64) -> Mark {
        Mark { store: [0; 16], epoch: 1, applied: Lsn::new(applied), chain: 0 }
    }

    /// Row 1 and mark 1 flushed; then row 1 again, row 2 and mark 3 not.
    fn store() -> MemoryStore {
        let store = MemoryStore::new();
        store.apply(&[(id(1), row(1))], &mark(1)).unwrap();
        store.flush().unwrap();
        store.apply(&[(id(1), row(2)), (id(2), row(3))], &mark(3)).unwrap();
        store
    }

    #[test]
    fn a_kill_leaves_what_was_flushed_and_no_more() {
        let store = store();
        store.crash(|| false);
        assert_eq!(store.page(None, 9).unwrap(), [(id(1), row(1))]);
        assert_eq!(store.mark().unwrap(), Some(mark(1)));
    }

    #[test]
    fn a_power_failure_may_leave_any_part_of_a_batch() {
        let store = store();
        let mut coins = [false, true, false].into_iter();
        store.crash(|| coins.next().unwrap());
        assert_eq!(store.page(None, 9).unwrap(), [(id(1), row(1)), (id(2), row(3))]);
        assert_eq!(store.mark().unwrap(), Some(mark(1)));
    }

    #[test]
    fn what_survived_one_crash_survives_the_next() {
        let store = store();
        store.crash(|| true);
        store.crash(|| false);
        assert_eq!(store.get(&id(2)).unwrap(), Some(row(3)));
        assert_eq!(store.mark().unwrap(), Some(mark(3)));
    }
}
