//! `payonce erase`: the key of a tenant's personal data is destroyed, and with it the data.

use std::{
    path::PathBuf,
    process::ExitCode,
    time::{SystemTime, UNIX_EPOCH},
};

use payonce::{
    PaymentId, Person, Tenant, Timestamp,
    journal::Erased,
    runtime::{Erasure, NotErased, erase},
};
use serde_json::json;

use crate::{exit, output::say};

const EXAMPLES: &str = "\
Examples:
  payonce erase --tenant shop --actor alice --reason 'the contract has ended'    with the daemon stopped

Needs a data folder in which personal data is sealed: `payonce serve --seal-personal-data`. Erased are, of every payment
of the tenant, source, destination, description and metadata, the requests to gateways, and the bodies of news about it;
at once in the journal, the store, and every copy of both. Kept are ids, keys, amounts, states, operations, gateways'
references and words, and times. Ids and keys are what callers made of them: whoever puts a name in a key keeps it there.

Not in its reach: copies of the folder tenant-keys, snapshots of the file system, blocks that an SSD keeps of what was
overwritten, what was logged elsewhere, and what the gateway knows. Destroy copies of keys yourself.";

/// The most that is printed of them.
const SHOWN: usize = 20;

/// The flags of `erase`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct EraseArgs {
    /// Whose personal data
    #[arg(long, value_name = "TENANT")]
    tenant: String,
    /// Who decides
    #[arg(long, value_name = "NAME")]
    actor: String,
    /// Why; kept for ever, so name nobody
    #[arg(long, value_name = "TEXT")]
    reason: String,
    /// The data folder
    #[arg(long, value_name = "DIR", default_value = "./payonce-data", env = "PAYONCE_DATA")]
    data: PathBuf,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Runs.
pub(crate) fn run(args: &EraseArgs) -> ExitCode {
    let tenant = match Tenant::new(&args.tenant) {
        Ok(tenant) => tenant,
        Err(invalid) => {
            eprintln!("payonce: --{invalid}");
            return exit::usage();
        }
    };
    if !args.data.join("journal").is_dir() {
        eprintln!("payonce: there is no journal in {}", args.data.display());
        return exit::refused();
    }
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let at = Timestamp::from_millis(u64::try_from(since.as_millis()).unwrap_or(u64::MAX));
    let person = Person { actor: args.actor.clone(), reason: args.reason.clone() };
    match erase(&args.data, &tenant, at, &person) {
        Ok(erasure) => tell(args, &erasure),
        Err(error) => {
            eprintln!("payonce: {error}");
            match error {
                NotErased::Open(_) => exit::refused(),
                NotErased::Words(_) => exit::usage(),
                NotErased::NothingSealed | NotErased::Unresolved(_) => exit::failed(),
            }
        }
    }
}

fn tell(args: &EraseArgs, erasure: &Erasure) -> ExitCode {
    let Erasure { key, payments, readable } = erasure;
    if args.json {
        let readable: Vec<String> = readable.iter().map(PaymentId::to_string).collect();
        say(json!({"tenant": args.tenant, "key": word(*key), "payments": payments, "readable": readable}));
    } else {
        say(format_args!("the key of tenant {}: {}", args.tenant, word(*key)));
        say(format_args!("{payments} payments of it, read again: of {} personal data can be read", readable.len()));
    }
    if readable.is_empty() {
        return ExitCode::SUCCESS;
    }
    let shown: Vec<String> = readable.iter().take(SHOWN).map(PaymentId::to_string).collect();
    let more = if readable.len() > SHOWN { " .." } else { "" };
    eprintln!(
        "payonce: of {} payments personal data was recorded before any was sealed, and stays: {}{more}",
        readable.len(),
        shown.join(", ")
    );
    exit::failed()
}

const fn word(key: Erased) -> &'static str {
    match key {
        Erased::Now => "destroyed",
        Erased::Before => "destroyed before",
        Erased::NothingSealed => "there was none",
    }
}
