//! The thread that makes journal segments ahead of need.

use std::{
    cell::Cell,
    io,
    sync::mpsc::{self, SyncSender},
    thread,
    time::{Duration, Instant},
};

use crate::journal::SpareMaker;

/// How much longer the thread that makes segments rests than it works, so that a burst of payments has both processors of
/// a small machine for most of the time. At full speed a segment is used up in seconds, and made in a fraction of one.
const REST: u32 = 3;
/// The longest rest: who comes to wait for a segment waits out one of these.
const LONGEST_REST: Duration = Duration::from_millis(50);

pub(super) struct SpareKeeper {
    maker: SpareMaker,
    wanted: Option<SyncSender<()>>,
    thread: Option<thread::JoinHandle<()>>,
}

impl SpareKeeper {
    pub(super) fn start(maker: SpareMaker) -> io::Result<SpareKeeper> {
        let (wanted, asked) = mpsc::sync_channel(1);
        let own = maker.clone();
        let make = move || {
            while asked.recv().is_ok() {
                // A full disk: the engine sees that there is no spare, and takes no new payments when it needs one.
                let worked = Cell::new(Instant::now());
                let rest = || {
                    thread::sleep((worked.get().elapsed() * REST).min(LONGEST_REST));
                    worked.set(Instant::now());
                };
                if let Err(error) = own.make_gently(&rest) {
                    tracing::warn!(%error, "no journal segment could be made ahead of need");
                    thread::sleep(Duration::from_secs(1));
                }
            }
        };
        let thread = thread::Builder::new().name("payonce-segments".to_owned()).spawn(make)?;
        Ok(SpareKeeper { maker, wanted: Some(wanted), thread: Some(thread) })
    }

    pub(super) fn keep(&self) {
        if self.maker.wanted() {
            // Already asked: that is as good.
            let _ = self.wanted.as_ref().map(|wanted| wanted.try_send(()));
        }
    }
}

impl Drop for SpareKeeper {
    /// Waits for one that is being made.
    fn drop(&mut self) {
        self.wanted = None;
        self.maker.hurry();
        let _ = self.thread.take().map(thread::JoinHandle::join);
    }
}
