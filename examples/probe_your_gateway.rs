//! A test for an adapter of one's own: does it keep what it declares? `cargo run --example probe_your_gateway`
#![allow(clippy::print_stdout, reason = "an example shows what it does")]

use std::{
    collections::HashSet,
    error::Error,
    sync::{Mutex, PoisonError},
};

use payonce::{
    Amount, Currency, IdempotencyKey, Invalid, Order,
    gateway::{
        Answer, Asked, Gateway, Question, Sending,
        probe::{Plan, Probe},
    },
    payment::{Contract, Identity, OperationKey, Outcome, Reply},
};

/// Remembers that a key was seen, but not for what, and never looks at its deadline: the probe finds out.
struct Careless {
    contract: Contract,
    seen: Mutex<HashSet<OperationKey>>,
}

impl Gateway for Careless {
    fn contract(&self) -> &Contract {
        &self.contract
    }

    fn encode(&self, asked: &Asked<'_>) -> Result<Vec<u8>, Invalid> {
        Ok(format!("{} {} {}", asked.operation_key, asked.amount, asked.order.currency).into_bytes())
    }

    fn send(&self, sending: Sending) -> Answer<'_> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).insert(sending.operation_key);
        let reply = Reply::new("ok", "done").with_reference(&sending.operation_key.to_string());
        Box::pin(async { Outcome::Succeeded(reply) })
    }

    fn inquire(&self, question: Question) -> Answer<'_> {
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner).contains(&question.operation_key);
        let reply = Reply::new("ok", "done").with_reference(&question.operation_key.to_string());
        Box::pin(async move { if seen { Outcome::Succeeded(reply) } else { Outcome::NotFound } })
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let identity = Identity { name: "careless".into(), ..Identity::default() };
    let adapter = Careless { contract: Contract::standard(identity), seen: Mutex::default() };
    let order = Order::new(Amount::new(100)?, Currency::new("USD")?, "acct_alice", "acct_bob")?;
    // In a test against a real test account: a name that no other run had, such as one made of the time.
    let report = Probe::new(&adapter, Plan::new(IdempotencyKey::new("run-1")?, order)).run().await?;
    println!("{report}\nWhat an adapter's test would fail with:");
    // In a test: assert_eq!(report.contradictions().count(), 0, "{report}");
    report.contradictions().for_each(|finding| println!("{finding}"));
    Ok(())
}
