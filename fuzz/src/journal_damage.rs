//! A journal as payonce writes it, over several starts, crashes and tears; then damage of any kind to its files.
//!
//! Asserts, before any damage: every start finds exactly what was acknowledged, and of what was being written when the
//! process stopped, all or nothing. After damage: the journal is refused, or replay gives, record for record,
//! - everything, if the last batch was left alone and no file was removed, added, cut or lengthened;
//! - everything, or everything but the last batch, if nothing else was touched;
//! - else what had been acknowledged at some moment: a prefix, never a record that was not written.

use std::{collections::BTreeMap, ops::Range, sync::Arc};

use payonce::{
    disk::Disk,
    journal::{Checkpoint, Closed, Journal, Lsn, Options, Record, ReplayFrom, open},
    payment::{Amount, Event, Fact, Kind, OperationRef, PaymentId, Timestamp},
    sim::{Damage, Fault, Loss, Rng, SimDisk},
};

use super::{
    choices::Choices,
    journal_scan::{Records, SIZES, get, goes_on, path, put, replay, start},
};

type Image = BTreeMap<String, Vec<u8>>;

/// A journal, then damage.
pub fn journal_damage(bytes: &[u8]) {
    let mut c = Choices(bytes);
    let mut author = Author::new();
    for _ in 0..c.below(24) {
        author.step(&mut c);
    }
    author.stop();
    author.check_undamaged();
    let before = image(&author.disk);
    for _ in 0..c.below(4) {
        author.damage(&mut c);
    }
    let after = image(&author.disk);
    author.check_damaged(&before, &after, c.seldom());
}

/// Writes a journal, and remembers what it wrote.
struct Author {
    disk: Arc<SimDisk>,
    journal: Option<Journal>,
    /// What a replay must give, after each thing that was acknowledged.
    history: Vec<Records>,
    /// What it may give instead of the last of these, because a process stopped while it was being written, or before
    /// what it had left unsynced was recorded again: until a start is complete, that may still be lost.
    perhaps: Vec<Records>,
    /// Where the last batch is.
    last: Option<(String, Range<usize>)>,
    older: Image,
    salt: u64,
}

impl Author {
    fn new() -> Author {
        let (disk, older) = (Arc::new(SimDisk::new()), Image::new());
        Author { disk, journal: None, history: vec![Records::new()], perhaps: Vec::new(), last: None, older, salt: 0 }
    }

    fn now(&self) -> &Records {
        self.history.last().expect("never empty")
    }

    fn step(&mut self, c: &mut Choices<'_>) {
        match c.below(16) {
            0..=6 => self.append(records(c, self.salt)),
            7 => self.confirm(),
            8 => self.checkpoint(),
            9 => self.close(),
            10 => self.spare(),
            11 => self.older = image(&self.disk),
            12 => self.crash(Loss::Process, c),
            13 => self.crash(Loss::Machine(Damage::Everything), c),
            // The next things stop at some step of the disk.
            _ => {
                let fault = if c.yes() { Fault::Stop } else { Fault::Io };
                self.disk.fail_at(self.disk.steps() + c.below(12) as u64, fault);
                self.append(records(c, self.salt));
                let damage = Damage::ALL[c.below(8)];
                self.crash(if c.yes() { Loss::Process } else { Loss::Machine(damage) }, c);
            }
        }
    }

    /// Starts if need be. `None`: the disk failed meanwhile.
    fn running(&mut self) -> Option<Journal> {
        if let Some(journal) = self.journal.take() {
            return Some(journal);
        }
        self.check_undamaged();
        self.salt += 1;
        let found = open(self.disk.clone(), SIZES).expect("checked just now");
        let proven = found.proven();
        let again = found.to_record_again().expect("checked just now");
        let mut begun: Records = self.now().iter().filter(|(lsn, _)| *lsn <= proven).cloned().collect();
        let opened = Record::Opened(payonce::journal::Opened { epoch: found_epoch(&self.disk) + 1, moved: false });
        begun.extend((found.last().get() + 1..).map(Lsn::new).zip(again.into_iter().chain([opened])));
        let records = self.now().clone();
        let Ok((journal, expected)) = start(found, &records, self.salt) else {
            // The process stopped while starting: its `Opened` is there, or is not.
            self.perhaps.push(begun);
            return None;
        };
        assert_eq!(expected, begun);
        self.perhaps.clear();
        self.wrote(&journal, HEADER_OF_NEW, expected);
        Some(journal)
    }

    fn wrote(&mut self, journal: &Journal, before: (u64, u64), records: Records) {
        let at = journal.position();
        // The last batch of a start is one `Opened`, which takes a sector.
        let from = match before {
            HEADER_OF_NEW => at.offset - 512,
            (segment, offset) if segment == at.segment => offset,
            _ => 4096,
        };
        self.last = Some((path(at.segment), from as usize..at.offset as usize));
        self.history.push(records);
    }

    fn append(&mut self, group: Vec<Record>) {
        let Some(mut journal) = self.running() else { return };
        let before = journal.position();
        let mut after = self.now().clone();
        after.extend((before.next.get()..).map(Lsn::new).zip(group.iter().cloned()));
        match journal.append(Timestamp::from_millis(1), &[group]) {
            Ok(appended) => {
                assert_eq!((appended.first, appended.batches), (before.next, 1));
                self.wrote(&journal, (before.segment, before.offset), after);
                self.journal = Some(journal);
            }
            Err(_) => {
                assert!(self.disk.has_failed(), "an append failed on a disk that works");
                self.perhaps.push(after);
            }
        }
    }

    fn confirm(&mut self) {
        let Some(mut journal) = self.running() else { return };
        let before = journal.position();
        if journal.confirm(Timestamp::from_millis(2)).is_ok() {
            if journal.position() != before {
                let records = self.now().clone();
                self.wrote(&journal, (before.segment, before.offset), records);
            }
            self.journal = Some(journal);
        }
    }

    fn checkpoint(&mut self) {
        let Some(journal) = self.running() else { return };
        let (from, upto) = (journal.position(), journal.last());
        self.journal = Some(journal);
        self.append(vec![Record::Checkpoint(Checkpoint { store: [1; 16], upto, from, files: Vec::new() })]);
    }

    fn close(&mut self) {
        let Some(journal) = self.running() else { return };
        let applied = journal.last();
        self.journal = Some(journal);
        self.append(vec![Record::Closed(Closed { store: [1; 16], applied, files: Vec::new() })]);
        self.journal = None;
    }

    fn spare(&mut self) {
        if let Some(journal) = self.running() {
            let _ = journal.spare_maker().make();
            self.journal = Some(journal);
        }
    }

    fn crash(&mut self, loss: Loss, c: &mut Choices<'_>) {
        self.journal = None;
        self.disk.crash(loss, &mut Rng::new(c.byte().into()));
        self.check_undamaged();
    }

    fn stop(&mut self) {
        self.journal = None;
        self.disk.crash(Loss::Process, &mut Rng::new(0));
    }

    /// Nothing but crashes has happened: what was acknowledged is there, and nothing is refused.
    fn check_undamaged(&mut self) {
        let found = open(self.disk.clone(), SIZES).unwrap_or_else(|error| panic!("refused after a crash: {error}"));
        let records = replay(&found, ReplayFrom::Beginning).unwrap_or_else(|error| panic!("after a crash: {error}"));
        if records != *self.now() {
            assert!(self.perhaps.contains(&records), "neither what was acknowledged nor what was being written");
            self.perhaps.push(self.now().clone());
            self.history.push(records.clone());
        }
        if !self.perhaps.is_empty() {
            // Where the last batch is cannot be told from outside.
            self.last = None;
        }
        if let Some(checkpoint) = found.checkpoint() {
            let since = replay(&found, ReplayFrom::Checkpoint).expect("the whole was readable");
            let expected = records.iter().filter(|(lsn, _)| *lsn >= checkpoint.from.next).cloned().collect::<Records>();
            assert_eq!(since, expected, "since the checkpoint");
        }
    }

    fn damage(&mut self, c: &mut Choices<'_>) {
        let mut files = image(&self.disk);
        let Some(name) = files.keys().nth(c.below(files.len())).cloned() else { return };
        let mut bytes = files.remove(&name).unwrap_or_default();
        let written = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
        let at = c.word() % (written + 600).min(bytes.len().max(1));
        match c.below(10) {
            0 | 1 => bytes.get_mut(at).into_iter().for_each(|byte| *byte ^= 1 << c.below(8)),
            2 => bytes.iter_mut().skip(at).take(c.word() % 1500).for_each(|byte| *byte = 0),
            3 => bytes.iter_mut().skip(at - at % 512).take(512 * (1 + c.below(4))).for_each(|byte| *byte = 0),
            4 => bytes.iter_mut().skip(at).zip(c.take(16)).for_each(|(byte, new)| *byte = *new),
            5 => {
                let other = files.values().nth(c.below(files.len())).unwrap_or(&bytes);
                let from = other.chunks(512).nth(c.below(24)).unwrap_or_default().to_vec();
                bytes.iter_mut().skip(at - at % 512).zip(from).for_each(|(byte, new)| *byte = new);
            }
            6 => bytes.resize(if c.yes() { at } else { bytes.len() + at }, 0),
            7 => {
                self.disk.remove(&name).expect("it is there");
                return self.disk.sync_dir("journal").expect("no fault");
            }
            8 => return put(&self.disk, &path(1 + c.below(6) as u64), &bytes),
            _ => bytes = self.older.get(&name).cloned().unwrap_or(bytes),
        }
        put(&self.disk, &name, &bytes);
    }

    fn check_damaged(&mut self, before: &Image, after: &Image, unread: bool) {
        let options = Options { verify_bytes: if unread { 0 } else { u64::MAX }, ..SIZES };
        let Ok(found) = open(self.disk.clone(), options) else {
            return assert!(before != after, "refused, and nothing was damaged");
        };
        let Ok(records) = replay(&found, ReplayFrom::Beginning) else { return };
        assert!(self.history.contains(&records), "records that were never written, or not in this order: {records:?}");
        let same_files = before.iter().map(|(name, bytes)| (name, bytes.len()));
        if let Some((name, batch)) = &self.last
            && same_files.eq(after.iter().map(|(name, bytes)| (name, bytes.len())))
        {
            let changed = |inside: bool| {
                before.iter().any(|(file, old)| {
                    let new = &after[file];
                    let in_last = |at: usize| file == name && batch.contains(&at);
                    (0..old.len()).any(|at| old[at] != new[at] && in_last(at) == inside)
                })
            };
            match (changed(true), changed(false)) {
                (_, false) => assert!(self.history.iter().rev().take(2).any(|known| *known == records)),
                (false, true) => assert_eq!(&records, self.now(), "damage before the last batch lost something"),
                (true, true) => {}
            }
            if !changed(true) {
                assert_eq!(&records, self.now(), "the last batch was left alone");
            }
        }
        goes_on(&self.disk, found, &records);
    }
}

/// Before the last batch of a start.
const HEADER_OF_NEW: (u64, u64) = (0, 0);

/// The highest epoch that any segment's header names, whether it counts or not. One that was cut short names none.
fn found_epoch(disk: &SimDisk) -> u64 {
    let epoch = |bytes: &Vec<u8>| {
        let header = bytes.get(..4096).filter(|header| header[4095] != 0)?;
        let whole = header[4088..4092] == crc32fast::hash(&header[..4088]).to_le_bytes();
        header.get(56..64).filter(|_| whole).map(|field| u64::from_le_bytes(field.try_into().expect("8")))
    };
    image(disk).values().filter_map(epoch).max().unwrap_or(0)
}

fn image(disk: &SimDisk) -> Image {
    disk.files().into_iter().map(|(name, _)| (name.clone(), get(disk, &name))).collect()
}

/// A group that one batch holds; some with whole sectors of zeros in it.
fn records(c: &mut Choices<'_>, salt: u64) -> Vec<Record> {
    let operation = OperationRef { number: 0, kind: Kind::Charge, amount: Amount::new(1).expect("legal") };
    let record = |c: &mut Choices<'_>| {
        let request = vec![if c.yes() { b'x' } else { 0 }; c.below(256) * 4];
        let fact = Fact::Prepared { operation, reference: salt.to_string(), request };
        Record::Event(Event { payment: PaymentId::from_bytes([c.byte(); 16]), at: Timestamp::from_millis(3), fact })
    };
    (0..=c.below(3)).map(|_| record(c)).collect()
}
