//! How long the disk takes to make something durable. Every payment waits for that twice or more; and one that takes no
//! time at all does not do it.

use std::{
    fs::{self, File},
    io,
    os::unix::fs::FileExt,
    path::Path,
    time::{Duration, Instant},
};

use super::Check;

const WHAT: &str = "disk";
/// Enough for a median; a tenth of a second on a slow disk.
const TIMES: usize = 40;
const BLOCK: usize = 4096;
/// No disk is that fast: a write cache that lies, or memory. The fastest with capacitors take about 15 to 30 us.
const IMPLAUSIBLE: Duration = Duration::from_micros(20);
/// A rotating disk, or one that is shared with too many.
const SLOW: Duration = Duration::from_millis(20);

pub(super) fn look(folder: &Path, checks: &mut Vec<Check>) {
    let path = folder.join(format!("doctor-{}.tmp", std::process::id()));
    let measured = measure(&path);
    let _ = fs::remove_file(&path);
    checks.push(match measured {
        Ok(median) => judged(median),
        Err(error) => Check::problem(WHAT, format!("cannot be written: {error}"), "let the daemon's user write there"),
    });
}

fn judged(median: Duration) -> Check {
    let found = format!("4 KiB are durable after {} us (median of {TIMES} fdatasyncs)", median.as_micros());
    if median < IMPLAUSIBLE {
        let advice = "no disk is that fast: a cache that lies, or memory; payments may be lost with the power";
        return Check::warning(WHAT, found, advice);
    }
    if median > SLOW {
        return Check::warning(WHAT, found, "each payment waits for this two times and more: use a faster disk");
    }
    Check::fine(WHAT, found)
}

/// As the journal does it: into space that is there, and was zeroed.
fn measure(path: &Path) -> io::Result<Duration> {
    let file = File::create_new(path)?;
    file.write_all_at(&[0; BLOCK * TIMES], 0)?;
    file.sync_all()?;
    let mut times = Vec::with_capacity(TIMES);
    let mut at = 0;
    for _ in 0..TIMES {
        let began = Instant::now();
        file.write_all_at(&[1; BLOCK], at)?;
        file.sync_data()?;
        times.push(began.elapsed());
        at += 4096;
    }
    times.sort_unstable();
    Ok(times.get(TIMES / 2).copied().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::Standing;

    #[test]
    fn a_disk_is_warned_of_where_it_is_too_fast_to_be_true_or_too_slow_to_wait_for() {
        for (micros, standing) in [
            (5, Standing::Warning),
            (19, Standing::Warning),
            (20, Standing::Fine),
            (700, Standing::Fine),
            (20_001, Standing::Warning),
        ] {
            assert_eq!(judged(Duration::from_micros(micros)).standing, standing, "{micros}");
        }
    }
}
