//! The journal's bytes: what was written once is read for ever.

#![allow(clippy::expect_used, clippy::unwrap_used, clippy::indexing_slicing, clippy::as_conversions, reason = "tests")]

mod journal_kit;

use std::{fs, path::PathBuf, sync::Arc};

use journal_kit::{
    Image, MemoryDisk, at,
    samples::{every_deed, every_record, full_payment, payment},
};
use payonce::journal::{Begin, Options, Record, ReplayFrom, decode_payment, dump, encode_payment, open, verify};

const SEGMENT: &str = "journal/0000000001.log";
const SIZES: Options =
    Options { segment_bytes: 64 << 10, batch_bytes: 4 << 10, largest_batch_bytes: 32 << 10, verify_bytes: 0 };

fn golden(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/journal_v1").join(name)
}

fn read_golden(name: &str) -> Vec<u8> {
    fs::read(golden(name)).expect("the golden files of format 1 are part of the repository")
}

/// A segment that holds these records, as this version writes it.
fn written_now(records: Vec<Record>) -> Vec<u8> {
    written_on(MemoryDisk::unpacked(), records)
}

fn written_on(disk: MemoryDisk, records: Vec<Record>) -> Vec<u8> {
    let found = open(Arc::new(disk.clone()), SIZES).expect("a new journal");
    let begin = Begin { store_uuid: [0xAB; 16], salt: 0x5A17_0001, boot_id: [7; 16], lock_inode: 42 };
    let mut journal = found.begin(begin).expect("space");
    let groups: Vec<Vec<Record>> = records.into_iter().map(|record| vec![record]).collect();
    journal.append(at(1_700_000_000_000), &groups).expect("space");
    let mut bytes = disk.after_kill().remove(SEGMENT).expect("there");
    let end = bytes.iter().rposition(|byte| *byte != 0).expect("written") + 1;
    bytes.truncate(end.next_multiple_of(512));
    bytes
}

fn records_of(mut segment: Vec<u8>) -> Vec<Record> {
    segment.resize(SIZES.segment_bytes as usize, 0);
    let found = open(Arc::new(MemoryDisk::of(Image::from([(SEGMENT.to_owned(), segment)]))), SIZES).expect("readable");
    let mut records = Vec::new();
    let read = found.replay(ReplayFrom::Beginning, &mut |_, _, record| {
        records.push(record);
        Ok::<(), payonce::journal::OpenError>(())
    });
    read.expect("readable");
    records
}

#[test]
fn every_record_comes_back_as_it_was_written() {
    assert_eq!(records_of(written_now(every_record())), every_record());
    assert_eq!(records_of(written_now(every_deed())), every_deed());
}

#[test]
fn golden_files_of_format_1_are_read_and_written_byte_for_byte() {
    let segment = read_golden("0000000001.log");
    assert_eq!(records_of(segment.clone()), every_record());
    assert!(
        written_now(every_record()) == segment,
        "this version writes format 1 otherwise than the one that fixed it"
    );

    let deeds = read_golden("deeds.log");
    assert_eq!(records_of(deeds.clone()), every_deed());
    assert!(written_now(every_deed()) == deeds, "this version writes deeds otherwise than the one that fixed them");

    let row = read_golden("payment.row");
    assert_eq!(decode_payment(&row).as_ref(), Ok(&full_payment()));
    assert!(encode_payment(&full_payment()) == row, "this version writes rows otherwise than the one that fixed them");
}

/// Which bytes a block is made of is up to who makes it: what counts is that this one is read for ever.
#[test]
fn golden_packed_batches_are_read_and_what_is_packed_now_is_read_too() {
    let golden = fs::read(golden("../journal_v4/0000000001.log")).expect("a part of the repository");
    for segment in [golden, written_on(MemoryDisk::default(), every_record())] {
        let packed = segment.chunks(512).filter(|sector| sector.starts_with(b"POB1") && sector[58] == 1).count();
        assert!(packed > 0 && segment.len() < read_golden("0000000001.log").len(), "{packed} packed");
        assert_eq!(records_of(segment), every_record());
    }
}

/// Where a segment's last batch begins, and where its trailer does.
fn last_batch(segment: &[u8]) -> (usize, usize) {
    let begins = |at: &usize| segment[*at..].starts_with(b"POB1");
    let at = (0..segment.len()).step_by(512).rev().find(begins).expect("a batch");
    (at, at + u32::from_le_bytes(segment[at + 4..at + 8].try_into().expect("four bytes")) as usize - 8)
}

/// Makes both checksums of the last batch right again, and opens the segment: why it is refused.
fn refused(mut segment: Vec<u8>) -> String {
    let (at, end) = last_batch(&segment);
    let crc = crc32fast::hash(&segment[at..at + 59]);
    segment[at + 59..at + 63].copy_from_slice(&crc.to_le_bytes());
    let before = u32::from_le_bytes(segment[at + 52..at + 56].try_into().expect("four bytes"));
    let mut chain = crc32fast::Hasher::new_with_initial(before);
    chain.update(&segment[at..end]);
    segment[end..end + 4].copy_from_slice(&chain.finalize().to_le_bytes());
    segment.resize(SIZES.segment_bytes as usize, 0);
    let opened = open(Arc::new(MemoryDisk::of(Image::from([(SEGMENT.to_owned(), segment)]))), SIZES);
    opened.err().map(|error| error.to_string()).unwrap_or_default()
}

/// Behind right checksums: a block that is none, that holds something else, or more than any batch does.
#[test]
fn a_block_that_does_not_hold_its_records_is_damage() {
    let written = written_on(MemoryDisk::default(), every_record());
    let (at, _) = last_batch(&written);
    assert_eq!(written[at + 58], 1, "it is packed");
    for (place, flipped) in [(64, 1), (67, 0x7F), (68, 0xFF)] {
        let mut segment = written.clone();
        segment[at + place] ^= flipped;
        let why = refused(segment);
        assert!(why.contains("the block of a batch cannot be unpacked"), "byte {place}: {why}");
    }
}

#[test]
fn a_batch_of_no_records_holds_nothing_else_packed_or_not() {
    for (packed, why) in [(0, "the records of a batch do not fill it"), (1, "the block of a batch cannot be unpacked")]
    {
        let mut segment = written_on(MemoryDisk::default(), every_record());
        let (at, _) = last_batch(&segment);
        segment[at + 48..at + 52].fill(0);
        segment[at + 58] = packed;
        segment[at + 64..at + 72].fill(0xAB);
        let refused = refused(segment);
        assert!(refused.contains(why), "{refused}");
    }
}

#[test]
fn a_damaged_row_is_refused_and_never_panics() {
    let row = encode_payment(&full_payment());
    for length in 0..row.len() {
        assert!(decode_payment(&row[..length]).is_err(), "{length} bytes");
    }
    assert!(decode_payment(&[row.as_slice(), &[0]].concat()).is_err(), "a byte too many");
    for byte in 0..row.len() {
        for value in [0, 1, 0x7F, 0xFF] {
            let mut row = row.clone();
            row[byte] = value;
            // Some still are payments; none is anything else.
            if let Ok(payment) = decode_payment(&row) {
                assert!(encode_payment(&payment) == row, "byte {byte} = {value} is read as another row's payment");
            }
        }
    }
}

#[test]
fn lengths_beyond_the_bytes_are_refused_without_believing_them() {
    let mut row = encode_payment(&payment(1));
    // Version and id come before the tenant's length.
    row[17..25].copy_from_slice(&(1u64 << 40).to_le_bytes());
    assert!(decode_payment(&row).is_err());
    row[17..25].copy_from_slice(&u64::MAX.to_le_bytes());
    assert!(decode_payment(&row).is_err());
}

#[test]
fn a_format_or_version_that_is_not_known_is_refused_by_name() {
    let mut row = encode_payment(&payment(1));
    row[0] = 9;
    let error = decode_payment(&row).expect_err("another version");
    assert!(error.to_string().contains("version 9"), "{error}");

    let mut segment = read_golden("0000000001.log");
    segment[8] = 2;
    let crc = crc32fast::hash(&segment[..4088]).to_le_bytes();
    segment[4088..4092].copy_from_slice(&crc);
    let error = open(Arc::new(MemoryDisk::of(Image::from([(SEGMENT.to_owned(), segment)]))), SIZES).err();
    let error = error.expect("another format").to_string();
    assert!(error.contains("format is 2"), "{error}");
}

#[test]
fn dump_shows_what_stands_before_damage_and_verify_names_it() {
    let mut segment = read_golden("0000000001.log");
    segment.resize(SIZES.segment_bytes as usize, 0);
    let whole = Image::from([(SEGMENT.to_owned(), segment)]);
    let verified = verify(Arc::new(MemoryDisk::of(whole.clone())), SIZES).expect("a disk");
    assert_eq!((verified.records, verified.failures.len()), (every_record().len() as u64, 0));

    let mut damaged = whole;
    damaged.get_mut(SEGMENT).expect("there")[4096 + 6000] ^= 4;
    let disk = Arc::new(MemoryDisk::of(damaged));
    let entries: Vec<_> = dump(disk.clone()).expect("a disk").collect();
    let (good, bad) = entries.split_at(entries.len() - 1);
    assert!(bad[0].is_err() && !good.is_empty(), "{} entries", entries.len());
    let shown: Vec<Record> = good.iter().map(|entry| entry.as_ref().expect("readable").record.clone()).collect();
    assert_eq!(shown, every_record()[..shown.len()]);
    let verified = verify(disk, SIZES).expect("a disk");
    assert_eq!((verified.records, verified.failures.len()), (shown.len() as u64, 1));
}

#[test]
fn verify_reads_everything_and_names_each_damage_once() {
    let disk = MemoryDisk::default();
    for salt in 1..4 {
        let mut journal = journal_kit::start(&disk, salt).expect("a start").journal;
        journal_kit::pay(&mut journal, salt * 10..salt * 10 + 3).expect("room");
    }
    let whole = disk.after_kill();
    let check = |image: Image| verify(Arc::new(MemoryDisk::of(image)), journal_kit::SMALL).expect("a disk");
    let all = check(whole.clone());
    // Each start: its `Opened`, three payments; and from the second on the three before it, each carried.
    assert_eq!((all.records, all.failures.len()), (3 * 4 + 2 * 6, 0));

    let mut damaged = whole;
    for path in [SEGMENT, "journal/0000000003.log"] {
        damaged.get_mut(path).expect("there")[4096 + 70] ^= 1;
    }
    let found = check(damaged);
    let places: Vec<u64> = found.failures.iter().filter_map(|error| Some(error.damage()?.segment)).collect();
    assert_eq!(
        (found.records, places),
        (4 + 6, vec![3, 1]),
        "the start refuses the newest, and the oldest is found too"
    );
}

#[test]
fn a_header_that_belongs_to_another_file_or_that_no_start_wrote_is_refused_and_says_why() {
    let disk = MemoryDisk::default();
    journal_kit::start(&disk, 1).expect("a start");
    let mut image = disk.after_kill();
    let refused = |image: Image| journal_kit::open_image(image).map(drop).expect_err("noticed").to_string();
    let renamed = Image::from([("journal/0000000002.log".to_owned(), image[SEGMENT].clone())]);
    assert!(refused(renamed).contains("the file holds segment 1"));

    let segment = image.get_mut(SEGMENT).expect("there");
    // The epoch; and a checksum that vouches for it.
    segment[56..64].fill(0xFF);
    let crc = crc32fast::hash(&segment[..4088]).to_le_bytes();
    segment[4088..4092].copy_from_slice(&crc);
    assert!(refused(image).contains("numbers that no journal ever comes to"));
}
