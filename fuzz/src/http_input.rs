//! What strangers send to the HTTP API: bodies, headers, queries.
//!
//! Asserts: nothing panics. An accepted body says exactly what a second JSON reader finds in it, and written again it
//! is read as the equal order, or decision. A key has one quoted and at most one bare spelling. An accepted query,
//! written again, is read the same. A wait is at most a minute, and what is said to be applied is what is done. A refusal
//! is a problem document with the status 400.

use payonce::{
    Order, Timestamp,
    http::readers,
    payment::{Capture, Resolution, Verdict},
};
use serde_json::{Map, Value, json};

use super::choices::Choices;

/// One reader, chosen by the first byte.
pub fn http_input(bytes: &[u8]) {
    let mut c = Choices(bytes);
    match c.below(6) {
        0 => order(c.0),
        1 => resolution(c.0),
        2 => key(c.0),
        3 => prefer(c.0),
        4 => query(c.0),
        _ => last_event_id(c.0),
    }
}

/// A header's values stand on lines of their own.
fn lines(bytes: &[u8]) -> Vec<&[u8]> {
    bytes.split(|byte| *byte == b'\n').collect()
}

fn refusal(document: &[u8]) {
    let document: Value = serde_json::from_slice(document).expect("a refusal is JSON");
    assert_eq!(document["status"], 400, "{document}");
    assert!(["invalid_request", "idempotency_key_required"].contains(&document["code"].as_str().expect("a code")));
}

fn order(body: &[u8]) {
    let order = match readers::order(body) {
        Ok(order) => order,
        Err(document) => return refusal(&document),
    };
    let said: Map<String, Value> = serde_json::from_slice(body).expect("what is accepted is a JSON object");
    let said = |name: &str| said.get(name).filter(|value| !value.is_null()).cloned();
    assert_eq!(said("amount"), Some(json!(order.amount.minor_units())));
    assert_eq!(said("currency"), Some(json!(order.currency.as_str())));
    assert_eq!(said("source"), Some(json!(order.source)));
    assert_eq!(said("destination"), Some(json!(order.destination)));
    assert_eq!(said("capture").unwrap_or(json!("automatic")), json!(order.capture.as_str()));
    assert_eq!(said("description"), order.description.as_ref().map(|text| json!(text)));
    assert_eq!(said("metadata").unwrap_or(json!({})), json!(order.metadata));
    assert_eq!(said("expires_at").is_some(), order.expires_at.is_some());
    assert_eq!(said("gateway"), order.gateway.as_ref().map(|name| json!(name)));
    assert_eq!(readers::order(&written(&order)), Ok(order));
}

fn written(order: &Order) -> Vec<u8> {
    let mut body = json!({
        "amount": order.amount.minor_units(),
        "currency": order.currency.as_str(),
        "source": order.source,
        "destination": order.destination,
        "capture": if order.capture == Capture::Manual { "manual" } else { "automatic" },
        "metadata": order.metadata,
        "description": order.description,
        "gateway": order.gateway,
    });
    body["expires_at"] = order.expires_at.map_or(Value::Null, |at| json!(rfc_3339(at)));
    serde_json::to_vec(&body).expect("JSON")
}

/// In UTC, to the millisecond; the days are counted as in Howard Hinnant's `civil_from_days`.
fn rfc_3339(at: Timestamp) -> String {
    let (days, millis) = (at.as_millis() / 86_400_000 + 719_468, at.as_millis() % 86_400_000);
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    let (hour, minute, second) = (millis / 3_600_000, millis / 60_000 % 60, millis / 1000 % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{:03}Z", millis % 1000)
}

fn resolution(body: &[u8]) {
    let resolution = match readers::resolution(body) {
        Ok(resolution) => resolution,
        Err(document) => return refusal(&document),
    };
    let Resolution { operation, verdict, reply, person } = &resolution;
    assert!(!person.actor.trim().is_empty() && !person.reason.trim().is_empty());
    let verdict = match verdict {
        Verdict::Succeeded => "succeeded",
        Verdict::Declined => "declined",
        Verdict::Resend => "resend",
        Verdict::Cancel => "canceled",
    };
    let mut again = json!({"actor": person.actor, "reason": person.reason, "as": verdict});
    if let Some(number) = operation {
        again["operation"] = json!(number);
    }
    if let Some(reply) = reply {
        again["gateway_reference"] = json!(reply.reference());
    }
    assert_eq!(readers::resolution(again.to_string().as_bytes()), Ok(resolution));
}

fn key(bytes: &[u8]) {
    let values = lines(bytes);
    let key = match readers::idempotency_key(&values) {
        None => return,
        Some(Err(document)) => return refusal(&document),
        Some(Ok(key)) => key,
    };
    let [value] = values.as_slice() else { panic!("a header given {} times was accepted", values.len()) };
    let quoted = format!("\"{}\"", key.as_str().replace('\\', "\\\\").replace('"', "\\\""));
    let expected = if value.starts_with(b"\"") { quoted.as_bytes() } else { key.as_str().as_bytes() };
    assert_eq!(*value, expected, "another spelling of the same key");
    assert_eq!(readers::idempotency_key(&[quoted.as_bytes()]), Some(Ok(key)));
}

fn prefer(bytes: &[u8]) {
    let Some((wait, applied)) = readers::prefer(&lines(bytes)) else { return };
    assert!(wait.as_secs() <= 60 && wait.subsec_nanos() == 0);
    let said: Vec<&[u8]> = applied.iter().map(String::as_bytes).collect();
    assert_eq!(readers::prefer(&said), Some((wait, applied.clone())), "what is said is not what is done");
}

fn query(bytes: &[u8]) {
    let Ok(query) = str::from_utf8(bytes) else { return };
    let values = match readers::list_query(query) {
        Ok(values) => values,
        Err(document) => return refusal(&document),
    };
    let names = ["state", "limit", "after", "idempotency_key"];
    let given = names.iter().zip(&values).filter_map(|(name, value)| Some((name, value.as_ref()?)));
    let encoded = |text: &str| text.bytes().map(|byte| format!("%{byte:02x}")).collect::<String>();
    let again: Vec<String> = given.map(|(name, value)| format!("{}={}", encoded(name), encoded(value))).collect();
    assert_eq!(readers::list_query(&again.join("&")), Ok(values));
}

fn last_event_id(bytes: &[u8]) {
    let values = lines(bytes);
    match readers::last_event_id(&values) {
        None => {}
        Some(Err(document)) => refusal(&document),
        Some(Ok(lsn)) => {
            let [value] = values.as_slice() else { panic!("a header given {} times was accepted", values.len()) };
            let text = str::from_utf8(value).expect("digits");
            assert_eq!(text.trim_start_matches('0'), lsn.get().to_string().trim_start_matches('0'));
        }
    }
}
