//! How much fits in a batch, in a segment and in what is reserved, to the byte; and what is given back.

#![allow(clippy::expect_used, clippy::unwrap_used, clippy::indexing_slicing, clippy::as_conversions, reason = "tests")]

mod journal_kit;

use std::{cell::Cell, sync::Arc};

use journal_kit::{Known, MemoryDisk, SMALL, at, known, open_image, pay, samples::long_event, start, start_with};
use payonce::journal::{AppendError, Journal, Options, Record, ReplayFrom, encode_record};

const FIRST: &str = "journal/0000000001.log";

/// A batch's header and trailer.
const AROUND: usize = 64 + 8;

/// A record whose frame is so many bytes long.
fn of_length(number: u64, frame: usize) -> Record {
    let shortest = encode_record(&Record::Event(long_event(number, 0))).expect("short").len();
    let record = Record::Event(long_event(number, frame - shortest));
    assert_eq!(encode_record(&record).expect("short").len(), frame);
    record
}

#[test]
fn groups_share_a_batch_up_to_its_size_to_the_byte() {
    let half = (SMALL.batch_bytes as usize - AROUND) / 2;
    for (second, batches) in [(half, 1), (half + 1, 2)] {
        let mut journal = start(&MemoryDisk::unpacked(), 1).expect("a start").journal;
        let groups = [vec![of_length(1, half)], vec![of_length(2, second)]];
        assert_eq!(journal.append(at(1), &groups).expect("room").batches, batches, "{second} bytes");
    }
}

#[test]
fn the_largest_batch_is_written_and_read_back_and_one_byte_more_is_refused() {
    let disk = MemoryDisk::unpacked();
    let mut journal = start(&disk, 1).expect("a start").journal;
    let most = SMALL.largest_batch_bytes as usize - AROUND;
    let refused = journal.append(at(1), &[vec![of_length(1, most + 1)]]);
    assert!(matches!(refused, Err(AppendError::TooLarge { bytes: 4608, limit: 4096 })), "{refused:?}");
    let before = journal.position().offset;
    journal.append(at(1), &[vec![of_length(1, most)]]).expect("it fits");
    assert_eq!(journal.position().offset - before, u64::from(SMALL.largest_batch_bytes));
    let found = open_image(disk.after_power_loss()).expect("a journal");
    assert_eq!(known(&found, ReplayFrom::Beginning).expect("readable"), Known::from([1]));
}

#[test]
fn a_segment_is_filled_to_its_last_sector_and_no_other_is_made_for_that() {
    let disk = MemoryDisk::unpacked();
    let mut journal = start(&disk, 1).expect("a start").journal;
    // One sector for `Opened`, one for each payment.
    for number in 1..16 {
        pay(&mut journal, number..number + 1).expect("room");
    }
    assert_eq!((journal.position().segment, journal.position().offset), (1, SMALL.segment_bytes));
    assert_eq!((journal.room(), disk.segments()), (0, 1));
    let found = open_image(disk.after_kill()).expect("a journal");
    assert_eq!(known(&found, ReplayFrom::Beginning).expect("readable").len(), 15);
    pay(&mut journal, 16..17).expect("space");
    assert_eq!((journal.position().segment, journal.position().offset), (2, 4096 + 512));
}

#[test]
fn a_start_makes_as_many_segments_as_its_batches_will_need() {
    let mut journal = start(&MemoryDisk::unpacked(), 1).expect("a start").journal;
    let groups: Vec<_> = (0..20).map(|number| vec![of_length(number, 1_900)]).collect();
    // Each takes four sectors: three more in this segment, four in each of the next.
    let appended = journal.append(at(1), &groups).expect("space");
    assert_eq!((appended.batches, journal.position().segment), (20, 6));
    assert_eq!(journal.room(), SMALL.segment_bytes - journal.position().offset, "and none to spare");
}

#[test]
fn room_is_what_can_be_appended_without_asking_for_space() {
    let mut journal = start(&MemoryDisk::unpacked(), 1).expect("a start").journal;
    let left = SMALL.segment_bytes - 4096 - 512;
    assert_eq!(journal.room(), left);
    // A spare counts less the one batch of this segment that may stay unused.
    let spare = SMALL.segment_bytes - 4096 - u64::from(SMALL.largest_batch_bytes);
    let maker = journal.spare_maker();
    assert!(maker.wanted());
    assert!(maker.make().expect("space"), "it made one");
    assert!(!maker.wanted());
    assert!(!maker.make().expect("space"), "one is enough");
    assert_eq!(journal.room(), left + spare);
    maker.make_another().expect("space");
    assert_eq!(journal.room(), left + 2 * spare);
    pay(&mut journal, 1..2).expect("room");
    assert_eq!(journal.room(), left + 2 * spare - 512);
}

/// So much may have to be recorded of what is under way: made in one go, it would hold everything up for seconds.
#[test]
fn segments_are_made_ahead_of_need_for_what_is_kept_free_and_one_more() {
    let journal = start(&MemoryDisk::unpacked(), 1).expect("a start").journal;
    let (maker, spare) = (journal.spare_maker(), SMALL.segment_bytes - 4096 - u64::from(SMALL.largest_batch_bytes));
    let left = journal.room();
    for (reserved, ready) in [(0, 1), (left, 1), (left + 1, 2), (left + spare, 2), (left + 2 * spare, 3), (0, 3)] {
        journal.plan(reserved);
        while maker.wanted() {
            let before = journal.room();
            assert!(maker.make().expect("space"));
            assert_eq!(journal.room(), before + spare, "one at a time: who needs one waits for no others");
        }
        assert!(!maker.make().expect("space"));
        assert_eq!(journal.room(), left + ready * spare, "{reserved} bytes");
    }
}

#[test]
fn who_makes_a_segment_rests_unless_somebody_will_soon_wait_for_it() {
    let options = Options { segment_bytes: 3 << 20, ..SMALL };
    let mut journal = start_with(Arc::new(MemoryDisk::unpacked()), options, 1).expect("a start").journal;
    let maker = journal.spare_maker();
    let rests = Cell::new(0);
    let rest = || rests.set(rests.get() + 1);
    journal.plan(0);
    assert!(maker.make_gently(&rest).expect("space"));
    assert_eq!(rests.take(), 2, "between three mebibytes");
    let half = options.segment_bytes / 2;
    for (reserved, expected) in [(journal.room() - half, 2), (journal.room() + half, 0)] {
        journal.plan(reserved);
        assert!(maker.make_gently(&rest).expect("space"));
        assert_eq!(rests.take(), expected, "half a segment is left beside what is kept free, or less");
    }
    journal.plan(journal.room() - half);
    maker.hurry();
    assert!(maker.make_gently(&rest).expect("space"));
    assert_eq!(rests.take(), 0, "and none once somebody waits");
    pay(&mut journal, 1..2).expect("room");
}

#[test]
fn a_batch_never_takes_more_than_its_records_and_the_overhead_that_is_reserved_for_it() {
    let mut most = 0;
    let mut journal = start(&MemoryDisk::unpacked(), 1).expect("a start").journal;
    for frame in 600..600 + 512 {
        let (segment, before) = (journal.position().segment, journal.position().offset);
        journal.append(at(1), &[vec![of_length(1, frame)]]).expect("space");
        if journal.position().segment == segment {
            most = most.max(journal.position().offset - before - frame as u64);
        }
    }
    assert_eq!(most, Journal::BATCH_OVERHEAD);
}

#[test]
fn what_a_start_gives_back_is_counted_to_the_byte() {
    let disk = MemoryDisk::unpacked();
    let mut journal = start(&disk, 1).expect("a start").journal;
    pay(&mut journal, 1..3).expect("room");
    // A start that never came to its `Opened`: its segment does not count.
    let found = open_image_of(&disk);
    drop(found.begin(journal_kit::begin(2)).expect("space"));
    let mut journal = start(&disk, 3).expect("a start").journal;
    let bytes = |disk: &MemoryDisk| disk.after_kill().values().map(|file| file.len() as u64).sum::<u64>();
    let before = bytes(&disk);
    let freed = journal.clean_up().expect("a disk");
    assert_eq!(freed, before - bytes(&disk));
    let unused = SMALL.segment_bytes - 4096 - 2 * 512;
    assert_eq!(freed, unused + SMALL.segment_bytes, "the zeros of the first, and the second whole");
    assert_eq!(journal.clean_up().expect("a disk"), 0, "once");
    assert_eq!(open_image(disk.after_power_loss()).expect("a journal").epoch(), 3);
}

#[test]
fn a_torn_batch_is_kept_when_the_zeros_behind_it_are_given_back() {
    let disk = MemoryDisk::unpacked();
    let mut journal = start(&disk, 1).expect("a start").journal;
    let torn_at = journal.position().offset as usize;
    journal.append(at(1), &[vec![of_length(1, 1_900)]]).expect("room");
    let mut image = disk.after_kill();
    let file = image.get_mut(FIRST).expect("there");
    file[torn_at + 3 * 512..].fill(0);
    let torn = file[torn_at..torn_at + 3 * 512].to_vec();
    let disk = MemoryDisk::of(image);
    start(&disk, 2).expect("a start").journal.clean_up().expect("a disk");
    assert_eq!(disk.after_kill()[FIRST][torn_at..], torn);
}

#[test]
fn a_spare_of_another_length_is_not_used_and_goes() {
    let disk = MemoryDisk::unpacked();
    let journal = start(&disk, 1).expect("a start").journal;
    journal.spare_maker().make().expect("space");
    let longer = Options { segment_bytes: SMALL.segment_bytes + 4096, ..SMALL };
    let mut journal = start_with(Arc::new(disk.clone()), longer, 2).expect("a start").journal;
    let lengths = |disk: &MemoryDisk| {
        let files = disk.after_kill().into_iter().filter(|(path, _)| path.starts_with("journal/"));
        files.map(|(_, bytes)| bytes.len() as u64).collect::<Vec<_>>()
    };
    assert_eq!(lengths(&disk), [SMALL.segment_bytes, SMALL.segment_bytes, longer.segment_bytes]);
    journal.clean_up().expect("a disk");
    assert_eq!(lengths(&disk), [4096 + 512, longer.segment_bytes]);
}

#[test]
fn a_spare_that_is_ready_is_used_by_the_next_start() {
    let disk = MemoryDisk::unpacked();
    start(&disk, 1).expect("a start").journal.spare_maker().make().expect("space");
    start(&disk, 2).expect("a start");
    assert_eq!(disk.segments(), 2, "no third one was made");
}

#[test]
fn segments_longer_than_what_is_read_at_once_are_zeroed_checked_and_cut_to_their_ends() {
    let long =
        Options { segment_bytes: (3 << 20) + 4096, batch_bytes: 64 << 10, largest_batch_bytes: 64 << 10, ..SMALL };
    let disk = MemoryDisk::unpacked();
    let again = |disk: &MemoryDisk, salt| start_with(Arc::new(disk.clone()), long, salt).expect("a start");
    let mut journal = again(&disk, 1).journal;
    for number in 0..20 {
        journal.append(at(1), &[vec![of_length(number, 60_000)]]).expect("room");
    }
    assert_eq!(journal.position().segment, 1);
    let (end, whole) = (journal.position().offset as usize, disk.after_power_loss());
    assert!(end > 1 << 20 && whole[FIRST].len() as u64 == long.segment_bytes);
    for place in [end + (64 << 10), 2 << 20, whole[FIRST].len() - 1] {
        let mut image = whole.clone();
        image.get_mut(FIRST).expect("there")[place] = 1;
        let refused = payonce::journal::open(Arc::new(MemoryDisk::of(image)), long).map(drop).expect_err("noticed");
        assert_eq!(refused.damage().map(|damage| damage.offset), Some(end as u64), "something at {place}");
    }
    let mut journal = again(&disk, 2).journal;
    assert_eq!(journal.clean_up().expect("a disk"), long.segment_bytes - end as u64);
    assert_eq!(again(&disk, 3).known, (0..20).collect::<Known>());
}

#[test]
fn a_batch_longer_than_what_is_read_at_once_is_read_whole() {
    let long = Options { segment_bytes: 4 << 20, batch_bytes: 2 << 20, largest_batch_bytes: 2 << 20, ..SMALL };
    let disk = MemoryDisk::unpacked();
    let mut journal = start_with(Arc::new(disk.clone()), long, 1).expect("a start").journal;
    journal.append(at(1), &[vec![of_length(1, 1_500_000)], vec![of_length(2, 10_000)]]).expect("room");
    journal.append(at(1), &[vec![of_length(3, 1_200_000)]]).expect("room");
    let again = start_with(Arc::new(MemoryDisk::of(disk.after_kill())), long, 2).expect("a start");
    assert_eq!(again.known, Known::from([1, 2, 3]));
}

fn open_image_of(disk: &MemoryDisk) -> payonce::journal::Found {
    payonce::journal::open(Arc::new(disk.clone()), SMALL).expect("a journal")
}
