//! `payonce drain`: has nothing new taken, while what is under way ends.

use std::process::ExitCode;

use serde_json::{Map, Value};
use ureq::http::Method;

use crate::{
    client::{Ask, Target},
    output::say,
};

const EXAMPLES: &str = "\
Examples:
  payonce drain --actor alice --reason 'the machine moves'    then wait: payonce list --state processing
  payonce drain --end --actor alice --reason 'it stays'

New payments, captures, voids and refunds are answered 503, and /readyz with them; keys that are known are answered, and what
is under way goes on to its end. It lasts until it is ended, or until the daemon is started again.";

/// The flags of `drain`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct DrainArgs {
    /// Take what is new again
    #[arg(long)]
    end: bool,
    /// Who does it
    #[arg(long, value_name = "NAME", required_unless_present = "end")]
    actor: Option<String>,
    /// Why
    #[arg(long, value_name = "TEXT", required_unless_present = "end")]
    reason: Option<String>,
    #[command(flatten)]
    target: Target,
}

/// Drains, or ends that.
pub(crate) fn run(args: &DrainArgs) -> ExitCode {
    let said = [("actor", &args.actor), ("reason", &args.reason)];
    let said = said.into_iter().filter_map(|(name, text)| Some((name.to_owned(), Value::from(text.clone()?))));
    let mut ask = Ask::post("/v1/drain".to_owned(), Value::Object(said.collect::<Map<_, _>>()));
    if args.end {
        ask.method = Method::DELETE;
    }
    match args.target.ask(ask) {
        Ok(told) if args.target.json => say(&told.text),
        Ok(_) if args.end => say("what is new is taken again"),
        Ok(_) => say("nothing new is taken; what is under way goes on to its end: payonce list --state processing"),
        Err(refusal) => return refusal.show(),
    }
    ExitCode::SUCCESS
}
