//! What the disk gives to anybody who writes as much, and syncs as often.

use std::{
    fs::{File, OpenOptions},
    io,
    os::unix::fs::FileExt,
    path::Path,
    time::{Duration, Instant},
};

use super::{Row, put, rate_in, ratio};

/// What one payment adds to the journal, in bytes: intent, then outcome. For the bare log, which writes as much.
const INTENT: usize = 640;
const OUTCOME: usize = 160;

pub(super) struct Limit {
    fdatasync: Duration,
    payments_per_s: f64,
}

impl Limit {
    /// Each cycle writes and syncs the intents of all callers, then their outcomes.
    pub(super) fn of(folder: &Path, callers: usize) -> io::Result<Limit> {
        let path = folder.join("bare.log");
        let file = OpenOptions::new().create(true).truncate(true).write(true).open(&path)?;
        let bytes = vec![1; (INTENT * callers).next_multiple_of(512)];
        let outcomes = vec![1; (OUTCOME * callers).next_multiple_of(512)];
        let room: u64 = 64 << 20;
        let zeros = vec![0; 1 << 20];
        (0..64).try_for_each(|mebibyte| file.write_all_at(&zeros, mebibyte << 20))?;
        file.sync_all()?;
        let (began, mut cycles, mut at) = (Instant::now(), 0u32, 0);
        while began.elapsed() < Duration::from_secs(1) {
            for part in [&bytes, &outcomes] {
                write(&file, part, &mut at, room)?;
            }
            cycles += 1;
        }
        let cycle = began.elapsed() / cycles;
        let small = vec![1; 512];
        let began = Instant::now();
        (0..200).try_for_each(|_| write(&file, &small, &mut at, room))?;
        let fdatasync = began.elapsed() / 200;
        std::fs::remove_file(path)?;
        let callers = u32::try_from(callers).map_or(f64::INFINITY, f64::from);
        Ok(Limit { fdatasync, payments_per_s: callers / cycle.as_secs_f64() })
    }

    /// Adds what was measured to a row.
    pub(super) fn compare(&self, row: &mut Row) {
        put(row, "bare_log_per_s", self.payments_per_s.round());
        put(row, "of_bare_log", ratio(rate_in(row), self.payments_per_s));
        put(row, "fdatasync_us", u64::try_from(self.fdatasync.as_micros()).unwrap_or(u64::MAX));
    }
}

fn write(file: &File, bytes: &[u8], at: &mut u64, room: u64) -> io::Result<()> {
    let length = u64::try_from(bytes.len()).map_err(io::Error::other)?;
    if *at + length > room {
        *at = 0;
    }
    file.write_all_at(bytes, *at)?;
    *at += length;
    file.sync_data()
}
