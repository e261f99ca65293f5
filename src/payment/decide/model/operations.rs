//! What goes on from a payment: refunds that together are more than was charged, captures and a void of what was
//! authorized, a void that crosses its charge; and what the engine begins by itself. The gateway counts no amounts here:
//! what it is asked for, it may do.

use std::collections::BTreeSet;

use stateright::Property;

use super::{
    AMOUNT, Ask, Capture, Flaw, FollowUp, Kind, System,
    properties::{
        BOTH, BOUNDS, CAN_BE_ASKED, DEDUPLICATES, LET_GO, NEITHER, P2, RECOGNISED, SENT_AGAIN, breaks, explore, moved,
        was_sent_again,
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
        Property::<System>::sometimes(MOOT, |_, world| {
            void(world).is_some_and(|one| is_done(one) && !one.may_have_acted)
        }),
        Property::<System>::sometimes(TOO_LATE, |_, world| {
            void(world).is_some_and(|one| matches!(one.standing, Standing::Canceled(_)))
                && moved(world, Asked::Charge) > 0
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
    let system = System::new(kind).brief();
    // Where it can be asked, news only has it asked, and people do that at any time. That an answer may be overtaken by
    // what happens meanwhile is shown with one charge; here it takes minutes.
    let (speaks, stale) = (kind == NEITHER || (long() && !kind.can_be_asked), long());
    System { asks: asks.to_vec(), sendings: 2, crashes: 1, speaks, stale, ..system }
}

/// Whether there are minutes instead of seconds: `PAYONCE_MODEL_LONG=1`.
fn long() -> bool {
    super::bound("LONG", 0) > 0
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

const KINDS: [(&str, Kind); 4] =
    [("both", BOTH), ("deduplicates", DEDUPLICATES), ("can be asked", CAN_BE_ASKED), ("neither", NEITHER)];

/// Explores it with each of these kinds of contract, and returns what is seen with all of them.
fn explored(name: &str, kinds: &[(&str, Kind)], system: impl Fn(Kind) -> System) -> BTreeSet<&'static str> {
    let seen = kinds.iter().map(|(which, kind)| explore(&format!("{name}, {which}"), system(*kind)));
    seen.reduce(|all, seen| &all & &seen).expect("one kind at least")
}

#[test]
fn two_refunds_never_give_back_more_than_was_charged() {
    let two = [refund("r1", 60), refund("r2", 60)];
    let seen = explored("two refunds", &KINDS, |kind| world(kind, &two).charged());
    assert_eq!(seen, BTreeSet::from([FIRST, SECOND, PARKED]));
}

#[test]
fn a_capture_and_a_void_of_what_was_authorized_exclude_each_other() {
    let either = [capture("c", 60), void_under("v")];
    let seen = explored("capture or void", &KINDS, |kind| world(kind, &either).authorizing().charged());
    assert_eq!(seen, BTreeSet::from([FIRST, SECOND, IN_TIME, PARKED]));
}

#[test]
fn two_captures_never_take_more_than_was_authorized() {
    let two = [capture("c1", 60), capture("c2", 60)];
    let seen = explored("two captures", &KINDS[1..], |kind| world(kind, &two).authorizing().charged());
    assert_eq!(seen, BTreeSet::from([FIRST, SECOND, PARKED]));
}

#[test]
fn a_void_that_crosses_its_charge_undoes_it_once_or_says_that_it_came_too_late() {
    let crossing = |late| move |kind| world(kind, &[void_under("v")]).late(late);
    let kinds = if long() { &KINDS[..] } else { &KINDS[1..] };
    let seen = explored("a crossing void", kinds, crossing(Late::Refund));
    assert_eq!(seen, BTreeSet::from([SECOND, IN_TIME, MOOT, TOO_LATE, BACK, PARKED]));
    let seen = explored("a crossing void, and what moved stays", &KINDS[3..], crossing(Late::Adopt));
    assert_eq!(seen, BTreeSet::from([IN_TIME, MOOT, TOO_LATE, PARKED]));
}

#[test]
fn a_charge_that_turns_after_its_decline_was_told_goes_back_once_whoever_asks_for_it() {
    let turning = |late| move |kind| world(kind, &[refund("r", 60)]).soft().late(late);
    let seen = explored("a charge that turns", &KINDS[2..3], turning(Late::Refund));
    assert!(seen.is_superset(&BTreeSet::from([FIRST, BACK])), "{seen:?}");
    let seen = explored("a charge that turns, and what moved stays", &KINDS[2..3], turning(Late::Adopt));
    assert!(seen.contains(FIRST) && !seen.contains(BACK), "{seen:?}");
}

#[test]
fn where_a_gateway_does_what_it_refused_more_goes_back_than_there_was_and_that_is_seen() {
    let flawed = |asks: &[Ask]| {
        let mut system = world(CAN_BE_ASKED, asks).charged();
        system.nature.flaw = Some(Flaw::ActsOnRefused);
        system
    };
    breaks("refunds that were refused", flawed(&[refund("r1", 60), refund("r2", 60)]), &[P2, BOUNDS]);
    let either = flawed(&[capture("c", 60), void_under("v")]).authorizing();
    breaks("a capture that was refused", either, &[LET_GO]);
}
