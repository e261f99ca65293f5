//! API keys and TLS as users of the program meet them: keys are made, used, changed and revoked beside a running daemon,
//! and without keys it listens on this machine only.

#![cfg(feature = "cli")]
#![allow(missing_docs, clippy::expect_used, clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

mod folder;

mod laid_open;

mod program;

use std::{
    fs,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    time::{Duration, Instant},
};

use folder::Folder;
use program::payonce;

const PAY: [&str; 9] =
    ["pay", "--amount", "1050", "--currency", "USD", "--source", "acct_alice", "--destination", "acct_bob"];
/// Longer than a file's change takes to be seen, on a busy machine.
const HANG: Duration = Duration::from_secs(30);

fn text(bytes: &[u8]) -> &str {
    str::from_utf8(bytes).expect("UTF-8")
}

fn fixture(name: &str) -> String {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/tls").join(name).display().to_string()
}

/// A daemon with a file of keys in its folder.
struct Daemon {
    child: Child,
    introduction: serde_json::Value,
    log: PathBuf,
    data: Folder,
}

impl Daemon {
    fn start(data: Folder, more: &[&str]) -> Daemon {
        let log = data.join("log");
        let mut command = payonce(&["serve", "--listen", "127.0.0.1:0", "--json", "--data"]);
        command.arg(data.join("data")).arg("--keys-file").arg(data.join("keys.toml")).args(more);
        // Whatever is ever logged must hold no secret.
        command.env("PAYONCE_LOG", "trace").stderr(fs::File::create(&log).expect("a log"));
        let mut child = command.stdout(Stdio::piped()).spawn().expect("starts");
        let mut line = String::new();
        BufReader::new(child.stdout.take().expect("piped")).read_line(&mut line).expect("an introduction");
        let introduction =
            serde_json::from_str(&line).unwrap_or_else(|_| panic!("{}", fs::read_to_string(&log).unwrap()));
        Daemon { child, introduction, log, data }
    }

    fn client(&self, secret: Option<&str>, arguments: &[&str]) -> Output {
        let mut command = payonce(arguments);
        command.args(["--url", self.introduction["url"].as_str().expect("a URL")]);
        if let Some(secret) = secret {
            command.env("PAYONCE_API_KEY", secret);
        }
        command.output().expect("runs")
    }

    /// Until a listing with this secret ends as wanted.
    fn until(&self, secret: &str, code: i32) -> String {
        let hang = Instant::now() + HANG;
        loop {
            let listed = self.client(Some(secret), &["list"]);
            if listed.status.code() == Some(code) {
                return text(&listed.stderr).to_owned();
            }
            assert!(Instant::now() < hang, "{listed:?}");
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    fn stop(mut self) -> (String, Folder) {
        let id = self.child.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &id]).status().expect("kill runs").success());
        assert_eq!(self.child.wait().expect("ends").code(), Some(0));
        (fs::read_to_string(&self.log).expect("a log"), self.data)
    }
}

fn keys(folder: &Folder, arguments: &[&str]) -> Output {
    payonce(&["keys"]).args(arguments).arg("--file").arg(folder.join("keys.toml")).output().expect("runs")
}

/// The secret of a new key.
fn added(folder: &Folder, name: &str, more: &[&str]) -> String {
    let added = keys(folder, &[&["add", "--name", name][..], more].concat());
    assert_eq!(added.status.code(), Some(0), "{}", text(&added.stderr));
    text(&added.stdout).trim().to_owned()
}

/// Every file below a folder, as bytes.
fn contents(folder: &Path) -> Vec<u8> {
    laid_open::files(folder).into_iter().flat_map(|(_, bytes)| bytes).collect()
}

#[test]
fn keys_are_made_used_changed_and_revoked_beside_a_running_daemon() {
    let folder = Folder::new("keys-program");
    let first = added(&folder, "shop", &[]);
    let operator = added(&folder, "ops", &["--role", "operator"]);
    assert!(first.starts_with("payonce_") && first != operator, "{first}");
    let daemon = Daemon::start(folder, &[]);
    assert!(daemon.introduction["callers"].as_str().is_some_and(|said| said.starts_with("who has an API key of ")));
    let pay = [&PAY[..], &["--key", "order-1234"]].concat();
    let refused = daemon.client(None, &pay);
    assert_eq!(refused.status.code(), Some(1));
    assert!(text(&refused.stderr).contains("(unauthorized, HTTP 401)"), "{}", text(&refused.stderr));
    let paid = daemon.client(Some(&first), &pay);
    assert_eq!(paid.status.code(), Some(0), "{}", text(&paid.stderr));
    // The first key inherits what was paid before there were any: its id is that of the tenant `default`.
    assert!(text(&paid.stdout).contains("c4d27dc8-fc8b-8dba-b307-ab7b907f7933"), "{}", text(&paid.stdout));
    let inquire =
        ["resolve", "c4d27dc8-fc8b-8dba-b307-ab7b907f7933", "--as", "declined", "--actor", "a", "--reason", "r"];
    let forbidden = daemon.client(Some(&first), &inquire);
    assert!(text(&forbidden.stderr).contains("(forbidden, HTTP 403)"), "{}", text(&forbidden.stderr));
    let second = added(&daemon.data, "shop-2", &[]);
    daemon.until(&second, 0);
    assert_eq!(keys(&daemon.data, &["revoke", "shop"]).status.code(), Some(0));
    assert!(daemon.until(&first, 1).contains("(unauthorized, HTTP 401)"));
    let again = daemon.client(Some(&second), &pay);
    assert!(text(&again.stdout).contains("replayed   yes"), "another key of the tenant: {}", text(&again.stdout));
    // A broken file changes nothing, and is complained of; once it is whole again, it counts.
    let file = daemon.data.join("keys.toml");
    let whole = fs::read_to_string(&file).expect("keys");
    fs::write(&file, whole.replace("[[keys]]", "[[keys]")).expect("writable");
    let hang = Instant::now() + HANG;
    while !fs::read_to_string(&daemon.log).expect("a log").contains("what was read before stays in force") {
        assert!(Instant::now() < hang, "nobody complains");
        std::thread::sleep(Duration::from_millis(50));
    }
    daemon.until(&second, 0);
    fs::write(&file, &whole).expect("writable");
    assert_eq!(keys(&daemon.data, &["revoke", "shop-2"]).status.code(), Some(0));
    daemon.until(&second, 1);
    daemon.until(&operator, 0);
    let (log, folder) = daemon.stop();
    assert!(log.contains("API keys were read"), "the log is as loud as it gets: {log}");
    let kept = contents(&folder);
    for secret in [first, second, operator] {
        assert!(!log.contains(&secret), "the log holds no secret");
        assert!(!kept.windows(secret.len()).any(|bytes| bytes == secret.as_bytes()), "no file holds a secret");
    }
}

#[test]
fn without_keys_it_listens_on_this_machine_only_unless_it_is_told_to() {
    let folder = Folder::new("keys-loopback");
    let serve = |more: &[&str]| {
        let mut command = payonce(&["serve", "--json", "--data"]);
        command.arg(folder.join("data")).args(more).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    };
    for address in ["0.0.0.0:0", "[::]:0", "192.0.2.1:7411"] {
        let refused = serve(&["--listen", address]).output().expect("ends");
        assert_eq!(refused.status.code(), Some(2), "{address}");
        let said = text(&refused.stderr);
        assert!(said.contains("without API keys") && said.contains("--insecure-no-keys"), "{said}");
    }
    assert!(!folder.join("data").exists(), "nothing was opened");
    for (more, said) in [
        (&["--listen", "127.0.0.1:0"][..], "whoever is on this machine: there are no API keys"),
        (&["--listen", "127.0.0.1:0", "--insecure-no-keys"], "WHOEVER CAN CONNECT: there are no API keys"),
    ] {
        let mut child = serve(more).spawn().expect("starts");
        let mut line = String::new();
        BufReader::new(child.stdout.take().expect("piped")).read_line(&mut line).expect("an introduction");
        let introduction: serde_json::Value = serde_json::from_str(&line).expect("JSON");
        assert!(introduction["callers"].as_str().is_some_and(|callers| callers.starts_with(said)), "{line}");
        assert!(Command::new("kill").args(["-TERM", &child.id().to_string()]).status().expect("kill runs").success());
        assert_eq!(child.wait().expect("ends").code(), Some(0));
    }
    for (more, why) in [
        (&["--keys-file", "/nowhere/keys.toml"][..], "/nowhere/keys.toml: cannot be read"),
        (&["--tls-cert", "/nowhere/cert.pem"], "tls_cert needs tls_key too"),
        (&["--tls-cert", "/nowhere/cert.pem", "--tls-key", "/nowhere/key.pem"], "/nowhere/cert.pem"),
    ] {
        let refused = serve(&[&["--listen", "127.0.0.1:0"], more].concat()).output().expect("ends");
        assert_eq!((refused.status.code(), text(&refused.stderr).contains(why)), (Some(2), true), "{refused:?}");
    }
}

#[test]
fn client_commands_speak_tls_and_trust_the_authority_that_they_are_told() {
    let folder = Folder::new("keys-tls");
    let secret = added(&folder, "shop", &[]);
    let daemon = Daemon::start(folder, &["--tls-cert", &fixture("server.pem"), "--tls-key", &fixture("server.key")]);
    assert!(daemon.introduction["url"].as_str().is_some_and(|url| url.starts_with("https://127.0.0.1:")));
    let listed = daemon.client(Some(&secret), &["list", "--ca", &fixture("ca.pem")]);
    assert_eq!(listed.status.code(), Some(0), "{}", text(&listed.stderr));
    for others in [&["list", "--ca", &fixture("stranger.pem")][..], &["list"]] {
        let refused = daemon.client(Some(&secret), others);
        assert_eq!(refused.status.code(), Some(1), "{refused:?}");
        assert!(text(&refused.stderr).contains("no answer from https://"), "{}", text(&refused.stderr));
    }
    daemon.stop();
}

#[test]
fn what_is_wrong_with_a_key_is_said_and_nothing_is_changed() {
    let folder = Folder::new("keys-wrong");
    added(&folder, "shop", &["--rate", "50"]);
    let before = fs::read_to_string(folder.join("keys.toml")).expect("keys");
    for (arguments, why) in [
        (&["add", "--name", "shop"][..], "there are two of this name"),
        (&["add", "--name", "a b"], "name must be"),
        (&["add", "--name", "b", "--role", "king"], "--role must be read-only, caller or operator"),
        (&["add", "--name", "b", "--tenant", "*"], "a caller pays as one tenant"),
        (&["add", "--name", "b", "--tenant", "Shop"], "--tenant must be"),
        (&["add", "--name", "b", "--rate", "0"], "rate must be"),
        (&["revoke", "b"], "there is no key b"),
    ] {
        let refused = keys(&folder, arguments);
        assert_eq!(refused.status.code(), Some(2), "{arguments:?}");
        assert!(text(&refused.stderr).contains(why) && refused.stdout.is_empty(), "{}", text(&refused.stderr));
    }
    assert_eq!(fs::read_to_string(folder.join("keys.toml")).expect("keys"), before);
    let listed = keys(&folder, &["list"]);
    assert!(text(&listed.stdout).contains("shop  caller  default  50"), "{}", text(&listed.stdout));
    let nowhere = payonce(&["keys", "list"]).output().expect("runs");
    assert!(text(&nowhere.stderr).contains("Say --file, or set keys_file"), "{}", text(&nowhere.stderr));
}
