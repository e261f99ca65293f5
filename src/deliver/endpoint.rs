//! A receiver, as it is configured: a name, where it is, what signs for it, and what it wants to hear.

use std::fmt;

use hyper::{Uri, header::HeaderValue};

use super::{kind::Kind, plan::Pace};
use crate::signature::Secret;

/// The longest name: it is a file's name too.
const MAX_NAME: usize = 64;

/// One receiver of webhooks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    pub(super) name: String,
    pub(super) target: Target,
    pub(super) secret: Secret,
    /// Empty: everything.
    pub(super) kinds: Vec<Kind>,
    pub(super) from_start: bool,
    pub(super) pace: Pace,
}

impl Endpoint {
    /// A receiver that hears of everything from now on. An error goes on from its subject: "url must ..".
    pub fn new(name: &str, url: &str, secret: Secret) -> Result<Endpoint, String> {
        let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-_".contains(&byte);
        if name.is_empty() || name.len() > MAX_NAME || !name.bytes().all(plain) {
            return Err(format!("name must be 1 to {MAX_NAME} of a-z, 0-9, - and _"));
        }
        let target = Target::parse(url).map_err(|why| format!("url {why}"))?;
        let (kinds, pace) = (Vec::new(), Pace::default());
        Ok(Endpoint { name: name.to_owned(), target, secret, kinds, from_start: false, pace })
    }

    /// Hears of these kinds only; of everything if there are none.
    #[must_use]
    pub fn hearing(mut self, kinds: Vec<Kind>) -> Endpoint {
        self.kinds = kinds;
        self
    }

    /// Where nothing is known of it yet: hears of everything from the journal's first record on, not from now on.
    #[must_use]
    pub fn from_start(mut self, from_start: bool) -> Endpoint {
        self.from_start = from_start;
        self
    }

    /// At another pace than usual.
    #[must_use]
    pub fn at_pace(mut self, pace: Pace) -> Endpoint {
        self.pace = pace;
        self
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }
}

/// Where to deliver.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Target {
    pub(super) secure: bool,
    /// A name or an address, without brackets.
    pub(super) host: String,
    pub(super) port: u16,
    /// As in the `Host` header.
    pub(super) authority: HeaderValue,
    /// Path and query.
    pub(super) path: Uri,
}

impl Target {
    fn parse(text: &str) -> Result<Target, String> {
        // Never the URL itself: its path or query may be a secret.
        let uri: Uri = text.parse().map_err(|why| format!("is not a URL ({why})"))?;
        let secure = match uri.scheme_str().map(str::to_ascii_lowercase).as_deref() {
            Some("http") => false,
            Some("https") => true,
            Some(_) | None => return Err("must begin with http:// or https://".to_owned()),
        };
        let authority = uri.authority().ok_or("has no host")?;
        if authority.as_str().contains('@') || text.contains('#') {
            return Err("must have no credentials and no fragment: they would not be sent".to_owned());
        }
        let named = authority.as_str().get(authority.host().len()..).unwrap_or_default();
        let port = match (named, secure) {
            ("" | ":", true) => 443,
            ("" | ":", false) => 80,
            _ => authority.port_u16().filter(|port| *port > 0).ok_or("has no such port")?,
        };
        let path = uri.path_and_query().map_or("/", |path| path.as_str());
        Ok(Target {
            secure,
            host: authority.host().trim_start_matches('[').trim_end_matches(']').to_owned(),
            port,
            authority: HeaderValue::from_str(authority.as_str().trim_end_matches(':'))
                .map_err(|_| "has no such host")?,
            path: path.parse().map_err(|why| format!("has no such path ({why})"))?,
        })
    }
}

/// Without path and query, which may be secrets.
impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.secure { "https" } else { "http" };
        write!(f, "{scheme}://{}", self.authority.to_str().unwrap_or_default())
    }
}

impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn endpoint(name: &str, url: &str) -> Result<Endpoint, String> {
        Endpoint::new(name, url, Secret::parse("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").expect("a secret"))
    }

    #[test]
    fn a_url_is_taken_apart_and_shown_without_what_may_be_secret() {
        for (url, shown, host, port, path) in [
            ("http://127.0.0.1:9/hooks?token=hunter2", "http://127.0.0.1:9", "127.0.0.1", 9, "/hooks?token=hunter2"),
            ("HTTPS://shop.example", "https://shop.example", "shop.example", 443, "/"),
            ("http://[::1]:80/", "http://[::1]:80", "::1", 80, "/"),
            ("http://shop.example:/x", "http://shop.example", "shop.example", 80, "/x"),
        ] {
            let target = endpoint("shop", url).expect(url).target;
            assert_eq!((target.host.as_str(), target.port, target.path.to_string().as_str()), (host, port, path));
            assert_eq!((target.to_string().as_str(), format!("{target:?}").as_str()), (shown, shown));
        }
    }

    #[test]
    fn what_cannot_be_delivered_to_is_refused_without_being_shown() {
        for url in [
            "",
            "shop.example",
            "ftp://h/hunter2",
            "http://",
            "/hunter2",
            "http://u:hunter2@h",
            "http://h#hunter2",
            "http://h:0/hunter2",
            "http://h:99999/hunter2",
        ] {
            let why = endpoint("shop", url).expect_err(url);
            assert!(why.starts_with("url ") && !why.contains("hunter2"), "{why}");
        }
        for name in ["", "Shop", "a/b", "..", "a b", &"n".repeat(65)] {
            assert!(endpoint(name, "http://h").is_err_and(|why| why.starts_with("name must")), "{name}");
        }
    }
}
