//! The journal's own records, as written in version 1.

use serde::{Deserialize, Serialize};

use super::super::{Lsn, Position, record};

#[derive(Serialize, Deserialize)]
pub(in super::super) struct Opened {
    epoch: u64,
    moved: bool,
}

impl From<&record::Opened> for Opened {
    fn from(opened: &record::Opened) -> Opened {
        Opened { epoch: opened.epoch, moved: opened.moved }
    }
}

impl From<Opened> for record::Opened {
    fn from(opened: Opened) -> record::Opened {
        record::Opened { epoch: opened.epoch, moved: opened.moved }
    }
}

#[derive(Serialize, Deserialize)]
struct Place {
    segment: u64,
    offset: u64,
    next: u64,
    chain: u32,
}

#[derive(Serialize, Deserialize)]
pub(in super::super) struct Checkpoint {
    store: [u8; 16],
    upto: u64,
    from: Place,
    files: Vec<(String, u64)>,
}

impl From<&record::Checkpoint> for Checkpoint {
    fn from(checkpoint: &record::Checkpoint) -> Checkpoint {
        let record::Checkpoint { store, upto, from, files } = checkpoint.clone();
        let Position { segment, offset, next, chain } = from;
        Checkpoint { store, upto: upto.get(), from: Place { segment, offset, next: next.get(), chain }, files }
    }
}

impl From<Checkpoint> for record::Checkpoint {
    fn from(checkpoint: Checkpoint) -> record::Checkpoint {
        let Checkpoint { store, upto, from: Place { segment, offset, next, chain }, files } = checkpoint;
        let from = Position { segment, offset, next: Lsn::new(next), chain };
        record::Checkpoint { store, upto: Lsn::new(upto), from, files }
    }
}

#[derive(Serialize, Deserialize)]
pub(in super::super) struct Closed {
    store: [u8; 16],
    applied: u64,
    files: Vec<(String, u64)>,
}

impl From<&record::Closed> for Closed {
    fn from(closed: &record::Closed) -> Closed {
        let record::Closed { store, applied, files } = closed.clone();
        Closed { store, applied: applied.get(), files }
    }
}

impl From<Closed> for record::Closed {
    fn from(closed: Closed) -> record::Closed {
        record::Closed { store: closed.store, applied: Lsn::new(closed.applied), files: closed.files }
    }
}
