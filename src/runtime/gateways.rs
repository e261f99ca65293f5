//! The gateways of an engine: what each is for, how many calls it may be sent at once, and whether it answers.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Instant,
};

use tokio::sync::Semaphore;

use super::breaker::{Breaker, Ticket};
use crate::{
    gateway::Gateway,
    payment::{Audit, Currency, Encoder, Identity, Invalid, Order, Outcome, Route, choose},
};

/// One of an engine's gateways.
#[derive(Clone)]
pub struct GatewayRoute {
    /// How callers, webhooks and operators name it; at most 40 characters.
    pub name: String,
    /// Its adapter.
    pub gateway: Arc<dyn Gateway>,
    /// The currencies that it is for; none: all that no other is for.
    pub currencies: Vec<Currency>,
    /// How many calls it may be sent at once; `None`: as [`Options::gateway_slots`](super::Options::gateway_slots) says.
    pub slots: Option<usize>,
}

impl GatewayRoute {
    /// A gateway for everything.
    pub fn new(name: &str, gateway: Arc<dyn Gateway>) -> GatewayRoute {
        GatewayRoute { name: name.to_owned(), gateway, currencies: Vec::new(), slots: None }
    }
}

/// The name of a gateway that is the only one, and of the first of several: wherever one is named, this one is meant.
pub(super) const FIRST: &str = "default";

/// A gateway at work.
pub(super) struct Line {
    pub(super) name: String,
    pub(super) gateway: Arc<dyn Gateway>,
    pub(super) most: usize,
    pub(super) slots: Arc<Semaphore>,
    breaker: Mutex<Breaker>,
    pause: Mutex<Option<Audit>>,
}

impl Line {
    pub(super) fn identity(&self) -> &Identity {
        &self.gateway.contract().identity
    }

    pub(super) fn ticket(&self) -> Ticket {
        self.breaker.lock().unwrap_or_else(PoisonError::into_inner).ticket(Instant::now())
    }

    pub(super) fn note(&self, ticket: Ticket, outcome: &Outcome) {
        self.breaker.lock().unwrap_or_else(PoisonError::into_inner).note(ticket, outcome, Instant::now());
    }

    /// The deed of the operator who has nothing sent to it; none: nobody has.
    pub(super) fn pause(&self) -> Option<Audit> {
        self.pause.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn is_paused(&self) -> bool {
        self.pause.lock().unwrap_or_else(PoisonError::into_inner).is_some()
    }

    pub(super) fn is_shut(&self) -> bool {
        self.breaker.lock().unwrap_or_else(PoisonError::into_inner).is_shut(Instant::now())
    }
}

/// All of them, in the order in which they are preferred.
pub(super) struct Lines {
    lines: Vec<Line>,
    routes: Vec<Route>,
    /// Whether nothing new is taken for any of them.
    draining: AtomicBool,
}

impl Lines {
    /// What cannot be is a matter of configuration.
    pub(super) fn new(gateways: Vec<GatewayRoute>, slots: usize) -> Result<Lines, &'static str> {
        let routes: Vec<Route> = gateways.iter().map(route).collect();
        let mut rest = routes.as_slice();
        while let [one, others @ ..] = rest {
            if others.iter().any(|other| other.name == one.name) {
                return Err("two gateways have the same name");
            }
            if others.iter().any(|other| other.contract.identity == one.contract.identity) {
                return Err("two gateways are the same account at the same place: give each an account of its own");
            }
            rest = others;
        }
        if routes.is_empty() {
            return Err("there must be a gateway");
        }
        let lines: Vec<Line> = gateways.into_iter().map(|one| line(one, slots)).collect();
        if lines.iter().any(|line| line.most == 0) {
            return Err("a gateway's slots must be at least 1");
        }
        Ok(Lines { lines, routes, draining: AtomicBool::new(false) })
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Line> {
        self.lines.iter()
    }

    pub(super) fn get(&self, place: usize) -> Option<&Line> {
        self.lines.get(place)
    }

    pub(super) fn routes(&self) -> &[Route] {
        &self.routes
    }

    /// The place of the gateway that a payment is, or may have been, sent to.
    pub(super) fn place_of(&self, gateway: &Identity) -> Option<usize> {
        self.lines.iter().position(|line| line.identity() == gateway)
    }

    /// The gateway that a URL or a command names: as it is configured; or by what it calls itself, if only one does.
    pub(super) fn named(&self, name: &str) -> Option<&Line> {
        if let Some(line) = self.lines.iter().find(|line| line.name == name) {
            return Some(line);
        }
        let mut alike = self.lines.iter().filter(|line| *line.identity().name == *name);
        match (alike.next(), alike.next()) {
            (Some(line), None) => Some(line),
            (Some(_), Some(_)) => None,
            (None, _) => self.lines.first().filter(|_| name == FIRST),
        }
    }

    /// What operators have in force, for everybody who looks before a turn.
    pub(super) fn note(&self, pauses: &[Audit], draining: bool) {
        for line in &self.lines {
            let pause = pauses.iter().find(|pause| pause.is_pause_of(line.identity())).cloned();
            *line.pause.lock().unwrap_or_else(PoisonError::into_inner) = pause;
        }
        self.draining.store(draining, Ordering::Release);
    }

    pub(super) fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Acquire)
    }

    /// Which gateway a new payment goes to.
    pub(super) fn choose(&self, order: &Order) -> Result<(usize, &Line), Invalid> {
        let is = |place: usize, what: fn(&Line) -> bool| self.lines.get(place).is_some_and(what);
        let mut place = choose(&self.routes, order, |place| is(place, Line::is_shut) || is(place, Line::is_paused))?;
        if is(place, Line::is_paused) {
            // None is open. One that does not answer may answer again at any moment.
            place = choose(&self.routes, order, |place| is(place, Line::is_paused))?;
        }
        let line = self.lines.get(place).ok_or(Invalid::new("gateway", "must be the name of a configured gateway"))?;
        Ok((place, line))
    }
}

fn route(one: &GatewayRoute) -> Route {
    let gateway = one.gateway.clone();
    let encoder = Encoder::new(move |asked| gateway.encode(asked));
    let route = Route::new(&one.name, one.gateway.contract().clone(), encoder);
    Route { currencies: one.currencies.clone(), ..route }
}

fn line(one: GatewayRoute, slots: usize) -> Line {
    let GatewayRoute { name, gateway, currencies: _, slots: own } = one;
    let most = own.unwrap_or(slots);
    Line {
        name,
        gateway,
        most,
        slots: Arc::new(Semaphore::new(most)),
        breaker: Mutex::default(),
        pause: Mutex::default(),
    }
}
