//! A disk in memory that keeps apart what the process sees and what would survive the machine.

use std::{
    collections::{BTreeMap, HashMap},
    io::{self, ErrorKind},
    sync::{Arc, Mutex, MutexGuard},
};

use payonce::disk::{Access, Disk, Handle};

/// Every file, by path.
pub(crate) type Image = BTreeMap<String, Vec<u8>>;

#[derive(Clone, Default)]
pub(crate) struct MemoryDisk(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    names: BTreeMap<String, u64>,
    durable_names: BTreeMap<String, u64>,
    files: HashMap<u64, Content>,
    handles: HashMap<u64, (u64, Access)>,
    next: u64,
    /// How many changes and syncs there were.
    steps: u64,
    dies_at: Option<u64>,
    fails: Option<(Fails, ErrorKind)>,
    space: Option<u64>,
}

#[derive(Clone, Default)]
struct Content {
    seen: Vec<u8>,
    durable: Vec<u8>,
}

/// What is made to fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fails {
    List,
    Write,
    Sync,
}

impl MemoryDisk {
    /// One on which batches are written as they are: where the test is about their bytes.
    pub(crate) fn unpacked() -> MemoryDisk {
        MemoryDisk::of(Image::from([("format".to_owned(), b"records up to version 3\n".to_vec())]))
    }

    /// How many files the next process finds that are segments or are to become one.
    pub(crate) fn segments(&self) -> usize {
        self.after_kill().keys().filter(|path| path.starts_with("journal/")).count()
    }

    pub(crate) fn of(image: Image) -> MemoryDisk {
        let disk = MemoryDisk::default();
        let mut state = disk.state();
        for (path, bytes) in image {
            state.next += 1;
            let id = state.next;
            state.names.insert(path.clone(), id);
            state.durable_names.insert(path, id);
            state.files.insert(id, Content { seen: bytes.clone(), durable: bytes });
        }
        drop(state);
        disk
    }

    /// What the next process sees after this one was killed.
    pub(crate) fn after_kill(&self) -> Image {
        let state = self.state();
        state.names.iter().map(|(path, id)| (path.clone(), state.files[id].seen.clone())).collect()
    }

    /// What is left when the machine lost power, and nothing that was not synced had reached the disk.
    pub(crate) fn after_power_loss(&self) -> Image {
        let state = self.state();
        state.durable_names.iter().map(|(path, id)| (path.clone(), state.files[id].durable.clone())).collect()
    }

    /// What is left when the machine lost power, and of what was not synced any sectors, by chance, had reached the disk.
    pub(crate) fn after_power_loss_in_part(&self, seed: u64) -> Image {
        let state = self.state();
        let mut chance = seed;
        let mut coin = || {
            // Knuth's MMIX generator; the high bits are the good ones.
            chance = chance.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            chance >> 63 == 1
        };
        let mut part = |content: &Content| {
            let mut bytes = content.durable.clone();
            bytes.resize(if coin() { content.seen.len() } else { content.durable.len() }, 0);
            for (sector, seen) in bytes.chunks_mut(512).zip(content.seen.chunks(512)) {
                if sector.len() == seen.len() && sector != seen && coin() {
                    sector.copy_from_slice(seen);
                }
            }
            bytes
        };
        state.durable_names.iter().map(|(path, id)| (path.clone(), part(&state.files[id]))).collect()
    }

    /// How many changes and syncs there were.
    pub(crate) fn steps(&self) -> u64 {
        self.state().steps
    }

    /// From that many steps on, everything fails; a write that is hit lands by half.
    pub(crate) fn die_at(&self, step: u64) {
        self.state().dies_at = Some(step);
    }

    /// The process was killed, and another one starts: what was not synced is still only seen.
    pub(crate) fn next_process(&self) {
        let mut state = self.state();
        state.dies_at = None;
        state.handles.clear();
    }

    /// Makes lists, writes or fsyncs fail.
    pub(crate) fn fail(&self, fails: Option<(Fails, ErrorKind)>) {
        self.state().fails = fails;
    }

    /// How many bytes files may still grow by.
    pub(crate) fn limit_space(&self, bytes: Option<u64>) {
        self.state().space = bytes;
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().expect("no test panics while it holds the disk")
    }
}

impl State {
    fn step(&mut self) -> io::Result<()> {
        self.steps += 1;
        match self.dies_at {
            Some(step) if self.steps > step => Err(io::Error::other("the process died")),
            _ => Ok(()),
        }
    }

    fn failing(&self, what: Fails) -> io::Result<()> {
        match self.fails {
            Some((fails, kind)) if fails == what => Err(kind.into()),
            _ => Ok(()),
        }
    }

    fn id(&self, path: &str) -> io::Result<u64> {
        self.names.get(path).copied().ok_or_else(|| io::Error::new(ErrorKind::NotFound, path.to_owned()))
    }

    fn content(&mut self, file: Handle) -> io::Result<&mut Content> {
        let (id, _) = self.handles.get(&file.0).ok_or(ErrorKind::InvalidInput)?;
        self.files.get_mut(id).ok_or_else(|| ErrorKind::NotFound.into())
    }

    fn handle(&mut self, id: u64, access: Access) -> Handle {
        self.next += 1;
        self.handles.insert(self.next, (id, access));
        Handle(self.next)
    }

    fn grow(&mut self, by: u64) -> io::Result<()> {
        match &mut self.space {
            Some(space) if *space < by => Err(ErrorKind::StorageFull.into()),
            Some(space) => {
                *space -= by;
                Ok(())
            }
            None => Ok(()),
        }
    }

    fn sync(&mut self, file: Handle) -> io::Result<()> {
        self.step()?;
        self.failing(Fails::Sync)?;
        let content = self.content(file)?;
        content.durable = content.seen.clone();
        Ok(())
    }
}

impl Disk for MemoryDisk {
    fn list(&self, folder: &str) -> io::Result<Vec<String>> {
        let prefix = format!("{folder}/");
        self.state().failing(Fails::List)?;
        Ok(self.state().names.keys().filter_map(|path| path.strip_prefix(&prefix)).map(str::to_owned).collect())
    }

    fn make_dir(&self, _: &str) -> io::Result<()> {
        self.state().step()
    }

    fn create(&self, path: &str) -> io::Result<Handle> {
        let mut state = self.state();
        state.step()?;
        if state.names.contains_key(path) {
            return Err(ErrorKind::AlreadyExists.into());
        }
        state.next += 1;
        let id = state.next;
        state.names.insert(path.to_owned(), id);
        state.files.insert(id, Content::default());
        Ok(state.handle(id, Access::ReadWrite))
    }

    fn open(&self, path: &str, access: Access) -> io::Result<Handle> {
        let mut state = self.state();
        let id = state.id(path)?;
        Ok(state.handle(id, access))
    }

    fn close(&self, file: Handle) {
        self.state().handles.remove(&file.0);
    }

    fn len(&self, file: Handle) -> io::Result<u64> {
        Ok(self.state().content(file)?.seen.len() as u64)
    }

    fn read_at(&self, file: Handle, offset: u64, into: &mut [u8]) -> io::Result<usize> {
        let mut state = self.state();
        let seen = &state.content(file)?.seen;
        let from = &seen[(offset as usize).min(seen.len())..];
        let length = from.len().min(into.len());
        into[..length].copy_from_slice(&from[..length]);
        Ok(length)
    }

    fn write_at(&self, file: Handle, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let mut state = self.state();
        assert_eq!(state.handles[&file.0].1, Access::ReadWrite, "written through a read-only handle");
        let stepped = state.step();
        let dead = state.dies_at.is_some_and(|step| state.steps > step + 1);
        if dead {
            return stepped;
        }
        state.failing(Fails::Write)?;
        let bytes = if stepped.is_err() { &bytes[..bytes.len() / 2] } else { bytes };
        let (start, end) = (offset as usize, offset as usize + bytes.len());
        let length = state.content(file)?.seen.len();
        state.grow(end.saturating_sub(length) as u64)?;
        let seen = &mut state.content(file)?.seen;
        seen.resize(length.max(end), 0);
        seen[start..end].copy_from_slice(bytes);
        stepped
    }

    fn set_len(&self, file: Handle, bytes: u64) -> io::Result<()> {
        let mut state = self.state();
        state.step()?;
        state.content(file)?.seen.resize(bytes as usize, 0);
        Ok(())
    }

    fn sync_data(&self, file: Handle) -> io::Result<()> {
        self.state().sync(file)
    }

    fn sync_all(&self, file: Handle) -> io::Result<()> {
        self.state().sync(file)
    }

    fn sync_dir(&self, folder: &str) -> io::Result<()> {
        let mut state = self.state();
        state.step()?;
        let within = |path: &String| path.rsplit_once('/').map_or("", |(parent, _)| parent) == folder;
        let names: BTreeMap<String, u64> =
            state.names.iter().filter(|(path, _)| within(path)).map(|(path, id)| (path.clone(), *id)).collect();
        state.durable_names.retain(|path, _| !within(path));
        state.durable_names.extend(names);
        Ok(())
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut state = self.state();
        state.step()?;
        let id = state.id(from)?;
        state.names.remove(from);
        state.names.insert(to.to_owned(), id);
        Ok(())
    }

    fn remove(&self, path: &str) -> io::Result<()> {
        let mut state = self.state();
        state.step()?;
        let id = state.id(path)?;
        let freed = state.files[&id].seen.len() as u64;
        state.space = state.space.map(|space| space + freed);
        state.names.remove(path).map(drop).ok_or_else(|| ErrorKind::NotFound.into())
    }
}

/// A segment's file.
pub(crate) fn segment_path(number: u64) -> String {
    format!("journal/{number:010}.log")
}
