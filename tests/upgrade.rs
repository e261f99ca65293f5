//! Between an upgrade and the word that it is final, nothing is written that the older payonce cannot read.

#![cfg(feature = "cli")]
#![allow(missing_docs, clippy::expect_used, clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

mod stage;

use std::{fs, path::Path, process::Command, sync::Arc};

use payonce::{Delivery, Engine};
use serde_json::{Value, json};
use stage::{Folder, Patience, Scripted, open, options, order};

/// The exit code of `payonce upgrade WHAT`, and what it says.
fn upgrade(what: &str, data: &Path) -> (Option<i32>, Value) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_payonce"));
    let output = command.args(["upgrade", what, "--json", "--data"]).arg(data).output().unwrap();
    (output.status.code(), serde_json::from_slice(&output.stdout).unwrap_or_default())
}

/// What people are told of older versions.
fn way_back(data: &Path) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_payonce"));
    let output = command.args(["upgrade", "status", "--data"]).arg(data).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    said.lines().find(|line| line.starts_with("way back")).unwrap_or_default().to_owned()
}

#[tokio::test]
async fn a_folder_of_the_oldest_version_stays_so_until_the_upgrade_is_final() {
    let folder = Folder::new("upgrade");
    fs::write(folder.join("format"), "records up to version 1\n").unwrap();
    let gateway = Scripted::new();
    let engine = open(&folder, &gateway).await;
    let paid = engine.pay("order-1", order(1050)).await.unwrap().payment;
    assert_eq!(upgrade("finalize", &folder).0, Some(3), "the daemon has to be stopped");
    engine.close().await.unwrap();

    assert!(way_back(&folder).contains("up to version 1"), "{}", way_back(&folder));
    let (code, status) = upgrade("status", &folder);
    assert_eq!((code, &status["writes"], &status["final"]), (Some(0), &json!(1), &json!(false)), "{status}");
    assert_eq!(status["holds"].as_array().unwrap().len(), 1, "{status}");
    assert_eq!(status["holds"][0]["version"], 1);

    let mut patience = Patience::new();
    while upgrade("finalize", &folder) != (Some(0), json!({"before": 1, "writes": 4})) {
        patience.wait(|| "the folder to be let go of".to_owned()).await;
    }
    assert_eq!(upgrade("finalize", &folder), (Some(0), json!({"before": 4, "writes": 4})), "once is enough");
    assert_eq!(upgrade("status", &folder).1["final"], true);
    assert!(
        way_back(&folder).contains("up to version 4"),
        "although no record of it is there yet: {}",
        way_back(&folder)
    );
    let engine = open(&folder, &gateway).await;
    let again = engine.pay("order-1", order(1050)).await.unwrap();
    assert_eq!((again.payment, again.delivery), (paid, Delivery::Replayed));
    engine.close().await.unwrap();
}

#[tokio::test]
async fn what_only_a_newer_payonce_knows_is_refused_before_anything_is_read() {
    let folder = Folder::new("upgrade-newer");
    let gateway = Scripted::new();
    open(&folder, &gateway).await.close().await.unwrap();
    fs::write(folder.join("format"), "records up to version 5\n").unwrap();
    let mut patience = Patience::new();
    let mut refused = String::new();
    while !refused.contains("version") {
        patience.wait(|| format!("the folder to be let go of: {refused}")).await;
        refused = Engine::open(options(&folder), Arc::new(gateway.clone())).await.map(drop).unwrap_err().to_string();
    }
    assert!(refused.contains("version 5 is final here") && refused.contains("use a newer one"), "{refused}");
    assert_eq!((upgrade("status", &folder).0, upgrade("finalize", &folder).0), (Some(3), Some(3)));
}
