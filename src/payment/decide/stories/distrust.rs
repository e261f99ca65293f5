//! Starts that cannot rely on their folder or on their clock: what they doubt is asked about, and never sent again by itself.

use super::*;
use crate::payment::Finality;

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
fn what_was_erased_is_never_sent_without_its_bytes() {
    let mut story = Story::intended();
    let payment = story.payment.as_mut().unwrap();
    payment.order = Arc::new(payment.order.erased());
    payment.operations[0].request.clear();
    assert_eq!(story.then(3600, Input::Due), []);
    assert!(matches!(story.operation().standing, Standing::Parked { .. }));
    let (actions, _) = story.told(0, resolution(Verdict::Resend));
    assert_eq!(actions, []);
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
    story.rules.contract.identity.account = "another".into();
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
fn what_no_byte_of_has_left_is_sent_after_a_wrong_clock_too_and_its_key_has_no_age() {
    let mut story = Story::intended();
    story.then(3_600, Input::Inquire);
    assert!(matches!(story.restarted(Distrust::Clock).as_slice(), [Action::Send { attempt: 2, .. }]));
    assert_eq!(
        story.operation().first_sent,
        None,
        "an earlier attempt may have been refused under it, nobody knows when"
    );
    story.ended(1, Outcome::Unknown(reply()));
    story.never_found();
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

/// Refunds of payonce's own that leave within an hour.
fn refunds(story: &mut Story) -> Vec<OperationKey> {
    let mut sent = Vec::new();
    for _ in 0..60 {
        for action in story.then(60, Input::Due) {
            if let Action::Send { call, .. } = action {
                sent.push(call.operation_key);
            }
        }
    }
    sent
}

fn voided(story: &mut Story) {
    let (tenant, key) = (Tenant::default(), IdempotencyKey::new("void-1").unwrap());
    story.then(0, Input::Operate { tenant, key, follow_up: FollowUp::Void });
}

/// What the original does after the copy was made, a copy that takes over days later must not do again.
fn both(mut original: Story, learn: impl Fn(&mut Story)) {
    let Story { payment, pursuits, rules, clock, tick } = &original;
    let (payment, pursuits, rules) = (payment.clone(), pursuits.clone(), rules.clone());
    let mut copy = Story { payment, pursuits, rules, clock: *clock, tick: tick + 30 * 3_600_000 };
    learn(&mut original);
    assert_eq!(refunds(&mut original).len(), 1);
    copy.restarted(Distrust::Folder);
    learn(&mut copy);
    assert_eq!(refunds(&mut copy), [], "the gateway does not deduplicate");
}

fn forgetful() -> Contract {
    Contract { deduplication: Deduplication::None, ..standard() }
}

#[test]
fn a_copied_folder_does_not_refund_again_in_place_of_a_void_that_waited() {
    let mut original = Story::in_doubt(forgetful());
    voided(&mut original);
    both(original, |story| {
        story.answered(Outcome::Succeeded(reply()));
    });
}

#[test]
fn a_copied_folder_does_not_give_late_money_back_again() {
    let window = Some(Duration::from_secs(3_600));
    let mut original = Story::new(Contract { soft_decline_window: window, ..forgetful() });
    original.rules.policies.late_success = Late::Refund;
    original.then(0, original.pay());
    original.ended(1, Outcome::Declined(Finality::Soft, reply()));
    both(original, |story| {
        story.answered(Outcome::Succeeded(reply()));
    });
}

#[test]
fn a_copied_folder_does_not_refund_again_in_place_of_a_void_that_was_declined() {
    let mut original = Story::new(forgetful());
    original.then(0, original.pay());
    original.ended(1, Outcome::Pending(None, reply()));
    voided(&mut original);
    original.then(1, Input::Ended { operation: 1, attempt: 1, outcome: Outcome::Unknown(reply()) });
    both(original, |story| {
        let asked = Tick::from_millis(story.tick);
        story.then(0, Input::Answered { operation: 1, asked, outcome: Outcome::Declined(Finality::Hard, reply()) });
        story.answered(Outcome::Succeeded(reply()));
    });
}

/// Every standing: what a doubt makes of it, if it was (never sent, may not have acted), (never sent, may have acted),
/// (sent, may not have acted) and (sent, may have acted). U: its outcome is unknown. N: not sent, and of unknown age.
/// P: pending as before. D: declined as before.
#[test]
fn what_each_doubt_makes_of_each_standing() {
    let (at, until) = (Timestamp::from_millis(START), Some(Timestamp::from_millis(START + 60)));
    let declined = |open_until| Standing::Declined { finality: Finality::Soft, open_until, reply: reply() };
    let table = [
        (Standing::Intended, "UUUU", "--NN"),
        (Standing::Sent { not_after: at }, "UUUU", "UUUU"),
        (Standing::AtGateway { next_action: None, reply: reply(), since: at }, "--PP", "--PP"),
        (Standing::InDoubt { reply: reply(), since: at }, "--UU", "--UU"),
        (Standing::Parked { reason: ParkReason::KeyExpired, reply: reply(), since: at }, "U-UU", "--NU"),
        (declined(until), "--DD", "----"),
        (declined(None), "----", "----"),
        (Standing::Succeeded(reply()), "----", "----"),
        (Standing::Canceled(reply()), "----", "----"),
    ];
    let mut payment = Story::intended().payment.unwrap();
    for (standing, of_folder, of_clock) in table {
        for (distrust, row) in [(Distrust::Folder, of_folder), (Distrust::Clock, of_clock)] {
            let code = if distrust == Distrust::Folder { "restored" } else { "clock_doubted" };
            for (aged, acted, letter) in (0..4).map(|place| (place > 1, place % 2 == 1, &row[place..=place])) {
                let operation = &mut payment.operations[0];
                operation.standing = standing.clone();
                operation.first_sent = aged.then_some(at);
                operation.may_have_acted = acted;
                let what = format!("{standing:?} {distrust:?} aged {aged} acted {acted}");
                match (letter, doubt(&payment, distrust).as_slice()) {
                    ("-", []) => {}
                    ("U", [Fact::AttemptEnded { outcome: Outcome::Unknown(reply), .. }])
                    | ("N", [Fact::AttemptEnded { outcome: Outcome::NotSent(reply), .. }]) => {
                        assert_eq!(reply.code(), code, "{what}");
                    }
                    ("P", [Fact::AttemptEnded { outcome: Outcome::Pending(None, _), .. }]) => {}
                    (
                        "D",
                        [
                            Fact::AttemptEnded { outcome: Outcome::Declined(Finality::Soft, _), .. },
                            Fact::Learned { outcome: Outcome::Declined(Finality::Soft, _), open_until, .. },
                        ],
                    ) => assert_eq!(*open_until, until, "the window stays open: {what}"),
                    (wanted, facts) => panic!("{what}: wanted {wanted}, got {facts:?}"),
                }
            }
        }
    }
}

#[test]
fn a_void_that_waits_for_what_it_is_to_undo_is_not_doubted_and_one_that_may_go_is() {
    let mut story = Story::in_doubt(standard());
    voided(&mut story);
    let doubted = |story: &Story| {
        let facts = doubt(story.payment.as_ref().unwrap(), Distrust::Folder);
        let of_void = |fact: &&Fact| matches!(fact, Fact::AttemptEnded { operation, .. } if operation.number == 1);
        facts.iter().filter(of_void).count()
    };
    assert_eq!((story.payment.as_ref().unwrap().operations.len(), doubted(&story)), (2, 0));
    story.payment.as_mut().unwrap().operations[0].standing = Standing::Succeeded(reply());
    assert_eq!(doubted(&story), 1);
}

#[test]
fn a_request_of_no_bytes_is_sent_again_as_it_was() {
    let mut story = Story::intended();
    story.payment.as_mut().unwrap().operations[0].request.clear();
    assert!(matches!(story.then(60, Input::Due).as_slice(), [Action::Send { attempt: 2, .. }]));
}
