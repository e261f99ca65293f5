//! Voids that the gateway would not carry out.

use super::*;
use crate::payment::Inquiry;

impl Story {
    /// The charge waits at its gateway, which a void of it has not reached.
    fn voided_in_vain() -> Story {
        let mut story = Story::new(standard());
        story.then(0, story.pay());
        story.ended(1, Outcome::Pending(None, reply()));
        story.asks("v", FollowUp::Void);
        story.ends(1, Outcome::NotSent(reply()));
        story
    }
}

/// Whichever is heard first.
#[test]
fn a_charge_that_happens_after_the_gateway_would_not_void_it_is_refunded_by_policy_once() {
    let declined = || Outcome::Declined(Finality::Hard, reply());
    let refused = || Outcome::Refused(Lasting::ForGood, reply());
    for (late_void, after) in [(Late::Refund, vec![(2, Kind::Refund, 1050)]), (Late::Adopt, Vec::new())] {
        for (of_void, state) in [(declined(), State::Declined), (refused(), State::Canceled)] {
            for void_first in [true, false] {
                let mut story = Story::new(standard());
                story.rules.policies.late_void = late_void;
                story.then(0, story.pay());
                story.ended(1, Outcome::Pending(None, reply()));
                story.asks("v", FollowUp::Void);
                if void_first {
                    story.ends(1, of_void.clone());
                    assert_eq!(story.payment.as_ref().unwrap().operations.len(), 2, "nothing has moved");
                }
                story.answered(Outcome::Succeeded(reply()));
                if !void_first {
                    story.ends(1, of_void.clone());
                }
                story.answered(Outcome::Succeeded(reply()));
                let first = story.then(0, Input::Due);
                let second = story.then(0, Input::Due);
                assert_eq!(sent(&[first, second].concat()), after);
                assert_eq!(story.states()[..2], [State::Succeeded, state], "what was told stays");
            }
        }
    }
}

#[test]
fn nothing_goes_back_in_place_of_a_void_while_its_decline_may_still_turn() {
    let window = Some(Duration::from_secs(3_600));
    let mut story = Story::new(Contract { soft_decline_window: window, ..standard() });
    story.then(0, story.pay());
    story.ended(1, Outcome::Pending(None, reply()));
    story.asks("v", FollowUp::Void);
    story.ends(1, Outcome::Declined(Finality::Soft, reply()));
    story.answered(Outcome::Succeeded(reply()));
    assert_eq!(story.payment.as_ref().unwrap().operations.len(), 2, "the gateway may carry it out yet");
}

#[test]
fn a_void_that_never_left_gives_nothing_back_when_the_policy_changes_afterwards() {
    for news in [Outcome::Succeeded(reply()), Outcome::Declined(Finality::Hard, reply()), Outcome::NotFound] {
        let mut story = Story::new(standard());
        story.rules.policies.late_void = Late::Adopt;
        story.then(0, story.pay());
        story.asks("v", FollowUp::Void);
        story.ended(1, Outcome::Unknown(reply()));
        story.answered(Outcome::Succeeded(reply()));
        story.then(0, Input::Due);
        assert_eq!(story.payment.as_ref().unwrap().operations[1].reply().map(Reply::code), Some("too_late"));
        story.rules.policies.late_void = Late::Refund;
        story.answered(news);
        story.then(60, Input::Due);
        assert_eq!(story.payment.as_ref().unwrap().operations.len(), 2);
    }
}

/// Once what it is to undo has come into doubt, a void that was sent before, and certainly did not act, waits like any other.
#[test]
fn a_void_that_was_sent_in_vain_waits_while_what_it_is_to_undo_is_parked_and_then_goes_on() {
    let mut story = Story::new(Contract { inquiry: Inquiry::None, ..standard() });
    story.then(0, story.pay());
    story.ended(1, Outcome::Pending(None, reply()));
    assert_eq!(sent(&story.asks("v", FollowUp::Void).0), [(1, Kind::Void, 1050)]);
    story.ends(1, Outcome::NotSent(reply()));
    let mut last = Vec::new();
    for _ in 0..3_000 {
        for action in story.then(60, Input::Due) {
            let [(operation, kind, _)] = sent(&[action])[..] else { unreachable!("one is one") };
            last.push(kind);
            let outcome = if kind == Kind::Void { Outcome::NotSent(reply()) } else { Outcome::Unknown(reply()) };
            story.ends(operation, outcome);
        }
    }
    assert_eq!(story.states(), [State::Parked, State::Processing]);
    let doubt = last.iter().position(|kind| *kind == Kind::Charge).expect("asked by being sent again");
    assert!(!last[doubt..].contains(&Kind::Void), "{last:?}");
    let void = &story.payment.as_ref().unwrap().operations[1];
    assert!(void.attempts > 0 && void.standing == Standing::Intended, "{void:?}");
    story.then(0, resolution(Verdict::Declined));
    story.then(0, Input::Due);
    assert_eq!(story.states(), [State::Declined, State::Processing], "the pause after its last attempt is not over");
    story.then(24 * 3_600, Input::Due);
    assert_eq!(story.states(), [State::Declined, State::Succeeded]);
}

#[test]
fn what_a_caller_refunds_and_the_gateway_declines_does_not_go_back_by_itself() {
    let mut story = Story::charged();
    story.asks("r", FollowUp::Refund(None));
    assert_eq!(story.ends(1, Outcome::Declined(Finality::Hard, reply())), []);
    assert_eq!(story.then(24 * 3_600, Input::Due), []);
    assert_eq!(story.payment.as_ref().unwrap().operations.len(), 2);
}

#[test]
fn a_void_that_was_sent_in_vain_is_not_sent_again_before_its_time_whatever_is_heard_of_its_charge() {
    let mut story = Story::voided_in_vain();
    story.answered(Outcome::Pending(None, Reply::new("still_pending", "nobody has looked at it")));
    let of_void = |action: &Action| matches!(action, Action::Send { call, .. } if call.operation == 1);
    assert!(!story.then(0, Input::Due).iter().any(of_void), "its pause is not over");
    assert!(story.then(3_600, Input::Due).iter().any(of_void), "now it is");
}

#[test]
fn a_void_that_never_reached_the_gateway_and_had_nothing_to_undo_let_go_of_nothing() {
    let mut story = Story::voided_in_vain();
    story.answered(Outcome::Declined(Finality::Hard, reply()));
    story.then(60, Input::Due);
    let payment = story.payment.as_ref().unwrap();
    assert_eq!(payment.operations[1].reply().map(Reply::code), Some("nothing_to_void"));
    assert_eq!((payment.operations[1].attempts, payment.voiding()), (1, None));
}
