//! Turns, recovery and the store: `cargo bench --bench engine`. Turns and recovery run in memory, so that what is seen is
//! the engine; the store is the real one.

#![allow(missing_docs, clippy::expect_used, clippy::unwrap_used, reason = "a benchmark")]

mod kit;

use std::sync::Arc;

use divan::{Bencher, counter::ItemsCount};
use payonce::{
    engine::Resting,
    journal::Lsn,
    sim::SimDisk,
    store::{self, Expected, Mark, MemoryStore, SledStore, Store},
};

fn main() {
    divan::main();
}

/// New payments, and the gateway's answers: two turns, without the disk's time.
#[divan::bench(args = [1, 8, 64, 512])]
fn turns(bencher: Bencher<'_, '_>, payments: u64) {
    let (disk, store) = (Arc::new(SimDisk::new()), Arc::new(MemoryStore::new()));
    let mut machine = kit::start(disk, store).machine;
    let mut next = 0;
    bencher.counter(ItemsCount::new(payments)).bench_local(|| {
        next += payments;
        let rows = kit::settle(&mut machine, next - payments..next);
        // As if the store had taken them: memory stays what it is in a daemon.
        machine.stored(&rows.iter().map(|row| (row.payment.id, row.lsn)).collect::<Vec<_>>());
    });
}

/// A start that has 10,000 payments to replay, into an empty store. Items are payments.
#[divan::bench(sample_count = 10)]
fn recovery(bencher: Bencher<'_, '_>) {
    let disk = Arc::new(SimDisk::new());
    let mut machine = kit::start(disk.clone(), Arc::new(MemoryStore::new())).machine;
    (0..20).for_each(|hundred| drop(kit::settle(&mut machine, hundred * 500..(hundred + 1) * 500)));
    drop(machine);
    bencher
        .counter(ItemsCount::new(10_000u32))
        .bench_local(|| drop(kit::start(disk.clone(), Arc::new(MemoryStore::new()))));
}

fn sled(folder: &kit::Folder) -> SledStore {
    let expected = Expected { store: [7; 16], applied: Lsn::ZERO, files: &[] };
    store::open(&folder.path().join("store"), &store::Options::default(), &expected).expect("a store").store
}

/// 500 settled payments at a time, in the order of their ids.
fn rows(number: u64) -> Vec<Resting> {
    let mut machine = kit::start(Arc::new(SimDisk::new()), Arc::new(MemoryStore::new())).machine;
    kit::settle(&mut machine, number * 500..(number + 1) * 500)
}

#[divan::bench(sample_count = 50)]
fn store_500_rows(bencher: Bencher<'_, '_>) {
    let folder = kit::Folder::new();
    let store = sled(&folder);
    let mut number = 0;
    let next = || {
        number += 1;
        rows(number)
    };
    let mark = Mark { store: [7; 16], epoch: 1, applied: Lsn::new(1), chain: 0 };
    bencher
        .counter(ItemsCount::new(500u32))
        .with_inputs(next)
        .bench_local_values(|rows| payonce::engine::put(&store, rows, &mark).unwrap());
}

/// One of 50,000, found by its id.
#[divan::bench]
fn look_up_a_row(bencher: Bencher<'_, '_>) {
    let folder = kit::Folder::new();
    let store = sled(&folder);
    let mark = Mark { store: [7; 16], epoch: 1, applied: Lsn::new(1), chain: 0 };
    let put = |number| payonce::engine::put(&store, rows(number), &mark).unwrap();
    assert_eq!((0..100).map(put).sum::<u64>(), 50_000);
    let mut number = 0;
    bencher.bench_local(|| {
        number = (number + 7_919) % 50_000;
        store.get(&kit::pay(number).0).unwrap().expect("it is there")
    });
}
