//! What has come to rest is read on the caller's own thread: the engine has nothing to decide about it.

use std::sync::{Arc, PoisonError, RwLock};

use super::handle::{Answer, Delivery, Rejection};
use crate::{
    engine::Archive,
    payment::{IdempotencyKey, Order, Payment, PaymentId, Response, Tenant, repeat},
};

/// The archive, until the engine ends: then the folder is let go of, whoever still holds the engine.
pub(super) struct Rested(RwLock<Option<Archive>>);

impl Rested {
    pub(super) fn new(archive: Archive) -> Rested {
        Rested(RwLock::new(Some(archive)))
    }

    /// A payment at rest; `None`: ask the engine.
    pub(super) fn get(&self, id: &PaymentId) -> Option<Arc<Payment>> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).as_ref()?.get(id).map(Arc::new)
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
        self.0.write().unwrap_or_else(PoisonError::into_inner).take();
    }
}
