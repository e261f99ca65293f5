//! What gateways say by themselves: before the reply, twice, out of order, about nothing known, and in somebody's name.

#![cfg(feature = "cli")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, reason = "tests")]

mod stage;

use std::{
    io::{Read, Write},
    net::TcpStream,
    sync::Arc,
    time::Duration,
};

use payonce::{
    Engine, Namespace, Options, PaymentId, Rejection, State,
    gateway::{Answer, Asked, Forged, Gateway, News, Post, Question, Sending, http::HttpGateway},
    http::{Face, serve},
    payment::{Contract, Deduplication, IdempotencyKey, Inquiry, Invalid, Kind, OperationKey, Tenant, Timestamp},
    signature::Secret,
};
use stage::{Act, Folder, Patience, Scripted, open_on, order};

const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
const NOW: u64 = 1_800_000_000;

/// A gateway that does as it is told, and whose news is that of the HTTP protocol.
struct Speaks(Scripted, HttpGateway);

impl Gateway for Speaks {
    fn contract(&self) -> &Contract {
        self.0.contract()
    }

    fn encode(&self, asked: &Asked<'_>) -> Result<Vec<u8>, Invalid> {
        self.0.encode(asked)
    }

    fn send(&self, sending: Sending) -> Answer<'_> {
        self.0.send(sending)
    }

    fn news(&self, post: &Post<'_>) -> Result<News, Forged> {
        self.1.news(post)
    }

    fn inquire(&self, question: Question) -> Answer<'_> {
        self.0.inquire(question)
    }
}

async fn open(folder: &Folder, gateway: &Scripted) -> Engine {
    let mut options = Options::new(&**folder);
    // Nobody asks by himself meanwhile: only news leads to a question.
    options.schedule.pause_first = Duration::from_secs(3_600);
    options.schedule.pause_max = Duration::from_secs(3_600);
    let http = HttpGateway::new("http://127.0.0.1:9", None).unwrap();
    let http = http.with_webhook_secret(Secret::parse(SECRET).unwrap());
    open_on(options, Arc::new(Speaks(gateway.clone(), http))).await
}

/// Asks for a payment, and does not wait for its outcome.
async fn pay(engine: &Engine, key: &str) {
    let key = IdempotencyKey::new(key).unwrap();
    engine.submit(&Tenant::default(), &key, order(1050), Duration::ZERO).await.unwrap();
}

/// The charge of the default tenant's key.
fn charge(key: &str) -> (PaymentId, OperationKey) {
    let key = IdempotencyKey::new(key).unwrap();
    let id = PaymentId::derive(&Tenant::default(), &key);
    (id, OperationKey::derive(&Namespace::default(), &id, Kind::Charge, &key))
}

fn says(key: &OperationKey, status: &str, amount: u64) -> String {
    format!(r#"{{"reference":"{key}","status":"{status}","amount":{amount},"currency":"USD"}}"#)
}

fn signed(id: &str, body: &str) -> Vec<(String, String)> {
    let signature = Secret::parse(SECRET).unwrap().sign(id, NOW, body.as_bytes());
    [("webhook-id", id.to_owned()), ("webhook-timestamp", NOW.to_string()), ("webhook-signature", signature)]
        .map(|(name, value)| (name.to_owned(), value))
        .to_vec()
}

async fn tell(engine: &Engine, id: &str, body: &str) -> Result<(), Rejection> {
    let (headers, at) = (signed(id, body), Timestamp::from_millis(NOW * 1_000));
    engine.receive("default", &Post { headers: &headers, body: body.as_bytes(), at }).await
}

async fn state(engine: &Engine, id: PaymentId) -> Option<State> {
    engine.get(id).await.unwrap().map(|payment| payment.state())
}

/// In doubt, and asked about once, in vain.
async fn in_doubt(folder: &Folder, gateway: &Scripted) -> Engine {
    gateway.blind(true);
    let engine = open(folder, gateway).await;
    pay(&engine, "order-1").await;
    let mut patience = Patience::new();
    while gateway.asked() == 0 || state(&engine, charge("order-1").0).await != Some(State::InDoubt) {
        patience.wait(|| "order-1".to_owned()).await;
    }
    gateway.blind(false);
    engine
}

#[tokio::test]
async fn news_has_the_gateway_asked_at_once_and_what_it_says_is_not_believed() {
    let (folder, gateway) = (Folder::new("news-hint"), Scripted::new().then([Act::LoseReply]));
    let engine = in_doubt(&folder, &gateway).await;
    let (id, key) = charge("order-1");
    tell(&engine, "evt_1", &says(&key, "declined", 1050)).await.unwrap();
    let mut patience = Patience::new();
    while state(&engine, id).await != Some(State::Succeeded) {
        assert_ne!(state(&engine, id).await, Some(State::Declined));
        patience.wait(|| "order-1".to_owned()).await;
    }
}

#[tokio::test]
async fn the_same_news_leads_to_one_question_also_after_a_kill() {
    let (folder, gateway) = (Folder::new("news-twice"), Scripted::new().then([Act::LoseReply]));
    let engine = in_doubt(&folder, &gateway).await;
    gateway.blind(true);
    let (id, key) = charge("order-1");
    let before = gateway.asked();
    tell(&engine, "evt_1", &says(&key, "succeeded", 1050)).await.unwrap();
    let mut patience = Patience::new();
    while gateway.asked() == before {
        patience.wait(|| "evt_1".to_owned()).await;
    }
    tell(&engine, "evt_1", &says(&key, "succeeded", 1050)).await.unwrap();
    // Behind it in the same queue: when this is answered, that was taken up.
    engine.get(id).await.unwrap();
    assert_eq!(gateway.asked(), before + 1);
    drop(engine);
    let engine = open(&folder, &gateway).await;
    let mut patience = Patience::new();
    while gateway.asked() < before + 2 {
        patience.wait(|| "order-1".to_owned()).await;
    }
    tell(&engine, "evt_1", &says(&key, "succeeded", 1050)).await.unwrap();
    engine.get(id).await.unwrap();
    assert_eq!(gateway.asked(), before + 2, "it was durable: it is known again");
}

/// A chargeback, say: weeks later, and after many starts.
#[tokio::test]
async fn news_of_a_payment_that_was_settled_before_the_last_start_is_asked_about() {
    let (folder, gateway) = (Folder::new("news-settled"), Scripted::new());
    let engine = open(&folder, &gateway).await;
    for number in 0..30 {
        engine.pay(&format!("order-{number}"), order(1050)).await.unwrap();
    }
    engine.close().await.unwrap();
    let engine = open(&folder, &gateway).await;
    let (id, key) = charge("order-1");
    assert_eq!((state(&engine, id).await, gateway.asked()), (Some(State::Succeeded), 0));
    tell(&engine, "evt_1", &says(&key, "declined", 1050)).await.unwrap();
    let mut patience = Patience::new();
    while gateway.asked() == 0 {
        patience.wait(|| "order-1".to_owned()).await;
    }
    assert_eq!(state(&engine, id).await, Some(State::Succeeded), "it is asked: what the news says is not believed");
}

#[tokio::test]
async fn news_before_the_reply_changes_nothing_and_the_reply_counts() {
    let (folder, gateway) = (Folder::new("news-early"), Scripted::new().then([Act::Hang]));
    let engine = open(&folder, &gateway).await;
    pay(&engine, "order-1").await;
    let (id, key) = charge("order-1");
    tell(&engine, "evt_1", &says(&key, "succeeded", 1050)).await.unwrap();
    assert_eq!((state(&engine, id).await, gateway.asked()), (Some(State::Processing), 0));
}

#[tokio::test]
async fn news_of_a_payment_that_is_not_known_is_kept_and_harms_nothing() {
    let (folder, gateway) = (Folder::new("news-unknown"), Scripted::new());
    let engine = open(&folder, &gateway).await;
    tell(&engine, "evt_1", &says(&charge("order-9").1, "succeeded", 1)).await.unwrap();
    tell(&engine, "evt_2", "{}").await.unwrap();
    assert_eq!((state(&engine, charge("order-9").0).await, gateway.asked()), (None, 0));
    engine.close().await.unwrap();
    let disk = Arc::new(payonce::disk::OsDisk::new(&folder).unwrap());
    let kept = payonce::journal::dump(disk)
        .unwrap()
        .filter(|entry| matches!(entry.as_ref().unwrap().record, payonce::journal::Record::Inbox(_)));
    assert_eq!(kept.count(), 2, "both are in the journal");
}

#[tokio::test]
async fn forged_and_repeated_news_is_refused_and_leaves_no_trace() {
    let (folder, gateway) = (Folder::new("news-forged"), Scripted::new().then([Act::LoseReply]));
    let engine = in_doubt(&folder, &gateway).await;
    let body = says(&charge("order-1").1, "succeeded", 1050);
    let asked = gateway.asked();
    let at = Timestamp::from_millis(NOW * 1_000);
    let tell = async |headers: &[(String, String)], body: &str, at: Timestamp, gateway: &str| {
        engine.receive(gateway, &Post { headers, body: body.as_bytes(), at }).await
    };
    let right = signed("evt_1", &body);
    let late = at.plus(Duration::from_secs(301));
    let forged = |why| Err(Rejection::Forged(why));
    assert_eq!(tell(&right, &body.replace("1050", "1"), at, "default").await, forged(Forged::Signature));
    assert_eq!(tell(&[], &body, at, "default").await, forged(Forged::Signature));
    assert_eq!(tell(&right, &body, late, "default").await, forged(Forged::Stale));
    assert_eq!(tell(&right, &body, at, "another").await, forged(Forged::Unsupported));
    assert_eq!(gateway.asked(), asked);
    assert_eq!(tell(&right, &body, at, "scripted").await, Ok(()), "by its own name too");
}

#[tokio::test]
async fn where_the_gateway_cannot_be_asked_news_is_evidence_if_amount_and_currency_are_right() {
    let gateway = Scripted::new().then([Act::LoseReply]).with(|contract| {
        contract.inquiry = Inquiry::None;
        contract.deduplication = Deduplication::None;
    });
    let folder = Folder::new("news-evidence");
    let engine = open(&folder, &gateway).await;
    pay(&engine, "order-1").await;
    let (id, key) = charge("order-1");
    let mut patience = Patience::new();
    while state(&engine, id).await != Some(State::Parked) {
        patience.wait(|| "order-1".to_owned()).await;
    }
    tell(&engine, "evt_1", &says(&key, "succeeded", 1)).await.unwrap();
    tell(&engine, "evt_2", &says(&key, "succeeded", 1050).replace("USD", "EUR")).await.unwrap();
    assert_eq!(state(&engine, id).await, Some(State::Parked));
    tell(&engine, "evt_3", &says(&key, "succeeded", 1050)).await.unwrap();
    assert_eq!(state(&engine, id).await, Some(State::Succeeded));
    let payment = engine.get(id).await.unwrap().unwrap();
    assert_eq!(
        payment.timeline.last().and_then(|moment| moment.evidence.clone()),
        Some(payonce::payment::Evidence::Webhook)
    );
}

#[tokio::test]
async fn over_http_news_is_taken_with_204_and_what_is_forged_is_refused_with_401() {
    let (folder, gateway) = (Folder::new("news-http"), Scripted::new());
    let engine = open(&folder, &gateway).await;
    let face = Arc::new(Face::new());
    assert!(face.open(engine).is_ok());
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let served = tokio::spawn(serve(listener, face, async { drop(stopped.await) }));
    let post = move |name: &str, headers: &[(String, String)], body: &str| {
        let lines: String = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
        let request = format!(
            "POST /v1/webhooks/{name} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n{lines}content-length: {}\r\n\r\n{body}",
            body.len()
        );
        tokio::task::spawn_blocking(move || {
            let mut stream = TcpStream::connect(address).unwrap();
            stream.write_all(request.as_bytes()).unwrap();
            let mut answer = String::new();
            stream.read_to_string(&mut answer).unwrap();
            answer
        })
    };
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    let mut headers = signed("evt_1", "{}");
    headers[1].1 = now.to_string();
    headers[2].1 = Secret::parse(SECRET).unwrap().sign("evt_1", now, b"{}");
    let answer = post("default", &headers, "{}").await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 204 "), "{answer}");
    for (name, body, status, code) in [("default", "{ }", "401", "unauthorized"), ("other", "{}", "404", "not_found")] {
        let answer = post(name, &headers, body).await.unwrap();
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")) && answer.contains(code), "{answer}");
    }
    stop.send(()).unwrap();
    served.await.unwrap();
}
