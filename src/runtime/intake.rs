//! The engine thread's one door: what has come in since the last turn.
//!
//! Three lanes, so that none can starve another: reports of gateway calls (bounded by the slots), questions, and new
//! payments (bounded, refused at the door when full).

use std::{
    collections::VecDeque,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    time::Instant,
};

use tokio::sync::oneshot;

use super::{
    handle::{Answer, Rejection},
    outlook::Outlooks,
};
use crate::{
    engine::{Filter, Page, Stopped},
    gateway::Said,
    journal::Lsn,
    payment::{Audit, Identity, Input, Outcome, Payment, PaymentId, Tick, Webhook},
};

/// A caller's payment, and where its answer goes.
pub(super) struct Pay {
    pub(super) id: PaymentId,
    pub(super) input: Input,
    /// Answer only when there is something final to say, or something for a person to do.
    pub(super) until_settled: bool,
    pub(super) reply: oneshot::Sender<Result<Answer, Rejection>>,
}

/// A question, or a person's word.
pub(super) enum Ask {
    Get(PaymentId, oneshot::Sender<Result<Option<Arc<Payment>>, Rejection>>),
    Outlook(PaymentId, oneshot::Sender<Result<Option<Outlooks>, Rejection>>),
    List(Filter, oneshot::Sender<Result<Page, Rejection>>),
    Person(PaymentId, Input, oneshot::Sender<Result<Arc<Payment>, Rejection>>),
    News(Webhook, Identity, Option<Said>, oneshot::Sender<Result<(), Rejection>>),
    /// What an operator does; its time is set when it is recorded.
    Act(Audit, oneshot::Sender<Result<(), Rejection>>),
    Close(oneshot::Sender<()>),
}

/// What the engine's own tasks and threads report; of calls, with the place of their gateway. That the store is bad is found
/// by who reads beside the engine.
pub(super) enum Report {
    Sent { payment: PaymentId, place: usize, operation: u32, attempt: u32, outcome: Outcome },
    Prepared { payment: PaymentId, place: usize, operation: u32, outcome: Outcome },
    Asked { payment: PaymentId, place: usize, operation: u32, asked: Tick, outcome: Outcome },
    Flushed(Result<Vec<(String, u64)>, String>),
    StoreFailed(String),
    StoreIsBad(Stopped),
}

/// Everything that came in.
#[derive(Default)]
pub(super) struct Arrivals {
    pub(super) reports: Vec<Report>,
    pub(super) asks: Vec<Ask>,
    pub(super) pays: Vec<Pay>,
    pub(super) stored: Vec<(PaymentId, Lsn)>,
    /// Nobody holds the engine any more.
    pub(super) abandoned: bool,
}

#[derive(Default)]
struct Lanes {
    reports: Vec<Report>,
    asks: Vec<Ask>,
    pays: VecDeque<Pay>,
    stored: Vec<(PaymentId, Lsn)>,
    /// Taken up, but waiting for a gateway call to be free.
    held: usize,
    sleeping: bool,
    abandoned: bool,
    stopped: bool,
}

pub(super) struct Intake {
    lanes: Mutex<Lanes>,
    wake: Condvar,
    queue: usize,
}

/// The intake of an engine that somebody holds. When it is dropped, the engine is abandoned.
pub(super) struct Owner(pub(super) Arc<Intake>);

impl std::ops::Deref for Owner {
    type Target = Intake;

    fn deref(&self) -> &Intake {
        &self.0
    }
}

impl Drop for Owner {
    fn drop(&mut self) {
        self.0.abandon();
    }
}

/// The door is closed: the engine has stopped.
pub(super) struct Closed;

/// Why a payment was not let in.
pub(super) enum Unheard {
    Full,
    Closed,
}

impl Intake {
    pub(super) fn new(queue: usize) -> Intake {
        Intake { lanes: Mutex::default(), wake: Condvar::new(), queue }
    }

    pub(super) fn pay(&self, pay: Pay) -> Result<(), Unheard> {
        let mut lanes = self.lock();
        if lanes.stopped {
            return Err(Unheard::Closed);
        }
        if lanes.pays.len() + lanes.held >= self.queue {
            return Err(Unheard::Full);
        }
        lanes.pays.push_back(pay);
        self.wake(lanes);
        Ok(())
    }

    pub(super) fn ask(&self, ask: Ask) -> Result<(), Closed> {
        let mut lanes = self.lock();
        if lanes.stopped {
            return Err(Closed);
        }
        lanes.asks.push(ask);
        self.wake(lanes);
        Ok(())
    }

    /// How many callers have not been taken up yet.
    pub(super) fn waiting(&self) -> usize {
        self.lock().pays.len()
    }

    pub(super) fn report(&self, report: Report) {
        let mut lanes = self.lock();
        lanes.reports.push(report);
        self.wake(lanes);
    }

    /// The store took these. No reason to wake anybody: memory is given back with the next turn.
    pub(super) fn stored(&self, taken: impl Iterator<Item = (PaymentId, Lsn)>) {
        self.lock().stored.extend(taken);
    }

    /// Nobody holds the engine any more.
    pub(super) fn abandon(&self) {
        let mut lanes = self.lock();
        lanes.abandoned = true;
        self.wake(lanes);
    }

    /// Everything that waits is let go of unanswered, and nothing comes in any more.
    pub(super) fn stop(&self) {
        let mut lanes = self.lock();
        *lanes = Lanes { stopped: true, ..Lanes::default() };
    }

    /// Waits until something came in, or until the time given, and takes it: up to `most` payments.
    pub(super) fn take(&self, until: Option<Instant>, most: usize, held: usize) -> Arrivals {
        let mut lanes = self.lock();
        lanes.held = held;
        while !lanes.has_come(most) {
            lanes.sleeping = true;
            let now = Instant::now();
            lanes = match until {
                Some(until) if until <= now => break,
                Some(until) => self.wake.wait_timeout(lanes, until - now).unwrap_or_else(PoisonError::into_inner).0,
                None => self.wake.wait(lanes).unwrap_or_else(PoisonError::into_inner),
            };
        }
        lanes.sleeping = false;
        let pays = most.min(lanes.pays.len());
        Arrivals {
            reports: std::mem::take(&mut lanes.reports),
            asks: std::mem::take(&mut lanes.asks),
            pays: lanes.pays.drain(..pays).collect(),
            stored: std::mem::take(&mut lanes.stored),
            abandoned: lanes.abandoned,
        }
    }

    fn lock(&self) -> MutexGuard<'_, Lanes> {
        self.lanes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wake(&self, mut lanes: MutexGuard<'_, Lanes>) {
        if std::mem::take(&mut lanes.sleeping) {
            drop(lanes);
            self.wake.notify_one();
        }
    }
}

impl Lanes {
    fn has_come(&self, most: usize) -> bool {
        !self.reports.is_empty() || !self.asks.is_empty() || (most > 0 && !self.pays.is_empty()) || self.abandoned
    }
}
