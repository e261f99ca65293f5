//! What has come to rest is answered on the caller's own thread, and never with less than somebody was told before.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on has failed")]

mod stage;

use std::{
    sync::{Arc, Condvar, Mutex},
    time::Duration,
};

use payonce::{
    Amount, Delivery, Engine, IdempotencyKey, Invalid, Payment, PaymentId, Rejection, State, Tenant,
    gateway::{Answer, Asked, Gateway, Question, Sending},
    payment::{Contract, FollowUp, Kind},
};
use stage::{Folder, Patience, Scripted, open, open_on, options, order};

/// Holds up the engine's own thread when it is sent this amount, until the test lets it go on.
const HELD: u64 = 13;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    Free,
    Shut,
    /// The engine's thread stands before it.
    Reached,
}

#[derive(Clone)]
struct Turnstile {
    inner: Scripted,
    way: Arc<(Mutex<Way>, Condvar)>,
}

impl Turnstile {
    fn hold(&self, amount: Amount) {
        if amount == Amount::new(HELD).unwrap() {
            let mut way = self.way.0.lock().unwrap();
            if *way == Way::Shut {
                *way = Way::Reached;
            }
            drop(self.way.1.wait_while(way, |way| *way == Way::Reached).unwrap());
        }
    }

    fn shut(&self) {
        *self.way.0.lock().unwrap() = Way::Shut;
    }

    async fn until_reached(&self) {
        let mut patience = Patience::new();
        while *self.way.0.lock().unwrap() != Way::Reached {
            patience.wait(|| "the engine's thread".to_owned()).await;
        }
    }

    fn free(&self) {
        *self.way.0.lock().unwrap() = Way::Free;
        self.way.1.notify_all();
    }
}

impl Gateway for Turnstile {
    fn contract(&self) -> &Contract {
        self.inner.contract()
    }

    fn answers_at_once(&self) -> bool {
        true
    }

    /// The engine encodes a refund while it decides.
    fn encode(&self, asked: &Asked<'_>) -> Result<Vec<u8>, Invalid> {
        if asked.kind == Kind::Refund {
            self.hold(asked.amount);
        }
        self.inner.encode(asked)
    }

    fn send(&self, sending: Sending) -> Answer<'_> {
        self.hold(sending.amount);
        self.inner.send(sending)
    }

    fn inquire(&self, question: Question) -> Answer<'_> {
        self.inner.inquire(question)
    }
}

fn id(key: &str) -> PaymentId {
    PaymentId::derive(&Tenant::default(), &IdempotencyKey::new(key).unwrap())
}

/// Pays others until nothing but the last of them is in memory: it is given back with the next turn.
async fn until_memory_is_empty(engine: &Engine, others: &str) {
    let mut patience = Patience::new();
    for number in 0.. {
        engine.pay(&format!("{others}-{number}"), order(1)).await.unwrap();
        if engine.stats().store.in_memory <= 1 {
            return;
        }
        patience.wait(|| format!("{} payments are in memory", engine.stats().store.in_memory)).await;
    }
}

/// With `order-1` settled, which is at rest, and in memory no more.
async fn open_with_one_at_rest(folder: &Folder) -> (Engine, Arc<Payment>, Turnstile) {
    let way = Turnstile { inner: Scripted::new().at_once(), way: Arc::new((Mutex::new(Way::Free), Condvar::new())) };
    let engine = open_on(options(folder), Arc::new(way.clone())).await;
    let told = engine.pay("order-1", order(1050)).await.unwrap().payment;
    until_memory_is_empty(&engine, "other").await;
    (engine, told, way)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_settled_key_is_read_replayed_and_guarded_against_other_parameters_while_the_engine_is_held_up() {
    let folder = Folder::new("rested-held-up");
    let (engine, told, way) = open_with_one_at_rest(&folder).await;
    way.shut();
    let payer = engine.clone();
    let held_up = tokio::spawn(async move { payer.pay("held-up", order(HELD)).await });
    way.until_reached().await;
    let read = tokio::time::timeout(Duration::from_secs(30), async {
        let again = engine.pay("order-1", order(1050)).await.unwrap();
        let other = engine.pay("order-1", order(1051)).await.unwrap_err();
        (again, other, engine.get(id("order-1")).await.unwrap().unwrap())
    });
    let read = read.await;
    way.free();

    let (again, other, looked_up) = read.expect("the engine's thread is not needed for it");
    assert_eq!((again.delivery, &again.payment, &looked_up), (Delivery::Replayed, &told, &told));
    assert_eq!(other, Rejection::Conflict { id: id("order-1"), differing: vec!["amount"] });
    assert_eq!(held_up.await.unwrap().unwrap().payment.state(), State::Succeeded);
}

/// What rests does not know of it yet.
#[tokio::test(flavor = "multi_thread")]
async fn who_stops_waiting_for_a_refund_that_is_being_recorded_is_not_told_that_nothing_was() {
    let folder = Folder::new("rested-patience");
    let (engine, _, way) = open_with_one_at_rest(&folder).await;
    way.shut();
    let asking = engine.clone();
    let patience_over = Duration::from_millis(100);
    let refund = tokio::spawn(async move {
        let (key, part) =
            (IdempotencyKey::new("refund-1").unwrap(), FollowUp::Refund(Some(Amount::new(HELD).unwrap())));
        asking.operate(&Tenant::default(), id("order-1"), &key, part, patience_over).await
    });
    way.until_reached().await;
    tokio::time::sleep(3 * patience_over).await;
    way.free();

    let told = refund.await.unwrap().expect("it was recorded");
    assert_eq!((told.delivery, told.payment.operations.len()), (Delivery::Attached, 2));
}

/// Refunds bring a payment back into memory, and it goes to rest again, many times, while it is read.
#[tokio::test(flavor = "multi_thread")]
async fn whoever_was_told_of_a_refund_reads_it_from_then_on() {
    let folder = Folder::new("rested-refunds");
    let engine = open(&folder, &Scripted::new().at_once()).await;
    let each = (0..8).map(|number| {
        let engine = engine.clone();
        tokio::spawn(async move {
            let key = format!("order-{number}");
            engine.pay(&key, order(1050)).await.unwrap();
            for (refund, pause) in (1..=40).zip([0, 25, 50, 75].into_iter().cycle()) {
                let cent = Some(Amount::new(1).unwrap());
                engine.refund(id(&key), &format!("refund-{refund}"), cent).await.unwrap();
                let seen = engine.get(id(&key)).await.unwrap().unwrap();
                let again = engine.pay(&key, order(1050)).await.unwrap().payment;
                assert_eq!((seen.operations.len(), again.operations.len()), (refund + 1, refund + 1));
                // Long enough, at times, for the store to take it and for memory to let go of it.
                tokio::time::sleep(Duration::from_millis(pause)).await;
            }
        })
    });
    for reader in each.collect::<Vec<_>>() {
        reader.await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn once_it_is_closed_nothing_is_read_and_the_folder_is_free_whoever_still_holds_the_engine() {
    let folder = Folder::new("rested-closed");
    let gateway = Scripted::new();
    let engine = open(&folder, &gateway).await;
    engine.pay("order-1", order(1050)).await.unwrap();
    until_memory_is_empty(&engine, "other").await;
    let holder = engine.clone();
    engine.close().await.unwrap();
    assert!(matches!(holder.pay("order-1", order(1050)).await, Err(Rejection::Stopped(_))));
    assert!(matches!(holder.get(id("order-1")).await, Err(Rejection::Stopped(_))));
    let engine = open(&folder, &gateway).await;
    assert_eq!(engine.pay("order-1", order(1050)).await.unwrap().delivery, Delivery::Replayed);
}
