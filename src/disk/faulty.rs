//! A disk that fails once, on purpose: for tests of what must never go on after a failure.

use std::{
    collections::HashMap,
    fmt, io,
    str::FromStr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use super::{Access, Disk, Handle};

/// Linux's numbers: by them a kind of error is what the real one would be.
const EIO: i32 = 5;
const ENOSPC: i32 = 28;

/// What fails, and when: `write:20` is the 20th write. Everything after it succeeds again, so that going on regardless
/// shows in what is lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DiskFault {
    /// What fails.
    pub kind: DiskFaultKind,
    /// The how manieth of its kind since the disk was opened, from 1.
    pub at: u64,
}

/// What can be made to fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DiskFaultKind {
    /// `write`: a write fails with EIO, half done.
    Write,
    /// `full`: a write fails with ENOSPC, half done.
    Full,
    /// `fsync`: an fsync fails with EIO, and what had been written to the file since the one before is gone.
    Fsync,
    /// `fsync-kept`: an fsync fails with EIO, and what had been written stays readable, for now.
    FsyncKept,
}

impl DiskFaultKind {
    /// All of them.
    pub const ALL: [DiskFaultKind; 4] =
        [DiskFaultKind::Write, DiskFaultKind::Full, DiskFaultKind::Fsync, DiskFaultKind::FsyncKept];

    /// Its name, as it is written before the number.
    pub const fn as_str(self) -> &'static str {
        match self {
            DiskFaultKind::Write => "write",
            DiskFaultKind::Full => "full",
            DiskFaultKind::Fsync => "fsync",
            DiskFaultKind::FsyncKept => "fsync-kept",
        }
    }

    const fn is_of_writes(self) -> bool {
        matches!(self, DiskFaultKind::Write | DiskFaultKind::Full)
    }

    fn error(self) -> io::Error {
        io::Error::from_raw_os_error(if matches!(self, DiskFaultKind::Full) { ENOSPC } else { EIO })
    }
}

impl fmt::Display for DiskFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.kind.as_str(), self.at)
    }
}

impl FromStr for DiskFault {
    type Err = String;

    fn from_str(text: &str) -> Result<DiskFault, String> {
        let (kind, at) = text.split_once(':').ok_or("a disk fault is KIND:N, such as fsync:20")?;
        let kind = DiskFaultKind::ALL.into_iter().find(|known| known.as_str() == kind);
        let kind = kind.ok_or("a disk can fail by write, full, fsync and fsync-kept")?;
        match at.parse() {
            Ok(at @ 1..) => Ok(DiskFault { kind, at }),
            Ok(0) | Err(_) => Err("the number of the operation that fails is 1 or more".to_owned()),
        }
    }
}

/// Another disk, with one fault. It says so in the log, at level error: "injected disk fault".
pub struct FaultyDisk {
    disk: Arc<dyn Disk>,
    fault: DiskFault,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Operations of the fault's kind so far.
    counted: u64,
    open: HashMap<Handle, OpenFile>,
}

/// What is needed to take back what was not synced.
struct OpenFile {
    path: String,
    synced_bytes: u64,
    /// What stood there before each write since the last fsync.
    before: Vec<(u64, Vec<u8>)>,
}

impl FaultyDisk {
    /// Puts a fault before a disk.
    pub fn new(disk: Arc<dyn Disk>, fault: DiskFault) -> FaultyDisk {
        FaultyDisk { disk, fault, state: Mutex::default() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn keep(&self, path: &str, file: Handle) -> io::Result<Handle> {
        let synced_bytes = self.disk.len(file)?;
        let open = OpenFile { path: path.to_owned(), synced_bytes, before: Vec::new() };
        self.state().open.insert(file, open);
        Ok(file)
    }

    /// Counts an operation; whether this is the one.
    fn strikes(&self, is_write: bool) -> bool {
        if self.fault.kind.is_of_writes() != is_write {
            return false;
        }
        let mut state = self.state();
        state.counted += 1;
        state.counted == self.fault.at
    }

    fn strike(&self, what: &str, path: &str) -> io::Error {
        tracing::error!("injected disk fault: {} in {what} of {path}", self.fault);
        self.fault.kind.error()
    }

    fn path(&self, file: Handle) -> String {
        self.state().open.get(&file).map_or_else(String::new, |open| open.path.clone())
    }

    /// Notes what a write is about to replace, where it may have to be taken back.
    fn note(&self, file: Handle, offset: u64, bytes: usize) -> io::Result<()> {
        if self.fault.kind != DiskFaultKind::Fsync {
            return Ok(());
        }
        let mut old = vec![0; bytes];
        let read = self.disk.read_at(file, offset, &mut old)?;
        old.truncate(read);
        if let Some(open) = self.state().open.get_mut(&file) {
            open.before.push((offset, old));
        }
        Ok(())
    }

    fn sync(&self, what: &str, file: Handle, sync: impl FnOnce(&dyn Disk) -> io::Result<()>) -> io::Result<()> {
        if !self.strikes(false) {
            sync(self.disk.as_ref())?;
            return self.forget(file);
        }
        if self.fault.kind == DiskFaultKind::Fsync {
            self.take_back(file)?;
        }
        Err(self.strike(what, &self.path(file)))
    }

    /// It is synced now.
    fn forget(&self, file: Handle) -> io::Result<()> {
        let synced_bytes = self.disk.len(file)?;
        if let Some(open) = self.state().open.get_mut(&file) {
            open.synced_bytes = synced_bytes;
            open.before.clear();
        }
        Ok(())
    }

    /// The pages that were dirty are dropped, as Linux does after an fsync that failed.
    fn take_back(&self, file: Handle) -> io::Result<()> {
        let mut state = self.state();
        let Some(open) = state.open.get_mut(&file) else { return Ok(()) };
        for (offset, old) in std::mem::take(&mut open.before).into_iter().rev() {
            self.disk.write_at(file, offset, &old)?;
        }
        if self.disk.len(file)? == open.synced_bytes { Ok(()) } else { self.disk.set_len(file, open.synced_bytes) }
    }
}

impl Disk for FaultyDisk {
    fn list(&self, folder: &str) -> io::Result<Vec<String>> {
        self.disk.list(folder)
    }

    fn make_dir(&self, folder: &str) -> io::Result<()> {
        self.disk.make_dir(folder)
    }

    fn create(&self, path: &str) -> io::Result<Handle> {
        self.disk.create(path).and_then(|file| self.keep(path, file))
    }

    fn open(&self, path: &str, access: Access) -> io::Result<Handle> {
        self.disk.open(path, access).and_then(|file| self.keep(path, file))
    }

    fn close(&self, file: Handle) {
        self.state().open.remove(&file);
        self.disk.close(file);
    }

    fn len(&self, file: Handle) -> io::Result<u64> {
        self.disk.len(file)
    }

    fn read_at(&self, file: Handle, offset: u64, into: &mut [u8]) -> io::Result<usize> {
        self.disk.read_at(file, offset, into)
    }

    fn write_at(&self, file: Handle, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.note(file, offset, bytes.len())?;
        if !self.strikes(true) {
            return self.disk.write_at(file, offset, bytes);
        }
        let (half, _) = bytes.split_at(bytes.len() / 2);
        self.disk.write_at(file, offset, half)?;
        Err(self.strike("a write", &self.path(file)))
    }

    fn set_len(&self, file: Handle, bytes: u64) -> io::Result<()> {
        self.disk.set_len(file, bytes)
    }

    fn sync_data(&self, file: Handle) -> io::Result<()> {
        self.sync("an fdatasync", file, |disk| disk.sync_data(file))
    }

    fn sync_all(&self, file: Handle) -> io::Result<()> {
        self.sync("an fsync", file, |disk| disk.sync_all(file))
    }

    fn sync_dir(&self, folder: &str) -> io::Result<()> {
        if self.strikes(false) {
            return Err(self.strike("an fsync", &format!("folder \"{folder}\"")));
        }
        self.disk.sync_dir(folder)
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.disk.rename(from, to)
    }

    fn remove(&self, path: &str) -> io::Result<()> {
        self.disk.remove(path)
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, path::PathBuf};

    use super::*;
    use crate::disk::OsDisk;

    /// A folder of its own, removed at the end.
    struct Folder(PathBuf);

    impl Folder {
        fn disk(name: &str, fault: &str) -> (Folder, FaultyDisk) {
            let folder = std::env::temp_dir().join(format!("payonce-faulty-{name}-{}", std::process::id()));
            let disk = FaultyDisk::new(Arc::new(OsDisk::new(&folder).unwrap()), fault.parse().unwrap());
            (Folder(folder), disk)
        }

        fn content(&self) -> String {
            fs::read_to_string(self.0.join("file")).unwrap()
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn a_failed_fsync_loses_what_was_written_since_the_last_one_and_the_next_says_nothing() {
        let (folder, disk) = Folder::disk("gone", "fsync:2");
        let file = disk.create("file").unwrap();
        disk.write_at(file, 0, b"durable").unwrap();
        disk.sync_data(file).unwrap();
        disk.write_at(file, 0, b"fragile and longer").unwrap();
        assert_eq!(folder.content(), "fragile and longer");
        assert_eq!(disk.sync_data(file).unwrap_err().raw_os_error(), Some(EIO));
        assert_eq!(folder.content(), "durable");
        disk.sync_data(file).unwrap();
    }

    #[test]
    fn a_failed_fsync_may_also_leave_everything_readable() {
        let (folder, disk) = Folder::disk("kept", "fsync-kept:1");
        let file = disk.create("file").unwrap();
        disk.write_at(file, 0, b"fragile").unwrap();
        assert_eq!(disk.sync_all(file).unwrap_err().raw_os_error(), Some(EIO));
        assert_eq!(folder.content(), "fragile");
    }

    #[test]
    fn a_failed_write_is_half_done() {
        for (name, fault, kind) in [("write", "write:2", None), ("full", "full:2", Some(io::ErrorKind::StorageFull))] {
            let (folder, disk) = Folder::disk(name, fault);
            let file = disk.create("file").unwrap();
            disk.write_at(file, 0, b"first ").unwrap();
            let failed = disk.write_at(file, 6, b"second").unwrap_err();
            assert!(kind.is_none_or(|kind| kind == failed.kind()), "{failed}");
            assert_eq!(folder.content(), "first sec");
            disk.write_at(file, 6, b"again ").unwrap();
            assert_eq!(folder.content(), "first again ");
        }
    }

    #[test]
    fn what_is_written_is_what_is_read() {
        for fault in ["write:1", "full:20", "fsync:300", "fsync-kept:4000"] {
            assert_eq!(fault.parse::<DiskFault>().unwrap().to_string(), fault);
        }
        for nonsense in ["fsync", "fsync:", "fsync:0", "fsync:x", "read:1", ":1", ""] {
            assert!(nonsense.parse::<DiskFault>().is_err(), "{nonsense}");
        }
    }
}
