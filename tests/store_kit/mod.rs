//! What the store's tests share: rows, folders, and ways to harm what is in them.

#![allow(dead_code, reason = "each test file uses its own part")]

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    sync::atomic::{AtomicU32, Ordering},
};

use payonce::{
    journal::Lsn,
    payment::PaymentId,
    store::{Condition, Expected, Mark, Opening, Options, Row, SledStore, Store, open},
};

pub(crate) const UUID: [u8; 16] = [0xAB; 16];
pub(crate) const NOTHING_NOTED: Expected<'static> = Expected { store: UUID, applied: Lsn::ZERO, files: &[] };

pub(crate) fn id(n: u64) -> PaymentId {
    PaymentId::from_bytes((u128::from(n) << 32).to_be_bytes())
}

pub(crate) fn row(lsn: u64) -> Row {
    Row { lsn: Lsn::new(lsn), payload: lsn.to_le_bytes().repeat(40) }
}

pub(crate) fn put(n: u64, lsn: u64) -> (PaymentId, Row) {
    (id(n), row(lsn))
}

pub(crate) fn mark(applied: u64) -> Mark {
    Mark { store: UUID, epoch: 3, applied: Lsn::new(applied), chain: 0x0BAD_CAFE }
}

/// An empty folder's name, in a folder of its own that goes with the test.
pub(crate) struct Folder {
    pub(crate) path: PathBuf,
}

impl Folder {
    pub(crate) fn new() -> Folder {
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

pub(crate) fn fresh(path: &Path) -> SledStore {
    let Opening { store, condition } = open(path, &Options::default(), &NOTHING_NOTED).unwrap();
    assert_eq!(condition, Condition::Fresh);
    store
}

pub(crate) fn kept(path: &Path) -> SledStore {
    let Opening { store, condition } = open(path, &Options::default(), &NOTHING_NOTED).unwrap();
    assert!(matches!(condition, Condition::Kept { .. }), "{condition:?}");
    store
}

/// Opens a store that must be found unfit: it is moved, the new one is empty and works. Returns why.
pub(crate) fn moved_aside(path: &Path, expected: &Expected<'_>) -> String {
    let Opening { store, condition } = open(path, &Options::default(), expected).unwrap();
    let Condition::MovedAside { to, why } = condition else { panic!("found {condition:?}") };
    assert!(to.exists() && to != path);
    assert_eq!((store.mark().unwrap(), store.page(None, 1).unwrap()), (None, Vec::new()));
    store.apply(&[put(1, 1)], &mark(1)).unwrap();
    assert_eq!(store.get(&id(1)).unwrap(), Some(row(1)));
    why
}

/// A flushed store with the rows 1 to `rows`, copied while it ran. Returns what the flush noted, and the copy.
pub(crate) fn filled(path: &Path, rows: u64) -> (Vec<(String, u64)>, PathBuf) {
    let store = fresh(path);
    for first in (1..=rows).step_by(500) {
        let last = rows.min(first + 499);
        store.apply(&(first..=last).map(|n| put(n, n)).collect::<Vec<_>>(), &mark(last)).unwrap();
    }
    let files = store.flush().unwrap();
    (files, copied(path))
}

/// A copy under a name of its own beside the folder.
pub(crate) fn copied(path: &Path) -> PathBuf {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let to = path.with_file_name(format!("copy-{}", NEXT.fetch_add(1, Ordering::Relaxed)));
    copy_folder(path, &to);
    to
}

pub(crate) fn copy_folder(from: &Path, to: &Path) {
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

pub(crate) fn cut(path: &Path, length: u64) {
    File::options().write(true).open(path).unwrap().set_len(length).unwrap();
}

/// Does something to the index behind the store's back.
pub(crate) fn through_sled(path: &Path, harm: impl FnOnce(&sled::Db)) {
    let log = File::options().write(true).open(path.join("db")).unwrap();
    log.lock().unwrap();
    log.unlock().unwrap();
    let db = sled::Config::default().path(path).flush_every_ms(None).open().unwrap();
    harm(&db);
    db.flush().unwrap();
}

pub(crate) fn flip(db: &sled::Db, key: &[u8], place: usize) {
    let mut value = db.get(key).unwrap().unwrap().to_vec();
    value[place] ^= 0x10;
    db.insert(key, value).unwrap();
}
