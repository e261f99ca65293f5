//! What gateways say by themselves: kept, and then asked about in the turn that follows.

use tokio::sync::oneshot;

use super::{
    handle::Rejection,
    telling::COME_BACK_LATER,
    turner::{Agenda, Origin, Turner},
};
use crate::{
    engine::{Received, Stopped},
    gateway::Said,
    payment::{Input, Now, Webhook},
};

impl Turner {
    /// A gateway that hears of no success says it again.
    pub(super) fn take_news(
        &mut self,
        news: Webhook,
        said: Option<Said>,
        reply: oneshot::Sender<Result<(), Rejection>>,
        now: &Now,
        agenda: &mut Agenda,
    ) -> Result<(), Stopped> {
        let operation = news.operation_key;
        let received = self.machine.receive(now.wall, news)?;
        self.durable.send_replace(self.machine.durable());
        if let (Received::Kept(Some(payment)), Some(operation)) = (received, operation) {
            let said = said.map(|said| (said.outcome, said.amount, said.currency));
            agenda.add(payment, Input::Hint { operation, said }, Origin::Report);
        }
        let _ = reply.send(match received {
            Received::Kept(_) | Received::Known => Ok(()),
            Received::NoSpace => Err(Rejection::StorageFull { retry_after: COME_BACK_LATER }),
        });
        Ok(())
    }
}
