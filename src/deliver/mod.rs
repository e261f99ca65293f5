//! DELIVER. Events out: webhooks, as in Standard Webhooks 1.0. The journal is the feed.
//!
//! ```text
//! endpoint  a receiver as configured    kind  what events are called    message  an event written out
//! plan      what may start now (pure)   post  one delivery
//! state     what survives the process   courier  what waits
//! ```
//!
//! One courier a receiver reads the journal's feed as fast as its receiver takes it, and no faster: what is not
//! delivered stays in the journal. Nothing of this is on a payment's way, and a receiver that hangs holds nothing but
//! its own courier's place.
//!
//! At least once, and in order per payment: each event is delivered until its receiver says 2xx. It may come again after
//! a failure of either side, always under the same `webhook-id`; receivers go by that.
//!
//! Knows nothing of gateways, of how a payment is decided, or of who configures it.

mod endpoint;

mod kind;

mod message;

mod plan;

mod state;

mod post;

mod courier;

use std::{fmt, path::Path, sync::Arc};

use tokio::{
    sync::{mpsc, oneshot},
    task::JoinSet,
};

use crate::{
    disk::{Disk, OsDisk},
    payment::{PaymentId, Timestamp},
    runtime::{Engine, Lsn},
};
pub use endpoint::Endpoint;
pub use kind::Kind;
pub use plan::Pace;
pub use state::StateError;

use courier::{Ask, Clock, Courier};
use plan::{Kept, Plan, State};
use post::Post;

/// How many questions of operators may wait: they are answered at once.
const ASKS: usize = 16;

/// The couriers of all receivers. When this is dropped without [`Deliveries::stop`], they end by themselves, and what
/// was delivered in the last second comes again.
pub struct Deliveries {
    couriers: Vec<(String, mpsc::Sender<Ask>)>,
}

/// Why deliveries did not start. Nothing was delivered.
#[derive(Debug)]
pub enum StartError {
    /// A receiver cannot be delivered to.
    Endpoint {
        /// Its name.
        name: String,
        /// Why.
        why: String,
    },
    /// A receiver's state cannot be used.
    State {
        /// Its name.
        name: String,
        /// Why.
        error: StateError,
    },
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StartError::Endpoint { name, why } => write!(f, "webhook {name}: {why}"),
            StartError::State { name, error } => write!(f, "webhook {name}: {error}"),
        }
    }
}

impl std::error::Error for StartError {}

/// How it stands with one receiver.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing {
    /// Its name.
    pub name: String,
    /// Where it is, without path and query.
    pub target: String,
    /// Everything up to here was delivered, not wanted, or is in one of the lists.
    pub cursor: Lsn,
    /// Since when it has taken nothing that it was sent, if so; how often; and why.
    pub failing: Option<Failing>,
    /// Not taken yet, or behind what was not, and to be tried again.
    pub waiting: Vec<Undelivered>,
    /// Given up on, until [`Deliveries::replay`].
    pub dead: Vec<Undelivered>,
}

/// Failures, counted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failing {
    /// How many.
    pub times: u32,
    /// The first of them.
    pub since: Timestamp,
    /// What the last one was.
    pub why: String,
}

/// An event that was not delivered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Undelivered {
    /// The `webhook-id`.
    pub id: String,
    /// Such as `payment.succeeded`.
    pub kind: String,
    /// Whose.
    pub payment: PaymentId,
    /// Its place in the journal.
    pub lsn: Lsn,
    /// `None`: it has not been tried, and waits for one before it.
    pub failing: Option<Failing>,
}

impl Standing {
    fn of(name: &str, target: String, plan: &Plan) -> Standing {
        let State { cursor, waiting, dead } = plan.state();
        let list = |list: Vec<Kept>| list.into_iter().map(Undelivered::from).collect();
        let (waiting, dead) = (list(waiting), list(dead));
        Standing { name: name.to_owned(), target, cursor, failing: plan.failing().map(Failing::from), waiting, dead }
    }
}

impl From<plan::Failure> for Failing {
    fn from(failure: plan::Failure) -> Failing {
        Failing { times: failure.times, since: failure.since, why: failure.why }
    }
}

impl From<Kept> for Undelivered {
    fn from(kept: Kept) -> Undelivered {
        let Kept { letter, failure } = kept;
        let failing = failure.map(Failing::from);
        Undelivered { id: letter.id, kind: letter.kind, payment: letter.payment, lsn: letter.lsn, failing }
    }
}

impl Deliveries {
    /// Starts delivering what an engine records, with the state in its data folder. A receiver that is new hears of
    /// what happens from now on, unless it is configured from the start. Nothing is delivered from a folder that was
    /// moved, until that is said to be meant: the original may be delivering. Called on a tokio runtime.
    pub fn start(engine: &Engine, data: &Path, endpoints: Vec<Endpoint>) -> Result<Deliveries, StartError> {
        let mut couriers: Vec<(String, mpsc::Sender<Ask>)> = Vec::new();
        if endpoints.is_empty() || engine.report().moved {
            return Ok(Deliveries { couriers });
        }
        let state = |name: &str, error: StateError| StartError::State { name: name.to_owned(), error };
        let disk = OsDisk::new(data).map_err(|error| state("state", error.into()))?;
        let disk: Arc<dyn Disk> = Arc::new(disk);
        let mut ready = Vec::new();
        for endpoint in endpoints {
            let name = endpoint.name.clone();
            if couriers.iter().any(|(known, _)| *known == name) {
                return Err(StartError::Endpoint { name, why: "there are two of this name".to_owned() });
            }
            let post = Post::new(&endpoint).map_err(|why| StartError::Endpoint { name: name.clone(), why })?;
            let begun = begin(disk.as_ref(), engine.durable(), &endpoint).map_err(|error| state(&name, error))?;
            let (sender, asks) = mpsc::channel(ASKS);
            ready.push(courier(engine, endpoint, begun, post, Arc::clone(&disk), asks));
            couriers.push((name, sender));
        }
        ready.into_iter().for_each(|courier| drop(tokio::spawn(courier.run())));
        Ok(Deliveries { couriers })
    }

    /// How it stands with every receiver.
    pub async fn standings(&self) -> Vec<Standing> {
        let mut standings = Vec::new();
        for (_, courier) in &self.couriers {
            standings.extend(ask(courier, Ask::Standing).await);
        }
        standings
    }

    /// Whether there is a receiver of this name.
    pub fn knows(&self, endpoint: &str) -> bool {
        self.courier(endpoint).is_some()
    }

    /// Tries a receiver's dead and waiting events again now: that of this `webhook-id`, or all. Says how many there were;
    /// `None`: there is no such receiver.
    pub async fn replay(&self, endpoint: &str, id: Option<String>) -> Option<usize> {
        ask(self.courier(endpoint)?, |reply| Ask::Replay(id, reply)).await
    }

    /// Forgets a receiver's dead event. Says how many there were of this id; `None`: there is no such receiver.
    pub async fn discard(&self, endpoint: &str, id: String) -> Option<usize> {
        ask(self.courier(endpoint)?, |reply| Ask::Discard(id, reply)).await
    }

    /// Starts nothing more and writes what was delivered. What is under way is cut, and comes again after the next start.
    pub async fn stop(&self) {
        let mut stopping = JoinSet::new();
        for (_, courier) in &self.couriers {
            let courier = courier.clone();
            stopping.spawn(async move { ask(&courier, Ask::Stop).await });
        }
        while stopping.join_next().await.is_some() {}
    }

    fn courier(&self, endpoint: &str) -> Option<&mpsc::Sender<Ask>> {
        self.couriers.iter().find(|(name, _)| name == endpoint).map(|(_, courier)| courier)
    }
}

async fn ask<T>(courier: &mpsc::Sender<Ask>, ask: impl FnOnce(oneshot::Sender<T>) -> Ask) -> Option<T> {
    let (reply, answer) = oneshot::channel();
    courier.send(ask(reply)).await.ok()?;
    answer.await.ok()
}

/// Where to go on. A new receiver's place is written down at once: it must not move with a crash.
fn begin(disk: &dyn Disk, end: Lsn, endpoint: &Endpoint) -> Result<State, StateError> {
    match state::read(disk, &endpoint.name)? {
        Some(state) if state.cursor > end => Err(StateError::Ahead { cursor: state.cursor, end }),
        Some(state) => Ok(state),
        None => {
            let cursor = if endpoint.from_start { Lsn::ZERO } else { end };
            let state = State { cursor, ..State::default() };
            state::write(disk, &endpoint.name, &state)?;
            Ok(state)
        }
    }
}

fn courier(
    engine: &Engine,
    endpoint: Endpoint,
    state: State,
    post: Post,
    disk: Arc<dyn Disk>,
    asks: mpsc::Receiver<Ask>,
) -> Courier {
    let feed = Some(engine.events(state.cursor));
    let plan = Plan::new(endpoint.pace.clone(), state);
    let (under_way, letters) = (JoinSet::new(), Default::default());
    let post = Arc::new(post);
    Courier { endpoint, plan, post, disk, feed, asks, clock: Clock::start(), under_way, letters, save_at: None }
}
