//! The page at `/docs`: `/openapi.json`, for people. Its files are in the program, and it asks nothing of anybody else.

use axum::response::Response;

use super::dashboard::file;

const PAGE: &str = include_str!("docs/index.html");

/// How it looks, beside the dashboard's own style.
pub(super) const STYLE: &str = include_str!("docs/docs.css");
/// What makes a page of the document.
pub(super) const SCRIPT: &str = include_str!("docs/docs.js");

pub(super) async fn page() -> Response {
    file("text/html; charset=utf-8", PAGE)
}
