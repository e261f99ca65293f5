//! A state of the model: one payment, its process, its gateway, and what somebody was told.

use std::{
    hash::{Hash, Hasher},
    sync::Arc,
};

use super::{Flaw, Gateway, Said, System};
use crate::payment::{
    Amount, Cause, Clock, Currency, Event, Fact, IdempotencyKey, Inquiry, Manner, Now, Operation, Order, Payment,
    PaymentId, Pursuit, Standing, Tenant, Tick, Timestamp, apply,
    decide::{Action, Input, Response, decide},
};

/// Wall-clock time at the beginning.
const START: u64 = 1_000_000_000_000;

/// The task that sends an attempt: volatile.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Worker {
    pub(super) attempt: u32,
    /// Whether a byte of it has left.
    pub(super) left: bool,
    /// The reply that is on its way back.
    pub(super) reply: Option<Said>,
    /// Whether the gateway recognised the key, and said what it did before.
    pub(super) recognised: bool,
}

/// The task that asks the gateway: volatile.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Question {
    asked: Tick,
    /// What the gateway has answered, on its way back.
    pub(super) answer: Option<Said>,
}

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
}

#[derive(Clone, Debug, PartialEq)]
pub(super) struct World {
    pub(super) payment: Option<Arc<Payment>>,
    pub(super) pursuits: Vec<Pursuit>,
    pub(super) worker: Option<Worker>,
    pub(super) question: Option<Question>,
    pub(super) gateway: Gateway,
    pub(super) crashes: u32,
    pub(super) sin: Option<Sin>,
    /// What whoever waited was told when the payment settled, and when it did.
    told: Option<(Standing, Option<Timestamp>)>,
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
            worker: None,
            question: None,
            gateway: Gateway::new(system.nature),
            crashes: 0,
            sin: None,
            told: None,
            now: 0,
            started: 0,
            relevance: Relevance::of(system),
        }
    }

    pub(super) fn operation(&self) -> Option<&Operation> {
        self.payment.as_ref()?.first()
    }

    pub(super) fn is_at_rest(&self) -> bool {
        self.operation().is_some_and(Operation::is_at_rest)
    }

    /// Whether the engine would wake up for the payment now.
    pub(super) fn is_due(&self) -> bool {
        let waits = self.operation().is_some_and(|operation| !operation.is_at_rest());
        waits && self.pursuits.iter().any(|pursuit| !pursuit.calling && pursuit.due <= self.clocks().tick)
    }

    fn clocks(&self) -> Now {
        let wall = Timestamp::from_millis(START + self.now);
        Now { wall, tick: Tick::from_millis(self.now - self.started), clock: Clock::Trusted }
    }

    /// A millisecond passes.
    pub(super) fn pass(&mut self) {
        self.now += 1;
        self.gateway.forget(self.now);
    }

    /// A caller asks, with the payment's own parameters or with others.
    pub(super) fn ask(&mut self, system: &System, same: bool) {
        let known = self.payment.clone();
        let response = self.step(system, if same { &system.order } else { &system.other_order });
        let expected = match &known {
            None if self.told.is_none() => Response::Fresh,
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

    /// The first byte of the request leaves.
    pub(super) fn leave(&mut self) {
        if let Some(worker) = &mut self.worker {
            worker.left = true;
            self.gateway.sent(worker.attempt, self.now);
        }
    }

    /// Whether the worker may let its first byte go.
    pub(super) fn may_leave(&self) -> bool {
        let in_time = match self.operation().map(|operation| &operation.standing) {
            Some(Standing::Sent { not_after }) => self.clocks().wall <= *not_after,
            _ => false,
        };
        in_time && self.worker.is_some_and(|worker| !worker.left)
    }

    pub(super) fn deliveries(&self) -> Vec<(u32, Said)> {
        self.gateway.deliveries(self.now, self.waiting())
    }

    /// The attempt that waits for a reply.
    fn waiting(&self) -> Option<u32> {
        self.worker.filter(|worker| worker.left && worker.reply.is_none()).map(|worker| worker.attempt)
    }

    pub(super) fn deliver(&mut self, attempt: u32, said: Said) {
        let waited_for = self.waiting() == Some(attempt);
        let recognised = self.gateway.deliver(attempt, said, self.now);
        if let Some(worker) = self.worker.as_mut().filter(|_| waited_for) {
            (worker.reply, worker.recognised) = (Some(said), recognised);
        }
    }

    /// The worker reports: the reply if there is one and it is not lost, else that nothing is known, or nothing left.
    pub(super) fn report(&mut self, system: &System, lost: bool) {
        let Some(worker) = self.worker.take() else { return };
        let outcome = match worker.reply.filter(|_| !lost) {
            Some(said) => said.outcome(system.nature.turns.is_some()),
            None if worker.left || lost => Said::Nothing.outcome(false),
            None => super::Outcome::NotSent(super::Reply::new("unreachable", "")),
        };
        let _ = self.step(system, &Input::Ended { operation: 0, attempt: worker.attempt, outcome });
    }

    pub(super) fn decisions(&self) -> &'static [Said] {
        self.gateway.decisions(self.now)
    }

    pub(super) fn gateway_decides(&mut self, said: Said) {
        self.gateway.decide(said, self.now);
    }

    pub(super) fn answers(&self) -> Vec<Said> {
        let unanswered = self.question.is_some_and(|question| question.answer.is_none());
        if unanswered { self.gateway.answers(self.now) } else { Vec::new() }
    }

    pub(super) fn look(&mut self, said: Said) {
        if let Some(question) = &mut self.question {
            question.answer = Some(said);
        }
    }

    /// The answer comes back.
    pub(super) fn answered(&mut self, system: &System) {
        let Some((asked, said)) = self.question.take().and_then(|asked| Some((asked.asked, asked.answer?))) else {
            return;
        };
        let outcome = said.outcome(system.nature.turns.is_some());
        let _ = self.step(system, &Input::Answered { operation: 0, asked, outcome });
    }

    /// The process dies, and another one takes up what it finds. How long that takes is for time to say.
    pub(super) fn crash(&mut self, system: &System) {
        self.crashes += u32::from(!self.is_at_rest());
        (self.question, self.started) = (None, self.now);
        self.pursuits.clear();
        self.worker = self.worker.filter(|_| system.nature.flaw == Some(Flaw::WorkersSurvive));
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
        decision.facts.iter().for_each(|fact| self.examine(fact, system));
        self.fold(&decision.facts, now.wall);
        self.pursuits.clone_from(&decision.pursuits);
        let (actions, response) = decision.release();
        actions.into_iter().for_each(|action| self.start(action));
        if self.told.is_none() {
            self.told = self.answer();
        }
        response
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

    /// Whether an attempt may be started here, by what the gateway really did and may still do.
    fn examine(&mut self, fact: &Fact, system: &System) {
        let Fact::AttemptStarted { not_after, cause, .. } = fact else { return };
        let acted = self.gateway.decision.is_some();
        let believed = self.operation().is_some_and(|operation| operation.may_have_acted);
        if !acted && !self.gateway.may_act() && !believed {
            return;
        }
        let pending = matches!(self.operation().map(|o| &o.standing), Some(Standing::AtGateway { .. }));
        let proven = match (system.rules.contract.inquiry, cause) {
            // Asked about the one truth, it must have told it.
            (Inquiry::ByKey { .. }, Cause::ProvenNotFound { .. } | Cause::Person(_)) => {
                !acted && !self.gateway.may_act()
            }
            // It cannot say what it did, but all it did is done, or it has said that it has it.
            (Inquiry::None, Cause::SameKey | Cause::Person(_)) => pending || !self.gateway.may_act(),
            (Inquiry::ByKey { .. }, Cause::SameKey)
            | (Inquiry::None, Cause::ProvenNotFound { .. })
            | (_, Cause::First | Cause::NothingHappened) => false,
        };
        let left = not_after.as_millis() - START;
        if !proven {
            self.sin = Some(Sin::Unproven);
        } else if !self.gateway.will_remember(left) {
            self.sin = Some(Sin::DeadKey);
        }
    }

    fn start(&mut self, action: Action) {
        match action {
            Action::Send { attempt, request, .. } => {
                let recorded = self.operation().is_some_and(|operation| {
                    matches!(operation.standing, Standing::Sent { .. })
                        && operation.attempts == attempt
                        && operation.request == request
                });
                if !recorded || request != b"bytes" {
                    self.sin = Some(Sin::Unrecorded);
                }
                self.worker = Some(Worker { attempt, left: false, reply: None, recognised: false });
            }
            Action::Prepare { .. } => unreachable!("no gateway here mints ids"),
            Action::Inquire(_) => self.question = Some(Question { asked: self.clocks().tick, answer: None }),
        }
    }

    /// What a caller is told of a settled payment.
    fn answer(&self) -> Option<(Standing, Option<Timestamp>)> {
        let payment = self.payment.as_ref().filter(|payment| payment.is_settled())?;
        let standing = match &payment.first()?.standing {
            Standing::Declined { finality, reply, .. } => {
                Standing::Declined { finality: *finality, open_until: None, reply: reply.clone() }
            }
            other => other.clone(),
        };
        Some((standing, payment.settled_at))
    }

    pub(super) fn still_says_what_was_told(&self) -> bool {
        self.told == self.answer()
    }
}

/// Which times a rule of this system can ask about at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Relevance {
    /// Where nothing is sent again after doubt, nobody asks how old a key is.
    key: bool,
    /// Where the gateway can be asked, a pending operation is patient since it was last heard of.
    asked: bool,
    /// The longest age that makes a difference.
    longest: u64,
}

impl Relevance {
    fn of(system: &System) -> Relevance {
        let life = system.rules.schedule.key_life(&system.rules.contract);
        let longest = life.unwrap_or_default().max(system.rules.contract.park_after);
        Relevance {
            key: life.is_some(),
            asked: matches!(system.rules.contract.inquiry, Inquiry::ByKey { .. }),
            longest: u64::try_from(longest.as_millis()).expect("small") + 1,
        }
    }
}

/// Two states are one if nothing that can still happen tells them apart: words and absolute times do not, nor what no
/// rule looks at where the operation stands.
impl Hash for World {
    fn hash<H: Hasher>(&self, state: &mut H) {
        let payment =
            self.payment.as_ref().map(|payment| (payment.is_contradicted(), self.essence(&payment.operations[0])));
        let chase = self.pursuits.first().map(|pursuit| self.chase(pursuit));
        let worker = self.worker.map(|worker| (worker.left, worker.reply, worker.recognised));
        let far = self.gateway.essence(self.now, self.waiting());
        (payment, chase, worker, far).hash(state);
        let crashes = self.crashes.min(if self.is_at_rest() { 0 } else { u32::MAX });
        (crashes, self.sin, self.still_says_what_was_told()).hash(state);
    }
}

impl World {
    fn essence(&self, operation: &Operation) -> impl Hash + use<> {
        let wall = self.clocks().wall;
        let relevant = self.relevance;
        let age = |at: Timestamp| u64::try_from(wall.since(at).as_millis()).expect("small").min(relevant.longest);
        let ahead = |at: Timestamp| (at.as_millis() + 1).saturating_sub(wall.as_millis());
        let (standing, time) = match &operation.standing {
            Standing::Intended => (0, 0),
            Standing::Sent { not_after } => (1, ahead(*not_after)),
            Standing::AtGateway { .. } if relevant.asked => (2, 0),
            Standing::AtGateway { since, .. } => (2, age(*since)),
            Standing::InDoubt { since, .. } => (3, age(*since)),
            // Its `since` is asked about only once it is in doubt again, because another gateway was configured.
            Standing::Parked { .. } => (4, 0),
            Standing::Succeeded(_) => (5, 0),
            Standing::Declined { open_until: None, .. } => (6, 0),
            Standing::Declined { open_until: Some(until), .. } => (7, ahead(*until)),
            Standing::Canceled(_) => (8, 0),
        };
        let sendings =
            (operation.attempts, operation.may_have_acted, operation.first_sent.filter(|_| relevant.key).map(age));
        (standing, time, Some(sendings).filter(|_| !operation.is_final()))
    }

    fn chase(&self, pursuit: &Pursuit) -> impl Hash + use<> {
        let tick = self.clocks().tick;
        let ahead = |at: Tick| at.as_millis().saturating_sub(tick.as_millis());
        let age = |at: Tick| (tick.as_millis() - at.as_millis()).min(self.relevance.longest);
        // Whether times matter: of a call under way, or where nothing is chased, some do not.
        let (waits, doubt, pending) = match self.operation().map(|operation| &operation.standing) {
            Some(Standing::InDoubt { .. } | Standing::Parked { .. }) => (true, true, false),
            Some(Standing::AtGateway { .. }) => (true, true, true),
            Some(Standing::Intended | Standing::Declined { open_until: Some(_), .. }) => (true, false, false),
            _ => (false, false, false),
        };
        let heard = Some(age(pursuit.heard)).filter(|_| pending && self.relevance.asked);
        // Only whether the next question comes a spacing after the last that counted: one millisecond.
        let counted = Some((pursuit.not_founds.min(2), age(pursuit.not_found_asked).min(1)));
        let question = self.question.map(|question| {
            let believable = question.asked >= pursuit.believable_from;
            let apart = pursuit.not_founds == 0 || question.asked > pursuit.not_found_asked;
            (question.answer, doubt.then(|| (believable, apart, age(question.asked).min(1))))
        });
        let believable_from = Some(ahead(pursuit.believable_from)).filter(|_| !self.is_at_rest());
        // Every pause is one millisecond here: the engine may be late anyway, which is a longer pause.
        let due = Some(ahead(pursuit.due)).filter(|_| waits && !pursuit.calling);
        let counted = counted.filter(|(times, _)| doubt && *times > 0);
        (pursuit.calling, doubt && pursuit.inquiries > 0, counted, heard, believable_from, due, question)
    }
}

fn id() -> PaymentId {
    PaymentId::derive(&Tenant::default(), &IdempotencyKey::new("order-1").expect("a key"))
}

pub(super) fn pay(amount: u64) -> Input {
    let (amount, currency) = (Amount::new(amount).expect("an amount"), Currency::new("USD").expect("a currency"));
    let order = Order::new(amount, currency, "a", "b").expect("an order");
    let key = IdempotencyKey::new("order-1").expect("a key");
    Input::Pay {
        tenant: Tenant::default(),
        key,
        order: Box::new(order),
        request: Ok(b"bytes".to_vec()),
        manner: Manner::default(),
    }
}
