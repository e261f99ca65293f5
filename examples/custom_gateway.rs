//! A gateway of one's own: its contract, its bytes, and what its answers mean. `cargo run --example custom_gateway`
#![allow(clippy::print_stdout, reason = "an example shows what it does")]
use std::{collections::HashSet, env, error::Error, fs, process, sync::Arc, time::Instant};

use payonce::{
    Amount, Currency, Engine, Invalid, Options, Order,
    gateway::{Answer, Asked, Gateway, Question, Sending},
    payment::{Contract, Identity, OperationKey, Outcome, Reply},
};
use tokio::sync::Mutex;

/// A bank that remembers every key for ever, and always says yes. A real adapter has a connection here.
struct Bank {
    contract: Contract,
    done: Mutex<HashSet<OperationKey>>,
}

impl Gateway for Bank {
    fn contract(&self) -> &Contract {
        &self.contract
    }

    /// Recorded before anything is sent, and sent as they are, now and after any restart: no secrets, no clock.
    fn encode(&self, asked: &Asked<'_>) -> Result<Vec<u8>, Invalid> {
        Ok(format!("{} {} {}", asked.operation_key, asked.amount, asked.order.currency).into_bytes())
    }

    /// `NotSent` only if not one byte left. Whatever is not understood is `Unknown`.
    fn send(&self, sending: Sending) -> Answer<'_> {
        Box::pin(async move {
            if Instant::now() >= sending.deadline {
                return Outcome::NotSent(Reply::new("deadline", "the time to send it had passed"));
            }
            println!("bank got: {}", String::from_utf8_lossy(&sending.request));
            // Decided and deduplicated in one step: a key that is known is not acted on again.
            self.done.lock().await.insert(sending.operation_key);
            Outcome::Succeeded(Reply::new("ok", "done"))
        })
    }

    fn inquire(&self, question: Question) -> Answer<'_> {
        Box::pin(async move {
            let done = self.done.lock().await.contains(&question.operation_key);
            if done { Outcome::Succeeded(Reply::new("ok", "done")) } else { Outcome::NotFound }
        })
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    // The standard contract: deduplicates by key for 24 h, and can be asked. State what yours does, and no more.
    let contract = Contract::standard(Identity { name: "bank".into(), ..Identity::default() });
    let folder = env::temp_dir().join(format!("payonce-example-custom-{}", process::id()));
    let engine = Engine::open(Options::new(&folder), Arc::new(Bank { contract, done: Mutex::default() })).await?;
    let order = Order::new(Amount::new(1050)?, Currency::new("USD")?, "acct_alice", "acct_bob")?;
    println!("{}", engine.pay("order-1234", order).await?.payment.state().as_str());
    engine.close().await?;
    Ok(fs::remove_dir_all(&folder)?)
}
