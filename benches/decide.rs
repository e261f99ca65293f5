//! The core and the codec, one payment at a time: `cargo bench --bench decide`.

#![allow(missing_docs, clippy::expect_used, clippy::unwrap_used, reason = "a benchmark")]

mod kit;

use std::sync::Arc;

use divan::{Bencher, black_box};
use payonce::{
    journal::{Record, decode_payment, decode_record, encode_payment, encode_record},
    payment::{Event, Payment, apply, decide},
    sim::SimDisk,
    store::MemoryStore,
};

fn main() {
    divan::main();
}

/// The three facts of a new payment.
fn events() -> Vec<Event> {
    let (id, input) = kit::pay(1);
    let at = kit::now().wall;
    let facts = decide(None, &[], &input, &kit::now(), &kit::rules()).facts;
    facts.into_iter().map(|fact| Event { payment: id, at, fact }).collect()
}

fn settled() -> Arc<Payment> {
    let mut machine = kit::start(Arc::new(SimDisk::new()), Arc::new(MemoryStore::new())).machine;
    kit::succeeded(&mut machine, 1)
}

/// A new payment: accepted, intended, attempt started.
#[divan::bench]
fn decide_a_new_payment(bencher: Bencher<'_, '_>) {
    let ((_, input), rules) = (kit::pay(1), kit::rules());
    bencher.bench(|| decide(None, &[], black_box(&input), &kit::now(), &rules));
}

/// The fold of these three facts.
#[divan::bench]
fn apply_its_three_facts(bencher: Bencher<'_, '_>) {
    let events = events();
    bencher.bench(|| {
        let mut payment = None;
        events.iter().for_each(|event| apply(&mut payment, black_box(event)).expect("in order"));
        payment
    });
}

#[divan::bench]
fn encode_its_three_records(bencher: Bencher<'_, '_>) {
    let records: Vec<Record> = events().into_iter().map(Record::Event).collect();
    bencher.bench(|| records.iter().map(|record| encode_record(black_box(record)).unwrap().len()).sum::<usize>());
}

#[divan::bench]
fn decode_its_three_records(bencher: Bencher<'_, '_>) {
    let frames: Vec<Vec<u8>> =
        events().into_iter().map(|event| encode_record(&Record::Event(event)).unwrap()).collect();
    bencher.bench(|| frames.iter().for_each(|frame| drop(black_box(decode_record(frame).unwrap()))));
}

/// A row of the store.
#[divan::bench]
fn encode_a_settled_payment(bencher: Bencher<'_, '_>) {
    let payment = settled();
    bencher.bench(|| encode_payment(black_box(&payment)));
}

#[divan::bench]
fn decode_a_settled_payment(bencher: Bencher<'_, '_>) {
    let row = encode_payment(&settled());
    bencher.bench(|| decode_payment(black_box(&row)).unwrap());
}

/// The same with what is personal sealed.
#[cfg(feature = "erasure")]
mod sealed {
    use payonce::journal::{self, Seal, decode_row, encode_row};

    use super::*;

    fn seal() -> Arc<Seal> {
        let found = journal::open(Arc::new(SimDisk::new()), journal::Options::default()).unwrap();
        found.sealing(true, [7; 32]).unwrap().seal().cloned().unwrap()
    }

    #[divan::bench]
    fn encode_a_settled_payment(bencher: Bencher<'_, '_>) {
        let (payment, seal) = (settled(), seal());
        bencher.bench(|| encode_row(black_box(&payment), Some(&seal)).unwrap());
    }

    #[divan::bench]
    fn decode_a_settled_payment(bencher: Bencher<'_, '_>) {
        let seal = seal();
        let row = encode_row(&settled(), Some(&seal)).unwrap();
        bencher.bench(|| decode_row(black_box(&row), Some(&seal)).unwrap());
    }
}
