//! One HTTP exchange, and what is to be had from its answer.

use std::time::Duration;

use serde_json::Value;
use ureq::{
    Agent,
    http::{Method, Request},
};

/// Longer than any answer takes on purpose. Who gives up repeats with the same key.
const PATIENCE: Duration = Duration::from_secs(15);

/// A client with a few open connections of its own.
pub(super) struct Wire(Agent);

/// What was answered.
#[derive(Clone, Debug)]
pub(super) struct Reply {
    pub(super) status: u16,
    pub(super) replayed: bool,
    pub(super) body: String,
}

impl Reply {
    /// A text of the body, by its path; empty if it is not there.
    pub(super) fn text(&self, pointer: &str) -> String {
        text(&self.value(), pointer)
    }

    /// The body; `null` if it is no JSON.
    pub(super) fn value(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_default()
    }
}

/// A text in a JSON value; empty if it is not there.
pub(super) fn text(value: &Value, pointer: &str) -> String {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned()
}

impl Wire {
    pub(super) fn new() -> Wire {
        let config =
            Agent::config_builder().http_status_as_error(false).max_redirects(0).timeout_global(Some(PATIENCE));
        Wire(config.build().into())
    }

    /// Asks once.
    pub(super) fn get(&self, url: &str) -> Result<Reply, String> {
        self.exchange(Method::GET, url, &[], String::new())
    }

    /// Sends once. An error says nothing about what became of it.
    pub(super) fn send(
        &self,
        method: Method,
        url: &str,
        headers: &[(&str, &str)],
        body: String,
    ) -> Result<Reply, String> {
        let headers = [headers, &[("Content-Type", "application/json")]].concat();
        self.exchange(method, url, &headers, body)
    }

    fn exchange(&self, method: Method, url: &str, headers: &[(&str, &str)], body: String) -> Result<Reply, String> {
        let mut request = Request::builder().method(method).uri(url);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(body).map_err(|error| error.to_string())?;
        let mut response = self.0.run(request).map_err(|error| error.to_string())?;
        let replayed = response.headers().contains_key("idempotent-replayed");
        let body = response.body_mut().with_config().limit(64 << 20).read_to_string();
        Ok(Reply { status: response.status().as_u16(), replayed, body: body.map_err(|error| error.to_string())? })
    }
}
