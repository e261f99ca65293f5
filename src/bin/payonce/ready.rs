//! `payonce ready`: whether the daemon has recovered, and takes payments. For containers, whose image has nothing else that
//! could ask.

use std::process::ExitCode;

use crate::{
    client::{Ask, Target},
    output::say,
};

const EXAMPLES: &str = "\
Examples:
  payonce ready                                        exit 0: it takes payments; exit 1: not, or not yet
  payonce ready --url https://pay.example:7411
  until payonce ready; do sleep 1; done

It takes no API key.";

/// The flags of `ready`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct ReadyArgs {
    #[command(flatten)]
    target: Target,
}

/// Asks.
pub(crate) fn run(args: &ReadyArgs) -> ExitCode {
    match args.target.ask(Ask::get("/readyz".to_owned())) {
        Ok(told) => {
            say(if args.target.json { told.text.as_str() } else { "ready" });
            ExitCode::SUCCESS
        }
        Err(refusal) => refusal.show(),
    }
}
