//! The filter of new keys: kept with a flush, not believed when it may lack a row, made anew when it is lost.

#![allow(clippy::expect_used, clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

mod store_kit;

use std::{
    fs,
    path::{Path, PathBuf},
};

use payonce::{
    journal::Lsn,
    payment::PaymentId,
    store::{Condition, Expected, Opening, Options, Row, SledStore, Store, open},
};
use store_kit::{Folder, NOTHING_NOTED, copied, cut, flip, fresh, mark, row, through_sled};

/// Their order is that of the numbers, and they end as if by a hash.
fn id(n: u64) -> PaymentId {
    let hash = n.wrapping_mul(0xd134_2543_de82_ef95).rotate_left(29).wrapping_mul(0x2545_f491_4f6c_dd1d);
    PaymentId::from_bytes((u128::from(n) << 64 | u128::from(hash)).to_be_bytes())
}

/// Even ones are put, odd ones are asked for.
fn put_even(store: &SledStore, numbers: std::ops::Range<u64>, applied: u64) {
    let rows: Vec<(PaymentId, Row)> = numbers.filter(|n| n % 2 == 0).map(|n| (id(n), row(n))).collect();
    store.apply(&rows, &mark(applied)).unwrap();
}

/// A store of the rows 0, 2 .. 398 that was flushed at record 400, took 400, 402 .. 598 up to record 600, and was killed.
fn killed(path: &Path) -> PathBuf {
    let store = fresh(path);
    put_even(&store, 0..400, 400);
    store.flush().unwrap();
    put_even(&store, 400..600, 600);
    // A killed process loses the last batches, unless sled wrote them: as here.
    let copy = path.with_file_name("killed");
    drop(store);
    fs::rename(path, &copy).unwrap();
    copy
}

fn reopened(path: &Path, upto: u64) -> SledStore {
    let expected = Expected { applied: Lsn::new(upto), ..NOTHING_NOTED };
    let Opening { store, condition } = open(path, &Options::default(), &expected).unwrap();
    assert!(matches!(condition, Condition::Kept { .. }), "{condition:?}");
    store
}

/// Damages the pack in the middle, of 32 rows: who looks for anything in there meets an error.
fn damage_the_middle(path: &Path) -> std::ops::Range<u64> {
    let within = id(200);
    let mut damaged = None;
    through_sled(path, |db| {
        let mut key = vec![b'p'];
        key.extend(within.as_bytes().iter().map(|byte| !byte));
        let (found, _) = db.range(key..).next().unwrap().unwrap();
        flip(db, &found, 30);
        damaged = Some(found[1..9].iter().fold(0, |n, byte| n << 8 | u64::from(!byte)));
    });
    let first = damaged.unwrap();
    first..first + 64
}

/// How many new keys of a damaged pack are told to be new, and how many lead to the damage.
fn asked(store: &SledStore, numbers: std::ops::Range<u64>) -> (usize, usize) {
    let answers: Vec<_> = numbers.filter(|n| n % 2 == 1).map(|n| store.get(&id(n))).collect();
    let new = answers.iter().filter(|answer| matches!(answer, Ok(None))).count();
    (new, answers.iter().filter(|answer| answer.is_err()).count())
}

#[test]
fn after_a_kill_and_its_replay_a_new_key_is_told_without_a_look_and_every_row_is_found() {
    let folder = Folder::new();
    let path = killed(&folder.path);
    let damaged = damage_the_middle(&path);
    let store = reopened(&path, 400);
    assert_eq!(asked(&store, damaged.clone()).0, 0, "before the replay everything is looked for");
    put_even(&store, 400..600, 600);
    assert_eq!(asked(&store, damaged.clone()).0, 0, "and until it is over");
    put_even(&store, 600..601, 601);
    let (new, looked_for) = asked(&store, damaged.clone());
    assert!(new >= 29 && new + looked_for == 32, "{new} new, {looked_for} looked for");
    for n in (0..601).filter(|n| n % 2 == 0) {
        let found = store.get(&id(n));
        assert!(if damaged.contains(&n) { found.is_err() } else { found.unwrap() == Some(row(n)) }, "{n}");
    }
}

#[test]
fn a_filter_that_may_lack_a_row_is_not_believed() {
    type Harm = fn(&Path);
    let harms: [(&str, u64, Harm); 4] = [
        ("behind its checkpoint", 401, |_| {}),
        ("cut short", 400, |file| cut(file, fs::metadata(file).unwrap().len() - 1)),
        ("a flipped bit", 400, |file| {
            let mut bytes = fs::read(file).unwrap();
            bytes[100] ^= 1;
            fs::write(file, bytes).unwrap();
        }),
        ("gone", 400, |file| fs::remove_file(file).unwrap()),
    ];
    for (harm, upto, harmed) in harms {
        let folder = Folder::new();
        let path = killed(&folder.path);
        let damaged = damage_the_middle(&path);
        harmed(&path.join("filter.0"));
        let store = reopened(&path, upto);
        put_even(&store, 600..601, 601);
        assert_eq!(asked(&store, damaged), (0, 32), "{harm}");
    }
}

#[test]
fn a_lost_filter_is_made_anew_from_the_rows_and_kept_again() {
    let folder = Folder::new();
    let store = fresh(&folder.path);
    (0..40).for_each(|batch| put_even(&store, batch * 1_000..batch * 1_000 + 1_000, batch + 1));
    store.flush().unwrap();
    let (path, file) = (copied(&folder.path), "filter.0");
    fs::remove_file(path.join(file)).unwrap();
    let store = reopened(&path, 40);
    for batch in 0..3 {
        assert!(!path.join(file).exists(), "{batch}: not all rows have been read");
        put_even(&store, 40_000 + batch..40_001 + batch, 41 + batch);
        store.flush().unwrap();
        assert!((0..40_000).filter(|n| n % 2 == 0).all(|n| store.get(&id(n)).unwrap() == Some(row(n))), "{batch}");
    }
    assert!(path.join(file).exists());
    assert!((0..40_000).filter(|n| n % 2 == 1).all(|n| store.get(&id(n)).unwrap().is_none()));
}

/// A filter was kept, and lost its first layer; the next one was kept only in part. Both have read all rows, in other orders.
#[test]
fn layers_of_two_filters_never_pass_for_one() {
    let folder = Folder::new();
    let store = fresh(&folder.path);
    let all = 190_000;
    let put = |numbers: Vec<u64>, applied| {
        let rows: Vec<(PaymentId, Row)> =
            numbers.into_iter().map(|n| (id(n), Row { lsn: Lsn::new(1), payload: vec![1] })).collect();
        store.apply(&rows, &mark(applied)).unwrap();
    };
    // In an order that is not that of the ids, which is the order in which a lost filter is made anew.
    (0..all / 500).for_each(|batch| put((0..500).map(|n| all - 1 - batch * 500 - n).collect(), 1 + batch));
    store.flush().unwrap();
    let old = copied(&folder.path);
    assert!(old.join("filter.1").exists());
    let anew = copied(&folder.path);
    fs::remove_file(anew.join("filter.0")).unwrap();
    let made_anew = reopened(&anew, 1);
    let made = |batch: u64| {
        made_anew.apply(&[], &mark(1_000 + batch)).unwrap();
        made_anew.flush().unwrap();
        anew.join("filter.0").exists()
    };
    assert!((0..100).any(made));
    assert_ne!(fs::read(anew.join("filter.0")).unwrap(), fs::read(old.join("filter.0")).unwrap());
    fs::copy(anew.join("filter.0"), old.join("filter.0")).unwrap();
    let store = reopened(&old, 380);
    store.apply(&[], &mark(381)).unwrap();
    assert_eq!((0..all).filter(|n| store.get(&id(*n)).unwrap().is_none()).count(), 0);
}

/// Eight thousand of the largest rows would take a gigabyte.
#[test]
fn large_rows_are_read_a_few_hundred_at_a_time() {
    let folder = Folder::new();
    let store = fresh(&folder.path);
    let large = |n: u64| (id(n), Row { lsn: Lsn::new(n), payload: vec![7; 60_000] });
    (0..6).for_each(|batch| {
        store.apply(&(batch * 100..batch * 100 + 100).map(large).collect::<Vec<_>>(), &mark(batch + 1)).unwrap()
    });
    store.flush().unwrap();
    let path = copied(&folder.path);
    fs::remove_file(path.join("filter.0")).unwrap();
    let store = reopened(&path, 6);
    let kept = |batch| {
        store.apply(&[], &mark(batch)).unwrap();
        store.flush().unwrap();
        path.join("filter.0").exists()
    };
    assert_eq!([7, 8, 9].map(kept), [false, false, true]);
}

#[test]
fn without_a_filter_everything_is_looked_up() {
    let folder = Folder::new();
    let options = Options { filter_bytes: 0, ..Options::default() };
    let Opening { store, .. } = open(&folder.path, &options, &NOTHING_NOTED).unwrap();
    put_even(&store, 0..400, 1);
    store.flush().unwrap();
    assert!(!folder.path.join("filter.0").exists());
    assert!((0..400).all(|n| store.get(&id(n)).unwrap() == (n % 2 == 0).then(|| row(n))));
}
