//! How the real store packs its rows: found whatever their ids are, and missed when they are lost.

#![allow(clippy::expect_used, clippy::unwrap_used, clippy::indexing_slicing, clippy::as_conversions, reason = "tests")]

mod store_kit;

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::atomic::{AtomicBool, Ordering},
    thread,
};

use payonce::{
    journal::Lsn,
    payment::PaymentId,
    store::{MemoryStore, Row, SledStore, Store, StoreError},
};
use store_kit::{Folder, copied, filled, flip, fresh, kept, mark, put, row, through_sled};

/// Payments of different moments.
fn apart(n: u8) -> PaymentId {
    PaymentId::from_bytes([n, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0])
}

/// The key of the pack that begins with that payment.
fn key(n: u8) -> Vec<u8> {
    [&b"p"[..], &apart(n).as_bytes().map(|byte| !byte)].concat()
}

/// 200 rows, in packs that begin with 0, 33, 65, 97, 129, 161 and 193.
fn filled_apart(path: &Path) -> PathBuf {
    let store = fresh(path);
    store.apply(&(1..=200).map(|n| (apart(n), row(n.into()))).collect::<Vec<_>>(), &mark(200)).unwrap();
    store.flush().unwrap();
    copied(path)
}

#[test]
fn a_damaged_pack_is_an_error_that_names_its_payment_and_harms_no_other() {
    let folder = Folder::new();
    let copy = filled_apart(&folder.path);
    through_sled(&copy, |db| flip(db, &key(65), 15));
    let store = kept(&copy);
    let error = store.get(&apart(77)).map(drop).unwrap_err();
    assert!(matches!(error, StoreError::Row { payment, .. } if payment == apart(77)), "{error}");
    assert!(error.to_string().contains(&apart(77).to_string()));
    assert!(matches!(store.page(None, 100), Err(StoreError::Row { payment, .. }) if payment == apart(65)));
    assert_eq!([64, 129, 200].map(|n| store.get(&apart(n)).unwrap()), [64, 129, 200].map(|n| Some(row(n))));
    assert!(matches!(store.apply(&[(apart(77), row(99))], &mark(99)), Err(StoreError::Row { .. })));
    assert!(matches!(store.get(&apart(8)), Err(StoreError::Broken { .. })), "half of it may have been lost");
}

/// What was in it would pass for never having been.
#[test]
fn a_pack_that_is_missing_is_an_error_wherever_it_was() {
    for (missing, within) in [(0, 30), (65, 96), (193, 200)] {
        let folder = Folder::new();
        let copy = filled_apart(&folder.path);
        through_sled(&copy, |db| drop(db.remove(key(missing)).unwrap().unwrap()));
        let store = kept(&copy);
        assert!(matches!(store.get(&apart(within)), Err(StoreError::Row { payment, .. }) if payment == apart(within)));
        assert!(matches!(store.page(None, 300), Err(StoreError::Row { .. })), "{missing}");
        assert_eq!(store.get(&apart(150)).unwrap(), Some(row(150)));
        assert!(matches!(store.apply(&[(apart(within), row(1))], &mark(201)), Err(StoreError::Row { .. })));
    }
}

/// A pack moved under another key would answer for payments that are not its own.
#[test]
fn a_pack_under_another_key_is_refused() {
    for odd in [key(150), key(150)[..16].to_vec()] {
        let folder = Folder::new();
        let copy = filled_apart(&folder.path);
        through_sled(&copy, |db| {
            let value = db.get(key(65)).unwrap().unwrap();
            db.insert(odd, value).unwrap();
        });
        let error = kept(&copy).get(&apart(151)).map(drop).unwrap_err();
        assert!(matches!(error, StoreError::Row { payment, .. } if payment == apart(151)), "{error}");
    }
}

/// Ids behind all that there are need no look into the index; those in between do, also after a start.
#[test]
fn rows_are_found_behind_all_others_between_them_and_after_a_start() {
    let folder = Folder::new();
    let store = fresh(&folder.path);
    for n in [50, 60, 55, 200, 61] {
        assert_eq!(store.get(&apart(n)).unwrap(), None, "{n}");
        store.apply(&[(apart(n), row(n.into()))], &mark(n.into())).unwrap();
        assert_eq!(store.get(&apart(n)).unwrap(), Some(row(n.into())));
    }
    store.flush().unwrap();
    drop(store);
    let store = kept(&folder.path);
    assert_eq!(store.get(&apart(200)).unwrap(), Some(row(200)));
    assert_eq!([49, 56, 62, 199, 201].map(|n| store.get(&apart(n)).unwrap()), [None, None, None, None, None]);
}

/// A batch job names a hundred thousand payments within one millisecond: no pack grows with them.
#[test]
fn rows_of_one_moment_are_found_listed_and_replaced_however_many() {
    let folder = Folder::new();
    let store = fresh(&folder.path);
    let at_once = |n: u32| {
        let scattered = n.wrapping_mul(2_654_435_761).to_be_bytes();
        PaymentId::from_bytes(
            [&[1, 2, 3, 4, 5, 6, 0x80, 0, 0x80][..], &scattered, &[0; 3]].concat().try_into().unwrap(),
        )
    };
    for first in (0..3_000).step_by(500) {
        let rows: Vec<_> = (first..first + 500).map(|n| (at_once(n), row(n.into()))).collect();
        store.apply(&rows, &mark(1)).unwrap();
    }
    store.apply(&[(at_once(17), row(99)), (at_once(17), row(100))], &mark(2)).unwrap();
    let wanted = |n: u32| row(if n == 17 { 100 } else { n.into() });
    assert!((0..3_000).all(|n| store.get(&at_once(n)).unwrap() == Some(wanted(n))));
    assert_eq!(store.get(&at_once(3_000)).unwrap(), None);
    let mut all: Vec<_> = (0..3_000).map(|n| (at_once(n), wanted(n))).collect();
    all.sort_by_key(|(id, _)| *id);
    assert_eq!(store.page(None, 10_000).unwrap(), all);
    assert_eq!(store.page(Some(&all[1_234].0), 5).unwrap(), all[1_235..1_240]);
    drop(store);
    let packs = packs_in(&folder.path);
    assert!((3_000 / 32..3_000 / 15).contains(&packs), "{packs}");
}

/// As they do where keys begin with the time: an index of half-full packs would be twice as large.
#[test]
fn rows_that_come_in_order_fill_their_packs() {
    let folder = Folder::new();
    let store = fresh(&folder.path);
    for first in (1..=6_400).step_by(100) {
        store.apply(&(first..first + 100).map(|n| put(n, n)).collect::<Vec<_>>(), &mark(first + 99)).unwrap();
    }
    assert_eq!(store.page(None, 10_000).unwrap(), (1..=6_400).map(|n| put(n, n)).collect::<Vec<_>>());
    drop(store);
    assert_eq!(packs_in(&folder.path), 200);
}

fn packs_in(path: &Path) -> usize {
    let mut packs = 0;
    through_sled(path, |db| packs = db.scan_prefix(b"p").count());
    packs
}

/// A start puts no rows, but its mark: from then on there is a first pack to miss.
#[test]
fn the_only_pack_missing_is_an_error() {
    for rows in [0, 20] {
        let folder = Folder::new();
        let (_, copy) = filled(&folder.path, rows);
        let empty = kept_or_marked(&copy, rows);
        assert_eq!(empty.page(None, 100).unwrap().len() as u64, rows);
        drop(empty);
        through_sled(&copy, |db| drop(db.remove(key(0)).unwrap().unwrap()));
        let store = kept(&copy);
        assert!(matches!(store.get(&apart(7)), Err(StoreError::Row { .. })), "{rows} rows");
        assert!(matches!(store.page(None, 100), Err(StoreError::Row { .. })), "{rows} rows");
        assert!(matches!(store.apply(&[(apart(7), row(1))], &mark(21)), Err(StoreError::Row { .. })), "{rows} rows");
    }
}

fn kept_or_marked(path: &Path, rows: u64) -> SledStore {
    if rows > 0 {
        return kept(path);
    }
    let store = fresh(path);
    store.apply(&[], &mark(1)).unwrap();
    store.flush().unwrap();
    store
}

/// What it asks for is not there in one moment and is in the next.
#[test]
fn the_first_batch_beside_a_reader_is_seen_whole_or_not_at_all() {
    for begun in [false, true].repeat(30) {
        let folder = Folder::new();
        let store = fresh(&folder.path);
        if begun {
            store.apply(&[], &mark(1)).unwrap();
        }
        let done = AtomicBool::new(false);
        thread::scope(|threads| {
            let reading = threads.spawn(|| {
                let mut found = None;
                while !done.load(Ordering::Relaxed) || found.is_none() {
                    found = store.get(&apart(7)).unwrap();
                }
            });
            thread::sleep(std::time::Duration::from_millis(1));
            store.apply(&(1..=64).map(|n| (apart(n), row(n.into()))).collect::<Vec<_>>(), &mark(2)).unwrap();
            done.store(true, Ordering::Relaxed);
            reading.join().unwrap();
        });
    }
}

fn scattered(n: u64) -> u64 {
    let mut mixed = n.wrapping_add(0x9E37_79B9_7F4A_7C15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    mixed ^ (mixed >> 31)
}

/// The id of a key that lends its time: 48 bits of it, then what is hashed.
fn of_time(time: u64, n: u64) -> PaymentId {
    let mut bytes = [0; 16];
    bytes[..6].copy_from_slice(&time.to_be_bytes()[2..]);
    bytes[6..14].copy_from_slice(&scattered(n).to_be_bytes());
    bytes[6] = 0x80 | (bytes[6] & 15);
    bytes[8] = 0x80 | (bytes[8] & 63);
    PaymentId::from_bytes(bytes)
}

/// Looking backwards, sled 0.34.7 panics where a leaf begins behind `..FF FF FF FF`: whoever chooses the times that keys
/// lend could have stopped an engine, and kept it from starting again.
#[test]
fn ids_just_behind_a_time_of_nothing_but_ones_are_looked_up() {
    let time = 0x019A_FFFF_FFFF;
    for first in (640..1_280).step_by(32) {
        let folder = Folder::new();
        let store = fresh(&folder.path);
        let before = (0..first).map(|n| (of_time(time, n), row(1)));
        let mut rows: Vec<_> = before.chain((0..640).map(|n| (of_time(time + 0x1_0000, n), row(1)))).collect();
        rows.sort_by_key(|(id, _)| *id);
        for some in rows.chunks(32) {
            store.apply(some, &mark(1)).unwrap();
        }
        assert_eq!(store.get(&of_time(time + 1, 7)).unwrap(), None, "{first}");
        assert_eq!(store.page(None, 10_000).unwrap(), rows, "{first}");
    }
}

/// Ids of every kind, one in sixteen of them a repetition, against a plain map.
#[test]
fn whatever_the_ids_are_both_stores_say_what_a_map_says() {
    type Kind = fn(u64) -> PaymentId;
    let kinds: [(&str, Kind); 6] = [
        ("hashed", |n| PaymentId::from_bytes((u128::from(scattered(n)) << 64 | u128::from(n)).to_be_bytes())),
        ("rising", |n| of_time(n / 3, n)),
        ("falling", |n| of_time(1_000_000 - n, n)),
        ("one moment", |n| of_time(7, n)),
        ("zeros and ones", |n| PaymentId::from_bytes(std::array::from_fn(|at| [0, 0xFF][(n >> at & 1) as usize]))),
        ("all of them", |n| if n.is_multiple_of(2) { of_time(n, n) } else { of_time(scattered(n), n) }),
    ];
    for (kind, id) in kinds {
        let folder = Folder::new();
        let stores: [Box<dyn Store>; 2] = [Box::new(MemoryStore::new()), Box::new(fresh(&folder.path))];
        let mut map = BTreeMap::new();
        for batch in 0..60 {
            let length = [1, 7, 40, 120][(scattered(batch) % 4) as usize];
            let number = |n: u64| if scattered(n).is_multiple_of(16) { n / 2 } else { n };
            let rows: Vec<_> = (batch * 120..batch * 120 + length)
                .map(|n| (id(number(n)), Row { lsn: Lsn::new(n), payload: vec![3; (scattered(n) % 900) as usize] }))
                .collect();
            stores.iter().for_each(|store| store.apply(&rows, &mark(batch)).unwrap());
            map.extend(rows);
        }
        for store in &stores {
            assert!(map.iter().all(|(id, row)| store.get(id).unwrap().as_ref() == Some(row)), "{kind}");
            let unknown = (100_000..100_200).map(id).filter(|id| !map.contains_key(id));
            assert!(unknown.into_iter().all(|id| store.get(&id).unwrap().is_none()), "{kind}");
            let (mut listed, mut after) = (Vec::new(), None);
            while let page = store.page(after.as_ref(), 97).unwrap()
                && !page.is_empty()
            {
                after = page.last().map(|(id, _)| *id);
                listed.extend(page);
            }
            assert_eq!(listed, map.clone().into_iter().collect::<Vec<_>>(), "{kind}");
            assert_eq!(store.page(None, usize::MAX).unwrap(), listed, "{kind}");
        }
    }
}

/// Each time one more row comes its pack is written again: it must not hold the largest there are by the dozen.
#[test]
fn a_pack_holds_no_more_bytes_than_it_may_unless_one_row_has_more() {
    let folder = Folder::new();
    let store = fresh(&folder.path);
    let large = |n: u8| (apart(n), Row { lsn: Lsn::new(1), payload: vec![n; 30_000] });
    store.apply(&(1..=200).map(large).collect::<Vec<_>>(), &mark(1)).unwrap();
    let one = (apart(201), Row { lsn: Lsn::new(1), payload: vec![7; 300_000] });
    store.apply(std::slice::from_ref(&one), &mark(2)).unwrap();
    assert_eq!(store.page(None, 300).unwrap(), (1..=200).map(large).chain([one]).collect::<Vec<_>>());
    drop(store);
    assert_eq!(packs_in(&folder.path), 101, "two to a pack, and the last alone");
}
