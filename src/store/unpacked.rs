//! The packs that were unpacked last. Who repeats a payment does so soon, and so do those whose payments lie beside it: the
//! same pack would be checked and unpacked again for each of its rows.

use std::sync::{Arc, Mutex, PoisonError};

use super::codec::{Pack, decode_pack};

/// How many are kept: with usual rows, of some 400 bytes, and with what they were unpacked from, these take 5 MB.
const KEPT: usize = 256;

/// Packs, each with what it was unpacked from: one is given out only for the very same bytes under the very same key.
pub(super) struct Unpacked<V>(Box<[Mutex<Option<Kept<V>>>]>);

struct Kept<V> {
    key: V,
    value: V,
    pack: Arc<Pack>,
}

impl<V: AsRef<[u8]>> Unpacked<V> {
    pub(super) fn new() -> Unpacked<V> {
        Unpacked((0..KEPT).map(|_| Mutex::new(None)).collect())
    }

    /// The rows of a value under a key, or what is wrong with them.
    pub(super) fn pack(&self, key: V, value: V) -> Result<Arc<Pack>, &'static str> {
        // Keys end as ids do, with a hash.
        let place = key.as_ref().last().map_or(0, |last| usize::from(*last) % KEPT);
        let Some(slot) = self.0.get(place) else { return decode_pack(key.as_ref(), value.as_ref()).map(Arc::new) };
        let kept = || slot.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(Kept { pack, .. }) =
            kept().as_ref().filter(|kept| kept.key.as_ref() == key.as_ref() && kept.value.as_ref() == value.as_ref())
        {
            return Ok(pack.clone());
        }
        let pack = Arc::new(decode_pack(key.as_ref(), value.as_ref())?);
        *kept() = Some(Kept { key, value, pack: pack.clone() });
        Ok(pack)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{journal::Lsn, payment::PaymentId, store::codec::encode_pack};

    fn value(key: &[u8], lsn: u64) -> Vec<u8> {
        encode_pack(key, None, &[(PaymentId::from_bytes([7; 16]), (Lsn::new(lsn), b"payload"))])
    }

    fn lsn(pack: &Pack) -> u64 {
        pack.rows().map(|(_, (lsn, _))| lsn.get()).sum()
    }

    #[test]
    fn a_pack_is_unpacked_again_once_a_byte_of_it_is_another() {
        let (packs, key) = (Unpacked::new(), b"pack".to_vec());
        let first = packs.pack(key.clone(), value(&key, 1)).expect("whole");
        let again = packs.pack(key.clone(), value(&key, 1)).expect("whole");
        assert!(Arc::ptr_eq(&first, &again));
        let next = packs.pack(key.clone(), value(&key, 2)).expect("whole");
        assert_eq!((lsn(&again), lsn(&next)), (1, 2));
    }

    #[test]
    fn what_is_right_under_one_key_is_damage_under_another_that_has_the_same_place() {
        let (packs, key, other) = (Unpacked::new(), b"pack".to_vec(), b"tack".to_vec());
        packs.pack(key.clone(), value(&key, 1)).expect("whole");
        assert!(packs.pack(other.clone(), value(&key, 1)).is_err());
        packs.pack(other.clone(), value(&other, 3)).expect("whole");
        assert_eq!(lsn(&packs.pack(key.clone(), value(&key, 1)).expect("whole")), 1);
    }
}
