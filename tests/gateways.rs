//! Several gateways in one engine: a payment goes to one that answers, stays where anything may have happened, and is asked
//! about there, whatever else is up or down.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, reason = "tests")]

mod stage;

use std::{sync::Arc, time::Duration};

use payonce::{
    Currency, Delivery, Engine, GatewayRoute, OpenError, Order, PaymentId, Rejection, State,
    payment::{IdempotencyKey, Tenant},
};
use stage::{Act, Folder, Patience, Scripted, options, order};

fn scripted(name: &str) -> Scripted {
    let name = name.to_owned();
    Scripted::new().with(|contract| contract.identity.name = name.into())
}

fn routes(gateways: &[(&str, &Scripted)]) -> Vec<GatewayRoute> {
    gateways.iter().map(|(name, gateway)| GatewayRoute::new(name, Arc::new((*gateway).clone()))).collect()
}

/// Opens; waits for an engine that was dropped to let go of the folder.
async fn open(folder: &Folder, gateways: &[(&str, &Scripted)]) -> Engine {
    let mut patience = Patience::new();
    loop {
        match Engine::open_with(options(folder), routes(gateways)).await {
            Ok(engine) => return engine,
            Err(OpenError::Lock(_)) => patience.wait(|| "the folder".to_owned()).await,
            Err(error) => panic!("{error}"),
        }
    }
}

fn id(key: &str) -> PaymentId {
    PaymentId::derive(&Tenant::default(), &IdempotencyKey::new(key).unwrap())
}

async fn at(engine: &Engine, key: &str) -> String {
    engine.get(id(key)).await.unwrap().unwrap().first().unwrap().gateway.name.to_string()
}

async fn until(engine: &Engine, key: &str, state: State) {
    let mut patience = Patience::new();
    while engine.get(id(key)).await.unwrap().unwrap().state() != state {
        patience.wait(|| format!("{key} {}", state.as_str())).await;
    }
}

#[tokio::test]
async fn a_gateway_that_cannot_be_reached_is_passed_over_and_the_caller_does_not_notice() {
    let folder = Folder::new("gateways-over");
    let (a, b) = (scripted("a").then([Act::NotSent]), scripted("b"));
    let engine = open(&folder, &[("first", &a), ("second", &b)]).await;
    let answer = engine.pay("order-1", order(1050)).await.unwrap();
    assert_eq!((answer.payment.state(), answer.delivery), (State::Succeeded, Delivery::Fresh));
    assert_eq!((at(&engine, "order-1").await.as_str(), a.moved().1, b.moved()), ("b", 0, (1, 1)));
    // The next one goes where it is preferred: one that failed once is not shut.
    engine.pay("order-2", order(1050)).await.unwrap();
    assert_eq!((at(&engine, "order-2").await.as_str(), a.moved()), ("a", (1, 1)));
}

#[tokio::test]
async fn what_may_have_happened_at_one_gateway_is_never_sent_to_another_and_is_asked_about_there() {
    let folder = Folder::new("gateways-doubt");
    let (a, b) = (scripted("a").then([Act::LoseReply]), scripted("b"));
    a.blind(true);
    let engine = open(&folder, &[("first", &a), ("second", &b)]).await;
    let mut patient = Order::clone(&order(1050));
    patient.description = Some("a patient one".to_owned());
    let key = IdempotencyKey::new("order-1").unwrap();
    engine.submit(&Tenant::default(), &key, patient, Duration::ZERO).await.unwrap();
    until(&engine, "order-1", State::InDoubt).await;
    drop(engine);
    let engine = open(&folder, &[("first", &a), ("second", &b)]).await;
    let asked = a.asked();
    let mut patience = Patience::new();
    while a.asked() < asked + 3 {
        patience.wait(|| "questions".to_owned()).await;
    }
    assert_eq!((b.sent(), b.asked(), a.moved()), (0, 0, (1, 1)));
    a.blind(false);
    until(&engine, "order-1", State::Succeeded).await;
    assert_eq!((b.sent(), a.moved()), (0, (1, 1)));
}

#[tokio::test]
async fn after_ten_failures_new_payments_go_elsewhere_at_once_and_come_back_when_it_answers() {
    let folder = Folder::new("gateways-shut");
    let (a, b) = (scripted("a").then([Act::NotSent; 10]), scripted("b"));
    let engine = open(&folder, &[("first", &a), ("second", &b)]).await;
    for number in 0..10 {
        engine.pay(&format!("order-{number}"), order(1050)).await.unwrap();
    }
    assert_eq!((a.sent(), b.moved()), (0, (1, 10)));
    let answer = engine.pay("order-10", order(1050)).await.unwrap();
    assert_eq!(answer.payment.first().unwrap().attempts, 1, "the other one was not even tried");
    assert_eq!(at(&engine, "order-10").await, "b");
    let mut patience = Patience::new();
    let mut number = 11;
    while a.moved().1 == 0 {
        engine.pay(&format!("order-{number}"), order(1050)).await.unwrap();
        number += 1;
        patience.wait(|| "the first gateway to be tried again".to_owned()).await;
    }
    let moved = a.moved().1 + b.moved().1;
    assert_eq!((moved, a.moved().0, b.moved().0), (number, 1, 1), "each payment moved once, at one of them");
}

#[tokio::test]
async fn a_gateway_is_chosen_by_name_by_currency_or_because_it_is_for_anything() {
    let folder = Folder::new("gateways-choice");
    let (a, b, c) = (scripted("a"), scripted("b"), scripted("c"));
    let mut gateways = routes(&[("any", &a), ("eu", &b), ("named", &c)]);
    gateways[1].currencies = vec![Currency::new("EUR").unwrap()];
    gateways[2].currencies = vec![Currency::new("CHF").unwrap()];
    let engine = Engine::open_with(options(&folder), gateways).await.unwrap();
    let euros = Order::new(order(5).amount, Currency::new("EUR").unwrap(), "alice", "bob").unwrap();
    for (key, order, gateway) in [
        ("order-1", order(5), "a"),
        ("order-2", euros.clone(), "b"),
        ("order-3", euros.clone().with_gateway("any").unwrap(), "a"),
        ("order-4", euros.clone().with_gateway("named").unwrap(), "c"),
    ] {
        engine.pay(key, order).await.unwrap();
        assert_eq!(at(&engine, key).await, gateway, "{key}");
    }
    let unknown = engine.pay("order-5", euros.clone().with_gateway("nowhere").unwrap()).await;
    assert!(matches!(unknown, Err(Rejection::InvalidOrder(invalid)) if invalid.field == "gateway"));
    assert!(engine.get(id("order-5")).await.unwrap().is_none(), "its key is not spent");
    // Where it is to go is part of what a key stands for.
    let other = engine.pay("order-4", euros).await;
    assert!(matches!(other, Err(Rejection::Conflict { differing, .. }) if differing == ["gateway"]));
}

#[tokio::test]
async fn a_kill_between_leaving_one_gateway_and_reaching_the_other_changes_nothing() {
    let folder = Folder::new("gateways-kill");
    let (a, b) = (scripted("a").then([Act::NotSent; 3]), scripted("b").then([Act::Hang, Act::LoseRequest]));
    let engine = open(&folder, &[("first", &a), ("second", &b)]).await;
    let key = IdempotencyKey::new("order-1").unwrap();
    engine.submit(&Tenant::default(), &key, order(1050), Duration::ZERO).await.unwrap();
    let mut patience = Patience::new();
    while b.sent() == 0 {
        patience.wait(|| "the second gateway".to_owned()).await;
    }
    drop(engine);
    let engine = open(&folder, &[("first", &a), ("second", &b)]).await;
    until(&engine, "order-1", State::Succeeded).await;
    assert_eq!((at(&engine, "order-1").await.as_str(), a.moved().1, b.moved()), ("b", 0, (1, 1)));
    assert!(a.asked() == 0 && b.asked() > 0, "only the one that may have acted was asked");
}

#[tokio::test]
async fn a_gateway_whose_calls_all_hang_holds_up_nobody_else() {
    let folder = Folder::new("gateways-hang");
    let (a, b) = (scripted("a").then([Act::Hang; 4]), scripted("b"));
    let mut gateways = routes(&[("slow", &a), ("quick", &b)]);
    gateways[0].slots = Some(2);
    let engine = Engine::open_with(options(&folder), gateways).await.unwrap();
    let mut waiting = Vec::new();
    for number in 0..6 {
        let engine = engine.clone();
        let slow = order(1050).with_gateway("slow").unwrap();
        waiting.push(tokio::spawn(async move { engine.pay(&format!("slow-{number}"), slow).await }));
    }
    let mut patience = Patience::new();
    while a.sent() < 2 {
        patience.wait(|| "the slow gateway".to_owned()).await;
    }
    for number in 0..20 {
        let quick = order(1050).with_gateway("quick").unwrap();
        let answer = engine.pay(&format!("quick-{number}"), quick).await.unwrap();
        assert_eq!(answer.payment.state(), State::Succeeded);
    }
    assert_eq!(a.sent(), 2, "no more than its slots");
    waiting.iter().for_each(tokio::task::JoinHandle::abort);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_payment_is_answered_when_its_gateway_is_not_configured_any_more() {
    let folder = Folder::new("gone-gateway");
    let (one, two) = (scripted("one"), scripted("two"));
    let named = order(5).with_gateway("two").unwrap();
    let engine = open(&folder, &[("one", &one), ("two", &two)]).await;
    let paid = engine.pay("order-1", named.clone()).await.unwrap();
    engine.close().await.unwrap();

    let engine = open(&folder, &[("one", &one)]).await;
    let again = engine.pay("order-1", named.clone()).await.unwrap();
    assert_eq!((again.payment.as_ref(), again.delivery), (paid.payment.as_ref(), Delivery::Replayed));
    assert!(matches!(engine.pay("order-1", order(5)).await, Err(Rejection::Conflict { .. })));
    assert!(matches!(engine.pay("order-2", named).await, Err(Rejection::InvalidOrder(_))), "no new one");
    assert!(engine.get(id("order-2")).await.unwrap().is_none(), "and its key is not spent");
}

#[tokio::test]
async fn gateways_that_nothing_tells_apart_are_refused() {
    let folder = Folder::new("gateways-same");
    let (a, b) = (scripted("a"), scripted("b"));
    for (gateways, why) in [
        (vec![], "there must be a gateway"),
        (routes(&[("one", &a), ("one", &b)]), "two gateways have the same name"),
        (routes(&[("one", &a), ("two", &a)]), "two gateways are the same account"),
    ] {
        let refused = Engine::open_with(options(&folder), gateways).await.err().expect(why);
        assert!(refused.is_usage() && refused.to_string().starts_with(why), "{refused}");
    }
}
