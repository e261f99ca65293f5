//! Every route, and what is to be known of it.

use serde_json::{Value, json};

use super::{
    super::{
        prefer::{DEFAULT_WAIT, MAX_WAIT},
        problems::Code,
        routes::{DEFAULT_LIMIT, MAX_LIMIT},
    },
    route::{Route, of},
};
use crate::payment::State;

/// The same characters with and without quotes are the same key.
const KEY: &str = r#"^([!#-+\--:<-~]{1,255}|"([!#-\[\]-~]|\\["\\]){1,255}")$"#;

/// What a settled POST is answered under.
const SETTLED: &[&str] = &["Location", "Preference-Applied", "Idempotent-Replayed"];
/// What one that is not settled yet is answered under.
const UNSETTLED: &[&str] = &["Location", "Retry-After", "Preference-Applied"];

/// By path and method.
pub(super) fn all() -> Value {
    let of = |routes: Vec<(&str, Route)>| -> Value {
        routes.into_iter().map(|(method, route)| (method.to_owned(), route.into_json())).collect()
    };
    let get = |route| of(vec![("get", route)]);
    let post = |route| of(vec![("post", route)]);
    json!({
        "/v1/payments": of(vec![("post", pay()), ("get", list())]),
        "/v1/payments/{id}": get(show()),
        "/v1/payments/{id}/capture": post(operation("capture", "Capture what a payment has authorized, or a part of it", true)),
        "/v1/payments/{id}/void": post(operation("void", "Let go of what a payment has authorized, or cancel what was not sent", false)),
        "/v1/payments/{id}/refunds": post(operation("refund", "Move back what a payment has captured, or a part of it", true)),
        "/v1/payments/{id}/inquire": post(inquire()),
        "/v1/payments/{id}/resolve": post(resolve()),
        "/v1/payments/{id}/outlook": get(outlook()),
        "/v1/key": get(who()),
        "/v1/events": get(events()),
        "/v1/webhooks/{gateway}": post(webhook()),
        "/v1/webhooks/out": get(deliveries()),
        "/v1/webhooks/out/{endpoint}/replay": post(redeliver("replayDeliveries", "Try one event again, or all", "EventId")),
        "/v1/webhooks/out/{endpoint}/discard": post(redeliver("discardDelivery", "Forget one dead event", "OneEventId")),
        "/v1/gateways/{gateway}/pause": post(pause("pauseGateway", "Have nothing more sent to a gateway")),
        "/v1/gateways/{gateway}/resume": post(pause("resumeGateway", "Have a gateway sent to again")),
        "/v1/drain": of(vec![("post", drain()), ("delete", admit())]),
        "/v1/audit": get(audit()),
        "/v1/stats": get(stats()),
        "/metrics": get(metrics()),
        "/healthz": get(healthy()),
        "/readyz": get(ready()),
        "/openapi.json": get(document()),
        "/docs": get(page("docs", "This document, for people")),
        "/": get(page("dashboard", "The dashboard")),
        "/assets/{file}": get(asset()),
    })
}

fn pay() -> Route {
    let about = "It waits for the outcome for a while, and answers at once when there is one. The same key again joins or \
                 replays the one payment: the same answer, byte for byte.";
    Route::new("pay", "payments", "Make a payment, or join or replay the one of that key", about)
        .takes(key("The payment's name. The same key never pays twice."))
        .takes(prefer())
        .takes(json!({
            "name": "Payonce-Duplicate", "in": "header", "schema": { "type": "string", "enum": ["meant"] },
            "description": "Pay although it looks like another payment of a moment ago.",
        }))
        .body("Order", true)
        .answers(201, "It is settled: see `state`.", "Payment", SETTLED)
        .answers(202, "It is not settled yet: ask again, or repeat.", "Payment", UNSETTLED)
        .refuses(&[Code::KeyRequired, Code::PossibleDuplicate, Code::Conflict])
        .asks_the_engine()
        .refuses(&[Code::StorageFull, Code::Moved, Code::Draining])
}

fn list() -> Route {
    let states = State::ALL.map(State::as_str);
    Route::new(
        "listPayments",
        "payments",
        "List payments",
        "Every parameter may be given once; unknown ones are refused.",
    )
    .takes(query("state", json!({ "type": "string", "enum": states }), "Only those that are in this state."))
    .takes(most())
    .takes(query("after", json!({ "type": "string", "format": "uuid" }), "The `next` of the page before."))
    .takes(query(
        "idempotency_key",
        json!({ "type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[!-~]+$" }),
        "Only the payment of this key; without quotes around it.",
    ))
    .takes(query("attention", json!({ "type": "boolean", "default": false }), "Only those that people should see."))
    .answers(200, "Some payments, as of now.", "Page", &[])
    .asks_the_engine()
    .refuses(&[Code::StorageFull])
}

fn show() -> Route {
    about_one(Route::new("showPayment", "payments", "One payment, with all that happened to it", "")).answers(
        200,
        "The payment, as of now.",
        "PaymentDetails",
        &[],
    )
}

fn operation(id: &str, summary: &str, is_part: bool) -> Route {
    let about = "It has a key of its own, which names it among the payment's operations: the same key again joins or \
                 replays it.";
    about_one(Route::new(id, "operations", summary, about))
        .takes(key("The operation's name. The same key never does it twice."))
        .takes(prefer())
        .body(if is_part { "Part" } else { "Nothing" }, false)
        .answers(201, "It is settled: see `state`.", "OperationAnswer", SETTLED)
        .answers(202, "It is not settled yet: ask again, or repeat.", "OperationAnswer", UNSETTLED)
        .refuses(&[Code::KeyRequired, Code::InvalidState, Code::AmountTooLarge, Code::Conflict])
        .refuses(&[Code::Moved, Code::Draining])
}

fn inquire() -> Route {
    about_one(Route::new("inquire", "people", "Ask the gateway now what became of a payment", ""))
        .body("PersonIfAny", false)
        .answers(200, "The payment, as of now; the answer may come later.", "PaymentDetails", &[])
        .refuses(&[Code::InvalidState, Code::StorageFull])
}

fn resolve() -> Route {
    about_one(Route::new("resolve", "people", "Decide about a payment that only a person can decide about", ""))
        .body("Resolution", true)
        .answers(200, "The payment, as of now.", "PaymentDetails", &[])
        .refuses(&[Code::InvalidState])
}

fn outlook() -> Route {
    about_one(Route::new("outlook", "people", "What is scheduled next for a payment", "")).answers(
        200,
        "What is next, and all that led to it.",
        "Outlook",
        &[],
    )
}

fn who() -> Route {
    Route::new("key", "people", "What the asking API key is", "").answers(200, "Its name, and what it may.", "Key", &[])
}

fn events() -> Route {
    let about = "Server-sent events. Each has an `id` (its place in the journal), an `event` (what happened) and `data`, one \
                 line of JSON: an Event. It never ends by itself; a comment comes every 15 s while nothing happens. To go \
                 on where a reader left off, send the last `id` as Last-Event-ID.";
    let content = json!({ "text/event-stream": { "schema": { "type": "string" }, "x-event-data": of("Event") } });
    Route::new("events", "events", "What happens, as it happens", about)
        .takes(json!({
            "name": "Last-Event-ID", "in": "header", "schema": { "type": "integer", "minimum": 0, "maximum": u64::MAX },
            "description": "After which event to begin; without it, at the first.",
        }))
        .answers_as(200, "The feed.", content, &[])
        .asks_the_engine()
}

fn webhook() -> Route {
    let about = "For gateways. It is acknowledged once it is durable. It is a hint, not evidence: the gateway is asked. What \
                 it must be signed with, and how, depends on the gateway.";
    Route::new("receiveNews", "events", "News from a gateway", about)
        .for_anybody()
        .takes(path("gateway", json!({ "type": "string" }), "The gateway's name in the configuration."))
        .content(json!({ "required": true, "content": { "application/json": { "schema": {} } } }))
        .answers_as(204, "It is recorded.", Value::Null, &[])
        .refuses(&[Code::Unauthorized, Code::NotFound])
        .asks_the_engine()
        .refuses(&[Code::StorageFull])
}

fn deliveries() -> Route {
    Route::new("listDeliveries", "events", "How it stands with every receiver of webhooks", "")
        .answers(200, "Every receiver.", "Deliveries", &[])
        .asks_the_engine()
}

fn redeliver(id: &str, summary: &str, body: &str) -> Route {
    Route::new(id, "events", summary, "")
        .takes(path("endpoint", json!({ "type": "string" }), "The webhook's name in the configuration."))
        .body(body, true)
        .answers(200, "How many events it was about.", "Count", &[])
        .refuses(&[Code::NotFound, Code::StorageFull])
        .asks_the_engine()
}

fn pause(id: &str, summary: &str) -> Route {
    let about = "While a gateway is paused nothing is sent to it that was not sent before; what became of that is still asked. \
                 New payments go to another gateway that is for them, or are refused. It lasts until it is ended, over \
                 restarts too.";
    Route::new(id, "people", summary, about)
        .takes(path("gateway", json!({ "type": "string" }), "The gateway's name in the configuration."))
        .body("Person", true)
        .answers(200, "It is recorded, and in force.", "GatewayPause", &[])
        .refuses(&[Code::NotFound, Code::StorageFull])
        .asks_the_engine()
}

fn drain() -> Route {
    let about = "What is under way goes on to its end, and keys that are known are answered. It lasts until it is ended, or \
                 until the daemon is started again.";
    Route::new("drain", "people", "Have nothing new taken", about)
        .body("Person", true)
        .answers(200, "It is recorded, and in force.", "Drain", &[])
        .refuses(&[Code::StorageFull])
        .asks_the_engine()
}

fn admit() -> Route {
    Route::new("admit", "people", "Take what is new again", "")
        .body("PersonIfAny", false)
        .answers(200, "It is recorded, and in force.", "Drain", &[])
        .refuses(&[Code::StorageFull])
        .asks_the_engine()
}

fn audit() -> Route {
    let about = "What was decided about a payment is in that payment's own timeline.";
    Route::new("listDeeds", "people", "What operators did, newest first", about)
        .takes(most())
        .takes(query(
            "before",
            json!({ "type": "integer", "minimum": 0, "maximum": u64::MAX }),
            "The `next` of the page before.",
        ))
        .answers(200, "Some of it.", "Audits", &[])
        .asks_the_engine()
}

fn stats() -> Route {
    Route::new("stats", "health", "How the engine stands", "Made for people to look at: members may be added.")
        .answers(200, "Its numbers.", "Stats", &[])
        .asks_the_engine()
}

fn metrics() -> Route {
    Route::new("metrics", "health", "The engine's numbers, for Prometheus", "")
        .answers_as(
            200,
            "The Prometheus text format.",
            json!({ "text/plain": { "schema": { "type": "string" } } }),
            &[],
        )
        .asks_the_engine()
}

fn healthy() -> Route {
    Route::new("healthz", "health", "Whether the process is alive", "").for_anybody().answers(
        200,
        "It is.",
        "Standing",
        &[],
    )
}

fn ready() -> Route {
    let about = "Ready: what the last stop left behind is recovered. A gateway that is down does not change it.";
    Route::new("readyz", "health", "Whether payments are taken", about)
        .for_anybody()
        .answers(200, "They are.", "Standing", &[])
        .refuses(&[Code::Overloaded, Code::Draining])
}

fn document() -> Route {
    let content = json!({ "application/json": { "schema": { "type": "object" } } });
    Route::new("openapi", "pages", "This document", "").for_anybody().answers_as(200, "OpenAPI 3.1.", content, &[])
}

fn page(id: &str, summary: &str) -> Route {
    let content = json!({ "text/html": { "schema": { "type": "string" } } });
    Route::new(id, "pages", summary, "").for_anybody().answers_as(200, "A page.", content, &[])
}

fn asset() -> Route {
    let text = json!({ "schema": { "type": "string" } });
    let content = json!({ "text/css": text, "text/javascript": text, "image/svg+xml": text });
    Route::new("asset", "pages", "The pages' own files", "")
        .for_anybody()
        .takes(path("file", json!({ "type": "string" }), "Its name."))
        .answers_as(200, "The file.", content, &[])
        .refuses(&[Code::NotFound])
}

/// What receivers are told: the other way round, from here to them.
pub(super) fn letter() -> Value {
    let signed = |name: &str, what: &str| {
        json!({
            "name": name, "in": "header", "required": true, "schema": { "type": "string" }, "description": what,
        })
    };
    json!({
        "operationId": "hear", "tags": ["events"],
        "summary": "What each [[webhooks]] of the configuration is told, in the format of Standard Webhooks",
        "description": "At least once, and in order per payment. GET the payment for the rest.",
        "parameters": [
            signed("webhook-id", "The same for the same event, however often it comes: go by it."),
            signed("webhook-timestamp", "When it was sent, in seconds since 1970."),
            signed("webhook-signature", "`v1,` and the base64 of HMAC-SHA256 over id, timestamp and body, with points between."),
        ],
        "requestBody": { "required": true, "content": { "application/json": { "schema": of("Letter") } } },
        "responses": {
            "2XX": { "description": "Within 15 s: it is delivered. Anything else, and it comes again." },
            "410": { "description": "Never send this again." },
        },
    })
}

/// What is asked about one payment.
fn about_one(route: Route) -> Route {
    route
        .takes(path("id", json!({ "type": "string", "format": "uuid" }), "The payment's id."))
        .refuses(&[Code::NotFound])
        .asks_the_engine()
        .refuses(&[Code::StorageFull])
}

/// How long a page may be.
fn most() -> Value {
    let limit = json!({ "type": "integer", "minimum": 1, "maximum": MAX_LIMIT, "default": DEFAULT_LIMIT });
    query("limit", limit, "How many, at the most.")
}

fn query(name: &str, schema: Value, what: &str) -> Value {
    json!({ "name": name, "in": "query", "schema": schema, "description": what })
}

fn path(name: &str, schema: Value, what: &str) -> Value {
    json!({ "name": name, "in": "path", "required": true, "schema": schema, "description": what })
}

fn key(what: &str) -> Value {
    json!({
        "name": "Idempotency-Key", "in": "header", "required": true,
        "schema": { "type": "string", "minLength": 1, "pattern": KEY }, "example": "\"order-1234\"",
        "description": format!(
            "{what} 1 to 255 visible ASCII characters, as a structured-field string (RFC 8941); a key without commas, \
             semicolons and quotes may stand without quotes, and is the same key."
        ),
    })
}

fn prefer() -> Value {
    json!({
        "name": "Prefer", "in": "header", "schema": { "type": "string" }, "example": "wait=30",
        "description": format!(
            "How long to wait for the outcome (RFC 7240): `wait=N` seconds, up to {}; `respond-async`: not at all. Without \
             it, {} s. What is not understood is ignored.",
            MAX_WAIT.as_secs(),
            DEFAULT_WAIT.as_secs()
        ),
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use axum::http::{HeaderMap, HeaderValue};

    use super::*;
    use crate::http::key;

    /// The characters of a class such as `!#-+\--:`.
    fn expanded(class: &str) -> BTreeSet<char> {
        let mut plain = class.chars().peekable();
        let mut next = move || match plain.next() {
            Some('\\') => plain.next().map(|character| (character, plain.peek() == Some(&'-'))),
            character => character.map(|character| (character, plain.peek() == Some(&'-'))),
        };
        let mut all = BTreeSet::new();
        while let Some((first, is_range)) = next() {
            let last = if is_range { next().and_then(|_| next()).expect("an end").0 } else { first };
            all.extend(first..=last);
        }
        all
    }

    #[test]
    fn a_bare_key_is_taken_exactly_if_the_document_says_so() {
        let class = KEY.strip_prefix("^([").and_then(|rest| rest.split_once("]{1,255}|")).expect("a bare key").0;
        let documented = expanded(class);
        for character in ' '..='~' {
            let mut headers = HeaderMap::new();
            headers.insert("idempotency-key", HeaderValue::from_str(&character.to_string()).expect("legal"));
            let taken = key::read(&headers).is_ok();
            assert_eq!(taken, documented.contains(&character), "{character:?}");
        }
    }
}
