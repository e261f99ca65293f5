//! The engine, step by step, where bytes choose what happens next: callers, gateway answers, lost replies, time, crashes,
//! disk faults, checkpoints, people; beside a naive model of gateway and callers.
//!
//! Asserts: money moves at most once a key (P2), and what is said of a payment is what the gateway did (P4). What leaves
//! is durable, under the derived key, with the bytes of the accepted order, before its expiry (P1). A final answer is
//! given again for ever, across crashes (P3). Other parameters are refused, naming the fields that differ (P5). A start
//! after nothing but crashes is never refused (P7), and loses nothing that was acknowledged (P6). A machine whose disk
//! failed goes on with nothing (P8). In the end, when everybody answers, every payment is settled or parked (P6).

use std::{sync::Arc, time::Duration};

use payonce::{
    Payment, Tenant, Timestamp,
    engine::{self, Admission, Begin, Carrying, Machine, Recovered, Resting, Told, check_mark, recover},
    journal,
    payment::{
        Action, Call, Clock, Contract, Deduplication, Distrust, Encoder, Finality, Identity, Input, Inquiry, Kind,
        Lasting, Manner, Now, OperationKey, Outcome, Person, Reply, Resolution, Response, Rules, State, Tick,
        Verdict as Said,
    },
    sim::{Damage, Fault, Loss, Rng, SimDisk},
    store::{MemoryStore, Store},
};

use super::{
    choices::Choices,
    model::{Book, EPOCH_MS, Ledger, PAYMENTS, Verdict, differing, id, key, order, request},
};

/// Small, so that segments roll.
const JOURNAL: journal::Options = journal::Options {
    segment_bytes: 64 << 10,
    batch_bytes: 8 << 10,
    largest_batch_bytes: 32 << 10,
    verify_bytes: u64::MAX,
};

const HOUR: u64 = 3_600_000;
const ADMIT: usize = 8;

/// A life of several processes, then days of calm.
pub fn machine(bytes: &[u8]) {
    let mut c = Choices(bytes);
    let mut world = World::new(&mut c);
    world.start();
    for _ in 0..300 {
        if c.is_done() {
            break;
        }
        world.step(&mut c);
    }
    world.end();
}

/// A request on its way.
#[derive(Clone)]
struct Flight {
    call: Call,
    attempt: u32,
    /// No byte leaves after this.
    until: u64,
    /// Nobody acts on it after this.
    latest: u64,
    /// Whether a worker of the living process waits for the reply.
    heard: bool,
}

struct World {
    now: u64,
    wall_off: i64,
    clock: Clock,
    /// Whether it was off once, and no start has doubted since what was sent by it.
    clock_noted: bool,
    life_started: u64,
    boot: u8,
    starts: u64,
    disk: Arc<SimDisk>,
    store: Arc<MemoryStore>,
    machine: Option<Machine>,
    checkpoint: Option<Carrying>,
    resting: Vec<Resting>,
    rules: Rules,
    ledger: Ledger,
    flights: Vec<Flight>,
    questions: Vec<(Call, Tick)>,
    books: [Book; PAYMENTS],
}

fn contract(c: &mut Choices<'_>) -> Contract {
    let mut contract = Contract::standard(Identity { name: "model".into(), ..Identity::default() });
    contract.deduplication = match c.below(4) {
        0 => Deduplication::None,
        1 => Deduplication::ByKey { ttl: Duration::from_secs(2 * 3600) },
        _ => Deduplication::ByKey { ttl: Duration::from_secs(24 * 3600) },
    };
    contract.inquiry = match c.below(5) {
        0 => Inquiry::None,
        _ => Inquiry::ByKey {
            not_found_lag: Duration::from_secs(c.below(30) as u64),
            not_found_times: 1 + c.below(4) as u32,
        },
    };
    contract.max_processing = Duration::from_secs(1 + c.below(60) as u64);
    contract.deadline = Duration::from_secs(1 + c.below(15) as u64);
    contract.soft_decline_window = c.yes().then_some(Duration::from_secs(7200));
    contract
}

impl World {
    fn new(c: &mut Choices<'_>) -> World {
        let rules = Rules::new(contract(c), Encoder::plain());
        World {
            now: 0,
            wall_off: 0,
            clock: Clock::Trusted,
            clock_noted: false,
            life_started: 0,
            boot: 1,
            starts: 0,
            disk: Arc::new(SimDisk::new()),
            store: Arc::new(MemoryStore::new()),
            machine: None,
            checkpoint: None,
            resting: Vec::new(),
            rules,
            ledger: Ledger::default(),
            flights: Vec::new(),
            questions: Vec::new(),
            books: Default::default(),
        }
    }

    fn step(&mut self, c: &mut Choices<'_>) {
        if self.machine.is_none() {
            self.advance(c.word() as u64);
            if c.seldom() {
                self.disk.fail_at(self.disk.steps() + c.below(20) as u64, Fault::Stop);
            }
            return self.start();
        }
        match c.below(24) {
            0..=4 => {
                let (number, variant) = (c.below(PAYMENTS), if c.yes() { c.below(4) } else { 0 });
                self.pay(number, variant);
            }
            5..=9 => self.deliver(c, true),
            10 => self.deliver(c, false),
            11 => self.lose(c),
            12 => self.not_sent(c),
            13..=15 => self.answer(c),
            16 => self.advance(c.word() as u64),
            17 => self.advance(c.word() as u64 * 1000),
            18 => self.settle(c),
            19 => self.crash(c),
            20 => self.arm(c),
            21 => self.checkpoint(),
            22 => self.person(c),
            _ => self.put(),
        }
    }

    fn clocks(&self) -> Now {
        let wall = (EPOCH_MS + self.now).saturating_add_signed(self.wall_off);
        let tick = Tick::from_millis(self.now - self.life_started);
        Now { wall: Timestamp::from_millis(wall), tick, clock: self.clock }
    }

    fn pay(&mut self, number: usize, variant: usize) {
        let input = Input::Pay {
            tenant: Tenant::default(),
            key: key(number),
            order: Arc::new(order(number, variant)),
            request: Ok(request(number, variant)),
            manner: Manner::default(),
        };
        if self.books[number].accepted.is_none() {
            self.books[number].perhaps.insert(variant);
        }
        let Some(Told::Decided { response: Some(response), payment: Some(payment) }) =
            self.turn(vec![(id(number), input)]).into_iter().flatten().next()
        else {
            return;
        };
        let book = &mut self.books[number];
        match response {
            Response::Fresh => assert!(book.accepted.is_none(), "accepted twice"),
            Response::Attached => assert!(!payment.is_settled()),
            Response::Replayed => assert!(payment.is_settled()),
            Response::Conflict(fields) => {
                let might = |known: &usize| *known != variant && differing(*known, variant) == fields;
                let known = book.accepted.filter(might).or_else(|| {
                    let mut perhaps = book.perhaps.iter().copied().filter(|_| book.accepted.is_none());
                    perhaps.find(might)
                });
                return assert!(known.is_some(), "P5: {fields:?} do not differ");
            }
            other => panic!("{other:?}"),
        }
        assert!(book.accepted.is_none_or(|known| known == variant), "P5: other parameters were let through");
        assert!(book.perhaps.contains(&variant) && *payment.order == order(number, variant));
        book.accepted = Some(variant);
        book.answered(&payment);
        assert_eq!(self.disk.unsynced(), 0, "P3: an answer leaves before it is durable");
        self.ledger.check_truth(&payment);
    }

    /// One turn, and everything that comes of it. `None`: there is no process, or it stopped here.
    fn turn(&mut self, inputs: Vec<(payonce::PaymentId, Input)>) -> Option<Vec<Told>> {
        let now = self.clocks();
        let mut machine = self.machine.take()?;
        let turned = match machine.turn(now, &inputs, Admission::of(ADMIT)) {
            Ok(turned) => turned,
            Err(_) => {
                assert!(
                    !self.disk.has_failed() || machine.turn(now, &inputs, Admission::of(ADMIT)).is_err(),
                    "P8: it went on after a failed write or fsync"
                );
                drop(machine);
                self.die(Loss::Process, 0);
                return None;
            }
        };
        assert!(!turned.told.iter().any(|told| matches!(told, Told::Defect)), "deciding panicked");
        for payment in &turned.changed {
            self.ledger.check_truth(payment);
        }
        self.resting.extend(turned.resting);
        for action in turned.actions {
            self.act(action, &machine, &now);
        }
        self.machine = Some(machine);
        Some(turned.told)
    }

    fn act(&mut self, action: Action, machine: &Machine, now: &Now) {
        let (call, attempt, bytes, not_after) = match action {
            Action::Prepare { .. } => unreachable!("no gateway here mints ids"),
            Action::Inquire(call) => return self.questions.push((call, now.tick)),
            Action::Send { call, attempt, request, not_after } => (call, attempt, request, not_after),
        };
        assert_eq!(self.disk.unsynced(), 0, "P1: bytes leave before they are durable");
        let payment = machine.get(&call.payment).expect("a store").expect("P1: it is recorded");
        assert_eq!(payment.operations[call.operation as usize].attempts, attempt, "P1: the attempt is recorded");
        let name = &payment.operations[call.operation as usize].key;
        let derived = OperationKey::derive(&self.rules.namespace, &payment.id, call.kind, name);
        assert_eq!((call.operation_key, call.amount), (derived, payment.order.amount));
        // The engine's own void of what waits beyond its order's expiry is the only other one.
        assert!(call.operation == 0 || call.kind == Kind::Void);
        let sent_before = |variant: &usize| {
            let number = (0..PAYMENTS).find(|number| id(*number) == payment.id).expect("one of ours");
            *payment.order == order(number, *variant) && bytes == request(number, *variant)
        };
        if call.operation == 0 {
            assert!((0..4).any(|variant| sent_before(&variant)), "P1: other bytes than were accepted");
            assert!(payment.order.expires_at.is_none_or(|expiry| now.wall < expiry), "sent after its expiry");
        }
        let mut others = self.flights.iter().filter(|flight| flight.call.operation_key == derived);
        assert!(others.all(|flight| !flight.heard), "two attempts at once");
        if self.rules.contract.deduplication == Deduplication::None {
            let on_its_way = self.flights.iter().any(|flight| flight.call.operation_key == derived);
            assert!(!on_its_way && !self.ledger.knows(&derived), "P2: sent again to one that would not notice");
        }
        let until = self.now + not_after.since(now.wall).as_millis() as u64;
        let latest = until + self.held_back();
        self.flights.push(Flight { call, attempt, until, latest, heard: true });
    }

    /// How long after the last byte may have left the gateway may still act.
    fn held_back(&self) -> u64 {
        let skew = self.rules.schedule.skew.as_millis() as u64;
        skew - 1 + self.rules.contract.max_processing.as_millis() as u64
    }

    fn ended(&mut self, flight: &Flight, outcome: Outcome) {
        if flight.heard {
            let input = Input::Ended { operation: flight.call.operation, attempt: flight.attempt, outcome };
            self.turn(vec![(flight.call.payment, input)]);
        }
    }

    /// A request arrives, whether or not anybody waits for it any more.
    fn deliver(&mut self, c: &mut Choices<'_>, reply_arrives: bool) {
        if self.flights.is_empty() {
            return;
        }
        let flight = self.flights.swap_remove(c.below(self.flights.len()));
        let soft = self.rules.contract.soft_decline_window.is_some();
        let key = flight.call.operation_key;
        let outcome = match c.below(8) {
            0..=3 => self.ledger.deliver(self.now, key, Verdict::Moved, &self.rules),
            4 => self.ledger.deliver(self.now, key, Verdict::Declined(Finality::Hard), &self.rules),
            5 if soft => self.ledger.deliver(self.now, key, Verdict::Declined(Finality::Soft), &self.rules),
            5 | 6 => self.ledger.deliver(self.now, key, Verdict::Pending, &self.rules),
            _ if self.ledger.knows(&key) => self.ledger.deliver(self.now, key, Verdict::Moved, &self.rules),
            _ => {
                let lasting = if c.yes() { Lasting::ForGood } else { Lasting::ForNow { retry_after: None } };
                Outcome::Refused(lasting, Reply::new("refused", "never executed"))
            }
        };
        let lost = Outcome::Unknown(Reply::new("timeout", "no reply came"));
        self.ended(&flight, if reply_arrives { outcome } else { lost });
    }

    /// The worker gives up; what it sent may still arrive.
    fn lose(&mut self, c: &mut Choices<'_>) {
        if self.flights.is_empty() {
            return;
        }
        let place = c.below(self.flights.len());
        let flight = self.flights[place].clone();
        self.flights[place].heard = false;
        self.ended(&flight, Outcome::Unknown(Reply::new("reset", "the connection broke")));
    }

    fn not_sent(&mut self, c: &mut Choices<'_>) {
        let heard: Vec<usize> = (0..self.flights.len()).filter(|place| self.flights[*place].heard).collect();
        let Some(place) = heard.get(c.below(heard.len())) else { return };
        let flight = self.flights.swap_remove(*place);
        self.ended(&flight, Outcome::NotSent(Reply::new("refused", "nobody listens")));
    }

    fn answer(&mut self, c: &mut Choices<'_>) {
        if self.questions.is_empty() {
            return;
        }
        let (call, asked) = self.questions.swap_remove(c.below(self.questions.len()));
        let (blind, lags) = (c.below(4) == 3, c.yes());
        let outcome = match self.rules.contract.inquiry {
            Inquiry::ByKey { not_found_lag, .. } if !blind => {
                self.ledger.answer(self.now, &call.operation_key, not_found_lag.as_millis() as u64, lags)
            }
            Inquiry::ByKey { .. } | Inquiry::None => Outcome::Unknown(Reply::new("timeout", "no answer came")),
        };
        self.turn(vec![(call.payment, Input::Answered { operation: call.operation, asked, outcome })]);
    }

    /// Time passes: what is due is done, workers give up, and what was too long on its way never arrives.
    fn advance(&mut self, millis: u64) {
        let end = self.now + millis;
        for _ in 0..64 {
            let due = self.machine.as_ref().and_then(Machine::next_due);
            let due = due.map_or(u64::MAX, |due| (self.life_started + due.as_millis()).max(self.now));
            let given_up = self.flights.iter().filter(|flight| flight.heard).map(|flight| flight.until.max(self.now));
            let given_up = given_up.min().unwrap_or(u64::MAX);
            if due.min(given_up) > end {
                break;
            }
            self.now = due.min(given_up);
            if given_up <= due {
                self.give_up();
            } else {
                let now = self.clocks();
                let inputs = self.machine.as_ref().map(|machine| machine.due(&now, 64)).unwrap_or_default();
                self.turn(inputs);
            }
        }
        self.now = end;
        // Workers look at the clock themselves: none outlives its attempt.
        while self.flights.iter().any(|flight| flight.heard && flight.until <= self.now) {
            self.give_up();
        }
        let now = self.now;
        self.flights.retain(|flight| flight.latest >= now);
    }

    fn give_up(&mut self) {
        let over = |flight: &Flight| flight.heard && flight.until <= self.now;
        let Some(place) = self.flights.iter().position(over) else { return };
        let flight = self.flights[place].clone();
        self.flights[place].heard = false;
        self.ended(&flight, Outcome::Unknown(Reply::new("timeout", "no reply came in time")));
    }

    fn settle(&mut self, c: &mut Choices<'_>) {
        let pending = self.ledger.pending();
        if let Some(key) = pending.get(c.below(pending.len())) {
            self.ledger.settle(*key, c.yes());
        }
    }

    fn arm(&mut self, c: &mut Choices<'_>) {
        let fault = [Fault::Stop, Fault::Io, Fault::Full][c.below(3)];
        self.disk.fail_at(self.disk.steps() + c.below(8) as u64, fault);
    }

    fn crash(&mut self, c: &mut Choices<'_>) {
        let damage = Damage::ALL[c.below(8)];
        let loss = if c.yes() { Loss::Process } else { Loss::Machine(damage) };
        self.die(loss, c.byte().into());
        if c.seldom() {
            self.wall_off += (c.word() as i64 - 32_768) * 100;
        }
    }

    fn die(&mut self, loss: Loss, seed: u64) {
        (self.machine, self.checkpoint) = (None, None);
        self.resting.clear();
        self.questions.clear();
        let latest = self.now + self.held_back();
        for flight in &mut self.flights {
            (flight.heard, flight.latest) = (false, flight.latest.min(latest));
        }
        let mut rng = Rng::new(seed);
        self.disk.crash(loss, &mut rng);
        self.boot += u8::from(loss != Loss::Process);
        // A killed process loses the last batches, a lost machine rows of any age.
        let mut left = rng.below(50);
        self.store.crash(|| {
            left = left.saturating_sub(1);
            if loss == Loss::Process { left > 0 } else { rng.one_in(2) }
        });
    }

    fn start(&mut self) {
        (self.life_started, self.starts) = (self.now, self.starts + 1);
        match self.recover() {
            Ok(Recovered { machine, resume, .. }) => {
                for (number, book) in self.books.iter().enumerate() {
                    let payment = machine.get(&id(number)).expect("a store");
                    book.check(number, payment.as_deref());
                    payment.iter().for_each(|payment| self.ledger.check_truth(payment));
                }
                self.machine = Some(machine);
                self.turn(resume);
            }
            Err(_) if self.disk.has_failed() => self.die(Loss::Process, 1),
            Err(error) => panic!("P7: a start was refused: {error}"),
        }
    }

    /// What the runtime does at a start.
    fn recover(&mut self) -> Result<Recovered, engine::OpenError> {
        let found = journal::open(self.disk.clone(), JOURNAL)?;
        let boot_id = [self.boot; 16];
        let whole = match self.store.mark().expect("in memory") {
            Some(mark) => check_mark(&found, &mark)?,
            None => found.is_new(),
        };
        let other_boot = !found.is_new() && found.closed().is_none() && found.boot_id() != Some(boot_id);
        let rebuild = !whole || other_boot;
        if rebuild {
            self.store = Arc::new(MemoryStore::new());
        }
        let recorded = found.last_wall().unwrap_or_default();
        let behind = recorded.since(self.clocks().wall) > self.rules.schedule.skew;
        self.clock = if behind { Clock::Diverged } else { Clock::Trusted };
        self.clock_noted |= behind;
        let begin = Begin {
            rules: self.rules.clone().into(),
            journal: journal::Begin { store_uuid: [7; 16], salt: self.starts, boot_id, lock_inode: 1 },
            rebuild,
            moved: false,
            distrust: self.clock_noted.then_some(Distrust::Clock),
            now: self.clocks().wall,
        };
        let recovered = recover(found, self.store.clone(), begin)?;
        self.clock_noted = behind;
        Ok(recovered)
    }

    /// The store takes what came to rest.
    fn put(&mut self) {
        let Some(machine) = &mut self.machine else { return };
        let taken: Vec<_> = self.resting.iter().map(|row| (row.payment.id, row.lsn)).collect();
        engine::put(self.store.as_ref(), std::mem::take(&mut self.resting), &machine.mark()).expect("in memory");
        machine.stored(&taken);
    }

    /// Begun, or finished: whatever happened in between must not matter.
    fn checkpoint(&mut self) {
        self.put();
        let wall = self.clocks().wall;
        let Some(machine) = &mut self.machine else { return };
        let done = match self.checkpoint.take() {
            None => machine.begin_checkpoint(wall, 1).map(|begun| self.checkpoint = Some(begun)),
            Some(begun) => machine.finish_checkpoint(wall, begun, self.store.flush().expect("in memory")).map(drop),
        };
        if done.is_err() {
            self.die(Loss::Process, 2);
        }
    }

    /// A person who looks at the gateway's own pages, and says what is there.
    fn person(&mut self, c: &mut Choices<'_>) {
        let number = c.below(PAYMENTS);
        let Some(payment) = self.machine.as_ref().and_then(|machine| machine.get(&id(number)).expect("a store")) else {
            return;
        };
        let Some(first) = payment.operations.first() else { return };
        let operation_key = first.operation_key;
        let on_its_way = self.flights.iter().any(|flight| flight.call.operation_key == operation_key);
        let may_yet_move = on_its_way || self.ledger.is_pending(&operation_key);
        let moved = self.ledger.moved(&operation_key) == 1;
        let verdict = match c.below(5) {
            0 => {
                self.turn(vec![(id(number), Input::Inquire)]);
                return;
            }
            1 => Said::Resend,
            2 => Said::Cancel,
            _ if moved => Said::Succeeded,
            _ if !may_yet_move => Said::Declined,
            _ => return,
        };
        let person = Person { actor: "olga".to_owned(), reason: "looked it up".to_owned() };
        // About what was looked at: the engine's own void may be in doubt besides.
        let operation = Some(first.this.number);
        let resolution = Resolution { operation, verdict, reply: None, person };
        self.turn(vec![(id(number), Input::Resolve(resolution))]);
    }

    /// Everybody answers, and nothing fails any more.
    fn end(&mut self) {
        self.disk.make_space();
        for key in self.ledger.pending() {
            self.ledger.settle(key, true);
        }
        // Two payments that look every minute until a doubtful clock has let a day pass wake up three thousand times.
        for _ in 0..20_000 {
            if self.machine.is_none() {
                self.start();
            }
            while !self.flights.is_empty() || !self.questions.is_empty() {
                if let Some(flight) = self.flights.pop() {
                    let outcome = self.ledger.deliver(self.now, flight.call.operation_key, Verdict::Moved, &self.rules);
                    self.ended(&flight, outcome);
                }
                self.answer(&mut Choices(&[]));
            }
            if self.machine.is_some() && self.payments().all(|payment| has_ended(&payment)) {
                break;
            }
            // To the next thing that is due: what leaves then is delivered and answered then.
            let due = self.machine.as_ref().and_then(Machine::next_due).map_or(u64::MAX, Tick::as_millis);
            self.advance(due.saturating_add(self.life_started).saturating_sub(self.now).clamp(1, HOUR / 6));
        }
        for payment in self.payments() {
            assert!(has_ended(&payment), "P6: still {} at the end of time: {payment:?}", payment.state().as_str());
            self.ledger.check_truth(&payment);
        }
    }

    fn payments(&self) -> impl Iterator<Item = Arc<Payment>> {
        let machine = self.machine.as_ref().expect("nothing fails any more");
        (0..PAYMENTS).filter_map(|number| machine.get(&id(number)).expect("a store"))
    }
}

fn has_ended(payment: &Payment) -> bool {
    payment.is_settled() || payment.state() == State::Parked
}
