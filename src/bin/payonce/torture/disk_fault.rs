//! A life over a disk that fails once, and what may become of it.

use std::{io, process::ExitStatus, time::Duration};

use payonce::disk::{DiskFault, DiskFaultKind};

use super::{
    killer::{Killer, REFUSED, START, STOP, hung, introduce},
    process::{Introduced, Process},
    record::{Promise, Struck},
};

/// At which operation it fails at the latest: every third within the few of a start, the others under load.
const EARLY_FAULT: u64 = 16;
const LATE_FAULT: u64 = 40;
/// How long that is waited for.
const FAULT_LIFE: Duration = Duration::from_secs(1);

impl Killer<'_> {
    /// A life in which the disk under the journal fails once. If a batch was hit, it must stop by itself.
    pub(super) fn live_with_fault(&mut self) -> io::Result<()> {
        let fault = self.fault();
        let flags = [self.gateway(), vec!["--disk-fault".to_owned(), fault.to_string()]].concat();
        let log = self.site.log_bytes("daemon");
        self.record.note(|seen| seen.starts += 1);
        let mut daemon = self.site.start_daemon(&flags)?;
        let introduced = daemon.introduced(START);
        let ended = match &introduced {
            Introduced::Said(line) => {
                self.state.rebuilding = false;
                introduce(self.record, line);
                self.wait(&mut daemon, FAULT_LIFE)?
            }
            Introduced::Silent => return hung(self.record),
            Introduced::Ended => daemon.ended(STOP)?,
        };
        let starting = matches!(introduced, Introduced::Ended);
        match (ended, self.strike(log)) {
            (Some(status), strike) => self.judge_end(status, fault.kind, strike.is_some(), starting),
            (None, Some(strike)) => return self.outlive(daemon, fault.kind, &strike),
            (None, None) => {
                // It may strike just now, and then the daemon may be faster than the kill.
                let (in_flight, status) = (self.record.count_in_flight(), daemon.kill()?);
                self.record.publish(None);
                match status.code() {
                    None => self.record.note_kill(|seen| seen.kills_in_flight += in_flight.min(1)),
                    Some(_) => self.judge_end(status, fault.kind, self.strike(log).is_some(), false),
                }
            }
        }
        Ok(())
    }

    /// The line of the log with which the fault struck, if it did.
    fn strike(&self, log: u64) -> Option<String> {
        self.site.log_since("daemon", log).lines().find(|line| line.contains(STRIKE)).map(str::to_owned)
    }

    /// It ended by itself: which it may only where its disk failed, and then with the right exit code.
    fn judge_end(&self, status: ExitStatus, kind: DiskFaultKind, has_struck: bool, starting: bool) {
        if !has_struck || status.code() != Some(REFUSED) {
            return self.fell(status, false);
        }
        self.count_strike(kind, |struck| {
            *(if starting { &mut struck.stopped_in_start } else { &mut struck.stopped }) += 1;
        });
    }

    /// It still runs although its disk has failed: which it may only where no batch was hit.
    fn outlive(&self, mut daemon: Process, kind: DiskFaultKind, strike: &str) -> io::Result<()> {
        if !hits_batch(strike) {
            self.count_strike(kind, |struck| struck.harmless += 1);
            return self.kill_alive(daemon, false);
        }
        // It may have struck this very moment.
        match daemon.ended(STOP)? {
            Some(status) if status.code() == Some(REFUSED) => self.count_strike(kind, |struck| struck.stopped += 1),
            Some(status) => self.fell(status, false),
            None => self.record.broke(Promise::WentOn, format!("the daemon goes on after {strike}")),
        }
        self.record.publish(None);
        Ok(())
    }

    fn count_strike(&self, kind: DiskFaultKind, how: impl FnOnce(&mut Struck)) {
        self.record.note(|seen| {
            let struck = seen.disk_faults.entry(kind.as_str()).or_default();
            struck.struck += 1;
            how(struck);
        });
    }

    fn fault(&mut self) -> DiskFault {
        let place = usize::try_from(self.dice.below(4)).unwrap_or(0);
        let kind = DiskFaultKind::ALL.get(place).copied().unwrap_or(DiskFaultKind::Fsync);
        let latest = if self.dice.one_in(3) { EARLY_FAULT } else { LATE_FAULT };
        DiskFault { kind, at: self.dice.between(1, latest) }
    }
}

/// What the daemon's log says when an injected fault strikes.
const STRIKE: &str = "injected disk fault";

/// Whether it struck the writing or the syncing of a batch. Segments are synced with fsync, and batches with fdatasync;
/// a segment that is being made is a `.tmp`.
fn hits_batch(strike: &str) -> bool {
    strike.contains("fdatasync") || (strike.contains("a write of") && strike.contains(".log"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_fault_that_hit_a_batch_has_to_stop_the_daemon() {
        for (what, stops) in [
            ("fsync:5 in an fdatasync of journal/0000000001.log", true),
            ("write:30 in a write of journal/0000000001.log", true),
            ("write:3 in a write of journal/0000000002.tmp", false),
            ("fsync:3 in an fsync of journal/0000000002.tmp", false),
            ("fsync:9 in an fsync of journal/0000000001.log", false),
            ("fsync:1 in an fsync of folder \"journal\"", false),
        ] {
            assert_eq!(hits_batch(what), stops, "{what}");
        }
    }
}
