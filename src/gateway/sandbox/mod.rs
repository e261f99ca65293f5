//! A gateway to try things with, that misbehaves on request and keeps the truth of what it did.
//!
//! One core, two faces: in process ([`SandboxGateway`]), and over HTTP (`payonce sandbox`). The core decides what
//! became of a request and what the asker gets to see of it ([`Shown`]); a face only puts that on its wire. A source
//! whose name begins with `acct_decline` is always declined.
//!
//! Whether money moved is decided at the moment of acting, under one lock, together with the deduplication by key.
//!
//! Knows nothing of HTTP, nor of who asks.

mod adapter;

mod book;

mod faults;

mod instruction;

mod ledger;

use std::{
    collections::HashSet,
    fmt, io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

pub use adapter::SandboxGateway;
pub use faults::{Fault, Faults};
pub use instruction::Instruction;
pub use ledger::{Movement, Summary};

use crate::payment::{Amount, Currency, OperationKey, Timestamp};
use faults::{Dice, Struck};
use ledger::{Ledger, Manner, Told};

/// The longest that [`Fault::Delay`] holds a request back, in milliseconds.
const MAX_DELAY: u64 = 2_000;
/// When [`Fault::Late`] acts and [`Fault::Pending`] settles, in milliseconds: long enough for an engine to have asked
/// in between, short enough for a person to watch.
const LATE: (u64, u64) = (1_000, 3_000);
/// For how long [`Fault::Challenge`] waits for the payer, in milliseconds: as long as banks commonly give a person.
const CHALLENGE: u64 = 300_000;
/// For how long [`Fault::NotFoundLag`] denies an operation, in milliseconds.
const LAG: (u64, u64) = (1_000, 2_000);

/// The longest time after which the sandbox still acts on a request, in milliseconds.
const MAX_PROCESSING: u64 = 5_000;
/// The longest time for which the sandbox denies an operation, in milliseconds.
const NOT_FOUND_LAG: u64 = 3_000;

// What the contract promises must cover what the faults do, with a second for a busy machine.
const _: () = assert!(MAX_PROCESSING >= 1_000 + LATE.1 && MAX_PROCESSING >= 1_000 + MAX_DELAY);
const _: () = assert!(NOT_FOUND_LAG >= 1_000 + LAG.1);

/// The sandbox. Clones share one ledger.
#[derive(Clone)]
pub struct Sandbox(Arc<Inner>);

struct Inner {
    ledger: Mutex<Ledger>,
    luck: Mutex<Luck>,
    /// Keys that a delayed request is working on.
    busy: Mutex<HashSet<OperationKey>>,
}

struct Luck {
    faults: Faults,
    dice: Dice,
}

/// What the asker gets to see.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Shown {
    /// The connection ends without a reply.
    Dropped,
    /// 500.
    Failed,
    /// 200, with a body that nobody can read.
    Garbage,
    /// 409: a request with this key is being worked on.
    InProgress,
    /// 422: never executed.
    Rejected {
        /// A short word.
        code: &'static str,
        /// A sentence for people.
        message: &'static str,
    },
    /// 404.
    NotFound,
    /// 200.
    Answer(ShownAnswer),
}

/// What a reply says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShownAnswer {
    /// The operation.
    pub reference: OperationKey,
    /// The sandbox's own name for it.
    pub gateway_reference: String,
    /// `succeeded`, `declined` or `pending`.
    pub status: &'static str,
    /// In minor units.
    pub amount: u64,
    /// Of which currency.
    pub currency: Currency,
    /// A short word.
    pub code: &'static str,
    /// A sentence for people.
    pub message: &'static str,
    /// Until when the payer has to act, if that is what is waited for. Where, is for the face to say.
    pub challenge_until: Option<Timestamp>,
}

impl Sandbox {
    /// Opens the ledger in a folder, or begins one. One seed is one run of luck. Fails when the folder cannot be
    /// written, the ledger is damaged, or another process has it open.
    pub fn open(folder: &Path, seed: u64, faults: Faults) -> io::Result<Sandbox> {
        Ok(Sandbox::with_ledger(Ledger::open(folder)?, seed, faults))
    }

    /// A sandbox whose ledger is forgotten with the process.
    pub fn in_memory(seed: u64, faults: Faults) -> Sandbox {
        Sandbox::with_ledger(Ledger::in_memory(), seed, faults)
    }

    fn with_ledger(ledger: Ledger, seed: u64, faults: Faults) -> Sandbox {
        let luck = Luck { faults, dice: Dice::new(seed) };
        let busy = Mutex::new(HashSet::new());
        Sandbox(Arc::new(Inner { ledger: Mutex::new(ledger), luck: Mutex::new(luck), busy }))
    }

    /// The random name given when the ledger was begun: its account.
    pub fn account(&self) -> String {
        lock(&self.0.ledger).account().to_owned()
    }

    /// Where the ledger is; `None`: only in memory.
    pub fn ledger_path(&self) -> Option<PathBuf> {
        lock(&self.0.ledger).path().map(Path::to_owned)
    }

    /// What goes wrong at present.
    pub fn faults(&self) -> Faults {
        lock(&self.0.luck).faults.clone()
    }

    /// Changes what goes wrong from now on. What is already late, delayed or pending stays so.
    pub fn set_faults(&self, faults: Faults) {
        lock(&self.0.luck).faults = faults;
    }

    /// Draws whether the connection is refused: a face asks this before it reads anything.
    pub fn refuses(&self) -> bool {
        let mut luck = lock(&self.0.luck);
        let probability = luck.faults.probability(Fault::Refuse);
        probability > 0.0 && luck.dice.happens(probability)
    }

    /// Takes a request, and tells what the asker sees of it. What was drawn to happen later happens even if nobody
    /// waits for it. Needs a tokio runtime with time.
    pub async fn deliver(&self, asked: Instruction) -> Shown {
        let struck = self.strike();
        let key = asked.operation_key;
        if struck.by(Fault::DropBefore) {
            Shown::Dropped
        } else if struck.by(Fault::ErrorBefore) {
            Shown::Failed
        } else if struck.by(Fault::Late) {
            let (sandbox, wait) = (self.clone(), self.millis_between(LATE));
            tokio::spawn(async move {
                tokio::time::sleep(wait).await;
                sandbox.act(&asked, struck)
            });
            Shown::Dropped
        } else if self.is_busy(key) {
            Shown::InProgress
        } else if struck.by(Fault::Delay) {
            self.act_after_a_while(asked, struck).await
        } else {
            self.act(&asked, struck)
        }
    }

    /// Answers an inquiry. The faults that lose or spoil replies strike here too; those about acting do not.
    pub async fn inquire(&self, key: OperationKey) -> Shown {
        let struck = self.strike();
        if struck.by(Fault::Delay) {
            tokio::time::sleep(self.millis_between((1, MAX_DELAY))).await;
        }
        if struck.by(Fault::DropBefore) {
            return Shown::Dropped;
        }
        if struck.by(Fault::ErrorBefore) {
            return Shown::Failed;
        }
        let told = lock(&self.0.ledger).find(key, wall());
        told.map_or(Shown::NotFound, |told| spoiled(key, told, struck))
    }

    /// The payer has acted on a challenge, and passed it or not: what is known of the operation then. `None`: it does not
    /// wait for its payer.
    pub fn answer_challenge(&self, key: OperationKey, passed: bool) -> Option<Shown> {
        let told = lock(&self.0.ledger).answer(key, passed, wall())?;
        Some(spoiled(key, told, Struck::default()))
    }

    /// Up to `limit` movements of money behind the one numbered `after`: what really happened.
    pub fn statement(&self, after: u64, limit: usize) -> Vec<Movement> {
        lock(&self.0.ledger).statement(after, limit, wall())
    }

    /// The ledger in three numbers.
    pub fn summary(&self) -> Summary {
        lock(&self.0.ledger).summary(wall())
    }

    fn strike(&self) -> Struck {
        let mut luck = lock(&self.0.luck);
        let Luck { faults, dice } = &mut *luck;
        dice.strike(faults)
    }

    fn millis_between(&self, (from, to): (u64, u64)) -> Duration {
        Duration::from_millis(lock(&self.0.luck).dice.between(from, to))
    }

    fn is_busy(&self, key: OperationKey) -> bool {
        lock(&self.0.busy).contains(&key)
    }

    /// Acts on a task of its own: an asker who goes away does not stop it.
    async fn act_after_a_while(&self, asked: Instruction, struck: Struck) -> Shown {
        let (sandbox, wait) = (self.clone(), self.millis_between((1, MAX_DELAY)));
        if !lock(&self.0.busy).insert(asked.operation_key) {
            return Shown::InProgress;
        }
        let work = tokio::spawn(async move {
            tokio::time::sleep(wait).await;
            let shown = sandbox.act(&asked, struck);
            lock(&sandbox.0.busy).remove(&asked.operation_key);
            shown
        });
        work.await.unwrap_or(Shown::Dropped)
    }

    fn act(&self, asked: &Instruction, struck: Struck) -> Shown {
        let later = |fault, range| struck.by(fault).then(|| wall().plus(self.millis_between(range)));
        let manner = Manner {
            forgets: struck.by(Fault::Forget),
            declines: struck.by(Fault::Decline),
            settles_at: later(Fault::Pending, LATE),
            challenged_until: later(Fault::Challenge, (CHALLENGE, CHALLENGE)).filter(|_| asked.is_first()),
            hidden_until: later(Fault::NotFoundLag, LAG),
        };
        let mut ledger = lock(&self.0.ledger);
        if struck.by(Fault::Twice) {
            ledger.act(asked, manner, wall());
        }
        let told = ledger.act(asked, manner, wall());
        drop(ledger);
        spoiled(asked.operation_key, told, struck)
    }
}

impl fmt::Debug for Sandbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sandbox").field("account", &self.account()).finish_non_exhaustive()
    }
}

/// What is left of the truth once the faults have had their way with the reply.
fn spoiled(key: OperationKey, told: Told, struck: Struck) -> Shown {
    if struck.by(Fault::DropAfter) {
        return Shown::Dropped;
    }
    if struck.by(Fault::ErrorAfter) {
        return Shown::Failed;
    }
    if struck.by(Fault::Garbage) {
        return Shown::Garbage;
    }
    match told {
        Told::Unwritable => Shown::Failed,
        Told::Rejected { code, message } => Shown::Rejected { code, message },
        Told::Decided { verdict, number, amount, currency } => {
            let (code, message) = verdict.words();
            Shown::Answer(ShownAnswer {
                reference: key,
                gateway_reference: ledger::reference(number),
                status: verdict.status(),
                amount: shown_amount(amount, struck),
                currency,
                code,
                message,
                challenge_until: verdict.challenge_until(),
            })
        }
    }
}

fn shown_amount(amount: Amount, struck: Struck) -> u64 {
    if struck.by(Fault::WrongAmount) { amount.minor_units() + 1 } else { amount.minor_units() }
}

fn wall() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_millis(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

/// A thread that panicked while it held the lock left whole values behind: every change is the last thing done.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
