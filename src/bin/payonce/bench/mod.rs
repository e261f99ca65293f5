//! `payonce bench`: the engine on this machine beside the disk's own limit, or a daemon over HTTP.
//!
//! Knows nothing of how a payment is made: it pays as any caller does, and looks at the clock.

mod http;

mod instantly;

mod limit;

mod load;

mod measured;

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Arc,
    time::{Duration, Instant},
};

use payonce::{Engine, Options};
use serde_json::{Map, Value};

use crate::{
    exit,
    output::{say, table},
};
use instantly::Instantly;
use limit::Limit;
use load::{Load, Payer};
use measured::Measured;

const EXAMPLES: &str = "\
Examples:
  payonce bench                                        1, 64 and 1,024 callers, 5 s each, in a folder of its own
  payonce bench --callers 1,16,64,256,1024,4096 --repeat
  payonce bench --callers 64 --rate 10000              so many a second: latency from when each was due
  payonce bench --payments 1000000 --callers 1024 --data ./million    fills a folder, and keeps it
  payonce bench --in-doubt 100000 --callers 64         while so many are in doubt, and how long it takes to settle them
  payonce bench --http http://127.0.0.1:7411           a daemon, which pays at its own gateway: never a real one

Callers are tasks of this process, the gateway answers at once, and every payment is a real one: two batches of
the journal are synced before its caller is answered. The bare log writes as many bytes with as many syncs. `longest_gap_ms` is
the longest time in which nobody was answered. The chart is payments a second, as a run went on, beside its best.";

/// What one run came to, by name.
type Row = Map<String, Value>;

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
    /// Pay so many a second, all callers together, instead of as fast as answers come
    #[arg(long, value_name = "N")]
    rate: Option<u32>,
    /// So many of a hundred are sent again under a key that was answered before
    #[arg(long, value_name = "PERCENT", default_value_t = 0, value_parser = clap::value_parser!(u8).range(0..=100))]
    duplicates: u8,
    /// Keys without any order, instead of UUIDs that begin with the time
    #[arg(long)]
    random_keys: bool,
    /// After each run, send its payments again under the same keys, and measure that too
    #[arg(long)]
    repeat: bool,
    /// Leave so many in doubt first; at the end, settle them
    #[arg(long, value_name = "N", default_value_t = 0, conflicts_with = "http")]
    in_doubt: usize,
    /// A running daemon instead of an engine in this process; PAYONCE_API_KEY, if it wants one
    #[arg(long, value_name = "URL", conflicts_with = "data")]
    http: Option<String>,
    /// Where the data goes, and stays [default: a folder in the working directory that is removed]
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Runs.
pub(crate) async fn run(args: BenchArgs) -> ExitCode {
    let done = match &args.http {
        Some(url) => measure_daemon(&args, url).await,
        None => measure_engine(&args).await,
    };
    match done.map(|rows| show(&args, &rows)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("payonce: {why}");
            exit::failed()
        }
    }
}

impl BenchArgs {
    fn runs(&self) -> impl Iterator<Item = usize> {
        self.callers.iter().copied().filter(|callers| *callers > 0)
    }

    fn load(&self) -> Load {
        Load {
            time: self.payments.is_none().then(|| Duration::from_secs(self.seconds)),
            most: self.payments,
            rate: self.rate,
            duplicates: self.duplicates,
            random_keys: self.random_keys,
        }
    }
}

async fn measure_daemon(args: &BenchArgs, url: &str) -> Result<Vec<Row>, String> {
    let mut rows = Vec::new();
    for callers in args.runs() {
        let mut payers = Vec::new();
        for _ in 0..callers {
            payers.push(Payer::Http(http::Connection::open(url).await?));
        }
        rows.push(measure(args, callers, payers).await?);
    }
    Ok(rows)
}

async fn measure_engine(args: &BenchArgs) -> Result<Vec<Row>, String> {
    let own = || PathBuf::from(format!("payonce-bench-{}", std::process::id()));
    let folder = args.data.clone().unwrap_or_else(own);
    let done = measure_in(args, &folder).await;
    if args.data.is_none() {
        // A folder that was never made need not be removed.
        let _ = std::fs::remove_dir_all(&folder);
    }
    done
}

async fn measure_in(args: &BenchArgs, folder: &Path) -> Result<Vec<Row>, String> {
    std::fs::create_dir_all(folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    let mut rows = Vec::new();
    for callers in args.runs() {
        let limit = Limit::of(folder, callers).map_err(|error| format!("the bare log: {error}"))?;
        let engine = open(folder, callers.max(args.in_doubt), false).await?;
        load::leave_in_doubt(&engine, args.in_doubt).await?;
        let payers = (0..callers).map(|_| Payer::Engine(engine.clone())).collect();
        let mut row = measure(args, callers, payers).await?;
        limit.compare(&mut row);
        engine.close().await.map_err(|error| error.to_string())?;
        if args.in_doubt > 0 {
            settle(folder, &mut row).await?;
        }
        rows.push(row);
    }
    Ok(rows)
}

async fn open(folder: &Path, at_once: usize, knows: bool) -> Result<Engine, String> {
    let mut options = Options::new(folder.join("data"));
    options.gateway_slots = options.gateway_slots.max(at_once);
    options.queue = options.queue.max(2 * at_once);
    let gateway = Instantly::new(knows).map_err(|error| error.to_string())?;
    Engine::open(options, Arc::new(gateway)).await.map_err(|error| error.to_string())
}

async fn measure(args: &BenchArgs, callers: usize, payers: Vec<Payer>) -> Result<Row, String> {
    let (measured, payers, keys) = load::run(args.load(), payers, args.repeat).await?;
    let mut row = Row::new();
    put(&mut row, "callers", callers);
    tell(&measured, "", &mut row);
    if args.repeat {
        let measured = load::repeat(args.load(), payers, keys).await?;
        tell(&measured, "repeat_", &mut row);
        let new = rate_in(&row);
        put(&mut row, "repeats_to_new", ratio(measured.rate(), new));
    }
    Ok(row)
}

/// Opens the folder again, with a gateway that knows of all that is in doubt, and waits until none is. It is asked by no more
/// calls at once than any gateway.
async fn settle(folder: &Path, row: &mut Row) -> Result<(), String> {
    let began = Instant::now();
    let engine = open(folder, 1, true).await?;
    put(row, "start_ms", u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX));
    load::wait_until_settled(&engine).await?;
    put(row, "settled_after_s", (began.elapsed().as_secs_f64() * 100.0).round() / 100.0);
    engine.close().await.map_err(|error| error.to_string())
}

fn tell(measured: &Measured, before: &str, row: &mut Row) {
    let micros = |time: Duration| u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
    put(row, &format!("{before}payments"), measured.count());
    put(row, &format!("{before}payments_per_s"), measured.rate().round());
    for (name, share) in [("p50_us", 0.5), ("p90_us", 0.9), ("p99_us", 0.99), ("p999_us", 0.999), ("max_us", 1.0)] {
        put(row, &format!("{before}{name}"), micros(measured.percentile(share)));
    }
    put(row, &format!("{before}longest_gap_ms"), u64::try_from(measured.gap().as_millis()).unwrap_or(u64::MAX));
    put(row, &format!("{before}chart"), measured.chart());
}

fn put(row: &mut Row, field: &str, value: impl Into<Value>) {
    row.insert(field.to_owned(), value.into());
}

fn rate_in(row: &Row) -> f64 {
    row.get("payments_per_s").and_then(Value::as_f64).unwrap_or_default()
}

/// As a number to divide by. So many that this is not exact are never counted here.
fn float(count: u64) -> f64 {
    u32::try_from(count).map_or(f64::INFINITY, f64::from)
}

fn ratio(one: f64, other: f64) -> f64 {
    (one / other * 1000.0).round() / 1000.0
}

fn show(args: &BenchArgs, rows: &[Row]) {
    if args.json {
        return say(Value::from(rows.to_vec()));
    }
    let fields = [
        "callers",
        "payments",
        "payments_per_s",
        "p50_us",
        "p90_us",
        "p99_us",
        "p999_us",
        "max_us",
        "longest_gap_ms",
        "bare_log_per_s",
        "of_bare_log",
        "fdatasync_us",
        "start_ms",
        "settled_after_s",
        "repeat_payments_per_s",
        "repeats_to_new",
    ];
    let there: Vec<&str> = fields.into_iter().filter(|field| rows.iter().any(|row| row.contains_key(*field))).collect();
    let cell = |row: &Row, field: &str| row.get(field).map_or_else(String::new, Value::to_string);
    let cells: Vec<Vec<String>> = rows.iter().map(|row| there.iter().map(|field| cell(row, field)).collect()).collect();
    table(&there, &cells);
    say("");
    let width = rows.iter().map(|row| cell(row, "callers").len()).max().unwrap_or_default();
    for row in rows {
        let chart = row.get("chart").and_then(Value::as_str).unwrap_or_default();
        say(format_args!("{:>width$}  {chart}", cell(row, "callers")));
    }
}
