//! A folder under `target/tmp` that goes with its test; what a killed run has left goes with the next run.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::{
        Once,
        atomic::{AtomicU32, Ordering},
    },
};

/// How often removing is tried: a server that nobody has stopped may make a file meanwhile.
const TRIES: usize = 100;

/// The folder. It is removed when this is dropped.
pub(crate) struct Folder(pub(crate) PathBuf);

impl Folder {
    /// A new one, empty.
    pub(crate) fn new(name: &str) -> Folder {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        static SWEEP: Once = Once::new();
        let tmp = Path::new(env!("CARGO_TARGET_TMPDIR"));
        SWEEP.call_once(|| sweep(tmp));
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let path = tmp.join(format!("{PREFIX}{}-{name}-{number}", std::process::id()));
        fs::create_dir_all(&path).expect("a folder");
        Folder(path)
    }
}

impl std::ops::Deref for Folder {
    type Target = Path;

    fn deref(&self) -> &Path {
        &self.0
    }
}

impl AsRef<Path> for Folder {
    fn as_ref(&self) -> &Path {
        &self.0
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        for _ in 0..TRIES {
            if fs::remove_dir_all(&self.0).is_ok() || !self.0.exists() {
                return;
            }
            std::thread::yield_now();
        }
    }
}

const PREFIX: &str = "payonce-";

/// Removes the folders of processes that are gone.
fn sweep(tmp: &Path) {
    for entry in fs::read_dir(tmp).into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let process = name.strip_prefix(PREFIX).and_then(|rest| rest.split('-').next());
        if process.is_some_and(|id| !Path::new("/proc").join(id).exists()) {
            // Another test's process may be at it too.
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}
