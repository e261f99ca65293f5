//! Spans to a collector: OTLP over HTTP, as JSON, with what the program has anyway.
//!
//! A payment is one trace, and its id is the trace's id: whatever happens to it, in this process or a later one, is found
//! under it. The payment itself is the span at the root, from when it was accepted until its caller could be told; the
//! requests and the calls to gateways are below it. What is about no payment is not told.
//!
//! No payment waits for the collector. What it does not take is dropped, and that is said.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
        mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel},
    },
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use payonce::{PaymentId, config::ConfigError};
use serde_json::{Value, json};
use tracing::{
    Event, Subscriber,
    field::{Field, Visit},
    level_filters::LevelFilter,
    span::{Attributes, Id, Record},
};
use tracing_subscriber::{Layer, Registry, filter::Filtered, layer::Context, registry::LookupSpan};

use crate::version::version;

/// How many spans wait for the collector: some seconds of much business, a few megabytes.
const WAITING: usize = 8_192;
/// How many go at once: about 200 KiB.
const BATCH: usize = 512;
/// How long a span waits for others.
const EVERY: Duration = Duration::from_secs(1);
/// How long the collector may take. The end of the process waits for it once.
const PATIENCE: Duration = Duration::from_secs(5);

/// What goes to the collector's thread.
enum Out {
    Span(Value),
    End,
}

/// Sends what is left when it is dropped.
pub(crate) struct Exporter {
    sender: SyncSender<Out>,
    ended: Receiver<Never>,
}

/// What is never sent: the other end goes away.
enum Never {}

impl Drop for Exporter {
    fn drop(&mut self) {
        // If it is full, the collector hangs.
        if self.sender.try_send(Out::End).is_ok() {
            let _ = self.ended.recv_timeout(PATIENCE);
        }
    }
}

/// What hears of spans.
pub(crate) type Spans = Filtered<Teller, LevelFilter, Registry>;

pub(crate) struct Teller {
    sender: SyncSender<Out>,
    dropped: Arc<AtomicU64>,
}

/// Where an endpoint as OpenTelemetry means it is, and what is told to it from now on.
pub(super) fn start(endpoint: &str) -> Result<(Exporter, Spans), ConfigError> {
    let wrong = |why: &str| ConfigError::new(format!("--otlp {why}"));
    if !endpoint.starts_with("http://") && !endpoint.starts_with("https://") {
        return Err(wrong("must be a URL, such as http://127.0.0.1:4318"));
    }
    let (sender, receiver) = sync_channel(WAITING);
    let dropped = Arc::new(AtomicU64::new(0));
    let collector = Collector {
        url: format!("{}/v1/traces", endpoint.trim_end_matches('/')),
        headers: headers(&std::env::var("OTEL_EXPORTER_OTLP_HEADERS").unwrap_or_default()),
        service: std::env::var("OTEL_SERVICE_NAME").unwrap_or_else(|_| "payonce".to_owned()),
        agent: agent(),
        dropped: dropped.clone(),
        failing: false,
    };
    let (ending, ended) = sync_channel(0);
    let run = move || {
        collector.run(&receiver);
        drop(ending);
    };
    let thread = std::thread::Builder::new().name("payonce-spans".to_owned()).spawn(run);
    thread.map_err(|error| wrong(&format!("cannot be served: {error}")))?;
    let teller = Teller { sender: sender.clone(), dropped };
    Ok((Exporter { sender, ended }, teller.with_filter(LevelFilter::INFO)))
}

/// `NAME=VALUE` with commas between, as OpenTelemetry's variable has them. They may be secrets.
fn headers(text: &str) -> Vec<(String, String)> {
    let pairs = text.split(',').filter_map(|pair| pair.split_once('='));
    pairs.map(|(name, value)| (name.trim().to_owned(), decoded(value.trim()))).collect()
}

/// Without its percent signs, as far as they mean a character.
fn decoded(text: &str) -> String {
    let mut parts = text.split('%');
    let mut plain = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (digits, rest) = part.split_at_checked(2).unwrap_or_default();
        match u8::from_str_radix(digits, 16) {
            Ok(byte) => plain.extend([char::from(byte).to_string().as_str(), rest]),
            Err(_) => plain.extend(["%", part]),
        }
    }
    plain
}

/// Follows nobody: what is sent may have a secret beside it.
fn agent() -> ureq::Agent {
    let config = ureq::Agent::config_builder().max_redirects(0).timeout_global(Some(PATIENCE));
    ureq::Agent::from(config.build())
}

/// A span that has not ended.
struct Open {
    began: SystemTime,
    fields: Fields,
}

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Teller {
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let mut fields = Fields::default();
        attributes.record(&mut fields);
        if let Some(span) = context.span(id) {
            span.extensions_mut().insert(Open { began: SystemTime::now(), fields });
        }
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        if let Some(span) = context.span(id)
            && let Some(open) = span.extensions_mut().get_mut::<Open>()
        {
            values.record(&mut open.fields);
        }
    }

    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        if event.metadata().name() != "settled" || event.metadata().target() != "payonce::payment" {
            return;
        }
        let mut fields = Fields::default();
        event.record(&mut fields);
        if let Some(payment) = fields.payment {
            self.tell(life(payment, fields));
        }
    }

    fn on_close(&self, id: Id, context: Context<'_, S>) {
        let Some(span) = context.span(&id) else { return };
        let Some(Open { began, fields }) = span.extensions_mut().remove() else { return };
        let Some(payment) = fields.payment else { return };
        // OpenTelemetry's numbers: 2 is a server, 3 a client.
        let kind = if span.name() == "request" { 2 } else { 3 };
        let one = json!({
            "traceId": hex(payment.as_bytes()), "spanId": hex(&new_id()), "parentSpanId": hex(root(&payment)),
            "name": span.name(), "kind": kind, "startTimeUnixNano": nanos(began),
            "endTimeUnixNano": nanos(SystemTime::now()), "attributes": fields.attributes, "links": fields.links,
            // 2 is an error: whoever looks for trouble looks for these.
            "status": if fields.failed { json!({ "code": 2 }) } else { json!({}) },
        });
        self.tell(one);
    }
}

impl Teller {
    fn tell(&self, span: Value) {
        if self.sender.try_send(Out::Span(span)).is_err() {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// The payment itself, whose times are in the fields.
fn life(payment: PaymentId, fields: Fields) -> Value {
    let [began, ended] = ["created_ms", "settled_ms"].map(|name| {
        let found = fields.attributes.iter().find(|attribute| attribute["key"] == name);
        format!("{}000000", found.and_then(|found| found.pointer("/value/intValue")?.as_str()).unwrap_or_default())
    });
    json!({
        "traceId": hex(payment.as_bytes()), "spanId": hex(root(&payment)), "name": "payment", "kind": 1,
        "startTimeUnixNano": began, "endTimeUnixNano": ended, "attributes": fields.attributes, "status": {},
    })
}

/// The id of a payment's own span: the second half of its id, which is never all zeros.
fn root(payment: &PaymentId) -> &[u8] {
    payment.as_bytes().get(8..).unwrap_or_default()
}

fn new_id() -> [u8; 8] {
    uuid::Uuid::new_v4().as_u64_pair().1.to_be_bytes()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn nanos(at: SystemTime) -> String {
    at.duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos().to_string()
}

/// What a span says, as OTLP's attributes.
#[derive(Default)]
struct Fields {
    payment: Option<PaymentId>,
    attributes: Vec<Value>,
    links: Vec<Value>,
    failed: bool,
}

impl Fields {
    fn add(&mut self, field: &Field, value: Value) {
        self.attributes.push(json!({ "key": field.name(), "value": value }));
    }
}

impl Visit for Fields {
    fn record_u64(&mut self, field: &Field, value: u64) {
        self.failed |= field.name() == "status" && value >= 500;
        self.add(field, json!({ "intValue": value.to_string() }));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.failed |= field.name() == "outcome" && value == "unknown";
        if field.name() == "traceparent" {
            let mut parts = value.split('-').skip(1);
            self.links.push(json!({ "traceId": parts.next(), "spanId": parts.next() }));
            return;
        }
        self.add(field, json!({ "stringValue": value }));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        let text = format!("{value:?}");
        if field.name() == "payment" {
            self.payment = PaymentId::parse(&text);
        }
        self.add(field, json!({ "stringValue": text }));
    }
}

/// The other end.
struct Collector {
    url: String,
    headers: Vec<(String, String)>,
    service: String,
    agent: ureq::Agent,
    dropped: Arc<AtomicU64>,
    failing: bool,
}

impl Collector {
    /// Takes and sends until the end.
    fn run(mut self, receiver: &Receiver<Out>) {
        while let Ok(Out::Span(first)) = receiver.recv() {
            let (until, mut batch, mut ended) = (Instant::now() + EVERY, vec![first], false);
            while batch.len() < BATCH && !ended {
                match receiver.recv_timeout(until.saturating_duration_since(Instant::now())) {
                    Ok(Out::Span(span)) => batch.push(span),
                    Err(RecvTimeoutError::Timeout) => break,
                    Ok(Out::End) | Err(RecvTimeoutError::Disconnected) => ended = true,
                }
            }
            self.send(batch);
            if ended {
                return;
            }
        }
    }

    /// Said once when it begins to fail, and once when it is over.
    fn send(&mut self, batch: Vec<Value>) {
        let spans = u64::try_from(batch.len()).unwrap_or(u64::MAX);
        let text = |key: &str, value: &str| json!({ "key": key, "value": { "stringValue": value } });
        let resource = [text("service.name", &self.service), text("service.version", version())];
        let body = json!({ "resourceSpans": [{
            "resource": { "attributes": resource },
            "scopeSpans": [{ "scope": { "name": "payonce" }, "spans": batch }],
        }]});
        let mut request = self.agent.post(&self.url);
        for (name, value) in &self.headers {
            request = request.header(name, value);
        }
        match request.send_json(body) {
            Ok(_) => {
                let dropped = self.dropped.swap(0, Ordering::Relaxed);
                if self.failing || dropped > 0 {
                    tracing::warn!(dropped, "the collector takes spans again");
                }
                self.failing = false;
            }
            Err(error) => {
                self.dropped.fetch_add(spans, Ordering::Relaxed);
                if !self.failing {
                    tracing::warn!(%error, "spans are dropped: the collector does not take them");
                }
                self.failing = true;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_are_read_as_opentelemetry_writes_them() {
        let read =
            |text: &str| headers(text).into_iter().map(|(name, value)| format!("{name}:{value}")).collect::<Vec<_>>();
        assert_eq!(read(""), [""; 0]);
        assert_eq!(read("a=1, b = x%20y%3D%3d=,nothing"), ["a:1", "b:x y==="]);
        assert_eq!(read("a=100%,b=%4,c=%zz"), ["a:100%", "b:%4", "c:%zz"], "what means nothing stays");
    }

    #[test]
    fn only_urls_are_taken() {
        assert!(["grpc", "127.0.0.1:4318", "ftp://x"].iter().all(|bad| start(bad).is_err()));
    }
}
