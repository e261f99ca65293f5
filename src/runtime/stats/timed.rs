//! A disk that notes how long the journal's fsyncs take. The rings below read no clock.

use std::{io, sync::Arc, time::Instant};

use super::Meter;
use crate::disk::{Access, Disk, Handle};

pub(in crate::runtime) struct TimedDisk {
    inner: Arc<dyn Disk>,
    meter: Arc<Meter>,
}

impl TimedDisk {
    pub(in crate::runtime) const fn new(inner: Arc<dyn Disk>, meter: Arc<Meter>) -> TimedDisk {
        TimedDisk { inner, meter }
    }
}

impl Disk for TimedDisk {
    /// Of batches and segment headers: what makes segments ahead of need syncs everything.
    fn sync_data(&self, file: Handle) -> io::Result<()> {
        let began = Instant::now();
        let synced = self.inner.sync_data(file);
        self.meter.synced(began.elapsed());
        synced
    }

    fn list(&self, folder: &str) -> io::Result<Vec<String>> {
        self.inner.list(folder)
    }

    fn make_dir(&self, folder: &str) -> io::Result<()> {
        self.inner.make_dir(folder)
    }

    fn create(&self, path: &str) -> io::Result<Handle> {
        self.inner.create(path)
    }

    fn open(&self, path: &str, access: Access) -> io::Result<Handle> {
        self.inner.open(path, access)
    }

    fn close(&self, file: Handle) {
        self.inner.close(file);
    }

    fn len(&self, file: Handle) -> io::Result<u64> {
        self.inner.len(file)
    }

    fn read_at(&self, file: Handle, offset: u64, into: &mut [u8]) -> io::Result<usize> {
        self.inner.read_at(file, offset, into)
    }

    fn write_at(&self, file: Handle, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.inner.write_at(file, offset, bytes)
    }

    fn set_len(&self, file: Handle, bytes: u64) -> io::Result<()> {
        self.inner.set_len(file, bytes)
    }

    fn sync_all(&self, file: Handle) -> io::Result<()> {
        self.inner.sync_all(file)
    }

    fn sync_dir(&self, folder: &str) -> io::Result<()> {
        self.inner.sync_dir(folder)
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.inner.rename(from, to)
    }

    fn remove(&self, path: &str) -> io::Result<()> {
        self.inner.remove(path)
    }
}
