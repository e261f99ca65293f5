//! Ten times as many payments as the gateway can take: what is let in is answered in its time, the rest is told to come back,
//! and nothing is lost. Short, as a plain test; at full length, with what it took of time and memory:
//!
//! ```sh
//! PAYONCE_OVERLOAD_SECONDS=60 cargo test --profile campaign --test overload -- --nocapture
//! ```

#![cfg(feature = "cli")]
#![allow(missing_docs, clippy::expect_used, clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

mod folder;

use std::{
    fs,
    io::{BufRead, BufReader},
    process::{Child, Command, Stdio},
    sync::{
        Mutex,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use folder::Folder;
use serde_json::Value;

/// How many times the capacity is asked for.
const TIMES: u64 = 10;
/// The sandbox holds each request back for a second, in the mean: so a slot is a payment a second.
const SLOWNESS: &str = "delay=1";
/// How long an admitted caller may wait: for a queue as long as the slots, and twice the slowest answer of the gateway.
const BOUND: Duration = Duration::from_secs(6);
/// How much memory may grow once it is warm, in bytes: what is kept of each payment would be many times that.
const GROWTH: u64 = 24 << 20;

/// A process that ends with its test.
struct Program {
    child: Child,
    _data: Folder,
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Starts the program, and returns the first line that it says.
fn start(name: &str, arguments: &[&str]) -> (Program, String) {
    let data = Folder::new(name);
    let mut command = Command::new(env!("CARGO_BIN_EXE_payonce"));
    for (ours, _) in std::env::vars_os().filter(|(key, _)| key.to_string_lossy().starts_with("PAYONCE")) {
        command.env_remove(ours);
    }
    command.args(arguments).args(["--listen", "127.0.0.1:0", "--data"]).arg(&*data);
    let mut child = command.stdout(Stdio::piped()).spawn().expect("starts");
    let mut said = BufReader::new(child.stdout.take().expect("piped"));
    let mut line = String::new();
    said.read_line(&mut line).expect("an introduction");
    // It may go on speaking.
    thread::spawn(move || said.lines().for_each(drop));
    (Program { child, _data: data }, line)
}

/// What one caller was told.
enum Told {
    Admitted { id: String, took: Duration },
    ComeBack,
}

struct Client {
    agent: ureq::Agent,
    url: String,
}

impl Client {
    fn new(url: &str) -> Client {
        let config = ureq::Agent::config_builder().http_status_as_error(false).build();
        Client { agent: config.into(), url: url.to_owned() }
    }

    fn pay(&self, number: u64) -> Told {
        let began = Instant::now();
        let request = self.agent.post(format!("{}/v1/payments", self.url));
        let request = request.header("Content-Type", "application/json").header("Idempotency-Key", key(number));
        let order = r#"{"amount":1050,"currency":"USD","source":"acct_alice","destination":"acct_bob"}"#;
        let mut response = request.send(order).expect("an answer");
        let status = response.status().as_u16();
        let body = response.body_mut().read_to_string().expect("a body");
        match status {
            201 | 202 => {
                let told: Value = serde_json::from_str(&body).expect("JSON");
                Told::Admitted { id: told["id"].as_str().expect("an id").to_owned(), took: began.elapsed() }
            }
            429 | 503 => {
                let header = response.headers().get("retry-after").map(|value| value.to_str().expect("ASCII"));
                assert!(header.is_some_and(|seconds| seconds.parse::<u64>().is_ok()), "{status}: {header:?} {body}");
                Told::ComeBack
            }
            other => panic!("{other}: {body}"),
        }
    }

    fn get(&self, path: &str) -> Value {
        let mut response = self.agent.get(format!("{}{path}", self.url)).call().expect("an answer");
        serde_json::from_str(&response.body_mut().read_to_string().expect("a body")).expect("JSON")
    }
}

fn key(number: u64) -> String {
    format!("order-{number}")
}

/// What came of a load.
#[derive(Default)]
struct Load {
    admitted: Vec<(String, Duration)>,
    refused: Vec<u64>,
}

/// Callers, each of whom begins in its time, as long as there are enough threads: those who are let in hold one each.
fn load(url: &str, slots: u64, seconds: u64) -> Load {
    let (next, began, load) = (AtomicU64::new(0), Instant::now(), Mutex::new(Load::default()));
    let per_second = slots * TIMES;
    let caller = || {
        let client = Client::new(url);
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            if number >= per_second * seconds {
                return;
            }
            let due = began + Duration::from_nanos(1_000_000_000 / per_second * number);
            thread::sleep(due.saturating_duration_since(Instant::now()));
            let told = client.pay(number);
            let mut load = load.lock().expect("no panic");
            match told {
                Told::Admitted { id, took } => load.admitted.push((id, took)),
                Told::ComeBack => load.refused.push(number),
            }
        }
    };
    thread::scope(|threads| (0..4 * slots).for_each(|_| drop(threads.spawn(caller))));
    load.into_inner().expect("no panic")
}

/// How much memory a process has, in bytes, looked at twice a second until it is told to stop.
fn watch(process: u32, stop: &AtomicU64) -> Vec<u64> {
    let mut seen = Vec::new();
    while stop.load(Ordering::Relaxed) == 0 {
        let statm = fs::read_to_string(format!("/proc/{process}/statm")).expect("it runs");
        let pages: u64 = statm.split(' ').nth(1).expect("resident").parse().expect("a number");
        seen.push(pages * 4096);
        thread::sleep(Duration::from_millis(500));
    }
    seen
}

#[test]
fn ten_times_what_the_gateway_takes_is_let_in_as_far_as_it_goes_and_nothing_is_lost() {
    let full = std::env::var("PAYONCE_OVERLOAD_SECONDS").ok().map(|seconds| seconds.parse().expect("a number"));
    let (slots, seconds): (u64, u64) = full.map_or((16, 3), |seconds| (48, seconds));
    let (sandbox, said) = start("overload-sandbox", &["sandbox", "--fault", SLOWNESS]);
    let gateway = said.trim().rsplit(' ').next().expect("a URL").to_owned();
    let most = slots.to_string();
    let limits = ["--gateway-slots", &most, "--queue", &most];
    let (daemon, said) = start("overload", &[&["serve", "--json", "--gateway", &gateway][..], &limits].concat());
    let introduction: Value = serde_json::from_str(&said).expect("JSON");
    let url = introduction["url"].as_str().expect("a URL");
    let stop = AtomicU64::new(0);
    let (load, memory) = thread::scope(|threads| {
        let watching = threads.spawn(|| watch(daemon.child.id(), &stop));
        let load = load(url, slots, seconds);
        stop.store(1, Ordering::Relaxed);
        (load, watching.join().expect("no panic"))
    });
    assert!(!load.admitted.is_empty() && load.refused.len() > load.admitted.len(), "it was no overload");
    nothing_is_lost(url, &gateway, &load);
    let summary = report(&load, &memory, seconds);
    if full.is_some() {
        assert!(summary.p99 <= BOUND, "p99 {:?}", summary.p99);
        assert!(summary.growth <= GROWTH, "memory grew by {} bytes", summary.growth);
    }
    drop((daemon, sandbox));
}

/// Who was let in has a payment that comes to its end, once; who was not has none.
fn nothing_is_lost(url: &str, gateway: &str, load: &Load) {
    let (client, until) = (Client::new(url), Instant::now() + Duration::from_secs(60));
    for (id, _) in &load.admitted {
        while client.get(&format!("/v1/payments/{id}"))["state"] != "succeeded" {
            assert!(Instant::now() < until, "{id} does not end");
            thread::sleep(Duration::from_millis(50));
        }
    }
    for number in load.refused.iter().take(500) {
        let page = client.get(&format!("/v1/payments?idempotency_key={}", key(*number)));
        assert_eq!(page["payments"], Value::Array(Vec::new()), "what was told to come back was not recorded");
    }
    let truth = Client::new(gateway).get("/statement/summary");
    let admitted = u64::try_from(load.admitted.len()).unwrap();
    assert_eq!((&truth["moved_twice"], &truth["movements"]), (&0.into(), &admitted.into()));
}

struct Summary {
    p99: Duration,
    growth: u64,
}

/// How long who was let in waited, and how much memory grew from when a third of the time was over.
fn report(load: &Load, memory: &[u64], seconds: u64) -> Summary {
    let mut waits: Vec<Duration> = load.admitted.iter().map(|(_, took)| *took).collect();
    waits.sort_unstable();
    let at = |percent: usize| waits[(waits.len() - 1) * percent / 100];
    let warm = &memory[memory.len() / 3..];
    let (first, most) = (warm[0], warm.iter().copied().max().unwrap_or_default());
    let growth = most.saturating_sub(first);
    eprintln!(
        "{} asked in {seconds} s, {} let in, {} told to come back; p50 {:.2} s, p99 {:.2} s, longest {:.2} s; {:.1} MiB resident, \
         {:.1} MiB more at the most",
        load.admitted.len() + load.refused.len(),
        load.admitted.len(),
        load.refused.len(),
        at(50).as_secs_f64(),
        at(99).as_secs_f64(),
        at(100).as_secs_f64(),
        mib(first),
        mib(growth),
    );
    Summary { p99: at(99), growth }
}

fn mib(bytes: u64) -> f64 {
    f64::from(u32::try_from(bytes >> 10).unwrap_or(u32::MAX)) / 1024.0
}
