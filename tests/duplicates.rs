//! The guard against one purchase under two keys: off unless asked for, and never in the way of whoever means it.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, reason = "tests")]

mod stage;

use std::time::Duration;

use payonce::{
    Answer, Engine, Options, Order, PaymentId, Rejection, State,
    payment::{IdempotencyKey, Tenant},
    runtime::Watch,
};
use stage::{Act, Folder, Scripted, open, open_with, options, order};

fn watching(folder: &Folder) -> Options {
    let window = Duration::from_secs(600);
    let mut options = options(folder);
    options.duplicates = Some(Watch { window, reference: "sale".to_owned() });
    options
}

fn id(key: &str) -> PaymentId {
    PaymentId::derive(&Tenant::default(), &IdempotencyKey::new(key).unwrap())
}

async fn meant(engine: &Engine, key: &str, order: Order) -> Result<Answer, Rejection> {
    let key = IdempotencyKey::new(key).unwrap();
    engine.submit_as(&Tenant::default(), &key, order, true, Duration::from_secs(10)).await
}

fn held(answer: Result<Answer, Rejection>) -> PaymentId {
    match answer {
        Err(Rejection::PossibleDuplicate { of }) => of,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn the_same_purchase_under_another_key_is_held_until_its_caller_says_that_it_is_meant() {
    let (folder, gateway) = (Folder::new("duplicate-held"), Scripted::new());
    let engine = open_with(watching(&folder), &gateway).await;
    engine.pay("order-1", order(1050)).await.unwrap();
    assert_eq!(held(engine.pay("order-2", order(1050)).await), id("order-1"));
    assert!(engine.get(id("order-2")).await.unwrap().is_none(), "nothing was recorded, and its key is not spent");
    assert_eq!(engine.pay("order-1", order(1050)).await.unwrap().payment.state(), State::Succeeded, "a repeat is none");
    engine.pay("order-3", order(1051)).await.unwrap();
    engine.pay("order-4", order(1050).with_metadata("sale", "7").unwrap()).await.unwrap();
    assert_eq!(gateway.moved(), (1, 3));
    meant(&engine, "order-2", order(1050)).await.unwrap();
    assert_eq!(gateway.moved(), (1, 4));
    assert_eq!(held(engine.pay("order-5", order(1050)).await), id("order-2"));
}

#[tokio::test]
async fn what_was_declined_or_refused_may_be_tried_again_under_another_key_at_once() {
    let (folder, gateway) = (Folder::new("duplicate-declined"), Scripted::new().then([Act::Decline, Act::Refuse]));
    let engine = open_with(watching(&folder), &gateway).await;
    for (key, state) in [("order-1", State::Declined), ("order-2", State::Canceled), ("order-3", State::Succeeded)] {
        assert_eq!(engine.pay(key, order(1050)).await.unwrap().payment.state(), state);
    }
    held(engine.pay("order-4", order(1050)).await);
}

#[tokio::test]
async fn what_is_in_doubt_holds_another_and_so_does_what_was_asked_for_in_the_same_moment() {
    let (folder, gateway) = (Folder::new("duplicate-doubt"), Scripted::new().then([Act::LoseReply]));
    gateway.blind(true);
    let engine = open_with(watching(&folder), &gateway).await;
    let all: Vec<_> = (0..20)
        .map(|number| {
            let engine = engine.clone();
            let key = IdempotencyKey::new(&format!("order-{number}")).unwrap();
            tokio::spawn(async move { engine.submit(&Tenant::default(), &key, order(1050), Duration::ZERO).await })
        })
        .collect();
    let mut accepted = 0;
    for one in all {
        match one.await.unwrap() {
            Ok(_) => accepted += 1,
            Err(Rejection::PossibleDuplicate { .. }) => {}
            Err(other) => panic!("{other}"),
        }
    }
    assert_eq!((accepted, gateway.moved()), (1, (1, 1)));
}

#[tokio::test]
async fn a_kill_and_a_clean_stop_between_the_two_change_nothing() {
    let (folder, gateway) = (Folder::new("duplicate-kill"), Scripted::new());
    let engine = open_with(watching(&folder), &gateway).await;
    engine.pay("order-1", order(1050)).await.unwrap();
    drop(engine);
    let engine = open_with(watching(&folder), &gateway).await;
    assert_eq!(held(engine.pay("order-2", order(1050)).await), id("order-1"));
    engine.close().await.unwrap();
    let engine = open_with(watching(&folder), &gateway).await;
    assert_eq!(held(engine.pay("order-2", order(1050)).await), id("order-1"));
}

#[tokio::test]
async fn nothing_is_held_where_nobody_asked_for_it() {
    let (folder, gateway) = (Folder::new("duplicate-off"), Scripted::new());
    let engine = open(&folder, &gateway).await;
    engine.pay("order-1", order(1050)).await.unwrap();
    engine.pay("order-2", order(1050)).await.unwrap();
    assert_eq!(gateway.moved(), (1, 2));
}
