//! `payonce journal`: verify, dump, rebuild-store.

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Arc,
    time::Duration,
};

use payonce::{
    disk::{Disk, OsDisk},
    journal::{self, Entry, Found, OpenError, Record},
    payment::{Audit, Deed},
    runtime::rebuild_store,
};
use serde_json::{Value, json};

use crate::{exit, output::say};

const EXAMPLES: &str = "\
Examples:
  payonce journal verify --data ./payonce-data           reads every byte of it; exit 3 names each damage
  payonce journal dump --data ./payonce-data             every record, oldest first
  payonce journal rebuild-store --data ./payonce-data    with the daemon stopped

verify and dump change nothing, and may run beside the daemon: they then read up to some moment.";

/// The flags of `journal`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct JournalArgs {
    #[command(subcommand)]
    what: What,
}

/// What to do with it.
#[derive(Debug, clap::Subcommand)]
enum What {
    /// Read every record of every segment, and name each damage.
    Verify(Folder),
    /// Print every record, one a line.
    Dump(Folder),
    /// Move the store aside and build it anew from the journal.
    RebuildStore(Folder),
}

/// Where, and how to say what is there.
#[derive(Debug, clap::Args)]
pub(crate) struct Folder {
    /// The data folder
    #[arg(long, value_name = "DIR", default_value = "./payonce-data", env = "PAYONCE_DATA")]
    pub(crate) data: PathBuf,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// Runs.
pub(crate) fn run(args: &JournalArgs) -> ExitCode {
    let done = match &args.what {
        What::Verify(folder) => verify(folder),
        What::Dump(folder) => dump(folder),
        What::RebuildStore(folder) => rebuild(folder),
    };
    done.unwrap_or_else(|why| {
        eprintln!("payonce: {why}");
        exit::refused()
    })
}

/// The disk under a data folder that holds a journal.
pub(crate) fn disk(data: &Path) -> Result<Arc<dyn Disk>, String> {
    if !data.join("journal").is_dir() {
        return Err(format!("there is no journal in {}", data.display()));
    }
    let disk = OsDisk::new(data).map_err(|error| format!("{}: {error}", data.display()))?;
    Ok(Arc::new(disk))
}

/// How often a journal is looked at anew that seems to be damaged, and how long is waited before.
const LOOKS: usize = 5;
const BETWEEN_LOOKS: Duration = Duration::from_millis(200);

/// What a start would find, beside a daemon that is writing: a batch that is seen half written, and followed a moment later,
/// looks like damage, and does not when it is looked at again. Without the keys to personal data.
pub(crate) fn look(data: &Path) -> Result<Found, String> {
    let options = journal::Options { verify_bytes: 0, ..journal::Options::default() };
    let disk = disk(data)?;
    let open = || journal::open_shut(disk.clone(), options).map_err(|error| error.to_string());
    let again = || {
        std::thread::sleep(BETWEEN_LOOKS);
        open()
    };
    (1..LOOKS).fold(open(), |found, _| found.or_else(|_| again()))
}

fn verify(folder: &Folder) -> Result<ExitCode, String> {
    let verified =
        journal::verify(disk(&folder.data)?, journal::Options::default()).map_err(|error| error.to_string())?;
    let failures: Vec<String> = verified.failures.iter().map(OpenError::to_string).collect();
    if folder.json {
        say(json!({"records": verified.records, "failures": failures}));
    } else {
        say(format_args!("{} records read", verified.records));
        failures.iter().for_each(|failure| eprintln!("{failure}"));
    }
    if !failures.is_empty() {
        return Ok(exit::refused());
    }
    if !folder.json {
        say("every batch is whole, and follows the one before it");
    }
    Ok(ExitCode::SUCCESS)
}

fn dump(folder: &Folder) -> Result<ExitCode, String> {
    for entry in journal::dump(disk(&folder.data)?).map_err(|error| error.to_string())? {
        let entry = entry.map_err(|error| error.to_string())?;
        match folder.json {
            true => say(as_json(&entry)),
            false => say(as_text(&entry)),
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// The payment that a record is about, and what it says.
fn told(record: &Record) -> (Option<String>, String, String) {
    let kind = record.name().to_owned();
    match record {
        Record::Event(event) | Record::Relogged(event) => {
            (Some(event.payment.to_string()), format!("{kind} {}", event.fact.name()), format!("{:?}", event.fact))
        }
        Record::Carried(payment) => (Some(payment.id.to_string()), kind, payment.state().as_str().to_owned()),
        Record::Inbox(webhook) => (None, kind, format!("{} {}", webhook.gateway, webhook.event_id)),
        Record::Opened(opened) => (None, kind, format!("{opened:?}")),
        Record::Checkpoint(checkpoint) => (None, kind, format!("upto {}", checkpoint.upto)),
        Record::Closed(closed) => (None, kind, format!("applied {}", closed.applied)),
        Record::Audit(audit) => (audited(audit), format!("{kind} {}", audit.deed.name()), format!("{audit:?}")),
    }
}

/// The payment that an operator's deed is about.
fn audited(audit: &Audit) -> Option<String> {
    match &audit.deed {
        Deed::Inquire(payment) | Deed::Resolve(payment) => Some(payment.to_string()),
        Deed::Pause { .. }
        | Deed::Resume { .. }
        | Deed::Drain
        | Deed::Admit
        | Deed::Replay { .. }
        | Deed::Discard { .. }
        | Deed::Erase { .. } => None,
    }
}

fn as_text(entry: &Entry) -> String {
    let (payment, kind, detail) = told(&entry.record);
    let payment = payment.unwrap_or_else(|| "-".to_owned());
    let again = if entry.superseded { " (recorded again later)" } else { "" };
    format!(
        "{} {}:{} {} {payment} {kind}{again} {detail}",
        entry.lsn,
        entry.segment,
        entry.offset,
        entry.wall.as_millis()
    )
}

fn as_json(entry: &Entry) -> Value {
    let (payment, kind, detail) = told(&entry.record);
    json!({
        "lsn": entry.lsn.get(), "segment": entry.segment, "offset": entry.offset, "wall_ms": entry.wall.as_millis(),
        "payment": payment, "record": kind, "superseded": entry.superseded, "detail": detail,
    })
}

fn rebuild(folder: &Folder) -> Result<ExitCode, String> {
    let rebuilt = rebuild_store(&folder.data).map_err(|error| error.to_string())?;
    let old = rebuilt.old.as_ref().map(|path| path.display().to_string());
    if folder.json {
        say(json!({"records": rebuilt.records, "rows": rebuilt.rows, "old": old}));
    } else {
        say(format_args!("{} records read, {} payments at rest put into a new store", rebuilt.records, rebuilt.rows));
        old.into_iter().for_each(|old| say(format_args!("the old one is kept in {old}")));
    }
    Ok(ExitCode::SUCCESS)
}
