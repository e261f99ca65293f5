//! Single payments, followed through inputs: each decided on the fold of those before.

mod callers;

mod distrust;

mod failover;

mod news;

mod operations;

mod patience;

mod people;

mod prepare;

mod window;

use std::{sync::Arc, time::Duration};

use super::*;
use crate::payment::{Clock, Contract, Deduplication, Encoder, Event, Identity, Manner, Namespace, State, apply};

const START: u64 = 1_000_000_000_000;

fn reply() -> Reply {
    Reply::new("code", "message")
}

fn standard() -> Contract {
    Contract::standard(Identity { name: "a".into(), ..Identity::default() })
}

fn resolution(verdict: Verdict) -> Input {
    let person = Person { actor: "ann".to_owned(), reason: "looked it up".to_owned() };
    Input::Resolve(Resolution { operation: None, verdict, reply: None, person })
}

struct Story {
    payment: Option<Payment>,
    pursuits: Vec<Pursuit>,
    rules: Rules,
    clock: Clock,
    tick: u64,
}

impl Story {
    fn new(contract: Contract) -> Story {
        let rules = Rules::new(contract, Encoder::plain());
        Story { payment: None, pursuits: Vec::new(), rules, clock: Clock::Trusted, tick: 0 }
    }

    /// With one attempt whose outcome is unknown.
    fn in_doubt(contract: Contract) -> Story {
        let mut story = Story::new(contract);
        story.then(0, story.pay());
        story.then(1, Input::Ended { operation: 0, attempt: 1, outcome: Outcome::Unknown(reply()) });
        story
    }

    /// Parked, while its key is still good, and proven not to be at the gateway.
    fn parked_and_not_found() -> Story {
        let ttl = Duration::from_secs(30 * 86_400);
        let mut story = Story::in_doubt(Contract { deduplication: Deduplication::ByKey { ttl }, ..standard() });
        story.answered(Outcome::Unknown(reply()));
        story.then(25 * 3_600, Input::Due);
        assert_eq!(story.state(), State::Parked);
        for _ in 0..3 {
            assert!(story.then(700, Input::Due).iter().all(|action| matches!(action, Action::Inquire(_))));
            assert_eq!(story.answered(Outcome::NotFound), [], "nothing parked is sent by itself");
        }
        story
    }

    fn pay(&self) -> Input {
        let order = Order::new(Amount::new(1050).unwrap(), Currency::new("USD").unwrap(), "a", "b").unwrap();
        let (tenant, key) = (Tenant::default(), IdempotencyKey::new("order-1").unwrap());
        Input::Pay { tenant, key, order: Arc::new(order), request: Ok(b"bytes".to_vec()), manner: Manner::default() }
    }

    fn fold(&mut self, fact: Fact) {
        let payment = PaymentId::derive(&Tenant::default(), &IdempotencyKey::new("order-1").unwrap());
        let at = Timestamp::from_millis(START + self.tick);
        apply(&mut self.payment, &Event { payment, at, fact }).unwrap();
    }

    fn then(&mut self, seconds: u64, input: Input) -> Vec<Action> {
        self.told(seconds, input).0
    }

    /// What leaves, and what the one who asked is told.
    fn told(&mut self, seconds: u64, input: Input) -> (Vec<Action>, Option<Response>) {
        self.tick += seconds * 1_000;
        let wall = Timestamp::from_millis(START + self.tick);
        let now = Now { wall, tick: Tick::from_millis(self.tick), clock: self.clock };
        let decision = decide(self.payment.as_ref(), &self.pursuits, &input, &now, &self.rules);
        decision.facts.clone().into_iter().for_each(|fact| self.fold(fact));
        self.pursuits.clone_from(&decision.pursuits);
        decision.release()
    }

    fn answered(&mut self, outcome: Outcome) -> Vec<Action> {
        let asked = Tick::from_millis(self.tick);
        self.then(0, Input::Answered { operation: 0, asked, outcome })
    }

    fn ended(&mut self, seconds: u64, outcome: Outcome) -> Vec<Action> {
        let attempt = self.operation().attempts;
        self.then(seconds, Input::Ended { operation: 0, attempt, outcome })
    }

    fn operation(&self) -> &Operation {
        &self.payment.as_ref().unwrap().operations[0]
    }

    fn state(&self) -> State {
        self.payment.as_ref().unwrap().state()
    }

    /// In how many seconds there is something to do next.
    fn due_in(&self) -> f64 {
        self.pursuits[0].due.since(Tick::from_millis(self.tick)).as_secs_f64()
    }
}

#[test]
fn unknown_outcome_is_inquired_before_anything_is_sent_again() {
    let mut story = Story::new(standard());
    let sent = story.then(0, story.pay());
    assert!(matches!(sent.as_slice(), [Action::Send { attempt: 1, .. }]));
    let asked = story.then(10, Input::Ended { operation: 0, attempt: 1, outcome: Outcome::Unknown(reply()) });
    assert!(matches!(asked.as_slice(), [Action::Inquire(_)]));
    let mut counted = 0;
    for second in 0..120 {
        let actions = if story.pursuits[0].calling { story.answered(Outcome::NotFound) } else { Vec::new() };
        if let [Action::Send { attempt, request, .. }] = actions.as_slice() {
            assert_eq!((*attempt, request.as_slice()), (2, b"bytes".as_slice()));
            assert!(second >= 42, "sent again after {second} s: the gateway may still have been working on it");
            counted += 1;
            break;
        }
        story.then(1, Input::Due);
    }
    assert_eq!(counted, 1, "a proven not-found is sent again");
    story.then(0, Input::Ended { operation: 0, attempt: 2, outcome: Outcome::Succeeded(reply()) });
    assert_eq!(story.state(), State::Succeeded);
}

#[test]
fn what_no_byte_left_of_is_sent_again_after_a_pause_and_expires_without_harm() {
    let mut story = Story::new(standard());
    story.then(0, story.pay());
    story.then(1, Input::Ended { operation: 0, attempt: 1, outcome: Outcome::NotSent(reply()) });
    assert_eq!(story.state(), State::Processing);
    assert_eq!(story.then(0, Input::Due), [], "not before the pause is over");
    assert!(matches!(story.then(1, Input::Due).as_slice(), [Action::Send { attempt: 2, .. }]));
    story.then(1, Input::Ended { operation: 0, attempt: 2, outcome: Outcome::NotSent(reply()) });
    Arc::make_mut(&mut story.payment.as_mut().unwrap().order).expires_at = Some(Timestamp::from_millis(START));
    assert_eq!(story.then(60, Input::Due), []);
    assert_eq!(story.state(), State::Canceled);
}

#[test]
fn what_another_gateway_may_have_done_parks_and_goes_on_when_it_returns() {
    let mut story = Story::new(standard());
    story.then(0, story.pay());
    let other = Identity { name: "b".into(), ..Identity::default() };
    story.rules.contract.identity = other;
    assert_eq!(story.then(5, Input::Resume), []);
    assert_eq!(story.state(), State::Parked);
    assert_eq!(story.then(600, Input::Due), []);
    story.rules.contract = standard();
    story.then(5, Input::Resume);
    assert!(matches!(story.then(0, Input::Due).as_slice(), [Action::Inquire(_)]));
    assert_eq!(story.state(), State::InDoubt);
}

#[test]
fn not_founds_count_only_if_they_were_asked_for_apart() {
    let mut story = Story::in_doubt(standard());
    story.tick += 600_000;
    for _ in 0..3 {
        assert_eq!(story.answered(Outcome::NotFound), [], "three answers in one moment are one answer");
        story.then(0, Input::Inquire);
    }
}

#[test]
fn a_person_can_have_what_is_parked_sent_again_once_that_is_proven() {
    let mut story = Story::parked_and_not_found();
    let resend = story.then(1, resolution(Verdict::Resend));
    assert!(matches!(resend.as_slice(), [Action::Send { attempt: 2, .. }]));
}

#[test]
fn what_a_defect_parked_under_way_cannot_be_canceled() {
    let mut story = Story::new(standard());
    story.then(0, story.pay());
    for fact in park_for_defect(story.payment.as_ref().unwrap()) {
        story.fold(fact);
    }
    story.then(1, Input::Ended { operation: 0, attempt: 1, outcome: Outcome::Unknown(reply()) });
    story.then(1, resolution(Verdict::Cancel));
    assert_eq!(story.state(), State::Parked);
    story.then(1, resolution(Verdict::Succeeded));
    assert_eq!(story.state(), State::Succeeded);
}

#[test]
fn a_start_after_a_long_stop_asks_before_it_parks() {
    let mut story = Story::in_doubt(standard());
    assert!(matches!(story.then(25 * 3_600, Input::Resume).as_slice(), [Action::Inquire(_)]));
    assert_eq!(story.state(), State::InDoubt);
    story.answered(Outcome::Unknown(reply()));
    story.then(60, Input::Due);
    assert_eq!(story.state(), State::Parked);
}

#[test]
fn what_a_gateway_calls_pending_and_then_forgets_is_parked() {
    let mut story = Story::new(standard());
    story.then(0, story.pay());
    story.then(1, Input::Ended { operation: 0, attempt: 1, outcome: Outcome::Pending(None, reply()) });
    for hour in 0..30 {
        story.then(3_600, Input::Due);
        let outcome = if hour < 3 { Outcome::Pending(None, reply()) } else { Outcome::NotFound };
        story.answered(outcome);
        assert_eq!(story.state() == State::Parked, hour >= 26, "hour {hour}");
    }
}

#[test]
fn a_timeline_keeps_its_ends_and_counts_what_lies_between() {
    let mut story = Story::new(standard());
    story.then(0, story.pay());
    for attempt in 1..500 {
        story.then(60, Input::Ended { operation: 0, attempt, outcome: Outcome::NotSent(reply()) });
        story.then(60, Input::Due);
    }
    let timeline = &story.payment.as_ref().unwrap().timeline;
    assert_eq!(timeline.len(), 64);
    assert_eq!((timeline[0].what.as_ref(), timeline[63].what.as_ref()), ("accepted", "attempt_started"));
    let left_out: Vec<_> = timeline.iter().filter_map(|moment| moment.what.strip_prefix("left_out: ")).collect();
    // Accepted, intended, started; then two moments for each of 499 attempts.
    assert_eq!(left_out, [(3 + 2 * 499 - 63).to_string()]);
}
