//! `payonce torture`: a real daemon on real files, killed over and over, against a faulty gateway whose ledger is the
//! truth, under callers who forget nothing.
//!
//! Knows nothing of the engine's insides: it starts this program's own commands, and speaks HTTP with them.

mod record;

mod process;

mod wire;

mod caller;

mod small_disk;

mod killer;

mod audit;

mod report;

use std::{
    fs, io,
    path::PathBuf,
    process::ExitCode,
    thread::{self, ScopedJoinHandle},
    time::{Duration, Instant},
};

use payonce::{gateway::sandbox::Fault, sim::Rng};

use crate::exit;
use audit::Audit;
use caller::{Caller, Told};
use killer::{Killer, Until};
use process::{Process, Site};
use record::{Promise, Record};
use report::{Progress, Report};
use small_disk::SmallDisk;
use wire::Wire;

/// How often each does.
const OFTEN: f64 = 0.05;

/// What is true of the sandbox: its latest act comes 3 s after the request, its longest denial lasts 2 s, and a busy
/// machine gets a second or two more. The deadline is ours: half of the delayed replies miss it.
const CONTRACT: [&str; 3] = ["max_processing=5s", "not_found_lag=3s", "deadline=1s"];

/// With every fault off, everything is known after quarantine (10 s), three askings, and pauses of up to 16 s; then a
/// busy machine's share.
const SETTLE: Duration = Duration::from_secs(120);
/// How long nothing may be left to find out before the next gateway has its turn: a start takes up its payments sooner.
const QUIET: Duration = Duration::from_secs(1);

const EXAMPLES: &str = "\
Examples:
  payonce torture --seconds 60                     every fault at 5 %, kill -9 about every second, 64 callers
  payonce torture --seconds 60 --forget            a gateway that does not notice repeats, and a daemon that knows it
  payonce torture --kills 60 --change-gateway      started with other gateways and accounts in between
  payonce torture --kills 220 --start-share 100    nearly all of them before it is ready

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
    /// How many callers pay at once
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = clap::value_parser!(u64).range(1..=1024))]
    callers: u64,
    /// How many starts of a hundred are killed before they are ready: half of them within 50 ms
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
    /// Keep the data on a small filesystem that is full at times; needs root
    #[arg(long)]
    small_disk: bool,
    /// Where data and logs go, and stay; must be new or empty [default: a temporary folder, kept only after a failure]
    #[arg(long, value_name = "DIR")]
    keep: Option<PathBuf>,
    /// Print the result as JSON
    #[arg(long)]
    json: bool,
}

/// Runs, and judges.
pub(crate) fn run(args: &TortureArgs) -> ExitCode {
    let (site, disk) = match prepare(args) {
        Ok(prepared) => prepared,
        Err(why) => {
            eprintln!("payonce: {why}");
            return exit::usage();
        }
    };
    let (began, record) = (Instant::now(), Record::default());
    let ran = Run::begin(args, &site, &record, disk.as_ref()).and_then(Run::through);
    let kept = (args.keep.is_some() || ran.is_err() || record.is_broken()).then_some(site.folder.as_path());
    let seen = record.read(Clone::clone);
    let report = Report { seen: &seen, seed: args.seed, lasted: began.elapsed(), kept };
    let tidied = tidy(&site, disk, &report);
    report.print(args.json);
    if let Err(error) = ran.and(tidied) {
        eprintln!("payonce: the torture itself failed: {error}; look into {}", site.folder.display());
        return exit::failed();
    }
    if record.is_broken() { exit::failed() } else { ExitCode::SUCCESS }
}

/// Makes the scratch folder, and the small filesystem if one is wanted.
fn prepare(args: &TortureArgs) -> Result<(Site, Option<SmallDisk>), String> {
    let temporary = std::env::temp_dir().join(format!("payonce-torture-{}-{}", args.seed, std::process::id()));
    let folder = args.keep.clone().unwrap_or(temporary);
    let unusable = |error| format!("cannot use {}: {error}", folder.display());
    let mut site = Site::make(folder.clone()).map_err(unusable)?;
    if !args.small_disk {
        return Ok((site, None));
    }
    let place = site.folder.join("disk");
    site.data = place.join("data");
    match SmallDisk::mount(place) {
        Ok(disk) => Ok((site, Some(disk))),
        Err(error) => {
            // What was made for it is empty.
            let _ = fs::remove_dir_all(&site.folder);
            Err(format!("skipped: no small filesystem can be mounted here ({error}); it takes root"))
        }
    }
}

/// Keeps what is to be kept, and removes the rest.
fn tidy(site: &Site, disk: Option<SmallDisk>, report: &Report<'_>) -> io::Result<()> {
    let Some(folder) = report.kept else {
        drop(disk);
        return fs::remove_dir_all(&site.folder);
    };
    disk.map_or(Ok(()), |disk| disk.keep(&folder.join("data")))?;
    if report.seen.broken.is_empty() { Ok(()) } else { report.write_evidence(folder) }
}

/// One run.
struct Run<'a> {
    args: &'a TortureArgs,
    site: &'a Site,
    disk: Option<&'a SmallDisk>,
    record: &'a Record,
    dice: Rng,
    /// The gateways' processes, and where each is.
    sandboxes: Vec<(Process, String)>,
    /// The daemon's flags, one set for each gateway or account.
    gateways: Vec<Vec<String>>,
    progress: Progress,
}

impl<'a> Run<'a> {
    fn begin(
        args: &'a TortureArgs,
        site: &'a Site,
        record: &'a Record,
        disk: Option<&'a SmallDisk>,
    ) -> io::Result<Run<'a>> {
        let faults = faults(args);
        let names: &[&str] = if args.change_gateway { &["gateway", "stranger"] } else { &["gateway"] };
        let started = names.iter().map(|name| site.start_sandbox(name, args.seed, &faults));
        let sandboxes = started.collect::<io::Result<Vec<_>>>()?;
        let mut gateways: Vec<Vec<String>> = sandboxes.iter().map(|(_, url)| flags(args, url)).collect();
        if let (true, Some((_, url))) = (args.change_gateway, sandboxes.first()) {
            gateways.push([flags(args, url), vec!["--gateway-account".to_owned(), "another".to_owned()]].concat());
        }
        Ok(Run { args, site, disk, record, dice: Rng::new(args.seed), sandboxes, gateways, progress: Progress::new() })
    }

    /// Kills, lets everything settle, and compares.
    fn through(mut self) -> io::Result<()> {
        let sandboxes: Vec<String> = self.sandboxes.iter().map(|(_, url)| url.clone()).collect();
        let (record, deduplicates, bulky) = (self.record, !self.args.forget, self.disk.is_some());
        let audit = Audit { record, wire: Wire::new(), sandboxes: &sandboxes, deduplicates };
        let dice: Vec<Rng> = (0..self.args.callers).map(|_| self.dice.fork()).collect();
        let (daemon, told) = thread::scope(|scope| {
            let start = |(number, dice)| scope.spawn(move || Caller::new(record, number, dice, bulky).run());
            let callers: Vec<_> = (0..).zip(dice).map(start).collect();
            let settled = self.kill().and_then(|()| self.settle(&audit, &callers));
            // Whoever is still at it would wait for ever.
            record.give_up();
            let told: thread::Result<Vec<Vec<Told>>> = callers.into_iter().map(ScopedJoinHandle::join).collect();
            let told = told.map_err(|_| io::Error::other("a caller panicked"));
            settled.and_then(|daemon| Ok((daemon, told?.concat())))
        })?;
        match daemon {
            Some(daemon) if !record.is_broken() => self.judge(daemon, &audit, &told),
            Some(_) | None => Ok(()),
        }
    }

    fn kill(&mut self) -> io::Result<()> {
        let until = match (self.args.kills, self.args.seconds) {
            (_, Some(seconds)) => Until::Time { began: Instant::now(), lasts: Duration::from_secs(seconds) },
            (kills, None) => Until::Kills(kills.unwrap_or(100)),
        };
        let (site, record, gateways) = (self.site, self.record, self.gateways.as_slice());
        let start_share = self.args.start_share;
        let mut killer = Killer {
            site,
            record,
            dice: self.dice.fork(),
            gateways,
            start_share,
            until,
            disk: self.disk,
            cut_short: 0,
        };
        let progress = &self.progress;
        let killed = killer.run(|done| {
            let (kills, settled) = record.read(|seen| (seen.kills, seen.settled));
            progress.draw(done, &format!("{kills} kills, {settled} payments settled"));
        });
        progress.clear();
        killed
    }

    /// Faults off: every gateway has its turn until every caller knows what became of all that it asked for.
    fn settle(&self, audit: &Audit<'_>, callers: &[ScopedJoinHandle<'_, Vec<Told>>]) -> io::Result<Option<Process>> {
        let record = self.record;
        if record.is_broken() {
            // The evidence stays as it is.
            return Ok(None);
        }
        audit.calm().map_err(io::Error::other)?;
        record.finish();
        let turns = if self.gateways.len() > 1 { 2 } else { 1 };
        for flags in self.gateways.iter().cycle().take(turns * self.gateways.len()) {
            let Some(daemon) = killer::start(self.site, record, flags)? else { return Ok(None) };
            let (began, mut noise) = (Instant::now(), Instant::now());
            while began.elapsed() < SETTLE && !record.is_over() {
                self.progress.draw(1_000, "settling");
                if callers.iter().all(ScopedJoinHandle::is_finished) {
                    return Ok(Some(daemon));
                }
                thread::sleep(Duration::from_millis(50));
                if turns == 1 || !audit.is_quiet().map_err(io::Error::other)? {
                    noise = Instant::now();
                }
                if noise.elapsed() > QUIET {
                    break;
                }
            }
            if record.is_over() || turns == 1 {
                // What is not settled by now is named by the audit.
                return Ok(Some(daemon));
            }
            killer::stop(self.site, record, daemon)?;
        }
        killer::start(self.site, record, self.gateways.first().map_or(&[][..], Vec::as_slice))
    }

    /// After one more stop and start, all that is known must agree; and the journal must be whole.
    fn judge(&self, daemon: Process, audit: &Audit<'_>, told: &[Told]) -> io::Result<()> {
        killer::stop(self.site, self.record, daemon)?;
        let usual = self.gateways.first().map_or(&[][..], Vec::as_slice);
        let Some(daemon) = killer::start(self.site, self.record, usual)? else { return Ok(()) };
        self.progress.draw(1_000, "comparing");
        let compared = audit.run(told).map_err(io::Error::other);
        self.progress.clear();
        compared?;
        killer::stop(self.site, self.record, daemon)?;
        if !self.site.verify()?.success() {
            self.record.broke(Promise::Damaged, "`payonce journal verify` finds damage: see verify.log");
        }
        Ok(())
    }
}

/// What may go wrong at the gateway: all but `forget`, which breaks the gateway's contract, and so comes with another one.
fn troubles() -> impl Iterator<Item = Fault> {
    Fault::ALL.into_iter().filter(|kind| *kind != Fault::Forget)
}

/// What goes wrong, and how often.
fn faults(args: &TortureArgs) -> Vec<(String, f64)> {
    // To act twice on one delivery is the gateway's own mistake where it does not deduplicate.
    let kinds = troubles().filter(|kind| !(args.forget && *kind == Fault::Twice));
    let forgetting = (args.forget || args.broken_gateway).then_some((Fault::Forget, 1.0));
    kinds.map(|kind| (kind, OFTEN)).chain(forgetting).map(|(kind, often)| (kind.as_str().to_owned(), often)).collect()
}

/// The daemon's flags for a gateway.
fn flags(args: &TortureArgs, url: &str) -> Vec<String> {
    let mut flags = vec!["--gateway".to_owned(), url.to_owned()];
    // The smallest segments: more of them begin and end.
    flags.extend(["--segment-bytes", "8388608"].map(str::to_owned));
    for promise in CONTRACT.into_iter().chain(args.forget.then_some("dedup=none")) {
        flags.extend(["--gateway-contract".to_owned(), promise.to_owned()]);
    }
    flags
}
