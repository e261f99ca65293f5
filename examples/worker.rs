//! A worker that pays what is in a list of jobs, is killed in the midst of it, and goes on: each job's name is its key, so
//! there is nothing to remember of how far it had come. `cargo run --example worker`
#![allow(clippy::print_stdout, reason = "an example shows what it does")]

use std::{
    env,
    error::Error,
    fs::{self, OpenOptions},
    io::Write,
    path::Path,
    process,
    sync::Arc,
    time::Duration,
};

use payonce::{
    Amount, Currency, Engine, IdempotencyKey, Options, Order, Rejection, Tenant,
    gateway::sandbox::{Fault, Faults, Sandbox, SandboxGateway},
};

/// What is to be paid. A real worker reads a queue or a table.
const JOBS: [(&str, u64); 3] = [("invoice-1", 500), ("invoice-2", 700), ("invoice-3", 900)];

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    if let Some(folder) = env::args().nth(1) {
        return work(Path::new(&folder), true).await;
    }
    let folder = env::temp_dir().join(format!("payonce-example-worker-{}", process::id()));
    println!("the first worker");
    let killed = process::Command::new(env::current_exe()?).arg(&folder).status()?;
    println!("it ended: {killed}\nthe second worker");
    work(&folder, false).await?;
    fs::remove_dir_all(&folder)?;
    Ok(())
}

async fn work(folder: &Path, is_killed: bool) -> Result<(), Box<dyn Error>> {
    // The bank's own book, in a file: it outlives both workers. It acts, and for the first one it then loses its replies.
    let faults = if is_killed { Faults::none().with(Fault::DropAfter, 1.0)? } else { Faults::none() };
    let bank = Sandbox::open(&folder.join("bank"), 1, faults)?;
    let gateway = Arc::new(SandboxGateway::new(bank.clone()));
    let engine = Engine::open(Options::new(folder.join("payments")), gateway).await?;
    let done = fs::read_to_string(folder.join("done")).unwrap_or_default();
    for (job, cents) in JOBS.into_iter().filter(|(job, _)| !done.lines().any(|line| line == *job)) {
        if is_killed && bank.summary().movements == 1 {
            println!("{job}: not begun, for the process dies; the bank has taken the money of the one before");
            process::abort();
        }
        pay(&engine, folder, job, cents).await?;
    }
    println!("moved: {}, twice: {}", bank.summary().movements, bank.summary().moved_twice);
    engine.close().await?;
    Ok(())
}

/// Pays one job, once, however often this is called. It is struck off the list only when the payment is settled: a worker
/// that dies before that does the job again, and is given the answer of the first time.
async fn pay(engine: &Engine, folder: &Path, job: &str, cents: u64) -> Result<(), Box<dyn Error>> {
    let (tenant, key) = (Tenant::default(), IdempotencyKey::new(job)?);
    loop {
        let order = Order::new(Amount::new(cents)?, Currency::new("USD")?, "the_company", "a_supplier")?;
        match engine.submit(&tenant, &key, order, Duration::from_secs(1)).await {
            Ok(answer) if answer.payment.is_settled() => {
                println!("{job}: {} ({:?})", answer.payment.state().as_str(), answer.delivery);
                let mut done = OpenOptions::new().create(true).append(true).open(folder.join("done"))?;
                writeln!(done, "{job}")?;
                return Ok(());
            }
            // Not certain yet. It goes on by itself; a worker with more to do comes back to it later.
            Ok(answer) => {
                println!("{job}: {}", answer.payment.state().as_str());
                return Ok(());
            }
            Err(Rejection::Overloaded { retry_after } | Rejection::StorageFull { retry_after }) => {
                tokio::time::sleep(retry_after).await;
            }
            Err(rejection) => return Err(rejection.into()),
        }
    }
}
