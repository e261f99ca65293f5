//! What operators do to the whole engine, and what they did.

use std::time::Instant;

use tokio::sync::oneshot;

use super::{
    handle::{Engine, Rejection},
    intake::Ask,
    telling::{COME_BACK_LATER, refuse},
    turner::{CONFIRM_AFTER, Turner},
};
use crate::{
    engine::{Received, Stopped},
    journal::{Audits, Lsn},
    payment::{Audit, Deed, Identity, Person, Timestamp},
};

/// How many segments are searched at once: a second or less. Deeds are rare, and whoever wants older ones asks again.
const SEGMENTS: usize = 4;

impl Engine {
    /// Records what an operator does, then does it. `key`: the name of the API key that it is done with. To ask about a
    /// payment, and what webhooks are told, is up to the caller, once this has returned.
    pub async fn act(&self, deed: Deed, key: Option<String>, person: Person) -> Result<(), Rejection> {
        let audit = Audit { at: Timestamp::default(), key, person, deed, carried: false };
        self.ask(|reply| Ask::Act(audit, reply)).await?
    }

    /// Which gateway a name stands for: as it is configured, or as the gateway names itself.
    pub fn gateway(&self, name: &str) -> Option<Identity> {
        self.face.lines.named(name).map(|line| line.identity().clone())
    }

    /// Whether an operator has nothing new taken.
    pub fn is_draining(&self) -> bool {
        self.face.lines.is_draining()
    }

    /// What operators did, newest first: up to `limit` deeds before a place. There may be fewer, and still more to find.
    pub async fn audits(&self, before: Option<Lsn>, limit: usize) -> Result<Audits, Rejection> {
        let (mut reader, durable) = (self.face.reader.clone(), self.durable());
        let read = move || {
            let mut found = Audits { audits: Vec::new(), next: Some(before.unwrap_or(durable.plus(1))) };
            for _ in 0..SEGMENTS {
                let left = limit.saturating_sub(found.audits.len());
                let Some(before) = found.next.filter(|_| left > 0) else { break };
                let more = reader.audits_before(before, durable, left)?;
                found.audits.extend(more.audits);
                found.next = more.next;
            }
            Ok(found)
        };
        let failed = |why: String| Rejection::Stopped(Stopped::new(why));
        let read = tokio::task::spawn_blocking(read).await.map_err(|error| failed(error.to_string()))?;
        read.map_err(|error: crate::journal::OpenError| failed(error.to_string()))
    }
}

impl Turner {
    /// Durable first, in force then, and only then told.
    pub(super) fn act(&mut self, audit: Audit, reply: oneshot::Sender<Result<(), Rejection>>) -> Result<(), Stopped> {
        let now = self.now().wall;
        if self.machine.act(now, audit)? == Received::NoSpace {
            let _ = reply.send(Err(Rejection::StorageFull { retry_after: COME_BACK_LATER }));
            return Ok(());
        }
        self.lines.note(self.machine.pauses(), self.machine.is_draining());
        self.durable.send_replace(self.machine.durable());
        self.desk.confirm_at = Some(Instant::now() + CONFIRM_AFTER);
        let draining = self.machine.is_draining();
        let lines = &self.lines;
        let is_closed = |place: usize| draining || lines.get(place).is_some_and(|line| line.is_paused());
        for pay in self.desk.let_go(is_closed) {
            refuse(pay.reply, if draining { Rejection::Draining } else { Rejection::Paused });
        }
        let _ = reply.send(Ok(()));
        Ok(())
    }
}
