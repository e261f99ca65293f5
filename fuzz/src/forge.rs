//! Journals byte by byte: the format of `journal/mod.rs` written a second time, from its drawing. With the right
//! choices it is what payonce writes; with others it is a journal with right checksums that nobody ever wrote.

use payonce::journal::encode_record;

use super::{choices::Choices, records};

pub(super) const HEADER: usize = 4096;
const SECTOR: usize = 512;
const STAMP: u8 = 0xE5;

/// A place: offset, next LSN, chain.
#[derive(Clone, Copy, Default)]
pub(super) struct End {
    offset: u64,
    next: u64,
    chain: u32,
}

/// Writes one segment after the other, each following the one before.
pub(super) struct Forge {
    number: u64,
    epoch: u64,
    salt: u64,
    end: End,
    /// Whether everything so far is as payonce would have written it.
    pub(super) honest: bool,
    pub(super) records: usize,
}

impl Forge {
    pub(super) fn new() -> Forge {
        let end = End { offset: 0, next: 1, chain: 0 };
        Forge { number: 0, epoch: 1, salt: 7, end, honest: true, records: 0 }
    }

    /// A segment's number and bytes, without the zeros at its end.
    pub(super) fn segment(&mut self, c: &mut Choices<'_>, segment_bytes: u64, largest: u64) -> (u64, Vec<u8>) {
        let predecessor = self.number;
        if predecessor > 0 && c.yes() {
            self.epoch = self.deviate(c, self.epoch.saturating_add(1));
            self.salt = self.deviate(c, self.salt.wrapping_add(1));
        }
        self.number = self.deviate(c, self.number.saturating_add(1));
        let mut bytes = b"PAYONCEJ".to_vec();
        bytes.extend((self.deviate(c, 1) as u32).to_le_bytes());
        bytes.extend((self.deviate(c, largest) as u32).to_le_bytes());
        bytes.extend(self.deviate(c, segment_bytes).to_le_bytes());
        bytes.extend([(self.deviate(c, 9)) as u8; 16]);
        bytes.extend([5; 16]);
        for field in [self.epoch, self.salt, self.number, 42, self.deviate(c, predecessor)] {
            bytes.extend(field.to_le_bytes());
        }
        let mut ends = [self.end, self.end];
        for end in &mut ends {
            end.offset = self.deviate(c, end.offset);
            end.next = self.deviate(c, end.next);
            bytes.extend(end.offset.to_le_bytes());
            bytes.extend(end.next.to_le_bytes());
            bytes.extend(end.chain.to_le_bytes());
        }
        bytes.resize(4088, 0);
        let crc = crc32fast::hash(&bytes);
        bytes.extend(crc.to_le_bytes());
        bytes.extend([0, 0, 0, STAMP]);
        self.end = End { offset: HEADER as u64, next: ends[1].next, chain: crc };
        for _ in 0..c.below(5) {
            self.batch(c, &mut bytes);
        }
        (self.number, bytes)
    }

    fn batch(&mut self, c: &mut Choices<'_>, segment: &mut Vec<u8>) {
        // One byte says how many records there are, whether they are packed, and whether the header admits it.
        let choice = c.byte();
        let (mut frames, count) = (Vec::new(), u64::from(choice % 4));
        for _ in 0..count {
            frames.extend(self.frame(c));
        }
        let packed = choice >= 0x80;
        if packed {
            frames = block(&frames);
        }
        let says_packed = if choice < 0xF0 { u8::from(packed) } else { choice >> 2 & 3 };
        self.honest &= says_packed == u8::from(packed);
        let after_head = frames.iter().copied().chain([0, 0, 0, 0, 0, 0, 0, STAMP]).collect::<Vec<u8>>();
        let sectors = after_head.get(SECTOR - 64..).unwrap_or_default();
        let zero = sectors.chunks_exact(SECTOR).filter(|sector| sector.iter().all(|byte| *byte == 0)).count() as u64;
        let mut batch = b"POB1".to_vec();
        batch.extend((self.deviate(c, 64 + after_head.len() as u64) as u32).to_le_bytes());
        let (first, durable) = (self.deviate(c, self.end.next), self.deviate(c, self.end.next.saturating_sub(1)));
        for field in [self.deviate(c, self.epoch), self.deviate(c, self.salt), first, durable, c.long()] {
            batch.extend(field.to_le_bytes());
        }
        let told = self.deviate(c, count);
        batch.extend((told as u32).to_le_bytes());
        batch.extend((self.deviate(c, self.end.chain.into()) as u32).to_le_bytes());
        batch.extend((self.deviate(c, zero) as u16).to_le_bytes());
        batch.push(says_packed);
        let crc = crc32fast::hash(&batch);
        batch.extend(crc.to_le_bytes());
        batch.push(STAMP);
        batch.extend(frames);
        let mut chain = crc32fast::Hasher::new_with_initial(self.end.chain);
        chain.update(&batch);
        let chain = self.deviate(c, chain.finalize().into()) as u32;
        batch.extend(chain.to_le_bytes());
        batch.extend([0, 0, 0, STAMP]);
        batch.resize(batch.len().next_multiple_of(SECTOR), 0);
        segment.extend(batch);
        self.end = End { offset: segment.len() as u64, next: first.saturating_add(told), chain };
        self.records += count as usize;
    }

    /// A record, or bytes in its place.
    fn frame(&mut self, c: &mut Choices<'_>) -> Vec<u8> {
        if c.seldom() {
            self.honest = false;
            let length = c.below(64);
            return c.take(length).to_vec();
        }
        encode_record(&records::record(c)).expect("it is short")
    }

    fn deviate(&mut self, c: &mut Choices<'_>, right: u64) -> u64 {
        let chosen = c.deviate(right);
        self.honest &= chosen == right;
        chosen
    }
}

/// As many bytes as follow once unpacked, and an LZ4 block of them.
fn block(bytes: &[u8]) -> Vec<u8> {
    let mut block = (bytes.len() as u32).to_le_bytes().to_vec();
    block.extend(lz4_flex::block::compress(bytes));
    block
}
