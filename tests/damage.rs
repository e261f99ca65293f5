//! What is done to the files while nobody looks: the store is rebuilt and says so, the journal is never guessed at.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test that cannot go on has failed"
)]

mod stage;

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use payonce::{Delivery, Engine, OpenError, Payment, Rejection, State};
use stage::{Folder, Patience, Scripted, open, options, order};

const PAYMENTS: u32 = 40;

/// Makes payments and stops, in order or not.
async fn history(folder: &Folder, gateway: &Scripted, clean: bool) -> Vec<Arc<Payment>> {
    let engine = open(folder, gateway).await;
    let mut paid = Vec::new();
    for n in 0..PAYMENTS {
        paid.push(engine.pay(&format!("order-{n}"), order(1050)).await.unwrap().payment);
    }
    if clean {
        engine.close().await.unwrap()
    } else {
        drop(engine)
    }
    paid
}

/// Every answer is still given, and the gateway was not called for it.
async fn all_there(engine: &Engine, gateway: &Scripted, paid: &[Arc<Payment>]) {
    for (n, payment) in paid.iter().enumerate() {
        let again = engine.pay(&format!("order-{n}"), order(1050)).await.unwrap();
        assert_eq!((&again.payment, again.delivery), (payment, Delivery::Replayed));
    }
    assert_eq!(gateway.moved(), (1, paid.len()));
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { found.extend(files(&path)) } else { found.push(path) }
    }
    found.sort();
    found
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let target = to.join(path.file_name().unwrap());
        if path.is_dir() {
            copy(&path, &target)
        } else {
            fs::copy(&path, &target).unwrap();
        }
    }
}

#[tokio::test]
async fn a_store_that_is_gone_truncated_foreign_or_torn_is_rebuilt_with_the_same_answers() {
    for (clean, damage) in
        [(true, "gone"), (false, "gone"), (true, "short"), (false, "foreign"), (true, "garbage"), (false, "torn")]
    {
        let folder = Folder::new("store");
        let gateway = Scripted::new();
        let paid = history(&folder, &gateway, clean).await;
        // The lock is free once the folder can be opened: only then may its files be touched.
        drop(open(&folder, &gateway).await.close().await);
        let store = folder.0.join("store");
        let before = files(&store);
        match damage {
            "gone" => fs::remove_dir_all(&store).unwrap(),
            "short" => {
                let db = before.iter().max_by_key(|path| fs::metadata(path).unwrap().len()).unwrap();
                fs::OpenOptions::new().write(true).open(db).unwrap().set_len(1000).unwrap();
            }
            "foreign" => {
                let other = Folder::new("store-other");
                history(&other, &Scripted::new(), true).await;
                fs::remove_dir_all(&store).unwrap();
                copy(&other.0.join("store"), &store);
            }
            "garbage" => before.iter().for_each(|path| fs::write(path, b"garbage").unwrap()),
            "torn" => {
                let snapshot = before.iter().find(|path| path.to_string_lossy().contains("snap.")).cloned();
                let name = store.join("snap.FFFFFFFFFFFFFFFF.generating");
                fs::write(name, snapshot.map_or_else(Vec::new, |path| fs::read(path).unwrap())).unwrap();
            }
            other => panic!("{other}"),
        }
        let engine = open(&folder, &gateway).await;
        assert_eq!(engine.report().rebuilt.is_some(), damage != "torn", "{damage}: {}", engine.report());
        all_there(&engine, &gateway, &paid).await;
        engine.close().await.unwrap();
    }
}

#[tokio::test]
async fn a_store_that_was_rebuilt_by_hand_is_not_rebuilt_again() {
    for clean in [true, false] {
        let folder = Folder::new("by-hand");
        let gateway = Scripted::new();
        let paid = history(&folder, &gateway, clean).await;
        let mut patience = Patience::new();
        let rebuilt = loop {
            match payonce::runtime::rebuild_store(&folder.0) {
                Ok(rebuilt) => break rebuilt,
                Err(OpenError::Lock(held)) => patience.wait(|| held.to_string()).await,
                Err(other) => panic!("{other}"),
            }
        };
        assert!(rebuilt.rows + 1 >= u64::from(PAYMENTS), "the last batch may lack evidence: {rebuilt:?}");
        let engine = open(&folder, &gateway).await;
        assert_eq!(engine.report().rebuilt, None);
        all_there(&engine, &gateway, &paid).await;
        engine.close().await.unwrap();
    }
}

#[tokio::test]
async fn an_older_copy_of_the_journal_under_a_newer_store_refuses_to_start() {
    let folder = Folder::new("older");
    let gateway = Scripted::new();
    history(&folder, &gateway, true).await;
    let older = Folder::new("older-copy");
    copy(&folder.0.join("journal"), &older.0);
    let engine = open(&folder, &gateway).await;
    engine.pay("one-more", order(7)).await.unwrap();
    engine.close().await.unwrap();
    fs::remove_dir_all(folder.0.join("journal")).unwrap();
    copy(&older.0, &folder.0.join("journal"));
    let refused = Engine::open(options(&folder), Arc::new(gateway.clone())).await.err().expect("it must not start");
    assert!(matches!(refused, OpenError::Engine(payonce::engine::OpenError::JournalLost { .. })), "{refused}");
}

#[tokio::test]
async fn a_copied_folder_answers_and_sends_nothing_until_it_was_said_to_be_moved() {
    let folder = Folder::new("moved");
    let gateway = Scripted::new();
    let paid = history(&folder, &gateway, true).await;
    let elsewhere = Folder::new("moved-copy");
    copy(&folder.0, &elsewhere.0);
    for _ in 0..2 {
        let engine = open(&elsewhere, &gateway).await;
        assert!(engine.report().moved, "{}", engine.report());
        all_there(&engine, &gateway, &paid).await;
        assert_eq!(engine.pay("new", order(5)).await.unwrap_err(), Rejection::Moved);
        engine.close().await.unwrap();
    }
    let mut said = options(&elsewhere);
    said.moved = true;
    let engine = stage::open_with(said, &gateway).await;
    assert_eq!(engine.pay("new", order(5)).await.unwrap().payment.state(), State::Succeeded);
    engine.close().await.unwrap();
    let engine = open(&elsewhere, &gateway).await;
    assert!(!engine.report().moved, "said once is enough");
}

/// One bit, anywhere in what was written, in a journal with several epochs: refused with its place, or nothing lost.
#[tokio::test]
async fn a_flipped_bit_in_the_journal_is_refused_with_its_place_or_loses_nothing() {
    let folder = Folder::new("flip");
    let gateway = Scripted::new();
    let mut paid = history(&folder, &gateway, true).await;
    let engine = open(&folder, &gateway).await;
    paid.push(engine.pay(&format!("order-{PAYMENTS}"), order(1050)).await.unwrap().payment);
    engine.close().await.unwrap();
    let mut refused = 0;
    for path in files(&folder.0.join("journal")) {
        let whole = fs::read(&path).unwrap();
        let written = whole.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
        for place in (0..written).step_by(written / 12 + 1) {
            let mut bytes = whole.clone();
            bytes[place] ^= 1 << (place % 8);
            fs::write(&path, &bytes).unwrap();
            let copied = Folder::new("flip-copy");
            copy(&folder.0, &copied.0);
            match Engine::open(options(&copied), Arc::new(gateway.clone())).await {
                Err(error @ OpenError::Engine(payonce::engine::OpenError::Journal(_))) => {
                    let text = error.to_string();
                    assert!(text.contains(".log") && text.contains("at byte"), "{text}");
                    refused += 1;
                }
                Err(other) => panic!("{}: {place}: {other}", path.display()),
                Ok(engine) => all_there(&engine, &gateway, &paid).await,
            }
        }
        fs::write(&path, &whole).unwrap();
    }
    assert!(refused > 5, "{refused}");
    all_there(&open(&folder, &gateway).await, &gateway, &paid).await;
}

/// Opening looks at no row: the damage shows when the start puts another into the same pack.
#[tokio::test]
async fn a_start_that_finds_a_damaged_row_rebuilds_the_store_and_answers() {
    let folder = Folder::new("bad-pack");
    let gateway = Scripted::new();
    let engine = open(&folder, &gateway).await;
    let mut paid = Vec::new();
    for number in 0..3 {
        paid.push(engine.pay(&format!("order-{number}"), order(5)).await.unwrap().payment);
    }
    let mut patience = Patience::new();
    while engine.stats().store.lag > 0 {
        patience.wait(|| "the store to take them".to_owned()).await;
    }
    drop(engine);
    drop(open(&folder, &gateway).await);
    let mut store = sled::open(folder.0.join("store"));
    while store.is_err() {
        patience.wait(|| "the store to be let go of".to_owned()).await;
        store = sled::open(folder.0.join("store"));
    }
    let db = store.unwrap();
    for pack in db.scan_prefix(b"p") {
        let (key, value) = pack.unwrap();
        let mut value = value.to_vec();
        *value.last_mut().unwrap() ^= 1;
        db.insert(key, value).unwrap();
    }
    db.flush().unwrap();
    drop(db);
    let engine = open(&folder, &gateway).await;
    assert!(engine.report().rebuilt.is_some());
    for payment in paid {
        assert_eq!(engine.get(payment.id).await.unwrap().as_deref(), Some(payment.as_ref()));
    }
}
