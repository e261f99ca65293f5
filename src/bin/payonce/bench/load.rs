//! Callers: each pays, waits for the answer, and pays again.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use uuid::Builder;

use payonce::{Amount, Currency, Engine, IdempotencyKey, Order, State, Tenant, sim::Rng};

use super::{float, http::Connection, instantly::DOUBTFUL, measured::Measured};

/// Longer than any answer takes on purpose.
const PATIENCE: Duration = Duration::from_secs(60);

/// How callers go about it.
#[derive(Clone, Copy)]
pub(super) struct Load {
    /// For how long; none: until everything was paid.
    pub(super) time: Option<Duration>,
    pub(super) most: Option<u64>,
    /// Payments a second, all callers together.
    pub(super) rate: Option<u32>,
    /// Percent.
    pub(super) duplicates: u8,
    pub(super) random_keys: bool,
}

/// To whom a caller turns.
pub(super) enum Payer {
    Engine(Engine),
    Http(Connection),
}

/// The keys that one caller has used.
pub(super) type Keys = Vec<String>;

/// What all callers share.
struct Run {
    load: Load,
    began: Instant,
    over: AtomicBool,
    started: AtomicU64,
    measured: Mutex<Measured>,
}

/// Runs as many callers as there are payers; `keep` has the keys that each has used returned.
pub(super) async fn run(
    load: Load,
    payers: Vec<Payer>,
    keep: bool,
) -> Result<(Measured, Vec<Payer>, Vec<Keys>), String> {
    let run = Arc::new(Run::new(load));
    let tasks: Vec<_> = payers.into_iter().map(|payer| tokio::spawn(pay(payer, keep, run.clone()))).collect();
    if let Some(time) = load.time {
        tokio::time::sleep(time).await;
        run.over.store(true, Ordering::Relaxed);
    }
    let (mut payers, mut used) = (Vec::new(), Vec::new());
    for task in tasks {
        let (payer, keys) = task.await.map_err(|error| error.to_string())??;
        payers.push(payer);
        used.push(keys);
    }
    Ok((run.measured()?, payers, used))
}

/// Each caller sends its keys again, as fast as answers come.
pub(super) async fn repeat(load: Load, payers: Vec<Payer>, keys: Vec<Keys>) -> Result<Measured, String> {
    let run = Arc::new(Run::new(load));
    let callers = payers.into_iter().zip(keys);
    let tasks: Vec<_> = callers.map(|(payer, keys)| tokio::spawn(send_again(payer, keys, run.clone()))).collect();
    for task in tasks {
        task.await.map_err(|error| error.to_string())??;
    }
    run.measured()
}

impl Run {
    fn new(load: Load) -> Run {
        let (began, measured) = (Instant::now(), Mutex::new(Measured::new()));
        Run { load, began, over: AtomicBool::new(false), started: AtomicU64::new(0), measured }
    }

    /// Once no caller is left.
    fn measured(self: Arc<Run>) -> Result<Measured, String> {
        let run = Arc::into_inner(self).ok_or("a caller goes on")?;
        Ok(run.measured.into_inner().unwrap_or_else(PoisonError::into_inner))
    }

    /// The number of the next payment, when it is due; none, when the run is over.
    fn next(&self) -> Option<(u64, Instant)> {
        let number = self.started.fetch_add(1, Ordering::Relaxed);
        let over = self.over.load(Ordering::Relaxed) || self.load.most.is_some_and(|most| number >= most);
        let due = match self.load.rate {
            Some(rate) => self.began + Duration::from_secs(1).mul_f64(float(number)) / rate.max(1),
            None => Instant::now(),
        };
        (!over).then_some((number, due))
    }

    fn note(&self, took: Duration) {
        self.measured.lock().unwrap_or_else(PoisonError::into_inner).note(took);
    }
}

/// One caller. With a rate, a payment's time begins when it was due: a caller who waits in line is waiting too.
async fn pay(mut payer: Payer, keep: bool, run: Arc<Run>) -> Result<(Payer, Keys), String> {
    let (mut keys, mut last, mut rng) = (Keys::new(), None, Rng::new(uuid::Uuid::new_v4().as_u64_pair().1));
    while let Some((number, due)) = run.next() {
        // Not for one that is due: timers are a millisecond coarse.
        if due > Instant::now() {
            tokio::time::sleep_until(due.into()).await;
        }
        let again = last.filter(|_| number % 100 < u64::from(run.load.duplicates));
        let name = again.unwrap_or_else(|| new_key(&mut rng, run.load.random_keys));
        payer.pay(&name).await?;
        run.note(due.elapsed());
        if keep {
            keys.push(name.clone());
        }
        last = Some(name);
    }
    Ok((payer, keys))
}

/// One caller who repeats.
async fn send_again(mut payer: Payer, keys: Keys, run: Arc<Run>) -> Result<(), String> {
    for name in &keys {
        let began = Instant::now();
        payer.pay(name).await?;
        run.note(began.elapsed());
        // What rests is answered without a wait: one caller would go through all of its keys before another began.
        tokio::task::yield_now().await;
    }
    Ok(())
}

/// A UUID. Version 7 begins with the time: most callers make their keys so. Its chance does not come from the system, for
/// what is measured is not how callers make keys.
fn new_key(rng: &mut Rng, random: bool) -> String {
    let bytes = (u128::from(rng.draw()) << 64 | u128::from(rng.draw())).to_be_bytes();
    let [tail @ .., _, _, _, _, _, _] = bytes;
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let millis = u64::try_from(since.as_millis()).unwrap_or(u64::MAX);
    let key =
        if random { Builder::from_random_bytes(bytes) } else { Builder::from_unix_timestamp_millis(millis, &tail) };
    key.into_uuid().to_string()
}

/// Who pays: one of many.
pub(super) fn source(name: &str) -> String {
    format!("acct_{}", name.split('-').next_back().unwrap_or_default())
}

impl Payer {
    async fn pay(&mut self, name: &str) -> Result<(), String> {
        match self {
            Payer::Engine(engine) => {
                let state = submit(engine, name, &source(name), PATIENCE).await?;
                if state == State::Succeeded { Ok(()) } else { Err(format!("payment {name} is {}", state.as_str())) }
            }
            Payer::Http(connection) => connection.pay(name).await,
        }
    }
}

async fn submit(engine: &Engine, name: &str, source: &str, wait: Duration) -> Result<State, String> {
    let key = IdempotencyKey::new(name).map_err(|error| error.to_string())?;
    let amount = Amount::new(1999).map_err(|error| error.to_string())?;
    let currency = Currency::new("EUR").map_err(|error| error.to_string())?;
    let order = Order::new(amount, currency, source, "acct_shop").map_err(|error| error.to_string())?;
    let answer = engine.submit(&Tenant::default(), &key, order, wait).await;
    answer.map(|answer| answer.payment.state()).map_err(|error| error.to_string())
}

/// Payments that the gateway leaves in doubt, a thousand at a time.
pub(super) async fn leave_in_doubt(engine: &Engine, count: usize) -> Result<(), String> {
    let (mut left, mut rng) = (count, Rng::new(uuid::Uuid::new_v4().as_u64_pair().1));
    while left > 0 {
        let some = left.min(1000);
        let submit = |_| {
            let engine = engine.clone();
            let name = new_key(&mut rng, false);
            tokio::spawn(async move { submit(&engine, &name, DOUBTFUL, Duration::ZERO).await })
        };
        let tasks: Vec<_> = (0..some).map(submit).collect();
        for task in tasks {
            task.await.map_err(|error| error.to_string())??;
        }
        left -= some;
    }
    Ok(())
}

pub(super) async fn wait_until_settled(engine: &Engine) -> Result<(), String> {
    let patience = Instant::now() + Duration::from_secs(600);
    while engine.stats().unresolved.values().sum::<usize>() > 0 {
        if Instant::now() > patience {
            return Err(format!("still unresolved after ten minutes: {:?}", engine.stats().unresolved));
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    Ok(())
}
