//! Up to which version records may be written: the gate between an upgrade and the way back.
//!
//! A newer payonce reads all that older ones wrote, and goes on writing what they can read until a person says that the
//! upgrade is final. Until then the older one can be put back. How far it may go is in the file `format` of the data folder,
//! one line: `records up to version 2`. Where it is not there, 2: that is what was written before there was this gate; a folder
//! that nothing was ever written in has no way back to keep open, and begins with the newest. A second line says that
//! personal data is sealed: then the list of its keys must be there too.
//!
//! What needs a newer version is not begun before it may be written; that the journal refuses it is the last line.

use std::{collections::BTreeMap, io, sync::Arc};

use crate::disk::{Access, Disk};

use super::{Found, OpenError};

/// The newest version of a record that this payonce reads and writes.
pub const NEWEST_VERSION: u8 = 4;

/// From this version on records are written as a block where that takes fewer sectors. What is in the block is written as in
/// the versions before.
pub(super) const PACKING: u8 = 4;

/// The version of sealed records: personal data is sealed only where it may be written.
pub(super) const SEALING: u8 = 3;

/// What may be written where nothing is said and something is there.
pub(super) const UNSAID: u8 = 2;

/// The file, in the data folder.
const FILE: &str = "format";
const FILE_WHILE_MADE: &str = "format.tmp";
const BEFORE: &str = "records up to version ";
/// No line of ours is longer.
const LONGEST: usize = 64;
/// The second line, in a folder in which personal data is sealed.
const SEALED_LINE: &str = "personal data is sealed\n";

/// Up to which version records may be written in a data folder. Refuses what only a newer payonce can know.
pub fn level(disk: &Arc<dyn Disk>) -> Result<u8, OpenError> {
    said(disk).map(|level| level.unwrap_or(UNSAID))
}

/// What the file says; `None` if it is not there.
pub(super) fn said(disk: &Arc<dyn Disk>) -> Result<Option<u8>, OpenError> {
    let line = match read(disk) {
        Ok(line) => line,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(refused(error)),
    };
    let line = line.strip_suffix(SEALED_LINE).map_or(line.clone(), str::to_owned);
    let said = line.strip_prefix(BEFORE).and_then(|rest| rest.strip_suffix('\n')?.parse().ok());
    match said {
        Some(level @ 1..=NEWEST_VERSION) if line == written(level) => Ok(Some(level)),
        Some(newer) if newer > NEWEST_VERSION => Err(refused(io::Error::other(format!(
            "the upgrade to records of version {newer} is final here, and this payonce knows them up to version \
             {NEWEST_VERSION}: use a newer one"
        )))),
        Some(_) | None => Err(refused(io::Error::other(format!("it must be one line, such as `{BEFORE}{UNSAID}`")))),
    }
}

/// Says so, durably, where nothing is said yet.
pub(super) fn say(disk: &Arc<dyn Disk>, level: u8) -> io::Result<()> {
    match read(disk) {
        Ok(_) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => write(disk, &written(level)),
        Err(error) => Err(error),
    }
}

/// Lets records of the newest version be written from the next start on. Older payonces that do not know it cannot open
/// the folder any more. Durable when this returns; cut short, it has happened or not.
pub fn finalize(disk: &Arc<dyn Disk>) -> Result<(), OpenError> {
    let sealed = if says_sealed(disk)? { SEALED_LINE } else { "" };
    write(disk, &(written(NEWEST_VERSION) + sealed)).map_err(OpenError::disk("writing `format`"))
}

/// Whether personal data is sealed in a data folder, by the word of this file.
pub(super) fn says_sealed(disk: &Arc<dyn Disk>) -> Result<bool, OpenError> {
    match read(disk) {
        Ok(line) => Ok(line.ends_with(SEALED_LINE)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(refused(error)),
    }
}

/// Says so, durably: from then on no start goes on without the list of the keys.
pub(super) fn say_sealed(disk: &Arc<dyn Disk>, level: u8) -> Result<(), OpenError> {
    if says_sealed(disk)? {
        return Ok(());
    }
    let line = written(level) + SEALED_LINE;
    write(disk, &line).map_err(OpenError::disk("writing `format`"))
}

impl Found {
    /// Up to which version records may be written.
    pub fn level(&self) -> u8 {
        self.level
    }

    /// How many records there are that need each version to be read. Reads the whole journal.
    pub fn versions(&self) -> Result<BTreeMap<u8, u64>, OpenError> {
        let mut versions = BTreeMap::new();
        self.each_batch(self.last(), &mut |batch| {
            let packing = if batch.packed { PACKING } else { 0 };
            batch.frames.iter().for_each(|frame| *versions.entry(packing.max(frame.version())).or_default() += 1);
            Ok(())
        })?;
        Ok(versions)
    }
}

fn written(level: u8) -> String {
    format!("{BEFORE}{level}\n")
}

fn refused(error: io::Error) -> OpenError {
    OpenError::disk("reading `format`, which says what may be written")(error)
}

fn read(disk: &Arc<dyn Disk>) -> io::Result<String> {
    let file = disk.open(FILE, Access::Read)?;
    let mut bytes = vec![0; LONGEST];
    let read = disk.read_at(file, 0, &mut bytes);
    disk.close(file);
    bytes.truncate(read?);
    String::from_utf8(bytes).map_err(io::Error::other)
}

fn write(disk: &Arc<dyn Disk>, line: &str) -> io::Result<()> {
    match disk.remove(FILE_WHILE_MADE) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        Ok(()) | Err(_) => {}
    }
    let file = disk.create(FILE_WHILE_MADE)?;
    let synced = disk.write_at(file, 0, line.as_bytes()).and_then(|()| disk.sync_all(file));
    disk.close(file);
    synced?;
    disk.rename(FILE_WHILE_MADE, FILE)?;
    disk.sync_dir("")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        journal::{AppendError, Begin, Journal, Lsn, Opened, Options, Record, ReplayFrom, open, samples::news_of},
        payment::{Event, Fact, Identity, Kind, OperationRef, PaymentId, Timestamp, Webhook},
        sim::{Damage, Fault, Loss, Rng, SimDisk},
    };

    const SIZES: Options =
        Options { segment_bytes: 64 << 10, batch_bytes: 4 << 10, largest_batch_bytes: 8 << 10, verify_bytes: 0 };

    fn saying(line: &str) -> Arc<dyn Disk> {
        let disk: Arc<dyn Disk> = Arc::new(SimDisk::new());
        write(&disk, line).expect("space");
        disk
    }

    fn start(disk: &Arc<dyn Disk>) -> Journal {
        let begin = Begin { store_uuid: [1; 16], salt: 7, boot_id: [2; 16], lock_inode: 3 };
        let mut journal = open(Arc::clone(disk), SIZES).expect("readable").begin(begin).expect("space");
        let opened = Record::Opened(Opened { epoch: journal.epoch(), moved: false });
        append(&mut journal, opened).expect("a first version");
        journal
    }

    fn append(journal: &mut Journal, record: Record) -> Result<Lsn, AppendError> {
        journal.append(Timestamp::from_millis(1), &[vec![record]]).map(|appended| appended.last)
    }

    fn of_version_1() -> Record {
        let (gateway, event_id, at) = ("a".to_owned(), "b".to_owned(), Timestamp::from_millis(1));
        Record::Inbox(Webhook { gateway, event_id, at, operation_key: None, body: Vec::new() })
    }

    fn of_version_2() -> Record {
        let amount = crate::payment::Amount::new(7).expect("legal");
        let operation = OperationRef { number: 0, kind: Kind::Charge, amount };
        let fact = Fact::Rerouted { operation, gateway: Identity::default(), request: Vec::new() };
        Record::Event(Event { payment: PaymentId::from_bytes([7; 16]), at: Timestamp::from_millis(1), fact })
    }

    #[test]
    fn nothing_newer_is_written_before_the_upgrade_is_final_and_the_rest_goes_on() {
        let disk = saying("records up to version 1\n");
        let mut journal = start(&disk);
        append(&mut journal, of_version_1()).expect("as before");
        let refused = append(&mut journal, of_version_2()).expect_err("too new");
        assert!(matches!(refused, AppendError::NotFinal { version: 2, level: 1 }), "{refused}");
        assert!(refused.to_string().contains("payonce upgrade finalize"), "{refused}");
        append(&mut journal, of_version_1()).expect("nothing was recorded, and it goes on");
        let found = open(Arc::clone(&disk), SIZES).expect("readable");
        assert_eq!((found.level(), found.versions().expect("whole")), (1, BTreeMap::from([(1, 3)])));

        finalize(&disk).expect("space");
        append(&mut journal, of_version_2()).expect_err("from the next start on");
        append(&mut start(&disk), of_version_2()).expect("final");
        let found = open(Arc::clone(&disk), SIZES).expect("readable");
        assert_eq!(
            (found.level(), found.versions().expect("whole")),
            (NEWEST_VERSION, BTreeMap::from([(1, 4), (2, 1)]))
        );
    }

    #[test]
    fn records_are_packed_once_that_is_final_and_are_counted_as_what_only_a_newer_payonce_reads() {
        let disk = saying("records up to version 3\n");
        let alike = || news_of(vec![7; 1_200]);
        let mut journal = start(&disk);
        append(&mut journal, alike()).expect("as before");
        journal.confirm(Timestamp::from_millis(1)).expect("space");
        finalize(&disk).expect("space");
        let mut journal = start(&disk);
        append(&mut journal, alike()).expect("final");
        journal.confirm(Timestamp::from_millis(1)).expect("space");
        let found = open(Arc::clone(&disk), SIZES).expect("readable");
        assert_eq!(found.versions().expect("whole"), BTreeMap::from([(1, 3), (PACKING, 1)]));
        let mut read = 0;
        let all = found.replay(ReplayFrom::Beginning, &mut |_, _, record| {
            read += usize::from(record == alike());
            Ok::<(), OpenError>(())
        });
        all.expect("readable");
        assert_eq!(read, 2);
    }

    #[test]
    fn a_folder_that_says_nothing_is_written_as_before_there_was_a_gate() {
        let disk = saying("records up to version 1\n");
        start(&disk);
        disk.remove(FILE).expect("there");
        let found = open(Arc::clone(&disk), SIZES).expect("readable");
        assert_eq!((found.level(), level(&disk).expect("nothing said")), (2, 2));
        let mut journal = start(&disk);
        append(&mut journal, of_version_2()).expect("as before");
        append(&mut journal, news_of(vec![7; 1_200])).expect("as before");
        let found = open(Arc::clone(&disk), SIZES).expect("readable");
        assert_eq!((found.level(), said(&disk).expect("readable")), (2, None));
        assert_eq!(found.versions().expect("whole"), BTreeMap::from([(1, 3), (2, 1)]), "and nothing is packed");
    }

    #[test]
    fn a_folder_in_which_nothing_was_written_begins_with_the_newest_and_says_so() {
        let disk: Arc<dyn Disk> = Arc::new(SimDisk::new());
        assert_eq!(open(Arc::clone(&disk), SIZES).expect("nothing there").level(), NEWEST_VERSION);
        start(&disk);
        assert_eq!(said(&disk).expect("readable"), Some(NEWEST_VERSION));
        let asked_for = saying("records up to version 1\n");
        start(&asked_for);
        assert_eq!(said(&asked_for).expect("readable"), Some(1), "what was said before stands");
    }

    #[test]
    fn a_line_that_cannot_be_read_is_an_error_and_not_taken_for_nothing_said() {
        let disk: Arc<dyn Disk> = Arc::new(SimDisk::new());
        let file = disk.create(FILE).expect("space");
        disk.write_at(file, 0, &[0xFF]).expect("space");
        for refused in [
            level(&disk).map(drop),
            says_sealed(&disk).map(drop),
            say_sealed(&disk, 2),
            say(&disk, 2).map_err(OpenError::disk("saying it")),
        ] {
            refused.expect_err("not text");
        }
    }

    #[test]
    fn an_old_half_made_file_that_cannot_be_removed_is_named_as_what_it_is() {
        let disk = Arc::new(SimDisk::new());
        disk.create(FILE_WHILE_MADE).expect("space");
        disk.fail_at(disk.steps(), Fault::Io);
        let shared: Arc<dyn Disk> = disk;
        assert_eq!(write(&shared, "anything").expect_err("a fault").to_string(), "EIO");
        write(&shared, "anything").expect("once");
    }

    #[test]
    fn that_personal_data_is_sealed_is_kept_whatever_becomes_final() {
        let disk = saying("records up to version 3\n");
        assert!(!says_sealed(&disk).expect("readable"));
        say_sealed(&disk, 3).expect("space");
        finalize(&disk).expect("space");
        assert_eq!((says_sealed(&disk).expect("readable"), said(&disk).expect("readable")), (true, Some(4)));
        say_sealed(&disk, 3).expect("said already");
        assert_eq!(said(&disk).expect("readable"), Some(4));
    }

    #[test]
    fn a_folder_of_a_newer_payonce_is_refused_by_name_and_no_line_is_guessed_at() {
        let newer = level(&saying("records up to version 5\n")).expect_err("newer").to_string();
        assert!(newer.contains("version 5 is final here") && newer.contains("use a newer one"), "{newer}");
        let before = "records up to version ";
        for line in ["", "\n", "2", before]
            .map(str::to_owned)
            .into_iter()
            .chain(["2", "0\n", "02\n", "04\n", "4\n\n"].map(|level| before.to_owned() + level))
        {
            let line = line.as_str();
            let refused = level(&saying(line)).expect_err(line).to_string();
            assert!(refused.contains("must be one line"), "{line:?}: {refused}");
            assert!(open(saying(line), SIZES).is_err(), "{line:?}");
        }
    }

    #[test]
    fn after_a_crash_at_any_step_an_upgrade_is_final_or_is_not() {
        let losses: Vec<Loss> = Damage::ALL.into_iter().map(Loss::Machine).chain([Loss::Process]).collect();
        let mut found = [0, 0];
        for (step, loss) in (0..8).flat_map(|step| losses.iter().map(move |loss| (step, *loss))) {
            let disk = Arc::new(SimDisk::new());
            let shared: Arc<dyn Disk> = disk.clone();
            write(&shared, &written(1)).expect("space");
            disk.fail_at(disk.steps() + step, Fault::Stop);
            let done = finalize(&shared);
            disk.crash(loss, &mut Rng::new(step));
            let level = level(&shared).expect("one or the other");
            assert!(level == NEWEST_VERSION || done.is_err(), "step {step}: it was said to be final");
            found[usize::from(level == NEWEST_VERSION)] += 1;
            finalize(&shared).expect("what was left half done is no hindrance");
        }
        assert!(found[0] > 0 && found[1] > 0, "both were seen: {found:?}");
    }
}
