//! What is done to a data folder while no engine runs on it.

use std::{path::Path, sync::Arc};

use super::{
    OpenError, Options,
    opening::{STORE, journal_options, note_rebuilt, seed, system},
};
use crate::{
    disk::{Disk, FolderLock, OsDisk},
    engine, journal,
    journal::Lsn,
    store::{self, Expected, Store},
};

/// What a rebuild did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rebuilt {
    /// How many records were read.
    pub records: u64,
    /// How many rows were put.
    pub rows: u64,
    /// Where the old store is kept, if there was one.
    pub old: Option<std::path::PathBuf>,
}

/// Moves the store aside and builds it anew from the journal. Takes the folder's lock; sends nothing, changes no journal.
pub fn rebuild_store(data: &Path) -> Result<Rebuilt, OpenError> {
    let options = Options::new(data);
    let _lock = FolderLock::take(data).map_err(OpenError::Lock)?;
    let disk: Arc<dyn Disk> = Arc::new(OsDisk::new(data).map_err(system(data.display().to_string()))?);
    let found = journal::open(disk, journal_options(&options))?.sealing(false, seed()?)?;
    let path = data.join(STORE);
    let old = store::move_aside(&path).map_err(system("the store could not be moved aside"))?;
    let expected = Expected { store: found.store_uuid().unwrap_or_default(), applied: Lsn::ZERO, files: &[] };
    let opening = store::open(&path, &store::Options::default(), &expected)?;
    let (records, rows) = engine::rebuild(&found, &opening.store)?;
    opening.store.flush().map_err(engine::Stopped::from).map_err(engine::OpenError::from)?;
    drop(opening);
    if let Some(closed) = found.closed() {
        note_rebuilt(&path, closed).map_err(system("the new store could not be noted"))?;
    }
    Ok(Rebuilt { records, rows, old })
}
