//! HTTP in, HTTP out to the gateway, and nothing remembered: what no service that makes payments durable can beat by
//! much, with the same HTTP on the same machine. It fails at everything that payonce is for.

use std::sync::Arc;

use hyper::StatusCode;

use crate::{
    Failed, Options,
    http::{self, Answer, Call, Gateway},
    once::Wanted,
    wire,
};

async fn pay(gateway: Arc<Gateway>, call: Call) -> Answer {
    let Wanted { key, order } = match Wanted::read(&call) {
        Ok(asked) => asked,
        Err(refused) => return refused,
    };
    match gateway.charge(&key, &order).await {
        Ok(charged) => Answer::new(StatusCode::CREATED, wire::paid(&key, &order, &charged)),
        Err(why) => {
            eprintln!("proxy: {why}");
            Answer::problem(StatusCode::BAD_GATEWAY, "outcome_unknown")
        }
    }
}

/// `--listen IP:PORT --gateway IP:PORT`
pub async fn serve(options: &Options) -> Result<(), Failed> {
    let gateway = Arc::new(Gateway::new(options)?);
    http::serve(options, move |call| pay(gateway.clone(), call)).await
}
