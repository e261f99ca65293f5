//! `payonce settle`, as people meet it: a daemon over a gateway that loses replies, and what was done behind its back.

#![cfg(feature = "cli")]
#![allow(missing_docs, clippy::expect_used, clippy::indexing_slicing, reason = "tests")]

mod folder;

mod program;

use std::{
    io::{BufRead, BufReader},
    path::Path,
    process::{Child, Command, Output, Stdio},
};

use folder::Folder;
use program::payonce;
use serde_json::{Value, json};

const PAYMENTS: usize = 24;

/// A program that serves, killed at the end.
struct Server {
    child: Child,
    url: String,
}

impl Server {
    fn start(mut command: Command) -> Server {
        let mut child = command.stdout(Stdio::piped()).spawn().expect("starts");
        let mut said = BufReader::new(child.stdout.take().expect("piped"));
        let mut line = String::new();
        said.read_line(&mut line).expect("says where it listens");
        let introduction: Option<Value> = serde_json::from_str(&line).ok();
        let url = match &introduction {
            Some(introduction) => introduction["url"].as_str(),
            None => line.split_whitespace().find(|word| word.starts_with("http://")),
        };
        let url = url.expect("a URL").to_owned();
        // Whoever reads is never in the way of whoever writes.
        std::thread::spawn(move || said.lines().for_each(drop));
        Server { child, url }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = (self.child.kill(), self.child.wait());
    }
}

/// A gateway, a daemon that has paid there, and all of it found out.
struct World {
    gateway: Server,
    daemon: Server,
    data: Folder,
    _ledger: Folder,
}

impl World {
    fn start(name: &str, faults: &[&str], contract: &[&str]) -> World {
        let (data, ledger) = (Folder::new(name), Folder::new(name));
        let mut sandbox = payonce(&["sandbox", "--listen", "127.0.0.1:0", "--seed", "7"]);
        sandbox.args(faults.iter().flat_map(|fault| ["--fault", fault])).arg("--data").arg(&*ledger);
        let gateway = Server::start(sandbox);
        let mut serve = payonce(&["serve", "--listen", "127.0.0.1:0", "--json", "--gateway", &gateway.url, "--data"]);
        serve.arg(&*data).args(contract.iter().flat_map(|term| ["--gateway-contract", term]));
        World { gateway, daemon: Server::start(serve), data, _ledger: ledger }
    }

    /// Payments through lost replies, each to its end.
    fn live(&self) {
        for number in 0..PAYMENTS {
            assert!(self.pay(number, "respond-async") < 300, "taken");
        }
        let calm = json!({"drop-after": 0, "error-after": 0, "decline": 0});
        let calmed = ureq::put(format!("{}/faults", self.gateway.url)).send_json(&calm).expect("calm");
        assert_eq!(calmed.status(), 200);
        // The same again: each waits for its outcome.
        for number in 0..PAYMENTS {
            while self.pay(number, "wait=60") != 201 {}
        }
    }

    fn pay(&self, number: usize, prefer: &str) -> u16 {
        let body = json!({"amount": 100 + number, "currency": "USD", "source": "a", "destination": "b"});
        post(&format!("{}/v1/payments", self.daemon.url), &format!("order-{number}"), &body, &[("Prefer", prefer)])
    }

    fn settle(&self, more: &[&str]) -> (Option<i32>, Value) {
        let book = ["--url", &self.daemon.url];
        settled(&[&book[..], &["--statement", &self.gateway.url], more].concat())
    }

    fn lines(&self) -> Vec<Value> {
        let text = get(&format!("{}/statement?after=0", self.gateway.url));
        text.lines().map(|line| serde_json::from_str(line).expect("a line")).collect()
    }

    fn folder(&self) -> &str {
        self.data.to_str().expect("UTF-8")
    }
}

fn get(url: &str) -> String {
    ureq::get(url).call().expect("an answer").body_mut().read_to_string().expect("a text")
}

fn post(url: &str, key: &str, body: &Value, headers: &[(&str, &str)]) -> u16 {
    let mut request = ureq::post(url).header("Idempotency-Key", key);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.send_json(body).expect("taken").status().as_u16()
}

/// `payonce settle` without a margin: nothing is under way, and both clocks are one.
fn run(arguments: &[&str]) -> Output {
    let margin: &[&str] = if arguments.contains(&"--margin") { &[] } else { &["--margin", "0s"] };
    payonce(&["settle"]).args(margin).args(arguments).output().expect("runs")
}

fn settled(arguments: &[&str]) -> (Option<i32>, Value) {
    let output = run(&[arguments, &["--json"]].concat());
    let json = serde_json::from_slice(&output.stdout);
    (output.status.code(), json.unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&output.stderr))))
}

/// As a gateway's export would be: other names, another order, decimal amounts, one column that nobody asked for.
fn export(lines: &[Value], path: &Path) {
    let mut text = "Created (UTC),\"Note, if any\",Amount,Id,Currency,Type,Metadata\r\n".to_owned();
    for line in lines {
        let at = jiff::Timestamp::from_millisecond(line["at_ms"].as_i64().expect("a time")).expect("a time");
        let (amount, kind) = (line["amount"].as_u64().expect("an amount"), line["kind"].as_str().expect("a kind"));
        let kind = if kind == "charge" { "payment" } else { kind };
        let (reference, key) = (line["gateway_reference"].as_str().expect("one"), line["reference"].as_str());
        let (whole, cents) = (amount / 100, amount % 100);
        let key = key.expect("one");
        text += &format!("{at},\"a \"\"note\"\"\n\",{whole}.{cents:02},{reference},usd,{kind},{key}\r\n");
    }
    std::fs::write(path, text).expect("writable");
}

const EXPORT: [&str; 14] = [
    "--column",
    "at=Created (UTC)",
    "--column",
    "operation_key=Metadata",
    "--column",
    "kind=Type",
    "--column",
    "gateway_reference=Id",
    "--kind",
    "payment=charge",
    "--amounts",
    "major",
    "--from",
    "2020-01-01T00:00:00Z",
];

#[test]
fn what_was_paid_through_lost_replies_settles_clean_and_what_was_done_behind_our_back_is_named() {
    let world = World::start("settle", &["drop-after=0.4", "error-after=0.2", "decline=0.2"], &[]);
    world.live();
    let lines = world.lines();
    assert!(lines.len() < PAYMENTS && !lines.is_empty(), "some were declined: {}", lines.len());

    // By URL, as a file; a running daemon's book, and its journal.
    let export_path = world.data.join("export.csv");
    let file = export_path.to_str().expect("UTF-8");
    export(&lines, &export_path);
    for book in [["--url", &world.daemon.url], ["--data", world.folder()]] {
        for statement in [&["--statement", &world.gateway.url][..], &[&["--statement", file][..], &EXPORT].concat()] {
            let (code, report) = settled(&[&book[..], statement].concat());
            assert_eq!((code, &report["differences"]), (Some(0), &json!(0)), "{report:#}");
            assert_eq!(report["matched"], json!(lines.len()), "{report:#}");
        }
    }

    // A line that is not there, one that is there twice, and one that is about another amount.
    let mut changed = lines.clone();
    let gone = changed.remove(0);
    changed.push(changed[0].clone());
    changed[1]["amount"] = json!(9999);
    export(&changed, &export_path);
    let (code, report) = settled(&[&["--data", world.folder(), "--statement", file][..], &EXPORT].concat());
    assert_eq!((code, &report["differences"]), (Some(1), &json!(3)), "{report:#}");
    assert_eq!(report["missing_there"][0]["here"]["operation_key"], gone["reference"]);
    assert_eq!(report["twice"][0]["there"]["operation_key"], changed[0]["reference"]);
    assert_eq!(report["amount_differs"][0]["there"]["amount"], json!(9999));

    // A refund and a charge that somebody makes at the gateway itself.
    let key = "11111111-1111-8111-8111-111111111111";
    let refund = json!({"reference": key, "amount": 1, "currency": "USD", "charge": gone["reference"]});
    assert_eq!(post(&format!("{}/refunds", world.gateway.url), key, &refund, &[]), 200);
    let other = "22222222-2222-8222-8222-222222222222";
    let charge = json!({"reference": other, "amount": 5, "currency": "EUR", "source": "a", "destination": "b"});
    assert_eq!(post(&format!("{}/charges", world.gateway.url), other, &charge, &[]), 200);
    let (code, report) = world.settle(&[]);
    assert_eq!((code, &report["differences"]), (Some(1), &json!(2)), "{report:#}");
    let named = |place: usize, name: &str| report["missing_here"][place]["there"][name].clone();
    assert_eq!((named(0, "kind"), named(0, "operation_key")), (json!("refund"), json!(key)));
    assert_eq!((named(1, "kind"), named(1, "currency")), (json!("charge"), json!("EUR")));

    // People see the same. With the usual margin all of this is too recent to be held against anybody.
    let shown = run(&["--url", &world.daemon.url, "--statement", &world.gateway.url]);
    let shown = String::from_utf8(shown.stdout).expect("UTF-8");
    assert!(shown.contains("missing_here") && shown.contains("dashboard"), "{shown}");
    assert!(!shown.contains('\u{1b}'), "plain where nobody sees colours");
    let (code, report) = world.settle(&["--margin", "1h"]);
    assert_eq!((code, &report["counts"]["too_recent"]), (Some(0), &json!(2)), "{report:#}");

    // A killed daemon's folder says the same as it did.
    drop(world.daemon);
    let book = ["--data", world.data.to_str().expect("UTF-8"), "--statement", &world.gateway.url];
    let (code, report) = settled(&book);
    assert_eq!((code, &report["differences"], &report["matched"]), (Some(1), &json!(2), &json!(lines.len())));
    let (_, report) = settled(&[&book[..], &["--gateway", "another"]].concat());
    assert_eq!((&report["matched"], &report["counts"]["missing_here"]), (&json!(0), &json!(lines.len() + 2)));
}

#[test]
fn the_statement_ends_a_doubt_by_the_command_that_is_printed() {
    let world = World::start("settle-doubt", &["drop-after=1"], &["dedup=none", "inquiry=no"]);
    while world.lines().is_empty() {
        assert_eq!(world.pay(0, "wait=60"), 202, "nobody can know but the gateway");
    }
    // Older than the margin from the next millisecond on.
    let (code, report) = world.settle(&[]);
    assert_eq!((code, &report["differences"]), (Some(1), &json!(1)), "{report:#}");
    let next = report["undecided_here"][0]["next"].as_str().expect("a command");
    let command = next.replace('\'', "").replace("on the statement", "seen").replace("YOU", "ann");
    let words: Vec<&str> = command.split(' ').skip(1).collect();
    let resolved = payonce(&words).args(["--url", &world.daemon.url]).output().expect("runs");
    assert!(resolved.status.success(), "{command}: {}", String::from_utf8_lossy(&resolved.stderr));
    let (code, report) = world.settle(&[]);
    assert_eq!((code, &report["differences"], &report["matched"]), (Some(0), &json!(0), &json!(1)), "{report:#}");
}

#[test]
fn what_makes_no_sense_exits_with_2_and_what_cannot_be_read_with_3() {
    let folder = Folder::new("settle-refused");
    let file = folder.join("statement.csv");
    std::fs::write(&file, "operation_key,amount,currency\n").expect("writable");
    let (file, data) = (file.to_str().expect("UTF-8"), folder.to_str().expect("UTF-8"));
    for arguments in [
        &[][..],
        &["--statement", file, "--column", "when=Created"],
        &["--statement", file, "--kind", "payment=sale"],
        &["--statement", file, "--amounts", "rounded"],
        &["--statement", file, "--from", "yesterday"],
        &["--statement", file, "--margin", "1"],
        &["--statement", file, "--data", data, "--url", "http://127.0.0.1:1"],
        &["--statement", file, "--gateway", "sandbox"],
        &["--statement", file, "--from", "2026-01-01T00:00:00Z", "--to", "2026-01-01T00:00:00Z"],
    ] {
        assert_eq!(run(arguments).status.code(), Some(2), "{arguments:?}");
    }
    // Nobody listens on the port of tcpmux.
    for (arguments, why) in [
        (&["--statement", file, "--url", "http://127.0.0.1:1"][..], "no answer from"),
        (&["--statement", file, "--data", data], "there is no journal in"),
    ] {
        let refused = run(arguments);
        let said = String::from_utf8(refused.stderr).expect("UTF-8");
        assert_eq!((refused.status.code(), said.contains(why)), (Some(3), true), "{arguments:?}: {said}");
    }
}

#[test]
fn a_statement_that_cannot_be_read_is_named_and_settles_nothing() {
    let data = Folder::new("settle-unread");
    let mut serve = payonce(&["serve", "--listen", "127.0.0.1:0", "--json", "--data"]);
    serve.arg(&*data);
    let daemon = Server::start(serve);
    let file = data.join("statement.csv");
    let path = file.to_str().expect("UTF-8");
    let elsewhere = format!("{}/v1", daemon.url);
    for (text, statement, why) in [
        ("", path, "it is empty"),
        ("operation_key,amount,currency\nx,10.50,USD\n", path, "line 2: amount \"10.50\""),
        ("", "no-such-file.csv", "no-such-file.csv"),
        ("", "http://127.0.0.1:1", "no answer from http://127.0.0.1:1/statement"),
        ("", &elsewhere, "is this the right address?"),
    ] {
        std::fs::write(&file, text).expect("writable");
        let refused = run(&["--url", &daemon.url, "--statement", statement]);
        let said = String::from_utf8(refused.stderr).expect("UTF-8");
        assert_eq!((refused.status.code(), said.contains(why)), (Some(3), true), "{statement}: {said}");
        assert!(refused.stdout.is_empty(), "{statement}");
    }
}
