//! Who asks, and what they may: every route with every role, tenants that try to see each other, keys that come and go,
//! rates, and TLS.

#![cfg(feature = "server")]
#![allow(missing_docs, dead_code, clippy::expect_used, clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

mod http_support;

use std::{
    collections::BTreeSet,
    io::{Read, Write},
    net::TcpStream,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use http_support::{PATH, Reaction, Server, assert_problem};
use payonce::http::{
    Face, Tls,
    auth::{ApiKey, Keys, Role, SecretHash, Tenants},
};
use tokio_rustls::rustls::{
    ClientConfig, ClientConnection, RootCertStore, StreamOwned,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject},
};

const ORDER: &str = r#"{"amount":1050,"currency":"USD","source":"acct_alice","destination":"acct_bob"}"#;
const DOUBT: &str = r#"{"amount":1050,"currency":"USD","source":"acct_doubt","destination":"acct_bob"}"#;

fn key(secret: &str, role: Role, tenant: &str) -> ApiKey {
    let (tenants, sha256) = (Tenants::parse(tenant).unwrap(), SecretHash::of(secret));
    ApiKey { name: secret.to_owned(), role, tenants, sha256, rate: None }
}

/// A key of each role, for the tenants `a` and `b` and for all; each is named as its secret.
fn everybody() -> Vec<ApiKey> {
    vec![
        key("reader-a", Role::ReadOnly, "a"),
        key("caller-a", Role::Caller, "a"),
        key("operator-a", Role::Operator, "a"),
        key("reader-b", Role::ReadOnly, "b"),
        key("caller-b", Role::Caller, "b"),
        key("operator-b", Role::Operator, "b"),
        key("reader-all", Role::ReadOnly, "*"),
        key("operator-all", Role::Operator, "*"),
    ]
}

fn server(keys: Vec<ApiKey>) -> Server {
    let face = Face::new();
    face.let_in(Keys::new(keys, None).unwrap());
    Server::behind(face, true)
}

/// A request with this secret, if any; a POST has an idempotency key.
fn request(method: &str, path: &str, secret: Option<&str>, key: &str, body: &str) -> Vec<u8> {
    let secret = secret.map_or(String::new(), |secret| format!("Authorization: Bearer {secret}\r\n"));
    let content = match method {
        "POST" => format!(
            "Content-Type: application/json\r\nIdempotency-Key: {key}\r\nPrefer: wait=1\r\nContent-Length: {}\r\n",
            body.len()
        ),
        _ => String::new(),
    };
    format!("{method} {path} HTTP/1.1\r\nHost: a\r\n{secret}{content}\r\n{body}").into_bytes()
}

fn ask(server: &Server, method: &str, path: &str, secret: &str, key: &str, body: &str) -> Reaction {
    server.exchange(&request(method, path, Some(secret), key, body))
}

fn get(server: &Server, path: &str, secret: &str) -> Reaction {
    ask(server, "GET", path, secret, "", "")
}

fn pay(server: &Server, secret: &str, key: &str, order: &str) -> String {
    let paid = ask(server, "POST", PATH, secret, key, order);
    assert!([201, 202].contains(&paid.status), "{paid:?}");
    paid.json()["id"].as_str().unwrap().to_owned()
}

/// What a route needs.
#[derive(Clone, Copy, PartialEq)]
enum Needs {
    Nothing,
    Reads,
    Pays,
    Operates,
    ReadsAll,
    OperatesAll,
}

const ROUTES: [(&str, &str, Needs); 29] = [
    ("POST", "/v1/payments", Needs::Pays),
    ("GET", "/v1/payments", Needs::Reads),
    ("GET", "/v1/payments/{id}", Needs::Reads),
    ("POST", "/v1/payments/{id}/capture", Needs::Pays),
    ("POST", "/v1/payments/{id}/void", Needs::Pays),
    ("POST", "/v1/payments/{id}/refunds", Needs::Pays),
    ("POST", "/v1/payments/{id}/inquire", Needs::Operates),
    ("POST", "/v1/payments/{id}/resolve", Needs::Operates),
    ("GET", "/v1/payments/{id}/outlook", Needs::Reads),
    ("GET", "/v1/events", Needs::Reads),
    ("GET", "/v1/key", Needs::Reads),
    ("POST", "/v1/webhooks/{gateway}", Needs::Nothing),
    ("GET", "/v1/webhooks/out", Needs::ReadsAll),
    ("POST", "/v1/webhooks/out/{endpoint}/replay", Needs::OperatesAll),
    ("POST", "/v1/webhooks/out/{endpoint}/discard", Needs::OperatesAll),
    ("GET", "/v1/stats", Needs::ReadsAll),
    ("GET", "/v1/audit", Needs::ReadsAll),
    ("POST", "/v1/gateways/{gateway}/pause", Needs::OperatesAll),
    ("POST", "/v1/gateways/{gateway}/resume", Needs::OperatesAll),
    ("POST", "/v1/drain", Needs::OperatesAll),
    ("DELETE", "/v1/drain", Needs::OperatesAll),
    ("GET", "/metrics", Needs::ReadsAll),
    ("GET", "/healthz", Needs::Nothing),
    ("GET", "/readyz", Needs::Nothing),
    ("GET", "/assets/{file}", Needs::Nothing),
    ("GET", "/openapi.json", Needs::Nothing),
    ("GET", "/docs", Needs::Nothing),
    ("GET", "/", Needs::Nothing),
    ("DELETE", "/v1/payments", Needs::Reads),
];

/// What a secret is answered: 401, 403, or neither.
fn expected(needs: Needs, secret: Option<&str>) -> u16 {
    let Some((role, tenant)) = secret.and_then(|secret| secret.split_once('-')) else {
        return if needs == Needs::Nothing { 0 } else { 401 };
    };
    let (role, all) = (["reader", "caller", "operator"].iter().position(|known| *known == role), tenant == "all");
    let Some(role) = role else { return if needs == Needs::Nothing { 0 } else { 401 } };
    let allowed = match needs {
        Needs::Nothing | Needs::Reads => true,
        // Who pays is one tenant.
        Needs::Pays => role >= 1,
        Needs::Operates => role >= 2,
        Needs::ReadsAll => all,
        Needs::OperatesAll => all && role >= 2,
    };
    if allowed { 0 } else { 403 }
}

#[test]
fn every_route_lets_in_exactly_the_roles_that_it_should() {
    let server = server(everybody());
    let id = pay(&server, "caller-a", "order-1", ORDER);
    let secrets = everybody().into_iter().map(|key| Some(key.name));
    for secret in secrets.chain([None, Some("stranger-x".to_owned()), Some(String::new())]) {
        for (method, route, needs) in ROUTES {
            let secret = secret.as_deref();
            let path = route.replace("{id}", &id).replace("{gateway}", "g").replace("{endpoint}", "e");
            let path = path.replace("{file}", "board.js");
            let body = if route == PATH { ORDER } else { "{}" };
            let reaction = server.exchange(&request(method, &path, secret, "again", body));
            let told = format!("{method} {path} {secret:?}: {reaction:?}");
            let mut status = expected(needs, secret);
            // For all tenants nobody pays, and a method that there is not is nobody's but the highest role's.
            if (method, route) == ("POST", PATH) && secret == Some("operator-all") {
                status = 403;
            }
            if (method, route) == ("DELETE", PATH) && status == 0 {
                assert!([403, 405].contains(&reaction.status), "{told}");
                continue;
            }
            match status {
                0 => assert!(![401, 403].contains(&reaction.status) || route.contains("{gateway}"), "{told}"),
                401 => {
                    assert_problem(&reaction, 401, "unauthorized", &told);
                    assert_eq!(reaction.header("www-authenticate"), Some("Bearer realm=\"payonce\""), "{told}");
                }
                _ => assert_problem(&reaction, 403, "forbidden", &told),
            }
        }
    }
    assert_problem(&server.get("/nowhere"), 404, "not_found", "there is nothing to guard");
}

/// The routes as the source has them: one that is not in the table above has not been tried.
#[test]
fn no_route_is_forgotten_here() {
    let source = include_str!("../src/http/routes.rs");
    let mut routes = BTreeSet::new();
    for part in source.split(".route(\"").skip(1) {
        let (path, rest) = part.split_once('"').unwrap();
        let call = rest.split('\n').next().unwrap();
        for (word, method) in [("get(", "GET"), ("post(", "POST"), ("put(", "PUT"), ("delete(", "DELETE")] {
            if call.contains(word) {
                routes.insert((method, path));
            }
        }
    }
    let tried: BTreeSet<_> =
        ROUTES.iter().filter(|one| (one.0, one.1) != ("DELETE", PATH)).map(|one| (one.0, one.1)).collect();
    assert_eq!(routes, tried);
}

#[test]
fn only_one_bearer_secret_is_a_secret() {
    let server = server(everybody());
    for (headers, status) in [
        ("Authorization: Bearer reader-a\r\n", 200),
        ("authorization: bearer reader-a\r\n", 200),
        ("Authorization: Basic reader-a\r\n", 401),
        ("Authorization: reader-a\r\n", 401),
        ("Authorization: Bearer\r\n", 401),
        ("Authorization: Bearer reader-a, Bearer reader-a\r\n", 401),
        ("Authorization: Bearer reader-a\r\nAuthorization: Bearer reader-a\r\n", 401),
        ("X-Api-Key: reader-a\r\n", 401),
        ("Cookie: key=reader-a\r\n", 401),
        ("Authorization: Bearer reader-A\r\n", 401),
    ] {
        let reaction = server.exchange(format!("GET {PATH} HTTP/1.1\r\nHost: a\r\n{headers}\r\n").as_bytes());
        assert_eq!(reaction.status, status, "{headers}");
    }
    let long =
        format!("GET {PATH}?key=reader-a HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {}\r\n\r\n", "x".repeat(9000));
    assert_eq!(server.exchange(long.as_bytes()).status, 401, "nor is one in the target");
    let hash = SecretHash::of("reader-a").to_string();
    assert_eq!(get(&server, PATH, &hash).status, 401, "what is in the file opens nothing");
}

/// What one tenant may ask of a payment, told apart by nothing from what never was.
#[test]
fn another_tenants_payment_is_as_if_it_did_not_exist() {
    let server = server(everybody());
    let theirs = pay(&server, "caller-a", "order-1", DOUBT);
    let ours = pay(&server, "caller-b", "order-1", ORDER);
    assert_ne!(theirs, ours, "the same key of two tenants is two payments");
    let before = get(&server, &format!("{PATH}/{theirs}"), "reader-a").json();
    let nobodys = "00000000-0000-8000-8000-000000000000";
    let resolve = r#"{"as":"succeeded","actor":"b","reason":"mine now"}"#;
    let asked = [
        ("GET", "", ""),
        ("GET", "/outlook", ""),
        ("POST", "/capture", "{}"),
        ("POST", "/void", "{}"),
        ("POST", "/refunds", r#"{"amount":1}"#),
        ("POST", "/inquire", "{}"),
        ("POST", "/resolve", resolve),
    ];
    for (method, tail, body) in asked {
        let [told, of_nobody] = [theirs.as_str(), nobodys]
            .map(|id| ask(&server, method, &format!("{PATH}/{id}{tail}"), "operator-b", "try-1", body));
        assert_problem(&told, 404, "not_found", tail);
        assert_eq!((told.body, told.head), (of_nobody.body, of_nobody.head), "{tail}");
    }
    for secret in ["reader-b", "caller-b", "operator-b"] {
        for query in ["", "?state=in_doubt", "?attention=true", "?idempotency_key=order-1", "?limit=1"] {
            let list = get(&server, &format!("{PATH}{query}"), secret);
            assert!(list.status == 200 && !list.body.contains(&theirs), "{secret} {query}: {list:?}");
        }
        for whole in ["/v1/stats", "/metrics", "/v1/webhooks/out", "/v1/audit"] {
            assert_problem(&get(&server, whole, secret), 403, "forbidden", whole);
        }
    }
    let after = get(&server, &format!("{PATH}/{theirs}"), "reader-a").json();
    assert_eq!(before["operations"].as_array().unwrap().len(), after["operations"].as_array().unwrap().len());
    assert_eq!((&after["state"], &after["captured"]), (&before["state"], &before["captured"]));
    let conflict = ask(&server, "POST", PATH, "caller-b", "order-1", DOUBT);
    assert_eq!(conflict.json()["payment_id"], ours, "a conflict is with one's own");
}

/// Whatever actor they say they are: who may do nothing has done nothing, and is not in the trail.
#[test]
fn the_trail_names_the_key_of_each_deed_and_holds_none_that_was_refused() {
    let server = server(everybody());
    let id = pay(&server, "caller-a", "order-1", DOUBT);
    let inquire = format!("{PATH}/{id}/inquire");
    let person = r#"{"actor":"the boss","reason":"because"}"#;
    assert_eq!(ask(&server, "POST", &inquire, "operator-b", "", person).status, 404);
    assert_eq!(ask(&server, "POST", &inquire, "caller-a", "", person).status, 403);
    for (path, secret) in [("/v1/drain", "operator-a"), ("/v1/gateways/default/pause", "reader-all")] {
        assert_eq!(ask(&server, "POST", path, secret, "", person).status, 403);
    }
    assert_eq!(ask(&server, "POST", &inquire, "operator-a", "", "").status, 200);
    assert_eq!(ask(&server, "POST", "/v1/gateways/default/pause", "operator-all", "", person).status, 200);
    let card = r#"{"actor":"ann","reason":"card 4242424242424242"}"#;
    assert_problem(
        &ask(&server, "POST", "/v1/drain", "operator-all", "", card),
        400,
        "invalid_request",
        "kept for ever",
    );
    let told = get(&server, "/v1/audit", "reader-all").json();
    let said =
        |place: usize| ["action", "target", "actor", "key", "reason"].map(|name| told["deeds"][place][name].clone());
    let texts = |words: [Option<&str>; 5]| words.map(serde_json::Value::from);
    let pause = [Some("pause"), Some("default"), Some("the boss"), Some("operator-all"), Some("because")];
    assert_eq!(said(0), texts(pause));
    assert_eq!(said(1), texts([Some("inquire"), Some(&id), Some("operator-a"), Some("operator-a"), None]));
    assert_eq!((told["deeds"].as_array().unwrap().len(), &told["next"]), (2, &serde_json::Value::Null));
}

#[test]
fn a_key_for_all_tenants_sees_all_goes_on_from_all_and_pays_for_none() {
    let server = server(everybody());
    let ids: Vec<String> = ["a", "b"].map(|who| pay(&server, &format!("caller-{who}"), "order-1", ORDER)).into();
    let listed = |query: &str| {
        let list = get(&server, &format!("{PATH}{query}"), "reader-all").json();
        let ids = list["payments"].as_array().unwrap().iter().map(|one| one["id"].as_str().unwrap().to_owned());
        ids.collect::<BTreeSet<String>>()
    };
    let both: BTreeSet<String> = ids.iter().cloned().collect();
    assert_eq!(listed(""), both);
    assert_eq!(listed("?idempotency_key=order-1"), both);
    for id in &ids {
        assert_eq!(get(&server, &format!("{PATH}/{id}"), "operator-all").status, 200);
        let refund = format!("{PATH}/{id}/refunds");
        assert_eq!(ask(&server, "POST", &refund, "operator-all", "back-1", "{}").status, 201);
        assert_eq!(ask(&server, "POST", &refund, "reader-all", "back-2", "{}").status, 403);
    }
    let refused = ask(&server, "POST", PATH, "operator-all", "order-2", ORDER);
    assert_problem(&refused, 403, "forbidden", "nobody's payment");
    for (secret, role, tenant, whole) in [
        ("reader-all", "read-only", "*", true),
        ("caller-b", "caller", "b", false),
        ("operator-a", "operator", "a", false),
    ] {
        let told = get(&server, "/v1/key", secret).json();
        let said = serde_json::json!({ "name": secret, "role": role, "tenant": tenant, "whole": whole });
        assert_eq!(told, said);
    }
}

/// A feed, and what it has said so far.
struct Feed(TcpStream, String);

impl Feed {
    fn open(server: &Server, secret: &str) -> Feed {
        let mut stream = server.connect();
        stream.write_all(&request("GET", "/v1/events", Some(secret), "", "")).unwrap();
        Feed(stream, String::new())
    }

    /// Reads until this is said.
    fn until(&mut self, wanted: &str) -> &str {
        let mut space = [0; 4096];
        while !self.1.contains(wanted) {
            let read = self.0.read(&mut space).expect("in time");
            assert_ne!(read, 0, "it ended before {wanted}: {}", self.1);
            self.1.push_str(str::from_utf8(&space[..read]).unwrap());
        }
        &self.1
    }

    /// The last, empty chunk of its body.
    fn ends(mut self) {
        self.until("\r\n0\r\n\r\n");
    }
}

#[test]
fn a_feed_holds_nothing_of_other_tenants() {
    let server = server(everybody());
    let ids = |who: &str| -> Vec<String> {
        (0..5).map(|n| pay(&server, &format!("caller-{who}"), &format!("order-{who}-{n}"), ORDER)).collect()
    };
    let (theirs, ours) = (ids("a"), ids("b"));
    let mut feed = Feed::open(&server, "reader-b");
    feed.until(&ours[4]);
    // What happens from now on, too; and of a payment whose beginning this feed has not seen.
    let mut late = server.connect();
    let last = server.exchange(&request("GET", "/v1/stats", Some("reader-all"), "", "")).json();
    let lsn = last["journal"]["lsn"].as_u64().unwrap();
    let head =
        format!("GET /v1/events HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer reader-b\r\nLast-Event-ID: {lsn}\r\n\r\n");
    late.write_all(head.as_bytes()).unwrap();
    let mut late = Feed(late, String::new());
    for (secret, id) in [("caller-a", &theirs[0]), ("caller-b", &ours[0])] {
        let refunded = ask(&server, "POST", &format!("{PATH}/{id}/refunds"), secret, "back", "{}");
        assert_eq!(refunded.status, 201);
    }
    for told in [feed.until("\"operation\":1"), late.until("\"operation\":1")] {
        assert!(theirs.iter().all(|id| !told.contains(id)), "{told}");
        assert!(told.contains(&ours[0]), "{told}");
    }
    let mut all = Feed::open(&server, "operator-all");
    theirs.iter().chain(&ours).for_each(|id| assert!(all.until(id).contains(id)));
}

#[test]
fn keys_come_and_go_without_a_restart_and_the_feeds_of_those_that_went_end() {
    let server = server(vec![key("old", Role::Caller, "a"), key("other", Role::ReadOnly, "a")]);
    let id = pay(&server, "old", "order-1", ORDER);
    let (mut goes, mut stays) = (Feed::open(&server, "old"), Feed::open(&server, "other"));
    goes.until(&id);
    stays.until(&id);
    let both = vec![key("old", Role::Caller, "a"), key("new", Role::Caller, "a"), key("other", Role::ReadOnly, "a")];
    server.face.let_in(Keys::new(both, None).unwrap());
    for secret in ["old", "new"] {
        assert_eq!(get(&server, &format!("{PATH}/{id}"), secret).status, 200, "{secret}");
    }
    let rest = vec![key("new", Role::Caller, "a"), key("other", Role::ReadOnly, "a")];
    server.face.let_in(Keys::new(rest, None).unwrap());
    assert_problem(&get(&server, &format!("{PATH}/{id}"), "old"), 401, "unauthorized", "revoked");
    goes.ends();
    let next = pay(&server, "new", "order-2", ORDER);
    stays.until(&next);
    // A connection that was let in before is asked again with every request.
    let mut kept = server.connect();
    kept.write_all(&request("GET", PATH, Some("new"), "", "")).unwrap();
    assert_eq!(Reaction::read(&mut kept).status, 200);
    server.face.let_in(Keys::default());
    kept.write_all(&request("GET", PATH, Some("new"), "", "")).unwrap();
    assert_eq!(Reaction::read(&mut kept).status, 401, "without keys in the file nobody is let in");
}

#[test]
fn a_key_that_asks_too_much_is_told_when_to_come_back_and_others_are_not() {
    let mut slow = key("slow", Role::Caller, "a");
    slow.rate = Some(1);
    let face = Face::new();
    face.let_in(
        Keys::new(vec![slow, key("usual", Role::Caller, "a"), key("reader", Role::ReadOnly, "a")], Some(1000)).unwrap(),
    );
    let server = Server::behind(face, true);
    assert_eq!(get(&server, PATH, "slow").status, 200);
    let mut refused = None;
    // A second that has gone by would have let one more in.
    for _ in 0..5 {
        refused =
            Some(ask(&server, "POST", PATH, "slow", "order-1", ORDER)).filter(|told| told.status == 429).or(refused);
    }
    let refused = refused.expect("one of five within a second or two");
    assert_problem(&refused, 429, "rate_limited", "too much");
    assert_eq!(refused.header("retry-after"), Some("1"));
    for _ in 0..50 {
        assert_eq!(get(&server, PATH, "usual").status, 200);
    }
    let began = Instant::now();
    let waited = || began.elapsed() < Duration::from_secs(20);
    while get(&server, PATH, "slow").status == 429 && waited() {
        std::thread::sleep(Duration::from_millis(100));
    }
    assert!(waited(), "the bucket fills again");
}

#[test]
fn without_keys_nobody_is_asked_and_pages_of_the_web_are_not_answered() {
    let server = Server::start();
    let told = server.get("/v1/key").json();
    assert_eq!(told, serde_json::json!({ "name": null, "role": "operator", "tenant": "default", "whole": true }));
    for path in [PATH, "/v1/stats", "/metrics", "/v1/webhooks/out"] {
        assert_eq!(server.get(path).status, 200, "{path}");
    }
    let named = |host: &str| server.exchange(format!("GET {PATH} HTTP/1.1\r\nHost: {host}\r\n\r\n").as_bytes());
    for host in ["localhost", "localhost:7411", "127.0.0.1:7411", "[::1]:7411"] {
        assert_eq!(named(host).status, 200, "{host}");
    }
    assert_problem(&named("evil.example:7411"), 403, "forbidden", "a page whose name leads here");
    let any = Server::behind(Face::new().for_any_host(), true);
    assert_eq!(any.exchange(b"GET /v1/payments HTTP/1.1\r\nHost: pay.example\r\n\r\n").status, 200);
}

#[test]
fn card_numbers_are_refused_in_everything_that_is_kept() {
    let server = Server::start();
    const CARD: &str = "4242 4242 4242 4242";
    let bodies = [
        ("source", format!("\"{CARD}\"")),
        ("destination", format!("\"{CARD}\"")),
        ("description", format!("\"{CARD}\"")),
        ("metadata", format!("{{\"k\":\"{CARD}\"}}")),
        ("metadata", format!("{{\"{CARD}\":\"v\"}}")),
        ("gateway", format!("\"{CARD}\"")),
    ];
    for (field, value) in bodies {
        let order = String::from_utf8(http_support::order(field, &value)).unwrap();
        let refused = ask(&server, "POST", PATH, "", "order-1", &order);
        assert_problem(&refused, 400, "invalid_request", field);
        assert!(refused.body.contains("card number") && !refused.body.contains("4242"), "{refused:?}");
    }
    let refused = ask(&server, "POST", PATH, "", "4242424242424242", ORDER);
    assert_problem(&refused, 400, "invalid_request", "the key");
    let id = pay(&server, "", "order-1", DOUBT);
    for field in ["actor", "reason", "gateway_reference"] {
        let mut decision = serde_json::json!({ "as": "succeeded", "actor": "a", "reason": "r" });
        decision[field] = CARD.into();
        let refused = ask(&server, "POST", &format!("{PATH}/{id}/resolve"), "", "k", &decision.to_string());
        assert_problem(&refused, 400, "invalid_request", field);
        assert!(!refused.body.contains("4242"), "{refused:?}");
    }
    let refund = ask(&server, "POST", &format!("{PATH}/{id}/refunds"), "", "4242-4242-4242-4242", "{}");
    assert_problem(&refund, 400, "invalid_request", "an operation's key");
}

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/tls").join(name)
}

/// One GET through TLS, trusting this authority, with the certificate of this name.
fn through_tls(server: &Server, authority: &str, certificate: Option<&str>) -> Result<Reaction, String> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(fixture(authority)).unwrap()).unwrap();
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots);
    let config = match certificate {
        None => builder.with_no_client_auth(),
        Some(name) => {
            let chain = vec![CertificateDer::from_pem_file(fixture(&format!("{name}.pem"))).unwrap()];
            let key = PrivateKeyDer::from_pem_file(fixture(&format!("{name}.key"))).unwrap();
            builder.with_client_auth_cert(chain, key).unwrap()
        }
    };
    let name = ServerName::try_from("localhost").unwrap();
    let connection = ClientConnection::new(Arc::new(config), name).unwrap();
    let mut stream = StreamOwned::new(connection, server.connect());
    stream.write_all(&request("GET", PATH, Some("reader-a"), "", "")).map_err(|error| error.to_string())?;
    // A client's part of a handshake can be over before the server has refused its certificate.
    let mut byte = [0];
    match stream.read(&mut byte) {
        Ok(1) => Ok(Reaction::read(&mut byte.chain(stream))),
        Ok(_) => Err("closed".to_owned()),
        Err(error) => Err(error.to_string()),
    }
}

fn tls(name: &str, authority: Option<&str>) -> Tls {
    let authority = authority.map(fixture);
    Tls::load(&fixture(&format!("{name}.pem")), &fixture(&format!("{name}.key")), authority.as_deref()).unwrap()
}

#[test]
fn through_tls_everything_is_as_without_it_and_plain_text_is_not_answered() {
    let server = server(everybody());
    server.face.secure(tls("server", None));
    let told = through_tls(&server, "ca.pem", None).expect("an answer");
    assert_eq!((told.status, told.json()["payments"].as_array().unwrap().len()), (200, 0));
    let untrusted = through_tls(&server, "stranger.pem", None).expect_err("another authority's");
    assert!(untrusted.contains("UnknownIssuer"), "{untrusted}");
    let mut plain = server.connect();
    plain.write_all(&request("GET", PATH, Some("reader-a"), "", "")).unwrap();
    let mut bytes = Vec::new();
    let _ = plain.read_to_end(&mut bytes);
    assert!(!bytes.starts_with(b"HTTP/"), "{bytes:?}");
    // Another certificate, from now on.
    server.face.secure(tls("stranger", None));
    assert!(through_tls(&server, "ca.pem", None).is_err());
    assert_eq!(through_tls(&server, "stranger.pem", None).map(|told| told.status), Ok(200));
}

#[test]
fn where_callers_need_certificates_only_those_of_the_authority_are_let_in() {
    let server = server(everybody());
    server.face.secure(tls("server", Some("ca.pem")));
    assert_eq!(through_tls(&server, "ca.pem", Some("client")).map(|told| told.status), Ok(200));
    for certificate in [None, Some("stranger"), Some("server")] {
        let refused = through_tls(&server, "ca.pem", certificate);
        assert!(refused.is_err(), "{certificate:?}: {refused:?}");
    }
}

#[test]
fn a_handshake_that_goes_nowhere_keeps_nobody_else_waiting() {
    let server = server(everybody());
    server.face.secure(tls("server", None));
    let silent: Vec<TcpStream> = (0..20).map(|_| server.connect()).collect();
    assert_eq!(through_tls(&server, "ca.pem", None).map(|told| told.status), Ok(200));
    drop(silent);
}

#[test]
fn what_is_no_certificate_is_refused_with_the_files_name() {
    for (cert, key, authority) in [
        ("client.key", "server.key", None),
        ("server.pem", "server.pem", None),
        ("server.pem", "client.key", None),
        ("nowhere.pem", "server.key", None),
        ("server.pem", "nowhere.key", None),
        ("server.pem", "server.key", Some("client.key")),
        ("server.pem", "server.key", Some("nowhere.pem")),
    ] {
        let authority = authority.map(fixture);
        let refused = Tls::load(&fixture(cert), &fixture(key), authority.as_deref()).expect_err(cert);
        assert!(refused.contains("tests/fixtures/tls/"), "{refused}");
    }
}

#[test]
fn connections_beyond_the_limit_wait_for_one_that_ends() {
    let server = Server::behind(Face::new().with_connections(2), true);
    let mut kept = [server.connect(), server.connect()];
    for stream in &mut kept {
        stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
        assert_eq!(Reaction::read(stream).status, 200);
    }
    let mut third = server.connect();
    third.write_all(b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    third.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
    assert!(third.read(&mut [0]).is_err(), "it waits");
    drop(kept);
    third.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    assert_eq!(Reaction::read(&mut third).status, 200);
}

#[test]
fn a_caller_that_stops_reading_loses_its_connection() {
    let server = Server::with_patience(Duration::from_millis(500), true);
    let mut stream = server.connect();
    // More than what the buffers on the way hold, so that the server has to wait.
    let ask = "GET /assets/board.js HTTP/1.1\r\nHost: a\r\n\r\n".repeat(600);
    stream.write_all(ask.as_bytes()).unwrap();
    std::thread::sleep(Duration::from_secs(3));
    let mut told = Vec::new();
    let _ = stream.read_to_end(&mut told);
    assert!(told.len() < 600 * include_str!("../src/http/dashboard/board.js").len(), "{} bytes", told.len());
}
