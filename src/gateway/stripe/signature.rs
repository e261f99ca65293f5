//! Stripe's webhooks: the `Stripe-Signature` header.

use std::time::Duration;

use serde_json::Value;

use super::request::OPERATION;
use crate::{
    gateway::webhook::{Forged, News, check_signature, check_time, object},
    payment::{OperationKey, Timestamp},
};

/// Verifies a webhook of Stripe's. `signature` is the header `Stripe-Signature`: `t=<seconds>,v1=<hex>`, with several
/// `v1` while secrets are exchanged; other schemes in it are ignored. `body` is as it came, byte for byte. `secret` is
/// the endpoint's, `whsec_..`, which is used as it stands. The usual tolerance is [`TOLERANCE`].
///
/// The operation is the one that the event's object bears in its metadata: for a PaymentIntent and its charges the
/// payment's first one, also where a capture or a void made the news; for a refund the refund.
///
/// [`TOLERANCE`]: crate::gateway::webhook::TOLERANCE
pub fn verify_webhook(
    signature: &str,
    body: &[u8],
    now: Timestamp,
    secret: &str,
    tolerance: Duration,
) -> Result<News, Forged> {
    if secret.is_empty() {
        return Err(Forged::UnusableSecret);
    }
    let parts = || signature.split(',').filter_map(|part| part.split_once('='));
    let times: Vec<&str> = parts().filter(|(name, _)| *name == "t").map(|(_, time)| time).collect();
    // With two times, one could be signed and the other looked at.
    let [time] = times.as_slice() else { return Err(Forged::Unsigned) };
    let claimed = parts().filter(|(name, _)| *name == "v1").filter_map(|(_, hex)| bytes(hex));
    check_signature(secret.as_bytes(), &[time.as_bytes(), b".", body], claimed)?;
    check_time(time, now, tolerance)?;
    let event = object(body)?;
    let event_id = event.get("id").and_then(Value::as_str).filter(|id| !id.is_empty()).ok_or(Forged::Unreadable)?;
    let operation_key = event.pointer("/data/object/metadata").and_then(|metadata| metadata.get(OPERATION));
    let operation_key = operation_key.and_then(Value::as_str).and_then(OperationKey::parse);
    Ok(News { event_id: event_id.to_owned(), operation_key })
}

fn bytes(hex: &str) -> Option<Vec<u8>> {
    let digits: Option<Vec<u8>> =
        hex.chars().map(|c| c.to_digit(16).and_then(|digit| u8::try_from(digit).ok())).collect();
    let digits = digits.filter(|digits| digits.len().is_multiple_of(2))?;
    Some(digits.chunks(2).map(|pair| pair.iter().fold(0, |byte, digit| byte << 4 | digit)).collect())
}

#[cfg(test)]
mod tests {
    use hmac::{Hmac, KeyInit, Mac};
    use sha2::Sha256;

    use super::*;
    use crate::gateway::webhook::TOLERANCE;

    const SECRET: &str = "whsec_test_secret";
    const AT: u64 = 1_700_000_000;
    const EVENT: &str = include_str!("../../../tests/fixtures/stripe/event_payment_intent_succeeded.json");

    fn sign(secret: &str, time: &str, body: &str) -> String {
        let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).expect("any length");
        mac.update(format!("{time}.{body}").as_bytes());
        mac.finalize().into_bytes().iter().map(|byte| format!("{byte:02x}")).collect()
    }

    fn verify(signature: &str, body: &str, now: u64) -> Result<News, Forged> {
        verify_webhook(signature, body.as_bytes(), Timestamp::from_millis(now * 1000), SECRET, TOLERANCE)
    }

    #[test]
    fn an_event_names_the_operation_that_its_object_bears() {
        let news = verify(&format!("t={AT},v1={}", sign(SECRET, &AT.to_string(), EVENT)), EVENT, AT);
        let operation_key = Some(OperationKey::from_bytes([11; 16]));
        assert_eq!(news, Ok(News { event_id: "evt_3PayonceSucceeded0001".to_owned(), operation_key }));
        let others = r#"{"id":"evt_2","object":"event","data":{"object":{"object":"payout","metadata":{}}}}"#;
        let news = verify(&format!("t={AT},v1={}", sign(SECRET, &AT.to_string(), others)), others, AT);
        assert_eq!(news, Ok(News { event_id: "evt_2".to_owned(), operation_key: None }));
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
            assert_eq!(verify(&signature, body, AT), Err(Forged::WrongSignature), "{signature}");
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
            assert_eq!(verify(&signature, EVENT, AT), Err(Forged::Unsigned), "{signature}");
        }
        assert_eq!(
            verify_webhook("t=1,v1=00", b"{}", Timestamp::from_millis(1000), "", TOLERANCE),
            Err(Forged::UnusableSecret)
        );
    }

    #[test]
    fn one_of_several_signatures_is_enough_and_an_old_one_is_not() {
        let (old, right) = (sign("whsec_old", &AT.to_string(), EVENT), sign(SECRET, &AT.to_string(), EVENT));
        let both = format!("t={AT},v1={old},v1={right}");
        assert!(verify(&both, EVENT, AT).is_ok() && verify(&both, EVENT, AT + 300).is_ok());
        assert_eq!(verify(&both, EVENT, AT + 301), Err(Forged::Untimely));
    }

    #[test]
    fn what_is_signed_but_no_event_is_unreadable() {
        for body in ["", "[]", "{}", r#"{"id":""}"#, r#"{"id":7}"#] {
            let signature = format!("t={AT},v1={}", sign(SECRET, &AT.to_string(), body));
            assert_eq!(verify(&signature, body, AT), Err(Forged::Unreadable), "{body}");
        }
    }
}
