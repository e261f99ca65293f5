//! Segments that anybody may have put there: any bytes, or any fields with right checksums around them.
//!
//! Asserts: opening, replaying, dumping and verifying never panic, end, and change nothing. What is refused, `verify`
//! names. What opens gives the same records twice, each later than the one before; `verify` finds nothing means that
//! replay works; and a new start on it keeps every record of it.

use std::sync::Arc;

use payonce::{
    disk::{Access, Disk},
    journal::{AppendError, Begin, Found, Lsn, OpenError, Opened, Options, Record, ReplayFrom, dump, open, verify},
    payment::Timestamp,
    sim::SimDisk,
};

use super::{choices::Choices, forge::Forge};

/// Small, so that there can be several.
pub(super) const SIZES: Options =
    Options { segment_bytes: 12 << 10, batch_bytes: 2 << 10, largest_batch_bytes: 4 << 10, verify_bytes: u64::MAX };

pub(super) type Records = Vec<(Lsn, Record)>;

/// Any segments.
pub fn journal_scan(bytes: &[u8]) {
    let mut c = Choices(bytes);
    let disk = Arc::new(SimDisk::new());
    let mut forge = Forge::new();
    for _ in 0..=c.below(3) {
        let (number, mut content) = if c.seldom() {
            let number = c.deviate(1);
            (number, c.take(c.0.len() / 2).to_vec())
        } else {
            forge.segment(&mut c, SIZES.segment_bytes, SIZES.largest_batch_bytes.into())
        };
        let length = if c.seldom() { c.word() } else { SIZES.segment_bytes as usize };
        content.resize(length, 0);
        put(&disk, &path(number), &content);
    }
    check(&disk);
}

pub(super) fn path(number: u64) -> String {
    format!("journal/{number:010}.log")
}

/// Puts a file in place, durably.
pub(super) fn put(disk: &SimDisk, path: &str, content: &[u8]) {
    let _ = disk.remove(path);
    let file = disk.create(path).expect("a new file");
    disk.write_at(file, 0, content).expect("a disk without faults");
    disk.sync_all(file).expect("a disk without faults");
    disk.sync_dir("journal").expect("a disk without faults");
    disk.close(file);
}

/// A file's content.
pub(super) fn get(disk: &SimDisk, path: &str) -> Vec<u8> {
    let file = disk.open(path, Access::Read).expect("it is there");
    let mut content = vec![0; disk.len(file).expect("it is open") as usize];
    disk.read_at(file, 0, &mut content).expect("it is open");
    disk.close(file);
    content
}

/// Every record that counts, or why not.
pub(super) fn replay(found: &Found, from: ReplayFrom) -> Result<Records, OpenError> {
    let mut records = Vec::new();
    found.replay(from, &mut |lsn, _, record| {
        records.push((lsn, record));
        Ok::<(), OpenError>(())
    })?;
    Ok(records)
}

fn check(disk: &Arc<SimDisk>) {
    let steps = disk.steps();
    let opened = open(disk.clone(), SIZES);
    let verified = verify(disk.clone(), SIZES);
    let dumped = dump(disk.clone()).map(|entries| entries.filter(Result::is_ok).count()).unwrap_or(0);
    assert_eq!(disk.steps(), steps, "reading changes nothing");
    let clean = verified.as_ref().is_ok_and(|verified| verified.failures.is_empty());
    if let Ok(verified) = &verified {
        assert_eq!(verified.records, dumped as u64, "verify counts what dump shows");
    }
    match opened {
        Err(error) => assert!(!clean && !error.to_string().is_empty(), "verify does not name: {error}"),
        Ok(found) => match replay(&found, ReplayFrom::Beginning) {
            Err(error) => assert!(!clean, "verify does not name: {error}"),
            Ok(records) => {
                assert!(records.is_sorted_by(|one, next| one.0 < next.0), "records are not in order");
                assert!(records.iter().all(|(lsn, _)| *lsn <= found.last()) && found.proven() <= found.last());
                assert_eq!(replay(&found, ReplayFrom::Beginning).ok().as_ref(), Some(&records));
                goes_on(disk, found, &records);
            }
        },
    }
}

/// A new start on what was opened, as the engine makes it: whatever counted still does, here or recorded again.
pub(super) fn goes_on(disk: &Arc<SimDisk>, found: Found, records: &Records) {
    let Ok((begun, expected)) = start(found, records, 99) else { return };
    drop(begun);
    let found = open(disk.clone(), SIZES).unwrap_or_else(|error| panic!("after a start: {error}"));
    let now = replay(&found, ReplayFrom::Beginning).unwrap_or_else(|error| panic!("after a start: {error}"));
    assert_eq!(now, expected, "after a start");
}

/// Starts, and says what a replay must give from then on. Refused only where a record is too long for this version's
/// batches, or no disk has such a place.
pub(super) fn start(
    found: Found,
    records: &Records,
    salt: u64,
) -> Result<(payonce::journal::Journal, Records), AppendError> {
    let again = found.to_record_again().expect("replay has read it");
    let proven = found.proven();
    let mut expected: Records = records.iter().filter(|(lsn, _)| *lsn <= proven).cloned().collect();
    let begin = Begin { store_uuid: [9; 16], salt, boot_id: [5; 16], lock_inode: 42 };
    let mut journal = found.begin(begin)?;
    let opened = Record::Opened(Opened { epoch: journal.epoch(), moved: false });
    for record in again.into_iter().chain([opened]) {
        let appended = journal.append(Timestamp::from_millis(salt), &[vec![record.clone()]])?;
        assert_eq!((appended.first, appended.batches), (appended.last, 1));
        expected.push((appended.first, record));
    }
    journal.clean_up().map_err(|error| AppendError::Stopped(error.to_string()))?;
    Ok((journal, expected))
}
