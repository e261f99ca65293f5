//! The journal on a real disk: batches of several sizes, and reading them back. `cargo bench --bench journal`.

#![allow(missing_docs, clippy::expect_used, clippy::unwrap_used, reason = "a benchmark")]

mod kit;

use std::sync::Arc;

use divan::{Bencher, counter::ItemsCount};
use payonce::{
    disk::{Disk, OsDisk},
    journal::{self, Journal, Record, ReplayFrom},
    payment::{Event, decide},
};

fn main() {
    divan::main();
}

/// The three records of a new payment, each group as the engine makes it.
fn groups(payments: u64) -> Vec<Vec<Record>> {
    let rules = kit::rules();
    let group = |number| {
        let (payment, input) = kit::pay(number);
        let facts = decide(None, &[], &input, &kit::now(), &rules).facts;
        facts.into_iter().map(|fact| Record::Event(Event { payment, at: kit::now().wall, fact })).collect()
    };
    (0..payments).map(group).collect()
}

fn begin(disk: Arc<dyn Disk>, sealed: bool) -> Journal {
    let begin = journal::Begin { store_uuid: [7; 16], salt: 1, boot_id: [1; 16], lock_inode: 1 };
    let found = journal::open(disk, journal::Options::default()).expect("new");
    let mut journal = found.sealing(sealed, [7; 32]).expect("new").begin(begin).expect("begun");
    let opened = journal::Opened { epoch: journal.epoch(), moved: false };
    journal.append(kit::now().wall, &[vec![Record::Opened(opened)]]).expect("recorded");
    journal
}

/// New payments in one batch: one write, one fdatasync.
#[divan::bench(args = [1, 8, 64, 512])]
fn append(bencher: Bencher<'_, '_>, payments: u64) {
    let folder = kit::Folder::new();
    let mut journal = begin(Arc::new(OsDisk::new(folder.path()).expect("a folder")), false);
    let groups = groups(payments);
    bencher.counter(ItemsCount::new(payments)).bench_local(|| journal.append(kit::now().wall, &groups).unwrap());
}

/// The same with what is personal sealed.
#[cfg(feature = "erasure")]
#[divan::bench(args = [1, 8, 64, 512])]
fn append_sealed(bencher: Bencher<'_, '_>, payments: u64) {
    let folder = kit::Folder::new();
    let mut journal = begin(Arc::new(OsDisk::new(folder.path()).expect("a folder")), true);
    let (groups, owner) = (groups(payments), |_: &Record| Some(payonce::Tenant::default()));
    let append = || journal.append_of(kit::now().wall, &groups, &owner).unwrap();
    bencher.counter(ItemsCount::new(payments)).bench_local(append);
}

/// A start's reading of 100,000 payments' intents: checksums, chain, decoding. Items are records.
#[divan::bench(sample_count = 10)]
fn scan(bencher: Bencher<'_, '_>) {
    let folder = kit::Folder::new();
    let disk: Arc<dyn Disk> = Arc::new(OsDisk::new(folder.path()).expect("a folder"));
    let (mut journal, groups) = (begin(disk.clone(), false), groups(500));
    (0..200).for_each(|_| assert!(journal.append(kit::now().wall, &groups).is_ok()));
    drop(journal);
    let read = || {
        let found = journal::open(disk.clone(), journal::Options::default()).expect("whole");
        let mut records = 0u64;
        let count = &mut |_, _, _| {
            records += 1;
            Ok::<(), journal::OpenError>(())
        };
        found.replay(ReplayFrom::Beginning, count).expect("whole");
        records
    };
    let records = read();
    bencher.counter(ItemsCount::new(records)).bench_local(read);
}
