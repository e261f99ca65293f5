//! The clients in `examples/clients` pay once, over a line that loses answers, and when they are run again.

#![cfg(feature = "cli")]
#![allow(missing_docs, clippy::expect_used, clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

mod folder;

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    path::Path,
    process::{Child, Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
};

use folder::Folder;
use serde_json::Value;

/// A daemon that is killed with its test.
struct Daemon {
    child: Child,
    address: String,
    data: Folder,
}

impl Daemon {
    fn start(name: &str) -> Daemon {
        let data = Folder::new(name);
        let mut command = Command::new(env!("CARGO_BIN_EXE_payonce"));
        command.args(["serve", "--listen", "127.0.0.1:0", "--json", "--data"]).arg(&*data).stdout(Stdio::piped());
        let mut child = command.spawn().expect("starts");
        let mut line = String::new();
        BufReader::new(child.stdout.take().expect("piped")).read_line(&mut line).expect("an introduction");
        let introduction: Value = serde_json::from_str(&line).expect("JSON");
        let url = introduction["url"].as_str().expect("a URL");
        Daemon { child, address: url.trim_start_matches("http://").to_owned(), data }
    }

    fn payments(&self) -> Vec<Value> {
        let url = format!("http://{}", self.address);
        let mut command = Command::new(env!("CARGO_BIN_EXE_payonce"));
        let listed = command.args(["list", "--json", "--url", &url]).output().expect("runs");
        let page: Value = serde_json::from_slice(&listed.stdout).expect("JSON");
        page["payments"].as_array().expect("a list").clone()
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A line that brings every request to the daemon, and loses the first answers.
struct Line {
    address: String,
    requests: Arc<AtomicU32>,
}

impl Line {
    fn to(daemon: &Daemon, lost: u32) -> Line {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let (address, daemon) = (listener.local_addr().expect("bound").to_string(), daemon.address.clone());
        let requests = Arc::new(AtomicU32::new(0));
        let counted = requests.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let Ok(mut caller) = stream else { return };
                let Some(request) = message(&mut caller) else { continue };
                let mut beyond = TcpStream::connect(&daemon).expect("the daemon listens");
                beyond.write_all(&request).expect("sent");
                let answer = message(&mut beyond).expect("an answer");
                if counted.fetch_add(1, Ordering::SeqCst) >= lost {
                    let _ = caller.write_all(&answer);
                }
            }
        });
        Line { address, requests }
    }
}

/// A head, and as much body as it announces.
fn message(stream: &mut TcpStream) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    let mut byte = [0];
    while !bytes.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte).ok()?;
        bytes.push(byte[0]);
    }
    let head = String::from_utf8_lossy(&bytes).to_lowercase();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse().ok()).unwrap_or(0);
    let mut body = vec![0; length];
    stream.read_exact(&mut body).ok()?;
    Some([bytes, body].concat())
}

/// Runs a client twice, and looks at what has become of it.
fn pays_once(program: &str, file: &str) {
    if !Command::new(program).arg("--version").output().is_ok_and(|told| told.status.success()) {
        eprintln!("skipped: {program} is not installed");
        return;
    }
    let daemon = Daemon::start(file);
    let line = Line::to(&daemon, 2);
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/clients").join(file);
    let order = daemon.data.join("order");
    let pay = |source: &str| {
        let mut command = Command::new(if file.ends_with(".sh") { "sh" } else { program });
        command.arg(&script).arg(&order).args(["1050", "USD", source, "acct_bob"]);
        command.env("PAYONCE_URL", format!("http://{}", line.address)).output().expect("runs")
    };
    let first = pay("acct_alice");
    assert_eq!(first.status.code(), Some(0), "{}", String::from_utf8_lossy(&first.stderr));
    assert_eq!(line.requests.load(Ordering::SeqCst), 3, "two answers were lost");
    let payments = daemon.payments();
    assert_eq!(payments.len(), 1, "{payments:#?}");
    assert_eq!(payments[0]["state"], "succeeded");
    let id = payments[0]["id"].as_str().expect("an id");
    assert!(String::from_utf8_lossy(&first.stdout).contains(id), "it says which");
    let again = pay("acct_alice");
    assert_eq!((again.status.code(), again.stdout), (Some(0), first.stdout), "the same, after it was run again");
    assert_eq!(daemon.payments().len(), 1);
    std::fs::remove_file(&order).expect("it kept the key");
    assert_eq!(pay("acct_decline_it").status.code(), Some(1), "a decline is final, and no success");
    assert_eq!(daemon.payments().len(), 2);
}

#[test]
fn the_python_client_pays_once_over_a_line_that_loses_answers() {
    pays_once("python3", "pay.py");
}

#[test]
fn the_node_client_pays_once_over_a_line_that_loses_answers() {
    pays_once("node", "pay.mjs");
}

#[test]
fn the_shell_client_pays_once_over_a_line_that_loses_answers() {
    pays_once("curl", "pay.sh");
}
