//! Backups of a daemon under load, and what comes back of them: nothing lost up to the backup, nothing sent before a
//! person has said so, and no damaged one believed.

#![cfg(feature = "cli")]
#![allow(missing_docs, clippy::expect_used, clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

mod folder;

mod program;

use std::{
    collections::BTreeMap,
    fs,
    io::{BufRead, BufReader},
    path::Path,
    process::{Child, Output, Stdio},
    sync::{
        Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use folder::Folder;
use program::payonce;
use serde_json::{Value, json};

/// Longer than anything here takes.
const HANG: Duration = Duration::from_secs(60);

fn run(arguments: &[&str]) -> Output {
    payonce(arguments).output().expect("runs")
}

fn name(path: &Path) -> &str {
    path.to_str().expect("text")
}

fn backup(data: &Path, to: &Path) -> Output {
    run(&["backup", "--data", name(data), "--to", name(to)])
}

fn restore(from: &Path, data: &Path) -> Output {
    run(&["restore", "--from", name(from), "--data", name(data)])
}

#[track_caller]
fn assert_ended(output: &Output, code: i32, told: &str) {
    let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert_eq!((output.status.code(), said.contains(told)), (Some(code), true), "{said}");
}

/// A daemon. Killed when it is dropped.
struct Daemon {
    child: Child,
    url: String,
    introduction: Value,
}

impl Daemon {
    fn start(data: &Path, more: &[&str]) -> Daemon {
        let mut command = payonce(&["serve", "--listen", "127.0.0.1:0", "--json", "--segment-bytes", "8388608"]);
        command.arg("--data").arg(data).args(more).stdout(Stdio::piped());
        let mut child = command.spawn().expect("starts");
        let mut line = String::new();
        BufReader::new(child.stdout.take().expect("piped")).read_line(&mut line).expect("an introduction");
        let introduction: Value = serde_json::from_str(&line).expect("JSON");
        Daemon { child, url: introduction["url"].as_str().expect("a URL").to_owned(), introduction }
    }

    /// The status and the body of a payment; `None` if nobody answers.
    fn pay(&self, key: &str) -> Option<(u16, String)> {
        let config = ureq::Agent::config_builder().http_status_as_error(false).timeout_global(Some(HANG)).build();
        let body = json!({"amount": 1050, "currency": "USD", "source": "acct_alice", "destination": "acct_bob"});
        let request =
            ureq::Agent::from(config).post(format!("{}/v1/payments", self.url)).header("Idempotency-Key", key);
        let mut answer = request.header("Content-Type", "application/json").send(body.to_string()).ok()?;
        Some((answer.status().as_u16(), answer.body_mut().read_to_string().ok()?))
    }

    fn is_moved(&self) -> bool {
        self.introduction["recovery"].to_string().contains("MOVED")
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill().and_then(|()| self.child.wait().map(drop));
    }
}

/// What the in-process sandbox has done.
fn acts(data: &Path) -> usize {
    let ledger = fs::read_to_string(data.join("sandbox.ledger")).expect("a ledger");
    ledger.lines().filter(|line| line.starts_with("acted ")).count()
}

/// What callers were told, by key.
type Answers = Mutex<BTreeMap<String, String>>;

/// Callers that pay one after the other until they are told to stop.
fn load(daemon: &Daemon, answers: &Answers, stop: &AtomicBool) {
    thread::scope(|scope| {
        for caller in 0..8 {
            scope.spawn(move || {
                for number in 0.. {
                    let key = format!("load-{caller}-{number}");
                    if let Some((201, body)) = daemon.pay(&key) {
                        answers.lock().unwrap().insert(key, body);
                    }
                    if stop.load(Ordering::Relaxed) {
                        return;
                    }
                }
            });
        }
    });
}

/// Waits until so many answers were given.
fn until(answers: &Answers, wanted: usize) {
    let hang = Instant::now() + HANG;
    while answers.lock().unwrap().len() < wanted {
        assert!(Instant::now() < hang, "the load does not get on");
        thread::sleep(Duration::from_millis(5));
    }
}

/// Pays, backs up meanwhile, pays on, and is killed. What was answered before the backup, and all that was answered.
fn history(data: &Path, to: &Path) -> (BTreeMap<String, String>, BTreeMap<String, String>) {
    let daemon = Daemon::start(data, &[]);
    let (answers, stop) = (Answers::default(), AtomicBool::new(false));
    let before = thread::scope(|scope| {
        scope.spawn(|| load(&daemon, &answers, &stop));
        until(&answers, 200);
        let before = answers.lock().unwrap().clone();
        let backed_up = backup(data, to);
        let after = answers.lock().unwrap().len();
        until(&answers, after + 200);
        stop.store(true, Ordering::Relaxed);
        assert_ended(&backed_up, 0, "sandbox.ledger: the gateway's truth");
        before
    });
    (before, answers.into_inner().unwrap())
}

#[test]
fn what_was_backed_up_under_load_comes_back_and_sends_nothing_before_it_is_told_to() {
    let folder = Folder::new("backup");
    let (data, to, restored) = (folder.join("data"), folder.join("backup"), folder.join("restored"));
    let (before, all) = history(&data, &to);
    assert_ended(&restore(&to, &restored), 0, "--moved");
    assert!(!restored.join("sandbox.ledger").exists() && !restored.join("store").exists());
    // The gateway has gone on.
    fs::copy(data.join("sandbox.ledger"), restored.join("sandbox.ledger")).expect("copied");
    let acted = acts(&restored);

    let daemon = Daemon::start(&restored, &[]);
    assert!(daemon.is_moved(), "{}", daemon.introduction);
    let mut later = 0;
    for (key, told) in &all {
        match daemon.pay(key).expect("an answer") {
            (201, again) if before.contains_key(key) => assert_eq!(again, *told, "{key}"),
            // It was under way at that moment, and the gateway was asked.
            (201 | 202, _) if !before.contains_key(key) => {}
            (503, refused) => {
                assert!(refused.contains("\"moved\"") && !before.contains_key(key), "{key}: {refused}");
                later += 1;
            }
            (status, body) => panic!("{key}: {status} {body}"),
        }
    }
    assert!(later >= 100, "only {later} of {} are unknown", all.len());
    assert_eq!(daemon.pay("brand-new").expect("an answer").0, 503);
    assert_eq!(acts(&restored), acted, "nothing was sent");
    drop(daemon);

    let daemon = Daemon::start(&restored, &["--moved"]);
    assert!(!daemon.is_moved());
    for key in all.keys() {
        assert_eq!(daemon.pay(key).expect("an answer").0, 201, "{key}");
    }
    assert_eq!(acts(&restored), acted, "the gateway has known these keys");
    assert_eq!(daemon.pay("brand-new").expect("an answer").0, 201);
    assert_eq!(acts(&restored), acted + 1);
    drop(daemon);
    assert!(!Daemon::start(&restored, &[]).is_moved(), "said once is enough");
}

/// A backup of a few payments, with webhooks' state and a file of the operator's beside.
fn small(folder: &Folder) -> std::path::PathBuf {
    let (data, to) = (folder.join("data"), folder.join("backup"));
    let daemon = Daemon::start(&data, &[]);
    for number in 0..5 {
        assert_eq!(daemon.pay(&format!("order-{number}")).expect("an answer").0, 201);
    }
    drop(daemon);
    fs::create_dir(data.join("webhooks")).expect("writable");
    fs::write(data.join("webhooks/shop.state"), "how far").expect("writable");
    fs::write(data.join("webhooks/shop.tmp"), "half done").expect("writable");
    fs::write(data.join("keys.toml"), "").expect("writable");
    assert_ended(&backup(&data, &to), 0, "restore");
    to
}

#[test]
fn a_damaged_backup_is_refused_and_nothing_is_made_of_it() {
    let folder = Folder::new("backup-damaged");
    let (backup, data) = (small(&folder), folder.join("restored"));
    let (first, manifest) = (backup.join("data/journal/0000000001.log"), backup.join("backup.json"));
    let whole = [&first, &manifest].map(|path| fs::read(path).expect("there"));
    let text = String::from_utf8(whole[1].clone()).expect("text");
    let refused = |what: &str, told: &str| {
        assert_ended(&restore(&backup, &data), 3, told);
        assert!(!data.exists(), "{what}: nothing was made");
        fs::write(&first, &whole[0]).expect("writable");
        fs::write(&manifest, &whole[1]).expect("writable");
    };
    for place in [0, 100, 4096, 4200, whole[0].len() - 1] {
        let mut bytes = whole[0].clone();
        bytes[place] ^= 4;
        fs::write(&first, bytes).expect("writable");
        refused("a bit", "0000000001.log is not what was backed up");
    }
    fs::write(&first, &whole[0][..whole[0].len() - 1]).expect("writable");
    refused("cut", "0000000001.log is not what was backed up");
    fs::remove_file(&first).expect("removable");
    refused("gone", "0000000001.log cannot be read");
    fs::remove_file(&manifest).expect("removable");
    refused("cut short", "no backup, or one that was cut short");
    fs::write(&manifest, &whole[1][..50]).expect("writable");
    refused("half a manifest", "backup.json");
    fs::write(&manifest, text.replace("webhooks/shop.state", "../../etc/passwd")).expect("writable");
    refused("a name outside", "../../etc/passwd is no name in it");
    fs::write(&manifest, text.replace("backup 1", "backup 2")).expect("writable");
    refused("another format", "knows \"payonce backup 1\" only");
    let last = text.lines().find(|line| line.contains("\"last\"")).expect("a last record");
    fs::write(&manifest, text.replace(last, "  \"last\": 3,")).expect("writable");
    refused("another end", "holds another journal than it says");
    let more = backup.join("data/more");
    fs::write(&more, "").expect("writable");
    refused("more", "more was not in it");
    fs::remove_file(more).expect("removable");
    assert_ended(&restore(&backup, &data), 0, "payonce serve");
}

#[test]
fn a_backup_holds_what_a_restore_needs_and_is_never_put_over_anything() {
    let folder = Folder::new("backup-whole");
    let (to, data, restored) = (small(&folder), folder.join("data"), folder.join("restored"));
    assert_ended(&backup(&data, &to), 2, "is there already");
    assert_ended(&backup(&data, &data.join("backup")), 2, "lies in the data folder");
    assert_ended(&backup(&data, &data.join("../data/a/b")), 2, "lies in the data folder");
    assert_ended(&backup(&folder.join("nothing"), &folder.join("other")), 2, "there is no journal");
    assert_ended(&restore(&to, &data), 2, "is not empty");
    fs::create_dir_all(restored.join("lost+found")).expect("writable");
    assert_ended(&restore(&to, &restored), 0, "payonce serve");
    let mut names: Vec<String> =
        fs::read_dir(&restored).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    assert_eq!(names, ["format", "journal", "keys.toml", "lock", "lost+found", "webhooks"]);
    assert_eq!(fs::read_dir(restored.join("webhooks")).unwrap().count(), 1);
    assert_ended(&restore(&to, &restored), 2, "is not empty");
    let mut damaged = fs::read(data.join("journal/0000000001.log")).expect("there");
    damaged[4100] ^= 1;
    fs::write(data.join("journal/0000000001.log"), damaged).expect("writable");
    assert_ended(&backup(&data, &folder.join("again")), 3, "the journal is damaged");
    assert!(!folder.join("again/backup.json").exists());
}

#[test]
fn a_restore_that_was_cut_short_is_not_taken_for_a_new_folder() {
    let folder = Folder::new("restore-cut");
    let (to, data) = (small(&folder), folder.join("restored"));
    assert_ended(&restore(&to, &data), 0, "payonce serve");
    // As a kill leaves it before the last step.
    fs::create_dir(data.join("restoring")).expect("writable");
    fs::rename(data.join("journal"), data.join("restoring/journal")).expect("movable");
    let refused = run(&["serve", "--listen", "127.0.0.1:0", "--data", name(&data)]);
    assert_ended(&refused, 3, "held a journal, and now holds none");
}
