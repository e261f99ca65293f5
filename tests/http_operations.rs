//! Captures, voids and refunds over HTTP: what callers are told, and what the gateway's ledger says moved.

#![cfg(feature = "server")]
#![allow(missing_docs, dead_code, clippy::expect_used, clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

mod http_support;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use http_support::{Folder, Reaction, Server, assert_problem, post};
use payonce::{
    Options,
    gateway::sandbox::{Fault, Faults, Sandbox, SandboxGateway},
    payment::{Kind, OperationKey},
};
use serde_json::{Value, json};

/// The id of the payment whose key is `order-1234`.
const ID: &str = "c4d27dc8-fc8b-8dba-b307-ab7b907f7933";
/// Only a hang reaches it.
const HANG: Duration = Duration::from_secs(60);

/// A server, and what outlives it: its folder and its gateway.
struct Stage {
    server: Option<Server>,
    sandbox: Sandbox,
    data: Folder,
}

impl Stage {
    fn new() -> Stage {
        let (sandbox, data) = (Sandbox::in_memory(1, Faults::none()), Folder::new("http-operations"));
        let mut stage = Stage { server: None, sandbox, data };
        stage.open();
        stage
    }

    fn open(&mut self) {
        let mut options = Options::new(&*self.data);
        // Doubts are cleared up as soon as the gateway answers.
        options.schedule.pause_first = Duration::from_millis(5);
        options.schedule.pause_max = Duration::from_millis(20);
        let gateway = Arc::new(SandboxGateway::new(self.sandbox.clone()));
        self.server = Some(Server::over(options, gateway));
    }

    fn kill_and_reopen(&mut self) {
        self.server.take().expect("it runs").stop();
        self.open();
    }

    fn server(&self) -> &Server {
        self.server.as_ref().expect("it runs")
    }

    /// A stage with one payment of 1050 on it.
    fn paid(capture: &str) -> Stage {
        let stage = Stage::new();
        let order = format!(
            r#"{{"amount":1050,"currency":"USD","source":"acct_alice","destination":"acct_bob","capture":"{capture}"}}"#
        );
        assert_eq!(stage.server().post("/v1/payments", "order-1234", "", &order).status, 201);
        stage
    }

    /// Captures, voids or refunds.
    fn ask(&self, what: &str, key: &str, body: &str) -> Reaction {
        self.server().post(&path(what), key, "", body)
    }

    /// The payment as it is.
    fn payment(&self) -> Value {
        let shown = self.server().get(&format!("/v1/payments/{ID}"));
        assert_eq!(shown.status, 200, "{shown:?}");
        shown.json()
    }

    fn lose_every_reply(&self, lose: bool) {
        let faults = Faults::none().with(Fault::DropAfter, f64::from(u8::from(lose)));
        self.sandbox.set_faults(faults.expect("a probability"));
    }

    /// What really moved by operations of a kind.
    fn moved(&self, kind: Kind) -> Vec<u64> {
        let statement = self.sandbox.statement(0, usize::MAX);
        statement.iter().filter(|moved| moved.kind == kind).map(|moved| moved.amount.minor_units()).collect()
    }
}

fn path(what: &str) -> String {
    format!("/v1/payments/{ID}/{what}")
}

/// The figures of a payment: captured, refunded, and each operation's kind, amount and state.
fn figures(payment: &Value) -> (u64, u64, Vec<(String, u64, String)>) {
    let text = |value: &Value| value.as_str().expect("a text").to_owned();
    let operations = payment["operations"].as_array().expect("a list").iter();
    let operations = operations.map(|one| (text(&one["kind"]), one["amount"].as_u64().unwrap(), text(&one["state"])));
    (payment["captured"].as_u64().unwrap(), payment["refunded"].as_u64().unwrap(), operations.collect())
}

fn operations(list: &[(&str, u64, &str)]) -> Vec<(String, u64, String)> {
    list.iter().map(|(kind, amount, state)| ((*kind).to_owned(), *amount, (*state).to_owned())).collect()
}

fn assert_refused(reaction: &Reaction, status: u16, code: &str) {
    assert_problem(reaction, status, code, &format!("{reaction:?}"));
}

#[test]
fn an_operation_is_answered_in_the_frozen_form() {
    let stage = Stage::paid("manual");
    let fresh = stage.ask("capture", "\"shipped-1\"", r#"{"amount":700}"#);
    assert_eq!((fresh.status, fresh.header("content-type")), (201, Some("application/json")));
    assert_eq!(fresh.header("location"), Some(format!("/v1/payments/{ID}").as_str()));
    assert_eq!((fresh.header("idempotent-replayed"), fresh.header("retry-after")), (None, None));
    let key = fresh.json()["key"].as_str().expect("a key").to_owned();
    assert_eq!(
        fresh.body,
        format!(
            "{{\"payment\":\"{ID}\",\"number\":1,\"kind\":\"capture\",\"key\":\"{key}\",\"amount\":700,\
             \"state\":\"succeeded\",\"attempts\":1,\"gateway_reference\":\"sb_2\",\"currency\":\"USD\",\
             \"outcome\":{{\"code\":\"ok\",\"message\":\"done\"}}}}"
        )
    );
    assert_eq!(stage.payment()["operations"][1]["key"], key.as_str(), "under the key that the gateway knows");
}

#[test]
fn a_settled_operation_is_replayed_byte_for_byte_also_after_a_kill() {
    let mut stage = Stage::paid("manual");
    let told: Vec<(&str, &str, &str, Reaction)> =
        [("capture", "part", r#"{"amount":700}"#), ("capture", "rest", ""), ("refunds", "back", r#"{"amount":50}"#)]
            .into_iter()
            .map(|(what, key, body)| (what, key, body, stage.ask(what, key, body)))
            .collect();
    for killed in [false, true] {
        if killed {
            stage.kill_and_reopen();
        }
        for (what, key, body, told) in &told {
            // What was left out the first time, or is left out now, contradicts nothing.
            for body in [body, "", "{}"] {
                let again = stage.ask(what, &format!("\"{key}\""), body);
                assert_eq!(again.header("idempotent-replayed"), Some("true"), "{again:?}");
                assert_eq!((again.status, &again.body), (201, &told.body));
                assert_eq!(again.header("location"), told.header("location"));
            }
        }
    }
    assert_eq!((stage.moved(Kind::Capture), stage.moved(Kind::Refund)), (vec![700, 350], vec![50]));
}

#[test]
fn an_empty_body_and_an_empty_object_both_mean_all_that_is_left() {
    let stage = Stage::paid("manual");
    // Without a body no Content-Type is needed either.
    let bare = format!("POST {} HTTP/1.1\r\nHost: a\r\nIdempotency-Key: all\r\n\r\n", path("capture"));
    let captured = stage.server().exchange(bare.as_bytes());
    assert_eq!((captured.status, captured.json()["amount"].as_u64()), (201, Some(1050)));
    assert_eq!(stage.ask("refunds", "a-part", r#"{"amount":50}"#).status, 201);
    assert_eq!(stage.ask("refunds", "the-rest", "{}").json()["amount"], 1000);
    let nothing = stage.ask("refunds", "nothing", "");
    assert_refused(&nothing, 409, "amount_too_large");
    assert_eq!((stage.moved(Kind::Capture), stage.moved(Kind::Refund)), (vec![1050], vec![50, 1000]));
}

#[test]
fn the_same_key_with_another_meaning_is_refused_and_names_what_differs() {
    let stage = Stage::paid("manual");
    let told = stage.ask("capture", "k", r#"{"amount":700}"#);
    for (what, body, differing) in [
        ("capture", r#"{"amount":701}"#, json!(["amount"])),
        ("refunds", r#"{"amount":700}"#, json!(["operation"])),
        ("refunds", r#"{"amount":701}"#, json!(["operation", "amount"])),
        ("void", "", json!(["operation"])),
    ] {
        let refused = stage.ask(what, "k", body);
        assert_refused(&refused, 422, "idempotency_conflict");
        assert_eq!((&refused.json()["differing_fields"], &refused.json()["payment_id"]), (&differing, &json!(ID)));
    }
    assert_eq!(stage.ask("capture", "k", "").body, told.body);
    // A payment's key and its operations' keys are apart.
    assert_eq!(stage.ask("refunds", "order-1234", r#"{"amount":1}"#).status, 201);
    assert_eq!((stage.moved(Kind::Capture), stage.moved(Kind::Refund)), (vec![700], vec![1]));
}

#[test]
fn what_is_not_possible_is_refused_and_reserves_nothing_and_spends_no_key() {
    let stage = Stage::paid("automatic");
    for (what, body, code) in [
        ("capture", "", "invalid_state"),
        ("void", "", "invalid_state"),
        ("refunds", r#"{"amount":1051}"#, "amount_too_large"),
    ] {
        let refused = stage.ask(what, "k", body);
        assert_refused(&refused, 409, code);
    }
    assert_eq!(figures(&stage.payment()), (1050, 0, operations(&[("charge", 1050, "succeeded")])));
    let all = stage.ask("refunds", "k", "{}");
    assert_eq!(
        (all.status, all.json()["amount"].as_u64()),
        (201, Some(1050)),
        "nothing was held, the key was not spent"
    );
}

#[test]
fn a_request_that_is_not_what_the_endpoint_takes_is_refused() {
    let stage = Stage::paid("manual");
    for what in ["capture", "void", "refunds"] {
        let nameless = stage.server().exchange(&post(&path(what), "", b"{}"));
        assert_refused(&nameless, 400, "idempotency_key_required");
        for body in
            [r#"{"amont":1}"#, r#"{"amount":1,"reason":"x"}"#, r#"{"amount":0}"#, r#"{"amount":"1"}"#, "[]", "{"]
        {
            let refused = stage.ask(what, "k", body);
            assert_refused(&refused, 400, "invalid_request");
        }
        let own = stage.ask(what, "payonce:expired", "{}");
        assert_refused(&own, 400, "invalid_request");
        let get = stage.server().get(&path(what));
        assert_refused(&get, 405, "method_not_allowed");
        for id in ["c4d27dc8-fc8b-8dba-b307-ab7b907f7934", "order-1234", "%00"] {
            let unknown = stage.server().post(&format!("/v1/payments/{id}/{what}"), "k", "", "{}");
            assert_refused(&unknown, 404, "not_found");
        }
    }
    let partly = stage.ask("void", "k", r#"{"amount":1}"#);
    assert_refused(&partly, 400, "invalid_request");
    assert_eq!(figures(&stage.payment()).2.len(), 1, "none of it left anything behind");
}

#[test]
fn a_get_speaks_of_now_and_the_payments_replay_of_what_was_told() {
    let order = r#"{"amount":1050,"currency":"USD","source":"acct_alice","destination":"acct_bob","capture":"manual"}"#;
    for (what, state, captured) in [("capture", "succeeded", 1050), ("void", "canceled", 0)] {
        let mut stage = Stage::new();
        let told = stage.server().post("/v1/payments", "order-1234", "", order);
        assert_eq!((told.status, &told.json()["state"]), (201, &json!("authorized")));
        assert_eq!(stage.ask(what, "k", "").status, 201);
        for killed in [false, true] {
            if killed {
                stage.kill_and_reopen();
            }
            let payment = stage.payment();
            let done = operations(&[("authorize", 1050, "authorized"), (what, 1050, "succeeded")]);
            assert_eq!(figures(&payment), (captured, 0, done));
            assert_eq!(payment["state"], state);
            let listed = stage.server().get(&format!("/v1/payments?state={state}")).json();
            assert_eq!(listed["payments"][0]["id"], ID);
            let replay = stage.server().post("/v1/payments", "order-1234", "", order);
            assert_eq!(replay.header("idempotent-replayed"), Some("true"));
            assert_eq!(replay.body, told.body, "what was told stays told");
        }
    }
}

#[test]
fn a_refund_in_doubt_is_listed_answered_as_such_and_cleared_up() {
    let mut stage = Stage::paid("automatic");
    stage.lose_every_reply(true);
    let doubt = stage.server().post(&path("refunds"), "k", "Prefer: wait=1\r\n", r#"{"amount":60}"#);
    assert_eq!((doubt.status, doubt.header("retry-after")), (202, Some("5")), "{doubt:?}");
    assert_eq!((&doubt.json()["state"], &doubt.json()["amount"]), (&json!("in_doubt"), &json!(60)));
    for killed in [false, true] {
        if killed {
            stage.kill_and_reopen();
        }
        let listed = stage.server().get("/v1/payments?state=in_doubt").json();
        assert_eq!(listed["payments"][0]["id"], ID, "{listed}");
        let payment = stage.payment();
        assert_eq!(payment["state"], "succeeded", "the charge itself is not in doubt");
        assert_eq!((&payment["captured"], &payment["refunded"]), (&json!(1050), &json!(0)));
    }
    stage.lose_every_reply(false);
    let settled = stage.ask("refunds", "k", r#"{"amount":60}"#);
    assert_eq!((settled.status, &settled.json()["state"]), (201, &json!("succeeded")), "{settled:?}");
    let listed = stage.server().get("/v1/payments?state=in_doubt").json();
    assert_eq!(listed["payments"], json!([]));
    assert_eq!(stage.payment()["refunded"], 60);
    assert_eq!(stage.moved(Kind::Refund), [60]);
}

#[test]
fn what_waits_for_its_payer_says_so_until_the_payer_acts_or_a_void_lets_go_of_it() {
    let order = r#"{"amount":1050,"currency":"USD","source":"acct_alice","destination":"acct_bob"}"#;
    for voided in [false, true] {
        let stage = Stage::new();
        stage.sandbox.set_faults(Faults::none().with(Fault::Challenge, 1.0).expect("a probability"));
        let told = stage.server().post("/v1/payments", "order-1234", "", order);
        assert_eq!((told.status, &told.json()["state"]), (202, &json!("requires_action")));
        let payment = stage.payment();
        let key = payment["operations"][0]["key"].as_str().expect("a key");
        assert_eq!(payment["next_action"]["url"], format!("sandbox:/challenges/{key}"));
        let end = if voided {
            assert_eq!(stage.ask("void", "k", "").status, 201);
            ("declined", "voided", 0)
        } else {
            let key = OperationKey::parse(key).expect("it is one");
            assert!(stage.sandbox.answer_challenge(key, true).is_some());
            ("succeeded", "ok", 1050)
        };
        // The gateway is asked on schedule; until then the payer is said to be waited for.
        let hang = Instant::now() + HANG;
        let told = loop {
            let told = stage.server().post("/v1/payments", "order-1234", "", order);
            if told.status == 201 {
                break told.json();
            }
            assert!(Instant::now() < hang, "{told:?}");
        };
        let payment = stage.payment();
        assert_eq!((told["state"].as_str(), told["outcome"]["code"].as_str()), (Some(end.0), Some(end.1)));
        assert_eq!((&payment["captured"], &payment["next_action"]), (&json!(end.2), &Value::Null));
        assert_eq!(stage.sandbox.summary().movements, u64::from(!voided));
    }
}

/// The gateway would refuse the second too; so what counts is that it was never asked.
#[test]
fn two_refunds_at_once_never_move_back_more_than_was_paid_whatever_becomes_of_one() {
    let mut stage = Stage::paid("automatic");
    stage.lose_every_reply(true);
    let body = r#"{"amount":600}"#;
    let both = ["one", "other"]
        .map(|key| post(&path("refunds"), &format!("Idempotency-Key: {key}\r\nPrefer: wait=1\r\n"), body.as_bytes()));
    let server = stage.server();
    let told = std::thread::scope(|scope| {
        let asked = both.each_ref().map(|request| scope.spawn(|| server.exchange(request)));
        asked.map(|asked| asked.join().expect("answered"))
    });
    let mut statuses = told.each_ref().map(|told| told.status);
    statuses.sort_unstable();
    assert_eq!(statuses, [202, 409], "{told:?}");
    let (admitted, refused) = if told[0].status == 202 { ("one", "other") } else { ("other", "one") };
    for killed in [false, true] {
        if killed {
            stage.kill_and_reopen();
        }
        assert_refused(&stage.ask("refunds", refused, body), 409, "amount_too_large");
    }
    stage.lose_every_reply(false);
    assert_eq!(until_settled(&stage, admitted, body).json()["amount"], 600);
    assert_refused(&stage.ask("refunds", refused, body), 409, "amount_too_large");
    assert_eq!(stage.ask("refunds", refused, "{}").json()["amount"], 450);
    let done = operations(&[("charge", 1050, "succeeded"), ("refund", 600, "succeeded"), ("refund", 450, "succeeded")]);
    assert_eq!(figures(&stage.payment()), (1050, 1050, done));
    assert_eq!(stage.moved(Kind::Refund), [600, 450]);
    assert_eq!(stage.sandbox.summary().operations, 3, "the gateway was asked for nothing else");
}

fn until_settled(stage: &Stage, key: &str, body: &str) -> Reaction {
    let hang = Instant::now() + HANG;
    loop {
        let told = stage.ask("refunds", key, body);
        if told.status == 201 {
            return told;
        }
        assert!(Instant::now() < hang && told.status == 202, "{told:?}");
    }
}
