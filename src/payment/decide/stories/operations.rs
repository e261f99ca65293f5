//! A caller goes on: captures, voids and refunds, alone and across what is under way.

use super::*;
use crate::payment::{Capture, Contradiction, Finality, Lasting};

mod states;

mod voids;

impl Story {
    fn authorized() -> Story {
        let mut story = Story::new(standard());
        let Input::Pay { tenant, key, order, request, manner } = story.pay() else { unreachable!("it is one") };
        let order = Arc::new(Order::clone(&order).with_capture(Capture::Manual));
        story.then(0, Input::Pay { tenant, key, order, request, manner });
        story.ended(1, Outcome::Succeeded(reply()));
        story
    }

    fn charged() -> Story {
        let mut story = Story::new(standard());
        story.then(0, story.pay());
        story.ended(1, Outcome::Succeeded(reply()));
        story
    }

    fn asks(&mut self, key: &str, follow_up: FollowUp) -> (Vec<Action>, Option<Response>) {
        let (tenant, key) = (Tenant::default(), IdempotencyKey::new(key).unwrap());
        self.told(0, Input::Operate { tenant, key, follow_up })
    }

    fn ends(&mut self, operation: u32, outcome: Outcome) -> Vec<Action> {
        let attempt =
            self.payment.as_ref().unwrap().operations.iter().find(|one| one.this.number == operation).unwrap().attempts;
        self.then(0, Input::Ended { operation, attempt, outcome })
    }

    fn states(&self) -> Vec<State> {
        self.payment.as_ref().unwrap().operations.iter().map(Operation::state).collect()
    }

    /// Captured, refunded, and what is left of both.
    fn balance(&self) -> [u64; 4] {
        let payment = self.payment.as_ref().unwrap();
        [payment.captured(), payment.refunded(), payment.capturable(), payment.refundable()]
    }
}

fn some(minor_units: u64) -> Option<Amount> {
    Some(Amount::new(minor_units).unwrap())
}

fn sent(actions: &[Action]) -> Vec<(u32, Kind, u64)> {
    let call = |action: &Action| match action {
        Action::Send { call, .. } => (call.operation, call.kind, call.amount.minor_units()),
        Action::Inquire(call) | Action::Prepare { call, .. } => panic!("called about {call:?}"),
    };
    actions.iter().map(call).collect()
}

fn why(told: Option<Response>) -> String {
    match told {
        Some(Response::InvalidState(why)) => why,
        other => panic!("{other:?}"),
    }
}

#[test]
fn an_authorization_is_captured_in_parts_and_no_further() {
    let mut story = Story::authorized();
    let (actions, told) = story.asks("c1", FollowUp::Capture(some(300)));
    assert_eq!((sent(&actions), told), (vec![(1, Kind::Capture, 300)], Some(Response::Fresh)));
    assert_eq!(story.balance(), [0, 0, 750, 0], "held from its intent on");
    assert_eq!(story.asks("c2", FollowUp::Capture(some(751))).1, Some(Response::AmountTooLarge { left: 750 }));
    story.ends(1, Outcome::Succeeded(reply()));
    let (actions, _) = story.asks("c3", FollowUp::Capture(None));
    assert_eq!(sent(&actions), [(2, Kind::Capture, 750)], "all that is left");
    assert_eq!(story.asks("c4", FollowUp::Capture(None)).1, Some(Response::AmountTooLarge { left: 0 }));
    story.ends(2, Outcome::Declined(Finality::Hard, reply()));
    assert_eq!(story.balance(), [300, 0, 750, 300], "what was declined is free again");
    assert_eq!(story.payment.as_ref().unwrap().state_now(), State::Succeeded);
    assert_eq!(story.state(), State::Authorized, "what was told stays");
}

#[test]
fn two_refunds_at_once_never_move_back_more_than_was_captured() {
    let mut story = Story::charged();
    story.asks("r1", FollowUp::Refund(some(600)));
    let (actions, told) = story.asks("r2", FollowUp::Refund(some(600)));
    assert_eq!((actions, told), (Vec::new(), Some(Response::AmountTooLarge { left: 450 })));
    story.ends(1, Outcome::Unknown(reply()));
    assert_eq!(story.states(), [State::Succeeded, State::InDoubt]);
    story.then(0, Input::Resume);
    assert_eq!(story.asks("r3", FollowUp::Refund(some(600))).1, Some(Response::AmountTooLarge { left: 450 }));
    story.then(
        0,
        Input::Answered { operation: 1, asked: Tick::from_millis(story.tick), outcome: Outcome::Succeeded(reply()) },
    );
    assert_eq!(story.balance(), [1050, 600, 0, 450]);
    assert_eq!(sent(&story.asks("r4", FollowUp::Refund(None)).0), [(2, Kind::Refund, 450)]);
}

#[test]
fn the_same_key_again_joins_or_replays_and_another_meaning_is_refused() {
    let mut story = Story::charged();
    story.asks("r1", FollowUp::Refund(some(600)));
    for follow_up in [FollowUp::Refund(some(600)), FollowUp::Refund(None)] {
        assert_eq!(story.asks("r1", follow_up), (Vec::new(), Some(Response::Attached)));
    }
    let conflict = |fields: &[&'static str]| Some(Response::Conflict(fields.to_vec()));
    assert_eq!(story.asks("r1", FollowUp::Refund(some(601))).1, conflict(&["amount"]));
    assert_eq!(story.asks("r1", FollowUp::Void).1, conflict(&["operation"]));
    assert_eq!(story.asks("r1", FollowUp::Capture(some(1))).1, conflict(&["operation", "amount"]));
    story.ends(1, Outcome::Succeeded(reply()));
    assert_eq!(story.asks("r1", FollowUp::Refund(some(600))), (Vec::new(), Some(Response::Replayed)));
    assert_eq!(story.payment.as_ref().unwrap().operations.len(), 2);
    let (tenant, key) = (Tenant::new("other").unwrap(), IdempotencyKey::new("r1").unwrap());
    let told = story.told(0, Input::Operate { tenant, key, follow_up: FollowUp::Refund(None) }).1;
    assert_eq!(told, Some(Response::NotFound), "another tenant's payment is none");
    let own = story.asks("payonce:late-0", FollowUp::Refund(None)).1;
    assert!(matches!(own, Some(Response::Inexpressible(invalid)) if invalid.field == "idempotency_key"));
}

#[test]
fn every_operation_has_its_own_key_at_the_gateway() {
    let mut story = Story::authorized();
    story.asks("k", FollowUp::Capture(some(100)));
    story.ends(1, Outcome::Succeeded(reply()));
    story.asks("l", FollowUp::Capture(some(100)));
    story.asks("m", FollowUp::Refund(some(50)));
    let payment = story.payment.as_ref().unwrap();
    let mut keys: Vec<_> = payment.operations.iter().map(|operation| operation.operation_key).collect();
    let expected = OperationKey::derive(&payment.namespace, &payment.id, Kind::Capture, &payment.operations[1].key);
    assert_eq!(keys[1], expected, "by names alone, never by order");
    keys.dedup();
    assert_eq!(keys.len(), 4);
}

#[test]
fn what_was_not_moved_is_not_moved_back_and_what_was_not_set_aside_is_not_captured() {
    let mut story = Story::new(standard());
    story.then(0, story.pay());
    assert!(why(story.asks("r", FollowUp::Refund(None)).1).contains("nothing of it has been captured"));
    assert!(why(story.asks("c", FollowUp::Capture(None)).1).contains("captured with its charge"));
    story.ended(1, Outcome::Declined(Finality::Hard, reply()));
    assert!(why(story.asks("r", FollowUp::Refund(None)).1).contains("is declined"));
    assert!(why(story.asks("v", FollowUp::Void).1).contains("nothing to void"));
    let mut story = Story::authorized();
    assert!(why(story.asks("r", FollowUp::Refund(None)).1).contains("is authorized"));
    assert!(why(Story::charged().asks("v", FollowUp::Void).1).contains("refund it"));
    story.rules.sending = false;
    assert_eq!(story.asks("c", FollowUp::Capture(None)).1, Some(Response::Moved));
    story.rules.sending = true;
    story.rules.contract.identity.account = "2".into();
    assert!(why(story.asks("c", FollowUp::Capture(None)).1).contains("another gateway"));
}

#[test]
fn a_void_lets_go_of_an_authorization_and_nothing_is_captured_any_more() {
    let mut story = Story::authorized();
    assert_eq!(sent(&story.asks("v", FollowUp::Void).0), [(1, Kind::Void, 1050)]);
    assert!(why(story.asks("c", FollowUp::Capture(None)).1).contains("being voided"));
    assert!(why(story.asks("v2", FollowUp::Void).1).contains("being voided"));
    story.ends(1, Outcome::Succeeded(reply()));
    assert_eq!(story.payment.as_ref().unwrap().state_now(), State::Canceled);
    let mut story = Story::authorized();
    story.asks("c", FollowUp::Capture(some(1)));
    assert!(why(story.asks("v", FollowUp::Void).1).contains("refund that"));
}

#[test]
fn a_void_before_anything_was_sent_cancels() {
    let mut story = Story::new(standard());
    story.then(0, story.pay());
    story.ended(1, Outcome::NotSent(reply()));
    let (actions, told) = story.asks("v", FollowUp::Void);
    assert_eq!((actions, told), (Vec::new(), Some(Response::Fresh)));
    assert_eq!(story.states(), [State::Canceled, State::Succeeded]);
    assert_eq!(story.then(3_600, Input::Due), [], "what was canceled is never sent");
}

#[test]
fn a_void_that_crosses_a_charge_waits_and_cancels_what_turns_out_not_to_have_left() {
    let mut story = Story::new(standard());
    story.then(0, story.pay());
    let (actions, told) = story.asks("v", FollowUp::Void);
    assert_eq!((actions, told), (Vec::new(), Some(Response::Fresh)));
    let refused = Outcome::Refused(Lasting::ForNow { retry_after: None }, reply());
    assert_eq!(story.ended(1, refused), []);
    assert_eq!(story.then(0, Input::Due), []);
    assert_eq!(story.states(), [State::Canceled, State::Succeeded]);
}

#[test]
fn a_charge_that_happened_although_it_was_to_be_canceled_is_refunded_by_policy_and_that_is_said() {
    for (late_void, code, after) in
        [(Late::Refund, "refunded_instead", vec![(2, Kind::Refund, 1050)]), (Late::Adopt, "too_late", Vec::new())]
    {
        let mut story = Story::new(standard());
        story.rules.policies.late_void = late_void;
        story.then(0, story.pay());
        story.asks("v", FollowUp::Void);
        story.ended(1, Outcome::Unknown(reply()));
        assert_eq!(story.then(0, Input::Resume).len(), 1, "only the charge is asked about");
        assert_eq!(story.states(), [State::InDoubt, State::Processing]);
        story.answered(Outcome::Succeeded(reply()));
        let first = story.then(0, Input::Due);
        let second = story.then(0, Input::Due);
        assert_eq!(sent(&[first, second].concat()), after);
        let payment = story.payment.as_ref().unwrap();
        assert_eq!(payment.operations[1].reply().map(Reply::code), Some(code));
        assert_eq!(payment.operations[1].state(), State::Canceled);
    }
}

#[test]
fn an_authorization_that_happened_although_it_was_to_be_canceled_is_voided() {
    let mut story = Story::new(standard());
    let Input::Pay { tenant, key, order, request, manner } = story.pay() else { unreachable!("it is one") };
    let order = Arc::new(Order::clone(&order).with_capture(Capture::Manual));
    story.then(0, Input::Pay { tenant, key, order, request, manner });
    story.asks("v", FollowUp::Void);
    story.ended(1, Outcome::Succeeded(reply()));
    assert_eq!(sent(&story.then(0, Input::Due)), [(1, Kind::Void, 1050)]);
}

#[test]
fn a_void_of_what_was_declined_has_nothing_to_do() {
    let mut story = Story::new(standard());
    story.then(0, story.pay());
    story.asks("v", FollowUp::Void);
    story.ended(1, Outcome::Declined(Finality::Hard, reply()));
    assert_eq!(story.then(0, Input::Due), []);
    let payment = story.payment.as_ref().unwrap();
    assert_eq!(payment.operations[1].reply().map(Reply::code), Some("nothing_to_void"));
    assert!(payment.is_at_rest());
}

#[test]
fn what_was_to_be_canceled_is_not_sent_again_even_when_it_is_proven_not_to_be_there() {
    let ttl = Duration::from_secs(30 * 86_400);
    let mut story = Story::in_doubt(Contract { deduplication: Deduplication::ByKey { ttl }, ..standard() });
    story.asks("v", FollowUp::Void);
    story.answered(Outcome::NotFound);
    let mut asked = 0;
    for _ in 0..2_000 {
        for action in story.then(60, Input::Due) {
            let Action::Inquire(call) = action else { panic!("sent again: {action:?}") };
            assert_eq!(call.operation, 0);
            story.answered(Outcome::NotFound);
            asked += 1;
        }
    }
    assert!(asked > 100);
    assert_eq!(story.states(), [State::Parked, State::Processing]);
    let refused = story.told(0, resolution(Verdict::Resend)).1;
    assert!(why(refused).contains("voided"));
    story.then(0, resolution(Verdict::Declined));
    story.then(0, Input::Due);
    assert_eq!(story.states(), [State::Declined, State::Succeeded]);
}

#[test]
fn what_waits_at_the_gateway_can_be_let_go_of_there() {
    let mut story = Story::new(standard());
    story.then(0, story.pay());
    story.ended(1, Outcome::Pending(None, reply()));
    assert_eq!(sent(&story.asks("v", FollowUp::Void).0), [(1, Kind::Void, 1050)]);
    story.ends(1, Outcome::Succeeded(reply()));
    assert_eq!(story.states(), [State::Processing, State::Succeeded], "the gateway has yet to say so of the charge");
    story.then(60, Input::Due);
    story.answered(Outcome::Declined(Finality::Hard, reply()));
    assert!(story.payment.as_ref().unwrap().is_at_rest());
}

#[test]
fn what_still_waits_for_its_payer_when_its_order_expires_is_voided_once() {
    let mut story = Story::new(standard());
    story.then(0, story.pay());
    story.ended(1, Outcome::Pending(None, reply()));
    Arc::make_mut(&mut story.payment.as_mut().unwrap().order).expires_at = Some(Timestamp::from_millis(START + 30_000));
    let mut voids = Vec::new();
    for _ in 0..60 {
        for action in story.then(60, Input::Due) {
            match action {
                Action::Send { .. } => {
                    voids.extend(sent(&[action]));
                    story.ends(1, Outcome::Declined(Finality::Hard, reply()));
                }
                Action::Prepare { .. } => panic!("this gateway mints no ids"),
                Action::Inquire(_) => drop(story.answered(Outcome::Pending(None, reply()))),
            }
        }
    }
    assert_eq!(voids, [(1, Kind::Void, 1050)], "a void that is declined is not tried for ever");
    assert_eq!(story.state(), State::Processing);
}

#[test]
fn a_late_success_is_shown_or_goes_back_as_the_policy_says_and_never_rewrites_the_answer() {
    for (late_success, after) in [(Late::Adopt, Vec::new()), (Late::Refund, vec![(1, Kind::Refund, 1050)])] {
        let mut story = Story::new(standard());
        story.rules.policies.late_success = late_success;
        story.then(0, story.pay());
        story.ended(1, Outcome::Declined(Finality::Hard, reply()));
        story.answered(Outcome::Succeeded(reply()));
        story.answered(Outcome::Succeeded(reply()));
        assert_eq!(story.operation().contradicted, Some(Contradiction::Moved));
        assert_eq!((story.state(), story.balance()[0]), (State::Declined, 1050));
        assert_eq!(sent(&story.then(0, Input::Due)), after);
    }
}

#[test]
fn of_what_moved_late_no_more_goes_back_than_has_not_gone_back_already() {
    for (refunded, own) in [(500, Vec::new()), (200, vec![(4, Kind::Refund, 100)])] {
        let mut story = Story::authorized();
        story.rules.policies.late_success = Late::Refund;
        let declined = || Outcome::Declined(Finality::Hard, reply());
        for (operation, key, follow_up, outcome) in [
            (1, "c1", FollowUp::Capture(some(500)), Outcome::Succeeded(reply())),
            (2, "c2", FollowUp::Capture(some(300)), declined()),
            (3, "r", FollowUp::Refund(some(refunded)), Outcome::Succeeded(reply())),
        ] {
            story.asks(key, follow_up);
            story.ends(operation, outcome);
        }
        let hears = |story: &mut Story, operation, outcome| {
            let asked = Tick::from_millis(story.tick);
            story.then(0, Input::Answered { operation, asked, outcome });
        };
        // What was refunded had not moved, after all; and what had been declined has.
        hears(&mut story, 1, declined());
        hears(&mut story, 2, Outcome::Succeeded(reply()));
        assert_eq!(sent(&story.then(0, Input::Due)), own);
    }
}

#[test]
fn an_authorization_that_turns_out_late_to_have_happened_is_voided_by_policy() {
    let mut story = Story::new(standard());
    story.rules.policies.late_success = Late::Refund;
    let Input::Pay { tenant, key, order, request, manner } = story.pay() else { unreachable!("it is one") };
    let order = Arc::new(Order::clone(&order).with_capture(Capture::Manual));
    story.then(0, Input::Pay { tenant, key, order, request, manner });
    story.ended(1, Outcome::Declined(Finality::Hard, reply()));
    story.answered(Outcome::Succeeded(reply()));
    assert_eq!(sent(&story.then(0, Input::Due)), [(1, Kind::Void, 1050)]);
}

#[test]
fn a_void_waits_while_what_it_undoes_is_sent_again_to_be_asked_about() {
    let mut story = Story::new(Contract { inquiry: crate::payment::Inquiry::None, ..standard() });
    story.then(0, story.pay());
    story.ended(1, Outcome::Pending(None, reply()));
    assert_eq!(sent(&story.asks("v", FollowUp::Void).0), [(1, Kind::Void, 1050)]);
    story.ends(1, Outcome::NotSent(reply()));
    assert_eq!(sent(&story.then(600, Input::Due)), [(0, Kind::Charge, 1050)]);
    assert_eq!(story.then(0, Input::Due), [], "what it has become has to be known first");
    story.ended(1, Outcome::Pending(None, reply()));
    assert_eq!(sent(&story.then(599, Input::Due)), [(1, Kind::Void, 1050)]);
}

#[test]
fn a_refund_that_came_back_can_be_made_again() {
    let mut story = Story::charged();
    story.asks("r", FollowUp::Refund(None));
    story.ends(1, Outcome::Succeeded(reply()));
    assert_eq!(story.balance(), [1050, 1050, 0, 0]);
    let asked = Tick::from_millis(story.tick);
    story.then(0, Input::Answered { operation: 1, asked, outcome: Outcome::Declined(Finality::Hard, reply()) });
    assert_eq!(story.states(), [State::Succeeded, State::Succeeded], "what was told stays");
    assert_eq!(story.balance(), [1050, 0, 0, 1050]);
    assert_eq!(sent(&story.asks("r2", FollowUp::Refund(None)).0), [(2, Kind::Refund, 1050)]);
}

#[test]
fn money_goes_back_also_after_the_order_has_expired() {
    let mut story = Story::charged();
    Arc::make_mut(&mut story.payment.as_mut().unwrap().order).expires_at = Some(Timestamp::from_millis(START));
    let (actions, _) = story.asks("r", FollowUp::Refund(None));
    let [Action::Send { not_after, .. }] = actions.as_slice() else { panic!("{actions:?}") };
    assert_eq!(not_after.as_millis(), START + story.tick + 10_000);
    story.ends(1, Outcome::NotSent(reply()));
    assert_eq!(sent(&story.then(60, Input::Due)), [(1, Kind::Refund, 1050)]);
}

#[test]
fn a_payment_takes_so_many_operations_and_no_more() {
    let mut story = Story::charged();
    for number in 1..200 {
        assert_eq!(story.asks(&format!("r{number}"), FollowUp::Refund(some(1))).1, Some(Response::Fresh));
    }
    assert!(why(story.asks("r200", FollowUp::Refund(some(1))).1).contains("200 operations"));
}

#[test]
fn what_a_caller_refunds_before_a_late_void_is_dealt_with_goes_back_once() {
    for (asked, own) in [(some(600), vec![(3, Kind::Refund, 450)]), (None, Vec::new())] {
        let mut story = Story::new(standard());
        story.then(0, story.pay());
        story.asks("v", FollowUp::Void);
        story.ended(1, Outcome::Succeeded(reply()));
        // In the same turn as the charge's end, before the void is looked at again.
        assert_eq!(story.asks("r", FollowUp::Refund(asked)).1, Some(Response::Fresh));
        let first = story.then(0, Input::Due);
        let second = story.then(0, Input::Due);
        assert_eq!(sent(&[first, second].concat()), own);
        let payment = story.payment.as_ref().unwrap();
        assert_eq!(payment.held(Kind::Refund), 1050);
    }
}

#[test]
fn nothing_of_the_engines_own_goes_to_another_gateway() {
    let mut story = Story::new(standard());
    story.then(0, story.pay());
    story.asks("v", FollowUp::Void);
    story.rules.contract.identity = Identity { name: "b".into(), ..Identity::default() };
    story.then(0, Input::Resume);
    story.then(0, resolution(Verdict::Succeeded));
    for _ in 0..10 {
        assert_eq!(story.then(3_600, Input::Due), []);
    }
    assert_eq!(story.states(), [State::Succeeded, State::Processing], "the void waits for its gateway");
    story.rules.contract.identity = standard().identity;
    let first = story.then(3_600, Input::Due);
    let second = story.then(0, Input::Due);
    assert_eq!(sent(&[first, second].concat()), [(2, Kind::Refund, 1050)]);

    let mut story = Story::new(standard());
    story.then(0, story.pay());
    story.ended(1, Outcome::Pending(None, reply()));
    Arc::make_mut(&mut story.payment.as_mut().unwrap().order).expires_at = Some(Timestamp::from_millis(START));
    story.rules.contract.identity.account = "2".into();
    story.then(60, Input::Due);
    assert_eq!(story.payment.as_ref().unwrap().operations.len(), 1);
    assert_eq!(story.state(), State::Parked);
}

#[test]
fn a_void_waits_while_a_soft_decline_may_still_turn() {
    let window = Some(Duration::from_secs(3_600));
    let mut story = Story::new(Contract { soft_decline_window: window, ..standard() });
    story.then(0, story.pay());
    story.asks("v", FollowUp::Void);
    story.ended(1, Outcome::Declined(Finality::Soft, reply()));
    story.then(0, Input::Due);
    assert_eq!(story.states(), [State::Declined, State::Processing]);
    story.then(3_601, Input::Due);
    story.answered(Outcome::Succeeded(reply()));
    let first = story.then(0, Input::Due);
    let second = story.then(0, Input::Due);
    assert_eq!(sent(&[first, second].concat()), [(2, Kind::Refund, 1050)], "the caller had asked for it back");
}

#[test]
fn what_succeeds_although_its_order_has_expired_stays_and_its_own_void_comes_too_late() {
    let mut story = Story::new(standard());
    story.then(0, story.pay());
    story.ended(1, Outcome::Pending(None, reply()));
    Arc::make_mut(&mut story.payment.as_mut().unwrap().order).expires_at = Some(Timestamp::from_millis(START));
    assert!(matches!(story.then(60, Input::Due).as_slice(), [Action::Inquire(_)]));
    story.answered(Outcome::Succeeded(reply()));
    assert_eq!(story.then(0, Input::Due), []);
    assert_eq!(story.then(0, Input::Due), []);
    assert_eq!((story.states(), story.balance()[0]), (vec![State::Succeeded, State::Canceled], 1050));
}

#[test]
fn what_only_news_says_of_a_sending_under_way_has_acted() {
    let contract = Contract { inquiry: crate::payment::Inquiry::None, ..standard() };
    let mut story = Story::new(contract);
    story.then(0, story.pay());
    let operation = story.operation().operation_key;
    story.then(
        0,
        Input::Hint {
            operation,
            from: standard().identity,
            said: Some((Outcome::Succeeded(reply()), 1050, "USD".to_owned())),
        },
    );
    assert_eq!((story.state(), story.operation().may_have_acted), (State::Succeeded, true));
}
