//! `GET /v1/events`: what happens, as server-sent events whose ids are places in the journal.

use std::{
    convert::Infallible,
    pin::Pin,
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

use super::{bodies, problems::Problem};
use crate::{
    payment::Event,
    runtime::{Events, Lsn},
};

/// A sign of life, for proxies that cut silent connections; half of the shortest common limit, 30 s.
const HEARTBEAT: Duration = Duration::from_secs(15);
/// How many events may wait for a slow reader; behind that, the reader of the journal waits.
const WAITING: usize = 64;

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

/// Streams until the reader leaves, the engine closes, or the server is told to stop.
pub(super) fn stream(events: Events, stopping: watch::Receiver<bool>) -> Response {
    let (sender, receiver) = mpsc::channel(WAITING);
    tokio::spawn(forward(events, stopping, sender));
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream")),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-cache")),
    ];
    (headers, Body::new(Lines(receiver))).into_response()
}

async fn forward(mut events: Events, mut stopping: watch::Receiver<bool>, sender: mpsc::Sender<Bytes>) {
    loop {
        let line = tokio::select! {
            next = events.next() => match next {
                Some((lsn, event)) => line(lsn, &event),
                None => return,
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
