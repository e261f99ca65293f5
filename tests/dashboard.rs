//! The dashboard comes out of the program itself, asks nothing of anybody else, and puts no stranger's words into markup.
//! What it looks like is for eyes: `tests/look_at_dashboard` shows it in a browser.

#![cfg(feature = "server")]
#![allow(missing_docs, dead_code, clippy::expect_used, clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

mod http_support;

use std::collections::BTreeSet;

use http_support::{PATH, Reaction, Server, assert_problem, post};

/// Each file of the dashboard, as it is served.
fn files(server: &Server) -> Vec<(&'static str, Reaction)> {
    ["/", "/assets/board.css", "/assets/board.js", "/assets/icon.svg"].map(|path| (path, server.get(path))).into()
}

/// What stands between double quotes behind a marker.
fn quoted<'a>(text: &'a str, marker: &str) -> BTreeSet<&'a str> {
    text.split(marker).skip(1).filter_map(|rest| rest.split('"').next()).collect()
}

#[test]
fn every_file_is_served_with_headers_that_let_nothing_else_in() {
    let server = Server::start();
    for (path, file) in files(&server) {
        assert_eq!(file.status, 200, "{path}");
        let policy = file.header("content-security-policy").expect("a policy");
        assert!(policy.starts_with("default-src 'none'; "), "{path}: {policy}");
        assert!(!policy.contains("unsafe") && !policy.contains("http") && !policy.contains('*'), "{path}: {policy}");
        for wanted in ["script-src 'self'", "frame-ancestors 'none'", "base-uri 'none'", "form-action 'none'"] {
            assert!(policy.contains(wanted), "{path}: {policy}");
        }
        assert_eq!(file.header("x-content-type-options"), Some("nosniff"), "{path}");
        assert_eq!(file.header("referrer-policy"), Some("no-referrer"), "{path}");
        assert_eq!(file.header("cache-control"), Some("no-cache"), "{path}");
    }
    let kinds: Vec<_> =
        files(&server).iter().map(|(_, file)| file.header("content-type").unwrap().to_owned()).collect();
    let utf8 = ["text/html; charset=utf-8", "text/css; charset=utf-8", "text/javascript; charset=utf-8"];
    assert_eq!(kinds[..3], utf8);
    assert_problem(&server.get("/assets/other.js"), 404, "not_found", "no other files");
    assert_problem(&server.get("/assets/..%2fboard.js"), 404, "not_found", "no ways out");
}

#[test]
fn it_is_there_before_the_engine_is() {
    let server = Server::with_patience(std::time::Duration::from_secs(20), false);
    assert!(files(&server).iter().all(|(_, file)| file.status == 200));
}

#[test]
fn the_page_names_only_files_that_are_served_and_runs_nothing_of_its_own() {
    let server = Server::start();
    let page = server.get("/").body;
    let named: BTreeSet<_> = quoted(&page, "href=\"/").union(&quoted(&page, "src=\"/")).copied().collect();
    assert_eq!(named.len(), 3, "{named:?}");
    assert!(named.iter().all(|path| server.get(&format!("/{path}")).status == 200), "{named:?}");
    // A policy forbids these too, but what is not there need not be forbidden.
    for inline in ["<script>", "<style", " style=", " onclick=", " onload=", "javascript:"] {
        assert!(!page.contains(inline), "{inline}");
    }
    for (path, file) in files(&server) {
        let outside = file.body.replace("http://www.w3.org/2000/svg", "");
        assert!(!outside.contains("http://") && !outside.contains("https://") && !outside.contains("url("), "{path}");
        assert!(file.body.is_ascii(), "{path}");
    }
}

#[test]
fn what_strangers_say_is_shown_as_text_and_never_as_markup() {
    let script = Server::start().get("/assets/board.js").body;
    for way in ["innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "new Function", "DOMParser"]
    {
        assert!(!script.contains(way), "{way}");
    }
    // Links lead only to places of the page itself.
    let links: Vec<&str> =
        script.split("href: ").skip(1).map(|rest| rest.split([',', ' ', ')', '}']).next().unwrap()).collect();
    assert!(!links.is_empty());
    for link in links {
        assert!(["\"#/", "paymentLink("].iter().any(|start| link.starts_with(start)) || link == "href", "{link}");
    }
}

#[test]
fn the_script_asks_only_what_the_server_answers() {
    let server = Server::start();
    let order = r#"{"amount":1,"currency":"USD","source":"acct_alice","destination":"b"}"#;
    let id = server.post(PATH, "key-1", "", order).json()["id"].as_str().expect("an id").to_owned();
    let script = server.get("/assets/board.js").body;
    let asked: BTreeSet<_> = quoted(&script, "\"/v1").into_iter().collect();
    assert_eq!(asked.len(), 12, "{asked:?}");
    for path in asked {
        let path = format!("/v1{}", path.replace("{id}", &id).replace("{gateway}", "default"));
        // Neither exists for nobody: one is there for another method at the least.
        let reaction = match path.as_str() {
            "/v1/events" => continue,
            path if ["/inquire", "/resolve", "/pause", "/resume", "/drain"].iter().any(|end| path.ends_with(end)) => {
                server.exchange(&post(path, "", b""))
            }
            path => server.get(path),
        };
        assert!(![404, 405].contains(&reaction.status), "{path}: {reaction:?}");
    }
    // Every state that a payment can be in, and every fact, has words for people.
    for state in payonce::State::ALL {
        assert!(script.contains(&format!("\n  {}: [", state.as_str())), "{}", state.as_str());
    }
    for word in payonce::Fact::NAMES.iter().chain(&payonce::payment::Outcome::NAMES) {
        assert!(script.contains(&format!("\n  {word}: \"")), "{word}");
    }
    for word in payonce::payment::Deed::NAMES {
        assert!(script.contains(&format!("\n  {word}: \"")), "{word}");
    }
    let troubles = server.get("/metrics").body;
    for kind in quoted(&troubles, "payonce_trouble{kind=\"") {
        assert!(script.contains(&format!("\n  {kind}: \"")), "{kind}");
    }
}
