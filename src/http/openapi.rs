//! `GET /openapi.json`: what this API is, as an OpenAPI 3.1 document. The schemas of answers come from the very structs
//! that are rendered, the limits of what is taken from the constants that are checked.

mod components;
mod paths;
mod route;

use std::sync::LazyLock;

use axum::response::Response;
use serde_json::{Value, json};

use super::routes::json as answer;

/// What anybody should know before the first request.
const ABOUT: &str = "Makes one payment happen once.\n\n\
    The one thing to get right: make the key first, keep it with your order, and repeat with it until there is an \
    answer. The same key is the same payment, however often it is sent; a key is never spent by a request that was \
    refused as invalid.\n\n\
    Every refusal is a problem document (RFC 9457) with a stable `code`. A 5xx never means that a payment failed: \
    repeat with the same key. Amounts are whole numbers of minor units. Every GET answers a HEAD as well.";

/// The document, without API keys. It is the same for as long as the program runs.
static OPEN: LazyLock<Vec<u8>> = LazyLock::new(|| document(false).to_string().into_bytes());

pub(super) async fn document_of_this() -> Response {
    answer(OPEN.clone())
}

/// `keys`: whether callers have to show an API key.
fn document(keys: bool) -> Value {
    let components = json!({ "schemas": components::schemas() });
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "payonce",
            "version": env!("CARGO_PKG_VERSION"),
            "description": ABOUT,
            "license": { "name": "MIT OR Apache-2.0", "identifier": "MIT OR Apache-2.0" },
        },
        "servers": [{ "url": "/" }],
        "tags": tags(),
        "paths": paths::all(keys),
        "webhooks": { "event": { "post": paths::letter() } },
        "components": if keys { route::with(components, "securitySchemes", schemes()) } else { components },
    })
}

fn schemes() -> Value {
    json!({ "key": {
        "type": "http", "scheme": "bearer", "description": "An API key, as `payonce keys` made it.",
    }})
}

fn tags() -> Value {
    json!([
        { "name": "payments", "description": "Make payments, and learn what became of them." },
        { "name": "operations", "description": "Capture, void and refund what was paid." },
        { "name": "people", "description": "What only a person can decide, and what helps to." },
        { "name": "events", "description": "What happens, as it happens: a feed, and webhooks." },
        { "name": "health", "description": "How the daemon is." },
        { "name": "pages", "description": "The dashboard, these pages, and their files." },
    ])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn with_api_keys_every_call_says_so_and_without_them_none_does() {
        let (open, closed) = (document(false), document(true));
        assert!(!open.to_string().contains("forbidden"), "nobody needs a key");
        let pay = &closed["paths"]["/v1/payments"]["post"];
        assert_eq!(pay["security"], json!([{ "key": [] }]));
        for status in ["401", "403", "429"] {
            assert!(pay["responses"][status].is_object(), "{status}");
        }
        assert!(closed["paths"]["/healthz"]["get"]["security"].is_null(), "anybody may ask how it is");
        let webhook = &closed["paths"]["/v1/webhooks/{gateway}"]["post"];
        assert!(webhook["security"].is_null(), "a gateway signs instead");
        assert_eq!(closed["components"]["securitySchemes"]["key"]["scheme"], "bearer");
    }
}
