//! Erasure, from a caller's view: what is personal goes, and every answer about money stays.

#![cfg(feature = "cli")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, reason = "tests")]

mod laid_open;

mod program;

mod stage;

use std::{fs, path::Path, process::Output, sync::Arc, time::Duration};

use payonce::{
    Delivery, Engine, Filter, FollowUp, IdempotencyKey, OpenError, Options, Order, Payment, PaymentId, Person,
    Rejection, State, Tenant, Timestamp,
    disk::{Disk, OsDisk},
    gateway::{Answer, Asked, Forged, Gateway, News, Post, Question, Sending},
    journal::{self, Erased, Record, ReplayFrom},
    payment::{Contract, Invalid, Kind, OperationKey},
    runtime::{Erasure, NotErased, erase, rebuild_store},
};
use program::payonce;
use stage::{Act, Folder, Patience, Scripted, open_on, options, order};

/// What no file may show. References that gateways give are not personal.
const PERSONAL: [&str; 5] = ["zoe-pays", "yves-is-paid", "two coffees", "window seat", "zoe@mail.example"];

/// A gateway that is told whom a payment is from, and whose news says it again.
struct Telling(Scripted);

impl Gateway for Telling {
    fn contract(&self) -> &Contract {
        self.0.contract()
    }

    fn encode(&self, asked: &Asked<'_>) -> Result<Vec<u8>, Invalid> {
        let whom = match asked.kind {
            Kind::Charge | Kind::Authorize => format!("{} {}", asked.order.source, asked.order.destination),
            Kind::Capture | Kind::Void | Kind::Refund => String::new(),
        };
        Ok([self.0.encode(asked)?, whom.into_bytes()].concat())
    }

    fn send(&self, sending: Sending) -> Answer<'_> {
        self.0.send(sending)
    }

    fn inquire(&self, question: Question) -> Answer<'_> {
        self.0.inquire(question)
    }

    fn news(&self, post: &Post<'_>) -> Result<News, Forged> {
        let text = String::from_utf8_lossy(post.body);
        let mut words = text.split(' ');
        let event_id = words.next().unwrap_or_default().to_owned();
        Ok(News { event_id, operation_key: words.next().and_then(OperationKey::parse), said: None })
    }
}

fn sealed(folder: &Folder) -> Options {
    let mut options = options(folder);
    options.seal_personal_data = true;
    options
}

async fn open(options: Options, gateway: &Scripted) -> Engine {
    open_on(options, Arc::new(Telling(gateway.clone()))).await
}

fn told(amount: u64) -> Order {
    let order = order(amount).with_description("two coffees").unwrap().with_metadata("seat", "window seat").unwrap();
    let mut order = order.with_metadata("mail", "zoe@mail.example").unwrap();
    order.source = "zoe-pays".to_owned();
    order.destination = "yves-is-paid".to_owned();
    order
}

fn tenant(name: &str) -> Tenant {
    Tenant::new(name).unwrap()
}

fn key(name: &str) -> IdempotencyKey {
    IdempotencyKey::new(name).unwrap()
}

async fn pay(engine: &Engine, tenant: &Tenant, name: &str, order: Order) -> Result<payonce::Answer, Rejection> {
    engine.submit(tenant, &key(name), order, Duration::from_secs(10)).await
}

fn person() -> Person {
    Person { actor: "jo".to_owned(), reason: "the contract ended".to_owned() }
}

/// Once the engine that was dropped has let go of the folder.
async fn erased(folder: &Folder, tenant: &Tenant) -> Result<Erasure, NotErased> {
    let mut patience = Patience::new();
    loop {
        match erase(folder, tenant, Timestamp::from_millis(7), &person()) {
            Err(NotErased::Open(OpenError::Lock(held))) => patience.wait(|| held.to_string()).await,
            done => return done,
        }
    }
}

/// Where in a folder's files any of the personal texts stands.
fn readable(folder: &Path) -> Vec<String> {
    let found = PERSONAL.iter().flat_map(|text| {
        laid_open::holding(folder, text).into_iter().map(move |path| format!("{text} in {}", path.display()))
    });
    found.collect()
}

/// Every payment that the journal tells, and every one that the store holds.
fn kept(folder: &Folder) -> (Vec<Payment>, Vec<(PaymentId, Vec<u8>)>) {
    let disk = Arc::new(OsDisk::new(folder).unwrap());
    let found = journal::open(disk, journal::Options::default()).unwrap();
    let mut payments = std::collections::BTreeMap::new();
    let read = found.replay(ReplayFrom::Beginning, &mut |_, _, record| {
        match record {
            Record::Event(event) => {
                let mut payment = payments.remove(&event.payment);
                payonce::payment::apply(&mut payment, &event).unwrap();
                payments.insert(event.payment, payment.unwrap());
            }
            Record::Carried(payment) => drop(payments.insert(payment.id, *payment)),
            Record::Relogged(_)
            | Record::Inbox(_)
            | Record::Audit(_)
            | Record::Opened(_)
            | Record::Checkpoint(_)
            | Record::Closed(_) => {}
        }
        Ok::<(), journal::OpenError>(())
    });
    read.unwrap();
    let expected =
        payonce::store::Expected { store: found.store_uuid().unwrap(), applied: journal::Lsn::ZERO, files: &[] };
    let store = payonce::store::open(&folder.join("store"), &payonce::store::Options::default(), &expected).unwrap();
    let rows = payonce::store::Store::page(&store.store, None, 1_000).unwrap();
    (payments.into_values().collect(), rows.into_iter().map(|(id, row)| (id, row.payload)).collect())
}

#[tokio::test]
async fn no_file_shows_what_is_personal_through_kills_recoveries_and_rebuilds_and_a_rebuilt_store_is_the_same() {
    let (folder, gateway) = (Folder::new("sealed"), Scripted::new().then([Act::Succeed, Act::LoseReply, Act::Decline]));
    let engine = open(sealed(&folder), &gateway).await;
    assert!(engine.report().sealed);
    for number in 0..5 {
        pay(&engine, &tenant("shop"), &format!("order-{number}"), told(1050)).await.unwrap();
        pay(&engine, &tenant("other"), &format!("order-{number}"), told(7)).await.unwrap();
    }
    drop(engine); // As a kill would.
    let engine = open(sealed(&folder), &gateway).await;
    let again = pay(&engine, &tenant("shop"), "order-1", told(1050)).await.unwrap();
    assert_eq!((again.delivery, &*again.payment.order), (Delivery::Replayed, &told(1050)));
    let id = PaymentId::derive(&tenant("shop"), &key("order-0"));
    let wait = Duration::from_secs(10);
    engine.operate(&tenant("shop"), id, &key("return-1"), FollowUp::Refund(None), wait).await.unwrap();
    let first = engine.get(id).await.unwrap().unwrap();
    let body = format!("evt_1 {} zoe@mail.example", first.operations[0].operation_key);
    let post = Post { headers: &[], body: body.as_bytes(), at: Timestamp::from_millis(9) };
    engine.receive("default", &post).await.unwrap();
    engine.close().await.unwrap();
    assert_eq!(readable(&folder), Vec::<String>::new());
    let (payments, live) = kept(&folder);
    assert_eq!((payments.len(), live.len()), (10, 10));
    assert!(payments.iter().all(|payment| payment.order.source == "zoe-pays"));
    rebuild_store(&folder).unwrap();
    assert_eq!(kept(&folder).1, live, "the rebuilt store is the live one, byte for byte");
    assert_eq!(readable(&folder), Vec::<String>::new());
    let modes = fs::read_dir(folder.join("tenant-keys")).unwrap().map(|key| {
        use std::os::unix::fs::PermissionsExt;
        key.unwrap().metadata().unwrap().permissions().mode() & 0o777
    });
    assert_eq!(modes.collect::<Vec<_>>(), [0o600, 0o600], "a key for each tenant, and none for nobody");
}

#[tokio::test]
async fn after_an_erasure_every_answer_about_money_is_as_before_and_nothing_else_is_left() {
    let (folder, gateway) = (Folder::new("erased"), Scripted::new());
    let (shop, other) = (tenant("shop"), tenant("other"));
    let engine = open(sealed(&folder), &gateway).await;
    let before = pay(&engine, &shop, "order-1", told(1050)).await.unwrap().payment;
    pay(&engine, &other, "order-1", told(7)).await.unwrap();
    engine.close().await.unwrap();
    let erasure = erased(&folder, &shop).await.unwrap();
    assert_eq!(erasure, Erasure { key: Erased::Now, payments: 1, readable: Vec::new() });
    assert_eq!(readable(&folder), Vec::<String>::new());

    let engine = open(options(&folder), &gateway).await;
    // P3: the same answer, also to a caller whose forgotten words differ; P5: what is known is compared.
    for same in [told(1050), order(1050)] {
        let again = pay(&engine, &shop, "order-1", same).await.unwrap();
        assert_eq!((again.delivery, again.payment.state()), (Delivery::Replayed, State::Succeeded));
        assert_eq!(*again.payment.order, before.order.erased());
        assert_eq!(again.payment.timeline, before.timeline);
        assert!(again.payment.operations.iter().all(|operation| operation.request.is_empty()));
    }
    let differs = pay(&engine, &shop, "order-1", told(1051)).await.unwrap_err();
    assert!(matches!(differs, Rejection::Conflict { differing, .. } if differing == ["amount"]));
    let filter = |tenant: &Tenant| Filter {
        tenant: Some(tenant.clone()),
        state: None,
        attention: false,
        key: None,
        after: None,
        limit: 10,
    };
    let of = |page: payonce::Page| page.payments.iter().map(|one| one.order.erased).collect::<Vec<_>>();
    assert_eq!(of(engine.list(filter(&shop)).await.unwrap()), [true]);
    assert_eq!(of(engine.list(filter(&other)).await.unwrap()), [false]);
    // What was paid still goes back, and a new payment is sealed under a new key.
    let wait = Duration::from_secs(10);
    let refunded = engine.operate(&shop, before.id, &key("return-1"), FollowUp::Refund(None), wait).await.unwrap();
    assert_eq!(refunded.operation().map(|operation| operation.state()), Some(State::Succeeded));
    pay(&engine, &shop, "order-2", told(5)).await.unwrap();
    drop(engine); // As a kill would: what is unresolved, and the last batch, are recorded again.
    let engine = open(options(&folder), &gateway).await;
    let again = engine.get(before.id).await.unwrap().unwrap();
    assert_eq!((again.order.erased, again.refunded(), again.state()), (true, 1050, State::Succeeded));
    let new = engine.get(PaymentId::derive(&shop, &key("order-2"))).await.unwrap().unwrap();
    assert_eq!(*new.order, told(5));
    engine.close().await.unwrap();
    assert_eq!(readable(&folder), Vec::<String>::new());
    let live = kept(&folder);
    rebuild_store(&folder).unwrap();
    assert_eq!(kept(&folder).0, live.0);
    assert_eq!(gateway.moved(), (1, 4));
}

#[tokio::test]
async fn while_anything_of_a_tenant_is_unresolved_its_key_stays_and_the_payments_are_named() {
    let (folder, gateway) = (Folder::new("unresolved"), Scripted::new().then([Act::LoseReply]));
    gateway.blind(true);
    let engine = open(sealed(&folder), &gateway).await;
    let waits = engine.submit(&tenant("shop"), &key("order-1"), told(1050), Duration::ZERO).await.unwrap().payment;
    let mut patience = Patience::new();
    while engine.get(waits.id).await.unwrap().unwrap().state() != State::InDoubt {
        patience.wait(|| "a doubt".to_owned()).await;
    }
    drop(engine);
    let refused = erased(&folder, &tenant("shop")).await.unwrap_err();
    assert!(matches!(&refused, NotErased::Unresolved(ids) if *ids == [waits.id]), "{refused}");
    assert!(refused.to_string().contains(&waits.id.to_string()));
    assert_eq!(erased(&folder, &tenant("nobody")).await.unwrap().key, Erased::NothingSealed);
    gateway.blind(false);
    let engine = open(options(&folder), &gateway).await;
    let answer = pay(&engine, &tenant("shop"), "order-1", told(1050)).await.unwrap();
    assert_eq!((answer.payment.state(), &*answer.payment.order), (State::Succeeded, &told(1050)));
    assert_eq!(gateway.moved(), (1, 1));
}

#[tokio::test]
async fn what_was_recorded_before_any_was_sealed_is_named_and_not_called_erased() {
    let (folder, gateway) = (Folder::new("before"), Scripted::new());
    let engine = open(options(&folder), &gateway).await;
    assert!(!engine.report().sealed && !folder.join("sealed").exists());
    let old = pay(&engine, &tenant("shop"), "order-1", told(1050)).await.unwrap().payment;
    engine.close().await.unwrap();
    assert!(PERSONAL.iter().all(|text| readable(&folder).iter().any(|found| found.starts_with(text))), "they are seen");
    assert!(matches!(erased(&folder, &tenant("shop")).await, Err(NotErased::NothingSealed)));
    let disk: Arc<dyn Disk> = Arc::new(OsDisk::new(&folder).unwrap());
    journal::finalize(&disk).unwrap();
    let engine = open(sealed(&folder), &gateway).await;
    pay(&engine, &tenant("shop"), "order-2", told(1050)).await.unwrap();
    engine.close().await.unwrap();
    let erasure = erased(&folder, &tenant("shop")).await.unwrap();
    assert_eq!(erasure, Erasure { key: Erased::Now, payments: 2, readable: vec![old.id] });
}

/// An adapter that wants to know who was paid before it gives anything back.
struct Demanding(Scripted);

impl Gateway for Demanding {
    fn contract(&self) -> &Contract {
        self.0.contract()
    }

    fn encode(&self, asked: &Asked<'_>) -> Result<Vec<u8>, Invalid> {
        match asked.order.erased {
            true => Err(Invalid { field: "destination", why: "was erased, and this gateway needs it" }),
            false => self.0.encode(asked),
        }
    }

    fn send(&self, sending: Sending) -> Answer<'_> {
        self.0.send(sending)
    }

    fn inquire(&self, question: Question) -> Answer<'_> {
        self.0.inquire(question)
    }
}

#[tokio::test]
async fn a_refund_that_an_adapter_cannot_write_without_what_was_erased_is_refused_and_nothing_is_recorded() {
    let (folder, gateway) = (Folder::new("demanding"), Scripted::new());
    let engine = open_on(sealed(&folder), Arc::new(Demanding(gateway.clone()))).await;
    let paid = engine.pay("order-1", told(1050)).await.unwrap().payment;
    engine.close().await.unwrap();
    erased(&folder, &Tenant::default()).await.unwrap();
    let engine = open_on(options(&folder), Arc::new(Demanding(gateway.clone()))).await;
    let refused = engine.refund(paid.id, "return-1", None).await.unwrap_err();
    assert!(matches!(&refused, Rejection::InvalidOrder(invalid) if invalid.field == "destination"), "{refused}");
    let after = engine.get(paid.id).await.unwrap().unwrap();
    assert_eq!((after.operations.len(), gateway.sent()), (1, 1));
}

fn run(arguments: &[&str], data: &Path) -> Output {
    payonce(arguments).arg("--data").arg(data).output().unwrap()
}

#[tokio::test]
async fn the_program_erases_and_without_a_key_it_refuses_to_start() {
    let (folder, gateway) = (Folder::new("program"), Scripted::new());
    let engine = open(sealed(&folder), &gateway).await;
    let id = pay(&engine, &tenant("shop"), "order-1", told(1050)).await.unwrap().payment.id;
    pay(&engine, &tenant("other"), "order-1", told(1050)).await.unwrap();
    engine.close().await.unwrap();
    let why = ["--actor", "jo", "--reason", "the contract ended"];
    let erase = |name: &str| run(&[&["erase", "--json", "--tenant", name], &why[..]].concat(), &folder);
    let done = erase("shop");
    let said = String::from_utf8(done.stdout).unwrap();
    assert_eq!(
        (done.status.code(), said.as_str()),
        (Some(0), "{\"key\":\"destroyed\",\"payments\":1,\"readable\":[],\"tenant\":\"shop\"}\n")
    );
    assert!(String::from_utf8(erase("shop").stdout).unwrap().contains("destroyed before"));
    assert_eq!(erase("Not A Tenant").status.code(), Some(2));
    let dumped = String::from_utf8(run(&["journal", "dump"], &folder).stdout).unwrap();
    assert!(dumped.contains("erased: true") && dumped.contains(&id.to_string()), "{dumped}");
    assert_eq!(run(&["journal", "verify"], &folder).status.code(), Some(0));

    let key = fs::read_dir(folder.join("tenant-keys")).unwrap().next().unwrap().unwrap().path();
    fs::rename(&key, folder.join("elsewhere")).unwrap();
    for arguments in [&["serve", "--listen", "127.0.0.1:0"][..], &["journal", "rebuild-store"], &["journal", "verify"]]
    {
        let refused = run(arguments, &folder);
        let why = String::from_utf8(refused.stderr).unwrap();
        assert_eq!(refused.status.code(), Some(3), "{arguments:?}");
        assert!(why.contains("the key of tenant other is not there. Nothing was changed"), "{why}");
    }
    assert_eq!(erase("shop").status.code(), Some(3));
    fs::rename(folder.join("elsewhere"), &key).unwrap();
    assert_eq!(run(&["journal", "rebuild-store"], &folder).status.code(), Some(0));
}
