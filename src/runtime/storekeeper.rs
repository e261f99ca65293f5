//! The store's own thread: takes what came to rest, in order, and flushes when asked.

use std::{
    mem,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use super::{
    intake::{Intake, Report},
    stats::Meter,
};
use crate::{
    engine::{self, Resting},
    payment::PaymentId,
    store::{Mark, Row, Store},
};

/// Rows gathered before they are put: as many as one sled batch takes well.
const GATHERED: usize = 500;

/// How long the first of them waits for the others. Memory answers for them meanwhile, and a start replays from the last
/// checkpoint anyway; but sled's own threads write something for every batch, however small: with a batch for each turn,
/// they took a fifth of the daemon's processor time.
const PATIENCE: Duration = Duration::from_millis(50);

pub(super) struct StoreKeeper {
    tray: Arc<Tray>,
    thread: Option<JoinHandle<()>>,
    meter: Arc<Meter>,
}

/// What waits for the thread. It is woken for the first rows, for enough of them, and for a flush: not for each turn, which
/// would cost the engine a system call and the machine two switches every time.
#[derive(Default)]
struct Tray {
    waiting: Mutex<Waiting>,
    wake: Condvar,
}

#[derive(Default)]
struct Waiting {
    rows: Vec<Resting>,
    /// What the store may say of itself when it has taken the rows; none, if there is nothing to take.
    mark: Option<Mark>,
    flush: bool,
    /// Nobody gives anything any more.
    over: bool,
}

impl StoreKeeper {
    pub(super) fn start(store: Arc<dyn Store>, intake: Arc<Intake>, meter: Arc<Meter>) -> std::io::Result<StoreKeeper> {
        let tray = Arc::<Tray>::default();
        let (own, its) = (meter.clone(), tray.clone());
        let keep = move || keep(store.as_ref(), &its, &intake, &own);
        let thread = thread::Builder::new().name("payonce-store".to_owned()).spawn(keep)?;
        Ok(StoreKeeper { tray, thread: Some(thread), meter })
    }

    /// What came to rest, and what the store may say of itself when it has taken it.
    pub(super) fn put(&self, rows: Vec<Resting>, mark: Mark) {
        self.meter.given(mark.applied);
        self.tray.add(|waiting| {
            let (before, first) = (waiting.rows.len(), waiting.mark.is_none());
            waiting.rows.extend(rows);
            waiting.mark = Some(mark);
            first || (before < GATHERED && waiting.rows.len() >= GATHERED)
        });
    }

    /// Reports [`Report::Flushed`] when everything given before is durable.
    pub(super) fn flush(&self) {
        self.tray.add(|waiting| {
            waiting.flush = true;
            true
        });
    }
}

impl Drop for StoreKeeper {
    /// Waits until the store is let go of: the folder may be opened again right after.
    fn drop(&mut self) {
        self.tray.add(|waiting| {
            waiting.over = true;
            true
        });
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

impl Tray {
    /// Adds something; wakes the thread if that says so. A thread that has ended has reported why.
    fn add(&self, something: impl FnOnce(&mut Waiting) -> bool) {
        let wake = something(&mut self.lock());
        if wake {
            self.wake.notify_one();
        }
    }

    /// Waits until there are rows, enough of them or long enough, or a flush is asked for, and takes it all. None, when
    /// nothing is left and nothing more will come.
    fn take(&self) -> Option<Waiting> {
        let mut waiting = self.lock();
        while waiting.mark.is_none() && !waiting.flush && !waiting.over {
            waiting = self.wake.wait(waiting).unwrap_or_else(PoisonError::into_inner);
        }
        let until = Instant::now() + PATIENCE;
        while waiting.rows.len() < GATHERED && !waiting.flush && !waiting.over {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            waiting = self.wake.wait_timeout(waiting, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        let over = waiting.over;
        let taken = mem::replace(&mut *waiting, Waiting { over, ..Waiting::default() });
        (taken.mark.is_some() || taken.flush).then_some(taken)
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn keep(store: &dyn Store, tray: &Tray, intake: &Intake, meter: &Meter) {
    while let Some(Waiting { rows, mark, flush, .. }) = tray.take() {
        if let Some(mark) = mark {
            // Told as they are taken: there may be a hundred thousand, and memory would be full until the last is.
            let taken = |some: &[(PaymentId, Row)]| intake.stored(some.iter().map(|(id, row)| (*id, row.lsn)));
            if let Err(stopped) = engine::put_telling(store, rows, &mark, &taken) {
                return intake.report(Report::StoreFailed(stopped.why));
            }
            meter.taken(mark.applied);
        }
        if flush {
            let flushed = store.flush().map_err(|error| error.to_string());
            let failed = flushed.is_err();
            intake.report(Report::Flushed(flushed));
            if failed {
                return;
            }
        }
    }
}
