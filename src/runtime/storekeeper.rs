//! The store's own thread: takes what came to rest, in order, and flushes when asked.

use std::{
    sync::{
        Arc,
        mpsc::{self, Receiver, Sender},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use super::{
    intake::{Intake, Report},
    stats::Meter,
};
use crate::{
    engine::{self, Resting},
    store::{Mark, Store},
};

enum Job {
    Put(Vec<Resting>, Mark),
    Flush,
}

/// Rows gathered before they are put: as many as one sled batch takes well.
const GATHERED: usize = 500;

/// How long the first of them waits for the others. Memory answers for them meanwhile, and a start replays from the last
/// checkpoint anyway; but sled's own threads write something for every batch, however small: with a batch for each turn,
/// they took a fifth of the daemon's processor time.
const PATIENCE: Duration = Duration::from_millis(50);

pub(super) struct StoreKeeper {
    jobs: Option<Sender<Job>>,
    thread: Option<JoinHandle<()>>,
    meter: Arc<Meter>,
}

impl StoreKeeper {
    pub(super) fn start(store: Arc<dyn Store>, intake: Arc<Intake>, meter: Arc<Meter>) -> std::io::Result<StoreKeeper> {
        let (jobs, waiting) = mpsc::channel();
        let own = meter.clone();
        let keep = move || keep(store.as_ref(), &waiting, &intake, &own);
        let thread = thread::Builder::new().name("payonce-store".to_owned()).spawn(keep)?;
        Ok(StoreKeeper { jobs: Some(jobs), thread: Some(thread), meter })
    }

    /// What came to rest, and what the store may say of itself when it has taken it.
    pub(super) fn put(&self, rows: Vec<Resting>, mark: Mark) {
        self.meter.given(mark.applied);
        self.give(Job::Put(rows, mark));
    }

    /// Reports [`Report::Flushed`] when everything given before is durable.
    pub(super) fn flush(&self) {
        self.give(Job::Flush);
    }

    fn give(&self, job: Job) {
        // A thread that has ended has reported why.
        let _ = self.jobs.as_ref().map(|jobs| jobs.send(job));
    }
}

impl Drop for StoreKeeper {
    /// Waits until the store is let go of: the folder may be opened again right after.
    fn drop(&mut self) {
        self.jobs = None;
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

fn keep(store: &dyn Store, waiting: &Receiver<Job>, intake: &Intake, meter: &Meter) {
    let mut next = waiting.recv().ok();
    while let Some(job) = next.take() {
        match job {
            Job::Put(mut rows, mut mark) => {
                next = gather(waiting, &mut rows, &mut mark);
                if let Err(stopped) = engine::put(store, &rows, &mark) {
                    return intake.report(Report::StoreFailed(stopped.why));
                }
                meter.taken(mark.applied);
                intake.stored(rows.iter().map(|row| (row.payment.id, row.lsn)));
            }
            Job::Flush => {
                let flushed = store.flush().map_err(|error| error.to_string());
                let failed = flushed.is_err();
                intake.report(Report::Flushed(flushed));
                if failed {
                    return;
                }
            }
        }
        next = next.or_else(|| waiting.recv().ok());
    }
}

/// Adds rows until they are enough, or the first has waited long enough. Returns the job that ended it, if one did.
fn gather(waiting: &Receiver<Job>, rows: &mut Vec<Resting>, mark: &mut Mark) -> Option<Job> {
    let until = Instant::now() + PATIENCE;
    while rows.len() < GATHERED {
        match waiting.recv_timeout(until.saturating_duration_since(Instant::now())) {
            Ok(Job::Put(more, later)) => {
                rows.extend(more);
                *mark = later;
            }
            Ok(Job::Flush) => return Some(Job::Flush),
            Err(_) => break,
        }
    }
    None
}
