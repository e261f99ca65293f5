//! What is done to a data folder while no engine runs on it.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    path::Path,
    sync::Arc,
};

use super::{
    OpenError, Options,
    chance::seed,
    opening::{STORE, journal_options, note_rebuilt, system},
};
use crate::{
    disk::{Disk, FolderLock, OsDisk},
    engine, journal,
    journal::{Erased, Found, Lsn, Record, ReplayFrom, decode_payment, encode_payment},
    payment::{
        Event, Fact, Invalid, Payment, PaymentId, Person, Tenant, Timestamp, apply, is_spoken, without_card_number,
    },
    store::{self, Expected, Store},
};

/// What a rebuild did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rebuilt {
    /// How many records were read.
    pub records: u64,
    /// How many rows were put.
    pub rows: u64,
    /// Where the old store is kept, if there was one.
    pub old: Option<std::path::PathBuf>,
}

/// Moves the store aside and builds it anew from the journal. Takes the folder's lock; sends nothing, changes no journal.
pub fn rebuild_store(data: &Path) -> Result<Rebuilt, OpenError> {
    let options = Options::new(data);
    let _lock = FolderLock::take(data).map_err(OpenError::Lock)?;
    let disk: Arc<dyn Disk> = Arc::new(OsDisk::new(data).map_err(system(data.display().to_string()))?);
    let found = journal::open(disk, journal_options(&options))?.sealing(false, seed()?)?;
    let path = data.join(STORE);
    let old = store::move_aside(&path).map_err(system("the store could not be moved aside"))?;
    let expected = Expected { store: found.store_uuid().unwrap_or_default(), applied: Lsn::ZERO, files: &[] };
    let opening = store::open(&path, &store::Options::default(), &expected)?;
    let (records, rows) = engine::rebuild(&found, &opening.store)?;
    opening.store.flush().map_err(engine::Stopped::from).map_err(engine::OpenError::from)?;
    drop(opening);
    if let Some(closed) = found.closed() {
        note_rebuilt(&path, closed).map_err(system("the new store could not be noted"))?;
    }
    Ok(Rebuilt { records, rows, old })
}

/// What an erasure did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Erasure {
    /// What became of the tenant's key.
    pub key: Erased,
    /// How many payments of the tenant the journal knows.
    pub payments: usize,
    /// Those of them of which personal data can be read all the same: it was recorded before any was sealed here.
    pub readable: Vec<PaymentId>,
}

/// Why nothing was erased.
#[derive(Debug)]
pub enum NotErased {
    /// The folder could not be opened.
    Open(OpenError),
    /// What was said of who and why may not be kept for ever.
    Words(Invalid),
    /// Personal data is not sealed in this folder.
    NothingSealed,
    /// These payments of the tenant are unresolved: what they need to be resolved may not go.
    Unresolved(Vec<PaymentId>),
}

impl fmt::Display for NotErased {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NotErased::Open(error) => error.fmt(f),
            NotErased::Words(invalid) => write!(f, "nothing was erased: {invalid}"),
            NotErased::NothingSealed => f.write_str(
                "nothing was erased: personal data is not sealed in this folder. `payonce serve --seal-personal-data` \
                 begins with it; what was recorded before cannot be erased",
            ),
            NotErased::Unresolved(ids) => {
                let ids: Vec<String> = ids.iter().map(PaymentId::to_string).collect();
                write!(
                    f,
                    "nothing was erased: these payments are unresolved, and what is unresolved is never lost (P6). Run \
                           the daemon until they are settled, or `payonce resolve` them: {}",
                    ids.join(", ")
                )
            }
        }
    }
}

impl std::error::Error for NotErased {}

impl From<OpenError> for NotErased {
    fn from(error: OpenError) -> NotErased {
        NotErased::Open(error)
    }
}

/// Destroys the key under which a tenant's personal data is sealed, and looks whether any can still be read. Takes the
/// folder's lock; changes neither journal nor store. A new payment of the tenant gets a new key.
pub fn erase(data: &Path, tenant: &Tenant, at: Timestamp, person: &Person) -> Result<Erasure, NotErased> {
    for (field, text) in [("actor", &person.actor), ("reason", &person.reason)] {
        check_words(field, text).map_err(NotErased::Words)?;
    }
    let _lock = FolderLock::take(data).map_err(OpenError::Lock)?;
    let found = open_journal(data, tenant)?;
    let seal = found.seal().ok_or(NotErased::NothingSealed)?;
    let before = Ledger::read(&found, tenant)?;
    let unresolved = before.unresolved()?;
    if !unresolved.is_empty() {
        return Err(NotErased::Unresolved(unresolved));
    }
    let key = seal.erase(tenant, at, person).map_err(system("the key could not be destroyed for good: repeat it"))?;
    // Read again, with the keys that there are now: what was said to be erased has been looked for.
    let after = Ledger::read(&open_journal(data, tenant)?, tenant)?;
    Ok(Erasure { key, payments: after.payments.len(), readable: after.readable.into_iter().collect() })
}

/// They are kept for ever, in the list of keys and in the journal.
fn check_words(field: &'static str, text: &str) -> Result<(), Invalid> {
    if !is_spoken(text, LONGEST_WORDS) {
        let why = "must be 1 to 1000 characters that are not all blank, without control characters";
        return Err(Invalid { field, why });
    }
    without_card_number(field, text)
}

/// As long as a reason may be over HTTP.
const LONGEST_WORDS: usize = 1_000;

/// The tenant's own key may be gone: by hand, or because this is a backup from before it was erased.
fn open_journal(data: &Path, tenant: &Tenant) -> Result<Found, OpenError> {
    let disk: Arc<dyn Disk> = Arc::new(OsDisk::new(data).map_err(system(data.display().to_string()))?);
    Ok(journal::open_without(disk, journal_options(&Options::new(data)), tenant)?.sealing(false, seed()?)?)
}

/// The payments of one tenant, as the journal tells them.
struct Ledger<'t> {
    tenant: &'t Tenant,
    /// As bytes: there may be millions.
    payments: BTreeMap<PaymentId, Vec<u8>>,
    readable: BTreeSet<PaymentId>,
}

impl Ledger<'_> {
    fn read<'t>(found: &Found, tenant: &'t Tenant) -> Result<Ledger<'t>, OpenError> {
        let mut ledger = Ledger { tenant, payments: BTreeMap::new(), readable: BTreeSet::new() };
        found.replay(ReplayFrom::Beginning, &mut |_, _, record| ledger.take(&record))?;
        Ok(ledger)
    }

    fn take(&mut self, record: &Record) -> Result<(), engine::OpenError> {
        let id = match record {
            Record::Event(event) => {
                self.fold(event)?;
                event.payment
            }
            Record::Relogged(event) => event.payment,
            Record::Carried(payment) if payment.tenant == *self.tenant => {
                self.keep(payment.as_ref().clone());
                payment.id
            }
            Record::Carried(_)
            | Record::Inbox(_)
            | Record::Audit(_)
            | Record::Opened(_)
            | Record::Checkpoint(_)
            | Record::Closed(_) => return Ok(()),
        };
        if self.payments.contains_key(&id) && record.is_personal() {
            self.readable.insert(id);
        }
        Ok(())
    }

    fn fold(&mut self, event: &Event) -> Result<(), engine::OpenError> {
        let begins = matches!(&event.fact, Fact::Accepted { tenant, .. } if tenant == self.tenant);
        let mut payment = match self.payments.get(&event.payment) {
            Some(bytes) => Some(decode_payment(bytes).map_err(|error| engine::Stopped::new(error.to_string()))?),
            None if begins => None,
            None => return Ok(()), // Another tenant's.
        };
        apply(&mut payment, event).map_err(engine::Stopped::from)?;
        payment.into_iter().for_each(|payment| self.keep(payment));
        Ok(())
    }

    /// Without what is of no interest here.
    fn keep(&mut self, mut payment: Payment) {
        payment.timeline.clear();
        payment.order = Arc::new(Arc::unwrap_or_clone(payment.order).erased());
        self.payments.insert(payment.id, encode_payment(&payment));
    }

    fn unresolved(&self) -> Result<Vec<PaymentId>, OpenError> {
        let mut unresolved = Vec::new();
        for (id, bytes) in &self.payments {
            let payment = decode_payment(bytes).map_err(|error| engine::Stopped::new(error.to_string()));
            if !payment.map_err(engine::OpenError::from)?.is_at_rest() {
                unresolved.push(*id);
            }
        }
        Ok(unresolved)
    }
}
