//! What a journal survives: crashes at every point, and what it does about damage.

#![allow(clippy::expect_used, clippy::unwrap_used, clippy::indexing_slicing, clippy::as_conversions, reason = "tests")]

mod journal_kit;

use std::collections::BTreeSet;

use journal_kit::{Image, Known, MemoryDisk, at, feed, known, open_image, pay, samples::long_event, start};
use payonce::journal::{Closed, Lsn, Record, ReplayFrom};

const FIRST: &str = "journal/0000000001.log";

fn numbers(range: std::ops::Range<u64>) -> Known {
    range.collect()
}

/// Where a file's last sector that holds anything ends.
fn written_end(bytes: &[u8]) -> usize {
    bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| (last + 1).next_multiple_of(512))
}

/// Payments 1 to 27 in two batches; the image before the last batch, and after it: as it is, and packed.
fn before_and_after_last_batch() -> [(Image, Image); 2] {
    [MemoryDisk::unpacked(), MemoryDisk::default()].map(|disk| {
        let mut journal = start(&disk, 1).expect("a start").journal;
        pay(&mut journal, 1..3).expect("room");
        let before = disk.after_power_loss();
        let short = (3..27).map(|number| Record::Event(journal_kit::event(number)));
        let group = short.chain([Record::Event(long_event(27, 1_200))]).collect();
        journal.append(at(1_000), &[group]).expect("room");
        (before, disk.after_power_loss())
    })
}

#[test]
fn torn_last_batch_is_stepped_over_at_every_byte() {
    let [(before, after), (before_packed, after_packed)] = before_and_after_last_batch();
    let (plain, packed) = (step_over_torn_batch(&before, &after), step_over_torn_batch(&before_packed, &after_packed));
    assert!(packed > 1024 && packed < plain, "both span sectors: {packed} of {plain} bytes");
}

/// Whatever has landed of the last batch. Returns how long that is.
fn step_over_torn_batch(before: &Image, after: &Image) -> usize {
    let (start_of_batch, end) = (written_end(&before[FIRST]), written_end(&after[FIRST]));
    for torn_at in start_of_batch..end {
        let mut image = after.clone();
        image.get_mut(FIRST).expect("there")[torn_at..end].fill(0);
        let disk = MemoryDisk::of(image.clone());
        let mut started = start(&disk, 2).unwrap_or_else(|error| panic!("torn at {torn_at}: {error:?}"));
        let whole = image[FIRST] == after[FIRST];
        assert_eq!(started.known, if whole { numbers(1..28) } else { numbers(1..3) }, "torn at {torn_at}");
        pay(&mut started.journal, 40..41).expect("room");
        let again = start(&MemoryDisk::of(disk.after_kill()), 3).expect("a third start");
        assert!(again.known.is_superset(&numbers(40..41)), "torn at {torn_at}");
        assert_eq!(again.known.len(), started.known.len() + 1, "torn at {torn_at}");
    }
    end - start_of_batch
}

#[test]
fn last_batch_that_lost_any_of_its_sectors_is_torn_or_whole() {
    for (before, after) in before_and_after_last_batch() {
        lose_sectors_of_last_batch(&before, &after);
    }
}

fn lose_sectors_of_last_batch(before: &Image, after: &Image) {
    let (start_of_batch, end) = (written_end(&before[FIRST]), written_end(&after[FIRST]));
    let sectors = (end - start_of_batch) / 512;
    for kept in 0..1u32 << sectors {
        let mut image = before.clone();
        for sector in (0..sectors).filter(|sector| kept & (1 << sector) != 0) {
            let at = start_of_batch + sector * 512;
            image.get_mut(FIRST).expect("there")[at..at + 512].copy_from_slice(&after[FIRST][at..at + 512]);
        }
        let whole = kept + 1 == 1 << sectors;
        let found = open_image(image).unwrap_or_else(|error| panic!("sectors {kept:b}: {error}"));
        let expected = if whole { numbers(1..28) } else { numbers(1..3) };
        assert_eq!(known(&found, ReplayFrom::Beginning).expect("readable"), expected, "sectors {kept:b}");
        assert_eq!(found.stepped_over_torn_batch(), !whole && kept != 0, "sectors {kept:b}");
    }
}

/// Three starts, the second one cut short and not counted; the last one rolled into a second segment.
fn small_journal(disk: &MemoryDisk) -> (Image, Known) {
    let mut journal = start(disk, 1).expect("a start").journal;
    pay(&mut journal, 1..4).expect("room");
    journal.spare_maker().make().expect("space");
    let disk = MemoryDisk::of(disk.after_kill());
    let mut journal = start(&disk, 2).expect("a start").journal;
    journal.clean_up().expect("a disk");
    let (mut next, began_in) = (4, journal.position().segment);
    while journal.position().segment == began_in {
        pay(&mut journal, next..next + 8).expect("room");
        next += 8;
    }
    (disk.after_power_loss(), numbers(1..next))
}

#[test]
fn every_flipped_bit_is_refused_by_name_or_loses_nothing() {
    for disk in [MemoryDisk::unpacked(), MemoryDisk::default()] {
        let (image, expected) = small_journal(&disk);
        flip_every_bit(&image, &expected);
    }
}

fn flip_every_bit(image: &Image, expected: &Known) {
    assert!(image.len() >= 4, "several segments: {:?}", image.keys());
    let mut refused = BTreeSet::new();
    for (path, bytes) in image.iter().filter(|(path, _)| path.starts_with("journal/")) {
        let number: u64 = path[8..18].parse().expect("a segment's name");
        for (byte, value) in bytes.iter().enumerate() {
            // Every bit where something is written; in the zeros between, one of each byte.
            let bits = if *value == 0 { byte % 8..byte % 8 + 1 } else { 0..8 };
            for bit in bits {
                let mut damaged = image.clone();
                damaged.get_mut(path).expect("there")[byte] ^= 1 << bit;
                let outcome = open_image(damaged).and_then(|found| known(&found, ReplayFrom::Beginning));
                match outcome {
                    Ok(known) => assert_eq!(&known, expected, "{path} byte {byte} bit {bit} lost something"),
                    Err(error) => {
                        let damage = error.damage().unwrap_or_else(|| panic!("{error}"));
                        assert_eq!(damage.segment, number, "{path} byte {byte} bit {bit}: {error}");
                        refused.insert(number);
                    }
                }
            }
        }
    }
    assert!(refused.contains(&1) && refused.contains(&2), "{refused:?}");
}

#[test]
fn every_flipped_bit_of_the_last_batch_is_refused() {
    for (before, after) in before_and_after_last_batch() {
        flip_bits_of_last_batch(&before, &after);
    }
}

fn flip_bits_of_last_batch(before: &Image, after: &Image) {
    let (start_of_batch, end) = (written_end(&before[FIRST]), written_end(&after[FIRST]));
    for byte in start_of_batch..end {
        for bit in 0..8 {
            let mut image = after.clone();
            image.get_mut(FIRST).expect("there")[byte] ^= 1 << bit;
            let error = open_image(image).err().unwrap_or_else(|| panic!("byte {byte} bit {bit} was not noticed"));
            let damage = error.damage().unwrap_or_else(|| panic!("{error}"));
            assert_eq!((damage.segment, damage.offset), (1, start_of_batch as u64), "byte {byte} bit {bit}");
        }
    }
}

/// A life of two processes, until the disk dies; returns what was acknowledged, and what was begun.
fn live(disk: &MemoryDisk) -> (Known, Known) {
    let (mut told, mut begun) = (Known::new(), Known::new());
    let mut next = 1;
    for salt in 1..=2 {
        let Ok(mut started) = start(disk, salt) else { break };
        let _ = started.journal.clean_up();
        let began_in = started.journal.position().segment;
        for batch in 0..4 {
            let range = next..next + 2;
            begun.extend(range.clone());
            // Long ones: each life goes on in a second segment.
            let groups: Vec<_> = range.clone().map(|number| vec![Record::Event(long_event(number, 1_300))]).collect();
            if started.journal.append(at(1), &groups).is_err() {
                return (told, begun);
            }
            told.extend(range.clone());
            next = range.end;
            if batch == 1 && started.journal.confirm(at(5)).is_err() {
                return (told, begun);
            }
            if batch == 2 {
                let _ = started.journal.spare_maker().make();
            }
        }
        assert!(started.journal.position().segment > began_in, "it goes on in a second segment");
    }
    (told, begun)
}

fn check_start(image: Image, salt: u64, told: &Known, begun: &Known, what: &str) -> Image {
    let disk = MemoryDisk::of(image);
    let mut started = start(&disk, salt).unwrap_or_else(|error| panic!("{what}: {error:?}"));
    assert!(started.known.is_superset(told), "{what}: {:?} misses some of {told:?}", started.known);
    assert!(started.known.is_subset(begun), "{what}: {:?} holds more than {begun:?}", started.known);
    let shown: Known = feed(&started.journal).into_iter().collect();
    assert_eq!(shown, started.known, "{what}: the feed shows what is known");
    started.journal.clean_up().unwrap_or_else(|error| panic!("{what}: {error}"));
    disk.after_power_loss()
}

#[test]
fn acknowledged_records_survive_a_crash_at_every_step_and_another_while_starting_again() {
    let disk = MemoryDisk::default();
    live(&disk);
    for step in 0..disk.steps() {
        let disk = MemoryDisk::default();
        disk.die_at(step);
        let (told, begun) = live(&disk);
        let images = [
            ("killed", disk.after_kill()),
            ("power lost", disk.after_power_loss()),
            ("power lost, some of it written", disk.after_power_loss_in_part(step)),
        ];
        for (kind, image) in images {
            let what = format!("{kind} at step {step}");
            let settled = check_start(image.clone(), 11, &told, &begun, &what);
            check_start(settled, 12, &told, &begun, &format!("{what}, then started twice"));
            if kind != "power lost, some of it written" {
                crash_while_starting(&image, &told, &begun, &what);
            }
        }
        lose_power_after_a_kill(&disk, &begun, &format!("killed at step {step}"));
    }
}

/// A start reads what the killed process had not synced; what it has shown must survive even if the original does not.
fn lose_power_after_a_kill(disk: &MemoryDisk, begun: &Known, what: &str) {
    disk.next_process();
    let mut started = start(disk, 31).unwrap_or_else(|error| panic!("{what}: {error:?}"));
    pay(&mut started.journal, 900..901).expect("room");
    let (mut shown, mut begun) = (started.known, begun.clone());
    shown.insert(900);
    begun.insert(900);
    let begun = &begun;
    check_start(disk.after_power_loss(), 32, &shown, begun, &format!("{what}, then power lost"));
    check_start(disk.after_power_loss_in_part(7), 32, &shown, begun, &format!("{what}, then power lost in part"));
}

/// Starts again from `image`, crashing at each step of it; then once more.
fn crash_while_starting(image: &Image, told: &Known, begun: &Known, what: &str) {
    let disk = MemoryDisk::of(image.clone());
    let mut started = start(&disk, 21).expect("checked before");
    started.journal.clean_up().expect("checked before");
    for step in 0..disk.steps() {
        let disk = MemoryDisk::of(image.clone());
        disk.die_at(step);
        if let Ok(mut started) = start(&disk, 21) {
            let _ = started.journal.clean_up();
        }
        let what = format!("{what}, then at step {step} of the next start");
        check_start(disk.after_power_loss(), 22, told, begun, &format!("{what} by power"));
        check_start(disk.after_kill(), 22, told, begun, &format!("{what} by kill"));
        check_start(disk.after_power_loss_in_part(step), 22, told, begun, &format!("{what} by power, in part"));
    }
}

#[test]
fn a_missing_segment_is_refused() {
    let (image, _) = small_journal(&MemoryDisk::unpacked());
    let begun: Vec<&String> = image
        .iter()
        .filter(|(path, bytes)| path.starts_with("journal/") && bytes[0] != 0)
        .map(|(path, _)| path)
        .collect();
    for missing in &begun[..begun.len() - 1] {
        let mut image = image.clone();
        image.remove(*missing);
        let error = open_image(image).expect_err("noticed");
        let damage = error.damage().expect("damage");
        assert_eq!(journal_kit::memory_disk::segment_path(damage.segment), **missing, "{error}");
    }
}

#[test]
fn a_missing_last_segment_is_refused_where_its_spare_tells_of_it() {
    let disk = MemoryDisk::default();
    let mut journal = start(&disk, 1).expect("a start").journal;
    pay(&mut journal, 1..3).expect("room");
    journal.spare_maker().make().expect("space");
    let mut image = disk.after_kill();
    image.remove(FIRST);
    let error = open_image(image).expect_err("noticed");
    assert_eq!(error.damage().map(|damage| damage.segment), Some(1), "{error}");
}

#[test]
fn what_follows_a_close_mark_is_refused() {
    let disk = MemoryDisk::default();
    let mut journal = start(&disk, 1).expect("a start").journal;
    pay(&mut journal, 1..3).expect("room");
    let closed = Closed { store: [1; 16], applied: Lsn::new(2), files: vec![("db".to_owned(), 9)] };
    journal.close(at(9), closed.clone()).expect("room");
    assert!(pay(&mut journal, 3..4).is_err(), "nothing is appended after it");
    let image = disk.after_kill();
    let found = open_image(image.clone()).expect("a clean journal");
    assert_eq!(found.closed(), Some(&closed));
    assert_eq!(found.proven().plus(1), found.last(), "only the mark itself lacks evidence");

    // Anything; and the beginning of a batch, which anywhere else would be taken for a torn one.
    let end = written_end(&image[FIRST]);
    for (place, byte) in [(100, 1), (0, b'P')] {
        let mut written = image.clone();
        written.get_mut(FIRST).expect("there")[end + place] = byte;
        let error = open_image(written).expect_err("noticed");
        assert_eq!(error.damage().map(|damage| damage.offset), Some(end as u64), "{error}");
    }
}

#[test]
fn a_durable_batch_that_reads_as_zeros_is_refused() {
    let [(before, after), _] = before_and_after_last_batch();
    let end_before = written_end(&before[FIRST]);
    // The batch before the last, and one sector in the middle of it.
    for from in [end_before - 512, 4096] {
        let mut image = after.clone();
        image.get_mut(FIRST).expect("there")[from..from + 512].fill(0);
        let error = open_image(image).expect_err("noticed");
        assert_eq!(error.damage().map(|damage| (damage.segment, damage.offset)), Some((1, from as u64)), "{error}");
    }
}

#[test]
fn a_start_without_its_opened_changes_nothing_for_the_next() {
    let [_, (_, after)] = before_and_after_last_batch();
    let disk = MemoryDisk::of(after.clone());
    let found = payonce::journal::open(std::sync::Arc::new(disk.clone()), journal_kit::SMALL).expect("a journal");
    let mut journal = found.begin(journal_kit::begin(5)).expect("space");
    pay(&mut journal, 50..60).expect("room");
    assert!(journal.clean_up().is_err(), "nothing is removed before the start counts");
    let found = open_image(disk.after_kill()).expect("a journal");
    assert_eq!((found.epoch(), found.last()), (1, open_image(after).expect("a journal").last()));
    assert_eq!(known(&found, ReplayFrom::Beginning).expect("readable"), numbers(1..28));

    let disk = MemoryDisk::of(disk.after_kill());
    let mut journal = start(&disk, 6).expect("a start").journal;
    assert_eq!(journal.epoch(), 3, "an epoch is never used twice");
    assert!(disk.after_kill().contains_key("journal/0000000002.log"), "kept until the new start counts");
    journal.clean_up().expect("a disk");
    assert!(!disk.after_kill().contains_key("journal/0000000002.log"), "then removed");
}
