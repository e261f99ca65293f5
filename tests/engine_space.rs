//! A full disk: what is recorded as intended can still be ended, and nothing that could wait takes its space.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, reason = "tests")]

use std::sync::Arc;

use payonce::{
    PaymentId, Tenant, Timestamp,
    disk::Disk,
    engine::{Admission, Begin, Machine, Told, recover},
    journal,
    payment::{
        Action, Amount, Clock, Contract, Currency, Encoder, IdempotencyKey, Identity, Input, Manner, Now, Order,
        Outcome, Reply, Rules, Tick,
    },
    sim::{Fault, SimDisk},
    store::MemoryStore,
};

const fn now() -> Now {
    Now { wall: Timestamp::from_millis(1_767_225_600_000), tick: Tick::from_millis(1), clock: Clock::Trusted }
}

fn machine(disk: Arc<dyn Disk>) -> Machine {
    let options = journal::Options {
        segment_bytes: 1 << 20,
        batch_bytes: 64 << 10,
        largest_batch_bytes: 256 << 10,
        ..Default::default()
    };
    let begin = Begin {
        rules: Rules::new(Contract::standard(Identity::default()), Encoder::plain()).into(),
        journal: journal::Begin { store_uuid: [7; 16], salt: 1, boot_id: [1; 16], lock_inode: 1 },
        rebuild: true,
        moved: false,
        distrust: None,
        now: now().wall,
    };
    recover(journal::open(disk, options).unwrap(), Arc::new(MemoryStore::new()), begin).unwrap().machine
}

/// With a kilobyte of description, which a checkpoint has to carry.
fn pay(number: usize) -> (PaymentId, Input) {
    let key = IdempotencyKey::new(&format!("order-{number}")).unwrap();
    let (amount, currency) = (Amount::new(5).unwrap(), Currency::new("USD").unwrap());
    let order = Order::new(amount, currency, "a", "b").unwrap().with_description(&"d".repeat(1_000)).unwrap();
    let id = PaymentId::derive(&Tenant::default(), &key);
    let (tenant, order, manner) = (Tenant::default(), Box::new(order), Manner::default());
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
            machine.begin_checkpoint(now().wall).expect("it has said that there is room");
        }
        let Action::Send { call, attempt, .. } = action else { unreachable!("all are new") };
        let ended = Input::Ended { operation: 0, attempt, outcome: Outcome::Succeeded(Reply::new("ok", "")) };
        machine.turn(now(), &[(call.payment, ended)], Admission::of(0)).expect("there is room for what became of it");
    }
}
