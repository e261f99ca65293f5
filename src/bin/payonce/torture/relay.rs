//! The way that a gateway's news takes: to wherever the daemon is by now. What comes while there is none is cut off.

use std::{
    io::{self, Read, Write},
    net::{Shutdown, TcpListener, TcpStream},
    thread,
    time::Duration,
};

use super::record::{GLANCE, Record};

/// How long either side may be silent: longer than news is waited for.
const SILENCE: Duration = Duration::from_secs(5);
/// What goes wrong with news, in percent: each often enough to be seen in seconds, and a forger in the shortest run.
const FAULTS: [&str; 5] = ["early=20", "twice=20", "shuffled=30", "lost=10", "forged=50"];

/// Where news is taken, and passed on.
pub(super) struct Relay(TcpListener);

impl Relay {
    pub(super) fn new() -> io::Result<Relay> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        listener.set_nonblocking(true)?;
        Ok(Relay(listener))
    }

    /// The flags of a sandbox that is to speak, and that the daemon calls so.
    pub(super) fn flags(&self, gateway: &str) -> io::Result<Vec<String>> {
        let url = format!("http://{}/v1/webhooks/{gateway}", self.0.local_addr()?);
        let faults = FAULTS.into_iter().flat_map(|fault| ["--webhook-fault", fault]);
        Ok(["--webhook", &url].into_iter().chain(faults).map(str::to_owned).collect())
    }

    /// Passes on what comes until the round is over.
    pub(super) fn run(&self, record: &Record) {
        thread::scope(|scope| {
            while !record.is_over() {
                match self.0.accept() {
                    // What is lost here, a gateway says again.
                    Ok((from, _)) => drop(scope.spawn(move || pass_on(&from, record))),
                    Err(_) => thread::sleep(GLANCE),
                }
            }
        });
    }
}

/// Both ways, until both have said all.
fn pass_on(from: &TcpStream, record: &Record) -> io::Result<()> {
    let daemon = record.daemon().ok_or(io::ErrorKind::NotConnected)?;
    let to = TcpStream::connect(daemon.trim_start_matches("http://"))?;
    from.set_nonblocking(false)?;
    for side in [from, &to] {
        side.set_read_timeout(Some(SILENCE))?;
        side.set_nodelay(true)?;
    }
    thread::scope(|scope| {
        scope.spawn(|| copy(from, &to));
        copy(&to, from);
    });
    Ok(())
}

/// One way, until it ends or fails; then neither side waits for more.
fn copy(mut from: &TcpStream, mut to: &TcpStream) {
    let mut bytes = [0; 4096];
    while let Ok(count) = from.read(&mut bytes)
        && let Some(some) = bytes.get(..count).filter(|some| !some.is_empty())
        && to.write_all(some).is_ok()
    {}
    // They may be closed already.
    let _ = to.shutdown(Shutdown::Both);
    let _ = from.shutdown(Shutdown::Both);
}
