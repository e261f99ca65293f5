//! `payonce bench` measures real payments: in this process, and of a daemon.

#![cfg(feature = "cli")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, reason = "tests")]

mod folder;

mod program;

use std::{fs, path::Path};

use folder::Folder;
use program::{Daemon, payonce};
use serde_json::Value;

fn bench(place: &Path, arguments: &[&str]) -> Vec<Value> {
    let output = payonce(&[&["bench"], arguments].concat()).current_dir(place).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn a_bench_tells_of_every_run_beside_the_disks_limit_and_leaves_nothing_behind() {
    let place = Folder::new("bench-own");
    fs::create_dir_all(&*place).unwrap();
    let rows = bench(&place, &["--callers", "1,3", "--payments", "30", "--repeat", "--duplicates", "20", "--json"]);
    assert_eq!(rows.iter().map(|row| row["callers"].as_u64().unwrap()).collect::<Vec<_>>(), [1, 3]);
    for row in &rows {
        assert_eq!((&row["payments"], &row["repeat_payments"]), (&Value::from(30), &Value::from(30)), "{row}");
        for positive in ["payments_per_s", "p50_us", "p99_us", "bare_log_per_s", "fdatasync_us", "repeats_to_new"] {
            assert!(row[positive].as_f64().unwrap() > 0.0, "{positive}: {row}");
        }
    }
    assert_eq!(fs::read_dir(&*place).unwrap().count(), 0);
}

#[test]
fn what_a_bench_leaves_in_doubt_is_settled_at_the_next_start() {
    let place = Folder::new("bench-doubt");
    fs::create_dir_all(&*place).unwrap();
    let rows = bench(&place, &["--callers", "2", "--payments", "20", "--in-doubt", "5", "--data", "kept", "--json"]);
    assert!(rows[0]["settled_after_s"].as_f64().unwrap() > 0.0, "{rows:?}");
    let verified = payonce(&["journal", "verify", "--data", "kept/data"]).current_dir(&*place).output().unwrap();
    assert!(verified.status.success());
}

#[test]
fn a_daemon_is_measured_over_http_and_what_it_refuses_is_a_failure() {
    let place = Folder::new("bench-http");
    fs::create_dir_all(&*place).unwrap();
    let daemon = Daemon::start(&place.join("data"), &[]);
    let url = daemon.url.clone();
    let rows = bench(&place, &["--http", &url, "--callers", "2", "--payments", "20", "--rate", "500", "--json"]);
    assert_eq!((&rows[0]["payments"], rows[0].get("bare_log_per_s")), (&Value::from(20), None), "{rows:?}");

    drop(daemon);
    let refused = payonce(&["bench", "--http", &url, "--callers", "1"]).output().unwrap();
    assert_eq!(refused.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&refused.stderr).contains("no daemon at"));
}
