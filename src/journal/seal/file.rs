//! Small whole files: written beside their place, made durable, and renamed into it.
//!
//! A key's file: magic "PAYONCEK", its id (16), the key (32), CRC-32 of all before (4).

use std::io;

use super::KeyId;
use crate::disk::{Access, Disk, Handle};

const MAGIC: &[u8; 8] = b"PAYONCEK";

pub(super) fn key_file(id: KeyId, secret: &[u8; 32]) -> Vec<u8> {
    let mut bytes = [MAGIC.as_slice(), &id.0, secret].concat();
    let crc = crc32fast::hash(&bytes);
    bytes.extend_from_slice(&crc.to_le_bytes());
    bytes
}

/// A key from its file; `None`: there is no such file. What is not a key's file is an error.
pub(super) fn read_key(disk: &dyn Disk, path: &str, id: KeyId) -> io::Result<Option<[u8; 32]>> {
    let Some(bytes) = read(disk, path)? else { return Ok(None) };
    let secret = bytes.get(24..56).and_then(|secret| secret.first_chunk::<32>());
    match secret.filter(|secret| key_file(id, secret) == bytes) {
        Some(secret) => Ok(Some(*secret)),
        None => Err(io::Error::new(io::ErrorKind::InvalidData, "it is not the file of this key, or is damaged")),
    }
}

/// A whole file; `None`: there is none.
pub(super) fn read(disk: &dyn Disk, path: &str) -> io::Result<Option<Vec<u8>>> {
    let file = match disk.open(path, Access::Read) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        opened => opened?,
    };
    let whole = (|| {
        let length = usize::try_from(disk.len(file)?).unwrap_or(usize::MAX).min(MOST);
        let mut bytes = vec![0; length];
        let read = disk.read_at(file, 0, &mut bytes)?;
        bytes.truncate(read);
        Ok(Some(bytes))
    })();
    disk.close(file);
    whole
}

/// No list is longer: some hundred thousand tenants.
const MOST: usize = 64 << 20;

/// Puts a whole file in its place. Its name is durable once the folder is synced.
pub(super) fn write(disk: &dyn Disk, path: &str, bytes: &[u8]) -> io::Result<()> {
    let beside = format!("{path}.tmp");
    remove(disk, &beside)?;
    let file = disk.create(&beside)?;
    let written = disk.write_at(file, 0, bytes).and_then(|()| disk.sync_all(file).map_err(unsynced));
    disk.close(file);
    written?;
    disk.rename(&beside, path)
}

/// Makes the names in these folders durable.
pub(super) fn sync_names(disk: &dyn Disk, folders: &[&str]) -> io::Result<()> {
    folders.iter().try_for_each(|folder| disk.sync_dir(folder)).map_err(unsynced)
}

/// An fsync that failed is no full disk, whatever it says: what it was to make durable may be lost.
fn unsynced(error: io::Error) -> io::Error {
    io::Error::other(error)
}

/// Overwrites a file and removes it. One that is not there is fine.
pub(super) fn overwrite(disk: &dyn Disk, path: &str) -> io::Result<()> {
    remove(disk, &format!("{path}.tmp"))?;
    let file = match disk.open(path, Access::ReadWrite) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        opened => opened?,
    };
    let gone = zeros(disk, file);
    disk.close(file);
    gone?;
    disk.remove(path)
}

fn zeros(disk: &dyn Disk, file: Handle) -> io::Result<()> {
    let length = usize::try_from(disk.len(file)?).unwrap_or(MOST).min(MOST);
    disk.write_at(file, 0, &vec![0; length])?;
    disk.sync_all(file)
}

fn remove(disk: &dyn Disk, path: &str) -> io::Result<()> {
    match disk.remove(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed,
    }
}
