//! The data folder's lock: one process at a time, for as long as it lives, on a file system where that can be trusted.

use std::{
    fmt,
    fs::{self, File, Metadata, OpenOptions, TryLockError},
    io::{self, Read},
    os::unix::fs::{FileExt, MetadataExt},
    path::{Path, PathBuf},
    time::UNIX_EPOCH,
};

use super::os::about;

/// The lock file's name. It is made once and never replaced: its inode number tells a folder from a copy of it, and its
/// 16 bytes of content, a folder whose journal is gone from a new one.
const LOCK: &str = "lock";

/// File systems where `flock` or `fsync` may reach only this machine, or only the network.
const NETWORK: [&str; 18] = [
    "nfs",
    "nfs4",
    "cifs",
    "smb3",
    "smbfs",
    "smb2",
    "9p",
    "ceph",
    "glusterfs",
    "fuse.glusterfs",
    "fuse.sshfs",
    "fuse.s3fs",
    "fuse.rclone",
    "fuse.gcsfuse",
    "lustre",
    "afs",
    "gfs2",
    "ocfs2",
];

/// The lock on a data folder, held until it is dropped or the process ends, however it ends.
#[derive(Debug)]
pub struct FolderLock {
    file: File,
    inode: u64,
    file_system: FileSystem,
}

impl FolderLock {
    /// Takes the lock, at once or not at all. The folder must be there.
    pub fn take(folder: &Path) -> Result<FolderLock, LockError> {
        let disk = |error| LockError::Disk(about(folder, error));
        let file_system = FileSystem::of(folder).map_err(disk)?;
        if file_system.is_network() {
            return Err(LockError::Network { folder: folder.to_owned(), file_system });
        }
        let path = folder.join(LOCK);
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path).map_err(disk)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(LockError::Held { path }),
            Err(TryLockError::Error(error)) => return Err(LockError::Disk(about(&path, error))),
        }
        file.sync_all().and_then(|()| File::open(folder)?.sync_all()).map_err(disk)?;
        let inode = file_id(&file.metadata().map_err(disk)?);
        Ok(FolderLock { file, inode, file_system })
    }

    /// Makes the lock file of a folder into which a journal was copied, and takes it. It is another one than `known`, which
    /// that journal belongs to, also where a file system uses numbers again and keeps no time of birth; so whoever opens the
    /// folder sees that it was moved. Notes the journal's identity. A lock file must not be there yet.
    pub fn make_apart(folder: &Path, known: u64, journal: &[u8; 16]) -> Result<FolderLock, LockError> {
        make_unlike(folder, |id| id == known).map_err(|error| LockError::Disk(about(folder, error)))?;
        let lock = FolderLock::take(folder)?;
        lock.note_journal(journal).map_err(|error| LockError::Disk(about(folder, error)))?;
        Ok(lock)
    }

    /// The lock file's inode number, with its time of birth folded in: numbers are used again. Another one than the journal's last means a copied or restored folder.
    pub const fn inode(&self) -> u64 {
        self.inode
    }

    /// The identity of the journal that was begun here; `None` before the first.
    pub fn journal(&self) -> io::Result<Option<[u8; 16]>> {
        let mut identity = [0; 16];
        match self.file.read_exact_at(&mut identity, 0) {
            Ok(()) => Ok(Some(identity).filter(|identity| *identity != [0; 16])),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Notes which journal was begun here, durably: once that journal is durable itself.
    pub fn note_journal(&self, identity: &[u8; 16]) -> io::Result<()> {
        self.file.write_all_at(identity, 0)?;
        self.file.sync_all()
    }

    /// What the folder lies on.
    pub const fn file_system(&self) -> &FileSystem {
        &self.file_system
    }

    /// What people should be told about where the folder lies, if anything.
    pub fn warning(&self) -> Option<String> {
        (self.file_system.kind == "overlay").then(|| {
            "the data folder lies in a container's own layer (overlay) and goes when the container is removed: \
             put it on a volume"
                .to_owned()
        })
    }
}

/// Makes the lock file. One that is alike stays there until another is made, so that its number cannot be used again.
fn make_unlike(folder: &Path, mut is_alike: impl FnMut(u64) -> bool) -> io::Result<()> {
    let (path, aside) = (folder.join(LOCK), folder.join("lock.aside"));
    let make = || OpenOptions::new().write(true).create_new(true).open(&path)?.metadata();
    if !is_alike(file_id(&make()?)) {
        return Ok(());
    }
    fs::rename(&path, &aside)?;
    let other = make()?;
    fs::remove_file(&aside)?;
    if is_alike(file_id(&other)) {
        return Err(io::Error::other("the file system gives every file the same identity"));
    }
    Ok(())
}

/// Neither changes when the file is written, or its owner or mode; both are new in a copy. Where the file system keeps no
/// time of birth, the number alone has to do.
fn file_id(metadata: &Metadata) -> u64 {
    let born = metadata.created().ok().and_then(|born| born.duration_since(UNIX_EPOCH).ok());
    let nanoseconds = born.map_or(0, |born| u64::try_from(born.as_nanos()).unwrap_or(u64::MAX));
    metadata.ino().rotate_left(32) ^ nanoseconds
}

/// Why the lock was not taken. Nothing was changed; it is safe to try again.
#[derive(Debug)]
pub enum LockError {
    /// Another process has it.
    Held {
        /// The lock file.
        path: PathBuf,
    },
    /// The folder lies on a network file system, where a lock does not keep another machine out.
    Network {
        /// The data folder.
        folder: PathBuf,
        /// What it lies on.
        file_system: FileSystem,
    },
    /// The lock file could not be made, opened or asked about.
    Disk(io::Error),
}

impl fmt::Display for LockError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            LockError::Held { path } => {
                write!(f, "{} is held by another process: one data folder, one process", path.display())
            }
            LockError::Network { folder, file_system } => write!(
                f,
                "{} lies on a network file system ({} at {}), where a lock does not keep other machines out: use a \
                 local disk",
                folder.display(),
                file_system.kind,
                file_system.mount_point
            ),
            LockError::Disk(error) => write!(f, "the data folder could not be locked: {error}"),
        }
    }
}

impl std::error::Error for LockError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            LockError::Disk(error) => Some(error),
            LockError::Held { .. } | LockError::Network { .. } => None,
        }
    }
}

/// The file system that a folder lies on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FileSystem {
    /// As the kernel calls it, such as `ext4`; empty where that cannot be found out.
    pub kind: String,
    /// Where it is mounted.
    pub mount_point: String,
}

impl FileSystem {
    /// The file system of an existing folder, by the longest mount point above it. Where there is no
    /// `/proc/self/mountinfo` it is unknown, and believed to be local.
    pub fn of(folder: &Path) -> io::Result<FileSystem> {
        let folder = folder.canonicalize()?;
        match fs::read("/proc/self/mountinfo") {
            Ok(mounts) => Ok(FileSystem::among(&String::from_utf8_lossy(&mounts), &folder)),
            Err(_) => Ok(FileSystem::default()),
        }
    }

    /// Whether it is reached over a network.
    pub fn is_network(&self) -> bool {
        NETWORK.contains(&self.kind.as_str())
    }

    /// The last of the longest: a later mount hides an earlier one at the same place.
    fn among(mounts: &str, folder: &Path) -> FileSystem {
        let mounts = mounts.lines().filter_map(parse_mount);
        let above = mounts.filter(|mount| folder.starts_with(&mount.mount_point));
        above.max_by_key(|mount| mount.mount_point.len()).unwrap_or_default()
    }
}

/// One line of mountinfo: `36 35 98:0 /root /mount/point options [optional fields] - kind source options`.
fn parse_mount(line: &str) -> Option<FileSystem> {
    let (before, after) = line.split_once(" - ")?;
    let mount_point = unescape(before.split(' ').nth(4)?);
    Some(FileSystem { kind: after.split(' ').next()?.to_owned(), mount_point })
}

/// The kernel writes space, tab, newline and backslash as three octal digits.
fn unescape(text: &str) -> String {
    [("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")]
        .into_iter()
        .fold(text.to_owned(), |text, (escaped, plain)| text.replace(escaped, plain))
}

/// Which boot of which machine this is: the page cache survives within one. `None` where the kernel does not say.
pub fn boot_id() -> Option<[u8; 16]> {
    let mut text = String::new();
    File::open("/proc/sys/kernel/random/boot_id").ok()?.read_to_string(&mut text).ok()?;
    uuid::Uuid::try_parse(text.trim()).ok().map(uuid::Uuid::into_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOUNTS: &str = "22 1 252:1 / / rw,relatime - ext4 /dev/vda1 rw\n\
        40 22 0:40 / /srv/pay\\040once rw shared:5 - nfs4 server:/x rw\n\
        41 22 0:41 / /srv rw - overlay overlay rw\n\
        42 22 0:42 / /mnt rw - tmpfs tmpfs rw\n\
        43 42 0:43 / /mnt rw - xfs /dev/vdb rw\n";

    #[test]
    fn the_longest_mount_point_above_a_folder_decides() {
        for (folder, kind, network) in [
            ("/var/lib/payonce", "ext4", false),
            ("/srv/pay once/data", "nfs4", true),
            ("/srv/other", "overlay", false),
            ("/srvother", "ext4", false),
            ("/mnt/data", "xfs", false),
        ] {
            let found = FileSystem::among(MOUNTS, Path::new(folder));
            assert_eq!((found.kind.as_str(), found.is_network()), (kind, network), "{folder}");
        }
    }

    #[test]
    fn the_lock_file_of_a_restored_folder_is_never_the_one_that_its_journal_knows() {
        let folder = std::env::temp_dir().join(format!("payonce-apart-{}", std::process::id()));
        fs::create_dir_all(&folder).expect("writable");
        let mut seen = Vec::new();
        let first_is_alike = |id| {
            seen.push(id);
            seen.len() == 1
        };
        make_unlike(&folder, first_is_alike).expect("the second is another");
        assert!(seen.len() == 2 && seen[0] != seen[1], "{seen:?}");
        assert_eq!(fs::read_dir(&folder).expect("there").count(), 1);
        assert!(FolderLock::make_apart(&folder, 0, &[7; 16]).is_err(), "there is one already");
        fs::remove_file(folder.join(LOCK)).expect("there");
        let lock = FolderLock::make_apart(&folder, seen[1], &[7; 16]).expect("made");
        assert_ne!(lock.inode(), seen[1]);
        assert_eq!(lock.journal().expect("readable"), Some([7; 16]));
        assert!(matches!(FolderLock::take(&folder), Err(LockError::Held { .. })));
        fs::remove_dir_all(&folder).expect("removable");
    }
}
