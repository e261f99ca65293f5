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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        disk::OsDisk,
        sim::{Damage, Fault, Loss, Rng, SimDisk},
    };

    /// A disk that holds a key's file durably, and what the file holds.
    fn written() -> (SimDisk, Vec<u8>) {
        let (disk, bytes) = (SimDisk::new(), key_file(KeyId([1; 16]), &[7; 32]));
        write(&disk, "key", &bytes).expect("space");
        sync_names(&disk, &[""]).expect("a disk");
        (disk, bytes)
    }

    #[test]
    fn a_key_is_read_back_from_its_file_alone() {
        let (disk, _) = written();
        assert_eq!(read_key(&disk, "key", KeyId([1; 16])).expect("whole"), Some([7; 32]));
        assert!(read_key(&disk, "key", KeyId([2; 16])).is_err());
        assert_eq!(read_key(&disk, "other", KeyId([1; 16])).expect("none"), None);
    }

    #[test]
    fn whoever_holds_an_overwritten_file_open_reads_zeros() {
        let (disk, bytes) = written();
        let held = disk.open("key", Access::Read).expect("there");
        overwrite(&disk, "key").expect("a disk");
        let mut left = vec![1; bytes.len()];
        assert_eq!(disk.read_at(held, 0, &mut left).expect("open"), bytes.len());
        assert_eq!(left, vec![0; bytes.len()]);
        assert_eq!(read(&disk, "key").expect("a disk"), None);
        overwrite(&disk, "key").expect("one that is not there is fine");
    }

    #[test]
    fn a_name_that_comes_back_when_the_machine_dies_names_zeros() {
        let (disk, bytes) = written();
        let whole = disk.fork();
        overwrite(&whole, "key").expect("a disk");
        let removal = whole.steps() - 1;
        for damage in Damage::ALL {
            let disk = disk.fork();
            disk.fail_at(removal, Fault::Stop);
            overwrite(&disk, "key").expect_err("it stops before the name goes");
            disk.crash(Loss::Machine(damage), &mut Rng::new(1));
            assert_eq!(read(&disk, "key").expect("a disk"), Some(vec![0; bytes.len()]), "{damage:?}");
        }
    }

    #[test]
    fn only_what_is_not_there_counts_as_not_there() {
        let root = std::env::temp_dir().join(format!("payonce-key-files-{}", std::process::id()));
        let disk = OsDisk::new(&root).expect("made");
        assert_eq!(read(&disk, "key").expect("none"), None);
        overwrite(&disk, "key").and_then(|()| remove(&disk, "key")).expect("nothing to do");
        write(&disk, "file", b"").and_then(|()| disk.make_dir("folder")).expect("space");
        assert!(read(&disk, "file/key").is_err() && remove(&disk, "file/key").is_err());
        assert!(overwrite(&disk, "folder").is_err());
        std::fs::remove_dir_all(&root).expect("ours");
    }
}
