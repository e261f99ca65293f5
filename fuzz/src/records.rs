//! Records of every shape, chosen by bytes.

use std::time::Duration;

use payonce::{
    journal::{Checkpoint, Closed, Lsn, Opened, Position, Record},
    payment::{
        Amount, Audit, Capture, Cause, Contradiction, Currency, Deed, Event, Evidence, Fact, Finality, IdempotencyKey,
        Identity, Kind, Lasting, Moment, Namespace, NextAction, Operation, OperationKey, OperationRef, Order, Outcome,
        ParkReason, Payment, PaymentId, Person, Reply, Standing, Tenant, Timestamp, Webhook,
    },
};

use super::choices::Choices;

const KINDS: [Kind; 5] = [Kind::Charge, Kind::Authorize, Kind::Capture, Kind::Void, Kind::Refund];

/// A record of any kind.
pub(super) fn record(c: &mut Choices<'_>) -> Record {
    match c.below(8) {
        0 => Record::Event(event(c)),
        1 => Record::Relogged(event(c)),
        2 => Record::Carried(Box::new(payment(c))),
        3 => Record::Inbox(Webhook {
            gateway: c.text(9),
            event_id: c.text(9),
            at: time(c),
            operation_key: c.yes().then(|| OperationKey::from_bytes(array(c))),
            body: blob(c),
        }),
        4 => Record::Opened(Opened { epoch: c.long(), moved: c.yes() }),
        5 => Record::Checkpoint(Checkpoint {
            store: array(c),
            upto: Lsn::new(c.long()),
            from: Position { segment: c.long(), offset: c.long(), next: Lsn::new(c.long()), chain: small(c) },
            files: files(c),
        }),
        6 => Record::Closed(Closed { store: array(c), applied: Lsn::new(c.long()), files: files(c) }),
        _ => Record::Audit(Audit {
            at: time(c),
            key: c.yes().then(|| c.text(9)),
            person: Person { actor: c.text(9), reason: c.text(9) },
            deed: deed(c),
            carried: c.yes(),
        }),
    }
}

fn deed(c: &mut Choices<'_>) -> Deed {
    match c.below(7) {
        0 => Deed::Inquire(PaymentId::from_bytes(array(c))),
        1 => Deed::Pause { name: c.text(9), gateway: identity(c) },
        2 => Deed::Resume { name: c.text(9), gateway: identity(c) },
        3 => Deed::Drain,
        4 => Deed::Admit,
        5 => Deed::Replay { webhook: c.text(9), event: c.yes().then(|| c.text(9)) },
        _ => Deed::Discard { webhook: c.text(9), event: c.text(9) },
    }
}

/// A payment with anything in it.
pub(super) fn payment(c: &mut Choices<'_>) -> Payment {
    Payment {
        id: PaymentId::from_bytes(array(c)),
        tenant: Tenant::default(),
        key: key(c),
        namespace: Namespace::new(&c.text(5)).unwrap_or_default(),
        order: std::sync::Arc::new(order(c)),
        operations: (0..c.below(4)).map(|_| operation(c)).collect(),
        created_at: time(c),
        settled_at: c.yes().then(|| time(c)),
        updated_at: time(c),
        timeline: (0..c.below(4)).map(|_| moment(c)).collect(),
    }
}

fn array<const N: usize>(c: &mut Choices<'_>) -> [u8; N] {
    [c.byte(); N]
}

fn small(c: &mut Choices<'_>) -> u32 {
    u32::try_from(c.word()).unwrap_or(0)
}

fn time(c: &mut Choices<'_>) -> Timestamp {
    Timestamp::from_millis(c.long())
}

fn blob(c: &mut Choices<'_>) -> Vec<u8> {
    let length = c.below(20);
    c.take(length).to_vec()
}

fn files(c: &mut Choices<'_>) -> Vec<(String, u64)> {
    (0..c.below(4)).map(|_| (c.text(9), c.long())).collect()
}

fn key(c: &mut Choices<'_>) -> IdempotencyKey {
    let fallback = || IdempotencyKey::new("key").expect("legal");
    IdempotencyKey::new(&c.text(20)).unwrap_or_else(|_| fallback())
}

fn order(c: &mut Choices<'_>) -> Order {
    let amount = Amount::new(c.long() >> 11).or_else(|_| Amount::new(1)).expect("legal");
    let currency = Currency::new(["USD", "JPY", "XTS"][c.below(3)]).expect("a currency");
    let mut order = Order::new(amount, currency, "a", "b").expect("legal");
    if c.yes() {
        order = order.with_capture(Capture::Manual).with_expiry(time(c));
    }
    for _ in 0..c.below(4) {
        let (name, value) = (c.text(9), c.text(9));
        order = order.clone().with_metadata(&name, &value).unwrap_or(order);
        order = order.clone().with_description(&value).unwrap_or(order);
        order = order.clone().with_gateway(&name).unwrap_or(order);
    }
    order
}

fn operation_ref(c: &mut Choices<'_>) -> OperationRef {
    let amount = Amount::new(c.long() >> 11).or_else(|_| Amount::new(1)).expect("legal");
    OperationRef { number: small(c), kind: KINDS[c.below(5)], amount }
}

fn identity(c: &mut Choices<'_>) -> Identity {
    Identity {
        name: c.text(9).into(),
        account: c.text(3).into(),
        environment: c.text(3).into(),
        api_version: c.text(3).into(),
    }
}

fn operation(c: &mut Choices<'_>) -> Operation {
    Operation {
        this: operation_ref(c),
        key: key(c),
        operation_key: OperationKey::from_bytes(array(c)),
        gateway: identity(c),
        request: blob(c),
        prepared: c.yes().then(|| c.text(9)),
        attempts: small(c),
        first_sent: c.yes().then(|| time(c)),
        may_have_acted: c.yes(),
        standing: standing(c),
        contradicted: c.yes().then(|| if c.yes() { Contradiction::Moved } else { Contradiction::Reversed }),
    }
}

fn standing(c: &mut Choices<'_>) -> Standing {
    match c.below(8) {
        0 => Standing::Intended,
        1 => Standing::Sent { not_after: time(c) },
        2 => Standing::AtGateway { next_action: next_action(c), reply: reply(c), since: time(c) },
        3 => Standing::InDoubt { reply: reply(c), since: time(c) },
        4 => Standing::Parked { reason: ParkReason::ALL[c.below(7)], reply: reply(c), since: time(c) },
        5 => Standing::Succeeded(reply(c)),
        6 => Standing::Declined { finality: finality(c), open_until: c.yes().then(|| time(c)), reply: reply(c) },
        _ => Standing::Canceled(reply(c)),
    }
}

fn moment(c: &mut Choices<'_>) -> Moment {
    Moment { at: time(c), operation: small(c), what: c.text(9).into(), evidence: c.yes().then(|| evidence(c)) }
}

fn finality(c: &mut Choices<'_>) -> Finality {
    if c.yes() { Finality::Hard } else { Finality::Soft }
}

fn reply(c: &mut Choices<'_>) -> Reply {
    let (code, message, reference) = (c.text(9), c.text(20), c.text(9));
    Reply::new(&code, &message).with_reference(&reference)
}

fn next_action(c: &mut Choices<'_>) -> Option<NextAction> {
    c.yes().then(|| NextAction { url: c.text(20), expires_at: c.yes().then(|| time(c)) })
}

fn person(c: &mut Choices<'_>) -> Person {
    Person { actor: c.text(9), reason: c.text(9) }
}

fn evidence(c: &mut Choices<'_>) -> Evidence {
    match c.below(6) {
        0 => Evidence::NoByteLeft,
        1 => Evidence::Reply,
        2 => Evidence::Inquiry,
        3 => Evidence::Webhook,
        4 => Evidence::Person(person(c)),
        _ => Evidence::Stopped,
    }
}

fn outcome(c: &mut Choices<'_>) -> Outcome {
    match c.below(8) {
        0 => Outcome::Succeeded(reply(c)),
        1 => Outcome::Declined(finality(c), reply(c)),
        2 => Outcome::Pending(next_action(c), reply(c)),
        3 => Outcome::NotSent(reply(c)),
        4 => Outcome::Refused(Lasting::ForGood, reply(c)),
        5 => {
            let retry_after = c.yes().then(|| Duration::new(c.long(), small(c)));
            Outcome::Refused(Lasting::ForNow { retry_after }, reply(c))
        }
        6 => Outcome::NotFound,
        _ => Outcome::Unknown(reply(c)),
    }
}

fn event(c: &mut Choices<'_>) -> Event {
    Event { payment: PaymentId::from_bytes(array(c)), at: time(c), fact: fact(c) }
}

fn fact(c: &mut Choices<'_>) -> Fact {
    let operation = operation_ref(c);
    match c.below(12) {
        0 => Fact::Accepted {
            tenant: Tenant::default(),
            key: key(c),
            namespace: Namespace::new(&c.text(5)).unwrap_or_default(),
            order: std::sync::Arc::new(order(c)),
        },
        1 => Fact::Intended {
            operation,
            key: key(c),
            operation_key: OperationKey::from_bytes(array(c)),
            gateway: identity(c),
            request: blob(c),
        },
        2 => Fact::Prepared { operation, reference: c.text(9), request: blob(c) },
        3 => Fact::AttemptStarted { operation, attempt: small(c), not_after: time(c), cause: cause(c) },
        4 => Fact::AttemptEnded { operation, attempt: small(c), outcome: outcome(c), evidence: evidence(c) },
        5 => Fact::Learned {
            operation,
            outcome: outcome(c),
            evidence: evidence(c),
            open_until: c.yes().then(|| time(c)),
        },
        6 => Fact::Parked { operation, reason: ParkReason::ALL[c.below(7)], reply: reply(c) },
        7 => Fact::Unparked { operation },
        8 => Fact::Canceled { operation, reply: reply(c) },
        10 => Fact::Rerouted { operation, gateway: identity(c), request: blob(c) },
        9 => Fact::Contradicted { operation, outcome: outcome(c), evidence: evidence(c) },
        _ => Fact::WindowClosed { operation },
    }
}

fn cause(c: &mut Choices<'_>) -> Cause {
    match c.below(5) {
        0 => Cause::First,
        1 => Cause::NothingHappened,
        2 => Cause::ProvenNotFound { times: small(c) },
        3 => Cause::SameKey,
        _ => Cause::Person(person(c)),
    }
}
