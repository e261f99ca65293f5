//! The Stripe adapter against localstripe: stateful, and without any memory for idempotency keys. Whatever is sent to it
//! twice is done twice, unless its state forbids that.

#![cfg(feature = "cli")]
#![allow(missing_docs, clippy::expect_used, clippy::indexing_slicing, reason = "tests")]

mod folder;
mod laid_open;
mod stripe_stage;

use std::{
    fs,
    io::{Read, Write},
    net::TcpListener,
    path::{Path, PathBuf},
    process::Command,
    thread,
    time::{Duration, SystemTime},
};

use folder::Folder;
use payonce::{
    Timestamp,
    gateway::{Forged, Gateway, News, Post, stripe::StripeGateway},
};
use serde_json::{Value, json};
use stripe_stage::{Daemon, Proxy, SECRET, Step, When, ask_stripe, intents, localstripe, tell_stripe};

const VISA: &str = "pm_card_visa";

/// How the world goes on from a stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Then {
    /// The connection is cut.
    Cut,
    /// The daemon is killed first, and started again afterwards.
    Kill,
    /// The daemon is killed and started again, and what is on its way arrives when the payment has long been made.
    KillAndStayAway,
}

/// "Against localstripe with the daemon killed at every step of create and confirm: exactly one PaymentIntent confirmed
/// a payment, never two."
#[test]
fn killed_or_cut_off_at_any_step_exactly_one_payment_intent_is_confirmed() {
    if localstripe().is_none() {
        return;
    }
    let mut cases = Vec::new();
    for step in [Step::Create, Step::Confirm] {
        for when in [When::Lost, When::OnItsWay, When::Done, When::Told] {
            cases.extend([(step, when, Then::Cut), (step, when, Then::Kill)]);
        }
        cases.push((step, When::OnItsWay, Then::KillAndStayAway));
    }
    let cases = cases.into_iter().map(|(step, when, then)| thread::spawn(move || interrupted(step, when, then)));
    // All at once: most of their time they wait for "not found" to be believable.
    let cases: Vec<_> = cases.collect();
    cases.into_iter().for_each(|case| case.join().expect("the case holds"));
}

fn interrupted(step: Step, when: When, then: Then) {
    let name = format!("{step:?}-{when:?}-{then:?}");
    let folder = Folder::new(&name);
    let proxy = Proxy::new(step, when);
    let mut daemon = Daemon::start(&folder, &proxy.url);
    let started = daemon.pay(&name, VISA, "automatic", 0);
    proxy.stopped();
    if then != Then::Cut {
        drop(daemon);
        if then == Then::Kill {
            proxy.go_on();
        }
        daemon = Daemon::start(&folder, &proxy.url);
    } else {
        proxy.go_on();
    }
    let payment = daemon.until(&started, "succeeded");
    if then == Then::KillAndStayAway {
        proxy.go_on();
    }
    let (confirmed, others) = intents(key_of(&payment));
    assert_eq!(confirmed.len(), 1, "{name}: {confirmed:#?}");
    assert_eq!((&confirmed[0]["status"], &confirmed[0]["amount"]), (&json!("succeeded"), &json!(1050)), "{name}");
    assert_eq!(confirmed[0]["id"], payment["gateway_reference"], "{name}");
    assert!(others.iter().all(|other| other["status"] == "requires_confirmation"), "{name}: {others:#?}");
    let again = daemon.pay(&name, VISA, "automatic", 10);
    assert_eq!(again["gateway_reference"], payment["gateway_reference"], "{name}");
    assert_no_secret(&folder);
}

fn key_of(payment: &Value) -> &str {
    payment["operations"][0]["key"].as_str().expect("an operation key")
}

/// In the journal, the index, and the log.
fn assert_no_secret(folder: &Path) {
    assert_eq!(laid_open::holding(folder, SECRET), Vec::<PathBuf>::new());
}

#[test]
fn an_authorization_is_captured_once_and_refunded_in_parts() {
    let Some(url) = localstripe() else { return };
    let folder = Folder::new("lifecycle");
    let daemon = Daemon::start(&folder, url);
    let payment = daemon.pay("lifecycle", VISA, "manual", 20);
    assert_eq!(payment["state"], "authorized", "{payment:#}");
    let captured = daemon.operate(&payment, "capture", "c-1", &json!({"amount": 500}));
    assert_eq!(captured["state"], "succeeded", "{captured:#}");
    // Stripe has let go of the rest.
    let second = daemon.operate(&payment, "capture", "c-2", &json!({"amount": 500}));
    assert_ne!(second["state"], "succeeded", "{second:#}");
    for (key, amount, state) in [("r-1", 200, "succeeded"), ("r-2", 300, "succeeded"), ("r-1", 200, "succeeded")] {
        let refund = daemon.operate(&payment, "refunds", key, &json!({ "amount": amount }));
        assert_eq!(refund["state"], state, "{refund:#}");
    }
    let now = daemon.get(&payment);
    assert_eq!((&now["captured"], &now["refunded"]), (&json!(500), &json!(500)), "{now:#}");
    let intent = payment["gateway_reference"].as_str().expect("an id");
    let refunds = ask_stripe(&format!("/v1/refunds?payment_intent={intent}&limit=100"));
    let ours = refunds["data"].as_array().expect("a list").iter();
    let ours: u64 = ours
        .filter(|one| one["metadata"]["payonce_operation"].is_string())
        .filter_map(|one| one["amount"].as_u64())
        .sum();
    assert_eq!(ours, 500);
}

#[test]
fn an_authorization_is_voided_and_never_captured_after() {
    let Some(url) = localstripe() else { return };
    let folder = Folder::new("void");
    let daemon = Daemon::start(&folder, url);
    let payment = daemon.pay("void", VISA, "manual", 20);
    let voided = daemon.operate(&payment, "void", "v-1", &json!({}));
    assert_eq!(voided["state"], "succeeded", "{voided:#}");
    let intent = payment["gateway_reference"].as_str().expect("an id");
    assert_eq!(ask_stripe(&format!("/v1/payment_intents/{intent}"))["status"], "canceled");
    let late = daemon.operate(&payment, "capture", "c-1", &json!({}));
    assert_eq!(late["code"], "invalid_state", "{late:#}");
}

#[test]
fn a_declined_card_is_declined_and_one_that_does_not_exist_is_charged_nothing() {
    let Some(url) = localstripe() else { return };
    let folder = Folder::new("declined");
    let daemon = Daemon::start(&folder, url);
    let declined = daemon.pay("declined", "pm_card_chargeCustomerFail", "automatic", 20);
    assert_eq!((&declined["state"], &declined["outcome"]["code"]), (&json!("declined"), &json!("card_declined")));
    let unknown = daemon.pay("unknown", "pm_nobody", "automatic", 20);
    assert_eq!(unknown["state"], "canceled", "{unknown:#}");
    let refused = daemon.pay("refused", "acct_alice", "automatic", 20);
    assert_eq!(refused["code"], "invalid_request", "{refused:#}");
}

#[test]
fn a_payer_who_proves_to_be_it_is_charged() {
    let Some(url) = localstripe() else { return };
    let folder = Folder::new("3ds");
    let daemon = Daemon::start(&folder, url);
    let card =
        [("type", "card"), ("card[number]", "4000002500003155"), ("card[exp_month]", "12"), ("card[exp_year]", "2030")];
    let method = tell_stripe("/v1/payment_methods", &[&card[..], &[("card[cvc]", "123")]].concat());
    let payment = daemon.pay("3ds", method["id"].as_str().expect("an id"), "automatic", 0);
    // localstripe gives no URL to send the payer to, only an id.
    let waiting = daemon.until_payer_is_asked(&payment);
    let path = format!("/v1/payment_intents/{}/_authenticate", waiting["id"].as_str().expect("an id"));
    let secret = waiting["client_secret"].as_str().expect("a secret");
    tell_stripe(&path, &[("client_secret", secret), ("success", "true")]);
    daemon.until(&payment, "succeeded");
}

/// localstripe has no idempotency: the probe finds that out by two PaymentIntents under one key.
#[test]
fn a_probe_sees_that_localstripe_does_not_deduplicate() {
    let Some(url) = localstripe() else { return };
    let mut command = Command::new(env!("CARGO_BIN_EXE_payonce"));
    command.args(["probe", "--json", "--tries", "1", "--patience", "1s", "--source", VISA, "--destination", "self"]);
    let output = command.args(["--gateway", &format!("stripe:{url}")]).env("STRIPE_API_KEY", SECRET).output();
    let output = output.expect("starts");
    assert_eq!(output.status.code(), Some(1), "{}", String::from_utf8_lossy(&output.stderr));
    let report: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let dedup = json!({"key": "dedup", "value": "none", "origin": "measured"});
    assert_eq!(report["contract"][0], dedup, "{report:#}");
}

#[test]
fn without_a_key_nothing_starts_and_the_key_is_read_from_a_file() {
    let folder = Folder::new("key");
    let serve = |arguments: &[&str]| {
        let data = folder.join("data").display().to_string();
        let mut command = Command::new(env!("CARGO_BIN_EXE_payonce"));
        command.args(["serve", "--listen", "127.0.0.1:0", "--data", &data, "--gateway", "stripe"]).args(arguments);
        let output = command.env_remove("STRIPE_API_KEY").output().expect("starts");
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let (code, said) = serve(&[]);
    assert_eq!(code, Some(2), "{said}");
    assert!(said.contains("set STRIPE_API_KEY, or stripe_api_key_file"), "{said}");
    let (key, config) = (folder.join("key"), folder.join("payonce.toml"));
    fs::write(&key, "pk_test_hunter2\n").expect("writable");
    fs::write(&config, format!("stripe_api_key_file = '{}'\n", key.display())).expect("writable");
    let (code, said) = serve(&["--config", &config.display().to_string()]);
    assert_eq!(code, Some(2), "{said}");
    assert!(said.contains("stripe_api_key") && !said.contains("hunter2"), "{said}");
}

/// Signed by localstripe, which is another program than ours.
#[test]
fn a_webhook_that_localstripe_signed_names_the_operation() {
    let Some(url) = localstripe() else { return };
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let to = format!("http://{}/hook", listener.local_addr().expect("bound"));
    let request = ureq::post(format!("{url}/_config/webhooks/payonce"));
    let webhook = json!({"url": to, "secret": "whsec_localstripe", "events": ["payment_intent.succeeded"]});
    request.send_json(webhook).expect("taken");
    let folder = Folder::new("webhook");
    let daemon = Daemon::start(&folder, url);
    let payment = daemon.pay("webhook", VISA, "automatic", 20);
    let payment = daemon.get(&payment);
    // Other tests' payments make news too.
    loop {
        let (signature, body) = delivered(&listener);
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("after 1970");
        let now = Timestamp::from_millis(u64::try_from(now.as_millis()).expect("before the end of time"));
        let headers = [("stripe-signature".to_owned(), signature)];
        let verify = |secret| -> Result<News, Forged> {
            let gateway = StripeGateway::new("sk_test_1").expect("a key").with_webhook_secret(secret);
            gateway.news(&Post { headers: &headers, body: &body, at: now })
        };
        let news = verify("whsec_localstripe").expect("genuine");
        assert!(news.event_id.starts_with("evt_") && verify("whsec_other").is_err());
        if news.operation_key.is_some_and(|key| key.to_string() == key_of(&payment)) {
            return;
        }
    }
}

/// The next delivery: its signature and its body.
fn delivered(listener: &TcpListener) -> (String, Vec<u8>) {
    let (mut socket, _) = listener.accept().expect("a delivery");
    socket.set_read_timeout(Some(Duration::from_secs(60))).expect("a limit");
    let mut came = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        let read = socket.read(&mut buffer).expect("readable");
        came.extend_from_slice(&buffer[..read]);
        let Some(end) = came.windows(4).position(|four| four == b"\r\n\r\n") else { continue };
        let head = String::from_utf8_lossy(&came[..end]).into_owned();
        let header = |name: &str| {
            let of = |line: &str| {
                line.split_once(": ").filter(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, v)| v.to_owned())
            };
            head.lines().find_map(of)
        };
        let length: usize = header("content-length").expect("a length").parse().expect("a number");
        if came.len() >= end + 4 + length {
            socket.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n").expect("writable");
            return (header("stripe-signature").expect("signed"), came.split_off(end + 4));
        }
    }
}
