//! Webhooks from a payment to a receiver: one that hangs, one that refuses, and a process that is killed between.

#![cfg(feature = "webhooks")]
#![allow(missing_docs, clippy::expect_used, clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

mod receiver;
mod stage;

use std::{collections::BTreeSet, time::Duration};

use payonce::{
    Engine, Lsn, PaymentId,
    deliver::{Deliveries, Endpoint, Kind, Pace},
    signature::Secret,
};
use receiver::{Heard, Mood, Receiver};
use stage::{Act, Folder, Patience, Scripted, open, order};

const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

/// In milliseconds what takes seconds and minutes elsewhere.
fn endpoint(receiver: &Receiver) -> Endpoint {
    let mut pace = Pace::default();
    pace.timeout = Duration::from_millis(150);
    pace.pause_first = Duration::from_millis(2);
    pace.pause_max = Duration::from_millis(50);
    pace.rest_first = Duration::from_millis(2);
    pace.rest_max = Duration::from_millis(50);
    pace.save_every = Duration::from_millis(20);
    let secret = Secret::parse(SECRET).unwrap();
    Endpoint::new("shop", &receiver.url(), secret).unwrap().at_pace(pace)
}

async fn pay(engine: &Engine, keys: std::ops::Range<u32>) {
    for key in keys {
        engine.pay(&format!("order-{key}"), order(1_050)).await.expect("paid");
    }
}

/// What the feed has said so far: each event's payment and place.
async fn feed(engine: &Engine, after: Lsn) -> Vec<(PaymentId, u64)> {
    let (mut events, end) = (engine.events(after), engine.durable());
    // The last record need not be an event: one that certainly comes after it shows the end.
    engine.pay(&format!("mark-{end}"), order(1)).await.expect("paid");
    let mut all = Vec::new();
    loop {
        let (lsn, event) = events.next().await.expect("the engine runs");
        if lsn > end {
            return all;
        }
        all.push((event.payment, lsn.get()));
    }
}

/// Waits until everything in the feed was heard; then checks that it was in order.
async fn all_is_heard(engine: &Engine, receiver: &Receiver, after: Lsn) -> Vec<Heard> {
    let told = feed(engine, after).await;
    assert!(!told.is_empty());
    let mut patience = Patience::new();
    loop {
        let heard = receiver.taken();
        let places: BTreeSet<u64> = heard.iter().map(|heard| heard.lsn).collect();
        if told.iter().all(|(_, lsn)| places.contains(lsn)) {
            in_order(&told, &heard);
            return heard;
        }
        patience.wait(|| format!("{} of {} events", places.len(), told.len())).await;
    }
}

/// Each payment's events in the order of the journal, as a receiver hears them that goes by webhook-id.
fn in_order(told: &[(PaymentId, u64)], heard: &[Heard]) {
    let mut known = BTreeSet::new();
    let first: Vec<&Heard> = heard.iter().filter(|heard| known.insert(heard.id.clone())).collect();
    for payment in told.iter().map(|(payment, _)| payment).collect::<BTreeSet<_>>() {
        let heard: Vec<u64> =
            first.iter().filter(|heard| heard.payment == payment.to_string()).map(|heard| heard.lsn).collect();
        assert!(heard.is_sorted(), "{payment}: {heard:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receiver_that_hangs_holds_up_no_payment_and_is_told_everything_when_it_wakes() {
    let (folder, gateway) = (Folder::new("deliver-hang"), Scripted::new().then([Act::Decline, Act::LoseReply]));
    let engine = open(&folder, &gateway).await;
    let after = engine.durable();
    let receiver = Receiver::start(SECRET, Mood::Hangs);
    let deliveries = Deliveries::start(&engine, &folder, vec![endpoint(&receiver)]).expect("starts");
    pay(&engine, 0..200).await;
    assert_eq!(receiver.taken().len(), 0, "it took nothing while every payment was made");
    let mut patience = Patience::new();
    while receiver.asked() == 0 {
        patience.wait(|| "the first delivery".to_owned()).await;
    }
    receiver.is(Mood::Takes);
    let heard = all_is_heard(&engine, &receiver, after).await;
    assert!(heard.iter().all(|heard| heard.signed), "every signature is right");
    let kinds: BTreeSet<&str> = heard.iter().map(|heard| heard.kind.as_str()).collect();
    for kind in ["payment.accepted", "payment.succeeded", "payment.declined", "payment.in_doubt"] {
        assert!(kinds.contains(kind), "{kinds:?}");
    }
    deliveries.stop().await;
    engine.close().await.expect("closes");
}

#[test]
fn what_was_not_delivered_before_a_kill_is_delivered_after_it() {
    let (folder, gateway) = (Folder::new("deliver-kill"), Scripted::new());
    let receiver = Receiver::start(SECRET, Mood::TakesEveryOther);
    for round in 0..4 {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        runtime.block_on(async {
            let engine = open(&folder, &gateway).await;
            let deliveries = Deliveries::start(&engine, &folder, vec![endpoint(&receiver)]).expect("starts");
            pay(&engine, round * 20..(round + 1) * 20).await;
            // Neither is stopped in order: both end as in a killed process.
            std::mem::forget(deliveries);
        });
        runtime.shutdown_background();
    }
    receiver.is(Mood::Takes);
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let engine = open(&folder, &gateway).await;
        let deliveries = Deliveries::start(&engine, &folder, vec![endpoint(&receiver)]).expect("starts");
        // What a kill made be recorded again is in the feed at its new place only, and so is delivered there.
        all_is_heard(&engine, &receiver, Lsn::ZERO).await;
        deliveries.stop().await;
        engine.close().await.expect("closes");
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_receiver_wants_no_more_is_dead_until_it_is_replayed() {
    let (folder, gateway) = (Folder::new("deliver-dead"), Scripted::new());
    let engine = open(&folder, &gateway).await;
    let receiver = Receiver::start(SECRET, Mood::Gone);
    let only = endpoint(&receiver).hearing(vec![Kind::parse("payment.succeeded").unwrap()]);
    let deliveries = Deliveries::start(&engine, &folder, vec![only.clone()]).expect("starts");
    pay(&engine, 0..3).await;
    let dead = async |deliveries: &Deliveries| deliveries.standings().await[0].dead.clone();
    let mut patience = Patience::new();
    while dead(&deliveries).await.len() < 3 {
        patience.wait(|| "three dead letters".to_owned()).await;
    }
    deliveries.stop().await;
    assert_eq!(deliveries.replay("shop", None).await, None, "it is stopped");

    let deliveries = Deliveries::start(&engine, &folder, vec![only]).expect("starts");
    let kept = dead(&deliveries).await;
    assert_eq!(kept.len(), 3, "the dead survive");
    assert!(kept.iter().all(|dead| dead.failing.as_ref().is_some_and(|failing| failing.why.contains("410"))));
    receiver.is(Mood::Takes);
    assert_eq!(deliveries.replay("other", None).await, None);
    assert_eq!(deliveries.replay("shop", Some(kept[0].id.clone())).await, Some(1));
    assert_eq!(deliveries.discard("shop", kept[1].id.clone()).await, Some(1));
    assert_eq!(deliveries.replay("shop", None).await.map(|replayed| replayed >= 1), Some(true));
    let mut patience = Patience::new();
    while receiver.taken().len() < 2 {
        patience.wait(|| "the two that were replayed".to_owned()).await;
    }
    let ids: BTreeSet<String> = receiver.taken().into_iter().map(|heard| heard.id).collect();
    assert_eq!(ids, BTreeSet::from([kept[0].id.clone(), kept[2].id.clone()]));
    assert_eq!(dead(&deliveries).await, []);
    deliveries.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_state_refuses_to_deliver_and_a_new_receiver_hears_of_what_comes() {
    let (folder, gateway) = (Folder::new("deliver-state"), Scripted::new());
    let engine = open(&folder, &gateway).await;
    pay(&engine, 0..1).await;
    let after = engine.durable();
    let receiver = Receiver::start(SECRET, Mood::Takes);
    let deliveries = Deliveries::start(&engine, &folder, vec![endpoint(&receiver)]).expect("starts");
    pay(&engine, 1..2).await;
    let heard = all_is_heard(&engine, &receiver, after).await;
    assert!(heard.iter().all(|heard| heard.lsn > after.get()), "not of what was before");
    deliveries.stop().await;
    std::fs::write(folder.join("webhooks/shop.state"), "payohook").expect("writable");
    let refused = Deliveries::start(&engine, &folder, vec![endpoint(&receiver)]).err().expect("refused").to_string();
    assert!(refused.starts_with("webhook shop: webhooks/shop.state is damaged"), "{refused}");
    std::fs::remove_file(folder.join("webhooks/shop.state")).expect("removable");
    let all = Deliveries::start(&engine, &folder, vec![endpoint(&receiver).from_start(true)]).expect("starts");
    all_is_heard(&engine, &receiver, Lsn::ZERO).await;
    all.stop().await;
}
