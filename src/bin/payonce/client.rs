//! What the client commands share: one HTTP exchange with the daemon, and how a refusal is shown.

use std::{fmt, fs, path::PathBuf, process::ExitCode, sync::Arc, time::Duration};

use serde_json::Value;
use ureq::{
    http::{Method, Request, StatusCode},
    tls::{PemItem, RootCerts, TlsConfig, parse_pem},
};

use crate::exit;

/// How long any answer may take beyond the time for which the daemon was asked to wait.
const PATIENCE: Duration = Duration::from_secs(15);

/// The variable with the API key. It has no flag: a secret must be in no list of processes.
const API_KEY: &str = "PAYONCE_API_KEY";

/// Which daemon, and how to print.
#[derive(Debug, clap::Args)]
pub(crate) struct Target {
    /// The daemon
    #[arg(long, value_name = "URL", env = "PAYONCE_URL", default_value = "http://127.0.0.1:7411")]
    url: String,
    /// Authorities that its certificate may be of, in PEM, in place of those that browsers trust
    #[arg(long, value_name = "FILE", env = "PAYONCE_CA")]
    ca: Option<PathBuf>,
    /// Print the daemon's JSON as it is
    #[arg(long)]
    pub(crate) json: bool,
}

/// One question to the daemon.
pub(crate) struct Ask<'a> {
    pub(crate) method: Method,
    /// From the slash on, percent-encoded.
    pub(crate) path: String,
    pub(crate) headers: Vec<(&'a str, String)>,
    pub(crate) body: Option<Value>,
    /// How long the daemon may take on purpose.
    pub(crate) wait: Duration,
}

impl Ask<'_> {
    /// A plain GET.
    pub(crate) fn get(path: String) -> Self {
        Ask { method: Method::GET, path, headers: Vec::new(), body: None, wait: Duration::ZERO }
    }

    /// A POST of JSON.
    pub(crate) fn post(path: String, body: Value) -> Self {
        Ask { method: Method::POST, path, headers: Vec::new(), body: Some(body), wait: Duration::ZERO }
    }
}

/// What the daemon said, and as what.
pub(crate) struct Told {
    pub(crate) text: String,
    pub(crate) value: Value,
    pub(crate) replayed: bool,
}

/// Why there is no answer to show.
pub(crate) enum Refusal {
    /// The daemon refused, with a problem document.
    Problem(StatusCode, Value),
    /// The URL, or what was to be sent, cannot be sent.
    Unsendable(String),
    /// Nobody answered.
    Silence(String, ureq::Error),
    /// The daemon answered, and there is nothing to show.
    Nothing(String),
    /// Somebody answered who is no payonce.
    Foreign(String, StatusCode),
}

impl Refusal {
    /// Shows it on standard error.
    pub(crate) fn show(&self) -> ExitCode {
        eprintln!("payonce: {self}");
        match self {
            Refusal::Unsendable(_) => exit::usage(),
            Refusal::Problem(..) | Refusal::Nothing(_) | Refusal::Silence(..) | Refusal::Foreign(..) => exit::failed(),
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Refusal::Problem(status, problem) => {
                let detail = field(problem, "detail").unwrap_or("refused");
                let code = field(problem, "code").unwrap_or("no code");
                write!(f, "{detail} ({code}, HTTP {})", status.as_u16())
            }
            Refusal::Unsendable(why) | Refusal::Nothing(why) => f.write_str(why),
            Refusal::Silence(url, error) => write!(
                f,
                "no answer from {url}: {error}\nIf it is not running, start it with `payonce serve`. \
                 To repeat this command is safe: no money moves twice."
            ),
            Refusal::Foreign(url, status) => {
                write!(f, "what answers at {url} (HTTP {}) is not payonce: check --url", status.as_u16())
            }
        }
    }
}

impl Target {
    /// Asks once. Nothing is ever repeated or redirected behind the caller's back.
    pub(crate) fn ask(&self, ask: Ask<'_>) -> Result<Told, Refusal> {
        let url = self.url.trim_end_matches('/');
        let mut request = Request::builder().method(ask.method).uri(format!("{url}{}", ask.path));
        for (name, value) in ask.headers {
            request = request.header(name, value);
        }
        if let Ok(key) = std::env::var(API_KEY) {
            request = request.header("Authorization", format!("Bearer {}", key.trim()));
        }
        let body = match ask.body {
            Some(body) => {
                request = request.header("Content-Type", "application/json");
                body.to_string()
            }
            None => String::new(),
        };
        let request = request.body(body).map_err(|error| Refusal::Unsendable(format!("cannot ask {url}: {error}")))?;
        let config = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .tls_config(self.tls()?)
            .timeout_global(Some(ask.wait.saturating_add(PATIENCE)));
        let agent: ureq::Agent = config.build().into();
        let silence = |error| Refusal::Silence(url.to_owned(), error);
        let mut response = agent.run(request).map_err(silence)?;
        let status = response.status();
        let text = response.body_mut().read_to_string().map_err(silence)?;
        let value = serde_json::from_str(&text).map_err(|_| Refusal::Foreign(url.to_owned(), status))?;
        let replayed = response.headers().contains_key("idempotent-replayed");
        match status.is_success() {
            true => Ok(Told { text, value, replayed }),
            false => Err(Refusal::Problem(status, value)),
        }
    }
}

impl Target {
    fn tls(&self) -> Result<TlsConfig, Refusal> {
        let Some(path) = &self.ca else { return Ok(TlsConfig::builder().build()) };
        let fail = |why: String| Refusal::Unsendable(format!("{}: {why}", path.display()));
        let pem = fs::read(path).map_err(|error| fail(format!("cannot be read: {error}")))?;
        let mut roots = Vec::new();
        for item in parse_pem(&pem) {
            if let PemItem::Certificate(certificate) = item.map_err(|error| fail(error.to_string()))? {
                roots.push(certificate);
            }
        }
        Ok(TlsConfig::builder().root_certs(RootCerts::Specific(Arc::new(roots))).build())
    }
}

/// A field of a body that is a text.
pub(crate) fn field<'a>(body: &'a Value, name: &str) -> Option<&'a str> {
    body.get(name).and_then(Value::as_str)
}

/// Percent-encodes what is not plain.
pub(crate) fn encoded(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    text.bytes().map(|b| if plain(b) { char::from(b).to_string() } else { format!("%{b:02X}") }).collect()
}

/// A structured-field string.
pub(crate) fn quoted(key: &str) -> String {
    format!("\"{}\"", key.replace('\\', "\\\\").replace('"', "\\\""))
}
