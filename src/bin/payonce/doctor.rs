//! `payonce doctor`: looks at everything that a daemon needs, and says what is wrong and what to do. It changes nothing,
//! and asks no gateway for money.

mod access;
mod certificate;
mod clock;
mod configuration;
mod data;
mod disk;
mod gateways;

use std::process::ExitCode;

use payonce::config::{ConfigError, Settings};
use serde_json::{Value, json};

use crate::{
    exit,
    gateway::GatewayArgs,
    output::{say, table},
};

const EXAMPLES: &str = "\
Examples:
  payonce doctor                                   the same folder and configuration as `payonce serve`
  payonce doctor --data /var/lib/payonce --config /etc/payonce.toml
  payonce doctor --json                            for scripts

It may run beside the daemon. It writes one small file into the data folder, to time the disk, and removes it; it asks
each gateway about a key that never existed, which moves nothing. Give it the flags that the daemon has.

Exit codes: 0 nothing is wrong, warnings aside; 1 there is a problem; 2 usage.";

/// The flags of `doctor`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct DoctorArgs {
    /// The data folder [default: ./payonce-data]
    #[arg(long, value_name = "DIR")]
    data: Option<String>,
    /// Where the daemon listens [default: 127.0.0.1:7411]
    #[arg(long, value_name = "IP:PORT")]
    listen: Option<String>,
    #[command(flatten)]
    gateway: GatewayArgs,
    /// The daemon's file of API keys
    #[arg(long, value_name = "FILE")]
    keys_file: Option<String>,
    /// The certificate that it shows
    #[arg(long, value_name = "FILE")]
    tls_cert: Option<String>,
    /// That certificate's private key
    #[arg(long, value_name = "FILE")]
    tls_key: Option<String>,
    /// The authorities of whom its callers need a certificate
    #[arg(long, value_name = "FILE")]
    tls_client_ca: Option<String>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl DoctorArgs {
    fn settings(&self) -> Result<Settings, ConfigError> {
        let mut settings = self.gateway.settings()?;
        for (key, value) in self.ours() {
            value.as_ref().map_or(Ok(()), |value| settings.set_flag(key, value))?;
        }
        Ok(settings)
    }

    fn ours(&self) -> [(&'static str, &Option<String>); 6] {
        [
            ("data", &self.data),
            ("listen", &self.listen),
            ("keys_file", &self.keys_file),
            ("tls_cert", &self.tls_cert),
            ("tls_key", &self.tls_key),
            ("tls_client_ca", &self.tls_client_ca),
        ]
    }

    /// The keys that flags set.
    fn flags(&self) -> Vec<&'static str> {
        let given = self.ours().into_iter().filter_map(|(key, given)| given.is_some().then_some(key));
        given.chain(self.gateway.flags()).collect()
    }
}

/// How something stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standing {
    Fine,
    Warning,
    Problem,
}

impl Standing {
    const fn as_str(self) -> &'static str {
        match self {
            Standing::Fine => "ok",
            Standing::Warning => "warning",
            Standing::Problem => "problem",
        }
    }
}

/// One thing that was looked at.
#[derive(Debug)]
struct Check {
    what: String,
    standing: Standing,
    found: String,
    /// What to do about it; empty where nothing is to be done.
    advice: &'static str,
}

impl Check {
    fn fine(what: impl Into<String>, found: impl Into<String>) -> Check {
        Check { what: what.into(), standing: Standing::Fine, found: found.into(), advice: "" }
    }

    fn warning(what: impl Into<String>, found: impl Into<String>, advice: &'static str) -> Check {
        Check { what: what.into(), standing: Standing::Warning, found: found.into(), advice }
    }

    fn problem(what: impl Into<String>, found: impl Into<String>, advice: &'static str) -> Check {
        Check { what: what.into(), standing: Standing::Problem, found: found.into(), advice }
    }

    fn to_json(&self) -> Value {
        json!({ "what": self.what, "standing": self.standing.as_str(), "found": self.found, "advice": self.advice })
    }
}

/// Looks, and says what was found.
pub(crate) async fn run(args: DoctorArgs) -> ExitCode {
    let settings = args.settings();
    let mut checks = configuration::look(&args, settings.as_ref());
    if let Ok(settings) = &settings {
        access::look(settings, &mut checks);
        let folder = data::look(settings, &mut checks);
        if folder.is_there {
            disk::look(&settings.data, &mut checks);
            clock::look(settings, &folder, &mut checks);
        }
        gateways::look(settings, &mut checks).await;
    }
    match args.json {
        true => say(summary(&checks)),
        false => show(&checks),
    }
    match count(&checks, Standing::Problem) {
        0 => ExitCode::SUCCESS,
        _ => exit::failed(),
    }
}

fn count(checks: &[Check], standing: Standing) -> usize {
    checks.iter().filter(|check| check.standing == standing).count()
}

fn summary(checks: &[Check]) -> Value {
    json!({
        "problems": count(checks, Standing::Problem), "warnings": count(checks, Standing::Warning),
        "checks": checks.iter().map(Check::to_json).collect::<Vec<_>>(),
    })
}

/// What is wrong comes with what to do, on a line of its own.
fn show(checks: &[Check]) {
    let mut rows = Vec::new();
    for check in checks {
        rows.push(vec![check.standing.as_str().to_owned(), check.what.clone(), check.found.clone()]);
        if !check.advice.is_empty() {
            rows.push(vec![String::new(), String::new(), format!("-> {}", check.advice)]);
        }
    }
    table(&["", "WHAT", "FOUND"], &rows);
    let (problems, warnings) = (count(checks, Standing::Problem), count(checks, Standing::Warning));
    say(format_args!("\n{} looked at: problems {problems}, warnings {warnings}", checks.len()));
}
