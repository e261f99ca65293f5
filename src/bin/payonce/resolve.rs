//! `payonce resolve`: a person decides about what nothing else can decide about: one payment, or many alike.

mod many;

mod wanted;

use std::{process::ExitCode, time::Duration};

use clap::ValueEnum;
use payonce::gateway::parse_duration;
use serde_json::{Value, json};

use crate::{
    client::{Ask, Target, encoded},
    output::say,
    show::show,
};

const EXAMPLES: &str = "\
Examples:
  payonce resolve ID --as succeeded --actor alice --reason 'on the statement of 24 November' --gateway-reference ch_123
  payonce resolve ID --as resend --actor alice --reason 'the gateway lost its database'
  payonce resolve --state parked --older-than 3d --as declined --actor alice --reason 'ticket 77' --dry-run
  payonce resolve --state parked --park-reason gateway_changed --gateway old-psp --as declined --actor .. --reason ..

With --state, everything that is in it and fits the other filters is listed, and, once you say yes, decided one by one, each
with your name and reason. What has changed meanwhile is left alone. --dry-run lists, and does nothing. Exit 1: some could
not be decided; each is named.

Who decided, and why, is kept for ever with the payment. A resend obeys the same rules as one of the daemon's own: it is
refused where money could move twice.";

/// The flags of `resolve`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
#[group(id = "which", required = true, multiple = false, args = ["id", "state"])]
pub(crate) struct ResolveArgs {
    /// The payment's id
    id: Option<String>,
    /// Everything that is in this state: parked, in_doubt, requires_action, processing
    #[arg(long, value_parser = wanted::STATES)]
    state: Option<String>,
    /// Of it, what was sent to the gateway of this name or account
    #[arg(long, value_name = "NAME", conflicts_with = "id")]
    gateway: Option<String>,
    /// Of it, what belongs to payments that were made longer ago, such as 3d
    #[arg(long, value_name = "TIME", conflicts_with = "id", value_parser = duration)]
    older_than: Option<Duration>,
    /// Of what is parked, what is so for this reason
    #[arg(long, value_name = "REASON", conflicts_with = "id", value_parser = wanted::reasons())]
    park_reason: Option<String>,
    /// List what would be decided, and do nothing
    #[arg(long, conflicts_with = "id")]
    dry_run: bool,
    /// Do not ask
    #[arg(long, conflicts_with = "id")]
    yes: bool,
    /// What became of it, or what to do
    #[arg(long = "as", value_enum)]
    verdict: Verdict,
    /// Who decides
    #[arg(long, value_name = "NAME")]
    actor: String,
    /// Why
    #[arg(long, value_name = "TEXT")]
    reason: String,
    /// Which operation; may be left out if only one is in doubt
    #[arg(long, value_name = "NUMBER", conflicts_with = "state")]
    operation: Option<u32>,
    /// The gateway's own name for it
    #[arg(long, value_name = "TEXT", conflicts_with = "state")]
    gateway_reference: Option<String>,
    #[command(flatten)]
    target: Target,
}

/// What became of it, or what to do.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Verdict {
    /// The money moved
    Succeeded,
    /// The gateway decided against it
    Declined,
    /// Send it again, under the same key
    Resend,
    /// It was never executed, and never will be
    Canceled,
}

impl Verdict {
    const fn as_str(self) -> &'static str {
        match self {
            Verdict::Succeeded => "succeeded",
            Verdict::Declined => "declined",
            Verdict::Resend => "resend",
            Verdict::Canceled => "canceled",
        }
    }
}

fn duration(text: &str) -> Result<Duration, String> {
    parse_duration(text).ok_or_else(|| "not a duration, such as 30m or 3d".to_owned())
}

/// Resolves.
pub(crate) fn run(args: &ResolveArgs) -> ExitCode {
    let Some(id) = &args.id else { return many::run(args) };
    match args.target.ask(Ask::post(path(id), args.decision(args.operation))) {
        Ok(told) if args.target.json => say(&told.text),
        Ok(told) => show(&told.value),
        Err(refusal) => return refusal.show(),
    }
    ExitCode::SUCCESS
}

fn path(id: &str) -> String {
    format!("/v1/payments/{}/resolve", encoded(id))
}

impl ResolveArgs {
    /// What is posted.
    fn decision(&self, operation: Option<u32>) -> Value {
        let mut body = json!({ "actor": self.actor, "reason": self.reason, "as": self.verdict.as_str() });
        if let Some(fields) = body.as_object_mut() {
            if let Some(operation) = operation {
                fields.insert("operation".to_owned(), json!(operation));
            }
            if let Some(reference) = &self.gateway_reference {
                fields.insert("gateway_reference".to_owned(), json!(reference));
            }
        }
        body
    }
}
