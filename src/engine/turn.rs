//! The one path: load, decide, record, apply, release.

use std::{
    collections::{HashMap, hash_map},
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    time::Duration,
};

use super::{Machine, OUTCOME_RESERVE, Resting, Stopped, Unread, guard, overlay::Entry, read};
use crate::{
    journal::{Lsn, Record},
    payment::{
        Action, Decision, Event, FollowUp, Input, Misfit, Now, Payment, PaymentId, Pursuit, Response, Standing, State,
        Tick, apply, decide, park_for_defect,
    },
};

/// What a turn may begin. Time and capacity are arguments.
#[derive(Clone, Debug)]
pub struct Admission {
    /// How many new payments may be sent to each gateway, by the places of their routes: each holds one call from its
    /// intent on. To a gateway that is not listed, none.
    pub new_payments: Vec<usize>,
}

impl Admission {
    /// So many, to the only gateway.
    pub fn of(new_payments: usize) -> Admission {
        Admission { new_payments: vec![new_payments] }
    }
}

/// What came of one input.
#[derive(Clone, Debug)]
pub enum Told {
    /// It was decided on.
    Decided {
        /// For those who asked.
        response: Option<Response>,
        /// The payment as it now is.
        payment: Option<Arc<Payment>>,
    },
    /// A new payment, and no gateway call is free: nothing was recorded, try it again later.
    NoCallFree {
        /// To which gateway: the place of its route.
        route: usize,
    },
    /// A new payment that looks like another of the last minutes: nothing was recorded; its caller may say that it is meant.
    PossibleDuplicate {
        /// That other one.
        of: PaymentId,
    },
    /// It would have to be sent to a gateway to which an operator has nothing sent: nothing was recorded.
    Paused,
    /// An operator has nothing new taken: nothing was recorded.
    Draining,
    /// A payment that is not in memory, and the disk is full: nothing was recorded.
    NoSpace,
    /// Deciding failed: a defect. Nothing was recorded, or what is unresolved was parked.
    Defect,
}

/// What may leave, now that everything behind it is durable.
#[derive(Debug, Default)]
pub struct Turned {
    /// One for each input, in order.
    pub told: Vec<Told>,
    /// For the gateway.
    pub actions: Vec<Action>,
    /// Payments that changed, for those who wait for them.
    pub changed: Vec<Arc<Payment>>,
    /// Payments that came to rest, for the store.
    pub resting: Vec<Resting>,
    /// What was recorded, for those who count.
    pub recorded: Recorded,
}

/// What a turn made durable, in numbers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recorded {
    /// How many facts of each name that there was.
    pub facts: Vec<(&'static str, u64)>,
    /// The payments whose answer became final: where each stands, and how long it took.
    pub settled: Vec<(State, Duration)>,
}

/// The payments that a turn is about, in the order in which its inputs name them.
#[derive(Default)]
struct Workings {
    list: Vec<Working>,
    places: HashMap<PaymentId, usize>,
    /// For each input, the place of its payment: who goes through the inputs need not look for it.
    of_inputs: Vec<usize>,
}

impl Workings {
    fn get(&self, id: &PaymentId) -> Option<&Working> {
        self.list.get(*self.places.get(id)?)
    }

    /// The payment that an input names, by the input's number.
    fn of(&self, input: usize) -> Option<&Working> {
        self.list.get(*self.of_inputs.get(input)?)
    }

    fn of_mut(&mut self, input: usize) -> Option<&mut Working> {
        self.list.get_mut(*self.of_inputs.get(input)?)
    }
}

/// A payment in the making: what the inputs of this turn, so far, make of it.
#[derive(Default)]
struct Working {
    /// As it was before this turn.
    before: Option<Arc<Payment>>,
    /// As the facts of this turn make it, once there is one; gone when it is published.
    draft: Option<Payment>,
    /// What was published of it.
    changed: Option<Arc<Payment>>,
    pursuits: Vec<Pursuit>,
    lsn: Lsn,
    /// The store is out of use, and what it may know of this payment with it.
    unreadable: bool,
}

impl Working {
    fn payment(&self) -> Option<&Payment> {
        self.draft.as_ref().or(self.before.as_deref())
    }

    fn fold(&mut self, event: &Event) -> Result<(), Misfit> {
        if self.draft.is_none() {
            self.draft = self.before.as_deref().cloned();
        }
        apply(&mut self.draft, event)
    }

    /// As everybody may see it from now on.
    fn published(&self) -> Option<&Arc<Payment>> {
        self.changed.as_ref().or(self.before.as_ref())
    }
}

/// What a turn may still begin, and the space that what it has begun will need.
struct Left {
    calls: Vec<usize>,
    planned: u64,
}

/// What one input led to.
enum Step {
    Decided(Decision),
    Refused(Told),
}

impl Machine {
    /// Decides about inputs in order, each on what those before it left; records it all with one write and one fsync;
    /// and only then lets anything leave. An error is final: nothing left, and nobody may be told anything.
    pub fn turn(&mut self, now: Now, inputs: &[(PaymentId, Input)], admit: Admission) -> Result<Turned, Stopped> {
        let now = Now { wall: now.wall.max(self.last_wall), ..now };
        // Also where nothing would be recorded: what follows from a disk that failed is not to be told.
        self.journal.check_running()?;
        let mut working = self.load(inputs)?;
        let mut left = Left { calls: admit.new_payments, planned: 0 };
        let (steps, groups) = self.decide_all(&now, inputs, &mut left, &mut working)?;
        let facts = names(&groups);
        self.record(&now, groups, left.planned, &mut working)?;
        let resting = self.publish(&mut working);
        let recorded = Recorded { facts, settled: settled(&working) };
        Ok(Turned { recorded, ..release(steps, &working, resting) })
    }

    /// Up to `limit` payments whose time has come, as inputs for a turn.
    pub fn due(&self, now: &Now, limit: usize) -> Vec<(PaymentId, Input)> {
        self.overlay.due(now, limit).into_iter().map(|id| (id, Input::Due)).collect()
    }

    /// When the next payment's time comes.
    pub fn next_due(&self) -> Option<Tick> {
        self.overlay.next_due()
    }

    /// Every payment that the inputs name, before anything is decided.
    fn load(&self, inputs: &[(PaymentId, Input)]) -> Result<Workings, Stopped> {
        let (mut list, mut places) = (Vec::with_capacity(inputs.len()), HashMap::with_capacity(inputs.len()));
        let mut of_inputs = Vec::with_capacity(inputs.len());
        for (id, _) in inputs {
            of_inputs.push(match places.entry(*id) {
                hash_map::Entry::Occupied(place) => *place.get(),
                hash_map::Entry::Vacant(vacant) => {
                    list.push(self.load_one(id)?);
                    *vacant.insert(list.len() - 1)
                }
            });
        }
        Ok(Workings { list, places, of_inputs })
    }

    fn load_one(&self, id: &PaymentId) -> Result<Working, Stopped> {
        if let Some(entry) = self.overlay.get(id) {
            let (before, pursuits) = (Some(entry.payment.clone()), entry.pursuits.clone());
            return Ok(Working { before, pursuits, lsn: entry.lsn, ..Working::default() });
        }
        let found = match read(self.store.as_ref(), self.seal.as_deref(), id) {
            Ok(found) => found,
            Err(Unread::OutOfUse(_)) => return Ok(Working { unreadable: true, ..Working::default() }),
            Err(Unread::Bad(stopped)) => return Err(stopped),
        };
        Ok(found.map_or_else(Working::default, |(payment, lsn)| Working {
            before: Some(Arc::new(payment)),
            lsn,
            ..Working::default()
        }))
    }

    /// Decides and folds, input by input. Returns what each led to, and what is to be recorded for each.
    fn decide_all(
        &mut self,
        now: &Now,
        inputs: &[(PaymentId, Input)],
        left: &mut Left,
        working: &mut Workings,
    ) -> Result<(Vec<Step>, Vec<Vec<Record>>), Stopped> {
        let mut steps = Vec::with_capacity(inputs.len());
        let mut groups = Vec::with_capacity(inputs.len());
        for number in 0..inputs.len() {
            // One of each for every input, whatever it led to: who goes through them counts on it.
            let (step, group) = self.decide_input(now, inputs, number, left, working)?;
            steps.push(step);
            groups.push(group);
        }
        Ok((steps, groups))
    }

    fn decide_input(
        &mut self,
        now: &Now,
        inputs: &[(PaymentId, Input)],
        number: usize,
        left: &mut Left,
        working: &mut Workings,
    ) -> Result<(Step, Vec<Record>), Stopped> {
        let refused = |told| Ok((Step::Refused(told), Vec::new()));
        let Some((id, input)) = inputs.get(number) else { return refused(Told::Defect) };
        let like = self.looks_like(now, id, input, working);
        let Some(work) = working.of_mut(number) else {
            return refused(Told::Defect); // All were loaded.
        };
        if let Some(of) = like.filter(|_| work.payment().is_none()) {
            return refused(Told::PossibleDuplicate { of });
        }
        if let Some(refusal) = self.refuse(now, work, input, left) {
            return refused(refusal);
        }
        let (step, facts) = match self.decide_one(now, input, work) {
            Ok(mut decision) => {
                work.pursuits = std::mem::take(&mut decision.pursuits);
                let facts = std::mem::take(&mut decision.facts);
                (Step::Decided(decision), facts)
            }
            Err(parking) => {
                let parked = self.after_defect(now, work);
                work.pursuits.iter_mut().for_each(|pursuit| *pursuit = parked);
                (Step::Refused(Told::Defect), parking)
            }
        };
        let mut group = Vec::with_capacity(facts.len());
        for fact in facts {
            let event = Event { payment: *id, at: now.wall, fact };
            if let Some(guard) = &mut self.guard {
                guard.note(event.at, *id, &event.fact);
            }
            work.fold(&event)?;
            group.push(Record::Event(event));
        }
        Ok((step, group))
    }

    /// Whether a new payment must wait for a gateway call, or for space to record what becomes of it.
    fn refuse(&mut self, now: &Now, work: &Working, input: &Input, left: &mut Left) -> Option<Told> {
        if work.unreadable {
            // It may be a payment that was made long ago: neither to be made again, nor to be denied.
            return Some(Told::NoSpace);
        }
        let (true, Some(size)) = (self.rules.at(0).sending, begun(input, work.payment())) else { return None };
        if self.draining {
            return Some(Told::Draining);
        }
        let route = self.route_of(input, work);
        if self.rules.at(route).is_paused() && !cancels_what_is_unsent(input, work.payment()) {
            return Some(Told::Paused);
        }
        if left.calls.get(route).is_none_or(|calls| *calls == 0) {
            return Some(Told::NoCallFree { route });
        }
        let whose =
            if let Input::Pay { tenant, .. } = input { Some(tenant) } else { work.payment().map(|one| &one.tenant) };
        if self.seal.as_ref().is_some_and(|seal| !seal.has_room_for(whose)) {
            return Some(Told::NoSpace);
        }
        // The rest of its records, and the batch around them, are below a kilobyte.
        let needed = u64::try_from(size).unwrap_or(u64::MAX).saturating_add(1024).saturating_add(OUTCOME_RESERVE);
        let wanted = self.reserved().saturating_add(left.planned).saturating_add(needed);
        if !self.has_room(wanted, now.wall) {
            return Some(Told::NoSpace);
        }
        if let Some(calls) = left.calls.get_mut(route) {
            *calls -= 1;
        }
        left.planned += needed;
        None
    }

    /// A panic while deciding is a defect: it parks what is unresolved of that payment, and nothing else suffers.
    fn decide_one(&self, now: &Now, input: &Input, work: &Working) -> Result<Decision, Vec<crate::payment::Fact>> {
        let rules = match work.payment() {
            Some(payment) => self.rules.of(payment),
            None => self.rules.at(self.route_of(input, work)),
        };
        let decided = catch_unwind(AssertUnwindSafe(|| decide(work.payment(), &work.pursuits, input, now, rules)));
        decided.map_err(|_| {
            tracing::error!(payment = ?work.payment().map(|p| p.id), input = input.name(), "deciding panicked: a defect");
            work.payment().map(park_for_defect).unwrap_or_default()
        })
    }

    /// A call may be under way that nobody waits for any more: "not found" is believed only once it is through.
    fn after_defect(&self, now: &Now, work: &Working) -> Pursuit {
        let rules = work.payment().map_or(self.rules.at(0), |payment| self.rules.of(payment));
        let quarantine = rules.schedule.believable_from(&rules.contract, now);
        Pursuit {
            due: now.tick.plus(rules.schedule.pause_parked),
            believable_from: quarantine.plus(rules.contract.deadline),
            heard: now.tick,
            ..Pursuit::default()
        }
    }

    /// Another payment of the last minutes that an input looks like, if money has moved for that one or may yet.
    fn looks_like(&self, now: &Now, id: &PaymentId, input: &Input, working: &Workings) -> Option<PaymentId> {
        let (tenant, order) = guard::is_unsaid(input)?;
        let other = self.guard.as_ref()?.like(now.wall, id, tenant, order)?;
        let counts = match working.get(&other).and_then(Working::payment) {
            Some(payment) => guard::counts(payment),
            // What cannot be read may count.
            None => self.get(&other).map_or(true, |payment| payment.is_none_or(|payment| guard::counts(&payment))),
        };
        counts.then_some(other)
    }

    /// The place of the gateway's route that an input concerns.
    fn route_of(&self, input: &Input, work: &Working) -> usize {
        let first = work.payment().and_then(Payment::first);
        match (first, input) {
            (Some(first), _) => self.rules.place_of(&first.gateway).unwrap_or_default(),
            (None, Input::Pay { manner, .. }) => manner.route,
            (None, _) => 0,
        }
    }

    /// Notes which gateways do not answer at present, by the places of their routes.
    pub fn note_shut(&mut self, is_shut: impl Fn(usize) -> bool) {
        self.rules.note_shut(is_shut);
    }

    /// One write, one fsync. Notes for each payment the last record about it.
    fn record(
        &mut self,
        now: &Now,
        groups: Vec<Vec<Record>>,
        planned: u64,
        working: &mut Workings,
    ) -> Result<(), Stopped> {
        if groups.iter().all(Vec::is_empty) {
            return Ok(());
        }
        let changed = working.list.iter().filter(|work| work.draft.is_some());
        let spoken_of = changed.filter_map(|work| Some((work.before.as_ref()?, work.lsn)));
        let copies = self.copies_first(spoken_of, planned, now.wall);
        let mut all: Vec<Vec<Record>> = copies.into_iter().map(|copy| vec![copy]).collect();
        let copied = all.len();
        all.extend(groups);
        let owner = |record: &Record| {
            let Record::Event(event) = record else { return None };
            working.get(&event.payment)?.payment().map(|payment| payment.tenant.clone())
        };
        let appended = self.journal.append_of(now.wall, &all, &owner)?;
        self.note(now.wall, &appended);
        let mut next = appended.first;
        for (place, group) in all.iter().enumerate() {
            next = next.plus(u64::try_from(group.len()).unwrap_or(u64::MAX));
            // What is to be recorded of an input is about its payment.
            if let Some(work) = place.checked_sub(copied).and_then(|number| working.of_mut(number))
                && !group.is_empty()
            {
                work.lsn = next.before();
            }
        }
        Ok(())
    }

    /// Publishes the working copies. Returns those that have come to rest.
    fn publish(&mut self, working: &mut Workings) -> Vec<Resting> {
        let mut resting = Vec::new();
        for work in &mut working.list {
            work.changed = work.draft.take().map(Arc::new);
            let Some(payment) = work.published().cloned() else { continue };
            if work.changed.is_none() && self.overlay.get(&payment.id).is_none() {
                continue; // At rest in the store, and looked at only.
            }
            if work.changed.is_some() && payment.is_at_rest() {
                resting.push(self.resting(work.lsn, payment.clone()));
            }
            self.overlay.put(Entry { payment, pursuits: std::mem::take(&mut work.pursuits), lsn: work.lsn });
        }
        resting
    }
}

/// Everything behind it is durable: let it go.
fn release(steps: Vec<Step>, working: &Workings, resting: Vec<Resting>) -> Turned {
    let mut turned = Turned { resting, told: Vec::with_capacity(steps.len()), ..Turned::default() };
    for (number, step) in steps.into_iter().enumerate() {
        let told = match step {
            Step::Refused(told) => told,
            Step::Decided(decision) => {
                let (actions, response) = decision.release();
                turned.actions.extend(actions);
                let published = working.of(number).and_then(Working::published);
                Told::Decided { payment: response.as_ref().and(published).cloned(), response }
            }
        };
        turned.told.push(told);
    }
    turned.changed = working.list.iter().filter_map(|work| work.changed.clone()).collect();
    turned
}

/// How many facts of each name were recorded.
fn names(groups: &[Vec<Record>]) -> Vec<(&'static str, u64)> {
    let mut names: Vec<(&'static str, u64)> = Vec::new();
    for record in groups.iter().flatten() {
        let Record::Event(event) = record else { continue };
        let name = event.fact.name();
        match names.iter_mut().find(|(known, _)| *known == name) {
            Some((_, count)) => *count += 1,
            None => names.push((name, 1)),
        }
    }
    names
}

/// Whose answer has become final in this turn.
fn settled(working: &Workings) -> Vec<(State, Duration)> {
    let settled = working.list.iter().filter_map(|work| {
        let payment =
            work.changed.as_ref().filter(|_| !work.before.as_ref().is_some_and(|before| before.is_settled()))?;
        Some((payment.state(), payment.settled_at?.since(payment.created_at)))
    });
    settled.collect()
}

/// A void of what certainly has not happened needs nothing of its gateway, paused or not.
fn cancels_what_is_unsent(input: &Input, payment: Option<&Payment>) -> bool {
    let unsent = payment.and_then(Payment::first).is_some_and(|first| matches!(first.standing, Standing::Intended));
    unsent && input.follow_up().is_some_and(|(_, follow_up)| follow_up == FollowUp::Void)
}

/// How many bytes an input may add to a record's fixed parts, if it may begin an operation.
fn begun(input: &Input, payment: Option<&Payment>) -> Option<usize> {
    if let (Input::Pay { order, request: Ok(request), .. }, None) = (input, payment) {
        return Some(order.written() + request.len());
    }
    let (payment, (key, _)) = (payment?, input.follow_up()?);
    // Its request says no more than the order's does.
    payment.follow_up(key).is_none().then(|| 2 * payment.order.written())
}
