//! A start: the journal replayed, what is unresolved carried into a new epoch, and then the ordinary path again.
//!
//! Replay only folds. What was under way is not acted on here: each unresolved payment comes back as an input
//! ([`Recovered::resume`]) to an ordinary turn.

use std::{collections::BTreeMap, fmt, sync::Arc};

use super::{
    Machine, Resting, Stopped,
    checkpoint::Checkpointing,
    inbox::{Inbox, operation_key},
    overlay::Entry,
    overlay::Overlay,
    read,
};
use crate::{
    journal::{self, AppendError, Found, Lsn, Opened, Record, ReplayFrom, Seal},
    payment::{
        Audit, Distrust, Event, Fact, Input, OperationKey, Payment, PaymentId, Pursuit, Rulebook, Tenant, Timestamp,
        apply, doubt, fold_pauses,
    },
    store::{Mark, Row, Store},
};

/// Rows put into the store at once: sled took 1.4 GB for batches of 4,000 where batches of 500 cost nothing.
const ROWS_AT_ONCE: usize = 500;

/// What is gathered while replaying, in bytes of memory, before it is put in the order of its ids: where ids have no order,
/// each of a few would go into a pack of its own, which is read and written anew for it. Fifty thousand usual payments take
/// this much; of large ones, which may have 100 KB and more, a few hundred do.
const GATHERED: usize = 48 << 20;

/// What a payment takes in memory besides what its caller wrote, for each of its operations; about.
const OPERATION: usize = 1024;

/// What a start needs to be told.
#[derive(Clone, Debug)]
pub struct Begin {
    /// What every decision will follow.
    pub rules: Rulebook,
    /// The new epoch's chance, and which boot and lock it runs under.
    pub journal: journal::Begin,
    /// Whether the store is empty, or cannot be trusted, so that the whole journal must be replayed into it.
    pub rebuild: bool,
    /// Whether the folder was found moved, and nobody has said yet that this was meant.
    pub moved: bool,
    /// What this start cannot rely on, if anything.
    pub distrust: Option<Distrust>,
    /// The wall clock.
    pub now: Timestamp,
}

/// A machine that is ready, and what it found.
pub struct Recovered {
    /// Ready: its opening is durable.
    pub machine: Machine,
    /// The unresolved payments, each to be taken up again by an ordinary turn.
    pub resume: Vec<(PaymentId, Input)>,
    /// How many records were replayed.
    pub replayed: u64,
    /// How many records of the last batch, whose durability was not evident, were recorded again.
    pub relogged: usize,
    /// How many rows the store was given.
    pub rows: u64,
}

/// Why a start failed. Nothing was sent.
#[derive(Debug)]
pub enum OpenError {
    /// The journal is damaged, or cannot be read.
    Journal(journal::OpenError),
    /// The journal is older than the store: durable records were lost.
    JournalLost {
        /// What the store says it holds.
        store: Lsn,
        /// What the journal holds.
        journal: Lsn,
    },
    /// The new epoch could not be recorded.
    Append(AppendError),
    /// The store failed, or the journal contradicts itself.
    Stopped(Stopped),
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            OpenError::Journal(error) => error.fmt(f),
            OpenError::JournalLost { store, journal } => write!(
                f,
                "the store holds the journal up to record {store}, which the journal (up to record {journal}) does not \
                 show: durable records were lost, or an older copy of the journal was put in place. Nothing was \
                 changed and nothing will be sent. Bring the newer journal back; only if it is lost for good, and every \
                 payment since was settled by hand, remove the folder `store`"
            ),
            OpenError::Append(error) => error.fmt(f),
            OpenError::Stopped(stopped) => stopped.fmt(f),
        }
    }
}

impl std::error::Error for OpenError {}

impl From<journal::OpenError> for OpenError {
    fn from(error: journal::OpenError) -> OpenError {
        OpenError::Journal(error)
    }
}

impl From<AppendError> for OpenError {
    fn from(error: AppendError) -> OpenError {
        OpenError::Append(error)
    }
}

impl From<Stopped> for OpenError {
    fn from(stopped: Stopped) -> OpenError {
        OpenError::Stopped(stopped)
    }
}

/// Whether the store's mark is one that this journal can have led to, and how far it may be trusted: `Ok(false)` if
/// it lacks what its checkpoint promised, so that it must be rebuilt.
pub fn check_mark(found: &Found, mark: &Mark) -> Result<bool, OpenError> {
    if mark.applied == Lsn::ZERO {
        return Ok(found.last() == Lsn::ZERO); // Otherwise a rebuild was cut short.
    }
    let lost = OpenError::JournalLost { store: mark.applied, journal: found.last() };
    if mark.applied > found.last() {
        return Err(lost);
    }
    let promised = found.checkpoint().map_or(Lsn::ZERO, |checkpoint| checkpoint.upto);
    if mark.applied < promised {
        return Ok(false);
    }
    match found.chain_at(mark.applied) {
        Some(chain) if chain == mark.chain => Ok(true),
        Some(_) | None => Err(lost),
    }
}

/// Rebuilds a machine from the journal, and opens a new epoch.
pub fn recover(found: Found, store: Arc<dyn Store>, begin: Begin) -> Result<Recovered, OpenError> {
    let mut replay = Replay::new(&found, store.as_ref())?;
    let from = if begin.rebuild { ReplayFrom::Beginning } else { ReplayFrom::Checkpoint };
    found.replay(from, &mut |lsn, _, record| replay.take(lsn, record))?;
    replay.put_rows()?;
    let Replay { mut live, inbox, pauses, replayed, rows, .. } = replay;
    let again = found.to_record_again()?;
    let last_wall = found.last_wall().unwrap_or_default();
    let seal = found.seal().cloned();
    let journal = found.begin(begin.journal)?;
    let mut machine = Machine {
        rules: begin.rules,
        epoch: journal.epoch(),
        durable: (journal.last(), journal.position().chain),
        at: journal.position(),
        folder: journal.store_uuid(),
        spares: journal.spare_maker(),
        journal,
        seal,
        store,
        overlay: Overlay::default(),
        inbox,
        guard: None,
        pauses,
        draining: false,
        // What had to be replayed now would have to be replayed again.
        checkpoint: Checkpointing::new(replayed.saturating_mul(512)),
        last_wall: last_wall.max(begin.now),
        full_until: None,
    };
    machine.note_pauses();
    let relogged = again.len();
    let doubted = begin.distrust.map_or(Vec::new(), |distrust| doubts(&live, distrust, machine.last_wall));
    let strange = begin.distrust == Some(Distrust::Folder);
    machine.open_epoch(begin.now, begin.moved, again, &live, &doubted, strange)?;
    doubted.iter().try_for_each(|event| fold_doubt(&mut live, event))?;
    let rows = rows + machine.take_over(live, begin.rebuild)?;
    if let Some(Err(error)) = machine.seal.as_ref().map(|seal| seal.note_told()) {
        tracing::info!(%error, "the next start tells the journal of the same erasures again");
    }
    if let Err(error) = machine.journal.clean_up() {
        tracing::info!(%error, "unused space of older segments was not given back; the next start tries again");
    }
    let resume = machine.overlay.entries(None).map(|entry| (entry.payment.id, Input::Resume)).collect();
    Ok(Recovered { machine, resume, replayed, relogged, rows })
}

/// Fills an empty store from the whole journal, without opening a new epoch. Returns how many records were read, and how
/// many rows were put. What the last batch says, whose durability is not evident, is left to the next start.
pub fn rebuild(found: &Found, store: &dyn Store) -> Result<(u64, u64), OpenError> {
    let mut replay = Replay::new(found, store)?;
    let proven = found.proven();
    found.replay(ReplayFrom::Beginning, &mut |lsn, _, record| {
        if lsn > proven { Ok(()) } else { replay.take(lsn, record) }
    })?;
    replay.put_rows()?;
    replay.put_unresolved()?;
    if let (Some(folder), Some(chain)) = (found.store_uuid(), found.chain_at(found.proven())) {
        let mark = Mark { store: folder, epoch: found.epoch(), applied: found.proven(), chain };
        put(store, Vec::new(), &mark)?;
    }
    Ok((replay.replayed, replay.rows))
}

impl Machine {
    /// The first batches of an epoch: what was not evidently durable, every payment that must not be forgotten, what is
    /// doubted of those from here on, and the word that the opening is complete. All durable when this returns.
    fn open_epoch(
        &mut self,
        now: Timestamp,
        moved: bool,
        again: Vec<Record>,
        live: &BTreeMap<PaymentId, Replayed>,
        doubted: &[Event],
        strange: bool,
    ) -> Result<(), Stopped> {
        let news = self.owners_among(&again, live)?;
        let owner = |record: &Record| match record {
            Record::Event(event) | Record::Relogged(event) => Some(live.get(&event.payment)?.payment.tenant.clone()),
            Record::Inbox(_)
            | Record::Carried(_)
            | Record::Audit(_)
            | Record::Opened(_)
            | Record::Checkpoint(_)
            | Record::Closed(_) => news.get(&operation_key(record)?).cloned(),
        };
        self.append_all_of(now, again, &owner)?;
        let carried: Vec<Record> =
            live.values().map(|replayed| Record::Carried(Box::new(replayed.payment.clone()))).collect();
        self.append_all(now, carried)?;
        self.append_all(now, self.carried_pauses())?;
        // Behind what they are about: of that, the carried copy may be all that a later start finds.
        self.append_all(now, doubted.iter().cloned().map(Record::Event).collect())?;
        let erasures = self.seal.as_ref().map_or(Vec::new(), |seal| seal.untold(strange));
        self.append_all(now, erasures.into_iter().map(Record::Audit).collect())?;
        self.append_all(now, vec![Record::Opened(Opened { epoch: self.epoch, moved })])
    }

    /// Whose payments the news is about that is recorded again.
    fn owners_among(
        &self,
        again: &[Record],
        live: &BTreeMap<PaymentId, Replayed>,
    ) -> Result<BTreeMap<OperationKey, Tenant>, Stopped> {
        let mut owners = BTreeMap::new();
        for key in again.iter().filter(|_| self.seal.is_some()).filter_map(operation_key) {
            let mut unresolved = live.values().map(|replayed| &replayed.payment);
            let tenant = match unresolved.find(|payment| payment.operations.iter().any(|one| one.operation_key == key))
            {
                Some(payment) => Some(payment.tenant.clone()),
                None => self.owner_of(&key)?,
            };
            owners.extend(tenant.map(|tenant| (key, tenant)));
        }
        Ok(owners)
    }

    /// What is unresolved stays in memory; what came to rest in the last batch may reach the store only now, that it is
    /// durable beyond doubt. A rebuilt store takes the unresolved too: it has to know whatever a later start, which reads
    /// from the checkpoint only, will find nothing but the sequel of. Returns how many rows that were.
    fn take_over(&mut self, live: BTreeMap<PaymentId, Replayed>, rebuilt: bool) -> Result<u64, Stopped> {
        // All of it was carried just now, so this is the place up to which it is known.
        let lsn = self.durable();
        let mut late = Vec::new();
        for Replayed { payment, .. } in live.into_values() {
            let payment = Arc::new(payment);
            if rebuilt || payment.is_at_rest() {
                late.push(self.resting(lsn, payment.clone()));
            }
            if !payment.is_at_rest() {
                // Nothing may start before it was resumed: only that sets how long "not found" is not believed.
                let waiting = Pursuit { calling: true, ..Pursuit::default() };
                let pursuits = vec![waiting; payment.operations.len()];
                self.overlay.put(Entry { payment, pursuits, lsn });
            }
        }
        put(self.store.as_ref(), late, &self.mark())
    }
}

/// Is told of rows that the store has taken.
pub type Taken<'a> = &'a dyn Fn(&[(PaymentId, Row)]);

/// Puts rows in id order, a few hundred at a time, and says how many. The mark goes with the last of them.
pub fn put(store: &dyn Store, resting: Vec<Resting>, mark: &Mark) -> Result<u64, Stopped> {
    put_telling(store, resting, mark, &|_| ())
}

/// The same; `taken` is told of each few hundred as soon as they are in the store.
pub fn put_telling(
    store: &dyn Store,
    mut resting: Vec<Resting>,
    mark: &Mark,
    taken: Taken<'_>,
) -> Result<u64, Stopped> {
    let before = store.mark()?.unwrap_or(Mark { applied: Lsn::ZERO, ..*mark });
    let all = u64::try_from(resting.len()).unwrap_or(u64::MAX);
    resting.sort_by_cached_key(|resting| resting.payment.id); // Stable: of two rows of one payment the later counts.
    let mut left = resting.into_iter();
    loop {
        // Let go of with their rows: a hundred thousand at once would take their memory back for a twentieth of a second.
        let some: Vec<Resting> = left.by_ref().take(ROWS_AT_ONCE).collect();
        let rows: Vec<(PaymentId, Row)> = some.iter().map(Resting::row).collect::<Result<_, Stopped>>()?;
        let last = left.len() == 0;
        store.apply(&rows, if last { mark } else { &before })?;
        taken(&rows);
        if last {
            return Ok(all);
        }
    }
}

/// What this start doubts of what is unresolved.
fn doubts(live: &BTreeMap<PaymentId, Replayed>, distrust: Distrust, at: Timestamp) -> Vec<Event> {
    let of = |(id, replayed): (&PaymentId, &Replayed)| {
        let facts = doubt(&replayed.payment, distrust).into_iter();
        facts.map(|fact| Event { payment: *id, at, fact }).collect::<Vec<_>>()
    };
    live.iter().flat_map(of).collect()
}

fn fold_doubt(live: &mut BTreeMap<PaymentId, Replayed>, event: &Event) -> Result<(), Stopped> {
    let Some(replayed) = live.get_mut(&event.payment) else { return Ok(()) };
    let mut payment = Some(replayed.payment.clone());
    apply(&mut payment, event)?;
    if let Some(payment) = payment {
        replayed.payment = payment;
    }
    Ok(())
}

/// A payment as replayed so far.
struct Replayed {
    payment: Payment,
    lsn: Lsn,
    /// The last batch, whose durability is not evident, speaks of it: it must be carried before anybody is told.
    unproven: bool,
}

/// The fold of a journal.
struct Replay<'a> {
    store: &'a dyn Store,
    seal: Option<Arc<Seal>>,
    /// The store's own mark while it is not complete.
    mark: Mark,
    /// The last record that is durable beyond doubt.
    proven: Lsn,
    /// What is unresolved, unproven, or not yet in the store.
    live: BTreeMap<PaymentId, Replayed>,
    /// Came to rest, and may be in `live` still.
    resting: Vec<PaymentId>,
    /// What they take in memory, in bytes.
    gathered: usize,
    inbox: Inbox,
    /// In force.
    pauses: Vec<Audit>,
    replayed: u64,
    rows: u64,
}

impl<'a> Replay<'a> {
    fn new(found: &Found, store: &'a dyn Store) -> Result<Replay<'a>, OpenError> {
        let nothing = Mark { store: found.store_uuid().unwrap_or_default(), epoch: 0, applied: Lsn::ZERO, chain: 0 };
        let mark = store.mark().map_err(Stopped::from)?.unwrap_or(nothing);
        let (live, resting) = (BTreeMap::new(), Vec::new());
        let (inbox, pauses) = (Inbox::default(), Vec::new());
        let (proven, seal) = (found.proven(), found.seal().cloned());
        Ok(Replay { store, seal, mark, proven, live, resting, inbox, pauses, gathered: 0, replayed: 0, rows: 0 })
    }

    fn take(&mut self, lsn: Lsn, record: Record) -> Result<(), OpenError> {
        self.replayed += 1;
        match record {
            Record::Audit(audit) => {
                fold_pauses(&mut self.pauses, &audit);
                Ok(())
            }
            Record::Event(event) => self.fold(lsn, event),
            Record::Carried(payment) => {
                self.note(lsn, *payment);
                Ok(())
            }
            Record::Inbox(news) => {
                self.inbox.note(&news);
                Ok(())
            }
            Record::Relogged(_) | Record::Opened(_) | Record::Checkpoint(_) | Record::Closed(_) => Ok(()),
        }?;
        if self.gathered >= GATHERED { self.put_rows() } else { Ok(()) }
    }

    fn fold(&mut self, lsn: Lsn, event: Event) -> Result<(), OpenError> {
        if self.live.get(&event.payment).is_some_and(|replayed| replayed.lsn >= lsn) {
            return Ok(()); // It came from the store, which is ahead of this.
        }
        let mut payment = match self.live.remove(&event.payment) {
            Some(replayed) => Some(replayed.payment),
            None if matches!(event.fact, Fact::Accepted { .. }) => None,
            None => match read(self.store, self.seal.as_deref(), &event.payment).map_err(Stopped::from)? {
                Some((payment, known)) if known >= lsn => {
                    // The store has it already. It is carried all the same, if only the last batch says so.
                    if known > self.proven {
                        self.note(known, payment);
                    }
                    return Ok(());
                }
                found => found.map(|(payment, _)| payment),
            },
        };
        apply(&mut payment, &event).map_err(Stopped::from)?;
        if let Some(payment) = payment {
            self.note(lsn, payment);
        }
        Ok(())
    }

    fn note(&mut self, lsn: Lsn, payment: Payment) {
        let unproven = lsn > self.proven;
        if payment.is_at_rest() && !unproven {
            self.resting.push(payment.id);
            self.gathered += payment.order.written() + payment.operations.len() * OPERATION;
        }
        self.live.insert(payment.id, Replayed { payment, lsn, unproven });
    }

    /// What is left when all has been read, and was not at rest.
    fn put_unresolved(&mut self) -> Result<(), OpenError> {
        let live = std::mem::take(&mut self.live).into_values();
        let rows: Vec<Resting> = live
            .map(|Replayed { payment, lsn, .. }| Resting { lsn, payment: Arc::new(payment), seal: self.seal.clone() })
            .collect();
        self.rows += put(self.store, rows, &self.mark)?;
        Ok(())
    }

    /// What came to rest, and is durable beyond doubt, goes to the store.
    fn put_rows(&mut self) -> Result<(), OpenError> {
        let mut rows = Vec::with_capacity(self.resting.len());
        self.gathered = 0;
        for id in std::mem::take(&mut self.resting) {
            let settled = self.live.get(&id).is_some_and(|r| r.payment.is_at_rest() && !r.unproven);
            if let Some(Replayed { payment, lsn, .. }) = settled.then(|| self.live.remove(&id)).flatten() {
                rows.push(Resting { lsn, payment: Arc::new(payment), seal: self.seal.clone() });
            }
        }
        if !rows.is_empty() {
            self.rows += put(self.store, rows, &self.mark)?;
        }
        Ok(())
    }
}
