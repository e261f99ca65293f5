//! The faulty gateways of a round: where they are, how a daemon is told of them, and that one of several is gone at times.

use std::{
    fs, io,
    sync::mpsc::{Receiver, RecvTimeoutError},
    time::Duration,
};

use payonce::sim::Rng;
use tokio::net::TcpSocket;

use super::{
    audit::count_news,
    process::{Process, SECRET, Site},
    record::Record,
    wire::Wire,
};

/// What the two of a daemon are called, the one that is preferred first.
pub(super) const TWO: [&str; 2] = ["gateway", "second"];
/// The currency that only the second is for.
pub(super) const ELSEWHERE: &str = "CHF";
/// How long all are up, and then one is not, in milliseconds: several times in the shortest round, and long enough for
/// payments to be made meanwhile.
const UP: (u64, u64) = (200, 1_500);
const DOWN: (u64, u64) = (100, 1_000);

/// A gateway, with a process or without.
pub(super) struct Gateway {
    pub(super) url: String,
    name: &'static str,
    process: Option<Process>,
    arguments: Vec<String>,
    /// Nobody else gets its port while it is down, and who asks there is refused.
    _port: TcpSocket,
}

impl Gateway {
    /// Starts one, and waits until it can be reached.
    pub(super) fn start(
        site: &Site,
        name: &'static str,
        seed: u64,
        faults: &[(String, f64)],
        news: Vec<String>,
    ) -> io::Result<Gateway> {
        let port = TcpSocket::new_v4()?;
        port.set_reuseaddr(true)?;
        port.bind(([127, 0, 0, 1], 0).into())?;
        let listen = port.local_addr()?.to_string();
        let mut arguments = news;
        arguments.extend(["--listen", &listen, "--seed", &seed.to_string()].map(str::to_owned));
        for (kind, probability) in faults {
            arguments.extend(["--fault".to_owned(), format!("{kind}={probability}")]);
        }
        let process = Some(site.start_sandbox(name, &arguments)?);
        Ok(Gateway { url: format!("http://{listen}"), name, process, arguments, _port: port })
    }

    fn kill(&mut self) {
        self.process = None;
    }

    fn start_again(&mut self, site: &Site) -> io::Result<()> {
        self.process = Some(site.start_sandbox(self.name, &self.arguments)?);
        Ok(())
    }
}

/// Until the sender is gone one after the other is killed, and comes back. Then all are up.
pub(super) fn come_and_go(
    gateways: &mut [Gateway],
    site: &Site,
    record: &Record,
    mut dice: Rng,
    end: Receiver<()>,
) -> io::Result<()> {
    let wire = Wire::new();
    let mut ends = |(least, most)| {
        let pause = Duration::from_millis(dice.between(least, most));
        matches!(end.recv_timeout(pause), Err(RecvTimeoutError::Disconnected))
    };
    for place in (0..gateways.len()).cycle() {
        if ends(UP) {
            break;
        }
        let Some(gateway) = gateways.get_mut(place) else { break };
        // It starts to count anew.
        count_news(record, &wire, &gateway.url).map_err(io::Error::other)?;
        gateway.kill();
        record.note(|seen| seen.outages += 1);
        let over = ends(DOWN);
        gateway.start_again(site)?;
        if over {
            break;
        }
    }
    Ok(())
}

/// Writes down the gateways of a daemon that has two, and returns the flags that name them. `contract` is of `KEY=VALUE`.
pub(super) fn configure(site: &Site, gateways: &[Gateway], contract: &[&str]) -> io::Result<Vec<String>> {
    let contract: Vec<String> = contract.iter().map(|pair| pair.replacen('=', " = \"", 1) + "\"").collect();
    let mut tables = String::new();
    for (place, Gateway { name, url, .. }) in gateways.iter().enumerate() {
        // The first comes first for these, the second is for anything.
        let currencies = if place == 0 { "currencies = [\"USD\"]\n" } else { "" };
        let (secret, contract) = (SECRET.0, contract.join(", "));
        tables += &format!(
            "[[gateways]]\nname = \"{name}\"\ngateway = \"{url}\"\nwebhook_secret_env = \"{secret}\"\n\
             contract = {{ {contract} }}\n{currencies}\n"
        );
    }
    let file = site.folder.join("payonce.toml");
    fs::write(&file, tables)?;
    Ok(vec!["--config".to_owned(), file.display().to_string()])
}
