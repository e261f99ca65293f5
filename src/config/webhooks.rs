//! `[[webhooks]]`: who is told of what happens. The secret is looked up only where it is used, and never kept.

use std::{
    fs::File,
    io::{self, Read},
    path::{Path, PathBuf},
};

use super::unknown;
use crate::{
    deliver::{Endpoint, Kind},
    signature::Secret,
};

const KEYS: [&str; 7] = ["name", "url", "secret", "secret_env", "secret_file", "events", "from_start"];
/// The most that is read of a secret's file: a few secrets fit.
const MAX_SECRET: u64 = 4096;

/// One receiver, as written in the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Webhook {
    /// Names its state; never change it.
    pub name: String,
    /// Where to.
    pub url: String,
    /// What signs for it.
    pub secret: SecretSource,
    /// What it hears of; everything if empty.
    pub events: Vec<Kind>,
    /// Whether it is told everything that ever happened, if it is new. Default: what happens from now on, since most
    /// receivers would take what is years old for news.
    pub from_start: bool,
}

/// Where a secret is.
#[derive(Clone, PartialEq, Eq)]
pub enum SecretSource {
    /// In the configuration.
    Here(Secret),
    /// In a variable of the environment.
    Variable(String),
    /// In a file.
    File(PathBuf),
}

impl std::fmt::Debug for SecretSource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            SecretSource::Here(secret) => secret.fmt(f),
            SecretSource::Variable(name) => f.debug_tuple("Variable").field(name).finish(),
            SecretSource::File(path) => f.debug_tuple("File").field(path).finish(),
        }
    }
}

impl Webhook {
    /// The receiver, with its secret.
    pub(super) fn endpoint(&self) -> Result<Endpoint, String> {
        let about = |why: String| format!("webhooks {}: {why}", self.name);
        let secret = self.secret.read().map_err(about)?;
        let endpoint = Endpoint::new(&self.name, &self.url, secret).map_err(about)?;
        Ok(endpoint.hearing(self.events.clone()).from_start(self.from_start))
    }
}

impl SecretSource {
    fn read(&self) -> Result<Secret, String> {
        let (text, whence) = match self {
            SecretSource::Here(secret) => return Ok(secret.clone()),
            SecretSource::Variable(name) => {
                (std::env::var(name).map_err(|why| format!("secret_env {name}: {why}"))?, format!("secret_env {name}"))
            }
            SecretSource::File(path) => {
                let whence = format!("secret_file {}", path.display());
                (text_of(path).map_err(|why| format!("{whence}: {why}"))?, whence)
            }
        };
        Secret::parse(&text).map_err(|why| format!("{whence} {why}"))
    }
}

fn text_of(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    File::open(path)?.take(MAX_SECRET).read_to_string(&mut text)?;
    Ok(text)
}

/// Reads the tables; an error says in which, by name or number.
pub(super) fn read(value: &toml::Value) -> Result<Vec<Webhook>, String> {
    let tables = value.as_array().ok_or("webhooks must be tables, each under [[webhooks]]")?;
    let mut webhooks: Vec<Webhook> = Vec::new();
    for (number, table) in tables.iter().enumerate() {
        let table = table.as_table().ok_or("webhooks must be tables, each under [[webhooks]]")?;
        let name = table.get("name").and_then(toml::Value::as_str);
        let which = name.map_or_else(|| format!("webhooks number {}", number + 1), |name| format!("webhooks {name}"));
        let webhook = one(table).map_err(|why| format!("{which}: {why}"))?;
        if webhooks.iter().any(|known| known.name == webhook.name) {
            return Err(format!("{which}: there are two of this name"));
        }
        webhooks.push(webhook);
    }
    Ok(webhooks)
}

fn one(table: &toml::Table) -> Result<Webhook, String> {
    if let Some(key) = table.keys().find(|key| !KEYS.contains(&key.as_str())) {
        return Err(format!("{key} {}", unknown(key, &KEYS)));
    }
    let (name, url) = (needed(table, "name")?, needed(table, "url")?);
    let given = ["secret", "secret_env", "secret_file"].map(|key| text(table, key));
    let secret = match given {
        [Some(secret), None, None] => {
            SecretSource::Here(Secret::parse(&secret?).map_err(|why| format!("secret {why}"))?)
        }
        [None, Some(variable), None] => SecretSource::Variable(variable?),
        [None, None, Some(file)] => SecretSource::File(PathBuf::from(file?)),
        _ => return Err("needs one of secret, secret_env and secret_file".to_owned()),
    };
    let from_start = match table.get("from_start") {
        None => false,
        Some(value) => value.as_bool().ok_or("from_start must be true or false")?,
    };
    let webhook = Webhook { name, url, secret, events: events(table)?, from_start };
    // Whether name and URL can be used shows with any secret.
    let any = Secret::parse("whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA").map_err(str::to_owned)?;
    Endpoint::new(&webhook.name, &webhook.url, any).map(|_| webhook)
}

fn events(table: &toml::Table) -> Result<Vec<Kind>, String> {
    let Some(value) = table.get("events") else { return Ok(Vec::new()) };
    let wrong = || "events must be a list of names, such as [\"payment.succeeded\", \"payment.parked\"]".to_owned();
    let list = value.as_array().filter(|list| !list.is_empty()).ok_or_else(wrong)?;
    let kind = |value: &toml::Value| {
        let name = value.as_str().ok_or_else(wrong)?;
        Kind::parse(name).ok_or_else(|| format!("events: there is no {name:?}; there are {}", Kind::all().join(", ")))
    };
    list.iter().map(kind).collect()
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
    use super::super::Settings;

    const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

    fn settings(tables: &str) -> Result<Settings, String> {
        let mut settings = Settings::default();
        settings.read_toml(&tables.replace("SECRET", SECRET)).map(|()| settings)
    }

    #[test]
    fn every_key_of_a_webhook_is_read() {
        let both = settings(
            "[[webhooks]]\nname = 'shop'\nurl = 'https://shop.example/hooks?t=1'\nsecret = 'SECRET'\n\
             events = ['payment.succeeded', 'refund.declined']\nfrom_start = true\n\
             [[webhooks]]\nname = 'ops'\nurl = 'http://127.0.0.1:9'\nsecret_env = 'PATH'\n",
        )
        .expect("valid");
        let [shop, ops] = both.webhooks.as_slice() else { panic!("{:?}", both.webhooks) };
        assert_eq!(
            shop.events.iter().map(ToString::to_string).collect::<Vec<_>>(),
            ["payment.succeeded", "refund.declined"]
        );
        assert!(shop.from_start && !ops.from_start && ops.events.is_empty());
        assert_eq!(shop.endpoint().expect("usable").name(), "shop");
        let why = ops.endpoint().expect_err("PATH is no secret");
        assert!(why.starts_with("webhooks ops: secret_env PATH must be whsec_"), "{why}");
        assert!(!format!("{both:?}").contains("MfKQ9"), "secrets are not shown");
    }

    #[test]
    fn a_secret_is_read_from_its_file() {
        let path = std::env::temp_dir().join(format!("payonce-secret-{}", std::process::id()));
        std::fs::write(&path, format!("{SECRET}\n")).expect("writable");
        let table = format!("[[webhooks]]\nname = 'a'\nurl = 'http://h'\nsecret_file = '{}'\n", path.display());
        let endpoint = settings(&table).expect("valid").endpoints();
        std::fs::remove_file(&path).expect("removable");
        assert!(endpoint.is_ok(), "{endpoint:?}");
        let gone = settings(&table).expect("valid").endpoints().expect_err("gone").to_string();
        assert!(gone.starts_with("webhooks a: secret_file /"), "{gone}");
    }

    #[test]
    fn what_is_wrong_with_a_webhook_is_said_with_its_name() {
        let good = "name = 'a'\nurl = 'http://h'\nsecret = 'SECRET'\n";
        for (tables, why) in [
            ("webhooks = 1".to_owned(), "webhooks must be tables"),
            ("[[webhooks]]\nurl = 'http://h'".to_owned(), "webhooks number 1: needs a name"),
            ("[[webhooks]]\nname = 'a'".to_owned(), "webhooks a: needs a url"),
            ("[[webhooks]]\nname = 'a'\nurl = 'http://h'".to_owned(), "webhooks a: needs one of secret"),
            (format!("[[webhooks]]\n{good}secret_env = 'X'"), "webhooks a: needs one of secret"),
            (format!("[[webhooks]]\n{good}secrt = 'X'"), "webhooks a: secrt is not known; did you mean secret?"),
            (
                format!("[[webhooks]]\n{good}events = ['payment.won']"),
                "webhooks a: events: there is no \"payment.won\"",
            ),
            (format!("[[webhooks]]\n{good}events = []"), "webhooks a: events must be a list"),
            (format!("[[webhooks]]\n{good}from_start = 'yes'"), "webhooks a: from_start must be"),
            (format!("[[webhooks]]\n{good}[[webhooks]]\n{good}"), "webhooks a: there are two"),
            (format!("[[webhooks]]\n{good}").replace("http", "ftp"), "webhooks a: url must begin"),
            (format!("[[webhooks]]\n{good}").replace("'a'", "'../a'"), "webhooks ../a: name must be"),
            (format!("[[webhooks]]\n{good}").replace("SECRET", "hunter2"), "webhooks a: secret must be whsec_"),
        ] {
            let refused = settings(&tables).expect_err(why);
            assert!(refused.starts_with(why) && !refused.contains("hunter2"), "{refused}");
        }
    }
}
