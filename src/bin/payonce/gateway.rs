//! From the configuration to a gateway.

use std::sync::Arc;

use payonce::{
    config::{ConfigError, GatewayChoice, Settings},
    gateway::Gateway,
    payment::Identity,
};

/// The gateway of these settings.
pub(crate) fn build(settings: &Settings) -> Result<Arc<dyn Gateway>, ConfigError> {
    let identity = match &settings.gateway {
        GatewayChoice::Sandbox => Identity { name: "sandbox".to_owned(), ..Identity::default() },
        GatewayChoice::Http(url) => settings.identity(url),
    };
    Ok(payonce::runtime::stand_in_gateway(settings.contract(identity)?))
}
