//! Signatures as in Standard Webhooks 1.0: HMAC-SHA256 over `id.timestamp.body`, both ways.
//!
//! Knows nothing of who signs, of what is signed, or of time.

use std::fmt;

use base64::{Engine, engine::general_purpose::STANDARD};
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

/// What a secret begins with, so that people and scanners recognise it.
const PREFIX: &str = "whsec_";
/// How many signatures are looked at: one for each of a few keys that are being changed.
const MOST_GIVEN: usize = 8;
/// How long the standard wants a key to be, in bytes.
const LENGTHS: std::ops::RangeInclusive<usize> = 24..=64;

/// The keys of one receiver: one, or during a change the new one and the old one. Never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Vec<Vec<u8>>);

impl Secret {
    /// Of `whsec_` and base64; several, with blanks between, all sign: so a secret can be changed without a gap.
    pub fn parse(text: &str) -> Result<Secret, &'static str> {
        let keys: Option<Vec<Vec<u8>>> = text.split_whitespace().map(key).collect();
        match keys {
            Some(keys) if !keys.is_empty() => Ok(Secret(keys)),
            Some(_) | None => {
                Err("must be whsec_ and the base64 of 24 to 64 random bytes; `printf whsec_; head -c 32 \
                                   /dev/urandom | base64` makes one")
            }
        }
    }

    /// The `webhook-signature` of a message sent at a time, in seconds since 1970.
    pub fn sign(&self, id: &str, timestamp: u64, body: &[u8]) -> String {
        let signatures: Vec<String> = self.0.iter().map(|key| signature(key, id, timestamp, body)).collect();
        signatures.join(" ")
    }

    /// Whether one of the given signatures, with blanks between, is that of one of the keys. Takes as long whatever is wrong
    /// with them.
    pub fn verifies(&self, id: &str, timestamp: u64, body: &[u8], given: &str) -> bool {
        let given = given.split_whitespace().filter_map(|one| one.strip_prefix("v1,"));
        let given: Vec<Vec<u8>> = given.take(MOST_GIVEN).filter_map(|one| STANDARD.decode(one).ok()).collect();
        let right = |key: &Vec<u8>, one: &Vec<u8>| {
            mac(key, id, timestamp, body).is_some_and(|mac| mac.verify_slice(one).is_ok())
        };
        self.0.iter().flat_map(|key| given.iter().map(move |one| right(key, one))).fold(false, |any, one| any | one)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

fn key(text: &str) -> Option<Vec<u8>> {
    let bytes = STANDARD.decode(text.strip_prefix(PREFIX)?).ok()?;
    LENGTHS.contains(&bytes.len()).then_some(bytes)
}

fn signature(key: &[u8], id: &str, timestamp: u64, body: &[u8]) -> String {
    let code = mac(key, id, timestamp, body).map(|mac| STANDARD.encode(mac.finalize().into_bytes()));
    format!("v1,{}", code.unwrap_or_default())
}

/// `None` never comes: HMAC takes keys of any length.
fn mac(key: &[u8], id: &str, timestamp: u64, body: &[u8]) -> Option<Hmac<Sha256>> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).ok()?;
    mac.update(format!("{id}.{timestamp}.").as_bytes());
    mac.update(body);
    Some(mac)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PUBLISHED: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    const SIGNED: &str = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=";

    fn sign(secret: &str) -> String {
        let secret = Secret::parse(secret).expect("a secret");
        secret.sign("msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, br#"{"test": 2432232314}"#)
    }

    #[test]
    fn the_published_message_has_the_published_signature() {
        assert_eq!(sign(PUBLISHED), SIGNED);
    }

    #[test]
    fn a_signature_is_right_for_its_id_time_body_and_key_and_for_nothing_else() {
        let secret = Secret::parse(PUBLISHED).expect("a secret");
        let (id, at, body) = ("msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, br#"{"test": 2432232314}"#);
        assert!(secret.verifies(id, at, body, SIGNED));
        assert!(secret.verifies(id, at, body, &format!("v1,AAAA v2,x {SIGNED}")), "one of several is enough");
        assert!(!secret.verifies("msg_2", at, body, SIGNED));
        assert!(!secret.verifies(id, at + 1, body, SIGNED));
        assert!(!secret.verifies(id, at, b"{}", SIGNED));
        for given in ["", "v1,", "v1", &SIGNED[3..], &SIGNED[..20], &SIGNED.replace("v1", "v2")] {
            assert!(!secret.verifies(id, at, body, given), "{given}");
        }
        let other = Secret::parse("whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=").expect("a secret");
        assert!(!other.verifies(id, at, body, SIGNED));
        let both = Secret::parse(&format!("whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8= {PUBLISHED}"));
        assert!(both.expect("two").verifies(id, at, body, SIGNED));
    }

    #[test]
    fn while_a_secret_changes_both_sign_the_new_one_first() {
        let other = "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
        let both = sign(&format!("{other}\n{PUBLISHED}\n"));
        assert_eq!(both, format!("{} {SIGNED}", sign(other)));
        assert_ne!(sign(other), SIGNED);
    }

    #[test]
    fn what_is_no_secret_of_the_standard_is_refused_and_not_shown() {
        for text in
            ["", " ", "hunter2", "whsec_", "whsec_aHVudGVyMg==", "whsec_%%%", "whsk_MfKQ9r8GKYqrTwjUPD8ILPZIo2Laa"]
        {
            assert!(Secret::parse(text).is_err_and(|why| !why.contains("hunter2")), "{text}");
        }
        assert!(Secret::parse(&format!("{PUBLISHED} hunter2")).is_err(), "one bad one spoils it");
        assert_eq!(format!("{:?}", Secret::parse(PUBLISHED)), "Ok(Secret(..))");
    }
}
