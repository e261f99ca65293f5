//! `payonce sandbox`: the faulty gateway over HTTP, to point `--gateway http://..` at.

mod news;

use std::{
    collections::BTreeMap,
    io::{self, Write},
    net::SocketAddr,
    path::PathBuf,
    pin::Pin,
    process::ExitCode,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, ready},
};

use axum::{
    Json, Router,
    body::Bytes,
    extract::{
        ConnectInfo, DefaultBodyLimit, Path, Query, State,
        connect_info::Connected,
        rejection::{BytesRejection, QueryRejection},
    },
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
    routing::{get, post},
    serve::{IncomingStream, Listener},
};
use clap::Args;
use news::{NewsArgs, Voice};
use payonce::{
    Amount, Currency, Invalid,
    gateway::sandbox::{Fault, Faults, Instruction, Movement, Sandbox, Shown, ShownAnswer},
    payment::{Kind, OperationKey, Timestamp},
};
use serde::{Deserialize, Serialize};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpListener, TcpStream},
    signal::unix::{SignalKind, signal},
};

/// The most lines of one answer to `GET /statement`: a few megabytes. `after` goes on from there.
const STATEMENT_LINES: usize = 10_000;
/// The largest request body: larger than any that payonce sends.
const MAX_BODY: usize = 64 * 1024;

/// The faulty gateway over HTTP.
#[derive(Args, Clone, Debug)]
pub(crate) struct SandboxArgs {
    /// Where its ledger is kept.
    #[arg(long, value_name = "DIR", default_value = "./payonce-sandbox")]
    data: PathBuf,
    /// Where it listens.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:7412")]
    listen: SocketAddr,
    /// One seed is one run of luck.
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// What goes wrong, and how often (0 to 1), such as drop-after=0.2. Repeatable.
    #[arg(long = "fault", value_name = "KIND=PROBABILITY", value_parser = one_fault)]
    faults: Vec<String>,
    #[command(flatten)]
    news: NewsArgs,
}

fn one_fault(text: &str) -> Result<String, Invalid> {
    Faults::none().with_written(text).map(|_| text.to_owned())
}

/// Serves until SIGTERM or SIGINT. There is nothing to drain: what was answered for is in the ledger.
pub(crate) async fn run(args: SandboxArgs) -> ExitCode {
    match serve(args).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            let _ = writeln!(io::stderr(), "payonce sandbox: {why}");
            if why.kind() == io::ErrorKind::InvalidInput { crate::exit::usage() } else { crate::exit::refused() }
        }
    }
}

async fn serve(args: SandboxArgs) -> io::Result<()> {
    let faults = args.faults.iter().try_fold(Faults::none(), |faults, one| faults.with_written(one));
    let sandbox = Sandbox::open(&args.data, args.seed, faults.map_err(io::Error::other)?)?;
    let listener = TcpListener::bind(args.listen).await;
    let listener = listener.map_err(|why| io::Error::other(format!("cannot listen on {}: {why}", args.listen)))?;
    let voice = Voice::of(&args.news, &sandbox, args.seed);
    let voice = voice.map_err(|why| io::Error::new(io::ErrorKind::InvalidInput, why))?;
    introduce(&sandbox, listener.local_addr()?, args.seed)?;
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let mut app = router(sandbox.clone());
    if let Some(voice) = voice {
        app = voice.over(app);
        tokio::spawn(voice.speak());
    }
    let app = app.into_make_service_with_connect_info::<Line>();
    tokio::select! {
        ended = async { axum::serve(Lines { listener, sandbox }, app).await } => ended,
        _ = terminate.recv() => Ok(()),
        _ = interrupt.recv() => Ok(()),
    }
}

fn introduce(sandbox: &Sandbox, address: SocketAddr, seed: u64) -> io::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "payonce sandbox: a gateway to break things with, at http://{address}")?;
    writeln!(out, "  faults   {} (seed {seed})", sandbox.faults())?;
    if let Some(path) = sandbox.ledger_path() {
        writeln!(out, "  ledger   {}", path.display())?;
    }
    writeln!(out, "  truth    curl http://{address}/statement/summary")?;
    writeln!(out, "  break it curl -X PUT http://{address}/faults -d '{{\"drop-after\":0.2}}'")?;
    out.flush()
}

fn router(sandbox: Sandbox) -> Router {
    Router::new()
        .route("/charges", post(charges))
        .route("/captures", post(captures))
        .route("/voids", post(voids))
        .route("/refunds", post(refunds))
        .route("/operations/{key}", get(operation))
        .route("/challenges/{key}", post(challenge))
        .route("/statement", get(statement))
        .route("/statement/summary", get(summary))
        .route("/faults", get(faults).put(set_faults))
        // Not an empty 404: that would be an answer about an operation.
        .fallback(|| async { (StatusCode::NOT_FOUND, "there is no such path here\n") })
        .layer(DefaultBodyLimit::max(MAX_BODY))
        .with_state(sandbox)
}

type Raw = Result<Bytes, BytesRejection>;

async fn charges(
    State(sandbox): State<Sandbox>,
    ConnectInfo(line): ConnectInfo<Line>,
    headers: HeaderMap,
    body: Raw,
) -> Response {
    take(&sandbox, &line, &headers, body, Kind::Charge).await
}

async fn captures(
    State(sandbox): State<Sandbox>,
    ConnectInfo(line): ConnectInfo<Line>,
    headers: HeaderMap,
    body: Raw,
) -> Response {
    take(&sandbox, &line, &headers, body, Kind::Capture).await
}

async fn voids(
    State(sandbox): State<Sandbox>,
    ConnectInfo(line): ConnectInfo<Line>,
    headers: HeaderMap,
    body: Raw,
) -> Response {
    take(&sandbox, &line, &headers, body, Kind::Void).await
}

async fn refunds(
    State(sandbox): State<Sandbox>,
    ConnectInfo(line): ConnectInfo<Line>,
    headers: HeaderMap,
    body: Raw,
) -> Response {
    take(&sandbox, &line, &headers, body, Kind::Refund).await
}

async fn take(sandbox: &Sandbox, line: &Line, headers: &HeaderMap, body: Raw, kind: Kind) -> Response {
    let Ok(body) = body else { return invalid("the body could not be read, or is larger than 64 KiB") };
    let key = headers.get("idempotency-key").and_then(|value| value.to_str().ok());
    match instruction(kind, key, &body) {
        Ok(asked) => respond(sandbox, line, sandbox.deliver(asked).await),
        Err(why) => invalid(&why),
    }
}

async fn operation(
    State(sandbox): State<Sandbox>,
    ConnectInfo(line): ConnectInfo<Line>,
    Path(key): Path<String>,
) -> Response {
    match OperationKey::parse(&key) {
        Some(key) => respond(&sandbox, &line, sandbox.inquire(key).await),
        None => invalid("an operation key is a lower-case UUID"),
    }
}

/// What became of a challenge.
#[derive(Deserialize)]
struct Acted {
    #[serde(rename = "as")]
    verdict: String,
}

/// The payer acts, as a bank's page would have it. Never lost: faults are for what payonce asks.
async fn challenge(
    State(sandbox): State<Sandbox>,
    ConnectInfo(line): ConnectInfo<Line>,
    Path(key): Path<String>,
    body: Bytes,
) -> Response {
    let acted = serde_json::from_slice::<Acted>(&body);
    let passed = match acted.as_ref().map(|acted| acted.verdict.as_str()) {
        Ok("succeeded") => true,
        Ok("declined") => false,
        Ok(_) | Err(_) => return invalid("the body must be {\"as\":\"succeeded\"} or {\"as\":\"declined\"}"),
    };
    let Some(key) = OperationKey::parse(&key) else { return invalid("an operation key is a lower-case UUID") };
    match sandbox.answer_challenge(key, passed) {
        Some(shown) => respond(&sandbox, &line, shown),
        None => problem(StatusCode::NOT_FOUND, "not_found", "no operation of this key waits for its payer"),
    }
}

#[derive(Deserialize)]
struct After {
    #[serde(default)]
    after: u64,
}

async fn statement(State(sandbox): State<Sandbox>, after: Result<Query<After>, QueryRejection>) -> Response {
    let Ok(Query(After { after })) = after else { return invalid("after must be the number of a movement") };
    let movements = sandbox.statement(after, STATEMENT_LINES);
    let lines: String = movements.iter().map(statement_line).collect();
    ([(header::CONTENT_TYPE, "application/x-ndjson")], lines).into_response()
}

fn statement_line(movement: &Movement) -> String {
    let Movement { number, at, operation_key, gateway_reference, kind, amount, currency } = movement;
    let (at, kind) = (at.as_millis(), kind.as_str());
    format!(
        "{{\"number\":{number},\"at_ms\":{at},\"kind\":\"{kind}\",\"reference\":\"{operation_key}\",\
         \"gateway_reference\":\"{gateway_reference}\",\"amount\":{amount},\"currency\":\"{currency}\"}}\n"
    )
}

async fn summary(State(sandbox): State<Sandbox>) -> Json<BTreeMap<&'static str, u64>> {
    let summary = sandbox.summary();
    Json(BTreeMap::from([
        ("operations", summary.operations),
        ("movements", summary.movements),
        ("moved_twice", summary.moved_twice),
    ]))
}

async fn faults(State(sandbox): State<Sandbox>) -> Json<BTreeMap<&'static str, f64>> {
    let faults = sandbox.faults();
    Json(Fault::ALL.into_iter().map(|fault| (fault.as_str(), faults.probability(fault))).collect())
}

/// Replaces the named ones, all or none.
async fn set_faults(State(sandbox): State<Sandbox>, body: Bytes) -> Response {
    let Ok(named) = serde_json::from_slice::<BTreeMap<String, f64>>(&body) else {
        return invalid("faults are an object of kinds and probabilities");
    };
    let changed = named.iter().try_fold(sandbox.faults(), |faults, (kind, p)| faults.with_named(kind, *p));
    match changed {
        Ok(changed) => sandbox.set_faults(changed),
        Err(why) => return invalid(&why.to_string()),
    }
    faults(State(sandbox)).await.into_response()
}

/// A request body; fields that we do not know are left alone, as a gateway would.
#[derive(Deserialize)]
struct Asked {
    reference: String,
    amount: u64,
    currency: String,
    #[serde(default)]
    source: String,
    #[serde(default)]
    destination: String,
    #[serde(default)]
    capture: Option<String>,
    #[serde(default)]
    charge: Option<String>,
}

fn instruction(kind: Kind, key: Option<&str>, body: &[u8]) -> Result<Instruction, String> {
    let asked: Asked = serde_json::from_slice(body).map_err(|why| why.to_string())?;
    if key != Some(asked.reference.as_str()) {
        return Err("the Idempotency-Key header must be the body's reference".to_owned());
    }
    let first = kind == Kind::Charge;
    if first && (asked.source.is_empty() || asked.destination.is_empty()) {
        return Err("source and destination are required".to_owned());
    }
    let kind = match (kind, asked.capture.as_deref()) {
        (Kind::Charge, Some("manual")) => Kind::Authorize,
        (Kind::Charge, None | Some("automatic")) => Kind::Charge,
        (Kind::Charge, Some(_)) => return Err("capture must be automatic or manual".to_owned()),
        (Kind::Authorize | Kind::Capture | Kind::Void | Kind::Refund, _) => kind,
    };
    let charge = asked.charge.as_deref().filter(|_| !first).map(|key| uuid(key, "charge")).transpose()?;
    if !first && charge.is_none() {
        return Err("charge is required".to_owned());
    }
    Ok(Instruction {
        kind,
        operation_key: uuid(&asked.reference, "reference")?,
        amount: Amount::new(asked.amount).map_err(|why| why.to_string())?,
        currency: Currency::new(&asked.currency).map_err(|why| why.to_string())?,
        charge,
        source: asked.source,
        destination: asked.destination,
    })
}

fn uuid(key: &str, field: &str) -> Result<OperationKey, String> {
    OperationKey::parse(key).ok_or_else(|| format!("{field} must be a lower-case UUID"))
}

#[derive(Serialize)]
struct Answer<'a> {
    reference: String,
    gateway_reference: &'a str,
    status: &'a str,
    amount: u64,
    currency: &'a str,
    code: &'a str,
    message: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_action: Option<NextAction>,
}

/// What the payer has to do.
#[derive(Serialize)]
struct NextAction {
    url: String,
    expires_at: String,
}

#[derive(Serialize)]
struct Problem<'a> {
    code: &'a str,
    message: &'a str,
}

fn invalid(message: &str) -> Response {
    problem(StatusCode::BAD_REQUEST, "invalid_request", message)
}

fn problem(status: StatusCode, code: &str, message: &str) -> Response {
    (status, Json(Problem { code, message })).into_response()
}

/// Puts on the wire what the asker is to see.
fn respond(sandbox: &Sandbox, line: &Line, shown: Shown) -> Response {
    let mut response = match shown {
        Shown::Dropped => {
            line.hang_up();
            StatusCode::NO_CONTENT.into_response()
        }
        Shown::Failed => problem(StatusCode::INTERNAL_SERVER_ERROR, "internal_error", "something went wrong"),
        Shown::Garbage => ([(header::CONTENT_TYPE, "application/json")], "{\"reference\":\"\u{fffd}").into_response(),
        Shown::InProgress => problem(StatusCode::CONFLICT, "in_progress", "a request with this key is being worked on"),
        Shown::Rejected { code, message } => problem(StatusCode::UNPROCESSABLE_ENTITY, code, message),
        Shown::NotFound => problem(StatusCode::NOT_FOUND, "not_found", "no such operation"),
        Shown::Answer(answer) => Json(Answer {
            reference: answer.reference.to_string(),
            gateway_reference: &answer.gateway_reference,
            status: answer.status,
            amount: answer.amount,
            currency: answer.currency.as_str(),
            code: answer.code,
            message: answer.message,
            next_action: answer.challenge_until.map(|until| line.challenge(&answer, until)),
        })
        .into_response(),
    };
    if sandbox.faults().probability(Fault::Refuse) > 0.0 {
        // Connections are refused when they are new: so let the next request need a new one.
        response.headers_mut().insert(header::CONNECTION, header::HeaderValue::from_static("close"));
    }
    response
}

/// The connection of a request.
#[derive(Clone, Debug)]
struct Line {
    /// Whether it is to end without a reply.
    cut: Arc<AtomicBool>,
    /// Where it came in.
    address: SocketAddr,
}

impl Line {
    fn hang_up(&self) {
        self.cut.store(true, Ordering::Release);
    }

    /// Where the payer can act, and until when.
    fn challenge(&self, answer: &ShownAnswer, until: Timestamp) -> NextAction {
        let time = i64::try_from(until.as_millis()).ok().and_then(|time| jiff::Timestamp::from_millisecond(time).ok());
        NextAction {
            url: format!("http://{}/challenges/{}", self.address, answer.reference),
            expires_at: time.unwrap_or_default().to_string(),
        }
    }
}

impl Connected<IncomingStream<'_, Lines>> for Line {
    fn connect_info(stream: IncomingStream<'_, Lines>) -> Line {
        stream.io().line.clone()
    }
}

struct Lines {
    listener: TcpListener,
    sandbox: Sandbox,
}

impl Listener for Lines {
    type Io = LineIo;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (LineIo, SocketAddr) {
        let (stream, address) = Listener::accept(&mut self.listener).await;
        // Without it replies only come later.
        let _ = stream.set_nodelay(true);
        let line = Line { cut: Arc::default(), address: stream.local_addr().unwrap_or(address) };
        let sandbox = (self.sandbox.faults().probability(Fault::Refuse) > 0.0).then(|| self.sandbox.clone());
        (LineIo { line, stream, refusing: sandbox }, address)
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

/// A connection that can be refused before anything was read, and cut off before anything is written.
struct LineIo {
    stream: TcpStream,
    line: Line,
    /// Until it is known whether this connection is refused, if any is.
    refusing: Option<Sandbox>,
}

impl LineIo {
    /// Looks at the first bytes without reading them: those who ask for the faults or the truth are always let in.
    fn poll_admitted(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Some(sandbox) = &self.refusing else { return Poll::Ready(Ok(())) };
        let mut first = [0; 16];
        let mut seen = ReadBuf::new(&mut first);
        ready!(self.stream.poll_peek(cx, &mut seen))?;
        let exempt = ["PUT /faults", "GET /faults", "GET /statement", "GET /news", "POST /challenges"];
        let refused = !exempt.iter().any(|path| seen.filled().starts_with(path.as_bytes())) && sandbox.refuses();
        self.refusing = None;
        Poll::Ready(if refused { Err(io::ErrorKind::ConnectionRefused.into()) } else { Ok(()) })
    }

    fn check(&self) -> io::Result<()> {
        if self.line.cut.load(Ordering::Acquire) { Err(io::ErrorKind::ConnectionAborted.into()) } else { Ok(()) }
    }
}

impl AsyncRead for LineIo {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_admitted(cx))?;
        Pin::new(&mut self.stream).poll_read(cx, into)
    }
}

impl AsyncWrite for LineIo {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.check()?;
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.check()?;
        Pin::new(&mut self.stream).poll_write_vectored(cx, bytes)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
