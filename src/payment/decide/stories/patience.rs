//! When to act next: how long is waited, and for whom.

use super::*;
use crate::payment::{Cause, Evidence, Inquiry, Lasting};

fn unasked() -> Contract {
    Contract { inquiry: Inquiry::None, ..standard() }
}

fn refused_for(seconds: Option<u64>) -> Outcome {
    Outcome::Refused(Lasting::ForNow { retry_after: seconds.map(Duration::from_secs) }, reply())
}

#[test]
fn what_did_not_happen_is_sent_again_after_pauses_that_double() {
    let mut story = Story::new(standard());
    story.then(0, story.pay());
    for pause in [1, 2, 4, 8, 16, 32, 60, 60] {
        story.ended(1, Outcome::NotSent(reply()));
        assert_eq!(story.due_in(), f64::from(pause));
        assert_eq!(story.then(u64::try_from(pause).unwrap() - 1, Input::Due), []);
        assert!(matches!(story.then(1, Input::Due).as_slice(), [Action::Send { .. }]));
    }
}

#[test]
fn each_sending_has_its_own_deadline_and_none_outlasts_the_order() {
    let mut story = Story::new(standard());
    story.then(0, story.pay());
    let again = |story: &mut Story| {
        story.ended(1, Outcome::NotSent(reply()));
        let actions = story.then(60, Input::Due);
        let [Action::Send { not_after, .. }] = actions.as_slice() else { panic!("{actions:?}") };
        not_after.since(Timestamp::from_millis(START + story.tick)).as_secs()
    };
    assert_eq!(again(&mut story), 10);
    Arc::make_mut(&mut story.payment.as_mut().unwrap().order).expires_at =
        Some(Timestamp::from_millis(START + story.tick + 64_000));
    assert_eq!(again(&mut story), 3);
}

#[test]
fn a_gateway_that_names_a_time_is_left_alone_until_then() {
    let mut story = Story::new(standard());
    story.then(0, story.pay());
    story.ended(1, refused_for(Some(30)));
    assert_eq!((story.state(), story.due_in()), (State::Processing, 30.0));
    story.then(30, Input::Due);
    story.ended(1, refused_for(Some(1)));
    assert_eq!(story.due_in(), 2.0, "never sooner than our own pause");
    story.then(2, Input::Due);
    story.ended(1, refused_for(None));
    assert_eq!(story.due_in(), 4.0);
}

#[test]
fn what_is_refused_for_good_is_canceled_with_the_gateways_words() {
    let mut story = Story::new(standard());
    story.then(0, story.pay());
    assert_eq!(story.ended(1, Outcome::Refused(Lasting::ForGood, Reply::new("bad_card", "no"))), []);
    assert_eq!(story.state(), State::Canceled);
    assert_eq!(story.operation().reply().map(Reply::code), Some("bad_card"));
}

#[test]
fn a_gateway_that_does_not_know_yet_is_asked_after_pauses_that_double() {
    let mut story = Story::in_doubt(standard());
    for pause in [1, 2, 4, 8, 16, 32, 60, 60] {
        assert!(story.pursuits[0].calling, "asked");
        story.answered(Outcome::Unknown(reply()));
        assert_eq!(story.due_in(), f64::from(pause));
        assert_eq!(story.then(u64::try_from(pause).unwrap() - 1, Input::Due), []);
        story.then(1, Input::Due);
    }
}

#[test]
fn what_is_parked_is_asked_about_every_ten_minutes() {
    let mut story = Story::in_doubt(standard());
    story.answered(Outcome::Unknown(reply()));
    story.then(24 * 3_600, Input::Due);
    assert_eq!((story.state(), story.due_in()), (State::Parked, 600.0));
    assert!(matches!(story.then(600, Input::Due).as_slice(), [Action::Inquire(_)]));
    story.answered(Outcome::Unknown(reply()));
    assert_eq!(story.due_in(), 600.0);
}

#[test]
fn a_not_found_that_was_asked_too_early_counts_for_nothing_and_is_asked_again_in_time() {
    let mut story = Story::in_doubt(standard());
    // Believable 42 s after the last possible sending; it was asked at once.
    for pause in [1, 2, 4, 8, 16, 11] {
        story.answered(Outcome::NotFound);
        assert_eq!((story.due_in(), story.pursuits[0].not_founds), (f64::from(pause), 0));
        story.then(u64::try_from(pause).unwrap(), Input::Due);
    }
    for times in 1..3 {
        assert_eq!(story.answered(Outcome::NotFound), []);
        assert_eq!((story.due_in(), story.pursuits[0].not_founds), (1.0, times));
        story.then(1, Input::Due);
    }
    assert!(matches!(story.answered(Outcome::NotFound).as_slice(), [Action::Send { attempt: 2, .. }]));
}

#[test]
fn each_sending_has_to_be_proven_not_found_anew() {
    let mut story = Story::in_doubt(standard());
    for _ in 0..3 {
        story.then(100, Input::Due);
        story.answered(Outcome::NotFound);
    }
    assert_eq!(story.operation().attempts, 2);
    story.ended(1, Outcome::Unknown(reply()));
    let believable = story.pursuits[0].believable_from.since(Tick::from_millis(story.tick));
    assert_eq!((story.pursuits[0].not_founds, believable), (0, Duration::from_secs(42)));
    assert_eq!(story.answered(Outcome::NotFound), []);
    assert_eq!(story.due_in(), 1.0, "the pauses start anew, too");
}

#[test]
fn a_second_sending_that_did_not_happen_leaves_the_first_one_in_doubt_and_asked_about() {
    for outcome in [Outcome::NotSent(reply()), refused_for(Some(3_600)), Outcome::Refused(Lasting::ForGood, reply())] {
        let mut story = Story::in_doubt(standard());
        for _ in 0..3 {
            story.then(100, Input::Due);
            story.answered(Outcome::NotFound);
        }
        assert_eq!(story.operation().attempts, 2);
        assert!(matches!(story.ended(1, outcome).as_slice(), [Action::Inquire(_)]));
        assert_eq!((story.state(), story.pursuits[0].not_founds), (State::InDoubt, 0));
    }
}

#[test]
fn what_cannot_be_sent_again_now_is_asked_about_again_and_not_parked() {
    for moved in [false, true] {
        let mut story = Story::in_doubt(standard());
        story.clock = if moved { Clock::Trusted } else { Clock::Diverged };
        story.rules.sending = !moved;
        for _ in 0..4 {
            story.then(100, Input::Due);
            assert_eq!(story.answered(Outcome::NotFound), []);
        }
        assert_eq!((story.state(), story.operation().attempts), (State::InDoubt, 1));
        assert!(story.due_in() > 0.0);
    }
}

#[test]
fn nothing_is_sent_from_a_folder_that_may_be_a_copy() {
    let mut story = Story::new(standard());
    story.then(0, story.pay());
    story.ended(1, Outcome::NotSent(reply()));
    story.rules.sending = false;
    assert_eq!(story.then(1, Input::Due), []);
    assert_eq!((story.state(), story.due_in()), (State::Processing, 2.0));
}

#[test]
fn where_nobody_can_be_asked_the_same_bytes_ask_once_the_first_ones_are_through() {
    let mut story = Story::in_doubt(unasked());
    assert_eq!(story.due_in(), 32.0);
    story.pursuits[0].due = Tick::default();
    assert_eq!(story.then(31, Input::Due), [], "woken too early");
    assert_eq!(story.due_in(), 1.0);
    assert!(matches!(story.then(1, Input::Due).as_slice(), [Action::Send { attempt: 2, .. }]));
}

#[test]
fn where_nothing_can_be_known_it_is_parked_at_once() {
    let neither = Contract { deduplication: Deduplication::None, ..unasked() };
    let story = Story::in_doubt(neither.clone());
    assert_eq!((story.state(), story.due_in()), (State::Parked, 600.0));
    assert!(matches!(story.operation().standing, Standing::Parked { reason: ParkReason::NoWayToKnow, .. }));

    let mut story = Story::in_doubt(standard());
    story.answered(Outcome::Unknown(reply()));
    story.rules.contract = neither;
    assert_eq!(story.then(1, Input::Due), [], "the contract has become a poorer one");
    assert!(matches!(story.operation().standing, Standing::Parked { reason: ParkReason::NoWayToKnow, .. }));
}

#[test]
fn where_nobody_can_be_asked_it_is_parked_in_time_without_having_asked() {
    let mut story = Story::in_doubt(unasked());
    assert_eq!(story.then(24 * 3_600, Input::Due), []);
    assert!(matches!(story.operation().standing, Standing::Parked { reason: ParkReason::Exhausted, .. }));
}

#[test]
fn the_first_sending_is_a_first_and_the_next_says_why_it_is_none() {
    let mut story = Story::new(standard());
    let causes = |input: &Input, story: &Story| {
        let now =
            Now { wall: Timestamp::from_millis(START), tick: Tick::from_millis(9_000_000), clock: Clock::Trusted };
        let decision = decide(story.payment.as_ref(), &story.pursuits, input, &now, &story.rules);
        let causes = decision.facts.into_iter().filter_map(|fact| match fact {
            Fact::AttemptStarted { cause, .. } => Some(cause),
            _ => None,
        });
        causes.collect::<Vec<_>>()
    };
    assert_eq!(causes(&story.pay(), &story), [Cause::First]);
    story.then(0, story.pay());
    story.ended(1, Outcome::NotSent(reply()));
    assert_eq!(causes(&Input::Due, &story), [Cause::NothingHappened]);
}

#[test]
fn a_worker_that_reports_twice_or_late_changes_nothing() {
    let mut story = Story::new(standard());
    story.then(0, story.pay());
    let report = |attempt| Input::Ended { operation: 0, attempt, outcome: Outcome::NotSent(reply()) };
    story.then(1, report(1));
    story.then(0, report(1));
    story.then(1, Input::Due);
    let before = story.payment.clone();
    assert_eq!(story.then(0, report(1)), [], "the second attempt is under way");
    assert_eq!(story.payment, before);
    assert!(story.pursuits[0].calling);
}

#[test]
fn a_gateway_that_says_not_found_to_a_sending_has_said_nothing() {
    let mut story = Story::new(standard());
    story.then(0, story.pay());
    assert!(matches!(story.ended(1, Outcome::NotFound).as_slice(), [Action::Inquire(_)]));
    let last = story.payment.as_ref().unwrap().timeline.last().unwrap().clone();
    assert_eq!(last.what, "attempt_ended: unknown (not_found)");
}

#[test]
fn only_our_own_socket_proves_that_no_byte_left() {
    for (outcome, evidence) in
        [(Outcome::NotSent(reply()), Evidence::NoByteLeft), (Outcome::Unknown(reply()), Evidence::Reply)]
    {
        let mut story = Story::new(standard());
        story.then(0, story.pay());
        story.ended(1, outcome);
        assert_eq!(story.payment.unwrap().timeline.last().unwrap().evidence, Some(evidence));
    }
}

#[test]
fn a_reply_that_comes_after_a_person_looked_is_still_the_truth() {
    let mut story = Story::new(standard());
    story.then(0, story.pay());
    story.fold(park_for_defect(story.payment.as_ref().unwrap()).remove(0));
    story.ended(1, Outcome::Succeeded(reply()));
    assert_eq!((story.state(), story.pursuits[0].calling), (State::Succeeded, false));
}

#[test]
fn a_start_takes_up_what_the_last_process_left_and_is_as_patient_as_if_it_had_just_sent() {
    let mut story = Story::new(standard());
    story.then(0, story.pay());
    let actions = story.then(5, Input::Resume);
    assert!(matches!(actions.as_slice(), [Action::Inquire(_)]), "{actions:?}");
    assert_eq!(story.state(), State::InDoubt);
    let evidence = story.payment.as_ref().unwrap().timeline.last().unwrap().evidence.clone();
    assert_eq!(evidence, Some(Evidence::Stopped));
    // And the start after that: it was in doubt already, and what had been found so far is forgotten.
    story.answered(Outcome::Unknown(reply()));
    story.pursuits = vec![Pursuit { calling: true, not_founds: 2, inquiries: 9, ..Pursuit::default() }];
    assert!(matches!(story.then(5, Input::Resume).as_slice(), [Action::Inquire(_)]));
    let pursuit = story.pursuits[0];
    let now = Tick::from_millis(story.tick);
    assert_eq!((pursuit.not_founds, pursuit.inquiries, pursuit.heard), (0, 0, now));
    assert_eq!(pursuit.believable_from.since(now), Duration::from_secs(42));
}

#[test]
fn what_another_gateway_parked_stays_parked_from_start_to_start_and_is_not_recorded_each_time() {
    let mut story = Story::in_doubt(standard());
    story.rules.contract.identity.name = "b".into();
    story.then(5, Input::Resume);
    assert_eq!(story.state(), State::Parked);
    let before = story.payment.clone();
    for _ in 0..3 {
        assert_eq!(story.then(5, Input::Resume), []);
        assert_eq!(story.payment, before);
    }
}

#[test]
fn a_start_sends_what_was_about_to_be_sent() {
    let mut story = Story::new(standard());
    story.then(0, story.pay());
    story.ended(1, Outcome::NotSent(reply()));
    story.pursuits = vec![Pursuit { calling: true, ..Pursuit::default() }];
    assert!(matches!(story.then(0, Input::Resume).as_slice(), [Action::Send { attempt: 2, .. }]));
}

#[test]
fn what_a_gateway_is_still_deciding_is_parked_only_after_it_has_been_silent_for_the_whole_time() {
    let mut story = Story::new(standard());
    story.then(0, story.pay());
    story.ended(1, Outcome::Pending(None, reply()));
    assert_eq!((story.state(), story.due_in()), (State::Processing, 1.0));
    for _ in 0..3 {
        story.then(23 * 3_600, Input::Due);
        assert_eq!(story.answered(Outcome::Pending(None, reply())), []);
    }
    let told = story.payment.as_ref().unwrap().timeline.len();
    assert_eq!(told, 4, "that nothing is new is not recorded");
    story.then(24 * 3_600 - 1, Input::Due);
    story.answered(Outcome::Unknown(reply()));
    assert_eq!(story.state(), State::Processing);
    story.then(60, Input::Due);
    assert_eq!(story.state(), State::Parked);
}

#[test]
fn what_the_payer_has_to_do_is_recorded_when_it_changes() {
    let action = |url: &str| Some(crate::payment::NextAction { url: url.to_owned(), expires_at: None });
    let mut story = Story::new(standard());
    story.then(0, story.pay());
    story.ended(1, Outcome::Pending(action("https://bank.example/1"), reply()));
    assert_eq!(story.state(), State::RequiresAction);
    story.answered(Outcome::Pending(action("https://bank.example/2"), reply()));
    assert_eq!(story.payment.as_ref().unwrap().next_action(), action("https://bank.example/2").as_ref());
    story.answered(Outcome::Pending(None, reply()));
    assert_eq!(story.state(), State::Processing);
}

#[test]
fn where_nobody_can_be_asked_what_is_pending_is_looked_at_rarely_by_sending_the_same_bytes() {
    let mut story = Story::new(unasked());
    story.then(0, story.pay());
    story.ended(1, Outcome::Pending(None, reply()));
    assert_eq!(story.due_in(), 600.0);
    assert!(matches!(story.then(600, Input::Due).as_slice(), [Action::Send { attempt: 2, .. }]));
    story.ended(1, Outcome::Pending(None, reply()));
    story.rules.sending = false;
    assert_eq!(story.then(600, Input::Due), []);
    assert_eq!((story.state(), story.due_in()), (State::Processing, 600.0));
}

#[test]
fn what_is_pending_where_it_can_neither_be_asked_about_nor_sent_again_is_told_to_a_person_in_time() {
    let mut story = Story::new(Contract { deduplication: Deduplication::None, ..unasked() });
    story.then(0, story.pay());
    story.ended(0, Outcome::Pending(None, reply()));
    assert_eq!(story.then(24 * 3_600 - 1, Input::Due), []);
    assert_eq!(story.state(), State::Processing);
    story.then(600, Input::Due);
    assert!(matches!(story.operation().standing, Standing::Parked { reason: ParkReason::NoWayToKnow, .. }));
}

#[test]
fn what_is_pending_at_another_gateway_is_parked_and_never_asked_about_here() {
    let mut story = Story::new(standard());
    story.then(0, story.pay());
    story.ended(1, Outcome::Pending(None, reply()));
    story.rules.contract.identity.name = "b".into();
    assert_eq!(story.then(1, Input::Due), []);
    assert!(matches!(story.operation().standing, Standing::Parked { reason: ParkReason::GatewayChanged, .. }));
}

#[test]
fn a_defect_parks_what_is_unresolved_and_nothing_else() {
    let mut story = Story::in_doubt(standard());
    let parked = park_for_defect(story.payment.as_ref().unwrap());
    assert_eq!(parked.len(), 1);
    assert!(matches!(parked[0], Fact::Parked { reason: ParkReason::Defect, .. }));
    story.fold(parked[0].clone());
    assert_eq!(park_for_defect(story.payment.as_ref().unwrap()), [], "once");
    story.then(0, resolution(Verdict::Succeeded));
    assert_eq!(park_for_defect(story.payment.as_ref().unwrap()), []);
}
