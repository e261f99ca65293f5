//! The hashes, and how bytes and times are written.

use sha2::{Digest, Sha256};

use super::{Entry, FORMAT};
use crate::{
    payment::{PaymentId, Timestamp},
    told::Rfc3339,
};

/// The hash of everything so far.
pub(super) struct Chain([u8; 32]);

impl Chain {
    pub(super) fn start(journal: &[u8; 16], payment: &PaymentId) -> Chain {
        Chain(begin("").chain_update(journal).chain_update(payment.as_bytes()).finalize().into())
    }

    /// Goes on over an entry, whose bytes these are, and tells its hash.
    pub(super) fn link(&mut self, entry: &Entry, bytes: &[u8]) -> String {
        let Entry { lsn, segment, offset, chain, wall_ms, .. } = entry;
        let mut hash = begin(" entry").chain_update(self.0);
        for number in [*lsn, *segment, *offset, u64::from(*chain), *wall_ms, count(bytes.len())] {
            hash.update(number.to_le_bytes());
        }
        self.0 = hash.chain_update(bytes).finalize().into();
        hex(&self.0)
    }

    /// The name of the whole.
    pub(super) fn head(&self, entries: usize, upto: u64) -> String {
        let hash = begin(" head").chain_update(self.0);
        hex(&hash.chain_update(count(entries).to_le_bytes()).chain_update(upto.to_le_bytes()).finalize())
    }
}

/// So that no hash of one kind is ever one of another.
fn begin(kind: &str) -> Sha256 {
    Sha256::new().chain_update(FORMAT).chain_update(kind).chain_update([0])
}

fn count(number: usize) -> u64 {
    u64::try_from(number).unwrap_or(u64::MAX)
}

pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Reads what [`hex`] wrote, and nothing looser: there is one way to write a document.
pub(super) fn unhex(text: &str) -> Option<Vec<u8>> {
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    let digit = |byte: u8| match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    };
    rest.is_empty().then(|| pairs.iter().map(|[high, low]| Some(digit(*high)? << 4 | digit(*low)?)).collect())?
}

pub(super) fn rfc3339(at: Timestamp) -> String {
    serde_json::to_value(Rfc3339(at)).ok().and_then(|text| text.as_str().map(str::to_owned)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_written_in_one_way_only() {
        assert_eq!((hex(&[0, 255, 16]), unhex("00ff10")), ("00ff10".to_owned(), Some(vec![0, 255, 16])));
        for wrong in ["0", "00FF", "0g", " 00", "0x00"] {
            assert_eq!(unhex(wrong), None, "{wrong}");
        }
    }

    /// Frozen: heads are kept elsewhere. Made once by another program, so that they do not only agree with themselves.
    #[test]
    fn a_receipts_hashes_never_change() {
        let mut chain = Chain::start(&[1; 16], &PaymentId::from_bytes([2; 16]));
        assert_eq!(hex(&chain.0), "d78534788abf98c014f8f252b72b8ca23d2f15f6a0e9bc792c621e4d98eb4cd3");
        let entry = Entry {
            lsn: 1,
            segment: 2,
            offset: 4096,
            chain: 5,
            wall_ms: 6,
            wall: String::new(),
            record: String::new(),
            event: serde_json::Value::Null,
            bytes: String::new(),
            hash: String::new(),
        };
        assert_eq!(chain.link(&entry, b"bytes"), "265a5ffc1d58ee94b6f0ba1489b43d6918c33bf7b627f3c9d615149e9610e319");
        assert_eq!(chain.head(1, 9), "c653e24f98fe94e351853794aabd009ebb6835d151aa8844a2a54aefa9c9d2b4");
    }
}
