//! `payonce receipt` and `payonce verify-receipt`: a payment's records as a document, and checking one.

use std::{
    fs,
    io::{self, Read},
    path::{Path, PathBuf},
    process::ExitCode,
};

use payonce::{
    PaymentId,
    receipt::{Checked, Receipt, check, compare, receipt},
};
use serde_json::json;

use crate::{
    exit, journal,
    output::{columns, say},
};

const RECEIPT: &str = "\
Examples:
  payonce receipt c4d27dc8-fc8b-8dba-b307-ab7b907f7933 > receipt.json
  payonce receipt c4d27dc8-fc8b-8dba-b307-ab7b907f7933 --json | payonce verify-receipt -

Reads the journal and changes nothing; may run beside the daemon. What is in it is durable beyond doubt, which what was
recorded last becomes within a second or two. It holds the bytes that were sent to the gateway, with source and
destination, and what the caller gave as description and metadata; it holds no credentials.

Keep the head elsewhere, at the time: with it anybody can tell later that nothing in the document was altered, left out or
added. Without it a receipt shows only that it agrees with itself. It never proves that what was recorded is true.";

const VERIFY: &str = "\
Examples:
  payonce verify-receipt receipt.json
  payonce verify-receipt receipt.json --head 5f2c...         and that it is the one whose head was kept
  payonce verify-receipt receipt.json --data ./payonce-data  and that each record stands in this journal
  payonce receipt ID | payonce verify-receipt -

Checks that the chain of hashes is whole, that what is said of each record is what its bytes say, and that the records add up
to the state and the amounts that are claimed. Needs no data folder. Exit 1: something is wrong, and is named.";

/// The flags of `receipt`.
#[derive(Debug, clap::Args)]
#[command(after_help = RECEIPT)]
pub(crate) struct ReceiptArgs {
    /// The payment's id
    id: String,
    /// The data folder
    #[arg(long, value_name = "DIR", default_value = "./payonce-data", env = "PAYONCE_DATA")]
    data: PathBuf,
    /// Print it as one line
    #[arg(long)]
    json: bool,
}

/// The flags of `verify-receipt`.
#[derive(Debug, clap::Args)]
#[command(after_help = VERIFY)]
pub(crate) struct VerifyReceiptArgs {
    /// The document; `-` for standard input
    file: PathBuf,
    /// The head as it is known from elsewhere
    #[arg(long, value_name = "HEX")]
    head: Option<String>,
    /// Look each record up in the journal of this data folder
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Prints a receipt.
pub(crate) fn run(args: &ReceiptArgs) -> ExitCode {
    let Some(id) = PaymentId::parse(&args.id) else {
        eprintln!("payonce: {:?} is no payment's id: `payonce show --key KEY` tells it", args.id);
        return exit::usage();
    };
    let found = match journal::look(&args.data) {
        Ok(found) => found,
        Err(why) => {
            eprintln!("payonce: {why}");
            return exit::refused();
        }
    };
    match receipt(&found, &id) {
        Ok(receipt) => show(&receipt, args.json),
        Err(refused) => {
            eprintln!("payonce: {refused}");
            exit::failed()
        }
    }
}

fn show(receipt: &Receipt, line: bool) -> ExitCode {
    let written = if line { serde_json::to_string(receipt) } else { serde_json::to_string_pretty(receipt) };
    match written {
        Ok(text) => say(text),
        Err(error) => {
            eprintln!("payonce: the receipt cannot be written: {error}");
            return exit::failed();
        }
    }
    eprintln!("{} records; keep this head elsewhere: {}", receipt.entries.len(), receipt.head);
    ExitCode::SUCCESS
}

/// Checks one.
pub(crate) fn verify(args: &VerifyReceiptArgs) -> ExitCode {
    let text = match read(&args.file) {
        Ok(text) => text,
        Err(error) => {
            eprintln!("payonce: {}: {error}", args.file.display());
            return exit::usage();
        }
    };
    let receipt: Receipt = match serde_json::from_str(&text) {
        Ok(receipt) => receipt,
        Err(error) => {
            eprintln!("payonce: this is no receipt: {error}");
            return exit::failed();
        }
    };
    let mut checked = check(&receipt);
    if args.head.is_some() && args.head != checked.head {
        checked
            .faults
            .push("its head is not the one that was given: it is another document, or was altered".to_owned());
    }
    match args.data.as_ref().map(|data| missing(&receipt, data)).transpose() {
        Ok(missing) => checked.faults.extend(missing.into_iter().flatten()),
        Err(why) => {
            eprintln!("payonce: {why}");
            return exit::refused();
        }
    }
    tell(args, &receipt, &checked);
    if checked.faults.is_empty() { ExitCode::SUCCESS } else { exit::failed() }
}

fn read(file: &Path) -> io::Result<String> {
    if file != Path::new("-") {
        return fs::read_to_string(file);
    }
    let mut text = String::new();
    io::stdin().read_to_string(&mut text).map(|_| text)
}

fn missing(receipt: &Receipt, data: &Path) -> Result<Vec<String>, String> {
    let found = journal::look(data)?;
    compare(receipt, &found).map_err(|error| error.to_string())
}

fn tell(args: &VerifyReceiptArgs, receipt: &Receipt, checked: &Checked) {
    if args.json {
        let whole = checked.faults.is_empty();
        return say(json!({
            "whole": whole, "claim": checked.claim, "records": receipt.entries.len(), "head": checked.head,
            "head_was_given": args.head.is_some(), "in_the_journal": args.data.as_ref().map(|_| whole),
            "faults": checked.faults,
        }));
    }
    checked.faults.iter().for_each(|fault| eprintln!("{fault}"));
    let (Some(claim), true) = (&checked.claim, checked.faults.is_empty()) else { return };
    columns(&[
        ("payment", claim.payment.clone()),
        ("key", format!("{} (tenant {})", claim.idempotency_key, claim.tenant)),
        ("state", claim.state.clone()),
        ("amount", format!("{} {} (minor units)", claim.amount, claim.currency)),
        ("captured", claim.captured.to_string()),
        ("refunded", claim.refunded.to_string()),
        ("records", format!("{}, up to record {} of journal {}", receipt.entries.len(), receipt.upto, receipt.journal)),
        ("head", receipt.head.clone()),
        ("shows", shows(args).to_owned()),
    ]);
}

/// What a check that found nothing wrong comes to, and no more.
fn shows(args: &VerifyReceiptArgs) -> &'static str {
    match (args.head.is_some(), args.data.is_some()) {
        (true, true) => "it is the one whose head was kept, and each record stands in this journal",
        (true, false) => "it is the one whose head was kept: nothing was altered, left out or added since",
        (false, true) => "it agrees with itself, and each record stands in this journal",
        (false, false) => {
            "it agrees with itself; that nobody made it up shows only a head that is known from elsewhere (--head)"
        }
    }
}
