//! `payonce capture`, `void` and `refund`: go on from a payment, each time under a key of its own.

use std::{process::ExitCode, time::Duration};

use serde_json::{Value, json};

use crate::{
    client::{Ask, Target, encoded, field, quoted},
    exit,
    output::{columns, say},
    pay::outcome,
};

const PART_EXAMPLES: &str = "\
Examples:
  payonce capture ID --key shipped-77                 all that is left of what was authorized
  payonce capture ID --key shipped-78 --amount 400    a part of it
  payonce refund ID --key return-77                   all that is left of what was captured
  payonce refund ID --key return-78 --amount 250      a part of it

The key is the operation's name, within its payment: the same key never moves money twice. Exits with 0 if it was done,
and with 1 if it was declined or refused, or is not settled yet. To repeat the command is always safe.";

const VOID_EXAMPLES: &str = "\
Examples:
  payonce void ID --key cancel-77

Lets go of an authorization; a payment that has not been sent is canceled. One that is under way is waited for: if its
money has moved by then, it goes back as `payonce serve --late-void` says. Exits with 0 if it was done, and with 1 if
not, or not yet. To repeat the command is always safe.";

const KEY_REQUIRED: &str = "\
payonce: --key is required: it is the operation's name, within its payment.
The same key is the same operation, however often it is sent: if an answer is lost, repeat the command and no money moves
twice. Without a key, a repeat would be a second one. Take a name that your own records have, such as return-77.";

/// The flags of `capture` and `refund`.
#[derive(Debug, clap::Args)]
#[command(after_help = PART_EXAMPLES)]
pub(crate) struct PartArgs {
    #[command(flatten)]
    which: Which,
    /// How much, in minor units [default: all that is left]
    #[arg(long)]
    amount: Option<u64>,
}

/// The flags of `void`.
#[derive(Debug, clap::Args)]
#[command(after_help = VOID_EXAMPLES)]
pub(crate) struct VoidArgs {
    #[command(flatten)]
    which: Which,
}

/// What all three need.
#[derive(Debug, clap::Args)]
struct Which {
    /// The payment's id
    id: String,
    /// The operation's name: the same key never moves money twice (required)
    #[arg(long)]
    key: Option<String>,
    /// How long to wait for the outcome, in seconds, up to 60
    #[arg(long, value_name = "SECONDS", default_value_t = 10, value_parser = clap::value_parser!(u64).range(0..=60))]
    wait: u64,
    #[command(flatten)]
    target: Target,
}

/// Captures.
pub(crate) fn capture(args: &PartArgs) -> ExitCode {
    operate(&args.which, "capture", part(args))
}

/// Refunds.
pub(crate) fn refund(args: &PartArgs) -> ExitCode {
    operate(&args.which, "refunds", part(args))
}

/// Voids.
pub(crate) fn void(args: &VoidArgs) -> ExitCode {
    operate(&args.which, "void", json!({}))
}

fn part(args: &PartArgs) -> Value {
    args.amount.map_or_else(|| json!({}), |amount| json!({ "amount": amount }))
}

fn operate(which: &Which, path: &str, body: Value) -> ExitCode {
    let Some(key) = &which.key else {
        eprintln!("{KEY_REQUIRED}");
        return exit::usage();
    };
    let mut ask = Ask::post(format!("/v1/payments/{}/{path}", encoded(&which.id)), body);
    ask.headers.push(("Idempotency-Key", quoted(key)));
    ask.headers.push(("Prefer", format!("wait={}", which.wait)));
    ask.wait = Duration::from_secs(which.wait);
    let told = match which.target.ask(ask) {
        Ok(told) => told,
        Err(refusal) => return refusal.show(),
    };
    match which.target.json {
        true => say(&told.text),
        false => show(&told.value, told.replayed),
    }
    match field(&told.value, "state") {
        Some("succeeded") => ExitCode::SUCCESS,
        Some(_) | None => exit::failed(),
    }
}

fn show(operation: &Value, replayed: bool) {
    let text = |name| field(operation, name).unwrap_or_default();
    let number = |name| operation.get(name).map(Value::to_string).unwrap_or_default();
    let mut rows = vec![
        ("state", text("state").to_owned()),
        ("payment", text("payment").to_owned()),
        ("operation", format!("{} {}", number("number"), text("kind"))),
        ("amount", format!("{} {} (minor units)", number("amount"), text("currency"))),
    ];
    rows.extend(outcome(operation).map(|said| ("outcome", said)));
    rows.extend(field(operation, "gateway_reference").map(|reference| ("reference", reference.to_owned())));
    if replayed {
        rows.push(("replayed", "yes: this was settled before, and nothing moved now".to_owned()));
    }
    if matches!(text("state"), "processing" | "requires_action" | "in_doubt" | "parked") {
        rows.push(("next", format!("not settled yet: `payonce show {}`, or repeat this command", text("payment"))));
    }
    columns(&rows);
}
