//! SERVE. The HTTP API: JSON in, JSON out, every refusal a problem document.
//!
//! ```text
//! socket   what hyper leaves undone          intake    form and size of every request
//! routes   method and path to a call         key, prefer, query, json   strict readers, one a kind of input
//! bodies   JSON to orders, payments to JSON  problems  refusals          events   the feed
//! operator what operators do, and its trail
//! operations   captures, voids, refunds
//! webhooks what operators ask of deliveries  metrics, stats  the engine's numbers   observe  asking for them
//! dashboard    the page at /
//! auth     who asks, and what they may        tls       certificates, ours and callers'
//! trace    what traces are told
//! openapi  what all of this is, as a document           docs     the same as a page, at /docs
//! ```
//!
//! What makes a payment, which is most of what comes, goes straight to its handler (`routes::pay_at_once`); all else goes
//! through the router.
//!
//! The caller brings the socket and the signal to stop, so tests listen on port 0 and the program stops on SIGTERM.
//! The server answers from the moment it listens: [`Face`] says 503 until it has been given an engine.
//!
//! Knows nothing of journals, stores, gateways, or how a payment is decided.

mod socket;

mod tls;

mod intake;

pub mod auth;

mod routes;

mod operations;

mod operator;

mod key;

mod prefer;

mod query;

mod json;

mod bodies;

mod problems;

mod events;

mod webhooks;

mod metrics;

mod stats;

mod observe;

mod dashboard;

mod openapi;

mod docs;

mod trace;

#[doc(hidden)]
pub mod readers;

use std::{
    future::Future,
    sync::{Arc, OnceLock},
    time::Duration,
};

use axum::Router;
use hyper::{
    Request,
    body::Incoming,
    server::conn::http1,
    service::{Service, service_fn},
};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
    sync::watch,
    task::JoinSet,
};

use crate::{deliver::Deliveries, runtime::Engine};
use auth::Keys;
use problems::Problem;
pub use tls::Tls;

/// How long a head may take to arrive, and a connection to stay idle: longer than the 60 s for which load balancers
/// keep theirs, so that it is they who close.
const HEAD_TIME: Duration = Duration::from_secs(75);
/// How long a TLS handshake may take: a few round trips over a bad line.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// How long a body may take to arrive, and a caller to read on when it has stopped: 64 KiB over a bad line.
const BODY_TIME: Duration = Duration::from_secs(30);
/// How long answers under way may take once the server is told to stop: as long as the engine drains.
const DRAIN: Duration = Duration::from_secs(10);
/// How long to wait when no connection can be accepted, most likely for want of file descriptors.
const BREATH: Duration = Duration::from_millis(50);

/// How many connections are served at once, where the system does not say how many files a process may open.
const CONNECTIONS: usize = 400;

/// What the server shows of the engine, which may not be open yet.
pub struct Face {
    engine: OnceLock<Engine>,
    deliveries: OnceLock<Deliveries>,
    stopping: watch::Sender<bool>,
    keys: watch::Sender<Option<Arc<Keys>>>,
    tls: watch::Sender<Option<Tls>>,
    serves_any_host: bool,
    patience: Duration,
    connections: usize,
}

impl Default for Face {
    fn default() -> Face {
        Face::new()
    }
}

impl Face {
    /// Not ready yet.
    pub fn new() -> Face {
        Face {
            engine: OnceLock::new(),
            deliveries: OnceLock::new(),
            stopping: watch::Sender::new(false),
            keys: watch::Sender::new(None),
            tls: watch::Sender::new(None),
            serves_any_host: false,
            patience: BODY_TIME,
            connections: connections(),
        }
    }

    /// Gives each body this long to arrive, and a caller this long to read on, instead of 30 s.
    #[must_use]
    pub fn with_patience(mut self, patience: Duration) -> Face {
        self.patience = patience;
        self
    }

    /// Serves at most so many connections at once, instead of two fifths of the files that the process may open.
    #[must_use]
    pub fn with_connections(mut self, connections: usize) -> Face {
        self.connections = connections.max(1);
        self
    }

    /// Without keys, also answers requests that name this machine by a name from the web: whoever runs it says that
    /// nobody but its callers can reach it.
    #[must_use]
    pub fn for_any_host(mut self) -> Face {
        self.serves_any_host = true;
        self
    }

    /// From now on lets in who has one of these keys, and nobody else: feeds of others end. Without a call of this
    /// everybody is let in.
    pub fn let_in(&self, keys: Keys) {
        self.keys.send_replace(Some(Arc::new(keys)));
    }

    /// Speaks TLS with whoever connects from now on.
    pub fn secure(&self, tls: Tls) {
        self.tls.send_replace(Some(tls));
    }

    /// Ready, with this engine. A second one is refused and given back.
    pub fn open(&self, engine: Engine) -> Result<(), Engine> {
        self.engine.set(engine)
    }

    /// Shows these webhook deliveries too. Second ones are refused and given back.
    pub fn deliver(&self, deliveries: Deliveries) -> Result<(), Deliveries> {
        self.deliveries.set(deliveries)
    }

    /// The webhook deliveries, if there are any.
    pub fn deliveries(&self) -> Option<&Deliveries> {
        self.deliveries.get()
    }

    /// Stops admitting: new payments are answered 503, and feeds end.
    pub fn stop(&self) {
        self.stopping.send_replace(true);
    }

    fn engine(&self) -> Result<&Engine, Problem> {
        self.engine.get().ok_or_else(|| Problem::not_now("the server is starting: nothing was recorded, repeat soon"))
    }

    /// The engine, for what changes something.
    fn admitting(&self) -> Result<&Engine, Problem> {
        match *self.stopping.borrow() {
            true => Err(Problem::not_now("the server is stopping: nothing was recorded, repeat soon")),
            false => self.engine(),
        }
    }

    fn keys(&self) -> Option<Arc<Keys>> {
        self.keys.borrow().clone()
    }

    fn stopping(&self) -> watch::Receiver<bool> {
        self.stopping.subscribe()
    }
}

/// Answers until `shutdown`; then admits nothing more, gives the answers under way up to 10 s, and returns.
pub async fn serve(listener: TcpListener, face: Arc<Face>, shutdown: impl Future<Output = ()>) {
    let router = routes::router(face.clone());
    let mut connections = JoinSet::new();
    tokio::pin!(shutdown);
    loop {
        tokio::select! {
            // Beyond the limit they wait in the system's queue: a process without a free descriptor cannot write its journal.
            accepted = listener.accept(), if connections.len() < face.connections => match accepted {
                Ok((stream, _)) => drop(connections.spawn(meet(stream, face.clone(), router.clone()))),
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a connection");
                    tokio::time::sleep(BREATH).await;
                }
            },
            Some(_) = connections.join_next() => {}
            () = &mut shutdown => break,
        }
    }
    drop(listener);
    face.stop();
    let drained = async { while connections.join_next().await.is_some() {} };
    if tokio::time::timeout(DRAIN, drained).await.is_err() {
        tracing::warn!("connections were cut: their answers took longer than the server may take to stop");
    }
}

/// Two fifths of the files that this process may open: gateway calls may take as many, and the rest is for journal and
/// store.
fn connections() -> usize {
    let limits = std::fs::read_to_string("/proc/self/limits").unwrap_or_default();
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"));
    let soft = line.and_then(|line| line.split_whitespace().next()?.parse::<usize>().ok());
    soft.map_or(CONNECTIONS, |soft| (soft / 5 * 2).max(1))
}

/// One connection: as plain text, or through TLS.
async fn meet(stream: TcpStream, face: Arc<Face>, router: Router) {
    // An answer is one small write: it must not wait for the acknowledgement of the one before.
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "cannot set TCP_NODELAY");
    }
    let tls = face.tls.borrow().clone();
    let Some(tls) = tls else { return converse(stream, &face, router).await };
    match tokio::time::timeout(HANDSHAKE, tls.accept(stream)).await {
        Ok(Ok(stream)) => converse(stream, &face, router).await,
        Ok(Err(error)) => tracing::debug!(%error, "a TLS handshake failed"),
        Err(_) => tracing::debug!("a TLS handshake took too long"),
    }
}

/// Request after request.
async fn converse(stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static, face: &Arc<Face>, router: Router) {
    let mut stopping = face.stopping();
    let rest = TowerToHyperService::new(router);
    let answer = service_fn(|request: Request<Incoming>| async {
        if routes::is_payment(&request) {
            return Ok(routes::pay_at_once(face, request).await);
        }
        rest.call(request).await
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIME)
        .max_buf_size(intake::MAX_BUFFER)
        // One copy of a small body is cheaper than a vectored write, and `Socket` sees each answer whole.
        .writev(false)
        .serve_connection(TokioIo::new(socket::Socket::new(stream, face.patience)), answer);
    tokio::pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = told_to_stop(&mut stopping) => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection ended early");
    }
}

/// Waits until the server is told to stop, or is gone.
async fn told_to_stop(stopping: &mut watch::Receiver<bool>) {
    drop(stopping.wait_for(|stopping| *stopping).await);
}
