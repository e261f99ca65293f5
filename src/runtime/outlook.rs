//! What is scheduled next for a payment: told by the engine thread, which alone knows how far the chase has come.

use std::sync::Arc;

use super::turner::Turner;
use crate::{
    engine::Unread,
    payment::{Next, Outlook, Payment, PaymentId, Pursuit, outlook},
};

/// A payment, and what happens next with each of its operations.
#[derive(Clone, Debug)]
pub struct Outlooks {
    /// The payment as it is.
    pub payment: Arc<Payment>,
    /// One for each operation.
    pub operations: Vec<Outlook>,
}

impl Turner {
    pub(super) fn outlook(&mut self, id: &PaymentId) -> Result<Option<Outlooks>, Unread> {
        let now = self.clock.now();
        let Some(payment) = self.machine.get(id)? else { return Ok(None) };
        let pursuits = self.machine.pursuits(id).iter().copied().chain(std::iter::repeat(Pursuit::default()));
        let operations = payment.operations.iter().zip(pursuits).map(|(operation, pursuit)| {
            let contract = &self.machine.rules().of(&payment).contract;
            let known = Some(contract).filter(|one| one.identity == operation.gateway);
            let mut next = outlook(operation, &pursuit, known, &now);
            if next.next == Next::Send && self.machine.rules().of(&payment).is_paused() {
                next.why.push_str("; an operator has paused the gateway: nothing is sent before that is ended");
            }
            next
        });
        let operations = operations.collect();
        Ok(Some(Outlooks { payment, operations }))
    }
}
