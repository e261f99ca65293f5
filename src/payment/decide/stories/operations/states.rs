//! Where a payment stands by now, and in which lists it is shown.

use super::*;

fn payment(story: &Story) -> &Payment {
    story.payment.as_ref().unwrap()
}

#[test]
fn an_authorization_stands_until_it_is_captured_or_let_go_of() {
    let mut story = Story::authorized();
    assert_eq!(payment(&story).state_now(), State::Authorized);
    story.asks("v", FollowUp::Void);
    story.ends(1, Outcome::Declined(Finality::Hard, reply()));
    assert_eq!(payment(&story).state_now(), State::Authorized, "the gateway would not void it");
    for (follow_up, stands) in [
        (FollowUp::Void, State::Canceled),
        (FollowUp::Capture(None), State::Succeeded),
        (FollowUp::Capture(some(1)), State::Succeeded),
    ] {
        let mut story = Story::authorized();
        story.asks("then", follow_up);
        assert_eq!(payment(&story).state_now(), State::Authorized, "it is under way");
        story.ends(1, Outcome::Succeeded(reply()));
        assert_eq!(payment(&story).state_now(), stands, "{follow_up:?}");
    }
}

#[test]
fn a_payment_is_shown_where_it_stands_and_where_what_is_not_final_of_it_stands() {
    let mut story = Story::charged();
    story.asks("r", FollowUp::Refund(None));
    let shown = |story: &Story| {
        let all = [State::Processing, State::Succeeded, State::InDoubt, State::Declined];
        all.into_iter().filter(|state| payment(story).is_in(*state)).collect::<Vec<_>>()
    };
    assert_eq!(shown(&story), [State::Processing, State::Succeeded]);
    story.ends(1, Outcome::Unknown(reply()));
    assert_eq!(shown(&story), [State::Succeeded, State::InDoubt]);
    let asked = Tick::from_millis(story.tick);
    story.then(0, Input::Answered { operation: 1, asked, outcome: Outcome::Declined(Finality::Hard, reply()) });
    assert_eq!(shown(&story), [State::Succeeded], "a refund that was declined is final");
}
