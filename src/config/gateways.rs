//! `[[gateways]]`: several in one daemon, the one that is preferred first. Credentials are looked up only where they are
//! used, and never kept.

use super::{
    ConfigError, GatewayChoice, Settings, Source, gateway, plain,
    table::{self, Table},
};
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

/// The variable with the credential of the only gateway: in no file of ours, and in no process list.
pub const CREDENTIAL: &str = "PAYONCE_GATEWAY_CREDENTIAL";

/// As Stripe's own tools call it.
const STRIPE_KEY: &str = "STRIPE_API_KEY";

/// The variable with what the only gateway's webhooks are signed with.
const WEBHOOK_SECRET: &str = "PAYONCE_GATEWAY_WEBHOOK_SECRET";

impl Settings {
    /// Every gateway, the one that is preferred first: the tables, or the one that is configured without any.
    pub fn gateways(&self) -> Vec<GatewaySettings> {
        if self.gateways.is_empty() { vec![self.gateway.with_usual_variables()] } else { self.gateways.clone() }
    }
}

impl Default for GatewaySettings {
    fn default() -> GatewaySettings {
        GatewaySettings {
            name: "default".to_owned(),
            choice: GatewayChoice::Sandbox,
            account: None,
            contract: Vec::new(),
            currencies: Vec::new(),
            slots: None,
            credential: Source::default(),
            webhook_secret: Source::default(),
            return_url: None,
            off_session: false,
        }
    }
}

impl GatewaySettings {
    /// Its contract, with what was overridden.
    pub fn contract(&self, contract: &Contract) -> Result<Contract, ConfigError> {
        let mut contract = contract.clone();
        for pair in &self.contract {
            apply_override(&mut contract, pair)
                .map_err(|error| ConfigError::new(format!("gateway {}: contract: {error}", self.name)))?;
        }
        Ok(contract)
    }

    /// The only gateway's secrets are where its users expect them.
    fn with_usual_variables(&self) -> GatewaySettings {
        let credential = match &self.choice {
            GatewayChoice::Sandbox => None,
            GatewayChoice::Http(_) => Some(CREDENTIAL),
            GatewayChoice::Stripe(_) => Some(STRIPE_KEY),
        };
        let variable = |name: &str| Some(name.to_owned());
        let mut usual = self.clone();
        usual.credential.variable = credential.and_then(variable);
        usual.credential.needed = matches!(self.choice, GatewayChoice::Stripe(_));
        usual.credential.file_key = "stripe_api_key_file".to_owned();
        usual.webhook_secret.variable = variable(WEBHOOK_SECRET);
        usual
    }
}

/// Reads the tables; an error says in which, by name or number.
pub(super) fn read(value: &toml::Value) -> Result<Vec<GatewaySettings>, String> {
    let gateways = table::each("gateways", value, &KEYS, |table| one(table).map(|one| (one.name.clone(), one)))?;
    let sandboxes = gateways.iter().filter(|one| one.choice == GatewayChoice::Sandbox).count();
    if sandboxes > 1 {
        return Err("gateways: there is one sandbox in a data folder; start others with `payonce sandbox`".to_owned());
    }
    Ok(gateways)
}

fn one(table: &Table<'_>) -> Result<GatewaySettings, String> {
    let choice = gateway(&table.needed("gateway")?).map_err(|why| format!("gateway {why}"))?;
    let mut credential = table.source("credential")?;
    if matches!(choice, GatewayChoice::Stripe(_)) {
        if !credential.is_named() {
            credential.variable = Some(STRIPE_KEY.to_owned());
        }
        credential.needed = true;
    }
    let currency = |code: &str| Currency::new(code).map_err(|invalid| format!("{code:?} {}", invalid.why));
    Ok(GatewaySettings {
        name: name(table)?,
        choice,
        account: table.text("account")?,
        contract: contract(table)?,
        currencies: table.list("currencies", "codes, such as [\"EUR\", \"CHF\"]", currency)?,
        slots: slots(table)?,
        credential,
        webhook_secret: table.source("webhook_secret")?,
        return_url: table.text("return_url")?,
        off_session: table.flag("off_session")?,
    })
}

/// It stands in URLs.
fn name(table: &Table<'_>) -> Result<String, String> {
    let name = table.needed("name")?;
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    if name.is_empty() || name.len() > 40 || !name.chars().all(plain) {
        return Err("name must be 1 to 40 letters, digits, hyphens or underscores".to_owned());
    }
    Ok(name)
}

fn contract(table: &Table<'_>) -> Result<Vec<String>, String> {
    let Some(value) = table.get("contract") else { return Ok(Vec::new()) };
    let wrong = "contract must be a table, such as { dedup = \"24h\" }";
    let pairs = value.as_table().ok_or(wrong)?.iter().map(|(key, value)| format!("{key}={}", plain(value)));
    let pairs: Vec<String> = pairs.collect();
    for pair in &pairs {
        apply_override(&mut Contract::standard(Identity::default()), pair)
            .map_err(|error| format!("contract: {error}"))?;
    }
    Ok(pairs)
}

fn slots(table: &Table<'_>) -> Result<Option<usize>, String> {
    let Some(value) = table.get("slots") else { return Ok(None) };
    let number = value.as_integer().and_then(|number| usize::try_from(number).ok()).filter(|number| *number > 0);
    number.map(Some).ok_or("slots must be a number from 1 on".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(variable: &str, file_key: &str) -> Source {
        Source { variable: Some(variable.to_owned()), file_key: file_key.to_owned(), ..Source::default() }
    }

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
        assert_eq!(eu.credential, Source { needed: true, ..source("EU", "credential_file") });
        let (file, file_key) = (Some("/s".into()), "webhook_secret_file".to_owned());
        assert_eq!(eu.webhook_secret, Source { file, file_key, ..Source::default() });
        assert_eq!((us.return_url.as_deref(), us.off_session), (Some("https://r"), true));
        assert_eq!(us.credential, Source { needed: true, ..source("STRIPE_API_KEY", "credential_file") });
    }

    #[test]
    fn without_a_table_there_is_one_gateway_and_it_is_the_default() {
        let one = settings("gateway = 'http://h:1'\ngateway_account = 'a'\n").expect("valid").gateways();
        assert_eq!((one.len(), one[0].name.as_str(), one[0].account.as_deref()), (1, "default", Some("a")));
        assert_eq!(one[0].credential.variable.as_deref(), Some("PAYONCE_GATEWAY_CREDENTIAL"));
        assert!(!one[0].credential.needed, "it may do without");
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
}
