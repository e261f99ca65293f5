//! What payonce is measured beside, the gateway stub that all of them ask, and the load that all of them get, in one
//! program: `peers gateway|proxy|sqlite|postgres|load --NAME VALUE ..`. `./run` starts it; README.md says what is what.

mod gateway;
mod http;
mod load;
mod once;
mod postgres;
mod proxy;
mod sqlite;
mod wire;

use std::{collections::HashMap, env, error::Error, process::ExitCode, str::FromStr};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Whatever went wrong, for a person to read.
type Failed = Box<dyn Error + Send + Sync>;

/// `--NAME VALUE ..`, of which each part takes what it knows.
struct Options(HashMap<String, String>);

impl Options {
    fn read(mut words: impl Iterator<Item = String>) -> Result<Self, Failed> {
        let mut options = HashMap::new();
        while let Some(word) = words.next() {
            let name = word.strip_prefix("--").ok_or_else(|| format!("not an option: {word}"))?;
            options.insert(name.to_owned(), words.next().ok_or_else(|| format!("{word} needs a value"))?);
        }
        Ok(Self(options))
    }

    fn need<T: FromStr>(&self, name: &str) -> Result<T, Failed> {
        let text = self.0.get(name).ok_or_else(|| format!("--{name} is missing"))?;
        text.parse().map_err(|_| format!("--{name} cannot be {text}").into())
    }

    fn or<T: FromStr>(&self, name: &str, default: T) -> Result<T, Failed> {
        if self.0.contains_key(name) { self.need(name) } else { Ok(default) }
    }
}

async fn start() -> Result<(), Failed> {
    let mut words = env::args().skip(1);
    let part = words.next().unwrap_or_default();
    let options = Options::read(words)?;
    match part.as_str() {
        "gateway" => gateway::serve(&options).await,
        "proxy" => proxy::serve(&options).await,
        "sqlite" => sqlite::serve(&options).await,
        "postgres" => postgres::serve(&options).await,
        "load" => load::run(&options).await,
        _ => Err("the first word is one of: gateway, proxy, sqlite, postgres, load".into()),
    }
}

#[tokio::main]
async fn main() -> ExitCode {
    match start().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("peers: {why}");
            ExitCode::FAILURE
        }
    }
}
