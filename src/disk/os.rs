//! The real disk: one folder of the operating system's file system.

use std::{
    collections::HashMap,
    fs::{self, DirBuilder, File, OpenOptions},
    io,
    os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt},
    path::{Path, PathBuf},
    sync::{Arc, PoisonError, RwLock},
};

use super::{Access, Disk, Handle};

/// Makes a folder, with its parents, if it is not there: for its owner only, since what is in it is about people. Its name
/// survives the machine from then on, also if an earlier process was killed before it had seen to that.
pub fn make_folder(path: &Path) -> io::Result<()> {
    let missing: Vec<&Path> = path.ancestors().take_while(|folder| !folder.exists()).collect();
    DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(|error| about(path, error))?;
    if !missing.is_empty() {
        return missing.iter().try_for_each(|folder| sync_parent(folder));
    }
    match sync_parent(path) {
        // Whoever made it for us, where we may not look, has seen to it.
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Ok(()),
        synced => synced,
    }
}

fn sync_parent(folder: &Path) -> io::Result<()> {
    let parent = folder.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(parent).and_then(|parent| parent.sync_all()).map_err(|error| about(parent, error))
}

/// A folder of the operating system.
#[derive(Debug)]
pub struct OsDisk {
    root: PathBuf,
    files: RwLock<Files>,
}

#[derive(Debug, Default)]
struct Files {
    open: HashMap<u64, Arc<File>>,
    opened: u64,
}

impl OsDisk {
    /// The disk under `root`, which is made if it is not there, as [`make_folder`] does.
    pub fn new(root: &Path) -> io::Result<OsDisk> {
        make_folder(root)?;
        Ok(OsDisk { root: root.to_owned(), files: RwLock::default() })
    }

    /// The folder.
    pub fn root(&self) -> &Path {
        &self.root
    }

    fn path(&self, name: &str) -> PathBuf {
        if name.is_empty() { self.root.clone() } else { self.root.join(name) }
    }

    fn keep(&self, file: File) -> Handle {
        let mut files = self.files.write().unwrap_or_else(PoisonError::into_inner);
        files.opened += 1;
        let handle = files.opened;
        files.open.insert(handle, Arc::new(file));
        Handle(handle)
    }

    fn file(&self, handle: Handle) -> io::Result<Arc<File>> {
        let files = self.files.read().unwrap_or_else(PoisonError::into_inner);
        files.open.get(&handle.0).cloned().ok_or_else(|| io::Error::other("the file is not open"))
    }
}

impl Disk for OsDisk {
    fn list(&self, folder: &str) -> io::Result<Vec<String>> {
        let path = self.path(folder);
        let entries = fs::read_dir(&path).map_err(|error| about(&path, error))?;
        entries.map(|entry| entry.map(|entry| entry.file_name().to_string_lossy().into_owned())).collect()
    }

    fn make_dir(&self, folder: &str) -> io::Result<()> {
        let path = self.path(folder);
        fs::create_dir_all(&path).map_err(|error| about(&path, error))
    }

    fn create(&self, path: &str) -> io::Result<Handle> {
        let path = self.path(path);
        let file = OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(&path);
        file.map(|file| self.keep(file)).map_err(|error| about(&path, error))
    }

    fn open(&self, path: &str, access: Access) -> io::Result<Handle> {
        let path = self.path(path);
        let file = OpenOptions::new().read(true).write(access == Access::ReadWrite).open(&path);
        file.map(|file| self.keep(file)).map_err(|error| about(&path, error))
    }

    fn close(&self, file: Handle) {
        self.files.write().unwrap_or_else(PoisonError::into_inner).open.remove(&file.0);
    }

    fn len(&self, file: Handle) -> io::Result<u64> {
        Ok(self.file(file)?.metadata()?.len())
    }

    fn read_at(&self, file: Handle, offset: u64, into: &mut [u8]) -> io::Result<usize> {
        let file = self.file(file)?;
        let mut done = 0usize;
        while let Some(rest) = into.get_mut(done..).filter(|rest| !rest.is_empty()) {
            let at = offset.saturating_add(u64::try_from(done).unwrap_or(u64::MAX));
            match file.read_at(rest, at) {
                Ok(0) => break,
                Ok(read) => done += read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(done)
    }

    fn write_at(&self, file: Handle, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.file(file)?.write_all_at(bytes, offset)
    }

    fn set_len(&self, file: Handle, bytes: u64) -> io::Result<()> {
        self.file(file)?.set_len(bytes)
    }

    fn sync_data(&self, file: Handle) -> io::Result<()> {
        self.file(file)?.sync_data()
    }

    fn sync_all(&self, file: Handle) -> io::Result<()> {
        self.file(file)?.sync_all()
    }

    fn sync_dir(&self, folder: &str) -> io::Result<()> {
        let path = self.path(folder);
        File::open(&path).and_then(|folder| folder.sync_all()).map_err(|error| about(&path, error))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let path = self.path(from);
        fs::rename(&path, self.path(to)).map_err(|error| about(&path, error))
    }

    fn remove(&self, path: &str) -> io::Result<()> {
        let path = self.path(path);
        fs::remove_file(&path).map_err(|error| about(&path, error))
    }
}

/// The same error, saying what it is about. The kind stays: callers tell "not found" and "no space" apart by it.
pub(super) fn about(path: &Path, error: io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_folder_is_made_for_its_owner_only_and_one_that_is_there_is_left_as_it_is() {
        let base = std::env::temp_dir().join(format!("payonce-folder-{}", std::process::id()));
        let (inner, mode) =
            (base.join("a/b"), |path: &Path| fs::metadata(path).map(|found| found.permissions().mode()));
        make_folder(&inner).expect("made");
        assert_eq!([&base, &inner].map(|path| mode(path).expect("there") & 0o777), [0o700; 2]);
        fs::set_permissions(&inner, fs::Permissions::from_mode(0o750)).expect("ours");
        make_folder(&inner).expect("there");
        assert_eq!(mode(&inner).expect("there") & 0o777, 0o750);
        fs::write(base.join("file"), "").expect("writable");
        assert!(make_folder(&base.join("file/under")).is_err());
        fs::remove_dir_all(&base).expect("removable");
    }
}
