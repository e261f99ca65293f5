//! `payonce resolve`: a person decides about a payment that nothing else can decide about.

use std::process::ExitCode;

use clap::ValueEnum;
use serde_json::json;

use crate::{
    client::{Ask, Target, encoded},
    output::say,
    show::show,
};

const EXAMPLES: &str = "\
Examples:
  payonce resolve ID --as succeeded --actor alice --reason 'on the statement of 24 November' --gateway-reference ch_123
  payonce resolve ID --as resend --actor alice --reason 'the gateway lost its database'

Who decided, and why, is kept for ever with the payment. A resend obeys the same rules as one of the daemon's own: it is
refused where money could move twice.";

/// The flags of `resolve`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct ResolveArgs {
    /// The payment's id
    id: String,
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
    #[arg(long, value_name = "NUMBER")]
    operation: Option<u32>,
    /// The gateway's own name for it
    #[arg(long, value_name = "TEXT")]
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

/// Resolves.
pub(crate) fn run(args: &ResolveArgs) -> ExitCode {
    let mut body = json!({ "actor": args.actor, "reason": args.reason, "as": args.verdict.as_str() });
    if let Some(fields) = body.as_object_mut() {
        if let Some(operation) = args.operation {
            fields.insert("operation".to_owned(), json!(operation));
        }
        if let Some(reference) = &args.gateway_reference {
            fields.insert("gateway_reference".to_owned(), json!(reference));
        }
    }
    match args.target.ask(Ask::post(format!("/v1/payments/{}/resolve", encoded(&args.id)), body)) {
        Ok(told) if args.target.json => say(&told.text),
        Ok(told) => show(&told.value),
        Err(refusal) => return refusal.show(),
    }
    ExitCode::SUCCESS
}
