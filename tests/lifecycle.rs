//! One payment, once: through answers, losses, refusals, stops and kills.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test that cannot go on has failed"
)]

mod stage;

use std::{sync::Arc, time::Duration};

use payonce::{Delivery, IdempotencyKey, Lsn, Payment, Rejection, State, Tenant, Verdict};
use stage::{Act, Folder, Patience, Scripted, open, open_with, options, order};

/// The payment as soon as it is as wanted.
async fn until(engine: &payonce::Engine, payment: &Payment, wanted: State) -> Arc<Payment> {
    let mut patience = Patience::new();
    loop {
        let now = engine.get(payment.id).await.unwrap().expect("it was accepted");
        if now.state() == wanted {
            return now;
        }
        patience.wait(|| format!("a payment to be {wanted:?}: {now:#?}")).await;
    }
}

/// Returns once so many sendings have reached the gateway.
async fn sent(gateway: &Scripted, wanted: u32) {
    let mut patience = Patience::new();
    while gateway.sent() < wanted {
        patience.wait(|| format!("sending {wanted}, and {} came", gateway.sent())).await;
    }
}

#[tokio::test]
async fn a_payment_is_made_once_and_its_answer_given_for_ever() {
    let folder = Folder::new("once");
    let gateway = Scripted::new();
    let engine = open(&folder, &gateway).await;
    let first = engine.pay("order-1", order(1050)).await.unwrap();
    assert_eq!((first.payment.state(), first.delivery), (State::Succeeded, Delivery::Fresh));
    let again = engine.pay("order-1", order(1050)).await.unwrap();
    assert_eq!((&again.payment, again.delivery), (&first.payment, Delivery::Replayed));
    let other = engine.pay("order-1", order(1051)).await.unwrap_err();
    assert!(matches!(other, Rejection::Conflict { differing, .. } if differing == ["amount"]));
    engine.close().await.unwrap();

    let engine = open(&folder, &gateway).await;
    assert_eq!(engine.report().resumed, 0);
    let again = engine.pay("order-1", order(1050)).await.unwrap();
    assert_eq!((&again.payment, again.delivery), (&first.payment, Delivery::Replayed));
    drop(engine); // As a kill would.

    let engine = open(&folder, &gateway).await;
    let again = engine.pay("order-1", order(1050)).await.unwrap();
    assert_eq!((&again.payment, again.delivery), (&first.payment, Delivery::Replayed));
    assert_eq!((gateway.moved(), gateway.sent()), ((1, 1), 1));
}

#[tokio::test]
async fn a_lost_reply_is_asked_about_and_never_sent_again() {
    let folder = Folder::new("lost-reply");
    let gateway = Scripted::new().then([Act::LoseReply]);
    let engine = open(&folder, &gateway).await;
    let answer = engine.pay("order-1", order(1050)).await.unwrap();
    assert_eq!(answer.payment.state(), State::Succeeded);
    assert_eq!((gateway.moved(), gateway.sent()), ((1, 1), 1));
    let told: Vec<&str> = answer.payment.timeline.iter().map(|moment| moment.what.as_ref()).collect();
    assert_eq!(
        told,
        [
            "accepted",
            "intended",
            "attempt_started",
            "attempt_ended: unknown (timeout)",
            "learned: succeeded (approved)"
        ]
    );
}

#[tokio::test]
async fn a_lost_request_is_sent_again_under_its_own_key_once_that_is_proven() {
    let folder = Folder::new("lost-request");
    let gateway = Scripted::new().then([Act::LoseRequest]);
    let engine = open(&folder, &gateway).await;
    let answer = engine.pay("order-1", order(1050)).await.unwrap();
    assert_eq!(answer.payment.state(), State::Succeeded);
    assert_eq!((gateway.moved(), gateway.sent()), ((1, 1), 2));
    assert!(gateway.asked() >= 2, "one \"not found\" is no proof");
}

#[tokio::test]
async fn without_deduplication_a_lost_request_parks_and_a_person_ends_it() {
    let folder = Folder::new("park");
    let none = payonce::payment::Deduplication::None;
    let gateway = Scripted::new().with(|contract| contract.deduplication = none).then([Act::LoseRequest]);
    let engine = open(&folder, &gateway).await;
    let parked = engine.pay("order-1", order(1050)).await.unwrap().payment;
    assert_eq!(parked.state(), State::Parked);
    let person = payonce::Person { actor: "ann".to_owned(), reason: "the gateway's support says no".to_owned() };
    let resolution = |verdict| payonce::Resolution { operation: None, verdict, reply: None, person: person.clone() };
    let resend = engine.resolve(parked.id, resolution(Verdict::Resend)).await.unwrap_err();
    assert!(matches!(resend, Rejection::InvalidState { .. }), "{resend}");
    let ended = engine.resolve(parked.id, resolution(Verdict::Declined)).await.unwrap();
    assert_eq!(ended.state(), State::Declined);
    let again = engine.pay("order-1", order(1050)).await.unwrap();
    assert_eq!((again.payment.state(), again.delivery), (State::Declined, Delivery::Replayed));
    assert_eq!((gateway.moved(), gateway.sent()), ((0, 0), 1));
}

#[tokio::test]
async fn what_was_under_way_at_a_kill_is_asked_about_at_the_next_start() {
    let folder = Folder::new("killed");
    let gateway = Scripted::new().then([Act::Hang]);
    let engine = open(&folder, &gateway).await;
    let (tenant, key) = (Tenant::default(), IdempotencyKey::new("order-1").unwrap());
    let started = engine.submit(&tenant, &key, order(1050), Duration::ZERO).await.unwrap();
    assert_eq!(started.payment.state(), State::Processing);
    sent(&gateway, 1).await;
    drop(engine);

    let engine = open(&folder, &gateway).await;
    assert_eq!(engine.report().resumed, 1);
    let ended = until(&engine, &started.payment, State::Succeeded).await;
    assert_eq!(ended.operations[0].attempts, 2);
    assert_eq!(gateway.moved(), (1, 1));
    let again = engine.pay("order-1", order(1050)).await.unwrap();
    assert_eq!(again.delivery, Delivery::Replayed);
}

#[tokio::test]
async fn duplicates_at_the_same_moment_join_one_payment() {
    let folder = Folder::new("duplicates");
    let gateway = Scripted::new().then([Act::NotSent, Act::LoseReply]);
    let engine = open(&folder, &gateway).await;
    let calls = (0..50).map(|_| {
        let engine = engine.clone();
        tokio::spawn(async move { engine.pay("order-1", order(1050)).await.unwrap() })
    });
    let calls: Vec<_> = calls.collect();
    let mut fresh = 0;
    for call in calls {
        let answer = call.await.unwrap();
        assert_eq!(answer.payment.state(), State::Succeeded);
        fresh += u32::from(answer.delivery == Delivery::Fresh);
    }
    assert_eq!((fresh, gateway.moved()), (1, (1, 1)));
}

#[tokio::test]
async fn an_adapter_that_panics_leaves_its_payment_in_doubt_and_the_engine_alive() {
    let folder = Folder::new("adapter");
    let gateway = Scripted::new().then([Act::Panic]);
    let engine = open(&folder, &gateway).await;
    let answer = engine.pay("order-1", order(1050)).await.unwrap();
    assert_eq!(answer.payment.state(), State::Succeeded);
    assert_eq!((gateway.moved(), answer.payment.operations[0].attempts), ((1, 1), 2));
}

#[tokio::test]
async fn an_adapter_that_never_answers_is_given_up_after_its_deadline() {
    let folder = Folder::new("deaf");
    let gateway = Scripted::new().then([Act::Hang]).with(|contract| contract.deadline = Duration::from_millis(20));
    let engine = open(&folder, &gateway).await;
    let answer = engine.pay("order-1", order(1050)).await.unwrap();
    assert_eq!(answer.payment.state(), State::Succeeded);
    assert_eq!((gateway.moved(), answer.payment.operations[0].attempts), ((1, 1), 2));
}

/// On the engine's own thread: whatever the adapter does there, the payment is recovered as any other.
#[tokio::test]
async fn a_gateway_that_answers_at_once_and_does_not_leaves_its_payment_in_doubt_and_the_engine_alive() {
    for (act, attempts) in [
        (Act::Succeed, 1),
        (Act::LoseReply, 1),
        (Act::LoseRequest, 2),
        (Act::NotSent, 2),
        (Act::Hang, 2),
        (Act::Panic, 2),
    ] {
        let folder = Folder::new("at-once");
        let gateway = Scripted::new().at_once().then([act]);
        let engine = open(&folder, &gateway).await;
        let answer = engine.pay("order-1", order(1050)).await.unwrap();
        assert_eq!(answer.payment.state(), State::Succeeded, "{act:?}");
        assert_eq!((gateway.moved(), answer.payment.operations[0].attempts), ((1, 1), attempts), "{act:?}");
        engine.close().await.unwrap();
    }
}

#[tokio::test]
async fn a_refusal_for_good_cancels_and_a_decline_is_final() {
    let folder = Folder::new("refused");
    let gateway = Scripted::new().then([Act::Refuse, Act::Decline]);
    let engine = open(&folder, &gateway).await;
    let refused = engine.pay("order-1", order(1050)).await.unwrap().payment;
    assert_eq!(refused.state(), State::Canceled);
    assert_eq!(refused.operations[0].reply().unwrap().code(), "invalid_account");
    assert_eq!(engine.pay("order-2", order(1050)).await.unwrap().payment.state(), State::Declined);
    assert_eq!(gateway.moved(), (0, 0));
}

#[tokio::test]
async fn with_another_gateway_nothing_is_asked_or_sent_until_the_first_returns() {
    let folder = Folder::new("identity");
    let gateway = Scripted::new().then([Act::LoseReply]);
    gateway.blind(true);
    let engine = open(&folder, &gateway).await;
    let (tenant, key) = (Tenant::default(), IdempotencyKey::new("order-1").unwrap());
    let started = engine.submit(&tenant, &key, order(1050), Duration::ZERO).await.unwrap().payment;
    until(&engine, &started, State::InDoubt).await;
    engine.close().await.unwrap();

    let other = Scripted::new().with(|contract| contract.identity.account = "other".into());
    let engine = open(&folder, &other).await;
    let parked = until(&engine, &started, State::Parked).await;
    assert_eq!(parked.timeline.last().unwrap().what, "parked: gateway_changed");
    assert_eq!((other.sent(), other.asked()), (0, 0));
    engine.close().await.unwrap();

    gateway.blind(false);
    let engine = open(&folder, &gateway).await;
    until(&engine, &started, State::Succeeded).await;
    assert_eq!((gateway.moved(), gateway.sent()), ((1, 1), 1));
}

#[tokio::test]
async fn a_full_queue_refuses_at_the_door_and_records_nothing() {
    let folder = Folder::new("queue");
    let gateway = Scripted::new().then([Act::Hang, Act::Hang]);
    let mut options = options(&folder);
    (options.gateway_slots, options.queue) = (1, 1);
    let engine = open_with(options, &gateway).await;
    let (tenant, key) = (Tenant::default(), |n: u32| IdempotencyKey::new(&format!("order-{n}")).unwrap());
    engine.submit(&tenant, &key(1), order(1), Duration::ZERO).await.unwrap();
    // The only slot is taken: the second waits in line, and fills it.
    let waiting = tokio::spawn({
        let (engine, tenant, key) = (engine.clone(), tenant.clone(), key(2));
        async move { engine.submit(&tenant, &key, order(2), Duration::from_secs(2)).await }
    });
    while engine.stats().queue.held == 0 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    // Whoever is answered has passed the door since, which knows of it now.
    assert_eq!(engine.get(payonce::PaymentId::derive(&tenant, &key(2))).await.unwrap(), None);
    // It is turned away there: it does not wait for its own time to pass.
    let began = std::time::Instant::now();
    let refused = engine.submit(&tenant, &key(3), order(3), Duration::from_secs(60)).await;
    assert!(matches!(refused, Err(Rejection::Overloaded { .. })), "{refused:?}");
    assert!(began.elapsed() < Duration::from_secs(30), "{:?}", began.elapsed());
    assert_eq!(engine.get(payonce::PaymentId::derive(&tenant, &key(3))).await.unwrap(), None);
    assert!(matches!(waiting.await.unwrap(), Err(Rejection::Overloaded { .. })));
    assert_eq!(engine.get(payonce::PaymentId::derive(&tenant, &key(2))).await.unwrap(), None);
}

#[tokio::test]
async fn events_tell_the_whole_story_from_any_place() {
    let folder = Folder::new("events");
    let gateway = Scripted::new().then([Act::LoseReply]);
    let engine = open(&folder, &gateway).await;
    let paid = engine.pay("order-1", order(1050)).await.unwrap().payment;
    let mut events = engine.events(Lsn::ZERO);
    let mut story = Vec::new();
    while story.len() < paid.timeline.len() {
        let (lsn, event) = events.next().await.expect("the engine is running");
        assert_eq!(event.payment, paid.id);
        story.push((lsn, event.fact.name()));
    }
    let names: Vec<&str> = story.iter().map(|(_, name)| *name).collect();
    assert_eq!(names, ["accepted", "intended", "attempt_started", "attempt_ended", "learned"]);
    let mut rest = engine.events(story[2].0);
    assert_eq!(rest.next().await.map(|(lsn, _)| lsn), Some(story[3].0));
    drop((events, engine));
    assert!(rest.next().await.is_some());
    assert_eq!(rest.next().await, None, "the feed ends with the engine");
}

#[tokio::test]
async fn lists_merge_memory_and_store_in_id_order() {
    let folder = Folder::new("lists");
    let gateway = Scripted::new();
    let engine = open(&folder, &gateway).await;
    for n in 0..20 {
        engine.pay(&format!("order-{n}"), order(1050)).await.unwrap();
    }
    engine.close().await.unwrap();
    let gateway = Scripted::new().with(|contract| contract.deduplication = payonce::payment::Deduplication::None);
    let gateway = gateway.then([Act::LoseRequest]);
    let engine = open(&folder, &gateway).await;
    engine.pay("order-20", order(1050)).await.unwrap();
    let page = |state, after, limit| payonce::Filter {
        tenant: Some(Tenant::default()),
        state,
        attention: false,
        key: None,
        after,
        limit,
    };
    let mut ids = Vec::new();
    let mut after = None;
    loop {
        let page = engine.list(page(None, after, 6)).await.unwrap();
        ids.extend(page.payments.iter().map(|payment| payment.id));
        match page.next {
            Some(next) => after = Some(next),
            None => break,
        }
    }
    assert_eq!(ids.len(), 21);
    assert!(ids.is_sorted());
    let parked = engine.list(page(Some(State::Parked), None, 50)).await.unwrap();
    assert_eq!(parked.payments.len(), 1);
    let succeeded = engine.list(page(Some(State::Succeeded), None, 500)).await.unwrap();
    assert_eq!(succeeded.payments.len(), 20);
}
