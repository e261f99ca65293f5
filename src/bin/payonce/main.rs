//! The payonce program.

mod sandbox;

use std::process::ExitCode;

use clap::Parser;

/// Makes one payment happen once.
#[derive(Parser)]
enum Command {
    Sandbox(sandbox::SandboxArgs),
}

#[tokio::main]
async fn main() -> ExitCode {
    match Command::parse() {
        Command::Sandbox(args) => sandbox::run(args).await,
    }
}
