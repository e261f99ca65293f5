//! A payment can be followed from outside: each is a trace under its own id, and lines of JSON name it. What callers write
//! is in neither. Nothing is made of this where nobody looks.

#![cfg(feature = "cli")]
#![allow(missing_docs, clippy::expect_used, clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

mod folder;

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpListener},
    process::{Child, Command, Stdio},
    sync::mpsc::{Receiver, channel},
    time::Duration,
};

use folder::Folder;
use serde_json::Value;

/// What a caller writes, and no trace may know.
const PERSONAL: [&str; 6] = ["acct_alice", "acct_bob", "order-1234", "for my mother", "table-7", "payonce_"];
const ID: &str = "c4d27dc8-fc8b-8dba-b307-ab7b907f7933";
const TRACE: &str = "c4d27dc8fc8b8dbab307ab7b907f7933";

/// Takes spans, and hands on each request: its head, and its body.
fn collector() -> (SocketAddr, Receiver<(String, Value)>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("bound");
    let (sender, receiver) = channel();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = BufReader::new(stream.expect("accepted"));
            let (mut head, mut length) = (String::new(), 0);
            while !head.ends_with("\r\n\r\n") && stream.read_line(&mut head).expect("a head") > 0 {
                let line = head.lines().last().unwrap_or_default().to_ascii_lowercase();
                length =
                    line.strip_prefix("content-length: ").map_or(length, |length| length.parse().expect("a number"));
            }
            let mut body = vec![0; length];
            stream.read_exact(&mut body).expect("a body");
            let answer = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 2\r\nconnection: close\r\n\r\n{}";
            stream.get_mut().write_all(answer).expect("answered");
            let _ = sender.send((head, serde_json::from_slice(&body).expect("JSON")));
        }
    });
    (address, receiver)
}

fn serve(data: &Folder, more: &[&str]) -> (Child, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_payonce"));
    let variables = std::env::vars_os().map(|(key, _)| key);
    for ours in variables.filter(|key| ["PAYONCE", "OTEL"].iter().any(|of| key.to_string_lossy().starts_with(of))) {
        command.env_remove(ours);
    }
    command.args(["serve", "--listen", "127.0.0.1:0", "--json", "--data"]).arg(&**data).args(more);
    command.current_dir(env!("CARGO_TARGET_TMPDIR")).env("OTEL_EXPORTER_OTLP_HEADERS", "x-team=payments, x-key=a%20b");
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("starts");
    let mut line = String::new();
    BufReader::new(child.stdout.take().expect("piped")).read_line(&mut line).expect("an introduction");
    let introduction: Value = serde_json::from_str(&line).expect("JSON");
    (child, introduction["url"].as_str().expect("a URL").to_owned())
}

/// Pays with all that can be written; and with a trace of the caller's own.
fn pay(url: &str) -> u16 {
    let body = serde_json::json!({
        "amount": 1050, "currency": "USD", "source": "acct_alice", "destination": "acct_bob",
        "description": "for my mother", "metadata": { "reference": "table-7" },
    });
    let request = ureq::post(format!("{url}/v1/payments")).header("Idempotency-Key", "order-1234");
    let request = request.header("traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01");
    request.send_json(body).expect("answered").status().as_u16()
}

/// Stops it, and returns what it has logged.
fn stop(mut child: Child) -> String {
    assert!(Command::new("kill").args(["-TERM", &child.id().to_string()]).status().expect("kill runs").success());
    let mut logged = String::new();
    child.stderr.take().expect("piped").read_to_string(&mut logged).expect("text");
    assert_eq!(child.wait().expect("ends").code(), Some(0), "{logged}");
    logged
}

fn attribute<'a>(span: &'a Value, key: &str) -> &'a Value {
    let found = span["attributes"].as_array().expect("a list").iter().find(|attribute| attribute["key"] == key);
    &found.unwrap_or_else(|| panic!("no {key} in {span}"))["value"]
}

#[test]
fn a_payment_is_one_trace_under_its_own_id_and_says_nothing_that_a_caller_wrote() {
    let (address, received) = collector();
    let data = Folder::new("traces");
    let (child, url) = serve(&data, &["--otlp", &format!("http://{address}/")]);
    assert_eq!(pay(&url), 201);
    ureq::get(format!("{url}/v1/payments/{ID}")).call().expect("shown");
    ureq::get(format!("{url}/v1/stats")).call().expect("shown, and about no payment");
    assert_eq!(stop(child), "", "nothing to warn of");
    let mut spans = Vec::new();
    while let Ok((head, body)) = received.recv_timeout(Duration::from_millis(200)) {
        assert!(head.starts_with("POST /v1/traces HTTP/1.1\r\n"), "{head}");
        assert!(head.contains("x-team: payments\r\n") && head.contains("x-key: a b\r\n"), "{head}");
        PERSONAL.iter().for_each(|word| assert!(!body.to_string().contains(word), "{word}: {body}"));
        let scope = &body["resourceSpans"][0]["scopeSpans"][0];
        spans.extend(scope["spans"].as_array().expect("a list").clone());
    }
    assert!(spans.iter().all(|span| span["traceId"] == TRACE), "{spans:#?}");
    let named = |name: &str| -> Vec<&Value> { spans.iter().filter(|span| span["name"] == name).collect() };
    let ([payment], [call], [post, get]) = (&named("payment")[..], &named("gateway_call")[..], &named("request")[..])
    else {
        panic!("one payment, one call, two requests: {spans:#?}")
    };
    for below in [call, post, get] {
        assert_eq!(below["parentSpanId"], payment["spanId"]);
        assert_eq!(attribute(below, "payment")["stringValue"], ID);
    }
    assert_eq!(attribute(payment, "state")["stringValue"], "succeeded");
    assert_eq!(attribute(call, "outcome")["stringValue"], "succeeded");
    assert_eq!(attribute(call, "gateway")["stringValue"], "default");
    assert_eq!(attribute(post, "status")["intValue"], "201");
    assert_eq!(attribute(get, "route")["stringValue"], "/v1/payments/{id}");
    assert_eq!(post["links"][0]["traceId"], "4bf92f3577b34da6a3ce929d0e0e4736");
    let nanos = |span: &Value, end: &str| span[end].as_str().expect("a text").parse::<u128>().expect("a number");
    let times = [payment, call, post].map(|span| (nanos(span, "startTimeUnixNano"), nanos(span, "endTimeUnixNano")));
    assert!(times.iter().all(|(began, ended)| began <= ended && *began > 1_700_000_000_000_000_000), "{times:?}");
}

#[test]
fn a_collector_that_is_not_there_holds_up_nothing_and_is_told_once() {
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let data = Folder::new("traces-dropped");
    let (child, url) = serve(&data, &["--otlp", &format!("http://{nobody}")]);
    assert_eq!(pay(&url), 201);
    let logged = stop(child);
    assert_eq!(logged.matches("spans are dropped").count(), 1, "{logged}");
    let refused = Command::new(env!("CARGO_BIN_EXE_payonce")).args(["serve", "--otlp", "grpc"]).output().expect("runs");
    assert_eq!(refused.status.code(), Some(2));
}

#[test]
fn lines_of_json_name_the_payment_and_nothing_that_a_caller_wrote() {
    let data = Folder::new("traces-json");
    let (child, url) = serve(&data, &["--log", "payonce=debug", "--log-format", "json"]);
    assert_eq!(pay(&url), 201);
    let logged = stop(child);
    let lines: Vec<Value> = logged.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let settled = lines.iter().find(|line| line["fields"]["message"] == "settled").expect("told");
    assert_eq!((&settled["fields"]["payment"], &settled["fields"]["amount"]), (&ID.into(), &1050.into()));
    PERSONAL.iter().for_each(|word| assert!(!logged.contains(word), "{word}: {logged}"));
}
