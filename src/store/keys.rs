//! Every key in the index.
//!
//! | key | length | value |
//! |---|---|---|
//! | `m` | 1 | the mark |
//! | `p` payment id | 17 | a row; ids in byte order, the order of `list` |

use std::ops::Bound;

use crate::payment::PaymentId;

/// Where the mark is. Sorts before every row.
pub(super) const MARK: &[u8] = b"m";

const ROW: u8 = b'p';

/// Where a payment's row is.
pub(super) fn row(id: &PaymentId) -> [u8; 17] {
    let mut key = [ROW; 17];
    key.iter_mut().skip(1).zip(id.as_bytes()).for_each(|(to, from)| *to = *from);
    key
}

/// Whose row a key names; `None` when it names no row.
pub(super) fn payment(key: &[u8]) -> Option<PaymentId> {
    let (&ROW, id) = key.split_first()? else { return None };
    id.try_into().ok().map(PaymentId::from_bytes)
}

/// All rows behind `after`, or all rows.
pub(super) fn rows(after: Option<&PaymentId>) -> (Bound<Vec<u8>>, Bound<Vec<u8>>) {
    let start = match after {
        Some(id) => Bound::Excluded(row(id).to_vec()),
        None => Bound::Included(vec![ROW]),
    };
    (start, Bound::Excluded(vec![ROW + 1]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_names_its_payment_and_nothing_else_does() {
        let id = PaymentId::from_bytes([7; 16]);
        assert_eq!(payment(&row(&id)), Some(id));
        for stranger in [&b""[..], MARK, b"p", &[b'q'; 17], &[ROW; 16], &[ROW; 18]] {
            assert_eq!(payment(stranger), None);
        }
    }
}
