//! The promises as properties, the checks that explore every state, and the checks that each property can fail.

use std::{
    collections::BTreeSet,
    hash::{DefaultHasher, Hash, Hasher},
};

use stateright::{Checker, HasDiscoveries, Model, Property};

use super::{Deed, Flaw, Kind, Said, Sin, System, Worker, World};
use crate::payment::State;

const P1: &str = "P1: what leaves is what was recorded";
const P2: &str = "P2: money moves at most once";
const KEY: &str = "P2: what may have acted is sent again only under a key that lives";
const PROOF: &str = "P2: what may have acted is sent again only after the proof that the contract allows";
const P3: &str = "P3: what was told stays";
const P4: &str = "P4: a payment says of the money only what is so";
const P5: &str = "P5: a repeat is answered from the one payment, and other parameters are refused";
const ONE_CALL: &str = "one call is under way at a time, and the engine knows it";
const NO_FALSE_ALARM: &str = "a contradiction is noted only if there is one";
const ENDS: &str = "P6: whatever has happened, a gateway that answers ends it, or it is parked";

const SUCCEEDS: &str = "succeeds";
const DECLINES: &str = "declines";
const CANCELS: &str = "is canceled";
const PARKS: &str = "parks";
const UNKNOWN_SUCCESS: &str = "is in doubt after the money moved";
const RECOGNISED: &str = "is sent again, and the gateway recognises it";
const SENT_AGAIN: &str = "is sent again after doubt, and only that moves the money";
const TURNS: &str = "turns after it was told, and that is noted";

pub(super) fn all() -> Vec<Property<System>> {
    let mut all = promises();
    all.extend(stories());
    all
}

fn promises() -> Vec<Property<System>> {
    vec![
        Property::<System>::always(P1, |_, world| world.sin != Some(Sin::Unrecorded)),
        Property::<System>::always(P2, |_, world| world.gateway.moved <= 1),
        Property::<System>::always(KEY, |_, world| world.sin != Some(Sin::DeadKey)),
        Property::<System>::always(PROOF, |_, world| world.sin != Some(Sin::Unproven)),
        Property::<System>::always(P3, |_, world| world.still_says_what_was_told()),
        Property::<System>::always(P4, |_, world| says_what_is_so(world)),
        Property::<System>::always(P5, |_, world| world.sin != Some(Sin::Misanswered)),
        Property::<System>::always(ONE_CALL, |_, world| {
            let calls = usize::from(world.worker.is_some()) + usize::from(world.question.is_some());
            calls == usize::from(world.pursuits.iter().any(|pursuit| pursuit.calling))
        }),
        Property::<System>::always(NO_FALSE_ALARM, |_, world| {
            !world.payment.as_ref().is_some_and(|payment| payment.is_contradicted()) || world.gateway.turned
        }),
        Property::<System>::always(ENDS, ends_if_answered),
    ]
}

/// Things that must be possible, or the model shows nothing.
fn stories() -> Vec<Property<System>> {
    vec![
        Property::<System>::sometimes(SUCCEEDS, |_, world| state(world) == Some(State::Succeeded)),
        Property::<System>::sometimes(DECLINES, |_, world| state(world) == Some(State::Declined)),
        Property::<System>::sometimes(CANCELS, |_, world| state(world) == Some(State::Canceled)),
        Property::<System>::sometimes(PARKS, |_, world| state(world) == Some(State::Parked)),
        Property::<System>::sometimes(UNKNOWN_SUCCESS, |_, world| {
            state(world) == Some(State::InDoubt) && world.gateway.moved == 1
        }),
        Property::<System>::sometimes(RECOGNISED, |_, world| was_sent_again(world, true)),
        Property::<System>::sometimes(SENT_AGAIN, |_, world| was_sent_again(world, false)),
        Property::<System>::sometimes(TURNS, |_, world| {
            let noted = world.payment.as_ref().is_some_and(|payment| payment.is_contradicted());
            noted && state(world) == Some(State::Declined)
        }),
    ]
}

fn was_sent_again(world: &World, recognised: bool) -> bool {
    let again = world.operation().is_some_and(|operation| operation.may_have_acted);
    let done = |worker: Worker| worker.reply == Some(Said::Succeeded) && worker.recognised == recognised;
    again && world.worker.is_some_and(done)
}

fn state(world: &World) -> Option<State> {
    world.payment.as_ref().map(|payment| payment.state())
}

/// Declined and canceled: nothing moved, unless the gateway has turned its own decline since. Succeeded: it moved.
fn says_what_is_so(world: &World) -> bool {
    let moved = world.gateway.moved;
    match state(world) {
        Some(State::Succeeded | State::Authorized) => moved >= 1,
        Some(State::Declined) => moved == u32::from(world.gateway.turned),
        Some(State::Canceled) => moved == 0,
        Some(State::Processing | State::RequiresAction | State::InDoubt | State::Parked) | None => true,
    }
}

/// Whether the payment ends if from here on the process lives, and the gateway gets and answers everything at once.
/// Follows that one future until it ends, or joins one that is known to.
fn ends_if_answered(system: &System, world: &World) -> bool {
    /// More than any future takes here.
    const STEPS: usize = 100;
    let mut passed = Vec::new();
    let mut future = world.clone();
    for _ in 0..STEPS {
        let mut name = DefaultHasher::new();
        future.hash(&mut name);
        let known = system.ending.lock().expect("no panic while locked").contains(&name.finish());
        if known || future.operation().is_none() || has_ended(&future) {
            system.ending.lock().expect("no panic while locked").extend(passed);
            return true;
        }
        passed.push(name.finish());
        let deed = answered_deed(&future);
        future.undergo(system, deed);
    }
    false
}

fn has_ended(world: &World) -> bool {
    world.is_at_rest() || state(world) == Some(State::Parked)
}

/// What happens next when everybody does what is expected of them.
fn answered_deed(world: &World) -> Deed {
    if world.may_leave() {
        return Deed::Leave;
    }
    if let Some(worker) = world.worker {
        let delivery = world.deliveries().into_iter().find(|(attempt, _)| worker.left && *attempt == worker.attempt);
        return match delivery {
            Some((attempt, said)) if worker.reply.is_none() => Deed::Deliver(attempt, said),
            _ => Deed::Report { lost: worker.left && worker.reply.is_none() },
        };
    }
    if world.gateway.decision == Some(Said::Pending) {
        return Deed::Decide(Said::Succeeded);
    }
    match world.answers().first() {
        Some(truth) => Deed::Look(*truth),
        None if world.question.is_some() => Deed::Answered,
        None if world.is_due() => Deed::Due,
        None => Deed::Pass,
    }
}

/// Explores everything, prints how much that was, and returns the names of what was found.
fn explore(name: &str, system: System) -> BTreeSet<&'static str> {
    let checker = system.checker().threads(2).finish_when(HasDiscoveries::AnyFailures).spawn_bfs().join();
    assert!(checker.is_done(), "{name}: not explored to the end");
    eprintln!(
        "{name}: {} states, {} transitions, depth {}",
        checker.unique_state_count(),
        checker.state_count(),
        checker.max_depth()
    );
    let discoveries = checker.discoveries();
    for (property, path) in &discoveries {
        if promises().iter().any(|promise| promise.name == *property) {
            panic!("{name}: broken: {property}\n{:?}", path.clone().into_actions());
        }
    }
    discoveries.into_keys().collect()
}

/// Explores until these promises are seen broken. Two sendings are enough for each, and a crash for some.
fn breaks(name: &str, mut system: System, promises: &[&'static str]) {
    (system.sendings, system.crashes) = (2, u32::from(system.nature.flaw.is_some()));
    let wanted = HasDiscoveries::AllOf(promises.iter().copied().collect());
    let checker = system.checker().finish_when(wanted).spawn_bfs().join();
    let discoveries = checker.discoveries();
    for promise in promises {
        let path = discoveries.get(promise).unwrap_or_else(|| panic!("{name}: not found to break: {promise}"));
        eprintln!("{name}: breaks `{promise}` by {:?}", path.clone().into_actions());
    }
    eprintln!("{name}: after {} states", checker.unique_state_count());
}

const BOTH: Kind = Kind { deduplicates: true, can_be_asked: true };
const DEDUPLICATES: Kind = Kind { deduplicates: true, can_be_asked: false };
const CAN_BE_ASKED: Kind = Kind { deduplicates: false, can_be_asked: true };
const NEITHER: Kind = Kind { deduplicates: false, can_be_asked: false };

fn flawed(kind: Kind, flaw: Flaw) -> System {
    let mut system = System::new(kind);
    system.nature.flaw = Some(flaw);
    system
}

#[test]
fn every_promise_holds_in_every_state_with_a_gateway_that_deduplicates_and_can_be_asked() {
    let seen = explore("both", System::new(BOTH));
    assert_eq!(seen, BTreeSet::from([SUCCEEDS, DECLINES, CANCELS, PARKS, UNKNOWN_SUCCESS, SENT_AGAIN]));
}

#[test]
fn every_promise_holds_in_every_state_where_one_not_found_is_enough() {
    let seen = explore("once", System::new(BOTH).once());
    assert_eq!(seen, BTreeSet::from([SUCCEEDS, DECLINES, CANCELS, PARKS, UNKNOWN_SUCCESS, SENT_AGAIN]));
}

#[test]
fn every_promise_holds_in_every_state_with_a_gateway_that_deduplicates_and_cannot_be_asked() {
    let seen = explore("deduplicates", System::new(DEDUPLICATES));
    let expected = [SUCCEEDS, DECLINES, CANCELS, PARKS, UNKNOWN_SUCCESS, SENT_AGAIN, RECOGNISED];
    assert_eq!(seen, BTreeSet::from(expected));
}

#[test]
fn every_promise_holds_in_every_state_with_a_gateway_that_can_only_be_asked() {
    let seen = explore("can be asked", System::new(CAN_BE_ASKED));
    assert_eq!(seen, BTreeSet::from([SUCCEEDS, DECLINES, CANCELS, PARKS, UNKNOWN_SUCCESS]));
}

#[test]
fn every_promise_holds_in_every_state_with_a_gateway_that_neither_deduplicates_nor_can_be_asked() {
    let seen = explore("neither", System::new(NEITHER));
    assert_eq!(seen, BTreeSet::from([SUCCEEDS, DECLINES, CANCELS, PARKS]));
}

#[test]
fn every_promise_holds_in_every_state_with_declines_that_turn() {
    let seen = explore("soft declines", System::new(CAN_BE_ASKED).soft());
    assert_eq!(seen, BTreeSet::from([SUCCEEDS, DECLINES, CANCELS, PARKS, UNKNOWN_SUCCESS, TURNS]));
}

#[test]
fn a_contract_that_claims_what_the_gateway_does_not_do_moves_money_twice() {
    let mut forgetful = System::new(DEDUPLICATES);
    forgetful.nature.remembers = None;
    breaks("no deduplication", forgetful, &[P2, KEY]);
    let mut early = System::new(DEDUPLICATES);
    early.nature.remembers = Some(6);
    breaks("keys that die early", early, &[P2, KEY]);
}

#[test]
fn a_contract_that_understates_the_gateways_times_sends_again_without_a_proof() {
    let mut slow = System::new(BOTH);
    slow.nature.max_processing = 5;
    breaks("max_processing", slow, &[PROOF]);
    let mut lagging = System::new(BOTH);
    lagging.nature.lag = 5;
    breaks("not_found_lag", lagging, &[PROOF]);
}

#[test]
fn each_other_promise_is_seen_broken_where_it_is() {
    breaks("acts on what it refused", flawed(CAN_BE_ASKED, Flaw::ActsOnRefused), &[P2, P4]);
    breaks("lies when asked", flawed(CAN_BE_ASKED, Flaw::LiesWhenAsked).soft(), &[P4, NO_FALSE_ALARM]);
    breaks("loses its journal", flawed(NEITHER, Flaw::LosesJournal), &[P2, P3, P5]);
    breaks("releases early", flawed(NEITHER, Flaw::ReleasesEarly), &[P1]);
    breaks("never wakes", flawed(BOTH, Flaw::NeverWakes), &[ENDS]);
    breaks("workers survive", flawed(BOTH, Flaw::WorkersSurvive), &[ONE_CALL]);
}
