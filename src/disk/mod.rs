//! The one door to files: trait [`Disk`], and [`OsDisk`], the real one. A simulator puts another behind the same trait,
//! and [`FaultyDisk`] puts one fault before any.
//!
//! Two failures are meant throughout. The process dies (`kill -9`): everything that a call has returned from survives,
//! because the operating system holds it. The machine dies (power, kernel): only what was synced survives, and what was
//! not may survive in any part, sector by sector.
//!
//! Paths are names relative to the disk's root, with `/` between them; the root itself is `""`.
//!
//! Knows nothing of journals, stores or payments.

mod lock;

mod os;

mod faulty;

use std::io;

pub use faulty::{DiskFault, DiskFaultKind, FaultyDisk};
pub use lock::{FileSystem, FolderLock, LockError, boot_id};
pub use os::{OsDisk, make_folder};

/// An open file of one [`Disk`]. Small and copyable; it means nothing to another disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Handle(pub u64);

/// What a file is opened for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Reading only: writing fails.
    Read,
    /// Reading and writing in place.
    ReadWrite,
}

/// Files under one root: exactly what the journal needs. Every error names the path in its text where it can.
pub trait Disk: Send + Sync {
    /// The names in a folder, in no particular order. A folder that does not exist: `NotFound`.
    fn list(&self, folder: &str) -> io::Result<Vec<String>>;

    /// Makes a folder; one that is already there is fine. Survives the machine once [`Disk::sync_dir`] of the folder
    /// that holds it has returned.
    fn make_dir(&self, folder: &str) -> io::Result<()>;

    /// Makes an empty file, for its owner only, and opens it for reading and writing; one that is already there:
    /// `AlreadyExists`. The name
    /// survives the machine once `sync_dir` of its folder has returned.
    fn create(&self, path: &str) -> io::Result<Handle>;

    /// Opens a file that is there. Otherwise: `NotFound`.
    fn open(&self, path: &str, access: Access) -> io::Result<Handle>;

    /// Gives a handle back. Syncs nothing. A handle that is already closed is ignored.
    fn close(&self, file: Handle);

    /// The file's length in bytes.
    fn len(&self, file: Handle) -> io::Result<u64>;

    /// Reads from `offset` until `into` is full or the file ends; returns how many bytes were read.
    fn read_at(&self, file: Handle, offset: u64, into: &mut [u8]) -> io::Result<usize>;

    /// Writes all of `bytes` at `offset`. Survives the process once it returned; survives the machine only once
    /// [`Disk::sync_data`] or [`Disk::sync_all`] of this file returned after it. After an error any part may be there.
    fn write_at(&self, file: Handle, offset: u64, bytes: &[u8]) -> io::Result<()>;

    /// Cuts the file, or lengthens it with zeros. Survives the machine once `sync_all` has returned.
    fn set_len(&self, file: Handle, bytes: u64) -> io::Result<()>;

    /// Makes what was written inside the file's length survive the machine (`fdatasync`). After an error nothing is
    /// known of it, and calling again proves nothing: the caller must stop.
    fn sync_data(&self, file: Handle) -> io::Result<()>;

    /// Makes the file's content and length survive the machine (`fsync`). Errors as for `sync_data`.
    fn sync_all(&self, file: Handle) -> io::Result<()>;

    /// Makes the names in a folder survive the machine: those made, renamed and removed before.
    fn sync_dir(&self, folder: &str) -> io::Result<()>;

    /// Renames a file, over another if one has that name; either the old or the new name is there at any moment.
    /// Survives the machine once `sync_dir` has returned.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;

    /// Removes a file. Until `sync_dir` has returned it may come back when the machine dies.
    fn remove(&self, path: &str) -> io::Result<()>;
}
