//! Journals for tests.

use std::sync::Arc;

use super::{Begin, Journal, Opened, Options, Record, open};
use crate::{
    disk::Disk,
    payment::{
        Amount, Contradiction, Currency, IdempotencyKey, Identity, Kind, Namespace, Operation, OperationKey,
        OperationRef, Order, Payment, PaymentId, Tenant, Timestamp, Webhook,
    },
};

/// When everything in them was written.
pub(super) const WALL: Timestamp = Timestamp::from_millis(1);

/// A whole start, the first or a later one: what lacks evidence of being durable is recorded again.
pub(super) fn start(disk: &Arc<dyn Disk>, sizes: Options) -> Journal {
    let begin = Begin { store_uuid: [1; 16], salt: 7, boot_id: [2; 16], lock_inode: 3 };
    let found = open(Arc::clone(disk), sizes).expect("readable");
    let again = found.to_record_again().expect("readable");
    let mut journal = found.begin(begin).expect("space");
    let opened = Record::Opened(Opened { epoch: journal.epoch(), moved: false });
    journal.append(WALL, &[again, vec![opened]]).expect("room");
    journal.clean_up().expect("possible");
    journal
}

/// A record with a body of so many bytes, which no block makes shorter; those of another length have another body.
pub(super) fn news(bytes: usize) -> Record {
    let mut state = 0x9E37_79B9 ^ u32::try_from(bytes).expect("short");
    let body = std::iter::repeat_with(|| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        state.to_be_bytes()[0]
    });
    news_of(body.take(bytes).collect())
}

/// A record with this body.
pub(super) fn news_of(body: Vec<u8>) -> Record {
    let (gateway, event_id) = ("a".to_owned(), "b".to_owned());
    Record::Inbox(Webhook { gateway, event_id, at: WALL, operation_key: None, body })
}

/// A payment of so many operations, each contradicted or not.
pub(super) fn payment(contradicted: &[Option<Contradiction>]) -> Payment {
    let (amount, key) = (Amount::new(7).expect("legal"), IdempotencyKey::new("k").expect("legal"));
    let operation = |(number, contradicted): (u32, &Option<Contradiction>)| {
        let this = OperationRef { number, kind: Kind::Charge, amount };
        let operation_key = OperationKey::from_bytes([1; 16]);
        let made = Operation::intended(this, key.clone(), operation_key, Identity::default(), Vec::new());
        Operation { contradicted: *contradicted, ..made }
    };
    Payment {
        id: PaymentId::from_bytes([2; 16]),
        tenant: Tenant::default(),
        namespace: Namespace::default(),
        order: Arc::new(Order::new(amount, Currency::new("USD").expect("legal"), "a", "b").expect("legal")),
        operations: (0..).zip(contradicted).map(operation).collect(),
        created_at: Timestamp::default(),
        settled_at: None,
        updated_at: Timestamp::default(),
        timeline: Vec::new(),
        key,
    }
}

/// Keys to seal with, begun in this folder.
#[cfg(feature = "erasure")]
pub(super) fn seal(disk: &Arc<dyn Disk>) -> Arc<super::Seal> {
    let seal = super::Seal::begin(disk).expect("space");
    seal.start([42; 32]).expect("nothing to destroy");
    seal
}
