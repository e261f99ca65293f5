//! What gateways say by themselves. First the turn, in which it is a hint, or evidence where nobody can be asked; then it
//! is kept, and known again; then the gateway hears that it came. A kill anywhere between, and it is said again.

use std::time::Instant;

use tokio::sync::oneshot;

use super::{
    handle::Rejection,
    telling::{COME_BACK_LATER, readable},
    turner::{Agenda, CONFIRM_AFTER, Origin, Turner},
};
use crate::{
    engine::{Received, Stopped},
    gateway::Said,
    payment::{Identity, Input, Now, Webhook},
};

/// A piece of news that is being taken, and who waits to hear so.
pub(super) type Heard = (Webhook, oneshot::Sender<Result<(), Rejection>>);

impl Turner {
    pub(super) fn take_news(
        &mut self,
        news: Webhook,
        from: Identity,
        said: Option<Said>,
        reply: oneshot::Sender<Result<(), Rejection>>,
        agenda: &mut Agenda,
    ) -> Result<(), Stopped> {
        if self.machine.knows(&news) {
            let _ = reply.send(Ok(()));
            return Ok(());
        }
        let found = news.operation_key.map_or(Ok(None), |key| self.machine.payment_of(&key));
        let payment = match readable(found)? {
            Ok(payment) => payment,
            // Not kept: the gateway has to say it again, to a start that can read.
            Err(rejection) => {
                let _ = reply.send(Err(rejection));
                return Ok(());
            }
        };
        if let (Some(operation), Some(payment)) = (news.operation_key, payment) {
            let said = said.map(|said| (said.outcome, said.amount, said.currency));
            agenda.add(payment, Input::Hint { operation, from, said }, Origin::Report);
        }
        agenda.news.push((news, reply));
        Ok(())
    }

    /// One write and one fsync for all that came.
    pub(super) fn keep_news(&mut self, heard: Vec<Heard>, now: &Now) -> Result<(), Stopped> {
        if heard.is_empty() {
            return Ok(());
        }
        let (news, replies): (Vec<_>, Vec<_>) = heard.into_iter().unzip();
        let received = self.machine.receive(now.wall, news)?;
        self.durable.send_replace(self.machine.durable());
        self.desk.confirm_at = Some(Instant::now() + CONFIRM_AFTER);
        for reply in replies {
            let _ = reply.send(match received {
                Received::Kept => Ok(()),
                Received::NoSpace => Err(Rejection::StorageFull { retry_after: COME_BACK_LATER }),
            });
        }
        Ok(())
    }
}
