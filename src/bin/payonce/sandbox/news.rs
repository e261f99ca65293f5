//! What the sandbox says by itself: news of each movement of money, signed; before its reply, twice, late and so out of
//! order, or never; and what somebody else says in its name.
//!
//! Knows nothing of how a request is answered: it reads the ledger of what really moved.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use axum::{
    Json, Router,
    extract::{Request, State},
    middleware::{Next, from_fn_with_state},
    response::Response,
    routing::get,
};
use clap::Args;
use payonce::{
    gateway::sandbox::{Movement, Sandbox},
    signature::Secret,
    sim::Rng,
};
use serde_json::{Value, json};
use tokio::{
    task::JoinHandle,
    time::{sleep, timeout},
};

/// The secret, from the environment only: the same variable as the daemon's.
const SECRET: &str = "PAYONCE_GATEWAY_WEBHOOK_SECRET";
/// A secret that is nobody's, for what is forged.
const FORGER: &str = "whsec_Zm9yZ2VkLWZvcmdlZC1mb3JnZWQtZm9yZ2Vk";
/// How often the ledger is looked at: sooner than a person looks up.
const GLANCE: Duration = Duration::from_millis(50);
/// The latest that shuffled news leaves, in milliseconds: long after the reply, and after much of the next.
const LATEST: u64 = 3_000;
/// How long a reply is held back for its news to arrive first.
const FIRST: Duration = Duration::from_secs(1);
/// How long an answer is waited for.
const PATIENCE: Duration = Duration::from_secs(2);
/// How often news is told that is not taken, and the pause between: a daemon that was killed is back by then.
const TRIES: u32 = 4;
const PAUSE: Duration = Duration::from_millis(500);
/// The most movements that are told of at once.
const AT_ONCE: usize = 1_000;

#[derive(Args, Clone, Debug)]
pub(super) struct NewsArgs {
    /// Tell this URL of each movement, such as http://127.0.0.1:7411/v1/webhooks/default; signed with the secret in
    /// PAYONCE_GATEWAY_WEBHOOK_SECRET.
    #[arg(long, value_name = "URL")]
    webhook: Option<String>,
    /// What goes wrong with that, in percent: early (before the reply), twice, shuffled, lost, forged (as well). Repeatable.
    #[arg(long = "webhook-fault", value_name = "KIND=PERCENT", value_parser = one_fault, requires = "webhook")]
    webhook_faults: Vec<(Fault, u64)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    Early,
    Twice,
    Shuffled,
    Lost,
    Forged,
}

fn one_fault(text: &str) -> Result<(Fault, u64), String> {
    let wrong = || "must be KIND=PERCENT, KIND one of early, twice, shuffled, lost, forged".to_owned();
    let (kind, percent) = text.split_once('=').ok_or_else(wrong)?;
    let fault = match kind {
        "early" => Fault::Early,
        "twice" => Fault::Twice,
        "shuffled" => Fault::Shuffled,
        "lost" => Fault::Lost,
        "forged" => Fault::Forged,
        _ => return Err(wrong()),
    };
    let percent = percent.parse().ok().filter(|percent| *percent <= 100).ok_or_else(wrong)?;
    Ok((fault, percent))
}

/// The gateway's voice. Clones are one.
#[derive(Clone)]
pub(super) struct Voice(Arc<Inner>);

struct Inner {
    sandbox: Sandbox,
    url: String,
    secret: Secret,
    forger: Secret,
    faults: Vec<(Fault, u64)>,
    agent: ureq::Agent,
    luck: Mutex<Rng>,
    /// The last movement that was told of, or is being.
    told: Mutex<u64>,
    taken: AtomicU64,
    refused: AtomicU64,
    forged_taken: AtomicU64,
}

impl Voice {
    /// `None`: nobody is to be told. Silent about what moved before.
    pub(super) fn of(args: &NewsArgs, sandbox: &Sandbox, seed: u64) -> Result<Option<Voice>, String> {
        let Some(url) = args.webhook.clone() else { return Ok(None) };
        let secret = std::env::var(SECRET).map_err(|_| format!("--webhook wants its secret in {SECRET}"))?;
        let secret = Secret::parse(&secret).map_err(|why| format!("{SECRET} {why}"))?;
        let agent = ureq::Agent::config_builder().http_status_as_error(false).max_redirects(0);
        Ok(Some(Voice(Arc::new(Inner {
            sandbox: sandbox.clone(),
            url,
            secret,
            forger: Secret::parse(FORGER)?,
            faults: args.webhook_faults.clone(),
            agent: agent.timeout_global(Some(PATIENCE)).build().into(),
            luck: Mutex::new(Rng::new(seed)),
            told: Mutex::new(sandbox.summary().movements),
            taken: AtomicU64::new(0),
            refused: AtomicU64::new(0),
            forged_taken: AtomicU64::new(0),
        }))))
    }

    /// Tells for ever.
    pub(super) async fn speak(self) {
        loop {
            self.tell_all();
            sleep(GLANCE).await;
        }
    }

    /// The same, with `GET /news` to count what came of it, and replies that are held back for their news at times.
    pub(super) fn over(&self, router: Router) -> Router {
        let counts = Router::new().route("/news", get(counts)).with_state(self.clone());
        router.layer(from_fn_with_state(self.clone(), tell_first)).merge(counts)
    }

    fn draws(&self, fault: Fault) -> bool {
        let percent = self.0.faults.iter().find(|(known, _)| *known == fault).map_or(0, |(_, percent)| *percent);
        self.0.luck.lock().unwrap_or_else(PoisonError::into_inner).percent(percent)
    }

    /// Tells of what has moved since, each on a task of its own.
    fn tell_all(&self) -> Vec<JoinHandle<()>> {
        let mut told = self.0.told.lock().unwrap_or_else(PoisonError::into_inner);
        let moved = self.0.sandbox.statement(*told, AT_ONCE);
        *told = moved.last().map_or(*told, |last| last.number);
        drop(told);
        moved.into_iter().map(|movement| tokio::spawn(self.clone().tell(movement))).collect()
    }

    async fn tell(self, movement: Movement) {
        if self.draws(Fault::Forged) {
            self.forge(&movement).await;
        }
        if self.draws(Fault::Lost) {
            return;
        }
        let wait = self.draws(Fault::Shuffled).then(|| {
            let mut luck = self.0.luck.lock().unwrap_or_else(PoisonError::into_inner);
            Duration::from_millis(luck.below(LATEST))
        });
        sleep(wait.unwrap_or_default()).await;
        let (id, body) = (format!("evt_{}", movement.gateway_reference), body(&movement, 0, "succeeded"));
        for _ in 0..if self.draws(Fault::Twice) { 2 } else { 1 } {
            self.until_taken(&id, &body).await;
        }
    }

    async fn until_taken(&self, id: &str, body: &Value) {
        for attempt in 0..TRIES {
            if is_taken(self.post(id, body, |inner| &inner.secret).await) {
                self.0.taken.fetch_add(1, Ordering::Relaxed);
                return;
            }
            if attempt + 1 < TRIES {
                sleep(PAUSE).await;
            }
        }
    }

    /// Somebody else says that it was not done, or was of another amount.
    async fn forge(&self, movement: &Movement) {
        let body = body(movement, 1, "declined");
        match self.post(&format!("evt_{}_forged", movement.number), &body, |inner| &inner.forger).await {
            Some(401) => drop(self.0.refused.fetch_add(1, Ordering::Relaxed)),
            status if is_taken(status) => drop(self.0.forged_taken.fetch_add(1, Ordering::Relaxed)),
            // Nobody was there to hear it.
            Some(_) | None => {}
        }
    }

    /// What was answered; `None`: nothing.
    async fn post(&self, id: &str, body: &Value, secret: impl Fn(&Inner) -> &Secret) -> Option<u16> {
        let (inner, body) = (Arc::clone(&self.0), body.to_string());
        let at = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let (signature, id) = (secret(&self.0).sign(id, at, body.as_bytes()), id.to_owned());
        let posted = tokio::task::spawn_blocking(move || {
            let post = inner.agent.post(&inner.url).header("Connection", "close");
            let post = post.header("webhook-id", id).header("webhook-timestamp", at.to_string());
            post.header("webhook-signature", signature).content_type("application/json").send(body)
        });
        posted.await.ok()?.ok().map(|answer| answer.status().as_u16())
    }
}

fn is_taken(status: Option<u16>) -> bool {
    status.is_some_and(|status| (200..300).contains(&status))
}

fn body(movement: &Movement, more: u64, status: &str) -> Value {
    json!({
        "reference": movement.operation_key.to_string(), "gateway_reference": movement.gateway_reference,
        "status": status, "amount": movement.amount.minor_units() + more, "currency": movement.currency.to_string(),
        "code": "ok", "message": "done",
    })
}

/// Before some replies their news is told, and heard.
async fn tell_first(State(voice): State<Voice>, request: Request, next: Next) -> Response {
    let response = next.run(request).await;
    if voice.draws(Fault::Early) {
        let telling = async {
            for told in voice.tell_all() {
                // Whoever panicked has told nothing.
                let _ = told.await;
            }
        };
        let _ = timeout(FIRST, telling).await;
    }
    response
}

async fn counts(State(Voice(inner)): State<Voice>) -> Json<Value> {
    let [taken, refused, forged] =
        [&inner.taken, &inner.refused, &inner.forged_taken].map(|count| count.load(Ordering::Relaxed));
    Json(json!({"taken": taken, "forged_refused": refused, "forged_taken": forged}))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_goes_wrong_with_news_is_named_in_percent() {
        assert_eq!(one_fault("early=20"), Ok((Fault::Early, 20)));
        for wrong in ["early", "early=101", "early=x", "late=1", "=1"] {
            assert!(one_fault(wrong).is_err_and(|why| why.contains("shuffled")), "{wrong}");
        }
    }
}
