//! One HTTP/1.1 exchange, and the certainty whether a byte of it left.
//!
//! Everything rests on one fact: all writing goes through one gate, above TLS. As long as it has let nothing through,
//! the request cannot have been seen, whatever failed: `NotSent`. From its first byte on, whatever is not a whole reply
//! is `Unknown`. Nothing is ever written twice, redirected, or retried once a byte has left.
//!
//! The connection is driven by the task that waits for the reply. So when that task stops waiting, the connection is
//! dropped and its socket closed, before anybody is told; and what the kernel still held of it is discarded (zero
//! linger), so that nothing of ours travels on while the gateway is asked and says "not found".
//!
//! Knows nothing of payments, nor of what a reply means.

use std::{
    collections::VecDeque,
    fmt,
    future::poll_fn,
    io,
    mem::MaybeUninit,
    pin::{Pin, pin},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll},
    time::{Duration, Instant},
};

use http_body_util::{BodyExt, Full};
use hyper::{
    HeaderMap, Request, Response,
    body::{Body, Bytes, Incoming},
    client::conn::http1,
    header::RETRY_AFTER,
};
use hyper_util::rt::TokioIo;
use socket2::SockRef;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
    time::timeout_at,
};
use tokio_rustls::{
    TlsConnector,
    client::TlsStream,
    rustls::{RootCertStore, pki_types::ServerName},
};

use crate::tls;

/// The most connections kept open between exchanges: as many as calls are in flight, so that none is opened in vain.
const MAX_IDLE: usize = 512;
/// How long a connection is kept between exchanges. Servers close theirs after 5 s and more (Node 5 s, nginx 75 s);
/// one that is closed while we write to it makes a doubt where there need be none.
const IDLE_LIMIT: Duration = Duration::from_secs(3);
/// The largest body that is read: a reply of the protocol has a few hundred bytes.
const MAX_BODY: usize = 64 * 1024;
/// The longest `Retry-After` that is passed on: a day. No back-off of ours is longer.
const MAX_RETRY_AFTER: u64 = 24 * 3600;

/// How an exchange ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Exchanged {
    /// A whole reply came.
    Replied(Replied),
    /// Not one byte of the request left.
    NotSent(Failure),
    /// A byte may have left, and no whole reply came.
    Unknown(Failure),
}

/// A whole reply.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Replied {
    /// The HTTP status code.
    pub status: u16,
    /// `Retry-After`, where it was given in seconds.
    pub retry_after: Option<Duration>,
    /// All headers.
    pub headers: HeaderMap,
    /// The body, up to 64 KiB.
    pub body: Bytes,
}

/// Why there is no reply.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// A short word: `unreachable`, `tls`, `deadline`, `closed`, `timeout`, `reset`, `unreadable` or `oversized`.
    pub code: &'static str,
    /// A sentence for people.
    pub message: String,
}

/// Where to connect to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    /// Whether by TLS.
    pub secure: bool,
    /// A name or an address, without brackets.
    pub host: String,
    /// The TCP port.
    pub port: u16,
}

/// The connections to one origin. Used within one tokio runtime.
pub struct Wire {
    origin: Origin,
    tls: Option<(TlsConnector, ServerName<'static>)>,
    /// Ordered by when they were last used. Those past their time go when the next one comes.
    idle: Mutex<VecDeque<Connection>>,
}

impl Wire {
    /// Connects to nothing yet. Fails when a secure origin's host is no name that a certificate can be for.
    pub fn new(origin: Origin) -> Result<Wire, String> {
        Wire::trusting(tls::public_roots(), origin)
    }

    fn trusting(roots: RootCertStore, origin: Origin) -> Result<Wire, String> {
        let tls = origin.secure.then(|| tls::connector(roots, &origin.host)).transpose()?;
        Ok(Wire { origin, tls, idle: Mutex::default() })
    }

    /// Sends a request and waits for its reply, at most until the deadline. `request` makes the request anew for each
    /// connection that turns out to be closed before a byte was written to it.
    pub async fn exchange(&self, request: impl Fn() -> Request<Full<Bytes>>, deadline: Instant) -> Exchanged {
        if Instant::now() >= deadline {
            return Exchanged::NotSent(too_late());
        }
        if let Some(kept) = self.take().await {
            match self.exchange_on(kept, request(), deadline).await {
                Exchanged::NotSent(closed) if closed.code != TOO_LATE => {}
                ended @ (Exchanged::Replied(_) | Exchanged::NotSent(_) | Exchanged::Unknown(_)) => return ended,
            }
        }
        match timeout_at(deadline.into(), self.connect()).await {
            Ok(Ok(fresh)) => self.exchange_on(fresh, request(), deadline).await,
            Ok(Err(failure)) => Exchanged::NotSent(failure),
            Err(_) => Exchanged::NotSent(too_late()),
        }
    }

    async fn exchange_on(&self, mut on: Connection, request: Request<Full<Bytes>>, deadline: Instant) -> Exchanged {
        on.gate.open_until(deadline);
        let ended = timeout_at(deadline.into(), on.exchange(request)).await;
        let byte_left = on.gate.let_through();
        match ended {
            Ok(Ok(reply)) if byte_left => {
                self.keep(on).await;
                Exchanged::Replied(reply)
            }
            // The socket is closed first.
            Ok(Ok(_)) => failed(on, byte_left, Failure::new("closed", "it replied before it was asked")),
            Ok(Err(failure)) => failed(on, byte_left, failure),
            Err(_) => failed(on, byte_left, Failure::new("timeout", "no reply came in time")),
        }
    }

    /// A kept connection that is still open.
    async fn take(&self) -> Option<Connection> {
        loop {
            let mut kept = self.idle().pop_back()?;
            if kept.idle_since.elapsed() < IDLE_LIMIT && kept.is_open().await {
                return Some(kept);
            }
        }
    }

    async fn keep(&self, mut used: Connection) {
        if !used.is_open().await {
            return;
        }
        used.idle_since = Instant::now();
        let mut idle = self.idle();
        while idle.front().is_some_and(|oldest| oldest.idle_since.elapsed() >= IDLE_LIMIT) || idle.len() >= MAX_IDLE {
            idle.pop_front();
        }
        idle.push_back(used);
    }

    fn idle(&self) -> MutexGuard<'_, VecDeque<Connection>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn connect(&self) -> Result<Connection, Failure> {
        let Origin { host, port, .. } = &self.origin;
        let unreachable =
            |why: io::Error| Failure::new("unreachable", &format!("cannot connect to {host}:{port}: {why}"));
        let plain = TcpStream::connect((host.as_str(), *port)).await.map_err(unreachable)?;
        plain.set_nodelay(true).and_then(|()| plain.set_zero_linger()).map_err(unreachable)?;
        let stream = match &self.tls {
            None => Stream::Plain(plain),
            Some((connector, name)) => {
                let handshake = connector.connect(name.clone(), plain).await;
                Stream::Secure(Box::new(
                    handshake.map_err(|why| Failure::new("tls", &format!("no TLS with {host}: {why}")))?,
                ))
            }
        };
        let gate = Arc::new(Gate::default());
        let gated = Gated { stream, gate: Arc::clone(&gate) };
        let (sender, driver) = http1::handshake(TokioIo::new(gated)).await.map_err(|why| no_reply(&why))?;
        Ok(Connection { sender, driver: Some(driver), gate, idle_since: Instant::now() })
    }
}

impl fmt::Debug for Wire {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Wire").field("origin", &self.origin).finish_non_exhaustive()
    }
}

impl Failure {
    fn new(code: &'static str, message: &str) -> Failure {
        Failure { code, message: message.to_owned() }
    }
}

const TOO_LATE: &str = "deadline";

fn too_late() -> Failure {
    Failure::new(TOO_LATE, "the time to send it had passed")
}

/// Closes the connection, and only then says what that leaves us with.
fn failed(connection: Connection, byte_left: bool, failure: Failure) -> Exchanged {
    let late = connection.gate.is_past();
    drop(connection);
    if byte_left { Exchanged::Unknown(failure) } else { Exchanged::NotSent(if late { too_late() } else { failure }) }
}

/// One connection, between exchanges or in one.
struct Connection {
    sender: http1::SendRequest<Full<Bytes>>,
    /// `None`: it has ended.
    driver: Option<http1::Connection<TokioIo<Gated>, Full<Bytes>>>,
    gate: Arc<Gate>,
    idle_since: Instant,
}

impl Connection {
    async fn exchange(&mut self, request: Request<Full<Bytes>>) -> Result<Replied, Failure> {
        let Connection { sender, driver, .. } = self;
        let mut work = pin!(async {
            sender.ready().await.map_err(|why| no_reply(&why))?;
            whole(sender.send_request(request).await.map_err(|why| no_reply(&why))?).await
        });
        poll_fn(|cx| {
            if let Poll::Ready(done) = work.as_mut().poll(cx) {
                return Poll::Ready(done);
            }
            drive(driver, cx);
            work.as_mut().poll(cx)
        })
        .await
    }

    /// Lets it notice that the other side has closed it.
    async fn is_open(&mut self) -> bool {
        poll_fn(|cx| {
            drive(&mut self.driver, cx);
            Poll::Ready(())
        })
        .await;
        self.driver.is_some()
    }
}

fn drive(driver: &mut Option<http1::Connection<TokioIo<Gated>, Full<Bytes>>>, cx: &mut Context<'_>) {
    if driver.as_mut().is_some_and(|driver| Pin::new(driver).poll(cx).is_ready()) {
        *driver = None;
    }
}

async fn whole(response: Response<Incoming>) -> Result<Replied, Failure> {
    let status = response.status().as_u16();
    let seconds = response.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.trim().parse().ok());
    let retry_after = seconds.map(|seconds: u64| Duration::from_secs(seconds.min(MAX_RETRY_AFTER)));
    let (parts, body) = response.into_parts();
    let body = read(body).await?;
    Ok(Replied { status, retry_after, headers: parts.headers, body })
}

/// Reads a body to its end. The usual one comes in one piece, which is not copied.
async fn read(mut body: Incoming) -> Result<Bytes, Failure> {
    let mut pieces: Vec<Bytes> = Vec::new();
    let mut len = 0;
    while !body.is_end_stream() {
        let Some(frame) = body.frame().await else { break };
        let Ok(piece) = frame.map_err(|why| no_reply(&why))?.into_data() else { continue };
        len += piece.len();
        if len > MAX_BODY {
            return Err(Failure::new("oversized", "the reply's body is larger than 64 KiB"));
        }
        pieces.push(piece);
    }
    match <[Bytes; 1]>::try_from(pieces) {
        Ok([whole]) => Ok(whole),
        Err(pieces) => Ok(pieces.concat().into()),
    }
}

fn no_reply(why: &hyper::Error) -> Failure {
    if why.is_parse() {
        Failure::new("unreadable", &format!("the reply is not HTTP: {why}"))
    } else if why.is_closed() || why.is_canceled() {
        Failure::new("closed", &format!("the connection was closed: {why}"))
    } else {
        Failure::new("reset", &format!("the connection ended without a whole reply: {why}"))
    }
}

/// Knows whether a byte of the present request was let through, and until when the first one may be.
#[derive(Default)]
struct Gate(Mutex<Passage>);

#[derive(Default)]
struct Passage {
    until: Option<Instant>,
    let_through: bool,
}

impl Gate {
    fn open_until(&self, until: Instant) {
        *self.passage() = Passage { until: Some(until), let_through: false };
    }

    fn let_through(&self) -> bool {
        self.passage().let_through
    }

    fn is_past(&self) -> bool {
        self.passage().until.is_some_and(|until| Instant::now() >= until)
    }

    /// Whether a byte may be written now: any number, once the first has left.
    fn admits(&self) -> bool {
        let passage = self.passage();
        passage.let_through || passage.until.is_some_and(|until| Instant::now() < until)
    }

    fn passage(&self) -> MutexGuard<'_, Passage> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

enum Stream {
    Plain(TcpStream),
    Secure(Box<TlsStream<TcpStream>>),
}

impl Stream {
    /// Whether the other side has closed it, or talks out of turn. The kernel itself is asked: the runtime may not have
    /// looked yet, and a byte written now would make a needless doubt.
    fn is_over(&self) -> bool {
        let (socket, secure) = match self {
            Stream::Plain(plain) => (plain, false),
            Stream::Secure(secure) => (secure.get_ref().0, true),
        };
        match SockRef::from(socket).peek(&mut [MaybeUninit::uninit()]) {
            Ok(0) => true,
            // TLS has messages of its own.
            Ok(_) => !secure,
            Err(why) => why.kind() != io::ErrorKind::WouldBlock,
        }
    }
}

/// A stream with a gate before its writing side.
struct Gated {
    stream: Stream,
    gate: Arc<Gate>,
}

impl Gated {
    fn write(&mut self, write: impl FnOnce(&mut Stream) -> Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        if !self.gate.admits() {
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        if !self.gate.let_through() && self.stream.is_over() {
            return Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()));
        }
        let written = write(&mut self.stream);
        let left = match &written {
            Poll::Pending => false,
            Poll::Ready(Ok(len)) => *len > 0,
            // A failed write to TCP took nothing. TLS may have sent some of what it took before it failed.
            Poll::Ready(Err(_)) => matches!(self.stream, Stream::Secure(_)),
        };
        if left {
            self.gate.passage().let_through = true;
        }
        written
    }
}

impl AsyncWrite for Gated {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.write(|stream| match stream {
            Stream::Plain(plain) => Pin::new(plain).poll_write(cx, bytes),
            Stream::Secure(secure) => Pin::new(secure).poll_write(cx, bytes),
        })
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.write(|stream| match stream {
            Stream::Plain(plain) => Pin::new(plain).poll_write_vectored(cx, bytes),
            Stream::Secure(secure) => Pin::new(secure).poll_write_vectored(cx, bytes),
        })
    }

    fn is_write_vectored(&self) -> bool {
        match &self.stream {
            Stream::Plain(plain) => plain.is_write_vectored(),
            Stream::Secure(secure) => secure.is_write_vectored(),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.stream {
            Stream::Plain(plain) => Pin::new(plain).poll_flush(cx),
            Stream::Secure(secure) => Pin::new(secure).poll_flush(cx),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.stream {
            Stream::Plain(plain) => Pin::new(plain).poll_shutdown(cx),
            Stream::Secure(secure) => Pin::new(secure).poll_shutdown(cx),
        }
    }
}

impl AsyncRead for Gated {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match &mut self.stream {
            Stream::Plain(plain) => Pin::new(plain).poll_read(cx, into),
            Stream::Secure(secure) => Pin::new(secure).poll_read(cx, into),
        }
    }
}

#[cfg(test)]
mod tests;
