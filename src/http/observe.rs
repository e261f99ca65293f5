//! What the daemon tells of itself: its numbers, and what is next for a payment.

use std::sync::Arc;

use axum::{
    extract::{Path, State as Shared, rejection::PathRejection},
    http::header,
    response::IntoResponse,
};

use super::{
    Face,
    auth::Who,
    metrics,
    problems::Problem,
    routes::{Answered, json, own},
    stats,
};

pub(super) async fn stats(Shared(face): Shared<Arc<Face>>) -> Answered {
    Ok(json(stats::stats(face.engine()?)))
}

pub(super) async fn metrics(Shared(face): Shared<Arc<Face>>) -> Answered {
    let text = metrics::render(&face.engine()?.stats());
    Ok(([(header::CONTENT_TYPE, metrics::CONTENT_TYPE)], text).into_response())
}

pub(super) async fn outlook(
    Shared(face): Shared<Arc<Face>>,
    who: Who,
    id: Result<Path<String>, PathRejection>,
) -> Answered {
    let engine = face.engine()?;
    let id = own(&who, engine, id).await?.id;
    let outlooks = engine.outlook(id).await?.ok_or_else(Problem::no_such_payment)?;
    Ok(json(stats::outlook(&outlooks)))
}
