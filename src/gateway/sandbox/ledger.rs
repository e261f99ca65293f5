//! The ledger of truth: what the sandbox really did, whatever it said.
//!
//! A text file, one line an act, each written with one `write` before anybody is answered:
//!
//! ```text
//! payonce-sandbox 1 ACCOUNT
//! acted AT NUMBER VERDICT KIND KEY AMOUNT CURRENCY CHARGE SOURCE DESTINATION
//! settled AT NUMBER KEY
//! answered AT NUMBER KEY VERDICT
//! ```
//!
//! A verdict is `succeeded`, `declined:CODE`, `pending:UNTIL` (then it is settled) or `challenged:UNTIL` (then it is
//! answered by its payer, or for one who has not come). A void ends what is pending or challenged.
//!
//! A written line survives the death of the process: the page cache holds it. Nothing is fsynced, so a power cut can
//! lose the last seconds; a sandbox has no money to lose, and its speed must not hide that of the program it tests. A
//! last line that was cut short was never answered for: it is dropped.

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    fs::{self, File, OpenOptions},
    hash::{BuildHasher, Hasher, RandomState},
    io::{self, BufRead, BufReader, Write},
    path::{Path, PathBuf},
};

use super::{
    book::{Entry, Verdict, Why, check},
    instruction::Instruction,
};
use crate::payment::{Amount, Currency, Kind, OperationKey, Timestamp};

/// The ledger's name in its folder.
const FILE: &str = "sandbox.ledger";
const HEADER: &str = "payonce-sandbox 1 ";

/// How one act is to be carried out.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Manner {
    /// Do not notice that the key was seen before.
    pub(super) forgets: bool,
    /// Decline.
    pub(super) declines: bool,
    /// Settle only at this time.
    pub(super) settles_at: Option<Timestamp>,
    /// Let its payer act first, up to this time.
    pub(super) challenged_until: Option<Timestamp>,
    /// Deny it to inquiries until this time.
    pub(super) hidden_until: Option<Timestamp>,
}

/// What the ledger says about an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Told {
    /// What was decided, and under which number.
    Decided { verdict: Verdict, number: u64, amount: Amount, currency: Currency },
    /// Nothing was done, and nothing recorded.
    Rejected { code: &'static str, message: &'static str },
    /// Nothing was done: it could not be written down.
    Unwritable,
}

/// One movement of money: a charge, a hold, a capture, a release or a refund that took effect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Movement {
    /// Its place among all movements; the first is 1.
    pub number: u64,
    /// When.
    pub at: Timestamp,
    /// By which operation.
    pub operation_key: OperationKey,
    /// The sandbox's own name for the act.
    pub gateway_reference: String,
    /// What moved it.
    pub kind: Kind,
    /// How much.
    pub amount: Amount,
    /// Of which currency.
    pub currency: Currency,
}

/// The ledger in three numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Operations known, declined ones included.
    pub operations: u64,
    /// Movements of money.
    pub movements: u64,
    /// Operations that moved money more than once. The number that must be zero.
    pub moved_twice: u64,
}

/// What happened, in memory, and the file that says the same.
pub(super) struct Ledger {
    file: Option<File>,
    path: Option<PathBuf>,
    account: String,
    hasher: RandomState,
    operations: HashMap<OperationKey, Entry>,
    /// When, of which operation, under which number.
    movements: Vec<(Timestamp, OperationKey, u64)>,
    moved_twice: HashSet<OperationKey>,
    pending: BTreeSet<(Timestamp, u64, OperationKey)>,
    challenged: BTreeSet<(Timestamp, u64, OperationKey)>,
    acts: u64,
    /// A write failed: what the file holds is no longer known, so nothing is done any more.
    broken: bool,
}

impl Ledger {
    /// A ledger that is forgotten with the process.
    pub(super) fn in_memory() -> Ledger {
        Ledger::empty(None, new_account())
    }

    /// Opens the ledger of a folder; makes both if they are not there.
    pub(super) fn open(folder: &Path) -> io::Result<Ledger> {
        fs::create_dir_all(folder)?;
        let path = folder.join(FILE);
        let file = OpenOptions::new().read(true).append(true).create(true).open(&path)?;
        file.try_lock().map_err(|_| about(&path, "is in use by another process"))?;
        let mut ledger = Ledger::empty(None, String::new());
        let whole = ledger.load(&mut BufReader::new(&file)).map_err(|why| about(&path, &why.to_string()))?;
        file.set_len(whole)?;
        if whole == 0 {
            ledger.account = new_account();
            (&file).write_all(format!("{HEADER}{}\n", ledger.account).as_bytes())?;
        }
        ledger.file = Some(file);
        ledger.path = Some(path);
        Ok(ledger)
    }

    fn empty(file: Option<File>, account: String) -> Ledger {
        Ledger {
            file,
            path: None,
            account,
            hasher: RandomState::new(),
            operations: HashMap::new(),
            movements: Vec::new(),
            moved_twice: HashSet::new(),
            pending: BTreeSet::new(),
            challenged: BTreeSet::new(),
            acts: 0,
            broken: false,
        }
    }

    /// The random name given when the ledger was made.
    pub(super) fn account(&self) -> &str {
        &self.account
    }

    pub(super) fn path(&self) -> Option<&Path> {
        self.path.as_deref()
    }

    /// Does what is asked, unless it was done before. The one place where money moves.
    pub(super) fn act(&mut self, asked: &Instruction, manner: Manner, now: Timestamp) -> Told {
        self.settle(now);
        if let Some(known) = self.operations.get(&asked.operation_key) {
            if known.fingerprint != self.hasher.hash_one(asked) {
                let message = "this key was used before, with other parameters";
                return Told::Rejected { code: "idempotency_conflict", message };
            }
            if !manner.forgets {
                return known.told();
            }
        }
        let base = asked.charge.and_then(|charge| self.base(charge));
        let verdict = match check(asked, base) {
            Err((code, message)) => return Told::Rejected { code, message },
            Ok(verdict) => verdict.unless_otherwise(&manner),
        };
        let number = self.acts + 1;
        let mut line = format!("acted {} {number} {verdict} ", now.as_millis());
        asked.write(&mut line);
        if !self.write(line) {
            return Told::Unwritable;
        }
        self.remember(asked, verdict, number, now);
        if let Some(entry) = self.operations.get_mut(&asked.operation_key) {
            entry.hidden_until = manner.hidden_until.unwrap_or_default();
        }
        Told::Decided { verdict, number, amount: asked.amount, currency: asked.currency }
    }

    /// The payer has acted. `None`: it does not wait for its payer.
    pub(super) fn answer(&mut self, key: OperationKey, passed: bool, now: Timestamp) -> Option<Told> {
        self.settle(now);
        let number =
            self.challenged.iter().find(|(_, _, challenged)| *challenged == key).map(|(_, number, _)| *number)?;
        let verdict = if passed { Verdict::Succeeded } else { Verdict::Declined(Why::ChallengeFailed) };
        if !self.write(format!("answered {} {number} {key} {verdict}", now.as_millis())) {
            return Some(Told::Unwritable);
        }
        self.remember_answered(now, number, key, verdict);
        self.operations.get(&key).map(Entry::told)
    }

    /// What an inquiry is told; `None`: not found.
    pub(super) fn find(&mut self, key: OperationKey, now: Timestamp) -> Option<Told> {
        self.settle(now);
        self.operations.get(&key).filter(|entry| entry.hidden_until <= now).map(Entry::told)
    }

    /// Up to `limit` movements behind the one numbered `after`, in the order in which they happened.
    pub(super) fn statement(&mut self, after: u64, limit: usize, now: Timestamp) -> Vec<Movement> {
        self.settle(now);
        let skipped = usize::try_from(after).unwrap_or(usize::MAX);
        let numbered = self.movements.iter().zip(1u64..).skip(skipped).take(limit);
        let told = numbered.filter_map(|(&(at, operation_key, act), number)| {
            let entry = self.operations.get(&operation_key)?;
            let Entry { kind, amount, currency, .. } = *entry;
            Some(Movement { number, at, operation_key, gateway_reference: reference(act), kind, amount, currency })
        });
        told.collect()
    }

    pub(super) fn summary(&mut self, now: Timestamp) -> Summary {
        self.settle(now);
        let count = |len: usize| u64::try_from(len).unwrap_or(u64::MAX);
        Summary {
            operations: count(self.operations.len()),
            movements: count(self.movements.len()),
            moved_twice: count(self.moved_twice.len()),
        }
    }

    /// The charge or authorization that a key leads to: captures lead to what they captured.
    fn base(&self, key: OperationKey) -> Option<&Entry> {
        let entry = self.operations.get(&key)?;
        match entry.kind {
            Kind::Charge | Kind::Authorize => Some(entry),
            Kind::Capture => self.operations.get(&entry.charge?),
            Kind::Void | Kind::Refund => None,
        }
    }

    /// Lets what was pending, and is due, take effect.
    fn settle(&mut self, now: Timestamp) {
        while let Some(&(due, number, key)) = self.pending.first() {
            if due > now || !self.write(format!("settled {} {number} {key}", due.as_millis())) {
                return;
            }
            self.remember_settled(due, number, key);
        }
        while let Some(&(due, number, key)) = self.challenged.first() {
            let expired = Verdict::Declined(Why::ChallengeExpired);
            if due > now || !self.write(format!("answered {} {number} {key} {expired}", due.as_millis())) {
                return;
            }
            self.remember_answered(due, number, key, expired);
        }
    }

    fn write(&mut self, mut line: String) -> bool {
        line.push('\n');
        let written = !self.broken && self.file.as_mut().is_none_or(|file| file.write_all(line.as_bytes()).is_ok());
        self.broken = !written;
        written
    }

    fn remember(&mut self, asked: &Instruction, verdict: Verdict, number: u64, at: Timestamp) {
        self.acts = self.acts.max(number);
        let mut fresh = Entry::new(asked, self.hasher.hash_one(asked), verdict, number);
        fresh.moves_nothing = self.lets_go_of_open(asked, verdict);
        // The first act under a key is what its operation is; a later one only moves money again.
        self.operations.entry(asked.operation_key).or_insert(fresh);
        if let Some(base) = asked.charge.and_then(|charge| self.base(charge)).map(|base| base.operation_key)
            && let Some(base) = self.operations.get_mut(&base)
        {
            base.acted_on(asked, verdict);
        }
        match verdict {
            Verdict::Succeeded => self.remember_movement(at, number, asked.operation_key),
            Verdict::Declined(_) => {}
            Verdict::Pending { until } => {
                self.pending.insert((until, number, asked.operation_key));
            }
            Verdict::Challenged { until } => {
                self.challenged.insert((until, number, asked.operation_key));
            }
        }
    }

    /// Whether this is a void of what has not happened yet, which then never will.
    fn lets_go_of_open(&mut self, asked: &Instruction, verdict: Verdict) -> bool {
        let base = asked.charge.and_then(|charge| self.base(charge)).filter(|base| base.verdict.is_open());
        let Some(base) = base.map(|base| base.operation_key) else { return false };
        let lets_go = asked.kind == Kind::Void && !matches!(verdict, Verdict::Declined(_));
        if lets_go {
            self.pending.retain(|(_, _, key)| *key != base);
            self.challenged.retain(|(_, _, key)| *key != base);
        }
        lets_go
    }

    fn remember_settled(&mut self, at: Timestamp, number: u64, key: OperationKey) {
        self.pending.remove(&(at, number, key));
        if let Some(entry) = self.operations.get_mut(&key).filter(|entry| entry.number == number) {
            entry.verdict = Verdict::Succeeded;
        }
        self.remember_movement(at, number, key);
    }

    fn remember_answered(&mut self, at: Timestamp, number: u64, key: OperationKey, verdict: Verdict) {
        self.challenged.retain(|(_, challenged, _)| *challenged != number);
        if let Some(entry) = self.operations.get_mut(&key).filter(|entry| entry.number == number) {
            entry.verdict = verdict;
        }
        if verdict == Verdict::Succeeded {
            self.remember_movement(at, number, key);
        }
    }

    fn remember_movement(&mut self, at: Timestamp, number: u64, key: OperationKey) {
        if self.operations.get(&key).is_some_and(|entry| entry.moves_nothing) {
            return;
        }
        self.movements.push((at, key, number));
        if let Some(entry) = self.operations.get_mut(&key) {
            if entry.moved {
                self.moved_twice.insert(key);
            }
            entry.moved = true;
        }
    }

    /// Reads every whole line, and returns the length of them all.
    fn load(&mut self, lines: &mut impl BufRead) -> io::Result<u64> {
        let (mut whole, mut line) = (0, Vec::new());
        for number in 1u64.. {
            line.clear();
            let len = lines.read_until(b'\n', &mut line)?;
            let Some((b'\n', text)) = line.split_last() else { break };
            let read = str::from_utf8(text).ok().and_then(|text| self.load_line(number, text));
            read.ok_or_else(|| io::Error::other(format!("line {number} is damaged; move the file away to go on")))?;
            whole += u64::try_from(len).unwrap_or(0);
        }
        Ok(whole)
    }

    fn load_line(&mut self, number: u64, text: &str) -> Option<()> {
        if number == 1 {
            self.account = text.strip_prefix(HEADER)?.to_owned();
            return Some(());
        }
        let mut words = text.split(' ');
        let what = words.next()?;
        let at = Timestamp::from_millis(words.next()?.parse().ok()?);
        let act = words.next()?.parse().ok()?;
        match what {
            "acted" => {
                let verdict = Verdict::parse(words.next()?)?;
                self.remember(&Instruction::read(&mut words)?, verdict, act, at);
            }
            "settled" => self.remember_settled(at, act, words.next().and_then(OperationKey::parse)?),
            "answered" => {
                let key = words.next().and_then(OperationKey::parse)?;
                self.remember_answered(at, act, key, Verdict::parse(words.next()?)?);
            }
            _ => return None,
        }
        Some(())
    }
}

/// The sandbox's own name for an act.
pub(super) fn reference(number: u64) -> String {
    format!("sb_{number}")
}

/// A random UUID. Each `RandomState` holds random keys of the operating system's making.
fn new_account() -> String {
    let half = || RandomState::new().build_hasher().finish();
    uuid::Builder::from_random_bytes((u128::from(half()) << 64 | u128::from(half())).to_be_bytes())
        .into_uuid()
        .to_string()
}

fn about(path: &Path, what: &str) -> io::Error {
    io::Error::other(format!("the sandbox's ledger {}: {what}", path.display()))
}
