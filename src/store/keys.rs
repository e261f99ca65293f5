//! Every key in the index.
//!
//! | key | length | value |
//! |---|---|---|
//! | `m` | 1 | the mark |
//! | `p` the first bytes of payment ids | 7 to 17 | a pack: the rows of all ids that begin so; or a fork: longer keys have them |
//!
//! The order of the keys is that of the ids, which is the order of `list`.

use std::ops::Bound;

use crate::payment::PaymentId;

/// Where the mark is. Sorts before every pack.
pub(super) const MARK: &[u8] = b"m";

const PACK: u8 = b'p';

/// How many bytes of an id the keys of packs begin with. In ids that lend their key's time, these are the milliseconds: what
/// is paid at the same time comes to lie together. Any others have a pack of their own.
pub(super) const SHORTEST: usize = 6;
/// A whole id: such a pack holds one row.
pub(super) const LONGEST: usize = 16;

/// Where the rows are whose ids begin with this one's first bytes, so many.
pub(super) fn pack(id: &PaymentId, length: usize) -> Vec<u8> {
    let mut key = Vec::with_capacity(1 + length);
    key.push(PACK);
    key.extend(id.as_bytes().iter().take(length));
    key
}

/// The first id that a pack's key could be of.
pub(super) fn first(key: &[u8]) -> PaymentId {
    let mut id = [0; LONGEST];
    id.iter_mut().zip(key.iter().skip(1)).for_each(|(to, from)| *to = *from);
    PaymentId::from_bytes(id)
}

/// All packs, from that on in which `id` would be.
pub(super) fn packs(id: Option<&PaymentId>) -> (Bound<Vec<u8>>, Bound<Vec<u8>>) {
    let start = id.map_or_else(|| vec![PACK], |id| pack(id, SHORTEST));
    (Bound::Included(start), Bound::Excluded(vec![PACK + 1]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_holds_the_beginning_of_its_ids_and_sorts_as_they_do() {
        let id = |last| PaymentId::from_bytes([1, 2, 3, 4, 5, 6, last, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(pack(&id(9), SHORTEST), [b'p', 1, 2, 3, 4, 5, 6]);
        assert_eq!(pack(&id(9), 7), [b'p', 1, 2, 3, 4, 5, 6, 9]);
        assert_eq!((pack(&id(9), LONGEST).len(), first(&pack(&id(9), LONGEST))), (17, id(9)));
        assert_eq!(first(&pack(&id(9), SHORTEST)), id(0));
        assert!(pack(&id(9), SHORTEST) < pack(&id(8), 7) && pack(&id(8), 7) < pack(&id(9), 7));
        assert!(MARK < pack(&id(0), SHORTEST).as_slice());
    }
}
