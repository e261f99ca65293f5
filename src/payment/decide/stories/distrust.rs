//! Starts that cannot rely on their folder or on their clock: what they doubt is asked about, and never sent again by itself.

use super::*;

impl Story {
    /// A start that distrusts: what it doubts, and then the ordinary input.
    fn restarted(&mut self, distrust: Distrust) -> Vec<Action> {
        for fact in doubt(self.payment.as_ref().unwrap(), distrust) {
            self.fold(fact);
        }
        assert_eq!(doubt(self.payment.as_ref().unwrap(), distrust), [], "it is doubted once, and for good");
        self.then(0, Input::Resume)
    }

    /// The gateway knows nothing of it, however often it is asked.
    fn never_found(&mut self) {
        for _ in 0..100 {
            self.answered(Outcome::NotFound);
            let actions = self.then(60, Input::Due);
            assert!(actions.iter().all(|action| matches!(action, Action::Inquire(_))), "{actions:?}");
        }
        assert!(matches!(self.operation().standing, Standing::Parked { reason: ParkReason::KeyExpired, .. }));
        let (actions, told) = self.told(0, resolution(Verdict::Resend));
        assert!(actions.is_empty() && matches!(told, Some(Response::InvalidState(_))), "{actions:?} {told:?}");
    }

    fn intended() -> Story {
        let mut story = Story::new(standard());
        story.then(0, story.pay());
        story.ended(1, Outcome::NotSent(reply()));
        assert_eq!(story.operation().standing, Standing::Intended);
        story
    }
}

#[test]
fn what_a_restored_folder_was_about_to_send_is_asked_about_first_and_never_sent_by_itself() {
    let mut story = Story::intended();
    assert!(matches!(story.restarted(Distrust::Folder).as_slice(), [Action::Inquire(_)]));
    assert_eq!(story.state(), State::InDoubt);
    story.never_found();
}

#[test]
fn what_a_restored_folder_had_sent_may_have_gone_to_another_gateway_since_and_is_not_sent_again() {
    for ended in [None, Some(Outcome::Unknown(reply()))] {
        let mut story = Story::new(standard());
        story.then(0, story.pay());
        ended.map(|outcome| story.ended(1, outcome));
        assert!(matches!(story.restarted(Distrust::Folder).as_slice(), [Action::Inquire(_)]));
        story.never_found();
    }
}

#[test]
fn what_a_restored_folder_finds_done_is_learned() {
    let mut story = Story::intended();
    story.restarted(Distrust::Folder);
    story.answered(Outcome::Succeeded(reply()));
    assert_eq!(story.state(), State::Succeeded);
}

#[test]
fn what_waited_for_its_gateway_in_a_restored_folder_is_not_sent_when_that_returns() {
    let mut story = Story::intended();
    let ours = story.rules.contract.identity.clone();
    story.rules.contract.identity.account = "another".to_owned();
    story.then(60, Input::Due);
    assert_eq!((story.state(), story.operation().may_have_acted), (State::Parked, false));
    story.restarted(Distrust::Folder);
    assert_eq!(story.state(), State::Parked);
    story.rules.contract.identity = ours;
    story.then(0, Input::Resume);
    assert!(matches!(story.then(0, Input::Due).as_slice(), [Action::Inquire(_)]));
    story.never_found();
}

#[test]
fn how_old_a_key_is_that_was_sent_by_a_wrong_clock_is_not_known_when_the_clock_is_right_again() {
    let mut story = Story::in_doubt(standard());
    assert!(matches!(story.restarted(Distrust::Clock).as_slice(), [Action::Inquire(_)]));
    story.never_found();
}

#[test]
fn what_no_byte_of_has_left_is_sent_after_a_wrong_clock_too_and_its_key_is_as_old_as_that_sending() {
    let mut story = Story::intended();
    story.then(3_600, Input::Inquire);
    assert!(matches!(story.restarted(Distrust::Clock).as_slice(), [Action::Send { attempt: 2, .. }]));
    assert_eq!(story.operation().first_sent, Some(Timestamp::from_millis(START + story.tick)));
}

#[test]
fn what_has_never_been_sent_or_has_ended_needs_no_doubt_of_the_clock() {
    let mut story = Story::new(standard());
    story.then(0, story.pay());
    story.ended(1, Outcome::Succeeded(reply()));
    for distrust in [Distrust::Folder, Distrust::Clock] {
        assert_eq!(doubt(story.payment.as_ref().unwrap(), distrust), []);
    }
}

#[test]
fn what_the_gateway_had_accepted_still_is_after_a_doubt() {
    for distrust in [Distrust::Folder, Distrust::Clock] {
        let mut story = Story::new(standard());
        story.then(0, story.pay());
        story.ended(1, Outcome::Pending(None, reply()));
        assert!(matches!(story.restarted(distrust).as_slice(), [Action::Inquire(_)]));
        assert_eq!((story.state(), story.operation().first_sent), (State::Processing, None));
    }
}
