//! What operators ask of the webhook deliveries: how they stand, try again, forget.

use std::sync::Arc;

use axum::{
    body::Body,
    extract::{Path, Request, State as Shared, rejection::PathRejection},
    http::{HeaderValue, header},
    response::{IntoResponse, Response},
};
use serde::Serialize;
use utoipa::ToSchema;

use super::{
    Face,
    auth::Who,
    bodies::{render, spoken},
    intake,
    json::Object,
    operator,
    problems::{Code, Problem},
};
use crate::{
    deliver::{Deliveries, Failing, Standing, Undelivered},
    payment::{Deed, PaymentId, Person},
    told::{Rfc3339, Text},
};

type Answered = Result<Response, Problem>;
type Name = Result<Path<String>, PathRejection>;

/// The fields of the body that names an event, and who asks.
pub(super) const EVENT: &[&str] = &["id", "actor", "reason"];
/// The longest id of an event, in characters: ours are far shorter, and this one is kept in the journal.
pub(super) const MAX_EVENT: usize = 255;

/// How it stands with every receiver.
pub(super) async fn list(Shared(face): Shared<Arc<Face>>) -> Answered {
    let end = face.engine()?.durable().get();
    let standings = match face.deliveries() {
        Some(deliveries) => deliveries.standings().await,
        None => Vec::new(),
    };
    Ok(json(&StandingsBody {
        end,
        endpoints: standings.iter().map(|standing| EndpointBody::of(standing, end)).collect(),
    }))
}

/// Tries one event again, or all.
pub(super) async fn replay(Shared(face): Shared<Arc<Face>>, who: Who, name: Name, request: Request) -> Answered {
    let (name, id, person) = asked(&face, &who, name, request).await?;
    let deed = Deed::Replay { webhook: name.clone(), event: id.clone() };
    face.engine()?.act(deed, who.name(), person).await?;
    let replayed = deliveries(&face)?.replay(&name, id.clone()).await.ok_or_else(no_such_endpoint)?;
    if replayed == 0 && id.is_some() {
        return Err(no_such_event());
    }
    Ok(json(&Count { replayed: Some(replayed), discarded: None }))
}

/// Forgets one dead event.
pub(super) async fn discard(Shared(face): Shared<Arc<Face>>, who: Who, name: Name, request: Request) -> Answered {
    let (name, id, person) = asked(&face, &who, name, request).await?;
    let id = id.ok_or_else(|| Problem::invalid_request("id is required"))?;
    let deed = Deed::Discard { webhook: name.clone(), event: id.clone() };
    face.engine()?.act(deed, who.name(), person).await?;
    match deliveries(&face)?.discard(&name, id).await.ok_or_else(no_such_endpoint)? {
        0 => Err(no_such_event()),
        discarded => Ok(json(&Count { replayed: None, discarded: Some(discarded) })),
    }
}

/// The receiver's name, and what the body says: which event, who asks, and why.
async fn asked(
    face: &Face,
    who: &Who,
    name: Name,
    request: Request,
) -> Result<(String, Option<String>, Person), Problem> {
    let (head, body) = request.into_parts();
    let body = intake::json(&head.headers, body, face.patience).await?;
    let object = Object::read(&body, EVENT)?;
    let id = object.optional_text("id")?.map(|id| spoken("id", id, MAX_EVENT)).transpose()?;
    let person = operator::person(who, &object)?;
    let Path(name) = name.map_err(|_| no_such_endpoint())?;
    match deliveries(face)?.knows(&name) {
        true => Ok((name, id, person)),
        false => Err(no_such_endpoint()),
    }
}

fn deliveries(face: &Face) -> Result<&Deliveries, Problem> {
    face.engine()?;
    face.deliveries().ok_or_else(no_such_endpoint)
}

fn no_such_endpoint() -> Problem {
    Problem::new(Code::NotFound, "there is no webhook of this name")
}

fn no_such_event() -> Problem {
    Problem::new(Code::NotFound, "no event of this id is waiting or dead: it was delivered, or discarded")
}

#[derive(Serialize, ToSchema)]
#[schema(as = Deliveries)]
pub(super) struct StandingsBody<'a> {
    /// The end of the journal.
    end: u64,
    endpoints: Vec<EndpointBody<'a>>,
}

#[derive(Serialize, ToSchema)]
#[schema(as = Endpoint)]
struct EndpointBody<'a> {
    name: &'a str,
    target: &'a str,
    /// Up to where in the journal everything was delivered, or is waiting or dead here.
    cursor: u64,
    /// How far that is behind the end.
    lag: u64,
    #[schema(required)]
    failing: Option<FailingBody<'a>>,
    waiting: Vec<UndeliveredBody<'a>>,
    dead: Vec<UndeliveredBody<'a>>,
}

impl<'a> EndpointBody<'a> {
    fn of(standing: &'a Standing, end: u64) -> EndpointBody<'a> {
        let cursor = standing.cursor.get();
        EndpointBody {
            name: &standing.name,
            target: &standing.target,
            cursor,
            lag: end.saturating_sub(cursor),
            failing: standing.failing.as_ref().map(FailingBody::from),
            waiting: standing.waiting.iter().map(UndeliveredBody::from).collect(),
            dead: standing.dead.iter().map(UndeliveredBody::from).collect(),
        }
    }
}

#[derive(Serialize, ToSchema)]
#[schema(as = Failing)]
struct FailingBody<'a> {
    times: u32,
    since: Rfc3339,
    why: &'a str,
}

impl<'a> From<&'a Failing> for FailingBody<'a> {
    fn from(failing: &'a Failing) -> FailingBody<'a> {
        FailingBody { times: failing.times, since: Rfc3339(failing.since), why: &failing.why }
    }
}

#[derive(Serialize, ToSchema)]
#[schema(as = Undelivered)]
struct UndeliveredBody<'a> {
    id: &'a str,
    #[serde(rename = "type")]
    kind: &'a str,
    #[schema(value_type = PaymentId)]
    payment: Text<PaymentId>,
    lsn: u64,
    #[schema(required)]
    failing: Option<FailingBody<'a>>,
}

impl<'a> From<&'a Undelivered> for UndeliveredBody<'a> {
    fn from(event: &'a Undelivered) -> UndeliveredBody<'a> {
        let failing = event.failing.as_ref().map(FailingBody::from);
        UndeliveredBody {
            id: &event.id,
            kind: &event.kind,
            payment: Text(event.payment),
            lsn: event.lsn.get(),
            failing,
        }
    }
}

/// How many events this was about; only what was asked for is there.
#[derive(Serialize, ToSchema)]
pub(super) struct Count {
    #[serde(skip_serializing_if = "Option::is_none")]
    replayed: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    discarded: Option<usize>,
}

fn json(body: &impl Serialize) -> Response {
    ([(header::CONTENT_TYPE, HeaderValue::from_static("application/json"))], Body::from(render(body))).into_response()
}
