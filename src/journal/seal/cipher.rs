//! XChaCha20-Poly1305, with nonces that follow from what is sealed: the same text in the same place is the same bytes, and
//! no two others share a nonce. The only place that names a cipher.

use chacha20poly1305::{
    XChaCha20Poly1305, XNonce,
    aead::{Aead, KeyInit, Payload},
};
use hmac::{Hmac, Mac};
use sha2::Sha256;

use super::NONCE;

/// Separate the uses of one key. Frozen.
const SEALING: &[u8] = b"payonce seal 1";
const NONCES: &[u8] = b"payonce nonce 1";
const CHECK: &[u8] = b"payonce check 1";

pub(super) struct Cipher {
    sealing: XChaCha20Poly1305,
    nonces: [u8; 32],
    check: [u8; 8],
}

impl Cipher {
    pub(super) fn new(secret: &[u8; 32]) -> Option<Cipher> {
        let check = derive(secret, CHECK).first_chunk().copied()?;
        Some(Cipher {
            sealing: XChaCha20Poly1305::new(&derive(secret, SEALING).into()),
            nonces: derive(secret, NONCES),
            check,
        })
    }

    /// Tells this key from another, and nothing about it.
    pub(super) fn check(&self) -> [u8; 8] {
        self.check
    }

    pub(super) fn close(&self, bound: &[u8], plain: &[u8]) -> ([u8; NONCE], Vec<u8>) {
        let length = u64::try_from(bound.len()).unwrap_or(u64::MAX).to_le_bytes();
        let whole = mac(&self.nonces, &[&length, bound, plain]);
        let nonce: [u8; NONCE] = whole.first_chunk().copied().unwrap_or_default();
        // Fails for texts of more than 256 GiB only.
        let sealed = self.sealing.encrypt(&XNonce::from(nonce), Payload { msg: plain, aad: bound });
        (nonce, sealed.unwrap_or_default())
    }

    /// `None`: it is not what was sealed, or not where it was sealed.
    pub(super) fn open(&self, bound: &[u8], nonce: &[u8; NONCE], sealed: &[u8]) -> Option<Vec<u8>> {
        self.sealing.decrypt(&XNonce::from(*nonce), Payload { msg: sealed, aad: bound }).ok()
    }
}

/// A key made from another, for one use.
pub(super) fn derive(secret: &[u8; 32], what_for: &[u8]) -> [u8; 32] {
    mac(secret, &[what_for])
}

fn mac(secret: &[u8; 32], parts: &[&[u8]]) -> [u8; 32] {
    // As HMAC itself does with a key that is shorter than its block.
    let mut block = [0; 64];
    block.iter_mut().zip(secret).for_each(|(byte, secret)| *byte = *secret);
    let mut mac = Hmac::<Sha256>::new(&block.into());
    parts.iter().for_each(|part| mac.update(part));
    mac.finalize().into_bytes().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// Frozen: what was sealed once has to be opened for good.
    #[test]
    fn what_is_sealed_is_the_same_bytes_for_good() {
        let cipher = Cipher::new(&[7; 32]).expect("built");
        let (nonce, sealed) = cipher.close(b"place", b"alice");
        assert_eq!(
            (hex(&cipher.check()), hex(&nonce), hex(&sealed)),
            (
                "6aaac57c0dcc99d1".to_owned(),
                "089de0b043d061acefc611ed023fdd7ba0369cfc0ad5e8a0".to_owned(),
                "f65e3a185dc01c0c29e6a6411825369a87249fe214".to_owned()
            )
        );
    }

    #[test]
    fn a_seal_opens_in_its_place_under_its_key_and_nowhere_else() {
        let (cipher, other) = (Cipher::new(&[7; 32]).expect("built"), Cipher::new(&[8; 32]).expect("built"));
        let (nonce, sealed) = cipher.close(b"place", b"alice");
        assert_eq!(cipher.open(b"place", &nonce, &sealed).as_deref(), Some(&b"alice"[..]));
        assert_eq!(cipher.open(b"elsewhere", &nonce, &sealed), None);
        assert_eq!(other.open(b"place", &nonce, &sealed), None);
        for bit in 0..8 * sealed.len() {
            let mut changed = sealed.clone();
            changed[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(cipher.open(b"place", &nonce, &changed), None, "bit {bit}");
        }
        assert_ne!(cipher.close(b"place", b"alicf").0, nonce);
        assert_ne!(cipher.close(b"placf", b"alice").0, nonce);
        assert_ne!(cipher.close(b"plac", b"ealice").0, nonce);
    }
}
