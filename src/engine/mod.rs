//! TURN. Joins core, journal and store: loads, decides, records, applies, releases.
//!
//! [`Machine`] is all of payonce that must be right, as one value that does something only when it is called: a
//! simulator steps it, and so does the engine thread. Its one way forward is [`Machine::turn`]; a start
//! ([`recover`]) rebuilds it from the journal and then takes the same way. An [`Archive`] reads beside it what is at rest.
//!
//! Knows nothing of threads, clocks, sockets, gateways or callers.

mod overlay;

mod turn;

mod recovery;

mod checkpoint;

mod archive;

mod list;

mod inbox;

mod audit;

mod guard;

use std::{collections::BTreeMap, fmt, sync::Arc, time::Duration};

pub use archive::Archive;
pub use checkpoint::{Carrying, SLICE};
pub use guard::Watch;
pub use inbox::Received;
pub use list::{Filter, Page};
pub use recovery::{Begin, OpenError, Recovered, Taken, check_mark, put, put_telling, rebuild, recover};
pub use turn::{Admission, Recorded, Told, Turned};

use crate::{
    journal::{AppendError, Journal, Lsn, Malformed, Position, Reader, Seal, SpareMaker, decode_row, encode_row},
    payment::{Audit, Misfit, Payment, PaymentId, Pursuit, Rulebook, State, Timestamp},
    store::{Mark, Row, Store, StoreError},
};
use checkpoint::Checkpointing;
use guard::Guard;
use inbox::Inbox;
use overlay::Overlay;

/// The most inputs of one turn. A batch of this many new payments is about half a megabyte, which the disk takes in
/// the time of a few small ones; more would only make the first wait for the last.
pub const MAX_TURN: usize = 1024;

/// Space kept for what may still have to be recorded about a payment whose intent is durable: an attempt's end, an
/// inquiry's answer, a parking, each alone in its batch (DESIGN 5: outcomes land on a full disk).
pub const OUTCOME_RESERVE: u64 = 3 * 2 * 1024;

/// How long a full disk is left alone.
const TRY_SPACE_AGAIN: Duration = Duration::from_secs(5);

/// All of payonce that must be right.
pub struct Machine {
    rules: Rulebook,
    journal: Journal,
    /// Where personal data is sealed.
    seal: Option<Arc<Seal>>,
    spares: SpareMaker,
    store: Arc<dyn Store>,
    overlay: Overlay,
    inbox: Inbox,
    /// Off, unless it was asked for.
    guard: Option<Guard>,
    /// The gateways to which operators have nothing sent: for each the deed.
    pauses: Vec<Audit>,
    /// An operator has nothing new taken. Not recorded as a state: a start ends it.
    draining: bool,
    /// The identity of the data folder, for marks.
    folder: [u8; 16],
    epoch: u64,
    /// The last record that is durable, and the chain there.
    durable: (Lsn, u32),
    /// Where the journal ended after the last batch.
    at: Position,
    checkpoint: Checkpointing,
    /// The wall time of the last batch: `now` never runs behind it.
    last_wall: Timestamp,
    /// The disk was full: not tried again before this.
    full_until: Option<Timestamp>,
}

/// A payment that came to rest: a row for the store, which takes them in order.
#[derive(Clone, Debug)]
pub struct Resting {
    /// The last record about it.
    pub lsn: Lsn,
    /// The payment.
    pub payment: Arc<Payment>,
    /// Under what its personal data is sealed, if it is.
    pub seal: Option<Arc<Seal>>,
}

impl Resting {
    /// The store's row for it.
    pub fn row(&self) -> Result<(PaymentId, Row), Stopped> {
        let payload = encode_row(&self.payment, self.seal.as_deref());
        let payload = payload.map_err(|error| Stopped::new(format!("personal data could not be sealed: {error}")))?;
        Ok((self.payment.id, Row { lsn: self.lsn, payload }))
    }
}

/// The engine must not go on: nothing more can be recorded, or what is recorded cannot be trusted. What was under way
/// is unknown, and the next start finds out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stopped {
    /// Why, for the operator.
    pub why: String,
    /// Whether the store must be rebuilt at the next start.
    pub store_is_bad: bool,
}

impl Stopped {
    /// Stopped for a reason that has nothing to do with the store.
    pub fn new(why: impl Into<String>) -> Stopped {
        Stopped { why: why.into(), store_is_bad: false }
    }
}

impl fmt::Display for Stopped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}; payments under way are unknown until the next start asks the gateway", self.why)
    }
}

impl std::error::Error for Stopped {}

impl From<AppendError> for Stopped {
    fn from(error: AppendError) -> Stopped {
        Stopped::new(error.to_string())
    }
}

impl From<StoreError> for Stopped {
    fn from(error: StoreError) -> Stopped {
        Stopped { why: error.to_string(), store_is_bad: true }
    }
}

impl From<Misfit> for Stopped {
    fn from(misfit: Misfit) -> Stopped {
        Stopped::new(misfit.to_string())
    }
}

/// Why a payment could not be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unread {
    /// The store is out of use since an earlier error, a full disk most likely. What is in memory goes on; the rest can
    /// be read after the next start.
    OutOfUse(String),
    /// What the store holds cannot be trusted: the engine must stop, and the next start rebuilds it.
    Bad(Stopped),
}

impl From<StoreError> for Unread {
    fn from(error: StoreError) -> Unread {
        match error {
            StoreError::Broken { since } => Unread::OutOfUse(since),
            StoreError::Row { .. } | StoreError::Mark { .. } | StoreError::Index { .. } | StoreError::File { .. } => {
                Unread::Bad(error.into())
            }
        }
    }
}

impl From<Unread> for Stopped {
    fn from(unread: Unread) -> Stopped {
        match unread {
            Unread::OutOfUse(since) => Stopped::new(format!("the store is out of use: {since}")),
            Unread::Bad(stopped) => stopped,
        }
    }
}

impl Machine {
    /// What every decision follows.
    pub const fn rules(&self) -> &Rulebook {
        &self.rules
    }

    /// The last record that is durable.
    pub const fn durable(&self) -> Lsn {
        self.durable.0
    }

    /// The wall time of the last batch.
    pub const fn last_wall(&self) -> Timestamp {
        self.last_wall
    }

    /// How many payments are unresolved, and how many are in memory in all.
    pub fn sizes(&self) -> (usize, usize) {
        (self.overlay.unresolved(), self.overlay.len())
    }

    /// Where the journal ends.
    pub const fn position(&self) -> Position {
        self.at
    }

    /// How many unresolved payments wait for what, and since when the oldest doubt lasts.
    pub fn unresolved(&self) -> (&BTreeMap<State, usize>, Option<Timestamp>) {
        (self.overlay.waiting(), self.overlay.oldest_doubt())
    }

    /// How far the chase for a payment's truth has come, operation by operation; none, if it is not in memory.
    pub fn pursuits(&self, id: &PaymentId) -> &[Pursuit] {
        self.overlay.get(id).map_or(&[], |entry| &entry.pursuits)
    }

    /// What the store may say of itself once it has taken everything released so far.
    pub const fn mark(&self) -> Mark {
        Mark { store: self.folder, epoch: self.epoch, applied: self.durable.0, chain: self.durable.1 }
    }

    /// A payment as it is, from memory or the store.
    pub fn get(&self, id: &PaymentId) -> Result<Option<Arc<Payment>>, Unread> {
        if let Some(entry) = self.overlay.get(id) {
            return Ok(Some(entry.payment.clone()));
        }
        Ok(read(self.store.as_ref(), self.seal.as_deref(), id)?.map(|(payment, _)| Arc::new(payment)))
    }

    /// For reading what is at rest on other threads.
    pub fn archive(&mut self) -> Archive {
        Archive { store: self.store.clone(), seal: self.seal.clone(), present: self.overlay.present() }
    }

    /// A row for the store.
    fn resting(&self, lsn: Lsn, payment: Arc<Payment>) -> Resting {
        Resting { lsn, payment, seal: self.seal.clone() }
    }

    /// The store has taken these: what has not changed since leaves memory.
    pub fn stored(&mut self, taken: &[(PaymentId, Lsn)]) {
        taken.iter().for_each(|(id, lsn)| self.overlay.stored(id, *lsn));
    }

    /// What makes segments ahead of need, for a thread of its own.
    pub fn spare_maker(&self) -> SpareMaker {
        self.journal.spare_maker()
    }

    /// Reads the journal while it is being written.
    pub fn reader(&self) -> Reader {
        self.journal.reader()
    }

    /// Space that must stay free for what is already recorded as intended.
    fn reserved(&self) -> u64 {
        u64::try_from(self.overlay.unresolved()).unwrap_or(u64::MAX).saturating_mul(OUTCOME_RESERVE)
    }

    /// Tells whoever makes segments ahead of need how many will be wanted: for what is kept free for outcomes, and for the
    /// next checkpoint. Between turns.
    pub fn plan_segments(&self) {
        self.journal.plan(self.reserved().saturating_add(self.to_carry()));
    }

    /// Whether the disk has space for what is wanted, in bytes; makes segments if need be. After a failure it does not
    /// try again for a while: making one takes some tenths of a second, and outcomes wait meanwhile.
    fn has_room(&mut self, wanted: u64, now: Timestamp) -> bool {
        while self.journal.room() < wanted {
            if self.full_until.is_some_and(|until| now < until) {
                return false;
            }
            self.full_until = None;
            if let Err(error) = self.spares.make_another() {
                tracing::warn!(%error, "the disk has no space for another segment: what would need it is not taken");
                self.full_until = Some(now.plus(TRY_SPACE_AGAIN));
                return false;
            }
        }
        true
    }

    /// Whether space is short: then nothing is begun that could wait, so that outcomes still land.
    pub fn is_cramped(&mut self, now: Timestamp) -> bool {
        let reserved = self.reserved();
        !self.has_room(reserved, now)
    }

    /// Makes the last batch's durability evident when nothing has followed it.
    pub fn confirm(&mut self, now: Timestamp) -> Result<(), Stopped> {
        Ok(self.journal.confirm(now.max(self.last_wall))?)
    }
}

/// A payment from the store, and the last record that it holds.
fn read(store: &dyn Store, seal: Option<&Seal>, id: &PaymentId) -> Result<Option<(Payment, Lsn)>, Unread> {
    store.get(id)?.map(|row| decode(id, &row, seal)).transpose().map_err(Unread::Bad)
}

fn decode(id: &PaymentId, row: &Row, seal: Option<&Seal>) -> Result<(Payment, Lsn), Stopped> {
    let decoded: Result<Payment, Malformed> = decode_row(&row.payload, seal);
    match decoded {
        Ok(payment) if payment.id == *id => Ok((payment, row.lsn)),
        Ok(payment) => Err(bad_row(id, &format!("it is about payment {}", payment.id))),
        Err(error) => Err(bad_row(id, &error.to_string())),
    }
}

fn bad_row(id: &PaymentId, why: &str) -> Stopped {
    Stopped { why: format!("the store's row of payment {id} is unusable: {why}"), store_is_bad: true }
}
