//! The promises as properties, for one operation and for all of a payment's together, and how every state is explored.

use std::{
    collections::BTreeSet,
    hash::{DefaultHasher, Hash, Hasher},
};

use stateright::{Checker, HasDiscoveries, Model, Property};

use super::{Deed, Kind, Lane, Said, Sin, System, Worker, World};
use crate::payment::{Kind as Asked, Operation, Reply, Standing, State, decide::Late};

pub(super) const P1: &str = "P1: what leaves is what was recorded";
pub(super) const P2: &str = "P2: money moves at most once";
pub(super) const KEY: &str = "P2: what may have acted is sent again only under a key that lives";
pub(super) const PROOF: &str = "P2: what may have acted is sent again only after the proof that the contract allows";
pub(super) const BOUNDS: &str = "P2: no more is captured than was authorized, and no more moves back than was captured";
pub(super) const UNWANTED: &str = "what its caller has voided is not sent once more";
pub(super) const LET_GO: &str = "what was let go of was not captured";
pub(super) const POLICY: &str = "what moved although it was not to goes back once, or stays, as the policy says";
pub(super) const P3: &str = "P3: what was told stays";
pub(super) const P4: &str = "P4: a payment says of the money only what is so";
pub(super) const P5: &str = "P5: a repeat is answered from the one payment, and other parameters are refused";
pub(super) const ONE_CALL: &str = "one call is under way at a time, and the engine knows it";
pub(super) const NO_FALSE_ALARM: &str = "a contradiction is noted only if there is one";
pub(super) const ENDS: &str = "P6: whatever has happened, a gateway that answers ends it, or it is parked";

pub(super) const SUCCEEDS: &str = "succeeds";
pub(super) const DECLINES: &str = "declines";
pub(super) const CANCELS: &str = "is canceled";
pub(super) const PARKS: &str = "parks";
pub(super) const UNKNOWN_SUCCESS: &str = "is in doubt after the money moved";
pub(super) const RECOGNISED: &str = "is sent again, and the gateway recognises it";
pub(super) const SENT_AGAIN: &str = "is sent again after doubt, and only that moves the money";
pub(super) const TURNS: &str = "turns after it was told, and that is noted";

pub(super) const BOTH: Kind = Kind { deduplicates: true, can_be_asked: true };
pub(super) const DEDUPLICATES: Kind = Kind { deduplicates: true, can_be_asked: false };
pub(super) const CAN_BE_ASKED: Kind = Kind { deduplicates: false, can_be_asked: true };
pub(super) const NEITHER: Kind = Kind { deduplicates: false, can_be_asked: false };

pub(super) fn all(system: &System) -> Vec<Property<System>> {
    let mut all = promises();
    all.extend(if system.asks.is_empty() { stories() } else { super::operations::stories() });
    all
}

fn promises() -> Vec<Property<System>> {
    vec![
        Property::<System>::always(P1, |_, world| world.sin != Some(Sin::Unrecorded)),
        Property::<System>::always(P2, |_, world| world.lanes.iter().all(|lane| lane.gateway.moved <= 1)),
        Property::<System>::always(BOUNDS, |_, world| {
            let [there, back] = [Asked::Capture, Asked::Refund].map(|kind| moved(world, kind));
            let charged = moved(world, Asked::Charge);
            there <= moved(world, Asked::Authorize) && back <= there + charged
        }),
        Property::<System>::always(KEY, |_, world| world.sin != Some(Sin::DeadKey)),
        Property::<System>::always(PROOF, |_, world| world.sin != Some(Sin::Unproven)),
        Property::<System>::always(UNWANTED, |_, world| world.sin != Some(Sin::Unwanted)),
        Property::<System>::always(LET_GO, |_, world| {
            moved(world, Asked::Void) == 0 || moved(world, Asked::Charge) + moved(world, Asked::Capture) == 0
        }),
        Property::<System>::always(POLICY, follows_the_policy),
        Property::<System>::always(P3, |_, world| world.still_says_what_was_told()),
        Property::<System>::always(P4, |_, world| world.operations().all(|one| says_what_is_so(world, one))),
        Property::<System>::always(P5, |_, world| world.sin != Some(Sin::Misanswered)),
        Property::<System>::always(ONE_CALL, |_, world| {
            let calls = |lane: &Lane| usize::from(lane.worker.is_some()) + usize::from(lane.question.is_some());
            let known = |place: usize| usize::from(world.pursuits.get(place).is_some_and(|pursuit| pursuit.calling));
            world.lanes.iter().enumerate().all(|(place, lane)| calls(lane) == known(place))
        }),
        Property::<System>::always(NO_FALSE_ALARM, |_, world| {
            world.operations().all(|(operation, lane)| operation.contradicted.is_none() || lane.gateway.turned)
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
            state(world) == Some(State::InDoubt) && moved(world, Asked::Charge) > 0
        }),
        Property::<System>::sometimes(RECOGNISED, |_, world| world.operations().any(|one| was_sent_again(one, true))),
        Property::<System>::sometimes(SENT_AGAIN, |_, world| world.operations().any(|one| was_sent_again(one, false))),
        Property::<System>::sometimes(TURNS, |_, world| {
            let noted = world.payment.as_ref().is_some_and(|payment| payment.is_contradicted());
            noted && state(world) == Some(State::Declined)
        }),
    ]
}

/// How much the gateway has really moved by operations of a kind.
pub(super) fn moved(world: &World, kind: Asked) -> u64 {
    let these = world.operations().filter(|(operation, _)| operation.this.kind == kind);
    these.map(|(operation, lane)| u64::from(lane.gateway.moved) * operation.this.amount.minor_units()).sum()
}

pub(super) fn was_sent_again((operation, lane): (&Operation, &Lane), recognised: bool) -> bool {
    let done =
        |worker: Worker| worker.attempt > 1 && worker.reply == Some(Said::Succeeded) && worker.recognised == recognised;
    // What news has ended meanwhile was not in doubt when it was sent.
    operation.may_have_acted && !operation.is_final() && lane.worker.is_some_and(done)
}

fn state(world: &World) -> Option<State> {
    world.payment.as_ref().map(|payment| payment.state())
}

/// Declined and canceled: nothing moved, unless the gateway has turned its own decline since. Succeeded: it moved; or, of
/// a void, there was nothing that it could have let go of.
fn says_what_is_so(world: &World, (operation, lane): (&Operation, &Lane)) -> bool {
    let moved = lane.gateway.moved;
    let nothing = |world: &World| world.lane(0).gateway.moved == u32::from(world.lane(0).gateway.turned);
    match operation.state() {
        State::Succeeded | State::Authorized if operation.this.kind == Asked::Void => moved >= 1 || nothing(world),
        State::Succeeded | State::Authorized => moved >= 1,
        State::Declined => moved == u32::from(lane.gateway.turned),
        State::Canceled => moved == 0,
        State::Processing | State::RequiresAction | State::InDoubt | State::Parked => true,
    }
}

/// What the engine begins by itself: at most one operation for one reason, and none where what moved is to stay.
fn follows_the_policy(system: &System, world: &World) -> bool {
    let keys = || world.operations().map(|(operation, _)| operation.key.as_str());
    let own = || keys().filter(|key| key.starts_with("payonce:"));
    let once = own().all(|key| keys().filter(|other| *other == key).count() == 1);
    let charged = world.operation(0).is_some_and(|first| first.this.kind == Asked::Charge && first.has_happened());
    let late_void = |operation: &Operation| {
        let code = operation.reply().map_or("", Reply::code);
        let too_late = ["refunded_instead", "too_late"].contains(&code);
        let refused = operation.attempts > 0 && charged && operation.is_final() && !operation.has_happened();
        operation.this.kind == Asked::Void && (too_late || refused)
    };
    let policies = system.rules.policies;
    let reasons = [
        ("payonce:void-", policies.late_void, world.operations().any(|(one, _)| late_void(one))),
        ("payonce:late-", policies.late_success, world.operations().any(|(one, _)| one.contradicted.is_some())),
    ];
    let returned = world.payment.as_ref().is_some_and(|payment| payment.refunded() > 0);
    once && reasons.into_iter().all(|(key, policy, happened)| {
        let begun = own().any(|own| own.starts_with(key));
        match policy {
            Late::Adopt => !begun,
            // Its caller may have been quicker.
            Late::Refund => begun == happened || (happened && returned),
        }
    })
}

/// Whether the payment ends if from here on the process lives, and the gateway gets and answers everything at once.
/// Follows that one future until it ends, or joins one that is known to.
fn ends_if_answered(system: &System, world: &World) -> bool {
    /// More than any future takes here.
    const STEPS: usize = 200;
    let mut passed = Vec::new();
    let mut future = world.clone();
    for _ in 0..STEPS {
        let mut name = DefaultHasher::new();
        future.hash(&mut name);
        let known = system.ending.lock().expect("no panic while locked").contains(&name.finish());
        if known || future.operation(0).is_none() || future.operations().all(|(one, _)| has_ended(&future, one)) {
            system.ending.lock().expect("no panic while locked").extend(passed);
            return true;
        }
        passed.push(name.finish());
        let deed = answered_deed(&future);
        future.undergo(system, deed);
    }
    false
}

/// Final, or parked, or a void that waits for what is.
fn has_ended(world: &World, operation: &Operation) -> bool {
    let parked = |one: &Operation| matches!(one.standing, Standing::Parked { .. });
    let waits = operation.this.kind == Asked::Void && operation.standing == Standing::Intended;
    operation.is_at_rest() || parked(operation) || (waits && world.operation(0).is_some_and(parked))
}

/// What happens next when everybody does what is expected of them: of the first operation with which anything is to be
/// done.
fn answered_deed(world: &World) -> Deed {
    let first = (0..).zip(&world.lanes).find_map(|(number, lane)| answered_deed_of(world, number, lane));
    first.unwrap_or(if world.is_due() { Deed::Due } else { Deed::Pass })
}

fn answered_deed_of(world: &World, number: u32, lane: &Lane) -> Option<Deed> {
    if world.may_leave(number) {
        return Some(Deed::Leave(number));
    }
    if let Some(worker) = lane.worker {
        let mut deliveries = world.deliveries(number).into_iter();
        let delivery = deliveries.find(|(attempt, _)| worker.left && *attempt == worker.attempt);
        return Some(match delivery {
            Some((attempt, said)) if worker.reply.is_none() => Deed::Deliver(number, attempt, said),
            _ => Deed::Report(number, worker.left && worker.reply.is_none()),
        });
    }
    if lane.gateway.decision == Some(Said::Pending) {
        return Some(Deed::Decide(number, Said::Succeeded));
    }
    match world.answers(number).first() {
        Some(truth) => Some(Deed::Look(number, *truth)),
        None => lane.question.map(|_| Deed::Answered(number)),
    }
}

/// Explores everything, prints how much that was, and returns the names of what was found.
pub(super) fn explore(name: &str, system: System) -> BTreeSet<&'static str> {
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
pub(super) fn breaks(name: &str, mut system: System, promises: &[&'static str]) {
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
