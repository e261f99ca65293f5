//! The dashboard at `/`: four files in the program itself, which ask nothing of anybody else.

use axum::{
    extract::{Path, rejection::PathRejection},
    http::{HeaderName, HeaderValue, header},
    response::{IntoResponse, Response},
};

use super::{
    docs,
    problems::{Code, Problem},
    routes::Answered,
};

const PAGE: &str = include_str!("dashboard/index.html");
const STYLE: &str = include_str!("dashboard/board.css");
const SCRIPT: &str = include_str!("dashboard/board.js");

const ICON: &str = "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 16 16\"><circle cx=\"8\" cy=\"8\" r=\"8\" \
                    fill=\"#2850b8\"/><path d=\"M8.9 12V4.2H7.6L5.4 5.7v1.6l1.9-1.2V12z\" fill=\"#fff\"/></svg>";

/// Nothing but our own files is loaded, run or talked to, and no other page may frame this one: what a payment says of
/// itself comes from strangers.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; \
                      base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

pub(super) async fn page() -> Response {
    file("text/html; charset=utf-8", PAGE)
}

pub(super) async fn asset(name: Result<Path<String>, PathRejection>) -> Answered {
    match name.as_ref().map(|Path(name)| name.as_str()) {
        Ok("board.css") => Ok(file("text/css; charset=utf-8", STYLE)),
        Ok("icon.svg") => Ok(file("image/svg+xml", ICON)),
        Ok("docs.css") => Ok(file("text/css; charset=utf-8", docs::STYLE)),
        Ok("docs.js") => Ok(file("text/javascript; charset=utf-8", docs::SCRIPT)),
        Ok("board.js") => Ok(file("text/javascript; charset=utf-8", SCRIPT)),
        Ok(_) | Err(_) => Err(Problem::new(Code::NotFound, "there is nothing at this path")),
    }
}

pub(super) fn file(kind: &'static str, text: &'static str) -> Response {
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static(kind)),
        (header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY)),
        (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
        (header::REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
        (HeaderName::from_static("cross-origin-opener-policy"), HeaderValue::from_static("same-origin")),
        // The next version's files must not meet this one's.
        (header::CACHE_CONTROL, HeaderValue::from_static("no-cache")),
    ];
    (headers, text).into_response()
}
