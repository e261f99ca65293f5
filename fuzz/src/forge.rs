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
}

impl Forge {
    pub(super) fn new() -> Forge {
        let end = End { offset: 0, next: 1, chain: 0 };
        Forge { number: 0, epoch: 1, salt: 7, end }
    }

    /// A segment's number and bytes, without the zeros at its end.
    pub(super) fn segment(&mut self, c: &mut Choices<'_>, segment_bytes: u64, largest: u64) -> (u64, Vec<u8>) {
        let predecessor = self.number;
        if predecessor > 0 && c.yes() {
            self.epoch = c.deviate(self.epoch.saturating_add(1));
            self.salt = c.deviate(self.salt.wrapping_add(1));
        }
        self.number = c.deviate(self.number.saturating_add(1));
        let mut bytes = b"PAYONCEJ".to_vec();
        bytes.extend((c.deviate(1) as u32).to_le_bytes());
        bytes.extend((c.deviate(largest) as u32).to_le_bytes());
        bytes.extend(c.deviate(segment_bytes).to_le_bytes());
        bytes.extend([(c.deviate(9)) as u8; 16]);
        bytes.extend([5; 16]);
        for field in [self.epoch, self.salt, self.number, 42, c.deviate(predecessor)] {
            bytes.extend(field.to_le_bytes());
        }
        let mut ends = [self.end, self.end];
        for end in &mut ends {
            end.offset = c.deviate(end.offset);
            end.next = c.deviate(end.next);
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
        // One byte says how many records there are, whether they are packed, whether that is right, and whether the header
        // admits it.
        let choice = c.byte();
        let (mut frames, count) = (Vec::new(), u64::from(choice % 4));
        for _ in 0..count {
            frames.extend(self.frame(c));
        }
        let packed = choice >= 0x80;
        if packed {
            frames = block(&frames);
        }
        if let 0xE0..0xF0 = choice {
            // Under right checksums, a length or a block that is none.
            let length = frames.len().max(1);
            let place = c.below(length);
            frames.iter_mut().skip(place).take(1).for_each(|byte| *byte ^= choice << 4 | 1);
        }
        let says_packed = match choice {
            0x70..0x80 | 0xF0.. => choice >> 2 & 3,
            _ => u8::from(packed),
        };
        let after_head = frames.iter().copied().chain([0, 0, 0, 0, 0, 0, 0, STAMP]).collect::<Vec<u8>>();
        let sectors = after_head.get(SECTOR - 64..).unwrap_or_default();
        let zero = sectors.chunks_exact(SECTOR).filter(|sector| sector.iter().all(|byte| *byte == 0)).count() as u64;
        let mut batch = b"POB1".to_vec();
        batch.extend((c.deviate(64 + after_head.len() as u64) as u32).to_le_bytes());
        let (first, durable) = (c.deviate(self.end.next), c.deviate(self.end.next.saturating_sub(1)));
        for field in [c.deviate(self.epoch), c.deviate(self.salt), first, durable, c.long()] {
            batch.extend(field.to_le_bytes());
        }
        let told = c.deviate(count);
        batch.extend((told as u32).to_le_bytes());
        batch.extend((c.deviate(self.end.chain.into()) as u32).to_le_bytes());
        batch.extend((c.deviate(zero) as u16).to_le_bytes());
        batch.push(says_packed);
        let crc = crc32fast::hash(&batch);
        batch.extend(crc.to_le_bytes());
        batch.push(STAMP);
        batch.extend(frames);
        let mut chain = crc32fast::Hasher::new_with_initial(self.end.chain);
        chain.update(&batch);
        let chain = c.deviate(chain.finalize().into()) as u32;
        batch.extend(chain.to_le_bytes());
        batch.extend([0, 0, 0, STAMP]);
        batch.resize(batch.len().next_multiple_of(SECTOR), 0);
        segment.extend(batch);
        self.end = End { offset: segment.len() as u64, next: first.saturating_add(told), chain };
    }

    /// A record, or bytes in its place.
    fn frame(&mut self, c: &mut Choices<'_>) -> Vec<u8> {
        if c.seldom() {
            let length = c.below(64);
            return c.take(length).to_vec();
        }
        encode_record(&records::record(c)).expect("it is short")
    }
}

/// As many bytes as follow once unpacked, and an LZ4 block of them.
fn block(bytes: &[u8]) -> Vec<u8> {
    let mut block = (bytes.len() as u32).to_le_bytes().to_vec();
    block.extend(lz4_flex::block::compress(bytes));
    block
}
