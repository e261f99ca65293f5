//! Real processes, real files, real SIGKILLs: short runs of `payonce torture`. The long ones are run by hand.

#![cfg(feature = "cli")]
#![allow(missing_docs, clippy::expect_used, clippy::indexing_slicing, reason = "tests")]

use std::{path::Path, process::Command};

use serde_json::Value;

/// Runs a torture, and returns its exit code and its report.
fn torture(arguments: &[&str]) -> (Option<i32>, Value) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_payonce"));
    let output = command.args(["torture", "--json"]).args(arguments).output().expect("runs");
    let report = serde_json::from_slice(&output.stdout);
    let report = report.unwrap_or_else(|_| panic!("no report: {}", String::from_utf8_lossy(&output.stderr)));
    (output.status.code(), report)
}

/// Every promise was kept, and that something had to be done for it.
fn assert_kept((code, report): &(Option<i32>, Value)) {
    assert_eq!(*code, Some(0), "{report}");
    for broken in [
        "moved_twice",
        "lost_answers",
        "changed_answers",
        "wrong_movements",
        "sent_again",
        "refused_starts",
        "hung",
        "in_doubt",
    ] {
        assert_eq!(report[broken], 0, "{broken}: {report}");
    }
    for done in ["kills", "payments", "succeeded", "movements", "replays"] {
        assert!(report[done].as_u64() > Some(0), "{done}: {report}");
    }
    assert_eq!(report["kept"], Value::Null, "nothing is left behind");
}

#[test]
fn no_kill_moves_money_twice_or_changes_an_answer() {
    let kept = torture(&["--seconds", "4", "--callers", "16"]);
    assert_kept(&kept);
    assert_eq!(kept.1["parked"], 0, "where the gateway deduplicates, nothing has to park: {}", kept.1);
}

#[test]
fn without_deduplication_nothing_is_sent_again() {
    let kept = torture(&["--seconds", "4", "--callers", "16", "--forget"]);
    assert_kept(&kept);
    let parked = kept.1["parked"].as_u64();
    let because = kept.1["parked_because"]["not_found_without_deduplication"].as_u64().unwrap_or(0);
    assert_eq!(parked, Some(because), "what is parked says why: {}", kept.1);
}

#[test]
fn a_kill_during_start_loses_nothing() {
    let kept = torture(&["--kills", "22", "--start-share", "100", "--callers", "8"]);
    assert_kept(&kept);
    assert!(kept.1["kills_during_start"].as_u64() > Some(10), "{}", kept.1);
}

#[test]
fn a_full_disk_loses_nothing() {
    let arguments = ["--seconds", "3", "--callers", "8", "--small-disk"];
    let mut command = Command::new(env!("CARGO_BIN_EXE_payonce"));
    let output = command.args(["torture", "--json"]).args(arguments).output().expect("runs");
    let said = String::from_utf8_lossy(&output.stderr);
    if output.status.code() == Some(2) && said.contains("skipped:") {
        return eprintln!("{said}");
    }
    let report: Value = serde_json::from_slice(&output.stdout).expect("a report");
    assert_eq!(output.status.code(), Some(0), "{report}");
    for broken in ["moved_twice", "lost_answers", "changed_answers", "wrong_movements", "refused_starts", "in_doubt"] {
        assert_eq!(report[broken], 0, "{broken}: {report}");
    }
}

#[test]
fn a_gateway_that_moves_money_twice_is_noticed_and_the_evidence_is_kept() {
    let (code, report) = torture(&["--seconds", "2", "--callers", "16", "--broken-gateway"]);
    assert_eq!(code, Some(1), "{report}");
    assert!(report["moved_twice"].as_u64() > Some(0), "{report}");
    let kept = Path::new(report["kept"].as_str().expect("a folder was kept"));
    for file in ["evidence.txt", "daemon.log", "gateway/sandbox.ledger", "data/journal"] {
        assert!(kept.join(file).exists(), "{file}");
    }
    std::fs::remove_dir_all(kept).expect("removable");
}

#[test]
fn a_folder_with_something_in_it_is_refused() {
    let folder = env!("CARGO_MANIFEST_DIR");
    let output = Command::new(env!("CARGO_BIN_EXE_payonce")).args(["torture", "--keep", folder]).output();
    assert_eq!(output.expect("runs").status.code(), Some(2));
}
