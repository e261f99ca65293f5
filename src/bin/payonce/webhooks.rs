//! `payonce webhooks`: what could not be delivered, and trying it again.

use std::process::ExitCode;

use clap::Subcommand;
use serde_json::{Value, json};

use crate::{
    client::{Ask, Target, encoded, field},
    output::{say, table},
};

const EXAMPLES: &str = "\
Examples:
  payonce webhooks list                   how far each receiver was told, and what was given up on
  payonce webhooks replay shop            try all of it again, now
  payonce webhooks discard shop --id ID   forget one event that nobody wants any more";

/// The commands of `webhooks`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct WebhooksArgs {
    #[command(subcommand)]
    command: WebhooksCommand,
}

/// What to do with deliveries.
#[derive(Debug, Subcommand)]
enum WebhooksCommand {
    /// How far each receiver was told, what waits, and what was given up on
    List {
        #[command(flatten)]
        target: Target,
    },
    /// Try again, now, what is waiting or was given up on
    Replay {
        /// The receiver's name
        name: String,
        /// Only the event of this webhook-id
        #[arg(long, value_name = "ID")]
        id: Option<String>,
        #[command(flatten)]
        target: Target,
    },
    /// Forget an event that was given up on
    Discard {
        /// The receiver's name
        name: String,
        /// Its webhook-id
        #[arg(long, value_name = "ID")]
        id: String,
        #[command(flatten)]
        target: Target,
    },
}

/// Asks the daemon.
pub(crate) fn run(args: &WebhooksArgs) -> ExitCode {
    let (target, ask) = match &args.command {
        WebhooksCommand::List { target } => (target, Ask::get("/v1/webhooks/out".to_owned())),
        WebhooksCommand::Replay { name, id, target } => {
            let body = id.as_ref().map_or_else(|| json!({}), |id| json!({ "id": id }));
            (target, Ask::post(format!("/v1/webhooks/out/{}/replay", encoded(name)), body))
        }
        WebhooksCommand::Discard { name, id, target } => {
            (target, Ask::post(format!("/v1/webhooks/out/{}/discard", encoded(name)), json!({ "id": id })))
        }
    };
    match target.ask(ask) {
        Ok(told) if target.json => say(&told.text),
        Ok(told) => show(&told.value),
        Err(refusal) => return refusal.show(),
    }
    ExitCode::SUCCESS
}

fn show(body: &Value) {
    for done in ["replayed", "discarded"] {
        if let Some(count) = body.get(done) {
            say(format_args!("{done}  {count}"));
        }
    }
    let Some(endpoints) = body.get("endpoints").and_then(Value::as_array) else { return };
    let count =
        |endpoint: &Value, list: &str| endpoint.get(list).and_then(Value::as_array).map_or(0, Vec::len).to_string();
    let number = |endpoint: &Value, name: &str| endpoint.get(name).map(Value::to_string).unwrap_or_default();
    let row = |endpoint: &Value| {
        let why = endpoint.get("failing").and_then(|failing| field(failing, "why")).unwrap_or("");
        let text = |name| field(endpoint, name).unwrap_or_default().to_owned();
        let numbers = [number(endpoint, "cursor"), number(endpoint, "lag")];
        let [cursor, lag] = numbers;
        vec![
            text("name"),
            text("target"),
            cursor,
            lag,
            count(endpoint, "waiting"),
            count(endpoint, "dead"),
            why.to_owned(),
        ]
    };
    let rows: Vec<Vec<String>> = endpoints.iter().map(row).collect();
    table(&["NAME", "TARGET", "CURSOR", "LAG", "WAITING", "DEAD", "FAILING"], &rows);
    for list in ["waiting", "dead"] {
        let rows: Vec<Vec<String>> = endpoints.iter().flat_map(|endpoint| undelivered(endpoint, list)).collect();
        if !rows.is_empty() {
            say(format_args!("\n{list}:"));
            table(&["NAME", "ID", "TYPE", "PAYMENT", "TRIED", "WHY"], &rows);
        }
    }
}

fn undelivered(endpoint: &Value, list: &str) -> Vec<Vec<String>> {
    let name = field(endpoint, "name").unwrap_or_default();
    let row = |event: &Value| {
        let text = |name| field(event, name).unwrap_or_default().to_owned();
        let failing = event.get("failing");
        let times = failing.and_then(|failing| failing.get("times")).map_or("0".to_owned(), Value::to_string);
        let why = failing.and_then(|failing| field(failing, "why")).unwrap_or("behind another").to_owned();
        vec![name.to_owned(), text("id"), text("type"), text("payment"), times, why]
    };
    endpoint.get(list).and_then(Value::as_array).into_iter().flatten().map(row).collect()
}
