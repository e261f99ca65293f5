//! What a run has shown, for people and for programs, and how far it is.

use std::{
    fs,
    io::{self, IsTerminal, Write},
    path::Path,
    time::Duration,
};

use serde_json::json;

use super::record::{Promise, Seen};
use crate::output::{columns, say};

/// How wide the bar is, in characters: it fits beside its words on the narrowest terminal.
const BAR: u64 = 30;

/// The end of a run.
pub(super) struct Report<'a> {
    pub(super) seen: &'a Seen,
    pub(super) seed: u64,
    pub(super) lasted: Duration,
    /// Where data and logs are, if they were kept.
    pub(super) kept: Option<&'a Path>,
}

impl Report<'_> {
    /// Prints it.
    pub(super) fn print(&self, json: bool) {
        if json {
            return say(self.json());
        }
        let seen = self.seen;
        let (Seen { kills, kills_during_start, kills_during_stop, clean_stops, starts, .. }, ledger) =
            (seen, seen.ledger);
        let reasons: Vec<String> = seen.parked_because.iter().map(|(why, count)| format!("{count} {why}")).collect();
        let mut rows = vec![
            ("kills", format!("{kills}, {kills_during_start} during start, {kills_during_stop} during stop")),
            ("starts", format!("{starts}; clean stops: {clean_stops}")),
            ("payments", format!("{}, {} further attempts", seen.payments, seen.further_attempts)),
            (
                "settled",
                format!(
                    "{} succeeded, {} authorized, {} declined, {} canceled",
                    seen.succeeded, seen.authorized, seen.declined, seen.canceled
                ),
            ),
            ("parked", format!("{} {}", seen.parked, reasons.join(", ")).trim_end().to_owned()),
            ("in doubt", seen.in_doubt.to_string()),
            (
                "answers",
                format!(
                    "{} final, {} replayed, {} conflicts refused, {} times no room",
                    seen.settled, seen.replays, seen.conflicts, seen.no_room
                ),
            ),
            ("ledger", format!("{} movements, {} moved twice", ledger.movements, ledger.moved_twice)),
            ("seed", format!("{}, {:.1} s", self.seed, self.lasted.as_secs_f64())),
        ];
        match seen.broken.len() {
            0 => rows.push(("promises", "all kept".to_owned())),
            broken => rows.push(("BROKEN", broken.to_string())),
        }
        if let Some(kept) = self.kept {
            rows.push(("kept", kept.display().to_string()));
        }
        columns(&rows);
        for (promise, what) in seen.broken.iter().take(10) {
            eprintln!("{promise:?}: {what}");
        }
    }

    fn json(&self) -> serde_json::Value {
        let seen = self.seen;
        let broken: Vec<String> = seen.broken.iter().map(|(promise, what)| format!("{promise:?}: {what}")).collect();
        json!({
            "kills": seen.kills, "kills_during_start": seen.kills_during_start,
            "kills_during_stop": seen.kills_during_stop, "starts": seen.starts, "clean_stops": seen.clean_stops,
            "payments": seen.payments, "succeeded": seen.succeeded, "authorized": seen.authorized,
            "declined": seen.declined, "canceled": seen.canceled, "parked": seen.parked,
            "parked_because": seen.parked_because, "in_doubt": seen.in_doubt,
            "further_attempts": seen.further_attempts, "final_answers": seen.settled, "replays": seen.replays,
            "conflicts_refused": seen.conflicts, "storage_full": seen.no_room, "stops_on_full_disk": seen.stops_on_full_disk, "movements": seen.ledger.movements,
            "moved_twice": usize::try_from(seen.ledger.moved_twice).unwrap_or(usize::MAX)
                .max(seen.times(Promise::MovedTwice)),
            "lost_answers": seen.times(Promise::LostAnswer), "changed_answers": seen.times(Promise::ChangedAnswer),
            "wrong_movements": seen.times(Promise::WrongMovement), "sent_again": seen.times(Promise::SentAgain),
            "refused_starts": seen.times(Promise::RefusedStart), "hung": seen.times(Promise::Hung),
            "broken": broken, "seed": self.seed, "seconds": self.lasted.as_secs(), "kept": self.kept,
        })
    }

    /// Writes down what was broken, beside the data.
    pub(super) fn write_evidence(&self, folder: &Path) -> io::Result<()> {
        let lines: Vec<String> =
            self.seen.broken.iter().map(|(promise, what)| format!("{promise:?}: {what}\n")).collect();
        fs::write(folder.join("evidence.txt"), lines.join("\n"))
    }
}

/// A bar on standard error, if a person is there to see it.
pub(super) struct Progress {
    shown: bool,
}

impl Progress {
    pub(super) fn new() -> Progress {
        Progress { shown: io::stderr().is_terminal() }
    }

    /// Draws how much is done, in thousandths.
    pub(super) fn draw(&self, done: u64, what: &str) {
        if self.shown {
            let full = usize::try_from(done.min(1_000) * BAR / 1_000).unwrap_or(0);
            let width = usize::try_from(BAR).unwrap_or(0);
            let mut out = io::stderr().lock();
            // A terminal that is gone shows nothing, and that is no failure of the run.
            let _ = write!(out, "\r[{:width$}] {what:<40}", "=".repeat(full)).and_then(|()| out.flush());
        }
    }

    /// Leaves the line.
    pub(super) fn clear(&self) {
        if self.shown {
            eprint!("\r{:80}\r", "");
        }
    }
}
