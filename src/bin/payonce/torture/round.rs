//! One round: kill, let everything settle, and compare.

use std::{
    io,
    sync::mpsc,
    thread::{self, ScopedJoinHandle},
    time::{Duration, Instant},
};

use payonce::{gateway::sandbox::Fault, sim::Rng};

use super::{
    TortureArgs,
    asked::Told,
    audit::Audit,
    caller::{Caller, Habits},
    gateway::{Gateway, TWO, come_and_go, configure},
    killer::{self, Killer, State},
    person::Person,
    process::{Process, Site, disk_use},
    record::{Promise, Record},
    relay::Relay,
    small_disk::SmallDisk,
    troubles,
    wire::Wire,
};

/// How often each does.
const OFTEN: f64 = 0.05;

/// What is true of the sandbox: its latest act comes 3 s after the request, its longest denial lasts 2 s, and a busy
/// machine gets a second or two more. The deadline is ours: half of the delayed replies miss it.
const CONTRACT: [&str; 3] = ["max_processing=5s", "not_found_lag=3s", "deadline=1s"];

/// With every fault off, everything is known after quarantine (10 s), three askings, and pauses of up to 16 s; then a
/// busy machine's share.
const SETTLE: Duration = Duration::from_secs(120);
/// When a person looks: the last act of a gateway comes 3 s after a sending of at most 1 s.
const PERSON: Duration = Duration::from_secs(10);
/// In how many rounds gateways say nothing by themselves: one in so many.
const SILENT: u64 = 3;
/// In how many rounds the daemon has two gateways: one in so many.
const TWO_GATEWAYS: u64 = 2;
/// How long nothing may be left to find out before the next gateway has its turn: a start takes up its payments sooner.
const QUIET: Duration = Duration::from_secs(1);

/// One round.
pub(super) struct Round<'a> {
    args: &'a TortureArgs,
    site: &'a Site,
    disk: Option<&'a SmallDisk>,
    record: &'a Record,
    dice: Rng,
    /// The way to the daemon for gateways that speak by themselves, where they do.
    relay: Option<Relay>,
    sandboxes: Vec<Gateway>,
    /// Whether the daemon has both of two at once.
    has_two: bool,
    /// The daemon's flags, one set for each gateway or account that it is started with.
    gateways: Vec<Vec<String>>,
}

impl<'a> Round<'a> {
    pub(super) fn begin(
        args: &'a TortureArgs,
        site: &'a Site,
        record: &'a Record,
        disk: Option<&'a SmallDisk>,
        mut dice: Rng,
    ) -> io::Result<Round<'a>> {
        let faults = faults(args);
        let seed = dice.draw();
        let has_two = !args.change_gateway && Rng::new(seed ^ 1).one_in(TWO_GATEWAYS);
        let names = TWO.iter().take(if args.change_gateway || has_two { 2 } else { 1 });
        let relay = (!Rng::new(seed).one_in(SILENT)).then(Relay::new).transpose()?;
        let started = names.map(|name| {
            let called = if has_two { name } else { "default" };
            let news = relay.as_ref().map(|relay| relay.flags(called)).transpose()?;
            Gateway::start(site, name, seed, &faults, news.unwrap_or_default())
        });
        let sandboxes = started.collect::<io::Result<Vec<_>>>()?;
        let gateways = if has_two {
            record.note(|seen| seen.rounds_of_two += 1);
            vec![[configure(site, &sandboxes, &contract(args))?, usual()].concat()]
        } else {
            let urls = sandboxes.iter().map(|gateway| flags(args, &gateway.url));
            let first = sandboxes.first().filter(|_| args.change_gateway);
            let another = || vec!["--gateway-account".to_owned(), "another".to_owned()];
            urls.chain(first.map(|gateway| [flags(args, &gateway.url), another()].concat())).collect()
        };
        Ok(Round { args, site, disk, record, dice, relay, sandboxes, has_two, gateways })
    }

    /// Kills so often at most, lets everything settle, and compares.
    pub(super) fn through(mut self, kills: u64) -> io::Result<()> {
        let mut sandboxes = std::mem::take(&mut self.sandboxes);
        let urls: Vec<String> = sandboxes.iter().map(|gateway| gateway.url.clone()).collect();
        let (site, record, deduplicates) = (self.site, self.record, !self.args.forget);
        // What the daemon gives back by itself, where a void came too late, no caller would wait for at another gateway.
        let crosses = !self.args.change_gateway;
        let habits = Habits { bulky: self.disk.is_some(), crosses, chooses: self.has_two };
        let audit = Audit { record, wire: Wire::new(), sandboxes: &urls, deduplicates };
        let dice: Vec<Rng> = (0..self.args.callers).map(|_| self.dice.fork()).collect();
        let (daemon, told) = thread::scope(|scope| {
            let start = |(number, dice)| scope.spawn(move || Caller::new(record, number, dice, habits).run());
            let callers: Vec<_> = (0..).zip(dice).map(start).collect();
            if let Some(relay) = self.relay.take() {
                scope.spawn(move || relay.run(record));
            }
            let (outages, ends) = mpsc::channel();
            let dice = self.dice.fork();
            let fickle = self.has_two.then(|| scope.spawn(|| come_and_go(&mut sandboxes, site, record, dice, ends)));
            let killed = self.killer(kills).run();
            drop(outages);
            let came_back = fickle.map_or(Ok(Ok(())), ScopedJoinHandle::join);
            let came_back = came_back.unwrap_or_else(|_| Err(io::Error::other("what stops the gateways panicked")));
            let settled = killed.and(came_back).and_then(|()| self.settle(&audit, &callers));
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

    fn killer(&mut self, kills: u64) -> Killer<'_> {
        Killer {
            site: self.site,
            record: self.record,
            dice: self.dice.fork(),
            gateways: &self.gateways,
            start_share: self.args.start_share,
            disk_faults: self.args.disk_faults,
            disk: self.disk,
            round: kills,
            state: State::default(),
        }
    }

    /// Faults off: every gateway has its turn until every caller knows what became of all that it asked for.
    fn settle(&self, audit: &Audit<'_>, callers: &[ScopedJoinHandle<'_, Vec<Told>>]) -> io::Result<Option<Process>> {
        let record = self.record;
        if record.is_over() {
            // The evidence stays as it is.
            return Ok(None);
        }
        audit.calm().map_err(io::Error::other)?;
        record.finish();
        let person = Person { record, wire: Wire::new(), sandboxes: audit.sandboxes };
        let turns = if self.gateways.len() > 1 { 2 } else { 1 };
        for flags in self.gateways.iter().cycle().take(turns * self.gateways.len()) {
            let Some(daemon) = killer::start(self.site, record, flags)? else { return Ok(None) };
            let (began, mut noise, mut looks) = (Instant::now(), Instant::now(), PERSON);
            while began.elapsed() < SETTLE && !record.is_over() {
                // The daemon may still be giving something back by itself.
                if callers.iter().all(ScopedJoinHandle::is_finished)
                    && (turns > 1 || audit.is_quiet().map_err(io::Error::other)?)
                {
                    return Ok(Some(daemon));
                }
                thread::sleep(Duration::from_millis(50));
                if began.elapsed() > looks {
                    person.look().map_err(io::Error::other)?;
                    looks += QUIET;
                }
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
        audit.run(told).map_err(io::Error::other)?;
        killer::stop(self.site, self.record, daemon)?;
        let bytes = disk_use(&self.site.data)?;
        self.record.note(|seen| seen.data_bytes = bytes);
        if !self.site.verify()?.success() {
            self.record.broke(Promise::Damaged, "`payonce journal verify` finds damage: see verify.log");
        }
        Ok(())
    }
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
    let contract = contract(args).into_iter().flat_map(|promise| ["--gateway-contract", promise]);
    let gateway = ["--gateway", url].into_iter().chain(contract).map(str::to_owned);
    gateway.chain(usual()).collect()
}

/// What a gateway is said to be like.
fn contract(args: &TortureArgs) -> Vec<&'static str> {
    CONTRACT.into_iter().chain(args.forget.then_some("dedup=none")).collect()
}

/// The smallest segments: more of them begin and end.
fn usual() -> Vec<String> {
    ["--segment-bytes", "8388608"].map(str::to_owned).into()
}
