//! What the benchmarks share: payments as callers make them, and a machine in a folder or in memory.

#![allow(dead_code, clippy::expect_used, reason = "a benchmark that cannot go on says so; each uses its own part")]

use std::{
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use payonce::{
    PaymentId, Tenant, Timestamp,
    disk::Disk,
    engine::{Admission, Begin, Machine, Recovered, Resting, recover},
    journal,
    payment::{
        Action, Amount, Clock, Contract, Currency, Encoder, IdempotencyKey, Identity, Input, Manner, Now, Order,
        Outcome, Payment, Reply, Rules, Tick,
    },
    store::Store,
};

/// 2026-01-01, in milliseconds.
const BEGINNING: u64 = 1_767_225_600_000;

/// The same moment for every decision.
pub(crate) fn now() -> Now {
    Now { wall: Timestamp::from_millis(BEGINNING), tick: Tick::from_millis(1), clock: Clock::Trusted }
}

/// A gateway that keeps its contract.
pub(crate) fn rules() -> Rules {
    let identity = Identity { name: "http://127.0.0.1:7412".into(), ..Identity::default() };
    Rules::new(Contract::standard(identity), Encoder::plain())
}

/// Payment `number`: keys in the order of time, as UUIDv7 gives them.
pub(crate) fn pay(number: u64) -> (PaymentId, Input) {
    let key = format!("{:08x}-{:04x}-7000-8000-{number:012x}", number >> 16, number & 0xffff);
    let key = IdempotencyKey::new(&key).expect("legal");
    let (amount, currency) = (Amount::new(1999).expect("legal"), Currency::new("EUR").expect("legal"));
    let order = Order::new(amount, currency, &format!("cus_{number:012x}"), "acct_shop").expect("legal");
    let request = format!(
        r#"{{"reference":"00000000-0000-0000-0000-{number:012x}","amount":1999,"currency":"EUR","source":"{}","destination":"acct_shop","capture":"automatic"}}"#,
        order.source
    );
    let id = PaymentId::derive(&Tenant::default(), &key);
    let (tenant, order, manner) = (Tenant::default(), Arc::new(order), Manner::default());
    (id, Input::Pay { tenant, key, order, request: Ok(request.into_bytes()), manner })
}

/// What the gateway says to a sending.
pub(crate) fn approved(action: &Action) -> (PaymentId, Input) {
    let Action::Send { call, attempt, .. } = action else { unreachable!("nothing is in doubt here") };
    let outcome = Outcome::Succeeded(Reply::new("approved", "").with_reference("ch_000000000001"));
    (call.payment, Input::Ended { operation: call.operation, attempt: *attempt, outcome })
}

/// Pays `numbers`, and has the gateway say yes: two turns. Returns the payments at rest, for the store.
pub(crate) fn settle(machine: &mut Machine, numbers: std::ops::Range<u64>) -> Vec<Resting> {
    let inputs: Vec<_> = numbers.map(pay).collect();
    let begun = machine.turn(now(), &inputs, Admission::of(inputs.len())).expect("recorded");
    let ends: Vec<_> = begun.actions.iter().map(approved).collect();
    machine.turn(now(), &ends, Admission::of(0)).expect("recorded").resting
}

/// A payment that has succeeded.
pub(crate) fn succeeded(machine: &mut Machine, number: u64) -> Arc<Payment> {
    settle(machine, number..number + 1).pop().expect("at rest").payment
}

/// A machine over this disk and store, as a start makes it.
pub(crate) fn start(disk: Arc<dyn Disk>, store: Arc<dyn Store>) -> Recovered {
    let options = journal::Options { segment_bytes: 64 << 20, ..journal::Options::default() };
    let found = journal::open(disk, options).expect("whole");
    let begin = Begin {
        rules: rules().into(),
        journal: journal::Begin { store_uuid: [7; 16], salt: 1, boot_id: [1; 16], lock_inode: 1 },
        rebuild: true,
        moved: false,
        distrust: None,
        now: now().wall,
    };
    recover(found, store, begin).expect("recovered")
}

/// A folder under `target/tmp`, on the disk that is measured; removed when this is dropped.
pub(crate) struct Folder(PathBuf);

impl Folder {
    /// A new one, empty.
    pub(crate) fn new() -> Folder {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let name = format!("payonce-bench-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        std::fs::create_dir_all(&path).expect("a folder");
        Folder(path)
    }

    /// Where.
    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
