//! One span a request. It names the payment that the request is about, and nothing else that a caller wrote; of the
//! caller's own trace it has the place. Where nobody listens at this level, nothing is made.

use axum::{extract::Request, response::Response};
use tracing::{Level, Span, field, field::Empty};

use crate::payment::PaymentId;

/// A `traceparent` of the W3C's version 0: 00-, 32 hex digits, 16, and 2.
const PARTS: [usize; 4] = [2, 32, 16, 2];

pub(super) fn request<B>(request: &Request<B>, route: Option<&str>) -> Span {
    tracing::info_span!(
        "request",
        payment = Empty,
        method = request.method().as_str(),
        route = route.unwrap_or("none"),
        traceparent = traceparent(request),
        status = Empty,
    )
}

/// The request that is being answered is about this payment.
pub(super) fn names(id: impl FnOnce() -> PaymentId) {
    if tracing::enabled!(Level::INFO) {
        Span::current().record("payment", field::display(id()));
    }
}

pub(super) fn answered(span: &Span, response: &Response) {
    span.record("status", response.status().as_u16());
}

/// Where the caller's trace is, if that is all that is said.
fn traceparent<B>(request: &Request<B>) -> Option<&str> {
    let text = request.headers().get("traceparent")?.to_str().ok()?;
    let hex = |part: &str| part.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    let legal = text.starts_with("00-") && text.split('-').map(str::len).eq(PARTS) && text.split('-').all(hex);
    legal.then_some(text)
}

#[cfg(test)]
mod tests {
    use axum::body::Body;

    use super::*;

    #[test]
    fn a_traceparent_is_taken_whole_or_not_at_all() {
        let of = |text: &str| {
            let request = Request::builder().header("traceparent", text).body(Body::empty()).expect("a request");
            traceparent(&request).map(str::to_owned)
        };
        let good = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        assert_eq!(of(good).as_deref(), Some(good));
        for bad in
            ["", "00", &good[1..], &good.replace("4bf", "4BF"), &good.replace("00-4", "ff-4"), &format!("{good}-x")]
        {
            assert_eq!(of(bad), None, "{bad}");
        }
        assert_eq!(of("00-4bf92f3577b34da6a3ce929d0e0e473-600f067aa0ba902b7-01"), None, "a digit on the wrong side");
    }
}
