//! Who asks, and what they may: API keys, roles and tenants.
//!
//! Without keys there is one tenant, `default`, and everybody who can connect may do everything; the program listens on
//! this machine only then. With keys every request needs one, but for what `table` leaves open.
//!
//! Knows nothing of sockets, certificates, or what a request then does.

mod keys;

mod rate;

mod table;

use std::{
    net::IpAddr,
    sync::{Arc, LazyLock},
};

use axum::{
    extract::{FromRequestParts, MatchedPath, Request, State as Shared},
    http::{HeaderMap, Method, header, request::Parts},
    middleware::Next,
    response::{IntoResponse, Response},
};
use serde::Serialize;
use utoipa::ToSchema;

use super::{
    Face, bodies,
    problems::{Code, Problem},
    routes::{Answered, json},
};
use crate::payment::Tenant;
use keys::Known;
pub use keys::{ApiKey, Keys, Role, SecretHash, Tenants, mint};
use table::{Need, need};

/// What everybody is without keys.
static NOBODY: LazyLock<Tenants> = LazyLock::new(|| Tenants::One(Tenant::default()));

/// Who asks.
#[derive(Clone, Debug)]
pub(super) struct Who(Option<Arc<Known>>);

impl Who {
    /// Whose payments exist for it.
    pub(super) fn tenants(&self) -> &Tenants {
        self.0.as_ref().map_or(&NOBODY, |known| &known.key.tenants)
    }

    /// What its key is called; none, where there are no keys.
    pub(super) fn name(&self) -> Option<String> {
        self.0.as_ref().map(|known| known.key.name.clone())
    }

    /// As whom it pays.
    pub(super) fn tenant(&self) -> Result<&Tenant, Problem> {
        match self.tenants() {
            Tenants::One(tenant) => Ok(tenant),
            Tenants::All => Err(forbidden("this key is for all tenants: only a key of one tenant can pay")),
        }
    }

    /// Whether it would still be let in, for the same.
    pub(super) fn still_among(&self, keys: Option<&Keys>) -> bool {
        match &self.0 {
            Some(known) => keys.is_some_and(|keys| keys.still_hold(&known.key)),
            None => keys.is_none(),
        }
    }
}

impl FromRequestParts<Arc<Face>> for Who {
    type Rejection = Problem;

    /// Nobody is let in whom [`admit`] has not seen.
    async fn from_request_parts(parts: &mut Parts, _: &Arc<Face>) -> Result<Who, Problem> {
        parts.extensions.get::<Who>().cloned().ok_or_else(unknown)
    }
}

/// Refuses requests of those who are not known, may not, or ask too much.
pub(super) async fn admit(Shared(face): Shared<Arc<Face>>, mut request: Request, next: Next) -> Response {
    let path = request.extensions().get::<MatchedPath>().cloned();
    match who(&face, request.method(), path.as_ref().map(MatchedPath::as_str), request.headers()) {
        Ok(who) => {
            who.map(|who| request.extensions_mut().insert(who));
            next.run(request).await
        }
        Err(problem) => problem.into_response(),
    }
}

/// Who asks for a route, if they may; none, where nobody need be known.
pub(super) fn who(
    face: &Face,
    method: &Method,
    route: Option<&str>,
    headers: &HeaderMap,
) -> Result<Option<Who>, Problem> {
    let Some(keys) = face.keys() else {
        return if face.serves_any_host || is_near(headers) { Ok(Some(Who(None))) } else { Err(far()) };
    };
    // Where no route is, there is nothing to guard.
    let Some(need) = route.map(|route| need(method, route)).filter(|need| *need != Need::Nothing) else {
        return Ok(None);
    };
    let known = bearer(headers).and_then(|secret| keys.find(secret)).ok_or_else(unknown)?;
    known.count().map_err(Problem::rate_limited)?;
    allow(&known.key, need)?;
    Ok(Some(Who(Some(known.clone()))))
}

fn allow(key: &ApiKey, need: Need) -> Result<(), Problem> {
    let (role, whole) = match need {
        Need::Nothing => return Ok(()),
        Need::Key(role) => (role, false),
        Need::Whole(role) => (role, true),
    };
    if key.role < role {
        let (needed, has) = (role.as_str(), key.role.as_str());
        return Err(forbidden(format!("this takes a key of the role {needed}; yours has the role {has}")));
    }
    if whole && key.tenants != Tenants::All {
        return Err(forbidden("this is about all tenants: it takes a key for all of them, with the tenant \"*\""));
    }
    Ok(())
}

/// The secret in `Authorization: Bearer ..`, given once.
fn bearer(headers: &HeaderMap) -> Option<&str> {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let (Some(value), None) = (values.next(), values.next()) else { return None };
    let (scheme, secret) = value.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| secret.trim())
}

pub(super) fn unknown() -> Problem {
    Problem::new(Code::Unauthorized, "this takes a known API key, once, as in Authorization: Bearer payonce_..")
}

fn forbidden(detail: impl Into<std::borrow::Cow<'static, str>>) -> Problem {
    Problem::new(Code::Forbidden, detail)
}

/// Whether a request without a key comes from where it seems to: a web page that has its own name lead to this machine
/// makes a browser ask here (DNS rebinding), but cannot make it leave out that name. An address, a name without a dot
/// and `localhost` are nobody's on the web.
fn is_near(headers: &HeaderMap) -> bool {
    let Some(host) = headers.get(header::HOST).and_then(|host| host.to_str().ok()) else { return true };
    let name = match host.strip_prefix('[') {
        Some(v6) => v6.split(']').next().unwrap_or_default(),
        None => host.split(':').next().unwrap_or_default(),
    };
    let name = name.strip_suffix('.').unwrap_or(name);
    !name.contains('.') || name.parse::<IpAddr>().is_ok() || name.to_ascii_lowercase().ends_with(".localhost")
}

fn far() -> Problem {
    forbidden("without API keys only requests to this machine itself are answered: ask for localhost or an address")
}

/// What the asking key is: for whoever wants to know before being refused, such as the dashboard.
pub(super) async fn key(who: Who) -> Answered {
    let known = who.0.as_ref().map(|known| &known.key);
    Ok(json(bodies::render(&KeyBody {
        name: known.map(|key| key.name.as_str()),
        role: known.map_or(Role::Operator, |key| key.role).as_str(),
        tenant: who.tenants().to_string(),
        whole: known.is_none_or(|key| key.tenants == Tenants::All),
    })))
}

/// `name` is `null` where there are no keys; `whole`: whether it may see what is about the whole daemon.
#[derive(Serialize, ToSchema)]
#[schema(as = Key)]
pub(super) struct KeyBody<'a> {
    name: Option<&'a str>,
    role: &'static str,
    tenant: String,
    whole: bool,
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn with(name: header::HeaderName, values: &[&str]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(name.clone(), HeaderValue::from_str(value).expect("a legal value"));
        }
        headers
    }

    #[test]
    fn a_secret_is_read_from_one_bearer_header_only() {
        let read = |values: &[&str]| bearer(&with(header::AUTHORIZATION, values)).map(str::to_owned);
        for good in ["Bearer s1", "bearer s1", "BEARER  s1 "] {
            assert_eq!(read(&[good]).as_deref(), Some("s1"), "{good}");
        }
        for bad in [&[][..], &["s1"], &["Basic s1"], &["Bearer"], &["Bearers1"], &["Bearer s1", "Bearer s1"]] {
            assert_eq!(read(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn without_keys_only_names_that_nobody_on_the_web_has_are_asked_for() {
        let near = |host: &str| is_near(&with(header::HOST, &[host]));
        for host in ["a", "localhost", "LOCALHOST:7411", "x.localhost", "127.0.0.1:7411", "[::1]:7411", "payonce:80"] {
            assert!(near(host), "{host}");
        }
        for host in ["evil.example", "evil.example:7411", "127.0.0.1.evil.example", "localhost.evil.example", "a.b."] {
            assert!(!near(host), "{host}");
        }
        assert!(is_near(&HeaderMap::new()), "HTTP/1.0 may have none; browsers always have one");
    }
}
