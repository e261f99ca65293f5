//! A batch: the records under one fsync. The bytes are drawn in `journal/mod.rs`.

use crate::payment::Timestamp;

use super::{
    Lsn, block,
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
    /// Whether its records are a block, and not as they are.
    pub(super) packed: bool,
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
        bytes.push(u8::from(self.packed));
        let crc = crc32fast::hash(&bytes);
        bytes.extend_from_slice(&crc.to_le_bytes());
        bytes.push(STAMP);
        bytes.first_chunk().copied().unwrap_or([0; HEAD])
    }

    /// `None`: not a header that was ever written.
    pub(super) fn decode(bytes: &[u8; HEAD]) -> Option<Head> {
        let mut fields = Fields(bytes);
        let magic = fields.bytes::<4>()?;
        let mut head = Head {
            length: fields.u32()?,
            epoch: fields.u64()?,
            salt: fields.u64()?,
            first: Lsn::new(fields.u64()?),
            durable: Lsn::new(fields.u64()?),
            wall: Timestamp::from_millis(fields.u64()?),
            count: fields.u32()?,
            previous: fields.u32()?,
            zero_sectors: fields.u16()?,
            packed: false,
        };
        let (packed, crc, stamp) = (fields.u8()?, fields.u32()?, fields.u8()?);
        head.packed = packed == 1;
        let right = crc == crc32fast::hash(bytes.get(..COVERED)?) && packed <= 1 && stamp == STAMP && magic == MAGIC;
        let holds = to_usize(head.length.into()) >= HEAD + TAIL;
        (right && holds).then_some(head)
    }

    /// How many bytes its records take, as they were written.
    pub(super) fn body(&self) -> usize {
        to_usize(self.length.into()).saturating_sub(HEAD + TAIL)
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
    packed: bool,
}

impl Draft {
    pub(super) fn new() -> Draft {
        Draft { bytes: vec![0; HEAD], count: 0, packed: false }
    }

    /// Adds the frames of `count` records.
    pub(super) fn push(&mut self, frames: &[u8], count: u32) {
        self.bytes.extend_from_slice(frames);
        self.count += count;
    }

    /// Makes a block of its records, if that takes fewer sectors. Nothing can be added after that.
    pub(super) fn pack(&mut self) {
        if self.extent_with(0) <= SECTOR {
            return; // It cannot take fewer.
        }
        let block = block::pack(self.bytes.get(HEAD..).unwrap_or_default());
        if extent(to_u64(HEAD + block.len() + TAIL)) < self.extent_with(0) {
            self.bytes.truncate(HEAD);
            self.bytes.extend_from_slice(&block);
            self.packed = true;
        }
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
        head.packed = self.packed;
        head.zero_sectors =
            u16::try_from(zero_sectors(self.bytes.get(HEAD..body).unwrap_or_default())).unwrap_or(u16::MAX);
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

/// How many whole sectors of a batch are zero, given its body: frames, or a block of them. Of a sector in which the trailer
/// begins, and does not end, only the body counts: the checksum in it is not known yet when the header is made.
fn zero_sectors(body: &[u8]) -> usize {
    let first = to_usize(SECTOR) - HEAD;
    let (_, sectors) = body.split_at_checked(first).unwrap_or_default();
    let (sectors, last) = sectors.as_chunks::<512>();
    let whole = last.len() + TAIL > to_usize(SECTOR);
    sectors.iter().filter(|sector| is_zero(sector.as_slice())).count() + usize::from(whole && is_zero(last))
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
    let length = head.body();
    let Some((body, after)) = rest.split_at_checked(length) else {
        return (Sight::BodyUnfinished, 0, "the file ends inside a batch");
    };
    let Some((tail, padding)) = after.split_first_chunk::<TAIL>() else {
        return (Sight::BodyUnfinished, 0, "the file ends inside a batch");
    };
    let chain = chained(chained(head.previous, raw_head), body);
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
    let written = rest.get(..length + TAIL).unwrap_or_default();
    if zero_sectors(body) > head.zero_sectors.into() {
        return (Sight::BodyUnfinished, chain, "a sector inside a batch reads as zeros");
    }
    if stamp == STAMP && spare == [0; 3] && lost_before_stamp(written, &[a, b, c, d], chain) {
        return (Sight::BodyUnfinished, chain, "a sector with the beginning of a batch's trailer reads as zeros");
    }
    (Sight::BodyDamaged, chain, "a batch was fully written, but its checksum does not match")
}

/// Whether a sector is missing that was zero but for the first bytes of the trailer: its content is no witness, for the
/// header counts it among those that are zero by content. What stands of the checksum behind it has to be right.
fn lost_before_stamp(written: &[u8], told: &[u8; 4], chain: u32) -> bool {
    let sector = to_usize(SECTOR);
    let trailer = HEAD + written.len().saturating_sub(TAIL);
    let before = trailer % sector;
    let inside = sector - before;
    // The first sector holds the header: it is there.
    let Some(begins) = (trailer - before).checked_sub(HEAD).filter(|_| inside < TAIL) else { return false };
    let mut behind = told.iter().zip(chain.to_le_bytes()).skip(inside);
    let reads_zero = written.get(begins..begins + sector).is_some_and(is_zero);
    reads_zero && behind.all(|(told, right)| *told == right)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chain_is_the_same_in_one_piece_and_in_two() {
        assert_eq!(chained(chained(7, b"pay"), b"once"), chained(7, b"payonce"));
    }

    fn head() -> Head {
        Head {
            length: 600,
            epoch: 1,
            salt: 2,
            first: Lsn::new(30),
            durable: Lsn::new(29),
            wall: Timestamp::from_millis(4),
            count: 5,
            previous: 6,
            zero_sectors: 7,
            packed: false,
        }
    }

    #[test]
    fn a_header_is_read_back_and_none_with_a_flipped_bit_is() {
        for head in [head(), Head { packed: true, ..head() }] {
            let bytes = head.encode();
            assert_eq!(Head::decode(&bytes), Some(head));
            for bit in 0..8 * HEAD {
                let mut bytes = bytes;
                bytes[bit / 8] ^= 1 << (bit % 8);
                assert_eq!(Head::decode(&bytes), None, "bit {bit}");
            }
        }
    }

    #[test]
    fn a_header_that_says_of_its_records_what_nobody_ever_wrote_is_none() {
        let mut bytes = head().encode();
        bytes[COVERED - 1] = 2;
        let crc = crc32fast::hash(&bytes[..COVERED]).to_le_bytes();
        bytes[COVERED..COVERED + 4].copy_from_slice(&crc);
        assert_eq!(Head::decode(&bytes), None);
    }

    #[test]
    fn records_become_a_block_where_that_takes_fewer_sectors_and_stay_as_they_are_where_it_does_not() {
        for (frames, extent, packed) in [
            (vec![1; 440], 512, false),
            (vec![1; 441], 512, true),
            ((0..441_u32).map(|at| (at * at / 7).to_le_bytes()[0]).collect(), 1024, false),
        ] {
            let mut draft = Draft::new();
            draft.push(&frames, 3);
            draft.pack();
            assert_eq!((draft.count, draft.extent_with(0)), (3, extent));
            let (bytes, _) = draft.finish(head());
            let head = Head::decode(bytes.first_chunk().expect("a header")).expect("right");
            let body = &bytes[HEAD..HEAD + head.body()];
            assert_eq!(head.packed, packed);
            assert_eq!(if packed { block::unpack(body, 441).expect("a block") } else { body.to_vec() }, frames);
        }
    }

    #[test]
    fn a_header_of_less_than_a_header_and_a_trailer_is_none() {
        assert_eq!(Head::decode(&Head { length: 71, ..head() }.encode()), None);
        assert!(Head::decode(&Head { length: 72, ..head() }.encode()).is_some());
    }

    /// The first sector holds the header. One in which the trailer lies whole has its stamp, and is never zero.
    #[test]
    fn sectors_that_are_zero_by_content_are_counted_up_to_the_one_in_which_the_trailer_lies() {
        for (zeros, counted) in
            [(0, 0), (65, 0), (504, 0), (505, 1), (511, 1), (512, 1), (512 + 504, 1), (512 + 505, 2)]
        {
            assert_eq!(zero_sectors(&vec![0; 448 + zeros]), counted, "{zeros}");
        }
        let mut frames = vec![0; 448 + 512 + 505];
        frames[448 + 511] = 1;
        assert_eq!(zero_sectors(&frames), 1);
        frames[448 + 512] = 1;
        assert_eq!(zero_sectors(&frames), 0);
    }

    #[test]
    fn a_batch_takes_whole_sectors() {
        for (length, taken) in [(72, 512), (512, 512), (513, 1024), (1024, 1024)] {
            assert_eq!((extent(length), Head { length: to_u32(to_usize(length)), ..head() }.extent()), (taken, taken));
        }
        let mut draft = Draft::new();
        assert_eq!((draft.extent_with(440), draft.extent_with(441)), (512, 1024));
        draft.push(&[1; 440], 2);
        draft.push(&[1; 512], 3);
        assert_eq!((draft.count, draft.extent_with(0), draft.extent_with(1)), (5, 1024, 1536));
    }

    /// A batch of four sectors; the third is zero by content.
    fn written() -> (Head, Vec<u8>, u32) {
        let mut draft = Draft::new();
        let frames = [vec![1; 1024 - HEAD], vec![0; 512], vec![1; 300]].concat();
        draft.push(&frames, 3);
        let (bytes, chain) = draft.finish(head());
        (Head::decode(bytes.first_chunk().expect("a header")).expect("right"), bytes, chain)
    }

    fn sight(change: impl FnOnce(&mut Vec<u8>)) -> Sight {
        let (head, mut bytes, _) = written();
        let raw = bytes.first_chunk().copied().expect("a header");
        change(&mut bytes);
        look(&head, &raw, &bytes[HEAD..]).0
    }

    #[test]
    fn a_batch_says_of_itself_what_only_its_bytes_can_tell() {
        let (head, bytes, chain) = written();
        let length = to_u32(1024 + 512 + 300 + TAIL);
        assert_eq!((head.length, head.count, head.zero_sectors, bytes.len()), (length, 3, 1, 2048));
        assert_eq!(chain, chained(head.previous, &bytes[..to_usize(length.into()) - TAIL]));
        let raw = bytes.first_chunk().copied().expect("a header");
        assert_eq!(look(&head, &raw, &bytes[HEAD..]), (Sight::Whole, chain, ""));
    }

    #[test]
    fn what_was_not_fully_written_is_told_from_what_was_changed_later() {
        let end = 1024 + 512 + 300 + TAIL;
        assert_eq!(sight(|_| ()), Sight::Whole);
        assert_eq!(sight(|bytes| bytes[512..1024].fill(0)), Sight::BodyUnfinished, "a sector with content reads zero");
        assert_eq!(sight(|bytes| bytes[1536..].fill(0)), Sight::BodyUnfinished, "the end reads zero");
        assert_eq!(sight(|bytes| bytes[end - 1] = 0), Sight::BodyUnfinished, "the end stamp reads zero");
        for length in [HEAD, 512, end - 1, end - TAIL] {
            assert_eq!(sight(|bytes| bytes.truncate(length)), Sight::BodyUnfinished, "the file ends at {length}");
        }
        assert_eq!(sight(|bytes| bytes.truncate(end)), Sight::Whole, "only padding is missing");
        for byte in [HEAD, 700, 1100, 1600, end - TAIL, end - 2, end - 1, end, 2047] {
            assert_eq!(sight(|bytes| bytes[byte] ^= 1), Sight::BodyDamaged, "byte {byte}");
        }
        let changed_first = sight(|bytes| bytes[HEAD..512].fill(0));
        assert_eq!(changed_first, Sight::BodyDamaged, "the first sector holds the header: it was written");
    }

    #[test]
    fn a_sector_that_held_nothing_but_the_beginning_of_the_trailer_is_missed_when_it_is_lost() {
        for inside in 1..TAIL {
            let mut draft = Draft::new();
            let frames = [vec![1; 512 - HEAD], vec![0; 512 - inside]].concat();
            draft.push(&frames, 1);
            let (bytes, chain) = draft.finish(head());
            let raw = bytes.first_chunk().copied().expect("a header");
            let head = Head::decode(&raw).expect("right");
            let sight = |bytes: &[u8]| look(&head, &raw, &bytes[HEAD..]).0;
            assert_eq!(sight(&bytes), Sight::Whole);
            let mut lost = bytes.clone();
            lost[512..1024].fill(0);
            let shows = chain.to_le_bytes().iter().take(inside).any(|byte| *byte != 0);
            assert_eq!(sight(&lost), if shows { Sight::BodyUnfinished } else { Sight::Whole }, "{inside} bytes inside");
            // With the checksum's rest wrong as well, something else has happened to it.
            let mut changed = lost.clone();
            changed[1024] ^= 1;
            assert_eq!(sight(&changed), Sight::BodyDamaged, "{inside} bytes inside");
            let mut flipped = bytes.clone();
            flipped[600] ^= 1;
            assert_eq!(sight(&flipped), Sight::BodyDamaged, "{inside} bytes inside");
        }
    }

    /// The header counts a sector that is zero but for the trailer; one that is lost elsewhere is one more, all the same.
    #[test]
    fn a_lost_sector_is_missed_beside_one_that_holds_nothing_but_the_beginning_of_the_trailer() {
        for inside in 1..TAIL {
            let mut draft = Draft::new();
            let frames = [vec![1; 1024 - HEAD], vec![0; 512 - inside]].concat();
            draft.push(&frames, 1);
            let (mut bytes, _) = draft.finish(head());
            let raw = bytes.first_chunk().copied().expect("a header");
            let head = Head::decode(&raw).expect("right");
            assert_eq!((head.zero_sectors, look(&head, &raw, &bytes[HEAD..]).0), (1, Sight::Whole), "{inside} bytes");
            bytes[512..1024].fill(0);
            assert_eq!(look(&head, &raw, &bytes[HEAD..]).0, Sight::BodyUnfinished, "{inside} bytes inside");
        }
    }

    #[test]
    fn a_sector_that_was_lost_right_before_the_trailer_is_noticed_wherever_the_trailer_stands() {
        for behind in 1..=24 {
            let mut draft = Draft::new();
            draft.push(&vec![1; 1024 + behind - HEAD - TAIL], 1);
            let (mut bytes, _) = draft.finish(head());
            let raw = bytes.first_chunk().copied().expect("a header");
            let head = Head::decode(&raw).expect("right");
            bytes[512..1024].fill(0);
            assert_eq!(look(&head, &raw, &bytes[HEAD..]).0, Sight::BodyUnfinished, "it ends {behind} bytes behind");
        }
    }
}
