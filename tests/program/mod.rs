//! The program, run as people run it, and nothing of whoever runs the tests in its way.

use std::{
    io::{BufRead, BufReader},
    path::Path,
    process::{Child, Command, Stdio},
};

/// The program with these arguments, in a folder where tests may leave things, and without any variable that it would heed.
pub(crate) fn payonce(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_payonce"));
    let variables = std::env::vars_os().map(|(key, _)| key);
    for ours in variables.filter(|key| key.to_string_lossy().starts_with("PAYONCE")) {
        command.env_remove(ours);
    }
    command.args(arguments).current_dir(env!("CARGO_TARGET_TMPDIR")).env_remove("STRIPE_API_KEY");
    command
}

/// A daemon with its own sandbox, killed when this is dropped.
#[allow(dead_code, reason = "not every test needs one")]
pub(crate) struct Daemon {
    child: Child,
    pub(crate) url: String,
}

#[allow(dead_code, reason = "not every test needs one")]
impl Daemon {
    /// Returns once it has said where it listens.
    pub(crate) fn start(data: &Path, more: &[&str]) -> Daemon {
        let mut command = payonce(&["serve", "--json", "--listen", "127.0.0.1:0", "--data"]);
        let mut child = command.arg(data).args(more).stdout(Stdio::piped()).spawn().expect("starts");
        let mut line = String::new();
        BufReader::new(child.stdout.take().expect("piped")).read_line(&mut line).expect("readable");
        let said: serde_json::Value = serde_json::from_str(&line).expect("JSON");
        Daemon { child, url: said["url"].as_str().expect("an address").to_owned() }
    }

    /// In order.
    pub(crate) fn stop(mut self) {
        Command::new("kill").arg(self.child.id().to_string()).status().expect("signals");
        assert!(self.child.wait().expect("ends").success());
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
