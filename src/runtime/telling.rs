//! Who is told what, once it is durable.

use std::{sync::Arc, time::Duration};

use super::{
    desk::{Reply, Waiter},
    handle::{Answer, Delivery, Rejection},
    intake::Pay,
    traces,
    turner::{Origin, Turner},
};
use crate::{
    engine::{Stopped, Told, Unread},
    payment::{Input, Operation, Payment, PaymentId, Response, State},
};

/// When a caller who was turned away should come back.
pub(super) const COME_BACK: Duration = Duration::from_secs(1);

/// After a full disk, which somebody has to empty.
pub(super) const COME_BACK_LATER: Duration = Duration::from_secs(5);

impl Turner {
    pub(super) fn tell_waiters(&mut self, changed: &[Arc<Payment>]) {
        traces::changed(changed);
        if self.desk.waiters.is_empty() {
            return;
        }
        for payment in changed {
            let Some(waiting) = self.desk.waiters.get_mut(&payment.id) else { continue };
            for waiter in waiting.extract_if(.., |waiter| is_answer(payment, waiter.operation)) {
                let _ = waiter.reply.send(Ok(Answer { payment: payment.clone(), delivery: waiter.delivery }));
            }
            if waiting.is_empty() {
                self.desk.waiters.remove(&payment.id);
            }
        }
    }

    /// At an orderly end: how far each payment has come, all of which is durable.
    pub(super) fn tell_who_still_waits(&mut self) {
        for (id, waiting) in std::mem::take(&mut self.desk.waiters) {
            // What cannot be read is in doubt for its caller: they are told that this has stopped.
            let Ok(Some(payment)) = self.machine.get(&id) else { continue };
            for waiter in waiting {
                let _ = waiter.reply.send(Ok(Answer { payment: payment.clone(), delivery: waiter.delivery }));
            }
        }
    }

    pub(super) fn tell(&mut self, id: PaymentId, input: Input, origin: Origin, told: Told) {
        match origin {
            Origin::Report | Origin::Schedule => {}
            Origin::Person(reply) => {
                let _ = reply.send(person_answer(told));
            }
            Origin::Caller { until_settled, reply } => self.tell_caller(id, input, until_settled, reply, told),
        }
    }

    fn tell_caller(&mut self, id: PaymentId, input: Input, until_settled: bool, reply: Reply, told: Told) {
        let (response, payment) = match told {
            Told::Decided { response: Some(response), payment } => (response, payment),
            Told::NoCallFree { route } if self.desk.closing.is_none() && self.desk.store_failed.is_none() => {
                self.desk.hold(route, Pay { id, input, until_settled, reply });
                return;
            }
            Told::NoCallFree { .. } => return refuse(reply, Rejection::Overloaded { retry_after: COME_BACK }),
            Told::PossibleDuplicate { of } => return refuse(reply, Rejection::PossibleDuplicate { of }),
            Told::Paused => return refuse(reply, Rejection::Paused),
            Told::Draining => return refuse(reply, Rejection::Draining),
            Told::NoSpace => return refuse(reply, Rejection::StorageFull { retry_after: COME_BACK_LATER }),
            Told::Defect | Told::Decided { response: None, .. } => return refuse(reply, defect()),
        };
        let later = input.follow_up().and_then(|(key, _)| payment.as_ref()?.follow_up(key));
        let operation = later.map_or(0, |operation| operation.this.number);
        let delivery = match response {
            Response::Fresh => Delivery::Fresh,
            Response::Attached | Response::Done => Delivery::Attached,
            Response::Replayed => Delivery::Replayed,
            Response::Conflict(differing) => return refuse(reply, Rejection::Conflict { id, differing }),
            Response::Inexpressible(invalid) => return refuse(reply, Rejection::InvalidOrder(invalid)),
            Response::Moved => return refuse(reply, Rejection::Moved),
            Response::AmountTooLarge { left } => return refuse(reply, Rejection::AmountTooLarge { left }),
            Response::InvalidState(why) => return refuse(reply, Rejection::InvalidState { why }),
            Response::NotFound => return refuse(reply, Rejection::NotFound),
        };
        let Some(payment) = payment else { return refuse(reply, defect()) };
        if is_answer(&payment, operation) || !until_settled {
            let _ = reply.send(Ok(Answer { payment, delivery }));
            return;
        }
        let waiting = self.desk.waiters.entry(id).or_default();
        waiting.retain(|waiter| !waiter.reply.is_closed());
        waiting.push(Waiter { operation, delivery, reply });
    }
}

/// Whether there is something to say of an operation that its caller need not wait on: final, or up to the payer or a
/// person.
fn is_answer(payment: &Payment, operation: u32) -> bool {
    let found = payment.operations.iter().find(|found| found.this.number == operation);
    match found.map_or(State::Processing, Operation::state) {
        State::RequiresAction
        | State::Authorized
        | State::Succeeded
        | State::Declined
        | State::Canceled
        | State::Parked => true,
        State::Processing | State::InDoubt => false,
    }
}

fn person_answer(told: Told) -> Result<Arc<Payment>, Rejection> {
    let (response, payment) = match told {
        Told::Decided { response: Some(response), payment } => (response, payment),
        Told::NoSpace => return Err(Rejection::StorageFull { retry_after: COME_BACK_LATER }),
        Told::Decided { response: None, .. }
        | Told::NoCallFree { .. }
        | Told::PossibleDuplicate { .. }
        | Told::Paused
        | Told::Draining
        | Told::Defect => return Err(defect()),
    };
    match response {
        Response::InvalidState(why) => Err(Rejection::InvalidState { why }),
        Response::NotFound => Err(Rejection::NotFound),
        Response::Done
        | Response::Fresh
        | Response::Attached
        | Response::Replayed
        | Response::Conflict(_)
        | Response::Inexpressible(_)
        | Response::AmountTooLarge { .. }
        | Response::Moved => payment.ok_or(defect()),
    }
}

/// A store that is out of use is told to who asked; one that cannot be trusted stops the engine.
pub(super) fn readable<T>(read: Result<T, Unread>) -> Result<Result<T, Rejection>, Stopped> {
    match read {
        Ok(found) => Ok(Ok(found)),
        Err(Unread::OutOfUse(_)) => Ok(Err(Rejection::StorageFull { retry_after: COME_BACK_LATER })),
        Err(Unread::Bad(stopped)) => Err(stopped),
    }
}

pub(super) fn refuse(reply: Reply, rejection: Rejection) {
    let _ = reply.send(Err(rejection));
}

const fn defect() -> Rejection {
    Rejection::Defect
}
