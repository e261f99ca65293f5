//! What every store promises, asked of both; and what the real one does with a folder in any state.

#![allow(clippy::expect_used, clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

mod store_kit;

use std::{fs, path::Path};

use payonce::{
    journal::Lsn,
    store::{
        Condition, Expected, MemoryStore, OpenError, Opening, Options, Row, Store, StoreError, move_aside, open,
        shorter_than_noted,
    },
};
use store_kit::{
    Folder, NOTHING_NOTED, copied, cut, filled, flip, fresh, id, kept, mark, moved_aside, put, row, through_sled,
};

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
fn garbage_in_place_of_any_file_but_the_filter_or_of_the_folder_is_moved_aside() {
    let garbage: Vec<u8> = (0..200_000u32).map(|n| (n % 251 * 7 % 253).to_le_bytes()[0]).collect();
    let folder = Folder::new();
    let (_, whole) = filled(&folder.path, 3000);
    drop(kept(&whole));
    let expected = Expected { applied: Lsn::new(3000), ..NOTHING_NOTED };
    for entry in fs::read_dir(&whole).unwrap().map(|entry| entry.unwrap()) {
        if entry.file_type().unwrap().is_file() {
            let copy = copied(&whole);
            fs::write(copy.join(entry.file_name()), &garbage).unwrap();
            if entry.file_name() == "filter.0" {
                assert_eq!(kept(&copy).page(None, 3000).unwrap().len(), 3000);
            } else {
                moved_aside(&copy, &expected);
            }
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
