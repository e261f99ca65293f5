//! Webhooks: who really sent one, and which operation it is about. Pure: bytes, a secret and the time go in.
//!
//! What comes out is a hint. It says that a gateway has news of an operation; what news, the gateway is asked.
//!
//! [`verify_standard`] is for gateways that speak our HTTP protocol, and for all that sign by the Standard Webhooks
//! scheme; [`stripe::verify_webhook`](super::stripe::verify_webhook) is for Stripe.
//!
//! Knows nothing of HTTP servers, nor of whether a hint was seen before.

use std::{fmt, time::Duration};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use hmac::{Hmac, KeyInit, Mac};
use serde_json::Value;
use sha2::Sha256;

use crate::payment::{OperationKey, Timestamp};

/// How far a webhook's time may be from ours. Both Stripe's libraries and those of Standard Webhooks take 5 minutes: a
/// copied delivery is of no use for long, and clocks need not be exact.
pub const TOLERANCE: Duration = Duration::from_secs(300);

/// How a secret of the Standard Webhooks scheme begins, before its base64.
const SECRET_PREFIX: &str = "whsec_";

/// What a webhook says, once it is known who sent it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct News {
    /// The sender's name for the event. The same event may come more than once.
    pub event_id: String,
    /// Which operation it is about; `None`: one that is not ours, or it does not say.
    pub operation_key: Option<OperationKey>,
}

/// Why a webhook is not believed. Says nothing that would help to forge one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Forged {
    /// It is not signed, or not in a way that can be read.
    Unsigned,
    /// None of its signatures is by this secret, over this body.
    WrongSignature,
    /// It was signed too long ago, or too far in the future.
    Untimely,
    /// It is signed, but is not what this sender sends.
    Unreadable,
    /// The configured secret is none: nothing can be verified.
    UnusableSecret,
}

impl fmt::Display for Forged {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Forged::Unsigned => "the webhook is not signed",
            Forged::WrongSignature => "the webhook's signature is not by this secret, over this body",
            Forged::Untimely => "the webhook was signed too long ago, or in the future; are both clocks right?",
            Forged::Unreadable => "the webhook is signed, but is not what this sender sends",
            Forged::UnusableSecret => "the webhook secret is not usable; it must be whsec_ and then base64",
        })
    }
}

impl std::error::Error for Forged {}

/// The headers of the Standard Webhooks scheme.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StandardHeaders<'a> {
    /// `webhook-id`: the event's name.
    pub id: &'a str,
    /// `webhook-timestamp`: seconds since 1970.
    pub timestamp: &'a str,
    /// `webhook-signature`: signatures with spaces between, each `v1,` and base64.
    pub signature: &'a str,
}

/// Verifies a webhook of the Standard Webhooks scheme: HMAC-SHA256 over `id.timestamp.body`. `body` is as it came, byte
/// for byte, and a JSON object: `{"reference":<operation key>,..}`. `secret`: `whsec_` and base64, or the base64 alone.
pub fn verify_standard(
    headers: &StandardHeaders<'_>,
    body: &[u8],
    now: Timestamp,
    secret: &str,
    tolerance: Duration,
) -> Result<News, Forged> {
    let StandardHeaders { id, timestamp, signature } = *headers;
    let secret = STANDARD.decode(secret.strip_prefix(SECRET_PREFIX).unwrap_or(secret));
    let secret = secret.ok().filter(|secret| !secret.is_empty()).ok_or(Forged::UnusableSecret)?;
    // A dot in the id would let its end be moved into the time.
    if id.is_empty() || id.contains('.') {
        return Err(Forged::Unsigned);
    }
    let claimed = signature.split(' ').filter_map(|one| STANDARD.decode(one.strip_prefix("v1,")?).ok());
    check_signature(&secret, &[id.as_bytes(), b".", timestamp.as_bytes(), b".", body], claimed)?;
    check_time(timestamp, now, tolerance)?;
    let body = object(body)?;
    let operation_key = body.get("reference").and_then(Value::as_str).and_then(OperationKey::parse);
    Ok(News { event_id: id.to_owned(), operation_key })
}

/// Whether one of the claimed signatures is right. Takes the same time wherever a wrong one differs.
pub(super) fn check_signature(
    secret: &[u8],
    signed: &[&[u8]],
    claimed: impl IntoIterator<Item = Vec<u8>>,
) -> Result<(), Forged> {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret).map_err(|_| Forged::UnusableSecret)?;
    signed.iter().for_each(|part| mac.update(part));
    let mut any = false;
    for signature in claimed {
        any = true;
        if mac.clone().verify_slice(&signature).is_ok() {
            return Ok(());
        }
    }
    Err(if any { Forged::WrongSignature } else { Forged::Unsigned })
}

/// Whether a time, in seconds since 1970, is near enough.
pub(super) fn check_time(seconds: &str, now: Timestamp, tolerance: Duration) -> Result<(), Forged> {
    let digits = !seconds.is_empty() && seconds.bytes().all(|b| b.is_ascii_digit());
    let seconds: u64 = seconds.parse().ok().filter(|_| digits).ok_or(Forged::Unsigned)?;
    let apart = (now.as_millis() / 1000).abs_diff(seconds);
    if apart > tolerance.as_secs() { Err(Forged::Untimely) } else { Ok(()) }
}

pub(super) fn object(body: &[u8]) -> Result<Value, Forged> {
    let body: Value = serde_json::from_slice(body).map_err(|_| Forged::Unreadable)?;
    if body.is_object() { Ok(body) } else { Err(Forged::Unreadable) }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of the Standard Webhooks specification's own libraries.
    const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    const ID: &str = "msg_p5jXN8AQM9LWM0D4loKWxJek";
    const AT: u64 = 1_614_265_330;
    const BODY: &str = r#"{"test": 2432232314}"#;
    const SIGNATURE: &str = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=";
    const KEY: &str = "0b0b0b0b-0b0b-0b0b-0b0b-0b0b0b0b0b0b";

    fn at(seconds: u64) -> Timestamp {
        Timestamp::from_millis(seconds * 1000)
    }

    fn verify(id: &str, timestamp: &str, signature: &str, body: &str, now: Timestamp) -> Result<News, Forged> {
        verify_standard(&StandardHeaders { id, timestamp, signature }, body.as_bytes(), now, SECRET, TOLERANCE)
    }

    fn signed(id: &str, timestamp: &str, body: &str) -> String {
        let secret = STANDARD.decode(&SECRET[SECRET_PREFIX.len()..]).expect("base64");
        let mut mac = Hmac::<Sha256>::new_from_slice(&secret).expect("any length");
        mac.update(format!("{id}.{timestamp}.{body}").as_bytes());
        format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes()))
    }

    #[test]
    fn the_schemes_own_example_is_believed() {
        let told = verify(ID, &AT.to_string(), SIGNATURE, BODY, at(AT));
        assert_eq!(told, Ok(News { event_id: ID.to_owned(), operation_key: None }));
        let bare = StandardHeaders { id: ID, timestamp: "1614265330", signature: SIGNATURE };
        let secret = &SECRET[SECRET_PREFIX.len()..];
        assert!(verify_standard(&bare, BODY.as_bytes(), at(AT), secret, TOLERANCE).is_ok());
    }

    #[test]
    fn any_bit_of_what_is_signed_matters() {
        let timestamp = AT.to_string();
        for (id, timestamp, body) in [
            ("msg_p5jXN8AQM9LWM0D4loKWxJel", timestamp.as_str(), BODY),
            (ID, "1614265331", BODY),
            (ID, timestamp.as_str(), r#"{"test": 2432232315}"#),
            (ID, timestamp.as_str(), ""),
        ] {
            assert_eq!(verify(id, timestamp, SIGNATURE, body, at(AT)), Err(Forged::WrongSignature), "{id} {body}");
        }
        for bit in 0..256 {
            let mut signature = STANDARD.decode(&SIGNATURE[3..]).expect("base64");
            signature[bit / 8] ^= 1 << (bit % 8);
            let forged = format!("v1,{}", STANDARD.encode(&signature));
            assert_eq!(verify(ID, &timestamp, &forged, BODY, at(AT)), Err(Forged::WrongSignature), "{bit}");
        }
    }

    #[test]
    fn one_of_several_signatures_is_enough_while_secrets_are_exchanged() {
        let both = format!("v1,AAAA v1a,BBBB {SIGNATURE} v2,xyz");
        assert!(verify(ID, &AT.to_string(), &both, BODY, at(AT)).is_ok());
        for none in ["", "v1", "v1,", "v2,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="] {
            assert!(verify(ID, &AT.to_string(), none, BODY, at(AT)).is_err(), "{none}");
        }
    }

    #[test]
    fn an_old_delivery_cannot_be_played_again() {
        let told = |now| verify(ID, &AT.to_string(), SIGNATURE, BODY, at(now)).map(|_| ());
        assert_eq!([AT - 300, AT + 300].map(told), [Ok(()), Ok(())]);
        assert_eq!([AT - 301, AT + 301, 0].map(told), [Err(Forged::Untimely); 3]);
        for odd in ["+1614265330", "", "1614265330.0", "99999999999999999999999"] {
            let signature = signed(ID, odd, BODY);
            assert_eq!(verify(ID, odd, &signature, BODY, at(AT)), Err(Forged::Unsigned), "{odd}");
        }
    }

    #[test]
    fn the_operation_is_the_one_that_the_body_names() {
        let body = format!(r#"{{"reference":"{KEY}","status":"succeeded"}}"#);
        let timestamp = AT.to_string();
        let news = verify("evt_1", &timestamp, &signed("evt_1", &timestamp, &body), &body, at(AT));
        let operation_key = Some(OperationKey::from_bytes([11; 16]));
        assert_eq!(news, Ok(News { event_id: "evt_1".to_owned(), operation_key }));
        for unreadable in ["", "[]", "null", "{"] {
            let signature = signed("evt_1", &timestamp, unreadable);
            assert_eq!(verify("evt_1", &timestamp, &signature, unreadable, at(AT)), Err(Forged::Unreadable));
        }
        for not_ours in ["{}", r#"{"reference":1}"#, r#"{"reference":"ch_1"}"#] {
            let signature = signed("evt_1", &timestamp, not_ours);
            let news = verify("evt_1", &timestamp, &signature, not_ours, at(AT));
            assert_eq!(news.map(|news| news.operation_key), Ok(None), "{not_ours}");
        }
    }

    #[test]
    fn without_a_secret_nothing_is_believed() {
        for secret in ["", "whsec_", "not base64!", "whsec_*"] {
            let headers = StandardHeaders { id: ID, timestamp: "1614265330", signature: SIGNATURE };
            let told = verify_standard(&headers, BODY.as_bytes(), at(AT), secret, TOLERANCE);
            assert_eq!(told, Err(Forged::UnusableSecret), "{secret}");
        }
    }
}
