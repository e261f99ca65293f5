//! Reads beside the turning machine: what is at rest in the store, and nowhere else.
//!
//! A payment that is not in memory is in the store as it is: the store takes it before memory lets go of it, and whatever
//! happens to it brings it into memory before anybody is told. So any thread may answer for it. What may be in memory is
//! the machine's to answer for.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
};

use super::{Stopped, Unread, read};
use crate::{
    journal::Seal,
    payment::{Payment, PaymentId},
    store::Store,
};

/// How many counters there are: with 2,000 payments in memory, as a thousand callers bring them, one of 30 others is thought
/// to be there too; with 100,000 in doubt three of four, and asked for as if there were no archive. They take 256 KB.
const COUNTERS: usize = 1 << 16;

/// For each counter, how many payments in memory have ids that end like this. Ids end with a hash; who tries long enough to
/// have many counted in one place only has the machine asked for them.
pub(super) struct Present(Box<[AtomicU32]>);

impl Present {
    pub(super) fn new() -> Present {
        Present((0..COUNTERS).map(|_| AtomicU32::new(0)).collect())
    }

    pub(super) fn enters(&self, id: &PaymentId) {
        self.counter(id).map(|counter| counter.fetch_add(1, Ordering::Release));
    }

    pub(super) fn leaves(&self, id: &PaymentId) {
        self.counter(id).map(|counter| counter.fetch_sub(1, Ordering::Release));
    }

    fn may_hold(&self, id: &PaymentId) -> bool {
        self.counter(id).is_none_or(|counter| counter.load(Ordering::Acquire) > 0)
    }

    fn counter(&self, id: &PaymentId) -> Option<&AtomicU32> {
        let [.., last_but_one, last] = *id.as_bytes();
        self.0.get(usize::from(u16::from_be_bytes([last_but_one, last])))
    }
}

impl fmt::Debug for Present {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Present")
    }
}

/// What is at rest, for any thread. Keeps the store open.
#[derive(Clone)]
pub struct Archive {
    pub(super) store: Arc<dyn Store>,
    pub(super) seal: Option<Arc<Seal>>,
    pub(super) present: Arc<Present>,
}

impl Archive {
    /// A payment that is at rest, as everybody who was told of it was told, or as it has become since. `None`: ask the
    /// machine, which may have it in memory, or not know it. An error: what the store holds cannot be trusted, which the
    /// machine must be told, for it may never meet it itself: a store that has failed once only says that it is out of use.
    pub fn get(&self, id: &PaymentId) -> Result<Option<Payment>, Stopped> {
        // In this order: what enters memory in between has not been told to anybody yet.
        if self.present.may_hold(id) {
            return Ok(None);
        }
        match read(self.store.as_ref(), self.seal.as_deref(), id) {
            Ok(found) => Ok(found.map(|(payment, _)| payment)),
            Err(Unread::OutOfUse(_)) => Ok(None),
            Err(Unread::Bad(stopped)) => Err(stopped),
        }
    }
}

impl fmt::Debug for Archive {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Archive")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_entered_is_held_until_it_has_left_as_often() {
        let (id, other) = (PaymentId::from_bytes([7; 16]), PaymentId::from_bytes([8; 16]));
        let present = Present::new();
        assert!(!present.may_hold(&id));
        present.enters(&id);
        present.enters(&id);
        present.leaves(&id);
        assert!(present.may_hold(&id) && !present.may_hold(&other));
        present.leaves(&id);
        assert!(!present.may_hold(&id));
    }
}
