//! One daemon, its gateways and its callers, in a folder of their own; round after round, so that no folder grows for ever.

use std::{fs, io, path::PathBuf, sync::Arc};

use payonce::sim::Rng;

use super::{
    TortureArgs,
    goal::Goal,
    process::Site,
    record::{Record, Seen},
    report::write_evidence,
    round::Round,
    small_disk::SmallDisk,
};

/// How many kills a round has: enough to get old, few enough that everything said in it is compared in seconds.
const ROUND: u64 = 400;

/// One of several that run at the same time.
pub(super) struct Arena<'a> {
    pub(super) args: &'a TortureArgs,
    pub(super) goal: Arc<Goal>,
    pub(super) folder: PathBuf,
    /// From 0.
    pub(super) number: u64,
    pub(super) dice: Rng,
}

impl Arena<'_> {
    /// Rounds until the goal is reached, or something is wrong. Returns what all of them have seen.
    pub(super) fn run(mut self) -> (Seen, io::Result<()>) {
        let mut total = Seen::default();
        // The first rounds differ in length: while one arena compares, others kill.
        let mut kills = ROUND * (self.number + 1) / self.args.arenas;
        loop {
            let record = Record::new(Arc::clone(&self.goal));
            let ran = self.round(&record, kills);
            total.add(record.read(Clone::clone));
            if ran.is_err() || record.is_broken() {
                self.goal.give_up();
            }
            if ran.is_err() || self.goal.is_given_up() || self.goal.is_reached() {
                return (total, ran);
            }
            kills = ROUND;
        }
    }

    fn round(&mut self, record: &Record, kills: u64) -> io::Result<()> {
        clear(&self.folder)?;
        let mut site = Site::make(self.folder.clone())?;
        let small = self.args.small_disk.map(|kind| SmallDisk::mount(kind, site.folder.join("disk"))).transpose()?;
        if let Some(disk) = &small {
            site.data = disk.data();
        }
        let round = Round::begin(self.args, &site, record, small.as_ref(), self.dice.fork());
        let ran = round.and_then(|round| round.through(kills));
        record.note(|seen| seen.rounds += 1);
        let broken = record.read(|seen| seen.broken.clone());
        let is_kept = self.args.keep.is_some() || ran.is_err() || !broken.is_empty();
        if let Some(disk) = small.as_ref().filter(|_| is_kept) {
            disk.keep(&self.folder.join("data"))?;
        }
        if !broken.is_empty() {
            write_evidence(&self.folder, &broken)?;
        }
        ran
    }
}

/// Removes what the round before left.
fn clear(folder: &PathBuf) -> io::Result<()> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        Ok(()) | Err(_) => fs::create_dir_all(folder),
    }
}
