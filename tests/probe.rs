//! The conformance kit: three gateways with three different true contracts, and a liar for every check.
#![allow(missing_docs, clippy::expect_used, clippy::wildcard_enum_match_arm, reason = "tests")]

use std::{
    collections::{HashMap, HashSet},
    sync::{Mutex, MutexGuard},
    time::{Duration, Instant},
};

use payonce::{
    Amount, Currency, IdempotencyKey, Invalid, Order,
    gateway::{
        Answer, Asked, Gateway, Question, Sending, apply_override,
        probe::{Certainty, Check, Origin, Plan, Probe, Report},
        sandbox::{Fault, Faults, Sandbox, SandboxGateway},
    },
    payment::{Contract, Deduplication, Finality, Identity, Inquiry, Lasting, OperationKey, Outcome, Reply},
};

/// A call that is to end sooner than this is one that the probe gives up on: its reply is lost.
const PATIENT: Duration = Duration::from_secs(1);

/// In which way a bank is not what it declares to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Lie {
    None,
    /// Notices no repeat.
    Forgets,
    /// Looks the key up, and only later remembers it.
    Races,
    /// Executes what has these words in it, under a key that it has seen without them.
    Executes(&'static str),
    /// Passes the first outcome off as that of whatever comes under the same key.
    PassesOff,
    /// Declines what it has done before.
    DeclinesRepeats,
    /// Says "declined" of what it has never seen.
    DeclinesTheUnknown,
    /// Never finds anything.
    FindsNothing,
    /// Never answers an inquiry so that it could be understood.
    Mute,
    /// Says "declined" of what succeeded.
    ForgetsSuccess,
    /// Says "not found" for this long.
    Lags(Duration),
    /// Finds it, loses it for three askings, and finds it again.
    LosesAgain,
    /// Has no name for what it did.
    Nameless,
    /// Acts this much later on what was given up on.
    ActsLate(Duration),
    /// Acts twice on what was given up on and comes again.
    ActsTwiceOnLost,
    /// Sends after the deadline.
    SendsTooLate,
    /// Says "not sent" of what it has sent.
    HidesSending,
    /// Its declines turn when they are repeated.
    DeclinesTurn,
    /// Its declines are soft.
    SoftDeclines,
    /// Not one byte gets there.
    Unreachable,
    /// Declines everybody.
    DeclinesAll,
    /// Its adapter never ends.
    NeverEnds,
}

/// What a bank has done under one key.
struct Done {
    /// Everything that was asked, as text.
    request: Vec<u8>,
    reference: String,
    declined: bool,
    movements: u64,
    /// Not found before this.
    known_from: Instant,
    /// How often it was asked about.
    asked: u32,
    /// Its reply was lost.
    lost: bool,
}

/// A bank in memory: deduplicates by key, can be asked, and has no lag; but for one lie.
struct Bank {
    lie: Lie,
    contract: Contract,
    done: Mutex<HashMap<OperationKey, Done>>,
}

impl Bank {
    fn new(lie: Lie) -> Bank {
        let identity = Identity { name: "bank".into(), ..Identity::default() };
        let contract = Contract {
            inquiry: Inquiry::ByKey { not_found_lag: Duration::ZERO, not_found_times: 3 },
            max_processing: Duration::from_millis(10),
            deadline: if lie == Lie::NeverEnds { Duration::from_millis(1) } else { PATIENT * 10 },
            ..Contract::standard(identity)
        };
        Bank { lie, contract, done: Mutex::default() }
    }

    fn done(&self) -> MutexGuard<'_, HashMap<OperationKey, Done>> {
        self.done.lock().expect("no test panics while it holds it")
    }

    fn movements(&self, key: OperationKey) -> u64 {
        self.done().get(&key).map_or(0, |done| done.movements)
    }

    fn take(&self, sending: &Sending) -> Outcome {
        let now = Instant::now();
        let (too_late, lost) = (now >= sending.deadline, now + PATIENT > sending.deadline);
        if too_late && !matches!(self.lie, Lie::SendsTooLate | Lie::HidesSending) {
            return Outcome::NotSent(Reply::new("deadline", "too late"));
        }
        let outcome = self.act(sending, lost && !too_late);
        if self.lie == Lie::HidesSending && too_late {
            Outcome::NotSent(Reply::new("deadline", "too late"))
        } else if lost && !too_late {
            Outcome::Unknown(Reply::new("timeout", "no reply came"))
        } else {
            outcome
        }
    }

    fn act(&self, sending: &Sending, lost: bool) -> Outcome {
        let mut all = self.done();
        let number = all.values().map(|done| done.movements + 1).sum::<u64>();
        if let Some(done) = all.get_mut(&sending.operation_key) {
            return self.again(done, sending, number);
        }
        let late = match self.lie {
            Lie::Lags(lag) => Some(lag),
            Lie::ActsLate(late) => Some(late).filter(|_| lost),
            _ => None,
        };
        let (request, reference) = (sending.request.clone(), format!("bank_{number}"));
        let declined = self.lie == Lie::DeclinesAll || has(&request, "acct_decline");
        let (movements, known_from) = (u64::from(!declined), Instant::now() + late.unwrap_or_default());
        let done = Done { request, reference, declined, movements, known_from, asked: 0, lost };
        let outcome = self.outcome(&done);
        all.insert(sending.operation_key, done);
        outcome
    }

    fn again(&self, done: &mut Done, sending: &Sending, number: u64) -> Outcome {
        let other = done.request != sending.request;
        let moves = match self.lie {
            Lie::Forgets | Lie::Races => !done.declined,
            Lie::Executes(words) => has(&sending.request, words) && !has(&done.request, words),
            Lie::ActsTwiceOnLost => done.lost,
            Lie::DeclinesTurn => done.declined,
            _ => false,
        };
        if moves {
            (done.declined, done.movements) = (false, done.movements + 1);
            done.reference = format!("bank_{number}");
        } else if self.lie == Lie::DeclinesRepeats {
            return Outcome::Declined(Finality::Hard, Reply::new("duplicate", "seen before"));
        } else if other && self.lie != Lie::PassesOff {
            return Outcome::Refused(Lasting::ForGood, Reply::new("conflict", "this key was used before"));
        }
        self.outcome(done)
    }

    fn outcome(&self, done: &Done) -> Outcome {
        let finality = if self.lie == Lie::SoftDeclines { Finality::Soft } else { Finality::Hard };
        match done.declined {
            true => Outcome::Declined(finality, Reply::new("declined", "no")),
            false if self.lie == Lie::Nameless => Outcome::Succeeded(Reply::new("ok", "done")),
            false => Outcome::Succeeded(Reply::new("ok", "done").with_reference(&done.reference)),
        }
    }
}

fn has(request: &[u8], words: &str) -> bool {
    String::from_utf8_lossy(request).contains(words)
}

impl Gateway for Bank {
    fn contract(&self) -> &Contract {
        &self.contract
    }

    fn encode(&self, asked: &Asked<'_>) -> Result<Vec<u8>, Invalid> {
        let Order { currency, source, destination, .. } = asked.order;
        Ok(format!("{} {} {currency} {source} {destination}", asked.operation_key, asked.amount).into_bytes())
    }

    fn send(&self, sending: Sending) -> Answer<'_> {
        Box::pin(async move {
            let seen = self.done().contains_key(&sending.operation_key);
            match self.lie {
                Lie::Unreachable => return Outcome::NotSent(Reply::new("unreachable", "nobody is there")),
                Lie::NeverEnds => std::future::pending().await,
                // Whoever else is under way looks it up now.
                Lie::Races => tokio::task::yield_now().await,
                _ => {}
            }
            if self.lie == Lie::Races && seen {
                return self.done().get(&sending.operation_key).map(|done| self.outcome(done)).expect("seen");
            }
            self.take(&sending)
        })
    }

    fn inquire(&self, question: Question) -> Answer<'_> {
        Box::pin(async move {
            let no = Outcome::Declined(Finality::Hard, Reply::new("no", "no"));
            let mut all = self.done();
            let done = all.get_mut(&question.operation_key);
            let asked = done.map_or(0, |done| {
                done.asked += 1;
                done.asked
            });
            match (self.lie, all.get(&question.operation_key)) {
                (Lie::DeclinesTheUnknown, None) | (Lie::ForgetsSuccess, Some(_)) => no,
                (Lie::Mute, _) => Outcome::Unknown(Reply::new("unexpected_status", "a page about a path")),
                (Lie::FindsNothing, _) | (_, None) => Outcome::NotFound,
                (Lie::LosesAgain, Some(_)) if (2..=4).contains(&asked) => Outcome::NotFound,
                (_, Some(done)) if Instant::now() < done.known_from => Outcome::NotFound,
                (_, Some(done)) => self.outcome(done),
            }
        })
    }
}

fn plan() -> Plan {
    let (amount, currency) = (Amount::new(100).expect("legal"), Currency::new("USD").expect("legal"));
    let order = Order::new(amount, currency, "acct_alice", "acct_bob").expect("legal");
    let mut plan = Plan::new(IdempotencyKey::new("run-1").expect("legal"), order);
    plan.declining_source = Some("acct_decline_carol".to_owned());
    plan
}

async fn probed(lie: Lie, witnessed: bool) -> Report {
    let bank = Bank::new(lie);
    let mut plan = plan();
    if matches!(lie, Lie::FindsNothing | Lie::Mute) {
        // It is in vain.
        plan.patience = Duration::from_millis(100);
    }
    let most = plan.most_sendings();
    let probe = Probe::new(&bank, plan);
    let probe = if witnessed { probe.with_witness(|key| bank.movements(key)) } else { probe };
    let report = probe.run().await.expect("a bank in memory is reached");
    assert!(report.sendings <= most, "{} sendings", report.sendings);
    report
}

async fn sandbox(faults: Faults, contract: &[&str]) -> Report {
    let gateway = SandboxGateway::new(Sandbox::in_memory(1, faults));
    let mut declared = gateway.contract().clone();
    contract.iter().for_each(|pair| apply_override(&mut declared, pair).expect("an override"));
    let gateway = gateway.with_contract(declared);
    let movements = |key| gateway.sandbox().statement(0, 1_000).iter().filter(|one| one.operation_key == key).count();
    let witness = |key| u64::try_from(movements(key)).expect("few");
    Probe::new(&gateway, plan()).with_witness(witness).run().await.expect("reached")
}

fn contradicted(report: &Report) -> Vec<Check> {
    report.contradictions().map(|finding| finding.check).collect()
}

fn value<'a>(report: &'a Report, name: &str) -> (&'a str, Origin) {
    let field = report.fields.iter().find(|field| field.name == name).expect("a field of the contract");
    (&field.value, field.origin)
}

fn forget() -> Faults {
    Faults::none().with(Fault::Forget, 1.0).expect("a probability")
}

#[tokio::test]
async fn an_honest_gateway_is_contradicted_in_nothing_and_promised_nothing_new() {
    let report = sandbox(Faults::none(), &[]).await;
    assert_eq!(contradicted(&report), [], "{report}");
    assert_eq!(report.contract, report.declared);
    assert_eq!(report.certainty(Check::Charge), Certainty::Shown);
    assert_eq!(report.certainty(Check::SameKeyAtOnce), Certainty::NotContradicted);
    assert_eq!(report.certainty(Check::KeyLifetime), Certainty::NotMeasured);
    assert_eq!(value(&report, "dedup"), ("24h", Origin::NotContradicted));
    assert_eq!(value(&report, "park_after"), ("24h", Origin::Declared));
}

#[tokio::test]
async fn an_honest_bank_is_contradicted_in_nothing_with_and_without_a_witness() {
    for witnessed in [true, false] {
        let report = probed(Lie::None, witnessed).await;
        let measured = report.findings.iter().filter(|one| one.certainty != Certainty::NotMeasured).count();
        assert_eq!((contradicted(&report), measured), (vec![], Check::ALL.len() - 1), "{report}");
        assert_eq!(report.contract, report.declared);
    }
}

#[tokio::test]
async fn a_gateway_that_notices_no_repeat_is_found_out() {
    let report = sandbox(forget(), &[]).await;
    assert_eq!(contradicted(&report), [Check::SameKeyAgain], "{report}");
    assert_eq!(report.contract, Contract { deduplication: Deduplication::None, ..report.declared.clone() });
    assert_eq!(value(&report, "dedup"), ("none", Origin::Measured));
    assert_eq!(report.certainty(Check::OtherAmount), Certainty::NotMeasured, "not charged for what is known");
}

#[tokio::test]
async fn a_gateway_that_declares_to_notice_no_repeat_is_shown_to_speak_the_truth() {
    let report = sandbox(forget(), &["dedup=none"]).await;
    assert_eq!(contradicted(&report), [], "{report}");
    assert_eq!(report.certainty(Check::SameKeyAgain), Certainty::Shown);
    assert_eq!(value(&report, "dedup"), ("none", Origin::Measured));
}

#[tokio::test]
async fn a_gateway_that_deduplicates_undeclared_is_still_not_relied_on() {
    let report = sandbox(Faults::none(), &["dedup=none", "inquiry=no"]).await;
    assert_eq!(contradicted(&report), [], "{report}");
    assert_eq!(report.contract, report.declared);
    assert_eq!(report.certainty(Check::SameKeyAgain), Certainty::NotContradicted);
    assert_eq!(report.certainty(Check::Inquiry), Certainty::NotMeasured);
}

#[tokio::test]
async fn a_lag_that_was_not_declared_is_measured() {
    let lag = Duration::from_millis(300);
    let report = probed(Lie::Lags(lag), true).await;
    assert_eq!(contradicted(&report), [Check::NotFoundLag], "its lag alone: {report}");
    let Inquiry::ByKey { not_found_lag, .. } = report.contract.inquiry else { panic!("it can still be asked") };
    assert!(not_found_lag >= lag, "{not_found_lag:?} would not cover it");
    assert_eq!(value(&report, "not_found_lag").1, Origin::Measured);
    assert_eq!(report.contract.deduplication, report.declared.deduplication);
}

#[tokio::test]
async fn what_acts_later_than_declared_is_measured() {
    let late = PATIENT;
    let report = probed(Lie::ActsLate(late), true).await;
    assert_eq!(contradicted(&report), [Check::ReplyLost], "{report}");
    assert!(report.contract.max_processing >= late, "{:?} would not cover it", report.contract.max_processing);
    assert_eq!(value(&report, "max_processing").1, Origin::Measured);
}

#[tokio::test]
async fn every_lie_is_found_out_by_its_own_check_and_costs_its_own_promise() {
    type What = fn(&Contract) -> Contract;
    let none: What = |contract| Contract { deduplication: Deduplication::None, ..contract.clone() };
    let unaskable: What = |contract| Contract { inquiry: Inquiry::None, ..contract.clone() };
    let kept: What = Contract::clone;
    let lies: [(Lie, &[Check], What); 16] = [
        (Lie::Forgets, &[Check::SameKeyAgain], none),
        (Lie::Races, &[Check::SameKeyAtOnce], none),
        (Lie::Executes(" 101 USD"), &[Check::OtherAmount], none),
        (Lie::Executes(" EUR "), &[Check::OtherCurrency], none),
        (Lie::Executes(" acct_bob_other"), &[Check::OtherDestination], none),
        // Where the money went, no reply says: the same outcome for another payee is the old one, told again.
        (Lie::PassesOff, &[Check::OtherAmount, Check::OtherCurrency], kept),
        (Lie::DeclinesRepeats, &[Check::SameKeyAgain], none),
        (Lie::DeclinesTheUnknown, &[Check::NeverSent], unaskable),
        (Lie::FindsNothing, &[Check::Inquiry], unaskable),
        (Lie::Mute, &[Check::Inquiry], unaskable),
        (Lie::ForgetsSuccess, &[Check::Inquiry], unaskable),
        (Lie::ActsTwiceOnLost, &[Check::ReplyLost], none),
        (Lie::SendsTooLate, &[Check::NotSent], kept),
        (Lie::HidesSending, &[Check::NotSent], kept),
        (Lie::DeclinesTurn, &[Check::Declined], none),
        (Lie::SoftDeclines, &[Check::Declined], kept),
    ];
    for check in Check::ALL {
        // A charge that does not work contradicts nothing, lifetimes are not measured, and lags have their own test.
        let exempt = [Check::Charge, Check::KeyLifetime, Check::NotFoundLag].contains(&check);
        assert!(exempt || lies.iter().any(|(_, checks, _)| checks.contains(&check)), "nothing can fail {check:?}");
    }
    // All at once: what takes time is waiting between askings.
    let under_way = lies.map(|(lie, checks, contract)| {
        let probes = async move { tokio::join!(probed(lie, true), probed(lie, false)) };
        (lie, checks, contract, tokio::spawn(probes))
    });
    for (lie, checks, contract, probes) in under_way {
        let (witnessed, unwitnessed) = probes.await.expect("ends");
        for report in [witnessed, unwitnessed] {
            assert_eq!(contradicted(&report), checks, "{lie:?}\n{report}");
            assert_eq!(report.contract, contract(&report.declared), "{lie:?}\n{report}");
        }
    }
}

#[tokio::test]
async fn what_is_lost_again_after_it_was_found_must_be_asked_for_more_often() {
    let report = probed(Lie::LosesAgain, true).await;
    assert!(contradicted(&report).contains(&Check::NotFoundLag), "{report}");
    assert_eq!(value(&report, "not_found_times"), ("4", Origin::Measured));
}

#[tokio::test]
async fn without_references_or_a_witness_nothing_is_claimed_about_repeats() {
    let blind = probed(Lie::Nameless, false).await;
    assert_eq!(blind.certainty(Check::SameKeyAgain), Certainty::NotMeasured, "{blind}");
    assert_eq!(blind.certainty(Check::SameKeyAtOnce), Certainty::NotMeasured, "{blind}");
    let seen = probed(Lie::Nameless, true).await;
    assert_eq!(seen.certainty(Check::SameKeyAgain), Certainty::NotContradicted, "{seen}");
}

#[tokio::test]
async fn where_no_charge_works_nothing_is_measured_and_nothing_claimed() {
    for lie in [Lie::DeclinesAll, Lie::NeverEnds] {
        let report = probed(lie, true).await;
        assert!(!report.measured(), "{report}");
        assert!(report.findings.iter().all(|finding| finding.certainty == Certainty::NotMeasured), "{report}");
        assert_eq!((report.contract, report.findings.len()), (report.declared, Check::ALL.len()));
    }
    let unreached = Probe::new(&Bank::new(Lie::Unreachable), plan()).run().await;
    assert!(unreached.is_err_and(|why| why.to_string().contains("nobody is there")));
}

#[tokio::test]
async fn two_runs_of_different_names_never_share_a_key_and_one_of_the_same_name_always_does() {
    let keys = async |run| {
        let (bank, run) = (Bank::new(Lie::None), IdempotencyKey::new(run).expect("legal"));
        Probe::new(&bank, Plan { run, ..plan() }).run().await.expect("reached");
        let keys: HashSet<OperationKey> = bank.done().keys().copied().collect();
        keys
    };
    let first = keys("run-1").await;
    assert!(first.is_disjoint(&keys("run-2").await));
    assert!(!first.is_disjoint(&keys("run-1").await));
}
