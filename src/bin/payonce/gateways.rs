//! `payonce gateways`: which there are and how each stands; pausing one, and resuming it.

use std::process::ExitCode;

use clap::Subcommand;
use serde_json::{Value, json};

use crate::{
    client::{Ask, Target, Told, encoded, field},
    output::{columns, say},
};

const EXAMPLES: &str = "\
Examples:
  payonce gateways                                                     which there are, and how each stands
  payonce gateways pause eu --actor alice --reason 'it charges twice'  nothing more is sent there
  payonce gateways resume eu --actor alice --reason 'they mended it'

While a gateway is paused nothing is sent to it that was not sent before; what became of that is still asked. New payments
go to another gateway that is for them, or are told to come back. It lasts until it is resumed, over restarts too.";

/// The flags of `gateways`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES, args_conflicts_with_subcommands = true)]
pub(crate) struct GatewaysArgs {
    #[command(subcommand)]
    command: Option<GatewaysCommand>,
    #[command(flatten)]
    target: Target,
}

/// What to do with one.
#[derive(Debug, Subcommand)]
enum GatewaysCommand {
    /// Have nothing more sent to it
    Pause(One),
    /// Have it sent to again
    Resume(One),
}

#[derive(Debug, clap::Args)]
struct One {
    /// The gateway's name in the configuration
    name: String,
    #[command(flatten)]
    person: PersonArgs,
    #[command(flatten)]
    target: Target,
}

/// Who acts, and why: kept for ever.
#[derive(Debug, clap::Args)]
pub(crate) struct PersonArgs {
    /// Who does it
    #[arg(long, value_name = "NAME")]
    actor: String,
    /// Why
    #[arg(long, value_name = "TEXT")]
    reason: String,
}

impl PersonArgs {
    pub(crate) fn body(&self) -> Value {
        json!({ "actor": self.actor, "reason": self.reason })
    }
}

/// Lists, pauses or resumes.
pub(crate) fn run(args: &GatewaysArgs) -> ExitCode {
    let (one, what, now) = match &args.command {
        None => return list(&args.target),
        Some(GatewaysCommand::Pause(one)) => (one, "pause", "paused: nothing more is sent to it"),
        Some(GatewaysCommand::Resume(one)) => (one, "resume", "resumed: it is sent to again"),
    };
    let path = format!("/v1/gateways/{}/{what}", encoded(&one.name));
    match one.target.ask(Ask::post(path, one.person.body())) {
        Ok(told) if one.target.json => say(&told.text),
        Ok(told) => {
            let identity = field(&told.value, "identity").unwrap_or_default();
            say(format_args!("{} ({identity}) is {now}", one.name));
        }
        Err(refusal) => return refusal.show(),
    }
    ExitCode::SUCCESS
}

fn list(target: &Target) -> ExitCode {
    let Told { value, .. } = match target.ask(Ask::get("/v1/stats".to_owned())) {
        Ok(told) => told,
        Err(refusal) => return refusal.show(),
    };
    let gateways = value.get("gateways").and_then(Value::as_array);
    if target.json {
        say(json!({ "gateways": gateways }));
        return ExitCode::SUCCESS;
    }
    for (place, gateway) in gateways.into_iter().flatten().enumerate() {
        if place > 0 {
            say("");
        }
        let text = |name| field(gateway, name).unwrap_or_default().to_owned();
        let number = |name| gateway.get(name).map(Value::to_string).unwrap_or_default();
        columns(&[
            ("name", text("name")),
            ("is", text("identity")),
            ("stands", standing(gateway)),
            ("contract", text("contract")),
            ("so", text("guarantee")),
            ("calls", format!("{} of {} under way", number("calling"), number("slots"))),
        ]);
    }
    ExitCode::SUCCESS
}

/// How it stands, in a sentence: the worst first.
fn standing(gateway: &Value) -> String {
    if let Some(pause) = gateway.get("paused").filter(|pause| pause.is_object()) {
        let text = |name| field(pause, name).unwrap_or_default();
        return format!("paused since {} by {}: {}", text("since"), text("actor"), text("reason"));
    }
    let failing = gateway.get("failing").and_then(Value::as_u64).unwrap_or_default();
    let why = field(gateway, "last_failure").unwrap_or("no reason told");
    if gateway.get("shut").and_then(Value::as_bool) == Some(true) {
        return format!("does not answer ({why}): left alone for a while");
    }
    match gateway.get("last_heard_seconds").and_then(Value::as_f64) {
        _ if failing > 0 => format!("the last {failing} calls came to nothing that was understood ({why})"),
        Some(seconds) => format!("answered {seconds:.0} s ago"),
        None => "not called yet".to_owned(),
    }
}
