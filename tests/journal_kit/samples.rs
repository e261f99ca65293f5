//! Records to write: small numbered ones, and one of every shape.

use std::{sync::Arc, time::Duration};

use payonce::{
    journal::{Checkpoint, Closed, Lsn, Opened, Position, Record},
    payment::{
        Amount, Audit, Capture, Cause, Contradiction, Currency, Deed, Event, Evidence, Fact, Finality, IdempotencyKey,
        Identity, Kind, Lasting, Moment, Namespace, NextAction, Operation, OperationKey, OperationRef, Order, Outcome,
        ParkReason, Payment, PaymentId, Person, Reply, Standing, Tenant, Timestamp, Webhook,
    },
};

fn at(millis: u64) -> Timestamp {
    Timestamp::from_millis(millis)
}

pub(crate) fn payment_id(number: u64) -> PaymentId {
    PaymentId::from_bytes(u128::from(number).to_be_bytes())
}

pub(crate) fn payment_number(id: &PaymentId) -> u64 {
    u128::from_be_bytes(*id.as_bytes()) as u64
}

fn operation(kind: Kind) -> OperationRef {
    OperationRef { number: 0, kind, amount: Amount::new(1050).expect("legal") }
}

/// A short event about payment `number`.
pub(crate) fn event(number: u64) -> Event {
    Event { payment: payment_id(number), at: at(number), fact: Fact::Unparked { operation: operation(Kind::Charge) } }
}

/// Payment `number`, short.
pub(crate) fn payment(number: u64) -> Payment {
    Payment {
        id: payment_id(number),
        tenant: Tenant::default(),
        key: IdempotencyKey::new(&format!("order-{number}")).expect("legal"),
        namespace: Namespace::default(),
        order: Arc::new(order()),
        operations: Vec::new(),
        created_at: at(number),
        settled_at: None,
        updated_at: at(number),
        timeline: Vec::new(),
    }
}

/// An event that takes about `bytes` bytes; packed, about two thirds of that.
pub(crate) fn long_event(number: u64, bytes: usize) -> Event {
    let mut state = number;
    let noise = std::iter::repeat_with(|| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        state.to_be_bytes()[0]
    });
    let request = noise.take(bytes * 2 / 3).chain(std::iter::repeat(b'x')).take(bytes).collect();
    let fact = Fact::Prepared { operation: operation(Kind::Charge), reference: "ref".to_owned(), request };
    Event { payment: payment_id(number), at: at(number), fact }
}

fn order() -> Order {
    let (amount, currency) = (Amount::new(1050).expect("legal"), Currency::new("USD").expect("legal"));
    Order::new(amount, currency, "acct_alice", "acct_bob").expect("legal")
}

fn full_order() -> Order {
    order()
        .with_capture(Capture::Manual)
        .with_description("two coffees \u{2615}")
        .and_then(|order| order.with_metadata("table", "7")?.with_metadata("waiter", ""))
        .expect("legal")
        .with_expiry(at(1_800_000_000_000))
}

fn reply() -> Reply {
    Reply::new("card_declined", "Your card was declined.").with_reference("ch_123")
}

fn person() -> Person {
    Person { actor: "olga".to_owned(), reason: "bank statement".to_owned() }
}

fn identity() -> Identity {
    Identity {
        name: "https://pay.example/v1".into(),
        account: "acct_1".into(),
        environment: "test".into(),
        api_version: "2026-01-01".into(),
    }
}

fn next_action() -> NextAction {
    NextAction { url: "https://acs.example/3ds".to_owned(), expires_at: Some(at(99)) }
}

fn outcomes() -> Vec<Outcome> {
    let short = Reply::new("", "");
    vec![
        Outcome::Succeeded(reply()),
        Outcome::Declined(Finality::Hard, reply()),
        Outcome::Declined(Finality::Soft, short.clone()),
        Outcome::Pending(None, short.clone()),
        Outcome::Pending(Some(next_action()), reply()),
        Outcome::NotSent(short.clone()),
        Outcome::Refused(Lasting::ForNow { retry_after: None }, short.clone()),
        Outcome::Refused(Lasting::ForNow { retry_after: Some(Duration::new(3, 5)) }, short.clone()),
        Outcome::Refused(Lasting::ForGood, reply()),
        Outcome::NotFound,
        Outcome::Unknown(short),
    ]
}

fn evidences() -> Vec<Evidence> {
    vec![
        Evidence::NoByteLeft,
        Evidence::Reply,
        Evidence::Inquiry,
        Evidence::Webhook,
        Evidence::Person(person()),
        Evidence::Stopped,
    ]
}

fn causes() -> Vec<Cause> {
    vec![
        Cause::First,
        Cause::NothingHappened,
        Cause::ProvenNotFound { times: 3 },
        Cause::SameKey,
        Cause::Person(person()),
    ]
}

const KINDS: [Kind; 5] = [Kind::Charge, Kind::Authorize, Kind::Capture, Kind::Void, Kind::Refund];

fn facts() -> Vec<Fact> {
    let operation = operation(Kind::Charge);
    let key = IdempotencyKey::new("order-1234").expect("legal");
    let accepted = |order| Fact::Accepted {
        tenant: Tenant::new("shop_1").expect("legal"),
        key: key.clone(),
        namespace: Namespace::new("eu").expect("legal"),
        order: Arc::new(order),
    };
    let mut facts = vec![accepted(order()), accepted(full_order())];
    facts.extend(KINDS.map(|kind| Fact::Intended {
        operation: self::operation(kind),
        key: key.clone(),
        operation_key: OperationKey::from_bytes([9; 16]),
        gateway: identity(),
        request: b"{\"amount\":1050}".to_vec(),
    }));
    facts.push(Fact::Prepared { operation, reference: "pi_1".to_owned(), request: vec![0, 255] });
    facts.extend(causes().into_iter().map(|cause| Fact::AttemptStarted {
        operation,
        attempt: 2,
        not_after: at(50),
        cause,
    }));
    facts.extend(outcomes().into_iter().map(|outcome| Fact::AttemptEnded {
        operation,
        attempt: 2,
        outcome,
        evidence: Evidence::Reply,
    }));
    facts.extend(evidences().into_iter().map(|evidence| Fact::Learned {
        operation,
        outcome: Outcome::Succeeded(reply()),
        evidence,
        open_until: None,
    }));
    facts.push(Fact::Learned {
        operation,
        outcome: Outcome::Declined(Finality::Soft, reply()),
        evidence: Evidence::Inquiry,
        open_until: Some(at(77)),
    });
    facts.extend(ParkReason::ALL.map(|reason| Fact::Parked { operation, reason, reply: reply() }));
    facts.push(Fact::Unparked { operation });
    facts.push(Fact::Canceled { operation, reply: reply() });
    facts.push(Fact::Contradicted { operation, outcome: Outcome::NotFound, evidence: Evidence::Webhook });
    facts.push(Fact::WindowClosed { operation });
    facts
}

fn standings() -> Vec<Standing> {
    let since = at(5);
    vec![
        Standing::Intended,
        Standing::Sent { not_after: at(6) },
        Standing::AtGateway { next_action: None, reply: reply(), since },
        Standing::AtGateway { next_action: Some(next_action()), reply: reply(), since },
        Standing::InDoubt { reply: reply(), since },
        Standing::Parked { reason: ParkReason::KeyExpired, reply: reply(), since },
        Standing::Succeeded(reply()),
        Standing::Declined { finality: Finality::Hard, open_until: None, reply: reply() },
        Standing::Declined { finality: Finality::Soft, open_until: Some(at(8)), reply: reply() },
        Standing::Canceled(reply()),
    ]
}

/// A payment that holds every variant of everything that a payment can hold.
pub(crate) fn full_payment() -> Payment {
    let operation = |(number, standing)| Operation {
        this: OperationRef { number, kind: Kind::Capture, amount: Amount::new(u64::from(number) + 1).expect("legal") },
        key: IdempotencyKey::new(&format!("capture-{number}")).expect("legal"),
        operation_key: OperationKey::from_bytes([3; 16]),
        gateway: identity(),
        request: vec![1; 20],
        prepared: (number % 2 == 0).then(|| "pi_1".to_owned()),
        attempts: number,
        first_sent: (number % 2 == 1).then(|| at(4)),
        may_have_acted: number % 3 == 0,
        standing,
        contradicted: (number == 0).then_some(Contradiction::Moved),
    };
    let moment = |evidence| Moment { at: at(2), operation: 1, what: "attempt_ended: unknown".into(), evidence };
    let evidences = evidences().into_iter().map(Some).chain([None]);
    Payment {
        order: Arc::new(full_order()),
        operations: (0..).zip(standings()).map(operation).collect(),
        settled_at: Some(at(3)),
        timeline: evidences.map(moment).collect(),
        ..payment(11)
    }
}

/// Every deed of an operator, and the word that makes them count.
pub(crate) fn every_deed() -> Vec<Record> {
    let (name, gateway) = ("eu".to_owned(), identity());
    let webhook = "shop".to_owned();
    let deeds = [
        Deed::Inquire(payment_id(1)),
        Deed::Pause { name: name.clone(), gateway: gateway.clone() },
        Deed::Resume { name, gateway },
        Deed::Drain,
        Deed::Admit,
        Deed::Replay { webhook: webhook.clone(), event: None },
        Deed::Replay { webhook: webhook.clone(), event: Some("evt_1".to_owned()) },
        Deed::Discard { webhook, event: "evt_1".to_owned() },
    ];
    let audit = |(number, deed)| Audit {
        at: at(1_700_000_000_000 + number),
        key: (number % 2 == 1).then(|| "ops".to_owned()),
        person: person(),
        deed,
        carried: number == 1,
    };
    let opened = Record::Opened(Opened { epoch: 1, moved: false });
    (0u64..).zip(deeds).map(audit).map(Record::Audit).chain([opened]).collect()
}

/// A record of every kind that format 1 began with, with every variant of everything in it.
pub(crate) fn every_record() -> Vec<Record> {
    let files = vec![("conf".to_owned(), 61), ("db".to_owned(), 524_288)];
    let from = Position { segment: 1, offset: 4096, next: Lsn::new(1), chain: 0xDEAD_BEEF };
    let webhook = Webhook {
        gateway: "stripe".to_owned(),
        event_id: "evt_1".to_owned(),
        at: at(12),
        operation_key: Some(OperationKey::from_bytes([5; 16])),
        body: b"{}".to_vec(),
    };
    let events = facts().into_iter().map(|fact| Event { payment: payment_id(1), at: at(1_700_000_000_000), fact });
    let mut records: Vec<Record> = events.map(Record::Event).collect();
    records.extend([
        Record::Relogged(event(2)),
        Record::Carried(Box::new(full_payment())),
        Record::Carried(Box::new(payment(12))),
        Record::Inbox(Webhook { operation_key: None, ..webhook.clone() }),
        Record::Inbox(webhook),
        Record::Opened(Opened { epoch: 7, moved: false }),
        Record::Opened(Opened { epoch: u64::MAX, moved: true }),
        Record::Checkpoint(Checkpoint { store: [6; 16], upto: Lsn::new(9), from, files: files.clone() }),
        Record::Closed(Closed { store: [6; 16], applied: Lsn::new(9), files }),
    ]);
    records
}
