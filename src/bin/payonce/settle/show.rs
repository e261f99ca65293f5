//! A settlement on the screen, and as JSON.

use std::io::{IsTerminal, Write};

use jiff::Timestamp as Civil;
use payonce::{
    Timestamp,
    settle::{Entry, Finding, Line, LineKind, Report, What, Window},
};
use serde_json::{Map, Value, json};

use crate::output::{say, table};

/// How many findings of a kind are shown to people: a screen of them. JSON has more.
const SHOWN: usize = 50;

/// Says what was found.
pub(super) fn report(report: &Report, window: &Window, as_json: bool) {
    if as_json {
        say(json(report, window));
        return;
    }
    let told = What::ALL.into_iter().filter(|what| what.is_difference() || *what == What::Unconfirmed);
    let rows: Vec<Vec<String>> = told.flat_map(|what| report.kept(what).iter().take(SHOWN)).map(row).collect();
    if !rows.is_empty() {
        table(&["finding", "payment", "kind", "here", "there", "reference", "line", "next"], &rows);
        say("");
    }
    let counted = What::ALL.into_iter().filter(|what| *what == What::Matched || report.count(*what) > 0);
    let counts: Vec<Vec<String>> = counted
        .map(|what| vec![what.as_str().to_owned(), report.count(what).to_string(), what.meaning().to_owned()])
        .collect();
    table(&["found", "count", "meaning"], &counts);
    if What::ALL.into_iter().any(|what| what.is_difference() && report.kept(what).len() > SHOWN) {
        say(format_args!("\nThe first {SHOWN} of each are shown; --json has up to {}.", Report::KEPT));
    }
}

fn row(finding: &Finding) -> Vec<String> {
    let (ours, line) = (finding.ours.as_ref(), finding.line.as_ref());
    let none = || "-".to_owned();
    // With several operations a payment's id does not say which.
    let payment = |ours: &Entry| match ours.number {
        0 => ours.payment.to_string(),
        number => format!("{}/{number}", ours.payment),
    };
    let kind = line.and_then(|line| line.kind.as_ref()).map(|kind| LineKind::as_str(kind).to_owned());
    let here = ours.filter(|_| finding.what != What::MissingHere);
    vec![
        finding.what.as_str().to_owned(),
        ours.map_or_else(none, payment),
        kind.or_else(|| ours.map(|ours| ours.kind.as_str().to_owned())).unwrap_or_else(none),
        here.map_or_else(none, |ours| format!("{} {}", ours.amount, ours.currency)),
        line.map_or_else(none, |line| format!("{} {}", line.amount, line.currency)),
        line.and_then(|line| line.reference.clone()).unwrap_or_else(none),
        line.map_or_else(none, |line| line.place.to_string()),
        finding.next(),
    ]
}

fn json(report: &Report, window: &Window) -> Value {
    let mut all = Map::new();
    let mut counts = Map::new();
    for what in What::ALL {
        counts.insert(what.as_str().to_owned(), json!(report.count(what)));
        let told = match what.is_only_counted() {
            true => json!(report.count(what)),
            false => report.kept(what).iter().map(one).collect(),
        };
        all.insert(what.as_str().to_owned(), told);
    }
    all.insert("counts".to_owned(), Value::Object(counts));
    all.insert("differences".to_owned(), json!(report.differences()));
    all.insert("from".to_owned(), json!(window.from.map(rfc_3339)));
    all.insert("to".to_owned(), json!(rfc_3339(window.to)));
    all.insert("margin_s".to_owned(), json!(window.margin.as_secs_f64()));
    Value::Object(all)
}

fn one(finding: &Finding) -> Value {
    json!({
        "here": finding.ours.as_ref().map(here),
        "there": finding.line.as_ref().map(there),
        "next": finding.next(),
    })
}

fn here(ours: &Entry) -> Value {
    json!({
        "payment": ours.payment.to_string(), "operation": ours.number, "kind": ours.kind.as_str(),
        "operation_key": ours.operation_key.to_string(), "amount": ours.amount.minor_units(),
        "currency": ours.currency.as_str(), "belief": ours.belief.as_str(),
        "earliest": rfc_3339(ours.earliest), "latest": rfc_3339(ours.latest),
    })
}

fn there(line: &Line) -> Value {
    json!({
        "line": line.place, "operation_key": line.operation_key.map(|key| key.to_string()),
        "gateway_reference": line.reference, "kind": line.kind.as_ref().map(LineKind::as_str),
        "amount": line.amount, "currency": line.currency.as_str(), "at": line.at.map(rfc_3339),
    })
}

fn rfc_3339(at: Timestamp) -> String {
    let millis = i64::try_from(at.as_millis()).unwrap_or(i64::MAX);
    format!("{:.3}", Civil::from_millisecond(millis).unwrap_or(Civil::MAX))
}

/// A number on standard error that grows, if a person is there to see it.
pub(super) struct Counter {
    what: &'static str,
    count: u64,
    shown: bool,
}

impl Counter {
    /// How often it is drawn: several times a second at the speed of a journal's replay.
    const EVERY: u64 = 20_000;

    pub(super) fn new(what: &'static str) -> Counter {
        Counter { what, count: 0, shown: std::io::stderr().is_terminal() }
    }

    pub(super) fn one(&mut self) {
        self.count = self.count.saturating_add(1);
        if self.shown && self.count.is_multiple_of(Counter::EVERY) {
            let mut out = std::io::stderr().lock();
            // A terminal that is gone shows nothing, and that is no failure.
            let _ = write!(out, "\r{} {}", self.count, self.what).and_then(|()| out.flush());
        }
    }

    /// Leaves the line.
    pub(super) fn clear(&self) {
        if self.shown {
            eprint!("\r{:60}\r", "");
        }
    }
}
