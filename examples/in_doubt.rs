//! Two payments whose replies are lost: one is asked about, the other is decided by a person.
//! `cargo run --example in_doubt`
#![allow(clippy::print_stdout, reason = "an example shows what it does")]

use std::{env, error::Error, fs, process, sync::Arc, time::Duration};

use payonce::{
    Amount, Currency, Engine, Filter, IdempotencyKey, Lsn, Options, Order, Person, Rejection, Resolution, State,
    Tenant, Verdict,
    gateway::sandbox::{Fault, Faults, Sandbox, SandboxGateway},
};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let folder = env::temp_dir().join(format!("payonce-example-in-doubt-{}", process::id()));
    // This gateway acts, and then loses every reply.
    let sandbox = Sandbox::in_memory(1, Faults::none().with(Fault::DropAfter, 1.0)?);
    let gateway = Arc::new(SandboxGateway::new(sandbox.clone()));
    let engine = Engine::open(Options::new(&folder), gateway).await?;

    let tenant = Tenant::default();
    for key in ["order-1", "order-2"] {
        // No wait: answered as soon as the intent is durable.
        engine.submit(&tenant, &IdempotencyKey::new(key)?, order()?, Duration::ZERO).await?;
    }
    let mut events = engine.events(Lsn::ZERO);
    for _ in 0..2 {
        while events.next().await.ok_or("the engine stopped")?.1.fact.name() != "attempt_ended" {}
    }
    let filter = Filter {
        tenant: Some(tenant),
        state: Some(State::InDoubt),
        attention: false,
        key: None,
        after: None,
        limit: 50,
    };
    let doubtful = engine.list(filter).await?.payments;
    println!("in doubt: {}", doubtful.len());

    // A person who has seen the gateway's statement ends one doubt. Who and why is kept with the payment.
    let second = doubtful.iter().find(|payment| payment.key.as_str() == "order-2").ok_or("it is in doubt")?;
    let person = Person { actor: "alice".to_owned(), reason: "it is on today's statement".to_owned() };
    let resolution = Resolution { operation: None, verdict: Verdict::Succeeded, reply: None, person };
    println!("order-2: {}, by a person", engine.resolve(second.id, resolution).await?.state().as_str());

    // The gateway recovers. The engine asks by itself before long; this asks now. It may have been first: no harm.
    sandbox.set_faults(Faults::none());
    let first = doubtful.iter().find(|payment| payment.key.as_str() == "order-1").ok_or("it is in doubt")?;
    match engine.inquire(first.id).await {
        Ok(_) | Err(Rejection::InvalidState { .. }) => {}
        Err(rejection) => return Err(rejection.into()),
    }
    // Paying again under the same key joins the payment, and waits for its outcome.
    let answer = engine.pay("order-1", order()?).await?;
    println!("order-1: {}, by asking", answer.payment.state().as_str());
    println!("moved twice: {}", sandbox.summary().moved_twice);

    engine.close().await?;
    fs::remove_dir_all(&folder)?;
    Ok(())
}

fn order() -> Result<Order, payonce::Invalid> {
    Order::new(Amount::new(1050)?, Currency::new("USD")?, "acct_alice", "acct_bob")
}
