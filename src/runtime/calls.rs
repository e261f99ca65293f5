//! Calls to the gateways: each a task, as many at once as its gateway has slots, each with a deadline, each reporting once.
//! A gateway that answers at once is called on the engine's own thread instead.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    task::{Context, Poll, Waker},
    time::{Duration, Instant},
};

use tokio::{runtime::Handle, sync::watch};
use tracing::{Instrument, Span};

use super::{
    breaker::Ticket,
    gateways::{Line, Lines},
    intake::{Intake, Report},
    stats::{Asking, Meter},
    traces,
};
use crate::{
    gateway::{Answer, Gateway, Question, Sending},
    payment::{Action, Call, Now, Outcome, Reply, Tick},
};

/// What an adapter may take to say that its deadline passed. Well under the schedule's default skew, which is part of
/// every judgement about what may have been sent.
const GRACE: Duration = Duration::from_millis(250);

/// How far a stop has come.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd)]
enum Stage {
    Running,
    /// What has not begun does not begin.
    Draining,
    /// What is under way is dropped: its socket closes, and the next start asks what became of it.
    Dropped,
}

pub(super) struct Calls {
    lines: Arc<Lines>,
    tasks: Handle,
    stage: watch::Sender<Stage>,
    intake: Arc<Intake>,
    meter: Arc<Meter>,
}

impl Calls {
    pub(super) fn new(lines: Arc<Lines>, tasks: Handle, intake: Arc<Intake>, meter: Arc<Meter>) -> Calls {
        let (stage, _) = watch::channel(Stage::Running);
        Calls { lines, tasks, stage, intake, meter }
    }

    /// The gateway that an action is for: its place. Those for any other are parked before it comes to this.
    pub(super) fn place_of(&self, action: &Action) -> usize {
        let (Action::Prepare { call, .. } | Action::Send { call, .. } | Action::Inquire(call)) = action;
        self.lines.place_of(&call.gateway).unwrap_or_default()
    }

    /// Starts what a turn released for the gateway at this place, that was decided on at `now`, which was at `read` by the
    /// process's clock: what a turn takes does not lengthen the time in which bytes may leave.
    pub(super) fn start(&self, place: usize, action: Action, now: &Now, read: Instant) {
        let span = traces::call(&action, self.lines.get(place).map_or("", |line| &line.name));
        match action {
            Action::Send { call, attempt, request, not_after } => {
                let sending = Sending {
                    kind: call.kind,
                    operation_key: call.operation_key,
                    request,
                    amount: call.amount,
                    currency: call.currency,
                    deadline: read + not_after.since(now.wall),
                };
                self.send((place, span), call, attempt, sending);
            }
            Action::Prepare { call, request } => self.prepare((place, span), call, request),
            Action::Inquire(call) => self.inquire((place, span), call, now.tick),
        }
    }

    fn send(&self, (place, span): (usize, Span), call: Call, attempt: u32, sending: Sending) {
        let Call { payment, operation, .. } = call;
        let report = move |outcome| Report::Sent { payment, place, operation, attempt, outcome };
        let not_after = Some(sending.deadline);
        self.begin((place, Asking::Send, span), report, not_after, move |gateway, _| gateway.send(sending));
    }

    fn prepare(&self, (place, span): (usize, Span), call: Call, request: Vec<u8>) {
        let Call { payment, operation, kind, operation_key, amount, currency, .. } = call;
        let report = move |outcome| Report::Prepared { payment, place, operation, outcome };
        self.begin((place, Asking::Prepare, span), report, None, move |gateway, deadline| {
            gateway.prepare(Sending { kind, operation_key, request, amount, currency, deadline })
        });
    }

    fn inquire(&self, (place, span): (usize, Span), call: Call, asked: Tick) {
        let Call { payment, gateway: _, operation, kind, operation_key, amount, currency, reference } = call;
        let report = move |outcome| Report::Asked { payment, place, operation, asked, outcome };
        self.begin((place, Asking::Inquire, span), report, None, move |gateway, deadline| {
            gateway.inquire(Question { kind, operation_key, amount, currency, reference, deadline })
        });
    }

    /// One call, once a slot is free for it. What moves money has a time after which not one byte may leave, and has
    /// certainly not been sent if it does not begin; what moves none has the contract's time from its beginning.
    fn begin(
        &self,
        (place, asking, span): (usize, Asking, Span),
        report: impl FnOnce(Outcome) -> Report + Send + 'static,
        not_after: Option<Instant>,
        call: impl FnOnce(&dyn Gateway, Instant) -> Answer<'_> + Send + 'static,
    ) {
        let report = Once::new(self.intake.clone(), span.clone(), report);
        if self.lines.get(place).is_some_and(|line| line.gateway.answers_at_once()) {
            let _entered = span.enter();
            return self.call_at_once((place, asking), report, not_after, call);
        }
        let (lines, meter, mut stage) = (self.lines.clone(), self.meter.clone(), self.stage.subscribe());
        let task = async move {
            let Some(line) = lines.get(place) else { return };
            let Ok(_slot) = line.slots.acquire().await else { return };
            let unsent =
                |code, message| not_after.map_or_else(dropped, |_| Outcome::NotSent(Reply::new(code, message)));
            if *stage.borrow() != Stage::Running {
                return report.give(unsent("stopping", "the process was stopping"));
            }
            if not_after.is_some_and(|not_after| Instant::now() >= not_after) {
                return report.give(unsent("too_late", "its time was over before it was sent"));
            }
            if asking != Asking::Inquire && line.is_paused() {
                return report.give(unsent("gateway_paused", "an operator has paused the gateway"));
            }
            let ticket = match asking {
                Asking::Inquire => Ticket::Question,
                // Nothing else could take it: held back, it would only be late.
                Asking::Send | Asking::Prepare if lines.iter().count() == 1 => Ticket::Question,
                Asking::Send | Asking::Prepare => line.ticket(),
            };
            if ticket == Ticket::Shut {
                return report
                    .give(unsent("gateway_shut", "the gateway has not answered for a while, and was left alone"));
            }
            let (gateway, began) = (line.gateway.as_ref(), Instant::now());
            let deadline = not_after.unwrap_or_else(|| began + gateway.contract().deadline);
            tokio::select! {
                // Most calls end by themselves.
                biased;
                outcome = answer_by(deadline, call(gateway, deadline)) => {
                    line.note(ticket, &outcome);
                    meter.called(place, asking, &outcome, began.elapsed());
                    report.give(outcome);
                }
                _ = stage.wait_for(|stage| *stage == Stage::Dropped) => report.give(dropped()),
            }
        };
        self.tasks.spawn(task.instrument(span));
    }

    /// The same, here and now. A panic leaves its operation in doubt, as in a task.
    fn call_at_once<F: FnOnce(Outcome) -> Report>(
        &self,
        (place, asking): (usize, Asking),
        report: Once<F>,
        not_after: Option<Instant>,
        call: impl FnOnce(&dyn Gateway, Instant) -> Answer<'_>,
    ) {
        let (Some(line), began) = (self.lines.get(place), Instant::now()) else { return };
        let over = not_after.is_some_and(|not_after| began >= not_after);
        if over || *self.stage.borrow() != Stage::Running {
            let unsent = || Outcome::NotSent(Reply::new("not_begun", "its time was over, or the process was stopping"));
            return report.give(not_after.map_or_else(dropped, |_| unsent()));
        }
        let gateway = line.gateway.as_ref();
        let deadline = not_after.unwrap_or_else(|| began + gateway.contract().deadline);
        let mut context = Context::from_waker(Waker::noop());
        let poll = AssertUnwindSafe(|| call(gateway, deadline).as_mut().poll(&mut context));
        let Ok(answer) = catch_unwind(poll) else { return };
        let late = || Outcome::Unknown(Reply::new("not_at_once", "the gateway's adapter did not answer at once"));
        let outcome = if let Poll::Ready(outcome) = answer { outcome } else { late() };
        self.meter.called(place, asking, &outcome, began.elapsed());
        report.give(outcome);
    }

    /// Nothing new begins.
    pub(super) fn drain(&self) {
        self.stage.send_replace(Stage::Draining);
    }

    /// Whatever is under way is dropped. It is waited for, briefly, so that no byte leaves after the lock is given up.
    pub(super) fn drop_all(&self) {
        self.stage.send_replace(Stage::Dropped);
        let until = Instant::now() + Duration::from_secs(1);
        let busy = |line: &Line| line.slots.available_permits() < line.most;
        while self.lines.iter().any(busy) && Instant::now() < until {
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

/// Adapters keep deadlines themselves, and then know whether a byte has left. One that does not must not hold its
/// slot for ever: it is dropped, and its operation is in doubt.
async fn answer_by(deadline: Instant, answer: Answer<'_>) -> Outcome {
    let late = || Outcome::Unknown(Reply::new("deadline_passed", "the gateway's adapter did not answer in its time"));
    tokio::time::timeout_at((deadline + GRACE).into(), answer).await.unwrap_or_else(|_| late())
}

fn dropped() -> Outcome {
    Outcome::Unknown(Reply::new("process_stopped", "the process stopped before the gateway answered"))
}

/// Reports once, whatever happens: an adapter that panics leaves its operation in doubt, not forgotten.
struct Once<F: FnOnce(Outcome) -> Report> {
    intake: Arc<Intake>,
    span: Span,
    report: Option<F>,
}

impl<F: FnOnce(Outcome) -> Report> Once<F> {
    fn new(intake: Arc<Intake>, span: Span, report: F) -> Once<F> {
        Once { intake, span, report: Some(report) }
    }

    fn give(mut self, outcome: Outcome) {
        self.send(outcome);
    }

    fn send(&mut self, outcome: Outcome) {
        if let Some(report) = self.report.take() {
            traces::ended(&self.span, &outcome);
            self.intake.report(report(outcome));
        }
    }
}

impl<F: FnOnce(Outcome) -> Report> Drop for Once<F> {
    fn drop(&mut self) {
        self.send(Outcome::Unknown(Reply::new("adapter_failed", "the gateway's adapter stopped without an outcome")));
    }
}
