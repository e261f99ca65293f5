//! `GET /v1/stats` and `GET /v1/payments/{id}/outlook`: what the dashboard shows, as JSON. Made for people to look at:
//! members may be added.

use std::{collections::BTreeMap, time::Duration};

use serde::Serialize;
use utoipa::ToSchema;

use super::bodies::{self, MomentBody};
use crate::{
    payment::{Audit, Next, Operation, Outlook, PaymentId, State, Timestamp},
    runtime::{CallStats, Engine, GatewayStats, Histogram, JournalStats, Lsn, Outlooks, Queue, StoreStats},
    told::{Rfc3339, Text},
};

/// How the engine stands.
pub(super) fn stats(engine: &Engine) -> Vec<u8> {
    let stats = engine.stats();
    let report = engine.report().to_string();
    bodies::render(&StatsBody {
        version: env!("CARGO_PKG_VERSION"),
        uptime_seconds: stats.uptime.as_secs_f64(),
        recovery: report.lines().collect(),
        troubles: stats.troubles.iter().filter_map(|(name, is)| is.then_some(*name)).collect(),
        unresolved: stats.unresolved.iter().map(|(state, count)| (state.as_str(), *count)).collect(),
        oldest_doubt: stats
            .oldest_doubt
            .map(|(since, age)| Doubt { since: Rfc3339(since), seconds: age.as_secs_f64() }),
        settled: stats.settled.iter().map(|(state, count)| (state.as_str(), *count)).collect(),
        facts: &stats.facts,
        settle: (&stats.settle).into(),
        turn: (&stats.turn).into(),
        batch_records: (&stats.batch_records).into(),
        batch_bytes: (&stats.batch_bytes).into(),
        fsync: (&stats.fsync).into(),
        queue: stats.queue.into(),
        gateways: stats.gateways.iter().map(GatewayBody::from).collect(),
        journal: stats.journal.into(),
        store: (&stats.store).into(),
    })
}

/// What is scheduled next for a payment, and all that led to it.
pub(super) fn outlook(outlooks: &Outlooks) -> Vec<u8> {
    let payment = &outlooks.payment;
    let operations = payment.operations.iter().zip(&outlooks.operations);
    bodies::render(&OutlookBody {
        payment: Text(payment.id),
        state: payment.state_now().as_str(),
        contradicted: payment.is_contradicted(),
        operations: operations.map(|(operation, outlook)| NextBody::new(operation, outlook)).collect(),
        timeline: payment.timeline.iter().map(MomentBody::from).collect(),
    })
}

/// How the engine stands. Made for people to look at: members may be added.
#[derive(Serialize, ToSchema)]
#[schema(as = Stats)]
pub(super) struct StatsBody<'a> {
    version: &'static str,
    uptime_seconds: f64,
    recovery: Vec<&'a str>,
    troubles: Vec<&'static str>,
    unresolved: BTreeMap<&'static str, usize>,
    #[schema(required)]
    oldest_doubt: Option<Doubt>,
    settled: BTreeMap<&'static str, u64>,
    facts: &'a BTreeMap<&'static str, u64>,
    settle: HistogramBody,
    turn: HistogramBody,
    batch_records: HistogramBody,
    batch_bytes: HistogramBody,
    fsync: HistogramBody,
    queue: QueueBody,
    gateways: Vec<GatewayBody<'a>>,
    journal: JournalBody,
    store: StoreBody,
}

#[derive(Serialize, ToSchema)]
struct Doubt {
    since: Rfc3339,
    seconds: f64,
}

/// Not cumulative: `counts` has one member more than `bounds`, for what is above all of them.
#[derive(Serialize, ToSchema)]
#[schema(as = Histogram)]
struct HistogramBody {
    bounds: &'static [f64],
    counts: Vec<u64>,
    sum: f64,
}

impl From<&Histogram> for HistogramBody {
    fn from(histogram: &Histogram) -> HistogramBody {
        HistogramBody { bounds: histogram.bounds(), counts: histogram.counts().collect(), sum: histogram.sum() }
    }
}

#[derive(Serialize, ToSchema)]
#[schema(as = Queue)]
struct QueueBody {
    waiting: usize,
    held: usize,
    limit: usize,
}

impl From<Queue> for QueueBody {
    fn from(queue: Queue) -> QueueBody {
        let Queue { waiting, held, limit } = queue;
        QueueBody { waiting, held, limit }
    }
}

#[derive(Serialize, ToSchema)]
#[schema(as = GatewayStats)]
struct GatewayBody<'a> {
    name: &'a str,
    identity: String,
    guarantee: &'static str,
    contract: String,
    #[schema(required)]
    last_heard_seconds: Option<f64>,
    failing: u64,
    #[schema(required)]
    last_failure: Option<&'a str>,
    shut: bool,
    /// Who has nothing sent to it, since when and why; null: nobody has.
    #[schema(required)]
    paused: Option<PausedBody<'a>>,
    calling: usize,
    slots: usize,
    calls: BTreeMap<&'static str, CallsBody<'a>>,
}

#[derive(Serialize, ToSchema)]
#[schema(as = Paused)]
struct PausedBody<'a> {
    since: Rfc3339,
    actor: &'a str,
    reason: &'a str,
}

impl<'a> From<&'a Audit> for PausedBody<'a> {
    fn from(pause: &'a Audit) -> PausedBody<'a> {
        PausedBody { since: Rfc3339(pause.at), actor: &pause.person.actor, reason: &pause.person.reason }
    }
}

#[derive(Serialize, ToSchema)]
#[schema(as = Calls)]
struct CallsBody<'a> {
    time: HistogramBody,
    outcomes: &'a BTreeMap<&'static str, u64>,
}

impl<'a> From<&'a GatewayStats> for GatewayBody<'a> {
    fn from(gateway: &'a GatewayStats) -> GatewayBody<'a> {
        let body = |calls: &'a CallStats| CallsBody { time: (&calls.time).into(), outcomes: &calls.outcomes };
        GatewayBody {
            name: &gateway.name,
            identity: gateway.contract.identity.to_string(),
            guarantee: gateway.contract.guarantee(),
            contract: gateway.contract.to_string(),
            last_heard_seconds: gateway.last_heard.as_ref().map(Duration::as_secs_f64),
            failing: gateway.failing,
            last_failure: gateway.last_failure.as_deref(),
            shut: gateway.shut,
            paused: gateway.pause.as_ref().map(PausedBody::from),
            calling: gateway.calling,
            slots: gateway.slots,
            calls: gateway.calls.iter().map(|(call, calls)| (*call, body(calls))).collect(),
        }
    }
}

#[derive(Serialize, ToSchema)]
#[schema(as = JournalStats)]
struct JournalBody {
    lsn: u64,
    segment: u64,
    offset: u64,
    segment_bytes: u64,
    since_checkpoint: u64,
    #[schema(required)]
    last_checkpoint: Option<CheckpointBody>,
    #[schema(required)]
    disk_free: Option<u64>,
}

#[derive(Serialize, ToSchema)]
#[schema(as = Checkpoint)]
struct CheckpointBody {
    at: Rfc3339,
    lsn: u64,
}

impl From<JournalStats> for JournalBody {
    fn from(journal: JournalStats) -> JournalBody {
        let checkpoint = |(at, upto): (Timestamp, Lsn)| CheckpointBody { at: Rfc3339(at), lsn: upto.get() };
        JournalBody {
            lsn: journal.durable.get(),
            segment: journal.segment,
            offset: journal.offset,
            segment_bytes: journal.segment_bytes,
            since_checkpoint: journal.since_checkpoint,
            last_checkpoint: journal.last_checkpoint.map(checkpoint),
            disk_free: journal.disk_free,
        }
    }
}

#[derive(Serialize, ToSchema)]
#[schema(as = StoreStats)]
struct StoreBody {
    lsn: u64,
    lag_records: u64,
    lag_seconds: f64,
    in_memory: usize,
}

impl From<&StoreStats> for StoreBody {
    fn from(store: &StoreStats) -> StoreBody {
        StoreBody {
            lsn: store.taken.get(),
            lag_records: store.lag,
            lag_seconds: store.lag_time.as_secs_f64(),
            in_memory: store.in_memory,
        }
    }
}

/// What is scheduled next for a payment, and all that led to it. Members may be added.
#[derive(Serialize, ToSchema)]
#[schema(as = Outlook)]
pub(super) struct OutlookBody<'a> {
    #[schema(value_type = PaymentId)]
    payment: Text<PaymentId>,
    #[schema(value_type = State)]
    state: &'static str,
    /// Whether news contradicts what was told.
    contradicted: bool,
    operations: Vec<NextBody<'a>>,
    timeline: Vec<MomentBody<'a>>,
}

#[derive(Serialize, ToSchema)]
#[schema(as = NextStep)]
struct NextBody<'a> {
    number: u32,
    gateway: String,
    #[schema(value_type = Next)]
    next: &'static str,
    #[schema(required)]
    at: Option<Rfc3339>,
    why: &'a str,
}

impl<'a> NextBody<'a> {
    fn new(operation: &Operation, outlook: &'a Outlook) -> NextBody<'a> {
        NextBody {
            number: operation.this.number,
            gateway: operation.gateway.to_string(),
            next: outlook.next.as_str(),
            at: outlook.at.map(Rfc3339),
            why: &outlook.why,
        }
    }
}
