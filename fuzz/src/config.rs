//! What operators write: `payonce.toml`, `PAYONCE_*`, flags, `--gateway-contract`, durations.
//!
//! Asserts: nothing panics, and a complaint says something. Settings that were accepted, said again as flags, are the
//! same settings. An override that is refused changes nothing, one that is accepted changes what it names and nothing
//! else, and every contract that comes of them has sane limits. A duration, written in milliseconds, is the same.

use std::time::Duration;

use payonce::{
    config::{GatewayChoice, KEYS, Settings},
    gateway::{apply_override, parse_duration},
    payment::{Contract, Deduplication, Identity, Inquiry, Late},
};

use super::choices::Choices;

/// A key, or a name that is none.
fn key(c: &mut Choices<'_>) -> &'static str {
    KEYS.get(c.below(KEYS.len() + 1)).copied().unwrap_or("gateway_credential")
}

/// One way of setting things, chosen by the first byte.
pub fn config(bytes: &[u8]) {
    let mut c = Choices(bytes);
    match c.below(4) {
        0 => file(c.0),
        1 => environment(&mut c),
        2 => flags(&mut c),
        _ => overrides(c.0),
    }
}

fn file(bytes: &[u8]) {
    let Ok(text) = str::from_utf8(bytes) else { return };
    let mut settings = Settings::default();
    match settings.read_toml(text) {
        Ok(()) => check(&settings),
        Err(why) => assert!(!why.is_empty()),
    }
}

fn environment(c: &mut Choices<'_>) {
    let mut variables = Vec::new();
    while !c.is_done() {
        let name = if c.seldom() { c.text(20) } else { key(c).to_ascii_uppercase() };
        variables.push((format!("PAYONCE_{name}"), c.text(40)));
    }
    match Settings::load(None, variables) {
        Ok(settings) => check(&settings),
        Err(why) => assert!(why.to_string().contains("PAYONCE_"), "{why}"),
    }
}

fn flags(c: &mut Choices<'_>) {
    let mut settings = Settings::default();
    while !c.is_done() {
        let (key, value) = (key(c), c.text(40));
        if let Err(why) = settings.set_flag(key, &value) {
            assert!(why.to_string().starts_with("--"), "{why}");
        }
    }
    check(&settings);
}

fn check(settings: &Settings) {
    let mut again = Settings::default();
    let mut say = |key: &str, value: &str| again.set_flag(key, value).unwrap_or_else(|why| panic!("{why}"));
    say("data", settings.data.to_str().expect("it was text"));
    say("listen", &settings.listen.to_string());
    match &settings.gateway.choice {
        GatewayChoice::Sandbox => say("gateway", "sandbox"),
        GatewayChoice::Http(url) => say("gateway", url),
        GatewayChoice::Stripe(url) => say("gateway", &format!("stripe:{url}")),
    }
    settings.gateway.account.iter().for_each(|account| say("gateway_account", account));
    settings.gateway.contract.iter().for_each(|pair| say("gateway_contract", pair));
    let key_file = settings.gateway.credential.file.iter().map(|file| file.to_str().expect("it was text"));
    key_file.for_each(|file| say("stripe_api_key_file", file));
    settings.gateway.return_url.iter().for_each(|url| say("stripe_return_url", url));
    say("stripe_off_session", &settings.gateway.off_session.to_string());
    say("namespace", settings.namespace.as_str());
    say("late_success", late(settings.policies.late_success));
    say("late_void", late(settings.policies.late_void));
    settings.duplicate_window.iter().for_each(|time| say("duplicate_window", &format!("{}ms", time.as_millis())));
    settings.duplicate_reference.iter().for_each(|reference| say("duplicate_reference", reference));
    say("seal_personal_data", &settings.seal_personal_data.to_string());
    settings.queue.iter().for_each(|number| say("queue", &number.to_string()));
    settings.gateway_slots.iter().for_each(|number| say("gateway_slots", &number.to_string()));
    settings.segment_bytes.iter().for_each(|number| say("segment_bytes", &number.to_string()));
    settings.batch_bytes.iter().for_each(|number| say("batch_bytes", &number.to_string()));
    settings.checkpoint_bytes.iter().for_each(|number| say("checkpoint_bytes", &number.to_string()));
    settings.store_cache_bytes.iter().for_each(|number| say("store_cache_bytes", &number.to_string()));
    settings.rate_per_key.iter().for_each(|number| say("rate_per_key", &number.to_string()));
    settings.connections.iter().for_each(|number| say("connections", &number.to_string()));
    let Settings { keys_file, tls_cert, tls_key, tls_client_ca, .. } = settings;
    let files =
        [("keys_file", keys_file), ("tls_cert", tls_cert), ("tls_key", tls_key), ("tls_client_ca", tls_client_ca)];
    for (key, file) in files {
        file.iter().for_each(|file| say(key, file.to_str().expect("it was text")));
    }
    // Tables are in the file only.
    (again.gateways, again.webhooks) = (settings.gateways.clone(), settings.webhooks.clone());
    assert_eq!(&again, settings);
    let options = settings.options(true);
    assert!(options.moved && options.queue > 0 && options.gateway_slots > 0);
    match settings.contract(&Contract::standard(Identity::default())) {
        Ok(contract) => sane(&contract),
        // Each was tried alone; only one thing can contradict another.
        Err(why) => assert!(settings.gateway.contract.iter().any(|pair| pair.starts_with("inquiry")), "{why}"),
    }
}

fn late(late: Late) -> &'static str {
    match late {
        Late::Adopt => "adopt",
        Late::Refund => "refund",
    }
}

fn sane(contract: &Contract) {
    assert!(!contract.deadline.is_zero() && !contract.park_after.is_zero());
    if let Deduplication::ByKey { ttl } = contract.deduplication {
        assert!(!ttl.is_zero());
    }
    if let Inquiry::ByKey { not_found_times, .. } = contract.inquiry {
        assert!((1..=60).contains(&not_found_times));
    }
}

/// A line each.
fn overrides(bytes: &[u8]) {
    let Ok(text) = str::from_utf8(bytes) else { return };
    let mut contract = Contract::standard(Identity::default());
    for line in text.lines() {
        let before = contract.clone();
        match apply_override(&mut contract, line) {
            Err(why) => {
                assert_eq!(contract, before, "{why}");
                assert!(why.to_string().contains(&format!("{line:?}")));
            }
            Ok(()) => {
                let key = line.split('=').next().unwrap_or_default().trim();
                assert_eq!(
                    Contract { ..with_named(key, &before, &contract) },
                    contract,
                    "{line} changed something else"
                );
                sane(&contract);
            }
        }
        if let Some(time) = parse_duration(line) {
            assert_eq!(parse_duration(&format!("{}ms", time.as_millis())), Some(time));
            assert!(time <= Duration::from_millis(u64::MAX));
        }
    }
}

/// `before` with what `key` names taken from `after`.
fn with_named(key: &str, before: &Contract, after: &Contract) -> Contract {
    let mut contract = before.clone();
    match key {
        "dedup" => contract.deduplication = after.deduplication,
        "inquiry" | "not_found_lag" | "not_found_times" => contract.inquiry = after.inquiry,
        "max_processing" => contract.max_processing = after.max_processing,
        "deadline" => contract.deadline = after.deadline,
        "park_after" => contract.park_after = after.park_after,
        _ => panic!("{key} names nothing"),
    }
    contract
}
