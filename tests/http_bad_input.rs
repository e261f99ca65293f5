//! However bad a request is, the answer is a problem document with a stable code, at once, and the key is not spent.

#![cfg(feature = "server")]
#![allow(missing_docs, dead_code, clippy::expect_used, clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

mod http_support;

use std::time::Duration;

use http_support::{Case, KEY, PATH, Server, assert_problem, check, invalid, order, pay, post};

const ID: &str = "c4d27dc8-fc8b-8dba-b307-ab7b907f7933";

#[test]
fn keys_that_are_not_one_plain_string_are_refused() {
    let long = "k".repeat(256);
    let quoted_long = format!("\"{}\"", "k".repeat(256));
    let mut cases = Vec::new();
    for key in [
        "\"\"",
        "\"",
        "\"a",
        "a\"",
        "a\"b",
        "\"a\"b",
        "\"a\" \"b\"",
        "\"a\";p",
        "\"a\";p=1",
        "\"a\", \"b\"",
        "\"a\",\"b\"",
        "a,b",
        "a, b",
        ",",
        "a;b",
        "a;",
        ";",
        "a b",
        "\"a b\"",
        "\" a\"",
        "\"a\\b\"",
        "\"a\\\"",
        "\"\\\\",
        "a\tb",
        "\u{e9}",
        "\"\u{e9}\"",
        "\u{20ac}",
        long.as_str(),
        quoted_long.as_str(),
    ] {
        cases.push(invalid(post(PATH, &format!("Idempotency-Key: {key}\r\n"), &order("amount", "1"))));
    }
    let mut raw = post(PATH, "Idempotency-Key: \u{1}\r\n", &order("amount", "1"));
    cases.push(invalid(raw.clone()));
    let place = raw.iter().position(|byte| *byte == 1).expect("the key");
    for byte in [0, 0x7f, 0x80, 0xff] {
        raw[place] = byte;
        cases.push(invalid(raw.clone()));
    }
    for twice in ["Idempotency-Key: a\r\nIdempotency-Key: a\r\n", "idempotency-key: a\r\nIDEMPOTENCY-KEY: b\r\n"] {
        cases.push(invalid(post(PATH, twice, &order("amount", "1"))));
    }
    for missing in ["", "Idempotency-Key:\r\n", "Idempotency-Key:  \r\n", "X-Idempotency-Key: a\r\n"] {
        let request = post(PATH, missing, &order("amount", "1"));
        cases.push(Case { request, status: 400, code: "idempotency_key_required" });
    }
    check(&Server::start(), &cases);
}

#[test]
fn bodies_that_are_not_declared_to_be_json_are_refused() {
    let unsupported = |lines: &str| {
        let body = String::from_utf8(order("amount", "1050")).expect("ASCII");
        let request =
            format!("POST {PATH} HTTP/1.1\r\nHost: a\r\n{KEY}{lines}Content-Length: {}\r\n\r\n{body}", body.len());
        Case { request: request.into_bytes(), status: 415, code: "unsupported_media_type" }
    };
    let mut cases = vec![unsupported("")];
    for media_type in [
        "",
        "text/plain",
        "text/json",
        "application/jsonx",
        "application/xjson",
        "application/json5",
        "application/problem+json",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
        "json",
        "application/",
        "application json",
        "application/json, text/plain",
        "application/json text/plain",
        "*/*",
        "\u{e9}",
    ] {
        cases.push(unsupported(&format!("Content-Type: {media_type}\r\n")));
    }
    let json = "Content-Type: application/json\r\n";
    cases.push(unsupported(&format!("{json}{json}")));
    for encoding in ["gzip", "br", "deflate, gzip", ""] {
        cases.push(unsupported(&format!("{json}Content-Encoding: {encoding}\r\n")));
    }
    check(&Server::start(), &cases);
}

#[test]
fn what_is_too_large_is_refused_before_it_is_read() {
    let too_large = |request: Vec<u8>| Case { request, status: 413, code: "payload_too_large" };
    let head = format!("POST {PATH} HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n{KEY}");
    let mut cases = Vec::new();
    for length in ["65537", "1000000", "9223372036854775807"] {
        cases.push(too_large(format!("{head}Content-Length: {length}\r\n\r\n").into_bytes()));
    }
    for size in [65_537, 300_000, 3_000_000] {
        cases.push(too_large(pay(&vec![b' '; size])));
        let chunked = format!("{head}Transfer-Encoding: chunked\r\n\r\n{size:x}\r\n{}\r\n0\r\n\r\n", " ".repeat(size));
        cases.push(too_large(chunked.into_bytes()));
    }
    let many = format!("{head}Transfer-Encoding: chunked\r\n\r\n{}", "1\r\n{\r\n".repeat(70_000));
    cases.push(too_large(many.into_bytes()));
    for size in [9_000, 60_000, 70_000] {
        let target = format!("GET {PATH}/{} HTTP/1.1\r\nHost: a\r\n\r\n", "a".repeat(size));
        cases.push(Case { request: target.into_bytes(), status: 414, code: "invalid_request" });
        let target = format!("GET {PATH}?after={} HTTP/1.1\r\nHost: a\r\n\r\n", "a".repeat(size));
        cases.push(Case { request: target.into_bytes(), status: 414, code: "invalid_request" });
    }
    for size in [33_000, 100_000, 200_000, 2_000_000] {
        let request = format!("GET /healthz HTTP/1.1\r\nHost: a\r\nX: {}\r\n\r\n", "x".repeat(size));
        cases.push(Case { request: request.into_bytes(), status: 431, code: "invalid_request" });
    }
    for count in [101, 2_000] {
        let request = format!("GET /healthz HTTP/1.1\r\nHost: a\r\n{}\r\n", "X: x\r\n".repeat(count));
        cases.push(Case { request: request.into_bytes(), status: 431, code: "invalid_request" });
    }
    check(&Server::start(), &cases);
}

#[test]
fn the_largest_legal_body_is_accepted() {
    let mut body = order("amount", "1050");
    body.resize(64 * 1024, b' ');
    assert_eq!(Server::start().exchange(&pay(&body)).status, 201);
}

#[test]
fn what_is_not_http_is_refused() {
    let mut cases = Vec::new();
    for request in [
        "GARBAGE\r\n\r\n",
        "GET\r\n\r\n",
        "GET /\r\n\r\n",
        "GET / HTTP/9.9\r\n\r\n",
        "GET / HTTP\r\n\r\n",
        "GET / HTTP/1.1 x\r\nHost: a\r\n\r\n",
        "G\u{e9}T / HTTP/1.1\r\nHost: a\r\n\r\n",
        "{\"amount\":1050}\r\n\r\n",
        "GET /a b HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET /\u{1} HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET / HTTP/1.1\r\nHost a\r\n\r\n",
        "GET / HTTP/1.1\r\nHost : a\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\n: x\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nX: a\0b\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nX: a\r\n folded\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nX\u{e9}: a\r\n\r\n",
        "GET /healthz HTTP/1.1\r\n\r\n",
        "GET /healthz HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
        "GET /healthz HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n",
        "GET http:// HTTP/1.1\r\nHost: a\r\n\r\n",
        "\u{16}\u{3}\u{1}\u{2}\0\u{1}\0\u{1}",
        "\0\0\0\0\r\n\r\n",
        "SSH-2.0-OpenSSH_9.9\r\n",
    ] {
        cases.push(invalid(request.as_bytes().to_vec()));
    }
    let head = format!("POST {PATH} HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n{KEY}");
    for framing in [
        "Content-Length: -1\r\n\r\n",
        "Content-Length: abc\r\n\r\n",
        "Content-Length: 1.5\r\n\r\n",
        "Content-Length: +5\r\n\r\n12345",
        "Content-Length: 99999999999999999999999\r\n\r\n",
        "Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}x",
        "Content-Length: 2, 3\r\n\r\n{}x",
        "Content-Length:\r\n\r\n",
        "Transfer-Encoding: gzip\r\n\r\n",
        "Transfer-Encoding: chunked, gzip\r\n\r\n",
        "Transfer-Encoding: chunked\r\n\r\nxyz\r\n{}\r\n0\r\n\r\n",
        "Transfer-Encoding: chunked\r\n\r\n-2\r\n{}\r\n0\r\n\r\n",
        "Transfer-Encoding: chunked\r\n\r\n2\r\n{}x\r\n0\r\n\r\n",
        "Transfer-Encoding: chunked\r\n\r\nffffffffffffffffff\r\n{}\r\n0\r\n\r\n",
        "Transfer-Encoding: chunked\r\n\r\n2\n{}\r\n0\r\n\r\n",
        "\r\n",
    ] {
        cases.push(invalid(format!("{head}{framing}").into_bytes()));
    }
    check(&Server::start(), &cases);
}

#[test]
fn a_body_that_ends_early_is_refused() {
    let server = Server::start();
    let head = format!("POST {PATH} HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n{KEY}");
    for rest in [
        "Content-Length: 100\r\n\r\n{\"amount\":1050",
        "Content-Length: 100\r\n\r\n",
        "Transfer-Encoding: chunked\r\n\r\n5\r\n{\"am",
        "Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n",
    ] {
        let reaction = server.exchange_and_end(format!("{head}{rest}").as_bytes());
        assert_problem(&reaction, 400, "invalid_request", rest);
    }
}

#[test]
fn a_body_that_never_comes_is_not_waited_for_beyond_patience() {
    let server = Server::with_patience(Duration::from_millis(50), true);
    let head = format!("POST {PATH} HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n{KEY}");
    for rest in ["Content-Length: 100\r\n\r\n{", "Transfer-Encoding: chunked\r\n\r\n5\r\n{"] {
        let reaction = server.exchange(format!("{head}{rest}").as_bytes());
        assert_problem(&reaction, 408, "invalid_request", rest);
    }
}

#[test]
fn paths_and_methods_that_lead_nowhere_are_refused() {
    let request = |line: &str| format!("{line} HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n").into_bytes();
    let mut cases = Vec::new();
    for target in [
        "/v1",
        "/v1/",
        "/v1/payments/",
        "//v1/payments",
        "/v1//payments",
        "/V1/payments",
        "/v2/payments",
        "/payments",
        "/v1/payments/../payments",
        "/v1/payments%2f",
        "/%ff",
        "/%",
        "/favicon.ico",
        "/.env",
        "*",
    ] {
        cases.push(Case { request: request(&format!("GET {target}")), status: 404, code: "not_found" });
    }
    for id in [
        "x",
        "%ff",
        "%00",
        "%",
        "1",
        "null",
        "c4d27dc8fc8b8dbab307ab7b907f7933",
        "C4D27DC8-FC8B-8DBA-B307-AB7B907F7933",
        "c4d27dc8-fc8b-8dba-b307-ab7b907f793",
        "{c4d27dc8-fc8b-8dba-b307-ab7b907f7933}",
        "00000000-0000-0000-0000-000000000000",
        ID,
        "c4d27dc8-fc8b-8dba-b307-ab7b907f7933%20",
        "%2e%2e",
        "a%2fb",
    ] {
        let target = format!("GET {PATH}/{id}");
        cases.push(Case { request: request(&target), status: 404, code: "not_found" });
    }
    cases.push(Case { request: request(&format!("GET {PATH}/{ID}/x")), status: 404, code: "not_found" });
    cases.push(Case { request: request(&format!("POST {PATH}/{ID}/inquire")), status: 404, code: "not_found" });
    for line in [
        "PUT /v1/payments",
        "DELETE /v1/payments",
        "PATCH /v1/payments",
        "OPTIONS /v1/payments",
        "TRACE /v1/payments",
        "FOO /v1/payments",
        "get /v1/payments",
        "POST /healthz",
        "POST /readyz",
        "DELETE /",
        "POST /v1/events",
        "GET /v1/payments/x/inquire",
        "GET /v1/payments/x/resolve",
        "PUT /v1/payments/x",
        "DELETE /v1/payments/x",
    ] {
        cases.push(Case { request: request(line), status: 405, code: "method_not_allowed" });
    }
    let server = Server::start();
    check(&server, &cases);
    for (line, allow) in [("PUT /v1/payments", "GET,HEAD,POST"), ("GET /v1/payments/x/inquire", "POST")] {
        let reaction = server.exchange(&request(line));
        let mut methods: Vec<_> = reaction.header("allow").expect("an Allow header").split(',').collect();
        methods.sort_unstable();
        assert_eq!(methods.join(","), allow);
    }
}

#[test]
fn bad_queries_and_event_ids_are_refused() {
    let mut cases = Vec::new();
    let long = format!("idempotency_key={}", "k".repeat(256));
    for query in [
        "state=",
        "state=Succeeded",
        "state=unknown",
        "state=in_doubt,parked",
        "state=in_doubt&state=parked",
        "state",
        "limit=",
        "limit=0",
        "limit=-1",
        "limit=501",
        "limit=1.5",
        "limit=abc",
        "limit=%2B1",
        "limit=+1",
        "limit=1&limit=1",
        "limit=99999999999999999999",
        "after=",
        "after=x",
        "after=0",
        "after=null",
        "idempotency_key=",
        "idempotency_key=a+b",
        "idempotency_key=%C3%A9",
        "idempotency_key=%00",
        "other=1",
        "page=2",
        "=",
        "%",
        "state=%",
        "state=%f",
        "state=%zz",
        "state=%ff",
        "%ff=1",
        "a&b",
        "limit=1;state=parked",
        long.as_str(),
    ] {
        cases.push(invalid(format!("GET {PATH}?{query} HTTP/1.1\r\nHost: a\r\n\r\n").into_bytes()));
    }
    for id in ["x", "-1", "1.5", "18446744073709551616", "1, 2", "\u{e9}", "1\r\nLast-Event-ID: 2"] {
        let request = format!("GET /v1/events HTTP/1.1\r\nHost: a\r\nLast-Event-ID: {id}\r\n\r\n");
        cases.push(invalid(request.into_bytes()));
    }
    check(&Server::start(), &cases);
}

#[test]
fn bad_resolutions_are_refused() {
    let server = Server::start();
    let id = server.post(PATH, "doubtful", "Prefer: wait=0\r\n", &doubtful()).json()["id"]
        .as_str()
        .expect("an id")
        .to_owned();
    let resolve = format!("{PATH}/{id}/resolve");
    let long = format!(r#"{{"actor":"{}","reason":"r","as":"resend"}}"#, "a".repeat(256));
    let mut cases = Vec::new();
    for body in [
        "",
        "{}",
        "[]",
        r#"{"actor":"a","reason":"r"}"#,
        r#"{"actor":"a","as":"succeeded"}"#,
        r#"{"reason":"r","as":"succeeded"}"#,
        r#"{"actor":"","reason":"r","as":"succeeded"}"#,
        r#"{"actor":" ","reason":"r","as":"succeeded"}"#,
        r#"{"actor":"a","reason":"","as":"succeeded"}"#,
        r#"{"actor":"a\nb","reason":"r","as":"succeeded"}"#,
        r#"{"actor":1,"reason":"r","as":"succeeded"}"#,
        r#"{"actor":"a","reason":null,"as":"succeeded"}"#,
        r#"{"actor":"a","reason":"r","as":"cancel"}"#,
        r#"{"actor":"a","reason":"r","as":"Succeeded"}"#,
        r#"{"actor":"a","reason":"r","as":null}"#,
        r#"{"actor":"a","reason":"r","as":"succeeded","operation":-1}"#,
        r#"{"actor":"a","reason":"r","as":"succeeded","operation":"0"}"#,
        r#"{"actor":"a","reason":"r","as":"succeeded","operation":4294967296}"#,
        r#"{"actor":"a","reason":"r","as":"succeeded","operation":null}"#,
        r#"{"actor":"a","reason":"r","as":"succeeded","gateway_reference":""}"#,
        r#"{"actor":"a","reason":"r","as":"succeeded","gateway_reference":null}"#,
        r#"{"actor":"a","reason":"r","as":"succeeded","gateway_reference":"a\u0007"}"#,
        r#"{"actor":"a","reason":"r","as":"succeeded","note":"x"}"#,
        r#"{"actor":"a","actor":"a","reason":"r","as":"succeeded"}"#,
        long.as_str(),
    ] {
        cases.push(invalid(post(&resolve, "", body.as_bytes())));
    }
    for body in ["[]", "{\"a\":1}", "x", "null"] {
        cases.push(invalid(post(&format!("{PATH}/{id}/inquire"), "", body.as_bytes())));
    }
    check(&server, &cases);
}

fn doubtful() -> String {
    String::from_utf8(order("source", "\"acct_doubt\"")).expect("ASCII")
}

#[test]
fn no_change_of_one_byte_brings_about_a_server_error_a_hang_or_a_bare_refusal() {
    let server = Server::with_patience(Duration::from_millis(50), true);
    let whole = pay(&order("metadata", "{\"a\":\"b\"}"));
    let head_ends = |request: &[u8]| request.windows(4).any(|bytes| bytes == b"\r\n\r\n");
    for place in 0..whole.len() {
        for byte in [0, b' ', b'\n', b'"', b'9', 0xff] {
            let mut request = whole.clone();
            request[place] = byte;
            // A head that never ends is waited for, as it should be.
            if !head_ends(&request) {
                continue;
            }
            let reaction = server.exchange(&request);
            let told = format!("byte {place} is {byte}: {reaction:?}");
            assert!(reaction.status < 500, "{told}");
            if reaction.status >= 400 {
                assert_problem(&reaction, reaction.status, &reaction.code(), &told);
            }
        }
    }
}
