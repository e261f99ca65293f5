//! The program as its users meet it: start, pay, show, list, stop.

#![cfg(feature = "cli")]
#![allow(missing_docs, clippy::expect_used, clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

mod folder;

mod program;

use std::{
    io::{BufRead, BufReader, Read},
    net::TcpListener,
    process::{Child, ChildStdout, Command, Output, Stdio},
};

use folder::Folder;
use program::payonce;

const PAY: [&str; 8] = ["--amount", "1050", "--currency", "USD", "--source", "acct_alice", "--destination", "acct_bob"];

/// A daemon, and what it has said so far.
struct Daemon {
    child: Child,
    said: BufReader<ChildStdout>,
    url: String,
    _data: Folder,
}

impl Daemon {
    fn start(name: &str, more: &[&str]) -> Daemon {
        let data = Folder::new(name);
        let mut command = payonce(&["serve", "--listen", "127.0.0.1:0", "--json", "--data"]);
        let mut child = command.arg(&*data).args(more).stdout(Stdio::piped()).spawn().expect("starts");
        let mut said = BufReader::new(child.stdout.take().expect("piped"));
        let mut line = String::new();
        said.read_line(&mut line).expect("an introduction");
        let introduction: serde_json::Value = serde_json::from_str(&line).expect("JSON");
        for member in ["guarantee", "gateway", "contract", "dashboard", "metrics"] {
            assert!(introduction[member].as_str().is_some_and(|text| !text.is_empty()), "{member}: {line}");
        }
        assert!(introduction["recovery"][0].as_str().is_some_and(|text| text.contains("replayed")), "{line}");
        let url = introduction["url"].as_str().expect("a URL").to_owned();
        Daemon { child, said, url, _data: data }
    }

    fn client(&self, arguments: &[&str]) -> Output {
        payonce(arguments).args(["--url", &self.url]).output().expect("runs")
    }

    /// Sends a signal, and waits for the end.
    fn stop(mut self, signal: &str) -> Option<i32> {
        let id = self.child.id().to_string();
        assert!(Command::new("kill").args([signal, &id]).status().expect("kill runs").success());
        let code = self.child.wait().expect("ends").code();
        self.said.read_to_string(&mut String::new()).expect("closed");
        code
    }
}

fn text(bytes: &[u8]) -> &str {
    str::from_utf8(bytes).expect("UTF-8")
}

#[test]
fn a_payment_is_captured_in_parts_refunded_and_shown_with_all_of_it() {
    let daemon = Daemon::start("operations", &["--late-success", "refund", "--late-void", "adopt"]);
    let pay = [&["pay", "--key", "order-1234", "--manual"][..], &PAY].concat();
    assert_eq!(daemon.client(&pay).status.code(), Some(0));
    let id = "c4d27dc8-fc8b-8dba-b307-ab7b907f7933";
    let part = ["capture", id, "--key", "shipped-1", "--amount", "700"];
    let first = daemon.client(&part);
    assert_eq!(first.status.code(), Some(0), "{}", text(&first.stderr));
    assert!(text(&first.stdout).contains("operation  1 capture\n"), "{}", text(&first.stdout));
    assert!(text(&first.stdout).contains("amount     700 USD"), "{}", text(&first.stdout));
    let again = daemon.client(&part);
    assert_eq!(again.status.code(), Some(0));
    assert!(text(&again.stdout).contains("replayed   yes"), "{}", text(&again.stdout));
    let json = daemon.client(&["capture", id, "--key", "shipped-2", "--json"]);
    let rest: serde_json::Value = serde_json::from_slice(&json.stdout).expect("JSON");
    assert_eq!((&rest["amount"], &rest["state"]), (&350.into(), &"succeeded".into()), "all that was left");
    let refund = ["refund", id, "--key", "return-1", "--amount", "50"];
    assert_eq!(daemon.client(&refund).status.code(), Some(0));
    let shown = daemon.client(&["show", id]);
    for line in ["captured   1050\n", "refunded   50\n", "capture    700     succeeded", "refund     50      succeeded"]
    {
        assert!(text(&shown.stdout).contains(line), "{line}: {}", text(&shown.stdout));
    }
    let refused = daemon.client(&["void", id, "--key", "too-late"]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(text(&refused.stderr).contains("(invalid_state, HTTP 409)"), "{}", text(&refused.stderr));
    let too_much = daemon.client(&["refund", id, "--key", "return-2", "--amount", "1001"]);
    assert_eq!(too_much.status.code(), Some(1));
    assert!(text(&too_much.stderr).contains("1000 minor units left"), "{}", text(&too_much.stderr));
    for command in ["capture", "void", "refund"] {
        let nameless = daemon.client(&[command, id]);
        assert_eq!(nameless.status.code(), Some(2));
        assert!(text(&nameless.stderr).contains("--key is required"), "{}", text(&nameless.stderr));
    }
    assert_eq!(daemon.stop("-TERM"), Some(0));
}

#[test]
fn an_authorization_is_voided_once() {
    let daemon = Daemon::start("void", &[]);
    let pay = [&["pay", "--key", "order-1234", "--manual"][..], &PAY].concat();
    assert_eq!(daemon.client(&pay).status.code(), Some(0));
    let id = "c4d27dc8-fc8b-8dba-b307-ab7b907f7933";
    for replayed in [false, true] {
        let void = daemon.client(&["void", id, "--key", "cancel-1"]);
        assert_eq!(void.status.code(), Some(0), "{}", text(&void.stderr));
        assert_eq!(text(&void.stdout).contains("replayed   yes"), replayed, "{}", text(&void.stdout));
    }
    assert!(text(&daemon.client(&["show", id]).stdout).contains("state      canceled\n"));
    assert_eq!(daemon.client(&["capture", id, "--key", "shipped-1"]).status.code(), Some(1));
    assert_eq!(daemon.stop("-TERM"), Some(0));
}

#[test]
fn a_payment_is_made_replayed_shown_and_listed() {
    let daemon = Daemon::start("journey", &[]);
    let pay = [&["pay", "--key", "order-1234", "--metadata", "table=7"][..], &PAY].concat();
    let first = daemon.client(&pay);
    assert_eq!(first.status.code(), Some(0), "{}", text(&first.stderr));
    assert!(text(&first.stdout).contains("state      succeeded\n"), "{}", text(&first.stdout));
    assert!(!text(&first.stdout).contains("replayed"));
    let second = daemon.client(&pay);
    assert!(text(&second.stdout).contains("replayed   yes"), "{}", text(&second.stdout));
    let json = daemon.client(&[&pay[..], &["--json"]].concat());
    let payment: serde_json::Value = serde_json::from_slice(&json.stdout).expect("JSON");
    assert_eq!(payment["metadata"]["table"], "7");
    let shown = daemon.client(&["show", "--key", "order-1234"]);
    assert!(text(&shown.stdout).contains("attempt_ended: succeeded"), "{}", text(&shown.stdout));
    let listed = daemon.client(&["list", "--state", "succeeded"]);
    assert!(text(&listed.stdout).contains("c4d27dc8-fc8b-8dba-b307-ab7b907f7933  succeeded  1050"));
    assert_eq!(daemon.stop("-TERM"), Some(0));
}

#[test]
fn refusals_show_the_daemons_reason_and_fail() {
    let daemon = Daemon::start("refusals", &[]);
    daemon.client(&[&["pay", "--key", "k"][..], &PAY].concat());
    let conflict = daemon.client(&[&["pay", "--key", "k", "--manual"][..], &PAY].concat());
    assert_eq!(conflict.status.code(), Some(1));
    assert!(text(&conflict.stderr).contains("differs in capture"), "{}", text(&conflict.stderr));
    assert!(text(&conflict.stderr).contains("(idempotency_conflict, HTTP 422)"));
    let keyless = daemon.client(&["show", "--key", "other"]);
    assert_eq!(keyless.status.code(), Some(1));
    assert!(text(&keyless.stderr).contains("no payment with this key"), "{}", text(&keyless.stderr));
    let unknown = daemon.client(&["show", "c4d27dc8-fc8b-8dba-b307-ab7b907f7933"]);
    assert_eq!(unknown.status.code(), Some(1));
    assert!(text(&unknown.stderr).contains("(not_found, HTTP 404)"));
    let resolved = ["resolve", "x", "--as", "succeeded", "--actor", "a", "--reason", "r"];
    assert_eq!(daemon.client(&resolved).status.code(), Some(1));
    assert_eq!(daemon.stop("-INT"), Some(0));
}

#[test]
fn a_payment_without_a_key_is_refused_with_the_reason_for_keys() {
    let refused = payonce(&["pay"]).args(PAY).output().expect("runs");
    assert_eq!(refused.status.code(), Some(2));
    assert!(text(&refused.stderr).contains("a repeat would be a second payment"));
}

#[test]
fn wrong_usage_exits_with_2_and_a_refused_start_with_3() {
    for arguments in [
        &["serve", "--listen", "here"][..],
        &["serve", "--gateway", "ftp://h"],
        &["serve", "--gateway-contract", "dedup"],
        &["serve", "--config", "no-such-file.toml"],
        &["serve", "--colour"],
        &["frobnicate"],
        &["show"],
    ] {
        assert_eq!(payonce(arguments).output().expect("runs").status.code(), Some(2), "{arguments:?}");
    }
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = taken.local_addr().expect("bound").to_string();
    let folder = Folder::new("refused");
    let refused = payonce(&["serve", "--listen", &address, "--data"]).arg(&*folder).output().expect("runs");
    assert_eq!(refused.status.code(), Some(3));
    assert!(text(&refused.stderr).contains("cannot listen on"));
    let no_folder = folder.join("file");
    std::fs::write(&no_folder, "").expect("writable");
    let data = no_folder.to_str().expect("UTF-8");
    let refused = payonce(&["serve", "--listen", "127.0.0.1:0", "--data", data]).output().expect("runs");
    assert_eq!(refused.status.code(), Some(3), "{}", text(&refused.stderr));
}

#[test]
fn the_line_to_try_pays_when_it_is_pasted() {
    let data = Folder::new("paste");
    let mut command = payonce(&["serve", "--listen", "127.0.0.1:0", "--data"]);
    let mut child = command.arg(&*data).stdout(Stdio::piped()).spawn().expect("starts");
    let mut said = BufReader::new(child.stdout.take().expect("piped"));
    let mut line = String::new();
    while !line.starts_with("curl ") {
        line.clear();
        assert!(said.read_line(&mut line).expect("an introduction") > 0, "no line to try");
    }
    // Where there is no curl, what it would send is at least what a shell would make of it.
    let pasted = Command::new("sh").args(["-c", &line]).output().expect("a shell");
    match pasted.status.code() {
        Some(127) => assert!(line.contains("Idempotency-Key: \"order-1234\"")),
        Some(_) | None => assert!(text(&pasted.stdout).contains("\"state\":\"succeeded\""), "{pasted:?}"),
    }
    let daemon = Daemon { child, said, url: String::new(), _data: data };
    assert_eq!(daemon.stop("-TERM"), Some(0));
}

#[test]
fn what_looks_like_a_duplicate_is_held_until_it_is_said_to_be_meant() {
    let daemon = Daemon::start("duplicates", &["--duplicate-window", "10m", "--duplicate-reference", "sale"]);
    let pay = |key: &str, more: &[&str]| daemon.client(&[&["pay", "--key", key][..], &PAY, more].concat());
    assert_eq!(pay("order-1", &[]).status.code(), Some(0));
    let held = pay("order-2", &[]);
    assert_eq!(held.status.code(), Some(1));
    let said = text(&held.stderr);
    assert!(said.contains("(possible_duplicate, HTTP 409)") && said.contains("Payonce-Duplicate: meant"), "{said}");
    assert_eq!(pay("order-1", &[]).status.code(), Some(0), "a repeat is no duplicate");
    assert_eq!(pay("order-3", &["--metadata", "sale=7"]).status.code(), Some(0), "another sale is none either");
    assert_eq!(pay("order-2", &["--meant"]).status.code(), Some(0));
    assert_eq!(daemon.stop("-TERM"), Some(0));
}

#[test]
fn a_gateway_that_is_down_is_passed_over_for_the_next_in_the_file() {
    // Nobody listens here any more.
    let gone = TcpListener::bind("127.0.0.1:0").expect("binds").local_addr().expect("bound");
    let folder = Folder::new("gateways-file");
    std::fs::create_dir_all(&*folder).expect("made");
    let file = folder.join("payonce.toml");
    let tables = format!(
        "[[gateways]]\nname = 'main'\ngateway = 'http://{gone}'\n[[gateways]]\nname = 'spare'\ngateway = 'sandbox'\n\
         [[gateways]]\nname = 'euros'\ngateway = 'http://{gone}/eu'\ncurrencies = ['EUR']\nslots = 3\n"
    );
    std::fs::write(&file, tables).expect("written");
    let daemon = Daemon::start("gateways", &["--config", file.to_str().expect("UTF-8")]);
    let paid = daemon.client(&[&["pay", "--key", "order-1234"][..], &PAY].concat());
    assert_eq!(paid.status.code(), Some(0), "{}", text(&paid.stderr));
    let shown = daemon.client(&["show", "--key", "order-1234", "--json"]);
    let shown: serde_json::Value = serde_json::from_slice(&shown.stdout).expect("JSON");
    assert!(shown["gateway"].as_str().is_some_and(|name| name.starts_with("sandbox")), "{shown}");
    let events: Vec<&str> = shown["timeline"]
        .as_array()
        .expect("a timeline")
        .iter()
        .filter_map(|moment| moment["event"].as_str())
        .collect();
    assert!(events.contains(&"rerouted"), "{events:?}");
    let named = [&["pay", "--key", "order-2", "--gateway", "main", "--wait", "0"][..], &PAY].concat();
    assert_eq!(daemon.client(&named).status.code(), Some(1), "it stays where it was told to go");
    let nowhere = daemon.client(&[&["pay", "--key", "order-3", "--gateway", "other"][..], &PAY].concat());
    assert!(text(&nowhere.stderr).contains("gateway must be the name of a configured gateway"), "{nowhere:?}");
    assert_eq!(daemon.stop("-TERM"), Some(0));
}
