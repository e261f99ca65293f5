//! What operators do, other than to decide about a payment: each deed is recorded, with who did it and why, before it
//! takes effect. And the trail of all that.

use std::sync::Arc;

use axum::{
    extract::{Path, Request, State as Shared, rejection::PathRejection},
    http::Uri,
};
use serde::Serialize;
use utoipa::ToSchema;

use super::{
    Face,
    auth::Who,
    bodies::{self, MAX_ACTOR, MAX_REASON, render, spoken},
    intake,
    json::Object,
    problems::{Code, Problem},
    query,
    routes::{Answered, Id, json, limit, own},
};
use crate::{
    payment::{Audit, Deed, Identity, Person},
    runtime::{Audits, Engine, Lsn},
    told::Rfc3339,
};

/// The fields of the body of whoever acts.
pub(super) const PERSON: &[&str] = &["actor", "reason"];

/// Has the gateway asked now about a payment.
pub(super) async fn inquire(Shared(face): Shared<Arc<Face>>, who: Who, id: Id, request: Request) -> Answered {
    let person = perhaps(&face, &who, request).await?;
    let engine = face.admitting()?;
    let id = own(&who, engine, id).await?.id;
    engine.act(Deed::Inquire(id), who.name(), person).await?;
    Ok(json(bodies::detailed(engine.inquire(id).await?.as_ref())))
}

/// Has nothing more sent to a gateway.
pub(super) async fn pause(face: Shared<Arc<Face>>, who: Who, name: Name, request: Request) -> Answered {
    set(face, who, name, request, true).await
}

/// Ends that.
pub(super) async fn resume(face: Shared<Arc<Face>>, who: Who, name: Name, request: Request) -> Answered {
    set(face, who, name, request, false).await
}

type Name = Result<Path<String>, PathRejection>;

async fn set(Shared(face): Shared<Arc<Face>>, who: Who, name: Name, request: Request, paused: bool) -> Answered {
    let person = certainly(&face, request).await?;
    let engine = face.admitting()?;
    let found = name.ok().and_then(|Path(name)| Some((engine.gateway(&name)?, name)));
    let (gateway, name) = found.ok_or_else(|| Problem::new(Code::NotFound, "no gateway of this name is configured"))?;
    let identity = gateway.to_string();
    let body = render(&PauseBody { gateway: &name, identity: &identity, paused });
    engine.act(pausing(name.clone(), gateway, paused), who.name(), person).await?;
    Ok(json(body))
}

const fn pausing(name: String, gateway: Identity, paused: bool) -> Deed {
    match paused {
        true => Deed::Pause { name, gateway },
        false => Deed::Resume { name, gateway },
    }
}

/// Has nothing new taken.
pub(super) async fn drain(Shared(face): Shared<Arc<Face>>, who: Who, request: Request) -> Answered {
    let person = certainly(&face, request).await?;
    face.admitting()?.act(Deed::Drain, who.name(), person).await?;
    Ok(json(render(&DrainBody { draining: true })))
}

/// Ends that.
pub(super) async fn admit(Shared(face): Shared<Arc<Face>>, who: Who, request: Request) -> Answered {
    let person = perhaps(&face, &who, request).await?;
    face.admitting()?.act(Deed::Admit, who.name(), person).await?;
    Ok(json(render(&DrainBody { draining: false })))
}

/// What operators did, newest first.
pub(super) async fn audit(Shared(face): Shared<Arc<Face>>, uri: Uri) -> Answered {
    let [asked, before] = query::read(uri.query(), ["limit", "before"])?;
    let invalid = || Problem::invalid_request("before must be a page's next");
    let place = |text: String| match text.bytes().all(|byte| byte.is_ascii_digit()) {
        true => text.parse().map(Lsn::new).map_err(|_| invalid()),
        false => Err(invalid()),
    };
    let (limit, before) = (limit(asked)?, before.map(place).transpose()?);
    let engine: &Engine = face.engine()?;
    Ok(json(trail(&engine.audits(before, limit).await?)))
}

/// Who acts and why, where both have to be said.
async fn certainly(face: &Face, request: Request) -> Result<Person, Problem> {
    let (head, body) = request.into_parts();
    let body = intake::json(&head.headers, body, face.patience).await?;
    let object = Object::read(&body, PERSON)?;
    Ok(Person {
        actor: spoken("actor", object.text("actor")?, MAX_ACTOR)?,
        reason: spoken("reason", object.text("reason")?, MAX_REASON)?,
    })
}

/// Who acts and why, where neither has to be said.
async fn perhaps(face: &Face, who: &Who, request: Request) -> Result<Person, Problem> {
    let (head, body) = request.into_parts();
    match intake::json_or_nothing(&head.headers, body, face.patience).await? {
        Some(body) => person(who, &Object::read(&body, PERSON)?),
        None => Ok(Person { actor: who.name().unwrap_or_default(), reason: String::new() }),
    }
}

/// Who acts: by their own word, or else by their key's name; and why, if they say.
pub(super) fn person(who: &Who, object: &Object<'_>) -> Result<Person, Problem> {
    let said =
        |name: &'static str, max: usize| object.optional_text(name)?.map(|text| spoken(name, text, max)).transpose();
    Ok(Person {
        actor: said("actor", MAX_ACTOR)?.or_else(|| who.name()).unwrap_or_default(),
        reason: said("reason", MAX_REASON)?.unwrap_or_default(),
    })
}

fn trail(audits: &Audits) -> Vec<u8> {
    render(&AuditsBody { deeds: audits.audits.iter().map(AuditBody::from).collect(), next: audits.next.map(Lsn::get) })
}

/// What operators did, newest first.
#[derive(Serialize, ToSchema)]
#[schema(as = Audits)]
pub(super) struct AuditsBody<'a> {
    deeds: Vec<AuditBody<'a>>,
    /// What to ask for as `before` to get the next page; null on the last one. A page may be short, and still have a next.
    #[schema(required)]
    next: Option<u64>,
}

/// One thing that an operator did.
#[derive(Serialize, ToSchema)]
#[schema(as = Audit)]
struct AuditBody<'a> {
    /// Its place in the journal.
    lsn: u64,
    at: Rfc3339,
    #[schema(value_type = Deed)]
    action: &'static str,
    /// To what: a payment's id, a gateway, or a receiver of webhooks and an event. Null: the whole daemon.
    #[schema(required)]
    target: Option<String>,
    /// Who it was, by their own word, or else by their key's name; null: nobody said.
    #[schema(required)]
    actor: Option<&'a str>,
    /// The name of the API key that it was done with; null, where there are no keys.
    #[schema(required)]
    key: Option<&'a str>,
    /// Why; null: nobody said.
    #[schema(required)]
    reason: Option<&'a str>,
}

impl<'a> From<&'a (Lsn, Audit)> for AuditBody<'a> {
    fn from((lsn, audit): &'a (Lsn, Audit)) -> AuditBody<'a> {
        let said = |text: &'a str| Some(text).filter(|text| !text.is_empty());
        AuditBody {
            lsn: lsn.get(),
            at: Rfc3339(audit.at),
            action: audit.deed.name(),
            target: audit.deed.target(),
            actor: said(&audit.person.actor),
            key: audit.key.as_deref(),
            reason: said(&audit.person.reason),
        }
    }
}

/// How a gateway now stands.
#[derive(Serialize, ToSchema)]
#[schema(as = GatewayPause)]
pub(super) struct PauseBody<'a> {
    gateway: &'a str,
    identity: &'a str,
    /// Whether nothing is sent to it.
    paused: bool,
}

/// How the daemon now stands.
#[derive(Serialize, ToSchema)]
#[schema(as = Drain)]
pub(super) struct DrainBody {
    /// Whether nothing new is taken.
    draining: bool,
}
