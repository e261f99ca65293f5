//! What callers are told, byte for byte.

#![cfg(feature = "server")]
#![allow(missing_docs, dead_code, clippy::expect_used, clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

mod http_support;

use std::{
    io::{Read, Write},
    time::Duration,
};

use http_support::{Reaction, Server, post};

const PATH: &str = "/v1/payments";
const MANUAL: &str = r#"{"amount":1050,"currency":"USD","source":"acct_alice","destination":"acct_bob","capture":"manual","description":"two \"coffees\" \u00e9","metadata":{"table":"7","a":"\u00e9"},"expires_at":"2126-01-01T00:00:00Z"}"#;

fn order(source: &str) -> String {
    format!(r#"{{"amount":1050,"currency":"USD","source":"{source}","destination":"acct_bob"}}"#)
}

/// A body in which every time that the server chose reads `<time>`. The times themselves must have the one form.
fn timeless(reaction: &Reaction) -> String {
    let mut text = reaction.body.clone();
    let value = reaction.json();
    let moments = value["timeline"].as_array().into_iter().flatten().map(|moment| &moment["at"]);
    for time in [&value["created_at"], &value["settled_at"], &value["updated_at"]].into_iter().chain(moments) {
        let Some(time) = time.as_str() else { continue };
        assert_eq!(
            (time.len(), &time[4..5], &time[10..11], &time[19..20], &time[23..]),
            (24, "-", "T", ".", "Z"),
            "{time}"
        );
        text = text.replace(time, "<time>");
    }
    text
}

#[test]
fn no_cache_keeps_what_is_said_of_payments_and_no_browser_takes_it_for_something_else() {
    let server = Server::start();
    let answers = [server.post(PATH, "order-1", "", &order("acct_alice")), server.get(PATH), server.get("/v1/nowhere")];
    for answer in answers {
        let told = (answer.header("cache-control"), answer.header("x-content-type-options"));
        assert_eq!(told, (Some("no-store"), Some("nosniff")), "{answer:?}");
    }
    assert_eq!(server.get("/").header("cache-control"), Some("no-cache"), "a page may be asked for again");
}

#[test]
fn a_settled_payment_is_answered_in_the_frozen_form() {
    let server = Server::start();
    let fresh = server.post(PATH, "\"order-1234\"", "", &order("acct_alice"));
    assert_eq!(fresh.status, 201);
    assert_eq!(fresh.header("content-type"), Some("application/json"));
    assert_eq!(fresh.header("location"), Some("/v1/payments/c4d27dc8-fc8b-8dba-b307-ab7b907f7933"));
    for absent in ["idempotent-replayed", "retry-after", "preference-applied"] {
        assert_eq!(fresh.header(absent), None, "{absent}");
    }
    assert_eq!(
        timeless(&fresh),
        "{\"id\":\"c4d27dc8-fc8b-8dba-b307-ab7b907f7933\",\"state\":\"succeeded\",\"amount\":1050,\"currency\":\"USD\",\
         \"source\":\"acct_alice\",\"destination\":\"acct_bob\",\"capture\":\"automatic\",\"description\":null,\
         \"metadata\":{},\"outcome\":{\"code\":\"approved\",\"message\":\"thank you\"},\"next_action\":null,\
         \"gateway_reference\":\"gw_1\",\"created_at\":\"<time>\",\"settled_at\":\"<time>\"}"
    );
    let authorized = server.post(PATH, "order-1235", "", MANUAL);
    assert_eq!(authorized.status, 201);
    assert_eq!(
        timeless(&authorized),
        "{\"id\":\"7de456dd-3e94-8596-891f-657e4c2b5fd3\",\"state\":\"authorized\",\"amount\":1050,\
         \"currency\":\"USD\",\"source\":\"acct_alice\",\"destination\":\"acct_bob\",\"capture\":\"manual\",\
         \"description\":\"two \\\"coffees\\\" \u{e9}\",\"metadata\":{\"a\":\"\u{e9}\",\"table\":\"7\"},\
         \"outcome\":{\"code\":\"approved\",\"message\":\"thank you\"},\"next_action\":null,\
         \"gateway_reference\":\"gw_1\",\"created_at\":\"<time>\",\"settled_at\":\"<time>\"}"
    );
}

#[test]
fn every_settled_outcome_is_created_and_says_why() {
    let server = Server::start();
    for (source, state, outcome) in [
        ("acct_poor", "declined", r#"{"code":"insufficient_funds","message":"not enough money"}"#),
        ("acct_refused", "canceled", r#"{"code":"no_such_account","message":"who is that?"}"#),
        ("acct_terse", "succeeded", r#"{"code":"succeeded","message":""}"#),
    ] {
        let reaction = server.post(PATH, source, "", &order(source));
        assert_eq!(reaction.status, 201, "{source}");
        assert_eq!(reaction.json()["state"], state, "{source}");
        assert!(reaction.body.contains(&format!("\"outcome\":{outcome},\"next_action\":null")), "{reaction:?}");
    }
}

#[test]
fn a_settled_payment_is_replayed_byte_for_byte_and_says_so() {
    let server = Server::start();
    for source in ["acct_alice", "acct_poor", "acct_refused"] {
        let fresh = server.post(PATH, &format!("\"{source}\""), "", &order(source));
        let spelled_out = order(source).replace(
            "\"amount\":1050,",
            " \"metadata\":{}, \"capture\":\"automatic\",\"description\":null,\"expires_at\":null,\"amount\":1050,",
        );
        for (key, body) in [(format!("\"{source}\""), order(source)), (source.to_owned(), spelled_out)] {
            let replay = server.post(PATH, &key, "", &body);
            assert_eq!(replay.header("idempotent-replayed"), Some("true"));
            assert_eq!((replay.status, &replay.body), (fresh.status, &fresh.body));
            assert_eq!(replay.header("location"), fresh.header("location"));
        }
    }
}

#[test]
fn the_same_key_with_other_parameters_is_refused_and_names_them() {
    let server = Server::start();
    server.post(PATH, "k", "", &order("acct_alice"));
    let other = order("acct_carol").replace("1050", "1051").replace('}', ",\"metadata\":{\"a\":\"b\"}}");
    let reaction = server.post(PATH, "k", "", &other);
    assert_eq!((reaction.status, reaction.code().as_str()), (422, "idempotency_conflict"));
    assert!(reaction.body.contains(r#""differing_fields":["amount","source","metadata"]"#), "{reaction:?}");
    assert!(!reaction.body.contains("acct_"), "values are nobody's business: {reaction:?}");
    // Also while it is not settled, and without joining it.
    server.post(PATH, "d", "Prefer: wait=0\r\n", &order("acct_doubt"));
    let reaction = server.post(PATH, "d", "Prefer: wait=60\r\n", &order("acct_alice"));
    assert_eq!((reaction.status, reaction.code().as_str()), (422, "idempotency_conflict"));
}

/// Asks until the payment is in this state: with a wait of zero the first answer may still be `processing`.
fn until(server: &Server, source: &str, state: &str) -> Reaction {
    loop {
        let reaction = server.post(PATH, source, "Prefer: wait=0\r\n", &order(source));
        assert_eq!(reaction.status, 202, "{reaction:?}");
        if reaction.json()["state"] == state {
            return reaction;
        }
        assert_eq!(reaction.json()["state"], "processing", "{reaction:?}");
    }
}

#[test]
fn what_is_not_settled_is_accepted_and_says_when_to_ask_again() {
    let server = Server::start();
    for (source, state, retry_after, outcome, next_action) in [
        ("acct_slow", "processing", "1", "null", "null"),
        (
            "acct_3ds",
            "requires_action",
            "5",
            "null",
            r#"{"url":"https://bank.example/3ds","expires_at":"1970-01-01T00:00:00.000Z"}"#,
        ),
        ("acct_doubt", "in_doubt", "5", r#"{"code":"timeout","message":"no reply within 10 s"}"#, "null"),
    ] {
        let reaction = until(&server, source, state);
        assert_eq!(reaction.header("retry-after"), Some(retry_after));
        assert_eq!(reaction.header("preference-applied"), Some("wait=0"));
        assert_eq!(reaction.header("idempotent-replayed"), None, "it attached");
        assert!(reaction.header("location").is_some());
        let expected = format!("\"outcome\":{outcome},\"next_action\":{next_action},");
        assert!(reaction.body.contains(&expected), "{reaction:?}");
        assert!(reaction.body.ends_with("\"settled_at\":null}"), "{reaction:?}");
    }
}

#[test]
fn a_caller_who_prefers_not_to_wait_does_not() {
    let server = Server::start();
    let reaction = server.post(PATH, "a", "Prefer: respond-async\r\n", &order("acct_doubt"));
    assert_eq!((reaction.status, reaction.header("preference-applied")), (202, Some("respond-async")));
    let reaction = server.post(PATH, "b", "Prefer: wait=99\r\n", &order("acct_alice"));
    assert_eq!((reaction.status, reaction.header("preference-applied")), (201, Some("wait=60")));
    let reaction = server.post(PATH, "c", "Prefer: wait=soon\r\n", &order("acct_alice"));
    assert_eq!((reaction.status, reaction.header("preference-applied")), (201, None));
}

#[test]
fn one_payment_is_shown_with_its_operations_and_its_timeline() {
    let server = Server::start();
    let told = server.post(PATH, "order-1234", "", &order("acct_alice"));
    let shown = server.get("/v1/payments/c4d27dc8-fc8b-8dba-b307-ab7b907f7933");
    assert_eq!((shown.status, shown.header("content-type")), (200, Some("application/json")));
    let rest = shown.body.strip_prefix(told.body.trim_end_matches('}')).expect("begins with what was told");
    assert!(rest.starts_with(",\"captured\":1050,\"refunded\":0,\"updated_at\":\""), "{rest}");
    let value = shown.json();
    let operation = &value["operations"][0];
    assert!(
        shown.body.contains(&format!(
            "\"operations\":[{{\"number\":0,\"kind\":\"charge\",\"key\":{},\"amount\":1050,\"state\":\"succeeded\",\
             \"attempts\":1,\"gateway_reference\":\"gw_1\"}}],\"timeline\":[{{\"at\":",
            operation["key"]
        )),
        "{shown:?}"
    );
    let timeline = value["timeline"].as_array().expect("a timeline");
    assert_eq!((&value["gateway"], &timeline[0]["operation"]), (&"by source".into(), &0.into()));
    assert!(timeline.iter().any(|moment| moment["evidence"] == "reply"), "{shown:?}");
    assert!(timeline.iter().all(|moment| moment.as_object().expect("an object").len() == 4), "{shown:?}");
    timeless(&shown);
}

#[test]
fn a_head_request_is_answered_without_a_body() {
    let server = Server::start();
    let mut stream = server.connect();
    stream.write_all(b"HEAD /nowhere HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").expect("sent");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("closed after it");
    assert!(answer.starts_with("HTTP/1.1 404") && answer.ends_with("\r\n\r\n"), "{answer}");
}

#[test]
fn payments_are_listed_page_by_page_and_filtered() {
    let server = Server::start();
    for number in 0..5 {
        server.post(PATH, &format!("k{number}"), "", &order("acct_alice"));
    }
    until(&server, "acct_doubt", "in_doubt");
    let mut seen = Vec::new();
    let mut target = format!("{PATH}?state=succeeded&limit=2");
    loop {
        let page = server.get(&target).json();
        seen.extend(page["payments"].as_array().expect("a list").iter().map(|payment| payment["id"].to_string()));
        let Some(next) = page["next"].as_str() else { break };
        target = format!("{PATH}?state=succeeded&limit=2&after={next}");
    }
    assert_eq!(seen.len(), 5);
    assert!(seen.is_sorted());
    let doubtful = server.get(&format!("{PATH}?state=in_doubt")).json();
    assert_eq!(doubtful["payments"].as_array().map(Vec::len), Some(1));
    let told = server.post(PATH, "k3", "", &order("acct_alice"));
    let one = server.get(&format!("{PATH}?idempotency_key=k3"));
    assert_eq!(one.body, format!("{{\"payments\":[{}],\"next\":null}}", told.body));
    assert_eq!(server.get(&format!("{PATH}?idempotency_key=none")).body, r#"{"payments":[],"next":null}"#);
}

#[test]
fn a_person_resolves_what_is_in_doubt_and_it_is_replayed_so() {
    let server = Server::start();
    let id = until(&server, "acct_doubt", "in_doubt").json()["id"].as_str().expect("an id").to_owned();
    let inquired = server.exchange(&post(&format!("{PATH}/{id}/inquire"), "", b""));
    assert_eq!((inquired.status, inquired.json()["state"].as_str()), (200, Some("in_doubt")));
    let decision = br#"{"actor":"alice","reason":"the statement shows it","as":"succeeded","operation":0,"gateway_reference":"gw_9"}"#;
    let resolved = server.exchange(&post(&format!("{PATH}/{id}/resolve"), "", decision));
    assert_eq!((resolved.status, resolved.json()["state"].as_str()), (200, Some("succeeded")), "{resolved:?}");
    assert!(resolved.body.contains("\"evidence\":\"person alice: the statement shows it\""), "{resolved:?}");
    let replay = server.post(PATH, "acct_doubt", "", &order("acct_doubt"));
    assert_eq!((replay.status, replay.header("idempotent-replayed")), (201, Some("true")));
    assert_eq!(replay.json()["gateway_reference"], "gw_9");
    let again = server.exchange(&post(&format!("{PATH}/{id}/resolve"), "", decision));
    assert_eq!((again.status, again.code().as_str()), (409, "invalid_state"));
}

#[test]
fn two_requests_in_one_packet_get_two_answers_even_if_the_second_is_no_http() {
    let server = Server::start();
    let mut stream = server.connect();
    let good = b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n";
    stream.write_all(&[&good[..], good, b"GARBAGE\r\n\r\n"].concat()).expect("sent");
    assert_eq!(Reaction::read(&mut stream).body, r#"{"status":"alive"}"#);
    assert_eq!(Reaction::read(&mut stream).body, r#"{"status":"alive"}"#);
    let refused = Reaction::read(&mut stream);
    assert_eq!((refused.status, refused.code().as_str()), (400, "invalid_request"));
    assert_eq!(stream.read(&mut [0]).expect("closed"), 0);
}

#[test]
fn before_the_engine_is_open_the_server_is_alive_but_not_ready() {
    let server = Server::with_patience(Duration::from_secs(30), false);
    assert_eq!(server.get("/healthz").status, 200);
    let id = "c4d27dc8-fc8b-8dba-b307-ab7b907f7933";
    let reactions = [
        server.get("/readyz"),
        server.get(PATH),
        server.get(&format!("{PATH}/{id}")),
        server.post(PATH, "k", "", &order("acct_alice")),
    ];
    for reaction in reactions {
        assert_eq!((reaction.status, reaction.code().as_str()), (503, "overloaded"), "{reaction:?}");
        assert_eq!(reaction.header("retry-after"), Some("1"));
        assert_eq!(reaction.json()["retry_after"], 1);
    }
    assert_eq!(server.post(PATH, "k", "", "{}").status, 400, "what is wrong is wrong at any time");
    assert_eq!(Server::start().get("/readyz").body, r#"{"status":"ready"}"#);
}

#[test]
fn the_feed_goes_on_after_the_event_that_was_seen_last() {
    let server = Server::start();
    server.post(PATH, "a", "", &order("acct_alice"));
    server.post(PATH, "b", "", &order("acct_alice"));
    let read = |after: &str| {
        let mut stream = server.connect();
        stream.write_all(format!("GET /v1/events HTTP/1.1\r\nHost: a\r\n{after}\r\n").as_bytes()).expect("sent");
        let head = Reaction::read(&mut stream);
        assert_eq!(head.header("content-type"), Some("text/event-stream"));
        let mut text = String::new();
        while !text.contains("\n\n") {
            let mut space = [0; 1024];
            let length = stream.read(&mut space).expect("an event");
            assert!(length > 0, "the feed ended");
            text.push_str(str::from_utf8(&space[..length]).expect("UTF-8"));
        }
        text
    };
    let first = read("");
    // The body comes in chunks, each behind its size.
    let id_of =
        |text: &str| text.lines().find_map(|line| line.strip_prefix("id: ")?.parse::<u64>().ok()).expect("an id");
    let id = id_of(&first);
    assert!(first.contains("\nevent: ") && first.contains("\ndata: {\"payment\":\""), "{first}");
    let second = read(&format!("Last-Event-ID: {id}\r\n"));
    assert!(id_of(&second) > id, "{second}");
}

#[test]
fn a_server_that_is_told_to_stop_ends_its_feeds_and_returns() {
    let server = Server::start();
    server.post(PATH, "a", "", &order("acct_alice"));
    let idle = server.connect();
    let mut feed = server.connect();
    feed.write_all(b"GET /v1/events HTTP/1.1\r\nHost: a\r\n\r\n").expect("sent");
    assert_eq!(Reaction::read(&mut feed).status, 200);
    server.stop();
    feed.read_to_end(&mut Vec::new()).expect("ended, not cut");
    drop(idle);
}
