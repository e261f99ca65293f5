//! The machine, turn by turn: what a full disk still takes, what is refused among what is not, and a store that fails.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, reason = "tests")]

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use payonce::{
    PaymentId, Tenant, Timestamp,
    disk::Disk,
    engine::{self, Admission, Begin, Machine, Recovered, Told, Watch, recover},
    journal::{self, Found},
    payment::{
        Action, Amount, Clock, Contract, Currency, Encoder, IdempotencyKey, Identity, Input, Manner, Now, Order,
        Outcome, Reply, Rules, Tick,
    },
    sim::{Fault, SimDisk},
    store::{Mark, MemoryStore, Row, Store, StoreError},
};

const fn now() -> Now {
    Now { wall: Timestamp::from_millis(1_767_225_600_000), tick: Tick::from_millis(1), clock: Clock::Trusted }
}

fn machine(disk: Arc<dyn Disk>) -> Machine {
    machine_of(disk, Arc::new(MemoryStore::new()), |found| found)
}

fn machine_of(disk: Arc<dyn Disk>, store: Arc<dyn Store>, prepare: impl FnOnce(Found) -> Found) -> Machine {
    start(disk, store, true, prepare).machine
}

fn start(disk: Arc<dyn Disk>, store: Arc<dyn Store>, rebuild: bool, prepare: impl FnOnce(Found) -> Found) -> Recovered {
    let options = journal::Options {
        segment_bytes: 1 << 20,
        batch_bytes: 64 << 10,
        largest_batch_bytes: 256 << 10,
        ..Default::default()
    };
    let begin = Begin {
        rules: Rules::new(Contract::standard(Identity::default()), Encoder::plain()).into(),
        journal: journal::Begin { store_uuid: [7; 16], salt: 1, boot_id: [1; 16], lock_inode: 1 },
        rebuild,
        moved: false,
        distrust: None,
        now: now().wall,
    };
    recover(prepare(journal::open(disk, options).unwrap()), store, begin).unwrap()
}

/// With a kilobyte of description, which a checkpoint has to carry.
fn pay(number: usize) -> (PaymentId, Input) {
    let key = IdempotencyKey::new(&format!("order-{number}")).unwrap();
    let (amount, currency) = (Amount::new(5).unwrap(), Currency::new("USD").unwrap());
    let order = Order::new(amount, currency, "a", "b").unwrap().with_description(&"d".repeat(1_000)).unwrap();
    let id = PaymentId::derive(&Tenant::default(), &key);
    let (tenant, order, manner) = (Tenant::default(), Arc::new(order), Manner::default());
    (id, Input::Pay { tenant, key, order, request: Ok(b"bytes".to_vec()), manner })
}

#[test]
fn a_checkpoint_on_a_full_disk_leaves_the_space_that_outcomes_need() {
    let disk = Arc::new(SimDisk::new());
    let mut machine = machine(disk.clone());
    disk.fail_at(disk.steps() + 1, Fault::Full);
    let mut sent = Vec::new();
    let full = |told: &[Told]| matches!(told, [Told::NoSpace]);
    for number in 0.. {
        let turned = machine.turn(now(), &[pay(number)], Admission::of(1)).unwrap();
        if full(&turned.told) {
            break;
        }
        sent.extend(turned.actions);
    }
    assert!(sent.len() > 20, "{}", sent.len());
    for action in sent {
        if machine.may_checkpoint(now().wall) {
            machine.begin_checkpoint(now().wall, usize::MAX).expect("it has said that there is room");
        }
        let Action::Send { call, attempt, .. } = action else { unreachable!("all are new") };
        let ended = Input::Ended { operation: 0, attempt, outcome: Outcome::Succeeded(Reply::new("ok", "")) };
        machine.turn(now(), &[(call.payment, ended)], Admission::of(0)).expect("there is room for what became of it");
    }
}

/// What a checkpoint has to carry may be more than the disk has room for by then: it is not made, and nobody is forgotten.
#[test]
fn a_checkpoint_that_the_disk_has_no_room_for_is_put_off_and_the_next_start_knows_everybody() {
    let (disk, store) = (Arc::new(SimDisk::new()), Arc::new(MemoryStore::new()));
    let mut machine = machine_of(disk.clone(), store.clone(), |found| found);
    for number in 0..20 {
        machine.turn(now(), &[pay(number)], Admission::of(1)).unwrap();
    }
    let mark = machine.mark();
    let carrying = machine.begin_checkpoint(now().wall, 1).unwrap();
    disk.fail_at(disk.steps() + 1, Fault::Full);
    let mut known = 20;
    while let [Told::Decided { .. }] = machine.turn(now(), &[pay(known)], Admission::of(1)).unwrap().told.as_slice() {
        known += 1;
    }
    let before = machine.position();
    assert!(machine.carry_on(now().wall, 10).unwrap(), "there is no room for ten more");
    engine::put(store.as_ref(), Vec::new(), &mark).unwrap();
    let files = store.flush().unwrap();
    assert!(!machine.finish_checkpoint(now().wall, carrying, files).unwrap(), "it is not made");
    assert_eq!(machine.position(), before, "nothing was recorded of it");
    assert!(machine.since_checkpoint() > 50_000, "a start has to replay it all");
    assert!(!machine.is_checkpoint_due(1) && machine.is_checkpoint_due(0), "not tried again before more has come");
    drop(machine);
    disk.make_space();
    let mut again = start(disk, store.clone(), false, |found| found);
    assert_eq!(again.resume.len(), known);
    let carrying = again.machine.begin_checkpoint(now().wall, 1).unwrap();
    let files = store.flush().unwrap();
    assert!(again.machine.finish_checkpoint(now().wall, carrying, files).unwrap(), "with space again it is made");
}

/// With 40 KB that a checkpoint has to carry.
fn pay_much(number: usize) -> (PaymentId, Input) {
    let (id, Input::Pay { tenant, key, order, request, manner }) = pay(number) else { unreachable!("it is one") };
    let wordy = |order: Order, n| order.with_metadata(&format!("k{n}"), &"\u{1f4b6}".repeat(500)).unwrap();
    let order = Arc::new((0..20).fold(Order::clone(&order), wordy));
    (id, Input::Pay { tenant, key, order, request, manner })
}

/// A turn that speaks of what a checkpoint has yet to carry writes its copies first: larger ones than what is kept free.
#[test]
fn outcomes_land_on_a_full_disk_also_while_a_checkpoint_would_have_their_payments_copied_first() {
    let (disk, store) = (Arc::new(SimDisk::new()), Arc::new(MemoryStore::new()));
    let mut machine = machine_of(disk.clone(), store.clone(), |found| found);
    let mut ended = Vec::new();
    for number in 0..60 {
        let (id, input) = pay_much(number);
        machine.turn(now(), &[(id, input)], Admission::of(1)).unwrap();
        let outcome = Outcome::Succeeded(Reply::new("ok", ""));
        ended.push((id, Input::Ended { operation: 0, attempt: 1, outcome }));
    }
    let mark = machine.mark();
    let carrying = machine.begin_checkpoint(now().wall, 1).unwrap();
    disk.fail_at(disk.steps() + 1, Fault::Full);
    let new = (60..100).map(pay_much);
    let inputs: Vec<_> = ended.into_iter().chain(new).collect();
    let turned = machine.turn(now(), &inputs, Admission::of(100)).expect("there is room for what became of them");
    assert!(turned.resting.len() >= 60);
    engine::put(store.as_ref(), turned.resting, &mark).unwrap();
    let files = store.flush().unwrap();
    assert!(!machine.finish_checkpoint(now().wall, carrying, files).unwrap(), "it is put off");
}

/// A hundred thousand may wait for the store: nobody new is taken until memory has let go of some.
#[test]
fn what_the_store_has_taken_is_told_some_hundreds_at_a_time_and_its_mark_comes_last() {
    let (disk, store) = (Arc::new(SimDisk::new()), Arc::new(MemoryStore::new()));
    let mut machine = machine_of(disk, store.clone(), |found| found);
    let before = store.mark().unwrap();
    let mut resting = Vec::new();
    for first in (0..1_200).step_by(100) {
        let inputs: Vec<_> = (first..first + 100).map(pay).collect();
        machine.turn(now(), &inputs, Admission::of(100)).unwrap();
        let succeeded = || Outcome::Succeeded(Reply::new("ok", ""));
        let ended = |(id, _)| (id, Input::Ended { operation: 0, attempt: 1, outcome: succeeded() });
        let ends: Vec<_> = inputs.into_iter().map(ended).collect();
        resting.extend(machine.turn(now(), &ends, Admission::of(0)).unwrap().resting);
    }
    let told = Mutex::new(Vec::new());
    let taken = |rows: &[(PaymentId, Row)]| {
        assert!(rows.iter().all(|(id, row)| store.get(id).unwrap().as_ref() == Some(row)));
        told.lock().unwrap().push((rows.len(), store.mark().unwrap()));
    };
    let mark = machine.mark();
    assert_eq!(engine::put_telling(store.as_ref(), resting, &mark, &taken), Ok(1_200));
    assert_eq!(*told.lock().unwrap(), [(500, before), (500, before), (200, Some(mark))]);
}

#[cfg(feature = "erasure")]
#[test]
fn on_a_full_disk_a_tenant_that_needs_a_new_key_is_turned_away_and_nothing_stops() {
    use payonce::payment::{FollowUp, Person, Webhook};
    let disk = Arc::new(SimDisk::new());
    let sealed = |found: Found| found.sealing(true, [3; 32]).unwrap();
    let mut machine = machine_of(disk.clone(), Arc::new(MemoryStore::new()), sealed);
    let (id, input) = pay(1);
    machine.turn(now(), &[(id, input)], Admission::of(1)).unwrap();
    let ended = Input::Ended { operation: 0, attempt: 1, outcome: Outcome::Succeeded(Reply::new("ok", "")) };
    machine.turn(now(), &[(id, ended)], Admission::of(0)).unwrap();
    drop(machine);
    let erase = |found: Found| {
        let person = Person { actor: "jo".to_owned(), reason: "asked to".to_owned() };
        found.seal().unwrap().erase(&Tenant::default(), now().wall, &person).unwrap();
        sealed(found)
    };
    let mut machine = machine_of(disk.clone(), Arc::new(MemoryStore::new()), erase);
    disk.fail_at(disk.steps() + 1, Fault::Full);
    let (tenant, key) = (Tenant::default(), IdempotencyKey::new("back-1").unwrap());
    let refund = Input::Operate { tenant, key, follow_up: FollowUp::Refund(None) };
    let turned = machine.turn(now(), &[(id, refund), pay(2)], Admission::of(2)).expect("nothing stops");
    assert!(matches!(turned.told.as_slice(), [Told::NoSpace, Told::NoSpace]), "{:?}", turned.told);
    let operation_key = Some(payonce::payment::OperationKey::from_bytes([9; 16]));
    let news = Webhook {
        gateway: "g".to_owned(),
        event_id: "1".to_owned(),
        at: now().wall,
        operation_key,
        body: b"of nobody".to_vec(),
    };
    let received = machine.receive(now().wall, vec![news]).expect("nothing stops");
    assert_eq!(received, engine::Received::NoSpace);
}

/// A turn notes the place of a payment's last record: by it a checkpoint knows whom it has to carry.
#[test]
fn what_is_refused_among_others_moves_nobodys_place_and_no_payment_under_way_is_forgotten() {
    let (disk, store) = (Arc::new(SimDisk::new()), Arc::new(MemoryStore::new()));
    let mut machine = machine_of(disk.clone(), store.clone(), |found| found);
    machine.watch(Watch { window: Duration::from_secs(600), reference: "order".to_owned() }, now().wall).unwrap();
    let meant = |number| {
        let (id, Input::Pay { tenant, key, order, request, .. }) = pay(number) else { unreachable!("it is one") };
        (id, Input::Pay { tenant, key, order, request, manner: Manner { meant: true, ..Manner::default() } })
    };
    for number in 0..5 {
        machine.turn(now(), &[meant(number)], Admission::of(9)).unwrap();
    }
    let last = (0..5).max_by_key(|number| meant(*number).0).unwrap();
    let mark = machine.mark();
    let carrying = machine.begin_checkpoint(now().wall, 1).unwrap();
    let told = machine.turn(now(), &[pay(100), meant(last), meant(101)], Admission::of(9)).unwrap().told;
    assert!(matches!(told[0], Told::PossibleDuplicate { .. }), "{told:?}");
    engine::put(store.as_ref(), Vec::new(), &mark).unwrap();
    let files = store.flush().unwrap();
    machine.finish_checkpoint(now().wall, carrying, files).unwrap();
    drop(machine);
    let again = start(disk, store, false, |found| found);
    for number in 0..5 {
        assert!(again.machine.get(&pay(number).0).unwrap().is_some(), "payment {number} is under way");
    }
    assert_eq!(again.resume.len(), 6);
}

/// As sled's does: the first failure says what it is, and from then on it only says that it is out of use.
#[derive(Default)]
struct FailsOnce {
    inner: MemoryStore,
    reads_left: AtomicUsize,
}

impl Store for FailsOnce {
    fn get(&self, id: &PaymentId) -> Result<Option<Row>, StoreError> {
        match self.reads_left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)) {
            Ok(0) => Err(StoreError::Broken { since: "it panicked".to_owned() }),
            Ok(1) => Err(StoreError::Index { doing: "reading a pack", why: "it panicked".to_owned() }),
            Ok(_) => self.inner.get(id),
            Err(_) => Err(StoreError::Broken { since: "it panicked".to_owned() }),
        }
    }

    fn apply(&self, rows: &[(PaymentId, Row)], mark: &Mark) -> Result<(), StoreError> {
        self.inner.apply(rows, mark)
    }

    fn mark(&self) -> Result<Option<Mark>, StoreError> {
        self.inner.mark()
    }

    fn page(&self, after: Option<&PaymentId>, limit: usize) -> Result<Vec<(PaymentId, Row)>, StoreError> {
        self.inner.page(after, limit)
    }

    fn flush(&self) -> Result<Vec<(String, u64)>, StoreError> {
        self.inner.flush()
    }
}

#[test]
fn whoever_meets_a_failing_store_first_says_that_it_cannot_be_trusted() {
    let store = Arc::new(FailsOnce { reads_left: AtomicUsize::new(usize::MAX), ..FailsOnce::default() });
    let mut machine = machine_of(Arc::new(SimDisk::new()), store.clone(), |found| found);
    let archive = machine.archive();
    store.reads_left.store(1, Ordering::SeqCst);
    assert!(archive.get(&pay(1).0).unwrap_err().store_is_bad, "for the machine will not hear of it");
    let told = machine.turn(now(), &[pay(1)], Admission::of(1)).unwrap().told;
    assert!(matches!(told.as_slice(), [Told::NoSpace]), "{told:?}");
    assert_eq!(archive.get(&pay(1).0), Ok(None), "once is enough");
    store.reads_left.store(1, Ordering::SeqCst);
    assert!(machine.turn(now(), &[pay(1)], Admission::of(1)).unwrap_err().store_is_bad);
}
