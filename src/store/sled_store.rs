//! The real store. The only file that names sled.

use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use super::{
    Mark, Row, Store, StoreError,
    codec::{self, Pack},
    filter::Size,
    keys,
    known::{self, Known},
    pack,
    unpacked::Unpacked,
};
use crate::{journal::Lsn, payment::PaymentId};

/// The filter's layers. The first has room for 170,000 ids; of the largest, with 5 million, one is written at each flush,
/// and a hundred million ids take twenty: as many looks at memory for each that is new.
const FILTER: Size = Size { first: 256 << 10, largest: 8 << 20, all: 0 };

/// sled's log. It and `conf` are the files that stay: snapshots and blobs come and go as sled likes.
pub(super) const LOG: &str = "db";
const LASTING: [&str; 2] = [LOG, "conf"];
/// Values too large for sled's log, a file each. sled never fsyncs them.
const BLOBS: &str = "blobs";

/// How the store runs. Nothing here changes what it says.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// sled's page cache, in bytes; at least [`Options::LEAST_CACHE_BYTES`] is taken. Measured with 1,000,000 rows of 600
    /// bytes: 64 MiB keep the process at 90 to 180 MB whatever is written or read; 16 MiB save some 50 MB of that, 256 MiB
    /// cost 150 MB more and put rows in random order 25 % faster. Rows in sorted order gain nothing.
    pub cache_bytes: u64,
    /// The most that the filter takes, which knows of most keys that they are new without a look at a page, in bytes: one and
    /// a half for each payment. Only keys without any order need it: they are paid two to three times as fast with it, once
    /// the rows are more than the cache. 128 MiB are enough for 85 million payments; beyond, it knows of fewer and fewer.
    pub filter_bytes: u64,
    /// How long sled may take to open, besides the time to read its log from a slow disk. It takes 0.1 to 0.7 s for a
    /// million rows and 1.1 s for four million, so a minute means that it hangs.
    pub open_deadline: Duration,
}

impl Options {
    /// Below this sled would evict each page that it has just read.
    pub const LEAST_CACHE_BYTES: u64 = 1 << 20;
}

impl Default for Options {
    fn default() -> Options {
        Options { cache_bytes: 64 << 20, filter_bytes: 128 << 20, open_deadline: Duration::from_secs(60) }
    }
}

/// Rows in a folder of sled's. Dropping it closes it.
pub struct SledStore {
    /// `None` only while being dropped.
    db: Option<sled::Db>,
    folder: PathBuf,
    /// Ours since before sled opened its own, because the system reports a failed write-back once to every descriptor that
    /// was open then.
    log: File,
    known: Box<Known>,
    unpacked: Unpacked<sled::IVec>,
    broken: OnceLock<String>,
}

impl SledStore {
    /// Opens whatever is in `folder`; a sled that cannot make sense of it may answer by panicking or not at all.
    /// The journal is going to tell it again of everything after the record `upto`.
    pub(super) fn start(folder: &Path, options: &Options, upto: Lsn) -> Result<SledStore, StartError> {
        let log = prepare(folder).map_err(StartError::Files)?;
        let config = sled::Config::default()
            .path(folder)
            .cache_capacity(options.cache_bytes.max(Options::LEAST_CACHE_BYTES))
            // Rewrites more to use less space; HighThroughput was not measurably faster.
            .mode(sled::Mode::LowSpace)
            .use_compression(false)
            // Its flusher would only log a failed fsync, and so swallow it. We flush when we note a checkpoint.
            .flush_every_ms(None);
        let db = config.open().map_err(|error| match error {
            sled::Error::Io(error) => StartError::Files(error),
            sled::Error::CollectionNotFound(_)
            | sled::Error::Unsupported(_)
            | sled::Error::ReportableBug(_)
            | sled::Error::Corruption { .. } => StartError::Index(error.to_string()),
        })?;
        let size = Size { all: options.filter_bytes, ..FILTER };
        let (folder, known) = (folder.to_owned(), Box::new(Known::unknown(size)));
        let (unpacked, broken) = (Unpacked::new(), OnceLock::new());
        let mut store = SledStore { db: Some(db), folder, log, known, unpacked, broken };
        // If it cannot be told, no key is new without a look, and whoever looks learns why.
        if let (Ok(mark), Ok(last)) = (store.mark(), store.last_row()) {
            *store.known = Known::found(size, mark.as_ref(), last, upto, known::read(&store.folder));
        }
        Ok(store)
    }

    /// What is not kept of the filter costs the next start's keys a look-up each, and nothing else.
    fn save_filter(&self) {
        let Ok(Some(mark)) = self.mark() else { return };
        let kept = self.known.save(&mark, &mut |number, bytes| known::write(&self.folder, number, &bytes));
        if let Err(error) = kept {
            tracing::info!(%error, "the store's filter could not be kept");
        }
    }

    /// Whether there is any row, readable or not.
    pub(super) fn has_rows(&self) -> Result<bool, StoreError> {
        self.ask("looking for rows", |db| db.range(keys::packs()).next().transpose().map(|row| row.is_some()))
    }

    /// The last row's id; `None` if nothing was ever put. An error if that cannot be told.
    fn last_row(&self) -> Result<Option<PaymentId>, StoreError> {
        let found = self.last_pack_up_to(&keys::LAST)?;
        let damaged = |why| StoreError::Row { payment: keys::LAST, why };
        found.map_or(Ok(None), |(begin, pack)| match pack.until {
            None => Ok(Some(pack.rows().last().map_or(begin, |(id, _)| id))),
            Some(_) => Err(damaged("the last pack is missing")),
        })
    }

    /// The pack in which a payment would be, and where that begins; `None` if nothing was ever put. A batch that divides a
    /// pack is seen whole or not at all.
    fn last_pack_up_to(&self, id: &PaymentId) -> Result<Option<(PaymentId, Arc<Pack>)>, StoreError> {
        let look = || self.ask("reading a pack", |db| db.range(keys::packs_up_to(id)).next().transpose());
        let found = match look()? {
            Some(found) => Some(found),
            None if self.mark()?.is_none() => return Ok(None),
            // The first batch, which brings the first pack and the mark, may have come since.
            None => look()?,
        };
        let damaged = |why| StoreError::Row { payment: *id, why };
        let (key, value) = found.ok_or_else(|| damaged("the first pack is missing"))?;
        let begin = keys::begin(&key).ok_or_else(|| damaged("its pack is under a key that is none"))?;
        Ok(Some((begin, self.unpacked.pack(key, value).map_err(damaged)?)))
    }

    /// A read. A panic in sled is an error like any other, but one after which nothing more is asked of it.
    fn ask<T>(
        &self,
        doing: &'static str,
        question: impl FnOnce(&sled::Db) -> sled::Result<T>,
    ) -> Result<T, StoreError> {
        self.check_whole()?;
        let Some(db) = &self.db else { return Err(StoreError::Broken { since: "it is closed".to_owned() }) };
        match catch_unwind(AssertUnwindSafe(|| question(db))) {
            Ok(answer) => answer.map_err(|error| StoreError::Index { doing, why: error.to_string() }),
            Err(panic) => Err(self.broke(StoreError::Index { doing, why: panic_words(&*panic) })),
        }
    }

    fn check_whole(&self) -> Result<(), StoreError> {
        self.broken.get().map_or(Ok(()), |since| Err(StoreError::Broken { since: since.clone() }))
    }

    /// A write. After a failed one nothing more is asked: half a batch may be visible.
    fn tell<T>(&self, doing: &'static str, order: impl FnOnce(&sled::Db) -> sled::Result<T>) -> Result<T, StoreError> {
        self.ask(doing, order).map_err(|error| self.broke(error))
    }

    /// Notes the first error that leaves this store unusable.
    fn broke(&self, error: StoreError) -> StoreError {
        self.broken.get_or_init(|| error.to_string());
        error
    }

    /// sled's flush ends in `sync_file_range`, which promises nothing after a power failure; and it never fsyncs a folder,
    /// a blob or `conf`. A failure here is final: the system forgets what it could not write once it has said so.
    fn sync_files(&self) -> Result<(), StoreError> {
        let blobs = self.folder.join(BLOBS);
        let mut paths = vec![self.folder.join("conf")];
        let listed = fs::read_dir(&blobs).and_then(|entries| entries.map(|entry| Ok(entry?.path())).collect());
        paths.extend::<Vec<PathBuf>>(listed.map_err(|error| failed(&blobs, error))?);
        paths.extend([blobs, self.folder.clone()]);
        self.log.sync_all().map_err(|error| failed(&self.folder.join(LOG), error))?;
        paths.iter().try_for_each(|path| sync_if_there(path).map_err(|error| failed(path, error)))
    }

    fn lasting_lengths(&self) -> Result<Vec<(String, u64)>, StoreError> {
        LASTING
            .iter()
            .map(|name| {
                let path = self.folder.join(name);
                let metadata = fs::metadata(&path).map_err(|error| failed(&path, error))?;
                Ok(((*name).to_owned(), metadata.len()))
            })
            .collect()
    }
}

impl Store for SledStore {
    fn get(&self, id: &PaymentId) -> Result<Option<Row>, StoreError> {
        if self.known.is_new(id) {
            return self.check_whole().map(|()| None);
        }
        pack::find(id, &|id| self.last_pack_up_to(id))
    }

    fn apply(&self, rows: &[(PaymentId, Row)], mark: &Mark) -> Result<(), StoreError> {
        let mut batch = sled::Batch::default();
        if self.mark()?.is_none() {
            let (key, value) = pack::first();
            batch.insert(key, value);
        }
        self.known.note(rows);
        let put = &mut |key, value| batch.insert::<Vec<u8>, Vec<u8>>(key, value);
        pack::place(rows, &|id| self.last_pack_up_to(id), put).map_err(|error| self.broke(error))?;
        batch.insert(keys::MARK, codec::encode_mark(keys::MARK, mark));
        self.tell("applying a batch", |db| db.apply_batch(batch))?;
        self.known.advance(mark, &|from| pack::ids(from, &|id| self.last_pack_up_to(id)));
        Ok(())
    }

    fn mark(&self) -> Result<Option<Mark>, StoreError> {
        let value = self.ask("reading the mark", |db| db.get(keys::MARK))?;
        let decode = |value: sled::IVec| codec::decode_mark(keys::MARK, &value);
        value.map(decode).transpose().map_err(|why| StoreError::Mark { why })
    }

    fn page(&self, after: Option<&PaymentId>, limit: usize) -> Result<Vec<(PaymentId, Row)>, StoreError> {
        pack::page(after, limit, &|id| self.last_pack_up_to(id))
    }

    fn flush(&self) -> Result<Vec<(String, u64)>, StoreError> {
        self.tell("flushing", |db| db.flush())?;
        let lengths = self.sync_files().and_then(|()| self.lasting_lengths()).map_err(|error| self.broke(error))?;
        self.save_filter();
        Ok(lengths)
    }
}

/// sled's own shows every row.
impl fmt::Debug for SledStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SledStore").field("folder", &self.folder).field("broken", &self.broken).finish_non_exhaustive()
    }
}

/// sled fsyncs once more when it is dropped, and panics if that fails. The store is not the truth: it need not stop us.
impl Drop for SledStore {
    fn drop(&mut self) {
        let db = self.db.take();
        if catch_unwind(AssertUnwindSafe(|| drop(db))).is_err() {
            tracing::warn!("the store {} was closed, but its last fsync failed", self.folder.display());
        }
    }
}

/// Why sled did not start.
#[derive(Debug)]
pub(super) enum StartError {
    /// The system refused something.
    Files(io::Error),
    /// sled makes nothing of what it found.
    Index(String),
}

/// How much of a panic's words is kept, in characters: sled's may show the whole index, rows and all.
const MOST_WORDS: usize = 300;

/// What a panic said, or how that begins.
pub(super) fn panic_words(panic: &(dyn std::any::Any + Send)) -> String {
    let words = panic.downcast_ref::<String>().map(String::as_str).or_else(|| panic.downcast_ref::<&str>().copied());
    let words: String = words.unwrap_or("without a word").chars().take(MOST_WORDS).collect();
    format!("it panicked: {words}")
}

/// Makes the folder fit for sled, and returns a descriptor of its log.
fn prepare(folder: &Path) -> io::Result<File> {
    fs::create_dir_all(folder)?;
    remove_torn_snapshots(folder)?;
    let log = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(folder.join(LOG))?;
    // sled only tries its lock. Threads of one that was just dropped may hold it still for a moment: wait for them.
    log.lock()?;
    log.unlock()?;
    Ok(log)
}

/// A process killed while sled opened leaves `snap.*.generating`, torn. sled would take it for its newest snapshot and never
/// open again; without it, it reads the one before.
fn remove_torn_snapshots(folder: &Path) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if name.starts_with("snap.") && name.ends_with(".generating") {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

/// sled removes blobs that it no longer needs at any time.
fn sync_if_there(path: &Path) -> io::Result<()> {
    match File::open(path).and_then(|file| file.sync_all()) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        done => done,
    }
}

fn failed(path: &Path, error: io::Error) -> StoreError {
    StoreError::File { path: path.to_owned(), error }
}
