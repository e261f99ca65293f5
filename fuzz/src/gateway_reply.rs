//! What a gateway, a proxy or anybody in between may reply over HTTP.
//!
//! Asserts: nothing panics. Succeeded, declined and pending need status 200 and a JSON object that a second reader finds
//! to name the operation, the amount, the currency and that very status. "Not found" is only ever the answer to a
//! question, with status 404. Only a sending is refused for good, with status 400 or 422. Nothing that was received
//! says that nothing was sent.

use std::time::Instant;

use payonce::{
    Amount, Currency,
    gateway::{Question, http::classify_reply},
    payment::{Kind, Lasting, OperationKey, Outcome},
};
use serde_json::Value;

use super::choices::Choices;

const STATUSES: [u16; 12] = [200, 404, 400, 401, 403, 409, 422, 429, 500, 302, 201, 204];

/// One reply, to a sending or to a question.
pub fn gateway_reply(bytes: &[u8]) {
    let mut c = Choices(bytes);
    let (inquiry, chosen) = (c.yes(), c.below(16));
    let status = STATUSES.get(chosen).copied().unwrap_or_else(|| c.word() as u16);
    let body = if c.yes() { nearly_right(&mut c) } else { c.0.to_vec() };
    let asked = Question {
        reference: None,
        kind: Kind::Charge,
        operation_key: OperationKey::from_bytes([11; 16]),
        amount: Amount::new(1050).expect("legal"),
        currency: Currency::new("USD").expect("a currency"),
        deadline: Instant::now(),
    };
    let outcome = classify_reply(inquiry, &asked, status, &body);
    let context = || format!("{status} {:?} -> {outcome:?}", String::from_utf8_lossy(&body));
    match &outcome {
        Outcome::Succeeded(_) | Outcome::Declined(_, _) | Outcome::Pending(_, _) => {
            let said: Value = serde_json::from_slice(&body).unwrap_or_default();
            let named = said["reference"].as_str() == Some(&asked.operation_key.to_string());
            let equal = said["amount"].as_u64() == Some(1050) && said["currency"].as_str() == Some("USD");
            let says_so = said["status"].as_str() == Some(outcome.name());
            assert!(status == 200 && said.is_object() && named && equal && says_so, "{}", context());
        }
        Outcome::NotFound => assert!(inquiry && status == 404, "{}", context()),
        Outcome::Refused(Lasting::ForGood, _) => assert!(!inquiry && [400, 422].contains(&status), "{}", context()),
        Outcome::Refused(Lasting::ForNow { .. }, _) => {
            assert!([400, 401, 403, 422, 429].contains(&status) && (inquiry || ![400, 422].contains(&status)));
        }
        Outcome::NotSent(_) => panic!("{}", context()),
        Outcome::Unknown(_) => {}
    }
}

/// An answer of the protocol, with some of its members missing, given twice, of another type or with another value; or
/// as an array.
fn nearly_right(c: &mut Choices<'_>) -> Vec<u8> {
    const MEMBERS: [(&str, &str); 7] = [
        ("reference", "\"0b0b0b0b-0b0b-0b0b-0b0b-0b0b0b0b0b0b\""),
        ("status", "\"succeeded\""),
        ("amount", "1050"),
        ("currency", "\"USD\""),
        ("gateway_reference", "\"gw_1\""),
        ("code", "\"ok\""),
        ("message", "\"done\""),
    ];
    const OTHERS: [&str; 12] = [
        "null",
        "1050.0",
        "\"1050\"",
        "1051",
        "-1050",
        "\"EUR\"",
        "\"usd\"",
        "\"declined\"",
        "\"pending\"",
        "[]",
        "1.05e3",
        "\"0B0B0B0B-0B0B-0B0B-0B0B-0B0B0B0B0B0B\"",
    ];
    let array = c.seldom();
    let mut members = Vec::new();
    for (name, right) in MEMBERS {
        let value = match c.byte() {
            0..=0xBF => right.to_owned(),
            0xC0..=0xDF => OTHERS[c.below(OTHERS.len())].to_owned(),
            0xE0..=0xE7 => {
                let text = c.text(20);
                serde_json::to_string(&text).expect("JSON")
            }
            0xE8..=0xEF => String::from_utf8_lossy(c.take(4)).into_owned(),
            0xF0..=0xF7 => continue,
            0xF8..=0xFF => {
                members.push(format!("\"{name}\":{}", OTHERS[c.below(OTHERS.len())]));
                right.to_owned()
            }
        };
        members.push(if array { value } else { format!("\"{name}\":{value}") });
    }
    let members = members.join(",");
    if array { format!("[{members}]") } else { format!("{{{members}}}") }.into_bytes()
}
