//! A soft decline: told, and watched until the gateway can no longer turn it.

use super::*;
use crate::payment::{Finality, Inquiry};

const WINDOW: u64 = 3_600;

fn soft() -> Contract {
    Contract { soft_decline_window: Some(Duration::from_secs(WINDOW)), ..standard() }
}

fn declined_softly(contract: Contract) -> Story {
    let mut story = Story::new(contract);
    story.then(0, story.pay());
    story.ended(0, Outcome::Declined(Finality::Soft, reply()));
    assert_eq!(story.state(), State::Declined);
    story
}

fn is_open(story: &Story) -> bool {
    !story.payment.as_ref().unwrap().is_at_rest()
}

fn contradicted(story: &Story) -> bool {
    story.payment.as_ref().unwrap().is_contradicted()
}

#[test]
fn a_soft_decline_is_asked_about_when_its_window_ends_and_not_before() {
    let mut story = declined_softly(soft());
    assert_eq!(story.due_in(), 3_600.0);
    story.pursuits[0].due = Tick::default();
    assert_eq!(story.then(WINDOW - 1, Input::Due), [], "woken too early");
    assert_eq!(story.due_in(), 1.0);
    assert!(matches!(story.then(1, Input::Due).as_slice(), [Action::Inquire(_)]));
    assert!(is_open(&story));
    story.answered(Outcome::Declined(Finality::Soft, reply()));
    assert_eq!((is_open(&story), contradicted(&story)), (false, false));
}

#[test]
fn a_soft_decline_of_a_gateway_without_a_window_is_at_rest() {
    assert!(!is_open(&declined_softly(standard())));
}

#[test]
fn a_decline_that_is_said_again_within_its_window_closes_nothing() {
    let mut story = declined_softly(soft());
    story.pursuits[0].calling = true;
    story.then(
        60,
        Input::Answered { operation: 0, asked: Tick::default(), outcome: Outcome::Declined(Finality::Hard, reply()) },
    );
    assert!(is_open(&story));
    assert_eq!((story.due_in(), story.pursuits[0].calling), (3_540.0, false));
}

#[test]
fn a_window_stays_open_until_the_gateway_has_said_something() {
    let mut story = declined_softly(soft());
    story.then(WINDOW, Input::Due);
    for (outcome, pause) in [(Outcome::Unknown(reply()), 1.0), (Outcome::NotFound, 2.0)] {
        assert_eq!(story.answered(outcome), []);
        assert_eq!((is_open(&story), story.due_in()), (true, pause));
    }
}

#[test]
fn a_late_success_is_raised_once_and_changes_no_answer() {
    let mut story = declined_softly(soft());
    story.then(WINDOW, Input::Due);
    story.answered(Outcome::Succeeded(reply()));
    assert_eq!((story.state(), is_open(&story), contradicted(&story)), (State::Declined, false, true));
    let told = story.payment.as_ref().unwrap().timeline.len();
    story.answered(Outcome::Succeeded(reply()));
    assert_eq!(story.payment.as_ref().unwrap().timeline.len(), told);
}

#[test]
fn only_the_gateway_that_declined_can_close_the_window() {
    let mut story = declined_softly(soft());
    story.rules.contract.identity.name = "b".into();
    assert_eq!(story.then(WINDOW, Input::Due), []);
    assert_eq!((is_open(&story), story.due_in()), (true, 1.0));
}

#[test]
fn where_nobody_can_be_asked_the_window_closes_by_itself() {
    let mut story = declined_softly(Contract { inquiry: Inquiry::None, ..soft() });
    story.then(WINDOW, Input::Due);
    assert!(!is_open(&story));
}

#[test]
fn a_decline_after_a_success_is_raised_and_one_after_a_decline_is_not_news() {
    for (first, second, news) in [
        (Outcome::Succeeded(reply()), Outcome::Declined(Finality::Hard, reply()), true),
        (Outcome::Declined(Finality::Hard, reply()), Outcome::Declined(Finality::Hard, reply()), false),
        (Outcome::Succeeded(reply()), Outcome::Succeeded(reply()), false),
        (Outcome::Succeeded(reply()), Outcome::NotFound, false),
    ] {
        let mut story = Story::in_doubt(standard());
        story.answered(first);
        story.pursuits[0].calling = true;
        story.answered(second);
        assert_eq!((contradicted(&story), story.pursuits[0].calling), (news, false));
    }
}

#[test]
fn an_answer_to_what_was_asked_before_the_window_ended_closes_nothing() {
    let mut story = declined_softly(soft());
    let asked = Tick::from_millis(story.tick + (WINDOW - 1) * 1_000);
    let outcome = Outcome::Declined(Finality::Soft, reply());
    assert_eq!(story.then(WINDOW, Input::Answered { operation: 0, asked, outcome }), []);
    assert_eq!((is_open(&story), story.due_in()), (true, 1.0), "it may have turned since");
    assert!(matches!(story.then(1, Input::Due).as_slice(), [Action::Inquire(_)]));
    story.answered(Outcome::Declined(Finality::Soft, reply()));
    assert!(!is_open(&story));
}

#[test]
fn by_a_clock_that_cannot_be_believed_a_window_lasts_as_long_from_when_the_process_took_it_up() {
    for inquiry in [standard().inquiry, Inquiry::None] {
        let mut story = declined_softly(Contract { inquiry, ..soft() });
        story.then(WINDOW / 2, Input::Resume);
        story.clock = Clock::Diverged;
        story.pursuits[0].due = Tick::default();
        assert_eq!(story.then(WINDOW / 2, Input::Due), [], "by another clock it may be open still");
        story.answered(Outcome::Declined(Finality::Soft, reply()));
        assert_eq!((is_open(&story), story.due_in()), (true, 1_800.0));
        story.then(WINDOW / 2, Input::Due);
        story.answered(Outcome::Declined(Finality::Soft, reply()));
        assert!(!is_open(&story));
    }
}
