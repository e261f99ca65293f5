//! `payonce simulate`: whole worlds from seeds.

use std::{
    process::ExitCode,
    sync::atomic::{AtomicU64, Ordering},
    time::Instant,
};

use payonce::sim::{Options, Points, Report, every_crash_point, run as live, scripts, shrink};
use serde_json::json;

use crate::{exit, output::say};

const EXAMPLES: &str = "\
Examples:
  payonce simulate --seed 42                 one world, told line by line
  payonce simulate --seeds 1000              a thousand worlds
  payonce simulate --seeds 10000 --json      for a script
  payonce simulate --points 4                a stop at each IO step of scripted scenarios, and at each of the next start

Each world runs the real core, journal and recovery over a disk that loses what was not synced, a gateway as bad as its
contract allows, and callers who retry and conflict; processes die anywhere, also while starting. After every step every
promise is asked for. Exit 1: one was broken; the seed, the promise and the payment's story are printed.";

/// The flags of `simulate`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct SimulateArgs {
    /// The first seed; alone, its world is told line by line
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// How many worlds [default: 1]
    #[arg(long, value_name = "K")]
    seeds: Option<u64>,
    /// Every crash point instead: each with 17 endings, this many rounds of other chance
    #[arg(long, value_name = "ROUNDS")]
    points: Option<u64>,
    /// How many payments in each
    #[arg(long, value_name = "N", default_value_t = 100)]
    payments: u32,
    /// How many worlds at a time [default: one a core]
    #[arg(long, value_name = "N")]
    threads: Option<usize>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Runs.
pub(crate) fn run(args: &SimulateArgs) -> ExitCode {
    let began = Instant::now();
    if let Some(rounds) = args.points {
        return points(args, rounds, began);
    }
    let reports = match args.seeds {
        None => vec![live(args.seed, Options { payments: args.payments, tell: !args.json, ..Options::default() })],
        Some(seeds) => campaign(args, seeds),
    };
    if args.seeds.is_none() {
        reports.iter().flat_map(|report| &report.story).for_each(say);
    }
    let seconds = began.elapsed().as_secs_f64();
    sum(args, &reports, seconds);
    match reports.iter().find(|report| report.violation.is_some()) {
        Some(broken) => tell_broken(args, broken),
        None => ExitCode::SUCCESS,
    }
}

/// Every crash point, each round with other chance.
fn points(args: &SimulateArgs, rounds: u64, began: Instant) -> ExitCode {
    let next = AtomicU64::new(0);
    let kinds = u64::try_from(scripts()).unwrap_or(1);
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let work = || {
        let mut total = Points::default();
        loop {
            let turn = next.fetch_add(1, Ordering::Relaxed);
            let (round, script) = (turn / kinds, turn % kinds);
            if round >= rounds || total.violation.is_some() {
                return total;
            }
            let script = usize::try_from(script).unwrap_or_default();
            total = total.plus(every_crash_point(script, args.seed.wrapping_add(round), 1));
        }
    };
    let total = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..args.threads.unwrap_or(cores)).map(|_| scope.spawn(work)).collect();
        let done = workers.into_iter().map(|worker| worker.join().unwrap_or_default());
        done.fold(Points::default(), Points::plus)
    });
    let seconds = began.elapsed().as_secs_f64();
    match args.json {
        true => say(json!({
            "points": total.points, "in_recovery": total.in_recovery, "failed": total.failed, "rotten": total.rotten,
            "refused": total.refused, "violations": u8::from(total.violation.is_some()), "seconds": seconds,
        })),
        false => say(format_args!(
            "{} crash points in {seconds:.1} s: {} while starting, {} with a disk that failed or was full, {} with rotten \
             media, of which {} starts were refused by name and the others had lost nothing",
            total.points, total.in_recovery, total.failed, total.rotten, total.refused
        )),
    }
    let Some(violation) = total.violation else { return ExitCode::SUCCESS };
    eprintln!("{violation}");
    exit::failed()
}

/// Many worlds, on as many threads as there are cores; stops at the first broken promise.
fn campaign(args: &SimulateArgs, seeds: u64) -> Vec<Report> {
    let (next, broken) = (AtomicU64::new(0), AtomicU64::new(0));
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let work = || {
        let mut reports = Vec::new();
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            if number >= seeds || broken.load(Ordering::Relaxed) > 0 {
                return reports;
            }
            let options = Options { payments: args.payments, ..Options::default() };
            let report = live(args.seed.wrapping_add(number), options);
            broken.fetch_add(u64::from(report.violation.is_some()), Ordering::Relaxed);
            reports.push(report);
        }
    };
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..args.threads.unwrap_or(cores)).map(|_| scope.spawn(work)).collect();
        workers.into_iter().flat_map(|worker| worker.join().unwrap_or_default()).collect()
    })
}

fn sum(args: &SimulateArgs, reports: &[Report], seconds: f64) {
    let total = |of: fn(&Report) -> u64| reports.iter().map(of).sum::<u64>();
    let violations = reports.iter().filter(|report| report.violation.is_some()).count();
    let payments = total(|report| report.payments);
    let minutes = u32::try_from(total(|report| report.virtual_ms) / 60_000).map_or(f64::INFINITY, f64::from);
    let rate = u32::try_from(payments).map_or(f64::INFINITY, f64::from) / seconds;
    let days = minutes / 1_440.0;
    if args.json {
        return say(json!({
            "seeds": reports.len(), "payments": payments, "violations": violations,
            "crashes": total(|report| report.crashes), "crashes_in_recovery": total(|report| report.crashes_in_recovery),
            "settled": total(|report| report.settled), "parked": total(|report| report.parked),
            "sendings": total(|report| report.sendings), "inquiries": total(|report| report.inquiries),
            "events": total(|report| report.events), "checks": total(|report| report.checks),
            "virtual_days": days, "seconds": seconds, "payments_per_s": rate, "virtual_days_per_minute": days * 60.0 / seconds,
        }));
    }
    say(format_args!(
        "{} worlds, {payments} payments ({} settled, {} parked), {} crashes ({} while starting), {} sendings, {} \
         inquiries, {days:.0} days in {seconds:.1} s; {} promises asked for, {violations} broken",
        reports.len(),
        total(|report| report.settled),
        total(|report| report.parked),
        total(|report| report.crashes),
        total(|report| report.crashes_in_recovery),
        total(|report| report.sendings),
        total(|report| report.inquiries),
        total(|report| report.checks),
    ));
}

/// The shortest story with the same end.
fn tell_broken(args: &SimulateArgs, broken: &Report) -> ExitCode {
    let Some(violation) = &broken.violation else { return ExitCode::SUCCESS };
    let short = shrink(broken.seed, Options { payments: args.payments, ..Options::default() });
    let about = short.violation.as_ref().and_then(|violation| violation.payment).map(|payment| payment.to_string());
    let concerns = |line: &&String| match &about {
        Some(payment) => line.contains(payment.as_str()) || !line.contains(" of ") && !line.contains("caller:"),
        None => true,
    };
    short.story.iter().filter(concerns).for_each(say);
    eprintln!("seed {}: {violation}", broken.seed);
    if let Some(shorter) = &short.violation {
        eprintln!("the story above is a shorter world of the same seed, where {shorter}");
    }
    eprintln!("again, whole: payonce simulate --seed {} --payments {}", broken.seed, args.payments);
    exit::failed()
}
