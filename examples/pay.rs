//! Opens an engine, pays, pays again under the same key, looks, and closes. `cargo run --example pay`
#![allow(clippy::print_stdout, reason = "an example shows what it does")]

use std::{env, error::Error, fs, process, sync::Arc};

use payonce::{
    Amount, Currency, Engine, Filter, Options, Order, Rejection, Tenant,
    gateway::sandbox::{Faults, Sandbox, SandboxGateway},
};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let folder = env::temp_dir().join(format!("payonce-example-pay-{}", process::id()));
    let sandbox = Sandbox::in_memory(1, Faults::none());
    let gateway = Arc::new(SandboxGateway::new(sandbox.clone()));
    let engine = Engine::open(Options::new(&folder), gateway).await?;
    println!("opened: {}", engine.report());

    let first = engine.pay("order-1234", order(1050)?).await?;
    println!("first:  {:?}, {}", first.delivery, first.payment.state().as_str());
    let again = engine.pay("order-1234", order(1050)?).await?;
    println!("again:  {:?}, {}", again.delivery, again.payment.state().as_str());

    // The same key with another amount is refused, and names what differs.
    match engine.pay("order-1234", order(9999)?).await {
        Err(Rejection::Conflict { differing, .. }) => println!("other:  refused, another {}", differing.join(", ")),
        other => return Err(format!("expected a conflict, not {other:?}").into()),
    }

    let payment = engine.get(first.payment.id).await?.ok_or("it was just made")?;
    payment.timeline.iter().for_each(|moment| println!("        {} {}", moment.at.as_millis(), moment.what));

    let all =
        Filter { tenant: Some(Tenant::default()), state: None, attention: false, key: None, after: None, limit: 50 };
    println!("listed: {} payment(s)", engine.list(all).await?.payments.len());
    println!("moved:  {} time(s), by the gateway's own ledger", sandbox.summary().movements);

    engine.close().await?;
    fs::remove_dir_all(&folder)?;
    Ok(())
}

fn order(cents: u64) -> Result<Order, payonce::Invalid> {
    Order::new(Amount::new(cents)?, Currency::new("USD")?, "acct_alice", "acct_bob")
}
