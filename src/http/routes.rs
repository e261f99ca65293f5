//! Method and path to a call of the engine.

use std::{
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};

use axum::{
    BoxError, Router,
    body::{Body, Bytes, HttpBody},
    extract::{Path, Request, State as Shared, rejection::PathRejection},
    http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri, header},
    middleware,
    response::{IntoResponse, Response},
    routing::{get, post},
};

use super::{
    Face, auth,
    auth::{Tenants, Who},
    bodies, dashboard, docs, events, intake, key, observe, openapi, operations, operator,
    prefer::Preference,
    problems::{Code, Problem},
    query, trace, webhooks,
};
use crate::{
    payment::{IdempotencyKey, Payment, PaymentId, State, Timestamp},
    runtime::{Answer, Delivery, Engine, Filter, Page, Post},
};

/// How many payments a page holds where the caller does not say: a screenful or two.
pub(super) const DEFAULT_LIMIT: usize = 50;
/// The most that a page holds: about 250 KB of JSON.
pub(super) const MAX_LIMIT: usize = 500;
const _: () = assert!(DEFAULT_LIMIT <= MAX_LIMIT);

pub(super) type Answered = Result<Response, Problem>;
pub(super) type Id = Result<Path<String>, PathRejection>;

/// Every route there is.
pub(super) fn router(face: Arc<Face>) -> Router {
    Router::new()
        .route("/v1/payments", post(pay_by_route).get(list))
        .route("/v1/payments/{id}", get(show))
        .route("/v1/payments/{id}/capture", post(operations::capture))
        .route("/v1/payments/{id}/void", post(operations::void))
        .route("/v1/payments/{id}/refunds", post(operations::refund))
        .route("/v1/payments/{id}/inquire", post(operator::inquire))
        .route("/v1/payments/{id}/resolve", post(resolve))
        .route("/v1/webhooks/{gateway}", post(webhook))
        .route("/v1/events", get(feed))
        .route("/v1/webhooks/out", get(webhooks::list))
        .route("/v1/webhooks/out/{endpoint}/replay", post(webhooks::replay))
        .route("/v1/webhooks/out/{endpoint}/discard", post(webhooks::discard))
        .route("/v1/gateways/{gateway}/pause", post(operator::pause))
        .route("/v1/gateways/{gateway}/resume", post(operator::resume))
        .route("/v1/drain", post(operator::drain).delete(operator::admit))
        .route("/v1/audit", get(operator::audit))
        .route("/healthz", get(healthy))
        .route("/readyz", get(ready))
        .route("/v1/payments/{id}/outlook", get(observe::outlook))
        .route("/v1/stats", get(observe::stats))
        .route("/metrics", get(observe::metrics))
        .route("/assets/{file}", get(dashboard::asset))
        .route("/v1/key", get(auth::key))
        .route("/openapi.json", get(openapi::document_of_this))
        .route("/docs", get(docs::page))
        .route("/", get(dashboard::page))
        .fallback(nowhere)
        .method_not_allowed_fallback(no_such_method)
        .layer(middleware::from_fn_with_state(face.clone(), auth::admit))
        .layer(middleware::from_fn(intake::gate))
        .with_state(face)
}

/// Where payments are made.
const PAYMENTS: &str = "/v1/payments";

/// A payment that the router never saw: most of what comes is that, and a way through layers and boxes would cost it a
/// tenth of its processor time. All that the layers do is done here, by the same functions.
pub(super) async fn pay_at_once<B: HttpBody<Data = Bytes>>(face: &Arc<Face>, request: Request<B>) -> Response
where
    B::Error: Into<BoxError>,
{
    let paid = async |request: Request<B>| {
        let who = auth::who(face, request.method(), Some(PAYMENTS), request.headers())?;
        pay(face, who.ok_or_else(auth::unknown)?, request).await
    };
    intake::answer(request, Some(PAYMENTS), |request| async { paid(request).await.into_response() }).await
}

/// Whether a request would make a payment.
pub(super) fn is_payment<B>(request: &Request<B>) -> bool {
    request.method() == Method::POST && request.uri().path() == PAYMENTS
}

async fn pay_by_route(Shared(face): Shared<Arc<Face>>, who: Who, request: Request) -> Answered {
    pay(&face, who, request).await
}

async fn pay<B: HttpBody<Data = Bytes>>(face: &Face, who: Who, request: Request<B>) -> Answered
where
    B::Error: Into<BoxError>,
{
    let tenant = who.tenant()?;
    let (head, body) = request.into_parts();
    let key = key::read(&head.headers)?;
    trace::names(|| PaymentId::derive(tenant, &key));
    let preference = Preference::read(&head.headers);
    let meant = is_meant(&head.headers)?;
    let body = intake::json(&head.headers, body, face.patience).await?;
    let order = bodies::order(&body)?;
    drop(body);
    let (engine, wait) = (face.admitting()?, preference.wait());
    let Answer { payment, delivery } = engine.submit_as(tenant, &key, order, meant, wait).await?;
    Ok(answer(bodies::payment(&payment), payment.state(), payment.id, delivery, preference))
}

/// Whether its caller says that it is no duplicate, although it may look like one.
fn is_meant(headers: &HeaderMap) -> Result<bool, Problem> {
    match headers.get("payonce-duplicate") {
        None => Ok(false),
        Some(value) if value == "meant" => Ok(true),
        Some(_) => Err(Problem::invalid_request("Payonce-Duplicate must be \"meant\", or be left out")),
    }
}

/// 201 for what is settled, 202 for what is not yet.
pub(super) fn answer(
    body: Vec<u8>,
    state: State,
    id: PaymentId,
    delivery: Delivery,
    preference: Preference,
) -> Response {
    let mut response = json(body);
    let headers = response.headers_mut();
    if let Ok(location) = HeaderValue::try_from(format!("/v1/payments/{id}")) {
        headers.insert(header::LOCATION, location);
    }
    if let Some(applied) = preference.applied() {
        headers.insert(HeaderName::from_static("preference-applied"), applied);
    }
    match retry_after(state) {
        None => {
            if delivery == Delivery::Replayed {
                headers.insert(HeaderName::from_static("idempotent-replayed"), HeaderValue::from_static("true"));
            }
            *response.status_mut() = StatusCode::CREATED;
        }
        Some(seconds) => {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
            *response.status_mut() = StatusCode::ACCEPTED;
        }
    }
    response
}

/// When to ask again, in seconds; never, about what is settled.
const fn retry_after(state: State) -> Option<u64> {
    match state {
        State::Authorized | State::Succeeded | State::Declined | State::Canceled => None,
        // Gateways answer within seconds.
        State::Processing => Some(1),
        // Inquiries come seconds apart; so do payers.
        State::InDoubt | State::RequiresAction => Some(5),
        // People take longer.
        State::Parked => Some(60),
    }
}

async fn show(Shared(face): Shared<Arc<Face>>, who: Who, id: Id) -> Answered {
    let payment = own(&who, face.engine()?, id).await?;
    Ok(json(bodies::detailed(&payment)))
}

async fn list(Shared(face): Shared<Arc<Face>>, who: Who, uri: Uri) -> Answered {
    let names = ["state", "limit", "after", "idempotency_key", "attention"];
    let [state, limit, after, key, attention] = query::read(uri.query(), names)?;
    let invalid = |why: &'static str| Problem::invalid_request(why);
    let state = state.map(|state| State::parse(&state).ok_or_else(|| invalid("state must be a payment's state")));
    let after = after.map(|after| PaymentId::parse(&after).ok_or_else(|| invalid("after must be a page's next")));
    let filter = Filter {
        tenant: match who.tenants() {
            Tenants::One(tenant) => Some(tenant.clone()),
            Tenants::All => None,
        },
        state: state.transpose()?,
        attention: match attention.as_deref() {
            None | Some("false") => false,
            Some("true") => true,
            Some(_) => return Err(invalid("attention must be true or false")),
        },
        key: key.map(|key| IdempotencyKey::new(&key)).transpose()?,
        after: after.transpose()?,
        limit: self::limit(limit)?,
    };
    let page = match (&filter.tenant, &filter.key) {
        // A key is a name within one tenant.
        (None, Some(_)) => everybodys(&face, filter).await?,
        (Some(_) | None, Some(_) | None) => face.engine()?.list(filter).await?,
    };
    Ok(json(bodies::page(&page)))
}

/// The payments of one key, of every tenant that has one.
async fn everybodys(face: &Face, filter: Filter) -> Result<Page, Problem> {
    let mut page = Page::default();
    for tenant in face.keys().map(|keys| keys.tenants()).unwrap_or_default() {
        let of_one = Filter { tenant: Some(tenant), ..filter.clone() };
        page.payments.extend(face.engine()?.list(of_one).await?.payments);
    }
    Ok(page)
}

/// How many a page may hold, where the query says.
pub(super) fn limit(asked: Option<String>) -> Result<usize, Problem> {
    let invalid = || Problem::invalid_request("limit must be from 1 to 500");
    asked.map_or(Ok(DEFAULT_LIMIT), |limit| whole_number(&limit).ok_or_else(invalid))
}

/// A limit: digits only, in range.
fn whole_number(text: &str) -> Option<usize> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| text.parse().ok()).flatten().filter(|limit| (1..=MAX_LIMIT).contains(limit))
}

async fn resolve(Shared(face): Shared<Arc<Face>>, who: Who, id: Id, request: Request) -> Answered {
    let (head, body) = request.into_parts();
    let body = intake::json(&head.headers, body, face.patience).await?;
    let resolution = bodies::resolution(&body)?;
    let engine = face.admitting()?;
    let payment = engine.resolve_as(own(&who, engine, id).await?.id, resolution, who.name()).await?;
    Ok(json(bodies::detailed(&payment)))
}

/// The payment that a path names; what is no id names none.
pub(super) fn id_of(id: Id) -> Result<PaymentId, Problem> {
    let id = id.ok().and_then(|Path(id)| PaymentId::parse(&id)).ok_or_else(Problem::no_such_payment)?;
    trace::names(|| id);
    Ok(id)
}

/// The payment of an id, if it exists for who asks.
pub(super) async fn own(who: &Who, engine: &Engine, id: Id) -> Result<Arc<Payment>, Problem> {
    let id = id_of(id)?;
    let payment = engine.get(id).await?.filter(|payment| who.tenants().hold(&payment.tenant));
    payment.ok_or_else(Problem::no_such_payment)
}

/// News from a gateway. 204 once it is durable; anything else, and the gateway should say it again.
async fn webhook(Shared(face): Shared<Arc<Face>>, name: Id, request: Request) -> Answered {
    let (head, body) = request.into_parts();
    let body = intake::bytes(body, face.patience).await?;
    let text = |value: &HeaderValue| value.to_str().ok().map(str::to_owned);
    let named = |(name, value): (&HeaderName, &HeaderValue)| Some((name.as_str().to_owned(), text(value)?));
    let headers: Vec<(String, String)> = head.headers.iter().filter_map(named).collect();
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let at = Timestamp::from_millis(u64::try_from(since.as_millis()).unwrap_or(u64::MAX));
    let name = name.map(|Path(name)| name).unwrap_or_default();
    face.engine()?.receive(&name, &Post { headers: &headers, body: &body, at }).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

async fn feed(Shared(face): Shared<Arc<Face>>, who: Who, request: Request) -> Answered {
    let after = events::last_event_id(request.headers())?;
    let engine = face.engine()?;
    Ok(events::stream(events::Feed::new(engine.clone(), after, who), face.keys.subscribe(), face.stopping()))
}

async fn healthy() -> Response {
    json(br#"{"status":"alive"}"#.to_vec())
}

async fn ready(Shared(face): Shared<Arc<Face>>) -> Answered {
    match face.admitting()?.is_draining() {
        true => Err(Problem::draining()),
        false => Ok(json(br#"{"status":"ready"}"#.to_vec())),
    }
}

async fn nowhere() -> Problem {
    Problem::new(Code::NotFound, "there is nothing at this path")
}

async fn no_such_method() -> Problem {
    Problem::new(Code::MethodNotAllowed, "see the Allow header for the methods of this path")
}

pub(super) fn json(body: Vec<u8>) -> Response {
    ([(header::CONTENT_TYPE, HeaderValue::from_static("application/json"))], Body::from(body)).into_response()
}
