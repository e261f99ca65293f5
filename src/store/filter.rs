//! A Bloom filter that grows: what it does not hold was certainly never added.
//!
//! It is a list of layers, each a split-block Bloom filter as in Parquet: an id has one block of 256 bits, and in each of
//! the block's eight words one bit. A full layer never changes again, and a larger one is begun. A layer as bytes, all
//! numbers little-endian:
//!
//! ```text
//! format u8 | which layer u8 | store [16] | applied u64 | how many ids u64 | the words | crc u32
//! ```
//!
//! `applied` is in the newest layer only, zero in the others: with the layers before it, this one holds the id of every row
//! up to that record. The crc is CRC-32 (IEEE) over all before it. The format is private: one that is not understood is as
//! good as none.

use std::sync::{
    OnceLock,
    atomic::{AtomicU32, AtomicU64, Ordering},
};

use crate::{journal::Lsn, payment::PaymentId};

const FORMAT: u8 = 1;
const HEADER: usize = 1 + 1 + 16 + 8 + 8;
const CRC: usize = 4;

/// A block: 32 bytes, half of what a processor fetches at once.
const WORDS: usize = 8;
const BLOCK_BYTES: usize = WORDS * 4;

/// When a layer is full: twelve bits an id, at which one of some 200 others is taken for one that was added.
const IDS_IN_A_BLOCK: usize = 21;

/// Odd numbers, one for each word of a block, as Parquet has them: the five highest bits of a product choose the bit.
const SALTS: [u32; WORDS] =
    [0x47b6_137b, 0x4497_4d91, 0x8824_ad5b, 0xa2b7_289d, 0x7054_95c7, 0x2df1_424b, 0x9efc_4947, 0x5c6b_fb31];

/// How large it may become.
#[derive(Clone, Copy, Debug)]
pub(super) struct Size {
    /// Of the first layer, in bytes; each further one is four times as large, up to `largest`.
    pub(super) first: usize,
    /// Of a layer, in bytes: so much is written again at each flush.
    pub(super) largest: usize,
    /// Of all layers, in bytes.
    pub(super) all: u64,
}

/// Ids, added by one thread and asked for by any.
pub(super) struct Filter {
    layers: Box<[OnceLock<Layer>]>,
    size: Size,
}

struct Layer {
    words: Box<[AtomicU32]>,
    ids: AtomicU64,
}

/// There is no room for another id.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Full;

impl Filter {
    pub(super) fn new(size: Size) -> Filter {
        let layers = lengths(size).map(|_| OnceLock::new()).collect();
        Filter { layers, size }
    }

    /// Whether there is room for any id.
    pub(super) fn may_grow(&self) -> bool {
        !self.layers.is_empty()
    }

    /// Whether it may have been added; if not, it certainly was not.
    pub(super) fn may_hold(&self, id: &PaymentId) -> bool {
        let place = mix(id);
        self.layers.iter().map_while(OnceLock::get).any(|layer| layer.may_hold(place))
    }

    /// Adds an id, which takes room even if it is held already. Whoever is told afterwards, in whatever way, that this was
    /// done, finds it here.
    pub(super) fn add(&self, id: &PaymentId) -> Result<(), Full> {
        let mut layers = self.layers.iter().zip(lengths(self.size));
        let free = layers.find(|(layer, _)| layer.get().is_none_or(|layer| !layer.is_full())).ok_or(Full)?;
        free.0.get_or_init(|| Layer::empty(free.1)).add(mix(id));
        Ok(())
    }

    /// How many layers there are, one at least.
    pub(super) fn depth(&self) -> usize {
        self.layers.iter().map_while(OnceLock::get).count().max(1)
    }

    /// Its layers as bytes, from the given one on, each with its number.
    pub(super) fn encode(&self, from: usize, store: [u8; 16], applied: Lsn) -> impl Iterator<Item = (usize, Vec<u8>)> {
        let depth = self.depth();
        let layers = self.layers.iter().zip(lengths(self.size)).enumerate().take(depth).skip(from);
        layers.map(move |(number, (layer, length))| {
            let applied = if number + 1 == depth { applied } else { Lsn::ZERO };
            (number, layer.get_or_init(|| Layer::empty(length)).encode(number, store, applied))
        })
    }

    /// What these layers, in order, make; none, unless they are whole, of this store, and hold every row up to a record.
    pub(super) fn decode(
        size: Size,
        store: [u8; 16],
        upto: Lsn,
        layers: impl Iterator<Item = Vec<u8>>,
    ) -> Option<Filter> {
        let filter = Filter::new(size);
        let mut reached = None;
        for (number, bytes) in layers.enumerate() {
            let (layer, applied) = Layer::decode(&bytes, number, store)?;
            if reached.is_some() && !filter.layers.get(number.checked_sub(1)?)?.get()?.is_full() {
                return None;
            }
            reached = Some(applied);
            filter.layers.get(number)?.set(layer).ok()?;
        }
        reached.filter(|applied| *applied >= upto).map(|_| filter)
    }
}

/// How many bytes each layer has.
fn lengths(size: Size) -> impl Iterator<Item = usize> {
    let mut left = usize::try_from(size.all).unwrap_or(usize::MAX);
    let mut next = size.first;
    std::iter::from_fn(move || {
        let length = next;
        left = left.checked_sub(length)?;
        next = length.saturating_mul(4).min(size.largest);
        Some(length)
    })
    // A file's name and a byte say which it is.
    .take(usize::from(u8::MAX))
}

impl Layer {
    fn empty(bytes: usize) -> Layer {
        let blocks = bytes.div_ceil(BLOCK_BYTES).max(1);
        Layer { words: (0..blocks * WORDS).map(|_| AtomicU32::new(0)).collect(), ids: AtomicU64::new(0) }
    }

    fn is_full(&self) -> bool {
        let most = (self.words.len() / WORDS).saturating_mul(IDS_IN_A_BLOCK);
        self.ids.load(Ordering::Relaxed) >= u64::try_from(most).unwrap_or(u64::MAX)
    }

    fn may_hold(&self, place: u64) -> bool {
        self.bits(place).all(|(word, bit)| word.load(Ordering::Acquire) & bit != 0)
    }

    fn add(&self, place: u64) {
        self.bits(place).for_each(|(word, bit)| {
            word.fetch_or(bit, Ordering::Release);
        });
        self.ids.fetch_add(1, Ordering::Relaxed);
    }

    /// The words of a place's block, each with the bit that is its.
    fn bits(&self, place: u64) -> impl Iterator<Item = (&AtomicU32, u32)> {
        let (high, [a, b, c, d, ..]) = (place >> 32, place.to_le_bytes());
        let low = u32::from_le_bytes([a, b, c, d]);
        let blocks = u64::try_from(self.words.len() / WORDS).unwrap_or_default();
        let block = usize::try_from((high * blocks) >> 32).unwrap_or_default();
        let words = self.words.get(block * WORDS..).unwrap_or_default();
        words.iter().zip(SALTS).map(move |(word, salt)| (word, 1 << (low.wrapping_mul(salt) >> 27)))
    }

    fn encode(&self, number: usize, store: [u8; 16], applied: Lsn) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(HEADER + self.words.len() * 4 + CRC);
        bytes.push(FORMAT);
        bytes.push(u8::try_from(number).unwrap_or(u8::MAX));
        bytes.extend(store);
        bytes.extend(applied.get().to_le_bytes());
        bytes.extend(self.ids.load(Ordering::Relaxed).to_le_bytes());
        self.words.iter().for_each(|word| bytes.extend(word.load(Ordering::Relaxed).to_le_bytes()));
        bytes.extend(crc32fast::hash(&bytes).to_le_bytes());
        bytes
    }

    /// The layer, and up to where it says that it reaches; none, if it is not what it should be.
    fn decode(bytes: &[u8], number: usize, store: [u8; 16]) -> Option<(Layer, Lsn)> {
        let (rest, crc) = bytes.split_last_chunk::<CRC>()?;
        if u32::from_le_bytes(*crc) != crc32fast::hash(rest) {
            return None;
        }
        let (header, words) = rest.split_first_chunk::<HEADER>()?;
        let ([format, which], rest) = header.split_first_chunk::<2>()?;
        let (whose, rest) = rest.split_first_chunk::<16>()?;
        let (applied, ids) = rest.split_first_chunk::<8>()?;
        if *format != FORMAT || usize::from(*which) != number || *whose != store {
            return None;
        }
        let words = words.as_chunks::<4>().0.iter().map(|word| AtomicU32::new(u32::from_le_bytes(*word)));
        let layer = Layer { words: words.collect(), ids: AtomicU64::new(u64::from_le_bytes(*ids.first_chunk()?)) };
        let even = !layer.words.is_empty() && layer.words.len().is_multiple_of(WORDS);
        even.then_some((layer, Lsn::new(u64::from_le_bytes(*applied))))
    }
}

/// Ids end with a hash, whose two highest bits say only what kind of uuid it is.
fn mix(id: &PaymentId) -> u64 {
    let [.., a, b, c, d, e, f, g, h] = *id.as_bytes();
    let hash = u64::from_be_bytes([a, b, c, d, e, f, g, h]);
    (hash ^ (hash >> 32)).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIZE: Size = Size { first: 64, largest: 1024, all: 4096 };
    const STORE: [u8; 16] = [7; 16];

    /// As if by a hash.
    fn id(n: u64) -> PaymentId {
        let high = n.wrapping_mul(0xd134_2543_de82_ef95).rotate_left(29).wrapping_mul(0x2545_f491_4f6c_dd1d);
        PaymentId::from_bytes((u128::from(n) << 64 | u128::from(high)).to_be_bytes())
    }

    fn filled(ids: std::ops::Range<u64>) -> Filter {
        let filter = Filter::new(SIZE);
        ids.for_each(|n| filter.add(&id(n)).expect("room"));
        filter
    }

    fn layers(filter: &Filter, applied: u64) -> Vec<Vec<u8>> {
        filter.encode(0, STORE, Lsn::new(applied)).map(|(_, bytes)| bytes).collect()
    }

    fn decode(upto: u64, layers: &[Vec<u8>]) -> Option<Filter> {
        Filter::decode(SIZE, STORE, Lsn::new(upto), layers.iter().cloned())
    }

    #[test]
    fn whatever_was_added_is_held_however_often_it_has_grown() {
        let filter = Filter::new(SIZE);
        for n in 0..2_000 {
            filter.add(&id(n)).expect("room");
            assert!(filter.may_hold(&id(n)), "{n}");
        }
        assert!((0..2_000).all(|n| filter.may_hold(&id(n))));
        assert_eq!(filter.depth(), 5, "64, 256 and 1,024 bytes, and twice as many again");
    }

    #[test]
    fn few_others_are_thought_to_be_held() {
        let filter = Filter::new(Size { first: 1 << 20, largest: 1 << 20, all: 1 << 20 });
        (0..600_000).for_each(|n| filter.add(&id(n)).expect("room"));
        let wrong = (1_000_000..1_100_000).filter(|n| filter.may_hold(&id(*n))).count();
        assert!(wrong < 700, "{wrong} of 100,000");
    }

    #[test]
    fn one_that_is_full_says_so_and_holds_what_it_has() {
        let filter = Filter::new(Size { first: 32, largest: 32, all: 64 });
        let full = (0..).find(|n| filter.add(&id(*n)) == Err(Full)).expect("an end");
        assert!(full >= 42 && (0..full).all(|n| filter.may_hold(&id(n))), "{full}");
        let none = Filter::new(Size { all: 31, ..SIZE });
        assert!(!none.may_grow() && !none.may_hold(&id(1)) && none.add(&id(1)) == Err(Full));
    }

    #[test]
    fn what_was_kept_holds_the_same_and_goes_on_growing() {
        let again = decode(9, &layers(&filled(0..1_000), 9)).expect("whole");
        (1_000..2_000).for_each(|n| again.add(&id(n)).expect("room"));
        assert!((0..2_000).all(|n| again.may_hold(&id(n))));
        assert_eq!(layers(&again, 9), layers(&filled(0..2_000), 9));
    }

    #[test]
    fn one_that_reaches_less_far_than_it_should_is_refused() {
        let kept = layers(&filled(0..1_000), 9);
        assert!(kept.len() > 2 && decode(9, &kept).is_some() && decode(10, &kept).is_none());
        assert!(decode(1, &kept[..kept.len() - 1]).is_none(), "without its newest layer");
        assert!(decode(0, &[]).is_none());
    }

    #[test]
    fn another_stores_one_and_layers_in_another_order_are_refused() {
        let kept = layers(&filled(0..1_000), 9);
        assert!(Filter::decode(SIZE, [8; 16], Lsn::new(1), kept.iter().cloned()).is_none());
        assert!(decode(1, &kept[1..]).is_none());
        let (few, mut mixed) = (layers(&filled(0..5), 9), kept);
        mixed[0] = few[0].clone();
        assert!(decode(1, &mixed).is_none(), "the first was not full when the second was begun");
    }

    #[test]
    fn every_flipped_bit_and_every_cut_is_noticed() {
        let kept = layers(&filled(0..20), 9);
        let mut bytes = kept[0].clone();
        for place in 0..bytes.len() * 8 {
            bytes[place / 8] ^= 1 << (place % 8);
            assert!(decode(1, &[bytes.clone()]).is_none(), "bit {place}");
            bytes[place / 8] ^= 1 << (place % 8);
        }
        assert!((0..bytes.len()).all(|length| decode(1, &[bytes[..length].to_vec()]).is_none()));
        assert!(decode(1, &[bytes]).is_some());
    }

    /// A change here is a change of format: give it the next number.
    #[test]
    fn the_bytes_of_format_1_never_change() {
        let bytes = layers(&filled(0..3), 0x0102).concat();
        let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(
            hex,
            "01000707070707070707070707070707070702010000000000000300000000000000\
             2101000001000020110001000100009001010040010800080900800001000440\
             00000000000000000000000000000000000000000000000000000000000000006e0b5ab0"
        );
    }
}
