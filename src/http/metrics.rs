//! `GET /metrics`: the engine's numbers in the Prometheus text format, with the field's names: base units, `_total` for
//! what only grows.

use std::fmt::{Display, Write};

use axum::http::HeaderValue;

use crate::runtime::{GatewayStats, Histogram, JournalStats, Queue, Stats, StoreStats};

/// The version of the text format that this is.
pub(super) const CONTENT_TYPE: HeaderValue = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");

/// All of it.
pub(super) fn render(stats: &Stats) -> String {
    // About 200 lines of some 60 characters, and 200 more a gateway.
    let mut page = Page(String::with_capacity(32 * 1024));
    page.head("payonce_build_info", "gauge", "Which payonce this is.");
    page.sample("payonce_build_info", &[("version", env!("CARGO_PKG_VERSION"))], 1);
    page.gauge("payonce_uptime_seconds", "How long the engine has been open.", stats.uptime.as_secs_f64());
    payments(&mut page, stats);
    turns(&mut page, stats);
    queue(&mut page, &stats.queue);
    gateways(&mut page, stats);
    journal(&mut page, &stats.journal);
    store(&mut page, &stats.store);
    page.head("payonce_trouble", "gauge", "1 while this keeps payments from being taken up or sent.");
    for (kind, is) in &stats.troubles {
        page.sample("payonce_trouble", &[("kind", kind)], u8::from(*is));
    }
    page.0
}

fn payments(page: &mut Page, stats: &Stats) {
    let name = "payonce_payments_unresolved";
    page.head(
        name,
        "gauge",
        "Payments that are unresolved, by what they wait for; declined: a soft one, may still turn.",
    );
    for (state, count) in &stats.unresolved {
        page.sample(name, &[("state", state.as_str())], count);
    }
    let name = "payonce_payments_settled_total";
    page.head(name, "counter", "Payments that were given their final answer, by state.");
    for (state, count) in &stats.settled {
        page.sample(name, &[("state", state.as_str())], count);
    }
    page.head("payonce_facts_total", "counter", "Facts recorded, by name.");
    for (fact, count) in &stats.facts {
        page.sample("payonce_facts_total", &[("fact", fact)], count);
    }
    let oldest = stats.oldest_doubt.map_or(0.0, |(_, age)| age.as_secs_f64());
    page.gauge(
        "payonce_oldest_doubt_seconds",
        "How long the oldest doubt, parked or not, has lasted; 0: none.",
        oldest,
    );
    let help = "From a payment's acceptance to its final answer.";
    page.whole_histogram("payonce_payment_settle_seconds", help, &stats.settle);
}

fn turns(page: &mut Page, stats: &Stats) {
    let help = "Turns of the engine: deciding, recording with one fsync, releasing.";
    page.whole_histogram("payonce_turn_seconds", help, &stats.turn);
    page.whole_histogram("payonce_batch_records", "Records that a turn made durable.", &stats.batch_records);
    page.whole_histogram("payonce_batch_bytes", "Bytes of the journal that a turn took.", &stats.batch_bytes);
    page.whole_histogram("payonce_journal_fsync_seconds", "The journal's fdatasync.", &stats.fsync);
}

fn queue(page: &mut Page, queue: &Queue) {
    let name = "payonce_queue_callers";
    page.head(name, "gauge", "Callers who wait: for the engine, or held until a gateway call is free.");
    page.sample(name, &[("stage", "waiting")], queue.waiting);
    page.sample(name, &[("stage", "held")], queue.held);
    page.gauge("payonce_queue_limit", "How many callers may wait; beyond it they are answered 503.", queue.limit);
}

fn gateways(page: &mut Page, stats: &Stats) {
    let name = "payonce_gateway_info";
    page.head(name, "gauge", "Which gateway a name stands for.");
    for gateway in &stats.gateways {
        let identity = gateway.contract.identity.to_string();
        page.sample(name, &[("gateway", &gateway.name), ("identity", &identity)], 1);
    }
    let name = "payonce_gateway_call_seconds";
    page.head(name, "histogram", "Calls to a gateway, from their beginning to their outcome.");
    for gateway in &stats.gateways {
        for (call, calls) in &gateway.calls {
            page.histogram(name, &[("gateway", &gateway.name), ("call", call)], &calls.time);
        }
    }
    let name = "payonce_gateway_outcomes_total";
    page.head(name, "counter", "What calls to a gateway came to.");
    for gateway in &stats.gateways {
        for (call, calls) in &gateway.calls {
            for (outcome, count) in &calls.outcomes {
                page.sample(name, &[("gateway", &gateway.name), ("call", call), ("outcome", outcome)], count);
            }
        }
    }
    let health = "Calls in a row, up to now, to which the gateway said nothing that was understood.";
    each(page, stats, "payonce_gateway_failing_calls", health, |gateway| Some(gateway.failing));
    let left = "1 while the gateway is left alone because it did not answer.";
    each(page, stats, "payonce_gateway_shut", left, |gateway| Some(u8::from(gateway.shut)));
    let paused = "1 while an operator has nothing sent to the gateway.";
    each(page, stats, "payonce_gateway_paused", paused, |gateway| Some(u8::from(gateway.pause.is_some())));
    let heard = "How long ago the gateway last said something that was understood; absent: never.";
    let ago = |gateway: &GatewayStats| gateway.last_heard.map(|ago| ago.as_secs_f64());
    each(page, stats, "payonce_gateway_last_heard_seconds", heard, ago);
    each(page, stats, "payonce_gateway_calls_in_flight", "Calls under way.", |gateway| Some(gateway.calling));
    each(page, stats, "payonce_gateway_slots", "How many calls may be under way.", |gateway| Some(gateway.slots));
}

/// One number of every gateway that has it.
fn each<V: Display>(page: &mut Page, stats: &Stats, name: &str, help: &str, of: impl Fn(&GatewayStats) -> Option<V>) {
    page.head(name, "gauge", help);
    for gateway in &stats.gateways {
        if let Some(value) = of(gateway) {
            page.sample(name, &[("gateway", &gateway.name)], value);
        }
    }
}

fn journal(page: &mut Page, journal: &JournalStats) {
    page.gauge("payonce_journal_lsn", "The last record that is durable.", journal.durable);
    page.gauge("payonce_journal_segment", "The segment that is being written.", journal.segment);
    page.gauge("payonce_journal_segment_offset_bytes", "How much of it is written.", journal.offset);
    page.gauge("payonce_journal_segment_size_bytes", "How long a segment is.", journal.segment_bytes);
    let help = "Journal that a start would have to replay.";
    page.gauge("payonce_journal_since_checkpoint_bytes", help, journal.since_checkpoint);
    if let Some((at, upto)) = journal.last_checkpoint {
        let seconds = std::time::Duration::from_millis(at.as_millis()).as_secs_f64();
        page.gauge("payonce_checkpoint_timestamp_seconds", "When this process last made a checkpoint.", seconds);
        page.gauge("payonce_checkpoint_lsn", "The last record that it covers.", upto);
    }
    if let Some(free) = journal.disk_free {
        page.gauge("payonce_disk_free_bytes", "What the data folder's disk has left.", free);
    }
}

fn store(page: &mut Page, store: &StoreStats) {
    page.gauge("payonce_store_lsn", "The last record that the store has taken.", store.taken);
    page.gauge("payonce_store_lag_records", "Records that the store was given, and has not taken.", store.lag);
    let help = "How long the oldest of them waits.";
    page.gauge("payonce_store_lag_seconds", help, store.lag_time.as_secs_f64());
    let help = "Payments in memory: unresolved, or not taken by the store yet.";
    page.gauge("payonce_payments_in_memory", help, store.in_memory);
}

/// The text as it grows. Writing to memory cannot fail.
struct Page(String);

impl Page {
    fn head(&mut self, name: &str, kind: &str, help: &str) {
        let _ = writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}");
    }

    fn gauge(&mut self, name: &str, help: &str, value: impl Display) {
        self.head(name, "gauge", help);
        self.sample(name, &[], value);
    }

    fn sample(&mut self, name: &str, labels: &[(&str, &str)], value: impl Display) {
        self.0.push_str(name);
        for (place, (label, text)) in labels.iter().enumerate() {
            let before = if place == 0 { '{' } else { ',' };
            let _ = write!(self.0, "{before}{label}=\"{}\"", escaped(text));
        }
        let end = if labels.is_empty() { "" } else { "}" };
        let _ = writeln!(self.0, "{end} {value}");
    }

    fn whole_histogram(&mut self, name: &str, help: &str, histogram: &Histogram) {
        self.head(name, "histogram", help);
        self.histogram(name, &[], histogram);
    }

    /// Cumulative, as the format has it: each bucket counts all that is not above its bound.
    fn histogram(&mut self, name: &str, labels: &[(&str, &str)], histogram: &Histogram) {
        let bounds = histogram.bounds().iter().map(f64::to_string).chain(["+Inf".to_owned()]);
        let mut below = 0;
        for (bound, count) in bounds.zip(histogram.counts()) {
            below += count;
            let labels: Vec<(&str, &str)> = labels.iter().copied().chain([("le", bound.as_str())]).collect();
            self.sample(&format!("{name}_bucket"), &labels, below);
        }
        self.sample(&format!("{name}_sum"), labels, histogram.sum());
        self.sample(&format!("{name}_count"), labels, below);
    }
}

/// A label's value: a gateway may have any name.
fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_label_says_what_its_value_is_whatever_is_in_it() {
        let mut page = Page(String::new());
        page.sample("payonce_x", &[("gateway", "a \"b\"\\\nc"), ("call", "send")], 3);
        assert_eq!(page.0, "payonce_x{gateway=\"a \\\"b\\\"\\\\\\nc\",call=\"send\"} 3\n");
    }

    #[test]
    fn values_are_written_as_plain_numbers() {
        let mut page = Page(String::new());
        page.gauge("payonce_y_bytes", "Why.", u64::MAX);
        page.sample("payonce_z", &[], 0.000_1);
        let lines: Vec<&str> = page.0.lines().skip(2).collect();
        assert_eq!(lines, ["payonce_y_bytes 18446744073709551615", "payonce_z 0.0001"]);
    }
}
