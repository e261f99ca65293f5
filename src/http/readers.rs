//! The readers of what strangers send, one by one, for tests that feed them anything. A refusal is the problem document
//! that would have been answered.

use std::time::Duration;

use axum::http::{HeaderMap, HeaderName, HeaderValue};

use super::{bodies, events, key, prefer::Preference, problems::Problem, query};
use crate::{
    payment::{IdempotencyKey, Order, Payment, Resolution},
    runtime::Lsn,
};

/// What a refused request would have been answered.
pub type Document = Vec<u8>;

/// The body of a new payment.
pub fn order(body: &[u8]) -> Result<Order, Document> {
    refused(bodies::order(body))
}

/// The body of a person's decision.
pub fn resolution(body: &[u8]) -> Result<Resolution, Document> {
    refused(bodies::resolution(body))
}

/// `Idempotency-Key`, given so many times. `None`: no HTTP header can hold these bytes.
pub fn idempotency_key(values: &[&[u8]]) -> Option<Result<IdempotencyKey, Document>> {
    Some(refused(key::read(&headers("idempotency-key", values)?)))
}

/// `Prefer`, given so many times: how long to wait, and what `Preference-Applied` says.
pub fn prefer(values: &[&[u8]]) -> Option<(Duration, Option<String>)> {
    let preference = Preference::read(&headers("prefer", values)?);
    let applied = preference.applied().map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned());
    Some((preference.wait(), applied))
}

/// `Last-Event-ID`, given so many times.
pub fn last_event_id(values: &[&[u8]]) -> Option<Result<Lsn, Document>> {
    Some(refused(events::last_event_id(&headers("last-event-id", values)?)))
}

/// A query with the names that a list takes.
pub fn list_query(query: &str) -> Result<[Option<String>; 4], Document> {
    refused(query::read(Some(query), ["state", "limit", "after", "idempotency_key"]))
}

/// What a POST answers, and a GET of the same payment.
pub fn told(payment: &Payment) -> (Vec<u8>, Vec<u8>) {
    (bodies::payment(payment), bodies::detailed(payment))
}

fn refused<T>(read: Result<T, Problem>) -> Result<T, Document> {
    read.map_err(|problem| problem.render())
}

fn headers(name: &'static str, values: &[&[u8]]) -> Option<HeaderMap> {
    let mut headers = HeaderMap::new();
    for value in values {
        headers.append(HeaderName::from_static(name), HeaderValue::from_bytes(value).ok()?);
    }
    Some(headers)
}
