//! From the configuration to a gateway.

use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use payonce::{
    GatewayRoute,
    config::{ConfigError, GatewayChoice, GatewaySettings, Settings},
    disk::make_folder,
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

    /// The configuration file that was named.
    pub(crate) fn config(&self) -> Option<&Path> {
        self.config.as_deref()
    }

    /// The keys that were given as flags.
    pub(crate) fn flags(&self) -> impl Iterator<Item = &'static str> {
        let given = [
            ("gateway", self.gateway.is_some()),
            ("gateway_account", self.gateway_account.is_some()),
            ("gateway_contract", !self.gateway_contract.is_empty()),
        ];
        given.into_iter().filter_map(|(key, given)| given.then_some(key))
    }
}

/// Why there is no gateway.
pub(crate) enum Missing {
    /// It is not configured so that it can be asked.
    Config(ConfigError),
    /// The sandbox's ledger, in the data folder, cannot be opened.
    Ledger(PathBuf, io::Error),
}

/// The gateways of these settings, the one that is preferred first.
pub(crate) fn build_all(settings: &Settings) -> Result<Vec<GatewayRoute>, Missing> {
    let built = |one: &GatewaySettings| {
        let gateway = build_one(settings, one)?;
        Ok(GatewayRoute {
            currencies: one.currencies.clone(),
            slots: one.slots,
            ..GatewayRoute::new(&one.name, gateway)
        })
    };
    settings.gateways().iter().map(built).collect()
}

/// The gateway that is preferred.
pub(crate) fn build(settings: &Settings) -> Result<Arc<dyn Gateway>, Missing> {
    let none = || Missing::Config(ConfigError::new("no gateway is configured".to_owned()));
    build_one(settings, settings.gateways().first().ok_or_else(none)?)
}

pub(crate) fn build_one(settings: &Settings, one: &GatewaySettings) -> Result<Arc<dyn Gateway>, Missing> {
    match &one.choice {
        GatewayChoice::Sandbox => sandbox(&settings.data, one),
        GatewayChoice::Http(url) => http(url, one),
        GatewayChoice::Stripe(url) => stripe(url, one),
    }
}

/// In this process, without faults, its ledger beside the data.
fn sandbox(data: &Path, one: &GatewaySettings) -> Result<Arc<dyn Gateway>, Missing> {
    let ledger = |error| Missing::Ledger(data.to_owned(), error);
    make_folder(data).map_err(ledger)?;
    let sandbox = Sandbox::open(data, 0, Faults::none()).map_err(ledger)?;
    let gateway = SandboxGateway::new(sandbox);
    let contract = one.contract(gateway.contract()).map_err(Missing::Config)?;
    Ok(Arc::new(gateway.with_contract(contract)))
}

fn http(url: &str, one: &GatewaySettings) -> Result<Arc<dyn Gateway>, Missing> {
    let about = |why: String| Missing::Config(ConfigError::new(format!("gateway {}: {why}", one.name)));
    let gateway = HttpGateway::new(url, one.account.as_deref()).map_err(|error| about(error.to_string()))?;
    let contract = one.contract(gateway.contract()).map_err(Missing::Config)?;
    let gateway = gateway.with_contract(contract);
    let gateway = match one.webhook_secret.read().map_err(Missing::Config)? {
        Some(secret) => {
            let secret = Secret::parse(&secret).map_err(|why| about(format!("its webhook secret {why}")))?;
            gateway.with_webhook_secret(secret)
        }
        None => gateway,
    };
    Ok(match one.credential.read().map_err(Missing::Config)? {
        Some(credential) => {
            Arc::new(gateway.with_bearer(&credential).map_err(|error| about(format!("its credential: {error}")))?)
        }
        None => Arc::new(gateway),
    })
}

fn stripe(url: &str, one: &GatewaySettings) -> Result<Arc<dyn Gateway>, Missing> {
    let config = |why: String| Missing::Config(ConfigError::new(why));
    let key = one.credential.read().map_err(Missing::Config)?;
    let key = key.ok_or_else(|| config(format!("gateway {}: Stripe's secret key is missing", one.name)))?;
    let gateway = StripeGateway::at(url, &key);
    let gateway = match &one.account {
        Some(account) => gateway.and_then(|gateway| gateway.with_account(account)),
        None => gateway,
    };
    let gateway = gateway.map_err(|invalid| config(invalid.to_string()))?;
    let contract = one.contract(gateway.contract()).map_err(Missing::Config)?;
    let gateway = gateway.with_contract(contract).with_off_session(one.off_session);
    let gateway = match one.webhook_secret.read().map_err(Missing::Config)? {
        Some(secret) => gateway.with_webhook_secret(&secret),
        None => gateway,
    };
    Ok(match &one.return_url {
        Some(url) => Arc::new(gateway.with_return_url(url)),
        None => Arc::new(gateway),
    })
}
