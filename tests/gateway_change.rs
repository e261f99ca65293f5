//! Started with another gateway while payments are in doubt: those are left alone until the old one is back (P2).

#![cfg(feature = "cli")]
#![allow(missing_docs, clippy::expect_used, clippy::indexing_slicing, reason = "tests")]

mod folder;

use std::{
    io::{BufRead, BufReader},
    net::TcpListener,
    path::Path,
    process::{Child, ChildStdout, Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};

use folder::Folder;
use serde_json::{Value, json};

/// Far longer than anything takes here: only a hang reaches it.
const HANG: Duration = Duration::from_secs(60);

/// A program of ours, and the first line that it said. Killed when dropped.
struct Program {
    child: Child,
    said: String,
    /// Open for as long as it lives: it may have more to say.
    _more: BufReader<ChildStdout>,
}

impl Program {
    fn start(arguments: &[&str]) -> Program {
        let mut command = Command::new(env!("CARGO_BIN_EXE_payonce"));
        let mut child = command.args(arguments).stdout(Stdio::piped()).spawn().expect("starts");
        let mut said = String::new();
        let mut more = BufReader::new(child.stdout.take().expect("piped"));
        more.read_line(&mut said).expect("an introduction");
        Program { child, said, _more: more }
    }

    fn sandbox(folder: &Path) -> Program {
        let data = folder.join("gateway").display().to_string();
        // Every request is lost, and every inquiry: what is sent stays in doubt.
        Program::start(&["sandbox", "--listen", "127.0.0.1:0", "--fault", "drop-before=1", "--data", &data])
    }

    fn daemon(folder: &Path, gateway: &[&str]) -> Daemon {
        let data = folder.join("data").display().to_string();
        let arguments = ["serve", "--json", "--listen", "127.0.0.1:0", "--data", &data, "--gateway"];
        let program = Program::start(&[&arguments[..], gateway].concat());
        let introduction: Value = serde_json::from_str(&program.said).expect("JSON");
        Daemon { url: introduction["url"].as_str().expect("a URL").to_owned(), program }
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        self.child.kill().and_then(|()| self.child.wait()).expect("kill -9 works");
    }
}

struct Daemon {
    program: Program,
    url: String,
}

impl Daemon {
    fn pay(&self) -> Value {
        let order = json!({"amount": 1050, "currency": "USD", "source": "acct_alice", "destination": "acct_bob"});
        let request = ureq::post(format!("{}/v1/payments", self.url));
        let request = request.header("Idempotency-Key", "\"order-1234\"").header("Prefer", "wait=0");
        request.send_json(order).expect("answered").body_mut().read_json().expect("JSON")
    }

    /// Asks until the payment is in a state.
    fn until(&self, state: &str) -> Value {
        let began = Instant::now();
        loop {
            let payment = self.pay();
            if payment["state"] == state {
                return payment;
            }
            assert!(began.elapsed() < HANG, "not {state}, but {payment}");
            std::thread::yield_now();
        }
    }

    /// Lets it finish what it is about, and ends it.
    fn stop(mut self) {
        let id = self.program.child.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &id]).status().expect("runs").success());
        assert!(self.program.child.wait().expect("ends").success());
    }
}

/// A gateway that counts who comes, and says nothing.
fn stranger() -> (String, Arc<AtomicU32>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let url = format!("http://{}", listener.local_addr().expect("bound"));
    let visits = Arc::new(AtomicU32::new(0));
    let count = visits.clone();
    std::thread::spawn(move || {
        for _ in listener.incoming() {
            count.fetch_add(1, Ordering::SeqCst);
        }
    });
    (url, visits)
}

/// In doubt at `old`, killed, started with `other`, and then with `old` again.
fn change(name: &str, old_account: &[&str], other_account: &[&str]) {
    let folder = Folder::new(name);
    let sandbox = Program::sandbox(&folder);
    let gateway = sandbox.said.trim_end().rsplit(' ').next().expect("a URL");
    let old = [&[gateway][..], old_account].concat();
    let daemon = Program::daemon(&folder, &old);
    daemon.until("in_doubt");
    drop(daemon);

    let (url, visits) = stranger();
    let daemon = Program::daemon(&folder, &[&[url.as_str()][..], other_account].concat());
    let parked = daemon.until("parked");
    assert_eq!(parked["outcome"]["code"], "gateway_changed");
    let id = parked["id"].as_str().expect("an id");
    let asked = ureq::post(format!("{}/v1/payments/{id}/inquire", daemon.url)).config().http_status_as_error(false);
    asked.build().send_empty().expect("answered");
    daemon.stop();
    assert_eq!(visits.load(Ordering::SeqCst), 0, "another gateway was told of a payment that is not its own");

    ureq::put(format!("{gateway}/faults")).send(r#"{"drop-before":0}"#).expect("calmed");
    // A short proof that it was never there: the sandbox is calm now, and nothing of it is on its way.
    let quick = ["--gateway-contract", "max_processing=1s", "--gateway-contract", "not_found_lag=1s"];
    let daemon = Program::daemon(&folder, &[&old[..], &quick].concat());
    daemon.until("succeeded");
    let summary = ureq::get(format!("{gateway}/statement/summary")).call().expect("told").body_mut().read_to_string();
    assert_eq!(summary.expect("text"), r#"{"moved_twice":0,"movements":1,"operations":1}"#);
}

#[test]
fn what_is_in_doubt_at_one_url_is_not_taken_to_another() {
    change("url", &[], &[]);
}

#[test]
fn what_is_in_doubt_in_one_account_is_not_taken_to_another() {
    change("account", &["--gateway-account", "shop"], &["--gateway-account", "market"]);
}
