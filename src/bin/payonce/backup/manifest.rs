//! What a backup says of itself. It is written last: a backup without it was cut short.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read, Write},
    path::{Component, Path, PathBuf},
};

use payonce::journal::Found;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::{Failure, at, sync};

/// The folder of the files in a backup.
pub(super) const CONTENT: &str = "data";
const FILE: &str = "backup.json";
const FORMAT: &str = "payonce backup 1";

/// What is in a backup.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Manifest {
    format: String,
    /// The version that made it.
    payonce: String,
    /// The journal's identity.
    pub(super) journal: String,
    /// The last record in it.
    pub(super) last: u64,
    pub(super) files: Vec<Held>,
}

/// One file.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Held {
    /// Below the content's folder, with `/` between names.
    pub(super) path: String,
    bytes: u64,
    sha256: String,
}

impl Manifest {
    /// Of a content that is complete.
    pub(super) fn of(content: &Path, found: &Found) -> Result<Manifest, Failure> {
        let held = |path: String| {
            let (bytes, sha256) = digest(&content.join(&path)).map_err(at(&content.join(&path)))?;
            Ok(Held { path, bytes, sha256 })
        };
        Ok(Manifest {
            format: FORMAT.to_owned(),
            payonce: env!("CARGO_PKG_VERSION").to_owned(),
            journal: journal_id(found),
            last: found.last().get(),
            files: files(content)?.into_iter().map(held).collect::<Result<_, Failure>>()?,
        })
    }

    pub(super) fn bytes(&self) -> u64 {
        self.files.iter().map(|held| held.bytes).sum()
    }

    pub(super) fn write(&self, backup: &Path) -> Result<(), Failure> {
        let path = backup.join(FILE);
        let text = serde_json::to_string_pretty(self).map_err(io::Error::other).map_err(at(&path))?;
        let mut file = OpenOptions::new().write(true).create_new(true).open(&path).map_err(at(&path))?;
        file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).map_err(at(&path))?;
        sync(backup)
    }

    /// Reads it, and checks each file against it: nothing is missing, altered or added.
    pub(super) fn read(backup: &Path) -> Result<Manifest, Failure> {
        let path = backup.join(FILE);
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let why = format!("{} holds no {FILE}: it is no backup, or one that was cut short", backup.display());
                return Err(Failure::Refused(why));
            }
            Err(error) => return Err(at(&path)(error)),
        };
        let manifest: Manifest = serde_json::from_str(&text).map_err(io::Error::other).map_err(at(&path))?;
        if manifest.format != FORMAT {
            let why = format!("its format is {:?}, and this payonce knows {FORMAT:?} only", manifest.format);
            return Err(Failure::Refused(why));
        }
        manifest.check(&backup.join(CONTENT))?;
        Ok(manifest)
    }

    fn check(&self, content: &Path) -> Result<(), Failure> {
        let damaged = |path: &str, why: &str| {
            Failure::Refused(format!("the backup is damaged: {path} {why}. Nothing was restored: take another backup"))
        };
        for Held { path, bytes, sha256 } in &self.files {
            if !Path::new(path).components().all(|part| matches!(part, Component::Normal(_))) {
                return Err(damaged(path, "is no name in it"));
            }
            match digest(&content.join(path)) {
                Ok(found) if found == (*bytes, sha256.clone()) => {}
                Ok(_) => return Err(damaged(path, "is not what was backed up")),
                Err(error) => return Err(damaged(path, &format!("cannot be read ({error})"))),
            }
        }
        let more = files(content)?.into_iter().find(|path| self.files.iter().all(|held| held.path != *path));
        more.map_or(Ok(()), |path| Err(damaged(&path, "was not in it")))
    }
}

/// The journal's identity, as text.
pub(super) fn journal_id(found: &Found) -> String {
    found.store_uuid().unwrap_or_default().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The files below a folder, in order.
fn files(folder: &Path) -> Result<Vec<String>, Failure> {
    let (mut found, mut folders) = (Vec::new(), vec![PathBuf::new()]);
    while let Some(below) = folders.pop() {
        let here = folder.join(&below);
        for entry in fs::read_dir(&here).map_err(at(&here))? {
            let entry = entry.map_err(at(&here))?;
            let name = below.join(entry.file_name());
            match entry.file_type().map_err(at(&here))?.is_dir() {
                true => folders.push(name),
                false => found.push(name.to_string_lossy().into_owned()),
            }
        }
    }
    found.sort();
    Ok(found)
}

/// A file's length, and its SHA-256.
fn digest(path: &Path) -> io::Result<(u64, String)> {
    let (mut file, mut hash, mut chunk) = (File::open(path)?, Sha256::new(), vec![0; 1 << 20]);
    let mut bytes = 0;
    loop {
        let read = file.read(&mut chunk)?;
        let Some(part) = chunk.get(..read).filter(|part| !part.is_empty()) else { break };
        hash.update(part);
        bytes += u64::try_from(read).unwrap_or(u64::MAX);
    }
    Ok((bytes, hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()))
}
