//! Personal data in the journal: sealed under a key that is durable before it is used, and erased with that key alone.

#![cfg(feature = "erasure")]
#![allow(clippy::expect_used, clippy::unwrap_used, clippy::indexing_slicing, clippy::as_conversions, reason = "tests")]

mod journal_kit;

mod laid_open;

use std::{fs, path::PathBuf, sync::Arc};

use journal_kit::{
    Image, MemoryDisk, at, begin, carried, event,
    samples::{every_record, full_payment},
};
use payonce::{
    Person, Tenant,
    disk::Disk,
    journal::{
        Erased, Found, Journal, OpenError, Opened, Options, Record, ReplayFrom, Seal, decode_row, encode_row, open,
        verify,
    },
    payment::{Event, Fact, Payment},
};

const SIZES: Options =
    Options { segment_bytes: 128 << 10, batch_bytes: 4 << 10, largest_batch_bytes: 32 << 10, verify_bytes: 0 };
const SEGMENT: &str = "journal/0000000001.log";
const SEED: [u8; 32] = [42; 32];

fn opened(disk: &MemoryDisk) -> Result<Found, OpenError> {
    open(Arc::new(disk.clone()), SIZES)?.sealing(true, SEED)
}

fn tenant(name: &str) -> Tenant {
    Tenant::new(name).expect("legal")
}

fn person() -> Person {
    Person { actor: "jo".to_owned(), reason: "the contract ended".to_owned() }
}

/// Whose the records of the samples are that do not say it.
fn owner(_: &Record) -> Option<Tenant> {
    Some(tenant("shop_1"))
}

fn append(journal: &mut Journal, records: Vec<Record>) {
    let groups: Vec<Vec<Record>> = records.into_iter().map(|record| vec![record]).collect();
    journal.append_of(at(1_700_000_000_000), &groups, &owner).expect("space");
}

/// A folder that holds every record, sealed.
fn written() -> MemoryDisk {
    written_on(MemoryDisk::default())
}

fn written_on(disk: MemoryDisk) -> MemoryDisk {
    let mut journal = opened(&disk).expect("new").begin(begin(1)).expect("space");
    append(&mut journal, every_record());
    disk
}

fn records(found: &Found) -> Vec<Record> {
    let mut records = Vec::new();
    let read = found.replay(ReplayFrom::Beginning, &mut |_, _, record| {
        records.push(record);
        Ok::<(), OpenError>(())
    });
    read.expect("readable");
    records
}

/// What in the samples must not be readable. The words of gateways, such as references, are not among them.
const PERSONAL: [&str; 6] = ["acct_alice", "acct_bob", "two coffees", "table", "waiter", "{\"amount\":1050}"];

fn assert_unreadable(image: &Image) {
    for (path, bytes) in image {
        let bytes = [bytes.as_slice(), &laid_open::unpacked(bytes)].concat();
        for text in PERSONAL {
            assert!(!bytes.windows(text.len()).any(|window| window == text.as_bytes()), "{text} in {path}");
        }
    }
}

/// The same record without what is personal.
fn erased(record: &Record) -> Record {
    let bare = |payment: &Payment| {
        let mut payment = Payment { order: Arc::new(payment.order.erased()), ..payment.clone() };
        payment.operations.iter_mut().for_each(|operation| operation.request.clear());
        payment
    };
    let event = |event: &Event| {
        let mut event = event.clone();
        match &mut event.fact {
            Fact::Accepted { order, .. } => *order = Arc::new(order.erased()),
            Fact::Intended { request, .. } | Fact::Prepared { request, .. } | Fact::Rerouted { request, .. } => {
                request.clear();
            }
            Fact::AttemptStarted { .. }
            | Fact::AttemptEnded { .. }
            | Fact::Learned { .. }
            | Fact::Parked { .. }
            | Fact::Unparked { .. }
            | Fact::Canceled { .. }
            | Fact::Contradicted { .. }
            | Fact::WindowClosed { .. } => {}
        }
        event
    };
    match record {
        Record::Event(one) => Record::Event(event(one)),
        Record::Relogged(one) => Record::Relogged(event(one)),
        Record::Carried(payment) => carried(bare(payment)),
        Record::Inbox(news) => Record::Inbox(payonce::payment::Webhook { body: Vec::new(), ..news.clone() }),
        Record::Audit(_) | Record::Opened(_) | Record::Checkpoint(_) | Record::Closed(_) => record.clone(),
    }
}

fn erase(disk: &MemoryDisk, names: &[&str]) {
    let found = opened(disk).expect("whole");
    for name in names {
        let erased = found.seal().expect("sealed").erase(&tenant(name), at(5), &person());
        assert_eq!(erased.expect("a disk"), Erased::Now, "{name}");
    }
}

#[test]
fn what_is_sealed_comes_back_as_it_was_and_cannot_be_read_in_any_file() {
    let disk = written();
    assert_eq!(records(&opened(&disk).expect("whole")), every_record());
    assert_unreadable(&disk.after_kill());
    assert!(every_record().iter().filter(|record| record.is_personal()).count() > 10);
}

#[test]
fn once_the_key_is_destroyed_everything_but_what_is_personal_is_read() {
    let disk = written();
    erase(&disk, &["shop_1", "default"]);
    for image in [disk.after_kill(), disk.after_power_loss()] {
        assert_unreadable(&image);
        assert_eq!(image.keys().filter(|path| path.starts_with("tenant-keys/")).count(), 0);
        let disk = MemoryDisk::of(image);
        let read = records(&opened(&disk).expect("an erasure is no damage"));
        assert_eq!(read, every_record().iter().map(erased).collect::<Vec<_>>());
        assert!(!read.iter().any(Record::is_personal));
        assert!(verify(Arc::new(disk), SIZES).expect("a disk").failures.is_empty());
    }
}

#[test]
fn erasing_one_tenant_leaves_the_others_as_they_are_and_its_new_payments_get_a_new_key() {
    let disk = written();
    erase(&disk, &["shop_1"]);
    let before = opened(&disk).expect("whole");
    let full = carried(full_payment());
    assert!(records(&before).contains(&full), "of another tenant");
    let mut journal = before.begin(begin(2)).expect("space");
    let again = every_record().remove(1);
    let counts = Record::Opened(Opened { epoch: journal.epoch(), moved: false });
    append(&mut journal, vec![counts, again.clone()]);
    drop(journal);
    assert_unreadable(&disk.after_kill());
    let read = records(&opened(&disk).expect("whole"));
    assert!(read.contains(&again) && read.contains(&erased(&again)), "the new one is read, the old one stays erased");
    assert_eq!(
        opened(&disk).unwrap().seal().unwrap().erase(&tenant("nobody"), at(5), &person()).unwrap(),
        Erased::NothingSealed
    );
    erase(&disk, &["shop_1"]);
    assert!(!records(&opened(&disk).expect("whole")).contains(&again));
    assert_eq!(
        opened(&disk).unwrap().seal().unwrap().erase(&tenant("shop_1"), at(5), &person()).unwrap(),
        Erased::Before
    );
}

/// A payment of an erased order, with a request that was made since: sealed under the new key, and the order stays erased.
#[test]
fn what_is_added_to_an_erased_payment_is_sealed_and_what_was_erased_stays_so() {
    let disk = written();
    let found = opened(&disk).expect("whole");
    let seal: Arc<Seal> = Arc::clone(found.seal().expect("sealed"));
    let Record::Carried(mut payment) = erased(&carried(full_payment())) else { panic!("carried") };
    let rest = encode_row(&payment, Some(&seal)).expect("a disk");
    assert_eq!(decode_row(&rest, None).as_ref(), Ok(payment.as_ref()), "nothing in it needs a key");
    payment.operations[3].request = b"to acct_bob".to_vec();
    let row = encode_row(&payment, Some(&seal)).expect("a disk");
    assert!(!row.windows(8).any(|window| window == b"acct_bob"));
    assert_eq!(decode_row(&row, Some(&seal)).as_ref(), Ok(payment.as_ref()));
    assert!(decode_row(&row, None).is_err(), "not read without keys: that would be taken for an erasure");
}

#[test]
fn a_row_is_the_same_bytes_each_time_and_holds_nothing_personal() {
    let found = opened(&written()).expect("whole");
    let seal = found.seal().expect("sealed");
    let row = encode_row(&full_payment(), Some(seal)).expect("a disk");
    assert_eq!(encode_row(&full_payment(), Some(seal)).expect("a disk"), row);
    assert_unreadable(&Image::from([("row".to_owned(), row.clone())]));
    assert_eq!(decode_row(&row, Some(seal)).as_ref(), Ok(&full_payment()));
    for length in 0..row.len() {
        assert!(decode_row(&row[..length], Some(seal)).is_err(), "{length} bytes");
    }
}

/// P7: what was changed is damage. It is never taken for an erasure, nor read.
#[test]
fn no_changed_byte_of_a_sealed_row_is_read_or_taken_for_an_erasure() {
    let found = opened(&written()).expect("whole");
    let seal = found.seal().expect("sealed");
    let row = encode_row(&full_payment(), Some(seal)).expect("a disk");
    for byte in 0..row.len() {
        let mut changed = row.clone();
        changed[byte] ^= 1 << (byte % 8);
        assert!(decode_row(&changed, Some(seal)).is_err(), "byte {byte}");
    }
}

fn refused(image: Image) -> String {
    match open(Arc::new(MemoryDisk::of(image)), SIZES) {
        Ok(_) => panic!("opened"),
        Err(error) => error.to_string(),
    }
}

#[test]
fn a_missing_or_another_key_refuses_and_is_not_taken_for_an_erasure() {
    let whole = written().after_kill();
    let keys: Vec<&String> = whole.keys().filter(|path| path.starts_with("tenant-keys/")).collect();
    assert_eq!(keys.len(), 2, "shop_1's, and the default tenant's: {keys:?}");
    for key in &keys {
        let mut image = whole.clone();
        image.remove(*key);
        assert!(refused(image).contains("is not there. Nothing was changed"), "{key}");
        for byte in 0..whole[*key].len() {
            let mut image = whole.clone();
            image.get_mut(*key).expect("there")[byte] ^= 1;
            assert!(refused(image).contains("not the file of this key"), "{key} byte {byte}");
        }
    }
    let mut image = whole.clone();
    image.remove("sealed");
    assert!(refused(image).contains("there are keys in tenant-keys, and no sealed"));
    let mut image = whole.clone();
    image.get_mut("sealed").expect("there")[30] ^= 1;
    assert!(refused(image).contains("sealed is damaged"));
    // Another folder's key of the same tenant.
    let disk = MemoryDisk::default();
    let other = open(Arc::new(disk.clone()), SIZES).unwrap().sealing(true, [43; 32]).expect("new");
    append(&mut other.begin(begin(1)).expect("space"), every_record());
    for key in &keys {
        let mut image = whole.clone();
        image.insert((*key).clone(), disk.after_kill()[*key].clone());
        assert!(refused(image).contains("is another one than was listed"), "{key}");
    }
    // Everything about keys gone: the journal itself does not let it pass.
    let image: Image = whole.into_iter().filter(|(path, _)| path.starts_with("journal/")).collect();
    let found = open(Arc::new(MemoryDisk::of(image)), SIZES).expect("a journal");
    let read = found.replay(ReplayFrom::Beginning, &mut |_, _, _| Ok::<(), OpenError>(()));
    assert!(read.expect_err("sealed").to_string().contains("there are no keys here"));
}

/// The records that two tenants' first payments make, with a stop and an erasure between; each step of the disk in turn is
/// the last.
fn life(disk: &MemoryDisk) -> Result<(), Box<dyn std::error::Error>> {
    let mut journal = opened(disk)?.begin(begin(1))?;
    let opened_record = Record::Opened(Opened { epoch: journal.epoch(), moved: false });
    journal.append(at(1), &[vec![opened_record]])?;
    journal.append_of(at(2), &[vec![every_record().remove(0)]], &owner)?;
    journal.append_of(at(3), &[vec![carried(full_payment())]], &owner)?;
    drop(journal);
    let found = opened(disk)?;
    found.seal().expect("sealed").erase(&tenant("shop_1"), at(4), &person())?;
    let mut journal = opened(disk)?.begin(begin(2))?;
    let opened_record = Record::Opened(Opened { epoch: journal.epoch(), moved: false });
    journal.append(at(5), &[vec![opened_record]])?;
    journal.append_of(at(6), &[vec![every_record().remove(1)]], &owner)?;
    Ok(())
}

#[test]
fn a_key_is_durable_before_the_first_record_that_needs_it_wherever_the_machine_dies() {
    let whole = MemoryDisk::default();
    life(&whole).expect("a whole life");
    let steps = whole.steps();
    assert!(steps > 60, "{steps}");
    let sample = every_record();
    let known = [sample[0].clone(), sample[1].clone(), carried(full_payment()), erased(&sample[0])];
    let (mut sealed, mut gone) = (0, 0);
    for step in 0..steps {
        let disk = MemoryDisk::default();
        disk.die_at(step);
        drop(life(&disk));
        disk.next_process();
        let parts = (0..4).map(|seed| disk.after_power_loss_in_part(seed));
        for image in [disk.after_kill(), disk.after_power_loss()].into_iter().chain(parts) {
            assert_unreadable(&image);
            let disk = MemoryDisk::of(image);
            let found = opened(&disk).unwrap_or_else(|error| panic!("dead at step {step}: {error}"));
            for record in records(&found) {
                let housekeeping = matches!(record, Record::Opened(_));
                assert!(housekeeping || known.contains(&record), "dead at step {step}: {record:?}");
                sealed += u32::from(record.is_personal());
                gone += u32::from(record == known[3]);
            }
            // And what it left is gone on with.
            let mut journal = found.begin(begin(3)).unwrap_or_else(|error| panic!("dead at step {step}: {error}"));
            append(&mut journal, vec![every_record().remove(1)]);
        }
    }
    assert!(sealed > 100 && gone > 100, "{sealed} {gone}");
}

#[test]
fn a_disk_without_space_for_a_key_records_nothing_and_one_that_failed_is_not_asked_again() {
    let disk = MemoryDisk::default();
    let mut journal = opened(&disk).expect("new").begin(begin(1)).expect("space");
    disk.limit_space(Some(20));
    let group = [vec![every_record().remove(0)]];
    let full = journal.append_of(at(2), &group, &owner).expect_err("full").to_string();
    assert!(full.contains("no space"), "{full}");
    disk.limit_space(None);
    journal.append_of(at(2), &group, &owner).expect("space again");
    disk.die_at(disk.steps());
    assert!(journal.append_of(at(3), &[vec![carried(full_payment())]], &owner).is_err());
    disk.next_process();
    let stopped = journal.append_of(at(3), &[vec![Record::Event(event(1))]], &owner).expect_err("stopped");
    assert!(stopped.to_string().contains("the journal has stopped"), "{stopped}");
}

#[test]
fn where_sealing_has_begun_it_goes_on_whether_it_is_asked_for_or_not() {
    let disk = written();
    let found = open(Arc::new(disk.clone()), SIZES).expect("whole").sealing(false, SEED).expect("goes on");
    let mut journal = found.begin(begin(2)).expect("space");
    append(&mut journal, every_record());
    assert_unreadable(&disk.after_kill());
    let plain = MemoryDisk::default();
    let found = open(Arc::new(plain.clone()), SIZES).expect("new").sealing(false, SEED).expect("nothing to do");
    assert!(found.seal().is_none() && plain.open("sealed", payonce::disk::Access::Read).is_err());
}

fn golden(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/journal_v3").join(name)
}

/// The files of a folder in which everything is sealed, by the names of their fixtures.
fn written_now() -> Vec<(String, Vec<u8>)> {
    let disk = written_on(MemoryDisk::unpacked());
    let mut files: Vec<(String, Vec<u8>)> = disk.after_kill().into_iter().collect();
    files.retain(|(path, _)| path == SEGMENT || !path.starts_with("journal/"));
    for (_, bytes) in &mut files {
        let end = bytes.iter().rposition(|byte| *byte != 0).expect("written") + 1;
        if bytes.len() > 4096 {
            bytes.truncate(end.next_multiple_of(512));
        }
    }
    let row = encode_row(&full_payment(), opened(&disk).expect("whole").seal().map(Arc::as_ref)).expect("a disk");
    files.push(("payment.row".to_owned(), row));
    files.into_iter().map(|(path, bytes)| (path.replace('/', "-"), bytes)).collect()
}

#[test]
fn golden_files_of_format_3_are_read_and_written_byte_for_byte() {
    for (name, bytes) in written_now() {
        let fixed = fs::read(golden(&name)).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert!(fixed == bytes, "{name}: this version writes format 3 otherwise than the one that fixed it");
    }
    let names =
        fs::read_dir(golden("")).expect("fixtures").map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut image: Image = names
        .filter(|name| name != "payment.row")
        .map(|name| {
            (name.replacen("journal-", "journal/", 1).replacen("keys-", "keys/", 1), fs::read(golden(&name)).unwrap())
        })
        .collect();
    image.get_mut(SEGMENT).expect("a segment").resize(SIZES.segment_bytes as usize, 0);
    let found = opened(&MemoryDisk::of(image)).expect("whole");
    assert_eq!(records(&found), every_record());
    let row = fs::read(golden("payment.row")).expect("a row");
    assert_eq!(decode_row(&row, found.seal().map(Arc::as_ref)), Ok(full_payment()));
}
