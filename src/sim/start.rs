//! What the runtime does around a machine, with the simulated disk and store: bringing both up, and giving rows to the
//! store.

use std::sync::Arc;

use crate::{
    engine::{self, Begin, Machine, OpenError, Recovered, Resting, Stopped, check_mark, recover},
    journal::{self, Found},
    payment::{Distrust, PaymentId, Rulebook, Timestamp},
    store::{Mark, MemoryStore, Store},
};

/// What is new each time.
pub(super) struct Boot {
    pub(super) rules: Rulebook,
    /// Another one after the machine died: then the store is not trusted.
    pub(super) boot_id: [u8; 16],
    pub(super) salt: u64,
    pub(super) distrust: Option<Distrust>,
    pub(super) now: Timestamp,
}

/// Brings up the store, or puts an empty one in its place, and recovers.
pub(super) fn start(found: Found, store: &mut Arc<MemoryStore>, boot: Boot) -> Result<Recovered, OpenError> {
    let Boot { rules, boot_id, salt, distrust, now } = boot;
    let whole = match &store.mark().map_err(Stopped::from)? {
        Some(mark) => check_mark(&found, mark)?,
        None => found.is_new(),
    };
    let other_boot = !found.is_new() && found.closed().is_none() && found.boot_id() != Some(boot_id);
    let rebuild = !whole || other_boot;
    if rebuild {
        *store = Arc::new(MemoryStore::new());
    }
    store.start(found.flushed());
    let journal = journal::Begin { store_uuid: [7; 16], salt, boot_id, lock_inode: 1 };
    recover(found, store.clone(), Begin { rules, journal, rebuild, moved: false, distrust, now })
}

/// The store takes rows, and memory lets go of them.
pub(super) fn keep(store: &MemoryStore, machine: &mut Machine, rows: Vec<Resting>, mark: &Mark) -> Result<(), Stopped> {
    let taken: Vec<_> = rows.iter().map(|row| (row.payment.id, row.lsn)).collect();
    engine::put(store, rows, mark)?;
    machine.stored(&taken);
    Ok(())
}

/// Whether a thread that reads beside the machine, if it may answer for a payment, reads what the machine says of it.
pub(super) fn reads_the_same(machine: &mut Machine, id: &PaymentId) -> bool {
    match machine.archive().get(id) {
        Ok(Some(beside)) => machine.get(id).is_ok_and(|payment| payment.as_deref() == Some(&beside)),
        Ok(None) => true,
        Err(_) => false,
    }
}
