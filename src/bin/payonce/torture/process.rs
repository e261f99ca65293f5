//! The programs under torture: this same executable, as a gateway and as a daemon.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, BufRead, BufReader, Read, Seek, SeekFrom},
    os::unix::{fs::MetadataExt, process::CommandExt},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::mpsc::{self, Receiver, RecvTimeoutError},
    thread,
    time::{Duration, Instant},
};

use super::record::GLANCE;

/// After how much of the journal the daemon makes a checkpoint, in bytes: some hundred payments, so that many a kill meets
/// one, and many a start begins from it. By default none would come in a round.
const CHECKPOINT: &str = "65536";

/// What a gateway's news is signed with: only here, and worth nothing.
pub(super) const SECRET: (&str, &str) =
    ("PAYONCE_GATEWAY_WEBHOOK_SECRET", "whsec_dG9ydHVyZS10b3J0dXJlLXRvcnR1cmUtdG9ydHVyZQ==");

/// The scratch folder of a run, and what is in it.
pub(super) struct Site {
    pub(super) folder: PathBuf,
    /// The daemon's data folder.
    pub(super) data: PathBuf,
    program: PathBuf,
}

impl Site {
    /// Makes the folder, which must be new or empty: an old run's payments would be taken for this one's.
    pub(super) fn make(folder: PathBuf) -> io::Result<Site> {
        fs::create_dir_all(&folder)?;
        let folder = folder.canonicalize()?;
        if fs::read_dir(&folder)?.next().is_some() {
            return Err(io::Error::other("it is not empty, and holds perhaps the evidence of an earlier run"));
        }
        let data = folder.join("data");
        Ok(Site { folder, data, program: std::env::current_exe()? })
    }

    /// A gateway's ledger.
    pub(super) fn ledger(&self, name: &str) -> PathBuf {
        self.folder.join(name).join("sandbox.ledger")
    }

    /// Starts the program; its standard error goes to `NAME.log`.
    fn start(&self, name: &str, arguments: &[String]) -> io::Result<Process> {
        let mut command = Command::new(&self.program);
        // Our settings are not its settings, and nor is a payonce.toml that lies around.
        for (key, _) in std::env::vars_os().filter(|(key, _)| key.to_string_lossy().starts_with("PAYONCE")) {
            command.env_remove(key);
        }
        command.env(SECRET.0, SECRET.1);
        let log = self.log(name)?;
        command.args(arguments).current_dir(&self.folder).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(log);
        // Ctrl-C is meant for us: they are to end as we say.
        command.process_group(0);
        let mut child = command.spawn()?;
        let (tell, introduction) = mpsc::channel();
        if let Some(said) = child.stdout.take() {
            thread::spawn(move || {
                let mut said = BufReader::new(said);
                let mut line = String::new();
                if said.read_line(&mut line).is_ok_and(|len| len > 0) {
                    // Whoever asked may have killed it by now.
                    let _ = tell.send(line);
                }
                let _ = io::copy(&mut said, &mut io::sink());
            });
        }
        Ok(Process { child, introduction })
    }

    fn log(&self, name: &str) -> io::Result<File> {
        OpenOptions::new().create(true).append(true).open(self.log_path(name))
    }

    /// Where a program's standard error goes.
    pub(super) fn log_path(&self, name: &str) -> PathBuf {
        self.folder.join(format!("{name}.log"))
    }

    /// How long its log is.
    pub(super) fn log_bytes(&self, name: &str) -> u64 {
        fs::metadata(self.log_path(name)).map_or(0, |found| found.len())
    }

    /// What was added to its log since it had that length.
    pub(super) fn log_since(&self, name: &str, bytes: u64) -> String {
        let mut added = Vec::new();
        let read = File::open(self.log_path(name)).and_then(|mut log| {
            log.seek(SeekFrom::Start(bytes))?;
            log.read_to_end(&mut added)
        });
        // There may be none yet.
        read.map_or_else(|_| String::new(), |_| String::from_utf8_lossy(&added).into_owned())
    }

    /// Starts the faulty gateway, and waits until it can be reached.
    pub(super) fn start_sandbox(&self, name: &str, more: &[String]) -> io::Result<Process> {
        let data = self.folder.join(name).display().to_string();
        let mut arguments = ["sandbox".to_owned(), "--data".to_owned(), data].to_vec();
        arguments.extend_from_slice(more);
        let mut process = self.start(name, &arguments)?;
        match process.introduced(Duration::from_secs(60)) {
            Introduced::Said(_) => Ok(process),
            Introduced::Silent | Introduced::Ended => Err(io::Error::other("the sandbox does not start; see its log")),
        }
    }

    /// Starts the daemon; it introduces itself when it is ready.
    pub(super) fn start_daemon(&self, flags: &[String]) -> io::Result<Process> {
        let data = self.data.display().to_string();
        let mut arguments: Vec<String> =
            ["serve", "--json", "--listen", "127.0.0.1:0", "--data", &data, "--checkpoint-bytes", CHECKPOINT]
                .map(str::to_owned)
                .into();
        arguments.extend_from_slice(flags);
        self.start("daemon", &arguments)
    }

    /// Whether `payonce journal verify` finds no damage.
    pub(super) fn verify(&self) -> io::Result<ExitStatus> {
        let mut command = Command::new(&self.program);
        let log = self.log("verify")?;
        command.args(["journal", "verify", "--data"]).arg(&self.data).stdout(Stdio::null()).stderr(log).status()
    }
}

/// Whether a process has said that it is there.
pub(super) enum Introduced {
    /// With this line.
    Said(String),
    /// Not yet.
    Silent,
    /// It has closed its standard output without a word.
    Ended,
}

/// A child. It is killed when it is dropped.
pub(super) struct Process {
    child: Child,
    introduction: Receiver<String>,
}

impl Process {
    /// Waits for its first line.
    pub(super) fn introduced(&mut self, patience: Duration) -> Introduced {
        match self.introduction.recv_timeout(patience) {
            Ok(line) => Introduced::Said(line),
            Err(RecvTimeoutError::Timeout) => Introduced::Silent,
            Err(RecvTimeoutError::Disconnected) => Introduced::Ended,
        }
    }

    /// SIGKILL. The status tells whether it was faster.
    pub(super) fn kill(&mut self) -> io::Result<ExitStatus> {
        self.child.kill()?;
        self.child.wait()
    }

    /// SIGTERM.
    pub(super) fn tell_to_stop(&self) -> io::Result<()> {
        // The standard library sends SIGKILL only.
        let told = Command::new("kill").args(["-TERM", &self.child.id().to_string()]).stderr(Stdio::null()).status()?;
        if told.success() { Ok(()) } else { Err(io::Error::other("`kill -TERM` failed")) }
    }

    /// How it ended, if it has within this time.
    pub(super) fn ended(&mut self, patience: Duration) -> io::Result<Option<ExitStatus>> {
        let until = Instant::now() + patience;
        loop {
            let ended = self.child.try_wait()?;
            if ended.is_some() || Instant::now() >= until {
                return Ok(ended);
            }
            thread::sleep(GLANCE);
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may be dead already.
        let _ = self.kill();
    }
}

/// The last lines of a log.
pub(super) fn tail(path: &Path) -> String {
    let text = fs::read_to_string(path).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    lines.iter().skip(lines.len().saturating_sub(5)).copied().collect::<Vec<_>>().join("\n")
}

/// How many bytes of disk a folder and all in it take. Files that go meanwhile are not counted.
pub(super) fn disk_use(folder: &Path) -> io::Result<u64> {
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(0),
        entries => entries?,
    };
    let mut bytes = 0;
    for entry in entries {
        let path = entry?.path();
        match fs::symlink_metadata(&path) {
            Ok(found) if found.is_dir() => bytes += disk_use(&path)?,
            // Of 512 bytes, whatever the file system's own blocks are.
            Ok(found) => bytes += found.blocks() * 512,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    Ok(bytes)
}
