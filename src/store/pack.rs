//! Rows packed many to a value: sled takes as long for a small value as for ten small ones.
//!
//! Packs are the leaves of a tree of id beginnings. A pack that grows too large becomes a fork, and its rows go to packs whose
//! keys are a byte longer; nothing is ever joined again, for nothing is ever removed.

use std::collections::BTreeMap;

use super::{
    Row, StoreError,
    codec::{self, Node, Packed},
    keys,
};
use crate::payment::PaymentId;

/// The most rows of a pack: what is read, checked and written again when one more comes is then some 30 KB.
const MOST: usize = 64;

/// Where the index's values come from.
pub(super) type Read<'a, V> = &'a dyn Fn(&[u8]) -> Result<Option<V>, StoreError>;

/// The row of a payment.
pub(super) fn find<V: AsRef<[u8]>>(id: &PaymentId, read: Read<'_, V>) -> Result<Option<Row>, StoreError> {
    for length in keys::SHORTEST..=keys::LONGEST {
        let key = keys::pack(id, length);
        let Some(value) = read(&key)? else { return Ok(None) };
        match node(id, &key, value.as_ref())? {
            Node::Pack(rows) => return Ok(rows.get(id).copied().map(codec::row)),
            Node::Fork => {}
        }
    }
    Err(StoreError::Row { payment: *id, why: "its key forks beyond its end" })
}

/// What a key leads to; `id` is a payment that would be there.
pub(super) fn node<'a>(id: &PaymentId, key: &[u8], value: &'a [u8]) -> Result<Node<'a>, StoreError> {
    codec::decode_node(key, value).map_err(|why| StoreError::Row { payment: *id, why })
}

/// Puts rows where they belong: hands each key and value to write to `put`. Of two rows of one payment the later counts.
pub(super) fn place<V: AsRef<[u8]>>(
    rows: &[(PaymentId, Row)],
    read: Read<'_, V>,
    put: &mut dyn FnMut(Vec<u8>, Vec<u8>),
) -> Result<(), StoreError> {
    let rows: BTreeMap<PaymentId, Packed<'_>> =
        rows.iter().map(|(id, row)| (*id, (row.lsn, row.payload.as_slice()))).collect();
    grouped(rows, keys::SHORTEST).into_iter().try_for_each(|group| place_in(group, keys::SHORTEST, read, put))
}

/// Those rows belong under one key of this length, or under longer ones.
fn place_in<V: AsRef<[u8]>>(
    rows: BTreeMap<PaymentId, Packed<'_>>,
    length: usize,
    read: Read<'_, V>,
    put: &mut dyn FnMut(Vec<u8>, Vec<u8>),
) -> Result<(), StoreError> {
    let Some(id) = rows.keys().next().copied() else { return Ok(()) };
    let key = keys::pack(&id, length);
    let known = read(&key)?;
    let all = match known.as_ref().map(|value| node(&id, &key, value.as_ref())).transpose()? {
        Some(Node::Fork) => return place_longer(rows, length, read, put),
        Some(Node::Pack(mut known)) => {
            known.extend(rows);
            known
        }
        None => rows,
    };
    if all.len() > MOST && length < keys::LONGEST {
        let fork = codec::encode_fork(&key);
        put(key, fork);
        return place_longer(all, length, read, put);
    }
    let pack = codec::encode_pack(&key, &all);
    put(key, pack);
    Ok(())
}

fn place_longer<V: AsRef<[u8]>>(
    rows: BTreeMap<PaymentId, Packed<'_>>,
    length: usize,
    read: Read<'_, V>,
    put: &mut dyn FnMut(Vec<u8>, Vec<u8>),
) -> Result<(), StoreError> {
    let length = length + 1;
    grouped(rows, length).into_iter().try_for_each(|group| place_in(group, length, read, put))
}

/// Rows whose ids share their first bytes, so many, together.
fn grouped(rows: BTreeMap<PaymentId, Packed<'_>>, length: usize) -> Vec<BTreeMap<PaymentId, Packed<'_>>> {
    let mut groups: Vec<BTreeMap<PaymentId, Packed<'_>>> = Vec::new();
    for (id, row) in rows {
        let same = |group: &BTreeMap<PaymentId, Packed<'_>>| {
            group
                .keys()
                .next()
                .is_some_and(|first| first.as_bytes().iter().zip(id.as_bytes()).take(length).all(|(a, b)| a == b))
        };
        match groups.last_mut().filter(|group| same(group)) {
            Some(group) => {
                group.insert(id, row);
            }
            None => groups.push(BTreeMap::from([(id, row)])),
        }
    }
    groups
}
