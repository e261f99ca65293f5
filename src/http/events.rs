//! `GET /v1/events`: what happens, as server-sent events whose ids are places in the journal.

use std::{
    collections::HashMap,
    convert::Infallible,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use axum::{
    body::{Body, Bytes, HttpBody},
    http::{HeaderMap, HeaderValue, header},
    response::{IntoResponse, Response},
};
use hyper::body::Frame;
use tokio::sync::{mpsc, watch};

use super::{
    auth::{Keys, Tenants, Who},
    bodies,
    problems::Problem,
};
use crate::{
    payment::{Event, Fact, PaymentId},
    runtime::{Engine, Events, Lsn},
};

/// A sign of life, for proxies that cut silent connections; half of the shortest common limit, 30 s.
const HEARTBEAT: Duration = Duration::from_secs(15);
/// How many events may wait for a slow reader; behind that, the reader of the journal waits.
const WAITING: usize = 64;

/// Of how many payments it is remembered whose they are: asking the engine again is cheap.
const REMEMBERED: usize = 4096;

/// Where a reader left off; from the beginning where it does not say.
pub(super) fn last_event_id(headers: &HeaderMap) -> Result<Lsn, Problem> {
    let mut values = headers.get_all("last-event-id").iter();
    let (Some(value), None) = (values.next(), values.next()) else {
        return match headers.contains_key("last-event-id") {
            false => Ok(Lsn::ZERO),
            true => Err(Problem::invalid_request("Last-Event-ID must be given once")),
        };
    };
    let digits = value.to_str().ok().filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()));
    let number = digits.and_then(|digits| digits.parse().ok());
    number.map(Lsn::new).ok_or_else(|| Problem::invalid_request("Last-Event-ID must be the id of an event"))
}

/// The events of what exists for one reader.
pub(super) struct Feed {
    engine: Engine,
    events: Events,
    who: Who,
    /// Of the payments of the last events, whether they exist for it.
    exist: HashMap<PaymentId, bool>,
    /// Read, and not passed on yet: a call that is dropped leaves it to the next one.
    taken: Option<(Lsn, Event)>,
}

impl Feed {
    /// From a place in the journal on.
    pub(super) fn new(engine: Engine, after: Lsn, who: Who) -> Feed {
        Feed { events: engine.events(after), engine, who, exist: HashMap::new(), taken: None }
    }

    /// The next event that exists for the reader. Safe to drop while it waits.
    async fn next(&mut self) -> Option<(Lsn, Event)> {
        loop {
            let next = match self.taken.take() {
                Some(taken) => taken,
                None => self.events.next().await?,
            };
            let event = &self.taken.insert(next).1;
            let id = event.payment;
            let exists = match (self.who.tenants(), &event.fact, self.exist.get(&id)) {
                (Tenants::All, _, _) => true,
                (_, _, Some(known)) => *known,
                (tenants, Fact::Accepted { tenant, .. }, None) => tenants.hold(tenant),
                (tenants, _, None) => {
                    let payment = self.engine.get(id).await.ok()?;
                    payment.is_some_and(|payment| tenants.hold(&payment.tenant))
                }
            };
            if self.exist.len() >= REMEMBERED {
                self.exist.clear();
            }
            self.exist.insert(id, exists);
            if let Some(event) = self.taken.take().filter(|_| exists) {
                return Some(event);
            }
        }
    }
}

/// Streams until the reader leaves or is not let in any more, the engine closes, or the server is told to stop.
pub(super) fn stream(
    feed: Feed,
    keys: watch::Receiver<Option<Arc<Keys>>>,
    stopping: watch::Receiver<bool>,
) -> Response {
    let (sender, receiver) = mpsc::channel(WAITING);
    tokio::spawn(forward(feed, keys, stopping, sender));
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream")),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-cache")),
    ];
    (headers, Body::new(Lines(receiver))).into_response()
}

async fn forward(
    mut feed: Feed,
    mut keys: watch::Receiver<Option<Arc<Keys>>>,
    mut stopping: watch::Receiver<bool>,
    sender: mpsc::Sender<Bytes>,
) {
    while feed.who.still_among(keys.borrow_and_update().as_deref()) {
        let line = tokio::select! {
            next = feed.next() => match next {
                Some((lsn, event)) => line(lsn, &event),
                None => return,
            },
            changed = keys.changed() => match changed {
                Ok(()) => continue,
                Err(_) => return,
            },
            () = tokio::time::sleep(HEARTBEAT) => Bytes::from_static(b":\n\n"),
            () = sender.closed() => return,
            () = super::told_to_stop(&mut stopping) => return,
        };
        if sender.send(line).await.is_err() {
            return;
        }
    }
}

fn line(lsn: Lsn, event: &Event) -> Bytes {
    let mut line = format!("id: {lsn}\nevent: {}\ndata: ", event.fact.name()).into_bytes();
    line.extend_from_slice(&bodies::event(event));
    line.extend_from_slice(b"\n\n");
    Bytes::from(line)
}

/// A body that grows as lines come.
struct Lines(mpsc::Receiver<Bytes>);

impl HttpBody for Lines {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.0.poll_recv(cx).map(|line| line.map(|line| Ok(Frame::data(line))))
    }
}
