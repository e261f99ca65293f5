//! `payonce serve`: the daemon.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    path::PathBuf,
    process::ExitCode,
    sync::Arc,
    time::Duration,
};

use payonce::{
    Engine, OpenError, Options, Stopped,
    config::{ConfigError, Settings},
    deliver::{Deliveries, StartError},
    disk::DiskFault,
    http::{self, Face},
    payment::Contract,
};
use tokio::{
    net::TcpListener,
    signal::unix::{SignalKind, signal},
    sync::oneshot,
    task::JoinHandle,
};

use crate::{
    exit,
    gateway::{self, GatewayArgs},
    guard,
    log::LogArgs,
    output::{columns, say},
    version::version,
};

/// How long callers get to hear that the engine has stopped by itself. Their answers are ready: they only have to leave.
const LAST_WORDS: Duration = Duration::from_secs(1);

const EXAMPLES: &str = "\
Examples:
  payonce serve                                        a sandbox for a gateway, data in ./payonce-data
  payonce serve --gateway http://127.0.0.1:7412        a gateway that speaks the HTTP protocol
  payonce serve --gateway http://127.0.0.1:7412 --gateway-contract dedup=none --gateway-contract inquiry=yes
  payonce serve --late-success refund                  money that moves late goes back by itself
  payonce serve --listen 0.0.0.0:7411 --keys-file keys.toml --tls-cert cert.pem --tls-key key.pem
  payonce serve --log info --log-format json           what happens, as an object of JSON a line
  payonce serve --otlp http://127.0.0.1:4318           each payment as a trace, under its id without hyphens
  payonce serve --moved                                once, after the data folder was copied or restored

Every flag but --config, --moved, --insecure-no-keys, --json, and those about logs and spans is also a key of payonce.toml (gateway_account = \"main\") and a variable
(PAYONCE_GATEWAY_ACCOUNT=main). Flags win over variables, variables over the file.
SIGTERM and SIGINT: admit nothing more, let what is under way end for up to 10 s, exit 0.";

/// The flags of `serve`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct ServeArgs {
    /// The data folder [default: ./payonce-data]
    #[arg(long, value_name = "DIR")]
    data: Option<String>,
    /// Where to listen; without API keys on this machine only [default: 127.0.0.1:7411]
    #[arg(long, value_name = "IP:PORT")]
    listen: Option<String>,
    #[command(flatten)]
    gateway: GatewayArgs,
    #[command(flatten)]
    log: LogArgs,
    /// Keeps installs apart that share one account at a gateway; never change it
    #[arg(long, value_name = "NAME")]
    namespace: Option<String>,
    /// Money that moves after its caller was told declined or canceled: adopt (it stays, and is shown) or refund
    /// (it goes back, once) [default: adopt]
    #[arg(long, value_name = "POLICY")]
    late_success: Option<String>,
    /// Money that moved before its void could stop it: adopt or refund [default: refund]
    #[arg(long, value_name = "POLICY")]
    late_void: Option<String>,
    /// Hold what looks like another payment of so long ago, under another key, until its caller says that it is meant
    #[arg(long, value_name = "TIME")]
    duplicate_window: Option<String>,
    /// The metadata in which callers name their sale: two names, two sales [default: reference]
    #[arg(long, value_name = "KEY")]
    duplicate_reference: Option<String>,
    /// Seal personal data under a key for each tenant, so that `payonce erase` can erase it; for good: once begun in a
    /// data folder, it goes on
    #[arg(long)]
    seal_personal_data: bool,
    /// How many callers may wait for the engine
    #[arg(long, value_name = "N")]
    queue: Option<String>,
    /// How many calls to the gateway may be under way
    #[arg(long, value_name = "N")]
    gateway_slots: Option<String>,
    /// The size of a journal segment, in bytes
    #[arg(long, value_name = "BYTES")]
    segment_bytes: Option<String>,
    /// How much of the journal is written with one fsync, in bytes
    #[arg(long, value_name = "BYTES")]
    batch_bytes: Option<String>,
    /// After how much of the journal the store is flushed, in bytes
    #[arg(long, value_name = "BYTES")]
    checkpoint_bytes: Option<String>,
    /// The store's cache, in bytes
    #[arg(long, value_name = "BYTES")]
    store_cache_bytes: Option<String>,
    /// The most that the filter of new keys takes, in bytes; 0 for none
    #[arg(long, value_name = "BYTES")]
    store_filter_bytes: Option<String>,
    /// The file of the API keys that are let in: see `payonce keys`
    #[arg(long, value_name = "FILE")]
    keys_file: Option<String>,
    /// How many requests a second a key may make that has no rate of its own
    #[arg(long, value_name = "N")]
    rate_per_key: Option<String>,
    /// How many connections are served at once [default: two fifths of the files that it may open]
    #[arg(long, value_name = "N")]
    connections: Option<String>,
    /// The certificate to show, in PEM, with those between it and a root: TLS is spoken then
    #[arg(long, value_name = "FILE")]
    tls_cert: Option<String>,
    /// Its private key, in PEM
    #[arg(long, value_name = "FILE")]
    tls_key: Option<String>,
    /// The authorities of whom callers need a certificate, in PEM
    #[arg(long, value_name = "FILE")]
    tls_client_ca: Option<String>,
    /// Without API keys, listen beyond this machine too: whoever can connect can pay
    #[arg(long)]
    insecure_no_keys: bool,
    /// Says that the data folder was moved on purpose, and that no copy of it is in use: sending is resumed
    #[arg(long)]
    moved: bool,
    /// Say what was started as one line of JSON
    #[arg(long)]
    json: bool,
    /// One failure of the disk under the journal, such as fsync:20; `payonce torture --help` explains
    #[arg(long, value_name = "KIND:N", hide = true)]
    disk_fault: Option<DiskFault>,
}

impl ServeArgs {
    /// How it tells of itself.
    pub(crate) fn log(&self) -> &LogArgs {
        &self.log
    }
}

/// Runs until told to stop, or until the engine stops by itself.
pub(crate) async fn run(args: ServeArgs) -> ExitCode {
    match daemon(&args).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("payonce: {failure}");
            failure.code()
        }
    }
}

/// Why the daemon ended otherwise than by being told to.
enum Failure {
    Config(ConfigError),
    Ledger(PathBuf, std::io::Error),
    Listen(SocketAddr, std::io::Error),
    Signals(std::io::Error),
    Open(OpenError),
    Deliver(StartError),
    Stopped(Stopped),
}

impl Failure {
    fn code(&self) -> ExitCode {
        match self {
            Failure::Config(_) => exit::usage(),
            Failure::Open(error) if error.is_usage() => exit::usage(),
            Failure::Ledger(..)
            | Failure::Listen(..)
            | Failure::Signals(_)
            | Failure::Open(_)
            | Failure::Deliver(_)
            | Failure::Stopped(_) => exit::refused(),
        }
    }
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Failure::Config(error) => write!(f, "{error}"),
            Failure::Ledger(folder, error) => {
                write!(f, "the sandbox's ledger in {} cannot be opened: {error}", folder.display())
            }
            Failure::Listen(address, error) => {
                write!(f, "cannot listen on {address}: {error}; nothing was opened, choose another with --listen")
            }
            Failure::Signals(error) => write!(f, "cannot listen for signals: {error}; nothing was opened"),
            Failure::Open(error) => write!(f, "{error}"),
            Failure::Deliver(error) => write!(f, "{error}"),
            Failure::Stopped(stopped) => write!(f, "stopped: {stopped}"),
        }
    }
}

async fn daemon(args: &ServeArgs) -> Result<(), Failure> {
    let settings = settings(args).map_err(Failure::Config)?;
    let face = guard::face(&settings, args.insecure_no_keys).map_err(Failure::Config)?;
    let endpoints = settings.endpoints().map_err(Failure::Config)?;
    let gateways = gateway::build_all(&settings).map_err(|missing| match missing {
        gateway::Missing::Config(error) => Failure::Config(error),
        gateway::Missing::Ledger(folder, error) => Failure::Ledger(folder, error),
    })?;
    let mut signals = Signals::listen().map_err(Failure::Signals)?;
    // Bound first: /healthz answers while the engine recovers, and a second daemon fails before it opens anything.
    let listen = |error| Failure::Listen(settings.listen, error);
    let listener = TcpListener::bind(settings.listen).await.map_err(listen)?;
    let address = listener.local_addr().map_err(listen)?;
    let server = Server::start(listener, face);
    tokio::spawn(guard::watch(server.face.clone(), settings.clone()));
    let engine = tokio::select! {
        opened = Engine::open_with(options(args, &settings), gateways) => opened.map_err(Failure::Open)?,
        () = signals.told_to_stop() => return Ok(()),
    };
    let deliveries = Deliveries::start(&engine, &settings.data, endpoints).map_err(Failure::Deliver)?;
    let _ = server.face.deliver(deliveries);
    // Nobody else opens it. Before it is announced: who has read that it listens is not to be told to come back.
    let _ = server.face.open(engine.clone());
    introduce(args, &settings, &engine, address);
    tokio::select! {
        () = signals.told_to_stop() => close(server, engine).await,
        stopped = engine.stopped() => {
            let face = server.face.clone();
            server.stop(Some(LAST_WORDS)).await;
            stop_deliveries(&face).await;
            Err(Failure::Stopped(stopped))
        }
    }
}

fn settings(args: &ServeArgs) -> Result<Settings, ConfigError> {
    let mut settings = args.gateway.settings()?;
    let flags = [
        ("data", &args.data),
        ("listen", &args.listen),
        ("namespace", &args.namespace),
        ("late_success", &args.late_success),
        ("late_void", &args.late_void),
        ("duplicate_window", &args.duplicate_window),
        ("duplicate_reference", &args.duplicate_reference),
        ("queue", &args.queue),
        ("gateway_slots", &args.gateway_slots),
        ("segment_bytes", &args.segment_bytes),
        ("batch_bytes", &args.batch_bytes),
        ("checkpoint_bytes", &args.checkpoint_bytes),
        ("store_cache_bytes", &args.store_cache_bytes),
        ("store_filter_bytes", &args.store_filter_bytes),
        ("keys_file", &args.keys_file),
        ("rate_per_key", &args.rate_per_key),
        ("connections", &args.connections),
        ("tls_cert", &args.tls_cert),
        ("tls_key", &args.tls_key),
        ("tls_client_ca", &args.tls_client_ca),
    ];
    for (key, value) in flags {
        value.as_ref().map_or(Ok(()), |value| settings.set_flag(key, value))?;
    }
    settings.seal_personal_data |= args.seal_personal_data;
    Ok(settings)
}

fn options(args: &ServeArgs, settings: &Settings) -> Options {
    let mut options = settings.options(args.moved);
    options.disk_fault = args.disk_fault;
    options
}

/// The HTTP server, and how to end it.
struct Server {
    face: Arc<Face>,
    stop: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

impl Server {
    fn start(listener: TcpListener, face: Face) -> Server {
        let face = Arc::new(face);
        let (stop, stopped) = oneshot::channel();
        let asked = async { drop(stopped.await) };
        let task = tokio::spawn(http::serve(listener, face.clone(), asked));
        Server { face, stop, task }
    }

    /// Admits nothing more, and waits for the answers under way: up to `limit`, or as long as the server itself allows.
    async fn stop(self, limit: Option<Duration>) {
        // If the server has ended by itself, there is nobody to tell.
        let _ = self.stop.send(());
        let ended = match limit {
            Some(limit) => tokio::time::timeout(limit, self.task).await.unwrap_or(Ok(())),
            None => self.task.await,
        };
        if let Err(error) = ended {
            tracing::error!(%error, "the HTTP server failed");
        }
    }
}

/// Drains both at once: it is the engine that brings about the answers for which the server waits.
async fn close(server: Server, engine: Engine) -> Result<(), Failure> {
    let face = server.face.clone();
    face.stop();
    let ((), closed) = tokio::join!(server.stop(None), engine.close());
    stop_deliveries(&face).await;
    closed.map_err(Failure::Stopped)
}

/// Last: until then what the end of payments brings is delivered too.
async fn stop_deliveries(face: &Face) {
    if let Some(deliveries) = face.deliveries() {
        deliveries.stop().await;
    }
}

/// SIGTERM and SIGINT, listened for from the first moment on.
struct Signals {
    terminate: tokio::signal::unix::Signal,
    interrupt: tokio::signal::unix::Signal,
}

impl Signals {
    fn listen() -> std::io::Result<Signals> {
        Ok(Signals { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    async fn told_to_stop(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

/// Says what was started, what it guarantees, and how to try it.
fn introduce(args: &ServeArgs, settings: &Settings, engine: &Engine, address: SocketAddr) {
    let callers = guard::callers(settings, args.insecure_no_keys);
    if !address.ip().to_canonical().is_loopback() && settings.keys_file.is_none() {
        tracing::warn!(%address, "listening beyond this machine without API keys: whoever can connect can pay");
    }
    let scheme = if settings.tls_cert.is_some() { "https" } else { "http" };
    let url = format!("{scheme}://{}", reachable(address));
    let report = engine.report().to_string();
    let contracts = &engine.report().contracts;
    if args.json {
        return say(introduction(contracts, &url, &callers, &report));
    }
    say(format_args!("payonce {}", version()));
    let mut lines = Vec::new();
    for (name, contract) in contracts {
        let of = |what: &str| if contracts.len() > 1 { format!("{what} {name}") } else { what.to_owned() };
        lines.push((of("guarantee"), contract.guarantee().to_owned()));
        lines.push((of("gateway"), contract.identity.to_string()));
        lines.push((of("contract"), contract.to_string()));
    }
    lines.push(("recovery".to_owned(), report));
    lines.push(("listening".to_owned(), url.clone()));
    lines.push(("callers".to_owned(), callers));
    lines.push(("dashboard".to_owned(), format!("{url}/")));
    lines.push(("metrics".to_owned(), format!("{url}/metrics")));
    columns(&lines.iter().map(|(name, value)| (name.as_str(), value.clone())).collect::<Vec<_>>());
    let example = example(&url, settings.keys_file.is_some());
    say(format_args!("\nTry it, twice:\n{example}\n\nCtrl-C stops it."));
}

/// The same for programs. The keys of the gateway that is preferred stand alone, those of all of them beside.
fn introduction(contracts: &[(String, Contract)], url: &str, callers: &str, report: &str) -> serde_json::Value {
    let one = |(name, contract): &(String, Contract)| {
        serde_json::json!({
            "name": name, "guarantee": contract.guarantee(), "gateway": contract.identity.to_string(),
            "contract": contract.to_string(),
        })
    };
    let all: Vec<serde_json::Value> = contracts.iter().map(one).collect();
    let first = |key: &str| all.first().map(|first| first[key].clone());
    serde_json::json!({
        "version": version(), "url": url, "guarantee": first("guarantee"), "gateway": first("gateway"), "contract": first("contract"),
        "gateways": all, "recovery": report.lines().collect::<Vec<_>>(), "dashboard": format!("{url}/"),
        "metrics": format!("{url}/metrics"), "callers": callers,
    })
}

/// An address at which this machine reaches the listener.
fn reachable(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        ip @ (IpAddr::V4(_) | IpAddr::V6(_)) => ip,
    };
    SocketAddr::new(ip, address.port())
}

/// One line that pays when it is pasted into a shell.
fn example(url: &str, keys: bool) -> String {
    let key = if keys { "-H \"Authorization: Bearer $PAYONCE_API_KEY\" " } else { "" };
    format!(
        "curl -sS {url}/v1/payments {key}-H 'Content-Type: application/json' -H 'Idempotency-Key: \"order-1234\"' -d \
         '{{\"amount\":1050,\"currency\":\"USD\",\"source\":\"acct_alice\",\"destination\":\"acct_bob\"}}'"
    )
}
