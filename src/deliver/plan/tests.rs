//! The plan with virtual time: what is promised of it, for any order of failures, kills and wakes.

#![allow(clippy::as_conversions, reason = "small numbers of tests")]

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

const DAY: Duration = Duration::from_secs(24 * 3600);

fn at(millis: u64) -> Timestamp {
    Timestamp::from_millis(1_000_000 + millis)
}

fn letter(lsn: u64, payment: u8) -> Letter {
    Letter {
        lsn: Lsn::new(lsn),
        payment: PaymentId::from_bytes([payment; 16]),
        id: format!("evt_{lsn}"),
        kind: "payment.succeeded".to_owned(),
        body: format!("{lsn}"),
    }
}

fn no(why: &str) -> Refusal {
    Refusal { why: why.to_owned(), gone: false, retry_after: None }
}

fn plan_with(letters: &[(u64, u8)]) -> Plan {
    let mut plan = Plan::new(Pace::default(), State::default());
    letters.iter().for_each(|(lsn, payment)| plan.take(letter(*lsn, *payment), at(0)));
    plan
}

/// Everything that may start now.
fn start(plan: &mut Plan, now: Timestamp) -> Vec<u64> {
    std::iter::from_fn(|| plan.next(now)).map(|letter| letter.lsn.get()).collect()
}

fn waiting(plan: &Plan) -> Vec<u64> {
    plan.state().waiting.iter().map(|kept| kept.letter.lsn.get()).collect()
}

fn dead(plan: &Plan) -> Vec<u64> {
    plan.state().dead.iter().map(|kept| kept.letter.lsn.get()).collect()
}

#[test]
fn payments_go_side_by_side_and_each_ones_events_one_after_the_other() {
    let mut plan = plan_with(&[(1, 1), (2, 1), (3, 2)]);
    assert_eq!(start(&mut plan, at(0)), [1, 3]);
    plan.taken(Lsn::new(1), at(1));
    assert_eq!(start(&mut plan, at(1)), [2]);
}

#[test]
fn a_first_pause_that_is_longer_than_the_longest_is_the_longest() {
    let second = Duration::from_secs(1);
    let pace = Pace {
        pause_first: 9 * second,
        pause_max: second,
        rest_first: 9 * second,
        rest_max: second,
        ..Pace::default()
    };
    let mut plan = Plan::new(Pace { down_after: 1, ..pace }, State::default());
    plan.take(letter(1, 1), at(0));
    for n in 0..3 {
        assert_eq!(start(&mut plan, at(n * 2_000)), [1], "it is tried again within a jittered second");
        plan.refused(Lsn::new(1), no("503"), at(n * 2_000), n);
    }
}

#[test]
fn no_more_are_under_way_than_the_pace_allows() {
    let letters: Vec<(u64, u8)> = (1..=40).map(|n| (n, n as u8)).collect();
    let mut plan = plan_with(&letters);
    assert_eq!(start(&mut plan, at(0)).len(), 16);
    assert_eq!(plan.wake(), None, "what wakes it is an end of one of these");
}

#[test]
fn the_cursor_stands_before_the_first_that_is_neither_taken_nor_kept() {
    let mut plan = plan_with(&[(1, 1), (2, 2), (3, 3)]);
    start(&mut plan, at(0));
    plan.taken(Lsn::new(2), at(1));
    assert_eq!(plan.state().cursor, Lsn::ZERO, "1 is still under way");
    plan.taken(Lsn::new(1), at(1));
    assert_eq!(plan.state().cursor, Lsn::new(2));
    plan.taken(Lsn::new(3), at(1));
    plan.pass(Lsn::new(9));
    assert_eq!(plan.state().cursor, Lsn::new(9), "what is not wanted is done with");
}

#[test]
fn a_poison_event_is_kept_and_holds_up_its_own_payment_only() {
    let mut plan = plan_with(&[(1, 1), (2, 1), (3, 2)]);
    start(&mut plan, at(0));
    plan.refused(Lsn::new(1), no("HTTP 500"), at(1), 0);
    plan.taken(Lsn::new(3), at(2));
    plan.take(letter(4, 1), at(3));
    assert_eq!((plan.state().cursor, waiting(&plan)), (Lsn::new(4), vec![1, 2, 4]));
    assert_eq!(start(&mut plan, at(4)), [0; 0], "not before its pause is over");
    assert!(plan.wake().is_some_and(|wake| wake > at(3_000) && wake < at(7_000)));
    assert_eq!(start(&mut plan, at(7_000)), [1]);
}

#[test]
fn a_letter_pauses_as_long_as_it_has_been_failing_and_an_hour_at_most() {
    let mut plan = plan_with(&[(1, 1)]);
    plan.pace.down_after = u32::MAX;
    let mut pauses = Vec::new();
    let mut now = at(0);
    for _ in 0..20 {
        assert_eq!(start(&mut plan, now), [1]);
        plan.refused(Lsn::new(1), no("HTTP 500"), now, 25);
        let wake = plan.wake().expect("it is tried again");
        pauses.push(wake.since(now).as_secs());
        now = wake;
    }
    assert_eq!(pauses[..5], [5, 5, 10, 20, 40]);
    assert_eq!(pauses[19], 3600);
    assert_eq!(plan.state().waiting[0].failure.as_ref().map(|failure| failure.times), Some(20));
}

#[test]
fn a_receiver_that_asks_for_time_gets_it() {
    let mut plan = plan_with(&[(1, 1)]);
    start(&mut plan, at(0));
    let busy = Refusal { retry_after: Some(Duration::from_secs(120)), ..no("HTTP 429") };
    plan.refused(Lsn::new(1), busy, at(0), 0);
    assert_eq!(plan.wake(), Some(at(120_000)));
}

#[test]
fn a_letter_that_fails_for_days_while_others_are_taken_dies_and_the_payment_goes_on() {
    let mut plan = plan_with(&[(1, 1), (2, 1), (3, 2)]);
    start(&mut plan, at(0));
    plan.refused(Lsn::new(1), no("HTTP 500"), at(0), 0);
    plan.taken(Lsn::new(3), at(1));
    let later = at(0).plus(3 * DAY);
    assert_eq!(start(&mut plan, later), [1]);
    plan.refused(Lsn::new(1), no("HTTP 501"), later, 0);
    assert_eq!((dead(&plan), waiting(&plan)), (vec![1], vec![2]));
    assert_eq!(plan.state().dead[0].failure.as_ref().map(|failure| failure.why.as_str()), Some("HTTP 501"));
    assert_eq!(start(&mut plan, later), [2]);
}

#[test]
fn nothing_dies_of_age_while_the_receiver_takes_nothing() {
    let mut plan = plan_with(&[(1, 1), (2, 2)]);
    let mut now = at(0);
    for _ in 0..30 {
        for lsn in start(&mut plan, now) {
            plan.refused(Lsn::new(lsn), no("cannot connect"), now, 0);
        }
        now = now.plus(DAY);
    }
    assert_eq!((dead(&plan), waiting(&plan)), (vec![], vec![1, 2]));
}

#[test]
fn gone_is_dead_at_once() {
    let mut plan = plan_with(&[(1, 1), (2, 1)]);
    start(&mut plan, at(0));
    plan.refused(Lsn::new(1), Refusal { gone: true, ..no("HTTP 410") }, at(0), 0);
    assert_eq!((dead(&plan), start(&mut plan, at(0))), (vec![1], vec![2]));
}

#[test]
fn when_the_dead_are_as_many_as_are_kept_nothing_more_dies() {
    let mut plan = plan_with(&[(1, 1), (2, 2)]);
    plan.pace.dead = 1;
    start(&mut plan, at(0));
    for lsn in [1, 2] {
        plan.refused(Lsn::new(lsn), Refusal { gone: true, ..no("HTTP 410") }, at(0), 0);
    }
    assert_eq!((dead(&plan), waiting(&plan)), (vec![1], vec![2]));
}

#[test]
fn a_receiver_that_takes_nothing_is_asked_by_one_letter_at_a_time_and_told_all_when_it_is_back() {
    let letters: Vec<(u64, u8)> = (1..=40).map(|n| (n, n as u8)).collect();
    let mut plan = plan_with(&letters);
    for lsn in start(&mut plan, at(0)) {
        plan.refused(Lsn::new(lsn), no("no answer"), at(0), 25);
    }
    assert_eq!(start(&mut plan, at(999)), [0; 0], "it rests");
    let asking = start(&mut plan, at(1_000));
    assert_eq!(asking.len(), 1);
    plan.refused(Lsn::new(asking[0]), no("no answer"), at(16_000), 25);
    assert_eq!(plan.wake(), Some(at(32_000)), "as long as it has been failing");
    let asking = start(&mut plan, at(32_000));
    plan.taken(Lsn::new(asking[0]), at(32_001));
    assert_eq!(plan.failing(), None);
    assert_eq!(start(&mut plan, at(32_001)).len(), 16, "what failed meanwhile is due too");
}

#[test]
fn what_is_held_is_bounded_and_then_the_cursor_stands() {
    let mut plan = plan_with(&[]);
    let mut read = 0;
    while plan.has_room() {
        read += 1;
        plan.take(letter(read, (read % 200) as u8), at(0));
    }
    assert_eq!((read, plan.state().cursor), (1_000, Lsn::ZERO));
}

#[test]
fn the_dead_rise_on_request_one_or_all_and_can_be_forgotten() {
    let mut plan = plan_with(&[(1, 1), (2, 2), (3, 3), (4, 3)]);
    for lsn in start(&mut plan, at(0)) {
        plan.refused(Lsn::new(lsn), Refusal { gone: true, ..no("HTTP 410") }, at(0), 0);
    }
    assert_eq!(dead(&plan), [1, 2, 3]);
    assert_eq!((plan.replay(Some("evt_9"), at(1)), plan.replay(Some("evt_2"), at(1))), (0, 1));
    assert_eq!((dead(&plan), waiting(&plan)), (vec![1, 3], vec![2]), "it is kept until it is taken");
    assert_eq!((plan.discard("evt_1"), plan.discard("evt_1")), (1, 0));
    assert_eq!(start(&mut plan, at(1)), [4, 2], "what has been due for longer goes first");
    assert_eq!(plan.replay(None, at(2)), 1);
    assert_eq!(start(&mut plan, at(2)), [0; 0], "4 of the same payment is under way");
    plan.taken(Lsn::new(4), at(3));
    assert_eq!(start(&mut plan, at(3)), [3]);
}

/// One thing that happens to a plan.
#[derive(Clone, Debug)]
enum Happening {
    Event {
        payment: u8,
    },
    Ended {
        which: usize,
        taken: bool,
        chance: u64,
    },
    Passes {
        millis: u64,
    },
    /// The process is killed; `saved` if the state was written just before.
    Killed {
        saved: bool,
    },
    Saved,
}

fn happening() -> impl Strategy<Value = Happening> {
    prop_oneof![
        4 => (0..5_u8).prop_map(|payment| Happening::Event { payment }),
        6 => (any::<usize>(), any::<bool>(), any::<u64>())
            .prop_map(|(which, taken, chance)| Happening::Ended { which, taken, chance }),
        3 => (0..20_000_u64).prop_map(|millis| Happening::Passes { millis }),
        1 => any::<bool>().prop_map(|saved| Happening::Killed { saved }),
        1 => Just(Happening::Saved),
    ]
}

/// A receiver, a feed and a plan between them.
struct World {
    plan: Plan,
    now: Timestamp,
    saved: State,
    feed: Vec<Letter>,
    under_way: Vec<Letter>,
    /// What each payment's receiver has taken, in order, repeats left out as receivers do.
    heard: BTreeMap<PaymentId, Vec<Lsn>>,
}

impl World {
    fn new() -> World {
        let pace = Pace { held: 6, in_flight: 3, ..Pace::default() };
        let plan = Plan::new(pace, State::default());
        let (feed, under_way, heard) = (Vec::new(), Vec::new(), BTreeMap::new());
        World { plan, now: at(0), saved: State::default(), feed, under_way, heard }
    }

    fn goes_on(&mut self) {
        while self.plan.has_room() {
            let read = self.plan.read;
            let Some(next) = self.feed.iter().find(|letter| letter.lsn > read).cloned() else { break };
            self.plan.take(next, self.now);
        }
        self.under_way.extend(std::iter::from_fn(|| self.plan.next(self.now)));
    }

    fn happens(&mut self, happening: Happening) {
        match happening {
            Happening::Event { payment } => {
                let lsn = self.feed.len() as u64 + 1;
                self.feed.push(letter(lsn, payment));
            }
            Happening::Ended { .. } if self.under_way.is_empty() => {}
            Happening::Ended { which, taken, chance } => {
                let ended = self.under_way.remove(which % self.under_way.len());
                match taken {
                    true => self.takes(&ended),
                    false => self.plan.refused(ended.lsn, no("HTTP 500"), self.now, chance),
                }
            }
            Happening::Passes { millis } => self.now = self.now.plus(Duration::from_millis(millis)),
            Happening::Killed { saved } => {
                if saved {
                    self.saved = self.plan.state();
                }
                self.under_way.clear();
                self.plan = Plan::new(self.plan.pace.clone(), self.saved.clone());
            }
            Happening::Saved => self.saved = self.plan.state(),
        }
        self.goes_on();
        let busy: BTreeSet<_> = self.under_way.iter().map(|letter| letter.payment).collect();
        assert_eq!(busy.len(), self.under_way.len(), "one of a payment at a time");
        assert!(self.plan.held.len() <= self.plan.pace.held, "bounded");
    }

    fn takes(&mut self, letter: &Letter) {
        let heard = self.heard.entry(letter.payment).or_default();
        if !heard.contains(&letter.lsn) {
            heard.push(letter.lsn);
        }
        self.plan.taken(letter.lsn, self.now);
    }

    /// The receiver is well from here on.
    fn ends_well(&mut self) {
        for _ in 0..10_000 {
            self.goes_on();
            if let Some(letter) = self.under_way.pop() {
                self.takes(&letter);
            } else if let Some(wake) = self.plan.wake() {
                self.now = self.now.max(wake);
            } else {
                return;
            }
        }
        panic!("it never comes to an end");
    }
}

proptest! {
    #[test]
    fn every_event_is_heard_in_its_payments_order_whatever_fails_and_whoever_is_killed(
        happenings in proptest::collection::vec(happening(), 0..120)
    ) {
        let mut world = World::new();
        happenings.into_iter().for_each(|happening| world.happens(happening));
        world.ends_well();
        for payment in 0..5_u8 {
            let id = PaymentId::from_bytes([payment; 16]);
            let told: Vec<Lsn> = world.feed.iter().filter(|letter| letter.payment == id).map(|letter| letter.lsn).collect();
            prop_assert_eq!(world.heard.remove(&id).unwrap_or_default(), told);
        }
        prop_assert_eq!(world.plan.state().cursor, Lsn::new(world.feed.len() as u64));
    }
}
