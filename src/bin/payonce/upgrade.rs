//! `payonce upgrade`: what may be written in a data folder, and which payonce can still read it.

use std::process::ExitCode;

use payonce::{
    disk::FolderLock,
    journal::{self as log, NEWEST_VERSION},
};
use serde_json::json;

use crate::{
    exit,
    journal::{self, Folder},
    output::{columns, say},
};

const EXAMPLES: &str = "\
Examples:
  payonce upgrade status --data ./payonce-data       beside the daemon: could an older payonce take over again?
  payonce upgrade finalize --data ./payonce-data     with the daemon stopped: there is no way back from it

A newer payonce reads what every older one has written, and goes on writing what the older one can read, until you say that
the upgrade is final. Before that, the way back is to stop it and to start the older one. Features that need a newer version of
a record can be used from the first start after it.";

/// The flags of `upgrade`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct UpgradeArgs {
    #[command(subcommand)]
    what: What,
}

/// What to do.
#[derive(Debug, clap::Subcommand)]
enum What {
    /// Say which versions of records there are, and which may be written.
    Status(Folder),
    /// Let the newest version be written from the next start on.
    Finalize(Folder),
}

/// Runs.
pub(crate) fn run(args: &UpgradeArgs) -> ExitCode {
    let done = match &args.what {
        What::Status(folder) => status(folder),
        What::Finalize(folder) => finalize(folder),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("payonce: {why}");
            exit::refused()
        }
    }
}

fn status(folder: &Folder) -> Result<(), String> {
    let found = journal::look(&folder.data)?;
    let (level, held) = (found.level(), found.versions().map_err(|error| error.to_string())?);
    if folder.json {
        let held = held.iter().map(|(version, records)| json!({"version": version, "records": records}));
        say(json!({"reads": NEWEST_VERSION, "writes": level, "holds": held.collect::<Vec<_>>(),
            "final": level == NEWEST_VERSION}));
        return Ok(());
    }
    let rows: Vec<String> = held.iter().map(|(version, records)| format!("{records} of version {version}")).collect();
    // What may be written, and in which way batches may be, binds older ones as much as what is there.
    let newest = held.keys().next_back().copied().unwrap_or(1).max(level);
    columns(&[
        ("reads", format!("records up to version {NEWEST_VERSION}")),
        ("writes", format!("records up to version {level}")),
        ("holds", rows.join("\n")),
        ("way back", format!("to any payonce that reads records up to version {newest}")),
        ("final", if level == NEWEST_VERSION { "yes" } else { "no: `payonce upgrade finalize`" }.to_owned()),
    ]);
    Ok(())
}

fn finalize(folder: &Folder) -> Result<(), String> {
    let disk = journal::disk(&folder.data)?;
    let _lock = FolderLock::take(&folder.data).map_err(|error| error.to_string())?;
    // A journal that cannot be read is nothing to give up the way back for.
    log::open(disk.clone(), log::Options::default()).map_err(|error| error.to_string())?;
    let before = log::level(&disk).map_err(|error| error.to_string())?;
    if before < NEWEST_VERSION {
        log::finalize(&disk).map_err(|error| error.to_string())?;
    }
    if folder.json {
        say(json!({"before": before, "writes": NEWEST_VERSION}));
    } else if before < NEWEST_VERSION {
        say(format_args!("final: records up to version {NEWEST_VERSION} are written from the next start on"));
    } else {
        say(format_args!(
            "nothing to do: records up to version {before} are written already, and there is nothing newer"
        ));
    }
    Ok(())
}
