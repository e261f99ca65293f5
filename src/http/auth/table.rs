//! Which route needs what. What is not in the table needs the most: a new route is shut until somebody opens it.

use axum::http::Method;

use super::Role;

/// What a request needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Need {
    /// No key: it tells nothing about payments, or has a signature of its own.
    Nothing,
    /// A key of this role or a higher one.
    Key(Role),
    /// A key of this role or a higher one, for all tenants: it is about the whole daemon.
    Whole(Role),
}

/// Without a role of its own, a wrong method on a route, or a new route, is looked at by the highest only.
const REST: Need = Need::Whole(Role::Operator);

/// What a request needs; `path` as the router has it.
pub(super) fn need(method: &Method, path: &str) -> Need {
    let reads = method == Method::GET || method == Method::HEAD;
    let posts = method == Method::POST;
    match path {
        "/" | "/assets/{file}" | "/docs" | "/openapi.json" | "/healthz" | "/readyz" => Need::Nothing,
        // Gateways have no key of ours: they sign.
        "/v1/webhooks/{gateway}" => Need::Nothing,
        "/v1/payments" if posts => Need::Key(Role::Caller),
        "/v1/payments/{id}/capture" | "/v1/payments/{id}/void" | "/v1/payments/{id}/refunds" => Need::Key(Role::Caller),
        "/v1/payments/{id}/inquire" | "/v1/payments/{id}/resolve" => Need::Key(Role::Operator),
        "/v1/payments" | "/v1/payments/{id}" | "/v1/payments/{id}/outlook" | "/v1/events" | "/v1/key" => {
            Need::Key(Role::ReadOnly)
        }
        // Counts tell what others do too.
        "/v1/stats" | "/metrics" | "/v1/webhooks/out" | "/v1/audit" if reads => Need::Whole(Role::ReadOnly),
        "/v1/gateways/{gateway}/pause" | "/v1/gateways/{gateway}/resume" | "/v1/drain" => Need::Whole(Role::Operator),
        _ => REST,
    }
}
