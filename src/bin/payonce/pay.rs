//! `payonce pay`: makes a payment, or joins or replays the one of that key.

use std::{process::ExitCode, time::Duration};

use serde_json::{Map, Value, json};

use crate::{
    client::{Ask, Target, field, quoted},
    exit,
    output::{columns, say},
};

const EXAMPLES: &str = "\
Examples:
  payonce pay --key order-1234 --amount 1050 --currency USD --source acct_alice --destination acct_bob
  payonce pay --key order-1235 --amount 500 --currency JPY --source acct_alice --destination acct_bob --manual
  payonce pay --key order-1236 ... --description 'two coffees' --metadata table=7 --metadata waiter=carol

Exits with 0 if the payment succeeded or is authorized, and with 1 if it was declined, canceled or refused, or is not
settled yet. To repeat the command is always safe.";

const KEY_REQUIRED: &str = "\
payonce: --key is required: it is the payment's name.
The same key is the same payment, however often it is sent: if an answer is lost, repeat the command and no money moves
twice. Without a key, a repeat would be a second payment. Take a name that your own records have, such as order-1234.";

/// The flags of `pay`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct PayArgs {
    /// The payment's name: the same key never pays twice (required)
    #[arg(long)]
    key: Option<String>,
    /// How much, in minor units: 1050 is 10.50 USD, or 1050 JPY
    #[arg(long)]
    amount: u64,
    /// The ISO 4217 code, in capitals
    #[arg(long)]
    currency: String,
    /// Who pays
    #[arg(long, value_name = "ACCOUNT")]
    source: String,
    /// Who is paid
    #[arg(long, value_name = "ACCOUNT")]
    destination: String,
    /// Authorize only; capture later
    #[arg(long)]
    manual: bool,
    /// For people
    #[arg(long, value_name = "TEXT")]
    description: Option<String>,
    /// For your own use (repeatable)
    #[arg(long, value_name = "KEY=VALUE", value_parser = pair)]
    metadata: Vec<(String, String)>,
    /// Nothing is sent after this time, such as 2030-01-31T12:00:00Z
    #[arg(long, value_name = "TIME")]
    expires_at: Option<String>,
    /// Pay although it looks like another payment of a moment ago
    #[arg(long)]
    meant: bool,
    /// The gateway that it must go to, by its name in the daemon's configuration
    #[arg(long, value_name = "NAME")]
    gateway: Option<String>,
    /// How long to wait for the outcome, in seconds, up to 60
    #[arg(long, value_name = "SECONDS", default_value_t = 10, value_parser = clap::value_parser!(u64).range(0..=60))]
    wait: u64,
    #[command(flatten)]
    target: Target,
}

fn pair(text: &str) -> Result<(String, String), &'static str> {
    let (key, value) = text.split_once('=').ok_or("must be KEY=VALUE")?;
    Ok((key.to_owned(), value.to_owned()))
}

/// Pays.
pub(crate) fn run(args: &PayArgs) -> ExitCode {
    let Some(key) = &args.key else {
        eprintln!("{KEY_REQUIRED}");
        return exit::usage();
    };
    let mut ask = Ask::post("/v1/payments".to_owned(), order(args));
    ask.headers.push(("Idempotency-Key", quoted(key)));
    ask.headers.push(("Prefer", format!("wait={}", args.wait)));
    if args.meant {
        ask.headers.push(("Payonce-Duplicate", "meant".to_owned()));
    }
    ask.wait = Duration::from_secs(args.wait);
    let told = match args.target.ask(ask) {
        Ok(told) => told,
        Err(refusal) => return refusal.show(),
    };
    match args.target.json {
        true => say(&told.text),
        false => show(&told.value, told.replayed),
    }
    match field(&told.value, "state") {
        Some("succeeded" | "authorized") => ExitCode::SUCCESS,
        Some(_) | None => exit::failed(),
    }
}

fn order(args: &PayArgs) -> Value {
    let mut order = json!({
        "amount": args.amount, "currency": args.currency, "source": args.source, "destination": args.destination,
    });
    if let Some(fields) = order.as_object_mut() {
        if args.manual {
            fields.insert("capture".to_owned(), json!("manual"));
        }
        if !args.metadata.is_empty() {
            let pairs = args.metadata.iter().map(|(key, value)| (key.clone(), json!(value)));
            fields.insert("metadata".to_owned(), Value::Object(Map::from_iter(pairs)));
        }
        let texts = [("description", &args.description), ("expires_at", &args.expires_at), ("gateway", &args.gateway)];
        for (name, value) in texts {
            if let Some(value) = value {
                fields.insert(name.to_owned(), json!(value));
            }
        }
    }
    order
}

fn show(payment: &Value, replayed: bool) {
    let mut rows = summary(payment);
    if replayed {
        rows.push(("replayed", "yes: this payment was settled before, and nothing moved now".to_owned()));
    }
    if payment.get("settled_at").is_some_and(Value::is_null) {
        let id = field(payment, "id").unwrap_or_default();
        rows.push(("next", format!("not settled yet: `payonce show {id}`, or repeat this command")));
    }
    columns(&rows);
}

/// What everybody wants to know of a payment first.
pub(crate) fn summary(payment: &Value) -> Vec<(&'static str, String)> {
    let text = |name| field(payment, name).unwrap_or_default();
    let amount = payment.get("amount").map(Value::to_string).unwrap_or_default();
    let mut rows = vec![
        ("state", text("state").to_owned()),
        ("id", text("id").to_owned()),
        ("amount", format!("{amount} {} (minor units)", text("currency"))),
        ("from", text("source").to_owned()),
        ("to", text("destination").to_owned()),
    ];
    rows.extend(outcome(payment).map(|said| ("outcome", said)));
    if let Some(url) = payment.get("next_action").and_then(|next| field(next, "url")) {
        rows.push(("payer must", format!("go to {url}")));
    }
    for (label, name) in [
        ("reference", "gateway_reference"),
        ("about", "description"),
        ("created", "created_at"),
        ("settled", "settled_at"),
    ] {
        if let Some(value) = field(payment, name).filter(|value| !value.is_empty()) {
            rows.push((label, value.to_owned()));
        }
    }
    rows
}

/// Why a payment or an operation stands where it does, if there is a reason to tell.
pub(crate) fn outcome(body: &Value) -> Option<String> {
    let outcome = body.get("outcome").filter(|outcome| outcome.is_object())?;
    let (code, message) = (field(outcome, "code"), field(outcome, "message"));
    let said: Vec<&str> = [code, message].into_iter().flatten().filter(|text| !text.is_empty()).collect();
    Some(said.join(": "))
}
