//! Bringing up the store, whatever state its folder is in: kept if all vouches for it, else moved aside and begun anew.

use std::error::Error;
use std::ffi::OsString;
use std::fmt;
use std::fs::{self, File};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use uuid::Uuid;

use super::sled_store::{LOG, Options, SledStore, StartError, panic_words};
use super::{Mark, Store};
use crate::journal::Lsn;

/// A disk slower than this, in bytes a second, is not waited for. sled may read all of its log to open.
const SLOWEST_DISK: u64 = 20 << 20;

/// How many folders moved aside are kept, the newest: they can be as large as the store, and each power failure makes one.
/// They serve only to learn what happened; the journal has all that they have.
const KEPT_ASIDE: usize = 3;

/// What the journal says of the store.
#[derive(Clone, Copy, Debug)]
pub struct Expected<'a> {
    /// The uuid of the data folder.
    pub store: [u8; 16],
    /// Up to where the last checkpoint flushed the store; [`Lsn::ZERO`] before the first.
    pub applied: Lsn,
    /// What the flush before a clean stop returned. Empty after an unclean one: sled shortens its log in everyday use, by
    /// some MB in a second when rows are put again, so what an earlier checkpoint noted would order a rebuild after many
    /// a kill. A log that something else cut short then shows by its mark: cut anywhere, sled opened it empty or not at all.
    pub files: &'a [(String, u64)],
}

/// An open store, and how it was found.
#[derive(Debug)]
pub struct Opening {
    /// Ready for use.
    pub store: SledStore,
    /// What the caller has to do, and to say.
    pub condition: Condition,
}

/// How the store was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Condition {
    /// There was nothing, and nothing was expected unless the journal says otherwise: if it holds anything, rebuild.
    Fresh,
    /// It is this data folder's, and not behind the checkpoint. Whether the mark is *ahead* of the journal, or of another
    /// chain, the caller asks the journal.
    Kept {
        /// How far it got.
        mark: Mark,
    },
    /// It could not be vouched for. The store is empty now: rebuild it, and say so.
    MovedAside {
        /// Where the old one is.
        to: PathBuf,
        /// What was wrong with it.
        why: String,
    },
}

/// Why there is no store. The journal has not been touched.
#[derive(Debug)]
pub enum OpenError {
    /// The system refused something that it would refuse a new folder too, such as space or permission.
    Files {
        /// The store's folder.
        path: PathBuf,
        /// What the system said.
        error: io::Error,
    },
    /// sled does not even start in an empty folder.
    Index {
        /// The store's folder.
        path: PathBuf,
        /// What it said.
        why: String,
    },
    /// sled did not answer in time, and its folder was moved aside. Its thread cannot be stopped and might still write
    /// under the old name, so that a new store must not be begun before this process has ended.
    TimedOut {
        /// Where the folder is now, if there was one.
        moved_to: Option<PathBuf>,
        /// How long it was waited for.
        waited: Duration,
    },
}

/// Opens the store in `path`, or moves what is there aside and begins an empty one. The caller holds the data folder's
/// lock. Must run before anything else opens the folder, for sled changes its files when it opens.
///
/// Not for a folder that an unclean stop left behind in another boot of the machine: [`move_aside`] that first. Where the
/// disk lost a block, sled may step back to a page's older content without a word, and no mark shows it: 52 of 200 logs
/// with one zeroed block opened with intact but old rows.
pub fn open(path: &Path, options: &Options, expected: &Expected<'_>) -> Result<Opening, OpenError> {
    let why = match find(path, options, expected)? {
        Found::Usable(opening) => return Ok(opening),
        Found::Unfit(why) => why,
    };
    let refused = |error| OpenError::Files { path: path.to_owned(), error };
    let moved = move_aside(path).map_err(refused)?;
    match (find(path, options, &Expected { applied: Lsn::ZERO, files: &[], ..*expected })?, moved) {
        (Found::Usable(Opening { store, .. }), Some(to)) => {
            Ok(Opening { store, condition: Condition::MovedAside { to, why } })
        }
        (Found::Usable(opening), None) => Ok(opening),
        (Found::Unfit(why), _) => Err(OpenError::Index { path: path.to_owned(), why }),
    }
}

/// Renames the folder to `<name>.bad.<number>`, so that the next [`open`] begins an empty store; for a caller who decides to
/// rebuild. Returns its new name; `None` if there was nothing. The store must have been dropped. The newest three are kept.
pub fn move_aside(path: &Path) -> io::Result<Option<PathBuf>> {
    if !exists(path)? {
        return Ok(None);
    }
    let aside = folders_aside(path)?;
    let number = aside.last().map_or(1, |(last, _)| last.saturating_add(1));
    let to = aside_name(path, number)?;
    fs::rename(path, &to)?;
    sync_parent(path)?;
    for (_, old) in aside.iter().rev().skip(KEPT_ASIDE - 1) {
        if let Err(error) = fs::remove_dir_all(old) {
            tracing::warn!("cannot remove the old store {}: {error}", old.display());
        }
    }
    Ok(Some(to))
}

/// Compares the store's files with those that a checkpoint noted: `None` if each is as long or longer, else which is not.
/// A file that sled shortened itself since counts as well, and costs a needless rebuild. [`open`] asks this.
pub fn shorter_than_noted(path: &Path, noted: &[(String, u64)]) -> Option<String> {
    noted.iter().find_map(|(name, length)| match fs::metadata(path.join(name)) {
        Ok(metadata) if metadata.len() >= *length => None,
        Ok(metadata) => Some(format!("{name} has {} bytes, its checkpoint noted {length}", metadata.len())),
        Err(error) => Some(format!("{name}, of which a checkpoint noted {length} bytes: {error}")),
    })
}

enum Found {
    Usable(Opening),
    Unfit(String),
}

/// One try at what is there, or at an empty folder.
fn find(path: &Path, options: &Options, expected: &Expected<'_>) -> Result<Found, OpenError> {
    let refused = |error| OpenError::Files { path: path.to_owned(), error };
    if exists(path).map_err(refused)? {
        if let Some(why) = shorter_than_noted(path, expected.files) {
            return Ok(Found::Unfit(why));
        }
    } else {
        fs::create_dir(path).and_then(|()| sync_parent(path)).map_err(refused)?;
    }
    let (folder, options) = (path.to_owned(), *options);
    let (uuid, applied) = (expected.store, expected.applied);
    let waited = deadline(path, &options);
    let try_it = move || {
        let store = SledStore::start(&folder, &options, applied)?;
        let condition = vouch(&store, uuid, applied).map_err(StartError::Index)?;
        Ok(Opening { store, condition })
    };
    match guarded(waited, try_it).map_err(refused)? {
        Guarded::Done(Ok(opening)) => Ok(Found::Usable(opening)),
        Guarded::Done(Err(StartError::Files(error))) if would_recur(&error) => Err(refused(error)),
        Guarded::Done(Err(StartError::Files(error))) => Ok(Found::Unfit(error.to_string())),
        Guarded::Done(Err(StartError::Index(why))) | Guarded::Panicked(why) => Ok(Found::Unfit(why)),
        Guarded::TimedOut => {
            let moved_to = move_aside(path).map_err(refused)?;
            Err(OpenError::TimedOut { moved_to, waited })
        }
    }
}

/// Whether the rows are ours and as many as they should be, as far as the mark tells.
fn vouch(store: &SledStore, uuid: [u8; 16], applied: Lsn) -> Result<Condition, String> {
    match store.mark().map_err(|error| error.to_string())? {
        Some(mark) if mark.store != uuid => Err(format!(
            "it belongs to the data folder {}, and this one is {}",
            Uuid::from_bytes(mark.store),
            Uuid::from_bytes(uuid)
        )),
        Some(mark) if mark.applied < applied => {
            Err(format!("it ends at record {}, its checkpoint noted {applied}", mark.applied))
        }
        Some(mark) => Ok(Condition::Kept { mark }),
        None if store.has_rows().map_err(|error| error.to_string())? => Err("it has rows but no mark".to_owned()),
        None if applied > Lsn::ZERO => Err(format!("it is empty, its checkpoint noted record {applied}")),
        None => Ok(Condition::Fresh),
    }
}

enum Guarded<T> {
    Done(T),
    Panicked(String),
    TimedOut,
}

/// Runs `work` on a thread of its own, which is abandoned if it does not end in time.
fn guarded<T: Send + 'static>(deadline: Duration, work: impl FnOnce() -> T + Send + 'static) -> io::Result<Guarded<T>> {
    let (tell, told) = mpsc::channel();
    // Nobody listens any more after the deadline.
    let run = move || drop(tell.send(catch_unwind(AssertUnwindSafe(work))));
    thread::Builder::new().name("store-open".to_owned()).spawn(run)?;
    Ok(match told.recv_timeout(deadline) {
        Ok(Ok(done)) => Guarded::Done(done),
        Ok(Err(panic)) => Guarded::Panicked(panic_words(&*panic)),
        Err(mpsc::RecvTimeoutError::Timeout | mpsc::RecvTimeoutError::Disconnected) => Guarded::TimedOut,
    })
}

fn deadline(path: &Path, options: &Options) -> Duration {
    let log = fs::metadata(path.join(LOG)).map_or(0, |metadata| metadata.len());
    options.open_deadline.saturating_add(Duration::from_secs(log / SLOWEST_DISK))
}

/// Whether a new folder would meet the same error, so that moving this one aside gains nothing.
fn would_recur(error: &io::Error) -> bool {
    const TOO_MANY_FILES: [i32; 2] = [23, 24]; // ENFILE, EMFILE: std has no name for them
    let number = error.raw_os_error();
    matches!(
        error.kind(),
        io::ErrorKind::StorageFull
            | io::ErrorKind::QuotaExceeded
            | io::ErrorKind::PermissionDenied
            | io::ErrorKind::ReadOnlyFilesystem
            | io::ErrorKind::OutOfMemory
    ) || number.is_some_and(|number| TOO_MANY_FILES.contains(&number))
}

/// A dangling link exists too: it is moved aside like anything else.
fn exists(path: &Path) -> io::Result<bool> {
    match fs::symlink_metadata(path) {
        Ok(_) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

fn aside_name(path: &Path, number: u64) -> io::Result<PathBuf> {
    let mut name = aside_prefix(path)?;
    name.push(number.to_string());
    Ok(path.with_file_name(name))
}

fn aside_prefix(path: &Path) -> io::Result<OsString> {
    let name = path.file_name().ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput))?;
    let mut prefix = name.to_owned();
    prefix.push(".bad.");
    Ok(prefix)
}

/// What was moved aside before, in the order of its numbers.
fn folders_aside(path: &Path) -> io::Result<Vec<(u64, PathBuf)>> {
    let prefix = aside_prefix(path)?;
    let mut found = Vec::new();
    for entry in fs::read_dir(parent(path))? {
        let entry = entry?;
        let name = entry.file_name();
        let digits = name.as_encoded_bytes().strip_prefix(prefix.as_encoded_bytes());
        let number = digits.and_then(|digits| str::from_utf8(digits).ok()).and_then(|digits| digits.parse().ok());
        found.extend(number.map(|number| (number, entry.path())));
    }
    found.sort();
    Ok(found)
}

fn parent(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// A rename is durable with its folder.
fn sync_parent(path: &Path) -> io::Result<()> {
    File::open(parent(path))?.sync_all()
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            OpenError::Files { path, error } => {
                write!(f, "cannot open the store {}: {error}", path.display())?;
                f.write_str("; nothing is lost, the journal has it all: start again when this is mended")
            }
            OpenError::Index { path, why } => {
                write!(f, "cannot begin an empty store in {}: {why}", path.display())?;
                f.write_str("; nothing is lost, the journal has it all")
            }
            OpenError::TimedOut { moved_to, waited } => {
                write!(f, "the store was still opening after {} s", waited.as_secs())?;
                if let Some(moved_to) = moved_to {
                    write!(f, " and is now {}", moved_to.display())?;
                }
                f.write_str("; nothing is lost: start again, and it is rebuilt from the journal")
            }
        }
    }
}

impl Error for OpenError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            OpenError::Files { error, .. } => Some(error),
            OpenError::Index { .. } | OpenError::TimedOut { .. } => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_that_never_ends_is_abandoned() {
        let (hold, held) = mpsc::channel::<()>();
        let never = move || held.recv().is_ok();
        assert!(matches!(guarded(Duration::from_millis(1), never).unwrap(), Guarded::TimedOut));
        drop(hold);
    }

    #[test]
    fn work_that_panics_is_an_answer() {
        let answer = guarded(Duration::MAX, || -> u8 { panic!("no such segment") }).unwrap();
        assert!(matches!(answer, Guarded::Panicked(why) if why.contains("no such segment")));
    }

    #[test]
    fn a_full_disk_is_no_reason_to_move_a_store_aside() {
        assert!(would_recur(&io::Error::from_raw_os_error(28)) && would_recur(&io::Error::from_raw_os_error(24)));
        assert!(!would_recur(&io::Error::from_raw_os_error(5)) && !would_recur(&io::ErrorKind::UnexpectedEof.into()));
    }

    #[test]
    fn the_newest_three_moved_aside_are_kept_under_rising_numbers() {
        let root = std::env::temp_dir().join(format!("payonce-aside-{}", std::process::id()));
        fs::create_dir_all(&root).unwrap();
        let path = root.join("store");
        for number in 1..=12 {
            fs::create_dir(&path).unwrap();
            assert_eq!(move_aside(&path).unwrap(), Some(root.join(format!("store.bad.{number}"))));
        }
        assert_eq!(move_aside(&path).unwrap(), None);
        let left: Vec<u64> = folders_aside(&path).unwrap().iter().map(|(number, _)| *number).collect();
        assert_eq!(left, [10, 11, 12]);
        fs::remove_dir_all(&root).unwrap();
    }
}
