//! Long outages, many doubts, slow gateways, and people in a hurry: the engine neither stops, nor starves anybody.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test that cannot go on has failed"
)]

mod stage;

use std::{
    fs,
    path::Path,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use payonce::{
    Amount, Delivery, Engine, FollowUp, IdempotencyKey, Invalid, OpenError, Options, Order, Payment, PaymentId,
    Rejection, State, Tenant,
    gateway::{Answer, Asked, Gateway, Question, Sending},
    payment::{Contract, Deduplication, Identity, Outcome, Reply},
};
use stage::{Act, Folder, Patience, Scripted, open, open_on, open_with, options, order};

/// Never tries again within a test.
fn patient(folder: &Folder) -> Options {
    let mut options = options(folder);
    options.schedule.pause_first = Duration::from_secs(600);
    options.schedule.pause_max = Duration::from_secs(600);
    options
}

/// A gateway that cannot be reached.
fn unreachable() -> Scripted {
    Scripted::new().then(std::iter::repeat_n(Act::NotSent, 100_000))
}

async fn submit(engine: &Engine, number: usize, order: Order) -> Result<Arc<Payment>, Rejection> {
    let key = IdempotencyKey::new(&format!("order-{number}")).unwrap();
    engine.submit(&Tenant::default(), &key, order, Duration::ZERO).await.map(|answer| answer.payment)
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let target = to.join(path.file_name().unwrap());
        if path.is_dir() {
            copy(&path, &target);
        } else {
            fs::copy(&path, &target).unwrap();
        }
    }
}

#[tokio::test]
async fn a_folder_whose_journal_is_gone_is_not_taken_for_a_new_one() {
    for emptied in [false, true] {
        let folder = Folder::new("lost-journal");
        let gateway = Scripted::new();
        let engine = open(&folder, &gateway).await;
        engine.pay("order-1", order(5)).await.unwrap();
        engine.close().await.unwrap();
        let journal = folder.0.join("journal");
        if emptied {
            for entry in fs::read_dir(&journal).unwrap() {
                fs::OpenOptions::new().write(true).open(entry.unwrap().path()).unwrap().set_len(0).unwrap();
            }
        } else {
            fs::remove_dir_all(&journal).unwrap();
        }
        let refused = Engine::open(options(&folder), Arc::new(gateway.clone())).await.err();
        assert!(refused.is_some(), "the same key would be charged again");
        assert!(emptied || matches!(refused, Some(OpenError::JournalGone { .. })));
    }
}

/// The largest bodies that HTTP takes, unresolved: more than any one batch holds.
#[tokio::test]
async fn many_large_unresolved_payments_survive_a_stop_and_a_kill() {
    let folder = Folder::new("large");
    let gateway = unreachable();
    let engine = open_with(patient(&folder), &gateway).await;
    for number in 0..70 {
        let pair = |order: Order, n| order.with_metadata(&format!("k{n}"), &"\u{20ac}".repeat(500)).unwrap();
        submit(&engine, number, (0..50).fold(order(5), pair)).await.unwrap();
    }
    engine.close().await.unwrap();
    let engine = open_with(patient(&folder), &gateway).await;
    assert_eq!(engine.report().resumed, 70);
    drop(engine);
    assert_eq!(open_with(patient(&folder), &gateway).await.report().resumed, 70);
}

#[tokio::test]
async fn many_unresolved_payments_are_no_full_disk() {
    let folder = Folder::new("unresolved");
    let engine = open_with(patient(&folder), &unreachable()).await;
    for number in 0..2_500 {
        submit(&engine, number, order(5)).await.unwrap();
    }
}

#[tokio::test]
async fn a_checkpoint_does_not_ask_for_the_next() {
    let folder = Folder::new("breeding");
    let mut options = patient(&folder);
    options.checkpoint_bytes = 64 << 10;
    let engine = open_with(options, &unreachable()).await;
    for number in 0..200 {
        submit(&engine, number, order(5).with_description(&"d".repeat(900)).unwrap()).await.unwrap();
    }
    // Each question is a turn: if a checkpoint led to another, a thousand would fill many segments.
    let segments = || fs::read_dir(folder.0.join("journal")).unwrap().count();
    let before = segments();
    let key = IdempotencyKey::new("order-1").unwrap();
    for _ in 0..1_000 {
        engine.get(PaymentId::derive(&Tenant::default(), &key)).await.unwrap();
    }
    assert!(segments() <= before + 1, "{before} segments became {}", segments());
}

/// A gateway whose inquiries are slow and say nothing.
#[derive(Clone)]
struct Slow(Contract, Arc<Mutex<Vec<Duration>>>);

impl Gateway for Slow {
    fn contract(&self) -> &Contract {
        &self.0
    }

    fn encode(&self, asked: &Asked<'_>) -> Result<Vec<u8>, Invalid> {
        Ok(asked.amount.to_string().into_bytes())
    }

    fn send(&self, sending: Sending) -> Answer<'_> {
        Box::pin(async move {
            self.1.lock().unwrap().push(sending.deadline - Instant::now());
            match sending.amount.minor_units() {
                7 => Outcome::Succeeded(Reply::new("ok", "")),
                _ => Outcome::Unknown(Reply::new("timeout", "")),
            }
        })
    }

    fn inquire(&self, _: Question) -> Answer<'_> {
        Box::pin(async {
            tokio::time::sleep(Duration::from_millis(20)).await;
            Outcome::Unknown(Reply::new("timeout", ""))
        })
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn callers_do_not_starve_behind_inquiries() {
    let folder = Folder::new("starving");
    let gateway: Arc<dyn Gateway> = Arc::new(Slow(Contract::standard(Identity::default()), Arc::default()));
    let mut options = options(&folder);
    options.gateway_slots = 4;
    options.schedule.pause_first = Duration::from_millis(100);
    options.schedule.pause_max = Duration::from_millis(100);
    let engine = Engine::open(options, gateway).await.unwrap();
    // Twenty times as many inquiries are wanted as are possible.
    for number in 0..300 {
        submit(&engine, number, order(5)).await.unwrap();
    }
    for number in 300..350 {
        let key = IdempotencyKey::new(&format!("order-{number}")).unwrap();
        let paid = engine.submit(&Tenant::default(), &key, order(7), Duration::from_secs(30)).await.unwrap();
        assert_eq!(paid.payment.state(), State::Succeeded);
    }
}

/// Restored over the old folder, or elsewhere: what the backup was about to send, the original has sent since.
#[tokio::test]
async fn after_a_restore_what_was_intended_is_asked_about_before_it_is_sent() {
    let (folder, backup) = (Folder::new("restored"), Folder::new("restored-backup"));
    let gateway = Scripted::new().with(|contract| contract.deduplication = Deduplication::None).then([Act::NotSent]);
    let engine = open_with(patient(&folder), &gateway).await;
    let paid = submit(&engine, 1, order(5)).await.unwrap();
    first_attempt_ended(&engine, &paid).await;
    engine.close().await.unwrap();
    copy(&folder.0, &backup.0);
    let engine = open_with(patient(&folder), &gateway).await;
    until(&engine, &paid, State::Succeeded).await;
    engine.close().await.unwrap();

    fs::remove_dir_all(&folder.0).unwrap();
    copy(&backup.0, &folder.0);
    let mut said = patient(&folder);
    said.moved = true;
    let engine = open_with(said, &gateway).await;
    until(&engine, &paid, State::Succeeded).await;
    assert_eq!((gateway.moved(), gateway.sent()), ((1, 1), 1));
}

/// Killed before it came to all that it had taken over: the next start finds a folder that is no longer strange.
#[tokio::test]
async fn what_a_restored_folder_doubts_no_later_start_takes_for_certain() {
    let (folder, backup) = (Folder::new("doubted"), Folder::new("doubted-backup"));
    let gateway = Scripted::new().with(|contract| contract.deduplication = Deduplication::None);
    let gateway = gateway.then([Act::NotSent, Act::NotSent]);
    let engine = open_with(patient(&folder), &gateway).await;
    let mut paid = [submit(&engine, 1, order(5)).await.unwrap(), submit(&engine, 2, order(5)).await.unwrap()];
    paid.sort_by_key(|payment| payment.id);
    for payment in &paid {
        first_attempt_ended(&engine, payment).await;
    }
    engine.close().await.unwrap();
    copy(&folder.0, &backup.0);
    let engine = open_with(patient(&folder), &gateway).await;
    until(&engine, &paid[0], State::Succeeded).await;
    until(&engine, &paid[1], State::Succeeded).await;
    engine.close().await.unwrap();

    fs::remove_dir_all(&folder.0).unwrap();
    copy(&backup.0, &folder.0);
    // One question at a time, and the first is never answered: it does not come to the second payment.
    let mut said = patient(&folder);
    (said.moved, said.gateway_slots) = (true, 2);
    drop(open_on(said, Arc::new(Deaf(gateway.clone()))).await);
    let engine = open_with(patient(&folder), &gateway).await;
    until(&engine, &paid[0], State::Succeeded).await;
    until(&engine, &paid[1], State::Succeeded).await;
    assert_eq!((gateway.moved(), gateway.sent()), ((1, 2), 2));
}

/// Not merely begun: an engine that closes in between takes the attempt back, and the gateway's script begins later.
async fn first_attempt_ended(engine: &Engine, payment: &Payment) {
    let mut patience = Patience::new();
    let ended = |now: &Payment| now.timeline.iter().any(|moment| moment.what.starts_with("attempt_ended"));
    while !ended(&engine.get(payment.id).await.unwrap().unwrap()) {
        patience.wait(|| format!("the first attempt on {} to end", payment.id)).await;
    }
}

async fn until(engine: &Engine, payment: &Payment, wanted: State) {
    let mut patience = Patience::new();
    loop {
        let now = engine.get(payment.id).await.unwrap().expect("it was accepted");
        if now.state() == wanted {
            return;
        }
        patience.wait(|| format!("{} to be {}: {:#?}", now.id, wanted.as_str(), now.timeline)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_opening_that_nobody_waits_for_lets_go_of_the_folder() {
    let folder = Folder::new("gone");
    let gateway: Arc<dyn Gateway> = Arc::new(Scripted::new());
    let opening = tokio::spawn(Engine::open(options(&folder), gateway.clone()));
    opening.abort();
    drop(opening.await);
    drop(open(&folder, &Scripted::new()).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_closes_is_told_when_it_is_closed() {
    let folder = Folder::new("closes");
    let mut options = options(&folder);
    options.drain = Duration::from_millis(50);
    let engine = open_with(options, &Scripted::new().then([Act::Hang])).await;
    submit(&engine, 1, order(5)).await.unwrap();
    let (one, two) = tokio::join!(engine.clone().close(), engine.clone().close());
    assert_eq!((one, two), (Ok(()), Ok(())));
}

#[tokio::test(flavor = "multi_thread")]
async fn who_still_waits_when_it_closes_is_told_how_far_the_payment_has_come() {
    let folder = Folder::new("closes-on-a-waiter");
    let mut options = options(&folder);
    options.drain = Duration::from_millis(50);
    let gateway = Scripted::new().then([Act::Hang]);
    let engine = open_with(options, &gateway).await;
    let payer = engine.clone();
    let waiting = tokio::spawn(async move { payer.pay("order-1", order(5)).await });
    let mut patience = Patience::new();
    while gateway.sent() == 0 {
        patience.wait(|| "the sending".to_owned()).await;
    }
    engine.close().await.unwrap();
    let told = waiting.await.unwrap().unwrap();
    assert_eq!((told.delivery, told.payment.state()), (Delivery::Fresh, State::InDoubt));
}

/// Answers sendings as told, and no question before its time is over.
struct Deaf(Scripted);

impl Gateway for Deaf {
    fn contract(&self) -> &Contract {
        self.0.contract()
    }

    fn encode(&self, asked: &Asked<'_>) -> Result<Vec<u8>, Invalid> {
        self.0.encode(asked)
    }

    fn send(&self, sending: Sending) -> Answer<'_> {
        self.0.send(sending)
    }

    fn inquire(&self, _question: Question) -> Answer<'_> {
        Box::pin(std::future::pending())
    }
}

#[tokio::test]
async fn what_an_earlier_process_left_of_a_payment_is_taken_up_before_anything_new_is_begun_on_it() {
    let folder = Folder::new("taken-up-first");
    let script = [Act::Succeed, Act::Hang, Act::Hang, Act::Hang];
    let gateway = Scripted::new().then(script).with(|contract| contract.deadline = Duration::from_secs(600));
    let mut keys = ["order-1", "order-2"]
        .map(|key| (PaymentId::derive(&Tenant::default(), &IdempotencyKey::new(key).unwrap()), key));
    keys.sort_unstable();
    let [(_, in_the_way), (id, key)] = keys;
    let engine = open(&folder, &gateway).await;
    engine.pay(key, order(1050)).await.unwrap();
    let refund = |key| (IdempotencyKey::new(key).unwrap(), FollowUp::Refund(Some(Amount::new(100).unwrap())));
    let (first, follow_up) = refund("r1");
    engine.operate(&Tenant::default(), id, &first, follow_up, Duration::ZERO).await.unwrap();
    engine
        .submit(&Tenant::default(), &IdempotencyKey::new(in_the_way).unwrap(), order(1), Duration::ZERO)
        .await
        .unwrap();
    drop(engine);

    // One question at a time: that about the other payment, which comes first, is never answered.
    let mut options = options(&folder);
    options.gateway_slots = 2;
    let engine = open_on(options, Arc::new(Deaf(gateway))).await;
    let (second, follow_up) = refund("r2");
    let told = engine.operate(&Tenant::default(), id, &second, follow_up, Duration::ZERO).await.unwrap();
    let states: Vec<State> = told.payment.operations.iter().map(|operation| operation.state()).collect();
    assert_eq!(states, [State::Succeeded, State::InDoubt, State::Processing]);
}

/// Two orders under one key wait for the one call that there is; the second's patience ends while the first is under way.
#[tokio::test(flavor = "multi_thread")]
async fn whoever_has_waited_in_vain_is_not_answered_about_an_order_with_other_parameters() {
    let folder = Folder::new("in-vain");
    let hangs = Scripted::new().then(std::iter::repeat_n(Act::Hang, 10));
    let gateway = hangs.with(|contract| contract.deadline = Duration::from_millis(500));
    let mut options = options(&folder);
    options.gateway_slots = 1;
    let engine = open_on(options, Arc::new(gateway)).await;
    submit(&engine, 0, order(1)).await.unwrap();
    let pay = |amount, wait| {
        let (engine, key) = (engine.clone(), IdempotencyKey::new("order-1").unwrap());
        async move { engine.submit(&Tenant::default(), &key, order(amount), wait).await }
    };
    let first = tokio::spawn(pay(5, Duration::from_secs(10)));
    while engine.stats().queue.held == 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let second = pay(7, Duration::from_millis(1200)).await;
    let refused = matches!(second, Err(Rejection::Overloaded { .. } | Rejection::Conflict { .. }));
    assert!(refused, "{:?}", second.map(|answer| answer.payment.order.amount));
    first.abort();
}

/// The request was lost, and the gateway says so: by a clock that is right again, the key looks younger than it is.
#[tokio::test]
async fn what_was_sent_by_a_wrong_clock_is_not_sent_again_by_a_right_one() {
    for wrong in [false, true] {
        let folder = Folder::new("wrong-clock");
        let gateway = Scripted::new().then([Act::LoseRequest]);
        gateway.blind(true);
        let engine = open_with(options(&folder), &gateway).await;
        let paid = submit(&engine, 1, order(5)).await.unwrap();
        until(&engine, &paid, State::InDoubt).await;
        engine.close().await.unwrap();
        if wrong {
            fs::write(folder.0.join("clock-was-wrong"), "").unwrap();
        }
        gateway.blind(false);
        let engine = open_with(options(&folder), &gateway).await;
        until(&engine, &paid, if wrong { State::Parked } else { State::Succeeded }).await;
        assert_eq!(gateway.sent(), if wrong { 1 } else { 2 });
        assert!(!folder.0.join("clock-was-wrong").exists(), "it is doubted for good");
    }
}

/// What the disk holds after a failed flush is not known, whatever the system's memory shows (P8).
#[tokio::test]
async fn a_store_that_failed_is_rebuilt_although_it_looks_whole_again() {
    let folder = Folder::new("failed-store");
    let gateway = Scripted::new();
    let engine = open(&folder, &gateway).await;
    let paid = engine.pay("order-1", order(5)).await.unwrap().payment;
    let (conf, aside) = (folder.0.join("store/conf"), folder.0.join("conf"));
    fs::rename(&conf, &aside).unwrap();
    engine.close().await.unwrap();
    fs::rename(&aside, &conf).unwrap();
    let engine = open(&folder, &gateway).await;
    let rebuilt = engine.report().rebuilt.clone().expect("rebuilt");
    assert!(rebuilt.starts_with("a write or a flush of it failed"), "{rebuilt}");
    assert_eq!(engine.get(paid.id).await.unwrap().as_deref(), Some(paid.as_ref()));
    engine.close().await.unwrap();
    assert_eq!(open(&folder, &gateway).await.report().rebuilt, None);
}
