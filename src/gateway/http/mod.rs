//! The adapter for gateways that speak payonce's HTTP protocol: what [`crate::gateway::sandbox`] speaks too.
//!
//! ```text
//! POST /charges                    {"reference","amount","currency","source","destination","capture"}
//! POST /captures /voids /refunds   {"reference","amount","currency","charge"}
//!   Idempotency-Key: the reference, which is the operation key
//! GET  /operations/{operation key}
//!   200 {"reference","gateway_reference","status","amount","currency","code","message"}
//! ```
//!
//! What it says by itself comes to `POST /v1/webhooks/NAME` of the daemon (`default`, where there is one gateway): a body
//! as above, signed as in Standard Webhooks 1.0 (`webhook-id`, `webhook-timestamp`, `webhook-signature`).
//!
//! Knows nothing of schedules: it sends once, asks once, and says what came of it.

mod classify;

mod news;

pub(super) mod url;

use std::{fmt, sync::Arc};

use http_body_util::Full;
use hyper::{
    HeaderMap, Method, Request, Uri,
    body::Bytes,
    header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HOST, HeaderName, HeaderValue, USER_AGENT},
};
use serde::Serialize;

pub use url::InvalidUrl;

use self::{
    classify::{Call, Came, classify},
    url::Base,
};
use super::{
    Answer, Asked, Forged, Gateway, News, Post, Question, Sending,
    judge::Expected,
    wire::{Exchanged, Failure, Wire},
};
use crate::{
    payment::{Capture, Contract, Identity, Invalid, Kind, Outcome, Reply},
    signature::Secret,
};

/// The version of the protocol that the frozen bytes are written for.
const API_VERSION: &str = "1";
/// The identity's name where the account is named: the URL may then change.
const NAMED: &str = "http";

static IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// A gateway over HTTP.
pub struct HttpGateway {
    contract: Contract,
    wire: Wire,
    path: String,
    /// What every request carries; the credential is marked as secret.
    headers: HeaderMap,
    /// What its news is signed with.
    webhook_secret: Option<Secret>,
}

impl HttpGateway {
    /// A gateway at an `http://` or `https://` URL, under the standard contract. Its identity is the URL's origin and
    /// path; or, if an account is named, that name, so that the URL may change. Connects to nothing yet.
    pub fn new(url: &str, account: Option<&str>) -> Result<HttpGateway, InvalidUrl> {
        let base = Base::parse(url)?;
        let name = account.map_or_else(|| base.to_string(), |_| NAMED.to_owned());
        let identity = Identity {
            name: name.into(),
            account: account.unwrap_or_default().into(),
            environment: Arc::default(),
            api_version: API_VERSION.into(),
        };
        let host = HeaderValue::try_from(&base.authority).map_err(|_| InvalidUrl::new("has no usable host"))?;
        let json = HeaderValue::from_static("application/json");
        let agent = HeaderValue::from_static(concat!("payonce/", env!("CARGO_PKG_VERSION")));
        let headers = [(HOST, host), (CONTENT_TYPE, json.clone()), (ACCEPT, json), (USER_AGENT, agent)];
        Ok(HttpGateway {
            contract: Contract::standard(identity),
            wire: Wire::new(base.origin).map_err(|why| InvalidUrl::new(&why))?,
            path: base.path,
            headers: headers.into_iter().collect(),
            webhook_secret: None,
        })
    }

    /// Under another contract than the standard one. The identity stays.
    #[must_use]
    pub fn with_contract(mut self, contract: Contract) -> HttpGateway {
        self.contract = Contract { identity: self.contract.identity, ..contract };
        self
    }

    /// Adds `Authorization: Bearer ..` to every request. The credential is in no frozen bytes and in no `Debug`.
    pub fn with_bearer(mut self, credential: &str) -> Result<HttpGateway, Invalid> {
        let value = HeaderValue::try_from(format!("Bearer {credential}"));
        let mut value = value.map_err(|_| Invalid::new("gateway_credential", "must be visible ASCII characters"))?;
        value.set_sensitive(true);
        self.headers.insert(AUTHORIZATION, value);
        Ok(self)
    }

    /// Believes news that is signed with this. Without it, none is believed.
    #[must_use]
    pub fn with_webhook_secret(mut self, secret: Secret) -> HttpGateway {
        self.webhook_secret = Some(secret);
        self
    }

    async fn call(&self, call: Call, method: Method, path: &str, expected: Expected, ask: Ask) -> Outcome {
        let (Ok(uri), Ok(key)) =
            (Uri::try_from(format!("{}{path}", self.path)), HeaderValue::try_from(expected.operation_key.to_string()))
        else {
            return Outcome::NotSent(Reply::new("unsendable", "the gateway's URL makes no request"));
        };
        let request = || {
            let mut request = Request::new(Full::new(ask.body.clone()));
            *request.method_mut() = method.clone();
            *request.uri_mut() = uri.clone();
            *request.headers_mut() = self.headers.clone();
            if call == Call::Sending {
                request.headers_mut().insert(IDEMPOTENCY_KEY.clone(), key.clone());
            }
            request
        };
        let reply = |Failure { code, message }| Reply::new(code, &message);
        match self.wire.exchange(request, ask.deadline).await {
            Exchanged::NotSent(failure) => Outcome::NotSent(reply(failure)),
            Exchanged::Unknown(failure) => Outcome::Unknown(reply(failure)),
            Exchanged::Replied(came) => {
                let came = Came { status: came.status, retry_after: came.retry_after, body: &came.body };
                classify(call, &expected, &came)
            }
        }
    }
}

/// What a whole reply means, to a question or to a sending. For tests that feed the table anything.
#[doc(hidden)]
pub fn classify_reply(inquiry: bool, asked: &Question, status: u16, body: &[u8]) -> Outcome {
    let Question { operation_key, amount, currency, .. } = *asked;
    let call = if inquiry { Call::Inquiry } else { Call::Sending };
    classify(call, &Expected { operation_key, amount, currency }, &Came { status, retry_after: None, body })
}

/// What goes out, and until when.
struct Ask {
    body: Bytes,
    deadline: std::time::Instant,
}

impl Gateway for HttpGateway {
    fn contract(&self) -> &Contract {
        &self.contract
    }

    fn encode(&self, asked: &Asked<'_>) -> Result<Vec<u8>, Invalid> {
        let missing = Invalid::new("charge", "must be the operation that a capture, void or refund acts on");
        let body = match asked.kind {
            Kind::Charge => Body::first(asked, Capture::Automatic),
            Kind::Authorize => Body::first(asked, Capture::Manual),
            Kind::Capture | Kind::Void | Kind::Refund => Body::later(asked).ok_or(missing)?,
        };
        serde_json::to_vec(&body).map_err(|_| Invalid::new("order", "cannot be written as JSON"))
    }

    fn send(&self, sending: Sending) -> Answer<'_> {
        let Sending { kind, operation_key, request, amount, currency, deadline } = sending;
        let expected = Expected { operation_key, amount, currency };
        let ask = Ask { body: Bytes::from(request), deadline };
        Box::pin(self.call(Call::Sending, Method::POST, path(kind), expected, ask))
    }

    fn news(&self, post: &Post<'_>) -> Result<News, Forged> {
        news::read(self.webhook_secret.as_ref().ok_or(Forged::Unsupported)?, post)
    }

    fn inquire(&self, question: Question) -> Answer<'_> {
        let Question { operation_key, amount, currency, deadline, .. } = question;
        let expected = Expected { operation_key, amount, currency };
        Box::pin(async move {
            let path = format!("/operations/{operation_key}");
            self.call(Call::Inquiry, Method::GET, &path, expected, Ask { body: Bytes::new(), deadline }).await
        })
    }
}

impl fmt::Debug for HttpGateway {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpGateway")
            .field("contract", &self.contract)
            .field("wire", &self.wire)
            .finish_non_exhaustive()
    }
}

const fn path(kind: Kind) -> &'static str {
    match kind {
        Kind::Charge | Kind::Authorize => "/charges",
        Kind::Capture => "/captures",
        Kind::Void => "/voids",
        Kind::Refund => "/refunds",
    }
}

/// The request bodies. Their fields and order are frozen: a gateway may compare the bytes of a repeated key.
#[derive(Serialize)]
#[serde(untagged)]
enum Body<'a> {
    First { reference: String, amount: u64, currency: &'a str, source: &'a str, destination: &'a str, capture: &'a str },
    Later { reference: String, amount: u64, currency: &'a str, charge: String },
}

impl<'a> Body<'a> {
    fn first(asked: &Asked<'a>, capture: Capture) -> Body<'a> {
        Body::First {
            reference: asked.operation_key.to_string(),
            amount: asked.amount.minor_units(),
            currency: asked.order.currency.as_str(),
            source: &asked.order.source,
            destination: &asked.order.destination,
            capture: capture.as_str(),
        }
    }

    fn later(asked: &Asked<'a>) -> Option<Body<'a>> {
        Some(Body::Later {
            reference: asked.operation_key.to_string(),
            amount: asked.amount.minor_units(),
            currency: asked.order.currency.as_str(),
            charge: asked.charge?.to_string(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::payment::{Amount, Currency, OperationKey, Order};

    fn gateway() -> HttpGateway {
        HttpGateway::new("https://gateway.example/v1/", None).expect("a usable URL")
    }

    fn encoded(kind: Kind) -> Result<String, Invalid> {
        let (amount, currency) = (Amount::new(1050)?, Currency::new("USD")?);
        let order = Order::new(amount, currency, "acct \"alice\"", "acct_bob")?.with_description("not sent")?;
        let charge = match kind {
            Kind::Charge | Kind::Authorize => None,
            Kind::Capture | Kind::Void | Kind::Refund => Some(OperationKey::from_bytes([12; 16])),
        };
        let operation_key = OperationKey::from_bytes([11; 16]);
        let bytes = gateway().encode(&Asked { kind, operation_key, amount, order: &order, charge, reference: None })?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    /// Golden bytes. If they change, a gateway that compares bodies refuses what a former version began.
    #[test]
    fn frozen_bytes_never_change() {
        let first = |capture| {
            format!(
                r#"{{"reference":"0b0b0b0b-0b0b-0b0b-0b0b-0b0b0b0b0b0b","amount":1050,"currency":"USD","source":"acct \"alice\"","destination":"acct_bob","capture":"{capture}"}}"#
            )
        };
        assert_eq!(encoded(Kind::Charge), Ok(first("automatic")));
        assert_eq!(encoded(Kind::Authorize), Ok(first("manual")));
        let later = r#"{"reference":"0b0b0b0b-0b0b-0b0b-0b0b-0b0b0b0b0b0b","amount":1050,"currency":"USD","charge":"0c0c0c0c-0c0c-0c0c-0c0c-0c0c0c0c0c0c"}"#;
        for kind in [Kind::Capture, Kind::Void, Kind::Refund] {
            assert_eq!(encoded(kind), Ok(later.to_owned()));
        }
    }

    #[test]
    fn the_identity_is_the_url_unless_an_account_is_named() {
        let identity = &gateway().contract.identity;
        assert_eq!(identity.to_string(), "https://gateway.example/v1, API 1");
        let named = HttpGateway::new("http://127.0.0.1:1", Some("shop")).expect("usable").contract.identity;
        let moved = HttpGateway::new("http://127.0.0.1:2", Some("shop")).expect("usable").contract.identity;
        let other = HttpGateway::new("http://127.0.0.1:1", Some("shop2")).expect("usable").contract.identity;
        assert_eq!(named, moved);
        assert_ne!(named, other);
    }

    #[test]
    fn the_credential_is_in_no_debug_output() {
        let gateway = gateway().with_bearer("hunter2").expect("visible");
        assert!(!format!("{gateway:?} {:?}", gateway.headers).contains("hunter2"));
        assert_eq!(gateway.headers.get(AUTHORIZATION).map(HeaderValue::as_bytes), Some(&b"Bearer hunter2"[..]));
        assert!(gateway.with_bearer("hunter\n2").is_err());
    }
}
