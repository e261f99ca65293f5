//! Several gateways: when a payment goes to another, and when it must not.

use super::*;
use crate::payment::{Inquiry, Lasting, Route};

fn identity(name: &str) -> Identity {
    Identity { name: name.into(), ..Identity::default() }
}

/// As many gateways, `a` first; each puts its own name into the bytes.
fn routes(names: &[&str]) -> Vec<Route> {
    let route = |name: &&str| {
        let bytes = format!("for {name}");
        let encoder = Encoder::new(move |_| Ok(bytes.clone().into_bytes()));
        Route::new(name, Contract::standard(identity(name)), encoder)
    };
    names.iter().map(route).collect()
}

/// A payment just accepted and being sent to `a`, which is the first of these.
fn sent(routes: Vec<Route>) -> Story {
    let mut story = Story::new(standard());
    story.rules.routes = Arc::new(routes);
    story.then(0, story.pay());
    story
}

impl Story {
    fn gateway(&self) -> &str {
        &self.operation().gateway.name
    }

    /// Goes on by the rules of the gateway that it is at now, as an engine does.
    fn follow(&mut self) {
        let book = Rulebook::of_routes(self.rules.clone(), self.rules.routes.to_vec());
        self.rules = book.of(self.payment.as_ref().expect("it was accepted")).clone();
    }

    fn shut(&mut self, names: &[&str]) {
        let mut routes = self.rules.routes.to_vec();
        routes.iter_mut().for_each(|route| route.shut = names.contains(&route.name.as_str()));
        self.rules.routes = Arc::new(routes);
    }
}

fn not_sent() -> Outcome {
    Outcome::NotSent(reply())
}

#[test]
fn what_did_not_leave_goes_to_the_next_gateway_at_once_in_that_ones_bytes_and_under_the_same_key() {
    let mut story = sent(routes(&["a", "b"]));
    let key = story.operation().operation_key;
    assert_eq!(story.ended(1, not_sent()), [], "it is recorded before it is acted on");
    assert_eq!((story.gateway(), story.operation().request.as_slice()), ("b", &b"for b"[..]));
    story.follow();
    let actions = story.then(0, Input::Due);
    let [Action::Send { call, attempt: 2, request, .. }] = actions.as_slice() else { panic!("{actions:?}") };
    assert_eq!((&call.gateway, call.operation_key, request.as_slice()), (&identity("b"), key, &b"for b"[..]));
    story.ended(2, Outcome::Succeeded(reply()));
    assert_eq!(story.state(), State::Succeeded);
}

#[test]
fn what_was_refused_for_now_goes_elsewhere_and_what_was_refused_for_good_does_not() {
    let mut story = sent(routes(&["a", "b"]));
    story.ended(1, Outcome::Refused(Lasting::ForNow { retry_after: None }, reply()));
    assert_eq!(story.gateway(), "b");
    let mut story = sent(routes(&["a", "b"]));
    story.ended(1, Outcome::Refused(Lasting::ForGood, reply()));
    assert_eq!((story.gateway(), story.state()), ("a", State::Canceled));
}

#[test]
fn what_may_have_acted_never_goes_elsewhere() {
    for outcome in [Outcome::Unknown(reply()), Outcome::NotFound, Outcome::Pending(None, reply())] {
        let mut story = sent(routes(&["a", "b"]));
        story.ended(1, outcome);
        story.shut(&["a"]);
        for input in [Input::Due, Input::Resume, Input::Inquire, Input::Due] {
            story.then(3_600, input);
        }
        assert_eq!(story.gateway(), "a");
    }
    // In doubt once, and then not sent: the first sending may still arrive.
    let mut story = sent(routes(&["a", "b"]));
    story.ended(1, Outcome::Unknown(reply()));
    for _ in 0..3 {
        story.then(60, Input::Due);
        story.then(
            0,
            Input::Answered { operation: 0, asked: Tick::from_millis(story.tick), outcome: Outcome::NotFound },
        );
    }
    assert_eq!(story.operation().attempts, 2, "it was proven not to be there, and sent again");
    let Inquiry::ByKey { .. } = story.rules.contract.inquiry else { unreachable!() };
    story.ended(2, not_sent());
    assert_eq!((story.gateway(), story.state()), ("a", State::InDoubt));
}

#[test]
fn each_gateway_gets_one_try_before_anything_waits() {
    let mut story = sent(routes(&["a", "b", "c"]));
    for (attempt, gateway) in [(1, "b"), (2, "c")] {
        story.ended(attempt, not_sent());
        assert_eq!(story.gateway(), gateway);
        story.follow();
        assert!(matches!(story.then(0, Input::Due).as_slice(), [Action::Send { .. }]));
    }
    story.ended(3, not_sent());
    assert_eq!(story.gateway(), "c");
    assert_eq!(story.then(0, Input::Due), [], "all of them have had it: it waits");
    assert!(matches!(story.then(1, Input::Due).as_slice(), [Action::Send { attempt: 4, .. }]));
}

#[test]
fn one_that_does_not_answer_is_left_when_the_payment_is_due_and_is_not_gone_to() {
    let mut story = sent(routes(&["a", "b", "c"]));
    story.shut(&["b", "c"]);
    story.ended(1, not_sent());
    assert_eq!(story.gateway(), "a", "nobody else answers either");
    story.shut(&["a", "b"]);
    assert_eq!(story.then(1, Input::Due), []);
    assert_eq!((story.gateway(), story.due_in()), ("c", 0.0), "it is sent there at once");
}

#[test]
fn where_all_are_shut_nothing_is_begun_that_cannot_be_sent() {
    let mut story = sent(routes(&["a", "b"]));
    story.shut(&["a", "b"]);
    story.ended(1, not_sent());
    assert_eq!(story.then(1, Input::Due), []);
    assert_eq!((story.gateway(), story.operation().attempts, story.due_in()), ("a", 1, 2.0), "it waits, and longer");
    story.shut(&[]);
    assert!(matches!(story.then(60, Input::Due).as_slice(), [Action::Send { attempt: 2, .. }]));
}

#[test]
fn a_payment_that_names_its_gateway_a_currency_that_no_other_is_for_and_bytes_that_no_other_has_stay() {
    let mut named = Story::new(standard());
    named.rules.routes = Arc::new(routes(&["a", "b"]));
    let Input::Pay { tenant, key, order, request, manner } = named.pay() else { unreachable!() };
    let order = Arc::new(Order::clone(&order).with_gateway("a").unwrap());
    named.then(0, Input::Pay { tenant, key, order, request, manner });
    let mut other_currency = routes(&["a", "b"]);
    other_currency[1].currencies = vec![Currency::new("EUR").unwrap()];
    let mut no_bytes = routes(&["a", "b"]);
    no_bytes[1].encoder = Encoder::new(|_| Err(Invalid::new("source", "must be a card")));
    for mut story in [named, sent(other_currency), sent(no_bytes)] {
        story.ended(1, not_sent());
        story.shut(&["a"]);
        story.then(60, Input::Due);
        assert_eq!(story.gateway(), "a");
    }
}

#[test]
fn what_expired_was_voided_or_lies_in_a_copied_folder_goes_nowhere() {
    let mut story = sent(routes(&["a", "b"]));
    story.rules.sending = false;
    story.ended(1, not_sent());
    assert_eq!(story.gateway(), "a");
    let mut story = sent(routes(&["a", "b"]));
    story.rules.routes = Arc::new(Vec::new());
    story.ended(1, not_sent());
    story.rules.routes = Arc::new(routes(&["a", "b"]));
    story.shut(&["a"]);
    let key = IdempotencyKey::new("void-1").unwrap();
    story.then(60, Input::Operate { tenant: Tenant::default(), key, follow_up: FollowUp::Void });
    assert_eq!((story.gateway(), story.state()), ("a", State::Canceled));
    let mut story = sent(routes(&["a", "b"]));
    Arc::make_mut(&mut story.payment.as_mut().unwrap().order).expires_at = Some(Timestamp::from_millis(START + 5_000));
    story.ended(10, not_sent());
    assert_eq!(story.gateway(), "a");
}

#[test]
fn an_id_that_one_gateway_minted_does_not_go_to_another() {
    let mut both = routes(&["a", "b"]);
    for route in &mut both {
        route.contract.mints_id_first = true;
    }
    let mut story = Story::new(both[0].contract.clone());
    story.rules.routes = Arc::new(both);
    story.then(0, story.pay());
    let minted = Outcome::Succeeded(Reply::new("minted", "").with_reference("pi_1"));
    story.then(1, Input::Prepared { operation: 0, outcome: minted });
    story.ended(1, not_sent());
    assert_eq!((story.gateway(), story.operation().prepared.as_deref()), ("b", None));
    story.follow();
    let actions = story.then(0, Input::Due);
    assert!(matches!(actions.as_slice(), [Action::Prepare { call, .. }] if call.reference.is_none()), "{actions:?}");
}

#[test]
fn what_one_gateway_says_by_itself_is_no_evidence_about_another() {
    let mut both = routes(&["a", "b"]);
    both[1].contract.inquiry = Inquiry::None;
    let mut story = sent(both);
    story.ended(1, not_sent());
    story.follow();
    story.then(0, Input::Due);
    let operation = story.operation().operation_key;
    let said = |from: &str| Input::Hint {
        operation,
        from: identity(from),
        said: Some((Outcome::Succeeded(reply()), 1050, "USD".to_owned())),
    };
    story.then(1, said("a"));
    assert_eq!(story.state(), State::Processing);
    story.then(1, said("b"));
    assert_eq!(story.state(), State::Succeeded);
}

#[test]
fn a_key_that_comes_back_to_a_gateway_is_as_old_as_its_first_sending() {
    let mut story = sent(routes(&["a", "b"]));
    let first = story.operation().first_sent.expect("it was sent");
    story.ended(1, not_sent());
    story.follow();
    story.then(3_600, Input::Due);
    story.ended(2, not_sent());
    assert_eq!(story.gateway(), "b", "each has had it");
    story.shut(&["b"]);
    story.then(3_600, Input::Due);
    story.follow();
    assert_eq!(story.gateway(), "a");
    story.then(0, Input::Due);
    assert_eq!(story.operation().first_sent, Some(first));
}
