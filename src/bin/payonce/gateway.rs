//! From the configuration to a gateway.

use std::{io, path::PathBuf, sync::Arc};

use payonce::{
    config::{ConfigError, GatewayChoice, Settings},
    gateway::{
        Gateway,
        http::HttpGateway,
        sandbox::{Faults, Sandbox, SandboxGateway},
    },
};

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
    }
}

/// In this process, without faults, its ledger beside the data.
fn sandbox(settings: &Settings) -> Result<Arc<dyn Gateway>, Missing> {
    let ledger = |error| Missing::Ledger(settings.data.clone(), error);
    std::fs::create_dir_all(&settings.data).map_err(ledger)?;
    let sandbox = Sandbox::open(&settings.data, 0, Faults::none()).map_err(ledger)?;
    let gateway = SandboxGateway::new(sandbox);
    let contract = settings.contract(gateway.contract()).map_err(Missing::Config)?;
    Ok(Arc::new(gateway.with_contract(contract)))
}

fn http(settings: &Settings, url: &str) -> Result<Arc<dyn Gateway>, Missing> {
    let gateway = HttpGateway::new(url, settings.gateway_account.as_deref());
    let gateway = gateway.map_err(|error| Missing::Config(ConfigError::new(format!("the gateway's URL {error}"))))?;
    let contract = settings.contract(gateway.contract()).map_err(Missing::Config)?;
    let gateway = gateway.with_contract(contract);
    match std::env::var(CREDENTIAL) {
        Ok(credential) => {
            let refused = |error| Missing::Config(ConfigError::new(format!("{CREDENTIAL}: {error}")));
            Ok(Arc::new(gateway.with_bearer(&credential).map_err(refused)?))
        }
        Err(_) => Ok(Arc::new(gateway)),
    }
}

/// The gateway's credential: from the environment only, so that it is in no file of ours and in no process list.
const CREDENTIAL: &str = "PAYONCE_GATEWAY_CREDENTIAL";
