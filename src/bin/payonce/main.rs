//! The payonce program: the daemon and its clients. Uses the library's public API only.

#![cfg_attr(
    test,
    allow(
        clippy::expect_used,
        clippy::indexing_slicing,
        reason = "a test that finds something else has failed, and says so"
    )
)]

mod args;

mod log;

mod serve;

mod guard;

mod keys;

mod gateway;

mod gateways;

mod drain;

mod audit;

mod doctor;

mod sandbox;

mod probe;

mod client;

mod pay;

mod operate;

mod show;

mod answers;

mod list;

mod ready;

mod resolve;

mod webhooks;

mod journal;

mod backup;

mod receipt;

mod upgrade;

mod erase;

mod replay;

mod settle;

mod simulate;

mod bench;

mod torture;

mod manual;

mod output;

mod version;

use std::{future::Future, process::ExitCode};

use clap::Parser;
use tracing::level_filters::LevelFilter;

use args::{Args, Command};
use log::LogArgs;
use payonce::config::ConfigError;

/// A payment is some hundred small texts and buffers, made on one thread and dropped on another.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// What the exit codes mean; 0 is fine.
mod exit {
    use std::process::ExitCode;

    /// A promise was broken, or what was asked for did not come about.
    pub(crate) fn failed() -> ExitCode {
        ExitCode::from(1)
    }

    /// The command line or the configuration is wrong. clap uses the same.
    pub(crate) fn usage() -> ExitCode {
        ExitCode::from(2)
    }

    /// Refused to start, or had to stop: damage, a lock, the disk.
    pub(crate) fn refused() -> ExitCode {
        ExitCode::from(3)
    }
}

fn main() -> ExitCode {
    let args = Args::parse();
    // Kept to the end: what is left to be told then goes out.
    let _told = match log(&args.command) {
        Ok(exporter) => exporter,
        Err(error) => {
            eprintln!("payonce: {error}");
            return exit::usage();
        }
    };
    match args.command {
        Command::Serve(args) => run(serve::run(*args)),
        Command::Sandbox(args) => run(sandbox::run(args)),
        Command::Probe(args) => run(probe::run(args)),
        Command::Pay(args) => pay::run(&args),
        Command::Capture(args) => operate::capture(&args),
        Command::Void(args) => operate::void(&args),
        Command::Refund(args) => operate::refund(&args),
        Command::Show(args) => show::run(&args),
        Command::List(args) => list::run(&args),
        Command::Ready(args) => ready::run(&args),
        Command::Resolve(args) => resolve::run(&args),
        Command::Gateways(args) => gateways::run(&args),
        Command::Drain(args) => drain::run(&args),
        Command::Audit(args) => audit::run(&args),
        Command::Receipt(args) => receipt::run(&args),
        Command::VerifyReceipt(args) => receipt::verify(&args),
        Command::Webhooks(args) => webhooks::run(&args),
        Command::Keys(args) => keys::run(&args),
        Command::Journal(args) => journal::run(&args),
        Command::Erase(args) => erase::run(&args),
        Command::Backup(args) => backup::run(&args),
        Command::Restore(args) => backup::restore(&args),
        Command::Upgrade(args) => upgrade::run(&args),
        Command::Replay(args) => replay::run(&args),
        Command::Settle(args) => settle::run(&args),
        Command::Doctor(args) => run(doctor::run(args)),
        Command::Bench(args) => run(bench::run(args)),
        Command::Simulate(args) => simulate::run(&args),
        Command::Torture(args) => torture::run(&args),
        Command::Completions(args) => manual::completions(&args),
        Command::Man(args) => manual::man(&args),
    }
}

/// Runs what waits for many things at once.
fn run(command: impl Future<Output = ExitCode>) -> ExitCode {
    match tokio::runtime::Runtime::new() {
        Ok(runtime) => {
            let code = runtime.block_on(command);
            // What is still under way has been given its time.
            runtime.shutdown_background();
            code
        }
        Err(error) => {
            eprintln!("payonce: cannot start threads: {error}");
            exit::refused()
        }
    }
}

/// In a simulation every disk fails; elsewhere that is worth a line.
fn log(command: &Command) -> Result<Option<log::Exporter>, ConfigError> {
    if let Command::Serve(args) = command {
        return args.log().start(LevelFilter::WARN);
    }
    let simulated = matches!(command, Command::Simulate(_) | Command::Replay(_));
    LogArgs::of_environment().start(if simulated { LevelFilter::ERROR } else { LevelFilter::WARN })
}
