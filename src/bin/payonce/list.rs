//! `payonce list`: many payments, a page at a time.

use std::process::ExitCode;

use crate::{
    client::{Ask, Target, encoded, field},
    output::{say, table},
    show::rows,
};

const EXAMPLES: &str = "\
Examples:
  payonce list
  payonce list --state parked          what a person has to decide about: see `payonce resolve`
  payonce list --attention             what a person should look at, settled or not
  payonce list --limit 500 --json";

/// The flags of `list`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct ListArgs {
    /// Only in this state: processing, requires_action, authorized, succeeded, declined, in_doubt, parked, canceled
    #[arg(long)]
    state: Option<String>,
    /// Only what a person should look at: parked, contradicted by later news, or money that did not go back
    #[arg(long)]
    attention: bool,
    /// At most this many, up to 500
    #[arg(long, value_name = "N")]
    limit: Option<u32>,
    /// Go on where a page ended
    #[arg(long, value_name = "CURSOR")]
    after: Option<String>,
    #[command(flatten)]
    target: Target,
}

/// Lists.
pub(crate) fn run(args: &ListArgs) -> ExitCode {
    let limit = args.limit.map(|limit| limit.to_string());
    let attention = args.attention.then(|| "true".to_owned());
    let parameters = [("state", &args.state), ("attention", &attention), ("limit", &limit), ("after", &args.after)];
    let given = parameters.iter().filter_map(|(name, value)| Some(format!("{name}={}", encoded(value.as_ref()?))));
    let query = given.collect::<Vec<_>>().join("&");
    let told = match args.target.ask(Ask::get(format!("/v1/payments?{query}"))) {
        Ok(told) => told,
        Err(refusal) => return refusal.show(),
    };
    if args.target.json {
        say(&told.text);
        return ExitCode::SUCCESS;
    }
    let fields = ["id", "state", "amount", "currency", "source", "destination", "created_at"];
    table(&["id", "state", "amount", "", "from", "to", "created"], &rows(&told.value, "payments", &fields));
    if let Some(next) = field(&told.value, "next") {
        let flags = [("state", &args.state), ("limit", &limit)];
        let attention = if args.attention { " --attention" } else { "" };
        let same = flags.iter().filter_map(|(name, value)| Some(format!(" --{name} {}", value.as_ref()?)));
        say(format_args!("\nmore: payonce list{attention}{} --after {next}", same.collect::<String>()));
    }
    ExitCode::SUCCESS
}
