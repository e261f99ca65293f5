//! What whoever embeds the engine can follow of it with a subscriber of their own, and that nothing is made of this where
//! their level leaves it out.

#![allow(missing_docs, clippy::expect_used, reason = "a test that cannot go on has failed")]

mod folder;

use std::{
    fmt::Debug,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use folder::Folder;
use payonce::{
    Amount, Currency, Engine, Options, Order,
    gateway::sandbox::{Faults, Sandbox, SandboxGateway},
};
use tracing::{
    Event, Level, Metadata, Subscriber,
    field::{Field, Visit},
    level_filters::LevelFilter,
    span::{Attributes, Id, Record},
};

/// Takes `info`, or only `warn`.
static LISTENS: AtomicBool = AtomicBool::new(false);

/// Writes down every span and event, with its fields.
#[derive(Default)]
struct Book {
    lines: Arc<Mutex<Vec<String>>>,
    spans: AtomicU64,
}

struct Line(String);

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.0.push_str(&format!(" {}={value:?}", field.name()));
    }
}

impl Book {
    fn add(&self, name: &str, record: impl FnOnce(&mut Line)) {
        let mut line = Line(name.to_owned());
        record(&mut line);
        self.lines.lock().expect("nobody has panicked").push(line.0);
    }
}

impl Subscriber for Book {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        let most = if LISTENS.load(Ordering::Relaxed) { Level::INFO } else { Level::WARN };
        *metadata.level() <= most && metadata.target().starts_with("payonce")
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(if LISTENS.load(Ordering::Relaxed) { LevelFilter::INFO } else { LevelFilter::WARN })
    }

    fn new_span(&self, span: &Attributes<'_>) -> Id {
        self.add(span.metadata().name(), |line| span.record(line));
        Id::from_u64(self.spans.fetch_add(1, Ordering::Relaxed) + 1)
    }

    fn record(&self, _: &Id, values: &Record<'_>) {
        self.add("later", |line| values.record(line));
    }

    fn event(&self, event: &Event<'_>) {
        self.add(event.metadata().name(), |line| event.record(line));
    }

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

#[tokio::test(flavor = "multi_thread")]
async fn a_subscriber_sees_calls_and_the_end_of_a_payment_and_one_that_does_not_listen_costs_nothing() {
    let book = Book::default();
    let lines = book.lines.clone();
    tracing::subscriber::set_global_default(book).expect("the first");
    let folder = Folder::new("spans");
    let gateway = SandboxGateway::new(Sandbox::in_memory(1, Faults::none()));
    let engine = Engine::open(Options::new(&*folder), Arc::new(gateway)).await.expect("opens");
    let order = || {
        let amount = Amount::new(1050).expect("legal");
        Order::new(amount, Currency::new("USD").expect("legal"), "acct_alice", "acct_bob").expect("legal")
    };
    engine.pay("order-1", order()).await.expect("paid");
    assert!(lines.lock().expect("nobody has panicked").is_empty(), "{lines:?}");

    LISTENS.store(true, Ordering::Relaxed);
    tracing::callsite::rebuild_interest_cache();
    let id = engine.pay("order-2", order()).await.expect("paid").payment.id.to_string();
    engine.close().await.expect("closes");
    let lines = lines.lock().expect("nobody has panicked").join("\n");
    let call = format!(
        "gateway_call payment={id} operation=0 kind=\"charge\" amount=1050 currency=\"USD\" gateway=\"default\""
    );
    for told in
        [&call, "later outcome=\"succeeded\"", &format!("settled message=settled payment={id} state=\"succeeded\"")]
    {
        assert!(lines.contains(told), "{told}\n{lines}");
    }
    assert!(!lines.contains("acct_") && !lines.contains("order-2"), "{lines}");
}
