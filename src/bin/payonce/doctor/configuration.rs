//! Where the configuration comes from, and whether it can be read.

use std::{fs, path::Path};

use payonce::config::{ConfigError, DEFAULT_FILE, Settings, is_known_variable};

use super::{Check, DoctorArgs};

const WHAT: &str = "configuration";

pub(super) fn look(args: &DoctorArgs, settings: Result<&Settings, &ConfigError>) -> Vec<Check> {
    let settings = match settings {
        Ok(settings) => settings,
        Err(error) => return vec![Check::problem(WHAT, error.to_string(), "mend it: `payonce serve` refuses it too")],
    };
    let file = args.gateway.config().unwrap_or(Path::new(DEFAULT_FILE));
    let told = if file.exists() { file.display().to_string() } else { format!("no {DEFAULT_FILE} here: defaults") };
    let mut checks = vec![Check::fine(WHAT, told)];
    let set = set_by(args, file);
    if !set.is_empty() {
        checks.push(Check::fine("settings", set.join(", ")));
    }
    checks.extend(unknown_variables());
    if let Err(error) = settings.endpoints() {
        checks.push(Check::problem("webhooks", error.to_string(), "mend it: `payonce serve` refuses it too"));
    }
    checks
}

/// Each key that is set, and what sets it: what comes later wins.
fn set_by(args: &DoctorArgs, file: &Path) -> Vec<String> {
    let text = fs::read_to_string(file).unwrap_or_default();
    let table: toml::Table = text.parse().unwrap_or_default();
    let in_file = table.keys().map(|key| (key.clone(), "file"));
    let ours = std::env::vars_os().filter_map(|(name, _)| name.into_string().ok());
    let keys: Vec<String> = ours.filter_map(|name| Some(name.strip_prefix("PAYONCE_")?.to_ascii_lowercase())).collect();
    let in_environment = keys.into_iter().filter(|key| is_known_variable(key)).map(|key| (key, "environment"));
    let in_flags = args.flags().into_iter().map(|key| (key.to_owned(), "flag"));
    let all: std::collections::BTreeMap<String, &str> = in_file.chain(in_environment).chain(in_flags).collect();
    all.into_iter().map(|(key, source)| format!("{key} ({source})")).collect()
}

/// What begins like ours and is not: an orchestrator's, or a slip that was too far off to be seen as one.
fn unknown_variables() -> Option<Check> {
    let names = std::env::vars_os().filter_map(|(name, _)| name.into_string().ok());
    let unknown =
        |name: &String| name.strip_prefix("PAYONCE_").is_some_and(|key| !is_known_variable(&key.to_ascii_lowercase()));
    let unknown: Vec<String> = names.filter(unknown).collect();
    let advice = "fine, if an orchestrator made them; else see `payonce serve --help` for the names";
    (!unknown.is_empty()).then(|| Check::warning("environment", format!("ignored: {}", unknown.join(", ")), advice))
}
