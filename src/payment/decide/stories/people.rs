//! A person speaks: what can be asked and decided, and what is refused.

use super::*;
use crate::payment::{Evidence, Finality, Inquiry, Route};

fn done() -> Option<Response> {
    Some(Response::Done)
}

/// Why it was refused, and that nothing came of it.
fn refusal(story: &mut Story, seconds: u64, input: Input) -> String {
    let before = story.payment.clone();
    let (actions, told) = story.told(seconds, input);
    assert_eq!((actions, &story.payment), (Vec::new(), &before));
    match told {
        Some(Response::InvalidState(why)) => why,
        other => panic!("{other:?}"),
    }
}

fn about(operation: Option<u32>, verdict: Verdict) -> Input {
    let person = Person { actor: "ann".to_owned(), reason: "saw the statement".to_owned() };
    let reply = Some(Reply::new("by_hand", "the bank said so"));
    Input::Resolve(Resolution { operation, verdict, reply, person })
}

#[test]
fn a_person_has_the_gateway_asked_at_once_and_one_question_at_a_time() {
    let mut story = Story::in_doubt(standard());
    story.answered(Outcome::Unknown(reply()));
    let (actions, told) = story.told(0, Input::Inquire);
    let [Action::Inquire(call)] = actions.as_slice() else { panic!("{actions:?}") };
    assert_eq!((call.operation_key, told), (story.operation().operation_key, done()));
    assert_eq!(story.told(0, Input::Inquire), (Vec::new(), done()), "it is being asked");
}

#[test]
fn what_is_settled_or_was_never_sent_is_not_asked_about() {
    let mut story = Story::in_doubt(standard());
    story.answered(Outcome::Succeeded(reply()));
    let why = refusal(&mut story, 0, Input::Inquire);
    assert_eq!(why, "the payment is succeeded: there is nothing to ask the gateway");

    let mut story = Story::new(standard());
    story.then(0, story.pay());
    assert!(refusal(&mut story, 0, Input::Inquire).contains("nothing to ask"), "it is being sent");
    story.ended(1, Outcome::NotSent(reply()));
    assert!(refusal(&mut story, 0, Input::Inquire).contains("nothing to ask"), "it will be sent");
    story.fold(park_for_defect(story.payment.as_ref().unwrap()).remove(0));
    assert!(refusal(&mut story, 0, Input::Inquire).contains("nothing to ask"), "it was never sent");
}

#[test]
fn a_gateway_that_cannot_be_asked_is_not_asked_for_a_person_either() {
    let mut story = Story::in_doubt(Contract { inquiry: Inquiry::None, ..standard() });
    assert!(refusal(&mut story, 0, Input::Inquire).contains("cannot be asked"));
}

#[test]
fn a_person_ends_a_doubt_and_is_on_record_with_the_reason() {
    for (verdict, state) in [(Verdict::Succeeded, State::Succeeded), (Verdict::Declined, State::Declined)] {
        let mut story = Story::in_doubt(standard());
        assert_eq!(story.told(0, about(Some(0), verdict)), (Vec::new(), done()));
        assert_eq!((story.state(), story.operation().reply().map(Reply::code)), (state, Some("by_hand")));
        let evidence = story.payment.as_ref().unwrap().timeline.last().unwrap().evidence.clone();
        assert!(matches!(evidence, Some(Evidence::Person(Person { actor, .. })) if actor == "ann"));
    }
    let mut story = Story::in_doubt(standard());
    story.then(0, resolution(Verdict::Declined));
    let standing = &story.operation().standing;
    assert!(matches!(standing, Standing::Declined { finality: Finality::Hard, open_until: None, .. }));
    assert_eq!(story.operation().reply().map(Reply::message), Some("decided by a person"));
}

#[test]
fn a_verdict_is_about_the_operation_that_it_names_or_the_first_unresolved_one() {
    let mut story = Story::in_doubt(standard());
    let why = refusal(&mut story, 0, about(Some(1), Verdict::Succeeded));
    assert_eq!(why, "the payment has no such operation that is unresolved");
    story.then(0, about(None, Verdict::Succeeded));
    assert_eq!(story.state(), State::Succeeded);
    assert!(refusal(&mut story, 0, about(None, Verdict::Declined)).contains("no such operation that is unresolved"));
    let why = refusal(&mut story, 0, about(Some(0), Verdict::Declined));
    assert_eq!(why, "operation 0 is succeeded, not in doubt");
}

#[test]
fn what_may_have_happened_is_never_canceled_and_what_has_not_is_never_decided() {
    let mut story = Story::in_doubt(standard());
    assert!(refusal(&mut story, 0, resolution(Verdict::Cancel)).contains("only what certainly has not happened"));

    let mut story = Story::new(standard());
    story.then(0, story.pay());
    for verdict in [Verdict::Succeeded, Verdict::Declined, Verdict::Resend] {
        assert_eq!(refusal(&mut story, 0, resolution(verdict)), "operation 0 is processing, not in doubt");
    }
    assert!(refusal(&mut story, 0, resolution(Verdict::Cancel)).contains("not under way"));
    story.ended(1, Outcome::NotSent(reply()));
    for verdict in [Verdict::Succeeded, Verdict::Declined, Verdict::Resend] {
        refusal(&mut story, 0, resolution(verdict));
    }
    assert_eq!(story.told(0, resolution(Verdict::Cancel)), (Vec::new(), done()));
    assert_eq!(story.state(), State::Canceled);
    assert_eq!(
        story.operation().reply().map(Reply::message),
        Some("canceled by a person before it was sent; no money moved")
    );
}

#[test]
fn what_was_parked_before_it_was_sent_can_be_canceled_and_not_decided() {
    let mut story = Story::new(standard());
    story.then(0, story.pay());
    story.ended(1, Outcome::NotSent(reply()));
    story.fold(park_for_defect(story.payment.as_ref().unwrap()).remove(0));
    let why = "operation 0 is parked, and certainly has not happened: all that can be decided about it is `canceled`";
    assert_eq!(refusal(&mut story, 0, resolution(Verdict::Succeeded)), why);
    story.then(0, resolution(Verdict::Cancel));
    assert_eq!(story.state(), State::Canceled);
}

/// In doubt, with as many "not found" as one asks for, well after the time in which it may yet be acted on.
fn not_found(times: u32) -> Story {
    let mut story = Story::in_doubt(standard());
    story.rules.contract.inquiry = Inquiry::ByKey { not_found_lag: Duration::ZERO, not_found_times: 9 };
    for _ in 0..times {
        story.then(100, Input::Due);
        story.answered(Outcome::NotFound);
    }
    story.rules.contract = standard();
    story
}

#[test]
fn a_person_can_only_have_sent_again_what_is_proven_not_to_be_there() {
    let why = refusal(&mut not_found(2), 0, resolution(Verdict::Resend));
    assert!(why.contains("not proven"), "{why}");
    let mut story = not_found(3);
    let (actions, told) = story.told(0, resolution(Verdict::Resend));
    assert!(matches!(actions.as_slice(), [Action::Send { attempt: 2, .. }]), "{actions:?}");
    assert_eq!(told, done());
}

#[test]
fn a_person_cannot_have_sent_again_what_could_move_money_twice() {
    let mut story = not_found(3);
    story.rules.contract.deduplication = Deduplication::None;
    assert!(refusal(&mut story, 0, resolution(Verdict::Resend)).contains("would not notice a second sending"));
    story.rules.contract = standard();
    story.clock = Clock::Diverged;
    assert!(refusal(&mut story, 0, resolution(Verdict::Resend)).contains("wall clock cannot be believed"));
    story.clock = Clock::Trusted;
    story.rules.sending = false;
    assert!(refusal(&mut story, 0, resolution(Verdict::Resend)).contains("nothing is sent from this folder"));
    story.rules.sending = true;
    story.then(0, Input::Inquire);
    assert!(refusal(&mut story, 0, resolution(Verdict::Resend)).contains("being asked right now"));
}

#[test]
fn where_nobody_can_be_asked_a_person_waits_until_the_first_request_is_through() {
    let mut story = Story::in_doubt(Contract { inquiry: Inquiry::None, ..standard() });
    assert!(refusal(&mut story, 31, resolution(Verdict::Resend)).contains("not proven"));
    assert!(matches!(story.then(1, resolution(Verdict::Resend)).as_slice(), [Action::Send { attempt: 2, .. }]));
}

#[test]
fn nobody_has_anything_sent_to_a_gateway_that_an_operator_has_paused() {
    let mut story = Story::parked_and_not_found();
    let mut route = Route::new("a", story.rules.contract.clone(), Encoder::plain());
    route.paused = true;
    story.rules.routes = Arc::new(vec![route.clone()]);
    assert_eq!(refusal(&mut story, 0, resolution(Verdict::Resend)), "an operator has paused its gateway");
    route.paused = false;
    story.rules.routes = Arc::new(vec![route]);
    assert!(matches!(story.then(0, resolution(Verdict::Resend)).as_slice(), [Action::Send { attempt: 2, .. }]));
}
