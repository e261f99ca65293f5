//! Every key in the index.
//!
//! | key | length | value |
//! |---|---|---|
//! | `m` | 1 | the mark |
//! | `p` a payment id | 17 | a pack: the rows of the ids from that one on, up to the next pack's |
//!
//! The order of the keys is that of the ids, which is the order of `list`.

use std::ops::{Bound, RangeInclusive};

use crate::payment::PaymentId;

/// Where the mark is. Sorts before every pack.
pub(super) const MARK: &[u8] = b"m";

const PACK: u8 = b'p';

/// Before every other id: the first pack is under it, whatever it holds.
pub(super) const FIRST: PaymentId = PaymentId::from_bytes([0; 16]);

/// The key of the pack that begins with this id.
pub(super) fn pack(id: &PaymentId) -> Vec<u8> {
    let mut key = Vec::with_capacity(17);
    key.push(PACK);
    key.extend(id.as_bytes());
    key
}

/// Where the pack under this key begins.
pub(super) fn begin(key: &[u8]) -> Option<PaymentId> {
    key.strip_prefix(&[PACK])?.try_into().ok().map(PaymentId::from_bytes)
}

/// The packs up to the one that this id would be in: the last of them.
pub(super) fn packs_up_to(id: &PaymentId) -> RangeInclusive<Vec<u8>> {
    vec![PACK]..=pack(id)
}

/// All packs.
pub(super) fn packs() -> (Bound<Vec<u8>>, Bound<Vec<u8>>) {
    (Bound::Included(vec![PACK]), Bound::Excluded(vec![PACK + 1]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_sort_as_their_ids_do_and_the_mark_before_them_all() {
        let id = |last| PaymentId::from_bytes([1, 2, 3, 4, 5, 6, last, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(pack(&id(9)), [&b"p"[..], id(9).as_bytes()].concat());
        assert_eq!((begin(&pack(&id(9))), begin(&pack(&id(9))[..16]), begin(MARK)), (Some(id(9)), None, None));
        assert!(MARK < pack(&FIRST).as_slice() && pack(&FIRST) < pack(&id(8)) && pack(&id(8)) < pack(&id(9)));
        assert!(packs_up_to(&id(9)).contains(&pack(&id(9))) && !packs_up_to(&id(8)).contains(&pack(&id(9))));
        assert!(!packs_up_to(&id(9)).contains(&MARK.to_vec()));
    }
}
