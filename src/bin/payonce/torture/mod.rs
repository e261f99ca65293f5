//! `payonce torture`: a real daemon on real files, killed over and over, against a faulty gateway whose ledger is the
//! truth, under callers who forget nothing.
//!
//! Knows nothing of the engine's insides: it starts this program's own commands, and speaks HTTP with them.

mod goal;

mod record;

mod process;

mod relay;

mod gateway;

mod wire;

mod asked;

mod caller;

mod small_disk;

mod killer;

mod disk_fault;

mod person;

mod ledgers;

mod audit;

mod round;

mod arena;

mod report;

use std::{
    fs, io,
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Arc,
    thread::{self, ScopedJoinHandle},
    time::{Duration, Instant},
};

use payonce::{gateway::sandbox::Fault, sim::Rng};
use tokio::signal::unix::{SignalKind, signal};

use crate::exit;
use arena::Arena;
use goal::{Goal, Until};
use process::Site;
use record::Seen;
use report::{Progress, Report};
use small_disk::{Kind, SmallDisk};

/// How often the bar is drawn.
const PROGRESS: Duration = Duration::from_millis(50);

const EXAMPLES: &str = "\
Examples:
  payonce torture --seconds 60                     every fault at 5 %, kill -9 again and again, 64 callers
  payonce torture --kills 5000 --arenas 2          the campaign: two daemons at a time, each on its own
  payonce torture --seconds 60 --disk-faults       at times the disk under the journal fails as well
  payonce torture --seconds 60 --forget            a gateway that does not notice repeats, and a daemon that knows it
  payonce torture --kills 60 --change-gateway      started with other gateways and accounts in between
  payonce torture --kills 220 --start-share 100    nearly all of them before it is ready
  payonce torture --seconds 60 --small-disk=ext4   a real filesystem of 512 MiB, full at times (root)

With --disk-faults some daemons run over a disk that fails once, by a hidden flag: `serve --disk-fault KIND:N`, where
KIND is write (EIO, half written), full (ENOSPC, half written), fsync (EIO, and what was not synced is gone) or fsync-kept
(EIO, and it stays for now), and N says which write or fsync of that process. When a batch is hit the daemon must stop with
exit code 3 without another word, and the next start must come up with nothing lost.

One round in two has two gateways in the daemon's configuration, of which one after the other is gone for up to a second,
so that payments go over to the other one (not with --change-gateway).
Callers also capture, void and refund, in parts, two at once, and void what is still under way.
In two rounds of three the gateways also speak by themselves: before the reply, twice, out of order, or not at all; and
somebody else speaks in their name.
What is compared: every answer with every later one, and with the gateway's ledger. Rounds of 400 kills, each in a new
folder, bound what the disk and the comparing take.
Ctrl-C: no further kill, but what was done is compared and reported.
Exits with 0 if every promise was kept, and with 1 if not: then the data folder and the logs are kept.";

/// The flags of `torture`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct TortureArgs {
    /// Kill so often [default: 100]
    #[arg(long, value_name = "N", conflicts_with = "seconds")]
    kills: Option<u64>,
    /// Kill for so long
    #[arg(long, value_name = "N")]
    seconds: Option<u64>,
    /// Steers chance: whom, when and how; the scheduling of processes it cannot steer
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// How many daemons are tortured at a time, each with gateways, callers and a folder of its own
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=64))]
    arenas: u64,
    /// How many callers pay at once, in each arena
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = clap::value_parser!(u64).range(1..=1024))]
    callers: u64,
    /// How many kills of a hundred come before the daemon is ready, anywhere in its start
    #[arg(long, value_name = "PERCENT", default_value_t = 20, value_parser = clap::value_parser!(u64).range(0..=100))]
    start_share: u64,
    /// The gateway does not deduplicate, and the daemon is told so: payments may park, none may move money twice
    #[arg(long)]
    forget: bool,
    /// The gateway moves money twice on one delivery, which nobody can prevent: shows what a failure looks like
    #[arg(long, conflicts_with = "forget")]
    broken_gateway: bool,
    /// Start it with another gateway, or another account, now and then
    #[arg(long)]
    change_gateway: bool,
    /// Let the disk under the journal fail at times, in a write or an fsync
    #[arg(long)]
    disk_faults: bool,
    /// Keep the data on a small filesystem that is full at times; needs root
    #[arg(long, value_name = "KIND", num_args = 0..=1, require_equals = true, default_missing_value = "tmpfs")]
    small_disk: Option<Kind>,
    /// Where data and logs go, and stay; must be new or empty [default: a temporary folder, kept only after a failure]
    #[arg(long, value_name = "DIR")]
    keep: Option<PathBuf>,
    /// Print the result as JSON
    #[arg(long)]
    json: bool,
}

/// Runs, and judges.
pub(crate) fn run(args: &TortureArgs) -> ExitCode {
    let folder = match prepare(args) {
        Ok(folder) => folder,
        Err(why) => {
            eprintln!("payonce: {why}");
            return exit::usage();
        }
    };
    let began = Instant::now();
    let (seen, ran) = run_arenas(args, &folder);
    let kept = args.keep.is_some() || ran.is_err() || !seen.broken.is_empty();
    let tidied = if kept { Ok(()) } else { fs::remove_dir_all(&folder) };
    let kept = kept.then_some(folder.as_path());
    let report = Report { seen: &seen, arenas: args.arenas, seed: args.seed, lasted: began.elapsed(), kept };
    report.print(args.json);
    if let Err(error) = ran.and(tidied) {
        eprintln!("payonce: the torture itself failed: {error}; look into {}", folder.display());
        return exit::failed();
    }
    if seen.broken.is_empty() { ExitCode::SUCCESS } else { exit::failed() }
}

/// Makes the scratch folder, and sees whether a small filesystem can be mounted if one is wanted.
fn prepare(args: &TortureArgs) -> Result<PathBuf, String> {
    let temporary = std::env::temp_dir().join(format!("payonce-torture-{}-{}", args.seed, std::process::id()));
    let folder = args.keep.clone().unwrap_or(temporary);
    let site = Site::make(folder.clone()).map_err(|error| format!("cannot use {}: {error}", folder.display()))?;
    let mounted = args.small_disk.map_or(Ok(()), |kind| SmallDisk::mount(kind, site.folder.join("disk")).map(drop));
    if let Err(error) = mounted {
        // What was made for it is empty.
        let _ = fs::remove_dir_all(&site.folder);
        return Err(format!("skipped: no small filesystem can be mounted here ({error}); it takes root"));
    }
    Ok(site.folder)
}

/// All of them at the same time; what they have seen is added up.
fn run_arenas(args: &TortureArgs, folder: &Path) -> (Seen, io::Result<()>) {
    let goal = Arc::new(Goal::new(match (args.kills, args.seconds) {
        (_, Some(seconds)) => Until::Time { began: Instant::now(), lasts: Duration::from_secs(seconds) },
        (kills, None) => Until::Kills(kills.unwrap_or(100)),
    }));
    if let Err(error) = heed_signals(Arc::clone(&goal)) {
        return (Seen::default(), Err(error));
    }
    let mut dice = Rng::new(args.seed);
    let folder = |number| if args.arenas == 1 { folder.to_owned() } else { folder.join(format!("arena-{number}")) };
    let progress = Progress::new();
    let ended: Vec<_> = thread::scope(|scope| {
        let start = |number| {
            let (goal, folder) = (Arc::clone(&goal), folder(number));
            let arena = Arena { args, goal, folder, number, dice: dice.fork() };
            scope.spawn(|| arena.run())
        };
        let arenas: Vec<_> = (0..args.arenas).map(start).collect();
        while !arenas.iter().all(ScopedJoinHandle::is_finished) {
            progress.draw(goal.progress(), &goal.to_string());
            thread::sleep(PROGRESS);
        }
        arenas.into_iter().map(ScopedJoinHandle::join).collect()
    });
    progress.clear();
    let (mut total, mut ran) = (Seen::default(), Ok(()));
    for one in ended {
        match one {
            Ok((seen, result)) => {
                total.add(seen);
                ran = ran.and(result);
            }
            Err(_) => ran = ran.and(Err(io::Error::other("an arena panicked"))),
        }
    }
    if goal.is_given_up() && total.broken.is_empty() {
        ran = ran.and(Err(io::Error::other("it was told to end before everything was compared")));
    }
    (total, ran)
}

/// SIGINT and SIGTERM end the killing; the second one ends everything, with what was seen so far.
fn heed_signals(goal: Arc<Goal>) -> io::Result<()> {
    let signals = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    let heed = async move {
        let Ok(mut terminate) = signal(SignalKind::terminate()) else { return };
        let Ok(mut interrupt) = signal(SignalKind::interrupt()) else { return };
        loop {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
            goal.cut_short();
        }
    };
    // It ends with the process.
    thread::Builder::new().name("payonce-signals".to_owned()).spawn(move || signals.block_on(heed)).map(drop)
}

/// What may go wrong at the gateway: all but `forget`, which breaks the gateway's contract, and so comes with another one,
/// and `challenge`, which waits for a person.
fn troubles() -> impl Iterator<Item = Fault> {
    Fault::ALL.into_iter().filter(|kind| !matches!(kind, Fault::Forget | Fault::Challenge))
}
