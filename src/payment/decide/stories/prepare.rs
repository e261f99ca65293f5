//! Gateways that mint their own id first.

use super::*;
use crate::payment::{Finality, Lasting};

fn minting() -> Story {
    let mut story = Story::new(Contract { mints_id_first: true, ..standard() });
    story.rules.encoder = Encoder::new(|asked| match asked.reference {
        Some("") => Err(Invalid::new("source", "must be a card")),
        Some(reference) => Ok(format!("under {reference}").into_bytes()),
        None => Ok(b"an id, please".to_vec()),
    });
    story
}

fn minted(reference: &str) -> Outcome {
    Outcome::Succeeded(Reply::new("minted", "").with_reference(reference))
}

impl Story {
    fn prepared(&mut self, seconds: u64, outcome: Outcome) -> Vec<Action> {
        self.then(seconds, Input::Prepared { operation: 0, outcome })
    }
}

#[test]
fn an_id_is_asked_for_then_recorded_and_only_then_is_anything_sent_under_it() {
    let mut story = minting();
    let asked = story.then(0, story.pay());
    assert!(matches!(asked.as_slice(), [Action::Prepare { request, .. }] if request == b"bytes"), "{asked:?}");
    assert_eq!((story.operation().attempts, story.operation().standing.clone()), (0, Standing::Intended));
    assert_eq!(story.then(3_600, Input::Due), [], "while it is asked for, nothing starts");
    let sent = story.prepared(1, minted("pi_1"));
    let [Action::Send { call, attempt: 1, request, .. }] = sent.as_slice() else { panic!("{sent:?}") };
    assert_eq!((call.reference.as_deref(), request.as_slice()), (Some("pi_1"), &b"under pi_1"[..]));
    assert_eq!(story.operation().prepared.as_deref(), Some("pi_1"));
    assert_eq!(story.operation().request, b"under pi_1", "what is sent again is what was sent");
}

#[test]
fn asking_for_an_id_is_repeated_until_it_works_and_never_once_there_is_one() {
    let mut story = minting();
    story.then(0, story.pay());
    let for_now = Outcome::Refused(Lasting::ForNow { retry_after: None }, reply());
    let nothing = Outcome::Succeeded(reply());
    for outcome in [Outcome::Unknown(reply()), Outcome::NotSent(reply()), for_now, Outcome::NotFound, nothing] {
        assert_eq!(story.prepared(1, outcome), []);
        assert_eq!(story.operation().standing, Standing::Intended);
        assert!(matches!(story.then(60, Input::Due).as_slice(), [Action::Prepare { .. }]));
    }
    story.then(60, Input::Resume);
    story.prepared(1, minted("pi_1"));
    assert_eq!(story.prepared(1, minted("pi_2")), [], "the first one counts");
    story.ended(1, Outcome::NotSent(reply()));
    assert_eq!(story.prepared(1, minted("pi_2")), [], "also before it is sent again");
    let again = story.then(60, Input::Due);
    assert!(matches!(again.as_slice(), [Action::Send { request, attempt: 2, .. }] if request == b"under pi_1"));
    assert_eq!(story.operation().prepared.as_deref(), Some("pi_1"));
}

#[test]
fn what_gets_no_id_is_canceled_and_no_money_moved() {
    let inexpressible = Outcome::Succeeded(Reply::new("minted", "").with_reference("pi_1"));
    for (outcome, encodes) in [
        (Outcome::Refused(Lasting::ForGood, reply()), true),
        (Outcome::Declined(Finality::Hard, reply()), true),
        (inexpressible, false),
    ] {
        let mut story = minting();
        if !encodes {
            story.rules.encoder = Encoder::new(|_| Err(Invalid::new("source", "must be a card")));
        }
        story.then(0, story.pay());
        assert_eq!(story.prepared(1, outcome), []);
        assert_eq!((story.state(), story.operation().attempts), (State::Canceled, 0));
    }
}

#[test]
fn an_order_that_expires_or_is_canceled_while_an_id_is_asked_for_is_never_sent() {
    let mut story = minting();
    story.then(0, story.pay());
    Arc::make_mut(&mut story.payment.as_mut().unwrap().order).expires_at = Some(Timestamp::from_millis(START + 500));
    assert_eq!(story.prepared(1, minted("pi_1")), []);
    assert_eq!(story.state(), State::Canceled);
    let mut story = minting();
    story.then(0, story.pay());
    let (tenant, key) = (Tenant::default(), IdempotencyKey::new("v").unwrap());
    story.then(0, Input::Operate { tenant, key, follow_up: FollowUp::Void });
    assert_eq!(story.state(), State::Processing, "the answer is on its way");
    assert_eq!(story.prepared(1, minted("pi_1")), []);
    assert_eq!(story.state(), State::Canceled);
}

#[test]
fn a_restored_folder_asks_for_no_second_id_where_the_original_may_have_used_one() {
    let mut story = minting();
    story.then(0, story.pay());
    for fact in doubt(story.payment.as_ref().unwrap(), Distrust::Folder) {
        story.fold(fact);
    }
    let asked = story.then(1, Input::Resume);
    assert!(matches!(asked.as_slice(), [Action::Inquire(_)]), "{asked:?}");
    let mut seconds = 0;
    while story.state() != State::Parked {
        story.answered(Outcome::NotFound);
        let actions = story.then(1, Input::Due);
        assert!(actions.iter().all(|action| matches!(action, Action::Inquire(_))), "{actions:?}");
        seconds += 1;
        assert!(seconds < 3_600, "it is parked for a person");
    }
}

#[test]
fn later_operations_need_no_id_and_speak_of_the_first_ones() {
    let mut story = minting();
    story.then(0, story.pay());
    story.prepared(1, minted("pi_1"));
    story.ended(1, Outcome::Succeeded(reply()));
    let (tenant, key) = (Tenant::default(), IdempotencyKey::new("r").unwrap());
    let sent = story.then(0, Input::Operate { tenant, key, follow_up: FollowUp::Refund(None) });
    let [Action::Send { call, request, .. }] = sent.as_slice() else { panic!("{sent:?}") };
    assert_eq!((call.reference.as_deref(), request.as_slice()), (Some("pi_1"), &b"under pi_1"[..]));
}
