//! One world from one seed: virtual time, events in order, crashes anywhere.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
};

use super::{
    Oracle, Rng, SimDisk, SimGateway, Violation, Weather,
    company::{Company, Crossed, crossed},
    operators::Operators,
    oracle::has_ended,
    people,
    start::reads_the_same,
};
use crate::{
    engine::{Admission, Carrying, Machine, Resting},
    journal,
    payment::{
        Action, Call, Clock, Encoder, IdempotencyKey, Input, Inquiry, Now, Order, PaymentId, Rules, Tenant, Tick,
        Timestamp,
    },
    store::{Mark, MemoryStore},
};

/// What a world is made of.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// How many payments.
    pub payments: u32,
    /// Tells its story line by line, for a person to read.
    pub tell: bool,
    /// Stops after this many events: for shrinking.
    pub events: u64,
}

impl Default for Options {
    fn default() -> Options {
        Options { payments: 100, tell: false, events: u64::MAX }
    }
}

/// What came of one world.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// The seed.
    pub seed: u64,
    /// How many payments were asked for.
    pub payments: u64,
    /// How many ended settled, and how many parked.
    pub settled: u64,
    /// How many ended parked.
    pub parked: u64,
    /// How often the process or the machine died.
    pub crashes: u64,
    /// How many of those while starting.
    pub crashes_in_recovery: u64,
    /// How many sendings were started.
    pub sendings: u64,
    /// How many of them went to another gateway than the first attempt may have gone to.
    pub elsewhere: u64,
    /// How many inquiries.
    pub inquiries: u64,
    /// How many milliseconds of virtual time passed.
    pub virtual_ms: u64,
    /// How often the oracle asked for a promise.
    pub checks: u64,
    /// How many events happened.
    pub events: u64,
    /// The promise that broke first.
    pub violation: Option<Violation>,
    /// Equal for equal runs.
    pub trace: u64,
    /// What happened, if that was asked for.
    pub story: Vec<String>,
}

/// Virtual time begins in 2026.
pub(super) const EPOCH_MS: u64 = 1_770_000_000_000;

/// The journal of a simulated world: small, so that segments roll.
pub(super) const JOURNAL: journal::Options = journal::Options {
    segment_bytes: 96 << 10,
    batch_bytes: 16 << 10,
    largest_batch_bytes: 64 << 10,
    verify_bytes: 1 << 30,
};

/// Lives one world to its end.
pub fn run(seed: u64, options: Options) -> Report {
    let mut world = World::new(seed, options);
    world.live();
    world.finish()
}

/// Lives a world in which these are asked for, to its end: payments that once happened, with other luck.
pub fn relive(seed: u64, orders: &[(Tenant, IdempotencyKey, Arc<Order>)]) -> Report {
    let payments = u32::try_from(orders.len()).unwrap_or(u32::MAX);
    let mut world = World::new(seed, Options { payments, ..Options::default() });
    for (caller, (tenant, key, order)) in world.callers.iter_mut().zip(orders) {
        (caller.tenant, caller.key, caller.order) = (tenant.clone(), key.clone(), Order::clone(order));
    }
    world.live();
    world.finish()
}

/// The shortest beginning of a world, with the fewest payments, that still breaks a promise; told line by line.
pub fn shrink(seed: u64, options: Options) -> Report {
    let broken = |options: Options| Some(run(seed, options)).filter(|report| report.violation.is_some());
    let mut best = options;
    for payments in [1, 2, 3, 5, 8, 13, 21, 34, 55] {
        if payments < best.payments && broken(Options { payments, ..best }).is_some() {
            best.payments = payments;
            break;
        }
    }
    if let Some(report) = broken(best) {
        best.events = report.events;
    }
    run(seed, Options { tell: true, ..best })
}

/// Something that will happen.
#[derive(Clone, Debug)]
pub(super) enum What {
    /// A caller asks, or asks again.
    Ask(usize),
    /// A caller captures, voids or refunds.
    GoOn(usize),
    /// A request for an id reaches the gateway.
    Mint { life: u64, call: Call },
    /// A request reaches the gateway; its reply, if anybody hears it, comes at the given time.
    Deliver { call: Call, attempt: u32, reply_at: Option<u64>, mangled: bool, life: u64 },
    /// The engine hears something.
    Hear { life: u64, payment: PaymentId, input: Input },
    /// An inquiry reaches the gateway.
    Question { life: u64, call: Call, asked: Tick },
    /// The schedule wants to be looked at.
    Wake,
    /// The gateway, or somebody in its name, says something by itself.
    News { call: Call, number: u64 },
    /// A person looks into a caller's payment.
    Person(usize),
    /// What waited for company is decided on.
    Company { life: u64 },
    /// The store takes what has waited for it.
    Keep { life: u64 },
    /// A checkpoint is begun, or finished.
    Checkpoint,
    /// The process dies, or the machine.
    Crash,
    /// The process is started.
    Start,
}

pub(super) struct Caller {
    pub(super) tenant: Tenant,
    pub(super) key: IdempotencyKey,
    pub(super) order: Order,
    /// It has its final answer, or has gone.
    pub(super) done: bool,
    pub(super) asks_left: u32,
}

impl Caller {
    pub(super) fn id(&self) -> PaymentId {
        PaymentId::derive(&self.tenant, &self.key)
    }
}

pub(super) struct World {
    pub(super) rng: Rng,
    pub(super) options: Options,
    pub(super) now: u64,
    /// How far the wall clock is off.
    pub(super) wall_off: i64,
    pub(super) clock: Clock,
    /// Whether it was off once, and no start has doubted since what was sent by it.
    pub(super) clock_noted: bool,
    pub(super) queue: BTreeMap<(u64, u64), What>,
    pub(super) sequence: u64,
    pub(super) disk: Arc<SimDisk>,
    pub(super) store: Arc<MemoryStore>,
    pub(super) machine: Option<Machine>,
    pub(super) rules: Rules,
    /// Which process this is; replies to a dead one are heard by nobody.
    pub(super) life: u64,
    pub(super) life_started: u64,
    pub(super) boot: u64,
    pub(super) checkpoint: Option<Carrying>,
    /// Rows on their way to the store, which lags behind.
    pub(super) lag: VecDeque<(Vec<Resting>, Mark)>,
    pub(super) gateway: SimGateway,
    /// Where there are two gateways, their chances.
    pub(super) routing: Option<Rng>,
    pub(super) operators: Option<Operators>,
    /// Where payments are decided on together, what waits for the next turn.
    pub(super) company: Option<Company>,
    pub(super) callers: Vec<Caller>,
    pub(super) oracle: Oracle,
    pub(super) report: Report,
    pub(super) calm: bool,
    pub(super) woken: BTreeSet<u64>,
}

impl World {
    fn new(seed: u64, options: Options) -> World {
        let mut rng = Rng::new(seed);
        let contract = people::contract(&mut rng);
        let weather = Weather::draw(&mut rng);
        let gateway = SimGateway::new(contract.clone(), weather, rng.fork());
        let rules = Rules::new(contract, Encoder::plain());
        let mut world = World {
            options,
            now: 0,
            wall_off: 0,
            clock: Clock::Trusted,
            clock_noted: false,
            queue: BTreeMap::new(),
            sequence: 0,
            disk: Arc::new(SimDisk::new()),
            store: Arc::new(MemoryStore::new()),
            machine: None,
            rules,
            life: 0,
            life_started: 0,
            boot: 1,
            checkpoint: None,
            lag: VecDeque::new(),
            gateway,
            // A chance of its own, so that worlds with one gateway are what they were before there could be two.
            routing: (seed % 3 == 2).then(|| Rng::new(!seed)),
            operators: (seed % 3 == 2).then(|| Operators::new(!seed)),
            company: seed.is_multiple_of(5).then(|| Company::new(!seed)),
            callers: Vec::new(),
            oracle: Oracle::default(),
            report: Report { seed, ..Report::default() },
            calm: false,
            woken: BTreeSet::new(),
            rng,
        };
        world.populate();
        world
    }

    pub(super) fn at(&mut self, at: u64, what: What) {
        self.sequence += 1;
        self.queue.insert((at.max(self.now), self.sequence), what);
    }

    pub(super) fn note(&mut self, line: impl FnOnce() -> String) {
        if self.options.tell {
            let line = format!("{:>12.3} s  {}", self.now as f64 / 1000.0, line());
            self.report.story.push(line);
        }
    }

    /// Folds a number into the trace: equal runs have equal traces.
    pub(super) fn trace(&mut self, value: u64) {
        self.report.trace = (self.report.trace ^ value).wrapping_mul(0x0000_0100_0000_01b3).rotate_left(17);
    }

    /// As long as callers ask and processes die, there is trouble; then the sun comes out, and everything has to end.
    fn live(&mut self) {
        let last = self.queue.last_key_value().map_or(0, |((at, _), _)| *at);
        self.drain_until(last);
        self.calm = true;
        self.gateway.weather = Weather::CALM;
        self.disk.make_space();
        if self.machine.is_none() {
            self.at(self.now, What::Start);
        }
        let end = self.now + 10 * 24 * 3_600_000;
        while self.now < end && !self.all_ended() {
            let hour = self.now + 3_600_000;
            self.at(hour, What::Wake);
            self.drain_until(hour);
            if self.oracle.violation.is_some() || self.report.events >= self.options.events {
                return;
            }
        }
    }

    /// Whether nothing is left that time alone, and a gateway that answers, would end.
    fn all_ended(&self) -> bool {
        self.machine.as_ref().is_some_and(|machine| {
            let payment = |caller: &Caller| machine.get(&caller.id()).ok().flatten();
            self.callers.iter().filter_map(payment).all(|payment| has_ended(&payment, &self.gateway))
        })
    }

    fn drain_until(&mut self, end: u64) {
        while self.oracle.violation.is_none() && self.report.events < self.options.events {
            if self.queue.first_key_value().is_none_or(|((at, _), _)| *at > end) {
                break;
            }
            let Some(((at, _), what)) = self.queue.pop_first() else { break };
            self.now = at;
            self.report.events += 1;
            self.trace(at);
            self.happen(what);
            self.oracle.moved(&self.gateway);
        }
    }

    fn happen(&mut self, what: What) {
        match what {
            What::Ask(caller) => self.ask(caller),
            What::GoOn(caller) => self.go_on(caller),
            What::Mint { life, call } => self.mint(life, &call),
            What::Deliver { call, attempt, reply_at, mangled, life } => {
                let outcome = self.gateway.deliver(self.now, &call, mangled);
                self.speak_of(&call);
                self.note(|| format!("gateway: {} of {} -> {}", call.kind.as_str(), call.payment, outcome.name()));
                if let Some(at) = reply_at {
                    let input = Input::Ended { operation: call.operation, attempt, outcome };
                    self.at(at, What::Hear { life, payment: call.payment, input });
                }
            }
            What::Hear { life, payment, input } if life == self.life => self.turn(vec![(payment, input)]),
            What::Hear { .. } => {}
            What::Question { life, call, asked } => self.question(life, call, asked),
            What::Wake => self.wake(),
            What::News { call, number } => self.news(&call, number),
            What::Person(caller) => self.person(caller),
            What::Keep { life } if life == self.life && self.now.is_multiple_of(3) => self.keep_some(),
            What::Keep { life } if life == self.life => self.keep(),
            What::Company { life } if life == self.life => self.decide_what_waits(),
            What::Keep { .. } | What::Company { .. } => {}
            What::Checkpoint => self.checkpoint(),
            What::Crash => self.crash(),
            What::Start => self.start(),
        }
    }

    pub(super) fn clocks(&self) -> Now {
        let wall = (EPOCH_MS + self.now).saturating_add_signed(self.wall_off);
        let tick = Tick::from_millis(self.now - self.life_started);
        Now { wall: Timestamp::from_millis(wall), tick, clock: self.clock }
    }

    fn question(&mut self, life: u64, call: Call, asked: Tick) {
        let outcome = self.gateway.answer(self.now, &call);
        self.note(|| format!("gateway: asked about {} -> {}", call.payment, outcome.name()));
        let input = Input::Answered { operation: call.operation, asked, outcome };
        let at = self.now + self.rng.between(1, 500);
        self.at(at, What::Hear { life, payment: call.payment, input });
    }

    fn mint(&mut self, life: u64, call: &Call) {
        let outcome = self.gateway.prepare(call);
        self.note(|| format!("gateway: an id for {} -> {}", call.payment, outcome.name()));
        let input = Input::Prepared { operation: call.operation, outcome };
        let at = self.now + self.rng.between(1, 500);
        self.at(at, What::Hear { life, payment: call.payment, input });
    }

    fn wake(&mut self) {
        self.woken.remove(&self.now);
        let now = self.clocks();
        let due = self.machine.as_ref().map(|machine| machine.due(&now, 64)).unwrap_or_default();
        if !due.is_empty() {
            self.turn_at_once(due);
        }
        self.wake_when_due();
    }

    fn wake_when_due(&mut self) {
        let Some(due) = self.machine.as_ref().and_then(Machine::next_due) else { return };
        let at = (self.life_started + due.as_millis()).max(self.now + 1);
        if self.woken.insert(at) {
            self.at(at, What::Wake);
        }
    }

    pub(super) fn decide(&mut self, inputs: &[(PaymentId, Input)], admission: Admission) {
        let now = self.clocks();
        let Some(mut machine) = self.machine.take() else { return };
        self.change_shut(&mut machine);
        if !self.operate(&mut machine) {
            return self.die();
        }
        let (crossed, before) = (crossed(inputs, &machine), machine.durable());
        let turned = machine.turn(now, inputs, admission);
        let Ok(turned) = turned else {
            self.note(|| "the engine stopped: the disk failed".to_owned());
            // Whatever would be recorded now must be refused: the journal is poisoned.
            if self.disk.has_failed() && machine.sizes().0 > 0 && machine.begin_checkpoint(now.wall, 1).is_ok() {
                self.oracle.went_on();
            }
            return self.die();
        };
        self.trace(machine.durable().get());
        for ((id, input), told) in inputs.iter().zip(&turned.told) {
            self.told(*id, input, told);
            self.oracle.read_beside(*id, reads_the_same(&mut machine, id));
        }
        for row in &turned.resting {
            self.oracle.rests_as_recorded(row.payment.id, row.lsn > before);
        }
        for action in turned.actions {
            self.act(action, &machine, &now, &crossed);
        }
        self.lag.push_back((turned.resting, machine.mark()));
        self.machine = Some(machine);
        // Mostly at once; at times the store is minutes behind, and what it lacks has to be in memory.
        let behind = if self.rng.one_in(3) { self.rng.below(60_000) } else { 0 };
        self.at(self.now + behind, What::Keep { life: self.life });
        self.wake_when_due();
    }

    fn act(&mut self, action: Action, machine: &Machine, now: &Now, crossed: &Crossed) {
        self.obeys_pauses(&action);
        if let Action::Send { call, attempt, .. } = &action {
            let payment = machine.get(&call.payment).ok().flatten();
            self.oracle.sending(&action, payment.as_deref(), now.wall, &self.disk);
            if matches!(self.rules.contract.inquiry, Inquiry::ByKey { .. }) {
                let then = crossed.get(&call.payment).unwrap_or(&payment);
                self.oracle.sending_is_wanted(call, then.as_deref());
            }
            if *attempt > 1 {
                let same = |other: &Call| other.operation_key == call.operation_key;
                let arrives = |what: &What| matches!(what, What::Deliver { call: other, .. } if same(other));
                let again = payment.as_ref().and_then(|payment| payment.operations.get(call.operation as usize));
                let known = again.is_some_and(|operation| self.gateway.can_tell(operation));
                self.oracle.sending_again(call, self.queue.values().any(arrives), known);
            }
            let minted = payment.as_ref().and_then(|payment| payment.first()?.prepared.clone());
            self.oracle.sent_under_its_id(call, minted.as_deref(), self.rules.contract.mints_id_first);
        }
        match action {
            Action::Prepare { call, .. } => {
                let unsynced = self.disk.unsynced();
                self.oracle.asked_for_an_id(call.payment, unsynced);
                let at = self.now + self.rng.between(1, 500);
                self.at(at, What::Mint { life: self.life, call });
            }
            Action::Send { call, attempt, request: _, not_after } => {
                self.report.sendings += 1;
                let elsewhere = attempt > 1 && call.gateway != self.rules.contract.identity;
                self.report.elsewhere += u64::from(elsewhere);
                let skew = self.rules.schedule.skew.as_millis() as u64;
                let until = self.now + not_after.since(now.wall).as_millis() as u64;
                let course = self.gateway.send(self.now, until, skew);
                self.note(|| format!("engine: sends attempt {attempt} of {}", call.payment));
                let (payment, operation) = (call.payment, call.operation);
                if let Some(at) = course.delivered_at {
                    let reply_at = (!course.unheard).then_some(course.answered_at);
                    let mangled = course.is_mangled();
                    self.at(at, What::Deliver { call, attempt, reply_at, mangled, life: self.life });
                }
                if let Some(outcome) = course.fixed {
                    let input = Input::Ended { operation, attempt, outcome };
                    self.at(course.answered_at, What::Hear { life: self.life, payment, input });
                }
            }
            Action::Inquire(call) => {
                self.report.inquiries += 1;
                let at = self.now + self.rng.between(1, 500);
                self.at(at, What::Question { life: self.life, call, asked: now.tick });
            }
        }
    }

    fn finish(mut self) -> Report {
        if self.oracle.violation.is_none() && self.options.events == u64::MAX {
            self.gateway.settle(self.now);
            self.end();
        }
        self.report.checks = self.oracle.checks();
        self.report.virtual_ms = self.now;
        self.report.payments = self.callers.len() as u64;
        self.report.violation = self.oracle.violation;
        self.report
    }

    fn end(&mut self) {
        let Some(machine) = self.machine.take() else {
            return self.oracle.refused("no process is up at the end of time");
        };
        for caller in &self.callers {
            let id = caller.id();
            let Ok(Some(payment)) = machine.get(&id) else { continue };
            self.oracle.ended(&payment, &self.gateway);
            self.report.settled += u64::from(payment.is_settled());
            self.report.parked += u64::from(!payment.is_settled());
        }
    }
}
