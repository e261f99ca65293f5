//! Every fault of the sandbox, through both of its faces: what the asker learns, and what really moved.
#![cfg(feature = "cli")]
#![allow(missing_docs, clippy::expect_used, clippy::indexing_slicing, reason = "tests")]

use std::{
    collections::BTreeMap,
    io::{BufRead, BufReader, Read, Write},
    net::TcpListener,
    path::PathBuf,
    process::{Child, ChildStdout, Command, Stdio},
    time::{Duration, Instant},
};

use payonce::{
    Amount, Currency, Order,
    gateway::{
        Asked, Gateway, Question, Sending,
        http::HttpGateway,
        sandbox::{Faults, Sandbox, SandboxGateway},
    },
    payment::{Kind, OperationKey, Outcome, Reply},
    signature::Secret,
};

/// Where a sandbox that speaks finds what it signs with.
const NEWS_SECRET: (&str, &str) = ("PAYONCE_GATEWAY_WEBHOOK_SECRET", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw");

/// Longer than any fault lasts.
const PATIENT: Duration = Duration::from_secs(60);

/// A sandbox, seen through one of its faces.
trait Face {
    fn gateway(&self) -> &dyn Gateway;
    fn set_fault(&self, kind: &str, probability: f64);
    /// Operations, movements, moved twice.
    fn truth(&self) -> [u64; 3];
    /// The payer acts.
    fn answer(&self, n: u8, passed: bool);
}

struct InProcess(SandboxGateway);

impl InProcess {
    fn new() -> InProcess {
        InProcess(SandboxGateway::new(Sandbox::in_memory(1, Faults::none())))
    }
}

impl Face for InProcess {
    fn gateway(&self) -> &dyn Gateway {
        &self.0
    }

    fn set_fault(&self, kind: &str, probability: f64) {
        let sandbox = self.0.sandbox();
        sandbox.set_faults(sandbox.faults().with_named(kind, probability).expect("a fault"));
    }

    fn truth(&self) -> [u64; 3] {
        let summary = self.0.sandbox().summary();
        [summary.operations, summary.movements, summary.moved_twice]
    }

    fn answer(&self, n: u8, passed: bool) {
        let answered = self.0.sandbox().answer_challenge(OperationKey::from_bytes([n; 16]), passed);
        assert!(answered.is_some(), "it waits for its payer");
    }
}

/// `payonce sandbox` as a process, killed at the end.
struct OverHttp {
    child: Child,
    _out: BufReader<ChildStdout>,
    url: String,
    folder: PathBuf,
    gateway: HttpGateway,
}

impl OverHttp {
    fn new(name: &str) -> OverHttp {
        let folder = std::env::temp_dir().join(format!("payonce-sandbox-http-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&folder);
        OverHttp::at(folder)
    }

    fn at(folder: PathBuf) -> OverHttp {
        OverHttp::with(folder, &[])
    }

    fn with(folder: PathBuf, flags: &[&str]) -> OverHttp {
        let mut command = Command::new(env!("CARGO_BIN_EXE_payonce"));
        command.env(NEWS_SECRET.0, NEWS_SECRET.1).args(["sandbox", "--listen", "127.0.0.1:0", "--data"]).arg(&folder);
        command.args(flags).stdout(Stdio::piped());
        let mut child = command.spawn().expect("starts");
        let mut out = BufReader::new(child.stdout.take().expect("piped"));
        let mut line = String::new();
        out.read_line(&mut line).expect("says where it listens");
        let url = line.split_whitespace().find(|word| word.starts_with("http://")).expect("a URL").to_owned();
        let gateway = HttpGateway::new(&url, None).expect("a gateway");
        OverHttp { child, _out: out, url, folder, gateway }
    }

    fn kill_and_restart(mut self) -> OverHttp {
        self.kill();
        OverHttp::at(std::mem::take(&mut self.folder))
    }

    fn kill(&mut self) {
        self.child.kill().expect("was running");
        self.child.wait().expect("ended");
    }

    fn get(&self, path: &str) -> String {
        let mut response = ureq::get(format!("{}{path}", self.url)).call().expect("answers");
        response.body_mut().read_to_string().expect("text")
    }
}

impl Drop for OverHttp {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if !self.folder.as_os_str().is_empty() {
            let _ = std::fs::remove_dir_all(&self.folder);
        }
    }
}

impl Face for OverHttp {
    fn gateway(&self) -> &dyn Gateway {
        &self.gateway
    }

    fn set_fault(&self, kind: &str, probability: f64) {
        ureq::put(format!("{}/faults", self.url)).send_json(BTreeMap::from([(kind, probability)])).expect("set");
    }

    fn truth(&self) -> [u64; 3] {
        let summary: BTreeMap<String, u64> = serde_json::from_str(&self.get("/statement/summary")).expect("JSON");
        ["operations", "movements", "moved_twice"].map(|name| summary[name])
    }

    fn answer(&self, n: u8, passed: bool) {
        let url = format!("{}/challenges/{}", self.url, OperationKey::from_bytes([n; 16]));
        let verdict = if passed { "succeeded" } else { "declined" };
        ureq::post(url).send_json(BTreeMap::from([("as", verdict)])).expect("it waits for its payer");
    }
}

fn order() -> Order {
    let currency = Currency::new("USD").expect("legal");
    Order::new(Amount::new(1050).expect("legal"), currency, "acct alice", "acct_b\u{f6}b").expect("legal")
}

fn sending(gateway: &dyn Gateway, kind: Kind, n: u8, charge: Option<u8>) -> Sending {
    let order = order();
    let operation_key = OperationKey::from_bytes([n; 16]);
    let charge = charge.map(|n| OperationKey::from_bytes([n; 16]));
    let asked = Asked { kind, operation_key, amount: order.amount, order: &order, charge, reference: None };
    let request = gateway.encode(&asked).expect("encodes");
    let deadline = Instant::now() + PATIENT;
    Sending { kind, operation_key, request, amount: order.amount, currency: order.currency, deadline }
}

async fn send(face: &dyn Face, n: u8) -> Outcome {
    face.gateway().send(sending(face.gateway(), Kind::Charge, n, None)).await
}

async fn inquire(face: &dyn Face, n: u8) -> Outcome {
    let Sending { kind, operation_key, amount, currency, deadline, .. } =
        sending(face.gateway(), Kind::Charge, n, None);
    face.gateway().inquire(Question { kind, operation_key, amount, currency, reference: None, deadline }).await
}

fn said(outcome: &Outcome) -> (&str, &str) {
    (outcome.name(), outcome.reply().map_or("", Reply::code))
}

/// Asks until the answer is this one. It comes, or the test never ends.
async fn inquire_until(face: &dyn Face, n: u8, name: &str) {
    while inquire(face, n).await.name() != name {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// The fault, what a sending under it is told, what an inquiry in calm weather finally says, and what then has moved.
const FAULTS: [(&str, (&str, &str), &str, u64); 15] = [
    ("refuse", ("not_sent", "refused"), "not_found", 0),
    ("drop-before", ("unknown", "reset"), "not_found", 0),
    ("drop-after", ("unknown", "reset"), "succeeded", 1),
    ("error-before", ("unknown", "server_error"), "not_found", 0),
    ("error-after", ("unknown", "server_error"), "succeeded", 1),
    ("delay", ("succeeded", "ok"), "succeeded", 1),
    ("late", ("unknown", "reset"), "succeeded", 1),
    ("twice", ("succeeded", "ok"), "succeeded", 1),
    ("pending", ("pending", "pending"), "succeeded", 1),
    ("challenge", ("pending", "challenge"), "pending", 0),
    ("decline", ("declined", "card_declined"), "declined", 0),
    ("not-found-lag", ("succeeded", "ok"), "succeeded", 1),
    ("wrong-amount", ("unknown", "mismatched_reply"), "succeeded", 1),
    ("garbage", ("unknown", "unreadable_reply"), "succeeded", 1),
    ("forget", ("succeeded", "ok"), "succeeded", 1),
];

async fn every_fault_shows_and_does_what_it_says(face: &dyn Face, refused: (&str, &str)) {
    let mut moved = 0;
    for (n, (fault, told, truth, moves)) in (1..).zip(FAULTS) {
        face.set_fault(fault, 1.0);
        let told = if fault == "refuse" { refused } else { told };
        assert_eq!(said(&send(face, n).await), told, "{fault}");
        face.set_fault(fault, 0.0);
        inquire_until(face, n, truth).await;
        moved += moves;
        assert_eq!(face.truth()[1..], [moved, 0], "{fault}");
    }
}

async fn only_forgetting_moves_money_twice(face: &dyn Face) {
    face.set_fault("twice", 1.0);
    send(face, 1).await;
    send(face, 1).await;
    assert_eq!(face.truth(), [1, 1, 0]);
    face.set_fault("forget", 1.0);
    send(face, 2).await;
    assert_eq!(face.truth(), [2, 3, 1]);
}

async fn one_key_at_the_same_time_acts_once(face: &(dyn Face + Sync)) {
    for fault in [None, Some("delay")] {
        if let Some(fault) = fault {
            face.set_fault(fault, 1.0);
        }
        let n = if fault.is_some() { 2 } else { 1 };
        let (a, b, c, d) = tokio::join!(send(face, n), send(face, n), send(face, n), send(face, n));
        let outcomes = [a, b, c, d]
            .map(|outcome| said(&outcome) == ("succeeded", "ok") || said(&outcome) == ("unknown", "in_progress"));
        assert_eq!(outcomes, [true; 4]);
        assert_eq!(face.truth(), [u64::from(n), u64::from(n), 0]);
    }
}

#[tokio::test]
async fn every_fault_in_process() {
    every_fault_shows_and_does_what_it_says(&InProcess::new(), ("not_sent", "refused")).await;
}

/// Over HTTP the kernel has accepted the connection, and the request, before the sandbox can refuse it.
#[tokio::test]
async fn every_fault_over_http() {
    every_fault_shows_and_does_what_it_says(&OverHttp::new("faults"), ("unknown", "reset")).await;
}

#[tokio::test]
async fn only_forgetting_moves_money_twice_in_process() {
    only_forgetting_moves_money_twice(&InProcess::new()).await;
}

#[tokio::test]
async fn only_forgetting_moves_money_twice_over_http() {
    only_forgetting_moves_money_twice(&OverHttp::new("twice")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn one_key_at_the_same_time_acts_once_in_process() {
    one_key_at_the_same_time_acts_once(&InProcess::new()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn one_key_at_the_same_time_acts_once_over_http() {
    one_key_at_the_same_time_acts_once(&OverHttp::new("concurrent")).await;
}

#[tokio::test]
async fn all_kinds_of_operations_pass_through_both_faces() {
    let (inside, outside) = (InProcess::new(), OverHttp::new("kinds"));
    let faces: [&dyn Face; 2] = [&inside, &outside];
    for face in faces {
        for (n, kind, charge, expected) in [
            (1, Kind::Authorize, None, ("succeeded", "ok")),
            (2, Kind::Capture, Some(1), ("succeeded", "ok")),
            (3, Kind::Refund, Some(1), ("succeeded", "ok")),
            (4, Kind::Refund, Some(1), ("declined", "amount_too_large")),
            (5, Kind::Void, Some(1), ("declined", "not_voidable")),
            (6, Kind::Capture, Some(99), ("refused", "unknown_charge")),
        ] {
            let gateway = face.gateway();
            let outcome = gateway.send(sending(gateway, kind, n, charge)).await;
            assert_eq!(said(&outcome), expected, "{kind:?}");
        }
        assert_eq!(face.truth(), [5, 3, 0]);
    }
    let statement = outside.get("/statement");
    assert_eq!(statement.lines().count(), 3);
    assert!(statement.lines().all(|line| serde_json::from_str::<serde_json::Value>(line).is_ok()), "{statement}");
    assert_eq!(outside.get("/statement?after=2").lines().count(), 1);
}

#[tokio::test]
async fn a_challenge_waits_for_its_payer_through_both_faces() {
    let (inside, outside) = (InProcess::new(), OverHttp::new("challenge"));
    let faces: [(&dyn Face, &str); 2] = [(&inside, "sandbox:"), (&outside, &outside.url)];
    for (face, place) in faces {
        face.set_fault("challenge", 1.0);
        for (n, passed, name) in [(1, true, "succeeded"), (2, false, "declined")] {
            let told = send(face, n).await;
            let Outcome::Pending(Some(next), _) = &told else { panic!("{told:?}") };
            assert_eq!(next.url, format!("{place}/challenges/{}", OperationKey::from_bytes([n; 16])));
            assert!(next.expires_at.is_some_and(|at| at.as_millis() > 1_700_000_000_000), "{next:?}");
            assert_eq!(inquire(face, n).await, told, "the same as often as it is asked");
            face.answer(n, passed);
            assert_eq!(inquire(face, n).await.name(), name);
        }
        let gateway = face.gateway();
        assert_eq!(gateway.send(sending(gateway, Kind::Refund, 3, Some(1))).await.name(), "succeeded", "no payer acts");
        assert_eq!(face.truth(), [3, 2, 0]);
    }
    for (key, body) in [("1", "{}"), ("01010101-0101-0101-0101-010101010101", "{\"as\":\"maybe\"}")] {
        let refused = ureq::post(format!("{}/challenges/{key}", outside.url)).send(body);
        assert!(matches!(refused, Err(ureq::Error::StatusCode(400))), "{key}: {refused:?}");
    }
    let answered = format!("{}/challenges/01010101-0101-0101-0101-010101010101", outside.url);
    let late = ureq::post(answered).send_json(BTreeMap::from([("as", "declined")]));
    assert!(matches!(late, Err(ureq::Error::StatusCode(404))), "{late:?}");
}

#[tokio::test]
async fn what_is_pending_can_be_voided_through_both_faces() {
    let (inside, outside) = (InProcess::new(), OverHttp::new("void"));
    let faces: [&dyn Face; 2] = [&inside, &outside];
    for face in faces {
        // One that waits for its payer does not settle by itself meanwhile.
        face.set_fault("challenge", 1.0);
        assert_eq!(send(face, 1).await.name(), "pending");
        let gateway = face.gateway();
        for _again in 0..2 {
            let void = gateway.send(sending(gateway, Kind::Void, 2, Some(1))).await;
            assert_eq!(said(&void), ("succeeded", "ok"));
        }
        assert_eq!(said(&inquire(face, 1).await), ("declined", "voided"));
        assert_eq!(face.truth(), [2, 0, 0]);
    }
}

/// SIGKILL takes nothing that was answered for.
#[tokio::test]
async fn the_truth_survives_the_death_of_the_process() {
    let face = OverHttp::new("kill");
    for n in 1..=20 {
        assert_eq!(send(&face, n).await.name(), "succeeded");
    }
    let face = face.kill_and_restart();
    assert_eq!(face.truth(), [20, 20, 0]);
    for n in 1..=20 {
        assert_eq!(inquire(&face, n).await.name(), "succeeded");
        assert_eq!(send(&face, n).await.name(), "succeeded");
    }
    assert_eq!(face.truth(), [20, 20, 0]);
}

#[tokio::test]
async fn a_gateway_that_is_gone_was_not_sent_to() {
    let mut face = OverHttp::new("gone");
    assert_eq!(send(&face, 1).await.name(), "succeeded");
    face.kill();
    assert_eq!(said(&send(&face, 2).await), ("not_sent", "unreachable"));
}

#[test]
fn faults_that_do_not_exist_change_nothing() {
    let face = OverHttp::new("bad-faults");
    face.set_fault("late", 0.5);
    let faults = face.get("/faults");
    for (body, status) in [(r#"{"late":1.5}"#, 400), (r#"{"late":0,"tardy":0.1}"#, 400), ("[]", 400), ("{}", 200)] {
        let agent: ureq::Agent = ureq::Agent::config_builder().http_status_as_error(false).build().into();
        let response = agent.put(format!("{}/faults", face.url)).send(body).expect("answers");
        assert_eq!(response.status(), status, "{body}");
        assert_eq!(face.get("/faults"), faults, "{body}");
    }
}

#[test]
fn requests_that_are_not_the_protocol_are_never_executed() {
    let face = OverHttp::new("bad-requests");
    let key = OperationKey::from_bytes([1; 16]).to_string();
    let good = format!(r#"{{"reference":"{key}","amount":1,"currency":"USD","source":"a","destination":"b"}}"#);
    let agent: ureq::Agent = ureq::Agent::config_builder().http_status_as_error(false).build().into();
    let post = |path: &str, key: &str, body: &str| {
        let request = agent.post(format!("{}{path}", face.url)).header("idempotency-key", key);
        request.send(body).expect("answers").status().as_u16()
    };
    assert_eq!(post("/charges", "another", &good), 400);
    assert_eq!(post("/charges", &key, "{"), 400);
    assert_eq!(post("/charges", &key, &good.replace(":1,", ":0,")), 400);
    assert_eq!(post("/charges", &key, &good.replace("USD", "usd")), 400);
    assert_eq!(post("/charges", &key, &good.replace("\"source\":\"a\",", "")), 400);
    assert_eq!(post("/refunds", &key, &good), 400);
    assert_eq!(post("/charge", &key, &good), 404);
    assert_eq!(face.truth(), [0, 0, 0]);
    assert_eq!(post("/charges", &key, &good), 200);
    assert_eq!(post("/charges", &key, &good.replace(":1,", ":2,")), 422);
    assert_eq!(face.truth(), [1, 1, 0]);
}

/// Takes one request, answers 204, and returns its headers, with names in lower case, and its body.
fn take_one(listener: &TcpListener) -> (BTreeMap<String, String>, Vec<u8>) {
    let (mut stream, _) = listener.accept().expect("somebody comes");
    let mut said = BufReader::new(stream.try_clone().expect("cloned"));
    let mut headers = BTreeMap::new();
    loop {
        let mut line = String::new();
        said.read_line(&mut line).expect("a line");
        let Some((name, value)) = line.trim_end().split_once(": ") else {
            if line.trim_end().is_empty() {
                break;
            }
            continue;
        };
        headers.insert(name.to_lowercase(), value.to_owned());
    }
    let mut body = vec![0; headers["content-length"].parse().expect("a number")];
    said.read_exact(&mut body).expect("a body");
    stream.write_all(b"HTTP/1.1 204 No Content\r\nconnection: close\r\n\r\n").expect("taken");
    (headers, body)
}

#[test]
fn a_sandbox_that_is_told_to_speaks_of_what_moved_and_signs_it() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("http://{}/news", listener.local_addr().expect("bound"));
    let folder = std::env::temp_dir().join(format!("payonce-sandbox-news-{}", std::process::id()));
    let face = OverHttp::with(folder, &["--webhook", &url, "--webhook-fault", "early=100"]);
    let key = OperationKey::from_bytes([1; 16]).to_string();
    let charge = format!(r#"{{"reference":"{key}","amount":7,"currency":"USD","source":"a","destination":"b"}}"#);
    let post = || ureq::post(format!("{}/charges", face.url)).header("idempotency-key", &key).send(&charge);
    let heard = std::thread::scope(|scope| {
        let heard = scope.spawn(|| take_one(&listener));
        assert_eq!(post().expect("answers").status(), 200);
        heard.join().expect("news came")
    });
    let (headers, body) = heard;
    let secret = Secret::parse(NEWS_SECRET.1).expect("a secret");
    let at = headers["webhook-timestamp"].parse().expect("seconds");
    assert!(secret.verifies(&headers["webhook-id"], at, &body, &headers["webhook-signature"]));
    let news: serde_json::Value = serde_json::from_slice(&body).expect("JSON");
    assert_eq!((&news["reference"], &news["status"], &news["amount"]), (&key.into(), &"succeeded".into(), &7.into()));
    let began = Instant::now();
    while !face.get("/news").contains("\"taken\":1") {
        assert!(began.elapsed() < PATIENT, "{}", face.get("/news"));
    }
}

#[test]
fn a_sandbox_that_has_nothing_to_sign_with_does_not_speak() {
    let mut command = Command::new(env!("CARGO_BIN_EXE_payonce"));
    command.env_remove(NEWS_SECRET.0).args(["sandbox", "--listen", "127.0.0.1:0", "--webhook", "http://127.0.0.1:9"]);
    let data = std::env::temp_dir().join(format!("payonce-sandbox-mute-{}", std::process::id()));
    let output = command.arg("--data").arg(&data).output().expect("runs");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(said.contains(NEWS_SECRET.0), "{said}");
    let _ = std::fs::remove_dir_all(data);
}
