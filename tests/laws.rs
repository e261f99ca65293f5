//! Algebraic laws, for whatever values: the fold of events, the codec, orders as fingerprints, amounts and ids.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::sync::Arc;

use payonce::{
    Amount, Currency, IdempotencyKey, Order, Payment, PaymentId, Tenant,
    journal::{Record, decode_payment, decode_record, encode_payment, encode_record},
    payment::{
        Capture, Clock, Contract, Encoder, Event, Finality, Identity, Input, Kind, Lasting, Manner, Namespace,
        NextAction, Now, OperationKey, Outcome, Person, Reply, Resolution, Rules, Tick, Timestamp, Verdict, apply,
        decide,
    },
};
use proptest::{collection::vec, option, prelude::*, sample::select};

fn order() -> impl Strategy<Value = Order> {
    let metadata = vec(("[a-z]{1,8}", "[ -~]{0,12}"), 0..4);
    let description = option::of("\\PC{1,30}");
    let expiry = option::of(1_700_000_000_000u64..1_900_000_000_000);
    let parties = ("[a-z_]{1,12}", "[a-z_]{1,12}");
    (1..=1_000_000u64, select(&["USD", "JPY", "KWD"][..]), parties, any::<bool>(), description, metadata, expiry)
        .prop_filter_map(
            "a legal order",
            |(amount, currency, (source, destination), manual, description, metadata, expiry)| {
                let mut order =
                    Order::new(Amount::new(amount).ok()?, Currency::new(currency).ok()?, &source, &destination).ok()?;
                order = order.with_capture(if manual { Capture::Manual } else { Capture::Automatic });
                if let Some(description) = description {
                    order = order.with_description(&description).ok()?;
                }
                for (key, value) in metadata {
                    order = order.with_metadata(&key, &value).ok()?;
                }
                order.expires_at = expiry.map(Timestamp::from_millis);
                Some(order)
            },
        )
}

fn outcome() -> impl Strategy<Value = Outcome> {
    let reply = ("[a-z_]{1,10}", "\\PC{0,20}", option::of("[a-z0-9_]{1,10}")).prop_map(|(code, message, reference)| {
        let reply = Reply::new(&code, &message);
        reference.map_or(reply.clone(), |reference| reply.with_reference(&reference))
    });
    (0..9u8, reply).prop_map(|(kind, reply)| match kind {
        0 | 1 => Outcome::Succeeded(reply),
        2 => Outcome::Declined(Finality::Hard, reply),
        3 => Outcome::Declined(Finality::Soft, reply),
        4 => Outcome::Pending(Some(NextAction { url: "https://bank.example/3ds".to_owned(), expires_at: None }), reply),
        5 => Outcome::NotSent(reply),
        6 => Outcome::Refused(Lasting::ForNow { retry_after: None }, reply),
        7 => Outcome::NotFound,
        _ => Outcome::Unknown(reply),
    })
}

/// One thing said to a payment.
fn input() -> impl Strategy<Value = Input> {
    (0..10u8, outcome(), 0..4u32, 0..4u8).prop_map(|(kind, outcome, attempt, verdict)| match kind {
        0..=2 => Input::Ended { operation: 0, attempt, outcome },
        3..=5 => Input::Answered { operation: 0, asked: Tick::from_millis(1 << 50), outcome },
        6 => Input::Due,
        7 => Input::Resume,
        8 => Input::Inquire,
        _ => {
            let verdicts = [Verdict::Succeeded, Verdict::Declined, Verdict::Resend, Verdict::Cancel];
            let person = Person { actor: "ann".to_owned(), reason: "looked".to_owned() };
            let verdict = verdicts.get(usize::from(verdict)).copied().unwrap_or(Verdict::Cancel);
            Input::Resolve(Resolution { operation: None, verdict, reply: None, person })
        }
    })
}

fn rules() -> Rules {
    let mut contract = Contract::standard(Identity { name: "law".into(), ..Identity::default() });
    contract.soft_decline_window = Some(std::time::Duration::from_secs(3600));
    Rules::new(contract, Encoder::plain())
}

/// A payment's whole story: what is decided about an order and about whatever is said then.
fn story() -> impl Strategy<Value = Vec<Event>> {
    (order(), "[a-z0-9]{1,12}", vec(input(), 0..12)).prop_map(|(order, key, inputs)| {
        let (tenant, key) = (Tenant::default(), IdempotencyKey::new(&key).unwrap());
        let id = PaymentId::derive(&tenant, &key);
        let pay = Input::Pay {
            tenant,
            key,
            order: Arc::new(order),
            request: Ok(b"bytes".to_vec()),
            manner: Manner::default(),
        };
        let (mut payment, mut pursuits, mut events) = (None, Vec::new(), Vec::new());
        for (number, input) in (0u64..).zip(std::iter::once(pay).chain(inputs)) {
            let at = Timestamp::from_millis(1_770_000_000_000 + 90_000 * number);
            let now = Now { wall: at, tick: Tick::from_millis(90_000 * number), clock: Clock::Trusted };
            let decision = decide(payment.as_ref(), &pursuits, &input, &now, &rules());
            for fact in decision.facts {
                let event = Event { payment: id, at, fact };
                apply(&mut payment, &event).unwrap();
                events.push(event);
            }
            pursuits = decision.pursuits;
        }
        events
    })
}

fn fold(mut payment: Option<Payment>, events: &[Event]) -> Option<Payment> {
    events.iter().for_each(|event| apply(&mut payment, event).unwrap());
    payment
}

proptest! {
    #[test]
    fn a_fold_may_be_cut_anywhere_carried_and_gone_on_with(events in story(), at in any::<prop::sample::Index>()) {
        let (before, after) = events.split_at(at.index(events.len() + 1));
        let whole = fold(None, &events);
        let carried = fold(None, before).map(|payment| decode_payment(&encode_payment(&payment)).unwrap());
        prop_assert_eq!(fold(carried, after), whole);
    }

    #[test]
    fn a_settled_answer_is_never_changed_by_what_comes_after(events in story()) {
        let mut payment = None;
        for event in &events {
            let before: Option<Payment> = payment.clone();
            apply(&mut payment, event).unwrap();
            if let (Some(before), Some(now)) = (before.filter(Payment::is_settled), &payment) {
                prop_assert_eq!((now.state(), now.settled_at), (before.state(), before.settled_at));
            }
        }
    }

    #[test]
    fn every_record_comes_back_from_its_bytes(events in story()) {
        let carried = fold(None, &events).map(|payment| Record::Carried(Box::new(payment)));
        for record in events.into_iter().map(Record::Event).chain(carried) {
            prop_assert_eq!(decode_record(&encode_record(&record).unwrap()).unwrap(), record);
        }
    }

    #[test]
    fn bytes_that_nobody_wrote_are_refused_or_mean_only_themselves(bytes in vec(any::<u8>(), 0..300)) {
        if let Ok(record) = decode_record(&bytes) {
            prop_assert_eq!(encode_record(&record).unwrap(), bytes);
        }
    }

    #[test]
    fn two_orders_are_one_exactly_if_no_field_differs(one in order(), other in order()) {
        prop_assert_eq!(one.differing_fields(&other).is_empty(), one == other);
        prop_assert_eq!(one.differing_fields(&other), other.differing_fields(&one));
        prop_assert!(one.differing_fields(&one.clone()).is_empty());
    }

    #[test]
    fn amounts_are_what_json_holds_exactly(minor in any::<u64>()) {
        let legal = (1..=(1u64 << 53) - 1).contains(&minor);
        prop_assert_eq!(Amount::new(minor).map(Amount::minor_units).ok(), legal.then_some(minor));
    }

    #[test]
    fn names_at_the_gateway_differ_if_anything_does(one in "[!-~]{1,30}", other in "[!-~]{1,30}") {
        let key = |text: &str| IdempotencyKey::new(text);
        let (Ok(one), Ok(other)) = (key(&one), key(&other)) else { return Ok(()) };
        let payment = |key| PaymentId::derive(&Tenant::default(), key);
        let name = |kind, key| OperationKey::derive(&Namespace::default(), &payment(key), kind, key);
        prop_assert_eq!(name(Kind::Charge, &one) == name(Kind::Charge, &other), one == other);
        prop_assert_ne!(name(Kind::Charge, &one), name(Kind::Refund, &one));
        prop_assert_eq!(PaymentId::parse(&payment(&one).to_string()), Some(payment(&one)));
    }
}
