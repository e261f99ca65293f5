//! What the journal holds, and where: a record, its place, and the journal's own housekeeping.

use std::fmt;

use crate::payment::{Audit, Event, Payment, Webhook};

use super::format3;

/// A record's place in the journal: 1 is the first ever written, each next one is one more.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Lsn(u64);

impl Lsn {
    /// Before the first record.
    pub const ZERO: Lsn = Lsn(0);

    /// From its number.
    pub const fn new(number: u64) -> Lsn {
        Lsn(number)
    }

    /// Its number.
    pub const fn get(self) -> u64 {
        self.0
    }

    /// The place `count` records later.
    pub const fn plus(self, count: u64) -> Lsn {
        Lsn(self.0.saturating_add(count))
    }

    /// The place before; the one before the first stays where it is.
    pub const fn before(self) -> Lsn {
        Lsn(self.0.saturating_sub(1))
    }
}

impl fmt::Display for Lsn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A place between two batches, from which the journal can be read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Position {
    /// The segment's number.
    pub segment: u64,
    /// The byte in its file.
    pub offset: u64,
    /// The first record after this place.
    pub next: Lsn,
    /// The chain value before this place.
    pub chain: u32,
}

/// One record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Record {
    /// A fact about a payment.
    Event(Event),
    /// A copy of an event of the last batch before a restart. For the event feed only: recovery skips it, because
    /// every payment that it is about is carried.
    Relogged(Event),
    /// A payment whole, as of this place: it replaces whatever was known of it.
    Carried(Box<Payment>),
    /// News from a gateway, made durable before it is acted on.
    Inbox(Webhook),
    /// A start is complete.
    Opened(Opened),
    /// The store holds everything up to a place.
    Checkpoint(Checkpoint),
    /// The process stopped in order. Nothing follows in its segment.
    Closed(Closed),
    /// What an operator did, made durable before it takes effect.
    Audit(Audit),
}

impl Record {
    /// Whether anything in it can be read that `payonce erase` is to make unreadable.
    pub fn is_personal(&self) -> bool {
        format3::holds_personal(self)
    }

    /// One word for dumps and logs.
    pub const fn name(&self) -> &'static str {
        match self {
            Record::Event(_) => "event",
            Record::Relogged(_) => "relogged",
            Record::Carried(_) => "carried",
            Record::Inbox(_) => "inbox",
            Record::Opened(_) => "opened",
            Record::Checkpoint(_) => "checkpoint",
            Record::Closed(_) => "closed",
            Record::Audit(_) => "audit",
        }
    }
}

/// A start is complete: everything unresolved is carried. From here on its epoch counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Opened {
    /// Which start; 1 is the first.
    pub epoch: u64,
    /// Whether the folder was found moved, and nobody has said yet that this was meant.
    pub moved: bool,
}

/// The store has been flushed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Checkpoint {
    /// The store's own uuid: another store has not been flushed.
    pub store: [u8; 16],
    /// Everything up to here is in the flushed store, or carried between `from` and this record.
    pub upto: Lsn,
    /// Where replay starts.
    pub from: Position,
    /// Each of the store's files, and its length when it had been flushed.
    pub files: Vec<(String, u64)>,
}

/// The process stopped in order, with the store flushed and synced.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Closed {
    /// The store's own uuid.
    pub store: [u8; 16],
    /// Everything up to here is in the store.
    pub applied: Lsn,
    /// Each of the store's files, and its length.
    pub files: Vec<(String, u64)>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_counted_from_one_and_stop_at_their_ends() {
        let place = Lsn::new(41);
        assert_eq!((place.get(), place.plus(1).get(), place.before().get()), (41, 42, 40));
        assert_eq!((Lsn::ZERO.before(), Lsn::new(u64::MAX).plus(1)), (Lsn::ZERO, Lsn::new(u64::MAX)));
        assert_eq!(place.to_string(), "41");
    }

    #[test]
    fn housekeeping_has_words_of_its_own_in_dumps() {
        for (record, name) in [
            (Record::Opened(Opened::default()), "opened"),
            (Record::Checkpoint(Checkpoint::default()), "checkpoint"),
            (Record::Closed(Closed::default()), "closed"),
        ] {
            assert_eq!(record.name(), name);
        }
    }
}
