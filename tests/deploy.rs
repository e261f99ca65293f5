//! What is in `deploy/` is true of this payonce: every key, variable, flag, command and path that is named there exists,
//! and the example configuration starts.

#![cfg(feature = "cli")]
#![allow(missing_docs, clippy::expect_used, clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

mod folder;

mod program;

use std::{
    collections::BTreeSet,
    fs,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use folder::Folder;
use payonce::config::{Settings, is_known_variable};
use program::payonce;

fn file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy").join(name)
}

fn text(name: &str) -> String {
    fs::read_to_string(file(name)).expect("a file to deploy")
}

/// The words of a text that begin so, each once.
fn words<'a>(text: &'a str, head: &str) -> BTreeSet<&'a str> {
    let part_of_word = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    text.split(|c: char| !part_of_word(c)).filter(|word| word.starts_with(head) && word.len() > head.len()).collect()
}

/// The example, with every line that is an example of a key taken for meant.
fn with_every_key() -> String {
    let meant = |line: &str| match line.strip_prefix("# ") {
        Some(key) if key.starts_with("[[") || key.split_once(" = ").is_some_and(|(key, _)| !key.contains(' ')) => {
            key.to_owned()
        }
        Some(_) | None => line.to_owned(),
    };
    text("payonce.toml").lines().map(meant).collect::<Vec<_>>().join("\n")
}

#[test]
fn the_example_configuration_starts_a_daemon() {
    let data = Folder::new("deploy");
    let mut command = payonce(&["serve", "--json", "--listen", "127.0.0.1:0", "--data"]);
    command.arg(&*data).arg("--config").arg(file("payonce.toml")).stdout(Stdio::piped());
    let mut child = command.spawn().expect("starts");
    let mut line = String::new();
    BufReader::new(child.stdout.take().expect("piped")).read_line(&mut line).expect("an introduction");
    let introduction: serde_json::Value = serde_json::from_str(&line).expect("JSON");
    let url = introduction["url"].as_str().expect("a URL");
    assert_eq!(payonce(&["ready", "--url", url]).output().expect("runs").status.code(), Some(0));
    assert!(Command::new("kill").args(["-TERM", &child.id().to_string()]).status().expect("kill runs").success());
    assert_eq!(child.wait().expect("ends").code(), Some(0));
    assert_eq!(payonce(&["ready", "--url", url]).output().expect("runs").status.code(), Some(1));
}

#[test]
fn the_example_configuration_has_every_key_and_no_other() {
    let all = with_every_key();
    let (one, several) = all.split_once("\n[[gateways]]\n").expect("several gateways come last");
    let several = format!("[[gateways]]\n{several}");
    for part in [one, &several] {
        Settings::default().read_toml(part).expect("every key is known, and every example is legal");
    }
    let table: toml::Table = one.parse().expect("TOML");
    let help = String::from_utf8(payonce(&["serve", "--help"]).output().expect("runs").stdout).expect("UTF-8");
    let keys = words(&help, "--").into_iter().map(|flag| flag.trim_start_matches('-').replace('-', "_"));
    for key in keys.filter(|key| is_known_variable(key) && !["config", "log", "log_format"].contains(&key.as_str())) {
        assert!(table.contains_key(&key), "{key} is not in deploy/payonce.toml");
    }
}

#[test]
fn the_configuration_for_kubernetes_is_legal() {
    let manifest = text("kubernetes.yaml");
    let (_, rest) = manifest.split_once("  payonce.toml: |\n").expect("a configuration");
    let lines: Vec<&str> = rest.lines().map_while(|line| line.strip_prefix("    ")).collect();
    assert!(lines.len() > 5, "{lines:?}");
    Settings::default().read_toml(&lines.join("\n")).expect("legal");
    for path in ["/healthz", "/readyz"] {
        assert!(manifest.contains(&format!("path: {path}\n")), "{path}");
    }
}

#[test]
fn every_variable_command_and_flag_that_is_named_exists() {
    let help = |arguments: &[&str]| {
        let output = payonce(arguments).arg("--help").output().expect("runs");
        assert_eq!(output.status.code(), Some(0), "{arguments:?} is no command");
        String::from_utf8(output.stdout).expect("UTF-8")
    };
    let help = [&["serve"][..], &["keys", "add"], &["ready"]].map(help).join("\n");
    let flags = words(&help, "--");
    for name in ["Dockerfile", "payonce.service", "kubernetes.yaml", "payonce.toml"] {
        let text = text(name);
        for variable in words(&text, "PAYONCE_") {
            let key = variable.trim_start_matches("PAYONCE_").to_ascii_lowercase();
            // The one that the build reads.
            assert!(is_known_variable(&key) || key == "commit", "{name}: {variable}");
        }
        let ours = |line: &&str| ["payonce serve", "payonce keys", "args: ["].iter().any(|start| line.contains(start));
        for flag in text.lines().filter(ours).flat_map(|line| words(line, "--")) {
            assert!(flags.contains(flag), "{name}: {flag}");
        }
    }
    assert!(text("Dockerfile").contains("CMD [\"/usr/local/bin/payonce\", \"ready\"]"), "asked for its health");
}
