//! What a gateway of our protocol says by itself: a reply that nobody asked for, signed.

use serde::Deserialize;

use crate::{
    gateway::{Forged, News, Post, Said},
    payment::{Finality, OperationKey, Outcome, Reply},
    signature::Secret,
};

/// How far a signature's time may be from ours, in seconds: the standard's five minutes, for clocks and queues.
const TOLERANCE: u64 = 300;
/// The longest `webhook-id`, in bytes: it is kept with the news.
const MAX_ID: usize = 255;

/// The body: what a reply says, as far as it matters.
#[derive(Deserialize)]
struct Body {
    reference: Option<String>,
    status: Option<String>,
    amount: Option<u64>,
    currency: Option<String>,
    code: Option<String>,
    message: Option<String>,
    gateway_reference: Option<String>,
}

/// Checks the signature, then the time, and only then reads.
pub(super) fn read(secret: &Secret, post: &Post<'_>) -> Result<News, Forged> {
    let header = |name| post.header(name).ok_or(Forged::Signature);
    let (id, signature) = (header("webhook-id")?, header("webhook-signature")?);
    let timestamp: u64 = header("webhook-timestamp")?.parse().map_err(|_| Forged::Signature)?;
    if id.is_empty() || id.len() > MAX_ID || !secret.verifies(id, timestamp, post.body, signature) {
        return Err(Forged::Signature);
    }
    if timestamp.abs_diff(post.at.as_millis() / 1_000) > TOLERANCE {
        return Err(Forged::Stale);
    }
    let body: Body = serde_json::from_slice(post.body).map_err(|_| Forged::Unreadable)?;
    let operation_key = body.reference.as_deref().and_then(OperationKey::parse);
    Ok(News { event_id: id.to_owned(), operation_key, said: said(body) })
}

/// What it says, if it says all of it: what is not final is only a hint.
fn said(body: Body) -> Option<Said> {
    let reply = Reply::new(body.code.as_deref().unwrap_or_default(), body.message.as_deref().unwrap_or_default());
    let reply = match &body.gateway_reference {
        Some(reference) => reply.with_reference(reference),
        None => reply,
    };
    let outcome = match body.status.as_deref()? {
        "succeeded" => Outcome::Succeeded(reply),
        "declined" => Outcome::Declined(Finality::Hard, reply),
        _ => return None,
    };
    Some(Said { outcome, amount: body.amount?, currency: body.currency? })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::payment::Timestamp;

    const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    const AT: u64 = 1_800_000_000;
    const BODY: &str =
        r#"{"reference":"01010101-0101-0101-0101-010101010101","status":"succeeded","amount":7,"currency":"USD"}"#;

    fn headers(body: &str, at: u64) -> Vec<(String, String)> {
        let signature = Secret::parse(SECRET).expect("a secret").sign("evt_1", at, body.as_bytes());
        [("webhook-id", "evt_1".to_owned()), ("webhook-timestamp", at.to_string()), ("webhook-signature", signature)]
            .map(|(name, value)| (name.to_owned(), value))
            .to_vec()
    }

    fn read_at(headers: &[(String, String)], body: &str, seconds: u64) -> Result<News, Forged> {
        let at = Timestamp::from_millis(seconds * 1_000);
        read(&Secret::parse(SECRET).expect("a secret"), &Post { headers, body: body.as_bytes(), at })
    }

    #[test]
    fn signed_news_is_read() {
        let news = read_at(&headers(BODY, AT), BODY, AT).expect("signed");
        assert_eq!((news.event_id.as_str(), news.operation_key), ("evt_1", Some(OperationKey::from_bytes([1; 16]))));
        let said = news.said.expect("it says all");
        assert_eq!((said.outcome.name(), said.amount, said.currency.as_str()), ("succeeded", 7, "USD"));
        for hint in [r#"{"reference":"x"}"#, "{}", r#"{"status":"pending","amount":7,"currency":"USD"}"#] {
            let news = read_at(&headers(hint, AT), hint, AT).expect("signed");
            assert_eq!((news.operation_key, news.said), (None, None), "{hint}");
        }
    }

    #[test]
    fn forged_news_is_refused_whatever_is_wrong_with_it() {
        assert_eq!(read_at(&headers(BODY, AT), &BODY.replace('7', "8"), AT), Err(Forged::Signature));
        for missing in 0..3 {
            let mut headers = headers(BODY, AT);
            headers.remove(missing);
            assert_eq!(read_at(&headers, BODY, AT), Err(Forged::Signature));
        }
        let mut twice = headers(BODY, AT);
        twice.push(("webhook-id".to_owned(), "evt_2".to_owned()));
        assert_eq!(read_at(&twice, BODY, AT), Err(Forged::Signature), "of two nobody knows which is meant");
        let mut other = headers(BODY, AT);
        other[1].1 = (AT + 1).to_string();
        assert_eq!(read_at(&other, BODY, AT), Err(Forged::Signature));
        assert_eq!(read_at(&headers("[]", AT), "[]", AT), Err(Forged::Unreadable));
    }

    #[test]
    fn news_of_another_time_is_a_repetition() {
        for (now, read) in [(AT - 300, true), (AT + 300, true), (AT - 301, false), (AT + 301, false)] {
            assert_eq!(read_at(&headers(BODY, AT), BODY, now).is_ok(), read, "{now}");
            assert!(read || read_at(&headers(BODY, AT), BODY, now) == Err(Forged::Stale));
        }
    }
}
