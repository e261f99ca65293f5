//! Questions over HTTP, over few connections: there may be one a payment.

use std::{io::Read, time::Duration};

use serde_json::Value;

/// How long one answer may take: a page is a few megabytes.
const PATIENCE: Duration = Duration::from_secs(30);

/// What asks.
pub(super) struct Wire {
    agent: ureq::Agent,
}

impl Wire {
    pub(super) fn new() -> Wire {
        let config = ureq::Agent::config_builder().http_status_as_error(false).max_redirects(0);
        Wire { agent: config.timeout_global(Some(PATIENCE)).build().into() }
    }

    /// What a GET answers, if 200.
    pub(super) fn get(&self, url: &str, credential: Option<&str>) -> Result<impl Read + use<>, String> {
        let mut request = self.agent.get(url);
        if let Some(credential) = credential {
            request = request.header("Authorization", format!("Bearer {credential}"));
        }
        let response = request.call().map_err(|error| format!("no answer from {url}: {error}"))?;
        match response.status().as_u16() {
            200 => Ok(response.into_body().into_reader()),
            status => Err(format!("{url} answered with HTTP {status}: is this the right address?")),
        }
    }

    /// The same, of JSON.
    pub(super) fn value(&self, url: &str) -> Result<Value, String> {
        let foreign = |error| format!("what {url} answers is no JSON: is this the right address? ({error})");
        serde_json::from_reader(self.get(url, None)?).map_err(foreign)
    }
}
