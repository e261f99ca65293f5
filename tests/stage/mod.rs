//! What the tests play on: a folder of their own, an order, and a gateway that does as it is told and keeps its ledger.

#![allow(dead_code, clippy::unwrap_used, clippy::expect_used, reason = "each test uses a part of the stage")]

#[path = "../folder/mod.rs"]
mod folder;

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use payonce::{
    Amount, Currency, Engine, Invalid, OpenError, Options, Order,
    gateway::{Answer, Asked, Gateway, Question, Sending},
    payment::{Contract, Identity, Inquiry, Lasting, OperationKey, Outcome, Reply},
};

pub(crate) use folder::Folder;

pub(crate) fn order(amount: u64) -> Order {
    Order::new(Amount::new(amount).unwrap(), Currency::new("USD").unwrap(), "acct_alice", "acct_bob").unwrap()
}

/// What a sending comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Act {
    /// Moves the money and says so.
    Succeed,
    /// Says no.
    Decline,
    /// Moves the money, and the reply is lost.
    LoseReply,
    /// Is lost on the way: nothing happens.
    LoseRequest,
    /// No byte leaves.
    NotSent,
    /// Refuses for good.
    Refuse,
    /// Never answers.
    Hang,
    /// Panics: an adapter with a defect.
    Panic,
}

#[derive(Default)]
struct Ledger {
    script: VecDeque<Act>,
    moved: HashMap<OperationKey, u32>,
    declined: Vec<OperationKey>,
    sent: u32,
    asked: u32,
    blind: bool,
}

/// A gateway that does as it is told.
#[derive(Clone)]
pub(crate) struct Scripted {
    contract: Contract,
    ledger: Arc<Mutex<Ledger>>,
    at_once: bool,
}

impl Scripted {
    /// Deduplicates, can be asked, and is quick to be believed.
    pub(crate) fn new() -> Scripted {
        let mut contract = Contract::standard(Identity { name: "scripted".into(), ..Identity::default() });
        contract.max_processing = Duration::from_millis(1);
        contract.inquiry = Inquiry::ByKey { not_found_lag: Duration::ZERO, not_found_times: 2 };
        Scripted { contract, ledger: Arc::default(), at_once: false }
    }

    /// Called on the engine's own thread.
    pub(crate) fn at_once(mut self) -> Scripted {
        self.at_once = true;
        self
    }

    pub(crate) fn with(mut self, change: impl FnOnce(&mut Contract)) -> Scripted {
        change(&mut self.contract);
        self
    }

    /// What the next sendings come to; after them, all succeed.
    pub(crate) fn then(self, acts: impl IntoIterator<Item = Act>) -> Scripted {
        self.ledger.lock().unwrap().script.extend(acts);
        self
    }

    /// From now on inquiries get no answer; or do again.
    pub(crate) fn blind(&self, blind: bool) {
        self.ledger.lock().unwrap().blind = blind;
    }

    /// How often money moved under the busiest key, and how many keys moved money.
    pub(crate) fn moved(&self) -> (u32, usize) {
        let ledger = self.ledger.lock().unwrap();
        (ledger.moved.values().copied().max().unwrap_or(0), ledger.moved.len())
    }

    /// How many sendings reached it.
    pub(crate) fn sent(&self) -> u32 {
        self.ledger.lock().unwrap().sent
    }

    /// How many questions reached it.
    pub(crate) fn asked(&self) -> u32 {
        self.ledger.lock().unwrap().asked
    }
}

fn said(code: &str) -> Reply {
    Reply::new(code, "as the script says").with_reference("gw_1")
}

impl Gateway for Scripted {
    fn contract(&self) -> &Contract {
        &self.contract
    }

    fn encode(&self, asked: &Asked<'_>) -> Result<Vec<u8>, Invalid> {
        Ok(format!("{} {} {}", asked.kind.as_str(), asked.amount, asked.operation_key).into_bytes())
    }

    fn send(&self, sending: Sending) -> Answer<'_> {
        Box::pin(async move {
            let act = {
                let mut ledger = self.ledger.lock().unwrap();
                let act = ledger.script.pop_front().unwrap_or(Act::Succeed);
                ledger.sent += u32::from(act != Act::NotSent);
                match act {
                    // No deduplication: a second sending would show.
                    Act::Succeed | Act::LoseReply => *ledger.moved.entry(sending.operation_key).or_default() += 1,
                    Act::Decline => ledger.declined.push(sending.operation_key),
                    Act::LoseRequest | Act::NotSent | Act::Refuse | Act::Hang | Act::Panic => {}
                }
                act
            };
            match act {
                Act::Succeed => Outcome::Succeeded(said("approved")),
                Act::Decline => Outcome::Declined(payonce::payment::Finality::Hard, said("insufficient_funds")),
                Act::LoseReply | Act::LoseRequest => Outcome::Unknown(Reply::new("timeout", "no reply came")),
                Act::NotSent => Outcome::NotSent(Reply::new("refused", "nobody listens")),
                Act::Refuse => Outcome::Refused(Lasting::ForGood, said("invalid_account")),
                Act::Hang => std::future::pending().await,
                Act::Panic => panic!("the adapter has a defect"),
            }
        })
    }

    fn answers_at_once(&self) -> bool {
        self.at_once
    }

    fn inquire(&self, question: Question) -> Answer<'_> {
        Box::pin(async move {
            let mut ledger = self.ledger.lock().unwrap();
            ledger.asked += 1;
            if ledger.blind {
                return Outcome::Unknown(Reply::new("timeout", "no answer came"));
            }
            if ledger.moved.contains_key(&question.operation_key) {
                return Outcome::Succeeded(said("approved"));
            }
            if ledger.declined.contains(&question.operation_key) {
                return Outcome::Declined(payonce::payment::Finality::Hard, said("insufficient_funds"));
            }
            Outcome::NotFound
        })
    }
}

/// Options for quick tests: small segments, short pauses.
pub(crate) fn options(folder: &Folder) -> Options {
    let mut options = Options::new(&folder.0);
    options.segment_bytes = 8 << 20;
    options.schedule.pause_first = Duration::from_millis(5);
    options.schedule.pause_max = Duration::from_millis(20);
    options.schedule.not_found_spacing = Duration::from_millis(1);
    options.schedule.skew = Duration::from_millis(10);
    options
}

pub(crate) async fn open(folder: &Folder, gateway: &Scripted) -> Engine {
    open_with(options(folder), gateway).await
}

/// Opens; waits for an engine that was dropped to let go of the folder.
pub(crate) async fn open_with(options: Options, gateway: &Scripted) -> Engine {
    open_on(options, Arc::new(gateway.clone())).await
}

/// The same, with any gateway.
pub(crate) async fn open_on(options: Options, gateway: Arc<dyn Gateway>) -> Engine {
    let mut patience = Patience::new();
    loop {
        match Engine::open(options.clone(), gateway.clone()).await {
            Ok(engine) => return engine,
            Err(OpenError::Lock(held)) => patience.wait(|| format!("the folder to be let go of: {held}")).await,
            Err(error) => panic!("{error}"),
        }
    }
}

/// Waits in small steps for what must come, on the slowest machine too. A test that waits for what never comes says so
/// and fails; it does not hang.
pub(crate) struct Patience(Instant);

impl Patience {
    pub(crate) fn new() -> Patience {
        Patience(Instant::now() + Duration::from_secs(60))
    }

    pub(crate) async fn wait(&mut self, for_what: impl FnOnce() -> String) {
        assert!(Instant::now() < self.0, "waited a minute for {}", for_what());
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}
