//! One charge, alone: every promise in every state, and the checks that each promise can be seen broken.

use std::collections::BTreeSet;

use super::{
    Flaw, Kind, System,
    properties::{
        BOTH, CAN_BE_ASKED, CANCELS, DECLINES, DEDUPLICATES, ENDS, KEY, NEITHER, NO_FALSE_ALARM, ONE_CALL, P1, P2, P3,
        P4, P5, PARKS, PROOF, RECOGNISED, SENT_AGAIN, SUCCEEDS, TURNS, UNKNOWN_SUCCESS, breaks, explore,
    },
};

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
