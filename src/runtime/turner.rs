//! The engine thread: gathers what came in, turns the machine, lets go of what it releases.

use std::{
    collections::VecDeque,
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::sync::{oneshot, watch};

use super::{
    calls::Calls,
    clock::Clock,
    desk::{Closing, Desk, Reply, Window},
    gateways::{Line, Lines},
    handle::Rejection,
    intake::{Arrivals, Ask, Intake, Pay, Report},
    news::Heard,
    opening::{STORE, note_failed},
    options::Options,
    spares::SpareKeeper,
    stats::Meter,
    storekeeper::StoreKeeper,
    telling::{COME_BACK, readable, refuse},
};
use crate::{
    engine::{Admission, Carrying, MAX_TURN, Machine, SLICE, Stopped, Turned},
    journal::Lsn,
    payment::{Action, Input, Now, Payment, PaymentId, Timestamp},
};

/// When nothing has followed a batch for this long, an empty one makes its durability evident (DESIGN 5).
pub(super) const CONFIRM_AFTER: Duration = Duration::from_secs(1);

/// How long to wait for the store to take rows, when memory holds as many payments as it may.
const FULL_PAUSE: Duration = Duration::from_millis(10);

/// How often a full disk is looked at.
const CRAMPED_PAUSE: Duration = Duration::from_secs(1);

/// Everything the engine thread owns.
pub(super) struct Turner {
    pub(super) machine: Machine,
    pub(super) intake: Arc<Intake>,
    pub(super) lines: Arc<Lines>,
    pub(super) calls: Calls,
    pub(super) keeper: StoreKeeper,
    pub(super) spares: SpareKeeper,
    pub(super) clock: Clock,
    pub(super) options: Options,
    pub(super) durable: watch::Sender<Lsn>,
    /// Unresolved payments that an earlier process left.
    pub(super) resume: VecDeque<(PaymentId, Input)>,
    pub(super) desk: Desk,
    pub(super) meter: Arc<Meter>,
}

/// Who is to be told what became of an input.
pub(super) enum Origin {
    Report,
    Schedule,
    Person(oneshot::Sender<Result<Arc<Payment>, Rejection>>),
    Caller { until_settled: bool, reply: Reply },
}

/// The inputs of one turn, and where each came from.
#[derive(Default)]
pub(super) struct Agenda {
    inputs: Vec<(PaymentId, Input)>,
    origins: Vec<Origin>,
    /// How many of them may lead to a call.
    scheduled: usize,
    /// What gateways said: kept once what it is evidence of is recorded.
    pub(super) news: Vec<Heard>,
}

impl Agenda {
    pub(super) fn add(&mut self, id: PaymentId, input: Input, origin: Origin) {
        self.inputs.push((id, input));
        self.origins.push(origin);
    }
}

/// How the thread goes on.
enum Next {
    Turn,
    Closed(Vec<oneshot::Sender<()>>),
    Abandoned,
}

impl Turner {
    /// Turns until the engine is closed, abandoned, or must not go on.
    pub(super) fn run(mut self) -> Result<Vec<oneshot::Sender<()>>, Stopped> {
        loop {
            match self.step() {
                Ok(Next::Turn) => {}
                Ok(Next::Closed(replies)) => {
                    self.close()?;
                    return Ok(replies);
                }
                Ok(Next::Abandoned) => {
                    self.calls.drop_all();
                    return Ok(Vec::new());
                }
                Err(stopped) => {
                    self.calls.drop_all();
                    return Err(stopped);
                }
            }
        }
    }

    fn step(&mut self) -> Result<Next, Stopped> {
        let held = self.desk.held();
        let room = MAX_TURN.saturating_sub(held.min(MAX_TURN / 2));
        let arrivals = self.intake.take(self.wake_at(), room, held);
        if arrivals.abandoned {
            return Ok(Next::Abandoned);
        }
        let now = self.now();
        let lines = &self.lines;
        self.machine.note_shut(|place| lines.get(place).is_some_and(Line::is_shut));
        self.machine.stored(&arrivals.stored);
        let Arrivals { reports, asks, pays, .. } = arrivals;
        let mut agenda = Agenda::default();
        self.take_reports(reports, &now, &mut agenda)?;
        self.take_due(&now, &mut agenda);
        let looks = self.take_asks(asks, &mut agenda)?;
        self.take_pays(pays, &mut agenda);
        let news = std::mem::take(&mut agenda.news);
        self.turn(now, agenda)?;
        self.keep_news(news, &now)?;
        self.look(looks)?;
        self.keep_house(&now)?;
        self.note_standing();
        Ok(self.next())
    }

    /// The clocks; the wall never behind what is recorded.
    pub(super) fn now(&mut self) -> Now {
        let now = self.clock.now();
        Now { wall: now.wall.max(self.machine.last_wall()), ..now }
    }

    /// When to wake although nothing has come.
    fn wake_at(&self) -> Option<Instant> {
        let open = self.desk.closing.is_none();
        let can_call = open && self.desk.free() > 0;
        let can_chase = can_call && self.chases_free() > 0;
        let earliest = Instant::now() + if self.desk.cramped { CRAMPED_PAUSE } else { Duration::ZERO };
        let due = self.machine.next_due().filter(|_| can_chase).map(|tick| self.clock.instant(tick).max(earliest));
        let full = self.is_full();
        let more = (can_chase && !self.resume.is_empty()).then_some(earliest);
        let held = (open && self.desk.windows.iter().any(|window| window.free() > 0 && !window.held.is_empty()))
            .then(|| Instant::now() + if full { FULL_PAUSE } else { Duration::ZERO });
        let closing = self.desk.closing.as_ref().map(|closing| closing.until);
        let carrying = self.desk.carrying.then(Instant::now);
        [due, more, held, closing, carrying, self.desk.confirm_at].into_iter().flatten().min()
    }

    fn take_reports(&mut self, reports: Vec<Report>, now: &Now, agenda: &mut Agenda) -> Result<(), Stopped> {
        for report in reports {
            match report {
                Report::Sent { payment, place, operation, attempt, outcome } => {
                    self.desk.ended(place, attempt > 1);
                    agenda.add(payment, Input::Ended { operation, attempt, outcome }, Origin::Report);
                }
                Report::Prepared { payment, place, operation, outcome } => {
                    self.desk.ended(place, false);
                    agenda.add(payment, Input::Prepared { operation, outcome }, Origin::Report);
                }
                Report::Asked { payment, place, operation, asked, outcome } => {
                    self.desk.ended(place, true);
                    agenda.add(payment, Input::Answered { operation, asked, outcome }, Origin::Report);
                }
                Report::Flushed(Ok(files)) => self.flushed(now, files)?,
                Report::Flushed(Err(why)) | Report::StoreFailed(why) => self.store_failed(why)?,
                Report::StoreIsBad(stopped) => return Err(stopped),
            }
        }
        Ok(())
    }

    fn flushed(&mut self, now: &Now, files: Vec<(String, u64)>) -> Result<(), Stopped> {
        match self.desk.checkpoint.take() {
            Some(carrying) => {
                if self.machine.finish_checkpoint(now.wall, carrying, files)? {
                    self.meter.checkpointed(now.wall, carrying.upto);
                }
                Ok(())
            }
            None => Ok(()),
        }
    }

    /// The journal has everything: go on without the store, but take nothing new that memory would have to hold. That it
    /// failed is noted durably first, for the next start must not take what the system's cache shows for what the disk holds.
    fn store_failed(&mut self, why: String) -> Result<(), Stopped> {
        tracing::error!(%why, "the store takes no more rows: no new payments are taken until the next start");
        self.desk.checkpoint = None;
        self.desk.carrying = false;
        self.machine.give_up_checkpoint();
        if self.desk.store_failed.is_none() {
            note_failed(&self.options.data.join(STORE)).map_err(|error| Stopped {
                why: format!("the store failed ({why}), which could not be noted: {error}"),
                store_is_bad: true,
            })?;
            self.desk.store_failed = Some(why);
        }
        Ok(())
    }

    /// How many more calls the chase for the unresolved may hold: half of all, so that neither they nor callers starve.
    fn chases_free(&self) -> usize {
        self.desk.most().div_ceil(2).saturating_sub(self.desk.chasing).min(self.desk.free())
    }

    /// What the schedule and the start ask for, in the calls that are free for it.
    fn take_due(&mut self, now: &Now, agenda: &mut Agenda) {
        self.desk.cramped = self.machine.is_cramped(now.wall);
        if self.desk.closing.is_some() || self.desk.cramped {
            return;
        }
        let budget = self.chases_free().min(MAX_TURN / 2);
        let reported = agenda.inputs.len();
        let from_start = budget.min(self.resume.len());
        for (id, input) in self.resume.drain(..from_start) {
            agenda.add(id, input, Origin::Schedule);
        }
        for (id, input) in self.machine.due(now, budget - from_start) {
            agenda.add(id, input, Origin::Schedule);
        }
        agenda.scheduled = agenda.inputs.len() - reported;
    }

    /// Takes up what people decide; returns what is only looked at.
    fn take_asks(&mut self, asks: Vec<Ask>, agenda: &mut Agenda) -> Result<Vec<Ask>, Stopped> {
        let mut looks = Vec::new();
        for ask in asks {
            match ask {
                Ask::Person(id, input, reply) => agenda.add(id, input, Origin::Person(reply)),
                Ask::News(news, from, said, reply) => self.take_news(news, from, said, reply, agenda)?,
                Ask::Act(audit, reply) => self.act(audit, reply)?,
                Ask::Close(reply) => self.start_closing(reply),
                Ask::Get(_, _) | Ask::Outlook(_, _) | Ask::List(_, _) => looks.push(ask),
            }
        }
        Ok(looks)
    }

    /// Those who were held come first, as many as can be sent; then those who just came.
    fn take_pays(&mut self, pays: Vec<Pay>, agenda: &mut Agenda) {
        let mut held = Vec::new();
        for window in &mut self.desk.windows {
            let again = window.free().min(window.held.len());
            held.extend(window.held.drain(..again));
        }
        for pay in held.into_iter().chain(pays) {
            // Who has gone is not taken up: nothing is recorded of it.
            if !pay.reply.is_closed() {
                self.take_up_first(&pay, agenda);
                let origin = Origin::Caller { until_settled: pay.until_settled, reply: pay.reply };
                agenda.add(pay.id, pay.input, origin);
            }
        }
    }

    /// What an earlier process left of a payment is taken up before anything new is begun on it: taking it up later would
    /// take the new attempt for one of the old.
    fn take_up_first(&mut self, pay: &Pay, agenda: &mut Agenda) {
        if !matches!(pay.input, Input::Operate { .. }) {
            return;
        }
        let waiting = self.resume.iter().position(|(id, _)| *id == pay.id);
        if let Some((id, input)) = waiting.and_then(|place| self.resume.remove(place)) {
            agenda.add(id, input, Origin::Schedule);
        }
    }

    fn turn(&mut self, now: Now, agenda: Agenda) -> Result<(), Stopped> {
        if agenda.inputs.is_empty() {
            return Ok(());
        }
        let (before, began) = (self.machine.position(), Instant::now());
        let turned = self.machine.turn(now, &agenda.inputs, self.admission(agenda.scheduled))?;
        let Turned { told, actions, changed, resting, recorded } = turned;
        let read = self.clock.instant(now.tick);
        for action in actions {
            let place = self.calls.place_of(&action);
            self.desk.began(place, is_chase(&action));
            self.calls.start(place, action, &now, read);
        }
        if self.machine.position().next != before.next {
            self.durable.send_replace(self.machine.durable());
            self.desk.confirm_at = Some(Instant::now() + CONFIRM_AFTER);
        }
        self.tell_waiters(&changed);
        for (((id, input), origin), told) in agenda.inputs.into_iter().zip(agenda.origins).zip(told) {
            self.tell(id, input, origin, told);
        }
        if !resting.is_empty() && self.desk.store_failed.is_none() {
            self.keeper.put(resting, self.machine.mark());
        }
        self.note_turn(began, before, recorded);
        Ok(())
    }

    fn admission(&self, scheduled: usize) -> Admission {
        let full = self.is_full();
        // What is due may concern any of them.
        let free = |window: &Window| if full { 0 } else { window.free().saturating_sub(scheduled) };
        Admission { new_payments: self.desk.windows.iter().map(free).collect() }
    }

    /// Whether no new payments are taken, whoever's.
    fn is_full(&self) -> bool {
        let (unresolved, in_memory) = self.machine.sizes();
        let waiting = in_memory.saturating_sub(unresolved);
        self.desk.closing.is_some() || waiting >= self.options.memory_payments
    }

    fn look(&mut self, looks: Vec<Ask>) -> Result<(), Stopped> {
        for look in looks {
            match look {
                Ask::Get(id, reply) => {
                    let _ = reply.send(readable(self.machine.get(&id))?);
                }
                Ask::Outlook(id, reply) => {
                    let _ = reply.send(readable(self.outlook(&id))?);
                }
                Ask::List(filter, reply) => {
                    let _ = reply.send(readable(self.machine.list(&filter))?);
                }
                Ask::Person(_, _, _) | Ask::News(_, _, _, _) | Ask::Act(_, _) | Ask::Close(_) => {}
            }
        }
        Ok(())
    }

    /// Segments ahead of need, checkpoints, and evidence for the last batch.
    fn keep_house(&mut self, now: &Now) -> Result<(), Stopped> {
        self.machine.plan_segments();
        self.spares.keep();
        let idle = self.desk.checkpoint.is_none() && self.desk.store_failed.is_none() && self.desk.closing.is_none();
        let long = self.machine.is_checkpoint_due(self.options.checkpoint_bytes);
        if idle && !self.desk.cramped && long && self.machine.may_checkpoint(now.wall) {
            self.desk.checkpoint = Some(self.checkpoint(now.wall)?);
        }
        if self.desk.carrying && self.machine.carry_on(now.wall, SLICE)? {
            self.desk.carrying = false;
            self.keeper.flush();
        }
        if self.desk.confirm_at.is_some_and(|at| at <= Instant::now()) {
            self.machine.confirm(now.wall)?;
            self.desk.confirm_at = None;
        }
        Ok(())
    }

    /// Begins to carry what is unresolved. Once all is, the store is flushed: it reports when that is done.
    fn checkpoint(&mut self, now: Timestamp) -> Result<Carrying, Stopped> {
        self.keeper.put(Vec::new(), self.machine.mark());
        self.desk.carrying = true;
        self.machine.begin_checkpoint(now, SLICE)
    }

    /// Takes nothing new from here on; what is held is let go, with nothing recorded.
    fn start_closing(&mut self, reply: oneshot::Sender<()>) {
        if let Some(closing) = &mut self.desk.closing {
            closing.replies.push(reply);
            return;
        }
        self.calls.drain();
        for pay in self.desk.let_go(|_| true) {
            refuse(pay.reply, Rejection::Overloaded { retry_after: COME_BACK });
        }
        self.desk.closing = Some(Closing { replies: vec![reply], until: Instant::now() + self.options.drain });
    }

    fn next(&mut self) -> Next {
        let done = |closing: &Closing| self.desk.calling() == 0 || Instant::now() >= closing.until;
        if self.desk.closing.as_ref().is_some_and(done)
            && let Some(closing) = self.desk.closing.take()
        {
            return Next::Closed(closing.replies);
        }
        Next::Turn
    }

    /// The orderly end: what is still under way is dropped, and asked about at the next start.
    fn close(mut self) -> Result<(), Stopped> {
        self.calls.drop_all();
        self.finish_reports()?;
        self.tell_who_still_waits();
        if self.desk.store_failed.is_some() {
            return Ok(()); // Without a close mark: the next start looks closely.
        }
        while self.desk.checkpoint.is_some() {
            if std::mem::take(&mut self.desk.carrying) {
                self.keeper.flush(); // The end of a checkpoint carries what is left.
            }
            self.wait_for_flush()?;
        }
        if self.desk.store_failed.is_some() {
            return Ok(());
        }
        let now = self.now().wall;
        if !self.machine.may_checkpoint(now) {
            return Ok(()); // A full disk: the next start replays from the last checkpoint.
        }
        let carrying = self.checkpoint(now)?;
        self.keeper.flush();
        let files = self.wait_for_flush()?;
        if self.desk.store_failed.is_some() {
            return Ok(());
        }
        if !self.machine.finish_checkpoint(now, carrying, files.clone())? {
            return Ok(());
        }
        self.machine.close(now, carrying, files)
    }

    /// Records what the last calls said.
    fn finish_reports(&mut self) -> Result<(), Stopped> {
        let arrivals = self.intake.take(Some(Instant::now()), 0, 0);
        let now = self.now();
        let mut agenda = Agenda::default();
        self.take_reports(arrivals.reports, &now, &mut agenda)?;
        self.turn(now, agenda)
    }

    fn wait_for_flush(&mut self) -> Result<Vec<(String, u64)>, Stopped> {
        loop {
            let arrivals = self.intake.take(None, 0, 0);
            if arrivals.abandoned {
                self.store_failed("nobody waits for it any more".to_owned())?;
                return Ok(Vec::new());
            }
            for report in arrivals.reports {
                match report {
                    Report::Flushed(Ok(files)) => {
                        let now = self.now();
                        self.flushed(&now, files.clone())?;
                        return Ok(files);
                    }
                    Report::Flushed(Err(why)) | Report::StoreFailed(why) => {
                        self.store_failed(why)?;
                        return Ok(Vec::new());
                    }
                    Report::StoreIsBad(stopped) => return Err(stopped),
                    // Dropped calls that were not waited for: in doubt at the next start.
                    Report::Sent { .. } | Report::Prepared { .. } | Report::Asked { .. } => {}
                }
            }
        }
    }
}

/// Whether a call is anything but a new payment's first sending.
const fn is_chase(action: &Action) -> bool {
    match action {
        Action::Prepare { .. } => false,
        Action::Send { attempt, .. } => *attempt > 1,
        Action::Inquire(_) => true,
    }
}
