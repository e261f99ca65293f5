//! `[[gateways]]`: several in one daemon, the one that is preferred first. Credentials are looked up only where they are
//! used, and never kept.

use std::path::{Path, PathBuf};

use super::{ConfigError, GatewayChoice, Settings, gateway, plain, unknown};
use crate::{
    gateway::apply_override,
    payment::{Contract, Currency, Identity},
};

/// The keys of the one gateway that is configured without a table.
pub(super) const SINGLE: [&str; 6] = [
    "gateway",
    "gateway_account",
    "gateway_contract",
    "stripe_api_key_file",
    "stripe_return_url",
    "stripe_off_session",
];

const KEYS: [&str; 12] = [
    "name",
    "gateway",
    "account",
    "contract",
    "currencies",
    "slots",
    "credential_env",
    "credential_file",
    "webhook_secret_env",
    "webhook_secret_file",
    "return_url",
    "off_session",
];

/// One gateway, as configured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GatewaySettings {
    /// How callers, webhooks and operators name it.
    pub name: String,
    /// Which.
    pub choice: GatewayChoice,
    /// The account there.
    pub account: Option<String>,
    /// What it promises other than its adapter says, as `KEY=VALUE`.
    pub contract: Vec<String>,
    /// The currencies that it is for; none: all that no other is for.
    pub currencies: Vec<Currency>,
    /// How many calls it may be sent at once; `None`: as `gateway_slots` says.
    pub slots: Option<usize>,
    /// What opens it: a bearer token, or Stripe's secret key.
    pub credential: Source,
    /// What its webhooks are signed with.
    pub webhook_secret: Source,
    /// Where Stripe sends payers back to.
    pub return_url: Option<String>,
    /// Whether Stripe is told that payers are away.
    pub off_session: bool,
}

/// Where a secret may be. The variable counts before the file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Source {
    /// In a variable of the environment.
    pub variable: Option<String>,
    /// In a file.
    pub file: Option<PathBuf>,
    /// Whether there has to be one.
    pub needed: bool,
    /// The key that can name a file, for whoever misses it.
    pub file_key: &'static str,
}

impl Source {
    /// The secret, without the blanks around it. What is wrong is said without it.
    pub fn read(&self) -> Result<Option<String>, ConfigError> {
        if let Some(Ok(text)) = self.variable.as_ref().map(std::env::var) {
            return Ok(Some(text.trim().to_owned()));
        }
        if let Some(file) = &self.file {
            let cannot = |error| ConfigError::new(format!("{}: cannot be read: {error}", file.display()));
            return std::fs::read_to_string(file).map(|text| Some(text.trim().to_owned())).map_err(cannot);
        }
        match &self.variable {
            Some(variable) if self.needed => {
                Err(ConfigError::new(format!("a secret is missing: set {variable}, or {}", self.file_key)))
            }
            Some(_) | None => Ok(None),
        }
    }

    fn variable(name: &str) -> Source {
        Source { variable: Some(name.to_owned()), file_key: "credential_file", ..Source::default() }
    }
}

/// The variable with the credential of the only gateway: in no file of ours, and in no process list.
const CREDENTIAL: &str = "PAYONCE_GATEWAY_CREDENTIAL";

/// As Stripe's own tools call it.
const STRIPE_KEY: &str = "STRIPE_API_KEY";

/// The variable with what the only gateway's webhooks are signed with.
const WEBHOOK_SECRET: &str = "PAYONCE_GATEWAY_WEBHOOK_SECRET";

impl Settings {
    /// Every gateway, the one that is preferred first: the tables, or the one that is configured without any.
    pub fn gateways(&self) -> Vec<GatewaySettings> {
        if self.gateways.is_empty() { vec![self.single()] } else { self.gateways.clone() }
    }

    fn single(&self) -> GatewaySettings {
        let credential = match &self.gateway {
            GatewayChoice::Sandbox => Source::default(),
            GatewayChoice::Http(_) => Source::variable(CREDENTIAL),
            GatewayChoice::Stripe(_) => {
                let file = self.stripe_api_key_file.clone();
                Source { file, needed: true, file_key: "stripe_api_key_file", ..Source::variable(STRIPE_KEY) }
            }
        };
        GatewaySettings {
            name: "default".to_owned(),
            choice: self.gateway.clone(),
            account: self.gateway_account.clone(),
            contract: self.gateway_contract.clone(),
            currencies: Vec::new(),
            slots: None,
            credential,
            webhook_secret: Source::variable(WEBHOOK_SECRET),
            return_url: self.stripe_return_url.clone(),
            off_session: self.stripe_off_session,
        }
    }
}

impl GatewaySettings {
    /// Its contract, with what was overridden.
    pub fn contract(&self, contract: &Contract) -> Result<Contract, ConfigError> {
        let mut contract = contract.clone();
        for pair in &self.contract {
            apply_override(&mut contract, pair).map_err(|error| ConfigError::new(error.to_string()))?;
        }
        Ok(contract)
    }
}

/// Reads the tables; an error says in which, by name or number.
pub(super) fn read(value: &toml::Value) -> Result<Vec<GatewaySettings>, String> {
    let tables = value.as_array().ok_or("gateways must be tables, each under [[gateways]]")?;
    let mut gateways: Vec<GatewaySettings> = Vec::new();
    for (number, table) in tables.iter().enumerate() {
        let table = table.as_table().ok_or("gateways must be tables, each under [[gateways]]")?;
        let name = table.get("name").and_then(toml::Value::as_str);
        let which = name.map_or_else(|| format!("gateways number {}", number + 1), |name| format!("gateways {name}"));
        let gateway = one(table).map_err(|why| format!("{which}: {why}"))?;
        if gateways.iter().any(|known| known.name == gateway.name) {
            return Err(format!("{which}: there are two of this name"));
        }
        gateways.push(gateway);
    }
    let sandboxes = gateways.iter().filter(|one| one.choice == GatewayChoice::Sandbox).count();
    if sandboxes > 1 {
        return Err("gateways: there is one sandbox in a data folder; start others with `payonce sandbox`".to_owned());
    }
    Ok(gateways)
}

fn one(table: &toml::Table) -> Result<GatewaySettings, String> {
    if let Some(key) = table.keys().find(|key| !KEYS.contains(&key.as_str())) {
        return Err(format!("{key} {}", unknown(key, &KEYS)));
    }
    let choice = gateway(&needed(table, "gateway")?).map_err(|why| format!("gateway {why}"))?;
    let mut credential = source(table, "credential")?;
    if matches!(choice, GatewayChoice::Stripe(_)) {
        credential.needed = true;
        if credential.variable.is_none() && credential.file.is_none() {
            credential.variable = Some(STRIPE_KEY.to_owned());
        }
    }
    Ok(GatewaySettings {
        name: name(table)?,
        choice,
        account: text(table, "account").transpose()?,
        contract: contract(table)?,
        currencies: currencies(table)?,
        slots: slots(table)?,
        credential,
        webhook_secret: source(table, "webhook_secret")?,
        return_url: text(table, "return_url").transpose()?,
        off_session: match table.get("off_session") {
            None => false,
            Some(value) => value.as_bool().ok_or("off_session must be true or false")?,
        },
    })
}

/// It stands in URLs.
fn name(table: &toml::Table) -> Result<String, String> {
    let name = needed(table, "name")?;
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    if name.is_empty() || name.len() > 40 || !name.chars().all(plain) {
        return Err("name must be 1 to 40 letters, digits, hyphens or underscores".to_owned());
    }
    Ok(name)
}

fn contract(table: &toml::Table) -> Result<Vec<String>, String> {
    let Some(value) = table.get("contract") else { return Ok(Vec::new()) };
    let wrong = "contract must be a table, such as { dedup = \"24h\" }";
    let pairs = value.as_table().ok_or(wrong)?.iter().map(|(key, value)| format!("{key}={}", plain(value)));
    let pairs: Vec<String> = pairs.collect();
    for pair in &pairs {
        apply_override(&mut Contract::standard(Identity::default()), pair).map_err(|error| error.to_string())?;
    }
    Ok(pairs)
}

fn currencies(table: &toml::Table) -> Result<Vec<Currency>, String> {
    let Some(value) = table.get("currencies") else { return Ok(Vec::new()) };
    let wrong = || "currencies must be a list of codes, such as [\"EUR\", \"CHF\"]".to_owned();
    let list = value.as_array().filter(|list| !list.is_empty()).ok_or_else(wrong)?;
    let code = |value: &toml::Value| {
        let code = value.as_str().ok_or_else(wrong)?;
        Currency::new(code).map_err(|invalid| format!("currencies: {code:?} {}", invalid.why))
    };
    list.iter().map(code).collect()
}

fn slots(table: &toml::Table) -> Result<Option<usize>, String> {
    let Some(value) = table.get("slots") else { return Ok(None) };
    let number = value.as_integer().and_then(|number| usize::try_from(number).ok()).filter(|number| *number > 0);
    number.map(Some).ok_or("slots must be a number from 1 on".to_owned())
}

fn source(table: &toml::Table, of: &str) -> Result<Source, String> {
    let (variable, file) = (text(table, &format!("{of}_env")), text(table, &format!("{of}_file")));
    let (variable, file) = (variable.transpose()?, file.transpose()?.map(|file| Path::new(&file).to_owned()));
    if variable.is_some() && file.is_some() {
        return Err(format!("say {of}_env or {of}_file, not both"));
    }
    let needed = variable.is_some();
    let file_key = if of == "credential" { "credential_file" } else { "webhook_secret_file" };
    Ok(Source { variable, file, needed, file_key })
}

fn needed(table: &toml::Table, key: &str) -> Result<String, String> {
    text(table, key).unwrap_or_else(|| Err(format!("needs a {key}")))
}

fn text(table: &toml::Table, key: &str) -> Option<Result<String, String>> {
    let value = table.get(key)?;
    Some(value.as_str().map(str::to_owned).ok_or_else(|| format!("{key} must be a text")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(text: &str) -> Result<Settings, String> {
        let mut settings = Settings::default();
        settings.read_toml(text).map(|()| settings)
    }

    #[test]
    fn every_key_of_a_gateway_is_read() {
        let both = settings(
            "[[gateways]]\nname = 'eu'\ngateway = 'http://h:1/p'\naccount = 'main'\ncontract = { dedup = 'none' }\n\
             currencies = ['EUR', 'CHF']\nslots = 7\ncredential_env = 'EU'\nwebhook_secret_file = '/s'\n\
             [[gateways]]\nname = 'us'\ngateway = 'stripe'\nreturn_url = 'https://r'\noff_session = true\n",
        );
        let [eu, us] = <[GatewaySettings; 2]>::try_from(both.expect("valid").gateways()).expect("two");
        assert_eq!((eu.name.as_str(), eu.account.as_deref(), eu.slots), ("eu", Some("main"), Some(7)));
        assert_eq!((eu.contract, eu.currencies.len()), (vec!["dedup=none".to_owned()], 2));
        assert_eq!(eu.credential, Source { needed: true, ..Source::variable("EU") });
        let file_key = "webhook_secret_file";
        assert_eq!(eu.webhook_secret, Source { file: Some(PathBuf::from("/s")), file_key, ..Source::default() });
        assert_eq!((us.return_url.as_deref(), us.off_session), (Some("https://r"), true));
        assert_eq!(us.credential, Source { needed: true, ..Source::variable("STRIPE_API_KEY") });
    }

    #[test]
    fn without_a_table_there_is_one_gateway_and_it_is_the_default() {
        let one = settings("gateway = 'http://h:1'\ngateway_account = 'a'\n").expect("valid").gateways();
        assert_eq!((one.len(), one[0].name.as_str(), one[0].account.as_deref()), (1, "default", Some("a")));
        assert_eq!(one[0].credential, Source::variable("PAYONCE_GATEWAY_CREDENTIAL"));
        assert_eq!(one[0].credential.read(), Ok(None), "it may do without");
    }

    #[test]
    fn a_flag_names_one_of_the_tables_and_nothing_else_is_said_beside_them() {
        let two = "[[gateways]]\nname = 'eu'\ngateway = 'http://h:1'\n[[gateways]]\nname = 'us'\ngateway = 'sandbox'\n";
        let mut chosen = settings(two).expect("valid");
        chosen.set_flag("gateway", "us").expect("it is one of them");
        assert_eq!(chosen.gateways().iter().map(|one| one.name.as_str()).collect::<Vec<_>>(), ["us"]);
        let why = chosen.set_flag("gateway", "http://h:2").expect_err("no table").to_string();
        assert_eq!(why, "--gateway must be one of those in the file's [[gateways]]: us");
        let why = chosen.set_flag("gateway_account", "a").expect_err("whose?").to_string();
        assert!(why.starts_with("--gateway-account is for a single gateway"), "{why}");
        let why = settings(&format!("gateway = 'sandbox'\n{two}")).expect_err("which?");
        assert_eq!(why, "gateway is for a single gateway: with [[gateways]], say it in their tables");
    }

    #[test]
    fn what_is_wrong_with_a_gateway_is_said_with_its_name() {
        let good = "name = 'a'\ngateway = 'sandbox'\n";
        for (tables, why) in [
            ("gateways = 1".to_owned(), "gateways must be tables"),
            ("[[gateways]]\ngateway = 'sandbox'".to_owned(), "gateways number 1: needs a name"),
            ("[[gateways]]\nname = 'a'".to_owned(), "gateways a: needs a gateway"),
            (
                format!("[[gateways]]\n{good}curencies = ['EUR']"),
                "gateways a: curencies is not known; did you mean cur",
            ),
            (format!("[[gateways]]\n{good}currencies = []"), "gateways a: currencies must be a list"),
            (format!("[[gateways]]\n{good}currencies = ['eur']"), "gateways a: currencies: \"eur\" must be"),
            (format!("[[gateways]]\n{good}slots = 0"), "gateways a: slots must be"),
            (format!("[[gateways]]\n{good}contract = {{ dedupe = '1h' }}"), "gateways a: "),
            (
                format!("[[gateways]]\n{good}credential_env = 'A'\ncredential_file = 'b'"),
                "gateways a: say credential_env",
            ),
            (format!("[[gateways]]\n{good}off_session = 'yes'"), "gateways a: off_session must be"),
            (format!("[[gateways]]\n{good}[[gateways]]\n{good}"), "gateways a: there are two"),
            (
                format!("[[gateways]]\n{good}[[gateways]]\n{}", good.replace("'a'", "'b'")),
                "gateways: there is one sandbox",
            ),
            (format!("[[gateways]]\n{}", good.replace("'a'", "'a/b'")), "gateways a/b: name must be"),
            (format!("[[gateways]]\n{}", good.replace("sandbox", "h")), "gateways a: gateway must be"),
        ] {
            let refused = settings(&tables).expect_err(why);
            assert!(refused.starts_with(why), "{refused}");
        }
    }

    #[test]
    fn a_secret_that_has_to_be_there_is_missed_by_name() {
        let missing = Source { needed: true, ..Source::variable("PAYONCE_TEST_NOT_SET") };
        let why = missing.read().expect_err("not set").to_string();
        assert_eq!(why, "a secret is missing: set PAYONCE_TEST_NOT_SET, or credential_file");
        let gone = Source { file: Some(PathBuf::from("/nowhere/at/all")), ..Source::default() };
        assert!(gone.read().is_err_and(|why| why.to_string().starts_with("/nowhere/at/all: cannot be read")));
    }
}
