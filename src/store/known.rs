//! Which ids the store was certainly never given: most look-ups are for new keys, and each would read a page for nothing.
//!
//! Keys in the order of time lie behind every row. For all others there is a Bloom filter, in memory and, as of the last
//! flush, in the store's folder. It counts once it holds the id of every row, and not before:
//!
//! - from the beginning, in a store that was empty when it was opened;
//! - after a replay, where the filter's own record of how far it reaches is not behind the last checkpoint: whatever was put
//!   later is put again by the replay from there, and the first mark beyond the one that was found says that this is over;
//! - else once all rows have been read, some with each batch.
//!
//! Nobody waits for it, and without it everything is looked up.

use std::{
    fmt, fs, io,
    path::{Path, PathBuf},
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use super::{
    Mark, Row, StoreError,
    filter::{Filter, Size},
    keys,
};
use crate::{journal::Lsn, payment::PaymentId};

/// How many rows are read with each batch while the filter is filled: some 6 ms, about as long as a batch takes.
const READ_AT_ONCE: usize = 8_000;

/// Reads up to so many rows behind an id.
pub(super) type Page<'a> = &'a dyn Fn(Option<&PaymentId>, usize) -> Result<Vec<(PaymentId, Row)>, StoreError>;

pub(super) struct Known {
    /// No row is behind it, nor being put there.
    newest: Mutex<PaymentId>,
    filter: Filter,
    /// Whether the filter counts.
    counts: AtomicBool,
    progress: Mutex<Progress>,
}

struct Progress {
    lacks: Lacks,
    /// How many layers of the filter are full, and were saved so.
    saved: usize,
}

/// Which rows' ids the filter may lack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Lacks {
    None,
    /// Those that a replay puts again before it comes to a mark beyond this record.
    Replayed(Lsn),
    /// Those behind this id.
    Unread(Option<PaymentId>),
    /// Any: there is no room for more ids, or a row could not be read.
    Any,
}

impl Known {
    /// Of a store without rows.
    pub(super) fn nothing(size: Size) -> Known {
        Known::new(keys::FIRST, Filter::new(size), Lacks::None)
    }

    /// Of a store whose rows have yet to be read; `newest` is the last one's id.
    pub(super) fn unread(newest: PaymentId, size: Size) -> Known {
        Known::new(newest, Filter::new(size), Lacks::Unread(None))
    }

    /// Of a store that was found with this mark, and is told again of all that the filter may lack.
    pub(super) fn replayed(newest: PaymentId, filter: Filter, found: &Mark) -> Known {
        let full = filter.depth() - 1;
        let known = Known::new(newest, filter, Lacks::Replayed(found.applied));
        known.progress().saved = full;
        known
    }

    /// Of a store about which nothing can be said.
    pub(super) fn unknown(size: Size) -> Known {
        Known::new(keys::LAST, Filter::new(size), Lacks::Any)
    }

    fn new(newest: PaymentId, filter: Filter, lacks: Lacks) -> Known {
        let lacks = if filter.may_grow() { lacks } else { Lacks::Any };
        let (newest, counts) = (Mutex::new(newest), AtomicBool::new(lacks == Lacks::None));
        Known { newest, filter, counts, progress: Mutex::new(Progress { lacks, saved: 0 }) }
    }

    /// Whether there is certainly no row of it. A batch that is being put may bring one.
    pub(super) fn is_new(&self, id: &PaymentId) -> bool {
        let newest = *self.newest.lock().unwrap_or_else(PoisonError::into_inner);
        *id > newest || (self.counts.load(Ordering::Acquire) && !self.filter.may_hold(id))
    }

    /// These are going to be put. One thread at a time.
    pub(super) fn note(&self, rows: &[(PaymentId, Row)]) {
        let Some(last) = rows.iter().map(|(id, _)| *id).max() else { return };
        let mut newest = self.newest.lock().unwrap_or_else(PoisonError::into_inner);
        let before = *newest;
        *newest = last.max(before);
        drop(newest);
        if self.lacks() != Lacks::Any && !self.add(rows, &before) {
            tracing::info!("the store's filter is full: whether a key without order is new is looked up from now on");
            self.set(Lacks::Any);
        }
    }

    /// A batch was put with this mark: one step towards a filter that counts.
    pub(super) fn advance(&self, mark: &Mark, page: Page<'_>) {
        match self.lacks() {
            Lacks::None | Lacks::Any => {}
            Lacks::Replayed(beyond) if mark.applied > beyond => self.set(Lacks::None),
            Lacks::Replayed(_) => {}
            Lacks::Unread(behind) => self.set(match page(behind.as_ref(), READ_AT_ONCE) {
                Ok(rows) if self.add(&rows, &keys::LAST) => match rows.last().filter(|_| rows.len() >= READ_AT_ONCE) {
                    Some((id, _)) => Lacks::Unread(Some(*id)),
                    None => Lacks::None,
                },
                // No room for them; or a row that cannot be read: whoever needs it will say so.
                Ok(_) | Err(_) => Lacks::Any,
            }),
        }
    }

    /// Adds what is not held yet, as is certain of what lies behind `newest`. Whether there is room for it.
    fn add(&self, rows: &[(PaymentId, Row)], newest: &PaymentId) -> bool {
        rows.iter().all(|(id, _)| (id <= newest && self.filter.may_hold(id)) || self.filter.add(id).is_ok())
    }

    fn lacks(&self) -> Lacks {
        self.progress().lacks
    }

    fn set(&self, lacks: Lacks) {
        self.progress().lacks = lacks;
        self.counts.store(lacks == Lacks::None, Ordering::Release);
    }

    fn progress(&self) -> MutexGuard<'_, Progress> {
        self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What of the filter is to be kept with a flush, layer by layer, besides what was kept before; nothing, as long as it
    /// does not count. `keep` says whether it could keep a layer.
    pub(super) fn save<E>(&self, mark: &Mark, keep: &mut dyn FnMut(usize, Vec<u8>) -> Result<(), E>) -> Result<(), E> {
        let mut progress = self.progress();
        if progress.lacks != Lacks::None {
            return Ok(());
        }
        for (number, bytes) in self.filter.encode(progress.saved, mark.store, mark.applied) {
            keep(number, bytes)?;
            // The last one may have room, and be kept again.
            progress.saved = number;
        }
        Ok(())
    }
}

impl fmt::Debug for Known {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Known").field("lacks", &self.lacks()).finish_non_exhaustive()
    }
}

/// Keeps a layer in the store's folder. It is not synced: after a stop that leaves the disk behind, its crc or its record is
/// not as it should be, or the store is not used at all.
pub(super) fn write(folder: &Path, number: usize, bytes: &[u8]) -> io::Result<()> {
    let (path, new) = (path(folder, number), folder.join("filter.new"));
    fs::write(&new, bytes)?;
    fs::rename(new, path)
}

/// The layers in the store's folder, in order.
pub(super) fn read(folder: &Path) -> impl Iterator<Item = Vec<u8>> {
    (0..).map_while(move |number| fs::read(path(folder, number)).ok())
}

/// Removes what is there: layers of two filters must never be taken for one.
pub(super) fn remove(folder: &Path) -> io::Result<()> {
    for number in 0.. {
        match fs::remove_file(path(folder, number)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => break,
            done => done?,
        }
    }
    Ok(())
}

fn path(folder: &Path, number: usize) -> PathBuf {
    folder.join(format!("filter.{number}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIZE: Size = Size { first: 1024, largest: 1024, all: 1 << 20 };

    /// Their order is that of the numbers, and they end as if by a hash.
    fn id(n: u64) -> PaymentId {
        let hash = n.wrapping_mul(0xd134_2543_de82_ef95).rotate_left(29).wrapping_mul(0x2545_f491_4f6c_dd1d);
        PaymentId::from_bytes((u128::from(n) << 64 | u128::from(hash)).to_be_bytes())
    }

    fn rows(numbers: impl IntoIterator<Item = u64>) -> Vec<(PaymentId, Row)> {
        numbers.into_iter().map(|n| (id(n), Row { lsn: Lsn::new(1), payload: Vec::new() })).collect()
    }

    fn mark(applied: u64) -> Mark {
        Mark { store: [7; 16], epoch: 1, applied: Lsn::new(applied), chain: 0 }
    }

    fn unreadable(_: Option<&PaymentId>, _: usize) -> Result<Vec<(PaymentId, Row)>, StoreError> {
        Err(StoreError::Row { payment: id(0), why: "damaged" })
    }

    /// How many of these are certainly new.
    fn new(known: &Known, numbers: impl IntoIterator<Item = u64>) -> usize {
        numbers.into_iter().filter(|n| known.is_new(&id(*n))).count()
    }

    fn save(known: &Known, applied: u64) -> Vec<(usize, Vec<u8>)> {
        let mut kept = Vec::new();
        let keep = &mut |number, bytes| {
            kept.push((number, bytes));
            Ok::<(), ()>(())
        };
        known.save(&mark(applied), keep).expect("kept");
        kept
    }

    #[test]
    fn what_was_put_into_an_empty_store_is_known_and_hardly_anything_else() {
        let known = Known::nothing(SIZE);
        known.note(&rows((0..2_000).step_by(2)));
        assert_eq!(new(&known, (0..2_000).step_by(2)), 0);
        assert!(new(&known, (1..2_000).step_by(2)) > 950);
        assert_eq!(new(&known, 2_000..2_100), 100, "behind them all");
    }

    #[test]
    fn a_kept_filter_counts_only_once_the_replay_is_over() {
        let before = Known::nothing(SIZE);
        before.note(&rows((0..100).step_by(2)));
        let layers = save(&before, 50).into_iter().map(|(_, bytes)| bytes);
        let filter = Filter::decode(SIZE, [7; 16], Lsn::new(50), layers).expect("whole");
        let known = Known::replayed(id(198), filter, &mark(90));
        assert_eq!(new(&known, 0..199), 0);
        known.note(&rows((100..200).step_by(2)));
        known.advance(&mark(90), &unreadable);
        assert_eq!(new(&known, 0..199), 0, "more may come");
        known.advance(&mark(91), &unreadable);
        assert_eq!(new(&known, (0..200).step_by(2)), 0);
        assert!(new(&known, (1..199).step_by(2)) > 90);
    }

    #[test]
    fn rows_that_were_not_read_yet_are_not_taken_for_new() {
        let known = Known::unread(id(39_999), SIZE);
        let there = |after: Option<&PaymentId>, limit: usize| {
            Ok(rows((0..40_000).step_by(2))
                .into_iter()
                .filter(|(id, _)| after.is_none_or(|after| id > after))
                .take(limit)
                .collect())
        };
        for batch in 0..3 {
            assert_eq!(new(&known, 0..40_000), 0, "{batch}");
            // On both sides of what has been read.
            known.note(&rows([batch * 2 + 1, 39_999 - batch * 2]));
            known.advance(&mark(batch), &there);
        }
        assert_eq!(new(&known, (0..40_000).step_by(2).chain([1, 3, 5, 39_999, 39_997, 39_995])), 0);
        assert!(new(&known, (7..39_995).step_by(2)) > 15_000);
    }

    #[test]
    fn a_row_that_cannot_be_read_and_one_too_many_end_it() {
        let damaged = Known::unread(id(9_999), SIZE);
        damaged.advance(&mark(1), &unreadable);
        let full = Known::nothing(Size { all: 1024, ..SIZE });
        full.note(&rows(0..2_000));
        let none = Known::nothing(Size { all: 0, ..SIZE });
        none.note(&rows(0..2_000));
        for known in [damaged, full, none] {
            known.advance(&mark(2), &|_, _| Ok(Vec::new()));
            assert_eq!(new(&known, 0..2_000), 0);
            assert_eq!(save(&known, 2), []);
        }
    }

    #[test]
    fn a_full_layer_is_kept_once_and_the_newest_each_time() {
        let known = Known::nothing(SIZE);
        let mut numbers = Vec::new();
        for (first, applied) in [(0, 1), (100, 2), (2_000, 3), (2_001, 4)] {
            known.note(&rows(first..first + 1_000));
            numbers.push(save(&known, applied).into_iter().map(|(number, _)| number).collect::<Vec<_>>());
        }
        assert_eq!(numbers, [vec![0, 1], vec![1], vec![1, 2, 3], vec![3]]);
    }
}
