//! A Bloom filter that grows: what it does not hold was certainly never added.
//!
//! It is a list of layers, each a split-block Bloom filter as in Parquet: an id has one block of 256 bits, and in each of
//! the block's eight words one bit. A full layer never changes again, and a larger one is begun; the last one is never full,
//! but with too many ids it thinks of more and more others that it holds them. A layer as bytes, all numbers little-endian:
//!
//! ```text
//! format u8 | store [16] | applied u64 | how many ids u64 | words of the layer before: crc u32 | the words | crc u32
//! ```
//!
//! `applied` is in the newest layer only, zero in the others: with the layers before it, this one holds the id of every row
//! up to that record. That they are the layers before it, and not another filter's, their words' crc says; the first one has
//! a zero in its place. Each crc is CRC-32 (IEEE), the last one over all before it. The format is private: what is not
//! understood is as good as not there.

use std::sync::{
    OnceLock,
    atomic::{AtomicU32, AtomicU64, Ordering},
};

use crate::{journal::Lsn, payment::PaymentId};

const FORMAT: u8 = 1;
const HEADER: usize = 1 + 16 + 8 + 8 + CRC;
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
pub(super) struct BloomFilter {
    layers: Box<[OnceLock<Layer>]>,
    size: Size,
}

struct Layer {
    words: Box<[AtomicU32]>,
    ids: AtomicU64,
    /// The crc of the words of the layer before; zero in the first.
    before: u32,
}

impl BloomFilter {
    pub(super) fn new(size: Size) -> BloomFilter {
        let layers = lengths(size).map(|_| OnceLock::new()).collect();
        BloomFilter { layers, size }
    }

    /// Whether it has a layer to fill.
    pub(super) fn has_layers(&self) -> bool {
        !self.layers.is_empty()
    }

    /// Whether it may have been added; if not, it certainly was not.
    pub(super) fn may_hold(&self, id: &PaymentId) -> bool {
        let place = mix(id);
        self.layers.iter().map_while(OnceLock::get).any(|layer| layer.may_hold(place))
    }

    /// Adds an id, which takes room even if it is held already. Whoever learns of it by way of a lock finds it here.
    pub(super) fn add(&self, id: &PaymentId) {
        let free = self.layers.iter().position(|layer| layer.get().is_none_or(|layer| !layer.is_full()));
        let number = free.unwrap_or(self.layers.len().saturating_sub(1));
        if let Some(layer) = self.layer(number) {
            layer.add(mix(id));
        }
    }

    /// A layer, begun if need be: then the one before is full.
    fn layer(&self, number: usize) -> Option<&Layer> {
        let before = number.checked_sub(1).and_then(|before| self.layers.get(before)?.get());
        let begin = |length| Layer::empty(length, before.map_or(0, Layer::crc_of_words));
        Some(self.layers.get(number)?.get_or_init(|| begin(lengths(self.size).nth(number).unwrap_or_default())))
    }

    /// How many layers there are, one at least.
    pub(super) fn depth(&self) -> usize {
        self.layers.iter().map_while(OnceLock::get).count().max(1)
    }

    /// Its layers as bytes, from the given one on, each with its number.
    pub(super) fn encode(&self, from: usize, store: [u8; 16], applied: Lsn) -> impl Iterator<Item = (usize, Vec<u8>)> {
        let depth = self.depth();
        (from..depth).filter_map(move |number| {
            let applied = if number + 1 == depth { applied } else { Lsn::ZERO };
            Some((number, self.layer(number)?.encode(store, applied)))
        })
    }

    /// What these layers make, and up to which record it holds every row of this store. Whatever follows a layer that is not
    /// whole, or another filter's, counts for nothing. None, if there is no layer at all.
    pub(super) fn decode(
        size: Size,
        store: [u8; 16],
        layers: impl Iterator<Item = Vec<u8>>,
    ) -> Option<(BloomFilter, Lsn)> {
        let filter = BloomFilter::new(size);
        let mut reached = None;
        for (number, bytes) in layers.enumerate() {
            let before = number.checked_sub(1).and_then(|before| filter.layers.get(before)?.get());
            let follows = |layer: &Layer| match before {
                Some(before) => before.is_full() && layer.before == before.crc_of_words(),
                None => layer.before == 0,
            };
            let whole = Layer::decode(&bytes, store).filter(|(layer, _)| follows(layer));
            let (Some((layer, applied)), Some(place)) = (whole, filter.layers.get(number)) else { break };
            place.get_or_init(|| layer);
            reached = Some(applied);
        }
        reached.map(|applied| (filter, applied))
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
}

impl Layer {
    fn empty(bytes: usize, before: u32) -> Layer {
        let blocks = bytes.div_ceil(BLOCK_BYTES).max(1);
        Layer { words: (0..blocks * WORDS).map(|_| AtomicU32::new(0)).collect(), ids: AtomicU64::new(0), before }
    }

    fn crc_of_words(&self) -> u32 {
        let mut crc = crc32fast::Hasher::new();
        let bytes =
            |words: &[AtomicU32]| words.iter().flat_map(|word| word.load(Ordering::Relaxed).to_le_bytes()).collect();
        self.words.chunks(1024).map(bytes).for_each(|bytes: Vec<u8>| crc.update(&bytes));
        crc.finalize()
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

    fn encode(&self, store: [u8; 16], applied: Lsn) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(HEADER + self.words.len() * 4 + CRC);
        bytes.push(FORMAT);
        bytes.extend(store);
        bytes.extend(applied.get().to_le_bytes());
        bytes.extend(self.ids.load(Ordering::Relaxed).to_le_bytes());
        bytes.extend(self.before.to_le_bytes());
        self.words.iter().for_each(|word| bytes.extend(word.load(Ordering::Relaxed).to_le_bytes()));
        bytes.extend(crc32fast::hash(&bytes).to_le_bytes());
        bytes
    }

    /// The layer, and up to where it says that it reaches; none, if it is not whole, or another store's.
    fn decode(bytes: &[u8], store: [u8; 16]) -> Option<(Layer, Lsn)> {
        let (rest, crc) = bytes.split_last_chunk::<CRC>()?;
        if u32::from_le_bytes(*crc) != crc32fast::hash(rest) {
            return None;
        }
        let (header, words) = rest.split_first_chunk::<HEADER>()?;
        let (format, rest) = header.split_first()?;
        let (whose, rest) = rest.split_first_chunk::<16>()?;
        let (applied, rest) = rest.split_first_chunk::<8>()?;
        let (ids, before) = rest.split_first_chunk::<8>()?;
        let even = !words.is_empty() && words.len().is_multiple_of(BLOCK_BYTES);
        if *format != FORMAT || *whose != store || !even {
            return None;
        }
        let words = words.as_chunks::<4>().0.iter().map(|word| AtomicU32::new(u32::from_le_bytes(*word)));
        let ids = AtomicU64::new(u64::from_le_bytes(*ids));
        let layer = Layer { words: words.collect(), ids, before: u32::from_le_bytes(*before.first_chunk()?) };
        Some((layer, Lsn::new(u64::from_le_bytes(*applied))))
    }
}

/// Ids end with a hash, whose two highest bits say only what kind of uuid it is.
fn mix(id: &PaymentId) -> u64 {
    let [.., a, b, c, d, e, f, g, h] = *id.as_bytes();
    let hash = u64::from_be_bytes([a, b, c, d, e, f, g, h]);
    (hash ^ (hash >> 32)).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    const SIZE: Size = Size { first: 64, largest: 1024, all: 4096 };
    const STORE: [u8; 16] = [7; 16];

    /// Their order is that of the numbers, and they end as if by a hash.
    pub(in crate::store) fn id(n: u64) -> PaymentId {
        let hash = n.wrapping_mul(0xd134_2543_de82_ef95).rotate_left(29).wrapping_mul(0x2545_f491_4f6c_dd1d);
        PaymentId::from_bytes((u128::from(n) << 64 | u128::from(hash)).to_be_bytes())
    }

    fn filled(ids: std::ops::Range<u64>) -> BloomFilter {
        let filter = BloomFilter::new(SIZE);
        ids.for_each(|n| filter.add(&id(n)));
        filter
    }

    fn layers(filter: &BloomFilter, applied: u64) -> Vec<Vec<u8>> {
        filter.encode(0, STORE, Lsn::new(applied)).map(|(_, bytes)| bytes).collect()
    }

    /// And up to where it reaches.
    fn decode(layers: &[Vec<u8>]) -> Option<(BloomFilter, u64)> {
        let decoded = BloomFilter::decode(SIZE, STORE, layers.iter().cloned());
        decoded.map(|(filter, reached)| (filter, reached.get()))
    }

    fn reached(layers: &[Vec<u8>]) -> Option<u64> {
        decode(layers).map(|(_, reached)| reached)
    }

    #[test]
    fn whatever_was_added_is_held_however_often_it_has_grown() {
        let filter = BloomFilter::new(SIZE);
        for n in 0..2_000 {
            filter.add(&id(n));
            assert!(filter.may_hold(&id(n)), "{n}");
        }
        assert!((0..2_000).all(|n| filter.may_hold(&id(n))));
        assert_eq!(filter.depth(), 5, "64, 256 and 1,024 bytes, and twice as many again");
    }

    #[test]
    fn few_others_are_thought_to_be_held() {
        let filter = BloomFilter::new(Size { first: 1 << 20, largest: 1 << 20, all: 1 << 20 });
        (0..600_000).for_each(|n| filter.add(&id(n)));
        let wrong = (1_000_000..1_100_000).filter(|n| filter.may_hold(&id(*n))).count();
        assert!(wrong < 700, "{wrong} of 100,000");
    }

    #[test]
    fn one_that_is_too_small_holds_what_was_added_and_ever_more_others() {
        let filter = BloomFilter::new(Size { first: 32, largest: 32, all: 64 });
        (0..200).for_each(|n| filter.add(&id(n)));
        assert!((0..200).all(|n| filter.may_hold(&id(n))));
        assert!((1_000..1_100).filter(|n| filter.may_hold(&id(*n))).count() > 50);
        let none = BloomFilter::new(Size { all: 31, ..SIZE });
        none.add(&id(1));
        assert!(!none.has_layers() && !none.may_hold(&id(1)));
    }

    #[test]
    fn what_was_kept_holds_the_same_and_goes_on_growing() {
        let (again, reached) = decode(&layers(&filled(0..1_000), 9)).expect("whole");
        assert_eq!(reached, 9);
        (1_000..2_000).for_each(|n| again.add(&id(n)));
        assert!((0..2_000).all(|n| again.may_hold(&id(n))));
        assert_eq!(layers(&again, 9), layers(&filled(0..2_000), 9));
    }

    #[test]
    fn without_its_newest_layer_it_reaches_nowhere() {
        let kept = layers(&filled(0..1_000), 9);
        assert!(kept.len() > 2);
        assert_eq!((reached(&kept), reached(&kept[..kept.len() - 1]), reached(&[])), (Some(9), Some(0), None));
    }

    /// Killed between two of them, or with one lost, layers of an older filter follow those of another.
    #[test]
    fn what_another_filter_has_left_behind_does_not_count() {
        let (one, other) = (layers(&filled(0..1_000), 9), layers(&filled(2_000..3_000), 7));
        assert_eq!((one.len(), other.len()), (4, 4));
        for own in 1..4 {
            let mixed = [&one[..own], &other[own..]].concat();
            assert_eq!(reached(&mixed), Some(0), "{own} layers of one, and the rest of another");
        }
        let ends = layers(&filled(0..20), 9);
        assert_eq!(reached(&[&ends[..], &other[1..]].concat()), Some(9), "more than its own");
    }

    #[test]
    fn another_stores_one_and_layers_in_another_order_are_refused() {
        let kept = layers(&filled(0..1_000), 9);
        assert!(BloomFilter::decode(SIZE, [8; 16], kept.iter().cloned()).is_none());
        assert!(decode(&kept[1..]).is_none());
        assert_eq!(reached(&[kept[0].clone(), kept[2].clone()]), Some(0));
    }

    #[test]
    fn every_flipped_bit_and_every_cut_is_noticed() {
        let kept = layers(&filled(0..20), 9);
        let mut bytes = kept[0].clone();
        for place in 0..bytes.len() * 8 {
            bytes[place / 8] ^= 1 << (place % 8);
            assert!(decode(&[bytes.clone()]).is_none(), "bit {place}");
            bytes[place / 8] ^= 1 << (place % 8);
        }
        assert!((0..bytes.len()).all(|length| decode(&[bytes[..length].to_vec()]).is_none()));
        assert_eq!(reached(&[bytes]), Some(9));
    }

    /// A change here is a change of format: give it the next number.
    #[test]
    fn the_bytes_of_format_1_never_change() {
        let bytes = layers(&filled(0..3), 0x0102).concat();
        let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(
            hex,
            "0107070707070707070707070707070707020100000000000003000000000000000000000021010000010000\
             20110001000100009001010040010800080900800001000440\
             0000000000000000000000000000000000000000000000000000000000000000a69a3fff"
        );
    }
}
