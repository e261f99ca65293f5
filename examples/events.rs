//! Follows the feed of events, stops, and goes on where it stopped. `cargo run --example events`
#![allow(clippy::print_stdout, reason = "an example shows what it does")]

use std::{env, error::Error, fs, process, sync::Arc};

use payonce::{
    Amount, Currency, Engine, Events, Lsn, Options, Order,
    gateway::sandbox::{Faults, Sandbox, SandboxGateway},
};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let folder = env::temp_dir().join(format!("payonce-example-events-{}", process::id()));
    let gateway = Arc::new(SandboxGateway::new(Sandbox::in_memory(1, Faults::none())));
    let engine = Engine::open(Options::new(&folder), gateway).await?;

    engine.pay("order-1", order()?).await?;
    let seen = read_until_ended(engine.events(Lsn::ZERO)).await?;
    println!("stopped at {seen}; a consumer keeps this number with what it made of the events");

    engine.pay("order-2", order()?).await?;
    read_until_ended(engine.events(seen)).await?;

    engine.close().await?;
    fs::remove_dir_all(&folder)?;
    Ok(())
}

/// Prints events up to the end of an attempt, and returns the place of the last.
async fn read_until_ended(mut events: Events) -> Result<Lsn, Box<dyn Error>> {
    while let Some((lsn, event)) = events.next().await {
        println!("{lsn} {} {}", event.payment, event.fact.name());
        if event.fact.name() == "attempt_ended" {
            return Ok(lsn);
        }
    }
    Err("the engine stopped".into())
}

fn order() -> Result<Order, payonce::Invalid> {
    Order::new(Amount::new(1050)?, Currency::new("USD")?, "acct_alice", "acct_bob")
}
