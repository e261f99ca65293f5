//! Receipts: of every kind of payment, in the hands of somebody who alters them.

#![cfg(feature = "cli")]
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, reason = "tests")]

mod program;

mod stage;

use std::{fs, sync::Arc, time::Duration};

use payonce::{
    FollowUp, IdempotencyKey, PaymentId, Tenant,
    disk::OsDisk,
    journal::{self, Found},
    receipt::{Receipt, check, compare, receipt},
};
use program::payonce;
use stage::{Act, Folder, Patience, Scripted, open, order};

fn id(key: &str) -> PaymentId {
    PaymentId::derive(&Tenant::default(), &IdempotencyKey::new(key).unwrap())
}

fn found(folder: &Folder) -> Found {
    journal::open(Arc::new(OsDisk::new(folder).unwrap()), journal::Options::default()).unwrap()
}

/// Payments that ended in every way, over four starts, one of them after a kill; and a refund.
async fn record(folder: &Folder) -> Vec<String> {
    let acts = [Act::Succeed, Act::Decline, Act::LoseReply, Act::Refuse, Act::LoseRequest, Act::NotSent, Act::Hang];
    let gateway = Scripted::new().then(acts).with(|contract| contract.deadline = Duration::from_millis(50));
    let keys: Vec<String> = (0..8).map(|number| format!("order-{number}")).collect();
    for start in 0..3 {
        let engine = open(folder, &gateway).await;
        for key in &keys {
            let _ = tokio::time::timeout(Duration::from_millis(200), engine.pay(key, order(1050))).await;
        }
        if start == 1 {
            drop(engine); // As a kill would.
        } else {
            engine.close().await.unwrap();
        }
    }
    let engine = open(folder, &gateway).await;
    let mut patience = Patience::new();
    for key in &keys {
        while !engine.pay(key, order(1050)).await.unwrap().payment.is_settled() {
            patience.wait(|| key.clone()).await;
        }
    }
    let key = IdempotencyKey::new("return-1").unwrap();
    let refund = FollowUp::Refund(Some(payonce::Amount::new(50).unwrap()));
    engine.operate(&Tenant::default(), id("order-0"), &key, refund, Duration::from_secs(10)).await.unwrap();
    engine.close().await.unwrap();
    keys
}

#[tokio::test]
async fn a_receipt_of_any_payment_agrees_with_itself_and_with_its_journal() {
    let folder = Folder::new("receipts");
    let keys = record(&folder).await;
    let found = found(&folder);
    let mut states = Vec::new();
    for key in &keys {
        let receipt = receipt(&found, &id(key)).unwrap();
        let checked = check(&receipt);
        assert_eq!((&checked.faults, checked.head.as_ref()), (&vec![], Some(&receipt.head)), "{key}");
        assert_eq!(compare(&receipt, &found).unwrap(), Vec::<String>::new(), "{key}");
        states.push((receipt.claim.state, receipt.claim.captured, receipt.claim.refunded));
    }
    assert_eq!(states[0], ("succeeded".to_owned(), 1050, 50));
    for (state, captured) in [("succeeded", 1050), ("declined", 0), ("canceled", 0)] {
        assert!(states.contains(&(state.to_owned(), captured, 0)), "{state}: {states:?}");
    }
    let unknown = receipt(&found, &id("nobody's")).unwrap_err().to_string();
    assert!(unknown.contains("holds nothing about payment"), "{unknown}");
}

#[tokio::test]
async fn whatever_is_altered_in_a_receipt_shows() {
    let folder = Folder::new("receipt-altered");
    record(&folder).await;
    let whole = receipt(&found(&folder), &id("order-2")).unwrap();
    let text = serde_json::to_string(&whole).unwrap();
    let mut read = 0;
    for place in 0..text.len() {
        for with in [b'7', b'b'] {
            let mut bytes = text.clone().into_bytes();
            bytes[place] = with;
            let Ok(altered) = serde_json::from_slice::<Receipt>(&bytes) else { continue };
            if altered != whole {
                read += 1;
                assert!(!check(&altered).faults.is_empty(), "byte {place}: {altered:?}");
            }
        }
    }
    assert!(read > 1_000, "only {read} could be read at all");
    let mut cut = whole.clone();
    cut.entries.pop();
    let mut swapped = whole.clone();
    swapped.entries.swap(0, 1);
    let mut doubled = whole.clone();
    doubled.entries.push(doubled.entries[1].clone());
    for altered in [cut, swapped, doubled] {
        assert!(!check(&altered).faults.is_empty(), "{altered:?}");
    }
}

#[tokio::test]
async fn a_receipt_that_was_made_up_whole_differs_in_its_head_and_from_the_journal() {
    let (folder, other) = (Folder::new("receipt-true"), Folder::new("receipt-forged"));
    for (folder, amount) in [(&folder, 1050), (&other, 2_000)] {
        let engine = open(folder, &Scripted::new()).await;
        engine.pay("order-1", order(amount)).await.unwrap();
        engine.close().await.unwrap();
    }
    let (real, mut forged) =
        (receipt(&found(&folder), &id("order-1")).unwrap(), receipt(&found(&other), &id("order-1")).unwrap());
    assert_eq!(check(&forged).faults, Vec::<String>::new(), "by itself it cannot be told");
    assert_ne!(forged.head, real.head);
    assert!(compare(&forged, &found(&folder)).unwrap()[0].contains("another journal"));
    forged.journal.clone_from(&real.journal);
    assert!(!check(&forged).faults.is_empty());
    assert!(compare(&forged, &found(&folder)).unwrap()[0].contains("does not stand like this"));
}

#[tokio::test]
async fn a_receipt_is_printed_beside_the_daemon_and_verified_without_its_folder() {
    let folder = Folder::new("receipt-program");
    let engine = open(&folder, &Scripted::new()).await;
    engine.pay("order-1", order(1050)).await.unwrap();
    let (id, data) = (id("order-1").to_string(), folder.to_str().unwrap());
    let mut patience = Patience::new();
    let printed = loop {
        let printed = payonce(&["receipt", &id, "--data", data]).output().unwrap();
        if String::from_utf8_lossy(&printed.stdout).contains("\"succeeded\",\n    \"amount\"") {
            break printed;
        }
        patience.wait(|| format!("a receipt of what is durable: {printed:?}")).await;
    };
    let receipt: Receipt = serde_json::from_slice(&printed.stdout).unwrap();
    let elsewhere = Folder::new("receipt-elsewhere");
    let file = elsewhere.join("receipt.json");
    fs::write(&file, &printed.stdout).unwrap();
    let file = file.to_str().unwrap();
    for (more, code) in [
        (&[][..], 0),
        (&["--head", &receipt.head], 0),
        (&["--head", "00"], 1),
        (&["--data", data], 0),
        (&["--data", elsewhere.to_str().unwrap()], 3),
    ] {
        let verified = payonce(&[&["verify-receipt", file], more].concat()).output().unwrap();
        assert_eq!(verified.status.code(), Some(code), "{more:?}: {verified:?}");
    }
    let told = payonce(&["verify-receipt", file, "--json"]).output().unwrap();
    let told: serde_json::Value = serde_json::from_slice(&told.stdout).unwrap();
    assert_eq!((&told["whole"], &told["claim"]["captured"]), (&true.into(), &1050.into()));
    fs::write(file, String::from_utf8(printed.stdout).unwrap().replace("acct_bob", "acct_eve")).unwrap();
    let altered = payonce(&["verify-receipt", file]).output().unwrap();
    assert_eq!((altered.status.code(), altered.stdout.is_empty()), (Some(1), true));
    assert!(String::from_utf8_lossy(&altered.stderr).contains("what is said of it is not what its bytes say"));
    assert_eq!(payonce(&["receipt", "order-1", "--data", data]).output().unwrap().status.code(), Some(2));
    engine.close().await.unwrap();
}
