//! Every key in the index.
//!
//! | key | length | value |
//! |---|---|---|
//! | `m` | 1 | the mark |
//! | `p` a payment id, each bit the other way | 17 | a pack: the rows of the ids from that one on, up to the next pack's |
//!
//! The order of the packs' keys is the opposite of their ids'. So the pack that an id would be in is one step *forward* from
//! that id's key. sled 0.34.7 steps backward by way of the key before, behind which it supposes four bytes of FF: where
//! keys go on behind those it lands in another leaf, and panics.

use std::ops::{Bound, RangeFrom};

use crate::payment::PaymentId;

/// Where the mark is. Sorts before every pack.
pub(super) const MARK: &[u8] = b"m";

const PACK: u8 = b'p';

/// Before every other id: the first pack is under it, whatever it holds.
pub(super) const FIRST: PaymentId = PaymentId::from_bytes([0; 16]);

/// Behind every other id.
pub(super) const LAST: PaymentId = PaymentId::from_bytes([u8::MAX; 16]);

/// The key of the pack that begins with this id.
pub(super) fn pack(id: &PaymentId) -> Vec<u8> {
    let mut key = Vec::with_capacity(17);
    key.push(PACK);
    key.extend(id.as_bytes().iter().map(|byte| !byte));
    key
}

/// Where the pack under this key begins.
pub(super) fn begin(key: &[u8]) -> Option<PaymentId> {
    let turned: [u8; 16] = key.strip_prefix(&[PACK])?.try_into().ok()?;
    Some(PaymentId::from_bytes(turned.map(|byte| !byte)))
}

/// The packs that do not begin after this id: the first of them is the one that it would be in. Nothing else sorts there.
pub(super) fn packs_up_to(id: &PaymentId) -> RangeFrom<Vec<u8>> {
    pack(id)..
}

/// All packs.
pub(super) fn packs() -> (Bound<Vec<u8>>, Bound<Vec<u8>>) {
    (Bound::Included(vec![PACK]), Bound::Excluded(vec![PACK + 1]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_sort_against_their_ids_and_the_mark_before_them_all() {
        let id = |last| PaymentId::from_bytes([1, 2, 3, 4, 5, 6, last, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(pack(&id(9))[..9], [b'p', 254, 253, 252, 251, 250, 249, 246, 255]);
        assert_eq!((begin(&pack(&id(9))), begin(&pack(&id(9))[..16]), begin(MARK)), (Some(id(9)), None, None));
        assert!(MARK < pack(&id(9)).as_slice() && pack(&id(9)) < pack(&id(8)) && pack(&id(8)) < pack(&FIRST));
        assert!(packs_up_to(&id(9)).contains(&pack(&id(9))) && !packs_up_to(&id(8)).contains(&pack(&id(9))));
        assert!(packs_up_to(&id(9)).contains(&pack(&FIRST)) && !packs_up_to(&id(9)).contains(&MARK.to_vec()));
    }
}
