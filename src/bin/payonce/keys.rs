//! `payonce keys`: makes, lists and revokes API keys. A secret is shown once, and kept nowhere.

use std::{path::PathBuf, process::ExitCode};

use payonce::{
    config::{ConfigError, Settings, change_keys, read_keys},
    http::auth::{ApiKey, Role, SecretHash, Tenants, mint},
};
use serde_json::json;

use crate::{
    exit,
    output::{say, table},
};

const EXAMPLES: &str = "\
Examples:
  payonce keys add --name shop --file keys.toml                     a caller, of the tenant default
  payonce keys add --name ops --role operator --file keys.toml      for whoever runs it: all tenants
  payonce keys add --name shop-2 --file keys.toml                   another secret for the same: change over, then
  payonce keys revoke shop --file keys.toml                         shut the old one out

The daemon's setting keys_file names the same file; it reads it again within a second or two. Clients take the secret
from PAYONCE_API_KEY.";

/// The flags of `keys`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct KeysArgs {
    #[command(subcommand)]
    what: What,
}

/// What to do with them.
#[derive(Debug, clap::Subcommand)]
enum What {
    /// Make a key, and print its secret: it is never shown again.
    Add {
        /// What people call it
        #[arg(long)]
        name: String,
        /// read-only (looks), caller (also pays, captures, voids, refunds) or operator (also inquires and resolves)
        #[arg(long, default_value = "caller")]
        role: String,
        /// Whose payments it is about; "*": everybody's, and the daemon's own numbers [default: default for a caller,
        /// "*" for others]
        #[arg(long)]
        tenant: Option<String>,
        /// How many requests a second it may make [default: the daemon's rate_per_key]
        #[arg(long, value_name = "N")]
        rate: Option<u32>,
        #[command(flatten)]
        file: FileArgs,
    },
    /// List them.
    List {
        #[command(flatten)]
        file: FileArgs,
    },
    /// Shut one out.
    Revoke {
        /// Its name
        name: String,
        #[command(flatten)]
        file: FileArgs,
    },
}

/// Where they are.
#[derive(Debug, clap::Args)]
struct FileArgs {
    /// The file of the keys [default: the configuration's keys_file]
    #[arg(long, value_name = "FILE", env = "PAYONCE_KEYS_FILE")]
    file: Option<PathBuf>,
    /// The configuration file [default: payonce.toml, if it is there]
    #[arg(long, value_name = "FILE", env = "PAYONCE_CONFIG")]
    config: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl FileArgs {
    fn path(&self) -> Result<PathBuf, ConfigError> {
        if let Some(file) = &self.file {
            return Ok(file.clone());
        }
        let file = Settings::load(self.config.as_deref(), [])?.keys_file;
        file.ok_or_else(|| ConfigError::new("which file? Say --file, or set keys_file in payonce.toml".to_owned()))
    }
}

/// Runs.
pub(crate) fn run(args: &KeysArgs) -> ExitCode {
    let done = match &args.what {
        What::Add { name, role, tenant, rate, file } => add(name, role, tenant.as_deref(), *rate, file),
        What::List { file } => list(file),
        What::Revoke { name, file } => revoke(name, file),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("payonce: {error}");
            exit::usage()
        }
    }
}

fn add(name: &str, role: &str, tenant: Option<&str>, rate: Option<u32>, file: &FileArgs) -> Result<(), ConfigError> {
    let flag = |flag: &'static str| move |why: String| ConfigError::new(format!("--{flag} {why}"));
    let role = Role::parse(role).map_err(flag("role"))?;
    let usual = match role {
        Role::Caller => "default",
        Role::ReadOnly | Role::Operator => "*",
    };
    let tenants = Tenants::parse(tenant.unwrap_or(usual)).map_err(flag("tenant"))?;
    let secret = mint().map_err(ConfigError::new)?;
    let key = ApiKey { name: name.to_owned(), role, tenants, sha256: SecretHash::of(&secret), rate };
    let path = file.path()?;
    let (tenant, added) = (key.tenants.to_string(), key.clone());
    change_keys(&path, |keys| {
        keys.push(added);
        Ok(())
    })?;
    if file.json {
        say(json!({ "name": name, "role": role.as_str(), "tenant": tenant, "secret": secret }));
        return Ok(());
    }
    eprintln!("{name}: {}, tenant {tenant}, in {}. Its secret, shown only now:", role.as_str(), path.display());
    say(secret);
    Ok(())
}

fn list(file: &FileArgs) -> Result<(), ConfigError> {
    let keys = read_keys(&file.path()?)?;
    if file.json {
        let one = |key: &ApiKey| json!({ "name": key.name, "role": key.role.as_str(), "tenant": key.tenants.to_string(), "rate": key.rate });
        say(serde_json::Value::from(keys.iter().map(one).collect::<Vec<_>>()));
        return Ok(());
    }
    let row = |key: &ApiKey| {
        let rate = key.rate.map_or(String::new(), |rate| rate.to_string());
        vec![key.name.clone(), key.role.as_str().to_owned(), key.tenants.to_string(), rate]
    };
    table(&["name", "role", "tenant", "rate"], &keys.iter().map(row).collect::<Vec<_>>());
    Ok(())
}

fn revoke(name: &str, file: &FileArgs) -> Result<(), ConfigError> {
    let path = file.path()?;
    // To revoke from a file that is not there is a slip.
    read_keys(&path)?;
    change_keys(&path, |keys| {
        let before = keys.len();
        keys.retain(|key| key.name != name);
        if keys.len() == before { Err(format!("there is no key {name}")) } else { Ok(()) }
    })?;
    if file.json {
        say(json!({ "revoked": name }));
    } else {
        say(format_args!("{name} is revoked: within a second or two the daemon lets it in no more"));
    }
    Ok(())
}
