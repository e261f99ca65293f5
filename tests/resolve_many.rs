//! A person decides about many payments alike: what is listed is what is decided, and nothing else.

#![cfg(feature = "cli")]
#![allow(missing_docs, clippy::expect_used, clippy::indexing_slicing, reason = "tests")]

mod folder;

use std::{
    io::{BufRead, BufReader, Read},
    net::TcpListener,
    path::Path,
    process::{Child, Command, Output, Stdio},
    thread,
    time::{Duration, Instant},
};

use folder::Folder;
use serde_json::{Value, json};

const HANG: Duration = Duration::from_secs(60);
const DECIDE: [&str; 8] = ["resolve", "--as", "declined", "--actor", "alice", "--reason", "ticket 77", "--state"];

/// A gateway that reads what comes, and says nothing.
fn silent() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let url = format!("http://{}", listener.local_addr().expect("bound"));
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let _ = (&stream).read(&mut [0; 1024]);
        }
    });
    url
}

/// Everything that may have happened parks: the gateway can neither be asked nor told twice.
struct Daemon {
    child: Child,
    url: String,
}

impl Daemon {
    fn start(folder: &Path, gateway: &str, account: &str) -> Daemon {
        let mut command = Command::new(env!("CARGO_BIN_EXE_payonce"));
        command.args([
            "serve",
            "--json",
            "--listen",
            "127.0.0.1:0",
            "--gateway",
            gateway,
            "--gateway-account",
            account,
        ]);
        command.args(["--gateway-contract", "dedup=none", "--gateway-contract", "inquiry=no", "--data"]).arg(folder);
        let mut child = command.stdout(Stdio::piped()).spawn().expect("starts");
        let mut line = String::new();
        BufReader::new(child.stdout.take().expect("piped")).read_line(&mut line).expect("an introduction");
        let introduction: Value = serde_json::from_str(&line).expect("JSON");
        Daemon { child, url: introduction["url"].as_str().expect("a URL").to_owned() }
    }

    fn pay(&self, key: &str) {
        let order = json!({"amount": 1050, "currency": "USD", "source": "acct_alice", "destination": "acct_bob"});
        let request = ureq::post(format!("{}/v1/payments", self.url)).header("Idempotency-Key", key);
        request.header("Prefer", "wait=0").send_json(order).expect("answered");
    }

    fn run(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_payonce"));
        command.args(arguments).args(["--url", &self.url]).stdin(Stdio::null()).output().expect("runs")
    }

    /// What `resolve --state parked` says about these filters.
    fn decide(&self, more: &[&str]) -> (Option<i32>, Value) {
        let output = self.run(&[&DECIDE[..], &["parked", "--json"], more].concat());
        (output.status.code(), serde_json::from_slice(&output.stdout).unwrap_or_default())
    }

    fn found(&self, more: &[&str]) -> usize {
        let (code, told) = self.decide(&[&["--dry-run"], more].concat());
        assert_eq!((code, &told["dry_run"], &told["resolved"]), (Some(0), &json!(true), &json!([])), "{told}");
        told["found"].as_array().expect("a list").len()
    }

    fn until_parked(&self, count: usize) {
        let hang = Instant::now() + HANG;
        while self.found(&[]) < count {
            assert!(Instant::now() < hang, "{:?}", self.decide(&["--dry-run"]));
        }
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        self.child.kill().and_then(|()| self.child.wait()).expect("kill -9 works");
    }
}

/// Three payments parked at one account, and two at another.
fn parked(folder: &Path) -> Daemon {
    let gateway = silent();
    let daemon = Daemon::start(folder, &gateway, "shop");
    (0..3).for_each(|number| daemon.pay(&format!("shop-{number}")));
    daemon.until_parked(3);
    drop(daemon);
    let daemon = Daemon::start(folder, &gateway, "market");
    (0..2).for_each(|number| daemon.pay(&format!("market-{number}")));
    daemon.until_parked(5);
    daemon
}

#[test]
fn what_fits_the_filters_is_listed_and_only_that_is_decided() {
    let folder = Folder::new("resolve-many");
    let daemon = parked(&folder);
    for (filters, count) in [
        (&[][..], 5),
        (&["--gateway", "shop"], 3),
        (&["--gateway", "market"], 2),
        (&["--gateway", "nobody"], 0),
        (&["--park-reason", "key_expired"], 0),
        (&["--older-than", "1h"], 0),
        (&["--older-than", "0s"], 5),
        (&["--gateway", "market", "--park-reason", "no_way_to_know"], 2),
    ] {
        assert_eq!(daemon.found(filters), count, "{filters:?}");
    }
    let (code, _) = daemon.decide(&["--gateway", "market"]);
    assert_eq!((code, daemon.found(&[])), (Some(2), 5), "nobody at a terminal, and no --yes");
    let (code, told) = daemon.decide(&["--gateway", "market", "--yes"]);
    assert_eq!((code, &told["refused"]), (Some(0), &json!([])), "{told}");
    assert_eq!(told["resolved"].as_array().expect("a list").len(), 2);
    assert_eq!((daemon.found(&[]), daemon.found(&["--gateway", "shop"])), (3, 3));
    let id = told["resolved"][0]["payment"].as_str().expect("an id");
    let shown = daemon.run(&["show", id, "--json"]);
    let payment: Value = serde_json::from_slice(&shown.stdout).expect("JSON");
    assert_eq!(payment["state"], "declined");
    assert!(payment["timeline"].to_string().contains("person alice: ticket 77"), "{payment}");
    let text = daemon.run(&[&DECIDE[..], &["parked", "--yes"]].concat());
    let said = String::from_utf8(text.stdout).expect("text");
    assert!(
        said.contains("3 operations, 3150 USD") && said.contains("3 resolved as declined, 0 could not be"),
        "{said}"
    );
}

#[test]
fn what_cannot_be_decided_is_named_and_the_rest_goes_on() {
    let folder = Folder::new("resolve-refused");
    let daemon = parked(&folder);
    let cancel = ["resolve", "--as", "canceled", "--actor", "alice", "--reason", "ticket 77", "--state", "parked"];
    let refused = daemon.run(&[&cancel[..], &["--yes", "--json"]].concat());
    let told: Value = serde_json::from_slice(&refused.stdout).expect("JSON");
    assert_eq!((refused.status.code(), &told["resolved"]), (Some(1), &json!([])), "{told}");
    assert_eq!(told["refused"].as_array().expect("a list").len(), 5);
    assert!(told["refused"][0]["why"].as_str().expect("a reason").contains("certainly has not happened"), "{told}");
    assert_eq!(daemon.found(&[]), 5);
    for wrong in [
        &["resolve", "--as", "declined", "--actor", "a", "--reason", "b"][..],
        &["resolve", "ID", "--as", "declined", "--actor", "a", "--reason", "b", "--state", "parked"],
        &["resolve", "ID", "--as", "declined", "--actor", "a", "--reason", "b", "--yes"],
        &["resolve", "ID", "--as", "declined", "--actor", "a", "--reason", "b", "--dry-run"],
        &["resolve", "ID", "--as", "declined", "--actor", "a", "--reason", "b", "--older-than", "1h"],
        &["resolve", "--as", "declined", "--actor", "a", "--reason", "b", "--state", "succeeded"],
        &["resolve", "--as", "declined", "--actor", "a", "--reason", "b", "--state", "parked", "--park-reason", "x"],
        &["resolve", "--as", "declined", "--actor", "a", "--reason", "b", "--state", "parked", "--operation", "0"],
    ] {
        assert_eq!(daemon.run(wrong).status.code(), Some(2), "{wrong:?}");
    }
}
