//! Every crash point: scripted lives, stopped at each IO step, with many kinds of damage; the next start stopped at each
//! of its IO steps too; and then everything that anybody had been told must still be true.

use std::{collections::BTreeMap, sync::Arc};

use super::{Damage, Fault, Loss, Rng, SimDisk, Violation};
use crate::{
    engine::{self, Admission, Begin, Carrying, Machine, Recovered, Stopped, check_mark, recover},
    journal,
    payment::{
        Amount, Clock, Contract, Currency, IdempotencyKey, Identity, Input, Namespace, Now, Order, Outcome, Payment,
        PaymentId, Reply, Rules, Schedule, State, Tenant, Tick, Timestamp,
    },
    store::{MemoryStore, Store},
};

/// How many crash points were tried.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Points {
    /// All of them.
    pub points: u64,
    /// Those at which a start was stopped that followed a stop.
    pub in_recovery: u64,
    /// The first promise that broke.
    pub violation: Option<Violation>,
}

impl Points {
    /// Both together.
    #[must_use]
    pub fn plus(self, other: Points) -> Points {
        Points {
            points: self.points + other.points,
            in_recovery: self.in_recovery + other.in_recovery,
            violation: self.violation.or(other.violation),
        }
    }
}

/// One thing that happens in a scripted life.
#[derive(Clone, Copy, Debug)]
enum Act {
    /// Callers ask for these payments, in one turn.
    Pay(u32, u32),
    /// Their first attempts end, in one turn.
    Settle(u32, u32),
    /// An attempt ends in doubt, and the inquiry finds it.
    Doubt(u32),
    /// A checkpoint, with something between its halves.
    Checkpoint(u32),
    /// Nothing follows for a while.
    Confirm,
    /// The process is killed and started again.
    Kill,
    /// An orderly stop, and a start.
    Close,
}

/// Lives that between them pass every kind of write: rolls, checkpoints, confirmations, close marks, several epochs.
const SCRIPTS: [&[Act]; 4] = [
    &[Act::Pay(0, 3), Act::Settle(0, 2), Act::Confirm, Act::Doubt(2), Act::Pay(3, 5)],
    &[Act::Pay(0, 4), Act::Checkpoint(0), Act::Settle(1, 4), Act::Kill, Act::Pay(4, 6), Act::Settle(4, 5)],
    &[
        Act::Pay(0, 2),
        Act::Settle(0, 1),
        Act::Close,
        Act::Pay(2, 3),
        Act::Kill,
        Act::Checkpoint(1),
        Act::Close,
        Act::Pay(3, 4),
    ],
    &[Act::Pay(0, 40), Act::Settle(0, 40), Act::Pay(40, 80), Act::Settle(40, 70), Act::Kill, Act::Pay(80, 90)],
];

/// Small, so that segments roll in the last script, and a point takes microseconds.
const JOURNAL: journal::Options = journal::Options {
    segment_bytes: 48 << 10,
    batch_bytes: 8 << 10,
    largest_batch_bytes: 16 << 10,
    verify_bytes: 1 << 30,
};

/// Tries every one, with the chance of one seed; or one in so many, chosen by chance, where time is short.
pub fn every_crash_point(seed: u64, one_in: u64) -> Points {
    let mut total = Points::default();
    for (number, script) in SCRIPTS.iter().enumerate() {
        let mut rng = Rng::new(seed.wrapping_mul(31).wrapping_add(number as u64));
        let mut whole = Life::new();
        whole.live(script);
        let steps = whole.disk.steps();
        for step in 0..steps {
            if total.violation.is_none() && rng.one_in(one_in) {
                stop_at(step, script, &mut rng, &mut total);
            }
        }
    }
    total
}

/// Lives until a step, and dies there, once with each kind of damage.
fn stop_at(step: u64, script: &[Act], rng: &mut Rng, total: &mut Points) {
    let mut life = Life::new();
    life.stop = Some(step);
    life.disk.fail_at(step, Fault::Stop);
    life.live(script);
    let losses = Damage::ALL.into_iter().flat_map(|damage| [Loss::Machine(damage); 2]).chain([Loss::Process]);
    for loss in losses {
        total.points += 1;
        let dead = life.die(loss, rng);
        let steps_before = dead.disk.steps();
        let mut again = dead.fork();
        if let Some(violation) = again.start_and_check() {
            total.violation.get_or_insert(violation);
            return;
        }
        let steps = again.disk.steps() - steps_before;
        // The start is stopped too, at each of its steps, and what is left is damaged again.
        for stop in 0..steps {
            total.points += 1;
            total.in_recovery += 1;
            let mut stopped = dead.fork();
            stopped.disk.fail_at(steps_before + stop, Fault::Stop);
            drop(stopped.start());
            let damage = Damage::ALL.get(rng.below(8) as usize).copied().unwrap_or(Damage::Nothing);
            let loss = if rng.one_in(3) { Loss::Process } else { Loss::Machine(damage) };
            let mut last = stopped.die(loss, rng);
            if let Some(violation) = last.start_and_check() {
                total.violation.get_or_insert(violation);
                return;
            }
        }
    }
}

/// One data folder through processes and machines.
struct Life {
    disk: Arc<SimDisk>,
    store: Arc<MemoryStore>,
    machine: Option<Machine>,
    boot: u8,
    epochs: u64,
    tick: u64,
    /// The step of the disk at which it ends.
    stop: Option<u64>,
    /// What somebody has been told, or what may have reached the gateway.
    known: BTreeMap<PaymentId, Arc<Payment>>,
}

fn id(number: u32) -> (PaymentId, IdempotencyKey) {
    let key = IdempotencyKey::new(&format!("order-{number}")).unwrap_or_else(|_| unreachable!("a legal key"));
    (PaymentId::derive(&Tenant::default(), &key), key)
}

fn pay(number: u32) -> (PaymentId, Input) {
    let (id, key) = id(number);
    let amount = Amount::new(u64::from(number) + 1).unwrap_or_else(|_| unreachable!("in range"));
    let currency = Currency::new("USD").unwrap_or_else(|_| unreachable!("a currency"));
    let order = Order::new(amount, currency, "alice", "bob").unwrap_or_else(|_| unreachable!("legal"));
    let request = Ok(vec![b'r'; 300 + number as usize]);
    (id, Input::Pay { tenant: Tenant::default(), key, order: Box::new(order), request })
}

fn ended(number: u32, outcome: Outcome) -> (PaymentId, Input) {
    (id(number).0, Input::Ended { operation: 0, attempt: 1, outcome })
}

impl Life {
    fn new() -> Life {
        Life {
            disk: Arc::new(SimDisk::new()),
            store: Arc::new(MemoryStore::new()),
            machine: None,
            boot: 1,
            epochs: 0,
            tick: 0,
            stop: None,
            known: BTreeMap::new(),
        }
    }

    /// The same folder, to be treated in another way. The store is not kept: what it holds is a start's own affair, and
    /// a start that has to rebuild it reads most.
    fn fork(&self) -> Life {
        let (known, boot) = (self.known.clone(), self.boot);
        let disk = Arc::new(self.disk.fork());
        Life { disk, store: Arc::new(MemoryStore::new()), machine: None, boot, known, ..*self }
    }

    fn die(&self, loss: Loss, rng: &mut Rng) -> Life {
        let mut dead = self.fork();
        dead.disk.crash(loss, rng);
        dead.boot += u8::from(matches!(loss, Loss::Machine(_)));
        dead
    }

    /// Until the script or the disk ends.
    fn live(&mut self, script: &[Act]) {
        let lived = self.start().and_then(|()| script.iter().try_for_each(|act| self.act(*act)));
        if lived.is_err() {
            self.machine = None;
        }
    }

    fn act(&mut self, act: Act) -> Result<(), Stopped> {
        self.tick += 1_000;
        let now = self.now();
        let succeeded = || Outcome::Succeeded(Reply::new("approved", "").with_reference("sim_1"));
        match act {
            Act::Pay(from, to) => self.turn((from..to).map(pay).collect()),
            Act::Settle(from, to) => self.turn((from..to).map(|number| ended(number, succeeded())).collect()),
            Act::Doubt(number) => {
                self.turn(vec![ended(number, Outcome::Unknown(Reply::new("timeout", "")))])?;
                let asked = now.tick;
                self.turn(vec![(id(number).0, Input::Answered { operation: 0, asked, outcome: succeeded() })])
            }
            Act::Checkpoint(between) => {
                let carrying = self.begin_checkpoint()?;
                self.turn(vec![ended(between, succeeded())])?;
                self.finish_checkpoint(carrying)
            }
            Act::Confirm => self.machine()?.confirm(now.wall),
            Act::Kill => {
                self.machine = None;
                self.store.crash(|| false);
                self.disk.crash(Loss::Process, &mut Rng::new(0));
                if let Some(step) = self.stop {
                    self.disk.fail_at(step, Fault::Stop);
                }
                self.start()
            }
            Act::Close => {
                let carrying = self.begin_checkpoint()?;
                self.finish_checkpoint(carrying)?;
                let machine = self.machine.take().ok_or_else(|| Stopped::new("no process"))?;
                machine.close(now.wall, carrying, Vec::new())?;
                self.start()
            }
        }
    }

    fn machine(&mut self) -> Result<&mut Machine, Stopped> {
        self.machine.as_mut().ok_or_else(|| Stopped::new("no process"))
    }

    fn begin_checkpoint(&mut self) -> Result<Carrying, Stopped> {
        let (wall, store) = (self.now().wall, self.store.clone());
        let machine = self.machine()?;
        engine::put(store.as_ref(), &[], &machine.mark())?;
        machine.begin_checkpoint(wall)
    }

    fn finish_checkpoint(&mut self, carrying: Carrying) -> Result<(), Stopped> {
        let (wall, files) = (self.now().wall, self.store.flush()?);
        self.machine()?.finish_checkpoint(wall, carrying, files)
    }

    fn now(&self) -> Now {
        let wall = Timestamp::from_millis(1_770_000_000_000 + self.tick);
        Now { wall, tick: Tick::from_millis(self.tick), clock: Clock::Trusted }
    }

    fn turn(&mut self, inputs: Vec<(PaymentId, Input)>) -> Result<(), Stopped> {
        let (now, store) = (self.now(), self.store.clone());
        let machine = self.machine()?;
        let turned = machine.turn(now, &inputs, Admission { new_payments: 1_000 })?;
        let mark = machine.mark();
        engine::put(store.as_ref(), &turned.resting, &mark)?;
        let taken: Vec<_> = turned.resting.iter().map(|row| (row.payment.id, row.lsn)).collect();
        machine.stored(&taken);
        // From here on callers know, and bytes leave.
        self.known.extend(turned.changed.into_iter().map(|payment| (payment.id, payment)));
        Ok(())
    }

    fn start(&mut self) -> Result<(), Stopped> {
        let recovered = self.recover().map_err(|error| Stopped::new(error.to_string()))?;
        self.machine = Some(recovered.machine);
        self.turn(recovered.resume)
    }

    fn recover(&mut self) -> Result<Recovered, engine::OpenError> {
        let found = journal::open(self.disk.clone(), JOURNAL)?;
        let mark = self.store.mark().map_err(Stopped::from)?;
        let whole = match &mark {
            Some(mark) => check_mark(&found, mark)?,
            None => found.is_new(),
        };
        let boot_id = [self.boot; 16];
        let other_boot = !found.is_new() && found.closed().is_none() && found.boot_id() != Some(boot_id);
        let rebuild = !whole || other_boot;
        if rebuild {
            self.store = Arc::new(MemoryStore::new());
        }
        self.epochs += 1;
        let contract = Contract::standard(Identity { name: "sim".to_owned(), ..Identity::default() });
        let (namespace, schedule) = (Namespace::default(), Schedule::default());
        let begin = Begin {
            rules: Rules { contract, schedule, namespace, sending: true, restored: false },
            journal: journal::Begin { store_uuid: [7; 16], salt: 1_000 + self.epochs, boot_id, lock_inode: 1 },
            rebuild,
            moved: false,
            now: self.now().wall,
        };
        recover(found, self.store.clone(), begin)
    }

    /// Starts, and asks whether everything known is still true.
    fn start_and_check(&mut self) -> Option<Violation> {
        let broken = |promise, payment, what| Some(Violation { promise, payment, what });
        let known = self.known.clone();
        if let Err(stopped) = self.start() {
            return broken("P7", None, format!("a start was refused: {}", stopped.why));
        }
        let machine = self.machine.as_ref()?;
        for (id, before) in known {
            let now = machine.get(&id).ok().flatten();
            let Some(now) = now else { return broken("P6", Some(id), "it is gone".to_owned()) };
            let kept = match before.state() {
                State::Succeeded => now.settled_at == before.settled_at && now.operations == before.operations,
                State::Processing
                | State::InDoubt
                | State::RequiresAction
                | State::Authorized
                | State::Declined
                | State::Parked
                | State::Canceled => attempts(&now) >= attempts(&before),
            };
            if !kept {
                return broken("P3", Some(id), format!("it was {:?}, and is {:?}", before.operations, now.operations));
            }
        }
        None
    }
}

fn attempts(payment: &Payment) -> u32 {
    payment.operations.iter().map(|operation| operation.attempts).sum()
}
