//! `[[webhooks]]`: who is told of what happens. The secret is looked up only where it is used, and never kept.

use super::{
    Source,
    table::{self, Table},
};
use crate::{
    deliver::{Endpoint, Kind},
    signature::Secret,
};

const KEYS: [&str; 7] = ["name", "url", "secret", "secret_env", "secret_file", "events", "from_start"];

/// One receiver, as written in the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Webhook {
    /// Names its state; never change it.
    pub name: String,
    /// Where to.
    pub url: String,
    /// What signs for it.
    pub secret: WebhookSecret,
    /// What it hears of; everything if empty.
    pub events: Vec<Kind>,
    /// Whether it is told everything that ever happened, if it is new. Default: what happens from now on, since most
    /// receivers would take what is years old for news.
    pub from_start: bool,
}

/// What signs for a receiver.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WebhookSecret {
    /// As written in the configuration.
    Here(Secret),
    /// Where it is.
    Elsewhere(Source),
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

impl WebhookSecret {
    fn read(&self) -> Result<Secret, String> {
        match self {
            WebhookSecret::Here(secret) => Ok(secret.clone()),
            WebhookSecret::Elsewhere(source) => {
                let text = source.read().map_err(|why| why.to_string())?.ok_or("its secret is missing")?;
                Secret::parse(&text).map_err(|why| format!("its secret {why}"))
            }
        }
    }
}

/// Reads the tables; an error says in which, by name or number.
pub(super) fn read(value: &toml::Value) -> Result<Vec<Webhook>, String> {
    table::each("webhooks", value, &KEYS, |table| one(table).map(|webhook| (webhook.name.clone(), webhook)))
}

fn one(table: &Table<'_>) -> Result<Webhook, String> {
    let kind = |name: &str| {
        Kind::parse(name).ok_or_else(|| format!("there is no {name:?}; there are {}", Kind::all().join(", ")))
    };
    let webhook = Webhook {
        name: table.needed("name")?,
        url: table.needed("url")?,
        secret: secret(table)?,
        events: table.list("events", "names, such as [\"payment.succeeded\", \"payment.parked\"]", kind)?,
        from_start: table.flag("from_start")?,
    };
    // Whether name and URL can be used shows with any secret.
    let any = Secret::parse("whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA").map_err(str::to_owned)?;
    Endpoint::new(&webhook.name, &webhook.url, any).map(|_| webhook)
}

fn secret(table: &Table<'_>) -> Result<WebhookSecret, String> {
    let source = table.source("secret")?;
    match table.text("secret")? {
        Some(text) if !source.is_named() => {
            Secret::parse(&text).map(WebhookSecret::Here).map_err(|why| format!("secret {why}"))
        }
        None if source.is_named() => Ok(WebhookSecret::Elsewhere(source)),
        Some(_) | None => Err("needs one of secret, secret_env and secret_file".to_owned()),
    }
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
        assert!(why.starts_with("webhooks ops: its secret must be whsec_"), "{why}");
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
        assert!(gone.starts_with("webhooks a: /"), "{gone}");
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
