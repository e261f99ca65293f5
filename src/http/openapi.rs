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

/// The document. It is the same for as long as the program runs: keys come and go meanwhile.
static DOCUMENT: LazyLock<Vec<u8>> = LazyLock::new(|| document().to_string().into_bytes());

pub(super) async fn document_of_this() -> Response {
    answer(DOCUMENT.clone())
}

fn document() -> Value {
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
        "paths": paths::all(),
        "webhooks": { "event": { "post": paths::letter() } },
        "components": { "schemas": components::schemas(), "securitySchemes": schemes() },
    })
}

fn schemes() -> Value {
    json!({ "key": {
        "type": "http", "scheme": "bearer", "description": "An API key, as `payonce keys add` made it. A daemon without keys takes none.",
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
    fn whatever_takes_an_api_key_says_so() {
        let document = document();
        let pay = &document["paths"]["/v1/payments"]["post"];
        assert_eq!(pay["security"], json!([{ "key": [] }, {}]));
        for status in ["401", "403", "429"] {
            assert!(pay["responses"][status].is_object(), "{status}");
        }
        assert!(document["paths"]["/healthz"]["get"]["security"].is_null(), "anybody may ask how it is");
        let webhook = &document["paths"]["/v1/webhooks/{gateway}"]["post"];
        assert!(webhook["security"].is_null(), "a gateway signs instead");
        assert_eq!(document["components"]["securitySchemes"]["key"]["scheme"], "bearer");
    }
}
