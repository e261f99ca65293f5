//! What each recorded shape means. The shapes are written by Stripe's documentation; see `tests/fixtures/stripe`.

use std::{
    io::{Read, Write},
    net::TcpListener,
    thread,
    time::Instant,
};

use super::{object::judge, *};
use crate::payment::{Finality, Lasting, Order};

const PI: &str = "pi_3PayonceIntent0001";
const ACTING: [Kind; 5] = [Kind::Charge, Kind::Authorize, Kind::Capture, Kind::Void, Kind::Refund];

macro_rules! shape {
    ($name:literal) => {
        include_str!(concat!("../../../tests/fixtures/stripe/", $name, ".json"))
    };
}

fn expecting(kind: Kind) -> Expected {
    let units = if kind == Kind::Capture { 500 } else { 1050 };
    let (operation_key, currency) = (OperationKey::from_bytes([11; 16]), Currency::new("USD").expect("known"));
    Expected { kind, operation_key, units, currency, intent: Some(PI.to_owned()) }
}

fn told(call: Call, kind: Kind, status: u16, body: &str) -> Outcome {
    let retry_after = (status == 429).then_some(Duration::from_secs(7));
    classify(call, &expecting(kind), &Came { status, retry_after, should_retry: None, body: body.as_bytes() })
}

fn sent(kind: Kind, status: u16, body: &str) -> Outcome {
    told(Call::Send, kind, status, body)
}

/// Name and code.
fn brief(outcome: &Outcome) -> (&'static str, &str) {
    (outcome.name(), outcome.reply().map_or("", Reply::code))
}

#[test]
fn a_charge_is_what_its_payment_intent_is() {
    for call in [Call::Send, Call::Ask] {
        let outcome = told(call, Kind::Charge, 200, shape!("intent_succeeded"));
        assert_eq!(outcome, Outcome::Succeeded(Reply::new("succeeded", "").with_reference(PI)));
        let said = |body| told(call, Kind::Charge, 200, body);
        assert_eq!(brief(&said(shape!("intent_processing"))), ("pending", "processing"));
        assert_eq!(brief(&said(shape!("intent_declined"))), ("declined", "insufficient_funds"));
        assert_eq!(brief(&said(shape!("intent_canceled"))), ("declined", "canceled"));
        assert_eq!(said(shape!("intent_created")), Outcome::NotFound);
        // One that is to be captured later is not what a charge asks for.
        assert_eq!(brief(&said(shape!("intent_requires_capture"))), ("unknown", "unexpected_state"));
        let unknown = shape!("intent_succeeded").replace("\"succeeded\"", "\"requires_prayer\"");
        assert_eq!(brief(&said(&unknown)), ("unknown", "unexpected_state"));
    }
    let authorized = sent(Kind::Authorize, 200, shape!("intent_requires_capture"));
    assert_eq!(brief(&authorized), ("succeeded", "requires_capture"));
}

#[test]
fn a_payment_intent_that_was_never_confirmed_is_not_found() {
    let never = shape!("intent_created").replace("requires_confirmation", "requires_payment_method");
    for body in [shape!("intent_created"), &never] {
        for kind in [Kind::Charge, Kind::Authorize] {
            assert_eq!(told(Call::Ask, kind, 200, body), Outcome::NotFound);
        }
    }
}

#[test]
fn a_payer_who_has_to_act_is_sent_where_stripe_says() {
    let url = |body| match sent(Kind::Charge, 200, body) {
        Outcome::Pending(next, _) => next.map(|next| next.url),
        other => panic!("{other:?}"),
    };
    let hosted = "https://hooks.stripe.com/3d_secure_2/hosted?client_secret=x";
    assert_eq!(url(shape!("intent_requires_action_redirect")).as_deref(), Some(hosted));
    assert_eq!(url(shape!("intent_requires_action_sdk")), None);
}

#[test]
fn what_is_not_about_this_operation_proves_nothing() {
    for (what, from, to) in [
        ("id", PI, "pi_3PayonceIntent0002"),
        ("operation", "0b0b0b0b-", "0c0b0b0b-"),
        ("amount", "\"amount\": 1050", "\"amount\": 1051"),
        ("received", "\"amount_received\": 1050", "\"amount_received\": 1049"),
        ("currency", "\"usd\"", "\"eur\""),
    ] {
        let other = shape!("intent_succeeded").replace(from, to);
        assert_ne!(other, shape!("intent_succeeded"));
        for call in [Call::Send, Call::Ask] {
            assert_eq!(brief(&told(call, Kind::Charge, 200, &other)), ("unknown", "mismatched_reply"), "{what}");
        }
        let error = shape!("error_400_unexpected_state_succeeded").replace(from, to);
        assert_eq!(brief(&sent(Kind::Charge, 400, &error)), ("unknown", "mismatched_reply"), "{what}");
    }
    let without = shape!("intent_succeeded").replace("payonce_operation", "other");
    assert_eq!(brief(&sent(Kind::Charge, 200, &without)), ("unknown", "mismatched_reply"));
}

/// This is what makes a confirmation safe that goes out twice, even if its key were forgotten.
#[test]
fn confirming_what_has_succeeded_is_told_that_it_has() {
    let outcome = sent(Kind::Charge, 400, shape!("error_400_unexpected_state_succeeded"));
    assert_eq!(outcome, Outcome::Succeeded(Reply::new("succeeded", "").with_reference(PI)));
    let processing = shape!("error_400_unexpected_state_succeeded").replace("\"succeeded\"", "\"processing\"");
    assert_eq!(brief(&sent(Kind::Charge, 400, &processing)), ("pending", "processing"));
    let never = shape!("error_400_unexpected_state_succeeded").replace("\"succeeded\"", "\"requires_confirmation\"");
    assert_eq!(brief(&sent(Kind::Charge, 400, &never)), ("refused", "payment_intent_unexpected_state"));
}

#[test]
fn a_402_is_a_decline_with_the_issuers_reason() {
    let outcome = sent(Kind::Charge, 402, shape!("error_402_card_declined"));
    let reply = Reply::new("insufficient_funds", "Your card has insufficient funds.").with_reference(PI);
    assert_eq!(outcome, Outcome::Declined(Finality::Hard, reply));
    let bare = r#"{"error":{"type":"invalid_request_error","code":"card_declined","message":"no"}}"#;
    for kind in ACTING {
        assert_eq!(brief(&sent(kind, 402, bare)), ("declined", "card_declined"));
    }
    let two_minded = shape!("error_402_card_declined").replace("\"requires_payment_method\"", "\"succeeded\"");
    assert_eq!(sent(Kind::Charge, 402, &two_minded).name(), "unknown");
}

#[test]
fn what_stripe_lists_as_never_executed_is_refused() {
    for kind in ACTING {
        let lasting = |status, body| match sent(kind, status, body) {
            Outcome::Refused(lasting, _) => lasting,
            other => panic!("{status}: {other:?}"),
        };
        let for_now = |seconds: Option<u64>| Lasting::ForNow { retry_after: seconds.map(Duration::from_secs) };
        assert_eq!(lasting(400, shape!("error_400_invalid_request")), Lasting::ForGood);
        assert_eq!(lasting(401, shape!("error_401")), for_now(None));
        assert_eq!(lasting(403, shape!("error_403")), for_now(None));
        assert_eq!(lasting(429, shape!("error_429_rate_limit")), for_now(Some(7)));
        assert_eq!(lasting(429, shape!("error_429_lock_timeout")), for_now(Some(7)));
        // A key of another account, or of the other world: not the payment's end.
        assert_eq!(lasting(404, shape!("error_404")), for_now(None));
    }
}

#[test]
fn conflicts_and_server_errors_are_unknown_whatever_stripe_advises() {
    for should_retry in [None, Some(true), Some(false)] {
        for (status, body) in [
            (409, shape!("error_409_key_in_use")),
            (400, shape!("error_400_idempotency")),
            (500, shape!("error_500")),
            (502, "<html>bad gateway</html>"),
            (503, ""),
            (424, shape!("error_500")),
            (301, shape!("intent_succeeded")),
            (202, shape!("intent_succeeded")),
        ] {
            let came = Came { status, retry_after: None, should_retry, body: body.as_bytes() };
            for call in [Call::Create, Call::Send, Call::Ask] {
                assert_eq!(classify(call, &expecting(Kind::Charge), &came).name(), "unknown", "{status} {call:?}");
            }
        }
    }
}

#[test]
fn stripes_advice_makes_a_refusal_one_for_now() {
    let body = shape!("error_400_invalid_request").as_bytes();
    for (should_retry, lasting) in
        [(None, Lasting::ForGood), (Some(false), Lasting::ForGood), (Some(true), Lasting::ForNow { retry_after: None })]
    {
        let came = Came { status: 400, retry_after: None, should_retry, body };
        let outcome = classify(Call::Send, &expecting(Kind::Charge), &came);
        assert!(matches!(&outcome, Outcome::Refused(found, _) if *found == lasting), "{should_retry:?} {outcome:?}");
    }
}

/// Whatever stands between us and Stripe must not be taken for Stripe.
#[test]
fn a_proxys_page_refuses_and_declines_nothing() {
    for status in 100..600 {
        for body in ["", "{}", "<html>no</html>", r#"{"error":"no"}"#, r#"{"error":{"message":"no"}}"#, "[]", "null"] {
            for kind in ACTING {
                for call in [Call::Send, Call::Ask] {
                    assert_eq!(told(call, kind, status, body).name(), "unknown", "{status} {body}");
                }
            }
        }
    }
}

/// Otherwise a question that was asked badly could end or repeat a payment.
#[test]
fn a_failed_question_says_nothing_about_the_operation() {
    for status in (100..600).filter(|status| *status != 200) {
        for body in [shape!("error_404"), shape!("error_402_card_declined"), shape!("intent_created")] {
            let outcome = told(Call::Ask, Kind::Charge, status, body);
            let no_answer = matches!(outcome, Outcome::Unknown(_) | Outcome::Refused(Lasting::ForNow { .. }, _));
            assert!(no_answer, "{status} {outcome:?}");
        }
    }
}

#[test]
fn a_capture_is_told_from_another_one_of_the_same_amount() {
    for call in [Call::Send, Call::Ask] {
        let said = |body: &str| told(call, Kind::Capture, 200, body);
        assert_eq!(brief(&said(shape!("intent_captured"))), ("succeeded", "succeeded"));
        let by_another = shape!("intent_captured").replace("0b0b0b0b-", "0c0b0b0b-");
        assert_eq!(brief(&said(&by_another)), ("declined", "captured_otherwise"));
        let less = shape!("intent_captured").replace("\"amount_received\": 500", "\"amount_received\": 400");
        assert_eq!(brief(&said(&less)), ("unknown", "mismatched_reply"));
        assert_eq!(said(shape!("intent_requires_capture")), Outcome::NotFound);
        assert_eq!(brief(&said(shape!("intent_canceled"))), ("declined", "canceled"));
    }
}

#[test]
fn a_void_is_done_when_the_payment_intent_is_canceled_and_too_late_when_it_has_succeeded() {
    for call in [Call::Send, Call::Ask] {
        let said = |body| told(call, Kind::Void, 200, body);
        assert_eq!(brief(&said(shape!("intent_canceled"))), ("succeeded", "canceled"));
        assert_eq!(brief(&said(shape!("intent_succeeded"))), ("declined", "succeeded"));
        for body in [shape!("intent_requires_capture"), shape!("intent_created"), shape!("intent_processing")] {
            assert_eq!(said(body), Outcome::NotFound);
        }
    }
    let late = shape!("error_400_unexpected_state_succeeded");
    assert_eq!(sent(Kind::Void, 400, late).name(), "declined");
    assert_eq!(sent(Kind::Void, 400, &late.replace("\"succeeded\"", "\"canceled\"")).name(), "succeeded");
    let under_way = sent(Kind::Void, 400, &late.replace("\"succeeded\"", "\"processing\""));
    assert!(matches!(under_way, Outcome::Refused(Lasting::ForNow { .. }, _)), "{under_way:?}");
}

#[test]
fn a_refund_is_what_its_own_object_says() {
    let said = |body: &str| sent(Kind::Refund, 200, body);
    let done = Outcome::Succeeded(Reply::new("succeeded", "").with_reference("re_3PayonceRefund0001"));
    assert_eq!(said(shape!("refund_succeeded")), done);
    assert_eq!(brief(&said(shape!("refund_pending"))), ("pending", "pending"));
    assert_eq!(brief(&said(shape!("refund_failed"))), ("declined", "expired_or_canceled_card"));
    for (from, to) in [("0b0b0b0b-", "0c0b0b0b-"), (PI, "pi_2"), ("1050", "1051"), ("usd", "eur")] {
        let other = shape!("refund_succeeded").replace(from, to);
        assert_eq!(brief(&said(&other)), ("unknown", "mismatched_reply"), "{to}");
    }
    assert_eq!(said(shape!("intent_succeeded")).name(), "unknown");
    assert_eq!(sent(Kind::Charge, 200, shape!("refund_succeeded")).name(), "unknown");
    let refused = sent(Kind::Refund, 400, shape!("error_400_already_refunded"));
    assert_eq!(brief(&refused), ("refused", "charge_already_refunded"));
    assert!(matches!(sent(Kind::Refund, 400, shape!("error_400_unexpected_state_succeeded")), Outcome::Refused(..)));
}

#[test]
fn only_a_payment_intent_with_which_nothing_was_done_is_prepared() {
    let created = |status, body| {
        let expected = Expected { intent: None, ..expecting(Kind::Charge) };
        classify(Call::Create, &expected, &Came { status, retry_after: None, should_retry: None, body })
    };
    let outcome = created(200, shape!("intent_created").as_bytes());
    assert_eq!(outcome.reply().and_then(Reply::reference), Some(PI));
    assert_eq!(outcome.name(), "succeeded");
    assert_eq!(created(200, shape!("intent_succeeded").as_bytes()).name(), "unknown");
    let other = shape!("intent_created").replace("0b0b0b0b-", "0c0b0b0b-");
    assert_eq!(created(200, other.as_bytes()).name(), "unknown");
    for status in [400, 404] {
        let outcome = created(status, shape!("error_400_invalid_request").as_bytes());
        assert!(matches!(outcome, Outcome::Refused(Lasting::ForGood, _)), "{status} {outcome:?}");
    }
}

#[test]
fn a_body_that_was_cut_short_means_nothing() {
    let whole = shape!("intent_succeeded");
    for len in 0..whole.trim_end().len() {
        assert_eq!(sent(Kind::Charge, 200, &whole[..len]).name(), "unknown", "{len}");
    }
}

#[test]
fn a_payment_intent_says_nothing_about_a_refund() {
    let intent = serde_json::from_str(shape!("intent_succeeded")).expect("a PaymentIntent");
    assert_eq!(judge(&expecting(Kind::Refund), &intent).name(), "unknown");
}

const KEY: &str = "sk_test_hunter2";

#[test]
fn the_key_is_in_no_debug_output_no_identity_and_no_error() {
    let gateway = StripeGateway::new(KEY).expect("usable");
    let shown = format!("{gateway:?} {:?} {}", gateway.headers, gateway.contract.identity);
    assert!(!shown.contains("hunter2"), "{shown}");
    assert_eq!(gateway.contract.identity.to_string(), "stripe, environment test, API 2025-04-30.basil");
    for unusable in ["hunter2", "pk_test_hunter2", "sk_hunter2", "sk_test_", "sk_test_hun\nter2", "sk_testing_hunter2"]
    {
        let refused = StripeGateway::new(unusable).expect_err("no secret key").to_string();
        assert!(!refused.contains("hun"), "{refused}");
    }
}

#[test]
fn worlds_and_accounts_are_kept_apart() {
    let of = |url, key, account: Option<&str>| {
        let gateway = StripeGateway::at(url, key).expect("usable");
        let gateway = account.map_or(Ok(gateway), |_| {
            StripeGateway::at(url, key).expect("usable").with_account(account.unwrap_or_default())
        });
        gateway.map(|gateway| gateway.contract.identity)
    };
    let plain = of(STRIPE_URL, KEY, None);
    assert_eq!(plain, of(STRIPE_URL, "rk_test_another", None));
    assert_eq!(plain, of("https://api.stripe.com:443/", KEY, None));
    for other in
        [of(STRIPE_URL, "sk_live_x", None), of("http://127.0.0.1:8420", KEY, None), of(STRIPE_URL, KEY, Some("acct_1"))]
    {
        assert_ne!(plain, other);
    }
    for account in ["", "acct_", "shop", "acct_1/x", "acct_1\r\nx"] {
        assert_eq!(of(STRIPE_URL, KEY, Some(account)).map_err(|invalid| invalid.field), Err("gateway_account"));
    }
}

/// Answers connections one after the other, and keeps what it was asked.
fn answering(replies: Vec<String>) -> (String, thread::JoinHandle<Vec<String>>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let url = format!("http://{}", listener.local_addr().expect("bound"));
    let asked = thread::spawn(move || {
        let one = |body: String| {
            let (mut socket, _) = listener.accept().expect("a connection");
            let mut asked = Vec::new();
            let mut buffer = [0; 4096];
            while !is_whole(&asked) {
                let read = socket.read(&mut buffer).expect("readable");
                asked.extend_from_slice(&buffer[..read]);
            }
            let head = "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: ";
            write!(socket, "{head}{}\r\n\r\n{body}", body.len()).expect("writable");
            String::from_utf8(asked).expect("text")
        };
        replies.into_iter().map(one).collect()
    });
    (url, asked)
}

fn is_whole(asked: &[u8]) -> bool {
    let text = String::from_utf8_lossy(asked).to_ascii_lowercase();
    let Some((head, body)) = text.split_once("\r\n\r\n") else { return false };
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse().ok());
    body.len() >= length.unwrap_or(0)
}

fn question(kind: Kind, reference: Option<&str>) -> Question {
    let Expected { operation_key, currency, .. } = expecting(kind);
    let (amount, deadline) = (Amount::new(1050).expect("legal"), Instant::now() + Duration::from_secs(30));
    Question { kind, operation_key, amount, currency, reference: reference.map(str::to_owned), deadline }
}

fn sending(gateway: &StripeGateway, kind: Kind, reference: Option<&str>) -> Sending {
    let Question { operation_key, amount, currency, deadline, .. } = question(kind, reference);
    let order = Order::new(amount, currency, "pm_1", "self").expect("legal");
    let asked = Asked { kind, operation_key, amount, order: &order, charge: None, reference };
    let request = gateway.encode(&asked).expect("expressible");
    Sending { kind, operation_key, request, amount, currency, deadline }
}

#[tokio::test]
async fn the_frozen_bytes_go_out_with_key_account_and_version() {
    let (url, asked) = answering(vec![shape!("intent_succeeded").to_owned()]);
    let gateway = StripeGateway::at(&url, KEY).and_then(|gateway| gateway.with_account("acct_9")).expect("usable");
    let sending = sending(&gateway, Kind::Charge, Some(PI));
    assert!(!String::from_utf8_lossy(&sending.request).contains("hunter2"));
    assert_eq!(gateway.send(sending).await.name(), "succeeded");
    let asked = asked.join().expect("asked").remove(0);
    assert!(asked.starts_with(&format!("POST /v1/payment_intents/{PI}/confirm HTTP/1.1\r\n")), "{asked}");
    for header in [
        "authorization: Bearer sk_test_hunter2\r\n",
        "idempotency-key: 0b0b0b0b-0b0b-0b0b-0b0b-0b0b0b0b0b0b\r\n",
        "stripe-version: 2025-04-30.basil\r\n",
        "stripe-account: acct_9\r\n",
        "content-type: application/x-www-form-urlencoded\r\n",
    ] {
        assert!(asked.contains(header), "{header} {asked}");
    }
}

#[tokio::test]
async fn the_bytes_of_one_step_are_never_sent_as_another() {
    // Nothing listens there: what were sent would be `unreachable`.
    let gateway = StripeGateway::at("http://127.0.0.1:9", KEY).expect("usable");
    let create = sending(&gateway, Kind::Charge, None);
    let confirm = sending(&gateway, Kind::Charge, Some(PI));
    let refund = sending(&gateway, Kind::Refund, Some(PI));
    let garbled = Sending { request: b"garbled".to_vec(), ..create.clone() };
    let unsendable = [
        gateway.send(create).await,
        gateway.prepare(confirm).await,
        gateway.prepare(refund).await,
        gateway.send(garbled).await,
    ];
    for outcome in unsendable {
        assert_eq!(brief(&outcome), ("not_sent", "unsendable"));
    }
}

fn list(object: &str, has_more: bool, items: &[&str]) -> String {
    format!(r#"{{"object":"{object}","data":[{}],"has_more":{has_more},"url":"/v1"}}"#, items.join(","))
}

#[tokio::test]
async fn a_refund_is_looked_for_on_every_page() {
    let others: Vec<String> = ["re_1", "re_2"]
        .map(|id| shape!("refund_succeeded").replace("0b0b0b0b-", "0c0b0b0b-").replace("re_3PayonceRefund0001", id))
        .to_vec();
    let others: Vec<&str> = others.iter().map(String::as_str).collect();
    for (last, found) in [(shape!("refund_succeeded"), "succeeded"), (others[0], "not_found")] {
        let (url, asked) = answering(vec![list("list", true, &others), list("list", false, &[last])]);
        let gateway = StripeGateway::at(&url, KEY).expect("usable");
        assert_eq!(gateway.inquire(question(Kind::Refund, Some(PI))).await.name(), found);
        let asked = asked.join().expect("asked");
        assert!(asked[0].starts_with(&format!("GET /v1/refunds?payment_intent={PI}&limit=25 HTTP")), "{}", asked[0]);
        assert!(asked[1].contains("&limit=25&starting_after=re_2 HTTP"), "{}", asked[1]);
        assert!(!asked.concat().contains("idempotency-key"));
    }
}

#[tokio::test]
async fn a_charge_whose_id_is_not_known_is_found_by_search_or_stays_unknown() {
    for (items, found) in [
        (vec![], "unknown"),
        (vec![shape!("intent_created")], "unknown"),
        (vec![shape!("intent_canceled")], "unknown"),
        (vec![shape!("intent_created"), shape!("intent_succeeded")], "succeeded"),
        (vec![shape!("intent_processing")], "pending"),
    ] {
        let (url, asked) = answering(vec![list("search_result", false, &items)]);
        let gateway = StripeGateway::at(&url, KEY).expect("usable");
        assert_eq!(gateway.inquire(question(Kind::Charge, None)).await.name(), found);
        let asked = asked.join().expect("asked");
        let query = "query=metadata%5B%27payonce_operation%27%5D%3A%270b0b0b0b-0b0b-0b0b-0b0b-0b0b0b0b0b0b%27 HTTP";
        assert!(asked[0].contains(query), "{}", asked[0]);
    }
}
