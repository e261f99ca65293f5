//! Stripe's webhooks: the `Stripe-Signature` header.

use hmac::{Hmac, KeyInit, Mac};
use serde_json::Value;
use sha2::Sha256;

use super::request::OPERATION;
use crate::{
    gateway::{Forged, News, Post},
    payment::OperationKey,
};

/// How far a signature's time may be from ours, in seconds: what Stripe's own libraries allow.
const TOLERANCE: u64 = 300;
/// How many signatures are looked at: one for each of a few secrets that are being changed.
const MOST_GIVEN: usize = 8;

/// Reads a webhook of Stripe's. Its header `Stripe-Signature` is `t=<seconds>,v1=<hex>`, with several `v1` while secrets
/// are exchanged; other schemes in it are ignored. `secret` is the endpoint's, `whsec_..`, which is used as it stands.
///
/// The operation is the one that the event's object bears in its metadata: for a PaymentIntent and its charges the
/// payment's first one, also where a capture or a void made the news; for a refund the refund.
pub(super) fn read(secret: &str, post: &Post<'_>) -> Result<News, Forged> {
    let signature = post.header("stripe-signature").filter(|_| !secret.is_empty()).ok_or(Forged::Signature)?;
    let parts = || signature.split(',').filter_map(|part| part.split_once('='));
    let times: Vec<&str> = parts().filter(|(name, _)| *name == "t").map(|(_, time)| time).collect();
    // With two times, one could be signed and the other looked at.
    let [time] = times.as_slice() else { return Err(Forged::Signature) };
    let claimed = parts().filter(|(name, _)| *name == "v1").filter_map(|(_, hex)| bytes(hex)).take(MOST_GIVEN);
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).map_err(|_| Forged::Signature)?;
    [time.as_bytes(), b".", post.body].iter().for_each(|part| mac.update(part));
    if !claimed.fold(false, |right, claimed| right | mac.clone().verify_slice(&claimed).is_ok()) {
        return Err(Forged::Signature);
    }
    let digits = time.bytes().all(|byte| byte.is_ascii_digit());
    let seconds: u64 = time.parse().ok().filter(|_| digits).ok_or(Forged::Signature)?;
    if seconds.abs_diff(post.at.as_millis() / 1_000) > TOLERANCE {
        return Err(Forged::Stale);
    }
    let event: Value = serde_json::from_slice(post.body).map_err(|_| Forged::Unreadable)?;
    let event_id = event.get("id").and_then(Value::as_str).filter(|id| !id.is_empty()).ok_or(Forged::Unreadable)?;
    let operation_key = event.pointer("/data/object/metadata").and_then(|metadata| metadata.get(OPERATION));
    let operation_key = operation_key.and_then(Value::as_str).and_then(OperationKey::parse);
    // Stripe can be asked: what it says by itself is only a hint.
    Ok(News { event_id: event_id.to_owned(), operation_key, said: None })
}

fn bytes(hex: &str) -> Option<Vec<u8>> {
    let digits: Option<Vec<u8>> =
        hex.chars().map(|c| c.to_digit(16).and_then(|digit| u8::try_from(digit).ok())).collect();
    let digits = digits.filter(|digits| digits.len().is_multiple_of(2))?;
    Some(digits.chunks(2).map(|pair| pair.iter().fold(0, |byte, digit| byte << 4 | digit)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::payment::Timestamp;

    const SECRET: &str = "whsec_test_secret";
    const AT: u64 = 1_700_000_000;
    const EVENT: &str = include_str!("../../../tests/fixtures/stripe/event_payment_intent_succeeded.json");

    fn sign(secret: &str, time: &str, body: &str) -> String {
        let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).expect("any length");
        mac.update(format!("{time}.{body}").as_bytes());
        mac.finalize().into_bytes().iter().map(|byte| format!("{byte:02x}")).collect()
    }

    fn verify(signature: &str, body: &str, now: u64) -> Result<News, Forged> {
        let headers = [("stripe-signature".to_owned(), signature.to_owned())];
        read(SECRET, &Post { headers: &headers, body: body.as_bytes(), at: Timestamp::from_millis(now * 1000) })
    }

    #[test]
    fn an_event_names_the_operation_that_its_object_bears() {
        let news = verify(&format!("t={AT},v1={}", sign(SECRET, &AT.to_string(), EVENT)), EVENT, AT);
        let operation_key = Some(OperationKey::from_bytes([11; 16]));
        assert_eq!(news, Ok(News { event_id: "evt_3PayonceSucceeded0001".to_owned(), operation_key, said: None }));
        let others = r#"{"id":"evt_2","object":"event","data":{"object":{"object":"payout","metadata":{}}}}"#;
        let news = verify(&format!("t={AT},v1={}", sign(SECRET, &AT.to_string(), others)), others, AT);
        assert_eq!(news, Ok(News { event_id: "evt_2".to_owned(), operation_key: None, said: None }));
    }

    /// Made once with `openssl dgst -sha256 -hmac`, so that it does not only agree with itself.
    #[test]
    fn a_signature_that_another_program_made_is_understood() {
        let signature = "t=1700000000,v1=248a374f50f943a28b0f6ab50faf9a7e7e29b710fa26df9fb1618b9bf8ea9c9a,v0=6ffbb59b2300aae63f272406069a9788598b792a944a07aba816edb039989a39";
        let news = verify(signature, r#"{"id":"evt_1"}"#, AT);
        assert_eq!(news.map(|news| news.event_id), Ok("evt_1".to_owned()));
    }

    #[test]
    fn another_secret_body_or_time_is_forged() {
        let right = sign(SECRET, &AT.to_string(), EVENT);
        let flipped = right.replace(|c: char| c == right.chars().next().unwrap_or('0'), "x");
        for (signature, body) in [
            (format!("t={AT},v1={}", sign("whsec_other", &AT.to_string(), EVENT)), EVENT),
            (format!("t={},v1={right}", AT + 1), EVENT),
            (format!("t={AT},v1={right}"), r#"{"id":"evt_1"}"#),
            (format!("t={AT},v1={}", &right[2..]), EVENT),
        ] {
            assert_eq!(verify(&signature, body, AT), Err(Forged::Signature), "{signature}");
        }
        for signature in [
            String::new(),
            format!("t={AT}"),
            format!("v1={right}"),
            format!("t={AT},v0={right}"),
            format!("t={AT},v1={flipped}"),
            format!("t={AT},t={},v1={right}", AT + 1),
            format!("t={AT}, v1={right}"),
        ] {
            assert_eq!(verify(&signature, EVENT, AT), Err(Forged::Signature), "{signature}");
        }
        let post = Post { headers: &[], body: EVENT.as_bytes(), at: Timestamp::default() };
        assert_eq!(read("", &post), Err(Forged::Signature));
    }

    #[test]
    fn one_of_several_signatures_is_enough_and_an_old_one_is_not() {
        let (old, right) = (sign("whsec_old", &AT.to_string(), EVENT), sign(SECRET, &AT.to_string(), EVENT));
        let both = format!("t={AT},v1={old},v1={right}");
        assert!(verify(&both, EVENT, AT).is_ok() && verify(&both, EVENT, AT + 300).is_ok());
        assert_eq!(verify(&both, EVENT, AT + 301), Err(Forged::Stale));
    }

    #[test]
    fn what_is_signed_but_no_event_is_unreadable() {
        for body in ["", "[]", "{}", r#"{"id":""}"#, r#"{"id":7}"#] {
            let signature = format!("t={AT},v1={}", sign(SECRET, &AT.to_string(), body));
            assert_eq!(verify(&signature, body, AT), Err(Forged::Unreadable), "{body}");
        }
    }
}
