//! An idempotency key, as services commonly do it: a table with a row for each key, the intent in it before the gateway
//! is called, and the answer after. What keeps the table is the peer.
//!
//! What a real service would need beside it, and these peers lack: something that takes up what a crash or a lost reply
//! has left in flight. Such a key is answered 409 for ever.

use std::sync::Arc;

use hyper::{Method, StatusCode};

use crate::{
    Failed, Options,
    http::{self, Answer, Call, Gateway},
    wire::{self, Order},
};

/// A payment that is asked for properly.
pub struct Wanted {
    pub key: String,
    pub order: Order,
}

impl Wanted {
    pub fn read(call: &Call) -> Result<Self, Answer> {
        if !call.is(Method::POST, "/v1/payments") {
            return Err(Answer::problem(StatusCode::NOT_FOUND, "not_found"));
        }
        let refuse = |code| Answer::problem(StatusCode::BAD_REQUEST, code);
        let key = call.key().ok_or_else(|| refuse("idempotency_key_required"))?.to_owned();
        let order = Order::read(&call.body).ok_or_else(|| refuse("invalid_request"))?;
        Ok(Self { key, order })
    }
}

/// What the table has for a key, once the intent was to be written there.
pub enum Begun {
    /// Nothing: the intent is durable now, and its caller has to make the payment.
    New,
    /// The payment of this order, with its answer if there is one yet.
    Known { order: String, answer: Option<String> },
}

/// A durable table of keys. Each step is on the disk when it returns.
pub trait Table: Send + Sync + 'static {
    fn begin(&self, key: &str, order: &str) -> impl Future<Output = Result<Begun, Failed>> + Send;
    fn finish(&self, key: &str, answer: &str) -> impl Future<Output = Result<(), Failed>> + Send;
}

struct Service<T> {
    table: T,
    gateway: Gateway,
}

impl<T: Table> Service<T> {
    async fn pay(&self, call: &Call) -> Result<Answer, Failed> {
        let Wanted { key, order } = match Wanted::read(call) {
            Ok(asked) => asked,
            Err(refused) => return Ok(refused),
        };
        let canonical = order.canonical();
        match self.table.begin(&key, &canonical).await? {
            Begun::Known { order, .. } if order != canonical => {
                Ok(Answer::problem(StatusCode::UNPROCESSABLE_ENTITY, "idempotency_conflict"))
            }
            Begun::Known { answer: Some(answer), .. } => Ok(Answer::replayed(StatusCode::CREATED, answer)),
            Begun::Known { answer: None, .. } => Ok(Answer::problem(StatusCode::CONFLICT, "in_progress")),
            Begun::New => {
                let charged = self.gateway.charge(&key, &order).await?;
                let answer = wire::paid(&key, &order, &charged);
                self.table.finish(&key, &answer).await?;
                Ok(Answer::new(StatusCode::CREATED, answer))
            }
        }
    }
}

async fn answer<T: Table>(service: Arc<Service<T>>, call: Call) -> Answer {
    // A task of its own: a caller that hangs up must not stop the payment between its two steps.
    let paid = tokio::spawn(async move { service.pay(&call).await });
    paid.await.map_err(Failed::from).flatten().unwrap_or_else(|why| {
        eprintln!("once: {why}");
        Answer::problem(StatusCode::INTERNAL_SERVER_ERROR, "outcome_unknown")
    })
}

/// Serves payments of this table.
pub async fn serve<T: Table>(options: &Options, table: T) -> Result<(), Failed> {
    let service = Arc::new(Service { table, gateway: Gateway::new(options)? });
    http::serve(options, move |call| answer(service.clone(), call)).await
}
