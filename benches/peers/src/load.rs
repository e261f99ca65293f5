//! The load: callers with a connection each, who send a new payment as soon as they have the answer to the last. HTTP
//! by hand, since whatever it costs is taken from the peer: both share the machine.

use std::{
    collections::BTreeMap,
    io::{self, Write},
    sync::{
        Arc,
        atomic::{AtomicU8, Ordering},
    },
    time::{Duration, Instant},
};

use serde_json::json;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    task::JoinSet,
    time::sleep,
};
use uuid::Uuid;

use crate::{Failed, Options};

const WARM_UP: u8 = 0;
const MEASURED: u8 = 1;
const OVER: u8 = 2;
/// A peer that leaves a caller without an answer for so long has failed.
const PATIENCE: Duration = Duration::from_secs(30);
/// Errors are told apart only as far as somebody will read.
const KINDS: usize = 10;
/// A pause after an error, so that a peer that is gone is not asked a million times.
const BREATH: Duration = Duration::from_millis(20);

/// What one caller saw, or all of them.
#[derive(Default)]
struct Seen {
    /// Of the measured time only.
    latencies: Vec<Duration>,
    /// Over all the time.
    answered: u64,
    errors: BTreeMap<String, u64>,
}

impl Seen {
    fn error(&mut self, kind: String, count: u64) {
        let known = self.errors.contains_key(&kind) || self.errors.len() < KINDS;
        *self.errors.entry(if known { kind } else { "other".to_owned() }).or_default() += count;
    }

    fn add(&mut self, other: Self) {
        self.latencies.extend(other.latencies);
        self.answered += other.answered;
        other.errors.into_iter().for_each(|(kind, count)| self.error(kind, count));
    }
}

struct Caller {
    address: String,
    number: usize,
    phase: Arc<AtomicU8>,
    line: Option<TcpStream>,
    buffer: Vec<u8>,
}

impl Caller {
    async fn run(mut self) -> Seen {
        let mut seen = Seen::default();
        while self.phase.load(Ordering::Relaxed) != OVER {
            let begun = Instant::now();
            let paid = tokio::time::timeout(PATIENCE, self.pay()).await;
            match paid.unwrap_or_else(|_| Err("no answer".into())) {
                Ok(()) => {
                    seen.answered += 1;
                    if self.phase.load(Ordering::Relaxed) == MEASURED {
                        seen.latencies.push(begun.elapsed());
                    }
                }
                Err(why) => {
                    seen.error(why.to_string(), 1);
                    self.line = None;
                    sleep(BREATH).await;
                }
            }
        }
        seen
    }

    /// A payment under a new key, which must be new, and made.
    async fn pay(&mut self) -> Result<(), Failed> {
        let mut line = match self.line.take() {
            Some(line) => line,
            None => connect(&self.address).await?,
        };
        line.write_all(&self.request()).await?;
        self.buffer.clear();
        while !made(&self.buffer)? {
            if line.read_buf(&mut self.buffer).await? == 0 {
                return Err("the connection was closed".into());
            }
        }
        self.line = Some(line);
        Ok(())
    }

    fn request(&self) -> Vec<u8> {
        let (address, number, key) = (&self.address, self.number, Uuid::now_v7());
        let body =
            format!(r#"{{"amount":1050,"currency":"USD","source":"acct_payer_{number}","destination":"acct_shop"}}"#);
        format!(
            "POST /v1/payments HTTP/1.1\r\nHost: {address}\r\nContent-Type: application/json\r\n\
             Idempotency-Key: \"{key}\"\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        )
        .into_bytes()
    }
}

async fn connect(address: &str) -> io::Result<TcpStream> {
    let line = TcpStream::connect(address).await?;
    line.set_nodelay(true)?;
    Ok(line)
}

/// Whether the answer is here in full, and says that the payment was made, and only now. Anything else is an error.
fn made(answer: &[u8]) -> Result<bool, Failed> {
    let mut headers = [httparse::EMPTY_HEADER; 32];
    let mut head = httparse::Response::new(&mut headers);
    let httparse::Status::Complete(end) = head.parse(answer)? else { return Ok(false) };
    let status = head.code.unwrap_or_default();
    if status != 201 {
        return Err(format!("status {status}").into());
    }
    let header = |name: &str| head.headers.iter().find(|header| header.name.eq_ignore_ascii_case(name));
    if header("idempotent-replayed").is_some() {
        return Err("a replay of a new key".into());
    }
    let length = header("content-length").ok_or("no content-length")?;
    let length: usize = str::from_utf8(length.value)?.parse()?;
    let body = answer.get(end..).unwrap_or_default();
    if body.len() < length {
        return Ok(false);
    }
    let succeeded = br#""state":"succeeded""#;
    let found = body.windows(succeeded.len()).any(|part| part == succeeded);
    if found { Ok(true) } else { Err("201, and not made".into()) }
}

/// One line for `./run`, at once: it reads the peers' processor time when the measured time begins and ends.
fn say(line: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "{line}")?;
    out.flush()
}

fn milliseconds(latencies: &[Duration], percent: usize) -> f64 {
    let place = (latencies.len() * percent / 100).min(latencies.len().saturating_sub(1));
    latencies.get(place).map_or(0.0, |latency| latency.as_secs_f64() * 1000.0)
}

/// `--target IP:PORT --callers N --warm SECONDS --seconds SECONDS`. Says `begin`, `end`, and what was seen, as JSON.
pub async fn run(options: &Options) -> Result<(), Failed> {
    let address: String = options.need("target")?;
    let (warm, seconds) = (options.need("warm")?, options.need("seconds")?);
    let phase = Arc::new(AtomicU8::new(WARM_UP));
    let mut callers = JoinSet::new();
    for number in 0..options.need("callers")? {
        let (address, phase) = (address.clone(), phase.clone());
        callers.spawn(Caller { address, number, phase, line: None, buffer: Vec::new() }.run());
    }

    sleep(Duration::from_secs_f64(warm)).await;
    phase.store(MEASURED, Ordering::Relaxed);
    let begun = Instant::now();
    say("begin")?;
    sleep(Duration::from_secs_f64(seconds)).await;
    phase.store(OVER, Ordering::Relaxed);
    let took = begun.elapsed().as_secs_f64();
    say("end")?;

    let mut seen = Seen::default();
    while let Some(one) = callers.join_next().await {
        seen.add(one?);
    }
    seen.latencies.sort_unstable();
    let payments = u32::try_from(seen.latencies.len())?;
    let result = json!({
        "payments": payments,
        "payments_per_s": f64::from(payments) / took,
        "p50_ms": milliseconds(&seen.latencies, 50),
        "p99_ms": milliseconds(&seen.latencies, 99),
        "answered": seen.answered,
        "errors": seen.errors,
    });
    Ok(say(&result.to_string())?)
}
