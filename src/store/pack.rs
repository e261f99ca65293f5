//! Rows packed many to a value: sled takes as long for a small value as for ten small ones.
//!
//! Packs divide the ids among them, in order: each holds the rows from its key on, up to where it says that the next one
//! begins. The first begins before every id, is written with the first mark, and the last has no end. So what is not in an
//! id's pack is nowhere, and a pack that is missing is noticed, for the one before it names it, and the mark the first. One
//! that comes back whole as it was before is not noticed: see [`super::open`] for when that is to be feared. A pack that
//! grows too large is divided; none are ever joined again, for nothing is ever removed. Ids that lend their key's time fill
//! one pack after another.

use std::{collections::BTreeMap, sync::Arc};

use super::{
    Row, StoreError,
    codec::{Pack, Packed, encode_pack},
    keys,
};
use crate::payment::PaymentId;

/// The most rows of a pack: what is read, checked and written again when one more comes is then some 15 KB of usual ones, a
/// few once compressed. With 64, 64 callers repeat a fifth fewer payments a second.
const MOST: usize = 32;

/// The most bytes of a pack's rows, unless it is a single one: dozens of the largest would be written again for each other.
const MOST_BYTES: usize = 64 << 10;

const MISSING: &str = "the pack that it would be in is missing";

/// Finds the pack in which a payment would be: the last one that does not begin after it. `None`: nothing was ever put.
pub(super) type Find<'a> = &'a dyn Fn(&PaymentId) -> Result<Option<(PaymentId, Arc<Pack>)>, StoreError>;

/// The row of a payment.
pub(super) fn find(id: &PaymentId, packs: Find<'_>) -> Result<Option<Row>, StoreError> {
    let Some((_, pack)) = pack_of(id, packs)? else { return Ok(None) };
    Ok(pack.rows().find(|(other, _)| other == id).map(|(_, (lsn, payload))| Row { lsn, payload: payload.to_vec() }))
}

/// The ids of the pack in which a payment would be, and where the next pack begins.
pub(super) fn ids(from: &PaymentId, packs: Find<'_>) -> Result<(Vec<PaymentId>, Option<PaymentId>), StoreError> {
    let pack = pack_of(from, packs)?.map(|(_, pack)| pack).unwrap_or_default();
    Ok((pack.rows().map(|(id, _)| id).collect(), pack.until))
}

/// Up to `limit` rows in the order of their ids, beginning behind `after`.
pub(super) fn page(
    after: Option<&PaymentId>,
    limit: usize,
    packs: Find<'_>,
) -> Result<Vec<(PaymentId, Row)>, StoreError> {
    let mut page = Vec::new();
    let mut next = Some(after.copied().unwrap_or(keys::FIRST));
    while let Some(from) = next.filter(|_| page.len() < limit) {
        let Some((_, pack)) = pack_of(&from, packs)? else { break };
        let wanted = pack.rows().filter(|(id, _)| *id >= from && Some(id) != after);
        let rows = wanted.map(|(id, (lsn, payload))| (id, Row { lsn, payload: payload.to_vec() }));
        page.extend(rows.take(limit - page.len()));
        next = pack.until;
    }
    Ok(page)
}

/// Puts rows where they belong: hands each key and value to write to `put`. Of two rows of one payment the later counts.
pub(super) fn place(
    rows: &[(PaymentId, Row)],
    packs: Find<'_>,
    put: &mut dyn FnMut(Vec<u8>, Vec<u8>),
) -> Result<(), StoreError> {
    let mut rows: BTreeMap<PaymentId, Packed<'_>> =
        rows.iter().map(|(id, row)| (*id, (row.lsn, row.payload.as_slice()))).collect();
    while let Some((id, _)) = rows.first_key_value() {
        let (begin, pack) = pack_of(id, packs)?.unwrap_or_else(|| (keys::FIRST, Arc::default()));
        let beyond = pack.until.map(|until| rows.split_off(&until)).unwrap_or_default();
        let mut all: BTreeMap<PaymentId, Packed<'_>> = pack.rows().collect();
        let behind = all.last_key_value().is_none_or(|(last, _)| rows.keys().all(|id| id > last));
        all.extend(rows);
        divide(begin, pack.until, &Vec::from_iter(all), behind, put);
        rows = beyond;
    }
    Ok(())
}

/// The pack that is there before any row is.
pub(super) fn first() -> (Vec<u8>, Vec<u8>) {
    let key = keys::pack(&keys::FIRST);
    let value = encode_pack(&key, None, &[]);
    (key, value)
}

/// Writes the rows of one pack as one, or as several if they are too many. If the new ones came `behind` all others, more
/// will most likely come behind these: then each is filled; else room is left in all.
fn divide(
    mut begin: PaymentId,
    until: Option<PaymentId>,
    rows: &[(PaymentId, Packed<'_>)],
    behind: bool,
    put: &mut dyn FnMut(Vec<u8>, Vec<u8>),
) {
    let each = if behind { MOST } else { rows.len().div_ceil(rows.len().div_ceil(MOST).max(1)) };
    let mut rest = rows;
    while !rest.is_empty() {
        let (part, behind_it) = rest.split_at(part_of(rest, each));
        let next = behind_it.first().map(|(id, _)| *id);
        let key = keys::pack(&begin);
        let value = encode_pack(&key, next.or(until), part);
        put(key, value);
        (begin, rest) = (next.unwrap_or(begin), behind_it);
    }
}

/// How many of these rows go into one pack: up to `each`, one at least, and no more bytes than it may hold.
fn part_of(rows: &[(PaymentId, Packed<'_>)], each: usize) -> usize {
    let mut bytes = 0;
    let fits = rows.iter().take(each).take_while(|(_, (_, payload))| {
        bytes += payload.len();
        bytes <= MOST_BYTES
    });
    fits.count().max(1)
}

fn pack_of(id: &PaymentId, packs: Find<'_>) -> Result<Option<(PaymentId, Arc<Pack>)>, StoreError> {
    match packs(id)? {
        Some((_, pack)) if pack.until.is_some_and(|until| until <= *id) => {
            Err(StoreError::Row { payment: *id, why: MISSING })
        }
        found => Ok(found),
    }
}
