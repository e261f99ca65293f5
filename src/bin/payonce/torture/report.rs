//! What a run has shown, for people and for programs, and how far it is.

use std::{
    fs,
    io::{self, IsTerminal, Write},
    path::Path,
    time::Duration,
};

use serde_json::{Value, json};

use super::record::{CutShort, Promise, Seen};
use crate::output::{columns, say};

/// How wide the bar is, in characters: it fits beside its words on the narrowest terminal.
const BAR: u64 = 30;

/// The end of a run.
pub(super) struct Report<'a> {
    pub(super) seen: &'a Seen,
    pub(super) arenas: u64,
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
        let reasons: Vec<String> = seen.parked_because.iter().map(|(why, count)| format!("{count} {why}")).collect();
        let mut rows = self.rows_of_kills();
        rows.extend([
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
            (
                "operations",
                format!(
                    "{}: {} captures, {} voids and {} refunds done; {} not possible, and refused; a person ended {} charges",
                    seen.operations, seen.captures, seen.voids, seen.refunds, seen.impossible, seen.decided
                ),
            ),
            (
                "failover",
                format!(
                    "{} payments went to the other gateway; {} rounds with two, of which one was gone {} times",
                    seen.rerouted, seen.rounds_of_two, seen.outages
                ),
            ),
            ("news", format!("{} taken, {} forged and refused", seen.news, seen.forged_refused)),
            ("ledger", format!("{} movements, {} moved twice", seen.ledger.movements, seen.ledger.moved_twice)),
            ("data", format!("{} MiB at the end of a round, at most", seen.data_bytes >> 20)),
            ("seed", format!("{}, {:.1} s", self.seed, self.lasted.as_secs_f64())),
        ]);
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

    fn rows_of_kills(&self) -> Vec<(&'static str, String)> {
        let Seen { kills, kills_in_flight, kills_during_stop, starts, clean_stops, stores_removed, .. } = self.seen;
        let (taken_up, rate) = (self.seen.taken_up, self.rate());
        let early = self.seen.cut_short.len();
        let mut rows = vec![
            (
                "kills",
                format!(
                    "{kills}, {kills_in_flight} with payments in flight, {kills_during_stop} during stop; {rate:.1} a second"
                ),
            ),
            (
                "in start",
                format!(
                    "{early}, {} while the store was rebuilt; {}",
                    self.seen.kills_during_rebuild,
                    self.quartiles()
                ),
            ),
            (
                "starts",
                format!(
                    "{starts}, {taken_up} payments taken up, {stores_removed} stores removed; clean stops: {clean_stops}"
                ),
            ),
        ];
        for (kind, struck) in &self.seen.disk_faults {
            let (stopped, starting, harmless) = (struck.stopped, struck.stopped_in_start, struck.harmless);
            let how = format!(
                "{} {kind}: {stopped} stops under load, {starting} in start, {harmless} hit no batch",
                struck.struck
            );
            rows.push(("disk fault", how));
        }
        rows
    }

    /// Kills a second, settling and comparing included.
    fn rate(&self) -> f64 {
        u32::try_from(self.seen.kills).map_or(f64::INFINITY, f64::from) / self.lasted.as_secs_f64()
    }

    fn quartiles(&self) -> String {
        let [after, depth] = [|one: &CutShort| one.after / 1_000, |one: &CutShort| one.depth / 10].map(|of| {
            let quartiles = quartiles(&self.seen.cut_short, of);
            quartiles.map(|number| number.to_string()).join(", ")
        });
        format!("after {after} ms, {depth} % of a start (quartiles)")
    }

    fn json(&self) -> Value {
        let Value::Object(mut report) = self.counts() else { return Value::Null };
        if let Value::Object(more) = self.kills() {
            report.extend(more);
        }
        report.into()
    }

    fn counts(&self) -> Value {
        let seen = self.seen;
        let broken: Vec<String> = seen.broken.iter().map(|(promise, what)| format!("{promise:?}: {what}")).collect();
        json!({
            "payments": seen.payments, "succeeded": seen.succeeded, "authorized": seen.authorized,
            "declined": seen.declined, "canceled": seen.canceled, "parked": seen.parked,
            "parked_because": seen.parked_because, "in_doubt": seen.in_doubt,
            "operations": seen.operations, "captures": seen.captures, "voids": seen.voids, "refunds": seen.refunds,
            "impossible_refused": seen.impossible, "decided_by_person": seen.decided,
            "asked_too_much": seen.times(Promise::AskedTooMuch),
            "news": seen.news, "forged_refused": seen.forged_refused, "forged_taken": seen.times(Promise::HeardForgery),
            "further_attempts": seen.further_attempts, "final_answers": seen.settled, "replays": seen.replays,
            "conflicts_refused": seen.conflicts, "storage_full": seen.no_room, "movements": seen.ledger.movements,
            "moved_twice": usize::try_from(seen.ledger.moved_twice).unwrap_or(usize::MAX)
                .max(seen.times(Promise::MovedTwice)),
            "lost_answers": seen.times(Promise::LostAnswer), "changed_answers": seen.times(Promise::ChangedAnswer),
            "wrong_movements": seen.times(Promise::WrongMovement), "sent_again": seen.times(Promise::SentAgain),
            "refused_starts": seen.times(Promise::RefusedStart), "hung": seen.times(Promise::Hung),
            "went_on": seen.times(Promise::WentOn), "broken": broken, "data_bytes": seen.data_bytes,
            "arenas": self.arenas, "rounds": seen.rounds, "seed": self.seed, "seconds": self.lasted.as_secs(),
            "kept": self.kept,
        })
    }

    fn kills(&self) -> Value {
        let seen = self.seen;
        let faults = seen.disk_faults.iter().map(|(kind, struck)| {
            let how = json!({
                "struck": struck.struck, "stopped": struck.stopped, "stopped_in_start": struck.stopped_in_start,
                "harmless": struck.harmless,
            });
            ((*kind).to_owned(), how)
        });
        let per_kill = |count: u64| {
            let [count, kills] = [count, seen.kills].map(|count| u32::try_from(count).map_or(f64::INFINITY, f64::from));
            (count / kills.max(1.0) * 10.0).round() / 10.0
        };
        json!({
            "kills": seen.kills, "kills_during_start": seen.cut_short.len(),
            "kills_during_rebuild": seen.kills_during_rebuild, "kills_during_stop": seen.kills_during_stop,
            "kills_in_flight": seen.kills_in_flight, "kills_per_s": (self.rate() * 100.0).round() / 100.0,
            "payments_per_kill": per_kill(seen.payments), "starts": seen.starts, "clean_stops": seen.clean_stops,
            "taken_up": seen.taken_up, "stores_removed": seen.stores_removed,
            "start_kill_ms": quartiles(&seen.cut_short, |one| one.after / 1_000),
            "start_kill_percent": quartiles(&seen.cut_short, |one| one.depth / 10),
            "rerouted": seen.rerouted, "rounds_of_two": seen.rounds_of_two, "outages": seen.outages,
            "stops_on_full_disk": seen.stops_on_full_disk,
            "disk_faults": faults.collect::<serde_json::Map<_, _>>(),
        })
    }
}

/// The least, the quartiles, and the most.
fn quartiles(all: &[CutShort], of: impl Fn(&CutShort) -> u64) -> [u64; 5] {
    let mut numbers: Vec<u64> = all.iter().map(of).collect();
    numbers.sort_unstable();
    let last = numbers.len().saturating_sub(1);
    [0, 1, 2, 3, 4].map(|quarter| numbers.get(last * quarter / 4).copied().unwrap_or(0))
}

/// Writes down what was broken, beside the data.
pub(super) fn write_evidence(folder: &Path, broken: &[(Promise, String)]) -> io::Result<()> {
    let lines: Vec<String> = broken.iter().map(|(promise, what)| format!("{promise:?}: {what}\n")).collect();
    fs::write(folder.join("evidence.txt"), lines.join("\n"))
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
            let _ = write!(out, "\r[{:width$}] {what:<46}", "=".repeat(full)).and_then(|()| out.flush());
        }
    }

    /// Leaves the line.
    pub(super) fn clear(&self) {
        if self.shown {
            eprint!("\r{:80}\r", "");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quartiles_are_of_all_in_any_order() {
        let all = [40, 0, 30, 10, 20].map(|after| CutShort { after, depth: 0 });
        assert_eq!(quartiles(&all, |one| one.after), [0, 10, 20, 30, 40]);
        assert_eq!(quartiles(&[], |one| one.after), [0; 5]);
    }
}
