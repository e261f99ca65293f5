//! Appending, reading back and starting again, when all goes well and when the disk does not.

#![allow(clippy::expect_used, clippy::unwrap_used, clippy::indexing_slicing, clippy::as_conversions, reason = "tests")]

mod folder;

mod journal_kit;

use std::{io::ErrorKind, sync::Arc};

use folder::Folder;
use journal_kit::{
    Known, MemoryDisk, SMALL, at, begin, event, feed, known, memory_disk::Fails, open_image, pay, payment, samples,
    start, start_with,
};
use payonce::{
    disk::{FolderLock, LockError, OsDisk},
    journal::{AppendError, Checkpoint, Journal, Lsn, Options, Position, Record, ReplayFrom, open},
    payment::Fact,
};

fn long(number: u64, bytes: usize) -> Vec<Record> {
    vec![Record::Event(samples::long_event(number, bytes))]
}

#[test]
fn groups_share_a_batch_and_none_is_split() {
    let disk = MemoryDisk::default();
    let mut journal = start(&disk, 1).expect("a start").journal;
    let steps = disk.steps();
    let appended = pay(&mut journal, 1..11).expect("room");
    assert_eq!((appended.batches, disk.steps() - steps), (1, 2), "ten groups: one write, one fsync");
    assert_eq!(appended.last, appended.first.plus(9));

    let group: Vec<Record> = (20..40).map(|number| Record::Event(samples::long_event(number, 100))).collect();
    let appended = journal.append(at(1), &[long(11, 900), group, long(12, 900)]).expect("room");
    assert_eq!(
        appended.batches, 3,
        "the group in the middle is longer than a batch is meant to be, and still one batch"
    );
    let nothing = journal.append(at(1), &[]).expect("nothing to do");
    assert_eq!((nothing.batches, nothing.last), (0, appended.last));
}

#[test]
fn a_group_longer_than_any_batch_is_refused_and_nothing_is_written() {
    let disk = MemoryDisk::default();
    let mut journal = start(&disk, 1).expect("a start").journal;
    let (last, steps) = (journal.last(), disk.steps());
    let refused = journal.append(at(1), &[long(1, 10), long(2, 5_000)]);
    assert!(matches!(refused, Err(AppendError::TooLarge { limit: 4096, .. })), "{refused:?}");
    assert_eq!((journal.last(), disk.steps()), (last, steps));
    pay(&mut journal, 1..2).expect("it goes on");
}

#[test]
fn records_go_on_across_segments_and_are_read_back_from_all_of_them() {
    let disk = MemoryDisk::default();
    let mut journal = start(&disk, 1).expect("a start").journal;
    let mut reader = journal.reader();
    let mut shown = Vec::new();
    for number in 1..60 {
        let appended = journal.append(at(number), &[long(number, 700)]).expect("space");
        let read = reader.read_from(appended.first, appended.last, 10).expect("readable");
        shown.extend(read.into_iter().map(|(lsn, _)| lsn));
        assert_eq!(shown.last(), Some(&appended.last), "what is durable is shown at once");
    }
    assert!(disk.after_kill().len() > 5, "several segments");
    assert_eq!(feed(&journal), (1..60).collect::<Vec<u64>>());
    let found = open_image(disk.after_power_loss()).expect("a journal");
    assert_eq!(known(&found, ReplayFrom::Beginning).expect("readable"), (1..60).collect::<Known>());
    assert_eq!(found.last_wall(), Some(at(59)));
}

/// The exact place: earlier, and more would be read than is needed; later, and something would be missed.
#[test]
fn a_reading_of_what_came_after_a_time_begins_with_the_last_segment_that_began_before_it() {
    let disk = MemoryDisk::default();
    let mut journal = start(&disk, 1).expect("a start").journal;
    let mut begun = vec![(Lsn::new(1), 1)];
    for number in 2..60 {
        let before = journal.position().segment;
        let appended = journal.append(at(number), &[long(number, 700)]).expect("space");
        if journal.position().segment != before {
            begun.push((appended.first, number));
        }
    }
    assert!(begun.len() > 3, "several segments");
    let mut reader = journal.reader();
    for time in 0..70 {
        let last = begun.iter().rfind(|(_, wall)| *wall <= time).or(begun.first()).expect("one").0;
        assert_eq!(reader.first_after(at(time)).expect("readable"), last, "after {time}");
    }
}

#[test]
fn a_reader_stops_at_what_is_durable_and_at_what_was_asked_for() {
    let disk = MemoryDisk::default();
    let mut journal = start(&disk, 1).expect("a start").journal;
    let appended = pay(&mut journal, 1..31).expect("room");
    let mut reader = journal.reader();
    let mut next = appended.first;
    let upto = appended.first.plus(24);
    let mut read = Vec::new();
    loop {
        let some = reader.read_from(next, upto, 7).expect("readable");
        assert!(some.len() <= 7);
        let Some((last, _)) = some.last() else { break };
        next = last.plus(1);
        read.extend(some.into_iter().map(|(lsn, _)| lsn));
    }
    assert_eq!(read, (0..25).map(|n| appended.first.plus(n)).collect::<Vec<Lsn>>());
    let again = reader.read_from(appended.first.plus(3), upto, 2).expect("going back works");
    assert_eq!(again.iter().map(|(lsn, _)| *lsn).collect::<Vec<_>>(), [appended.first.plus(3), appended.first.plus(4)]);
}

#[test]
fn what_was_recorded_again_is_shown_once() {
    let disk = MemoryDisk::default();
    let mut journal = start(&disk, 1).expect("a start").journal;
    pay(&mut journal, 1..3).expect("room");
    pay(&mut journal, 3..5).expect("room");
    for salt in 2..6 {
        let started = start(&MemoryDisk::of(disk.after_kill()), salt).expect("a start");
        assert_eq!(feed(&started.journal), [1, 2, 3, 4]);
    }
    let first = start(&disk, 2).expect("a start");
    let second = start(&disk, 3).expect("a start");
    assert_eq!((feed(&second.journal), second.known), (vec![1, 2, 3, 4], first.known));
}

#[test]
fn an_empty_batch_makes_the_last_one_evident_once() {
    let disk = MemoryDisk::default();
    let mut journal = start(&disk, 1).expect("a start").journal;
    let appended = pay(&mut journal, 1..3).expect("room");
    let found = open_image(disk.after_kill()).expect("a journal");
    assert_eq!((found.proven().plus(2), found.last()), (appended.last, appended.last));
    assert_eq!(found.to_record_again().expect("readable").len(), 2);
    journal.confirm(at(9)).expect("room");
    let steps = disk.steps();
    journal.confirm(at(10)).expect("room");
    assert_eq!(disk.steps(), steps, "nothing more to say");
    let found = open_image(disk.after_kill()).expect("a journal");
    assert_eq!((found.proven(), found.last()), (appended.last, appended.last));
    assert_eq!(found.to_record_again().expect("readable"), []);
    assert_eq!(found.chain_at(appended.last), Some(appended.chain), "the batch with records, not the empty one");
}

#[test]
fn the_chain_of_what_was_recorded_again_is_known_even_when_the_original_is_lost() {
    let disk = MemoryDisk::default();
    let mut journal = start(&disk, 1).expect("a start").journal;
    pay(&mut journal, 1..3).expect("room");
    let before = journal.position().offset as usize;
    let appended = pay(&mut journal, 3..5).expect("room");
    let mut second = start(&disk, 2).expect("a start").journal;
    let again = pay(&mut second, 5..6).expect("room");
    let mut image = disk.after_kill();
    image.get_mut("journal/0000000001.log").expect("there")[before..].fill(0);
    let found = open_image(image).expect("a journal");
    assert_eq!(found.chain_at(appended.last), Some(appended.chain));
    assert_eq!(found.chain_at(again.last), Some(again.chain));
    assert_eq!(known(&found, ReplayFrom::Beginning).expect("readable"), (1..6).collect::<Known>());
}

#[test]
fn a_torn_batch_whose_header_landed_proves_the_one_before() {
    let disk = MemoryDisk::unpacked();
    let mut journal = start(&disk, 1).expect("a start").journal;
    let durable = pay(&mut journal, 1..3).expect("room");
    let before = journal.position().offset as usize;
    pay(&mut journal, 3..28).expect("room");
    let mut image = disk.after_kill();
    image.get_mut("journal/0000000001.log").expect("there")[before + 512..].fill(0);
    let found = open_image(image).expect("a journal");
    assert!(found.stepped_over_torn_batch());
    assert_eq!((found.proven(), found.last()), (durable.last, durable.last));
}

#[test]
fn a_segment_that_holds_nothing_but_a_torn_batch_loses_nothing_before_it() {
    let disk = MemoryDisk::default();
    let mut journal = start(&disk, 1).expect("a start").journal;
    let mut last = journal.last();
    while journal.position().segment == 1 {
        last = journal.last();
        journal.append(at(1), &[long(1, 700)]).expect("space");
    }
    let mut image = disk.after_kill();
    image.get_mut("journal/0000000002.log").expect("there")[4096..4096 + 512].fill(0);
    let found = open_image(image).expect("a journal");
    assert!(found.stepped_over_torn_batch());
    assert_eq!((found.proven(), found.last()), (last, last));
}

#[test]
fn without_space_for_a_segment_nothing_is_written_and_outcomes_still_land_in_the_reserve() {
    let disk = MemoryDisk::default();
    let mut journal = start(&disk, 1).expect("a start").journal;
    journal.spare_maker().make().expect("space");
    disk.limit_space(Some(100));
    assert!(!journal.spare_maker().make().expect("one is enough"));
    let groups: Vec<_> = (0..20).map(|number| long(number, 1_500)).collect();
    let last = journal.last();
    let full = journal.append(at(1), &groups);
    assert!(matches!(&full, Err(AppendError::Full(error)) if error.kind() == ErrorKind::StorageFull), "{full:?}");
    assert_eq!(journal.last(), last, "nothing was written");
    let mut landed = 0;
    while journal.room() >= 600 + Journal::RECORD_OVERHEAD + Journal::BATCH_OVERHEAD {
        journal.append(at(2), &[long(100 + landed, 500)]).expect("there is room");
        landed += 1;
    }
    assert!(landed >= 8, "the finished spare was used too: {landed}");
    disk.limit_space(None);
    journal.append(at(3), &groups).expect("space again");
    let found = open_image(disk.after_power_loss()).expect("a journal");
    assert_eq!(known(&found, ReplayFrom::Beginning).expect("readable").len() as u64, 20 + landed);
}

#[test]
fn what_was_not_appended_says_why_and_what_is_safe_to_do() {
    let disk = MemoryDisk::default();
    let mut journal = start(&disk, 1).expect("a start").journal;
    let told = |error: AppendError| (error.to_string(), std::error::Error::source(&error).is_some());
    let (too_large, cause) = told(journal.append(at(1), &[long(1, 5_000)]).expect_err("too long"));
    assert!(too_large.ends_with("more than the 4096 that a batch holds. Nothing was recorded"), "{too_large}");
    assert!(!cause);
    disk.limit_space(Some(100));
    let groups: Vec<_> = (0..20).map(|number| long(number, 1_500)).collect();
    let (full, cause) = told(journal.append(at(1), &groups).expect_err("no space"));
    assert!(full.ends_with("Nothing was recorded: free some and repeat") && cause, "{full}");
    disk.fail(Some((Fails::Sync, ErrorKind::Other)));
    let (stopped, cause) = told(pay(&mut journal, 1..2).expect_err("a failed fsync"));
    assert!(stopped.starts_with("the journal has stopped: writing a batch failed: "), "{stopped}");
    assert!(stopped.ends_with("is not known: restart, and repeat under the same keys") && !cause, "{stopped}");
}

#[test]
fn a_failed_write_or_fsync_stops_the_journal_for_good() {
    for fails in [Fails::Write, Fails::Sync] {
        let disk = MemoryDisk::default();
        let mut journal = start(&disk, 1).expect("a start").journal;
        pay(&mut journal, 1..3).expect("room");
        disk.fail(Some((fails, ErrorKind::Other)));
        let stopped = pay(&mut journal, 3..4);
        assert!(matches!(stopped, Err(AppendError::Stopped(_))), "{fails:?}: {stopped:?}");
        disk.fail(None);
        let steps = disk.steps();
        assert!(matches!(pay(&mut journal, 3..4), Err(AppendError::Stopped(_))), "{fails:?}");
        assert!(matches!(journal.confirm(at(1)), Err(AppendError::Stopped(_))), "{fails:?}");
        assert!(matches!(journal.close(at(1), Default::default()), Err(AppendError::Stopped(_))), "{fails:?}");
        assert_eq!(disk.steps(), steps, "{fails:?}: the disk is not touched again");
        let known = start(&MemoryDisk::of(disk.after_power_loss()), 2).expect("a start").known;
        assert_eq!(known, Known::from([1, 2]), "{fails:?}");
    }
}

#[test]
fn two_hundred_starts_leave_no_more_than_what_they_wrote() {
    let disk = MemoryDisk::default();
    for salt in 1..=200 {
        let mut started = start(&disk, salt).expect("a start");
        started.journal.clean_up().expect("a disk");
        pay(&mut started.journal, salt..salt + 1).expect("room");
    }
    let bytes: usize = disk.after_kill().values().map(Vec::len).sum();
    assert!(bytes < 200 * (4096 + 4 * 512) + SMALL.segment_bytes as usize, "{bytes} bytes");
    let started = start(&disk, 201).expect("a start");
    assert_eq!(started.known, (1..201).collect::<Known>());
    assert_eq!(feed(&started.journal).len(), 200);
}

/// Payments 1 to 19, a checkpoint with payment 19 carried, payments 20 to 39; each in a batch of its own.
fn with_checkpoint(disk: &MemoryDisk) -> (Journal, Checkpoint) {
    let mut journal = start(disk, 1).expect("a start").journal;
    for number in 1..20 {
        journal.append(at(number), &[long(number, 700)]).expect("space");
    }
    let (from, upto) = (journal.position(), journal.last());
    journal.append(at(20), &[vec![Record::Carried(Box::new(payment(19)))]]).expect("space");
    let checkpoint = Checkpoint { store: [1; 16], upto, from, files: Vec::new() };
    journal.append(at(21), &[vec![Record::Checkpoint(checkpoint.clone())]]).expect("space");
    for number in 20..40 {
        journal.append(at(number), &[long(number, 700)]).expect("space");
    }
    (journal, checkpoint)
}

#[test]
fn a_start_reads_from_the_last_checkpoint_and_says_what_it_left_unread() {
    let disk = MemoryDisk::default();
    let (journal, checkpoint) = with_checkpoint(&disk);
    let options = Options { verify_bytes: 0, ..SMALL };
    let found = open(Arc::new(disk.clone()), options).expect("a journal");
    assert_eq!(found.checkpoint(), Some(&checkpoint));
    assert_eq!(known(&found, ReplayFrom::Checkpoint).expect("readable"), (19..40).collect::<Known>());
    assert_eq!(known(&found, ReplayFrom::Beginning).expect("readable"), (1..40).collect::<Known>());
    assert!(found.unverified_bytes() >= SMALL.segment_bytes, "{} bytes", found.unverified_bytes());
    assert_eq!(found.chain_at(journal.last()), Some(journal.position().chain));
    assert!(found.chain_at(checkpoint.upto).is_some() && found.chain_at(journal.last().plus(1)).is_none());
    assert_eq!(open(Arc::new(disk), SMALL).expect("a journal").unverified_bytes(), 0);
}

#[test]
fn a_checkpoint_that_names_a_place_which_is_not_in_the_journal_is_refused() {
    type Change = fn(&mut Position);
    let checked = |change: Change| {
        let disk = MemoryDisk::default();
        let mut journal = start(&disk, 1).expect("a start").journal;
        pay(&mut journal, 1..4).expect("room");
        let (mut from, upto) = (journal.position(), journal.last());
        change(&mut from);
        let checkpoint = Checkpoint { store: [1; 16], upto, from, files: Vec::new() };
        journal.append(at(9), &[vec![Record::Checkpoint(checkpoint)]]).expect("room");
        open_image(disk.after_kill()).map(|found| found.checkpoint().is_some())
    };
    assert!(checked(|_| ()).expect("a place in the journal"));
    let elsewhere: [Change; 5] = [
        |from| from.segment += 1,
        |from| from.offset = 0,
        |from| from.offset += 1,
        |from| from.next = Lsn::ZERO,
        |from| from.next = from.next.plus(1),
    ];
    for (case, change) in elsewhere.into_iter().enumerate() {
        let refused = checked(change).expect_err("replay would skip records").to_string();
        assert!(refused.contains("a checkpoint names this place"), "case {case}: {refused}");
    }
}

#[test]
fn a_checkpoint_in_a_batch_that_was_recorded_again_does_not_count() {
    let disk = MemoryDisk::default();
    let mut journal = start(&disk, 1).expect("a start").journal;
    pay(&mut journal, 1..4).expect("room");
    let checkpoint = Checkpoint { store: [1; 16], upto: journal.last(), from: journal.position(), files: Vec::new() };
    journal.append(at(9), &[vec![Record::Checkpoint(checkpoint.clone())]]).expect("room");
    let found = open_image(disk.after_kill()).expect("a journal");
    assert_eq!((found.checkpoint(), found.proven().plus(1)), (Some(&checkpoint), found.last()));
    // Nothing proves it, and the start after it reuses its place.
    start(&disk, 2).expect("a start");
    let found = open_image(disk.after_kill()).expect("a journal");
    assert_eq!(found.checkpoint(), None);
    assert_eq!(known(&found, ReplayFrom::Checkpoint).expect("readable"), (1..4).collect::<Known>());
}

#[test]
fn old_segments_are_read_from_the_newest_as_far_as_the_budget_goes_and_the_rest_is_told() {
    let disk = MemoryDisk::default();
    let (_, checkpoint) = with_checkpoint(&disk);
    assert_eq!(checkpoint.from.segment, 3, "two segments are older");
    let one = SMALL.segment_bytes;
    for (budget, unread) in [(0, 2 * one), (one - 1, 2 * one), (one, one), (2 * one - 1, one), (2 * one, 0)] {
        let options = Options { verify_bytes: budget, ..SMALL };
        let found = open(Arc::new(disk.clone()), options).expect("a journal");
        assert_eq!(found.unverified_bytes(), unread, "a budget of {budget} bytes");
    }
}

#[test]
fn damage_before_the_checkpoint_is_found_within_the_budget() {
    let disk = MemoryDisk::default();
    drop(with_checkpoint(&disk));
    let mut image = disk.after_kill();
    image.get_mut("journal/0000000001.log").expect("there")[5_000] ^= 1;
    let refused = open_image(image.clone()).expect_err("noticed");
    assert_eq!(refused.damage().map(|damage| damage.segment), Some(1), "{refused}");
    let unread = open(Arc::new(MemoryDisk::of(image)), Options { verify_bytes: 0, ..SMALL }).expect("not read");
    assert!(known(&unread, ReplayFrom::Beginning).is_err(), "but not trusted when it is read");
}

#[test]
fn a_journal_of_another_folder_among_the_segments_is_refused() {
    let (one, other) = (MemoryDisk::default(), MemoryDisk::default());
    let mut journal = start(&one, 1).expect("a start").journal;
    pay(&mut journal, 1..3).expect("room");
    let found = open(Arc::new(other.clone()), SMALL).expect("new");
    let mut theirs = found.begin(payonce::journal::Begin { store_uuid: [9; 16], ..begin(7) }).expect("space");
    for number in 1..20 {
        theirs.append(at(1), &[long(number, 900)]).expect("space");
    }
    let mut image = one.after_kill();
    image.insert("journal/0000000002.log".to_owned(), other.after_kill()["journal/0000000002.log"].clone());
    let refused = open_image(image).expect_err("noticed");
    assert_eq!(refused.damage().map(|damage| damage.segment), Some(2), "{refused}");
}

#[test]
fn a_start_tells_the_next_one_where_it_ran() {
    let disk = MemoryDisk::default();
    assert!(open(Arc::new(disk.clone()), SMALL).expect("nothing there").is_new());
    let journal = start(&disk, 1).expect("a start").journal;
    assert_eq!((journal.epoch(), journal.store_uuid()), (1, [1; 16]));
    let found = open(Arc::new(disk), SMALL).expect("a journal");
    assert!(!found.is_new() && found.closed().is_none());
    assert_eq!(found.store_uuid(), Some([1; 16]));
    assert_eq!((found.epoch(), found.boot_id(), found.lock_inode()), (1, Some([7; 16]), Some(42)));

    let disk = MemoryDisk::default();
    for salt in 3..6 {
        let journal = start(&disk, salt).expect("a start").journal;
        assert_eq!((journal.epoch(), journal.store_uuid()), (salt - 2, [3; 16]));
    }
    let found = open(Arc::new(disk), SMALL).expect("a journal");
    assert_eq!((found.epoch(), found.store_uuid()), (3, Some([3; 16])), "the first start names the folder");
}

#[test]
fn a_folder_that_cannot_be_listed_is_not_taken_for_a_new_one() {
    let disk = MemoryDisk::default();
    start(&disk, 1).expect("a start");
    disk.fail(Some((Fails::List, ErrorKind::PermissionDenied)));
    let error = open(Arc::new(disk.clone()), SMALL).map(drop).expect_err("it may hold a journal");
    assert!(error.damage().is_none() && error.to_string().contains("listing its folder"), "{error}");
    disk.fail(Some((Fails::List, ErrorKind::NotFound)));
    assert!(open(Arc::new(disk), SMALL).expect("there is no such folder").is_new());
}

#[test]
fn parts_can_be_given_to_other_threads() {
    fn sendable<T: Send>(_: &T) {}
    let journal = start(&MemoryDisk::default(), 1).expect("a start").journal;
    sendable(&journal);
    sendable(&journal.reader());
    sendable(&journal.spare_maker());
}

#[test]
fn real_files_hold_a_journal_across_starts() {
    let folder = Folder::new("journal");
    let data = folder.0.join("deep/data");
    for salt in 1..4 {
        let disk = Arc::new(OsDisk::new(&data).expect("a disk"));
        let mut started = start_with(disk, SMALL, salt).expect("a start");
        started.journal.clean_up().expect("a disk");
        assert_eq!(started.known, (1..salt * 10 - 9).collect::<Known>());
        assert!(started.journal.spare_maker().make().expect("space"));
        for number in salt * 10 - 9..=salt * 10 {
            started.journal.append(at(number), &[long(number, 900)]).expect("space");
        }
        started.journal.close(at(99), Default::default()).expect("room");
    }
    let found = open(Arc::new(OsDisk::new(&data).expect("a disk")), SMALL).expect("a journal");
    assert!(found.closed().is_some());
    assert_eq!(known(&found, ReplayFrom::Beginning).expect("readable").len(), 30);
}

#[test]
fn a_folder_is_locked_once_by_a_file_that_stays_the_same() {
    let folder = Folder::new("lock");
    let lock = FolderLock::take(&folder.0).expect("nobody has it");
    let held = FolderLock::take(&folder.0);
    assert!(matches!(&held, Err(LockError::Held { .. })), "{held:?}");
    let inode = lock.inode();
    drop(lock);
    assert_eq!(FolderLock::take(&folder.0).expect("free again").inode(), inode);
}

#[test]
fn short_events_stay_short() {
    let fact = &event(1).fact;
    assert!(matches!(fact, Fact::Unparked { .. }));
    let disk = MemoryDisk::default();
    let mut journal = start(&disk, 1).expect("a start").journal;
    let before = journal.position().offset;
    pay(&mut journal, 1..2).expect("room");
    assert_eq!(journal.position().offset - before, 512, "one event: one sector");
}

#[test]
fn a_journal_that_was_read_and_left_keeps_no_file_open() {
    let folder = Folder::new("journal-files");
    let disk = Arc::new(OsDisk::new(&folder.0).expect("a folder"));
    let inside = |entry: std::io::Result<std::fs::DirEntry>| {
        entry.ok().and_then(|entry| std::fs::read_link(entry.path()).ok()).is_some_and(|to| to.starts_with(&folder.0))
    };
    let files = || std::fs::read_dir("/proc/self/fd").expect("Linux").map(inside).filter(|inside| *inside).count();
    for salt in 1..4 {
        let mut journal = start_with(disk.clone(), SMALL, salt).expect("a start").journal;
        pay(&mut journal, salt * 10..salt * 10 + 3).expect("room");
        assert!(files() > 0);
        drop(journal);
        assert_eq!(files(), 0);
    }
}
