//! A batch: the records under one fsync. The bytes are drawn in `journal/mod.rs`.

use crate::payment::Timestamp;

use super::{
    Lsn,
    bytes::{Fields, is_zero, round_up, to_u32, to_u64, to_usize},
    verdict::Sight,
};

/// What disks write whole. Batches start at its multiples, so that one never shares a sector with another.
pub(super) const SECTOR: u64 = 512;
/// A batch's header.
pub(super) const HEAD: usize = 64;
/// A batch's trailer.
pub(super) const TAIL: usize = 8;
/// The last byte of every header and trailer: not zero, so that it tells "written" from "never written", and with
/// several bits set, so that no single flipped bit makes it zero.
pub(super) const STAMP: u8 = 0xE5;

const MAGIC: [u8; 4] = *b"POB1";
/// The bytes of a header that its CRC covers.
const COVERED: usize = 59;

/// A batch's header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Head {
    /// Header, records and trailer, in bytes, without the padding.
    pub(super) length: u32,
    pub(super) epoch: u64,
    pub(super) salt: u64,
    /// The first record's place; for an empty batch, the place that the next record will have.
    pub(super) first: Lsn,
    /// Everything up to here was durable before this batch was written.
    pub(super) durable: Lsn,
    pub(super) wall: Timestamp,
    pub(super) count: u32,
    /// The chain value before it.
    pub(super) previous: u32,
    /// How many whole sectors of it are zero by content: one more than that reads zero, and it was not fully written.
    pub(super) zero_sectors: u16,
}

impl Head {
    pub(super) fn encode(&self) -> [u8; HEAD] {
        let mut bytes = Vec::with_capacity(HEAD);
        bytes.extend_from_slice(&MAGIC);
        bytes.extend_from_slice(&self.length.to_le_bytes());
        for field in [self.epoch, self.salt, self.first.get(), self.durable.get(), self.wall.as_millis()] {
            bytes.extend_from_slice(&field.to_le_bytes());
        }
        bytes.extend_from_slice(&self.count.to_le_bytes());
        bytes.extend_from_slice(&self.previous.to_le_bytes());
        bytes.extend_from_slice(&self.zero_sectors.to_le_bytes());
        bytes.push(0);
        let crc = crc32fast::hash(&bytes);
        bytes.extend_from_slice(&crc.to_le_bytes());
        bytes.push(STAMP);
        bytes.first_chunk().copied().unwrap_or([0; HEAD])
    }

    /// `None`: not a header that was ever written.
    pub(super) fn decode(bytes: &[u8; HEAD]) -> Option<Head> {
        let mut fields = Fields(bytes);
        let magic = fields.bytes::<4>()?;
        let head = Head {
            length: fields.u32()?,
            epoch: fields.u64()?,
            salt: fields.u64()?,
            first: Lsn::new(fields.u64()?),
            durable: Lsn::new(fields.u64()?),
            wall: Timestamp::from_millis(fields.u64()?),
            count: fields.u32()?,
            previous: fields.u32()?,
            zero_sectors: fields.u16()?,
        };
        let (spare, crc, stamp) = (fields.u8()?, fields.u32()?, fields.u8()?);
        let right = crc == crc32fast::hash(bytes.get(..COVERED)?) && spare == 0 && stamp == STAMP && magic == MAGIC;
        let holds = to_usize(head.length.into()) >= HEAD + TAIL;
        (right && holds).then_some(head)
    }

    /// What it takes of the file: header, records, trailer and padding.
    pub(super) fn extent(&self) -> u64 {
        extent(self.length.into())
    }
}

/// What a batch of `length` bytes takes of the file.
pub(super) fn extent(length: u64) -> u64 {
    round_up(length, SECTOR)
}

/// A batch being put together.
#[derive(Debug)]
pub(super) struct Draft {
    bytes: Vec<u8>,
    pub(super) count: u32,
}

impl Draft {
    pub(super) fn new() -> Draft {
        Draft { bytes: vec![0; HEAD], count: 0 }
    }

    /// Adds the frames of `count` records.
    pub(super) fn push(&mut self, frames: &[u8], count: u32) {
        self.bytes.extend_from_slice(frames);
        self.count += count;
    }

    /// What it would take of the file with `more` bytes of frames.
    pub(super) fn extent_with(&self, more: usize) -> u64 {
        extent(to_u64(self.bytes.len() + more + TAIL))
    }

    /// The bytes to write, and the chain value after them. `head` comes without what only the bytes can tell.
    pub(super) fn finish(mut self, mut head: Head) -> (Vec<u8>, u32) {
        let body = self.bytes.len();
        self.bytes.extend_from_slice(&[0, 0, 0, 0, 0, 0, 0, STAMP]);
        head.length = to_u32(self.bytes.len());
        head.count = self.count;
        head.zero_sectors = u16::try_from(zero_sectors(self.bytes.get(HEAD..).unwrap_or_default())).unwrap_or(u16::MAX);
        overwrite(&mut self.bytes, 0, &head.encode());
        let chain = chained(head.previous, self.bytes.get(..body).unwrap_or_default());
        overwrite(&mut self.bytes, body, &chain.to_le_bytes());
        self.bytes.resize(to_usize(head.extent()), 0);
        (self.bytes, chain)
    }
}

fn overwrite(bytes: &mut [u8], at: usize, field: &[u8]) {
    bytes.iter_mut().skip(at).zip(field).for_each(|(byte, new)| *byte = *new);
}

/// CRC-32 over `bytes`, seeded with the chain value before them.
pub(super) fn chained(previous: u32, bytes: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new_with_initial(previous);
    hasher.update(bytes);
    hasher.finalize()
}

/// How many whole sectors of a batch are zero, given what follows its header.
fn zero_sectors(after_head: &[u8]) -> usize {
    let first = to_usize(SECTOR) - HEAD;
    let (_, sectors) = after_head.split_at_checked(first).unwrap_or_default();
    sectors.as_chunks::<512>().0.iter().filter(|sector| is_zero(sector.as_slice())).count()
}

/// Whether a header's first sector was written in part, front to back, or not at all: as much of it as there is begins as
/// a header does, its end stamp is not there yet, and neither is anything after that.
pub(super) fn is_torn_head(bytes: &[u8]) -> bool {
    let (first, _) = bytes.split_at_checked(to_usize(SECTOR)).unwrap_or((bytes, &[]));
    let (head, after) = first.split_at_checked(HEAD - 1).unwrap_or((first, &[]));
    let there = MAGIC.iter().zip(head).take_while(|(magic, byte)| magic == byte).count();
    let begins = there == MAGIC.len() || head.get(there..).is_some_and(is_zero);
    begins && is_zero(after)
}

/// Looks at what follows a right header: the rest of its extent, shorter if the file ends there. With the chain value
/// after the batch, and what is wrong with it.
pub(super) fn look(head: &Head, raw_head: &[u8; HEAD], rest: &[u8]) -> (Sight, u32, &'static str) {
    let body = to_usize(head.length.into()).saturating_sub(HEAD + TAIL);
    let Some((frames, after)) = rest.split_at_checked(body) else {
        return (Sight::BodyUnfinished, 0, "the file ends inside a batch");
    };
    let Some((tail, padding)) = after.split_first_chunk::<TAIL>() else {
        return (Sight::BodyUnfinished, 0, "the file ends inside a batch");
    };
    let chain = chained(chained(head.previous, raw_head), frames);
    let [a, b, c, d, spare @ .., stamp] = *tail;
    if chain == u32::from_le_bytes([a, b, c, d]) && spare == [0; 3] && stamp == STAMP {
        return match is_zero(padding) {
            true => (Sight::Whole, chain, ""),
            false => (Sight::BodyDamaged, chain, "there is something in the padding after a batch"),
        };
    }
    if stamp == 0 && is_zero(padding) {
        return (Sight::BodyUnfinished, chain, "the end of a batch reads as zeros");
    }
    let written = rest.get(..body + TAIL).unwrap_or_default();
    if zero_sectors(written) > head.zero_sectors.into() {
        return (Sight::BodyUnfinished, chain, "a sector inside a batch reads as zeros");
    }
    (Sight::BodyDamaged, chain, "a batch was fully written, but its checksum does not match")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chain_is_the_same_in_one_piece_and_in_two() {
        assert_eq!(chained(chained(7, b"pay"), b"once"), chained(7, b"payonce"));
    }
}
