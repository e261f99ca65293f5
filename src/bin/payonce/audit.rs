//! `payonce audit`: what operators did, newest first.

use std::process::ExitCode;

use serde_json::{Value, json};

use crate::{
    client::{Ask, Target},
    output::{say, table},
    show::rows,
};

const EXAMPLES: &str = "\
Examples:
  payonce audit                  the last 50 deeds
  payonce audit --limit 500
  payonce audit --before 4711    what was done before that place in the journal

What was decided about a payment is in the payment's own timeline: payonce show ID.";

/// The flags of `audit`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct AuditArgs {
    /// At most this many
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u16).range(1..=500))]
    limit: u16,
    /// Only what was done before this place in the journal
    #[arg(long, value_name = "LSN")]
    before: Option<u64>,
    #[command(flatten)]
    target: Target,
}

/// Asks page by page: where deeds are rare, a page may be empty, and still have a next one.
pub(crate) fn run(args: &AuditArgs) -> ExitCode {
    let (mut deeds, mut before) = (Vec::new(), args.before);
    let most = usize::from(args.limit);
    loop {
        let place = before.map(|before| format!("&before={before}")).unwrap_or_default();
        let left = most.saturating_sub(deeds.len());
        let told = match args.target.ask(Ask::get(format!("/v1/audit?limit={left}{place}"))) {
            Ok(told) => told,
            Err(refusal) => return refusal.show(),
        };
        deeds.extend(told.value.get("deeds").and_then(Value::as_array).cloned().unwrap_or_default());
        before = told.value.get("next").and_then(Value::as_u64);
        if before.is_none() || deeds.len() >= most {
            break;
        }
    }
    let found = json!({ "deeds": deeds, "next": before });
    if args.target.json {
        say(found);
        return ExitCode::SUCCESS;
    }
    let fields = ["at", "action", "target", "actor", "key", "reason"];
    table(&fields, &rows(&found, "deeds", &fields));
    if let Some(next) = before {
        say(format_args!("\nmore: payonce audit --limit {} --before {next}", args.limit));
    }
    ExitCode::SUCCESS
}
