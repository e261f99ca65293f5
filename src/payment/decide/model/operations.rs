//! What goes on from a payment: refunds that together are more than was charged, captures and a void of what was
//! authorized, a void that crosses its charge; and what the engine begins by itself. The gateway counts no amounts here:
//! what it is asked for, it may do.

use std::collections::BTreeSet;

use stateright::Property;

use super::{
    AMOUNT, Ask, Capture, FollowUp, Kind, System,
    properties::{
        BOTH, CAN_BE_ASKED, DEDUPLICATES, NEITHER, RECOGNISED, SENT_AGAIN, explore, moved, was_sent_again,
    },
    world,
};
use crate::payment::{
    Amount, Kind as Asked, Operation, Standing,
    decide::{Late, Policies},
};

const FIRST: &str = "the first of two is done";
const SECOND: &str = "the second of two is done, for nothing came of the first";
const UNHEARD: &str = "is done, and only the gateway knows";
const WAITS: &str = "a void waits for a charge of which only the gateway knows";
const IN_TIME: &str = "a void lets go of what was held or not decided yet";
const MOOT: &str = "there was nothing to void";
const TOO_LATE: &str = "a void comes too late";
const BACK: &str = "what the engine gives back by itself is back";
const PARKED: &str = "an operation that goes on from a payment parks";

pub(super) fn stories() -> Vec<Property<System>> {
    vec![
        Property::<System>::sometimes(FIRST, |_, world| {
            world.operations().nth(1).is_some_and(|(one, _)| one.this.kind != Asked::Void && is_done(one))
        }),
        Property::<System>::sometimes(SECOND, |_, world| {
            world.operations().nth(2).is_some_and(|(one, _)| one.this.kind != Asked::Void && is_done(one))
        }),
        Property::<System>::sometimes(UNHEARD, |_, world| {
            world.operations().skip(1).any(|(one, lane)| is_doubted(one) && lane.gateway.moved == 1)
        }),
        Property::<System>::sometimes(WAITS, |_, world| {
            let waits = |one: &Operation| one.this.kind == Asked::Void && one.standing == Standing::Intended;
            let mut operations = world.operations();
            operations.next().is_some_and(|(first, _)| is_doubted(first)) && operations.any(|(one, _)| waits(one))
        }),
        Property::<System>::sometimes(IN_TIME, |_, world| moved(world, Asked::Void) > 0),
        Property::<System>::sometimes(MOOT, |_, world| void(world).is_some_and(|one| is_done(one) && !one.may_have_acted)),
        Property::<System>::sometimes(TOO_LATE, |_, world| {
            void(world).is_some_and(|one| matches!(one.standing, Standing::Canceled(_))) && moved(world, Asked::Charge) > 0
        }),
        Property::<System>::sometimes(BACK, |_, world| {
            world.operations().any(|(one, _)| one.key.as_str().starts_with("payonce:") && is_done(one))
        }),
        Property::<System>::sometimes(PARKED, |_, world| {
            world.operations().skip(1).any(|(one, _)| matches!(one.standing, Standing::Parked { .. }))
        }),
        Property::<System>::sometimes(RECOGNISED, |_, world| {
            world.operations().skip(1).any(|one| was_sent_again(one, true))
        }),
        Property::<System>::sometimes(SENT_AGAIN, |_, world| {
            world.operations().skip(1).any(|one| was_sent_again(one, false))
        }),
    ]
}

fn is_done(operation: &Operation) -> bool {
    matches!(operation.standing, Standing::Succeeded(_))
}

fn is_doubted(operation: &Operation) -> bool {
    matches!(operation.standing, Standing::InDoubt { .. })
}

fn void(world: &super::World) -> Option<&Operation> {
    world.operations().map(|(operation, _)| operation).find(|operation| operation.this.kind == Asked::Void)
}

fn units(units: u64) -> Option<Amount> {
    Some(Amount::new(units).expect("an amount"))
}

fn refund(key: &'static str, amount: u64) -> Ask {
    Ask { key, follow_up: FollowUp::Refund(units(amount)), other: FollowUp::Refund(units(1)) }
}

fn capture(key: &'static str, amount: u64) -> Ask {
    Ask { key, follow_up: FollowUp::Capture(units(amount)), other: FollowUp::Capture(units(1)) }
}

fn void_under(key: &'static str) -> Ask {
    Ask { key, follow_up: FollowUp::Void, other: FollowUp::Refund(units(1)) }
}

/// One world, small enough to be seen whole within seconds.
fn world(kind: Kind, asks: &[Ask]) -> System {
    let system = System::new(kind);
    let (sendings, crashes) = (super::bound("SENDINGS", 2), super::bound("CRASHES", 1));
    System { asks: asks.to_vec(), sendings, crashes, speaks: true, ..system }
}

impl System {
    fn charged(self) -> System {
        System { settled: true, ..self }
    }

    fn authorizing(self) -> System {
        System { order: world::pay(AMOUNT, Capture::Manual), other_order: world::pay(1, Capture::Manual), ..self }
    }

    fn late(mut self, late: Late) -> System {
        self.rules.policies = Policies { late_success: late, late_void: late };
        self
    }
}

#[test]
fn two_refunds_never_give_back_more_than_was_charged() {
    let two = [refund("r1", 60), refund("r2", 60)];
    for (name, kind) in [("both", BOTH), ("asked", CAN_BE_ASKED), ("dedup", DEDUPLICATES), ("neither", NEITHER)] {
        let seen = explore(&format!("two refunds, {name}"), world(kind, &two).charged());
        eprintln!("{seen:?}");
    }
}

#[test]
fn captures_and_a_void_share_what_was_authorized() {
    let three = [capture("c1", 60), capture("c2", 60), void_under("v")];
    for (name, kind) in [("both", BOTH), ("asked", CAN_BE_ASKED), ("dedup", DEDUPLICATES), ("neither", NEITHER)] {
        let seen = explore(&format!("captures and a void, {name}"), world(kind, &three).authorizing().charged());
        eprintln!("{seen:?}");
    }
}

#[test]
fn a_void_that_crosses_its_charge() {
    for (name, kind) in [("both", BOTH), ("asked", CAN_BE_ASKED), ("dedup", DEDUPLICATES), ("neither", NEITHER)] {
        for late in [Late::Refund, Late::Adopt] {
            let seen = explore(&format!("a crossing void, {name}, {late:?}"), world(kind, &[void_under("v")]).late(late));
            eprintln!("{seen:?}");
        }
    }
}
