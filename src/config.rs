//! What can be set, from where: `payonce.toml`, then `PAYONCE_*` in the environment, then flags; later ones win.
//!
//! Every key is one word in three spellings: `gateway_account` in the file, `PAYONCE_GATEWAY_ACCOUNT` in the
//! environment, `--gateway-account` as a flag. An unknown key is refused: a limit that was misspelt must not be
//! silently absent.
//!
//! Knows nothing of HTTP routes, engines at work, or the command line's grammar.

mod gateways;
mod keys;
mod source;
mod table;
mod webhooks;

use std::{
    fmt, fs,
    net::SocketAddr,
    num::NonZeroU32,
    path::{Path, PathBuf},
    time::Duration,
};

use crate::{
    deliver::Endpoint,
    gateway::{
        apply_override,
        http::HttpGateway,
        parse_duration,
        stripe::{STRIPE_URL, StripeGateway},
    },
    http::{Tls, auth::Keys},
    payment::{Contract, Identity, Late, Namespace, Policies},
    runtime::{Options, Watch},
};

pub use gateways::{CREDENTIAL, GatewaySettings};
pub use keys::{change_keys, read_keys};
pub use source::Source;
pub use webhooks::{Webhook, WebhookSecret};

/// The file that is read if it is there and no other is named.
pub const DEFAULT_FILE: &str = "payonce.toml";

/// The variables that are no keys of ours but begin like them: the file's own name, the log filter, the client's URL,
/// and authority, and the secrets that must be in no file.
const OTHER_VARIABLES: [&str; 8] =
    ["config", "log", "log_format", "url", "ca", "api_key", "gateway_credential", "gateway_webhook_secret"];

/// Every key, in the order of [`Settings`].
pub const KEYS: [&str; 27] = [
    "data",
    "listen",
    "gateway",
    "gateway_account",
    "gateway_contract",
    "stripe_api_key_file",
    "stripe_return_url",
    "stripe_off_session",
    "namespace",
    "late_success",
    "late_void",
    "duplicate_window",
    "duplicate_reference",
    "seal_personal_data",
    "queue",
    "gateway_slots",
    "segment_bytes",
    "batch_bytes",
    "checkpoint_bytes",
    "store_cache_bytes",
    "store_filter_bytes",
    "keys_file",
    "rate_per_key",
    "connections",
    "tls_cert",
    "tls_key",
    "tls_client_ca",
];

/// Whether `PAYONCE_` and this name in capitals is a variable of ours.
pub fn is_known_variable(name: &str) -> bool {
    KEYS.contains(&name) || OTHER_VARIABLES.contains(&name)
}

/// What was bought within it is in memory, at about 100 bytes each, and is read again at a start.
const LONGEST_WINDOW: Duration = Duration::from_secs(24 * 3600);

/// Everything that can be set.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Settings {
    /// The data folder. Default: `./payonce-data`, so that a first try leaves everything in one visible place.
    pub data: PathBuf,
    /// Where to listen. Default: `127.0.0.1:7411`, this machine only: without keys whoever can connect can pay.
    pub listen: SocketAddr,
    /// The only gateway, as the keys that begin with `gateway` and `stripe` say. Default: the sandbox in this process:
    /// a first try must not need an account anywhere.
    pub gateway: GatewaySettings,
    /// Keeps installs apart that share an account. Default: empty: there is one install.
    pub namespace: Namespace,
    /// What becomes of money that has moved although a caller was told, or wished, that it would not: `adopt` or
    /// `refund`. Defaults and why: [`Policies`].
    pub policies: Policies,
    /// For how long a payment that looks like another, under another key, is held. Default: not at all.
    pub duplicate_window: Option<Duration>,
    /// The metadata in which callers name their sale. Default: `reference`.
    pub duplicate_reference: Option<String>,
    /// Whether personal data is sealed, so that it can be erased. Default: it is not; a folder in which that has begun goes
    /// on with it.
    pub seal_personal_data: bool,
    /// How many callers may wait for the engine. `None`: the engine's default.
    pub queue: Option<usize>,
    /// How many calls to the gateway may be under way. `None`: the engine's default.
    pub gateway_slots: Option<usize>,
    /// The size of a journal segment, in bytes. `None`: the engine's default.
    pub segment_bytes: Option<u64>,
    /// How much of the journal is written with one fsync, in bytes. `None`: the engine's default.
    pub batch_bytes: Option<u32>,
    /// After how much of the journal the store is flushed, in bytes. `None`: the engine's default.
    pub checkpoint_bytes: Option<u64>,
    /// The store's cache, in bytes. `None`: the engine's default.
    pub store_cache_bytes: Option<u64>,
    /// The most that the filter of new keys takes, in bytes. `None`: the engine's default.
    pub store_filter_bytes: Option<u64>,
    /// The file of the API keys that are let in, which `payonce keys` writes. Default: none; everybody is let in.
    pub keys_file: Option<PathBuf>,
    /// How many requests a second a key may make that has no rate of its own. Default: as many as it likes: too many are
    /// refused by the queue, and a limit that nobody chose would refuse the best day of the year.
    pub rate_per_key: Option<u32>,
    /// How many connections are served at once. Default: two fifths of the files that the process may open.
    pub connections: Option<usize>,
    /// The certificate to show, with those between it and a root, in PEM. Default: none; no TLS.
    pub tls_cert: Option<PathBuf>,
    /// Its private key, in PEM.
    pub tls_key: Option<PathBuf>,
    /// The authorities of whom callers need a certificate, in PEM. Default: callers need none.
    pub tls_client_ca: Option<PathBuf>,
    /// Several gateways: `[[gateways]]` tables, in the file only. Default: none; then the keys above say which one it is.
    pub gateways: Vec<GatewaySettings>,
    /// Who is told of what happens: `[[webhooks]]` tables, in the file only. Default: nobody.
    pub webhooks: Vec<Webhook>,
}

/// Which gateway.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GatewayChoice {
    /// The one in this process, with its ledger in the data folder.
    Sandbox,
    /// One that speaks our HTTP protocol, at this URL.
    Http(String),
    /// Stripe, or something that behaves like it, at this URL.
    Stripe(String),
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            data: PathBuf::from("./payonce-data"),
            listen: SocketAddr::from(([127, 0, 0, 1], 7411)),
            gateway: GatewaySettings::default(),
            namespace: Namespace::default(),
            policies: Policies::default(),
            duplicate_window: None,
            duplicate_reference: None,
            seal_personal_data: false,
            queue: None,
            gateway_slots: None,
            segment_bytes: None,
            batch_bytes: None,
            checkpoint_bytes: None,
            store_cache_bytes: None,
            store_filter_bytes: None,
            keys_file: None,
            rate_per_key: None,
            connections: None,
            tls_cert: None,
            tls_key: None,
            tls_client_ca: None,
            gateways: Vec::new(),
            webhooks: Vec::new(),
        }
    }
}

impl Settings {
    /// The defaults, then the file, then the environment. `file`: one that must exist; without it, `payonce.toml` is
    /// read if it is there. Flags are applied by the caller, last, with [`Settings::set_flag`].
    pub fn load(
        file: Option<&Path>,
        environment: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Settings, ConfigError> {
        let mut settings = Settings::default();
        let default = Path::new(DEFAULT_FILE);
        match file {
            Some(file) => settings.read_file(file)?,
            None if default.exists() => settings.read_file(default)?,
            None => {}
        }
        settings.read_environment(environment)?;
        Ok(settings)
    }

    /// Sets one key as a flag does.
    pub fn set_flag(&mut self, key: &str, value: &str) -> Result<(), ConfigError> {
        self.set(key, value).map_err(|why| ConfigError(format!("--{} {why}", key.replace('_', "-"))))
    }

    /// How to open the engine.
    pub fn options(&self, moved: bool) -> Options {
        let mut options = Options::new(&self.data);
        options.moved = moved;
        options.namespace = self.namespace.clone();
        options.policies = self.policies;
        options.duplicates = self.duplicate_window.map(|window| Watch {
            window,
            reference: self.duplicate_reference.clone().unwrap_or_else(|| "reference".to_owned()),
        });
        options.seal_personal_data = self.seal_personal_data;
        options.queue = self.queue.unwrap_or(options.queue);
        options.gateway_slots = self.gateway_slots.unwrap_or(options.gateway_slots);
        options.segment_bytes = self.segment_bytes.unwrap_or(options.segment_bytes);
        options.batch_bytes = self.batch_bytes.unwrap_or(options.batch_bytes);
        options.checkpoint_bytes = self.checkpoint_bytes.unwrap_or(options.checkpoint_bytes);
        options.store_cache_bytes = self.store_cache_bytes.unwrap_or(options.store_cache_bytes);
        options.store_filter_bytes = self.store_filter_bytes.unwrap_or(options.store_filter_bytes);
        options
    }

    /// The receivers of webhooks, with their secrets.
    pub fn endpoints(&self) -> Result<Vec<Endpoint>, ConfigError> {
        self.webhooks.iter().map(|webhook| webhook.endpoint().map_err(ConfigError)).collect()
    }

    /// The API keys that are let in, as the file has them now; `None`: everybody is.
    pub fn keys(&self) -> Result<Option<Keys>, ConfigError> {
        let Some(file) = &self.keys_file else { return Ok(None) };
        let keys = Keys::new(read_keys(file)?, self.rate_per_key);
        keys.map(Some).map_err(|why| ConfigError(format!("{}: {why}", file.display())))
    }

    /// The certificate to show, as the files have it now; `None`: no TLS is spoken.
    pub fn tls(&self) -> Result<Option<Tls>, ConfigError> {
        let needs = |key: &str, other: &str| Err(ConfigError(format!("{key} needs {other} too")));
        match (&self.tls_cert, &self.tls_key, &self.tls_client_ca) {
            (Some(cert), Some(key), authorities) => {
                Tls::load(cert, key, authorities.as_deref()).map(Some).map_err(ConfigError)
            }
            (Some(_), None, _) => needs("tls_cert", "tls_key"),
            (None, Some(_), _) => needs("tls_key", "tls_cert"),
            (None, None, Some(_)) => needs("tls_client_ca", "tls_cert and tls_key"),
            (None, None, None) => Ok(None),
        }
    }

    /// The contract of the gateway that is preferred, with what was overridden.
    pub fn contract(&self, contract: &Contract) -> Result<Contract, ConfigError> {
        self.gateways().first().map_or_else(|| Ok(contract.clone()), |first| first.contract(contract))
    }

    fn read_file(&mut self, path: &Path) -> Result<(), ConfigError> {
        let fail = |why: String| ConfigError(format!("{}: {why}", path.display()));
        let text = fs::read_to_string(path).map_err(|error| fail(format!("cannot be read: {error}")))?;
        self.read_toml(&text).map_err(fail)
    }

    /// Reads a file's text; an error goes on from the file's name. For tests that feed it anything.
    #[doc(hidden)]
    pub fn read_toml(&mut self, text: &str) -> Result<(), String> {
        let table: toml::Table = text.parse().map_err(|error| format!("is not valid TOML: {error}"))?;
        if let (Some(tables), single) =
            (table.get("gateways"), gateways::SINGLE.iter().find(|key| table.contains_key(**key)))
        {
            if let Some(key) = single {
                return Err(format!("{key} is for a single gateway: with [[gateways]], say it in their tables"));
            }
            self.gateways = gateways::read(tables)?;
        }
        for (key, value) in table.iter().filter(|(key, _)| *key != "gateways") {
            if key == "webhooks" {
                self.webhooks = webhooks::read(value)?;
                continue;
            }
            match value.as_table().filter(|_| key == "gateway_contract") {
                Some(pairs) => {
                    pairs.iter().try_for_each(|(name, value)| self.set(key, &format!("{name}={}", plain(value))))
                }
                None => self.set(key, &plain(value)),
            }
            .map_err(|why| format!("{key} {why}"))?;
        }
        Ok(())
    }

    /// Reads `PAYONCE_*`. Orchestrators put variables of their own under a service's name (`PAYONCE_PORT`), so what
    /// is unknown is refused only where it looks like a slip.
    fn read_environment(&mut self, variables: impl IntoIterator<Item = (String, String)>) -> Result<(), ConfigError> {
        for (variable, value) in variables {
            let Some(key) = variable.strip_prefix("PAYONCE_").map(str::to_ascii_lowercase) else { continue };
            let ours = KEYS.contains(&key.as_str());
            let slip = !OTHER_VARIABLES.contains(&key.as_str()) && nearest(&key, &KEYS).is_some();
            if ours || slip {
                self.set(&key, &value).map_err(|why| ConfigError(format!("{variable} {why}")))?;
            }
        }
        Ok(())
    }

    /// Sets one key; an error goes on from its name.
    fn set(&mut self, key: &str, value: &str) -> Result<(), String> {
        if !self.gateways.is_empty() && gateways::SINGLE.contains(&key) {
            return self.choose_table(key, value);
        }
        match key {
            "data" => self.data = PathBuf::from(not_empty(value)?),
            "listen" => self.listen = parsed(value, "an address and a port, such as 127.0.0.1:7411")?,
            "gateway" => self.gateway.choice = gateway(value)?,
            "gateway_account" => self.gateway.account = Some(not_empty(value)?.to_owned()),
            "gateway_contract" => self.add_contract(value)?,
            "stripe_api_key_file" => self.gateway.credential.file = Some(PathBuf::from(not_empty(value)?)),
            "stripe_return_url" => self.gateway.return_url = Some(not_empty(value)?.to_owned()),
            "stripe_off_session" => self.gateway.off_session = parsed(value, "true or false")?,
            "namespace" => self.namespace = Namespace::new(value).map_err(|invalid| invalid.why.to_owned())?,
            "late_success" => self.policies.late_success = late(value)?,
            "late_void" => self.policies.late_void = late(value)?,
            "duplicate_window" => {
                let window = parse_duration(value).filter(|window| !window.is_zero() && *window <= LONGEST_WINDOW);
                self.duplicate_window = Some(window.ok_or("must be a duration of up to 24h, such as 10m")?);
            }
            "duplicate_reference" => self.duplicate_reference = Some(not_empty(value)?.to_owned()),
            "seal_personal_data" => self.seal_personal_data = parsed(value, "true or false")?,
            "queue" => self.queue = Some(at_least_one(value)?),
            "gateway_slots" => self.gateway_slots = Some(at_least_one(value)?),
            "segment_bytes" => self.segment_bytes = Some(parsed(value, "a number of bytes")?),
            "batch_bytes" => self.batch_bytes = Some(parsed(value, "a number of bytes")?),
            "checkpoint_bytes" => self.checkpoint_bytes = Some(parsed(value, "a number of bytes")?),
            "store_cache_bytes" => self.store_cache_bytes = Some(parsed(value, "a number of bytes")?),
            "store_filter_bytes" => self.store_filter_bytes = Some(parsed(value, "a number of bytes")?),
            "keys_file" => self.keys_file = Some(PathBuf::from(not_empty(value)?)),
            "rate_per_key" => self.rate_per_key = Some(parsed::<NonZeroU32>(value, "a number from 1 on")?.get()),
            "connections" => self.connections = Some(at_least_one(value)?),
            "tls_cert" => self.tls_cert = Some(PathBuf::from(not_empty(value)?)),
            "tls_key" => self.tls_key = Some(PathBuf::from(not_empty(value)?)),
            "tls_client_ca" => self.tls_client_ca = Some(PathBuf::from(not_empty(value)?)),
            _ => return Err(unknown(key, &KEYS)),
        }
        Ok(())
    }

    /// With `[[gateways]]`, a flag or a variable can only say which of them is meant.
    fn choose_table(&mut self, key: &str, value: &str) -> Result<(), String> {
        if key != "gateway" {
            return Err("is for a single gateway: the file has [[gateways]], and says it in their tables".to_owned());
        }
        let named = self.gateways.iter().find(|one| one.name == value).cloned();
        let names = || self.gateways.iter().map(|one| one.name.as_str()).collect::<Vec<_>>().join(", ");
        let named = named.ok_or_else(|| format!("must be one of those in the file's [[gateways]]: {}", names()))?;
        self.gateways = vec![named];
        Ok(())
    }

    /// Takes `KEY=VALUE`, or several with commas between; a later value of a key replaces an earlier one.
    fn add_contract(&mut self, text: &str) -> Result<(), String> {
        for pair in text.split(',').map(str::trim) {
            // A trial on a contract that is thrown away: what is wrong is said where it was set.
            apply_override(&mut Contract::standard(Identity::default()), pair).map_err(|error| error.to_string())?;
            let key = |pair: &str| pair.split('=').next().map(str::to_owned);
            self.gateway.contract.retain(|known| key(known) != key(pair));
            self.gateway.contract.push(pair.to_owned());
        }
        Ok(())
    }
}

fn gateway(text: &str) -> Result<GatewayChoice, String> {
    if text == "sandbox" {
        return Ok(GatewayChoice::Sandbox);
    }
    if let Some(rest) = text.strip_prefix("stripe").filter(|rest| rest.is_empty() || rest.starts_with(':')) {
        let url = rest.strip_prefix(':').unwrap_or(STRIPE_URL);
        // A trial with a key that opens nothing: what is wrong with the URL is said where it was set.
        let tried = StripeGateway::at(url, "sk_test_trial");
        return tried.map(|_| GatewayChoice::Stripe(url.to_owned())).map_err(|invalid| invalid.why.to_owned());
    }
    match HttpGateway::new(text, None) {
        Ok(_) => Ok(GatewayChoice::Http(text.to_owned())),
        Err(error) => Err(format!("must be \"sandbox\", \"stripe\" or a URL, such as http://127.0.0.1:7412 ({error})")),
    }
}

fn late(text: &str) -> Result<Late, String> {
    match text {
        "adopt" => Ok(Late::Adopt),
        "refund" => Ok(Late::Refund),
        _ => Err(format!("must be \"adopt\" (the money stays where it is) or \"refund\" (it goes back), not {text:?}")),
    }
}

fn parsed<T: std::str::FromStr>(text: &str, what: &str) -> Result<T, String> {
    text.parse().map_err(|_| format!("must be {what}, not {text:?}"))
}

fn at_least_one(text: &str) -> Result<usize, String> {
    match parsed(text, "a number from 1 on")? {
        0 => Err("must be a number from 1 on, not 0".to_owned()),
        number => Ok(number),
    }
}

fn not_empty(text: &str) -> Result<&str, String> {
    if text.is_empty() { Err("must not be empty".to_owned()) } else { Ok(text) }
}

/// A TOML value as it would be written in the environment.
fn plain(value: &toml::Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

fn unknown(key: &str, keys: &[&str]) -> String {
    match nearest(key, keys) {
        Some(near) => format!("is not known; did you mean {near}?"),
        None => format!("is not known; known are {}", keys.join(", ")),
    }
}

/// The key that is at most two slips away.
fn nearest<'a>(key: &str, keys: &[&'a str]) -> Option<&'a str> {
    let near = keys.iter().map(|known| (slips(key, known), *known)).min()?;
    (near.0 <= 2 || near.1.replace('_', "") == key.replace(['_', '-'], "")).then_some(near.1)
}

/// How many characters have to be added, dropped or changed to make one text of the other (Levenshtein).
fn slips(from: &str, to: &str) -> usize {
    let mut row: Vec<usize> = (0..=to.chars().count()).collect();
    for (line, a) in from.chars().enumerate() {
        let mut next = vec![line + 1];
        for (b, pair) in to.chars().zip(row.windows(2)) {
            if let ([diagonal, above], Some(left)) = (pair, next.last()) {
                next.push((diagonal + usize::from(a != b)).min(above + 1).min(left + 1));
            }
        }
        row = next;
    }
    row.last().copied().unwrap_or_default()
}

/// What is wrong with the configuration: where, what, and what it must be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError(String);

impl ConfigError {
    /// Something about the configuration that shows only where it is used.
    pub fn new(why: String) -> ConfigError {
        ConfigError(why)
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for ConfigError {}

#[cfg(test)]
mod tests;
