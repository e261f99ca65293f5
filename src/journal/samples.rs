//! Journals for tests.

use std::sync::Arc;

use super::{Begin, Journal, Opened, Options, Record, open};
use crate::{
    disk::Disk,
    payment::{Timestamp, Webhook},
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
