//! The thread that makes journal segments ahead of need.

use std::{
    cell::Cell,
    io,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc::{self, SyncSender},
    },
    thread,
    time::{Duration, Instant},
};

use crate::journal::SpareMaker;

/// How much longer the thread that makes segments rests than it works, so that a burst of payments has both processors of
/// a small machine for most of the time. At full speed a segment is used up in seconds, and made in a fraction of one.
const REST: u32 = 3;
/// The longest rest: who comes to wait for a segment waits out one of these.
const LONGEST_REST: Duration = Duration::from_millis(50);
/// Between two segments whoever waits for one has its turn.
const SHORT_REST: Duration = Duration::from_millis(1);
/// How long a disk that is full, or nearly so, is left alone: as long as the engine leaves it.
const LEFT_ALONE: Duration = Duration::from_secs(5);

pub(super) struct SpareKeeper {
    maker: SpareMaker,
    wanted: Option<SyncSender<()>>,
    over: Arc<AtomicBool>,
    thread: Option<thread::JoinHandle<()>>,
}

impl SpareKeeper {
    pub(super) fn start(maker: SpareMaker, data: &Path) -> io::Result<SpareKeeper> {
        let (wanted, asked) = mpsc::sync_channel(1);
        let over = Arc::<AtomicBool>::default();
        let own = Worker { maker: maker.clone(), over: over.clone(), data: data.to_owned(), said: Cell::new(false) };
        let work = move || {
            while asked.recv().is_ok() {
                own.make();
            }
        };
        let thread = thread::Builder::new().name("payonce-segments".to_owned()).spawn(work)?;
        Ok(SpareKeeper { maker, wanted: Some(wanted), over, thread: Some(thread) })
    }

    pub(super) fn keep(&self) {
        if self.maker.wanted() {
            // Already asked: that is as good.
            let _ = self.wanted.as_ref().map(|wanted| wanted.try_send(()));
        }
    }
}

impl Drop for SpareKeeper {
    /// Waits for the one that is being made, if there is any.
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        self.wanted = None;
        self.maker.hurry();
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            let _ = thread.join();
        }
    }
}

/// What the thread has.
struct Worker {
    maker: SpareMaker,
    over: Arc<AtomicBool>,
    data: PathBuf,
    /// The disk was nearly full, and that was said.
    said: Cell<bool>,
}

impl Worker {
    /// Makes as many as are wanted, one after another.
    fn make(&self) {
        while self.maker.wanted() && !self.over.load(Ordering::Relaxed) {
            let worked = Cell::new(Instant::now());
            let rest = || {
                thread::sleep((worked.get().elapsed() * REST).min(LONGEST_REST));
                worked.set(Instant::now());
            };
            if !self.has_space() {
                if !self.said.replace(true) {
                    tracing::warn!("the disk is nearly full: journal segments are made only when they are needed");
                }
                return thread::park_timeout(LEFT_ALONE);
            }
            self.said.set(false);
            if let Err(error) = self.maker.make_gently(&rest) {
                tracing::warn!(%error, "no journal segment could be made ahead of need");
                return thread::park_timeout(LEFT_ALONE);
            }
            thread::sleep(SHORT_REST);
        }
    }

    /// The last of a disk is left to what needs it at once: the store, and segments that somebody waits for, which the engine
    /// makes itself.
    fn has_space(&self) -> bool {
        let needed = self.maker.segment_bytes().saturating_mul(2);
        fs2::available_space(&self.data).map_or(true, |free| free >= needed)
    }
}
