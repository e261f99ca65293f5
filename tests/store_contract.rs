//! What every store promises, asked of both; and what the real one does with a folder in any state.

#![allow(clippy::expect_used, clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use payonce::journal::Lsn;
use payonce::payment::PaymentId;
use payonce::store::{
    Condition, Expected, Mark, MemoryStore, OpenError, Opening, Options, Row, SledStore, Store, StoreError, move_aside,
    open, shorter_than_noted,
};

const UUID: [u8; 16] = [0xAB; 16];
const NOTHING_NOTED: Expected<'static> = Expected { store: UUID, applied: Lsn::ZERO, files: &[] };

/// Runs a promise against both stores.
fn both(promise: fn(&dyn Store)) {
    promise(&MemoryStore::new());
    promise(&fresh(&Folder::new().path));
}

#[test]
fn a_payload_comes_back_byte_for_byte() {
    both(|store| {
        let payloads = [Vec::new(), (0..=255).collect(), vec![0; 600], (0..=255).cycle().take(300_000).collect()];
        let rows: Vec<_> =
            (1u64..).zip(payloads).map(|(n, payload)| (id(n), Row { lsn: Lsn::new(n), payload })).collect();
        store.apply(&rows, &mark(4)).unwrap();
        for (id, row) in &rows {
            assert_eq!(store.get(id).unwrap().as_ref(), Some(row));
        }
        assert_eq!(store.get(&id(5)).unwrap(), None);
    });
}

#[test]
fn the_mark_moves_with_its_rows_and_the_last_row_put_holds() {
    both(|store| {
        assert_eq!(store.mark().unwrap(), None);
        store.apply(&[put(1, 1), put(2, 2)], &mark(2)).unwrap();
        assert_eq!(store.mark().unwrap(), Some(mark(2)));
        store.apply(&[put(1, 3)], &mark(3)).unwrap();
        assert_eq!(store.mark().unwrap(), Some(mark(3)));
        assert_eq!(store.get(&id(1)).unwrap(), Some(row(3)));
        assert_eq!(store.get(&id(2)).unwrap(), Some(row(2)));
        store.apply(&[], &mark(9)).unwrap();
        assert_eq!(store.mark().unwrap(), Some(mark(9)));
    });
}

#[test]
fn pages_are_in_id_order_and_each_begins_behind_the_last() {
    both(|store| {
        let numbers = [9, 2, 255, 256, 1, 70_000, u64::MAX];
        let rows: Vec<_> = numbers.iter().map(|n| put(*n, *n)).collect();
        store.apply(&rows, &mark(1)).unwrap();
        let mut seen = Vec::new();
        for length in [3, 3, 1, 0] {
            let page = store.page(seen.last().map(|(id, _)| id), 3).unwrap();
            assert_eq!(page.len(), length);
            seen.extend(page);
        }
        assert_eq!(seen, [1, 2, 9, 255, 256, 70_000, u64::MAX].map(|n| put(n, n)));
        assert_eq!(store.page(None, 0).unwrap(), []);
        assert_eq!(store.page(Some(&id(10)), 1).unwrap(), [put(255, 255)]);
    });
}

#[test]
fn a_flush_changes_nothing_that_can_be_seen() {
    both(|store| {
        store.flush().unwrap();
        store.apply(&[put(1, 1)], &mark(1)).unwrap();
        assert_eq!(store.flush().unwrap(), store.flush().unwrap());
        assert_eq!((store.get(&id(1)).unwrap(), store.mark().unwrap()), (Some(row(1)), Some(mark(1))));
    });
}

#[test]
fn what_was_flushed_is_kept_and_nothing_is_shorter_than_noted() {
    let folder = Folder::new();
    let (files, copy) = filled(&folder.path, 20);
    assert_eq!(shorter_than_noted(&copy, &files), None);
    let expected = Expected { applied: Lsn::new(20), files: &files, ..NOTHING_NOTED };
    let opening = open(&copy, &Options::default(), &expected).unwrap();
    assert_eq!(opening.condition, Condition::Kept { mark: mark(20) });
    assert_eq!(opening.store.page(None, 100).unwrap(), (1..=20).map(|n| put(n, n)).collect::<Vec<_>>());
}

/// Copying the folder of a running store is what a kill leaves.
#[test]
fn a_kill_leaves_whole_batches_and_the_mark_says_which() {
    let folder = Folder::new();
    let store = fresh(&folder.path);
    let batch = |k: u64| (k * 100 + 1..=k * 100 + 100).map(|n| put(n, n)).collect::<Vec<_>>();
    for k in 0..60 {
        store.apply(&batch(k), &mark(k * 100 + 100)).unwrap();
        if k == 20 {
            store.flush().unwrap();
        }
        if k % 10 != 9 {
            continue;
        }
        let opening = open(&copied(&folder.path), &Options::default(), &NOTHING_NOTED).unwrap();
        let applied = match opening.condition {
            Condition::Kept { mark } => mark.applied.get(),
            Condition::Fresh | Condition::MovedAside { .. } => 0,
        };
        assert!(k < 20 || applied >= 2100, "flushed batches are kept: {applied}");
        assert_eq!(opening.store.page(None, 10_000).unwrap(), (1..=applied).map(|n| put(n, n)).collect::<Vec<_>>());
    }
}

#[test]
fn a_snapshot_torn_by_a_kill_is_removed_and_every_row_is_there() {
    let folder = Folder::new();
    let (_, copy) = filled(&folder.path, 20);
    drop(kept(&copy));
    let torn = copy.join("snap.FFFFFFFFFFFFFFF0.generating");
    fs::write(&torn, b"torn").unwrap();
    assert_eq!(kept(&copy).page(None, 100).unwrap().len(), 20);
    assert!(!torn.exists());
}

#[test]
fn an_absent_or_empty_folder_is_a_fresh_store() {
    let folder = Folder::new();
    drop(fresh(&folder.path));
    drop(fresh(&folder.path));
    let empty = folder.path.with_extension("empty");
    fs::create_dir(&empty).unwrap();
    drop(fresh(&empty));
}

#[test]
fn another_data_folders_store_is_moved_aside_whole() {
    let folder = Folder::new();
    let (_, copy) = filled(&folder.path, 20);
    let why = moved_aside(&copy, &Expected { store: [0xCD; 16], ..NOTHING_NOTED });
    assert!(why.contains("abababab-abab-abab-abab-abababababab"), "{why}");
    let old = copy.with_extension("bad.1");
    assert_eq!(kept(&old).page(None, 100).unwrap().len(), 20);
}

#[test]
fn a_store_behind_its_checkpoint_is_moved_aside() {
    let folder = Folder::new();
    let (_, copy) = filled(&folder.path, 20);
    let expected = Expected { applied: Lsn::new(21), ..NOTHING_NOTED };
    let why = moved_aside(&copy, &expected);
    assert!(why.contains("ends at record 20") && why.contains("21"), "{why}");
    let empty = folder.path.with_extension("empty");
    drop(fresh(&empty));
    let why = moved_aside(&empty, &expected);
    assert!(why.contains("is empty") && why.contains("21"), "{why}");
}

#[test]
fn shorter_and_missing_files_are_noticed_before_sled_sees_them() {
    let folder = Folder::new();
    let (files, whole) = filled(&folder.path, 20);
    assert_eq!(files.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(), ["db", "conf"]);
    for (name, length) in &files {
        let harms: [&dyn Fn(&Path); 2] = [&|file| cut(file, length - 1), &|file| fs::remove_file(file).unwrap()];
        for harm in harms {
            let copy = copied(&whole);
            harm(&copy.join(name));
            let why = moved_aside(&copy, &Expected { files: &files, ..NOTHING_NOTED });
            assert!(why.starts_with(name) && why.contains(&length.to_string()), "{why}");
        }
    }
}

/// sled keeps such a value in a file of its own.
#[test]
fn a_row_too_large_for_sleds_log_is_kept_and_its_damage_noticed() {
    let folder = Folder::new();
    let store = fresh(&folder.path);
    // Nothing that could be compressed.
    let scattered = |n: u64| n.wrapping_mul(0x9E37_79B9_7F4A_7C15).rotate_left(29).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let large = Row { lsn: Lsn::new(1), payload: (1..40_000).flat_map(|n| scattered(n).to_le_bytes()).collect() };
    store.apply(&[(id(1), large.clone())], &mark(1)).unwrap();
    store.flush().unwrap();
    let copy = copied(&folder.path);
    assert_eq!(kept(&copy).get(&id(1)).unwrap(), Some(large));
    let blobs: Vec<_> = fs::read_dir(copy.join("blobs")).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert!(!blobs.is_empty());
    blobs.iter().for_each(|blob| cut(blob, 1000));
    let Opening { store, condition } = open(&copy, &Options::default(), &NOTHING_NOTED).unwrap();
    assert!(matches!(condition, Condition::MovedAside { .. }) || store.get(&id(1)).is_err());
}

/// Even when no lengths were noted. A cut in the zeros behind the last batch does no harm.
#[test]
fn a_log_cut_anywhere_is_moved_aside_unless_every_row_is_there() {
    let folder = Folder::new();
    let (_, whole) = filled(&folder.path, 3000);
    let snapshotted = copied(&whole);
    drop(kept(&snapshotted));
    let expected = Expected { applied: Lsn::new(3000), ..NOTHING_NOTED };
    for source in [whole, snapshotted] {
        let length = fs::metadata(source.join("db")).unwrap().len();
        for eighth in 0..8 {
            let copy = copied(&source);
            cut(&copy.join("db"), length * eighth / 8);
            let Opening { store, condition } = open(&copy, &Options::default(), &expected).unwrap();
            let rows = store.page(None, 3001).unwrap().len();
            match condition {
                Condition::Kept { .. } => assert_eq!(rows, 3000, "cut to {eighth}/8"),
                Condition::MovedAside { .. } => assert_eq!(rows, 0, "cut to {eighth}/8"),
                Condition::Fresh => panic!("rows were forgotten without a word, cut to {eighth}/8"),
            }
        }
    }
}

#[test]
fn garbage_in_place_of_any_file_or_of_the_folder_is_moved_aside() {
    let garbage: Vec<u8> = (0..200_000u32).map(|n| (n % 251 * 7 % 253).to_le_bytes()[0]).collect();
    let folder = Folder::new();
    let (_, whole) = filled(&folder.path, 3000);
    drop(kept(&whole));
    let expected = Expected { applied: Lsn::new(3000), ..NOTHING_NOTED };
    for entry in fs::read_dir(&whole).unwrap().map(|entry| entry.unwrap()) {
        if entry.file_type().unwrap().is_file() {
            let copy = copied(&whole);
            fs::write(copy.join(entry.file_name()), &garbage).unwrap();
            moved_aside(&copy, &expected);
        }
    }
    let file = folder.path.with_extension("file");
    fs::write(&file, &garbage).unwrap();
    moved_aside(&file, &NOTHING_NOTED);
}

#[test]
fn rows_without_a_mark_a_damaged_mark_and_another_format_are_moved_aside() {
    type Harm = fn(&sled::Db);
    let harms: [(Harm, &str); 3] = [
        (|db| drop(db.remove("m").unwrap()), "no mark"),
        (|db| flip(db, b"m", 20), "checksum"),
        (|db| flip(db, b"m", 0), "format"),
    ];
    for (harm, word) in harms {
        let folder = Folder::new();
        let (_, copy) = filled(&folder.path, 20);
        through_sled(&copy, harm);
        let why = moved_aside(&copy, &NOTHING_NOTED);
        assert!(why.contains(word), "{why}");
    }
}

/// Payments of different moments.
fn apart(n: u8) -> PaymentId {
    PaymentId::from_bytes([n, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0])
}

/// The key of the pack that begins with that payment.
fn key(n: u8) -> Vec<u8> {
    [b"p", &apart(n).as_bytes()[..]].concat()
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

#[test]
fn after_a_failed_flush_nothing_more_is_answered() {
    let folder = Folder::new();
    let store = fresh(&folder.path);
    store.apply(&[put(1, 1)], &mark(1)).unwrap();
    fs::remove_file(folder.path.join("conf")).unwrap();
    assert!(matches!(store.flush(), Err(StoreError::File { path, .. }) if path.ends_with("conf")));
    assert!(matches!(store.flush(), Err(StoreError::Broken { .. })));
    assert!(matches!(store.apply(&[put(2, 2)], &mark(2)), Err(StoreError::Broken { .. })));
    assert!(matches!(store.get(&id(1)), Err(StoreError::Broken { since }) if since.contains("conf")));
}

#[test]
fn a_store_moved_aside_on_purpose_leaves_room_for_a_fresh_one() {
    let folder = Folder::new();
    let (_, copy) = filled(&folder.path, 20);
    let old = move_aside(&copy).unwrap().unwrap();
    assert_eq!(move_aside(&copy).unwrap(), None);
    drop(fresh(&copy));
    assert_eq!(kept(&old).page(None, 100).unwrap().len(), 20);
}

#[test]
fn a_store_whose_parent_is_missing_says_so_and_moves_nothing() {
    let folder = Folder::new();
    let error = open(&folder.path.join("nowhere/store"), &Options::default(), &NOTHING_NOTED).unwrap_err();
    assert!(matches!(&error, OpenError::Files { path, .. } if path.ends_with("nowhere/store")), "{error}");
}

fn id(n: u64) -> PaymentId {
    PaymentId::from_bytes((u128::from(n) << 32).to_be_bytes())
}

fn row(lsn: u64) -> Row {
    Row { lsn: Lsn::new(lsn), payload: lsn.to_le_bytes().repeat(40) }
}

fn put(n: u64, lsn: u64) -> (PaymentId, Row) {
    (id(n), row(lsn))
}

fn mark(applied: u64) -> Mark {
    Mark { store: UUID, epoch: 3, applied: Lsn::new(applied), chain: 0x0BAD_CAFE }
}

/// An empty folder's name, in a folder of its own that goes with the test.
struct Folder {
    path: PathBuf,
}

impl Folder {
    fn new() -> Folder {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("payonce-store-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let root = std::env::temp_dir().join(name);
        fs::create_dir(&root).unwrap();
        Folder { path: root.join("store") }
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // What a failed test leaves behind is no second failure.
        drop(fs::remove_dir_all(self.path.parent().unwrap()));
    }
}

fn fresh(path: &Path) -> SledStore {
    let Opening { store, condition } = open(path, &Options::default(), &NOTHING_NOTED).unwrap();
    assert_eq!(condition, Condition::Fresh);
    store
}

fn kept(path: &Path) -> SledStore {
    let Opening { store, condition } = open(path, &Options::default(), &NOTHING_NOTED).unwrap();
    assert!(matches!(condition, Condition::Kept { .. }), "{condition:?}");
    store
}

/// Opens a store that must be found unfit: it is moved, the new one is empty and works. Returns why.
fn moved_aside(path: &Path, expected: &Expected<'_>) -> String {
    let Opening { store, condition } = open(path, &Options::default(), expected).unwrap();
    let Condition::MovedAside { to, why } = condition else { panic!("found {condition:?}") };
    assert!(to.exists() && to != path);
    assert_eq!((store.mark().unwrap(), store.page(None, 1).unwrap()), (None, Vec::new()));
    store.apply(&[put(1, 1)], &mark(1)).unwrap();
    assert_eq!(store.get(&id(1)).unwrap(), Some(row(1)));
    why
}

/// A flushed store with the rows 1 to `rows`, copied while it ran. Returns what the flush noted, and the copy.
fn filled(path: &Path, rows: u64) -> (Vec<(String, u64)>, PathBuf) {
    let store = fresh(path);
    for first in (1..=rows).step_by(500) {
        let last = rows.min(first + 499);
        store.apply(&(first..=last).map(|n| put(n, n)).collect::<Vec<_>>(), &mark(last)).unwrap();
    }
    let files = store.flush().unwrap();
    (files, copied(path))
}

/// A copy under a name of its own beside the folder.
fn copied(path: &Path) -> PathBuf {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let to = path.with_file_name(format!("copy-{}", NEXT.fetch_add(1, Ordering::Relaxed)));
    copy_folder(path, &to);
    to
}

fn copy_folder(from: &Path, to: &Path) {
    fs::create_dir(to).unwrap();
    for entry in fs::read_dir(from).unwrap().map(|entry| entry.unwrap()) {
        let copy = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy_folder(&entry.path(), &copy);
        } else {
            fs::copy(entry.path(), copy).unwrap();
        }
    }
}

fn cut(path: &Path, length: u64) {
    File::options().write(true).open(path).unwrap().set_len(length).unwrap();
}

/// Does something to the index behind the store's back.
fn through_sled(path: &Path, harm: impl FnOnce(&sled::Db)) {
    let log = File::options().write(true).open(path.join("db")).unwrap();
    log.lock().unwrap();
    log.unlock().unwrap();
    let db = sled::Config::default().path(path).flush_every_ms(None).open().unwrap();
    harm(&db);
    db.flush().unwrap();
}

fn flip(db: &sled::Db, key: &[u8], place: usize) {
    let mut value = db.get(key).unwrap().unwrap().to_vec();
    value[place] ^= 0x10;
    db.insert(key, value).unwrap();
}
