//! Opening: lock, read the journal, bring up the store, recover, and start the threads.

use std::{
    fmt, io,
    path::{Path, PathBuf},
    sync::Arc,
};

use tokio::{
    runtime::Handle,
    sync::{oneshot, watch},
};

use super::{
    calls::Calls,
    chance::{random, random_salt, seed},
    clock::Clock,
    desk::Desk,
    gateways::Lines,
    intake::{Intake, Owner},
    options::Options,
    rested::Rested,
    spares::SpareKeeper,
    stats::{Meter, TimedDisk},
    storekeeper::StoreKeeper,
    turner::Turner,
};
use crate::{
    disk::{Disk, FaultyDisk, FolderLock, LockError, OsDisk, boot_id, make_folder},
    engine::{self, Begin, Recovered, Stopped, check_mark, recover},
    journal::{self, Closed, Found, KEYS, Lsn, Reader},
    payment::{Audit, Contract, Deed, Distrust, Encoder, Identity, ImpossibleHorizon, Person, Route, Rulebook, Rules},
    store::{self, Condition, Expected, SledStore},
};

/// Why an engine was not opened. Nothing was sent.
#[derive(Debug)]
pub enum OpenError {
    /// Contract and schedule cannot both hold: a matter of configuration.
    Impossible(ImpossibleHorizon),
    /// Sizes that cannot be: a matter of configuration.
    Options(&'static str),
    /// Another process has the folder, or it lies where a lock means nothing.
    Lock(LockError),
    /// The folder, or a thread, could not be made.
    System {
        /// Doing what.
        what: String,
        /// What the system said.
        error: io::Error,
    },
    /// The folder's journal is gone, or is another's.
    JournalGone {
        /// The data folder.
        data: PathBuf,
    },
    /// The journal is damaged or cannot be read, or a newer one is missing.
    Engine(engine::OpenError),
    /// The store could not be made anew.
    Store(store::OpenError),
}

impl OpenError {
    /// Whether the configuration is at fault, rather than the data or the machine.
    pub const fn is_usage(&self) -> bool {
        matches!(self, OpenError::Impossible(_) | OpenError::Options(_))
    }
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            OpenError::Impossible(error) => write!(f, "the gateway's contract cannot be kept: {error}"),
            OpenError::Options(why) => f.write_str(why),
            OpenError::Lock(error) => error.fmt(f),
            OpenError::JournalGone { data } => write!(
                f,
                "{} held a journal, and now holds none, or another folder's: which payments were made is not known, and \
                 the same keys would charge again. Nothing was changed. Bring the folder `journal` back; only if it is \
                 lost for good, and every payment was settled by hand, begin with a new data folder",
                data.display()
            ),
            OpenError::System { what, error } => write!(f, "{what}: {error}"),
            OpenError::Engine(error) => error.fmt(f),
            OpenError::Store(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for OpenError {}

impl From<engine::OpenError> for OpenError {
    fn from(error: engine::OpenError) -> OpenError {
        OpenError::Engine(error)
    }
}

impl From<journal::OpenError> for OpenError {
    fn from(error: journal::OpenError) -> OpenError {
        OpenError::Engine(error.into())
    }
}

impl From<store::OpenError> for OpenError {
    fn from(error: store::OpenError) -> OpenError {
        OpenError::Store(error)
    }
}

pub(super) fn system(what: impl Into<String>) -> impl FnOnce(io::Error) -> OpenError {
    let what = what.into();
    move |error| OpenError::System { what, error }
}

/// What opening found and did, and what is promised from here on.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct OpenReport {
    /// What each gateway promises, and which it is, by the name of its route.
    pub contracts: Vec<(String, Contract)>,
    /// Why the store was rebuilt from the journal, if it was.
    pub rebuilt: Option<String>,
    /// How many records were replayed.
    pub replayed: u64,
    /// How many unresolved payments were taken up again.
    pub resumed: usize,
    /// Whether a last batch that was never acknowledged was found torn, and stepped over.
    pub torn: bool,
    /// Whether nothing is sent, because the folder is a copy or was restored.
    pub moved: bool,
    /// Whether personal data is sealed, so that it can be erased.
    pub sealed: bool,
    /// What an operator should know.
    pub warnings: Vec<String>,
}

impl fmt::Display for OpenReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} records replayed, {} unresolved payments taken up", self.replayed, self.resumed)?;
        if self.torn {
            write!(f, "\nthe last batch was torn by a crash before anybody was told of it: stepped over, and kept")?;
        }
        if let Some(why) = &self.rebuilt {
            write!(f, "\nthe store was rebuilt from the journal: {why}")?;
        }
        if self.moved {
            write!(
                f,
                "\nMOVED: this folder is a copy or was restored: money may have moved since. Payments are answered and \
                 asked about, but nothing is sent until `payonce serve --moved` has been said once, with the original \
                 stopped for good"
            )?;
        }
        if self.sealed {
            write!(f, "\npersonal data is sealed under a key for each tenant, in {KEYS}: keep copies of it apart")?;
        }
        self.warnings.iter().try_for_each(|warning| write!(f, "\nwarning: {warning}"))
    }
}

/// What the library's face needs of an opened engine.
pub(super) struct Opened {
    pub(super) intake: Owner,
    pub(super) report: OpenReport,
    pub(super) durable: watch::Receiver<Lsn>,
    pub(super) stopped: watch::Receiver<Option<Stopped>>,
    pub(super) reader: Reader,
    pub(super) rested: Arc<Rested>,
    pub(super) meter: Arc<Meter>,
}

/// Opens on a thread of its own, which then is the engine thread.
pub(super) async fn start(options: Options, lines: Arc<Lines>) -> Result<Opened, OpenError> {
    let tasks = Handle::current();
    let (tell, opened) = oneshot::channel();
    let run = move || {
        let (stopped, watch_stopped) = watch::channel(None);
        match open_or_rebuild(options, lines, tasks) {
            Err(error) => drop(tell.send(Err(error))),
            Ok((mut turner, lock, report, reader)) => {
                let door = turner.intake.clone();
                let durable = turner.durable.subscribe();
                let meter = turner.meter.clone();
                let rested = Arc::new(Rested::new(turner.machine.archive(), turner.intake.clone()));
                let (intake, its) = (Owner(turner.intake.clone()), rested.clone());
                let face = Opened { intake, report, durable, stopped: watch_stopped, reader, rested: its, meter };
                // Whoever asked may have gone: then its owner is dropped here, and the engine is abandoned.
                drop(tell.send(Ok(face)));
                run(turner, lock, &rested, &door, &stopped);
            }
        }
    };
    let spawned = std::thread::Builder::new().name("payonce-engine".to_owned()).spawn(run);
    spawned.map_err(system("the engine's thread could not be started"))?;
    opened.await.unwrap_or_else(|_| {
        let why = Stopped::new("opening panicked: a defect in this program, please report it");
        Err(OpenError::Engine(engine::OpenError::Stopped(why)))
    })
}

/// The engine thread's life. The lock is given up only after everything else has been let go of.
fn run(turner: Turner, lock: FolderLock, rested: &Rested, intake: &Intake, stopped: &watch::Sender<Option<Stopped>>) {
    let folder = turner.options.data.join(STORE);
    let ended = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| turner.run()));
    let ended = ended.unwrap_or_else(|_| Err(Stopped::new("the engine panicked: a defect, please report it")));
    rested.close();
    let why = match &ended {
        Ok(_) => Stopped::new("the engine was closed"),
        Err(why) => {
            tracing::error!(%why, "the engine has stopped");
            why.clone()
        }
    };
    if why.store_is_bad
        && let Err(error) = store::move_aside(&folder)
    {
        tracing::error!(%error, "the store could not be moved aside: remove it by hand");
    }
    stopped.send_replace(Some(why));
    intake.stop();
    drop(lock);
    for reply in ended.unwrap_or_default() {
        let _ = reply.send(());
    }
}

/// The store's folder in the data folder.
pub(super) const STORE: &str = "store";

type Ready = (Turner, FolderLock, OpenReport, Reader);

/// A store may look whole when it is opened, and turn out not to be when a start needs a row of it: the journal has it all.
fn open_or_rebuild(options: Options, lines: Arc<Lines>, tasks: Handle) -> Result<Ready, OpenError> {
    match open(options.clone(), lines.clone(), tasks.clone()) {
        Err(OpenError::Engine(engine::OpenError::Stopped(why))) if why.store_is_bad => {
            tracing::warn!(%why, "the store is moved aside, and rebuilt from the journal");
            let moved = store::move_aside(&options.data.join(STORE));
            moved.map_err(system("the store could not be moved aside"))?;
            open(options, lines, tasks)
        }
        opened => opened,
    }
}

fn open(options: Options, lines: Arc<Lines>, tasks: Handle) -> Result<Ready, OpenError> {
    options.check().map_err(OpenError::Options)?;
    let contracts: Vec<(String, Contract)> =
        lines.routes().iter().map(|route| (route.name.clone(), route.contract.clone())).collect();
    for (_, contract) in &contracts {
        options.schedule.check(contract).map_err(OpenError::Impossible)?;
    }
    let data = options.data.clone();
    make_folder(&data).map_err(system(format!("{} could not be made", data.display())))?;
    let lock = FolderLock::take(&data).map_err(OpenError::Lock)?;
    let meter = Arc::new(Meter::new(&contracts));
    let disk = TimedDisk::new(disk(&options)?, meter.clone());
    let found = journal::open(Arc::new(disk), journal_options(&options))?;
    check_journal(&lock, &found, &data)?;
    let found = found.sealing(options.seal_personal_data, seed()?)?;
    let folder = found.store_uuid().unwrap_or_else(random);
    let strange = found.lock_inode().is_some_and(|inode| inode != lock.inode());
    let moved = strange && !options.moved;
    let (store, rebuilt) = bring_up_store(&options, &found, folder, strange)?;
    let store: Arc<SledStore> = Arc::new(store);
    let mut report = OpenReport {
        contracts,
        rebuilt: rebuilt.clone(),
        replayed: 0,
        resumed: 0,
        torn: found.stepped_over_torn_batch(),
        moved,
        sealed: found.seal().is_some(),
        warnings: lock.warning().into_iter().collect(),
    };
    report.warnings.extend(unread(&found));
    let mut clock = Clock::start(options.schedule.skew, found.last_wall().unwrap_or_default(), &data);
    let begin = Begin {
        rules: rulebook(&options, &lines, moved),
        journal: journal::Begin {
            store_uuid: folder,
            salt: random_salt(),
            boot_id: boot_id().unwrap_or_default(),
            // While nobody has said that the move was meant, the folder stays one that was moved.
            lock_inode: if moved { found.lock_inode().unwrap_or_default() } else { lock.inode() },
        },
        rebuild: rebuilt.is_some(),
        moved,
        distrust: if strange { Some(Distrust::Folder) } else { clock.was_wrong().then_some(Distrust::Clock) },
        now: clock.now().wall,
    };
    let Recovered { mut machine, resume, replayed, .. } = recover(found, store.clone(), begin)?;
    if let Some(watch) = &options.duplicates {
        machine.watch(watch.clone(), machine.last_wall())?;
    }
    // Not `folder`: a first start that was cut short may have named the folder already.
    lock.note_journal(&machine.mark().store).map_err(system("the lock file could not be written"))?;
    clock.doubted().map_err(system("the note of a wrong clock could not be removed"))?;
    lines.note(machine.pauses(), machine.is_draining());
    report.warnings.extend(machine.pauses().iter().map(|pause| paused(pause, &lines)));
    report.replayed = replayed;
    report.resumed = resume.len();
    let intake = Arc::new(Intake::new(options.queue));
    let calls = Calls::new(lines.clone(), tasks, intake.clone(), meter.clone());
    let keeper = StoreKeeper::start(store, intake.clone(), meter.clone())
        .map_err(system("the store's thread could not be started"))?;
    let spares =
        SpareKeeper::start(machine.spare_maker(), &options.data).map_err(system("a thread could not be started"))?;
    let (reader, (durable, _)) = (machine.reader(), watch::channel(machine.durable()));
    let resume = resume.into();
    let desk = Desk::new(&lines);
    let turner = Turner { machine, intake, lines, calls, keeper, spares, clock, options, durable, resume, desk, meter };
    turner.note_beginning();
    Ok((turner, lock, report, reader))
}

fn unread(found: &Found) -> Option<String> {
    let mebibytes = found.unverified_bytes() >> 20;
    let warning = || format!("{mebibytes} MiB of old journal were not read; `payonce journal verify` does");
    (found.unverified_bytes() > 0).then(warning)
}

/// What an operator should know of a pause that is in force.
fn paused(pause: &Audit, lines: &Lines) -> String {
    let Person { actor, reason } = &pause.person;
    let (Deed::Pause { name, gateway } | Deed::Resume { name, gateway }) = &pause.deed else { return String::new() };
    match lines.place_of(gateway) {
        Some(_) => format!("gateway {name} ({gateway}) is paused, by {actor}: {reason}"),
        None => format!("gateway {name} ({gateway}) was paused, by {actor}, and is not configured any more: {reason}"),
    }
}

fn rulebook(options: &Options, lines: &Lines, moved: bool) -> Rulebook {
    let first = lines.routes().first().cloned();
    let Route { contract, encoder, .. } =
        first.unwrap_or(Route::new("", Contract::standard(Identity::default()), Encoder::plain()));
    let rules = Rules {
        schedule: options.schedule.clone(),
        namespace: options.namespace.clone(),
        sending: !moved,
        policies: options.policies,
        ..Rules::new(contract, encoder)
    };
    Rulebook::of_routes(rules, lines.routes().to_vec())
}

/// The real one, and before it the failure that a test may have asked for.
fn disk(options: &Options) -> Result<Arc<dyn Disk>, OpenError> {
    let real = OsDisk::new(&options.data).map_err(system(format!("{}", options.data.display())))?;
    Ok(match options.disk_fault {
        Some(fault) => Arc::new(FaultyDisk::new(Arc::new(real), fault)),
        None => Arc::new(real),
    })
}

pub(super) fn journal_options(options: &Options) -> journal::Options {
    journal::Options {
        segment_bytes: options.segment_bytes,
        batch_bytes: options.batch_bytes,
        verify_bytes: options.verify_bytes,
        ..journal::Options::default()
    }
}

/// A journal that is gone must not be taken for a new folder: it would charge every key again.
fn check_journal(lock: &FolderLock, found: &Found, data: &Path) -> Result<(), OpenError> {
    match lock.journal().map_err(system("the lock file could not be read"))? {
        Some(noted) if found.store_uuid() != Some(noted) => Err(OpenError::JournalGone { data: data.to_owned() }),
        Some(_) | None => Ok(()),
    }
}

/// The store, and why it has to be rebuilt, if it has to.
fn bring_up_store(
    options: &Options,
    found: &Found,
    folder: [u8; 16],
    strange: bool,
) -> Result<(SledStore, Option<String>), OpenError> {
    let path = options.data.join(STORE);
    let store_options = store::Options {
        cache_bytes: options.store_cache_bytes,
        filter_bytes: options.store_filter_bytes,
        ..store::Options::default()
    };
    // A store that was built anew since then has files of its own; and while it runs, sled also shortens its log: lengths
    // mean something only after an orderly stop.
    let closed = found.closed().filter(|closed| !rebuilt_since(&path, closed));
    let files = closed.map_or([].as_slice(), |closed| closed.files.as_slice());
    let expected = Expected { store: folder, applied: found.flushed(), files };
    let opening = store::open(&path, &store_options, &expected)?;
    let why = match opening.condition {
        Condition::Kept { mark } => {
            let whole = check_mark(found, &mark)?;
            distrust(found, strange, &path).or((!whole).then_some("it lacks what was noted as flushed"))
        }
        Condition::Fresh if found.last() == Lsn::ZERO => None,
        Condition::Fresh => return Ok((opening.store, Some("it was not there".to_owned()))),
        Condition::MovedAside { to, why } => {
            let why = format!("it was unusable ({why}); what was there is kept in {}", name(&to));
            return Ok((opening.store, Some(why)));
        }
    };
    let Some(why) = why else { return Ok((opening.store, None)) };
    drop(opening.store);
    store::move_aside(&path).map_err(system("the store could not be moved aside"))?;
    let opening = store::open(&path, &store_options, &Expected { store: folder, applied: Lsn::ZERO, files: &[] })?;
    Ok((opening.store, Some(why.to_owned())))
}

/// In the store's folder: the close mark since which it was built anew.
const REBUILT: &str = "rebuilt";

fn rebuilt_since(store: &Path, closed: &Closed) -> bool {
    std::fs::read_to_string(store.join(REBUILT)).is_ok_and(|noted| noted == format!("{closed:?}"))
}

/// Notes that a store was built anew after this close mark, whose lengths are of the old one.
pub(super) fn note_rebuilt(store: &Path, closed: &Closed) -> io::Result<()> {
    let path = store.join(REBUILT);
    std::fs::write(&path, format!("{closed:?}"))?;
    std::fs::File::open(path)?.sync_all()
}

/// In the store's folder, and moved aside with it: a write or a flush of it has failed.
const FAILED: &str = "failed";

/// Notes durably that a write or a flush of the store has failed (P8: what failed once is not asked again).
pub(super) fn note_failed(store: &Path) -> io::Result<()> {
    std::fs::File::create(store.join(FAILED))?.sync_all()?;
    std::fs::File::open(store)?.sync_all()
}

/// Why a store that opened well cannot be trusted all the same.
fn distrust(found: &Found, strange: bool, store: &Path) -> Option<&'static str> {
    if strange {
        return Some("the data folder is a copy or was restored");
    }
    if store.join(FAILED).exists() {
        return Some(
            "a write or a flush of it failed, and the disk may hold less of it than the system's memory shows",
        );
    }
    let same_boot = boot_id().is_some_and(|boot| Some(boot) == found.boot_id());
    let unclean = found.closed().is_none() && !found.is_new();
    (unclean && !same_boot).then_some("the machine was restarted without a clean stop, and may have lost parts of it")
}

fn name(path: &Path) -> String {
    path.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned())
}
