//! What has come to rest is read on the caller's own thread: the engine has nothing to decide about it.

use std::sync::{Arc, PoisonError, RwLock};

use super::{
    handle::{Answer, Delivery, Rejection},
    intake::{Intake, Report},
};
use crate::{
    engine::Archive,
    payment::{IdempotencyKey, Order, Payment, PaymentId, Response, Tenant, repeat},
};

pub(super) struct Rested {
    /// Until the engine ends: then the folder is let go of, whoever still holds the engine.
    archive: RwLock<Option<Archive>>,
    intake: Arc<Intake>,
}

impl Rested {
    pub(super) fn new(archive: Archive, intake: Arc<Intake>) -> Rested {
        Rested { archive: RwLock::new(Some(archive)), intake }
    }

    /// A payment at rest; `None`: ask the engine. Reads the disk on the caller's thread: where that hangs, so does this.
    pub(super) fn get(&self, id: &PaymentId) -> Option<Arc<Payment>> {
        let archive = self.archive.read().unwrap_or_else(PoisonError::into_inner);
        match archive.as_ref()?.get(id) {
            Ok(found) => found.map(Arc::new),
            Err(stopped) => {
                self.intake.report(Report::StoreIsBad(stopped));
                None
            }
        }
    }

    /// The answer to a key that was settled before, or to its other parameters; `None`: ask the engine.
    pub(super) fn repeat(
        &self,
        id: &PaymentId,
        tenant: &Tenant,
        key: &IdempotencyKey,
        order: &Order,
    ) -> Option<Result<Answer, Rejection>> {
        let payment = self.get(id)?;
        match repeat(&payment, tenant, key, order) {
            Response::Replayed => Some(Ok(Answer { payment, delivery: Delivery::Replayed })),
            Response::Conflict(differing) => Some(Err(Rejection::Conflict { id: *id, differing })),
            Response::Fresh
            | Response::Attached
            | Response::Inexpressible(_)
            | Response::Moved
            | Response::Done
            | Response::InvalidState(_)
            | Response::AmountTooLarge { .. }
            | Response::NotFound => None,
        }
    }

    /// Waits for those who read, and lets go of the store.
    pub(super) fn close(&self) {
        let archive = self.archive.write().unwrap_or_else(PoisonError::into_inner).take();
        // Only now, for it may take a while: who asks meanwhile is told at once that there is nothing any more.
        drop(archive);
    }
}
