//! `payonce replay`: a recorded journal through today's core.

use std::{path::PathBuf, process::ExitCode, sync::Arc};

use payonce::{
    config::Settings,
    disk::{Disk, OsDisk},
    journal,
    payment::{Contract, Identity, Namespace, Rules, Schedule},
    sim::{History, Report, decide_again, relive},
};
use serde_json::json;

use crate::{exit, output::say};

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
    /// The data folder
    #[arg(long, value_name = "DIR", default_value = "./payonce-data", env = "PAYONCE_DATA")]
    data: PathBuf,
    /// Live each payment again too, with the chance of this seed
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// What the gateway promises, as for `serve`
    #[arg(long, value_name = "KEY=VALUE")]
    gateway_contract: Vec<String>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Runs.
pub(crate) fn run(args: &ReplayArgs) -> ExitCode {
    let contract = match contract(args) {
        Ok(contract) => contract,
        Err(why) => {
            eprintln!("payonce: {why}");
            return exit::usage();
        }
    };
    let history = match read(args, contract) {
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

fn contract(args: &ReplayArgs) -> Result<Contract, String> {
    let mut settings = Settings::default();
    args.gateway_contract.iter().try_for_each(|pair| settings.set_flag("gateway_contract", pair)).map_err(text)?;
    settings.contract(&Contract::standard(Identity::default())).map_err(text)
}

fn text(error: impl ToString) -> String {
    error.to_string()
}

fn read(args: &ReplayArgs, contract: Contract) -> Result<History, String> {
    if !args.data.join("journal").is_dir() {
        return Err(format!("there is no journal in {}", args.data.display()));
    }
    let disk: Arc<dyn Disk> = Arc::new(OsDisk::new(&args.data).map_err(text)?);
    let found = journal::open(disk, journal::Options::default()).map_err(text)?;
    let (schedule, namespace) = (Schedule::default(), Namespace::default());
    let rules = Rules { contract, schedule, namespace, sending: true, restored: false };
    decide_again(&found, &rules).map_err(text)
}

fn live(seed: u64, history: &History) -> Vec<Report> {
    let mut seed = seed;
    let mut next = || {
        seed = seed.wrapping_add(1);
        seed.wrapping_sub(1)
    };
    history.orders.chunks(TOGETHER).map(|orders| relive(next(), orders)).collect()
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
