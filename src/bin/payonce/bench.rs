//! `payonce bench`: the engine on this machine, beside the disk's own limit.

use std::{
    fs::{File, OpenOptions},
    io,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    process::ExitCode,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use payonce::{
    Amount, Currency, Engine, IdempotencyKey, Invalid, Options, Order, State, Tenant,
    gateway::{Answer, Asked, Gateway, Question, Sending},
    payment::{Contract, Identity, Outcome, Reply},
};
use serde_json::{Value, json};

use crate::{
    exit,
    output::{say, table},
};

const EXAMPLES: &str = "\
Examples:
  payonce bench                                        1, 64 and 1,024 callers, 5 s each, in a folder of its own
  payonce bench --callers 256 --seconds 20 --json
  payonce bench --payments 1000000 --callers 1024 --data ./million    fills a folder, and keeps it

Callers are tasks of this process, the gateway answers at once, and every payment is a real one: two batches of
the journal are synced before its caller is answered. The bare log writes as many bytes with as many syncs.";

/// What one payment adds to the journal, in bytes: intent, then outcome. For the bare log, which writes as much.
const INTENT: usize = 640;
const OUTCOME: usize = 160;

/// The flags of `bench`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct BenchArgs {
    /// How many callers at once; several runs with commas between
    #[arg(long, value_delimiter = ',', default_values_t = [1, 64, 1024])]
    callers: Vec<usize>,
    /// How long each run takes
    #[arg(long, value_name = "N", default_value_t = 5)]
    seconds: u64,
    /// Stop each run after this many payments, however long that takes
    #[arg(long, value_name = "N")]
    payments: Option<u64>,
    /// Where the data goes, and stays [default: a folder in the working directory that is removed]
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Runs.
pub(crate) async fn run(args: BenchArgs) -> ExitCode {
    let folder = args.data.clone().unwrap_or_else(|| PathBuf::from(format!("payonce-bench-{}", std::process::id())));
    let done = measure_all(&args, &folder).await;
    if args.data.is_none() {
        // A folder that was never made need not be removed.
        let _ = std::fs::remove_dir_all(&folder);
    }
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("payonce: {why}");
            exit::failed()
        }
    }
}

async fn measure_all(args: &BenchArgs, folder: &Path) -> Result<(), String> {
    std::fs::create_dir_all(folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    let mut rows = Vec::new();
    for callers in args.callers.iter().copied().filter(|callers| *callers > 0) {
        let limit = bare_log(folder, callers).map_err(|error| format!("the bare log: {error}"))?;
        rows.push(measure(args, folder, callers, &limit).await?);
    }
    if args.json {
        say(Value::from(rows));
        return Ok(());
    }
    let fields =
        ["callers", "payments", "payments_per_s", "p50_us", "p99_us", "bare_log_per_s", "of_bare_log", "fdatasync_us"];
    let cell = |row: &Value, field: &str| row.get(field).map_or_else(String::new, Value::to_string);
    let cells: Vec<Vec<String>> =
        rows.iter().map(|row| fields.iter().map(|field| cell(row, field)).collect()).collect();
    table(&fields, &cells);
    Ok(())
}

/// What the disk gives to anybody who writes as much, and syncs as often.
struct Limit {
    fdatasync: Duration,
    payments_per_s: f64,
}

/// Each cycle writes and syncs the intents of all callers, then their outcomes.
fn bare_log(folder: &Path, callers: usize) -> io::Result<Limit> {
    let path = folder.join("bare.log");
    let file = OpenOptions::new().create(true).truncate(true).write(true).open(&path)?;
    let bytes = vec![1; (INTENT * callers).next_multiple_of(512)];
    let outcomes = vec![1; (OUTCOME * callers).next_multiple_of(512)];
    let room: u64 = 64 << 20;
    let zeros = vec![0; 1 << 20];
    (0..64).try_for_each(|mebibyte| file.write_all_at(&zeros, mebibyte << 20))?;
    file.sync_all()?;
    let (began, mut cycles, mut at) = (Instant::now(), 0u32, 0);
    while began.elapsed() < Duration::from_secs(1) {
        for part in [&bytes, &outcomes] {
            write(&file, part, &mut at, room)?;
        }
        cycles += 1;
    }
    let cycle = began.elapsed() / cycles;
    let small = vec![1; 512];
    let began = Instant::now();
    (0..200).try_for_each(|_| write(&file, &small, &mut at, room))?;
    let fdatasync = began.elapsed() / 200;
    std::fs::remove_file(path)?;
    let callers = u32::try_from(callers).map_or(f64::INFINITY, f64::from);
    Ok(Limit { fdatasync, payments_per_s: callers / cycle.as_secs_f64() })
}

fn write(file: &File, bytes: &[u8], at: &mut u64, room: u64) -> io::Result<()> {
    let length = u64::try_from(bytes.len()).map_err(io::Error::other)?;
    if *at + length > room {
        *at = 0;
    }
    file.write_all_at(bytes, *at)?;
    *at += length;
    file.sync_data()
}

/// A gateway that says yes at once: what is measured is the engine.
struct Instantly(Contract);

impl Gateway for Instantly {
    fn contract(&self) -> &Contract {
        &self.0
    }

    fn encode(&self, asked: &Asked<'_>) -> Result<Vec<u8>, Invalid> {
        let Asked { operation_key, amount, order, .. } = asked;
        let body = json!({
            "reference": operation_key.to_string(), "amount": amount.minor_units(), "currency": order.currency.as_str(),
            "source": order.source, "destination": order.destination, "capture": order.capture.as_str(),
        });
        Ok(body.to_string().into_bytes())
    }

    fn send(&self, _: Sending) -> Answer<'_> {
        Box::pin(async { Outcome::Succeeded(Reply::new("approved", "").with_reference("ch_000000000001")) })
    }

    fn inquire(&self, _: Question) -> Answer<'_> {
        Box::pin(async { Outcome::NotFound })
    }

    fn answers_at_once(&self) -> bool {
        true
    }
}

async fn measure(args: &BenchArgs, folder: &Path, callers: usize, limit: &Limit) -> Result<Value, String> {
    let gateway = Instantly(Contract::standard(Identity { name: "instantly".to_owned(), ..Identity::default() }));
    let mut options = Options::new(folder.join("data"));
    options.gateway_slots = options.gateway_slots.max(callers);
    options.queue = options.queue.max(2 * callers);
    let engine = Engine::open(options, Arc::new(gateway)).await.map_err(|error| error.to_string())?;
    let run = Arc::new(Run { over: AtomicBool::new(false), started: AtomicU64::new(0), most: args.payments });
    let began = Instant::now();
    let tasks: Vec<_> = (0..callers).map(|_| tokio::spawn(call(engine.clone(), run.clone()))).collect();
    if args.payments.is_none() {
        tokio::time::sleep(Duration::from_secs(args.seconds)).await;
        run.over.store(true, Ordering::Relaxed);
    }
    let mut times = Vec::new();
    for task in tasks {
        times.extend(task.await.map_err(|error| error.to_string())??);
    }
    let seconds = began.elapsed().as_secs_f64();
    engine.close().await.map_err(|error| error.to_string())?;
    times.sort_unstable();
    let payments = u32::try_from(times.len()).map_or(f64::INFINITY, f64::from);
    let rate = payments / seconds;
    let percentile = |hundredth: usize| times.get(times.len() * hundredth / 100).map_or(0, Duration::as_micros);
    let micros = |time: u128| u64::try_from(time).unwrap_or(u64::MAX);
    Ok(json!({
        "callers": callers, "payments": times.len(), "payments_per_s": rate.round(), "p50_us": micros(percentile(50)),
        "p99_us": micros(percentile(99)), "bare_log_per_s": limit.payments_per_s.round(),
        "of_bare_log": (rate / limit.payments_per_s * 1000.0).round() / 1000.0,
        "fdatasync_us": micros(limit.fdatasync.as_micros()),
    }))
}

struct Run {
    over: AtomicBool,
    started: AtomicU64,
    most: Option<u64>,
}

impl Run {
    fn goes_on(&self) -> bool {
        let number = self.started.fetch_add(1, Ordering::Relaxed);
        !self.over.load(Ordering::Relaxed) && self.most.is_none_or(|most| number < most)
    }
}

/// One caller: pays, waits for the answer, pays again. Returns how long each took.
async fn call(engine: Engine, run: Arc<Run>) -> Result<Vec<Duration>, String> {
    let mut times = Vec::new();
    let tenant = Tenant::default();
    while run.goes_on() {
        let name = time_ordered();
        let key = IdempotencyKey::new(&name).map_err(|error| error.to_string())?;
        let amount = Amount::new(1999).map_err(|error| error.to_string())?;
        let currency = Currency::new("EUR").map_err(|error| error.to_string())?;
        let order = Order::new(
            amount,
            currency,
            &format!("acct_{}", name.split('-').next_back().unwrap_or_default()),
            "acct_shop",
        );
        let order = order.map_err(|error| error.to_string())?;
        let began = Instant::now();
        let answer = engine.submit(&tenant, &key, order, Duration::from_secs(60)).await;
        let answer = answer.map_err(|error| error.to_string())?;
        if answer.payment.state() != State::Succeeded {
            return Err(format!("payment {name} is {}", answer.payment.state().as_str()));
        }
        times.push(began.elapsed());
    }
    Ok(times)
}

/// A UUIDv7, as most callers make their keys.
fn time_ordered() -> String {
    uuid::Uuid::now_v7().to_string()
}
