//! A receiver of webhooks that hangs for minutes while payments go on, and wakes. Short and without a clock as a plain
//! test; at full length, beside a run without webhooks:
//!
//! ```sh
//! PAYONCE_HANG_SECONDS=120 cargo test --profile campaign --test hang -- --nocapture
//! ```

#![cfg(feature = "webhooks")]
#![allow(missing_docs, clippy::expect_used, clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

mod receiver;
mod stage;

use std::{
    collections::{HashMap, HashSet},
    time::Duration,
};

use payonce::{
    Engine, Lsn, Options, PaymentId,
    deliver::{Deliveries, Endpoint, Pace},
    signature::Secret,
};
use receiver::{Mood, Receiver};
use stage::{Folder, Scripted, open_with, options, order};
use tokio::{
    task::JoinSet,
    time::{Instant, sleep, sleep_until},
};

const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
/// How long what was missed may take to arrive, if it arrives at all.
const CATCH_UP: Duration = Duration::from_secs(1_200);

/// Payments, and how many a second.
#[derive(Clone, Copy)]
struct Load {
    payments: u32,
    per_second: f64,
}

/// What payments took, from the moment at which each was to begin.
struct Paid {
    all: Duration,
    each: Vec<Duration>,
}

impl Load {
    /// Each begins in its time, whether those before have ended or not.
    async fn pay(self, engine: &Engine) -> Paid {
        let (began, mut paying, mut each) = (Instant::now(), JoinSet::new(), Vec::new());
        for number in 0..self.payments {
            let due = began + Duration::from_secs_f64(f64::from(number) / self.per_second);
            sleep_until(due).await;
            let engine = engine.clone();
            paying.spawn(async move {
                engine.pay(&format!("order-{number}"), order(1_050)).await.expect("paid");
                due.elapsed()
            });
            while let Some(took) = paying.try_join_next() {
                each.push(took.expect("no panic"));
            }
        }
        each.extend(paying.join_all().await);
        each.sort_unstable();
        Paid { all: began.elapsed(), each }
    }
}

impl Paid {
    fn print(&self, name: &str) {
        let at = |percent: usize| self.each[(self.each.len() - 1) * percent / 100].as_secs_f64() * 1e3;
        let rate = f64::from(u32::try_from(self.each.len()).unwrap()) / self.all.as_secs_f64();
        let (half, most, last) = (at(50), at(99), at(100));
        eprintln!("{name}: {rate:.0} payments/s, p50 {half:.2} ms, p99 {most:.2} ms, longest {last:.1} ms");
    }
}

/// Everything in the feed after a place: each event's payment and its own place.
async fn feed(engine: &Engine, after: Lsn) -> Vec<(PaymentId, u64)> {
    let (mut events, end) = (engine.events(after), engine.durable());
    // The last record need not be an event: one that certainly comes after it shows the end.
    engine.pay("the-end", order(1)).await.expect("paid");
    let mut all = Vec::new();
    loop {
        let (lsn, event) = events.next().await.expect("the engine runs");
        if lsn > end {
            return all;
        }
        all.push((event.payment, lsn.get()));
    }
}

/// Each event at least once; and as a receiver hears them that goes by `webhook-id`, each payment's in their order.
fn must_be_whole_and_in_order(told: &[(PaymentId, u64)], receiver: &Receiver) {
    let (mut known, mut last) = (HashSet::new(), HashMap::new());
    for heard in receiver.taken() {
        assert!(heard.signed, "{heard:?}");
        if known.insert((heard.payment.clone(), heard.lsn)) {
            let before = last.insert(heard.payment.clone(), heard.lsn);
            assert!(before < Some(heard.lsn), "{} heard {before:?} before {}", heard.payment, heard.lsn);
        }
    }
    let missed = told.iter().filter(|(payment, lsn)| !known.contains(&(payment.to_string(), *lsn))).count();
    assert_eq!(missed, 0, "of {} events", told.len());
}

/// Waits until it was sent so much.
async fn until_taken(receiver: &Receiver, count: usize) {
    let since = Instant::now();
    while receiver.count() < count {
        assert!(since.elapsed() < CATCH_UP, "{} of {count}", receiver.count());
        sleep(Duration::from_millis(5)).await;
    }
}

/// The payments are made while it hangs; it wakes, and hears of all of them.
async fn hang(load: Load, options: Options, pace: Pace, folder: &Folder) {
    let engine = open_with(options, &Scripted::new()).await;
    let (after, receiver) = (engine.durable(), Receiver::start(SECRET, Mood::Hangs));
    let endpoint = Endpoint::new("shop", &receiver.url(), Secret::parse(SECRET).unwrap()).unwrap();
    let deliveries = Deliveries::start(&engine, folder, vec![endpoint.at_pace(pace)]).expect("starts");
    load.pay(&engine).await.print("the receiver hangs");
    assert_eq!(receiver.count(), 0, "every payment was made, and it took nothing");
    let told = feed(&engine, after).await;
    assert!(told.len() >= usize::try_from(load.payments).unwrap() * 2, "each is accepted, and ends");
    let woke = Instant::now();
    receiver.is(Mood::Takes);
    until_taken(&receiver, 1).await;
    let (noticed, first) = (woke.elapsed(), Instant::now());
    until_taken(&receiver, told.len()).await;
    let took = first.elapsed().as_secs_f64();
    deliveries.stop().await;
    must_be_whole_and_in_order(&told, &receiver);
    let rate = f64::from(u32::try_from(told.len()).unwrap()) / took;
    eprintln!(
        "awake: heard of it after {:.1} s, and then of {} events in {took:.1} s: {rate:.0} a second; {} came again",
        noticed.as_secs_f64(),
        told.len(),
        receiver.count().saturating_sub(told.len()),
    );
    engine.close().await.expect("closes");
}

async fn control(load: Load, options: Options) {
    let engine = open_with(options, &Scripted::new()).await;
    load.pay(&engine).await.print("without webhooks");
    engine.close().await.expect("closes");
}

#[tokio::test(flavor = "multi_thread")]
async fn all_that_happens_while_a_receiver_hangs_is_delivered_in_order_when_it_wakes() {
    let folder = Folder::new("hang");
    let Some(seconds) =
        std::env::var("PAYONCE_HANG_SECONDS").ok().map(|seconds| seconds.parse::<u32>().expect("a number"))
    else {
        let mut pace = Pace::default();
        pace.timeout = Duration::from_millis(150);
        (pace.pause_first, pace.pause_max) = (Duration::from_millis(2), Duration::from_millis(50));
        (pace.rest_first, pace.rest_max) = (pace.pause_first, pace.pause_max);
        // More than is held in memory.
        let load = Load { payments: 500, per_second: 100_000.0 };
        return hang(load, options(&folder), pace, &folder).await;
    };
    let load = Load { payments: 1_000 * seconds, per_second: 1_000.0 };
    let other = Folder::new("hang-control");
    control(load, Options::new(&other.0)).await;
    hang(load, Options::new(&folder.0), Pace::default(), &folder).await;
}
