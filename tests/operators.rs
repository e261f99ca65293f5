//! What operators do to a running engine: pause a gateway, resume it, drain; each recorded before it takes effect, and in
//! force for as long as it is said to be.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, reason = "tests")]

mod stage;

use std::{sync::Arc, time::Duration};

use payonce::{
    Delivery, Engine, GatewayRoute, OpenError, Order, PaymentId, Rejection, State,
    payment::{Deed, IdempotencyKey, Person, Resolution, Tenant, Verdict},
};
use stage::{Act, Folder, Patience, Scripted, options, order};

fn scripted(name: &str) -> Scripted {
    let name = name.to_owned();
    Scripted::new().with(|contract| contract.identity.name = name.into())
}

/// Opens; waits for an engine that was dropped to let go of the folder.
async fn open(folder: &Folder, gateways: &[(&str, &Scripted)]) -> Engine {
    let mut patience = Patience::new();
    loop {
        let routes = gateways.iter().map(|(name, gateway)| GatewayRoute::new(name, Arc::new((*gateway).clone())));
        match Engine::open_with(options(folder), routes.collect()).await {
            Ok(engine) => return engine,
            Err(OpenError::Lock(_)) => patience.wait(|| "the folder".to_owned()).await,
            Err(error) => panic!("{error}"),
        }
    }
}

fn ann(reason: &str) -> Person {
    Person { actor: "ann".to_owned(), reason: reason.to_owned() }
}

async fn act(engine: &Engine, deed: Deed) {
    let reason = deed.name().to_owned();
    engine.act(deed, Some("ops".to_owned()), ann(&reason)).await.expect("recorded");
}

async fn pause(engine: &Engine, name: &str) {
    let gateway = engine.gateway(name).expect("configured");
    act(engine, Deed::Pause { name: name.to_owned(), gateway }).await;
}

async fn resume(engine: &Engine, name: &str) {
    let gateway = engine.gateway(name).expect("configured");
    act(engine, Deed::Resume { name: name.to_owned(), gateway }).await;
}

fn paused(engine: &Engine) -> Vec<String> {
    let paused = engine.stats().gateways.into_iter().filter(|gateway| gateway.pause.is_some());
    paused.map(|gateway| gateway.name).collect()
}

fn id(key: &str) -> PaymentId {
    PaymentId::derive(&Tenant::default(), &IdempotencyKey::new(key).unwrap())
}

async fn begin(engine: &Engine, key: &str) {
    let key = IdempotencyKey::new(key).unwrap();
    engine.submit(&Tenant::default(), &key, order(1050), Duration::ZERO).await.unwrap();
}

async fn until(engine: &Engine, key: &str, state: State) {
    let mut patience = Patience::new();
    while engine.get(id(key)).await.unwrap().unwrap().state() != state {
        patience.wait(|| format!("{key} {}", state.as_str())).await;
    }
}

async fn refused(engine: &Engine, key: &str) -> Rejection {
    let rejection = engine.pay(key, order(1050)).await.expect_err("nothing new is taken");
    assert_eq!(engine.get(id(key)).await.unwrap(), None, "nothing was recorded");
    rejection
}

/// The deeds so far, newest first, a page of this length at a time.
async fn trail(engine: &Engine, limit: usize) -> Vec<&'static str> {
    let (mut names, mut before) = (Vec::new(), None);
    loop {
        let page = engine.audits(before, limit).await.unwrap();
        assert!(page.audits.len() <= limit);
        assert!(page.audits.iter().all(|(_, audit)| audit.key.as_deref() == Some("ops")));
        names.extend(page.audits.iter().map(|(_, audit)| audit.deed.name()));
        match page.next {
            Some(next) => before = Some(next),
            None => return names,
        }
    }
}

#[tokio::test]
async fn to_a_paused_gateway_nothing_is_sent_what_became_of_things_is_asked_and_what_is_known_is_answered() {
    let folder = Folder::new("operators-pause");
    let gateway = scripted("a").then([Act::Succeed, Act::LoseRequest]);
    let engine = open(&folder, &[("only", &gateway)]).await;
    engine.pay("order-1", order(1050)).await.unwrap();
    gateway.blind(true);
    begin(&engine, "order-2").await;
    until(&engine, "order-2", State::InDoubt).await;
    pause(&engine, "only").await;
    // From here on it would be proven that it did not happen, and it would go out again.
    gateway.blind(false);
    let (sent, asked) = (gateway.sent(), gateway.asked());
    assert_eq!(refused(&engine, "order-3").await, Rejection::Paused);
    assert_eq!(engine.pay("order-1", order(1050)).await.unwrap().delivery, Delivery::Replayed);
    assert!(matches!(engine.pay("order-1", order(7)).await, Err(Rejection::Conflict { .. })));
    assert_eq!(engine.refund(id("order-1"), "back-1", None).await.unwrap_err(), Rejection::Paused);
    let mut patience = Patience::new();
    while gateway.asked() < asked + 4 {
        patience.wait(|| "questions".to_owned()).await;
    }
    let waiting = engine.get(id("order-2")).await.unwrap().unwrap();
    let attempts = waiting.operations[0].attempts;
    assert_eq!((gateway.sent(), attempts, waiting.state()), (sent, 1, State::InDoubt), "no attempt is even begun");
    resume(&engine, "only").await;
    until(&engine, "order-2", State::Succeeded).await;
    engine.pay("order-3", order(1050)).await.unwrap();
    assert_eq!(gateway.moved(), (1, 3));
}

#[tokio::test]
async fn what_certainly_has_not_happened_at_a_paused_gateway_goes_to_another_and_so_does_what_is_new() {
    let folder = Folder::new("operators-over");
    let (a, b) = (scripted("a"), scripted("b"));
    let engine = open(&folder, &[("first", &a), ("second", &b)]).await;
    pause(&engine, "first").await;
    engine.pay("order-1", order(1050)).await.unwrap();
    assert_eq!((a.sent(), b.moved(), paused(&engine)), (0, (1, 1), vec!["first".to_owned()]));
    let named: Order = order(1050).with_gateway("first").unwrap();
    assert_eq!(engine.pay("order-2", named.clone()).await.unwrap_err(), Rejection::Paused, "its caller means it");
    pause(&engine, "second").await;
    assert_eq!(refused(&engine, "order-3").await, Rejection::Paused);
    resume(&engine, "first").await;
    engine.pay("order-2", named).await.unwrap();
    assert_eq!((a.moved(), b.moved()), ((1, 1), (1, 1)));
}

#[tokio::test]
async fn a_pause_lasts_over_kills_clean_stops_and_checkpoints_until_it_is_ended() {
    let folder = Folder::new("operators-last");
    let (a, b) = (scripted("a"), scripted("b"));
    let gateways = [("first", &a), ("second", &b)];
    let engine = open(&folder, &gateways).await;
    pause(&engine, "first").await;
    pause(&engine, "second").await;
    resume(&engine, "second").await;
    drop(engine);
    for clean in [false, true, true, false, false] {
        engine_stops(open(&folder, &gateways).await, clean).await;
    }
    async fn engine_stops(engine: Engine, clean: bool) {
        assert_eq!(paused(&engine), ["first"], "{clean}");
        let warned = engine.report().warnings.join("\n");
        assert!(warned.contains("gateway first (a) is paused, by ann: pause"), "{warned}");
        if clean {
            // Makes a checkpoint: what is older is not replayed.
            engine.close().await.expect("closes");
        }
    }
    let engine = open(&folder, &gateways).await;
    resume(&engine, "first").await;
    assert_eq!(trail(&engine, 500).await, ["resume", "resume", "pause", "pause"], "no copy counts as a deed");
    drop(engine);
    let engine = open(&folder, &gateways).await;
    assert!(paused(&engine).is_empty());
    engine.pay("order-1", order(1050)).await.unwrap();
    assert_eq!(a.moved(), (1, 1));
}

#[tokio::test]
async fn a_pause_of_a_gateway_that_is_not_configured_any_more_waits_for_it_and_the_operator_is_told() {
    let folder = Folder::new("operators-gone");
    let (a, b) = (scripted("a"), scripted("b"));
    let engine = open(&folder, &[("first", &a), ("second", &b)]).await;
    pause(&engine, "first").await;
    engine.close().await.expect("closes");
    // Another one of the same name is not the one that was paused.
    let engine = open(&folder, &[("first", &b)]).await;
    let warned = engine.report().warnings.join("\n");
    assert!(paused(&engine).is_empty() && warned.contains("first (a) was paused, by ann, and is not"), "{warned}");
    engine.close().await.expect("closes");
    assert_eq!(paused(&open(&folder, &[("other", &a), ("second", &b)]).await), ["other"]);
}

#[tokio::test]
async fn while_it_drains_nothing_new_is_taken_and_what_is_under_way_ends() {
    let folder = Folder::new("operators-drain");
    let gateway = scripted("a").then([Act::Succeed, Act::LoseRequest]);
    let engine = open(&folder, &[("only", &gateway)]).await;
    engine.pay("order-1", order(1050)).await.unwrap();
    gateway.blind(true);
    begin(&engine, "order-2").await;
    until(&engine, "order-2", State::InDoubt).await;
    act(&engine, Deed::Drain).await;
    gateway.blind(false);
    assert!(engine.is_draining() && engine.stats().troubles["draining"]);
    assert_eq!(refused(&engine, "order-3").await, Rejection::Draining);
    assert_eq!(engine.refund(id("order-1"), "back-1", None).await.unwrap_err(), Rejection::Draining);
    assert_eq!(engine.pay("order-1", order(1050)).await.unwrap().delivery, Delivery::Replayed);
    // It is asked about, is not there, and goes out again.
    until(&engine, "order-2", State::Succeeded).await;
    act(&engine, Deed::Admit).await;
    engine.pay("order-3", order(1050)).await.unwrap();
    act(&engine, Deed::Drain).await;
    drop(engine);
    let engine = open(&folder, &[("only", &gateway)]).await;
    assert!(!engine.is_draining(), "a start ends it");
    engine.pay("order-4", order(1050)).await.unwrap();
}

#[tokio::test]
async fn what_operators_did_is_told_newest_first_page_by_page_over_starts_and_segments() {
    let folder = Folder::new("operators-trail");
    let gateway = scripted("a");
    let gateways = [("only", &gateway)];
    assert_eq!(trail(&open(&folder, &gateways).await, 3).await, [""; 0]);
    let mut wanted = Vec::new();
    for deeds in [3, 0, 1, 4, 0, 0, 0, 0, 0, 2] {
        // Each start begins a segment.
        let engine = open(&folder, &gateways).await;
        for number in 0..deeds {
            let deed = if number % 2 == 0 { Deed::Drain } else { Deed::Inquire(id("order-1")) };
            wanted.insert(0, deed.name());
            act(&engine, deed).await;
        }
    }
    let engine = open(&folder, &gateways).await;
    for limit in [1, 2, 3, 10, 500] {
        assert_eq!(trail(&engine, limit).await, wanted, "{limit} at a time");
    }
}

#[tokio::test]
async fn what_certainly_has_not_happened_can_be_voided_while_its_gateway_is_paused() {
    let folder = Folder::new("operators-void");
    let gateway = scripted("a").then(std::iter::repeat_n(Act::NotSent, 1_000));
    let engine = open(&folder, &[("only", &gateway)]).await;
    begin(&engine, "order-1").await;
    let mut patience = Patience::new();
    while engine.get(id("order-1")).await.unwrap().unwrap().operations[0].attempts == 0 {
        patience.wait(|| "an attempt that came to nothing".to_owned()).await;
    }
    pause(&engine, "only").await;
    let voided = engine.void(id("order-1"), "let-go").await.unwrap();
    assert_eq!((voided.payment.state(), gateway.moved()), (State::Canceled, (0, 0)));
}

#[tokio::test]
async fn a_name_means_the_gateway_that_is_configured_so_before_one_that_calls_itself_so() {
    let folder = Folder::new("operators-names");
    let (a, b) = (scripted("stripe"), scripted("other"));
    let engine = open(&folder, &[("eu", &a), ("stripe", &b)]).await;
    pause(&engine, "stripe").await;
    assert_eq!(paused(&engine), ["stripe"]);
    assert_eq!(engine.gateway("other"), engine.gateway("stripe"), "if only one calls itself so");
    engine.close().await.unwrap();
    let (a, b) = (scripted("same"), scripted("same").with(|contract| contract.identity.account = "2".into()));
    let engine = open(&folder, &[("eu", &a), ("us", &b)]).await;
    assert_eq!(engine.gateway("same"), None, "nobody guesses which");
}

#[tokio::test]
async fn what_a_person_decides_is_among_the_deeds_in_all_their_words() {
    let folder = Folder::new("operators-resolve");
    let gateway = scripted("a").then(std::iter::repeat_n(Act::NotSent, 1_000));
    let engine = open(&folder, &[("only", &gateway)]).await;
    begin(&engine, "order-1").await;
    pause(&engine, "only").await;
    let person = ann(&"because ".repeat(100));
    let mut patience = Patience::new();
    let resolution = || Resolution { operation: None, verdict: Verdict::Cancel, reply: None, person: person.clone() };
    while let Err(refused) = engine.resolve_as(id("order-1"), resolution(), Some("ops".to_owned())).await {
        patience.wait(|| refused.to_string()).await;
    }
    let told = engine.pay("order-1", order(1050)).await.unwrap().payment;
    assert!(!told.operations[0].reply().unwrap().message().contains("because"), "not for its caller");
    let deeds = engine.audits(None, 1).await.unwrap().audits;
    assert_eq!((&deeds[0].1.deed, &deeds[0].1.person), (&Deed::Resolve(id("order-1")), &person));
}
