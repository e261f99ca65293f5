//! One delivery: a POST, a deadline, and a status. Never follows a redirect. Only the status counts; what the receiver
//! says besides is read for the connection's sake, a little.

use std::{
    sync::{Mutex, PoisonError},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use http_body_util::{BodyExt, Full, Limited};
use hyper::{
    Request, Response,
    body::{Body, Bytes, Incoming},
    client::conn::http1::{self, SendRequest},
    header::{CONTENT_TYPE, HOST, RETRY_AFTER, USER_AGENT},
};
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    task::JoinHandle,
    time::timeout,
};
use tokio_rustls::{TlsConnector, rustls::pki_types::ServerName};

use super::{
    endpoint::{Endpoint, Target},
    plan::{Letter, Refusal},
};
use crate::{signature::Secret, tls};

/// How long a connection is kept between deliveries: common servers close theirs after 5 s.
const IDLE_LIMIT: Duration = Duration::from_secs(3);
/// How much of an answer's body is read, so that its connection can be used again.
const MAX_BODY: usize = 16 * 1024;
/// How long that may take.
const BODY_TIME: Duration = Duration::from_secs(1);
/// The longest `Retry-After` that is followed: as long as the longest pause of our own.
const MAX_RETRY_AFTER: u64 = 3600;

/// The way to one receiver.
pub(super) struct Post {
    target: Target,
    secret: Secret,
    timeout: Duration,
    tls: Option<(TlsConnector, ServerName<'static>)>,
    idle: Mutex<Vec<Connection>>,
}

impl Post {
    /// Connects to nothing yet. Fails where a secure target's host is no name that a certificate can be for.
    pub(super) fn new(endpoint: &Endpoint) -> Result<Post, String> {
        let target = endpoint.target.clone();
        let tls = target.secure.then(|| tls::connector(tls::public_roots(), &target.host)).transpose()?;
        Ok(Post {
            target,
            secret: endpoint.secret.clone(),
            timeout: endpoint.pace.timeout,
            tls,
            idle: Mutex::default(),
        })
    }

    /// Delivers, once.
    pub(super) async fn deliver(&self, letter: &Letter) -> Result<(), Refusal> {
        let sent = timeout(self.timeout, self.exchange(letter)).await;
        let late = || Err(format!("no answer within {:?}", self.timeout));
        match sent.unwrap_or_else(|_| late()) {
            Ok(response) => {
                let judged = judge(&response);
                if judged.is_err() {
                    tracing::debug!(id = letter.id, status = response.status().as_u16(), "a webhook was not taken");
                }
                judged
            }
            Err(why) => Err(Refusal { why, gone: false, retry_after: None }),
        }
    }

    /// A kept connection may have been closed at the other end: then a fresh one is used. That may repeat the letter,
    /// which its receiver has to expect anyway.
    async fn exchange(&self, letter: &Letter) -> Result<Response<()>, String> {
        if let Some(kept) = self.take()
            && let Ok(response) = self.exchange_on(kept, letter).await
        {
            return Ok(response);
        }
        let fresh = self.connect().await?;
        self.exchange_on(fresh, letter).await
    }

    async fn exchange_on(&self, mut on: Connection, letter: &Letter) -> Result<Response<()>, String> {
        let failed = |why: hyper::Error| format!("no answer: {why}");
        on.sender.ready().await.map_err(failed)?;
        let response = on.sender.send_request(self.request(letter)?).await.map_err(failed)?;
        let (head, body) = response.into_parts();
        self.keep(on, body).await;
        Ok(Response::from_parts(head, ()))
    }

    fn request(&self, letter: &Letter) -> Result<Request<Full<Bytes>>, String> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let request = Request::post(self.target.path.clone())
            .header(HOST, self.target.authority.clone())
            .header(CONTENT_TYPE, "application/json")
            .header(USER_AGENT, concat!("payonce/", env!("CARGO_PKG_VERSION")))
            .header("webhook-id", &letter.id)
            .header("webhook-timestamp", now)
            .header("webhook-signature", self.secret.sign(&letter.id, now, letter.body.as_bytes()));
        request.body(Full::new(Bytes::from(letter.body.clone()))).map_err(|why| why.to_string())
    }

    async fn connect(&self) -> Result<Connection, String> {
        let Target { host, port, .. } = &self.target;
        let plain = TcpStream::connect((host.as_str(), *port)).await.map_err(|why| format!("cannot connect: {why}"))?;
        plain.set_nodelay(true).map_err(|why| why.to_string())?;
        match &self.tls {
            None => Connection::over(plain).await,
            Some((connector, name)) => {
                let secure = connector.connect(name.clone(), plain).await;
                Connection::over(secure.map_err(|why| format!("no TLS: {why}"))?).await
            }
        }
    }

    fn take(&self) -> Option<Connection> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        idle.retain(|kept| kept.idle_since.elapsed() < IDLE_LIMIT && !kept.sender.is_closed());
        idle.pop()
    }

    /// Keeps a connection whose answer could be read to its end.
    async fn keep(&self, mut used: Connection, body: Incoming) {
        let whole = body.is_end_stream()
            || matches!(timeout(BODY_TIME, Limited::new(body, MAX_BODY).collect()).await, Ok(Ok(_)));
        if whole {
            used.idle_since = Instant::now();
            self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(used);
        }
    }
}

fn judge(response: &Response<()>) -> Result<(), Refusal> {
    let status = response.status();
    if status.is_success() {
        return Ok(());
    }
    let seconds = response.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.trim().parse().ok());
    let retry_after = seconds.map(|seconds: u64| Duration::from_secs(seconds.min(MAX_RETRY_AFTER)));
    let gone = status.as_u16() == 410;
    let why = match status.as_u16() {
        410 => "HTTP 410: the receiver wants no more of it".to_owned(),
        300..=399 => format!("HTTP {}: redirects are not followed", status.as_u16()),
        other => format!("HTTP {other}"),
    };
    Err(Refusal { why, gone, retry_after })
}

/// A connection; it is closed when this is dropped, whatever is under way on it.
struct Connection {
    sender: SendRequest<Full<Bytes>>,
    driver: JoinHandle<()>,
    idle_since: Instant,
}

impl Connection {
    async fn over(stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static) -> Result<Connection, String> {
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(|why| why.to_string())?;
        // How it ends shows in the exchange.
        let driver = tokio::spawn(async move { drop(connection.await) });
        Ok(Connection { sender, driver, idle_since: Instant::now() })
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.driver.abort();
    }
}
