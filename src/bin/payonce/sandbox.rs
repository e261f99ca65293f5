//! Stand-in for the sandbox.

use std::process::ExitCode;

/// Stand-in.
#[derive(Debug, clap::Args)]
pub(crate) struct SandboxArgs {}

/// Stand-in.
pub(crate) async fn run(_args: SandboxArgs) -> ExitCode {
    ExitCode::FAILURE
}
