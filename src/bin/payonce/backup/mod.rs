//! `payonce backup` and `payonce restore`: a data folder as of one moment, while the daemon runs; and back.
//!
//! Knows nothing of what the journal's records say: it copies files, and asks the journal whether they are whole.

mod manifest;

mod restore;

use std::{
    fs, io,
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Arc,
};

use payonce::{
    disk::{Disk, OsDisk, make_folder},
    journal::{KEYS, SEALED},
};
use serde_json::json;

use crate::{
    exit, journal,
    output::{columns, say},
};
use manifest::Manifest;
pub(crate) use restore::{RestoreArgs, run as restore};

const EXAMPLES: &str = "\
Examples:
  payonce backup --data ./payonce-data --to /backup/payonce-2026-11-27     beside the running daemon
  tar -cSf - /backup/payonce-2026-11-27 | ...                              it may be moved, packed and unpacked

A backup is a folder: the journal up to the moment at which the command was started, at the least, how far webhooks were
delivered, and what else lies in the data folder, such as a file of API keys (hashes, no secrets). Left out are the store,
which is built anew; the lock; the keys that personal data is sealed under (keep copies of `tenant-keys` apart, and destroy them
when something is erased); and the in-process sandbox's ledger: it is the gateway's truth, and a gateway does not go back in
time. The backup has been read again, and is durable, when the command says that it is done. It is never put over
anything. It holds what callers said about their payments: keep it as safe as the data folder.";

/// What is copied by itself: the journal as of one moment, and after it the list of keys, so that it lists every key of it.
const APART: [&str; 2] = ["journal", SEALED];

/// What is not backed up, and why.
const LEFT_OUT: [(&str, &str); 4] = [
    (KEYS, "whoever has both can read, and what is erased would come back with an old backup"),
    ("store", "built anew from the journal"),
    ("lock", "the restored folder has one of its own"),
    ("sandbox.ledger", "the gateway's truth, which does not go back in time"),
];

/// The flags of `backup`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct BackupArgs {
    /// The data folder
    #[arg(long, value_name = "DIR", default_value = "./payonce-data", env = "PAYONCE_DATA")]
    data: PathBuf,
    /// The folder that is made for it; must not be there
    #[arg(long, value_name = "DIR")]
    to: PathBuf,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Why something was not done.
pub(crate) enum Failure {
    /// What was asked for makes no sense as it is.
    Usage(String),
    /// Damage, or the disk.
    Refused(String),
}

impl Failure {
    fn show(&self) -> ExitCode {
        match self {
            Failure::Usage(why) => {
                eprintln!("payonce: {why}");
                exit::usage()
            }
            Failure::Refused(why) => {
                eprintln!("payonce: {why}");
                exit::refused()
            }
        }
    }
}

fn at(path: &Path) -> impl FnOnce(io::Error) -> Failure {
    let path = path.display().to_string();
    move |error| Failure::Refused(format!("{path}: {error}"))
}

/// Backs up.
pub(crate) fn run(args: &BackupArgs) -> ExitCode {
    match back_up(args) {
        Ok(manifest) => {
            tell(args, &manifest);
            ExitCode::SUCCESS
        }
        Err(failure) => failure.show(),
    }
}

fn back_up(args: &BackupArgs) -> Result<Manifest, Failure> {
    journal::disk(&args.data).map_err(Failure::Usage)?;
    make_target(args)?;
    let filled = fill(args);
    if filled.is_err() {
        eprintln!("payonce: what is in {} is no backup: remove it", args.to.display());
    }
    filled
}

/// A new folder, and not one in the data folder: it would go into the next backup.
fn make_target(args: &BackupArgs) -> Result<(), Failure> {
    let (data, to) = (&args.data, &args.to);
    if fs::symlink_metadata(to).is_ok() {
        return Err(Failure::Usage(format!("{} is there already: choose another --to", to.display())));
    }
    let data = data.canonicalize().map_err(at(data))?;
    let absolute = std::path::absolute(to).map_err(at(to))?;
    let above = absolute.ancestors().find_map(|folder| folder.canonicalize().ok());
    if above.is_some_and(|above| above.starts_with(&data)) {
        return Err(Failure::Usage(format!("{} lies in the data folder: choose another --to", to.display())));
    }
    make_folder(to).map_err(at(to))
}

/// First what depends on the journal, then the journal: how far webhooks were delivered is then never ahead of it.
fn fill(args: &BackupArgs) -> Result<Manifest, Failure> {
    let content = args.to.join(manifest::CONTENT);
    make_folder(&content).map_err(at(&content))?;
    copy_folder(&args.data, &content, &is_left_out)?;
    let found = journal::look(&args.data).map_err(Failure::Refused)?;
    if found.is_new() {
        return Err(Failure::Refused("the journal holds nothing yet: there is nothing to back up".to_owned()));
    }
    let copy: Arc<dyn Disk> = Arc::new(OsDisk::new(&content).map_err(at(&content))?);
    found.copy(&copy).map_err(|error| Failure::Refused(error.to_string()))?;
    let sealed = args.data.join(SEALED);
    if sealed.exists() {
        copy_file(&sealed, &content.join(SEALED))?;
        sync(&content)?;
    }
    let manifest = Manifest::of(&content, &found)?;
    manifest.write(&args.to)?;
    Ok(manifest)
}

/// At the top of the data folder, of what is copied file by file.
fn is_left_out(name: &str) -> bool {
    APART.contains(&name)
        || LEFT_OUT.iter().any(|(known, _)| *known == name)
        || name.starts_with("store.bad.")
        || is_half_done(name)
}

fn is_half_done(name: &str) -> bool {
    name.ends_with(".tmp")
}

/// Copies the files of a folder and of those in it, durably.
fn copy_folder(from: &Path, to: &Path, leave_out: &dyn Fn(&str) -> bool) -> Result<(), Failure> {
    for entry in fs::read_dir(from).map_err(at(from))? {
        let entry = entry.map_err(at(from))?;
        let Ok(name) = entry.file_name().into_string() else {
            return Err(Failure::Refused(format!("{}: a name that is no text", entry.path().display())));
        };
        if leave_out(&name) {
            continue;
        }
        let (source, target) = (entry.path(), to.join(&name));
        if entry.file_type().map_err(at(&source))?.is_dir() {
            make_folder(&target).map_err(at(&target))?;
            copy_folder(&source, &target, &is_half_done)?;
        } else if fs::metadata(&source).map_err(at(&source))?.is_file() {
            copy_file(&source, &target)?;
        }
    }
    sync(to)
}

fn copy_file(source: &Path, target: &Path) -> Result<(), Failure> {
    fs::copy(source, target).map_err(at(source))?;
    sync(target)
}

/// Makes a file's content, or the names in a folder, survive the machine.
fn sync(path: &Path) -> Result<(), Failure> {
    fs::File::open(path).and_then(|file| file.sync_all()).map_err(at(path))
}

fn tell(args: &BackupArgs, manifest: &Manifest) {
    let left_out = LEFT_OUT.iter().filter(|(name, _)| args.data.join(name).exists());
    if args.json {
        return say(json!({
            "to": args.to, "journal": manifest.journal, "last": manifest.last,
            "files": manifest.files.len(), "bytes": manifest.bytes(),
            "left_out": left_out.map(|(name, _)| *name).collect::<Vec<_>>(),
        }));
    }
    let why: Vec<String> = left_out.map(|(name, why)| format!("{name}: {why}")).collect();
    columns(&[
        ("backed up", args.to.display().to_string()),
        ("journal", format!("{}, up to record {}", manifest.journal, manifest.last)),
        ("files", format!("{}, {} MiB, read again", manifest.files.len(), manifest.bytes() >> 20)),
        ("left out", why.join("\n")),
        ("restore", format!("payonce restore --from {} --data NEW_DIR", args.to.display())),
    ]);
}
