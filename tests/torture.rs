//! Real processes, real files, real SIGKILLs: short runs of `payonce torture`. The long ones are run by hand.

#![cfg(feature = "cli")]
#![allow(missing_docs, clippy::expect_used, clippy::indexing_slicing, reason = "tests")]

mod folder;

use std::{
    io::{BufRead, BufReader},
    path::Path,
    process::{Child, Command, Stdio},
};

use folder::Folder;
use serde_json::{Value, json};

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
        "asked_too_much",
        "refused_starts",
        "hung",
        "went_on",
        "forged_taken",
        "in_doubt",
    ] {
        assert_eq!(report[broken], 0, "{broken}: {report}");
    }
    for done in ["kills", "kills_in_flight", "payments", "succeeded", "movements", "replays"] {
        assert!(report[done].as_u64() > Some(0), "{done}: {report}");
    }
    assert_eq!(report["kept"], Value::Null, "nothing is left behind");
}

#[test]
fn no_kill_no_full_disk_and_no_failing_disk_moves_money_twice_or_changes_an_answer() {
    // Most of a run is waiting until doubts are settled: they wait together.
    std::thread::scope(|scope| {
        for case in [random_kills, without_deduplication, kills_during_start, a_failing_disk, a_full_disk] {
            scope.spawn(case);
        }
    });
}

fn random_kills() {
    let kept = torture(&["--kills", "30", "--arenas", "2", "--callers", "32"]);
    assert_kept(&kept);
    assert_eq!(kept.1["rounds"], 2, "{}", kept.1);
    assert!(kept.1["operations"].as_u64() > Some(0), "callers also capture, void and refund: {}", kept.1);
    for spoken in ["news", "forged_refused"] {
        assert!(kept.1[spoken].as_u64() > Some(0), "gateways also speak by themselves: {spoken}: {}", kept.1);
    }
    assert_eq!(kept.1["rounds_of_two"], 1, "{}", kept.1);
    // Whether a payment was just on its way there is chance: `rerouted` tells in longer runs.
    assert!(kept.1["outages"].as_u64() > Some(0), "its gateways come and go: {}", kept.1);
    assert_eq!(kept.1["parked"], 0, "where the gateway deduplicates, nothing has to park: {}", kept.1);
}

/// Then nothing is sent again.
fn without_deduplication() {
    let kept = torture(&["--seconds", "4", "--callers", "32", "--forget"]);
    assert_kept(&kept);
    let parked = kept.1["parked"].as_u64();
    let because = kept.1["parked_because"]["not_found_without_deduplication"].as_u64().unwrap_or(0);
    assert_eq!(parked, Some(because), "what is parked says why: {}", kept.1);
}

fn kills_during_start() {
    let kept = torture(&["--kills", "33", "--start-share", "100", "--callers", "32"]);
    assert_kept(&kept);
    assert!(kept.1["kills_during_start"].as_u64() > Some(15), "{}", kept.1);
}

fn a_failing_disk() {
    let kept = torture(&["--kills", "20", "--disk-faults", "--callers", "32"]);
    assert_kept(&kept);
    let faults = kept.1["disk_faults"].as_object().expect("an object");
    let struck: u64 = faults.values().filter_map(|kind| kind["struck"].as_u64()).sum();
    assert!(struck > 0, "{}", kept.1);
}

/// Where this machine lets us mount one.
fn a_full_disk() {
    let arguments = ["--seconds", "3", "--callers", "8", "--small-disk=ext4"];
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

/// A daemon, perhaps with a disk that will fail. Killed when dropped.
struct Daemon {
    child: Child,
    /// `None`: it has not come so far.
    url: Option<String>,
}

impl Daemon {
    fn start(data: &Path, more: &[&str]) -> Daemon {
        let mut command = Command::new(env!("CARGO_BIN_EXE_payonce"));
        command.args(["serve", "--json", "--listen", "127.0.0.1:0", "--segment-bytes", "8388608", "--data"]);
        let mut child =
            command.arg(data).args(more).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("starts");
        let mut said = String::new();
        BufReader::new(child.stdout.take().expect("piped")).read_line(&mut said).expect("a line or nothing");
        let introduction: Value = serde_json::from_str(&said).unwrap_or_default();
        Daemon { child, url: introduction["url"].as_str().map(str::to_owned) }
    }

    /// The body of a 201; `None` for anything else.
    fn pay(&self, number: usize) -> Option<String> {
        let order = json!({"amount": 1050, "currency": "USD", "source": "acct_alice", "destination": "acct_bob"});
        let request = ureq::post(format!("{}/v1/payments", self.url.as_ref()?));
        let request = request.header("Idempotency-Key", format!("\"order-{number}\""));
        let mut answer = request.send_json(order).ok().filter(|answer| answer.status() == 201)?;
        answer.body_mut().read_to_string().ok()
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        self.child.kill().and_then(|()| self.child.wait()).expect("kill -9 works");
    }
}

#[test]
fn after_a_failed_write_or_fsync_of_a_batch_nobody_is_answered_and_the_next_start_has_all() {
    // Beyond the first start's own, and before 20 payments are made. Segments are made ahead at the same time, and what
    // fails there stops nobody: then the next place is tried.
    for (kind, first) in [("write", 30), ("full", 30), ("fsync", 20), ("fsync-kept", 20)] {
        assert!((first..first + 12).any(|place| stops_at(&format!("{kind}:{place}"))), "{kind} never hit a batch");
    }
}

/// Whether the fault struck a batch; then it must have stopped the daemon, and lost nothing.
fn stops_at(fault: &str) -> bool {
    let data = Folder::new("disk-fault");
    let mut daemon = Daemon::start(&data, &["--disk-fault", fault]);
    let told: Vec<String> = (0..20).map_while(|number| daemon.pay(number)).collect();
    if told.len() == 20 {
        return false;
    }
    assert_eq!(daemon.pay(99), None, "{fault}: nothing follows");
    assert_eq!(daemon.child.wait().expect("ends").code(), Some(3), "{fault}");
    let daemon = Daemon::start(&data, &[]);
    for (number, answer) in told.iter().enumerate() {
        assert_eq!(daemon.pay(number).as_ref(), Some(answer), "{fault}: an answer changed");
    }
    assert!(daemon.pay(1_000).is_some(), "{fault}: it goes on");
    true
}

#[test]
fn a_first_start_cut_short_anywhere_by_its_disk_stops_and_every_later_one_comes_up() {
    // Every write and every fsync of a first start with segments of 8 MiB: a segment in two parts, its header, and the
    // batch with which it counts, by when it has named the folder. What comes after that is another test's.
    let places = [("write", 4), ("full", 4), ("fsync", 7), ("fsync-kept", 7)];
    for fault in places.iter().flat_map(|(kind, last)| (1..=*last).map(move |place| format!("{kind}:{place}"))) {
        let data = Folder::new("disk-fault");
        let mut daemon = Daemon::start(&data, &["--disk-fault", &fault]);
        assert_eq!(daemon.url, None, "{fault}");
        assert_eq!(daemon.child.wait().expect("ends").code(), Some(3), "{fault}");
        for start in 2..4 {
            assert!(Daemon::start(&data, &[]).pay(start).is_some(), "{fault}: start {start}");
        }
    }
}

#[test]
fn a_gateway_that_moves_money_twice_is_noticed_and_the_evidence_is_kept() {
    let (code, report) = torture(&["--seconds", "3", "--callers", "64", "--broken-gateway"]);
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
