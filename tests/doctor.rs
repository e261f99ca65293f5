//! `payonce doctor` sees what is wrong before a daemon does, and changes nothing. `completions` and `man` know every
//! command.

#![cfg(feature = "cli")]
#![allow(missing_docs, clippy::expect_used, clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

mod folder;

mod program;

use std::{
    fs,
    io::{BufRead, BufReader},
    net::TcpListener,
    os::unix::fs::PermissionsExt,
    path::Path,
    process::{Child, Command, Output, Stdio},
};

use folder::Folder;
use program::payonce;
use serde_json::Value;

/// What it found: its exit code, and each check's standing, words and advice, by name.
struct Told {
    code: Option<i32>,
    checks: Vec<Value>,
}

impl Told {
    fn of(output: &Output) -> Told {
        let said: Value = serde_json::from_slice(&output.stdout).expect("JSON");
        let checks = said["checks"].as_array().expect("a list").clone();
        let count = |standing: &str| checks.iter().filter(|check| check["standing"] == standing).count();
        assert_eq!(said["problems"], count("problem"));
        assert_eq!(said["warnings"], count("warning"));
        assert_eq!(output.status.code(), Some(i32::from(count("problem") > 0)), "{checks:#?}");
        Told { code: output.status.code(), checks }
    }

    /// The worst that was said of this: how it stands, and the words.
    fn about(&self, what: &str) -> (&str, &str) {
        let of = |check: &&Value| check["what"] == what;
        let worst = self.checks.iter().filter(of).max_by_key(|check| check["standing"] == "problem");
        let worst = worst.unwrap_or_else(|| panic!("nothing about {what}: {:#?}", self.checks));
        assert_eq!(worst["standing"] == "ok", worst["advice"] == "", "what is wrong comes with what to do: {worst}");
        (worst["standing"].as_str().unwrap(), worst["found"].as_str().unwrap())
    }
}

fn examine(data: &Path, more: &[&str]) -> Told {
    Told::of(&payonce(&["doctor", "--json", "--data"]).arg(data).args(more).output().expect("runs"))
}

/// A daemon over a folder, and where it listens.
fn daemon(data: &Path) -> (Child, String) {
    let mut command = payonce(&["serve", "--listen", "127.0.0.1:0", "--json", "--data"]);
    let mut child = command.arg(data).stdout(Stdio::piped()).spawn().expect("starts");
    let mut line = String::new();
    BufReader::new(child.stdout.take().expect("piped")).read_line(&mut line).expect("an introduction");
    let introduction: Value = serde_json::from_str(&line).expect("JSON");
    let url = introduction["url"].as_str().expect("a URL").to_owned();
    (child, url.trim_start_matches("http://").to_owned())
}

fn stop(mut child: Child, signal: &str) {
    assert!(Command::new("kill").args([signal, &child.id().to_string()]).status().expect("kill runs").success());
    child.wait().expect("ends");
}

/// Every file below a folder, with its length and age.
fn files(folder: &Path) -> Vec<(String, u64, Option<std::time::SystemTime>)> {
    let mut all = Vec::new();
    for entry in fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry")) {
        let metadata = entry.metadata().expect("is there");
        match metadata.is_dir() {
            true => all.extend(files(&entry.path())),
            false => all.push((entry.path().display().to_string(), metadata.len(), metadata.modified().ok())),
        }
    }
    all.sort();
    all
}

#[test]
fn a_folder_is_healthy_before_during_and_after_a_daemon_and_nothing_in_it_changes() {
    let data = Folder::new("doctor");
    let fresh = examine(&data, &[]);
    assert_eq!((fresh.code, fresh.about("lock").0, fresh.about("journal").1), (Some(0), "ok", "none yet"));
    assert!(files(&data).is_empty(), "it leaves nothing behind");
    let (child, address) = daemon(&data);
    let during = examine(&data, &["--listen", &address]);
    assert_eq!(during.about("lock"), ("ok", format!("held; the daemon at {address} is ready").as_str()));
    for what in ["journal", "clock", "boot", "disk", "configuration"] {
        assert_ne!(during.about(what).0, "problem", "{what}");
    }
    let stranger = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    assert_eq!(examine(&data, &["--listen", &stranger]).about("lock").0, "warning", "who has it does not say");
    stop(child, "-TERM");
    let before = files(&data);
    let after = examine(&data, &[]);
    assert_eq!((after.code, after.about("lock").0), (Some(0), "ok"));
    assert!(after.about("journal").1.ends_with("the last stop was in order"), "{:?}", after.about("journal"));
    assert_eq!(files(&data), before, "it changes nothing");
}

#[test]
fn what_is_wrong_with_a_folder_is_said_with_what_to_do() {
    let data = Folder::new("doctor-wrong");
    let (child, _) = daemon(&data);
    stop(child, "-KILL");
    assert!(examine(&data, &[]).about("journal").1.ends_with("the next start recovers"));
    fs::set_permissions(&*data, fs::Permissions::from_mode(0o777)).unwrap();
    assert_eq!(examine(&data, &[]).about("data folder").0, "warning", "others may write there");
    fs::set_permissions(&*data, fs::Permissions::from_mode(0o755)).unwrap();
    // A copy: the same journal, another lock file.
    fs::copy(data.join("lock"), data.join("copy")).unwrap();
    fs::rename(data.join("copy"), data.join("lock")).unwrap();
    let (standing, found) = {
        let told = examine(&data, &[]);
        let (s, f) = told.about("place");
        (s.to_owned(), f.to_owned())
    };
    assert!(standing == "problem" && found.contains("copied or restored"), "{found}");
    let journal = data.join("journal");
    let first = fs::read_dir(&journal).unwrap().map(|entry| entry.unwrap().path()).min().unwrap();
    let mut bytes = fs::read(&first).unwrap();
    bytes[4096 + 20] ^= 1;
    fs::write(&first, bytes).unwrap();
    assert_eq!(examine(&data, &[]).about("journal").0, "problem", "damage");
    let nowhere = examine(&data.join("nowhere"), &[]);
    assert_eq!((nowhere.code, nowhere.about("data folder").0), (Some(0), "warning"), "serve makes it");
    assert_eq!(examine(&first, &[]).about("data folder").0, "problem", "a file is no folder");
}

#[test]
fn the_configuration_is_told_with_its_sources_and_a_slip_in_it_is_a_problem() {
    let data = Folder::new("doctor-configuration");
    let file = data.join("payonce.toml");
    fs::write(&file, "listen = '127.0.0.1:7413'\nqueue = 100\n").unwrap();
    let mut command = payonce(&["doctor", "--json", "--config"]);
    command.arg(&file).arg("--data").arg(&*data).env("PAYONCE_LISTEN", "127.0.0.1:7414").env("PAYONCE_FLAVOUR", "x");
    let told = Told::of(&command.output().expect("runs"));
    assert_eq!(told.about("configuration"), ("ok", file.display().to_string().as_str()));
    assert_eq!(told.about("settings").1, "data (flag), listen (environment), queue (file)");
    assert_eq!(told.about("environment"), ("warning", "ignored: PAYONCE_FLAVOUR"));
    fs::write(&file, "quue = 100\n").unwrap();
    let told = examine(&data, &["--config", &file.display().to_string()]);
    let (standing, found) = told.about("configuration");
    assert!(standing == "problem" && found.contains("did you mean queue?"), "{found}");
    fs::write(&file, "[[webhooks]]\nname = 'shop'\nurl = 'http://127.0.0.1:1'\nsecret_env = 'NOT_SET'\n").unwrap();
    assert_eq!(examine(&data, &["--config", &file.display().to_string()]).about("webhooks").0, "problem");
}

#[test]
fn who_is_let_in_and_with_which_certificate_is_looked_at() {
    let data = Folder::new("doctor-access");
    let keys = data.join("keys.toml").display().to_string();
    let fixture = |name: &str| Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/tls").join(name);
    let (cert, key) = (fixture("server.pem").display().to_string(), data.join("server.key").display().to_string());
    fs::copy(fixture("server.key"), &key).unwrap();
    fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).unwrap();
    let all = ["--listen", "0.0.0.0:7411", "--keys-file", &keys, "--tls-cert", &cert, "--tls-key", &key];
    let stands = |more: &[&str], what: &str| examine(&data, more).about(what).0.to_owned();
    assert_eq!(stands(&[], "callers"), "ok", "this machine only");
    assert_eq!(stands(&all[..2], "callers"), "problem", "serve refuses it");
    assert_eq!(stands(&all[..2], "certificate"), "warning", "it can be read on the way");
    assert_eq!(stands(&all, "callers"), "problem", "there is no such file");
    fs::write(&keys, "").unwrap();
    assert_eq!(stands(&all, "callers"), "warning", "nobody");
    assert!(payonce(&["keys", "add", "--name", "shop", "--file", &keys]).output().expect("runs").status.success());
    let told = examine(&data, &all);
    assert_eq!((told.about("callers"), told.about("certificate").0), (("ok", "1 API keys"), "ok"));
    assert!(!told.checks.iter().any(|check| check["what"] == "keys file" || check["what"] == "certificate's key"));
    fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).unwrap();
    fs::set_permissions(&keys, fs::Permissions::from_mode(0o666)).unwrap();
    let told = examine(&data, &all);
    assert_eq!((told.about("certificate's key").0, told.about("keys file").0), ("warning", "warning"));
    fs::write(&key, "no key").unwrap();
    assert_eq!(stands(&all, "certificate"), "problem", "serve refuses it");
    assert_eq!(stands(&all[..6], "certificate"), "problem", "its key is missing");
}

#[test]
fn each_gateway_is_asked_and_moves_nothing() {
    let data = Folder::new("doctor-gateways");
    let mut command = payonce(&["sandbox", "--listen", "127.0.0.1:0", "--data"]);
    let mut sandbox = command.arg(data.join("sandbox")).stdout(Stdio::piped()).spawn().expect("starts");
    let mut lines = BufReader::new(sandbox.stdout.take().expect("piped")).lines();
    let line = lines.next().expect("a line").expect("text");
    let url = line.split_whitespace().last().expect("a URL").to_owned();
    let (standing, found) = {
        let told = examine(&data, &["--gateway", &url]);
        let (s, f) = told.about("gateway default");
        (s.to_owned(), f.to_owned())
    };
    assert_eq!(standing, "ok", "{found}");
    let blind = ["--gateway", &url, "--gateway-contract", "dedup=none", "--gateway-contract", "inquiry=no"];
    let told = examine(&data, &blind);
    assert!(
        told.checks.iter().any(|check| check["found"] == "cannot be asked, and so was not tried"),
        "{:?}",
        told.checks
    );
    stop(sandbox, "-TERM");
    let ledger = fs::read_to_string(data.join("sandbox").join("sandbox.ledger")).expect("a ledger");
    assert!(!ledger.contains("charge"), "nothing moved: {ledger}");
    let told = examine(&data, &["--gateway", &url]);
    let (standing, found) = told.about("gateway default");
    assert!(standing == "problem" && found.starts_with("cannot be reached"), "{found}");
    let (standing, found) = {
        let told = examine(&data, &["--gateway", "stripe"]);
        let (s, f) = told.about("gateway default");
        (s.to_owned(), f.to_owned())
    };
    assert!(standing == "problem" && found.contains("STRIPE_API_KEY"), "{found}");
}

#[test]
fn shells_and_man_know_every_command_and_each_help_ends_with_an_example() {
    let text = |arguments: &[&str]| {
        let output = payonce(arguments).output().expect("runs");
        assert_eq!(output.status.code(), Some(0), "{arguments:?}");
        String::from_utf8(output.stdout).expect("UTF-8")
    };
    let help = text(&["--help"]);
    let commands = help.lines().skip_while(|line| *line != "Commands:").skip(1).take_while(|line| !line.is_empty());
    let names: Vec<&str> =
        commands.filter_map(|line| line.split_whitespace().next()).filter(|name| *name != "help").collect();
    assert!(names.len() >= 20, "{names:?}");
    for shell in ["bash", "zsh", "fish"] {
        let script = text(&["completions", shell]);
        assert!(names.iter().all(|name| script.contains(name)), "{shell}");
    }
    let page = text(&["man"]);
    for name in names {
        assert!(page.contains(&format!("payonce\\-{}(1)", name.replace('-', "\\-"))), "{name}");
        assert!(text(&["man", name]).starts_with(".ie"), "{name}");
        let help = text(&[name, "--help"]);
        let (_, examples) = help.split_once("Example").unwrap_or_else(|| panic!("{name} --help has no example"));
        assert!(examples.contains(&format!("payonce {name}")), "{name}: {examples}");
    }
    assert_eq!(payonce(&["man", "nothing"]).output().expect("runs").status.code(), Some(2));
}
