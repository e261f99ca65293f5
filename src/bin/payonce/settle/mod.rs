//! `payonce settle`: our book against the gateway's statement.
//!
//! Knows nothing of what a finding means: that is [`payonce::settle`]'s.

mod book;

mod csv;

mod fold;

mod show;

mod statement;

mod wire;

use std::{path::PathBuf, process::ExitCode, time::Duration};

use jiff::Timestamp as Civil;
use payonce::{
    Timestamp,
    gateway::parse_duration,
    settle::{Report, Settlement, Window},
};

use crate::exit;
use csv::{Amounts, Column, Words};
use wire::Wire;

const EXAMPLES: &str = "\
Examples:
  payonce settle --statement http://127.0.0.1:7412                  a running daemon's book, the sandbox's statement
  payonce settle --statement november.csv --data ./payonce-data --from 2026-11-01T00:00:00Z --to 2026-12-01T00:00:00Z
  payonce settle --statement export.csv --column operation_key=Metadata --column at=Created --kind payment=charge \\
                 --amounts major --json

Statement: a URL that speaks the gateway protocol (GET /statement?after=N), or a file of comma-separated values. Its
first line names its columns, in any order: operation_key, gateway_reference (one of both is needed), kind, amount,
currency, at (RFC 3339). Other columns are ignored; --column tells what one of these is called. Without kind or at,
neither is compared. Kinds are charge, capture and refund, and whatever else the gateway does of itself, such as dispute;
authorize and void move no money.

Our book: --data reads the journal of a data folder, also beside a running daemon. Without it the daemon at --url is
asked, one question a payment: fine for some ten thousands. Both are only read; nothing is changed, here or there.

An operation has to be on the statement only if it was sent and found out --margin away from both ends; the others are
counted as too_recent and too_early. Let one statement begin twice the margin before the last one's end, at least: then
nothing falls between them. A statement that ends earlier than now needs --to.

Exit codes: 0 all agree, 1 there are differences, 2 usage, 3 the book or the statement cannot be read.";

/// The flags of `settle`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct SettleArgs {
    /// The gateway's statement
    #[arg(long, value_name = "FILE|URL")]
    statement: String,
    /// Our book: the journal of this data folder
    #[arg(long, value_name = "DIR", conflicts_with = "url")]
    data: Option<PathBuf>,
    /// Our book: the daemon here [env: PAYONCE_URL] [default: http://127.0.0.1:7411]
    #[arg(long, value_name = "URL")]
    url: Option<String>,
    /// Only what was sent to the gateway of this name or account
    #[arg(long, value_name = "NAME", requires = "data")]
    gateway: Option<String>,
    /// The first moment of the statement, such as 2026-11-01T00:00:00Z [default: the beginning]
    #[arg(long, value_name = "TIME", value_parser = instant)]
    from: Option<Timestamp>,
    /// The end of the statement, not included [default: now]
    #[arg(long, value_name = "TIME", value_parser = instant)]
    to: Option<Timestamp>,
    /// How far the gateway's times and ours may be apart. An hour: clocks differ by seconds, gateways post by the batch
    #[arg(long, value_name = "DURATION", default_value = "1h", value_parser = duration)]
    margin: Duration,
    /// What a column is called there. Repeatable
    #[arg(long = "column", value_name = "COLUMN=NAME", value_parser = Column::parse)]
    columns: Vec<Column>,
    /// What a kind is called there, such as payment=charge. Repeatable
    #[arg(long = "kind", value_name = "NAME=KIND", value_parser = csv::kind)]
    kinds: Vec<csv::Renamed>,
    /// How a file writes amounts: 1050 (minor) or 10.50 (major)
    #[arg(long, value_enum, default_value_t = Amounts::Minor)]
    amounts: Amounts,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

fn instant(text: &str) -> Result<Timestamp, String> {
    let millis = text.parse::<Civil>().ok().and_then(|civil| u64::try_from(civil.as_millisecond()).ok());
    millis.map(Timestamp::from_millis).ok_or_else(|| "not an RFC 3339 time, such as 2026-11-24T12:00:00Z".to_owned())
}

fn duration(text: &str) -> Result<Duration, String> {
    parse_duration(text).ok_or_else(|| "not a duration, such as 30m or 1h".to_owned())
}

/// Settles.
pub(crate) fn run(args: &SettleArgs) -> ExitCode {
    let as_of = instant(&Civil::now().to_string()).unwrap_or_default();
    // A statement of the future ends now.
    let to = args.to.map_or(as_of, |to| to.min(as_of));
    let window = Window { from: args.from, to, margin: args.margin, as_of };
    if window.from.is_some_and(|from| from >= to) {
        eprintln!("payonce: --from must be before --to, and before now");
        return exit::usage();
    }
    match settle(args, window) {
        Ok(report) => {
            show::report(&report, &window, args.json);
            if report.differences() > 0 { exit::failed() } else { ExitCode::SUCCESS }
        }
        Err(why) => {
            eprintln!("payonce: {why}");
            exit::refused()
        }
    }
}

/// Our book first, whole, then the statement: a payment made meanwhile is on the statement only, and known to be recent.
fn settle(args: &SettleArgs, window: Window) -> Result<Report, String> {
    let mut settlement = Settlement::new(window);
    let wire = Wire::new();
    match &args.data {
        Some(data) => fold::read(data, args.gateway.as_deref(), &mut settlement)?,
        None => book::read(&wire, &daemon(args), &mut settlement)?,
    }
    let mut report = Report::default();
    let mut seen = show::Counter::new("lines compared");
    let mut take = |line| {
        seen.one();
        report.take(settlement.compare(line));
    };
    if args.statement.starts_with("http://") || args.statement.starts_with("https://") {
        statement::read(&wire, &args.statement, &mut take)?;
    } else {
        csv::read(
            args.statement.as_ref(),
            &Words { columns: &args.columns, kinds: &args.kinds, amounts: args.amounts },
            &mut take,
        )?;
    }
    seen.clear();
    report.extend(settlement.finish());
    Ok(report)
}

fn daemon(args: &SettleArgs) -> String {
    let given = args.url.clone().or_else(|| std::env::var("PAYONCE_URL").ok());
    given.unwrap_or_else(|| "http://127.0.0.1:7411".to_owned())
}
