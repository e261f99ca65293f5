//! The whole table, walked: every standing, every input, every kind of contract, both clocks. What must never happen
//! is asked of each cell, after folding what it proposes.

use std::{sync::Arc, time::Duration};

use super::*;
use crate::payment::{
    Cause, Clock, Contract, Deduplication, Encoder, Event, Evidence, Finality, Identity, Inquiry, Lasting, Namespace,
    NextAction, OperationRef, apply,
};

const START: u64 = 1_000_000_000_000;

/// An attempt before the only one that is under way.
const EARLIER: u32 = 0;

fn reply() -> Reply {
    Reply::new("code", "message")
}

fn operation(standing: Standing, may_have_acted: bool, gateway: &str) -> Operation {
    let sent = may_have_acted || matches!(standing, Standing::Sent { .. });
    Operation {
        this: OperationRef { number: 0, kind: Kind::Charge, amount: Amount::new(1050).unwrap() },
        key: IdempotencyKey::new("order-1").unwrap(),
        operation_key: OperationKey::from_bytes([1; 16]),
        gateway: Identity { name: gateway.into(), ..Identity::default() },
        request: b"bytes".to_vec(),
        prepared: None,
        attempts: u32::from(sent),
        first_sent: sent.then(|| Timestamp::from_millis(START)),
        may_have_acted,
        standing,
        contradicted: None,
    }
}

fn payment(operation: Operation) -> Payment {
    let order = Order::new(Amount::new(1050).unwrap(), Currency::new("USD").unwrap(), "a", "b").unwrap();
    let (tenant, key) = (Tenant::default(), IdempotencyKey::new("order-1").unwrap());
    Payment {
        id: PaymentId::derive(&tenant, &key),
        tenant,
        key,
        namespace: Namespace::default(),
        order: Arc::new(order),
        settled_at: operation.is_final().then(|| Timestamp::from_millis(START)),
        operations: vec![operation],
        created_at: Timestamp::from_millis(START),
        updated_at: Timestamp::from_millis(START),
        timeline: Vec::new(),
    }
}

fn standings() -> Vec<Standing> {
    let since = Timestamp::from_millis(START);
    let action = NextAction { url: "https://bank.example/3ds".to_owned(), expires_at: None };
    let mut all = vec![
        Standing::Intended,
        Standing::Sent { not_after: since },
        Standing::AtGateway { next_action: None, reply: reply(), since },
        Standing::AtGateway { next_action: Some(action), reply: reply(), since },
        Standing::InDoubt { reply: reply(), since },
        Standing::Succeeded(reply()),
        Standing::Declined { finality: Finality::Hard, open_until: None, reply: reply() },
        Standing::Declined { finality: Finality::Soft, open_until: Some(since), reply: reply() },
        Standing::Canceled(reply()),
    ];
    for reason in ParkReason::ALL {
        all.push(Standing::Parked { reason, reply: reply(), since });
    }
    all
}

fn outcomes() -> Vec<Outcome> {
    vec![
        Outcome::Succeeded(reply()),
        Outcome::Declined(Finality::Hard, reply()),
        Outcome::Declined(Finality::Soft, reply()),
        Outcome::Pending(None, reply()),
        Outcome::NotSent(reply()),
        Outcome::Refused(Lasting::ForNow { retry_after: None }, reply()),
        Outcome::Refused(Lasting::ForGood, reply()),
        Outcome::NotFound,
        Outcome::Unknown(reply()),
    ]
}

fn inputs() -> Vec<Input> {
    let order = payment(operation(Standing::Intended, false, "a")).order;
    let other = Order { amount: Amount::new(1).unwrap(), ..Order::clone(&order) }.into();
    let (tenant, key) = (Tenant::default(), IdempotencyKey::new("order-1").unwrap());
    let pay = |order: Arc<Order>| Input::Pay {
        tenant: tenant.clone(),
        key: key.clone(),
        order,
        request: Ok(b"bytes".to_vec()),
        manner: Manner::default(),
    };
    let mut all = vec![pay(order), pay(other), Input::Due, Input::Resume, Input::Inquire];
    for outcome in outcomes() {
        all.push(Input::Ended { operation: 0, attempt: 1, outcome: outcome.clone() });
        all.push(Input::Ended { operation: 0, attempt: EARLIER, outcome: outcome.clone() });
        all.push(Input::Answered { operation: 0, asked: Tick::from_millis(50_000), outcome: outcome.clone() });
        all.push(Input::Answered { operation: 0, asked: Tick::from_millis(150_000), outcome });
    }
    for verdict in [Verdict::Succeeded, Verdict::Declined, Verdict::Resend, Verdict::Cancel] {
        let person = Person { actor: "ann".to_owned(), reason: "looked it up".to_owned() };
        all.push(Input::Resolve(Resolution { operation: None, verdict, reply: None, person }));
    }
    all
}

fn contracts() -> Vec<Contract> {
    let standard = Contract::standard(Identity { name: "a".into(), ..Identity::default() });
    let mut all = vec![standard.clone()];
    all.push(Contract { soft_decline_window: Some(Duration::from_secs(3600)), ..standard.clone() });
    all.push(Contract { inquiry: Inquiry::None, ..standard.clone() });
    all.push(Contract { deduplication: Deduplication::None, ..standard.clone() });
    all.push(Contract { deduplication: Deduplication::None, inquiry: Inquiry::None, ..standard.clone() });
    all.push(Contract { identity: Identity { name: "b".into(), ..Identity::default() }, ..standard });
    all
}

/// One cell of the table, and what came of it.
struct Cell {
    before: Payment,
    pursuit: Pursuit,
    input: Input,
    now: Now,
    rules: Rules,
    decision: Decision,
    after: Payment,
}

fn each_cell(mut check: impl FnMut(&Cell)) -> usize {
    let mut cells = 0;
    for standing in standings() {
        for may_have_acted in [false, true] {
            if may_have_acted && standing == Standing::Intended {
                continue; // `apply` never makes this: see `cell`.
            }
            for contract in contracts() {
                for (hours, clock, sending) in [
                    (0, Clock::Trusted, true),
                    (30, Clock::Trusted, true),
                    (0, Clock::Diverged, true),
                    (0, Clock::Trusted, false),
                ] {
                    for not_founds in [0, 2] {
                        for input in inputs() {
                            let before = payment(operation(standing.clone(), may_have_acted, "a"));
                            let pursuit = Pursuit {
                                not_founds,
                                believable_from: Tick::from_millis(100_000),
                                calling: matches!(input, Input::Ended { .. } | Input::Answered { .. }),
                                ..Pursuit::default()
                            };
                            let wall = Timestamp::from_millis(START).plus(Duration::from_secs(60 + 3600 * hours));
                            let now = Now { wall, tick: Tick::from_millis(200_000), clock };
                            check(&cell(before, pursuit, input, now, contract.clone(), sending));
                            cells += 1;
                        }
                    }
                }
            }
        }
    }
    cells
}

fn cell(before: Payment, pursuit: Pursuit, input: Input, now: Now, contract: Contract, sending: bool) -> Cell {
    let rules = Rules { sending, ..Rules::new(contract, Encoder::plain()) };
    let decision = decide(Some(&before), &[pursuit], &input, &now, &rules);
    let mut after = Some(before.clone());
    for fact in &decision.facts {
        let event = Event { payment: before.id, at: now.wall, fact: fact.clone() };
        apply(&mut after, &event).expect("what is decided can be folded");
    }
    let after = after.expect("a payment does not vanish");
    assert!(!(after.operations[0].standing == Standing::Intended && after.operations[0].may_have_acted));
    Cell { before, pursuit, input, now, rules, decision, after }
}

impl Cell {
    fn operation(&self) -> &Operation {
        &self.before.operations[0]
    }

    fn sends(&self) -> Option<&Cause> {
        self.decision.facts.iter().find_map(|fact| match fact {
            Fact::AttemptStarted { cause, .. } => Some(cause),
            _ => None,
        })
    }
}

#[test]
fn bytes_leave_only_behind_a_fact_that_says_so() {
    let cells = each_cell(|cell| {
        let (actions, _) = cell.decision.clone().release();
        let sends = actions.iter().filter(|action| matches!(action, Action::Send { .. })).count();
        assert_eq!(sends, usize::from(cell.sends().is_some()));
        assert!(actions.len() <= 1, "one call at a time");
        assert!(actions.is_empty() || cell.decision.pursuits[0].calling);
    });
    assert!(cells > 40_000, "{cells}");
}

#[test]
fn what_may_have_acted_is_sent_again_only_under_a_living_key_and_a_proof() {
    each_cell(|cell| {
        let in_doubt = cell.operation().may_have_acted || matches!(cell.operation().standing, Standing::Sent { .. });
        let Some(cause) = cell.sends().filter(|_| in_doubt) else { return };
        let rules = &cell.rules;
        assert!(matches!(rules.contract.deduplication, Deduplication::ByKey { .. }));
        assert_eq!(rules.contract.identity, cell.operation().gateway);
        assert_eq!(cell.now.clock, Clock::Trusted);
        assert!(cell.now.wall.since(Timestamp::from_millis(START)) < Duration::from_secs(24 * 3600));
        assert!(rules.sending);
        match (rules.contract.inquiry, cause) {
            (Inquiry::ByKey { .. }, Cause::ProvenNotFound { times }) => {
                assert!(*times >= 3);
                let late = Tick::from_millis(150_000);
                assert!(matches!(&cell.input, Input::Answered { asked, .. } if *asked == late));
            }
            (Inquiry::None, Cause::SameKey | Cause::Person(_)) => {
                assert!(cell.now.tick >= cell.pursuit.believable_from);
            }
            (inquiry, cause) => panic!("{inquiry:?} {cause:?}"),
        }
    });
}

#[test]
fn time_alone_never_ends_a_doubt() {
    each_cell(|cell| {
        let doubtful = matches!(
            cell.operation().standing,
            Standing::Sent { .. } | Standing::InDoubt { .. } | Standing::Parked { .. } | Standing::AtGateway { .. }
        );
        let maybe = cell.operation().may_have_acted || matches!(cell.operation().standing, Standing::Sent { .. });
        if doubtful && maybe && matches!(cell.input, Input::Due | Input::Resume | Input::Inquire | Input::Pay { .. }) {
            assert!(!cell.after.is_settled(), "{:?} {:?}", cell.before, cell.input);
        }
    });
}

#[test]
fn a_told_answer_never_changes() {
    each_cell(|cell| {
        if !cell.before.is_settled() {
            return;
        }
        assert_eq!(cell.after.state(), cell.before.state());
        assert_eq!(cell.after.settled_at, cell.before.settled_at);
        let (before, after) = (cell.operation().reply(), cell.after.operations[0].reply());
        assert_eq!(before, after);
    });
}

#[test]
fn an_answer_of_not_found_never_declines_or_cancels() {
    each_cell(|cell| {
        if matches!(cell.input, Input::Answered { outcome: Outcome::NotFound | Outcome::Unknown(_), .. }) {
            assert!(cell.before.is_settled() || !cell.after.is_settled());
        }
    });
}

#[test]
fn the_end_of_an_earlier_attempt_says_nothing_of_the_one_under_way() {
    each_cell(|cell| {
        let sent = matches!(cell.operation().standing, Standing::Sent { .. });
        if sent && matches!(cell.input, Input::Ended { attempt: EARLIER, .. }) {
            assert_eq!(cell.after, cell.before, "{:?}", cell.input);
        }
    });
}

#[test]
fn another_gateway_is_never_called_about_an_operation() {
    each_cell(|cell| {
        let (actions, _) = cell.decision.clone().release();
        assert!(actions.is_empty() || cell.rules.contract.identity == cell.operation().gateway);
    });
}

#[test]
fn news_against_what_was_told_is_recorded_and_rewrites_nothing() {
    let mut contradictions = 0;
    each_cell(|cell| {
        for fact in &cell.decision.facts {
            if let Fact::Contradicted { outcome, evidence, .. } = fact {
                assert!(cell.before.is_settled());
                assert!(matches!(outcome, Outcome::Succeeded(_) | Outcome::Declined(_, _)));
                assert!(matches!(evidence, Evidence::Inquiry | Evidence::Reply));
                contradictions += 1;
            }
        }
    });
    assert!(contradictions > 0);
}
