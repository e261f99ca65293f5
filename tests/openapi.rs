//! The document says what the server does: every route is in it and the reverse, and real answers are as it says.

#![cfg(feature = "server")]
#![allow(missing_docs, dead_code, clippy::expect_used, clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]
#![allow(clippy::as_conversions, reason = "lengths are small")]

mod http_support;
mod schema;

use std::{collections::BTreeSet, io::Write, time::Duration};

use http_support::{KEY, PATH, Reaction, Server, post};
use serde_json::Value;

const ORDER: &str = r#"{"amount":1050,"currency":"USD","source":"acct_alice","destination":"acct_bob"}"#;
/// The headers that mean something to callers.
const HEADERS: [&str; 4] = ["Location", "Retry-After", "Preference-Applied", "Idempotent-Replayed"];

/// Sends a request, and reads the answer.
type Exchange = Box<dyn Fn(&[u8]) -> Reaction>;

/// A server and its document.
struct Reader {
    exchange: Exchange,
    document: Value,
}

impl Reader {
    fn start() -> Reader {
        Reader::of(Server::start())
    }

    fn of(server: Server) -> Reader {
        Reader::over(move |request| server.exchange(request))
    }

    fn over(exchange: impl Fn(&[u8]) -> Reaction + 'static) -> Reader {
        let document = exchange(b"GET /openapi.json HTTP/1.1\r\nHost: a\r\n\r\n").json();
        Reader { exchange: Box::new(exchange), document }
    }

    /// Asks, and holds the answer against what the document says of this method and path.
    fn ask(&self, path: &str, request: &[u8], status: u16) -> Reaction {
        let reaction = (self.exchange)(request);
        self.hold(path, request, status, &reaction);
        reaction
    }

    fn hold(&self, path: &str, request: &[u8], status: u16, reaction: &Reaction) {
        let method = String::from_utf8_lossy(request).split(' ').next().unwrap().to_lowercase();
        let at = format!("{method} {path} {status}");
        assert_eq!(reaction.status, status, "{at}: {reaction:?}");
        let answer = &self.document["paths"][path][&method]["responses"][status.to_string()];
        assert!(answer.is_object(), "{at} is not described: {reaction:?}");
        for name in HEADERS {
            let (told, described) = (reaction.header(name), &answer["headers"][name]);
            assert!(told.is_none() || described.is_object(), "{at}: {name} is not described");
            assert!(told.is_some() || described["required"] != true, "{at}: {name} is missing");
        }
        let kind = reaction.header("content-type").map(|kind| kind.split(';').next().unwrap());
        match kind {
            None => assert!(answer.get("content").is_none(), "{at}: no content"),
            Some(kind) => {
                let content = &answer["content"][kind];
                assert!(content.is_object(), "{at}: {kind} is not described");
                if kind.ends_with("json") {
                    schema::check(&self.document, &content["schema"], &reaction.json(), &at);
                }
            }
        }
    }

    fn get(&self, path: &str, target: &str, status: u16) -> Reaction {
        self.ask(path, format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n").as_bytes(), status)
    }

    /// A POST with an Idempotency-Key.
    fn post(&self, path: &str, target: &str, key: &str, body: &str, status: u16) -> Reaction {
        self.ask(path, &post(target, &format!("Idempotency-Key: {key}\r\nPrefer: wait=1\r\n"), body.as_bytes()), status)
    }

    /// A payment whose gateway does what `source` says.
    fn pay(&self, source: &str, more: &str, status: u16) -> String {
        let order = format!(r#"{{"amount":1050,"currency":"USD","source":"{source}","destination":"b"{more}}}"#);
        let paid = self.post(PATH, PATH, &format!("order-{source}"), &order, status);
        paid.json()["id"].as_str().unwrap().to_owned()
    }

    fn routes(&self) -> BTreeSet<(String, String)> {
        let paths = self.document["paths"].as_object().unwrap().iter();
        let methods = paths.flat_map(|(path, methods)| methods.as_object().unwrap().keys().map(move |m| (path, m)));
        methods.map(|(path, method)| (path.clone(), method.clone())).collect()
    }
}

#[test]
fn every_route_is_in_the_document_and_the_reverse() {
    let source = include_str!("../src/http/routes.rs");
    let mut routed = BTreeSet::new();
    for line in source.lines().filter_map(|line| line.trim().strip_prefix(".route(\"")) {
        let (path, handlers) = line.split_once('"').unwrap();
        for method in ["get", "post", "put", "delete", "patch"].iter().filter(|m| handlers.contains(&format!("{m}("))) {
            routed.insert((path.to_owned(), (*method).to_owned()));
        }
    }
    let reader = Reader::start();
    assert_eq!(routed, reader.routes());
    // And the server itself says so of each path.
    for path in reader.document["paths"].as_object().unwrap().keys() {
        let told =
            (reader.exchange)(format!("BREW {path} HTTP/1.1\r\nHost: a\r\n\r\n").replace(['{', '}'], "").as_bytes());
        assert_eq!(told.status, 405, "{path}: {told:?}");
        let allowed: BTreeSet<_> = told.header("allow").unwrap().to_lowercase().split(',').map(str::to_owned).collect();
        let described = reader.routes().into_iter().filter(|(of, _)| of == path).map(|(_, method)| method);
        let head = allowed.contains("get").then(|| "head".to_owned());
        assert_eq!(allowed, described.chain(head).collect(), "{path}");
    }
}

#[test]
fn what_payments_and_people_are_answered_is_as_the_document_says() {
    let reader = Reader::start();
    let sources = ["acct_alice", "acct_terse", "acct_poor", "acct_refused"];
    let settled: Vec<String> = sources.iter().map(|source| reader.pay(source, "", 201)).collect();
    let unsettled = ["acct_slow", "acct_3ds", "acct_doubt"].map(|source| reader.pay(source, "", 202));
    let held = reader.pay("acct_held", r#","capture":"manual","description":"tea","metadata":{"table":"7"}"#, 201);
    let loose = reader.pay("acct_loose", r#","capture":"manual""#, 201);
    assert_eq!(reader.post(PATH, PATH, "order-1", ORDER, 201).header("idempotent-replayed"), None);
    assert_eq!(reader.post(PATH, PATH, "order-1", ORDER, 201).header("idempotent-replayed"), Some("true"));
    for id in settled.iter().chain(&unsettled).chain([&held, &loose]) {
        reader.get("/v1/payments/{id}", &format!("{PATH}/{id}"), 200);
        reader.get("/v1/payments/{id}/outlook", &format!("{PATH}/{id}/outlook"), 200);
    }
    reader.get(PATH, "/v1/payments?limit=3", 200);
    reader.get(PATH, "/v1/payments?state=in_doubt&attention=true", 200);
    let part = |operation: &str, id: &str, body: &str, status| {
        let path = format!("/v1/payments/{{id}}/{operation}");
        reader.post(&path, &format!("{PATH}/{id}/{operation}"), &format!("{operation}-{}", body.len()), body, status)
    };
    part("capture", &held, r#"{"amount":1000}"#, 201);
    part("capture", &held, r#"{"amount":1000000}"#, 409);
    part("refunds", &settled[0], r#"{"amount":5}"#, 201);
    part("refunds", &settled[0], "", 201);
    part("refunds", &settled[2], "", 409);
    part("void", &loose, "{}", 201);
    part("void", &settled[0], r#"{"amount":1}"#, 400);
    let doubt = &unsettled[2];
    let ask = |what: &str, id: &str, body: &str, status| {
        let target = format!("{PATH}/{id}/{what}");
        reader.ask(&format!("/v1/payments/{{id}}/{what}"), &post(&target, "", body.as_bytes()), status)
    };
    ask("inquire", doubt, "", 200);
    ask("inquire", doubt, r#"{"actor":"carol","reason":"the customer called"}"#, 200);
    ask("inquire", doubt, r#"{"actor":""}"#, 400);
    ask("resolve", doubt, r#"{"actor":"carol","reason":"seen","as":"succeeded","gateway_reference":"gw_9"}"#, 200);
    ask("resolve", doubt, r#"{"actor":"carol","reason":"seen","as":"declined"}"#, 409);
    ask("resolve", doubt, r#"{"actor":"","reason":"seen","as":"declined"}"#, 400);
    reader.get("/v1/payments/{id}", &format!("{PATH}/{doubt}"), 200);
}

#[test]
fn what_everybody_else_is_answered_is_as_the_document_says() {
    let reader = Reader::start();
    reader.pay("acct_alice", "", 201);
    reader.pay("acct_doubt", "", 202);
    let pages =
        ["/v1/key", "/v1/stats", "/v1/webhooks/out", "/metrics", "/healthz", "/readyz", "/openapi.json", "/docs", "/"];
    for path in pages {
        reader.get(path, path, 200);
    }
    for file in ["board.css", "board.js", "docs.css", "docs.js", "icon.svg"] {
        reader.get("/assets/{file}", &format!("/assets/{file}"), 200);
    }
    reader.get("/assets/{file}", "/assets/other", 404);
    let webhook = |name: &str, status| {
        let request = post(&format!("/v1/webhooks/{name}"), "", b"{}");
        reader.ask("/v1/webhooks/{gateway}", &request, status)
    };
    webhook("nobody", 404);
    webhook("default", 404);
    for (what, body) in [("replay", "{}"), ("discard", r#"{"id":"a"}"#)] {
        let path = format!("/v1/webhooks/out/{{endpoint}}/{what}");
        reader.ask(&path, &post(&format!("/v1/webhooks/out/nobody/{what}"), "", body.as_bytes()), 404);
    }
}

#[test]
fn what_operators_are_answered_is_as_the_document_says() {
    let reader = Reader::start();
    let (paid, person) = (reader.pay("acct_alice", "", 201), r#"{"actor":"carol","reason":"the gateway asked us to"}"#);
    let act = |path: &str, name: &str, body: &str, status| {
        reader.ask(path, &post(&path.replace("{gateway}", name), "", body.as_bytes()), status)
    };
    let (pause, resume) = ("/v1/gateways/{gateway}/pause", "/v1/gateways/{gateway}/resume");
    assert_eq!(act(pause, "default", person, 200).json()["paused"], true);
    for (name, body, status) in [("default", "{}", 400), ("nobody", person, 404), ("default", "", 400)] {
        act(pause, name, body, status);
        act(resume, name, body, status);
    }
    reader.post(PATH, PATH, "order-2", ORDER, 503);
    reader.get("/v1/stats", "/v1/stats", 200);
    act(resume, "default", person, 200);
    act("/v1/drain", "", person, 200);
    act("/v1/drain", "", r#"{"actor":"carol"}"#, 400);
    reader.post(PATH, PATH, "order-2", ORDER, 503);
    let refund = format!("{PATH}/{paid}/refunds");
    reader.post("/v1/payments/{id}/refunds", &refund, "back-1", "", 503);
    reader.get("/readyz", "/readyz", 503);
    reader.ask("/v1/drain", b"DELETE /v1/drain HTTP/1.1\r\nHost: a\r\n\r\n", 200);
    reader.post(PATH, PATH, "order-2", ORDER, 201);
    let told = reader.get("/v1/audit", "/v1/audit?limit=3", 200).json();
    assert_eq!(told["deeds"].as_array().unwrap().len(), 3);
    reader.get("/v1/audit", &format!("/v1/audit?before={}", told["next"]), 200);
    for query in ["limit=0", "limit=501", "before=x", "before=-1", "before=99999999999999999999", "other=1"] {
        reader.get("/v1/audit", &format!("/v1/audit?{query}"), 400);
    }
}

#[test]
fn each_event_of_the_feed_is_as_the_document_says() {
    let server = Server::start();
    let mut stream = server.connect();
    let reader = Reader::of(server);
    reader.pay("acct_alice", "", 201);
    let path = "/v1/events";
    let request = b"GET /v1/events HTTP/1.1\r\nHost: a\r\nLast-Event-ID: 0\r\n\r\n";
    stream.write_all(request).unwrap();
    reader.hold(path, request, 200, &Reaction::read(&mut stream));
    let mut lines = std::io::BufRead::lines(std::io::BufReader::new(stream)).map(|line| line.unwrap());
    let event =
        &reader.document["paths"][path]["get"]["responses"]["200"]["content"]["text/event-stream"]["x-event-data"];
    for _ in 0..3 {
        let data = lines.find_map(|line| line.strip_prefix("data: ").map(str::to_owned)).unwrap();
        schema::check(&reader.document, event, &serde_json::from_str(&data).unwrap(), "an event");
    }
    reader.ask(path, b"GET /v1/events HTTP/1.1\r\nHost: a\r\nLast-Event-ID: x\r\n\r\n", 400);
}

#[test]
fn what_is_refused_is_refused_as_the_document_says() {
    let reader = Reader::of(Server::with_patience(Duration::from_millis(50), true));
    reader.post(PATH, PATH, "order-1", ORDER, 201);
    reader.post(PATH, PATH, "order-1", &ORDER.replace("1050", "7"), 422);
    reader.post(PATH, PATH, "order-2", "{}", 400);
    reader.ask(PATH, &post(PATH, "", ORDER.as_bytes()), 400);
    reader.ask(PATH, &post(PATH, KEY, &[b' '; 70_000]), 413);
    reader.ask(PATH, format!("POST {PATH} HTTP/1.1\r\nHost: a\r\n{KEY}Content-Length: 2\r\n\r\n{{}}").as_bytes(), 415);
    reader.ask(PATH, &post(PATH, &format!("{KEY}Content-Encoding: gzip\r\n"), b"{}"), 415);
    let late = format!(
        "POST {PATH} HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n{KEY}Content-Length: 9\r\n\r\n{{"
    );
    reader.ask(PATH, late.as_bytes(), 408);
    reader.get(PATH, "/v1/payments?limit=0", 400);
    reader.get(PATH, &format!("/v1/payments?after={}", "a".repeat(9_000)), 414);
    let jar = "c".repeat(33_000);
    reader.ask(PATH, format!("GET {PATH} HTTP/1.1\r\nHost: a\r\nCookie: {jar}\r\n\r\n").as_bytes(), 431);
    for (path, method) in reader.routes().into_iter().filter(|(path, _)| path.starts_with("/v1/payments/{id}")) {
        let target = path.replace("{id}", "1e5d27dc-fc8b-8dba-b307-ab7b907f7933");
        match method.as_str() {
            "get" => reader.get(&path, &target, 404),
            _ => {
                let resolution = r#"{"actor":"carol","reason":"seen","as":"declined"}"#;
                reader.post(&path, &target, "k", if path.ends_with("resolve") { resolution } else { "" }, 404)
            }
        };
    }
}

#[test]
fn before_it_is_ready_every_route_of_the_engine_answers_as_the_document_says() {
    let reader = Reader::of(Server::with_patience(Duration::from_secs(20), false));
    for (path, method) in reader.routes() {
        let one = &reader.document["paths"][&path][&method];
        if one["responses"].get("503").is_none() {
            continue;
        }
        let target = path.replace("{id}", "1e5d27dc-fc8b-8dba-b307-ab7b907f7933").replace(['{', '}'], "");
        let schema = one.pointer("/requestBody/content/application~1json/schema/$ref").and_then(Value::as_str);
        let body = match schema.and_then(|name| name.rsplit('/').next()) {
            Some("Order") => ORDER,
            Some("Resolution") => r#"{"actor":"carol","reason":"seen","as":"declined"}"#,
            Some("OneEventId") => r#"{"id":"a"}"#,
            Some("Person") => r#"{"actor":"carol","reason":"seen"}"#,
            Some("Part" | "Nothing" | "EventId" | "PersonIfAny") | None => "{}",
            Some(other) => panic!("{other}"),
        };
        match method.as_str() {
            "get" => reader.get(&path, &target, 503),
            "delete" => reader.ask(&path, format!("DELETE {target} HTTP/1.1\r\nHost: a\r\n\r\n").as_bytes(), 503),
            _ => reader.post(&path, &target, "k", body, 503),
        };
    }
}

#[test]
fn the_page_asks_nothing_of_anybody_else_and_puts_no_words_into_markup() {
    let server = Server::start();
    let page = server.get("/docs");
    let policy = page.header("content-security-policy").expect("a policy");
    assert!(policy.starts_with("default-src 'none'; ") && !policy.contains("unsafe"), "{policy}");
    let named = page.body.split("=\"/assets/").skip(1).filter_map(|rest| rest.split('"').next());
    let named: Vec<&str> = named.collect();
    assert_eq!(named.len(), 4, "{named:?}");
    for file in named {
        let file = server.get(&format!("/assets/{file}"));
        assert_eq!((file.status, file.header("content-security-policy")), (200, Some(policy)));
        assert!(!file.body.contains("https://"), "nothing from elsewhere");
    }
    let script = server.get("/assets/docs.js").body;
    for word in ["innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "Function("] {
        assert!(!script.contains(word), "{word}");
    }
}

/// What a refusal's `type` points to is in the page: each code that a server can say has its place there.
#[test]
fn every_code_is_in_the_document() {
    let source = include_str!("../src/http/problems.rs");
    let words = source.split("const fn words").nth(1).unwrap().split("impl Problem").next().unwrap();
    let codes: BTreeSet<&str> = words.split("(\"").skip(1).filter_map(|rest| rest.split('"').next()).collect();
    let document = Reader::start().document.to_string();
    let missing: Vec<_> = codes.iter().filter(|code| !document.contains(&format!("`{code}`"))).collect();
    // No route of the document has another method's refusal.
    assert_eq!(missing, [&"method_not_allowed"]);
}

#[cfg(feature = "cli")]
mod program {
    use std::{
        fs,
        io::{BufRead, BufReader, Read},
        net::{TcpListener, TcpStream},
        process::{Child, Command, Stdio},
        sync::mpsc::{Receiver, channel},
    };

    use super::*;

    const CONFIG: &str = "[[gateways]]\nname = 'here'\ngateway = 'sandbox'\n\
        [[gateways]]\nname = 'far'\ngateway = 'http://127.0.0.1:9'\nwebhook_secret_env = 'FAR_SECRET'\n\
        [[webhooks]]\nname = 'shop'\nurl = 'http://RECEIVER/'\nsecret_env = 'SHOP_SECRET'\n";
    const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

    /// A process that does not outlive its test, however that ends.
    struct Killed(Child);

    impl Drop for Killed {
        fn drop(&mut self) {
            let _ = self.0.kill();
            let _ = self.0.wait();
        }
    }

    #[test]
    fn what_receivers_and_gateways_are_answered_is_as_the_document_says() {
        let data = http_support::Folder::new("openapi");
        let config = data.join("payonce.toml");
        let (address, came) = receiver();
        fs::write(&config, CONFIG.replace("RECEIVER", &address)).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_payonce"));
        command.args(["serve", "--json", "--listen", "127.0.0.1:0", "--config"]).arg(&config).arg("--data").arg(&*data);
        command.env("FAR_SECRET", SECRET).env("SHOP_SECRET", SECRET).stdout(Stdio::piped());
        let mut daemon = Killed(command.spawn().expect("starts"));
        let mut line = String::new();
        BufReader::new(daemon.0.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let introduction: Value = serde_json::from_str(&line).expect("JSON");
        let address = introduction["url"].as_str().unwrap().trim_start_matches("http://").to_owned();
        let reader = Reader::over(move |request| {
            let mut stream = TcpStream::connect(&address).expect("it listens");
            stream.write_all(request).expect("sent");
            Reaction::read(&mut stream)
        });
        ask(&reader);
        let letter = &reader.document["webhooks"]["event"]["post"]["requestBody"]["content"]["application/json"];
        for _ in 0..3 {
            let body = came.recv_timeout(Duration::from_secs(20)).expect("a letter");
            schema::check(&reader.document, &letter["schema"], &serde_json::from_slice(&body).unwrap(), "a letter");
        }
    }

    /// Where somebody listens who wants nothing: what is sent there is dead at once. And the bodies that came.
    fn receiver() -> (String, Receiver<Vec<u8>>) {
        let (sender, came) = channel();
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("bound").to_string();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let mut reader = BufReader::new(&stream);
                let head: Vec<String> =
                    reader.by_ref().lines().map_while(Result::ok).take_while(|line| !line.is_empty()).collect();
                let length =
                    head.iter().find_map(|line| line.to_lowercase().strip_prefix("content-length: ")?.parse().ok());
                let mut body = vec![0; length.unwrap_or(0)];
                let _ = reader.read_exact(&mut body);
                let _ = sender.send(body);
                let _ = (&stream).write_all(b"HTTP/1.1 410 Gone\r\nConnection: close\r\nContent-Length: 0\r\n\r\n");
            }
        });
        (address, came)
    }

    fn ask(reader: &Reader) {
        reader.pay("acct_alice", "", 201);
        let (list, replay, discard) =
            ("/v1/webhooks/out", "/v1/webhooks/out/{endpoint}/replay", "/v1/webhooks/out/{endpoint}/discard");
        let hang = std::time::Instant::now() + Duration::from_secs(20);
        let dead = loop {
            let told = reader.get(list, list, 200).json();
            if let Some(id) = told["endpoints"][0]["dead"][0]["id"].as_str() {
                break id.to_owned();
            }
            assert!(std::time::Instant::now() < hang, "{told}");
            std::thread::sleep(Duration::from_millis(20));
        };
        let shop = |path: &str, body: &str, status| {
            let target = path.replace("{endpoint}", "shop");
            reader.ask(path, &post(&target, "", body.as_bytes()), status);
        };
        shop(discard, &format!(r#"{{"id":"{dead}"}}"#), 200);
        shop(replay, "{}", 200);
        shop(replay, r#"{"id":"nothing"}"#, 404);
        shop(discard, "{}", 400);
        reader.get(list, list, 200);
        let news = "/v1/webhooks/{gateway}";
        reader.ask(news, &post("/v1/webhooks/far", "", b"{}"), 401);
        reader.ask(news, &post("/v1/webhooks/here", "", b"{}"), 404);
    }
}
