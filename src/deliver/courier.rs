//! What waits for one receiver: the feed, the deliveries under way, the clock, and what operators ask.

use std::{
    collections::HashMap,
    future::pending,
    sync::Arc,
    time::{Instant, SystemTime, UNIX_EPOCH},
};

use tokio::{
    sync::{mpsc, oneshot},
    task::{Id, JoinError, JoinSet},
};

use super::{
    Standing,
    endpoint::Endpoint,
    kind::Kind,
    message,
    plan::{Plan, Refusal},
    post::Post,
    state,
};
use crate::{
    disk::Disk,
    payment::Timestamp,
    runtime::{Events, Lsn},
};

/// What may be asked of a courier.
pub(super) enum Ask {
    Standing(oneshot::Sender<Standing>),
    /// Try this one again, or all.
    Replay(Option<String>, oneshot::Sender<usize>),
    /// Forget this one.
    Discard(String, oneshot::Sender<usize>),
    /// Write the state, and end.
    Stop(oneshot::Sender<()>),
}

type Delivered = (Lsn, Result<(), Refusal>);

/// The deliveries to one receiver.
pub(super) struct Courier {
    pub(super) endpoint: Endpoint,
    pub(super) plan: Plan,
    pub(super) post: Arc<Post>,
    pub(super) disk: Arc<dyn Disk>,
    /// `None`: it has ended.
    pub(super) feed: Option<Events>,
    pub(super) asks: mpsc::Receiver<Ask>,
    pub(super) clock: Clock,
    pub(super) under_way: JoinSet<Delivered>,
    /// Which letter a delivery is of, in case that it panics.
    pub(super) letters: HashMap<Id, Lsn>,
    /// When what has changed is to be written.
    pub(super) save_at: Option<Instant>,
}

impl Courier {
    /// Delivers until it is told to stop, or nobody is left who could tell it.
    pub(super) async fn run(mut self) {
        loop {
            self.start_deliveries();
            let wake = self.plan.wake().map(|due| self.clock.instant(due));
            let wants_more = self.plan.has_room();
            let changed = tokio::select! {
                ask = self.asks.recv() => match ask {
                    Some(Ask::Stop(stopped)) => {
                        self.save().await;
                        let _ = stopped.send(());
                        return;
                    }
                    Some(ask) => self.answer(ask),
                    None => return self.save().await,
                },
                Some(ended) = self.under_way.join_next_with_id(), if !self.under_way.is_empty() => {
                    self.note(ended);
                    true
                }
                next = next_event(&mut self.feed), if wants_more => self.take(next),
                () = until(wake) => false,
                () = until(self.save_at) => {
                    self.save_at = None;
                    self.save().await;
                    false
                }
            };
            if changed && self.save_at.is_none() {
                self.save_at = Some(Instant::now() + self.endpoint.pace.save_every);
            }
        }
    }

    fn start_deliveries(&mut self) {
        while let Some(letter) = self.plan.next(self.clock.now()) {
            let (post, lsn) = (Arc::clone(&self.post), letter.lsn);
            let task = self.under_way.spawn(async move { (lsn, post.deliver(&letter).await) });
            self.letters.insert(task.id(), lsn);
        }
    }

    /// A new event, if it is wanted.
    fn take(&mut self, next: Option<(Lsn, crate::payment::Event)>) -> bool {
        let Some((lsn, event)) = next else {
            self.feed = None;
            return false;
        };
        let wanted = self.endpoint.kinds.is_empty() || self.endpoint.kinds.contains(&Kind::of(&event.fact));
        match wanted {
            true => self.plan.take(message::letter(lsn, &event), self.clock.now()),
            false => self.plan.pass(lsn),
        }
        true
    }

    fn note(&mut self, ended: Result<(Id, Delivered), JoinError>) {
        let (lsn, delivered) = match ended {
            Ok((id, delivered)) => {
                self.letters.remove(&id);
                delivered
            }
            Err(panicked) => {
                let Some(lsn) = self.letters.remove(&panicked.id()) else { return };
                let why = "delivering it panicked: a defect, please report it".to_owned();
                (lsn, Err(Refusal { why, gone: false, retry_after: None }))
            }
        };
        let (now, was_failing) = (self.clock.now(), self.plan.failing());
        match delivered {
            Ok(()) => {
                self.plan.taken(lsn, now);
                if was_failing.is_some_and(|failure| failure.times >= self.endpoint.pace.down_after) {
                    tracing::info!(endpoint = self.endpoint.name, "a webhook's receiver takes deliveries again");
                }
            }
            Err(refusal) => {
                let why = refusal.why.clone();
                self.plan.refused(lsn, refusal, now, uuid::Uuid::new_v4().as_u64_pair().0);
                let down = self.plan.failing().is_some_and(|failure| failure.times == self.endpoint.pace.down_after);
                if down {
                    tracing::warn!(
                        endpoint = self.endpoint.name,
                        why,
                        "a webhook's receiver takes nothing: it is told \
                        everything when it is back"
                    );
                }
            }
        }
    }

    fn answer(&mut self, ask: Ask) -> bool {
        // Whoever asked may have gone.
        match ask {
            Ask::Standing(reply) => {
                let target = self.endpoint.target.to_string();
                let standing = Standing::of(&self.endpoint.name, target, &self.plan);
                let _ = reply.send(standing);
                false
            }
            Ask::Replay(id, reply) => {
                let _ = reply.send(self.plan.replay(id.as_deref(), self.clock.now()));
                true
            }
            Ask::Discard(id, reply) => {
                let _ = reply.send(self.plan.discard(&id));
                true
            }
            Ask::Stop(_) => false,
        }
    }

    /// What cannot be written now is written with the next change: until then a restart repeats more.
    async fn save(&mut self) {
        let (disk, name, state) = (Arc::clone(&self.disk), self.endpoint.name.clone(), self.plan.state());
        let written = tokio::task::spawn_blocking(move || state::write(disk.as_ref(), &name, &state)).await;
        if let Ok(Err(error)) = written {
            tracing::warn!(endpoint = self.endpoint.name, %error, "a webhook's state could not be written");
            self.save_at = Some(Instant::now() + self.endpoint.pace.save_every);
        }
    }
}

async fn next_event(feed: &mut Option<Events>) -> Option<(Lsn, crate::payment::Event)> {
    match feed {
        Some(feed) => feed.next().await,
        None => pending().await,
    }
}

async fn until(instant: Option<Instant>) {
    match instant {
        Some(instant) => tokio::time::sleep_until(instant.into()).await,
        None => pending().await,
    }
}

/// Wall time that never jumps: read once, and counted from there.
pub(super) struct Clock {
    start: Instant,
    wall: Timestamp,
}

impl Clock {
    pub(super) fn start() -> Clock {
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Clock { start: Instant::now(), wall: Timestamp::default().plus(wall) }
    }

    fn now(&self) -> Timestamp {
        self.wall.plus(self.start.elapsed())
    }

    fn instant(&self, at: Timestamp) -> Instant {
        self.start + at.since(self.wall)
    }
}
