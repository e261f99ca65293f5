//! From the configuration to a gateway.

use std::{fs, io, path::PathBuf, sync::Arc};

use payonce::{
    config::{ConfigError, GatewayChoice, Settings},
    gateway::{
        Gateway,
        http::HttpGateway,
        sandbox::{Faults, Sandbox, SandboxGateway},
        stripe::StripeGateway,
    },
    signature::Secret,
};

/// The flags that say which gateway it is, and where else that may be said.
#[derive(Debug, clap::Args)]
pub(crate) struct GatewayArgs {
    /// Which gateway: sandbox, http://HOST:PORT, stripe, or stripe:URL for its stand-in [default: sandbox]
    #[arg(long, value_name = "GATEWAY")]
    gateway: Option<String>,
    /// The account at the gateway; its identity then, in place of the URL
    #[arg(long, value_name = "NAME")]
    gateway_account: Option<String>,
    /// What the gateway promises other than usual: dedup=none|24h, inquiry=yes|no, max_processing=5s, not_found_lag=1s,
    /// deadline=2s, not_found_times=3, park_after=24h (repeatable)
    #[arg(long, value_name = "KEY=VALUE")]
    gateway_contract: Vec<String>,
    /// The configuration file [default: payonce.toml, if it is there]
    #[arg(long, value_name = "FILE", env = "PAYONCE_CONFIG")]
    config: Option<PathBuf>,
}

impl GatewayArgs {
    /// The configuration: the defaults, the file, the environment, and these flags.
    pub(crate) fn settings(&self) -> Result<Settings, ConfigError> {
        let environment =
            std::env::vars_os().filter_map(|(key, value)| Some((key.into_string().ok()?, value.into_string().ok()?)));
        let mut settings = Settings::load(self.config.as_deref(), environment)?;
        for (key, value) in [("gateway", &self.gateway), ("gateway_account", &self.gateway_account)] {
            value.as_ref().map_or(Ok(()), |value| settings.set_flag(key, value))?;
        }
        self.gateway_contract.iter().try_for_each(|pair| settings.set_flag("gateway_contract", pair))?;
        Ok(settings)
    }
}

/// Why there is no gateway.
pub(crate) enum Missing {
    /// It is not configured so that it can be asked.
    Config(ConfigError),
    /// The sandbox's ledger, in the data folder, cannot be opened.
    Ledger(PathBuf, io::Error),
}

/// The gateway of these settings.
pub(crate) fn build(settings: &Settings) -> Result<Arc<dyn Gateway>, Missing> {
    match &settings.gateway {
        GatewayChoice::Sandbox => sandbox(settings),
        GatewayChoice::Http(url) => http(settings, url),
        GatewayChoice::Stripe(url) => stripe(settings, url),
    }
}

/// In this process, without faults, its ledger beside the data.
fn sandbox(settings: &Settings) -> Result<Arc<dyn Gateway>, Missing> {
    let ledger = |error| Missing::Ledger(settings.data.clone(), error);
    fs::create_dir_all(&settings.data).map_err(ledger)?;
    let sandbox = Sandbox::open(&settings.data, 0, Faults::none()).map_err(ledger)?;
    let gateway = SandboxGateway::new(sandbox);
    let contract = settings.contract(gateway.contract()).map_err(Missing::Config)?;
    Ok(Arc::new(gateway.with_contract(contract)))
}

fn http(settings: &Settings, url: &str) -> Result<Arc<dyn Gateway>, Missing> {
    let gateway = HttpGateway::new(url, settings.gateway_account.as_deref());
    let gateway = gateway.map_err(|error| Missing::Config(ConfigError::new(format!("the gateway's URL {error}"))))?;
    let contract = settings.contract(gateway.contract()).map_err(Missing::Config)?;
    let gateway = hearing(gateway.with_contract(contract))?;
    match std::env::var(CREDENTIAL) {
        Ok(credential) => {
            let refused = |error| Missing::Config(ConfigError::new(format!("{CREDENTIAL}: {error}")));
            Ok(Arc::new(gateway.with_bearer(&credential).map_err(refused)?))
        }
        Err(_) => Ok(Arc::new(gateway)),
    }
}

/// With the secret that its news is signed with, if there is one.
fn hearing(gateway: HttpGateway) -> Result<HttpGateway, Missing> {
    let Ok(secret) = std::env::var(WEBHOOK_SECRET) else { return Ok(gateway) };
    let refused = |why| Missing::Config(ConfigError::new(format!("{WEBHOOK_SECRET} {why}")));
    Ok(gateway.with_webhook_secret(Secret::parse(&secret).map_err(refused)?))
}

/// What the gateway's news is signed with (`whsec_..`), Stripe's too: as the credential, from the environment only.
const WEBHOOK_SECRET: &str = "PAYONCE_GATEWAY_WEBHOOK_SECRET";

fn stripe(settings: &Settings, url: &str) -> Result<Arc<dyn Gateway>, Missing> {
    let config = |why: String| Missing::Config(ConfigError::new(why));
    let gateway = StripeGateway::at(url, &stripe_key(settings).map_err(config)?);
    let gateway = match &settings.gateway_account {
        Some(account) => gateway.and_then(|gateway| gateway.with_account(account)),
        None => gateway,
    };
    let gateway = gateway.map_err(|invalid| config(invalid.to_string()))?;
    let contract = settings.contract(gateway.contract()).map_err(Missing::Config)?;
    let gateway = gateway.with_contract(contract).with_off_session(settings.stripe_off_session);
    let gateway = match std::env::var(WEBHOOK_SECRET) {
        Ok(secret) => gateway.with_webhook_secret(&secret),
        Err(_) => gateway,
    };
    Ok(match &settings.stripe_return_url {
        Some(url) => Arc::new(gateway.with_return_url(url)),
        None => Arc::new(gateway),
    })
}

/// Stripe's secret key: from the environment, or else from the file that is named. What is wrong with it is said
/// without it.
fn stripe_key(settings: &Settings) -> Result<String, String> {
    match (std::env::var(STRIPE_KEY), &settings.stripe_api_key_file) {
        (Ok(key), _) => Ok(key),
        (Err(_), Some(file)) => match fs::read_to_string(file) {
            Ok(key) => Ok(key.trim().to_owned()),
            Err(error) => Err(format!("stripe_api_key_file {}: cannot be read: {error}", file.display())),
        },
        (Err(_), None) => Err(format!("Stripe's secret key is missing: set {STRIPE_KEY}, or stripe_api_key_file")),
    }
}

/// As Stripe's own tools call it.
const STRIPE_KEY: &str = "STRIPE_API_KEY";

/// The gateway's credential: from the environment only, so that it is in no file of ours and in no process list.
pub(crate) const CREDENTIAL: &str = "PAYONCE_GATEWAY_CREDENTIAL";
