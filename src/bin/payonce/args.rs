//! The command line.

use clap::{Parser, Subcommand};

use crate::{
    audit::AuditArgs,
    backup::{BackupArgs, RestoreArgs},
    bench::BenchArgs,
    doctor::DoctorArgs,
    drain::DrainArgs,
    erase::EraseArgs,
    gateways::GatewaysArgs,
    journal::JournalArgs,
    keys::KeysArgs,
    list::ListArgs,
    manual::{CompletionsArgs, ManArgs},
    operate::{PartArgs, VoidArgs},
    pay::PayArgs,
    probe::ProbeArgs,
    ready::ReadyArgs,
    receipt::{ReceiptArgs, VerifyReceiptArgs},
    replay::ReplayArgs,
    resolve::ResolveArgs,
    sandbox::SandboxArgs,
    serve::ServeArgs,
    settle::SettleArgs,
    show::ShowArgs,
    simulate::SimulateArgs,
    torture::TortureArgs,
    upgrade::UpgradeArgs,
    version::version,
    webhooks::WebhooksArgs,
};

const EXAMPLES: &str = "\
Try it:
  payonce serve                        the daemon, with a sandbox for a gateway
  payonce pay --key order-1234 --amount 1050 --currency USD --source acct_alice --destination acct_bob
  payonce pay ...                      the same again: the same payment, and no money moves
  payonce refund ID --key return-77    what was paid goes back, once
  payonce list --state in_doubt        what is being found out
  payonce show --key order-1234        one payment, with all that happened to it

Exit codes: 0 fine, 1 failed, 2 usage, 3 refused to start (damage, lock, disk).
Logs go to standard error; PAYONCE_LOG=debug shows more.";

const SANDBOX_EXAMPLES: &str = "\
Examples:
  payonce sandbox                                            a gateway without faults, at 127.0.0.1:7412
  payonce sandbox --fault drop-after=0.2 --fault late=0.1    one that acts and loses its replies, or acts too late
  payonce serve --gateway http://127.0.0.1:7412              the daemon that uses it";

/// Makes one payment happen once.
#[derive(Debug, Parser)]
#[command(name = "payonce", version = version(), after_help = EXAMPLES, arg_required_else_help = true)]
pub(crate) struct Args {
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run the daemon.
    Serve(Box<ServeArgs>),
    /// Run the faulty gateway.
    #[command(after_help = SANDBOX_EXAMPLES)]
    Sandbox(SandboxArgs),
    /// Measure what a gateway does, beside what its contract declares.
    Probe(ProbeArgs),
    /// Make a payment, or join or replay the one of that key.
    Pay(PayArgs),
    /// Capture what a payment has authorized, or a part of it.
    Capture(PartArgs),
    /// Let go of what a payment has authorized, or cancel what has not been sent.
    Void(VoidArgs),
    /// Move back what a payment has captured, or a part of it.
    Refund(PartArgs),
    /// Show one payment, with all that happened to it.
    Show(ShowArgs),
    /// List payments.
    List(ListArgs),
    /// Ask whether the daemon takes payments.
    Ready(ReadyArgs),
    /// Decide about what only a person can decide about: a payment, or many.
    Resolve(ResolveArgs),
    /// Look at the gateways; pause one, or resume it.
    Gateways(GatewaysArgs),
    /// Have nothing new taken, while what is under way ends.
    Drain(DrainArgs),
    /// Look at what operators did.
    Audit(AuditArgs),
    /// Print a payment's records as a document that anybody can check.
    Receipt(ReceiptArgs),
    /// Check such a document.
    VerifyReceipt(VerifyReceiptArgs),
    /// Compare our book with the gateway's statement.
    Settle(SettleArgs),
    /// Look at what webhooks could not deliver, and try it again.
    Webhooks(WebhooksArgs),
    /// Make, list and revoke API keys.
    Keys(KeysArgs),
    /// Look into the journal of a data folder, or rebuild its store.
    Journal(JournalArgs),
    /// Erase a tenant's personal data, by destroying the key that it is sealed under.
    Erase(EraseArgs),
    /// Copy the data folder as of now, while the daemon runs.
    Backup(BackupArgs),
    /// Make a data folder from such a copy.
    Restore(RestoreArgs),
    /// See whether an older payonce could take over, or give that up.
    Upgrade(UpgradeArgs),
    /// Decide a recorded history again, and live its payments again with other luck.
    Replay(ReplayArgs),
    /// Look at everything that a daemon needs, and say what is wrong.
    Doctor(DoctorArgs),
    /// Measure the engine on this machine, beside the disk's own limit.
    Bench(BenchArgs),
    /// Prove it: simulated worlds in which everything fails.
    Simulate(SimulateArgs),
    /// Kill a daemon over and over, and check that it keeps its promises.
    Torture(TortureArgs),
    /// Print what makes a shell complete these commands.
    Completions(CompletionsArgs),
    /// Print a manual page.
    Man(ManArgs),
}
