//! A recorded history, decided again: does today's table agree with what was once decided?
//!
//! The journal holds facts, not what led to them, nor how far a chase had come. So for each fact this looks for an input
//! that today's [`decide`] answers with it, given the payment as it was; and what else that decision proposes has to be
//! what was recorded next. Times that follow from a contract are not compared: the contract may have been another.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
};

use crate::{
    engine::OpenError,
    journal::{Found, Lsn, Record, ReplayFrom},
    payment::{
        Cause, Clock, Contract, Distrust, Encoder, Event, Evidence, Fact, FollowUp, IdempotencyKey, Identity, Input,
        Kind, Late, Manner, Now, Order, Outcome, Payment, PaymentId, Person, Policies, Pursuit, Reply, Resolution,
        Route, Rules, Tenant, Tick, Timestamp, Verdict, apply, decide, doubt,
    },
};

/// What was found.
#[derive(Debug, Default)]
pub struct History {
    /// How many records were read.
    pub records: u64,
    /// How many facts were decided again.
    pub facts: u64,
    /// Where today's table would have decided otherwise.
    pub disagreements: Vec<Disagreement>,
    /// Every order in it that was not erased, to be lived again.
    pub orders: Vec<(Tenant, IdempotencyKey, Arc<Order>)>,
}

/// A fact that today's table does not decide.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Disagreement {
    /// Where it stands.
    pub lsn: Lsn,
    /// About which payment.
    pub payment: PaymentId,
    /// What was recorded, and what would be now.
    pub what: String,
}

/// Reads a journal from its beginning and decides it again. Changes nothing.
pub fn decide_again(found: &Found, rules: &Rules) -> Result<History, OpenError> {
    let mut judge = Judge { rules, payments: BTreeMap::new(), history: History::default() };
    found.replay(ReplayFrom::Beginning, &mut |lsn, _, record| judge.take(lsn, record))?;
    Ok(judge.history)
}

/// A payment as far as it was read.
#[derive(Default)]
struct Known {
    payment: Option<Payment>,
    /// What the last decision proposed that has not been read yet.
    next: VecDeque<Fact>,
    /// Accepted, and what for is in the next fact.
    accepted: Option<(Fact, Timestamp)>,
}

struct Judge<'a> {
    rules: &'a Rules,
    payments: BTreeMap<PaymentId, Known>,
    history: History,
}

impl Judge<'_> {
    fn take(&mut self, lsn: Lsn, record: Record) -> Result<(), OpenError> {
        self.history.records += 1;
        match record {
            Record::Event(event) => self.judge(lsn, &event),
            Record::Carried(payment) => {
                let (id, order) = (payment.id, (payment.tenant.clone(), payment.key.clone(), payment.order.clone()));
                let known = Known { payment: Some(*payment), ..Known::default() };
                // Its acceptance may stand only where a later start has recorded it again.
                if self.payments.insert(id, known).is_none() && !order.2.erased {
                    self.history.orders.push(order);
                }
            }
            // For the feed, and for the journal's own sake.
            Record::Relogged(_)
            | Record::Inbox(_)
            | Record::Audit(_)
            | Record::Opened(_)
            | Record::Checkpoint(_)
            | Record::Closed(_) => {}
        }
        Ok(())
    }

    fn judge(&mut self, lsn: Lsn, event: &Event) {
        self.history.facts += 1;
        let known = self.payments.entry(event.payment).or_default();
        if let Fact::Accepted { tenant, key, order, .. } = &event.fact
            && !order.erased
        {
            self.history.orders.push((tenant.clone(), key.clone(), order.clone()));
        }
        let agreed = match known.next.pop_front() {
            Some(expected) if same(&expected, &event.fact) => Ok(VecDeque::new()),
            Some(expected) => Err(format!("{} would follow", expected.name())),
            None => decided(known, event, self.rules),
        };
        let folded = apply(&mut known.payment, event).map_err(|misfit| misfit.to_string());
        match agreed.and_then(|next| folded.map(|()| next)) {
            Ok(next) => known.next.extend(next),
            Err(why) => {
                known.next.clear();
                let what = format!("{} was recorded; {why}", event.fact.name());
                self.history.disagreements.push(Disagreement { lsn, payment: event.payment, what });
            }
        }
    }
}

/// What has to follow the fact, if some input leads to it today; otherwise what does not fit.
fn decided(known: &mut Known, event: &Event, rules: &Rules) -> Result<VecDeque<Fact>, String> {
    if let Fact::Accepted { .. } = event.fact {
        known.accepted = Some((event.fact.clone(), event.at));
        return Ok(VecDeque::new());
    }
    if let Some((accepted, at)) = known.accepted.take() {
        return first_decision(&accepted, at, event, rules);
    }
    let Some(payment) = &known.payment else { return Err("nothing was known of it".to_owned()) };
    let mut doubts = [Distrust::Folder, Distrust::Clock].into_iter().flat_map(|distrust| doubt(payment, distrust));
    if doubts.any(|fact| same(&fact, &event.fact)) {
        return Ok(VecDeque::new());
    }
    let mut would = Vec::new();
    let intended = follow_ups(payment, &event.fact, rules);
    for (input, pursuit, rules) in intended.into_iter().chain(inputs(payment, &event.fact, rules)) {
        let pursuits = vec![pursuit; payment.operations.len()];
        let mut facts: VecDeque<Fact> = decide(Some(payment), &pursuits, &input, &now(event.at), &rules).facts.into();
        match facts.pop_front() {
            Some(first) if same(&first, &event.fact) => return Ok(facts),
            Some(first) => would.push(first.name()),
            None => {}
        }
    }
    would.dedup();
    Err(if would.is_empty() {
        "today nothing leads to it".to_owned()
    } else {
        format!("today: {}", would.join(" or "))
    })
}

/// Acceptance: the order is in one fact and the frozen bytes are in the next.
fn first_decision(accepted: &Fact, at: Timestamp, event: &Event, rules: &Rules) -> Result<VecDeque<Fact>, String> {
    let Fact::Accepted { tenant, key, namespace, order } = accepted else { return Ok(VecDeque::new()) };
    let Fact::Intended { gateway, request, .. } = &event.fact else { return Err("intended would follow".to_owned()) };
    let mut rules = Rules { namespace: namespace.clone(), sending: true, ..rules.clone() };
    rules.contract.identity = gateway.clone();
    let (request, manner) = (Ok(request.clone()), Manner::default());
    let input = Input::Pay { tenant: tenant.clone(), key: key.clone(), order: order.clone(), request, manner };
    let mut facts: VecDeque<Fact> = decide(None, &[], &input, &now(at), &rules).facts.into();
    match (facts.pop_front(), facts.pop_front()) {
        (Some(first), Some(second)) if same(&first, accepted) && same(&second, &event.fact) => Ok(facts),
        _ => Err("today the same order is accepted otherwise".to_owned()),
    }
}

/// The times of an input: long after everything, so that whatever waits is ripe.
const RIPE: Tick = Tick::from_millis(u64::MAX / 4);

const fn now(wall: Timestamp) -> Now {
    Now { wall, tick: RIPE, clock: Clock::Trusted }
}

/// Inputs that may have led to a fact, with the chase as far as it then must have been, at the gateway that it is about.
fn inputs(payment: &Payment, fact: &Fact, rules: &Rules) -> Vec<(Input, Pursuit, Rules)> {
    let wanted = fact.operation().map_or(0, |operation| operation.number);
    let found = payment.operations.iter().find(|operation| operation.this.number == wanted);
    let Some(operation) = found else { return Vec::new() };
    let mut ours = Rules { sending: true, ..rules.clone() };
    ours.contract.identity = operation.gateway.clone();
    let mut elsewhere = ours.clone();
    let identity = &mut elsewhere.contract.identity;
    identity.account = format!("{}?", identity.account).into();
    let mut without_refunds = ours.clone();
    without_refunds.policies.late_void = Late::Adopt;
    let (number, attempt) = (operation.this.number, operation.attempts);
    let ended = |outcome: &Outcome| Input::Ended { operation: number, attempt, outcome: outcome.clone() };
    let answered = |outcome: &Outcome| Input::Answered { operation: number, asked: RIPE, outcome: outcome.clone() };
    let resolve = |verdict, reply: Option<&Reply>, person: &Person| {
        Input::Resolve(Resolution { operation: Some(number), verdict, reply: reply.cloned(), person: person.clone() })
    };
    let ripe = Pursuit::default();
    let proven = |times: u32| Pursuit { not_founds: times.saturating_sub(1), ..ripe };
    let plain = |input| vec![(input, ripe, ours.clone())];
    match fact {
        Fact::AttemptStarted { cause, .. } => match cause {
            Cause::First | Cause::NothingHappened | Cause::SameKey => {
                vec![(Input::Due, ripe, ours.clone()), (Input::Resume, ripe, ours.clone())]
            }
            Cause::ProvenNotFound { times } => vec![(answered(&Outcome::NotFound), proven(*times), ours)],
            Cause::Person(person) => {
                vec![(resolve(Verdict::Resend, None, person), Pursuit { not_founds: u32::MAX, ..ripe }, ours)]
            }
        },
        Fact::AttemptEnded { outcome, evidence, .. } => match evidence {
            Evidence::NoByteLeft | Evidence::Reply => plain(ended(outcome)),
            Evidence::Stopped => plain(Input::Resume),
            Evidence::Inquiry | Evidence::Webhook | Evidence::Person(_) => Vec::new(),
        },
        Fact::Learned { outcome, evidence: Evidence::Person(person), .. } => {
            let verdict = if matches!(outcome, Outcome::Succeeded(_)) { Verdict::Succeeded } else { Verdict::Declined };
            plain(resolve(verdict, outcome.reply(), person))
        }
        Fact::Learned { outcome, .. } | Fact::Contradicted { outcome, .. } => {
            [ended(outcome), answered(outcome)].map(|input| (input, ripe, ours.clone())).to_vec()
        }
        Fact::Parked { .. } => [answered(&Outcome::NotFound), Input::Due, Input::Resume]
            .into_iter()
            .flat_map(|input| [&ours, &elsewhere].map(|rules| (input.clone(), proven(u32::MAX), rules.clone())))
            .collect(),
        Fact::Canceled { .. } => vec![
            (Input::Due, ripe, without_refunds),
            (Input::Due, ripe, ours.clone()),
            (Input::Resume, ripe, ours.clone()),
            (resolve(Verdict::Cancel, None, &Person { actor: String::new(), reason: String::new() }), ripe, ours),
        ],
        Fact::WindowClosed { .. } => vec![(answered(&Outcome::NotFound), ripe, ours.clone()), (Input::Due, ripe, ours)],
        Fact::Unparked { .. } => plain(Input::Resume),
        Fact::Rerouted { gateway, request, .. } => vec![(Input::Due, ripe, with_another(ours, gateway, request))],
        Fact::Accepted { .. } | Fact::Intended { .. } | Fact::Prepared { .. } => Vec::new(),
    }
}

/// The rules of a gateway that does not answer, beside another that takes these bytes.
fn with_another(ours: Rules, gateway: &Identity, request: &[u8]) -> Rules {
    let frozen = request.to_vec();
    let there = Contract { identity: gateway.clone(), ..ours.contract.clone() };
    let shut = Route { shut: true, ..Route::new("here", ours.contract.clone(), ours.encoder.clone()) };
    let other = Route::new("there", there, Encoder::new(move |_| Ok(frozen.clone())));
    Rules { routes: Arc::new(vec![shut, other]), ..ours }
}

/// Inputs that may have led to another operation, whose bytes are then those that were recorded.
fn follow_ups(payment: &Payment, fact: &Fact, rules: &Rules) -> Vec<(Input, Pursuit, Rules)> {
    let Fact::Intended { operation, key, gateway, request, .. } = fact else { return Vec::new() };
    let frozen = request.clone();
    let encoder = Encoder::new(move |_| Ok(frozen.clone()));
    let policies = Policies { late_success: Late::Refund, late_void: Late::Refund };
    let mut rules = Rules { sending: true, encoder, policies, ..rules.clone() };
    rules.contract.identity = gateway.clone();
    let follow_up = match operation.kind {
        Kind::Charge | Kind::Authorize => return Vec::new(),
        Kind::Capture => FollowUp::Capture(Some(operation.amount)),
        Kind::Void => FollowUp::Void,
        Kind::Refund => FollowUp::Refund(Some(operation.amount)),
    };
    let asked = Input::Operate { tenant: payment.tenant.clone(), key: key.clone(), follow_up };
    // The first operation may be called about just now: then a void waits.
    let calling = Pursuit { calling: true, ..Pursuit::default() };
    [(asked.clone(), Pursuit::default()), (asked, calling), (Input::Due, Pursuit::default())]
        .map(|(input, pursuit)| (input, pursuit, rules.clone()))
        .to_vec()
}

/// Whether two facts are one, but for times that follow from the contract, and for what a person wrote.
fn same(one: &Fact, other: &Fact) -> bool {
    bare(one) == bare(other)
}

fn bare(fact: &Fact) -> Fact {
    let mut fact = fact.clone();
    match &mut fact {
        Fact::AttemptStarted { not_after, .. } => *not_after = Timestamp::default(),
        Fact::Learned { open_until, .. } => *open_until = None,
        Fact::Canceled { reply, .. } => *reply = Reply::new(reply.code(), ""),
        Fact::Accepted { .. }
        | Fact::Intended { .. }
        | Fact::Rerouted { .. }
        | Fact::Prepared { .. }
        | Fact::AttemptEnded { .. }
        | Fact::Parked { .. }
        | Fact::Unparked { .. }
        | Fact::Contradicted { .. }
        | Fact::WindowClosed { .. } => {}
    }
    fact
}
