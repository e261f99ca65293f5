//! A disk that loses what was not synced, and fails on command.
//!
//! What the engine sees is what the system's page cache would hold. What was synced is kept apart. A killed process
//! leaves the first; a lost machine leaves the second, plus any part, sector by sector, of what had been written since,
//! and the names as they were at the last sync of their folder, plus the first few changes since, in order.

use std::{
    collections::BTreeMap,
    io,
    ops::Range,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use super::Rng;
use crate::disk::{Access, Disk, Handle};

pub(super) const SECTOR: usize = 512;

/// What the next crash does to what was not synced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loss {
    /// The process was killed: the system still holds everything that was written.
    Process,
    /// The machine died.
    Machine(Damage),
}

/// How a dying machine treats sectors that were written and not synced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Damage {
    /// None reached the disk.
    Nothing,
    /// All did.
    Everything,
    /// Each by chance.
    AnySectors,
    /// A first part did, cut at a sector.
    Prefix,
    /// A first part did, cut at any byte: sectors are written front to back.
    PrefixBytes,
    /// A last part did: the disk reordered them.
    Suffix,
    /// All but one.
    AllButOne,
    /// Only one.
    OnlyOne,
}

impl Damage {
    /// Each kind, for crash points that try them all.
    pub const ALL: [Damage; 8] = [
        Damage::Nothing,
        Damage::Everything,
        Damage::AnySectors,
        Damage::Prefix,
        Damage::PrefixBytes,
        Damage::Suffix,
        Damage::AllButOne,
        Damage::OnlyOne,
    ];
}

/// A failure at one IO step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The step and all after it do not happen: the process or the machine stops here.
    Stop,
    /// This step fails with EIO; what it wrote may be there.
    Io,
    /// From here on, what needs space finds none.
    Full,
}

/// Forks share what they have in common: most of a disk, most of the time.
#[derive(Clone, Debug, Default)]
pub(super) struct File {
    pub(super) seen: Arc<Vec<u8>>,
    pub(super) synced: Arc<Vec<u8>>,
    /// Written since, in order.
    dirty: Vec<Written>,
    /// The sectors of the last write.
    pub(super) last: Range<usize>,
}

#[derive(Clone, Copy, Debug)]
struct Written {
    offset: usize,
    length: usize,
    /// By which process: the first is 0.
    process: u64,
}

impl Written {
    const fn sectors(&self) -> Range<usize> {
        self.offset / SECTOR..(self.offset + self.length).div_ceil(SECTOR)
    }
}

#[derive(Clone, Debug)]
enum NameChange {
    Set(String, u64),
    Gone(String),
}

#[derive(Clone, Debug, Default)]
pub(super) struct Platter {
    pub(super) files: BTreeMap<u64, File>,
    pub(super) names: BTreeMap<String, u64>,
    synced_names: BTreeMap<String, u64>,
    changes: Vec<NameChange>,
    open: BTreeMap<u64, u64>,
    next: u64,
    steps: u64,
    process: u64,
    fault: Option<(u64, Fault)>,
    stopped: bool,
    failed: bool,
    full: bool,
}

/// The simulated disk.
#[derive(Debug, Default)]
pub struct SimDisk(Mutex<Platter>);

impl SimDisk {
    /// Empty.
    pub fn new() -> SimDisk {
        SimDisk::default()
    }

    /// A disk in the same state: to try another end from here.
    pub fn fork(&self) -> SimDisk {
        SimDisk(Mutex::new(self.platter().clone()))
    }

    /// How many IO steps were taken: those that change something, or sync it.
    pub fn steps(&self) -> u64 {
        self.platter().steps
    }

    /// Arranges a failure at a step, counted as [`SimDisk::steps`] does.
    pub fn fail_at(&self, step: u64, fault: Fault) {
        self.platter().fault = Some((step, fault));
    }

    /// Whether a fault has struck this process that only a new one gets over.
    pub fn has_failed(&self) -> bool {
        self.platter().failed
    }

    /// There is space again.
    pub fn make_space(&self) {
        let mut platter = self.platter();
        platter.full = false;
        platter.fault = None;
    }

    /// How many bytes this process has written and not synced, in files that are part of the journal: one that is still
    /// being made has a name that says so.
    pub fn unsynced(&self) -> usize {
        let platter = self.platter();
        let made = platter.names.iter().filter(|(name, _)| !name.ends_with(".tmp"));
        let dirty = made.filter_map(|(_, id)| platter.files.get(id)).flat_map(|file| &file.dirty);
        dirty.filter(|written| written.process == platter.process).map(|written| written.length).sum()
    }

    /// The process ends. What is left is what the next one finds.
    pub fn crash(&self, loss: Loss, rng: &mut Rng) {
        let mut platter = self.platter();
        if let Loss::Machine(damage) = loss {
            let kept = if platter.changes.is_empty() { 0 } else { rng.below(platter.changes.len() as u64 + 1) };
            let mut names = std::mem::take(&mut platter.synced_names);
            platter.changes.iter().take(kept as usize).for_each(|change| change.apply(&mut names));
            platter.names = names;
            platter.files.values_mut().for_each(|file| file.lose(damage, rng));
        }
        let names = platter.names.clone();
        let mut named: Vec<u64> = names.values().chain(platter.synced_names.values()).copied().collect();
        named.extend(platter.changes.iter().filter_map(NameChange::sets));
        platter.files.retain(|id, _| named.contains(id));
        // What survived a dead machine is on the disk. What survived a dead process still is not.
        if matches!(loss, Loss::Machine(_)) {
            platter.synced_names = names;
            platter.changes.clear();
        }
        platter.open.clear();
        platter.process += 1;
        platter.fault = None;
        platter.stopped = false;
        platter.failed = false;
        platter.full = false;
    }

    /// How many files are open.
    #[cfg(test)]
    pub(crate) fn open_files(&self) -> usize {
        self.platter().open.len()
    }

    /// The files there are, with their lengths.
    pub fn files(&self) -> Vec<(String, usize)> {
        let platter = self.platter();
        let length = |id: &u64| platter.files.get(id).map_or(0, |file| file.seen.len());
        platter.names.iter().map(|(name, id)| (name.clone(), length(id))).collect()
    }

    pub(super) fn platter(&self) -> MutexGuard<'_, Platter> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl NameChange {
    const fn sets(&self) -> Option<u64> {
        match self {
            NameChange::Set(_, id) => Some(*id),
            NameChange::Gone(_) => None,
        }
    }

    fn apply(&self, names: &mut BTreeMap<String, u64>) {
        match self {
            NameChange::Set(name, id) => {
                names.retain(|_, other| other != id);
                names.insert(name.clone(), *id);
            }
            NameChange::Gone(name) => {
                names.remove(name);
            }
        }
    }
}

/// Cuts, or adds zeros, at once: `Vec::resize` goes byte by byte in a build that is not optimized.
fn resize(bytes: &mut Vec<u8>, length: usize) {
    bytes.truncate(length);
    bytes.extend_from_slice(&vec![0; length - bytes.len()]);
}

impl File {
    /// What a lost machine leaves of it.
    fn lose(&mut self, damage: Damage, rng: &mut Rng) {
        if self.dirty.is_empty() && self.seen.len() == self.synced.len() {
            // Nothing to lose. What a failed fsync took for clean is gone all the same.
            self.seen = self.synced.clone();
            return;
        }
        let mut left = self.synced.as_ref().clone();
        // A length that was not synced may be there or not; what was never written reads as zeros.
        if self.seen.len() != left.len() && rng.one_in(2) {
            resize(&mut left, self.seen.len());
        }
        let sectors: Vec<usize> = self.dirty_sectors();
        let count = sectors.len() as u64;
        let (cut, bytes) = (rng.below(count + 1), rng.below(SECTOR as u64) as usize);
        for (place, sector) in sectors.iter().enumerate() {
            let place = place as u64;
            let kept = match damage {
                Damage::Nothing => 0,
                Damage::Everything => SECTOR,
                Damage::AnySectors => SECTOR * usize::from(rng.one_in(2)),
                Damage::Prefix => SECTOR * usize::from(place < cut),
                Damage::PrefixBytes if place == cut => bytes,
                Damage::PrefixBytes => SECTOR * usize::from(place < cut),
                Damage::Suffix => SECTOR * usize::from(place >= cut),
                Damage::AllButOne => SECTOR * usize::from(place != cut),
                Damage::OnlyOne => SECTOR * usize::from(place == cut),
            };
            let (from, to) = (sector * SECTOR, (sector * SECTOR + kept).min(self.seen.len()));
            if kept > 0 && left.len() < to {
                resize(&mut left, to);
            }
            if let (Some(target), Some(source)) = (left.get_mut(from..to), self.seen.get(from..to)) {
                target.copy_from_slice(source);
            }
        }
        self.synced = Arc::new(left);
        self.seen = self.synced.clone();
        self.dirty.clear();
    }

    fn dirty_sectors(&self) -> Vec<usize> {
        let mut sectors: Vec<usize> = self.dirty.iter().flat_map(Written::sectors).collect();
        sectors.sort_unstable();
        sectors.dedup();
        sectors
    }

    fn sync(&mut self) {
        let sectors = self.dirty_sectors();
        let synced = Arc::make_mut(&mut self.synced);
        resize(synced, self.seen.len());
        for sector in sectors {
            let (from, to) = (sector * SECTOR, ((sector + 1) * SECTOR).min(self.seen.len()));
            if let (Some(target), Some(source)) = (synced.get_mut(from..to), self.seen.get(from..to)) {
                target.copy_from_slice(source);
            }
        }
        self.dirty.clear();
    }
}

impl Platter {
    /// Counts a step, and lets a fault strike that was arranged for it.
    fn step(&mut self, needs_space: bool) -> io::Result<()> {
        let step = self.steps;
        self.steps += 1;
        match self.fault {
            _ if self.stopped => return Err(io::Error::other("the process has stopped")),
            Some((at, Fault::Stop)) if step >= at => {
                self.stopped = true;
                self.failed = true;
                return Err(io::Error::other("the process stops here"));
            }
            Some((at, Fault::Io)) if step == at => {
                self.failed = true;
                return Err(io::Error::other("EIO"));
            }
            Some((at, Fault::Full)) if step >= at => self.full = true,
            Some((_, Fault::Stop | Fault::Io | Fault::Full)) | None => {}
        }
        if needs_space && self.full {
            return Err(io::Error::from(io::ErrorKind::StorageFull));
        }
        Ok(())
    }

    fn file(&mut self, handle: Handle) -> io::Result<&mut File> {
        let id = self.open.get(&handle.0).copied();
        id.and_then(|id| self.files.get_mut(&id)).ok_or_else(|| io::Error::other("a handle that is not open"))
    }

    fn open_file(&mut self, id: u64) -> Handle {
        self.next += 1;
        self.open.insert(self.next, id);
        Handle(self.next)
    }
}

fn not_found(path: &str) -> io::Error {
    io::Error::new(io::ErrorKind::NotFound, path.to_owned())
}

fn folder_of(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(folder, _)| folder)
}

impl Disk for SimDisk {
    fn list(&self, folder: &str) -> io::Result<Vec<String>> {
        let platter = self.platter();
        let inside = platter.names.keys().filter(|name| folder_of(name) == folder);
        Ok(inside.filter_map(|name| name.rsplit('/').next()).map(str::to_owned).collect())
    }

    fn make_dir(&self, _: &str) -> io::Result<()> {
        Ok(())
    }

    fn create(&self, path: &str) -> io::Result<Handle> {
        let mut platter = self.platter();
        platter.step(true)?;
        if platter.names.contains_key(path) {
            return Err(io::Error::from(io::ErrorKind::AlreadyExists));
        }
        platter.next += 1;
        let id = platter.next;
        platter.files.insert(id, File::default());
        platter.names.insert(path.to_owned(), id);
        platter.changes.push(NameChange::Set(path.to_owned(), id));
        Ok(platter.open_file(id))
    }

    fn open(&self, path: &str, _: Access) -> io::Result<Handle> {
        let mut platter = self.platter();
        let id = platter.names.get(path).copied().ok_or_else(|| not_found(path))?;
        Ok(platter.open_file(id))
    }

    fn close(&self, file: Handle) {
        self.platter().open.remove(&file.0);
    }

    fn len(&self, file: Handle) -> io::Result<u64> {
        Ok(self.platter().file(file)?.seen.len() as u64)
    }

    fn read_at(&self, file: Handle, offset: u64, into: &mut [u8]) -> io::Result<usize> {
        let mut platter = self.platter();
        let seen = &platter.file(file)?.seen;
        let from = (offset as usize).min(seen.len());
        let to = from.saturating_add(into.len()).min(seen.len());
        let source = seen.get(from..to).unwrap_or_default();
        if let Some(target) = into.get_mut(..source.len()) {
            target.copy_from_slice(source);
        }
        Ok(source.len())
    }

    fn write_at(&self, file: Handle, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let mut platter = self.platter();
        let offset = offset as usize;
        let grows = platter.file(file)?.seen.len() < offset + bytes.len();
        let was_stopped = platter.stopped;
        let stepped = platter.step(grows);
        let found_no_space = stepped.as_ref().err().is_some_and(|error| error.kind() == io::ErrorKind::StorageFull);
        if was_stopped || found_no_space {
            return stepped;
        }
        // A step that fails, or at which the process stops, may have written any part: its sectors are as unsynced as any.
        let process = platter.process;
        let file = platter.file(file)?;
        let seen = Arc::make_mut(&mut file.seen);
        if grows {
            resize(seen, offset + bytes.len());
        }
        if let Some(target) = seen.get_mut(offset..offset + bytes.len()) {
            target.copy_from_slice(bytes);
        }
        let written = Written { offset, length: bytes.len(), process };
        file.last = written.sectors();
        file.dirty.push(written);
        stepped
    }

    fn set_len(&self, file: Handle, bytes: u64) -> io::Result<()> {
        let mut platter = self.platter();
        platter.step(false)?;
        let file = platter.file(file)?;
        resize(Arc::make_mut(&mut file.seen), bytes as usize);
        Ok(())
    }

    fn sync_data(&self, file: Handle) -> io::Result<()> {
        let mut platter = self.platter();
        let stepped = platter.step(false);
        let file = platter.file(file)?;
        match &stepped {
            Ok(()) => file.sync(),
            // What Linux does after a failed fsync: the pages count as clean, and are not on the disk (ATC'20).
            Err(_) => file.dirty.clear(),
        }
        stepped
    }

    fn sync_all(&self, file: Handle) -> io::Result<()> {
        self.sync_data(file)
    }

    fn sync_dir(&self, folder: &str) -> io::Result<()> {
        let mut platter = self.platter();
        platter.step(false)?;
        let _ = folder; // The journal has one folder: syncing it syncs all names.
        platter.synced_names = platter.names.clone();
        platter.changes.clear();
        Ok(())
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut platter = self.platter();
        platter.step(false)?;
        let id = platter.names.remove(from).ok_or_else(|| not_found(from))?;
        platter.names.insert(to.to_owned(), id);
        platter.changes.push(NameChange::Set(to.to_owned(), id));
        Ok(())
    }

    fn remove(&self, path: &str) -> io::Result<()> {
        let mut platter = self.platter();
        platter.step(false)?;
        platter.names.remove(path).ok_or_else(|| not_found(path))?;
        platter.changes.push(NameChange::Gone(path.to_owned()));
        Ok(())
    }
}
