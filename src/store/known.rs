//! Which ids the store was certainly never given: most look-ups are for new keys, and each would read a page for nothing.
//!
//! Keys in the order of time lie behind every row. For all others there is a Bloom filter, in memory and, as of the last
//! flush, in the store's folder. It counts once it holds the id of every row, and not before:
//!
//! - from the beginning, in a store that was empty when it was opened;
//! - after a replay, where the record up to which it was kept is not behind the last checkpoint. Whatever was put later, the
//!   replay from there puts again, or holds in memory until it is put again: what is in memory is never asked for here. The
//!   first mark beyond the one that was found says that the replay is over;
//! - else once all rows' ids have been read, some with each batch.
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
    filter::{BloomFilter, Size},
    keys,
};
use crate::{journal::Lsn, payment::PaymentId};

/// How many packs are read with each batch while the filter is filled: 8,000 usual rows, in some 6 ms, about as long as a
/// batch takes; of the largest rows, 250 with 25 MB.
const READ_AT_ONCE: usize = 250;

/// Reads the ids from one on that are in one pack with it; says where to go on, if there are more.
pub(super) type Read<'a> = &'a dyn Fn(&PaymentId) -> Result<(Vec<PaymentId>, Option<PaymentId>), StoreError>;

pub(super) struct Known {
    /// No row is behind it, nor being put there.
    newest: Mutex<PaymentId>,
    filter: BloomFilter,
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
    /// Those from this id on.
    Unread(PaymentId),
    /// Any: there is none, or a row could not be read.
    Any,
}

impl Known {
    /// Of a store without rows.
    pub(super) fn nothing(size: Size) -> Known {
        Known::new(keys::FIRST, BloomFilter::new(size), Lacks::None)
    }

    /// Of a store that was found with this mark and this last row, and is told again of everything after the record `upto`.
    /// The layers count if they hold every row up to there, and are not of another history.
    pub(super) fn found(
        size: Size,
        mark: Option<&Mark>,
        last: Option<PaymentId>,
        upto: Lsn,
        layers: impl Iterator<Item = Vec<u8>>,
    ) -> Known {
        let (mark, last) = match (mark, last) {
            (Some(mark), Some(last)) => (mark, last),
            (None, Some(_)) => return Known::unknown(size),
            (_, None) => return Known::nothing(size),
        };
        match BloomFilter::decode(size, mark.store, layers) {
            Some((filter, reached)) if reached >= upto && reached <= mark.applied => {
                let full = filter.depth() - 1;
                let known = Known::new(last, filter, Lacks::Replayed(mark.applied));
                known.progress().saved = full;
                known
            }
            Some(_) | None => Known::new(last, BloomFilter::new(size), Lacks::Unread(keys::FIRST)),
        }
    }

    /// Of a store about which nothing can be said.
    pub(super) fn unknown(size: Size) -> Known {
        Known::new(keys::LAST, BloomFilter::new(size), Lacks::Any)
    }

    fn new(newest: PaymentId, filter: BloomFilter, lacks: Lacks) -> Known {
        let lacks = if filter.has_layers() { lacks } else { Lacks::Any };
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
        if self.lacks() != Lacks::Any {
            rows.iter().for_each(|(id, _)| self.add(id, &before));
        }
    }

    /// A batch was put with this mark: one step towards a filter that counts.
    pub(super) fn advance(&self, mark: &Mark, read: Read<'_>) {
        match self.lacks() {
            Lacks::None | Lacks::Any => {}
            Lacks::Replayed(beyond) if mark.applied > beyond => self.set(Lacks::None),
            Lacks::Replayed(_) => {}
            Lacks::Unread(from) => self.set(self.read_on(from, read)),
        }
    }

    /// Adds the ids of some packs. What is lacking then.
    fn read_on(&self, mut from: PaymentId, read: Read<'_>) -> Lacks {
        for _ in 0..READ_AT_ONCE {
            // Whoever needs a row that cannot be read will say so.
            let Ok((ids, next)) = read(&from) else { return Lacks::Any };
            ids.iter().for_each(|id| self.add(id, &keys::LAST));
            let Some(next) = next else { return Lacks::None };
            from = next;
        }
        Lacks::Unread(from)
    }

    /// Adds what is not held yet, as is certain of what lies behind `newest`.
    fn add(&self, id: &PaymentId, newest: &PaymentId) {
        if id > newest || !self.filter.may_hold(id) {
            self.filter.add(id);
        }
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
    let new = folder.join("filter.new");
    let written = fs::write(&new, bytes).and_then(|()| fs::rename(&new, path(folder, number)));
    if written.is_err() {
        // The disk is full, most likely.
        let _ = fs::remove_file(new);
    }
    written
}

/// The layers in the store's folder, in order.
pub(super) fn read(folder: &Path) -> impl Iterator<Item = Vec<u8>> {
    (0..).map_while(move |number| fs::read(path(folder, number)).ok())
}

fn path(folder: &Path, number: usize) -> PathBuf {
    folder.join(format!("filter.{number}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::filter::tests::id;

    const SIZE: Size = Size { first: 1024, largest: 1024, all: 1 << 20 };

    fn rows(numbers: impl IntoIterator<Item = u64>) -> Vec<(PaymentId, Row)> {
        numbers.into_iter().map(|n| (id(n), Row { lsn: Lsn::new(1), payload: Vec::new() })).collect()
    }

    fn mark(applied: u64) -> Mark {
        Mark { store: [7; 16], epoch: 1, applied: Lsn::new(applied), chain: 0 }
    }

    fn unreadable(_: &PaymentId) -> Result<(Vec<PaymentId>, Option<PaymentId>), StoreError> {
        Err(StoreError::Row { payment: id(0), why: "damaged" })
    }

    /// Its filter was lost.
    fn unread(last: u64) -> Known {
        Known::found(SIZE, Some(&mark(1)), Some(id(last)), Lsn::new(1), std::iter::empty())
    }

    fn layers(known: &Known, applied: u64) -> impl Iterator<Item = Vec<u8>> {
        save(known, applied).into_iter().map(|(_, bytes)| bytes)
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
        let known = Known::found(SIZE, Some(&mark(90)), Some(id(198)), Lsn::new(50), layers(&before, 50));
        assert_eq!(new(&known, 0..199), 0);
        known.note(&rows((100..200).step_by(2)));
        known.advance(&mark(90), &unreadable);
        assert_eq!(new(&known, 0..199), 0, "more may come");
        known.advance(&mark(91), &unreadable);
        assert_eq!(new(&known, (0..200).step_by(2)), 0);
        assert!(new(&known, (1..199).step_by(2)) > 90);
    }

    #[test]
    fn what_may_lack_a_row_or_is_of_another_history_is_not_believed() {
        let before = Known::nothing(SIZE);
        before.note(&rows((0..100).step_by(2)));
        for (reaches, upto, found, believed) in [(50, 50, 50, true), (49, 50, 60, false), (61, 50, 60, false)] {
            let known = Known::found(SIZE, Some(&mark(found)), Some(id(98)), Lsn::new(upto), layers(&before, reaches));
            known.advance(&mark(99), &unreadable);
            assert_eq!(new(&known, (1..98).step_by(2)) > 40, believed, "{reaches} {upto} {found}");
        }
    }

    #[test]
    fn rows_that_were_not_read_yet_are_not_taken_for_new() {
        let known = unread(39_999);
        let there: std::collections::BTreeSet<PaymentId> = (0..40_000).step_by(2).map(id).collect();
        let read = |from: &PaymentId| {
            let mut ids = there.range(from..).copied();
            Ok((ids.by_ref().take(32).collect(), ids.next()))
        };
        for batch in 0..3 {
            assert_eq!(new(&known, 0..40_000), 0, "{batch}");
            // On both sides of what has been read.
            known.note(&rows([batch * 2 + 1, 39_999 - batch * 2]));
            known.advance(&mark(batch), &read);
        }
        assert_eq!(new(&known, (0..40_000).step_by(2).chain([1, 3, 5, 39_999, 39_997, 39_995])), 0);
        assert!(new(&known, (7..39_995).step_by(2)) > 15_000);
    }

    #[test]
    fn without_a_filter_or_with_a_row_that_cannot_be_read_nothing_is_new() {
        let damaged = unread(9_999);
        damaged.advance(&mark(1), &unreadable);
        let none = Known::nothing(Size { all: 0, ..SIZE });
        none.note(&rows(0..2_000));
        for known in [damaged, none] {
            known.advance(&mark(2), &|_| Ok((Vec::new(), None)));
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
