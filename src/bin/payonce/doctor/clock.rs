//! The journal's last time and boot beside this machine's, and whether the journal belongs in this folder.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use payonce::{
    Timestamp,
    config::Settings,
    disk::boot_id,
    journal::{self, Found, Options},
};

use super::{Check, data::Folder};
use crate::journal::disk;

/// A clock that is set by the network is never this far off; a year means that it was never set.
const LONG_AGO: Duration = Duration::from_secs(366 * 24 * 3600);

pub(super) fn look(settings: &Settings, folder: &Folder, checks: &mut Vec<Check>) {
    let Ok(disk) = disk(&settings.data) else {
        return checks.push(Check::fine("journal", "none yet"));
    };
    // What a start reads in any case; `payonce journal verify` reads all of it.
    match journal::open(disk, Options { verify_bytes: 0, ..Options::default() }) {
        Ok(found) => {
            checks.push(end(&found, folder));
            checks.push(wall(&found, settings));
            checks.push(boot(&found));
            checks.extend(moved(&found, folder));
        }
        Err(error) if folder.is_held => {
            let found = format!("cannot be read beside the daemon just now: {error}");
            checks.push(Check::warning("journal", found, "run this again, or `payonce journal verify`"));
        }
        Err(error) => {
            checks.push(Check::problem("journal", error.to_string(), "`payonce journal verify` shows what and where"));
        }
    }
}

fn end(found: &Found, folder: &Folder) -> Check {
    let last = format!("up to record {}", found.last());
    match (found.closed().is_some(), folder.is_held) {
        (true, _) => Check::fine("journal", format!("{last}; the last stop was in order")),
        (false, true) => Check::fine("journal", format!("{last}, and it goes on")),
        (false, false) if found.is_new() => Check::fine("journal", "none yet"),
        (false, false) => {
            Check::fine("journal", format!("{last}; the last stop was not in order: the next start recovers"))
        }
    }
}

fn wall(found: &Found, settings: &Settings) -> Check {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let now = Timestamp::from_millis(0).plus(now);
    match found.last_wall() {
        Some(last) => compared(last, now, settings.options(false).schedule.skew),
        None => Check::fine("clock", "nothing to compare it with yet"),
    }
}

fn compared(last: Timestamp, now: Timestamp, skew: Duration) -> Check {
    let (behind, ahead) = (last.since(now), now.since(last));
    if behind > skew {
        let told = format!("{} s behind the journal", behind.as_secs_f64());
        return Check::problem("clock", told, "set the clock, then restart: until then nothing is sent again");
    }
    if ahead > LONG_AGO {
        let told = format!("{} days after the journal's last record", ahead.as_secs() / 86_400);
        return Check::warning("clock", told, "check the date: keys look older than the gateway keeps them");
    }
    Check::fine("clock", format!("{} s after the journal's last record", ahead.as_secs()))
}

fn boot(found: &Found) -> Check {
    match (found.boot_id(), boot_id()) {
        (Some(theirs), Some(ours)) if theirs == ours => {
            Check::fine("boot", "the same as the journal's: what was written is still in memory")
        }
        (Some(_), Some(_)) if found.closed().is_none() => {
            Check::fine("boot", "another than the journal's: the next start builds the store anew")
        }
        (Some(_) | None, Some(_)) => Check::fine("boot", "known"),
        (Some(_) | None, None) => {
            Check::warning("boot", "the kernel does not tell it", "after each unclean stop the store is built anew")
        }
    }
}

/// A journal in another folder than it was written in. Only without a daemon: its lock can then be looked at.
fn moved(found: &Found, folder: &Folder) -> Option<Check> {
    let (theirs, ours) = (found.lock_inode()?, folder.lock?);
    let told = "the folder was copied or restored: new payments are refused (moved)";
    let advice = "make sure that no copy of it is in use, then say `payonce serve --moved` once";
    (theirs != ours).then(|| Check::problem("place", told, advice))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::Standing;

    #[test]
    fn a_wall_clock_behind_the_journal_is_a_problem_and_one_far_ahead_a_warning() {
        let at = |seconds: u64| Timestamp::from_millis(seconds * 1_000);
        for (last, now, standing) in [
            (100, 100, Standing::Fine),
            (102, 100, Standing::Fine),
            (103, 100, Standing::Problem),
            (100, 1_000_000, Standing::Fine),
            (100, 40_000_000, Standing::Warning),
        ] {
            assert_eq!(compared(at(last), at(now), Duration::from_secs(2)).standing, standing, "{last} {now}");
        }
    }
}
