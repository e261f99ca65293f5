//! A gateway speaks up by itself: what leads to a question, what is evidence, and what counts for nothing.

use super::*;
use crate::payment::{Capture, Evidence, Inquiry, Lasting};

fn succeeded() -> Outcome {
    Outcome::Succeeded(reply())
}

/// A gateway that cannot be asked: its news is all the evidence there will be.
fn unasked() -> Contract {
    Contract { inquiry: Inquiry::None, ..standard() }
}

impl Story {
    /// News about an operation, from the payment's gateway, in which nothing was understood but its key.
    fn hint(&mut self, operation: usize) -> Vec<Action> {
        self.news(operation, standard().identity, None)
    }

    /// The payment's gateway says what became of its first operation, of how much and of which currency.
    fn said(&mut self, outcome: Outcome, amount: u64, currency: &str) -> Vec<Action> {
        self.news(0, standard().identity, Some((outcome, amount, currency.to_owned())))
    }

    fn news(&mut self, operation: usize, from: Identity, said: Option<(Outcome, u64, String)>) -> Vec<Action> {
        let operation = self.payment.as_ref().unwrap().operations[operation].operation_key;
        self.then(0, Input::Hint { operation, from, said })
    }

    /// The caller has its authorized payment voided, and the gateway does so.
    fn voided() -> Story {
        let mut story = Story::new(standard());
        let Input::Pay { tenant, key, order, request, manner } = story.pay() else { unreachable!("it is one") };
        let order = Arc::new(Order::clone(&order).with_capture(Capture::Manual));
        story.then(0, Input::Pay { tenant, key, order, request, manner });
        story.ended(1, succeeded());
        let (tenant, key) = (Tenant::default(), IdempotencyKey::new("v").unwrap());
        story.then(0, Input::Operate { tenant, key, follow_up: FollowUp::Void });
        story.then(1, Input::Ended { operation: 1, attempt: 1, outcome: succeeded() });
        assert_eq!(story.payment.as_ref().unwrap().state_now(), State::Canceled);
        story
    }
}

fn asks_about(actions: &[Action], operation: u32) -> bool {
    matches!(actions, [Action::Inquire(call)] if call.operation == operation)
}

#[test]
fn news_is_a_hint_and_a_gateway_that_can_be_asked_is_asked_whatever_it_says() {
    let mut story = Story::in_doubt(standard());
    story.answered(Outcome::Unknown(reply()));
    assert!(asks_about(&story.said(succeeded(), 1050, "USD"), 0));
    assert_eq!(story.state(), State::InDoubt, "whoever can forge it could otherwise make money appear");
    assert_eq!(story.hint(0), [], "it is being asked");
    story.answered(succeeded());
    assert_eq!(story.state(), State::Succeeded);
    assert!(asks_about(&story.hint(0), 0), "what is final may be contradicted");
}

#[test]
fn what_waits_at_the_gateway_or_is_parked_is_asked_about_when_there_is_news_of_it() {
    let mut story = Story::new(standard());
    story.then(0, story.pay());
    story.ended(1, Outcome::Pending(None, reply()));
    assert!(asks_about(&story.hint(0), 0));
    story.answered(Outcome::Pending(None, reply()));
    story.fold(park_for_defect(story.payment.as_ref().unwrap()).remove(0));
    assert!(asks_about(&story.hint(0), 0));
}

#[test]
fn news_of_what_is_being_sent_or_was_not_sent_asks_nothing_and_of_what_was_refused_asks() {
    let mut story = Story::new(standard());
    story.then(0, story.pay());
    story.pursuits[0].calling = false;
    assert_eq!(story.hint(0), [], "the reply is on its way");
    story.ended(1, Outcome::NotSent(reply()));
    assert_eq!(story.hint(0), [], "there is nothing to ask about");
    let waiting = story.payment.clone();
    story.fold(park_for_defect(story.payment.as_ref().unwrap()).remove(0));
    assert_eq!(story.hint(0), [], "nor is there once it is parked");
    story.payment = waiting;
    story.then(60, Input::Due);
    story.ended(1, Outcome::Refused(Lasting::ForGood, reply()));
    assert!(asks_about(&story.hint(0), 0), "it was told canceled: if it moved, that is to be known");
}

#[test]
fn a_gateway_that_calls_what_it_let_go_of_canceled_is_not_asked_about_that() {
    let mut story = Story::voided();
    assert_eq!(story.hint(0), []);
    assert!(asks_about(&story.hint(1), 1), "about the void it is");
}

#[test]
fn what_is_still_to_be_let_go_of_is_asked_about() {
    let mut story = Story::new(standard());
    story.then(0, story.pay());
    story.ended(1, Outcome::Pending(None, reply()));
    let (tenant, key) = (Tenant::default(), IdempotencyKey::new("v").unwrap());
    story.then(0, Input::Operate { tenant, key, follow_up: FollowUp::Void });
    assert!(asks_about(&story.hint(0), 0), "the void has not happened yet");
}

#[test]
fn where_nobody_can_be_asked_news_is_evidence_if_amount_currency_and_gateway_are_those_of_the_operation() {
    let mut story = Story::in_doubt(unasked());
    let before = story.payment.clone();
    assert_eq!(story.hint(0), []);
    assert_eq!(story.said(succeeded(), 1051, "USD"), []);
    assert_eq!(story.said(succeeded(), 1050, "EUR"), []);
    let other = Identity { name: "b".into(), ..Identity::default() };
    let said = || Some((succeeded(), 1050, "USD".to_owned()));
    assert_eq!(story.news(0, other.clone(), said()), []);
    story.rules.contract.identity = other.clone();
    assert_eq!(story.news(0, standard().identity, said()), [], "it is not the gateway that is configured");
    assert_eq!(story.news(0, other, said()), []);
    assert_eq!(story.payment, before);
    story.rules.contract = unasked();
    assert_eq!(story.said(succeeded(), 1050, "USD"), []);
    assert_eq!(story.state(), State::Succeeded);
    let evidence = story.payment.as_ref().unwrap().timeline.last().unwrap().evidence.clone();
    assert_eq!(evidence, Some(Evidence::Webhook));
}

#[test]
fn news_of_an_operation_that_the_payment_does_not_have_is_nothing() {
    let mut story = Story::in_doubt(standard());
    story.answered(Outcome::Unknown(reply()));
    let operation = OperationKey::from_bytes([9; 16]);
    assert_eq!(story.then(0, Input::Hint { operation, from: standard().identity, said: None }), []);
}
