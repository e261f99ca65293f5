//! The gateway stub: says yes to every charge at once, and counts them. It remembers nothing, so it cannot be asked,
//! and a second call for the same payment shows in its count.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use hyper::{Method, StatusCode};

use crate::{
    Failed, Options,
    http::{self, Answer, Call},
    wire::{Asked, Charged},
};

struct Stub {
    charges: AtomicU64,
    delay: Duration,
}

impl Stub {
    async fn answer(&self, call: Call) -> Answer {
        if call.is(Method::POST, "/charges") {
            return self.charge(&call.body).await;
        }
        if call.is(Method::GET, "/charges") {
            let charges = self.charges.load(Ordering::Relaxed);
            return Answer::new(StatusCode::OK, format!(r#"{{"charges":{charges}}}"#));
        }
        // Not 404: that would say of a charge that it did not happen.
        Answer::problem(StatusCode::NOT_IMPLEMENTED, "remembers_nothing")
    }

    async fn charge(&self, body: &[u8]) -> Answer {
        let Ok(asked) = serde_json::from_slice::<Asked>(body) else {
            return Answer::problem(StatusCode::BAD_REQUEST, "invalid_request");
        };
        let number = self.charges.fetch_add(1, Ordering::Relaxed);
        if !self.delay.is_zero() {
            tokio::time::sleep(self.delay).await;
        }
        let charged = Charged {
            reference: asked.reference,
            gateway_reference: format!("stub_{number}"),
            status: "succeeded".to_owned(),
            amount: asked.amount,
            currency: asked.currency,
            code: "ok".to_owned(),
            message: "done".to_owned(),
        };
        Answer::new(StatusCode::OK, serde_json::to_string(&charged).unwrap_or_default())
    }
}

/// `--listen IP:PORT`, and `--delay-ms N` for the check of what happens meanwhile.
pub async fn serve(options: &Options) -> Result<(), Failed> {
    let delay = Duration::from_millis(options.or("delay-ms", 0)?);
    let stub = Arc::new(Stub { charges: AtomicU64::new(0), delay });
    let handle = move |call| {
        let stub = stub.clone();
        async move { stub.answer(call).await }
    };
    http::serve(options, handle).await
}
