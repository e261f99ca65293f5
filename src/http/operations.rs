//! Captures, voids and refunds of a payment.

use std::sync::Arc;

use axum::{
    extract::{Request, State as Shared},
    http::HeaderMap,
    response::Response,
};

use super::{
    Face,
    auth::{Tenants, Who},
    bodies, intake,
    json::Object,
    key,
    prefer::Preference,
    problems::Problem,
    routes::{Answered, Id, answer, id_of, own},
};
use crate::payment::{Amount, FollowUp};

/// The fields of a capture's or refund's body; a void has none.
pub(super) const PART: &[&str] = &["amount"];

pub(super) async fn capture(Shared(face): Shared<Arc<Face>>, who: Who, id: Id, request: Request) -> Answered {
    let (headers, amount) = part(&face, request).await?;
    operate(&face, &who, id, &headers, FollowUp::Capture(amount)).await
}

pub(super) async fn refund(Shared(face): Shared<Arc<Face>>, who: Who, id: Id, request: Request) -> Answered {
    let (headers, amount) = part(&face, request).await?;
    operate(&face, &who, id, &headers, FollowUp::Refund(amount)).await
}

pub(super) async fn void(Shared(face): Shared<Arc<Face>>, who: Who, id: Id, request: Request) -> Answered {
    let (head, body) = request.into_parts();
    intake::nothing(&head.headers, body, face.patience).await?;
    operate(&face, &who, id, &head.headers, FollowUp::Void).await
}

/// How much, where the body says.
async fn part(face: &Face, request: Request) -> Result<(HeaderMap, Option<Amount>), Problem> {
    let (head, body) = request.into_parts();
    let body = intake::json_or_nothing(&head.headers, body, face.patience).await?;
    let amount = match body {
        Some(body) => Object::read(&body, PART)?.optional_amount("amount")?,
        None => None,
    };
    Ok((head.headers, amount))
}

async fn operate(
    face: &Face,
    who: &Who,
    id: Id,
    headers: &HeaderMap,
    follow_up: FollowUp,
) -> Result<Response, Problem> {
    let key = key::read(headers)?;
    let preference = Preference::read(headers);
    let engine = face.admitting()?;
    let (id, tenant) = match who.tenants() {
        // The engine looks whose it is, in the turn itself.
        Tenants::One(tenant) => (id_of(id)?, tenant.clone()),
        Tenants::All => {
            let payment = own(who, engine, id).await?;
            (payment.id, payment.tenant.clone())
        }
    };
    let operated = engine.operate(&tenant, id, &key, follow_up, preference.wait()).await?;
    let Some(operation) = operated.operation() else { return Err(Problem::no_such_payment()) };
    let body = bodies::operation(&operated.payment, operation);
    Ok(answer(body, operation.state(), operated.payment.id, operated.delivery, preference))
}
