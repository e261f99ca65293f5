//! A recorded history, decided again and lived again.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on has failed")]

mod stage;

use std::{sync::Arc, time::Duration};

use payonce::{
    IdempotencyKey, Tenant,
    disk::OsDisk,
    journal,
    payment::{Contract, Encoder, Identity, Inquiry, Rules},
    sim::{History, decide_again, relive},
};
use stage::{Act, Folder, Patience, Scripted, open, options, order};

/// Every outcome a sending can have, and a few starts.
async fn record(folder: &Folder) {
    let acts = [Act::Succeed, Act::Decline, Act::LoseReply, Act::LoseRequest, Act::NotSent, Act::Refuse, Act::Hang];
    let gateway = Scripted::new().then(acts).with(|contract| contract.deadline = Duration::from_millis(50));
    for start in 0..3 {
        let engine = open(folder, &gateway).await;
        for number in 0..4 {
            let key = format!("order-{start}-{number}");
            let pay = engine.pay(&key, order(1050));
            // What hangs stays under way at the stop, and is taken up by the next start.
            let _ = tokio::time::timeout(Duration::from_secs(2), pay).await;
        }
        engine.close().await.unwrap();
    }
    // Killed before anything follows: the next start records again what is not evidently durable.
    let engine = open(folder, &Scripted::new().then([Act::Hang])).await;
    let (tenant, key) = (Tenant::default(), IdempotencyKey::new("order-last").unwrap());
    engine.submit(&tenant, &key, order(1050), Duration::ZERO).await.unwrap();
    drop(engine);
    let engine = open(folder, &gateway).await;
    let mut patience = Patience::new();
    for number in 0..12 {
        let key = format!("order-{}-{}", number / 4, number % 4);
        while !engine.pay(&key, order(1050)).await.unwrap().payment.is_settled() {
            patience.wait(|| key.clone()).await;
        }
    }
    engine.close().await.unwrap();
}

fn history(folder: &Folder, not_found_times: u32) -> History {
    let mut contract = Contract::standard(Identity::default());
    contract.inquiry = Inquiry::ByKey { not_found_lag: Duration::ZERO, not_found_times };
    let rules = Rules { schedule: options(folder).schedule, ..Rules::new(contract, Encoder::plain()) };
    let found = journal::open(Arc::new(OsDisk::new(&folder.0).unwrap()), journal::Options::default()).unwrap();
    decide_again(&found, &rules).unwrap()
}

#[tokio::test]
async fn what_was_decided_is_decided_again_and_other_rules_are_named() {
    let folder = Folder::new("replay");
    record(&folder).await;
    let same = history(&folder, 2);
    assert_eq!(same.disagreements, []);
    assert_eq!(same.orders.len(), 13);
    assert!(same.facts > 12 * 3, "{same:?}");

    let stricter = history(&folder, 5);
    let named = |what: &str| stricter.disagreements.iter().any(|one| one.what.contains(what));
    assert!(named("attempt_started was recorded; today nothing leads to it"), "{stricter:?}");

    for seed in 0..20 {
        assert_eq!(relive(seed, &same.orders).violation, None, "seed {seed}");
    }
}
