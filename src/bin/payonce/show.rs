//! `payonce show`: one payment: the three questions of a night, and all that happened to it.

use std::process::ExitCode;

use serde_json::Value;

use crate::{
    answers::Case,
    client::{Ask, Refusal, Target, Told, encoded, field},
    output::{columns, say, table},
    pay::summary,
};

const EXAMPLES: &str = "\
Examples:
  payonce show c4d27dc8-fc8b-8dba-b307-ab7b907f7933
  payonce show --key order-1234";

/// The flags of `show`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
#[group(id = "which", required = true, multiple = false, args = ["id", "key"])]
pub(crate) struct ShowArgs {
    /// The payment's id
    id: Option<String>,
    /// The payment's key
    #[arg(long)]
    key: Option<String>,
    #[command(flatten)]
    target: Target,
}

/// Shows.
pub(crate) fn run(args: &ShowArgs) -> ExitCode {
    match find(args).and_then(|told| tell(args, &told)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(refusal) => refusal.show(),
    }
}

/// The three questions first; then all that is known.
fn tell(args: &ShowArgs, told: &Told) -> Result<(), Refusal> {
    if args.target.json {
        say(&told.text);
        return Ok(());
    }
    let id = field(&told.value, "id").unwrap_or_default();
    let outlook = args.target.ask(Ask::get(format!("/v1/payments/{}/outlook", encoded(id))))?;
    columns(&Case::new(&told.value, &outlook.value).answers());
    say("");
    show(&told.value);
    Ok(())
}

fn find(args: &ShowArgs) -> Result<Told, Refusal> {
    let id = match &args.id {
        Some(id) => id.clone(),
        None => id_of_key(&args.target, args.key.as_deref().unwrap_or_default())?,
    };
    args.target.ask(Ask::get(format!("/v1/payments/{}", encoded(&id))))
}

/// Asks for the id: it depends on whose key it is, which the daemon knows.
fn id_of_key(target: &Target, key: &str) -> Result<String, Refusal> {
    let told = target.ask(Ask::get(format!("/v1/payments?idempotency_key={}", encoded(key))))?;
    let id = told.value.pointer("/payments/0/id").and_then(Value::as_str);
    id.map(str::to_owned).ok_or_else(|| Refusal::Nothing("there is no payment with this key".to_owned()))
}

/// Prints a payment with its operations and its timeline.
pub(crate) fn show(payment: &Value) {
    let mut about = summary(payment);
    let moved = |name| payment.get(name).map(Value::to_string).unwrap_or_default();
    about.push(("captured", moved("captured")));
    about.push(("refunded", moved("refunded")));
    columns(&about);
    say("");
    let operations =
        rows(payment, "operations", &["number", "kind", "amount", "state", "attempts", "gateway_reference"]);
    table(&["operation", "kind", "amount", "state", "attempts", "reference"], &operations);
    say("");
    table(&["at", "event", "evidence"], &rows(payment, "timeline", &["at", "event", "evidence"]));
}

/// The objects of a list, as rows of these fields.
pub(crate) fn rows(body: &Value, list: &str, fields: &[&str]) -> Vec<Vec<String>> {
    let objects = body.get(list).and_then(Value::as_array).into_iter().flatten();
    objects.map(|object| fields.iter().map(|name| cell(object, name)).collect()).collect()
}

fn cell(object: &Value, name: &str) -> String {
    match (field(object, name), object.get(name)) {
        (Some(text), _) => text.to_owned(),
        (None, None | Some(Value::Null)) => "-".to_owned(),
        (None, Some(value)) => value.to_string(),
    }
}
