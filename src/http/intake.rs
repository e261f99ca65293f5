//! What is checked of a request before it means anything: its form and its size. And what every answer says to caches and
//! browsers.

use std::{future::Future, time::Duration};

use axum::{
    BoxError,
    body::{Body, Bytes, HttpBody},
    extract::{MatchedPath, Request},
    http::{HeaderMap, HeaderValue, StatusCode, Version, header},
    middleware::Next,
    response::{IntoResponse, Response},
};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use tracing::Instrument;

use super::{
    problems::{Code, Problem},
    trace,
};

/// The largest body, in bytes: the largest order takes about 32 KiB, unless every character is escaped.
pub(super) const MAX_BODY: usize = 64 * 1024;
/// The longest request target, in bytes. The longest that means anything has a key of 255 characters in it.
const MAX_TARGET: usize = 8 * 1024;
/// The most header bytes: a cookie jar and a few tokens fit.
const MAX_HEADERS: usize = 32 * 1024;
/// What hyper may buffer of a head. Above our own limits, so that up to here the refusal is ours.
pub(super) const MAX_BUFFER: usize = 128 * 1024;
const _: () = assert!(MAX_TARGET + MAX_HEADERS < MAX_BUFFER && MAX_BODY < MAX_BUFFER);

/// Refuses requests whose head is malformed, ambiguous or too large.
pub(super) async fn gate(request: Request, next: Next) -> Response {
    let route = request.extensions().get::<MatchedPath>().cloned();
    answer(request, route.as_ref().map(MatchedPath::as_str), |request| next.run(request)).await
}

/// Answers a request for a route as `next` does, unless its head is refused; in a span of its own.
pub(super) async fn answer<B, F: Future<Output = Response>>(
    request: Request<B>,
    route: Option<&str>,
    next: impl FnOnce(Request<B>) -> F,
) -> Response {
    let span = trace::request(&request, route);
    let mut response = match check_head(&request) {
        Ok(()) => next(request).instrument(span.clone()).await,
        Err(problem) => problem.into_response(),
    };
    trace::answered(&span, &response);
    guard(response.headers_mut());
    response
}

/// What is said of payments is for who asked: no cache keeps it, and no browser takes it for something else.
fn guard(headers: &mut HeaderMap) {
    headers.entry(header::X_CONTENT_TYPE_OPTIONS).or_insert(HeaderValue::from_static("nosniff"));
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
}

fn check_head<B>(request: &Request<B>) -> Result<(), Problem> {
    let target = request.uri().path().len() + request.uri().query().map_or(0, str::len);
    if target > MAX_TARGET {
        return Err(Problem::invalid_request_as(
            StatusCode::URI_TOO_LONG,
            "the request target must be up to 8192 bytes",
        ));
    }
    let size: usize = request.headers().iter().map(|(name, value)| name.as_str().len() + value.len()).sum();
    if size > MAX_HEADERS {
        return Err(Problem::invalid_request_as(
            StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            "the headers must be up to 32768 bytes",
        ));
    }
    // RFC 9112, section 3.2: a server must refuse these.
    let hosts = request.headers().get_all(header::HOST).iter().count();
    if hosts > 1 || (hosts == 0 && request.version() == Version::HTTP_11) {
        return Err(Problem::invalid_request("the request must have one Host header"));
    }
    Ok(())
}

/// Reads a JSON body: the right type, of a legal size, within `patience`. Never holds more than the legal size.
pub(super) async fn json<B: HttpBody<Data = Bytes>>(
    headers: &HeaderMap,
    body: B,
    patience: Duration,
) -> Result<Bytes, Problem>
where
    B::Error: Into<BoxError>,
{
    check_type(headers)?;
    bytes(body, patience).await
}

/// Makes sure that a request without parameters has none in its body either.
pub(super) async fn nothing(headers: &HeaderMap, body: Body, patience: Duration) -> Result<(), Problem> {
    match json_or_nothing(headers, body, patience).await? {
        Some(body) => super::json::Object::read(&body, &[]).map(|_| ()),
        None => Ok(()),
    }
}

/// Reads a JSON body that may be left out.
pub(super) async fn json_or_nothing(
    headers: &HeaderMap,
    body: Body,
    patience: Duration,
) -> Result<Option<Bytes>, Problem> {
    let body = bytes(body, patience).await?;
    if body.is_empty() {
        return Ok(None);
    }
    check_type(headers)?;
    Ok(Some(body))
}

/// Media type `application/json`, with any parameters: RFC 8259 gives them no meaning.
fn check_type(headers: &HeaderMap) -> Result<(), Problem> {
    let mut types = headers.get_all(header::CONTENT_TYPE).iter();
    let (first, second) = (types.next(), types.next());
    let essence = first.and_then(|value| value.to_str().ok()).and_then(|value| value.split(';').next());
    let is_json = essence.is_some_and(|essence| essence.trim().eq_ignore_ascii_case("application/json"));
    if !is_json || second.is_some() {
        return Err(Problem::new(Code::UnsupportedMediaType, "the Content-Type must be application/json"));
    }
    let encodings = headers.get_all(header::CONTENT_ENCODING).iter();
    if !encodings.into_iter().all(|encoding| encoding.as_bytes().eq_ignore_ascii_case(b"identity")) {
        return Err(Problem::new(Code::UnsupportedMediaType, "the body must not be compressed"));
    }
    Ok(())
}

pub(super) async fn bytes<B: HttpBody<Data = Bytes>>(body: B, patience: Duration) -> Result<Bytes, Problem>
where
    B::Error: Into<BoxError>,
{
    // What is announced to be too large is refused before it comes.
    if body.size_hint().lower() > u64::try_from(MAX_BODY).unwrap_or(u64::MAX) {
        return Err(too_large());
    }
    match tokio::time::timeout(patience, Limited::new(body, MAX_BODY).collect()).await {
        Ok(Ok(whole)) => Ok(whole.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(too_large()),
        Ok(Err(_)) => Err(Problem::invalid_request("the body ended before its announced end, or is framed wrongly")),
        Err(_) => Err(Problem::invalid_request_as(StatusCode::REQUEST_TIMEOUT, "the body took too long to arrive")),
    }
}

fn too_large() -> Problem {
    Problem::new(Code::PayloadTooLarge, "the body must be up to 65536 bytes")
}
