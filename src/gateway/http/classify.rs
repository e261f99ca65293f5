//! What a reply of the protocol means: one table, by status and by what had been sent.

use std::time::Duration;

use serde::Deserialize;
use serde_json::Value;

use crate::{
    gateway::judge::{Expected, Said, judge},
    payment::{Lasting, NextAction, Outcome, Reply, Timestamp},
};

/// What a reply answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Call {
    /// A sending of an operation.
    Sending,
    /// A question about one.
    Inquiry,
}

/// A whole reply, as it came.
#[derive(Clone, Copy, Debug)]
pub(super) struct Came<'a> {
    pub(super) status: u16,
    pub(super) retry_after: Option<Duration>,
    pub(super) body: &'a [u8],
}

/// The table.
///
/// | status        | sending                                  | inquiry                         |
/// |---------------|------------------------------------------|---------------------------------|
/// | 200           | what it says, if it speaks of this operation, amount and currency | the same |
/// | 400, 422      | refused for good                         | no answer: refused for now      |
/// | 401, 403, 429 | refused for now                          | no answer: refused for now      |
/// | 404           | unknown                                  | not found, if the protocol says so |
/// | 409           | unknown: in progress                     | the same                        |
/// | all others    | unknown                                  | unknown                         |
///
/// A 404 is the protocol's own if its body is empty, or a JSON object that names no other operation. Any other body is
/// some proxy's page about a path: it says nothing about the operation.
pub(super) fn classify(call: Call, expected: &Expected, came: &Came<'_>) -> Outcome {
    let retry_after = came.retry_after;
    match (came.status, call) {
        (200, Call::Sending | Call::Inquiry) => answered(expected, came.body),
        (400, Call::Sending) => Outcome::Refused(Lasting::ForGood, words(came, "invalid_request")),
        (422, Call::Sending) => Outcome::Refused(Lasting::ForGood, words(came, "unprocessable")),
        (400, Call::Inquiry) => Outcome::Refused(Lasting::ForNow { retry_after }, words(came, "invalid_request")),
        (422, Call::Inquiry) => Outcome::Refused(Lasting::ForNow { retry_after }, words(came, "unprocessable")),
        (401, Call::Sending | Call::Inquiry) => {
            Outcome::Refused(Lasting::ForNow { retry_after }, words(came, "unauthorized"))
        }
        (403, Call::Sending | Call::Inquiry) => {
            Outcome::Refused(Lasting::ForNow { retry_after }, words(came, "forbidden"))
        }
        (429, Call::Sending | Call::Inquiry) => {
            Outcome::Refused(Lasting::ForNow { retry_after }, words(came, "rate_limited"))
        }
        (404, Call::Inquiry) if is_not_found(expected, came.body) => Outcome::NotFound,
        (409, Call::Sending | Call::Inquiry) => Outcome::Unknown(words(came, "in_progress")),
        (300..=399, Call::Sending | Call::Inquiry) => Outcome::Unknown(status_only(came.status, "redirected")),
        (500..=599, Call::Sending | Call::Inquiry) => Outcome::Unknown(status_only(came.status, "server_error")),
        (_, Call::Sending | Call::Inquiry) => Outcome::Unknown(status_only(came.status, "unexpected_status")),
    }
}

#[derive(Deserialize)]
struct Answer {
    reference: String,
    status: String,
    amount: u64,
    currency: String,
    gateway_reference: Option<String>,
    code: Option<String>,
    message: Option<String>,
    next_action: Option<Value>,
}

fn answered(expected: &Expected, body: &[u8]) -> Outcome {
    let unreadable = |why: &str| Outcome::Unknown(Reply::new("unreadable_reply", why));
    if !is_object(body) {
        return unreadable("the answer is not a JSON object");
    }
    let answer: Answer = match serde_json::from_slice(body) {
        Ok(answer) => answer,
        Err(why) => return unreadable(&why.to_string()),
    };
    let next_action = answer.next_action.as_ref().and_then(next_action);
    judge(
        expected,
        &Said {
            reference: &answer.reference,
            gateway_reference: answer.gateway_reference.as_deref().unwrap_or_default(),
            status: &answer.status,
            amount: answer.amount,
            currency: &answer.currency,
            code: answer.code.as_deref().unwrap_or_default(),
            message: answer.message.as_deref().unwrap_or_default(),
            next_action: next_action.as_ref(),
        },
    )
}

/// The longest URL for a payer, in characters: longer ones do not survive all browsers and proxies. It is recorded.
const MAX_URL: usize = 2_048;

/// What the payer has to do. One that cannot be shown to a payer is none: that the gateway waits is no less true.
fn next_action(said: &Value) -> Option<NextAction> {
    let url = said.get("url").and_then(Value::as_str)?;
    let web = url.starts_with("https://") || url.starts_with("http://");
    if !web || url.len() > MAX_URL || !url.chars().all(|c| c.is_ascii_graphic()) {
        return None;
    }
    let expires_at =
        said.get("expires_at").and_then(Value::as_str).and_then(|text| text.parse::<jiff::Timestamp>().ok());
    let expires_at = expires_at.and_then(|at| u64::try_from(at.as_millisecond()).ok()).map(Timestamp::from_millis);
    Some(NextAction { url: url.to_owned(), expires_at })
}

/// What a body other than an answer may say.
#[derive(Default, Deserialize)]
struct Words {
    reference: Option<String>,
    code: Option<String>,
    message: Option<String>,
}

/// Status 409 and refusals: the gateway's own words where it has some, and otherwise ours.
fn words(came: &Came<'_>, code: &str) -> Reply {
    let said: Words = serde_json::from_slice(came.body).unwrap_or_default();
    // In progress is a meaning of the protocol's; the words of the others are free.
    let free = said.code.as_deref().filter(|said| !said.is_empty() && came.status != 409);
    let message = said.message.unwrap_or_else(|| format!("the gateway answered {}", came.status));
    Reply::new(free.unwrap_or(code), &message)
}

fn status_only(status: u16, code: &str) -> Reply {
    Reply::new(code, &format!("the gateway answered {status}"))
}

fn is_not_found(expected: &Expected, body: &[u8]) -> bool {
    if body.trim_ascii().is_empty() {
        return true;
    }
    let said: Option<Words> = serde_json::from_slice(body).ok().filter(|_| is_object(body));
    said.is_some_and(|said| said.reference.is_none_or(|named| named == expected.operation_key.to_string()))
}

/// Arrays would be read as structs too.
fn is_object(body: &[u8]) -> bool {
    body.trim_ascii_start().starts_with(b"{")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::payment::{Amount, Currency, OperationKey};

    const KEY: &str = "0b0b0b0b-0b0b-0b0b-0b0b-0b0b0b0b0b0b";
    const BOTH: [Call; 2] = [Call::Sending, Call::Inquiry];

    fn classified(call: Call, status: u16, body: &str) -> Outcome {
        let expected = Expected {
            operation_key: OperationKey::from_bytes([11; 16]),
            amount: Amount::new(1050).expect("legal"),
            currency: Currency::new("USD").expect("legal"),
        };
        let retry_after = (status == 429).then_some(Duration::from_secs(7));
        classify(call, &expected, &Came { status, retry_after, body: body.as_bytes() })
    }

    fn recorded(status: &str) -> String {
        format!(
            r#"{{"reference":"{KEY}","gateway_reference":"sb_1","status":"{status}","amount":1050,"currency":"USD","code":"ok","message":"done"}}"#
        )
    }

    fn code(outcome: &Outcome) -> (&'static str, &str) {
        (outcome.name(), outcome.reply().map_or("", Reply::code))
    }

    #[test]
    fn a_200_means_what_it_says_if_it_is_about_this_operation() {
        for call in BOTH {
            for status in ["succeeded", "declined", "pending"] {
                let outcome = classified(call, 200, &recorded(status));
                assert_eq!(code(&outcome), (status, "ok"));
                assert_eq!(outcome.reply().and_then(Reply::reference), Some("sb_1"));
            }
            for (from, to) in [("1050", "1051"), ("USD", "EUR"), ("0b0b0b0b-", "0c0b0b0b-")] {
                let other = recorded("succeeded").replace(from, to);
                assert_eq!(code(&classified(call, 200, &other)), ("unknown", "mismatched_reply"), "{other}");
            }
        }
    }

    #[test]
    fn what_the_payer_has_to_do_is_passed_on_if_it_can_be_shown_to_one() {
        let pending = |next: &str| {
            let body = recorded("pending").replace("\"amount\"", &format!("\"next_action\":{next},\"amount\""));
            match classified(Call::Sending, 200, &body) {
                Outcome::Pending(next_action, _) => next_action,
                other => panic!("{next}: {other:?}"),
            }
        };
        let url = "https://bank.example/3ds?id=1".to_owned();
        let expires_at = Some(Timestamp::from_millis(1_795_493_106_700));
        let whole = r#"{"url":"https://bank.example/3ds?id=1","expires_at":"2026-11-24T04:05:06.7Z","more":1}"#;
        assert_eq!(pending(whole), Some(NextAction { url: url.clone(), expires_at }));
        for time in ["null", "7", "\"soon\"", "\"1969-01-01T00:00:00Z\""] {
            let next = whole.replace("\"2026-11-24T04:05:06.7Z\"", time);
            assert_eq!(pending(&next), Some(NextAction { url: url.clone(), expires_at: None }), "{next}");
        }
        let long = format!(r#"{{"url":"https://{}"}}"#, "a".repeat(MAX_URL));
        for next in
            ["null", "{}", "7", "[]", r#"{"url":7}"#, r#"{"url":"javascript:x"}"#, r#"{"url":"https://a b"}"#, &long]
        {
            assert_eq!(pending(next), None, "{next}");
        }
        // With an answer that is final nothing is left to be done.
        let done = recorded("succeeded").replace("\"amount\"", &format!("\"next_action\":{whole},\"amount\""));
        assert_eq!(classified(Call::Inquiry, 200, &done).name(), "succeeded");
    }

    #[test]
    fn a_200_that_cannot_be_read_means_nothing() {
        let cut = recorded("succeeded");
        let mut bodies: Vec<String> = (0..cut.len()).map(|len| cut[..len].to_owned()).collect();
        bodies.push(recorded("settled"));
        bodies.push(recorded("succeeded").replace("1050", "1050.0"));
        bodies.push(recorded("succeeded").replace("1050", "\"1050\""));
        bodies.push(recorded("succeeded").replace("1050", "-1050"));
        bodies.push(recorded("succeeded").replace("\"currency\"", "\"money\""));
        bodies.push(format!(r#"["{KEY}","succeeded",1050,"USD","sb_1","ok","done"]"#));
        bodies.extend(["null", "[]", "OK", "<html></html>"].map(str::to_owned));
        for body in bodies {
            for call in BOTH {
                assert_eq!(code(&classified(call, 200, &body)), ("unknown", "unreadable_reply"), "{body}");
            }
        }
    }

    #[test]
    fn what_the_protocol_lists_as_never_executed_is_refused() {
        let forgood = |code| Outcome::Refused(Lasting::ForGood, Reply::new(code, "no"));
        let fornow = |after: Option<u64>, code| {
            Outcome::Refused(Lasting::ForNow { retry_after: after.map(Duration::from_secs) }, Reply::new(code, "no"))
        };
        let body = r#"{"message":"no"}"#;
        assert_eq!(classified(Call::Sending, 400, body), forgood("invalid_request"));
        assert_eq!(classified(Call::Sending, 422, body), forgood("unprocessable"));
        for call in BOTH {
            assert_eq!(classified(call, 401, body), fornow(None, "unauthorized"));
            assert_eq!(classified(call, 403, body), fornow(None, "forbidden"));
            assert_eq!(classified(call, 429, body), fornow(Some(7), "rate_limited"));
        }
        assert_eq!(code(&classified(Call::Sending, 422, r#"{"code":"bad_source"}"#)), ("refused", "bad_source"));
        assert_eq!(code(&classified(Call::Sending, 422, "<html>")), ("refused", "unprocessable"));
    }

    /// Otherwise a question that was asked badly could cancel a payment.
    #[test]
    fn an_inquiry_is_never_refused_for_good() {
        for status in 100..600 {
            let outcome = classified(Call::Inquiry, status, "{}");
            assert!(!matches!(outcome, Outcome::Refused(Lasting::ForGood, _)), "{status}");
        }
    }

    #[test]
    fn not_found_is_believed_only_of_the_protocol() {
        let ours = format!(r#"{{"code":"not_found","reference":"{KEY}"}}"#);
        for body in ["", "\r\n", "{}", r#"{"code":"not_found"}"#, ours.as_str()] {
            assert_eq!(classified(Call::Inquiry, 404, body), Outcome::NotFound, "{body}");
            assert_eq!(classified(Call::Sending, 404, body).name(), "unknown", "{body}");
        }
        for body in ["404 page not found", "<html>nginx</html>", "null", "[]", "\"\"", r#"{"reference":"other"}"#, "{"]
        {
            assert_eq!(code(&classified(Call::Inquiry, 404, body)), ("unknown", "unexpected_status"), "{body}");
        }
    }

    #[test]
    fn every_other_status_is_unknown_whatever_its_body_says() {
        let known = [200, 400, 401, 403, 404, 422, 429];
        for status in (100..600).filter(|status| !known.contains(status)) {
            for call in BOTH {
                let expected = match status {
                    409 => "in_progress",
                    300..400 => "redirected",
                    500.. => "server_error",
                    _ => "unexpected_status",
                };
                assert_eq!(code(&classified(call, status, &recorded("succeeded"))), ("unknown", expected), "{status}");
            }
        }
    }
}
