//! `payonce probe`, as people meet it.
#![cfg(feature = "cli")]
#![allow(missing_docs, clippy::expect_used, clippy::indexing_slicing, reason = "tests")]

mod folder;

use std::{
    io::{BufRead, BufReader},
    process::{Child, Command, Output, Stdio},
};

use folder::Folder;

fn probe(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_payonce"));
    for (key, _) in std::env::vars_os().filter(|(key, _)| key.to_string_lossy().starts_with("PAYONCE")) {
        command.env_remove(key);
    }
    command.arg("probe").args(arguments).current_dir(env!("CARGO_TARGET_TMPDIR")).output().expect("runs")
}

fn out(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn err(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn an_honest_sandbox_is_fine() {
    let output = probe(&[]);
    assert_eq!(output.status.code(), Some(0), "{}", out(&output));
    assert!(out(&output).contains("Nothing contradicts the declared contract"), "{}", out(&output));
}

/// What is printed is what to paste: declared so, the same gateway is contradicted no more.
#[test]
fn what_it_prints_when_contradicted_can_be_pasted_and_then_holds() {
    let forgetful = probe(&["--fault", "forget=1"]);
    assert_eq!(forgetful.status.code(), Some(1), "{}", out(&forgetful));
    let printed = out(&forgetful);
    let flags: Vec<&str> = printed.split_whitespace().filter(|word| *word != "\\").collect();
    let flags = flags.iter().skip_while(|word| **word != "--gateway-contract").take_while(|word| **word != "In");
    let pasted: Vec<&str> = ["--fault", "forget=1"].into_iter().chain(flags.copied()).collect();
    assert!(pasted.contains(&"dedup=none"), "{pasted:?}");
    let known = probe(&pasted);
    assert_eq!(known.status.code(), Some(0), "{}{}", out(&known), err(&known));
}

#[test]
fn the_lines_for_the_configuration_file_configure_the_contract_that_follows() {
    let printed = out(&probe(&["--fault", "forget=1"]));
    let file = printed.split("In payonce.toml:\n").nth(1).expect("lines to paste");
    let mut settings = payonce::config::Settings::default();
    settings.read_toml(file).expect("a configuration");
    assert!(settings.gateway.contract.contains(&"dedup=none".to_owned()), "{:?}", settings.gateway.contract);
}

#[test]
fn scripts_read_every_check_and_every_value() {
    let output = probe(&["--json", "--fault", "forget=1"]);
    assert_eq!(output.status.code(), Some(1));
    let report: serde_json::Value = serde_json::from_str(&out(&output)).expect("JSON");
    assert_eq!(report["contradictions"], 1);
    assert_eq!(report["contract"][0], serde_json::json!({"key": "dedup", "value": "none", "origin": "measured"}));
    assert_eq!(report["findings"].as_array().map(Vec::len), Some(payonce::gateway::probe::Check::ALL.len()));
}

/// `payonce sandbox` as a process, killed at the end.
struct Sandbox {
    child: Child,
    _data: Folder,
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        let _ = (self.child.kill(), self.child.wait());
    }
}

#[test]
fn over_http_references_alone_give_a_second_movement_away() {
    let data = Folder::new("probe");
    let mut command = Command::new(env!("CARGO_BIN_EXE_payonce"));
    command.args(["sandbox", "--listen", "127.0.0.1:0", "--fault", "forget=1", "--data"]).arg(&*data);
    let child = command.stdout(Stdio::piped()).spawn().expect("starts");
    let mut sandbox = Sandbox { child, _data: data };
    let mut said = BufReader::new(sandbox.child.stdout.take().expect("piped"));
    let mut line = String::new();
    said.read_line(&mut line).expect("says where it listens");
    let url = line.split_whitespace().find(|word| word.starts_with("http://")).expect("a URL");
    // A request may be lost for good when it is given up on: then nobody waits for it longer than this.
    let output = probe(&["--gateway", url, "--json", "--patience", "1s"]);
    assert_eq!(output.status.code(), Some(1), "{}", err(&output));
    let report: serde_json::Value = serde_json::from_str(&out(&output)).expect("JSON");
    assert_eq!((&report["contradictions"], &report["contract"][0]["value"]), (&1.into(), &"none".into()));
}

/// No name is looked up and nothing is connected to before that: both hosts do not exist.
#[test]
fn no_money_is_moved_beyond_this_machine_unless_told_so() {
    for url in ["https://gateway.invalid/v1", "http://localhost.gateway.invalid", "http://192.0.2.1:7412"] {
        let output = probe(&["--gateway", url]);
        assert_eq!(output.status.code(), Some(2), "{url}: {}", err(&output));
        assert!(err(&output).contains("this moves money") && err(&output).contains("--i-know-this-moves-money"));
        assert_eq!(out(&output), "");
    }
}

#[test]
fn a_gateway_that_is_not_there_cannot_be_measured() {
    // Nobody listens on the port of tcpmux.
    let output = probe(&["--gateway", "http://127.0.0.1:1"]);
    assert_eq!(output.status.code(), Some(3), "{}{}", out(&output), err(&output));
    assert!(err(&output).contains("no money moved"), "{}", err(&output));
}

#[test]
fn what_makes_no_sense_is_refused() {
    for arguments in [
        &["--fault", "gravity=1"][..],
        &["--amount", "0"],
        &["--currency", "usd"],
        &["--patience", "soon"],
        &["--tries", "0"],
        &["--gateway", "http://127.0.0.1:9", "--fault", "forget=1"],
        &["--gateway-contract", "dedup=maybe"],
    ] {
        assert_eq!(probe(arguments).status.code(), Some(2), "{arguments:?}");
    }
}
