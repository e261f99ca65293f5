//! A caller speaks: what is accepted, refused, joined and replayed.

use super::*;
use crate::payment::{Capture, Finality};

fn ask(tenant: &str, key: &str, change: impl FnOnce(Order) -> Order) -> Input {
    let order = Order::new(Amount::new(1050).unwrap(), Currency::new("USD").unwrap(), "a", "b").unwrap();
    let (tenant, key) = (Tenant::new(tenant).unwrap(), IdempotencyKey::new(key).unwrap());
    Input::Pay {
        tenant,
        key,
        order: Arc::new(change(order)),
        request: Ok(b"bytes".to_vec()),
        manner: Manner::default(),
    }
}

#[test]
fn a_new_payment_is_sent_as_it_was_asked_for() {
    let mut story = Story::new(standard());
    let (actions, told) = story.told(0, story.pay());
    assert_eq!(told, Some(Response::Fresh));
    let payment = story.payment.as_ref().unwrap();
    let operation = &payment.operations[0];
    let key = OperationKey::derive(&Namespace::default(), &payment.id, Kind::Charge, &payment.key);
    assert_eq!((operation.this.kind, operation.operation_key, operation.attempts), (Kind::Charge, key, 1));
    let [Action::Send { call, attempt: 1, request, not_after }] = actions.as_slice() else { panic!("{actions:?}") };
    assert_eq!((call.payment, call.operation, call.kind, call.operation_key), (payment.id, 0, Kind::Charge, key));
    assert_eq!((call.amount.minor_units(), call.currency.as_str()), (1050, "USD"));
    assert_eq!((request.as_slice(), not_after.as_millis()), (&b"bytes"[..], START + 10_000));
    assert!(story.pursuits[0].calling);
}

#[test]
fn what_is_captured_later_is_only_authorized_now() {
    let mut story = Story::new(standard());
    let actions = story.then(0, ask("default", "order-1", |order| order.with_capture(Capture::Manual)));
    assert!(matches!(actions.as_slice(), [Action::Send { call: Call { kind: Kind::Authorize, .. }, .. }]));
    story.ended(1, Outcome::Succeeded(reply()));
    assert_eq!(story.state(), State::Authorized);
}

#[test]
fn no_byte_leaves_after_an_orders_expiry() {
    let mut story = Story::new(standard());
    let expires = Timestamp::from_millis(START + 3_000);
    let actions = story.then(0, ask("default", "order-1", |order| order.with_expiry(expires)));
    assert!(matches!(actions.as_slice(), [Action::Send { not_after, .. }] if *not_after == expires));
}

#[test]
fn an_order_that_comes_too_late_is_canceled_and_nothing_is_sent() {
    let mut story = Story::new(standard());
    let expires = Timestamp::from_millis(START);
    let (actions, told) = story.told(0, ask("default", "order-1", |order| order.with_expiry(expires)));
    assert_eq!((actions, told, story.state()), (Vec::new(), Some(Response::Fresh), State::Canceled));
    assert_eq!(story.operation().reply().map(Reply::code), Some("expired"));
    assert!(!story.pursuits[0].calling);
}

#[test]
fn what_cannot_be_sent_from_here_is_refused_and_leaves_no_trace() {
    let mut story = Story::new(standard());
    story.rules.sending = false;
    assert_eq!(story.told(0, story.pay()), (Vec::new(), Some(Response::Moved)));
    let invalid = Invalid::new("source", "must be a card");
    let Input::Pay { tenant, key, order, .. } = story.pay() else { unreachable!() };
    let inexpressible = Input::Pay { tenant, key, order, request: Err(invalid.clone()), manner: Manner::default() };
    assert_eq!(story.told(0, inexpressible), (Vec::new(), Some(Response::Inexpressible(invalid))));
    assert_eq!((story.payment, story.pursuits), (None, Vec::new()));
}

#[test]
fn a_repeat_joins_what_is_under_way_and_replays_what_is_settled() {
    let mut story = Story::in_doubt(standard());
    assert_eq!(story.told(0, story.pay()), (Vec::new(), Some(Response::Attached)));
    story.answered(Outcome::Declined(Finality::Hard, reply()));
    assert_eq!(story.told(0, story.pay()), (Vec::new(), Some(Response::Replayed)));
}

#[test]
fn a_key_with_other_parameters_is_refused_and_so_is_another_name_of_the_same_id() {
    let mut story = Story::in_doubt(standard());
    let conflict = |fields| (Vec::new(), Some(Response::Conflict(fields)));
    let other = ask("default", "order-1", |order| order.with_description("tea").unwrap());
    assert_eq!(story.told(0, other), conflict(vec!["description"]));
    assert_eq!(story.told(0, ask("shop", "order-1", |order| order)), conflict(vec!["idempotency_key"]));
    assert_eq!(story.told(0, ask("default", "order-2", |order| order)), conflict(vec!["idempotency_key"]));
}

#[test]
fn what_was_never_asked_for_is_not_found_by_people_and_not_made_by_news() {
    let mut story = Story::new(standard());
    assert_eq!(story.told(0, Input::Inquire), (Vec::new(), Some(Response::NotFound)));
    assert_eq!(story.told(0, resolution(Verdict::Cancel)), (Vec::new(), Some(Response::NotFound)));
    let stray = Input::Ended { operation: 0, attempt: 1, outcome: Outcome::Succeeded(reply()) };
    for input in [stray, Input::Due, Input::Resume] {
        assert_eq!(story.told(0, input), (Vec::new(), None));
    }
    assert_eq!(story.payment, None);
}

#[test]
fn news_about_an_operation_that_a_payment_does_not_have_is_dropped() {
    let mut story = Story::in_doubt(standard());
    let before = story.payment.clone();
    let outcome = Outcome::Succeeded(reply());
    story.then(0, Input::Answered { operation: 1, asked: Tick::default(), outcome });
    assert_eq!(story.payment, before);
}

#[test]
fn every_input_has_a_name_of_its_own_for_the_logs_and_only_a_follow_up_has_a_key() {
    let (tenant, key) = (Tenant::default(), IdempotencyKey::new("v").unwrap());
    let from = standard().identity;
    let operation = OperationKey::from_bytes([1; 16]);
    let inputs = [
        Story::new(standard()).pay(),
        Input::Operate { tenant, key: key.clone(), follow_up: FollowUp::Void },
        Input::Ended { operation: 0, attempt: 1, outcome: Outcome::NotFound },
        Input::Prepared { operation: 0, outcome: Outcome::NotFound },
        Input::Answered { operation: 0, asked: Tick::default(), outcome: Outcome::NotFound },
        Input::Due,
        Input::Resume,
        Input::Hint { operation, from, said: None },
        Input::Inquire,
        resolution(Verdict::Cancel),
    ];
    let names = inputs.each_ref().map(Input::name);
    assert_eq!(
        names,
        ["pay", "operate", "ended", "prepared", "answered", "due", "resume", "hint", "inquire", "resolve"]
    );
    let keys: Vec<_> = inputs.iter().filter_map(Input::follow_up).collect();
    assert_eq!(keys, [(&key, FollowUp::Void)]);
}
