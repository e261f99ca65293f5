//! What the journal's tests share: a disk in memory that forgets like a real one, and a start as the engine makes it.

#![allow(dead_code, reason = "each test file uses its own part")]

pub(crate) mod memory_disk;

pub(crate) mod samples;

use std::{collections::BTreeSet, sync::Arc};

use payonce::{
    disk::Disk,
    journal::{
        AppendError, Appended, Begin, Found, Journal, Lsn, OpenError, Opened, Options, Record, ReplayFrom, open,
    },
    payment::{Event, Fact, Payment, Timestamp},
};

pub(crate) use memory_disk::{Image, MemoryDisk};
pub(crate) use samples::{event, payment, payment_number};

/// Small enough to be damaged bit by bit.
pub(crate) const SMALL: Options =
    Options { segment_bytes: 12 << 10, batch_bytes: 2 << 10, largest_batch_bytes: 4 << 10, verify_bytes: 1 << 30 };

pub(crate) fn at(millis: u64) -> Timestamp {
    Timestamp::from_millis(millis)
}

/// What a test may fail with.
#[derive(Debug)]
pub(crate) enum Failure {
    Open(OpenError),
    Append(AppendError),
}

impl From<OpenError> for Failure {
    fn from(error: OpenError) -> Failure {
        Failure::Open(error)
    }
}

impl From<AppendError> for Failure {
    fn from(error: AppendError) -> Failure {
        Failure::Append(error)
    }
}

/// A journal after a start, and the numbers of the payments that it knows.
pub(crate) struct Started {
    pub(crate) journal: Journal,
    pub(crate) known: BTreeSet<u64>,
}

/// The numbers of the payments that a start knows.
pub(crate) fn known(found: &Found, from: ReplayFrom) -> Result<BTreeSet<u64>, OpenError> {
    let mut known = BTreeSet::new();
    found.replay(from, &mut |_, _, record| {
        match record {
            Record::Event(event) => drop(known.insert(payment_number(&event.payment))),
            Record::Carried(payment) => drop(known.insert(payment_number(&payment.id))),
            Record::Relogged(_)
            | Record::Inbox(_)
            | Record::Audit(_)
            | Record::Opened(_)
            | Record::Checkpoint(_)
            | Record::Closed(_) => {}
        }
        Ok::<(), OpenError>(())
    })?;
    Ok(known)
}

/// A start as the engine makes it: what lacks evidence is recorded again, and carried, before `Opened`.
pub(crate) fn start_with(disk: Arc<dyn Disk>, options: Options, salt: u64) -> Result<Started, Failure> {
    let found = open(disk, options)?;
    let known = known(&found, ReplayFrom::Beginning)?;
    let mut again: Vec<Vec<Record>> = found.to_record_again()?.into_iter().map(with_its_payment).collect();
    let mut journal = found.begin(begin(salt))?;
    again.push(vec![Record::Opened(Opened { epoch: journal.epoch(), moved: false })]);
    journal.append(at(salt), &again)?;
    Ok(Started { journal, known })
}

/// Recovery skips copies of events, so their payment is carried.
fn with_its_payment(record: Record) -> Vec<Record> {
    match record {
        Record::Relogged(event) => {
            let carried = Record::Carried(Box::new(payment(payment_number(&event.payment))));
            vec![Record::Relogged(event), carried]
        }
        other @ (Record::Event(_)
        | Record::Carried(_)
        | Record::Inbox(_)
        | Record::Audit(_)
        | Record::Opened(_)
        | Record::Checkpoint(_)
        | Record::Closed(_)) => vec![other],
    }
}

pub(crate) fn start(disk: &MemoryDisk, salt: u64) -> Result<Started, Failure> {
    start_with(Arc::new(disk.clone()), SMALL, salt)
}

/// Each start offers another uuid: only the first one's counts.
pub(crate) fn begin(salt: u64) -> Begin {
    Begin { store_uuid: [salt as u8; 16], salt: 0x5A17_0000 + salt, boot_id: [7; 16], lock_inode: 42 }
}

/// Appends one event a payment, each a group of its own.
pub(crate) fn pay(journal: &mut Journal, numbers: std::ops::Range<u64>) -> Result<Appended, AppendError> {
    let groups: Vec<_> = numbers.map(|number| vec![Record::Event(event(number))]).collect();
    journal.append(at(1_000), &groups)
}

/// What the feed shows, by payment number.
pub(crate) fn feed(journal: &Journal) -> Vec<u64> {
    let records = journal.reader().read_from(Lsn::new(1), journal.last(), usize::MAX).expect("a feed");
    let numbers = records.into_iter().filter_map(|(_, record)| match record {
        Record::Event(event) | Record::Relogged(event) => Some(payment_number(&event.payment)),
        Record::Carried(_)
        | Record::Inbox(_)
        | Record::Audit(_)
        | Record::Opened(_)
        | Record::Checkpoint(_)
        | Record::Closed(_) => None,
    });
    numbers.collect()
}

pub(crate) fn open_image(image: Image) -> Result<Found, OpenError> {
    open(Arc::new(MemoryDisk::of(image)), SMALL)
}

pub(crate) type Known = BTreeSet<u64>;

pub(crate) fn fact(record: &Record) -> Option<&Fact> {
    match record {
        Record::Event(Event { fact, .. }) | Record::Relogged(Event { fact, .. }) => Some(fact),
        Record::Carried(_)
        | Record::Inbox(_)
        | Record::Audit(_)
        | Record::Opened(_)
        | Record::Checkpoint(_)
        | Record::Closed(_) => None,
    }
}

pub(crate) fn carried(payment: Payment) -> Record {
    Record::Carried(Box::new(payment))
}
