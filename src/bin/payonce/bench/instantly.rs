//! A gateway that says yes at once: what is measured is the engine.

use payonce::{
    Invalid,
    gateway::{Answer, Asked, Gateway, Question, Sending},
    payment::{Contract, Identity, Outcome, Reply},
};
use serde::Serialize;

/// Payments from here are left in doubt.
pub(super) const DOUBTFUL: &str = "acct_in_doubt";

pub(super) struct Instantly {
    contract: Contract,
    /// What became of what it left in doubt.
    knows: bool,
}

impl Instantly {
    pub(super) fn new(knows: bool) -> Instantly {
        let contract = Contract::standard(Identity { name: "instantly".into(), ..Identity::default() });
        Instantly { contract, knows }
    }
}

/// What it would be sent: what the HTTP gateway is.
#[derive(Serialize)]
struct Body<'a> {
    reference: String,
    amount: u64,
    currency: &'a str,
    source: &'a str,
    destination: &'a str,
    capture: &'a str,
}

fn yes() -> Outcome {
    Outcome::Succeeded(Reply::new("approved", "").with_reference("ch_000000000001"))
}

fn no_answer() -> Outcome {
    Outcome::Unknown(Reply::new("timeout", ""))
}

impl Gateway for Instantly {
    fn contract(&self) -> &Contract {
        &self.contract
    }

    fn encode(&self, asked: &Asked<'_>) -> Result<Vec<u8>, Invalid> {
        let Asked { operation_key, amount, order, .. } = asked;
        let body = Body {
            reference: operation_key.to_string(),
            amount: amount.minor_units(),
            currency: order.currency.as_str(),
            source: &order.source,
            destination: &order.destination,
            capture: order.capture.as_str(),
        };
        Ok(serde_json::to_vec(&body).unwrap_or_default()) // Strings and a number: it cannot fail.
    }

    fn send(&self, sending: Sending) -> Answer<'_> {
        let doubtful = sending.request.windows(DOUBTFUL.len()).any(|part| part == DOUBTFUL.as_bytes());
        Box::pin(async move { if doubtful { no_answer() } else { yes() } })
    }

    fn inquire(&self, _: Question) -> Answer<'_> {
        Box::pin(async { if self.knows { yes() } else { no_answer() } })
    }

    fn answers_at_once(&self) -> bool {
        true
    }
}
