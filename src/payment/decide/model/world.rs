//! A state of the model: one payment, its process, its operations at their gateway, and what callers were told.

use std::{
    hash::{Hash, Hasher},
    sync::{Arc, LazyLock},
};

use super::{
    Ask, Flaw, Said, System,
    lane::{Lane, Lens, Question, Relevance, Worker, answer},
};
use crate::payment::{
    Amount, Capture, Clock, Currency, Event, Fact, IdempotencyKey, Kind, Manner, Now, Operation, Order, Payment,
    PaymentId, Pursuit, Standing, Tenant, Tick, Timestamp, apply,
    decide::{Action, Input, Response, decide},
};

/// Wall-clock time at the beginning.
pub(super) const START: u64 = 1_000_000_000_000;

/// What must never be done. Noted where it is done, and asked for by a property.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Sin {
    /// Bytes leave that are not the recorded ones.
    Unrecorded,
    /// What may have acted is sent again without the proof that the contract asks for.
    Unproven,
    /// What may have acted is sent again, and the gateway may have forgotten its key when it acts.
    DeadKey,
    /// A caller who repeats is not answered from the one payment, or one with other parameters is not refused.
    Misanswered,
    /// What its caller has voided is sent once more.
    Unwanted,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) struct World {
    pub(super) payment: Option<Arc<Payment>>,
    pub(super) pursuits: Vec<Pursuit>,
    /// One for each operation.
    pub(super) lanes: Vec<Lane>,
    /// How many since anything was last at rest.
    pub(super) crashes: u32,
    /// How many further sendings of anything since then.
    pub(super) again: u32,
    pub(super) sin: Option<Sin>,
    /// When whoever waited was told that the payment had settled.
    settled: Option<Timestamp>,
    now: u64,
    /// When the process started: its ticks begin there.
    started: u64,
    relevance: Relevance,
}

impl World {
    pub(super) fn new(system: &System) -> World {
        World {
            payment: None,
            pursuits: Vec::new(),
            lanes: vec![Lane::new(system.nature)],
            crashes: 0,
            again: 0,
            sin: None,
            settled: None,
            now: 0,
            started: 0,
            relevance: Relevance::of(system),
        }
    }

    /// The operations so far, each with all that belongs to it.
    pub(super) fn operations(&self) -> impl Iterator<Item = (&Operation, &Lane)> {
        self.payment.iter().flat_map(|payment| &payment.operations).zip(&self.lanes)
    }

    pub(super) fn operation(&self, number: u32) -> Option<&Operation> {
        self.payment.as_ref()?.operations.get(place(number))
    }

    pub(super) fn lane(&self, number: u32) -> &Lane {
        &self.lanes[place(number)]
    }

    fn lane_mut(&mut self, number: u32) -> &mut Lane {
        &mut self.lanes[place(number)]
    }

    pub(super) fn is_at_rest(&self) -> bool {
        self.payment.as_ref().is_some_and(|payment| payment.is_at_rest())
    }

    /// Whether the engine would wake up for the payment now.
    pub(super) fn is_due(&self) -> bool {
        let waits = self.payment.as_ref().is_some_and(|payment| !payment.is_at_rest());
        let due = |(pursuit, (one, _)): (&Pursuit, (&Operation, &Lane))| {
            !one.is_at_rest() && !pursuit.calling && pursuit.due <= self.clocks().tick
        };
        waits && self.pursuits.iter().zip(self.operations()).any(due)
    }

    fn clocks(&self) -> Now {
        let wall = Timestamp::from_millis(START + self.now);
        Now { wall, tick: Tick::from_millis(self.now - self.started), clock: Clock::Trusted }
    }

    /// A millisecond passes.
    pub(super) fn pass(&mut self) {
        self.now += 1;
        let now = self.now;
        self.lanes.iter_mut().for_each(|lane| lane.gateway.forget(now));
    }

    /// A caller asks, with the payment's own parameters or with others.
    pub(super) fn ask(&mut self, system: &System, same: bool) {
        let known = self.payment.clone();
        let response = self.step(system, if same { &system.order } else { &system.other_order });
        let expected = match &known {
            None if self.lane(0).told.is_none() => Response::Fresh,
            None => Response::Replayed,
            Some(_) if !same => Response::Conflict(vec!["amount"]),
            Some(payment) if payment.is_settled() => Response::Replayed,
            Some(_) => Response::Attached,
        };
        let disturbed = known.is_some() && self.payment != known;
        if response != Some(expected) || disturbed {
            self.sin = Some(Sin::Misanswered);
        }
    }

    /// A caller goes on from the payment, under a key of that operation's own, with its parameters or with others.
    pub(super) fn operate(&mut self, system: &System, which: usize, same: bool) {
        let Ask { key, follow_up, other } = &system.asks[which];
        let (before, key) = (self.payment.clone(), IdempotencyKey::new(key).expect("a key"));
        let known = before.as_ref().and_then(|payment| payment.follow_up(&key));
        let follow_up = if same { *follow_up } else { *other };
        let response = self.step(system, &Input::Operate { tenant: Tenant::default(), key: key.clone(), follow_up });
        let right = match (known, &response) {
            (Some(_), Some(Response::Conflict(fields))) => !same && !fields.is_empty(),
            (Some(known), Some(Response::Replayed)) => same && known.is_final(),
            (Some(known), Some(Response::Attached)) => same && !known.is_final(),
            (None, Some(Response::Fresh)) => self.payment.as_ref().is_some_and(|it| it.follow_up(&key).is_some()),
            (None, Some(Response::AmountTooLarge { .. } | Response::InvalidState(_))) => self.payment == before,
            _ => false,
        };
        let disturbed = known.is_some() && self.payment != before;
        if !right || disturbed {
            self.sin = Some(Sin::Misanswered);
        }
    }

    pub(super) fn leave(&mut self, number: u32) {
        let now = self.now;
        self.lane_mut(number).leave(now);
    }

    pub(super) fn may_leave(&self, number: u32) -> bool {
        self.operation(number).is_some_and(|operation| self.lane(number).may_leave(operation, self.clocks().wall))
    }

    /// What may happen to the requests of an operation: what a gateway makes of a void depends on what it is to undo.
    pub(super) fn deliveries(&self, number: u32) -> Vec<(u32, Said)> {
        let lane = self.lane(number);
        let mut possible = lane.gateway.deliveries(self.now, lane.waiting());
        if self.kind(number) == Some(Kind::Void) && !lane.gateway.knows(self.now) {
            possible.retain(|(_, said)| self.may_void(*said));
        }
        possible
    }

    /// A gateway lets go at once of what it has not decided about, and perhaps later of what it holds. What has moved, or
    /// is not there, it does not let go of. How much is captured or moves back it does not count: that is for us to.
    fn may_void(&self, said: Said) -> bool {
        let held = self.kind(0) == Some(Kind::Authorize);
        match (said, self.lane(0).gateway.decision) {
            (Said::Succeeded, Some(Said::Pending)) => true,
            (Said::Succeeded | Said::Pending, Some(Said::Succeeded)) => held,
            (Said::Succeeded | Said::Pending, _) => false,
            (Said::Declined | Said::RefusedForNow | Said::RefusedForGood | Said::NotFound | Said::Nothing, _) => true,
        }
    }

    pub(super) fn kind(&self, number: u32) -> Option<Kind> {
        self.operation(number).map(|operation| operation.this.kind)
    }

    pub(super) fn deliver(&mut self, number: u32, attempt: u32, said: Said) {
        let now = self.now;
        let acted = self.lane_mut(number).deliver(attempt, said, now);
        if acted && said == Said::Succeeded && self.kind(number) == Some(Kind::Void) {
            self.lane_mut(0).gateway.let_go(now);
        }
    }

    pub(super) fn report(&mut self, system: &System, number: u32, lost: bool) {
        if let Some((attempt, outcome)) = self.lane_mut(number).report(lost) {
            let _ = self.step(system, &Input::Ended { operation: number, attempt, outcome });
        }
    }

    /// What the gateway may decide by itself. What was let go of stays so.
    pub(super) fn decisions(&self, number: u32) -> &'static [Said] {
        let is_void = |one: &Operation| one.this.kind == Kind::Void;
        let voided = self.operations().any(|(one, lane)| is_void(one) && lane.gateway.moved > 0);
        if number == 0 && voided { &[] } else { self.lane(number).gateway.decisions(self.now) }
    }

    pub(super) fn gateway_decides(&mut self, number: u32, said: Said) {
        let now = self.now;
        self.lane_mut(number).gateway.decide(said, now);
    }

    pub(super) fn answers(&self, number: u32) -> Vec<Said> {
        self.lane(number).answers(self.now)
    }

    pub(super) fn look(&mut self, number: u32, said: Said) {
        self.lane_mut(number).look(said);
    }

    /// The answer comes back.
    pub(super) fn answered(&mut self, system: &System, operation: u32) {
        if let Some((asked, outcome)) = self.lane_mut(operation).answered() {
            let _ = self.step(system, &Input::Answered { operation, asked, outcome });
        }
    }

    /// The gateway says by itself what became of an operation.
    pub(super) fn news(&mut self, system: &System, number: u32) {
        let (Some(operation), lane) = (self.operation(number), self.lane(number)) else { return };
        let Some(decision) = lane.gateway.decision else { return };
        let (key, amount) = (operation.operation_key, operation.this.amount.minor_units());
        let said = Some((lane.outcome(decision), amount, "USD".to_owned()));
        let _ = self.step(system, &Input::Hint { operation: key, from: system.rules.contract.identity.clone(), said });
    }

    /// The process dies, and another one takes up what it finds. How long that takes is for time to say.
    pub(super) fn crash(&mut self, system: &System) {
        self.crashes += u32::from(!self.is_at_rest());
        self.started = self.now;
        self.pursuits.clear();
        for lane in &mut self.lanes {
            lane.question = None;
            lane.worker = lane.worker.filter(|_| system.nature.flaw == Some(Flaw::WorkersSurvive));
        }
        if system.nature.flaw == Some(Flaw::LosesJournal) {
            self.payment = None;
        }
        let _ = self.step(system, &Input::Resume);
    }

    /// One turn of the engine: decide, record, fold, release.
    pub(super) fn step(&mut self, system: &System, input: &Input) -> Option<Response> {
        let now = self.clocks();
        let decision = decide(self.payment.as_deref(), &self.pursuits, input, &now, &system.rules);
        if system.nature.flaw == Some(Flaw::ReleasesEarly) {
            decision.clone().release().0.into_iter().for_each(|action| self.start(action));
        }
        self.make_lanes(&decision.facts, system);
        decision.facts.iter().for_each(|fact| self.examine(fact, system));
        self.fold(&decision.facts, now.wall);
        self.pursuits.clone_from(&decision.pursuits);
        let (actions, response) = decision.release();
        actions.into_iter().for_each(|action| self.start(action));
        self.tell();
        if self.is_at_rest() {
            // What is asked for next has crashes and sendings of its own.
            (self.crashes, self.again) = (0, 0);
        }
        response
    }

    fn make_lanes(&mut self, facts: &[Fact], system: &System) {
        for fact in facts {
            let Fact::Intended { operation, .. } = fact else { continue };
            if place(operation.number) >= self.lanes.len() {
                // Only payments turn here.
                self.lanes.push(Lane::new(super::Nature { turns: None, ..system.nature }));
            }
        }
    }

    fn fold(&mut self, facts: &[Fact], at: Timestamp) {
        if facts.is_empty() {
            return;
        }
        let mut payment = self.payment.take().map(Arc::unwrap_or_clone);
        for fact in facts {
            let event = Event { payment: id(), at, fact: fact.clone() };
            apply(&mut payment, &event).expect("what is decided can be folded");
        }
        // For people only.
        payment.iter_mut().for_each(|payment| payment.timeline.clear());
        self.payment = payment.map(Arc::new);
    }

    fn examine(&mut self, fact: &Fact, system: &System) {
        let Fact::AttemptStarted { operation, attempt, .. } = fact else { return };
        self.again += u32::from(*attempt > 1);
        let known = self.operation(operation.number);
        let sin = self.lane(operation.number).examine(known, fact, &system.rules.contract);
        // Where it cannot be asked, what it has is looked up by sending it once more.
        let has_it = matches!(known.map(|known| &known.standing), Some(Standing::AtGateway { .. }));
        let voided = self.payment.as_ref().is_some_and(|payment| payment.voiding().is_some());
        let unwanted = operation.number == 0 && voided && !has_it;
        self.sin = sin.or(unwanted.then_some(Sin::Unwanted)).or(self.sin);
    }

    fn start(&mut self, action: Action) {
        match action {
            Action::Send { call, attempt, request, .. } => {
                let recorded = self.operation(call.operation).is_some_and(|operation| {
                    matches!(operation.standing, Standing::Sent { .. })
                        && operation.attempts == attempt
                        && operation.request == request
                        && operation.operation_key == call.operation_key
                });
                if !recorded || (call.operation == 0 && request != b"bytes") {
                    self.sin = Some(Sin::Unrecorded);
                }
                let worker = Worker { attempt, left: false, reply: None, recognised: false };
                self.lane_mut(call.operation).worker = Some(worker);
            }
            Action::Prepare { .. } => unreachable!("no gateway here mints ids"),
            Action::Inquire(call) => {
                let asked = self.clocks().tick;
                self.lane_mut(call.operation).question = Some(Question { asked, answer: None });
            }
        }
    }

    /// Whoever waits for an operation is told of it when it is final.
    fn tell(&mut self) {
        let Some(payment) = &self.payment else { return };
        for (operation, lane) in payment.operations.iter().zip(&mut self.lanes) {
            if lane.told.is_none() {
                lane.told = answer(operation);
            }
        }
        self.settled = self.settled.or(payment.settled_at);
    }

    pub(super) fn still_says_what_was_told(&self) -> bool {
        let settled = self.payment.as_ref().and_then(|payment| payment.settled_at);
        let says = |number: u32| self.operation(number).and_then(answer);
        settled == self.settled && (0..).zip(&self.lanes).all(|(number, lane)| lane.told == says(number))
    }
}

/// Two states are one if nothing that can still happen tells them apart.
impl Hash for World {
    fn hash<H: Hasher>(&self, state: &mut H) {
        let Now { wall, tick, .. } = self.clocks();
        let lens = Lens { relevance: self.relevance, now: self.now, wall, tick };
        if self.payment.is_none() {
            lens.lane(&self.lanes[0], false).hash(state);
        }
        for (place, (operation, lane)) in self.operations().enumerate() {
            // Two of one kind and amount are asked for in turn: which key came first tells nothing.
            let own = operation.key.as_str().starts_with("payonce:");
            (operation.this.kind, operation.this.amount.minor_units(), own).hash(state);
            lens.operation(operation).hash(state);
            let chase = self.pursuits.get(place).map(|pursuit| lens.chase(operation, pursuit, lane.question));
            (chase, lens.lane(lane, operation.is_at_rest())).hash(state);
        }
        (self.crashes, self.again, self.sin, self.still_says_what_was_told()).hash(state);
    }
}

fn id() -> PaymentId {
    static ID: LazyLock<PaymentId> =
        LazyLock::new(|| PaymentId::derive(&Tenant::default(), &IdempotencyKey::new("order-1").expect("a key")));
    *ID
}

pub(super) fn pay(amount: u64, capture: Capture) -> Input {
    let (amount, currency) = (Amount::new(amount).expect("an amount"), Currency::new("USD").expect("a currency"));
    let order = Order::new(amount, currency, "a", "b").expect("an order").with_capture(capture);
    let key = IdempotencyKey::new("order-1").expect("a key");
    Input::Pay {
        tenant: Tenant::default(),
        key,
        order: Arc::new(order),
        request: Ok(b"bytes".to_vec()),
        manner: Manner::default(),
    }
}

fn place(number: u32) -> usize {
    usize::try_from(number).expect("few")
}
