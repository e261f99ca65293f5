//! A receiver of webhooks that does as it is told, checks signatures by itself, and notes what it took.

#![allow(dead_code, clippy::as_conversions, reason = "each test uses a part; digits and bytes")]

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{Arc, Mutex},
    time::Duration,
};

use sha2::{Digest, Sha256};

/// What it does with a delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mood {
    Takes,
    /// Reads it, and says nothing.
    Hangs,
    /// 500 to every second.
    TakesEveryOther,
    /// 410 to everything.
    Gone,
}

/// A delivery that it took.
#[derive(Clone, Debug)]
pub(crate) struct Heard {
    pub(crate) id: String,
    pub(crate) kind: String,
    pub(crate) payment: String,
    pub(crate) lsn: u64,
    pub(crate) signed: bool,
}

#[derive(Clone)]
pub(crate) struct Receiver {
    address: SocketAddr,
    state: Arc<Mutex<State>>,
}

struct State {
    mood: Mood,
    key: Vec<u8>,
    asked: u64,
    taken: Vec<Heard>,
}

impl Receiver {
    pub(crate) fn start(secret: &str, mood: Mood) -> Receiver {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let key = base64(secret.strip_prefix("whsec_").expect("a secret"));
        let state = Arc::new(Mutex::new(State { mood, key, asked: 0, taken: Vec::new() }));
        let receiver = Receiver { address: listener.local_addr().expect("bound"), state };
        let accepting = receiver.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let receiver = accepting.clone();
                std::thread::spawn(move || while receiver.converse(&stream).is_some() {});
            }
        });
        receiver
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}/hooks", self.address)
    }

    pub(crate) fn is(&self, mood: Mood) {
        self.state.lock().unwrap().mood = mood;
    }

    /// How many deliveries came.
    pub(crate) fn asked(&self) -> u64 {
        self.state.lock().unwrap().asked
    }

    /// How many it took.
    pub(crate) fn count(&self) -> usize {
        self.state.lock().unwrap().taken.len()
    }

    pub(crate) fn taken(&self) -> Vec<Heard> {
        self.state.lock().unwrap().taken.clone()
    }

    /// One delivery. `None`: the connection is over.
    fn converse(&self, mut stream: &TcpStream) -> Option<()> {
        let mut reader = BufReader::new(stream);
        let mut headers = Vec::new();
        loop {
            let mut line = String::new();
            if reader.read_line(&mut line).ok()? == 0 {
                return None;
            }
            if line == "\r\n" {
                break;
            }
            headers.push(line.trim_end().to_owned());
        }
        let header = |name: &str| {
            headers.iter().find_map(|line| {
                let (known, value) = line.split_once(": ")?;
                known.eq_ignore_ascii_case(name).then(|| value.to_owned())
            })
        };
        let mut body = vec![0; header("content-length")?.parse().ok()?];
        reader.read_exact(&mut body).ok()?;
        let (id, timestamp) = (header("webhook-id")?, header("webhook-timestamp")?);
        let status = match self.judge(id, &timestamp, &header("webhook-signature")?, &body) {
            Some(status) => status,
            None => {
                // Until the other side gives up; a minute is for ever here.
                stream.set_read_timeout(Some(Duration::from_secs(60))).ok()?;
                let _ = stream.read(&mut [0]);
                return None;
            }
        };
        // At once: what is written in pieces waits for the other side to acknowledge each.
        stream.write_all(format!("HTTP/1.1 {status} x\r\ncontent-length: 0\r\n\r\n").as_bytes()).ok()
    }

    /// The status that it answers with, if it answers.
    fn judge(&self, id: String, timestamp: &str, signature: &str, body: &[u8]) -> Option<u16> {
        let mut state = self.state.lock().unwrap();
        state.asked += 1;
        match state.mood {
            Mood::Hangs => return None,
            Mood::Gone => return Some(410),
            Mood::TakesEveryOther if state.asked.is_multiple_of(2) => return Some(500),
            Mood::TakesEveryOther | Mood::Takes => {}
        }
        let told = [format!("{id}.{timestamp}.").as_bytes(), body].concat();
        let expected = hmac(&state.key, &told).to_vec();
        let signed = signature.strip_prefix("v1,").is_some_and(|signature| base64(signature) == expected);
        let body: serde_json::Value = serde_json::from_slice(body).expect("JSON");
        let text = |value: &serde_json::Value| value.as_str().expect("a text").to_owned();
        state.taken.push(Heard {
            id,
            kind: text(&body["type"]),
            payment: text(&body["data"]["event"]["payment"]),
            lsn: body["data"]["lsn"].as_u64().expect("a number"),
            signed,
        });
        Some(204)
    }
}

/// HMAC-SHA256 as in RFC 2104, for keys of up to a block: another than the product's.
fn hmac(key: &[u8], message: &[u8]) -> [u8; 32] {
    let block = |pad: u8| (0..64).map(|at| key.get(at).copied().unwrap_or(0) ^ pad).collect::<Vec<u8>>();
    let inner = Sha256::digest([block(0x36).as_slice(), message].concat());
    Sha256::digest([block(0x5c).as_slice(), inner.as_slice()].concat()).into()
}

/// RFC 4648.
fn base64(text: &str) -> Vec<u8> {
    const ALPHABET: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut bits = 0_u32;
    let mut bytes = Vec::new();
    for (count, digit) in text.bytes().filter(|byte| *byte != b'=').enumerate() {
        let value = ALPHABET.iter().position(|known| *known == digit).expect("base64") as u32;
        bits = bits << 6 | value;
        if count % 4 != 0 {
            bytes.push((bits >> (6 - 2 * (count % 4))) as u8);
        }
    }
    bytes
}
