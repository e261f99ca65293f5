//! The adapter for Stripe: PaymentIntents and refunds.
//!
//! A charge has two steps. [`prepare`](Gateway::prepare) creates a PaymentIntent, which moves nothing; its id is recorded
//! before [`send`](Gateway::send) confirms it, once. Stripe confirms a PaymentIntent at most once, whatever becomes of
//! idempotency keys: so of all PaymentIntents that were created for a payment only the recorded one is ever confirmed, and
//! what became of it is learned by its id.
//!
//! | operation | request | told apart by |
//! |---|---|---|
//! | prepare | `POST /v1/payment_intents` | `metadata[payonce_operation]` |
//! | charge, authorize | `POST /v1/payment_intents/ID/confirm` | the id |
//! | capture | `POST /v1/payment_intents/ID/capture` | `metadata[payonce_capture]` |
//! | void | `POST /v1/payment_intents/ID/cancel` | the PaymentIntent's state |
//! | refund | `POST /v1/refunds` | `metadata[payonce_operation]` |
//!
//! An order's `source` is a payment method (`pm_..`), for a saved one with its customer (`cus_../pm_..`); `destination` is
//! a connected account (`acct_..`, as `transfer_data[destination]`) or `self`. Cards only. One capture for each
//! authorization: Stripe lets go of what the first one left.
//!
//! Knows nothing of schedules: it sends once, asks once, and says what came of it.

mod currency;

mod request;

mod object;

mod classify;

mod asking;

mod signature;

#[cfg(test)]
mod tests;

use std::{fmt, time::Duration};

use http_body_util::Full;
use hyper::{
    HeaderMap, Method, Uri,
    body::Bytes,
    header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HOST, HeaderName, HeaderValue, USER_AGENT},
};

use self::{
    classify::{Call, Came, classify},
    object::Expected,
    request::{Confirming, Request},
};
use super::{
    Answer, Asked, Forged, Gateway, News, Post, Question, Sending,
    http::url::Base,
    wire::{Exchanged, Failure, Replied, Wire},
};
use crate::payment::{Amount, Contract, Currency, Identity, Invalid, Kind, OperationKey, Outcome, Reply};

/// Where Stripe is.
pub const STRIPE_URL: &str = "https://api.stripe.com";
/// The version of Stripe's API that this is written for. A new one is another identity: what was begun under the old
/// one parks until it has ended there.
const API_VERSION: &str = "2025-04-30.basil";
/// How long Stripe's own libraries wait for a reply before they take it for lost.
const MAX_PROCESSING: Duration = Duration::from_secs(80);

static IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
static SHOULD_RETRY: HeaderName = HeaderName::from_static("stripe-should-retry");
static STRIPE_ACCOUNT: HeaderName = HeaderName::from_static("stripe-account");
static STRIPE_VERSION: HeaderName = HeaderName::from_static("stripe-version");

/// An account at Stripe.
pub struct StripeGateway {
    contract: Contract,
    wire: Wire,
    path: String,
    /// What every request carries; the key is marked as secret.
    headers: HeaderMap,
    confirming: Confirming,
    /// What its webhooks are signed with.
    webhook_secret: Option<String>,
}

impl StripeGateway {
    /// Stripe, with a secret or restricted key, whose prefix says whether it is for the test or the live world. The key
    /// is in no frozen bytes and in no `Debug`. Connects to nothing yet.
    pub fn new(key: &str) -> Result<StripeGateway, Invalid> {
        StripeGateway::at(STRIPE_URL, key)
    }

    /// Something that behaves like Stripe, at an `http://` or `https://` URL: another world, whatever the key says.
    pub fn at(url: &str, key: &str) -> Result<StripeGateway, Invalid> {
        let unusable = Invalid::new("gateway", "must be an http:// or https:// URL without credentials or query");
        let base = Base::parse(url).map_err(|_| unusable.clone())?;
        let world =
            world(key).ok_or(Invalid::new("stripe_api_key", "must begin with sk_ or rk_, and test_ or live_"))?;
        let name = base.to_string();
        let environment = if name == STRIPE_URL { world.to_owned() } else { format!("{world} at {name}") };
        let (environment, api_version) = (environment.into(), API_VERSION.into());
        let identity = Identity { name: "stripe".into(), environment, api_version, ..Identity::default() };
        let secret = HeaderValue::try_from(format!("Bearer {key}"));
        let mut secret = secret.map_err(|_| Invalid::new("stripe_api_key", "must be visible ASCII characters"))?;
        secret.set_sensitive(true);
        let host = HeaderValue::try_from(&base.authority).map_err(|_| unusable.clone())?;
        let headers = [
            (HOST, host),
            (AUTHORIZATION, secret),
            (CONTENT_TYPE, HeaderValue::from_static("application/x-www-form-urlencoded")),
            (ACCEPT, HeaderValue::from_static("application/json")),
            (USER_AGENT, HeaderValue::from_static(concat!("payonce/", env!("CARGO_PKG_VERSION")))),
            (STRIPE_VERSION.clone(), HeaderValue::from_static(API_VERSION)),
        ];
        Ok(StripeGateway {
            contract: contract(identity),
            wire: Wire::new(base.origin).map_err(|_| unusable)?,
            path: base.path,
            headers: headers.into_iter().collect(),
            confirming: Confirming::default(),
            webhook_secret: None,
        })
    }

    /// On behalf of a connected account: sent as `Stripe-Account`, and part of the identity.
    pub fn with_account(mut self, account: &str) -> Result<StripeGateway, Invalid> {
        let invalid = || Invalid::new("gateway_account", "must be an account of Stripe's (acct_..)");
        let legal = |rest: &str| !rest.is_empty() && rest.bytes().all(|b| b.is_ascii_alphanumeric());
        if !account.strip_prefix("acct_").is_some_and(legal) {
            return Err(invalid());
        }
        self.headers.insert(STRIPE_ACCOUNT.clone(), HeaderValue::try_from(account).map_err(|_| invalid())?);
        self.contract.identity.account = account.into();
        Ok(self)
    }

    /// Believes webhooks that are signed with an endpoint's secret (`whsec_..`). Without it, none is believed.
    #[must_use]
    pub fn with_webhook_secret(mut self, secret: &str) -> StripeGateway {
        self.webhook_secret = Some(secret.to_owned());
        self
    }

    /// Where payers come back to after 3-D Secure: without it, Stripe gives no URL to send them to.
    #[must_use]
    pub fn with_return_url(mut self, url: &str) -> StripeGateway {
        self.confirming.return_url = Some(url.to_owned());
        self
    }

    /// Whether payers are away: then Stripe declines where it would have asked them.
    #[must_use]
    pub fn with_off_session(mut self, off_session: bool) -> StripeGateway {
        self.confirming.off_session = off_session;
        self
    }

    /// Under another contract than Stripe's. The identity stays.
    #[must_use]
    pub fn with_contract(mut self, contract: Contract) -> StripeGateway {
        self.contract = Contract { identity: self.contract.identity, ..contract };
        self
    }

    async fn post(&self, call: Call, sending: Sending) -> Outcome {
        let Some(request) = Request::read(&sending.request) else { return unsendable("are no request") };
        let Sending { kind, operation_key, amount, currency, deadline, .. } = sending;
        let intent = request.intent().map(str::to_owned);
        let first = matches!(kind, Kind::Charge | Kind::Authorize);
        if (call == Call::Create) != intent.is_none() || call == Call::Create && !first {
            // What creates a PaymentIntent is never sent as if it were a payment, nor the other way round.
            return unsendable("are another step's");
        }
        let Some(expected) = expected(kind, operation_key, amount, currency, intent) else {
            return unsendable("are of an amount that Stripe does not have");
        };
        let Ok(key) = HeaderValue::try_from(request.key) else { return unsendable("have no key") };
        let form = Bytes::copy_from_slice(request.form.as_bytes());
        match self.exchange(Method::POST, request.path, Some(key), form, deadline).await {
            Ok(came) => classify(call, &expected, &seen(&came)),
            Err(outcome) => outcome,
        }
    }

    async fn exchange(
        &self,
        method: Method,
        path: &str,
        key: Option<HeaderValue>,
        form: Bytes,
        deadline: std::time::Instant,
    ) -> Result<Replied, Outcome> {
        let uri = Uri::try_from(format!("{}{path}", self.path)).map_err(|_| unsendable("make no path"))?;
        let request = || {
            let mut request = hyper::Request::new(Full::new(form.clone()));
            *request.method_mut() = method.clone();
            *request.uri_mut() = uri.clone();
            *request.headers_mut() = self.headers.clone();
            if let Some(key) = &key {
                request.headers_mut().insert(IDEMPOTENCY_KEY.clone(), key.clone());
            }
            request
        };
        let reply = |Failure { code, message }| Reply::new(code, &message);
        match self.wire.exchange(request, deadline).await {
            Exchanged::NotSent(failure) => Err(Outcome::NotSent(reply(failure))),
            Exchanged::Unknown(failure) => Err(Outcome::Unknown(reply(failure))),
            Exchanged::Replied(came) => Ok(came),
        }
    }
}

impl Gateway for StripeGateway {
    fn contract(&self) -> &Contract {
        &self.contract
    }

    fn encode(&self, asked: &Asked<'_>) -> Result<Vec<u8>, Invalid> {
        request::encode(asked, &self.confirming)
    }

    fn news(&self, post: &Post<'_>) -> Result<News, Forged> {
        signature::read(self.webhook_secret.as_deref().ok_or(Forged::Unsupported)?, post)
    }

    fn prepare(&self, sending: Sending) -> Answer<'_> {
        Box::pin(self.post(Call::Create, sending))
    }

    fn send(&self, sending: Sending) -> Answer<'_> {
        Box::pin(self.post(Call::Send, sending))
    }

    fn inquire(&self, question: Question) -> Answer<'_> {
        Box::pin(self.ask(question))
    }
}

impl fmt::Debug for StripeGateway {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StripeGateway")
            .field("contract", &self.contract)
            .field("wire", &self.wire)
            .finish_non_exhaustive()
    }
}

/// Keys are kept for at least a day by API v1 (30 days by v2, which has no PaymentIntents); no declines that turn.
fn contract(identity: Identity) -> Contract {
    Contract { max_processing: MAX_PROCESSING, mints_id_first: true, ..Contract::standard(identity) }
}

/// Which of Stripe's worlds a key opens.
fn world(key: &str) -> Option<&'static str> {
    let rest = key.strip_prefix("sk_").or_else(|| key.strip_prefix("rk_"))?;
    ["test", "live"].into_iter().find(|world| {
        rest.strip_prefix(world).and_then(|rest| rest.strip_prefix('_')).is_some_and(|secret| !secret.is_empty())
    })
}

fn expected(
    kind: Kind,
    operation_key: OperationKey,
    amount: Amount,
    currency: Currency,
    intent: Option<String>,
) -> Option<Expected> {
    let units = currency::units(amount, currency).ok()?;
    Some(Expected { kind, operation_key, units, currency, intent })
}

fn seen(came: &Replied) -> Came<'_> {
    let should_retry = came.headers.get(&SHOULD_RETRY).and_then(|value| value.to_str().ok()?.parse().ok());
    Came { status: came.status, retry_after: came.retry_after, should_retry, body: &came.body }
}

fn unsendable(why: &str) -> Outcome {
    Outcome::NotSent(Reply::new("unsendable", &format!("the recorded bytes {why}")))
}
