//! `payonce restore`: a data folder from a backup, which sends nothing until a person has said so.

use std::{
    fs,
    path::{Path, PathBuf},
    process::ExitCode,
};

use payonce::{
    disk::{FolderLock, make_folder},
    journal::{self as log, Found},
};
use serde_json::json;

use super::{
    Failure, at, copy_file,
    manifest::{CONTENT, Held, Manifest, journal_id},
    sync,
};
use crate::{
    journal,
    output::{columns, say},
};

const EXAMPLES: &str = "\
Examples:
  payonce restore --from /backup/payonce-2026-11-27 --data ./payonce-data

Into a folder that is empty, or not there. Money may have moved since the backup was made: the restored folder answers, and
asks gateways about what was under way, but sends nothing until `payonce serve --moved` was said once. Say it when the original
is stopped for good. Payments that were made after the backup are unknown to the restored folder: their callers can repeat
them under the same keys for as long as the gateway deduplicates; after that, settle them by its statement first.

The in-process sandbox's ledger is not restored, because a gateway does not go back in time: a sandbox without it is another
gateway, and what was under way at the old one parks. To go on with the old one, copy `sandbox.ledger` as it is now.";

/// Where files are put until all are there.
const ASIDE: &str = "restoring";

/// The flags of `restore`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct RestoreArgs {
    /// The backup
    #[arg(long, value_name = "DIR")]
    from: PathBuf,
    /// The new data folder; must be empty, or not there
    #[arg(long, value_name = "DIR")]
    data: PathBuf,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Restores.
pub(crate) fn run(args: &RestoreArgs) -> ExitCode {
    match put_back(args) {
        Ok(manifest) => {
            tell(args, &manifest);
            ExitCode::SUCCESS
        }
        Err(failure) => failure.show(),
    }
}

fn put_back(args: &RestoreArgs) -> Result<Manifest, Failure> {
    let manifest = Manifest::read(&args.from)?;
    let content = args.from.join(CONTENT);
    let found = read_whole(&content, &manifest)?;
    check_empty(&args.data)?;
    make_folder(&args.data).map_err(at(&args.data))?;
    let filled = fill(args, &manifest, &found);
    if filled.is_err() {
        eprintln!("payonce: {} is not restored: empty it before you try again", args.data.display());
    }
    filled.map(|()| manifest)
}

/// Reads every record of a journal, which must be the one that the backup speaks of. The keys to what is sealed are not in it.
fn read_whole(folder: &Path, manifest: &Manifest) -> Result<Found, Failure> {
    let damaged = |error: log::OpenError| Failure::Refused(error.to_string());
    let disk = journal::disk(folder).map_err(Failure::Refused)?;
    let verified = log::verify_shut(disk.clone(), log::Options::default()).map_err(damaged)?;
    if let Some(failure) = verified.failures.into_iter().next() {
        return Err(damaged(failure));
    }
    let found = log::open_shut(disk, log::Options::default()).map_err(damaged)?;
    if (journal_id(&found), found.last().get()) != (manifest.journal.clone(), manifest.last) {
        return Err(Failure::Refused("the backup is damaged: it holds another journal than it says".to_owned()));
    }
    Ok(found)
}

/// Nothing is ever put over anything.
fn check_empty(data: &Path) -> Result<(), Failure> {
    if fs::symlink_metadata(data).is_err() {
        return Ok(());
    }
    // A new disk brings its own.
    let mut names = fs::read_dir(data).map_err(at(data))?.map_while(Result::ok).map(|entry| entry.file_name());
    match names.find(|name| name != "lost+found") {
        None => Ok(()),
        Some(name) => {
            let (data, name) = (data.display(), name.display());
            Err(Failure::Usage(format!("{data} is not empty ({name}): a backup is restored into a new folder")))
        }
    }
}

/// The lock first: it knows the journal, so that a folder whose restoring was cut short is refused, and not taken for a new
/// one. The journal's own name last: it is there whole, or not at all.
fn fill(args: &RestoreArgs, manifest: &Manifest, found: &Found) -> Result<(), Failure> {
    let journal = found.store_uuid().unwrap_or_default();
    let _lock = FolderLock::make_apart(&args.data, found.lock_inode().unwrap_or_default(), &journal)
        .map_err(|error| Failure::Refused(error.to_string()))?;
    let aside = args.data.join(ASIDE);
    make_folder(&aside).map_err(at(&aside))?;
    for Held { path, .. } in &manifest.files {
        let target = aside.join(path);
        let folder = target.parent().unwrap_or(&aside);
        make_folder(folder).map_err(at(folder))?;
        copy_file(&args.from.join(CONTENT).join(path), &target)?;
        sync(folder)?;
    }
    read_whole(&aside, manifest)?;
    let mut names: Vec<_> = fs::read_dir(&aside).map_err(at(&aside))?.map_while(Result::ok).collect();
    names.sort_by_key(|entry| entry.file_name() == "journal");
    for entry in names {
        let target = args.data.join(entry.file_name());
        sync(&args.data)?;
        fs::rename(entry.path(), &target).map_err(at(&target))?;
    }
    fs::remove_dir(&aside).map_err(at(&aside))?;
    sync(&args.data)
}

fn tell(args: &RestoreArgs, manifest: &Manifest) {
    let data = args.data.display();
    let sealed = args.data.join(log::SEALED).exists();
    if args.json {
        return say(json!({
            "data": args.data, "journal": manifest.journal, "last": manifest.last, "files": manifest.files.len(),
            "sends": false, "keys_needed": sealed,
        }));
    }
    columns(&[
        ("restored", format!("{data}, up to record {}; read again", manifest.last)),
        ("sends", "nothing, until it is said to: money may have moved since the backup was made".to_owned()),
        ("1.", "Stop the original for good, wherever it is.".to_owned()),
        ("2.", format!("payonce serve --data {data}\nanswers, and asks gateways about what was under way.")),
        ("3.", "payonce settle finds what moved since, and is not known here. Pauses since the backup are to be made again.".to_owned()),
        ("4.", format!("payonce serve --data {data} --moved\nonce: it sends again.")),
    ]);
    if sealed {
        let (keys, list) = (log::KEYS, log::SEALED);
        say(format_args!(
            "\nPersonal data is sealed in it: before 2., put copies of the folder {keys} and of the file {list} in {data}, both as \
             they are now. It starts with every key only that {list} does not call erased."
        ));
    }
}
