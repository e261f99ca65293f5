//! However bad a body is, the answer is a problem document that names what is wrong, and the key is not spent.

#![cfg(feature = "server")]
#![allow(missing_docs, dead_code, clippy::expect_used, clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

mod http_support;

use http_support::{Case, Server, check, invalid, order, pay};

/// Values that a field must not have, in JSON.
fn bad_values() -> Vec<(&'static str, Vec<String>)> {
    let list = |values: &[&str]| values.iter().map(|value| (*value).to_owned()).collect::<Vec<_>>();
    let text = |length: usize| format!("\"{}\"", "x".repeat(length));
    let amount = list(&[
        "0",
        "-1",
        "-0",
        "1.0",
        "1050.0",
        "1050.5",
        "0.1",
        "1e3",
        "1E3",
        "1e-3",
        "\"1050\"",
        "\"\"",
        "true",
        "false",
        "null",
        "[]",
        "[1050]",
        "{}",
        "{\"value\":1050}",
        "9007199254740992",
        "9223372036854775808",
        "18446744073709551615",
        "18446744073709551616",
        "99999999999999999999999999",
        "-9223372036854775809",
        "1e400",
        "01050",
        "+1",
        ".5",
        "1.",
        "0x10",
        "NaN",
        "Infinity",
        "1_000",
        "'1'",
        "1e",
        "-",
        "1050 1050",
        "undefined",
    ]);
    let currency = list(&[
        "\"usd\"",
        "\"US\"",
        "\"USDX\"",
        "\"ABC\"",
        "\"XXX\"",
        "\"\"",
        "\" USD\"",
        "\"USD \"",
        "840",
        "null",
        "true",
        "[]",
        "[\"USD\"]",
        "{}",
        "\"$\"",
        "\"U\\u0000D\"",
        "\"U\u{405}D\"",
        "\"USD,EUR\"",
    ]);
    let mut party = list(&[
        "\"\"",
        "null",
        "1",
        "1.5",
        "true",
        "[]",
        "[\"a\"]",
        "{}",
        "\"\\u0000\"",
        "\"a\\u0000b\"",
        "\"4242424242424242\"",
        "\"4242 4242 4242 4242\"",
        "\"\\ud800\"",
        "\"\\udc00\"",
        "\"\\ud800\\ud800\"",
        "\"\\ud800x\"",
        "\"\\q\"",
        "\"\\u12\"",
        "\"\\u12g4\"",
        "\"a\nb\"",
        "\"a\tb\"",
        "\"a\u{1}b\"",
        "\"a",
        "a",
        "'a'",
    ]);
    party.push(text(256));
    let capture = list(&["\"Automatic\"", "\"MANUAL\"", "\"auto\"", "\"\"", "null", "0", "true", "false", "[]", "{}"]);
    let mut description = list(&["1", "true", "[]", "{}", "\"\\u0000\"", "\"pan 5555-5555-5555-4444\"", "\"\\ud83d\""]);
    description.push(text(1001));
    let mut metadata = list(&[
        "null",
        "[]",
        "\"x\"",
        "1",
        "true",
        "{\"k\":1}",
        "{\"k\":null}",
        "{\"k\":true}",
        "{\"k\":[]}",
        "{\"k\":{}}",
        "{\"k\":1.5}",
        "{\"\":\"v\"}",
        "{\"a\":\"1\",\"a\":\"1\"}",
        "{\"a\":\"1\",\"\\u0061\":\"2\"}",
        "{\"\\u0000\":\"v\"}",
        "{\"k\":\"\\u0000\"}",
        "{\"k\":\"378282246310005\"}",
        "{\"\\ud800\":\"v\"}",
        "{k:\"v\"}",
        "{\"k\":\"v\",}",
        "{\"k\"}",
        "{1:\"v\"}",
    ]);
    metadata.push(format!("{{\"{}\":\"v\"}}", "k".repeat(41)));
    metadata.push(format!("{{\"k\":{}}}", text(501)));
    let pairs: Vec<String> = (0..51).map(|n| format!("\"k{n}\":\"v\"")).collect();
    metadata.push(format!("{{{}}}", pairs.join(",")));
    let expires_at = list(&[
        "1795493106",
        "true",
        "[]",
        "{}",
        "\"\"",
        "\"tomorrow\"",
        "\"2030-01-01\"",
        "\"2030-01-01T00:00:00\"",
        "\"2030-01-01 00:00:00Z\"",
        "\"1969-12-31T23:59:59Z\"",
        "\"2030-02-30T00:00:00Z\"",
        "\"2030-01-01T00:00:00Z[UTC]\"",
        "\"2030-01-01T25:00:00Z\"",
        "\"P1D\"",
    ]);
    vec![
        ("amount", amount),
        ("currency", currency),
        ("source", party.clone()),
        ("destination", party),
        ("capture", capture),
        ("description", description),
        ("metadata", metadata),
        ("expires_at", expires_at),
    ]
}

#[test]
fn every_bad_value_of_every_field_is_refused() {
    let mut cases = Vec::new();
    for (field, values) in bad_values() {
        cases.extend(values.iter().map(|value| invalid(pay(&order(field, value)))));
    }
    assert!(cases.len() >= 150, "{} cases", cases.len());
    check(&Server::start(), &cases);
}

#[test]
fn a_refused_field_is_named() {
    let server = Server::start();
    for (field, value) in [
        ("amount", "1050.0"),
        ("currency", "\"usd\""),
        ("source", "null"),
        ("destination", "\"\""),
        ("capture", "null"),
        ("description", "1"),
        ("metadata", "null"),
        ("expires_at", "\"soon\""),
        ("colour", "1"),
    ] {
        let reaction = server.exchange(&pay(&order(field, value)));
        let detail = reaction.json()["detail"].as_str().unwrap_or_default().to_owned();
        assert!(detail.contains(field), "{field}: {detail}");
    }
}

#[test]
fn fields_missing_repeated_or_unknown_are_refused() {
    let whole = String::from_utf8(order("amount", "1050")).expect("ASCII");
    let mut cases = Vec::new();
    for field in ["\"amount\":1050", "\"currency\":\"USD\",", "\"source\":\"a\",", "\"destination\":\"b\","] {
        let without = whole.replace(field, "").replace(",}", "}");
        cases.push(invalid(pay(without.as_bytes())));
    }
    for (field, value) in [
        ("amount", "1050"),
        ("currency", "\"USD\""),
        ("source", "\"a\""),
        ("destination", "\"b\""),
        ("\\u0061mount", "1050"),
        ("Amount", "1"),
        ("amount ", "1"),
        (" amount", "1"),
        ("id", "\"x\""),
        ("", "1"),
        ("idempotency_key", "\"k\""),
        ("__proto__", "{}"),
        ("currency\\u0000", "\"USD\""),
        ("state", "\"succeeded\""),
    ] {
        cases.push(invalid(pay(whole.replace('}', &format!(",\"{field}\":{value}}}")).as_bytes())));
    }
    for (field, value) in [
        ("capture", "\"manual\""),
        ("description", "\"d\""),
        ("description", "null"),
        ("metadata", "{}"),
        ("expires_at", "null"),
    ] {
        let twice = format!(",\"{field}\":{value},\"{field}\":{value}}}");
        cases.push(invalid(pay(whole.replace('}', &twice).as_bytes())));
    }
    check(&Server::start(), &cases);
}

#[test]
fn what_is_not_one_json_object_in_utf_8_is_refused() {
    let whole = order("amount", "1050");
    let mut cases: Vec<Case> = (2..whole.len()).step_by(7).map(|end| invalid(pay(&whole[..end]))).collect();
    for body in [
        "",
        " ",
        "\n",
        "null",
        "true",
        "1",
        "\"x\"",
        "[]",
        "[{}]",
        "{}",
        "{",
        "}",
        "{,}",
        "{\"amount\"}",
        "{amount:1}",
        "{'amount':1}",
        "amount=1050&currency=USD",
        "<xml/>",
        "\u{feff}{}",
    ] {
        cases.push(invalid(pay(body.as_bytes())));
    }
    for (before, after) in [
        ("", "x"),
        ("", "{}"),
        ("", ","),
        ("", "]"),
        ("[", "]"),
        ("\u{feff}", ""),
        ("/**/", ""),
        ("", "//"),
        ("", "\0"),
        ("\0", ""),
        (")]}'\n", ""),
        ("", "\u{a0}"),
    ] {
        cases.push(invalid(pay(&[before.as_bytes(), &whole, after.as_bytes()].concat())));
    }
    for bytes in [&b"\xff"[..], b"\xc0\xaf", b"\xed\xa0\x80", b"\xf5\x80\x80\x80", b"\xe2\x82", b"\x80", b"\xc3\x28"] {
        cases.push(invalid(pay(&[
            b"{\"amount\":1050,\"currency\":\"USD\",\"destination\":\"b\",\"source\":\"",
            bytes,
            b"\"}",
        ]
        .concat())));
        cases.push(invalid(pay(&[b"{\"", bytes, b"\":1}"].concat())));
        cases.push(invalid(pay(&[&whole, bytes].concat())));
    }
    cases.push(invalid(pay(&whole.iter().flat_map(|byte| [0, *byte]).collect::<Vec<u8>>())));
    cases.push(invalid(pay(&[b"\x1f\x8b\x08\x00", &whole[..]].concat())));
    check(&Server::start(), &cases);
}

#[test]
fn bodies_nested_too_deep_are_refused_without_harm() {
    let mut cases = Vec::new();
    for (open, close) in [("[", "]"), ("{\"k\":", "}"), ("[{\"k\":", "}]")] {
        let depth = 60_000 / (open.len() + close.len());
        let closed = format!("{}1{}", open.repeat(depth), close.repeat(depth));
        let open = open.repeat(depth);
        for bomb in [closed.as_str(), open.as_str()] {
            cases.push(invalid(pay(bomb.as_bytes())));
            for field in ["amount", "metadata", "unknown"] {
                cases.push(invalid(pay(&order(field, bomb))));
            }
        }
    }
    check(&Server::start(), &cases);
}
