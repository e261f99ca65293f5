//! What Prometheus reads is what happened, in its own format, and whoever draws or alerts names only what there is.

#![cfg(feature = "server")]
#![allow(missing_docs, dead_code, clippy::expect_used, clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

mod http_support;

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use http_support::{PATH, Server};

/// Far longer than any state takes to come about.
const HANG: Duration = Duration::from_secs(20);

/// Each family's type, and each sample's value by its name and labels as they are written.
#[derive(Debug, Default)]
struct Exposition {
    families: BTreeMap<String, String>,
    samples: BTreeMap<String, f64>,
    /// As written: buckets come in the order of their bounds.
    order: Vec<String>,
}

impl Exposition {
    /// Reads the text format 0.0.4, and checks what holds of all of it.
    fn read(text: &str) -> Exposition {
        let mut page = Exposition::default();
        let mut helped = BTreeSet::new();
        for line in text.lines() {
            if let Some(help) = line.strip_prefix("# HELP ") {
                let (name, help) = help.split_once(' ').expect("a name and a text");
                assert!(help.ends_with('.'), "a sentence: {line}");
                assert!(helped.insert(name.to_owned()), "told twice: {line}");
            } else if let Some(kind) = line.strip_prefix("# TYPE ") {
                let (name, kind) = kind.split_once(' ').expect("a name and a type");
                assert!(helped.contains(name), "{line}");
                assert_eq!(kind == "counter", name.ends_with("_total"), "{line}");
                page.families.insert(name.to_owned(), kind.to_owned());
            } else {
                let (series, value) = line.rsplit_once(' ').expect("a series and its value");
                assert!(page.family(series).is_some(), "no type was told before {line}");
                let told = page.samples.insert(series.to_owned(), value.parse().expect("a number"));
                assert!(told.is_none(), "told twice: {line}");
                page.order.push(series.to_owned());
            }
        }
        page.check_histograms();
        page
    }

    fn family(&self, series: &str) -> Option<&str> {
        let name = series.split('{').next().expect("never empty");
        let base = ["_bucket", "_sum", "_count"].into_iter().find_map(|end| name.strip_suffix(end)).unwrap_or(name);
        let found = self.families.get_key_value(name).or_else(|| self.families.get_key_value(base));
        found.map(|(name, _)| name.as_str())
    }

    /// Buckets only grow, and the last of them counts everything.
    fn check_histograms(&self) {
        let mut before: Option<(String, f64)> = None;
        for series in &self.order {
            if !series.contains("_bucket{") {
                before = None;
                continue;
            }
            let count = self.samples[series];
            let (others, bound) = series.split_once("le=\"").expect("a bound");
            if let Some((same, below)) = &before {
                assert!(same != others || *below <= count, "{series}");
            }
            if bound.starts_with("+Inf") {
                let count_of = others.replace("_bucket{", "_count{");
                let count_of = count_of.trim_end_matches(',').trim_end_matches('{');
                let total = self.samples.get(count_of).or_else(|| self.samples.get(&format!("{count_of}}}")));
                assert_eq!(total, Some(&count), "{series}");
            }
            before = Some((others.to_owned(), count));
        }
    }

    fn of(&self, series: &str) -> f64 {
        *self.samples.get(series).unwrap_or_else(|| panic!("{series} is not there"))
    }
}

fn scrape(server: &Server) -> Exposition {
    let answer = server.get("/metrics");
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("content-type"), Some("text/plain; version=0.0.4; charset=utf-8"));
    Exposition::read(&answer.body)
}

/// Scrapes until what is asked for is so.
fn scrape_until(server: &Server, so: impl Fn(&Exposition) -> bool) -> Exposition {
    let until = Instant::now() + HANG;
    loop {
        let page = scrape(server);
        if so(&page) {
            return page;
        }
        assert!(Instant::now() < until, "{page:#?}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn pay(server: &Server, key: &str, source: &str) -> serde_json::Value {
    let order = format!(r#"{{"amount":1050,"currency":"USD","source":"{source}","destination":"b"}}"#);
    let answer = server.post(PATH, key, "Prefer: respond-async\r\n", &order);
    assert!([201, 202].contains(&answer.status), "{answer:?}");
    answer.json()
}

#[test]
fn what_prometheus_reads_is_what_happened() {
    let server = Server::start();
    let fresh = scrape(&server);
    assert!((fresh.of("payonce_facts_total{fact=\"accepted\"}")).abs() < 0.5, "zeros are told");
    let sources = ["acct_alice", "acct_alice", "acct_poor", "acct_refused", "acct_doubt", "acct_3ds"];
    for (number, source) in sources.into_iter().enumerate() {
        pay(&server, &format!("key-{number}"), source);
    }
    let page = scrape_until(&server, |page| {
        page.of("payonce_payments_unresolved{state=\"processing\"}") < 0.5
            && page.of("payonce_store_lag_records") < 0.5
            && page.of("payonce_gateway_outcomes_total{gateway=\"default\",call=\"inquire\",outcome=\"unknown\"}") > 0.5
    });
    for (series, value) in [
        ("payonce_payments_settled_total{state=\"succeeded\"}", 2.0),
        ("payonce_payments_settled_total{state=\"declined\"}", 1.0),
        ("payonce_payments_settled_total{state=\"canceled\"}", 1.0),
        ("payonce_payments_settled_total{state=\"authorized\"}", 0.0),
        ("payonce_payments_unresolved{state=\"in_doubt\"}", 1.0),
        ("payonce_payments_unresolved{state=\"requires_action\"}", 1.0),
        ("payonce_payments_unresolved{state=\"parked\"}", 0.0),
        ("payonce_payment_settle_seconds_count", 4.0),
        ("payonce_facts_total{fact=\"accepted\"}", 6.0),
        ("payonce_facts_total{fact=\"contradicted\"}", 0.0),
        ("payonce_gateway_outcomes_total{gateway=\"default\",call=\"send\",outcome=\"succeeded\"}", 2.0),
        ("payonce_gateway_outcomes_total{gateway=\"default\",call=\"send\",outcome=\"unknown\"}", 1.0),
        ("payonce_gateway_call_seconds_count{gateway=\"default\",call=\"send\"}", 6.0),
        ("payonce_gateway_call_seconds_count{gateway=\"default\",call=\"prepare\"}", 0.0),
        ("payonce_gateway_info{gateway=\"default\",identity=\"by source\"}", 1.0),
        ("payonce_gateway_shut{gateway=\"default\"}", 0.0),
        ("payonce_gateway_slots{gateway=\"default\"}", 400.0),
        ("payonce_queue_callers{stage=\"held\"}", 0.0),
        ("payonce_trouble{kind=\"storage_full\"}", 0.0),
    ] {
        assert!((page.of(series) - value).abs() < 0.5, "{series} is {}, not {value}", page.of(series));
    }
    for grown in ["payonce_journal_lsn", "payonce_turn_seconds_count", "payonce_journal_fsync_seconds_count"] {
        assert!(page.of(grown) > fresh.of(grown), "{grown}");
    }
    let records = page.of("payonce_batch_records_sum");
    let lsn = |page: &Exposition| page.of("payonce_journal_lsn");
    assert!(records > 11.5 && records <= lsn(&page) + 0.5, "{records} of {}", lsn(&page));
    assert!(page.of("payonce_oldest_doubt_seconds") >= 0.0 && page.of("payonce_disk_free_bytes") > 0.0);
}

#[test]
fn before_the_engine_is_open_there_are_no_numbers_to_mislead() {
    let server = Server::with_patience(HANG, false);
    for path in ["/metrics", "/v1/stats"] {
        assert_eq!(server.get(path).status, 503, "{path}");
    }
}

#[test]
fn the_dashboards_numbers_are_those_of_prometheus() {
    let server = Server::start();
    pay(&server, "key-1", "acct_alice");
    pay(&server, "key-2", "acct_doubt");
    let page = scrape_until(&server, |page| {
        page.of("payonce_payments_unresolved{state=\"in_doubt\"}") > 0.5
            && page.of("payonce_payments_settled_total{state=\"succeeded\"}") > 0.5
    });
    let stats = server.get("/v1/stats").json();
    assert_eq!(stats["unresolved"]["in_doubt"], 1);
    assert_eq!(stats["settled"]["succeeded"], 1);
    assert_eq!(stats["facts"]["accepted"], 2);
    assert_eq!(
        (&stats["gateways"][0]["name"], &stats["gateways"][0]["identity"]),
        (&"default".into(), &"by source".into())
    );
    assert!(stats["gateways"][0]["guarantee"].as_str().is_some_and(|text| text.starts_with("exactly once")));
    assert!(stats["oldest_doubt"]["since"].as_str().is_some_and(|since| since.ends_with('Z')));
    assert!(stats["journal"]["lsn"].as_u64() >= Some(1) && stats["journal"]["disk_free"].as_u64() >= Some(1));
    assert_eq!(stats["troubles"], serde_json::json!([]));
    for histogram in ["settle", "turn", "fsync", "batch_records", "batch_bytes"] {
        let (bounds, counts) = (&stats[histogram]["bounds"], &stats[histogram]["counts"]);
        assert_eq!(bounds.as_array().unwrap().len() + 1, counts.as_array().unwrap().len(), "{histogram}");
    }
    let counts = stats["settle"]["counts"].as_array().unwrap();
    let settled: u64 = counts.iter().filter_map(serde_json::Value::as_u64).sum();
    assert!((page.of("payonce_payment_settle_seconds_count") - 1.0).abs() < 0.5 && settled == 1);
}

#[test]
fn what_comes_next_is_told_of_every_operation_with_all_that_led_to_it() {
    let server = Server::start();
    let id = pay(&server, "key-1", "acct_doubt")["id"].as_str().expect("an id").to_owned();
    let until = Instant::now() + HANG;
    let told = loop {
        let told = server.get(&format!("{PATH}/{id}/outlook")).json();
        if told["operations"][0]["next"] == "ask" {
            break told;
        }
        assert!(Instant::now() < until, "{told}");
    };
    assert_eq!((&told["payment"], &told["state"]), (&id.clone().into(), &"in_doubt".into()));
    let operation = &told["operations"][0];
    assert_eq!((&operation["number"], &operation["gateway"]), (&0.into(), &"by source".into()));
    assert!(operation["at"].is_string() && operation["why"].as_str().is_some_and(|why| why.starts_with("asked ")));
    let timeline = told["timeline"].as_array().expect("a timeline");
    assert!(timeline.iter().any(|moment| moment["event"] == "attempt_ended: unknown (timeout)"), "{told}");
    assert!(timeline.iter().all(|moment| moment["operation"] == 0 && moment["at"].is_string()));
    assert_eq!(server.get(&format!("{PATH}/{}/outlook", "0".repeat(8))).status, 404);
    let done = pay(&server, "key-2", "acct_alice")["id"].as_str().expect("an id").to_owned();
    let until = Instant::now() + HANG;
    while server.get(&format!("{PATH}/{done}/outlook")).json()["operations"][0]["next"] != "nothing" {
        assert!(Instant::now() < until);
    }
}

/// Every name of ours in a text.
fn named(text: &str) -> BTreeSet<String> {
    let parts = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    parts.filter(|word| word.starts_with("payonce_")).map(str::to_owned).collect()
}

#[test]
fn the_graphs_and_alerts_to_deploy_name_only_what_there_is() {
    let server = Server::start();
    pay(&server, "key-1", "acct_alice");
    let page = scrape_until(&server, |page| page.of("payonce_payment_settle_seconds_count") > 0.5);
    // What is told only once there has been one.
    let later = ["payonce_checkpoint_timestamp_seconds", "payonce_checkpoint_lsn"];
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy");
    for (file, least) in [("grafana.json", 15), ("alerts.yml", 10)] {
        let text = std::fs::read_to_string(root.join(file)).expect(file);
        let names = named(&text);
        assert!(names.len() >= least, "{file} names {names:?}");
        for name in names {
            let there = page.family(&name).is_some() || later.contains(&name.as_str());
            assert!(there, "{file} names {name}, which is not told");
        }
    }
    let board: serde_json::Value =
        serde_json::from_str(&std::fs::read_to_string(root.join("grafana.json")).unwrap()).expect("JSON");
    assert!(board["panels"].as_array().is_some_and(|panels| panels.len() >= 8));
}
