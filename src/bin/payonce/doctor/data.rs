//! The data folder: whether it is there, whose it is, what it lies on, who holds its lock, and how much space is left.

use std::{
    fs,
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::Path,
    time::Duration,
};

use payonce::{
    config::Settings,
    disk::{FileSystem, FolderLock, LockError},
};

use ureq::tls::TlsConfig;

use super::Check;

const WHAT: &str = "data folder";
/// File systems that are gone when the machine, or the container, is.
const FLEETING: [&str; 3] = ["tmpfs", "ramfs", "overlay"];
/// Less than this does not last a day of much business: a payment takes a few kilobytes, with the store.
const LITTLE_SPACE: u64 = 2 << 30;
/// How long a daemon on this machine may take to say that it is there.
const PATIENCE: Duration = Duration::from_secs(3);

/// What was found out about it.
pub(super) struct Folder {
    pub(super) is_there: bool,
    /// A daemon has it.
    pub(super) is_held: bool,
    /// The lock file's identity, where it could be taken for a moment.
    pub(super) lock: Option<u64>,
}

pub(super) fn look(settings: &Settings, checks: &mut Vec<Check>) -> Folder {
    let path = &settings.data;
    let mut folder = Folder { is_there: false, is_held: false, lock: None };
    match fs::metadata(path) {
        Ok(metadata) if metadata.is_dir() => {
            folder.is_there = true;
            checks.push(whose(path, &metadata));
        }
        Ok(_) => checks.push(Check::problem(WHAT, format!("{} is no folder", path.display()), "choose another --data")),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            let found = format!("{} is not there", path.display());
            checks.push(Check::warning(WHAT, found, "`payonce serve` makes it; if there was one, check --data"));
        }
        Err(error) => {
            let found = format!("{}: {error}", path.display());
            checks.push(Check::problem(WHAT, found, "let the daemon's user read and write it"));
        }
    }
    if folder.is_there {
        checks.push(file_system(path));
        checks.push(lock(settings, &mut folder));
        checks.push(space(settings));
    }
    folder
}

fn whose(path: &Path, metadata: &fs::Metadata) -> Check {
    let mode = metadata.permissions().mode() & 0o777;
    let found = format!("{} (mode {mode:o}, owner {})", path.display(), metadata.uid());
    let me = fs::metadata("/proc/self").map(|myself| myself.uid()).ok();
    if mode & 0o022 != 0 {
        return Check::warning(WHAT, found, "others may write there: chmod go-w, for it is the record of payments");
    }
    if me.is_some_and(|me| me != metadata.uid()) {
        return Check::warning(WHAT, found, "it is another user's: run this, and the daemon, as its owner");
    }
    Check::fine(WHAT, found)
}

fn file_system(path: &Path) -> Check {
    let what = "file system";
    match FileSystem::of(path) {
        Ok(on) if on.is_network() => {
            let found = format!("{} at {}: a network's", on.kind, on.mount_point);
            Check::problem(what, found, "use a local disk: a lock there does not keep other machines out")
        }
        Ok(on) if FLEETING.contains(&on.kind.as_str()) => {
            let found = format!("{} at {}", on.kind, on.mount_point);
            Check::warning(what, found, "it goes with the machine or the container: put the data on a disk or a volume")
        }
        Ok(on) if on.kind.is_empty() => Check::warning(what, "not known here", "make sure that it is a local disk"),
        Ok(on) => Check::fine(what, format!("{} at {}", on.kind, on.mount_point)),
        Err(error) => Check::problem(what, error.to_string(), "let the daemon's user read the folder"),
    }
}

fn lock(settings: &Settings, folder: &mut Folder) -> Check {
    let what = "lock";
    // It is never made here: its identity is the folder's.
    if !settings.data.join("lock").exists() {
        return Check::fine(what, "none yet: no daemon has run here");
    }
    match FolderLock::take(&settings.data) {
        Ok(lock) => {
            folder.lock = Some(lock.inode());
            Check::fine(what, "free: no daemon is running here")
        }
        Err(LockError::Held { .. }) => {
            folder.is_held = true;
            held(settings)
        }
        Err(LockError::Network { .. }) => Check::problem(what, "not to be trusted on a network", "use a local disk"),
        Err(LockError::Disk(error)) => {
            Check::problem(what, error.to_string(), "let the daemon's user read and write the folder")
        }
    }
}

/// Whether it is a daemon that holds it, and how that is.
fn held(settings: &Settings) -> Check {
    let scheme = if settings.tls_cert.is_some() { "https" } else { "http" };
    let url = format!("{scheme}://{}/readyz", settings.listen);
    let config = ureq::Agent::config_builder()
        .http_status_as_error(false)
        .timeout_global(Some(PATIENCE))
        // Whoever it says it is: nothing secret is said to it, and its certificate is not for an address.
        .tls_config(TlsConfig::builder().disable_verification(true).build())
        .build();
    match ureq::Agent::from(config).get(&url).call() {
        Ok(answer) if answer.status().is_success() => {
            Check::fine("lock", format!("held; the daemon at {} is ready", settings.listen))
        }
        Ok(answer) => {
            let found = format!("held; {} answers {}", settings.listen, answer.status().as_u16());
            Check::warning("lock", found, "it may be starting, or stopping: look at its log")
        }
        Err(error) => {
            let found = format!("held by a process, and {} does not answer: {error}", settings.listen);
            Check::warning("lock", found, "give the daemon's --listen, or look at its log")
        }
    }
}

fn space(settings: &Settings) -> Check {
    let what = "space left";
    let segment = settings.options(false).segment_bytes;
    match fs2::available_space(&settings.data) {
        Ok(free) => {
            let found = format!("{} MiB", free >> 20);
            // The segment in use, and the one that is made ahead.
            if free < segment.saturating_mul(2) {
                return Check::problem(what, found, "make room: new payments will be refused (storage_full)");
            }
            if free < LITTLE_SPACE {
                return Check::warning(what, found, "make room: the journal grows, and is kept for ever");
            }
            Check::fine(what, found)
        }
        Err(error) => Check::warning(what, error.to_string(), "find out by hand: `df` shows it"),
    }
}
