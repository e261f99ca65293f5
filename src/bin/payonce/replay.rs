//! `payonce replay`: a recorded journal through today's core.

use std::process::ExitCode;

use payonce::{
    config::{ConfigError, Settings},
    journal,
    payment::{Contract, Encoder, Identity, Rules},
    sim::{History, Report, decide_again, relive},
};
use serde_json::json;

use crate::{exit, gateway::GatewayArgs, journal::disk, output::say};

const EXAMPLES: &str = "\
Examples:
  payonce replay --data ./payonce-data               does today's payonce decide as was decided then?
  payonce replay --data ./payonce-data --seed 7      and lives each payment again: with faults, crashes and other luck
  payonce replay --data ./copy --gateway-contract not_found_times=5      under another contract

Reads the journal and changes nothing; may run beside the daemon. What was recorded under another contract or by an older
version may be decided otherwise today: each such fact is named. Exit 1: there are some, or a promise was broken in a life
that was lived again. Exit 3: the journal is damaged.";

/// How many payments share a world.
const TOGETHER: usize = 50;

/// The flags of `replay`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct ReplayArgs {
    /// The data folder [default: ./payonce-data]
    #[arg(long, value_name = "DIR")]
    data: Option<String>,
    #[command(flatten)]
    gateway: GatewayArgs,
    /// Live each payment again too, with the chance of this seed
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Runs.
pub(crate) fn run(args: &ReplayArgs) -> ExitCode {
    let settings = match settings(args) {
        Ok(settings) => settings,
        Err(error) => {
            eprintln!("payonce: {error}");
            return exit::usage();
        }
    };
    let history = match read(&settings) {
        Ok(history) => history,
        Err(why) => {
            eprintln!("payonce: {why}");
            return exit::refused();
        }
    };
    let lives = args.seed.map(|seed| live(seed, &history));
    let broken = tell(args, &history, lives.as_deref());
    if broken { exit::failed() } else { ExitCode::SUCCESS }
}

fn settings(args: &ReplayArgs) -> Result<Settings, ConfigError> {
    let mut settings = args.gateway.settings()?;
    args.data.as_ref().map_or(Ok(()), |data| settings.set_flag("data", data))?;
    Ok(settings)
}

fn read(settings: &Settings) -> Result<History, String> {
    let contract = settings.contract(&Contract::standard(Identity::default())).map_err(|error| error.to_string())?;
    let found = journal::open(disk(&settings.data)?, journal::Options::default()).map_err(|error| error.to_string())?;
    decide_again(&found, &Rules::new(contract, Encoder::plain())).map_err(|error| error.to_string())
}

fn live(seed: u64, history: &History) -> Vec<Report> {
    let lives = history.orders.chunks(TOGETHER).zip(0..);
    lives.map(|(orders, number)| relive(seed.wrapping_add(number), orders)).collect()
}

/// Says what was found; whether something is wrong.
fn tell(args: &ReplayArgs, history: &History, lives: Option<&[Report]>) -> bool {
    let broken: Vec<&Report> = lives.unwrap_or_default().iter().filter(|report| report.violation.is_some()).collect();
    let crashes: u64 = lives.unwrap_or_default().iter().map(|report| report.crashes).sum();
    if args.json {
        let disagreements = history
            .disagreements
            .iter()
            .map(|one| json!({"lsn": one.lsn.get(), "payment": one.payment.to_string(), "what": one.what}));
        say(json!({
            "records": history.records, "facts": history.facts, "payments": history.orders.len(),
            "disagreements": disagreements.collect::<Vec<_>>(), "worlds": lives.map(<[Report]>::len),
            "crashes": crashes, "violations": broken.len(),
        }));
        return !history.disagreements.is_empty() || !broken.is_empty();
    }
    for one in &history.disagreements {
        say(format_args!("record {}, payment {}: {}", one.lsn, one.payment, one.what));
    }
    say(format_args!(
        "{} records, {} facts about {} payments decided again: {} otherwise",
        history.records,
        history.facts,
        history.orders.len(),
        history.disagreements.len()
    ));
    if let Some(lives) = lives {
        say(format_args!("lived again in {} worlds with {crashes} crashes: {} broken", lives.len(), broken.len()));
    }
    for report in &broken {
        if let Some(violation) = &report.violation {
            eprintln!("seed {}: {violation}", report.seed);
        }
    }
    !history.disagreements.is_empty() || !broken.is_empty()
}
