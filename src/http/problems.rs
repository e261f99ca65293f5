//! Every refusal, as a problem document (RFC 9457) with a stable code.

use std::{borrow::Cow, time::Duration};

use axum::{
    body::Body,
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde::Serialize;
use utoipa::ToSchema;

use crate::{
    payment::PaymentId,
    runtime::{Forged, Rejection},
};

/// How long a caller should stay away where the engine names no time of its own: one turn of the disk is far shorter.
const SOON: Duration = Duration::from_secs(1);
/// Until an operator has ended a pause or a drain: that takes longer than a turn, and no longer than it has to.
const PERSON: Duration = Duration::from_secs(10);
/// Until an operator has said `--moved`: nothing changes sooner than a person can type.
const MOVED: Duration = Duration::from_secs(60);

/// A refusal.
#[derive(Debug)]
pub(super) struct Problem {
    code: Code,
    detail: Cow<'static, str>,
    more: More,
}

/// What some problems say besides.
#[derive(Debug, Default)]
struct More {
    differing_fields: Option<Vec<&'static str>>,
    payment_id: Option<PaymentId>,
    retry_after: Option<Duration>,
    /// A status other than the code's usual one.
    status: Option<StatusCode>,
}

/// The stable codes. The words are frozen: callers match on them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Code {
    InvalidRequest,
    KeyRequired,
    Unauthorized,
    Forbidden,
    NotFound,
    MethodNotAllowed,
    InvalidState,
    AmountTooLarge,
    PossibleDuplicate,
    PayloadTooLarge,
    UnsupportedMediaType,
    Conflict,
    RateLimited,
    OutcomeUnknown,
    Overloaded,
    Draining,
    StorageFull,
    Moved,
}

impl Code {
    /// The code, its HTTP status, and its title.
    pub(super) const fn words(self) -> (&'static str, StatusCode, &'static str) {
        match self {
            Code::InvalidRequest => {
                ("invalid_request", StatusCode::BAD_REQUEST, "The request is not what this endpoint takes")
            }
            Code::KeyRequired => {
                ("idempotency_key_required", StatusCode::BAD_REQUEST, "An Idempotency-Key header is required")
            }
            Code::Unauthorized => ("unauthorized", StatusCode::UNAUTHORIZED, "Who says this is not known"),
            Code::Forbidden => ("forbidden", StatusCode::FORBIDDEN, "This is not allowed to who asks"),
            Code::NotFound => ("not_found", StatusCode::NOT_FOUND, "There is nothing here"),
            Code::MethodNotAllowed => {
                ("method_not_allowed", StatusCode::METHOD_NOT_ALLOWED, "This method is not allowed here")
            }
            Code::InvalidState => ("invalid_state", StatusCode::CONFLICT, "The payment's state does not allow this"),
            Code::AmountTooLarge => {
                ("amount_too_large", StatusCode::CONFLICT, "The payment does not have that much left for this")
            }
            Code::PossibleDuplicate => {
                ("possible_duplicate", StatusCode::CONFLICT, "This looks like a payment that was made a moment ago")
            }
            Code::PayloadTooLarge => ("payload_too_large", StatusCode::PAYLOAD_TOO_LARGE, "The body is too large"),
            Code::UnsupportedMediaType => {
                ("unsupported_media_type", StatusCode::UNSUPPORTED_MEDIA_TYPE, "The body must be JSON")
            }
            Code::Conflict => (
                "idempotency_conflict",
                StatusCode::UNPROCESSABLE_ENTITY,
                "This Idempotency-Key was used with other parameters",
            ),
            Code::RateLimited => {
                ("rate_limited", StatusCode::TOO_MANY_REQUESTS, "This API key asks more than it may for now")
            }
            Code::OutcomeUnknown => {
                ("outcome_unknown", StatusCode::INTERNAL_SERVER_ERROR, "What became of it is not known here")
            }
            Code::Overloaded => ("overloaded", StatusCode::SERVICE_UNAVAILABLE, "Too busy to take this on right now"),
            Code::Draining => ("draining", StatusCode::SERVICE_UNAVAILABLE, "Nothing new is taken at present"),
            Code::StorageFull => ("storage_full", StatusCode::SERVICE_UNAVAILABLE, "The disk is full"),
            Code::Moved => ("moved", StatusCode::SERVICE_UNAVAILABLE, "The data folder was moved or restored"),
        }
    }
}

impl Problem {
    /// A problem of the code's usual status.
    pub(super) fn new(code: Code, detail: impl Into<Cow<'static, str>>) -> Problem {
        Problem { code, detail: detail.into(), more: More::default() }
    }

    /// The request is at fault; the detail says where.
    pub(super) fn invalid_request(detail: impl Into<Cow<'static, str>>) -> Problem {
        Problem::new(Code::InvalidRequest, detail)
    }

    /// The request is at fault in a way for which HTTP has a status of its own.
    pub(super) fn invalid_request_as(status: StatusCode, detail: &'static str) -> Problem {
        let mut problem = Problem::invalid_request(detail);
        problem.more.status = Some(status);
        problem
    }

    /// Not now, and nothing was recorded.
    pub(super) fn not_now(detail: &'static str) -> Problem {
        Problem::new(Code::Overloaded, detail).retry_after(SOON)
    }

    /// Too much at once; nothing was recorded.
    pub(super) fn rate_limited(time: Duration) -> Problem {
        Problem::new(Code::RateLimited, "nothing was recorded: repeat after the time in Retry-After").retry_after(time)
    }

    /// An operator has nothing new taken.
    pub(super) fn draining() -> Problem {
        Problem::new(Code::Draining, Rejection::Draining.to_string()).retry_after(PERSON)
    }

    /// There is no such payment, or it is another tenant's.
    pub(super) fn no_such_payment() -> Problem {
        Problem::new(Code::NotFound, "there is no payment with this id")
    }

    fn retry_after(mut self, time: Duration) -> Problem {
        self.more.retry_after = Some(time);
        self
    }

    /// The document itself.
    pub(super) fn render(&self) -> Vec<u8> {
        let (code, usual, title) = self.code.words();
        let document = Document {
            kind: format_args!("/docs#{code}"),
            title,
            status: self.more.status.unwrap_or(usual).as_u16(),
            detail: &self.detail,
            code,
            differing_fields: self.more.differing_fields.as_deref(),
            payment_id: self.more.payment_id.map(|id| id.to_string()),
            retry_after: self.more.retry_after.map(whole_seconds),
        };
        serde_json::to_vec(&document).unwrap_or_default()
    }
}

/// A refusal: RFC 9457's members, then ours.
#[derive(Serialize, ToSchema)]
#[schema(as = Problem)]
pub(super) struct Document<'a> {
    /// Where its code is explained.
    #[serde(rename = "type")]
    #[schema(value_type = String)]
    kind: std::fmt::Arguments<'a>,
    title: &'a str,
    status: u16,
    /// What was wrong, for people. It never repeats a value that was sent.
    detail: &'a str,
    /// Stable: match on this.
    code: &'a str,
    /// `idempotency_conflict`: the fields in which the payment of this key differs.
    #[serde(skip_serializing_if = "Option::is_none")]
    differing_fields: Option<&'a [&'static str]>,
    /// Which payment it is about, where it is about another than was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    payment_id: Option<String>,
    /// Seconds; as in the header.
    #[serde(skip_serializing_if = "Option::is_none")]
    retry_after: Option<u64>,
}

/// `Retry-After` counts whole seconds: rounded up, and at least one.
pub(super) fn whole_seconds(time: Duration) -> u64 {
    time.as_secs().saturating_add(u64::from(time.subsec_nanos() > 0)).max(1)
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let (_, usual, _) = self.code.words();
        let mut response = Response::new(Body::from(self.render()));
        *response.status_mut() = self.more.status.unwrap_or(usual);
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if self.code == Code::Unauthorized {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"payonce\""));
        }
        if let Some(time) = self.more.retry_after {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(whole_seconds(time)));
        }
        response
    }
}

impl From<Rejection> for Problem {
    fn from(rejection: Rejection) -> Problem {
        match rejection {
            Rejection::Conflict { id, differing } => conflict(id, differing),
            Rejection::Overloaded { retry_after } => {
                Problem::new(Code::Overloaded, "nothing was recorded: repeat with the same key")
                    .retry_after(retry_after)
            }
            Rejection::Paused => Problem::new(Code::Overloaded, rejection.to_string()).retry_after(PERSON),
            Rejection::Draining => Problem::draining(),
            Rejection::StorageFull { retry_after } => Problem::new(
                Code::StorageFull,
                "nothing was recorded: repeat with the same key when the operator has made room, or has started payonce \
                 again, if its index has failed (`store_failed`)",
            )
            .retry_after(retry_after),
            Rejection::Moved => Problem::new(
                Code::Moved,
                "nothing was recorded: new payments wait until the operator has said `payonce serve --moved`",
            )
            .retry_after(MOVED),
            Rejection::AmountTooLarge { .. } => Problem::new(Code::AmountTooLarge, rejection.to_string()),
            Rejection::PossibleDuplicate { of } => possible_duplicate(of),
            Rejection::Forged(Forged::Unreadable) => Problem::invalid_request(rejection.to_string()),
            Rejection::Forged(Forged::Unsupported) => Problem::new(Code::NotFound, rejection.to_string()),
            Rejection::Forged(Forged::Signature | Forged::Stale) => {
                Problem::new(Code::Unauthorized, rejection.to_string())
            }
            Rejection::NotFound => Problem::no_such_payment(),
            Rejection::InvalidState { why } => Problem::new(Code::InvalidState, why),
            Rejection::InvalidOrder(invalid) => Problem::from(invalid),
            Rejection::Defect => Problem::new(Code::OutcomeUnknown, rejection.to_string()),
            Rejection::Stopped(stopped) => Problem::new(
                Code::OutcomeUnknown,
                format!("the server is stopping ({}): repeat with the same key when it is back", stopped.why),
            ),
        }
    }
}

fn possible_duplicate(of: PaymentId) -> Problem {
    let detail = "the same amount, payer and payee as the payment named here, under another key; nothing was recorded, and \
                  this key is not spent: if it is meant, repeat the request with the header Payonce-Duplicate: meant";
    let mut problem = Problem::new(Code::PossibleDuplicate, detail);
    problem.more.payment_id = Some(of);
    problem
}

fn conflict(id: PaymentId, differing: Vec<&'static str>) -> Problem {
    let detail = format!(
        "the payment of this key differs in {}: repeat the first request exactly, or use a new key for a new payment",
        differing.join(", ")
    );
    let mut problem = Problem::new(Code::Conflict, detail);
    problem.more.differing_fields = Some(differing);
    problem.more.payment_id = Some(id);
    problem
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::Stopped;

    /// What callers match on. A change breaks them.
    #[test]
    fn every_rejection_keeps_its_status_code_and_retry_after() {
        let retry_after = Duration::from_millis(1_200);
        let id = PaymentId::from_bytes([7; 16]);
        let stopped = Stopped::new("fsync failed");
        let invalid = crate::payment::Tenant::new("").expect_err("empty");
        for (rejection, status, code, retry) in [
            (Rejection::Conflict { id, differing: vec!["amount"] }, 422, "idempotency_conflict", None),
            (Rejection::Overloaded { retry_after }, 503, "overloaded", Some("2")),
            (Rejection::StorageFull { retry_after }, 503, "storage_full", Some("2")),
            (Rejection::Moved, 503, "moved", Some("60")),
            (Rejection::Paused, 503, "overloaded", Some("10")),
            (Rejection::Draining, 503, "draining", Some("10")),
            (Rejection::AmountTooLarge { left: 5 }, 409, "amount_too_large", None),
            (Rejection::PossibleDuplicate { of: id }, 409, "possible_duplicate", None),
            (Rejection::NotFound, 404, "not_found", None),
            (Rejection::InvalidState { why: "settled".to_owned() }, 409, "invalid_state", None),
            (Rejection::InvalidOrder(invalid), 400, "invalid_request", None),
            (Rejection::Forged(Forged::Unsupported), 404, "not_found", None),
            (Rejection::Forged(Forged::Signature), 401, "unauthorized", None),
            (Rejection::Forged(Forged::Stale), 401, "unauthorized", None),
            (Rejection::Forged(Forged::Unreadable), 400, "invalid_request", None),
            (Rejection::Defect, 500, "outcome_unknown", None),
            (Rejection::Stopped(stopped), 500, "outcome_unknown", None),
        ] {
            let problem = Problem::from(rejection);
            let document: serde_json::Value = serde_json::from_slice(&problem.render()).expect("JSON");
            assert_eq!(document["code"], code);
            assert_eq!(document["status"], status);
            let response = problem.into_response();
            assert_eq!(response.status().as_u16(), status);
            assert_eq!(response.headers().get(header::RETRY_AFTER).map(|v| v.to_str().expect("ASCII")), retry);
            assert_eq!(response.headers()[header::CONTENT_TYPE], "application/problem+json");
        }
    }

    #[test]
    fn a_conflict_is_rendered_byte_for_byte() {
        let problem = conflict(PaymentId::from_bytes([7; 16]), vec!["amount", "currency"]);
        assert_eq!(
            String::from_utf8(problem.render()).expect("UTF-8"),
            "{\"type\":\"/docs#idempotency_conflict\",\
             \"title\":\"This Idempotency-Key was used with other parameters\",\"status\":422,\
             \"detail\":\"the payment of this key differs in amount, currency: repeat the first request exactly, \
             or use a new key for a new payment\",\"code\":\"idempotency_conflict\",\
             \"differing_fields\":[\"amount\",\"currency\"],\
             \"payment_id\":\"07070707-0707-0707-0707-070707070707\"}"
        );
    }
}
