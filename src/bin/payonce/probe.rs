//! `payonce probe`: measures what a gateway does, beside what its contract declares.

use std::{net::IpAddr, process::ExitCode, sync::Arc};

use axum::http::Uri;
use payonce::{
    Amount, Currency, IdempotencyKey, Invalid, Order,
    config::{ConfigError, GatewayChoice, Settings},
    gateway::{
        Gateway, parse_duration,
        probe::{Certainty, Check, Field, Finding, Plan, Probe, Report},
        sandbox::{Faults, Sandbox, SandboxGateway},
    },
};
use serde_json::json;

use crate::{
    exit,
    gateway::{self, GatewayArgs},
    output::{say, table},
};

/// The most movements that are looked through for one key: a probe of the sandbox makes a few hundred.
const LEDGER_LINES: usize = 100_000;
/// Always declined by the sandbox.
const SANDBOX_DECLINES: &str = "acct_decline_probe";

const EXAMPLES: &str = "\
Examples:
  payonce probe                                        a sandbox in this process: what a gateway should look like
  payonce probe --fault forget=1                       one that notices no repeat: what that looks like
  payonce probe --fault not-found-lag=1 --gateway-contract not_found_lag=100ms
  payonce probe --gateway http://127.0.0.1:7412        a gateway, or its test world, on this machine
  payonce probe --gateway https://api.example/v1 --amount 50 --currency USD --source acct_test --destination acct_shop \\
      --i-know-this-moves-money                        charges that account for real, about twenty times

It charges the source a few dozen times at the most (the number is said first), repeats, loses and asks about these
charges, and says for each check whether it was shown, not contradicted in as many tries, contradicted, or not measured.
Then it prints the contract that follows, to be pasted into flags or payonce.toml: what was declared, less whatever was
seen to be untrue. It never claims more than was declared: tries show that a promise is broken, never that it is kept.

It takes seconds; or up to --patience longer, where a request that it gave up on never arrived.
It refunds nothing. Give it a test account. A URL on this machine is taken for a test world, a tunnel included.
What a gateway declares is said with --gateway-contract, as for `serve`; PAYONCE_GATEWAY_CREDENTIAL is sent as there.

Exit codes: 0 nothing contradicts the declared contract, 1 something does, or no charge worked, 2 usage, 3 the gateway
cannot be reached.";

/// The flags of `probe`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct ProbeArgs {
    #[command(flatten)]
    gateway: GatewayArgs,
    /// What goes wrong in the sandbox, and how often (0 to 1), such as forget=1 (repeatable)
    #[arg(long = "fault", value_name = "KIND=PROBABILITY")]
    faults: Vec<String>,
    /// How much each charge is, in minor units; the smallest that the gateway takes
    #[arg(long, default_value_t = 100)]
    amount: u64,
    /// The ISO 4217 code, in capitals
    #[arg(long, default_value = "USD")]
    currency: String,
    /// Who pays
    #[arg(long, value_name = "ACCOUNT", default_value = "acct_probe_payer")]
    source: String,
    /// Who is paid
    #[arg(long, value_name = "ACCOUNT", default_value = "acct_probe_payee")]
    destination: String,
    /// Another one that can be paid, for the same key to another payee [default: DESTINATION_other]
    #[arg(long, value_name = "ACCOUNT")]
    other_destination: Option<String>,
    /// A source that the gateway always declines [default: none; the sandbox has one]
    #[arg(long, value_name = "ACCOUNT")]
    declining_source: Option<String>,
    /// How many times each check that chance plays into is made
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=100))]
    tries: u32,
    /// The longest that one payment is asked about, such as 90s [default: 60s]
    #[arg(long, value_name = "DURATION")]
    patience: Option<String>,
    /// Required unless the gateway is the sandbox or at a URL on this machine
    #[arg(long)]
    i_know_this_moves_money: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Measures, and says what was found.
pub(crate) async fn run(args: ProbeArgs) -> ExitCode {
    match probe(&args).await {
        Ok(code) => code,
        Err(Failure::Usage(why)) => {
            eprintln!("payonce probe: {why}");
            exit::usage()
        }
        Err(Failure::Unreached(why)) => {
            eprintln!("payonce probe: {why}");
            exit::refused()
        }
    }
}

/// Why nothing was measured.
enum Failure {
    Usage(String),
    Unreached(String),
}

impl From<ConfigError> for Failure {
    fn from(error: ConfigError) -> Failure {
        Failure::Usage(error.to_string())
    }
}

impl From<Invalid> for Failure {
    fn from(error: Invalid) -> Failure {
        Failure::Usage(error.to_string())
    }
}

async fn probe(args: &ProbeArgs) -> Result<ExitCode, Failure> {
    let settings = args.gateway.settings()?;
    let mut plan = plan(args)?;
    let (GatewayChoice::Http(url) | GatewayChoice::Stripe(url)) = &settings.gateway.choice else {
        let gateway = sandbox(args, &settings)?;
        plan.declining_source.get_or_insert_with(|| SANDBOX_DECLINES.to_owned());
        let sandbox = gateway.sandbox().clone();
        let witness = move |key| {
            let made = sandbox.statement(0, LEDGER_LINES).into_iter().filter(|movement| movement.operation_key == key);
            u64::try_from(made.count()).unwrap_or(u64::MAX)
        };
        return tell(args, &gateway, &plan, Probe::new(&gateway, plan.clone()).with_witness(witness)).await;
    };
    if !args.faults.is_empty() {
        return Err(Failure::Usage("--fault is for the sandbox in this process; this gateway has its own".to_owned()));
    }
    if !args.i_know_this_moves_money && !on_this_machine(url) {
        return Err(Failure::Usage(moves_money(url, &plan)));
    }
    let gateway: Arc<dyn Gateway> = gateway::build(&settings).map_err(|missing| match missing {
        gateway::Missing::Config(error) => Failure::from(error),
        gateway::Missing::Ledger(folder, error) => Failure::Usage(format!("{}: {error}", folder.display())),
    })?;
    tell(args, &*gateway, &plan, Probe::new(&*gateway, plan.clone())).await
}

fn plan(args: &ProbeArgs) -> Result<Plan, Failure> {
    let (amount, currency) = (Amount::new(args.amount)?, Currency::new(&args.currency)?);
    let order = Order::new(amount, currency, &args.source, &args.destination)?;
    // Never the same twice: a gateway answers keys that it has seen with what it did then.
    let run = IdempotencyKey::new(&uuid::Uuid::new_v4().to_string())?;
    let mut plan = Plan::new(run, order);
    plan.tries = args.tries;
    plan.declining_source.clone_from(&args.declining_source);
    if let Some(other) = &args.other_destination {
        plan.other_destination.clone_from(other);
    }
    if let Some(patience) = &args.patience {
        let usage = || Failure::Usage("--patience must be a duration, such as 90s".to_owned());
        plan.patience = parse_duration(patience).ok_or_else(usage)?;
    }
    Ok(plan)
}

/// In memory: a daemon may be using the one in the data folder.
fn sandbox(args: &ProbeArgs, settings: &Settings) -> Result<SandboxGateway, Failure> {
    let faults = args.faults.iter().try_fold(Faults::none(), |faults, one| faults.with_written(one))?;
    let gateway = SandboxGateway::new(Sandbox::in_memory(1, faults));
    let contract = settings.contract(gateway.contract())?;
    Ok(gateway.with_contract(contract))
}

/// Whether a URL names this machine, so that no account that matters is expected behind it.
fn on_this_machine(url: &str) -> bool {
    let host = url.parse::<Uri>().ok().and_then(|uri| uri.host().map(str::to_owned)).unwrap_or_default();
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    bare == "localhost" || bare.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

fn moves_money(url: &str, plan: &Plan) -> String {
    format!(
        "this moves money: up to {} charges of {} {} (minor units) at {url}, from {} to {}, and none is refunded.\n\
         Nothing was sent. Use a test account; then say --i-know-this-moves-money.",
        plan.most_sendings(),
        plan.order.amount,
        plan.order.currency,
        plan.order.source,
        plan.order.destination,
    )
}

async fn tell(args: &ProbeArgs, gateway: &dyn Gateway, plan: &Plan, probe: Probe<'_>) -> Result<ExitCode, Failure> {
    let unreached = |error: payonce::gateway::probe::Unreached| Failure::Unreached(error.to_string());
    let report = if args.json {
        let report = probe.run().await.map_err(unreached)?;
        say(as_json(&report, plan));
        report
    } else {
        introduce(gateway, plan);
        let report = probe.run_telling(&mut |finding| say(row(finding))).await.map_err(unreached)?;
        conclude(&report);
        report
    };
    match report.measured() && report.contradictions().next().is_none() {
        true => Ok(ExitCode::SUCCESS),
        false => Ok(exit::failed()),
    }
}

fn introduce(gateway: &dyn Gateway, plan: &Plan) {
    let contract = gateway.contract();
    say(format_args!("gateway   {}", contract.identity));
    say(format_args!("declared  {contract}"));
    let (amount, currency) = (plan.order.amount, plan.order.currency);
    say(format_args!("charging  up to {} times {amount} {currency} (minor units)\n", plan.most_sendings()));
}

/// One line of the table, told as soon as it is known.
fn row(finding: &Finding) -> String {
    let check = Check::ALL.iter().map(|check| check.title().len()).max().unwrap_or_default();
    let certainty = Certainty::NotContradicted.title().len();
    format!("{:check$}  {:certainty$}  {}", finding.check.title(), finding.certainty.title(), finding.seen)
}

fn conclude(report: &Report) {
    let contradictions = report.contradictions().count();
    say(match (report.measured(), contradictions) {
        (false, _) => "\nNothing was measured. The contract is as declared:\n".to_owned(),
        (true, 0) => "\nNothing contradicts the declared contract:\n".to_owned(),
        (true, 1) => "\nOne check contradicts the declared contract. What can be relied on:\n".to_owned(),
        (true, many) => format!("\n{many} checks contradict the declared contract. What can be relied on:\n"),
    });
    let fields: Vec<Vec<String>> = report
        .fields
        .iter()
        .map(|field| vec![field.name.to_owned(), field.value.clone(), field.origin.title().to_owned()])
        .collect();
    table(&["key", "value", "where it comes from"], &fields);
    say(format_args!("\nguarantee  {}", report.contract.guarantee()));
    say(format_args!("sent       {} charges, repeats included", report.sendings));
    say(format_args!("\nAs flags of serve:\n{}\n\nIn payonce.toml:\n{}", flags(&report.fields), toml(&report.fields)));
}

fn flags(fields: &[Field]) -> String {
    let flags = fields.iter().map(|field| format!("  --gateway-contract {}={}", field.name, field.value));
    flags.collect::<Vec<_>>().join(" \\\n")
}

fn toml(fields: &[Field]) -> String {
    let lines = fields.iter().map(|field| match field.value.parse::<u32>() {
        Ok(number) => format!("  {} = {number}", field.name),
        Err(_) => format!("  {} = \"{}\"", field.name, field.value),
    });
    std::iter::once("  [gateway_contract]".to_owned()).chain(lines).collect::<Vec<_>>().join("\n")
}

fn as_json(report: &Report, plan: &Plan) -> serde_json::Value {
    let findings = report.findings.iter().map(|finding| {
        json!({ "check": finding.check.as_str(), "certainty": finding.certainty.as_str(), "seen": finding.seen })
    });
    let fields = report
        .fields
        .iter()
        .map(|field| json!({ "key": field.name, "value": field.value, "origin": field.origin.as_str() }));
    json!({
        "gateway": report.declared.identity.to_string(),
        "run": plan.run.as_str(),
        "measured": report.measured(),
        "contradictions": report.contradictions().count(),
        "sendings": report.sendings,
        "findings": findings.collect::<Vec<_>>(),
        "declared": report.declared.to_string(),
        "contract": fields.collect::<Vec<_>>(),
        "guarantee": report.contract.guarantee(),
    })
}
