//! What the gateway says by itself: before the reply, long after it, twice, out of order; and what others say in its name.

use super::world::{What, World};
use crate::{
    engine::{Received, Unread},
    payment::{Call, Input, Inquiry, Outcome, Reply, Webhook},
};

impl World {
    /// Now and then the gateway speaks of what it was asked for: at once or much later, once or twice.
    pub(super) fn speak_of(&mut self, call: &Call) {
        for _ in 0..self.rng.below(3) {
            let soon = if self.rng.one_in(2) { 100 } else { 3_600_000 };
            let at = self.now + self.rng.below(soon);
            let number = self.rng.below(3);
            self.at(at, What::News { call: call.clone(), number });
        }
    }

    /// News arrives. Who can be asked may be misquoted: nothing of that may be believed. Who cannot be asked is quoted
    /// rightly, for there is a signature.
    pub(super) fn news(&mut self, call: &Call, number: u64) {
        let truth = self.gateway.say(self.now, call);
        let outcome = match self.rules.contract.inquiry {
            Inquiry::None => truth,
            Inquiry::ByKey { .. } if self.rng.one_in(3) => truth,
            Inquiry::ByKey { .. } => Outcome::Succeeded(Reply::new("forged", "")),
        };
        let at = self.clocks().wall;
        let event_id = format!("{}-{number}", call.operation_key);
        let operation_key = Some(call.operation_key);
        let news = Webhook { gateway: "sim".to_owned(), event_id, at, operation_key, body: Vec::new() };
        self.note(|| format!("gateway: says {} of {}", outcome.name(), call.payment));
        let Some(machine) = self.machine.as_ref().filter(|machine| !machine.knows(&news)) else { return };
        let payment = match machine.payment_of(&call.operation_key) {
            Ok(payment) => payment,
            // It is not taken, and is said again, or not.
            Err(Unread::OutOfUse(_)) => return,
            Err(Unread::Bad(_)) => return self.die(),
        };
        if let Some(payment) = payment {
            let said = Some((outcome, call.amount.minor_units(), call.currency.as_str().to_owned()));
            self.turn_at_once(vec![(
                payment,
                Input::Hint { operation: call.operation_key, from: call.gateway.clone(), said },
            )]);
        }
        let Some(machine) = &mut self.machine else { return };
        match machine.receive(at, vec![news]) {
            Ok(Received::Kept) => self.oracle.took_news(self.disk.unsynced()),
            Ok(Received::NoSpace) => {}
            Err(_) => self.die(),
        }
    }
}
