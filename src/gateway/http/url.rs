//! A gateway's URL: where to connect, and under which path. Its normal form names the gateway.

use std::fmt;

use hyper::Uri;

use crate::gateway::wire::Origin;

/// A gateway URL that cannot be used, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidUrl(String);

impl InvalidUrl {
    pub(in crate::gateway) fn new(why: &str) -> InvalidUrl {
        InvalidUrl(why.to_owned())
    }
}

impl fmt::Display for InvalidUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Never the URL itself: it may hold a secret.
        write!(f, "gateway URL: {}", self.0)
    }
}

impl std::error::Error for InvalidUrl {}

/// A gateway's URL, taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::gateway) struct Base {
    pub(in crate::gateway) origin: Origin,
    /// `host` or `host:port`, as in the `Host` header: a default port is left out, brackets are not.
    pub(in crate::gateway) authority: String,
    /// Without a slash at its end; may be empty.
    pub(in crate::gateway) path: String,
}

impl Base {
    /// Reads `http://` and `https://` URLs. Credentials, queries and fragments are refused: none of them would be used.
    pub(in crate::gateway) fn parse(text: &str) -> Result<Base, InvalidUrl> {
        let uri: Uri = text.parse().map_err(|why| InvalidUrl(format!("not a URL ({why})")))?;
        let secure = match uri.scheme_str().map(str::to_ascii_lowercase).as_deref() {
            Some("http") => false,
            Some("https") => true,
            Some(_) | None => return Err(InvalidUrl::new("must begin with http:// or https://")),
        };
        let authority = uri.authority().ok_or_else(|| InvalidUrl::new("has no host"))?;
        if authority.as_str().contains('@') {
            return Err(InvalidUrl::new("must not hold credentials; configure them as the gateway's credential"));
        }
        if uri.query().is_some() || text.contains('#') {
            return Err(InvalidUrl::new("must not have a query or a fragment"));
        }
        let host = authority.host().to_ascii_lowercase();
        let default = if secure { 443 } else { 80 };
        let port = match authority.as_str().get(authority.host().len()..) {
            None | Some("" | ":") => default,
            Some(_) => {
                authority.port_u16().filter(|port| *port > 0).ok_or_else(|| InvalidUrl::new("has no such port"))?
            }
        };
        let authority = if port == default { host.clone() } else { format!("{host}:{port}") };
        let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        let path = uri.path().trim_end_matches('/').to_owned();
        Ok(Base { origin: Origin { secure, host, port }, authority, path })
    }
}

/// The normal form.
impl fmt::Display for Base {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.origin.secure { "https" } else { "http" };
        write!(f, "{scheme}://{}{}", self.authority, self.path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spellings_of_one_gateway_have_one_name() {
        for (text, name) in [
            ("http://127.0.0.1:7412", "http://127.0.0.1:7412"),
            ("http://127.0.0.1:7412/", "http://127.0.0.1:7412"),
            ("HTTP://Gateway.Example:80//", "http://gateway.example"),
            ("https://gateway.example:443/v1/", "https://gateway.example/v1"),
            ("https://gateway.example:/V1", "https://gateway.example/V1"),
            ("https://gateway.example:80", "https://gateway.example:80"),
            ("http://[::1]:7412/a", "http://[::1]:7412/a"),
        ] {
            assert_eq!(Base::parse(text).map(|base| base.to_string()), Ok(name.to_owned()), "{text}");
        }
        assert_eq!(Base::parse("http://[::1]").map(|base| base.origin.host), Ok("::1".to_owned()));
    }

    #[test]
    fn urls_with_parts_that_would_not_be_used_are_refused_without_being_quoted() {
        for text in [
            "",
            "gateway.example",
            "gateway.example:80",
            "ftp://gateway.example",
            "/v1",
            "http://",
            "http://user:hunter2@gateway.example",
            "http://gateway.example/?hunter2",
            "http://gateway.example/#hunter2",
            "http://gateway.example:0",
            "http://gateway.example:99999",
            "http://gateway.example:x",
        ] {
            let refused = Base::parse(text).expect_err(text).to_string();
            assert!(!refused.contains("hunter2"), "{refused}");
        }
    }
}
