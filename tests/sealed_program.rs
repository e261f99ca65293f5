//! A folder in which personal data is sealed, through the program: what is made from it, and what is left after an erasure.

#![cfg(feature = "cli")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, reason = "tests")]

mod folder;

mod laid_open;

mod program;

use std::{
    fs,
    path::Path,
    process::{Command, Stdio},
    sync::mpsc,
    thread,
    time::Duration,
};

use folder::Folder;
use program::{Daemon, payonce};
use serde_json::{Value, json};

/// What no file may show.
const PERSONAL: [&str; 4] = ["zoe-pays", "yves-is-paid", "two coffees", "window seat"];

const ORDER: &str = r#"{"amount":1050,"currency":"USD","source":"zoe-pays","destination":"yves-is-paid",
    "description":"two coffees","metadata":{"seat":"window seat"}}"#;

#[track_caller]
fn said(arguments: &[&str], code: i32) -> String {
    let child = payonce(arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let (id, (over, ended)) = (child.id(), mpsc::channel());
    thread::spawn(move || over.send(child.wait_with_output()));
    // A daemon that starts although it must not would go on for ever.
    let Ok(done) = ended.recv_timeout(Duration::from_secs(60)) else {
        Command::new("kill").arg(id.to_string()).status().unwrap();
        panic!("{arguments:?} goes on after a minute");
    };
    let done = done.unwrap();
    let said = format!("{}{}", String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr));
    assert_eq!(done.status.code(), Some(code), "{arguments:?}: {said}");
    said
}

fn name(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// Where below a folder any of the personal texts stands. The sandbox's ledger is the gateway's, which nothing of ours erases.
fn readable(folder: &Path) -> Vec<String> {
    let ours = laid_open::files(folder).into_iter().filter(|(path, _)| !path.ends_with("sandbox.ledger"));
    ours.flat_map(|(path, bytes)| personal(&bytes, name(&path))).collect()
}

fn personal(bytes: &[u8], place: &str) -> Vec<String> {
    let stands = |text: &&&str| bytes.windows(text.len()).any(|window| window == text.as_bytes());
    PERSONAL.iter().filter(stands).map(|text| format!("{text} in {place}")).collect()
}

fn erase(data: &Path) -> String {
    let why = ["erase", "--tenant", "default", "--actor", "jo", "--reason", "asked to", "--data", name(data)];
    said(&why, 0)
}

fn post(daemon: &Daemon, key: &str) -> (u16, bool, Value) {
    let request = ureq::post(format!("{}/v1/payments", daemon.url)).header("Idempotency-Key", key);
    let mut response = request.content_type("application/json").send(ORDER).unwrap();
    let replayed = response.headers().contains_key("idempotent-replayed");
    let told: Value = response.body_mut().read_json().unwrap();
    (response.status().as_u16(), replayed, told)
}

fn get(daemon: &Daemon, path: &str) -> Value {
    ureq::get(format!("{}{path}", daemon.url)).call().unwrap().body_mut().read_json().unwrap()
}

#[test]
fn over_http_an_erased_payment_says_so_and_its_key_is_answered_as_before() {
    let folder = Folder::new("sealed-http");
    let daemon = Daemon::start(&folder, &["--seal-personal-data"]);
    let (status, _, first) = post(&daemon, "order-1");
    assert_eq!((status, &first["source"], first.get("erased")), (201, &"zoe-pays".into(), None));
    daemon.stop();
    assert_eq!(readable(&folder), Vec::<String>::new());
    erase(&folder);

    let daemon = Daemon::start(&folder, &[]);
    let got = get(&daemon, &format!("/v1/payments/{}", first["id"].as_str().unwrap()));
    let mut expected = first.clone();
    for name in ["source", "destination", "description"] {
        expected[name] = Value::Null;
    }
    expected["metadata"] = json!({});
    expected["erased"] = true.into();
    for name in expected.as_object().unwrap().keys() {
        assert_eq!(got[name], expected[name], "{name}");
    }
    assert_eq!(post(&daemon, "order-1"), (201, true, expected));
    daemon.stop();
    assert_eq!(readable(&folder), Vec::<String>::new());
}

#[test]
fn an_erasure_is_in_the_trail_of_operators_deeds_once() {
    let folder = Folder::new("sealed-trail");
    let daemon = Daemon::start(&folder, &["--seal-personal-data"]);
    post(&daemon, "order-1");
    daemon.stop();
    erase(&folder);
    for _ in 0..2 {
        let daemon = Daemon::start(&folder, &[]);
        let trail = get(&daemon, "/v1/audit");
        let deeds = trail["deeds"].as_array().unwrap();
        let told: Vec<_> = deeds.iter().map(|deed| (&deed["action"], &deed["target"], &deed["actor"])).collect();
        assert_eq!(told, [(&json!("erase"), &json!("default"), &json!("jo"))]);
        daemon.stop();
    }
}

#[test]
fn a_backup_holds_nothing_personal_and_starts_only_with_the_keys_that_were_kept_apart() {
    let (folder, apart) = (Folder::new("sealed-original"), Folder::new("sealed-apart"));
    let (backup, restored) = (apart.join("backup"), apart.join("restored"));
    let daemon = Daemon::start(&folder, &["--seal-personal-data"]);
    let (_, _, paid) = post(&daemon, "order-1");
    let backed_up = said(&["backup", "--data", name(&folder), "--to", name(&backup)], 0);
    assert!(backed_up.contains("tenant-keys"), "{backed_up}");
    daemon.stop();
    assert_eq!(readable(&backup), Vec::<String>::new());
    assert!(backup.join("data/sealed").exists() && !backup.join("data/tenant-keys").exists());

    let told = said(&["restore", "--from", name(&backup), "--data", name(&restored)], 0);
    assert!(told.contains("put copies of the folder tenant-keys"), "{told}");
    let refused = said(&["serve", "--listen", "127.0.0.1:0", "--data", name(&restored)], 3);
    assert!(refused.contains("is not there. Nothing was changed"), "{refused}");
    fs::create_dir(restored.join("tenant-keys")).unwrap();
    for (key, _) in laid_open::files(&folder.join("tenant-keys")) {
        fs::copy(&key, restored.join("tenant-keys").join(key.file_name().unwrap())).unwrap();
    }
    let daemon = Daemon::start(&restored, &[]);
    let got = get(&daemon, &format!("/v1/payments/{}", paid["id"].as_str().unwrap()));
    assert_eq!((&got["source"], &got["state"]), (&json!("zoe-pays"), &json!("succeeded")));
    daemon.stop();
}

#[test]
fn a_receipt_of_what_is_sealed_tells_of_money_only_and_is_the_same_after_an_erasure() {
    let folder = Folder::new("sealed-receipt");
    let daemon = Daemon::start(&folder, &["--seal-personal-data"]);
    let (_, _, paid) = post(&daemon, "order-1");
    let id = paid["id"].as_str().unwrap();
    daemon.stop();
    let receipt = |file: &str| {
        let made = payonce(&["receipt", id, "--data", name(&folder)]).output().unwrap();
        let path = folder.join(file);
        fs::write(&path, &made.stdout).unwrap();
        for more in [&[][..], &["--data", name(&folder)]] {
            said(&[&["verify-receipt", name(&path)], more].concat(), 0);
        }
        fs::remove_file(path).unwrap();
        made.stdout
    };
    let before = receipt("before.json");
    assert_eq!(personal(&before, "the receipt"), Vec::<String>::new());
    let told: Value = serde_json::from_slice(&before).unwrap();
    assert_eq!((&told["claim"]["state"], &told["claim"]["captured"]), (&json!("succeeded"), &json!(1050)));
    erase(&folder);
    assert_eq!(receipt("after.json"), before);
}

#[test]
fn without_its_list_of_keys_a_sealed_folder_does_not_start_whatever_is_said() {
    let folder = Folder::new("sealed-list");
    let daemon = Daemon::start(&folder, &["--seal-personal-data"]);
    post(&daemon, "order-1");
    daemon.stop();
    fs::rename(folder.join("sealed"), folder.join("elsewhere-list")).unwrap();
    fs::rename(folder.join("tenant-keys"), folder.join("elsewhere")).unwrap();
    for more in [&[][..], &["--seal-personal-data"]] {
        let refused = said(&[&["serve", "--listen", "127.0.0.1:0", "--data", name(&folder)], more].concat(), 3);
        assert!(refused.contains("sealed is not there. Nothing was changed"), "{refused}");
    }
    fs::rename(folder.join("elsewhere-list"), folder.join("sealed")).unwrap();
    fs::rename(folder.join("elsewhere"), folder.join("tenant-keys")).unwrap();
    Daemon::start(&folder, &[]).stop();
}

#[test]
fn a_backup_from_before_an_erasure_can_be_erased_again_and_goes_on() {
    let (folder, apart) = (Folder::new("sealed-older"), Folder::new("sealed-older-apart"));
    let (backup, restored) = (apart.join("backup"), apart.join("restored"));
    let daemon = Daemon::start(&folder, &["--seal-personal-data"]);
    let (_, _, paid) = post(&daemon, "order-1");
    daemon.stop();
    said(&["backup", "--data", name(&folder), "--to", name(&backup)], 0);
    erase(&folder);
    said(&["restore", "--from", name(&backup), "--data", name(&restored)], 0);
    let id = paid["id"].as_str().unwrap();
    erase(&restored);
    let daemon = Daemon::start(&restored, &[]);
    assert_eq!(get(&daemon, &format!("/v1/payments/{id}"))["erased"], true);
    daemon.stop();

    // Or with the list as it is now: the restored journal has not been told yet.
    fs::remove_dir_all(&restored).unwrap();
    said(&["restore", "--from", name(&backup), "--data", name(&restored)], 0);
    fs::copy(folder.join("sealed"), restored.join("sealed")).unwrap();
    let daemon = Daemon::start(&restored, &[]);
    assert_eq!(get(&daemon, "/v1/audit")["deeds"][0]["action"], "erase");
    daemon.stop();
}

#[test]
fn what_is_kept_for_ever_of_an_erasure_holds_no_card_number() {
    let folder = Folder::new("sealed-words");
    Daemon::start(&folder, &["--seal-personal-data"]).stop();
    for (actor, reason) in [("", "asked to"), ("jo", "card 4242 4242 4242 4242")] {
        let words = ["erase", "--tenant", "default", "--actor", actor, "--reason", reason, "--data", name(&folder)];
        said(&words, 2);
    }
}

#[test]
fn sealing_begins_in_a_new_folder_at_once_and_in_an_older_one_when_its_upgrade_is_final() {
    let folder = Folder::new("sealed-upgrade");
    fs::write(folder.join("format"), "records up to version 2\n").unwrap();
    Daemon::start(&folder, &[]).stop();
    let sealing = ["serve", "--seal-personal-data", "--listen", "127.0.0.1:0", "--data", name(&folder)];
    let refused = said(&sealing, 3);
    assert!(refused.contains("payonce upgrade finalize") && !folder.join("sealed").exists(), "{refused}");
    said(&["upgrade", "finalize", "--data", name(&folder)], 0);
    let daemon = Daemon::start(&folder, &["--seal-personal-data"]);
    post(&daemon, "order-1");
    daemon.stop();
    assert_eq!(readable(&folder), Vec::<String>::new());
}
