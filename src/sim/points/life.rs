//! One data folder through processes and machines, as a script tells.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use super::{
    super::{
        Fault, Loss, Rng, SimDisk, Violation, routing,
        start::{Boot, keep, start},
    },
    scripts::{Act, End, Like, Part, Script},
};
use crate::{
    engine::{self, Admission, Carrying, Machine, Received, Recovered, Stopped},
    journal,
    payment::{
        Action, Amount, Call, Capture, Clock, Currency, Encoder, Finality, FollowUp, IdempotencyKey, Identity, Input,
        Kind, Lasting, Manner, Namespace, Now, Operation, OperationKey, Order, Outcome, Payment, PaymentId, Person,
        Reply, Resolution, Rules, Standing, Tenant, Tick, Timestamp, Verdict, Webhook,
    },
    store::{MemoryStore, Store},
};

/// Small, so that segments roll within a few turns, and a point takes a fraction of a millisecond.
const JOURNAL: journal::Options = journal::Options {
    segment_bytes: 16 << 10,
    batch_bytes: 2 << 10,
    largest_batch_bytes: 8 << 10,
    verify_bytes: 1 << 30,
};

/// What became of a start after an end.
pub(super) enum Start {
    /// Everything known is still true.
    Kept,
    /// It named damage and refused.
    Refused(String),
    Broken(Violation),
}

pub(super) struct Life {
    pub(super) disk: Arc<SimDisk>,
    /// The step of the disk at which something strikes, and what: processes of the script's own come and go meanwhile.
    pub(super) fault: Option<(u64, Fault)>,
    /// The first promise that broke while it lived.
    pub(super) broken: Option<Violation>,
    script: &'static Script,
    store: Arc<MemoryStore>,
    machine: Option<Machine>,
    boot: u8,
    epochs: u64,
    tick: u64,
    /// What somebody has been told, or what may have reached the gateway.
    known: BTreeMap<PaymentId, Arc<Payment>>,
    /// What was said last about each: recorded or not, it is true.
    heard: BTreeMap<(PaymentId, u32), End>,
    /// The gateway's own ids under which something was sent.
    sent_under: BTreeMap<PaymentId, String>,
    /// The gateways at which what was sent may have acted: by what was heard, recorded or not.
    sent_to: BTreeMap<(PaymentId, u32), Identity>,
    /// The news of which the gateway has heard that it came.
    news: BTreeSet<&'static str>,
}

impl Life {
    pub(super) fn new(script: &'static Script) -> Life {
        Life {
            disk: Arc::new(SimDisk::new()),
            fault: None,
            broken: None,
            script,
            store: Arc::new(MemoryStore::new()),
            machine: None,
            boot: 1,
            epochs: 0,
            tick: 0,
            known: BTreeMap::new(),
            heard: BTreeMap::new(),
            sent_under: BTreeMap::new(),
            sent_to: BTreeMap::new(),
            news: BTreeSet::new(),
        }
    }

    /// The same folder, to be treated in another way. The store is not kept: what it holds is a start's own affair, and
    /// a start that has to rebuild it reads most.
    pub(super) fn fork(&self) -> Life {
        let (known, heard, disk) = (self.known.clone(), self.heard.clone(), Arc::new(self.disk.fork()));
        let (sent_under, sent_to, news) = (self.sent_under.clone(), self.sent_to.clone(), self.news.clone());
        let store = Arc::new(MemoryStore::new());
        Life { disk, store, machine: None, broken: None, known, heard, sent_under, sent_to, news, ..*self }
    }

    pub(super) fn die(&self, loss: Loss, rng: &mut Rng) -> Life {
        let mut dead = self.fork();
        dead.disk.crash(loss, rng);
        dead.boot += u8::from(matches!(loss, Loss::Machine(_)));
        dead
    }

    /// Until the script ends, or the disk fails. Without space it goes on: what is refused is nobody's loss.
    pub(super) fn live(&mut self) {
        let mut lived = self.start();
        for act in self.script.acts {
            lived = match lived {
                Err(_) if self.disk.has_failed() => break,
                Err(_) | Ok(()) => self.act(*act),
            };
        }
        if lived.is_err() && self.disk.has_failed() {
            self.must_have_stopped();
        }
        self.machine = None;
    }

    /// P8: after a failed write or fsync of its own nothing is recorded any more. (A spare that could not be made is none.)
    fn must_have_stopped(&mut self) {
        let wall = self.now().wall;
        let Some(machine) = &mut self.machine else { return };
        if machine.sizes().0 > 0 && machine.begin_checkpoint(wall, 1).is_ok() {
            self.breaks("P8", None, "the engine went on after a failed write or fsync");
        }
    }

    fn breaks(&mut self, promise: &'static str, payment: Option<PaymentId>, what: impl Into<String>) {
        self.broken.get_or_insert(Violation { promise, payment, what: what.into() });
    }

    fn act(&mut self, act: Act) -> Result<(), Stopped> {
        self.tick += 1_000;
        match act {
            Act::Pay(from, to) => self.turn((from..to).map(|number| pay(number, Capture::Automatic)).collect()),
            Act::Authorize(from, to) => self.turn((from..to).map(|number| pay(number, Capture::Manual)).collect()),
            Act::Then(number, key, part) => self.turn(vec![(id(number).0, then(key, part))]),
            Act::End(from, to, end) => {
                let ended: Vec<_> = (from..to).filter_map(|number| self.ended(number, 0, end)).collect();
                self.turn(ended)
            }
            Act::EndOf(number, operation, end) => {
                let ended = self.ended(number, operation, end).into_iter().collect();
                self.turn(ended)
            }
            Act::Answer(number, end) => self.answer(number, 0, end),
            Act::AnswerOf(number, operation, end) => self.answer(number, operation, end),
            Act::Prepared(from, to, end) => {
                let tick = self.tick;
                self.turn((from..to).map(|number| prepared(number, end, tick)).collect())
            }
            Act::News(number, event, end) => self.hear(number, event, end),
            Act::Due => {
                self.tick += 2 * 3_600_000;
                let now = self.now();
                let due = self.machine()?.due(&now, 64);
                self.turn(due)
            }
            Act::Resolve(number) => {
                let person = Person { actor: "ann".to_owned(), reason: "saw the statement".to_owned() };
                let verdict = Resolution { operation: None, verdict: Verdict::Succeeded, reply: None, person };
                self.turn(vec![(id(number).0, Input::Resolve(verdict))])
            }
            Act::Checkpoint(between) => {
                let carrying = self.begin_checkpoint()?;
                let ended = self.ended(between, 0, End::Succeeded).into_iter().collect();
                self.turn(ended)?;
                self.finish_checkpoint(carrying)
            }
            Act::Confirm => {
                let wall = self.now().wall;
                self.machine()?.confirm(wall)
            }
            Act::Kill => self.kill(),
            Act::Close => self.close(),
        }
    }

    fn answer(&mut self, number: u32, operation: u32, end: End) -> Result<(), Stopped> {
        let (asked, (id, _)) = (self.now().tick, id(number));
        self.heard.insert((id, operation), end);
        self.turn(vec![(id, Input::Answered { operation, asked, outcome: end.outcome() })])
    }

    /// News of a payment itself: first the turn, then it is kept, and only then the gateway hears that it came.
    fn hear(&mut self, number: u32, event: &'static str, end: End) -> Result<(), Stopped> {
        let (id, key) = id(number);
        let operation = OperationKey::derive(&Namespace::default(), &id, Kind::Charge, &key);
        let at = self.now().wall;
        let (gateway, event_id) = ("sim".to_owned(), event.to_owned());
        let news = Webhook { gateway, event_id, at, operation_key: Some(operation), body: vec![b'n'; 200] };
        if self.machine()?.knows(&news) {
            return Ok(());
        }
        let said = Some((end.outcome(), amount(number).minor_units(), "USD".to_owned()));
        self.turn(vec![(id, Input::Hint { operation, from: self.script.contract().identity, said })])?;
        if self.machine()?.receive(at, vec![news])? == Received::Kept {
            if self.disk.unsynced() > 0 {
                self.breaks("P1", Some(id), "news is acknowledged, and not synced");
            }
            self.news.insert(event);
        }
        Ok(())
    }

    /// The end of an operation's latest attempt, if it has one.
    fn ended(&mut self, number: u32, operation: u32, end: End) -> Option<(PaymentId, Input)> {
        let (id, _) = id(number);
        let payment = self.machine.as_ref()?.get(&id).ok()??;
        let attempt = payment.operations.get(operation as usize)?.attempts;
        self.heard.insert((id, operation), end);
        if matches!(end, End::NotSent | End::Busy) && attempt == 1 {
            self.sent_to.remove(&(id, operation));
        }
        Some((id, Input::Ended { operation, attempt, outcome: end.outcome() }))
    }

    fn kill(&mut self) -> Result<(), Stopped> {
        self.machine = None;
        self.store.crash(|| false);
        self.disk.crash(Loss::Process, &mut Rng::new(0));
        if let Some((step, fault)) = self.fault {
            self.disk.fail_at(step, fault);
        }
        self.start()
    }

    fn close(&mut self) -> Result<(), Stopped> {
        let wall = self.now().wall;
        let carrying = self.begin_checkpoint()?;
        self.finish_checkpoint(carrying)?;
        let machine = self.machine.take().ok_or_else(|| Stopped::new("no process"))?;
        machine.close(wall, carrying, Vec::new())?;
        self.start()
    }

    fn machine(&mut self) -> Result<&mut Machine, Stopped> {
        self.machine.as_mut().ok_or_else(|| Stopped::new("no process"))
    }

    fn begin_checkpoint(&mut self) -> Result<Carrying, Stopped> {
        let (wall, store) = (self.now().wall, self.store.clone());
        let machine = self.machine()?;
        engine::put(store.as_ref(), Vec::new(), &machine.mark())?;
        // One at a time: what happens before the others are carried has to write their copies first.
        machine.begin_checkpoint(wall, 1)
    }

    fn finish_checkpoint(&mut self, carrying: Carrying) -> Result<(), Stopped> {
        let (wall, files) = (self.now().wall, self.store.flush()?);
        self.machine()?.finish_checkpoint(wall, carrying, files).map(drop)
    }

    fn now(&self) -> Now {
        let wall = Timestamp::from_millis(1_770_000_000_000 + self.tick);
        Now { wall, tick: Tick::from_millis(self.tick), clock: Clock::Trusted }
    }

    fn turn(&mut self, inputs: Vec<(PaymentId, Input)>) -> Result<(), Stopped> {
        let (now, store) = (self.now(), self.store.clone());
        let machine = self.machine()?;
        let turned = machine.turn(now, &inputs, Admission::of(1_000))?;
        let mark = machine.mark();
        keep(&store, machine, turned.resting, &mark)?;
        // From here on callers know, and bytes leave.
        let unsynced = self.disk.unsynced();
        if unsynced > 0 && !(turned.told.is_empty() && turned.actions.is_empty()) {
            self.breaks("P1", None, format!("something leaves with {unsynced} bytes not synced"));
        }
        turned.actions.iter().for_each(|action| self.leaves(action));
        for payment in &turned.changed {
            if payment.held(Kind::Refund) > payment.captured()
                || payment.held(Kind::Capture) > payment.order.amount.minor_units()
            {
                self.breaks("P2", Some(payment.id), "more is held than there is");
            }
        }
        self.known.extend(turned.changed.into_iter().map(|payment| (payment.id, payment)));
        Ok(())
    }

    /// P2: what was sent under a name, and may have been acted on, is sent again only under it, with the same bytes, and
    /// after it was proven not to be there.
    fn leaves(&mut self, action: &Action) {
        if let Action::Prepare { call, .. } = action
            && self.sent_under.contains_key(&call.payment)
        {
            self.breaks("P2", Some(call.payment), "an id is asked for again, and one was sent under before");
        }
        let Action::Send { call, attempt, request, .. } = action else { return };
        self.leaves_under(call);
        let first = self.sent_to.entry((call.payment, call.operation)).or_insert_with(|| call.gateway.clone());
        if *first != call.gateway {
            let what = format!("it leaves for {}, and may have acted at {first}", call.gateway);
            self.breaks("P2", Some(call.payment), what);
        }
        let known = self.known.get(&call.payment).and_then(|payment| payment.operations.get(call.operation as usize));
        let Some(known) = known else { return };
        let said =
            matches!(self.heard.get(&(call.payment, call.operation)), Some(End::NotSent | End::Busy | End::NotFound));
        let proven = match known.standing {
            Standing::Intended => true,
            Standing::Sent { .. } | Standing::InDoubt { .. } => said,
            Standing::AtGateway { .. } | Standing::Parked { .. } => false,
            Standing::Succeeded(_) | Standing::Declined { .. } | Standing::Canceled(_) => false,
        };
        // Where an id is minted first, the bytes are frozen with it.
        let frozen = known.attempts > 0 || known.prepared.is_some() || self.script.like != Like::Minting;
        // What goes to another gateway has bytes of its own; whether it may go there was judged above.
        let frozen = frozen && known.gateway == call.gateway;
        let same = known.operation_key == call.operation_key && (known.request == *request || !frozen);
        if !proven || !same || *attempt != known.attempts + 1 {
            let what = format!("attempt {attempt} leaves; same name and bytes: {same}; known {:?}", known.standing);
            self.breaks("P2", Some(call.payment), what);
        }
    }

    /// Where an id is minted first, nothing leaves without it, and nothing ever under another one.
    fn leaves_under(&mut self, call: &Call) {
        if self.script.like != Like::Minting || call.operation != 0 {
            return;
        }
        let Some(id) = call.reference.clone() else {
            return self.breaks("P2", Some(call.payment), "it leaves without the gateway's id");
        };
        let first = self.sent_under.entry(call.payment).or_insert_with(|| id.clone());
        if *first != id {
            let what = format!("it leaves under {id}, and left under {first} before");
            self.breaks("P2", Some(call.payment), what);
        }
    }

    pub(super) fn start(&mut self) -> Result<(), Stopped> {
        let recovered = self.recover().map_err(|error| Stopped::new(error.to_string()))?;
        self.machine = Some(recovered.machine);
        self.turn(recovered.resume)
    }

    fn recover(&mut self) -> Result<Recovered, engine::OpenError> {
        // With every other script what is personal is sealed: then its keys are files that a crash can lose.
        let sealed = cfg!(feature = "erasure") && self.script.acts.len().is_multiple_of(2);
        let found = journal::open(self.disk.clone(), JOURNAL)?.sealing(sealed, [self.boot; 32])?;
        self.epochs += 1;
        let rules = Rules::new(self.script.contract(), Encoder::plain());
        let boot = Boot {
            rules: if self.script.like == Like::Two { routing::two(rules) } else { rules.into() },
            boot_id: [self.boot; 16],
            salt: 1_000 + self.epochs,
            distrust: None,
            now: self.now().wall,
        };
        start(found, &mut self.store, boot)
    }

    /// Starts, and asks whether everything known is still true.
    pub(super) fn start_and_check(&mut self) -> Start {
        let known = self.known.clone();
        if let Err(stopped) = self.start() {
            return Start::Refused(stopped.why);
        }
        let before = self.broken.take();
        let lost = || known.iter().find_map(|(id, before)| self.lost(*id, before));
        before.or_else(lost).or_else(|| self.lost_news()).map_or(Start::Kept, Start::Broken)
    }

    /// What the gateway need not say again must be known.
    fn lost_news(&self) -> Option<Violation> {
        let knows = |event: &str| {
            let (gateway, event_id) = ("sim".to_owned(), event.to_owned());
            let news = Webhook { gateway, event_id, at: self.now().wall, operation_key: None, body: Vec::new() };
            self.machine.as_ref().is_some_and(|machine| machine.knows(&news))
        };
        let event = self.news.iter().find(|event| !knows(event))?;
        Some(Violation { promise: "P6", payment: None, what: format!("news {event} was acknowledged, and is gone") })
    }

    fn lost(&self, id: PaymentId, before: &Payment) -> Option<Violation> {
        let broken = |promise, what| Some(Violation { promise, payment: Some(id), what });
        let now = self.machine.as_ref()?.get(&id).ok().flatten();
        let Some(now) = now else { return broken("P6", "it is gone".to_owned()) };
        if now.updated_at < before.updated_at || (before.is_settled() && now.settled_at != before.settled_at) {
            return broken("P3", format!("it was of {:?}, and is of {:?}", before.updated_at, now.updated_at));
        }
        let mut after = now.operations.iter();
        before.operations.iter().find_map(|before| {
            let now = after.next();
            let kept = now.is_some_and(|now| match before.is_final() {
                true => is_still(now, before),
                false => {
                    let minted = before.prepared.is_none() || now.prepared == before.prepared;
                    // To the other gateway only where nothing can have happened, and never back.
                    let acted_at = self.sent_to.get(&(id, before.this.number));
                    let free = acted_at.is_none_or(|gateway| *gateway != before.gateway);
                    let goes_over = free && before.gateway == self.script.contract().identity;
                    let stays = now.gateway == before.gateway || goes_over;
                    stays && now.operation_key == before.operation_key && now.attempts >= before.attempts && minted
                }
            });
            if kept { None } else { broken("P3", format!("it was {before:?}, and is {now:?}")) }
        })
    }
}

fn id(number: u32) -> (PaymentId, IdempotencyKey) {
    let key = IdempotencyKey::new(&format!("order-{number}")).unwrap_or_else(|_| unreachable!("a legal key"));
    (PaymentId::derive(&Tenant::default(), &key), key)
}

/// As it was, but for news against it that nobody may have heard of yet.
fn is_still(now: &Operation, before: &Operation) -> bool {
    *now == Operation { contradicted: before.contradicted.or(now.contradicted), ..before.clone() }
}

fn amount(number: u32) -> Amount {
    Amount::new(u64::from(number) + 1_000).unwrap_or_else(|_| unreachable!("in range"))
}

/// An id of the gateway's own: another one each time that it is asked.
fn prepared(number: u32, end: End, tick: u64) -> (PaymentId, Input) {
    let outcome = match end.outcome() {
        Outcome::Succeeded(reply) => Outcome::Succeeded(reply.with_reference(&format!("minted_{number}_{tick}"))),
        other @ (Outcome::Declined(_, _)
        | Outcome::Pending(_, _)
        | Outcome::NotSent(_)
        | Outcome::Refused(_, _)
        | Outcome::NotFound
        | Outcome::Unknown(_)) => other,
    };
    (id(number).0, Input::Prepared { operation: 0, outcome })
}

fn pay(number: u32, capture: Capture) -> (PaymentId, Input) {
    let (id, key) = id(number);
    let currency = Currency::new("USD").unwrap_or_else(|_| unreachable!("a currency"));
    let order = Order::new(amount(number), currency, "alice", "bob").unwrap_or_else(|_| unreachable!("legal"));
    let order = order.with_capture(capture);
    let request = Ok(vec![b'r'; 300 + number as usize]);
    (id, Input::Pay { tenant: Tenant::default(), key, order: Arc::new(order), request, manner: Manner::default() })
}

fn then(key: &str, part: Part) -> Input {
    let some = |units| Some(Amount::new(units).unwrap_or_else(|_| unreachable!("in range")));
    let follow_up = match part {
        Part::Capture(units) => FollowUp::Capture(some(units)),
        Part::Void => FollowUp::Void,
        Part::Refund(units) => FollowUp::Refund(some(units)),
    };
    let key = IdempotencyKey::new(key).unwrap_or_else(|_| unreachable!("a legal key"));
    Input::Operate { tenant: Tenant::default(), key, follow_up }
}

impl End {
    fn outcome(self) -> Outcome {
        let reply = |code| Reply::new(code, "").with_reference("sim_1");
        match self {
            End::Succeeded => Outcome::Succeeded(reply("approved")),
            End::Declined => Outcome::Declined(Finality::Hard, reply("declined")),
            End::Refused => Outcome::Refused(Lasting::ForGood, reply("refused")),
            End::Busy => Outcome::Refused(Lasting::ForNow { retry_after: None }, reply("busy")),
            End::NotSent => Outcome::NotSent(reply("nobody_listens")),
            End::Pending => Outcome::Pending(None, reply("pending")),
            End::Unknown => Outcome::Unknown(reply("timeout")),
            End::NotFound => Outcome::NotFound,
        }
    }
}
