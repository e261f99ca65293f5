//! One segment, batch after batch, each one checked before it is shown.

use std::{io, sync::Arc};

use crate::{
    disk::{Access, Disk},
    payment::Timestamp,
};

use super::{
    Damage, Lsn, OpenError, Position,
    batch::{self, HEAD, Head, SECTOR, STAMP, is_torn_head},
    block,
    bytes::{is_zero, to_u64, to_usize},
    codec::{self, Frame},
    folder::reading,
    segment::{Header, SegmentFile, path},
    verdict::{Sight, Verdict, Witness, verdict},
    window::Window,
};

/// How often damage is looked at again. Beside a process that is writing, a place that was empty at one read and written at
/// the next seems damaged, and is not when it is read anew.
const LOOKS_AGAIN: usize = 3;

const UNFILLED: &str = "the records of a batch do not fill it";

/// What is known of a segment's end before it is read.
#[derive(Clone, Copy, Debug)]
pub(super) enum Bounds {
    /// Nothing: it is the last one.
    Last,
    /// What the next segment's header says.
    Followed {
        /// Durable up to here.
        proven: Position,
        /// Seen up to here.
        seen: Position,
    },
    /// It is being written, and durable up to here: nothing after that is looked at.
    Durable(Lsn),
}

impl Bounds {
    /// Of a segment that this header's segment follows.
    pub(super) fn before(next: &Header) -> Bounds {
        Bounds::Followed { proven: next.proven, seen: next.seen }
    }
}

/// A whole batch.
pub(super) struct Batch<'w> {
    /// The place before it.
    pub(super) at: Position,
    /// The place after it.
    pub(super) end: Position,
    pub(super) wall: Timestamp,
    pub(super) frames: Vec<Frame<'w>>,
    /// Whether they were written as a block.
    pub(super) packed: bool,
    /// The next segment holds what it held; see [`Witness::Superseded`].
    pub(super) superseded: bool,
}

impl Batch<'_> {
    /// Its records, each at its place.
    pub(super) fn records(&self) -> impl Iterator<Item = (Lsn, &Frame<'_>)> {
        (self.at.next.get()..).map(Lsn::new).zip(&self.frames)
    }

    /// The damage of holding a record that cannot be read.
    pub(super) fn malformed(&self, lsn: Lsn, why: &codec::Malformed) -> OpenError {
        Damage { segment: self.at.segment, offset: self.at.offset, lsn, why: why.to_string() }.into()
    }
}

/// One step through a segment.
pub(super) enum Step<'w> {
    /// The next batch.
    Batch(Batch<'w>),
    /// Nothing more.
    End(End),
}

/// How a segment ends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct End {
    /// Before a batch that was never acknowledged.
    pub(super) torn: bool,
    /// Whether that batch got so far that its header says that all before it is durable.
    pub(super) proves: bool,
}

/// A walk through one segment.
pub(super) struct Walk {
    window: Window,
    /// What the block held that was looked at last.
    unpacked: Vec<u8>,
    header: Header,
    bounds: Bounds,
    at: Position,
    closed: bool,
}

/// What stands at a place.
struct Look {
    sight: Sight,
    head: Option<Head>,
    chain: u32,
    why: &'static str,
}

impl Walk {
    /// From `from`, a place between two of its batches.
    pub(super) fn new(disk: &Arc<dyn Disk>, header: Header, bounds: Bounds, from: Position) -> Result<Walk, OpenError> {
        let file = SegmentFile::open(disk, header.number, Access::Read)
            .map_err(OpenError::disk(format!("opening {}", path(header.number))))?;
        Ok(Walk { window: Window::new(file), unpacked: Vec::new(), header, bounds, at: from, closed: false })
    }

    /// Where it stands.
    pub(super) fn at(&self) -> Position {
        self.at
    }

    /// The next batch, or the end.
    pub(super) fn next(&mut self) -> Result<Step<'_>, OpenError> {
        let Some(known) = self.witness()? else { return Ok(Step::End(End::default())) };
        let (mut look, mut witness) = self.judge(known)?;
        for _ in 0..LOOKS_AGAIN {
            if verdict(look.sight, witness) == Verdict::Corrupt {
                self.window.forget();
                (look, witness) = self.judge(known)?;
            }
        }
        match verdict(look.sight, witness) {
            Verdict::Batch => match look.head {
                Some(head) => self.take(head, look.chain, witness == Witness::Superseded),
                None => Err(self.damage(look.why)),
            },
            Verdict::End => Ok(Step::End(End::default())),
            Verdict::Torn => Ok(Step::End(End { torn: true, proves: look.head.is_some() })),
            Verdict::Corrupt => Err(self.damage(why(&look, witness))),
        }
    }

    fn judge(&mut self, known: Witness) -> Result<(Look, Witness), OpenError> {
        let look = self.look().map_err(self.disk())?;
        let later = matches!(self.bounds, Bounds::Last) && self.is_followed(&look).map_err(self.disk())?;
        Ok((look, if later { Witness::Later } else { known }))
    }

    /// What is known of this place without looking; `None` if the segment is known to end here.
    fn witness(&self) -> Result<Option<Witness>, OpenError> {
        let (proven, seen) = match self.bounds {
            Bounds::Last if self.closed => return Ok(Some(Witness::Closed)),
            Bounds::Last => return Ok(Some(Witness::Nothing)),
            Bounds::Durable(upto) => return Ok((self.at.next <= upto).then_some(Witness::Proven)),
            Bounds::Followed { proven, seen } => (proven, seen),
        };
        for end in [proven, seen] {
            if self.at.offset == end.offset && self.at != end {
                return Err(self.damage("the next segment's header tells of other records before this place"));
            }
        }
        match self.at.offset {
            at if at < proven.offset => Ok(Some(Witness::Proven)),
            at if at < seen.offset => Ok(Some(Witness::Superseded)),
            at if at == seen.offset => Ok(None),
            _ => Err(self.damage("a batch goes on where the next segment's header says that this one ends")),
        }
    }

    fn look(&mut self) -> io::Result<Look> {
        let offset = self.at.offset;
        let raw: Option<[u8; HEAD]> = self.window.get(offset, HEAD)?.first_chunk().copied();
        let Some((raw, head)) = raw.and_then(|raw| Some((raw, Head::decode(&raw)?))) else {
            return self.look_at_no_head(raw);
        };
        if let Some(why) = self.misfit(&head) {
            return Ok(Look { sight: Sight::HeadDamaged, head: None, chain: 0, why });
        }
        let whole = self.window.get(offset, to_usize(head.extent()))?;
        let rest = whole.get(HEAD..).unwrap_or_default();
        let (sight, chain, why) = batch::look(&head, &raw, rest);
        let body = rest.get(..head.body()).unwrap_or_default();
        if sight != Sight::Whole {
            return Ok(Look { sight, head: Some(head), chain, why });
        }
        let damaged = |why| Ok(Look { sight: Sight::BodyDamaged, head: Some(head), chain, why });
        let frames = if head.packed {
            let limit = to_usize(self.header.largest_batch.into());
            let Some(unpacked) = block::unpack(body, limit) else {
                return damaged("the block of a batch cannot be unpacked");
            };
            self.unpacked = unpacked;
            self.unpacked.as_slice()
        } else {
            body
        };
        match codec::frames(frames, head.count) {
            Some(_) => Ok(Look { sight, head: Some(head), chain, why }),
            None => damaged(UNFILLED),
        }
    }

    fn look_at_no_head(&mut self, raw: Option<[u8; HEAD]>) -> io::Result<Look> {
        let reach = self.window.get(self.at.offset, to_usize(self.header.largest_batch.into()))?;
        let (sight, why) = if is_zero(reach) {
            (Sight::Zero, "a batch reads as zeros")
        } else if raw.is_none() || is_torn_head(reach) {
            (Sight::HeadUnfinished, "the beginning of a batch reads as zeros")
        } else {
            (Sight::HeadDamaged, "what should be the header of a batch is none")
        };
        Ok(Look { sight, head: None, chain: 0, why })
    }

    /// Why a right header does not belong here.
    fn misfit(&self, head: &Head) -> Option<&'static str> {
        let end = self.at.offset.saturating_add(head.extent());
        if (head.epoch, head.salt) != (self.header.epoch, self.header.salt) {
            return Some("a batch of another start stands here");
        }
        if head.first != self.at.next || head.previous != self.at.chain || head.durable >= head.first {
            return Some("a batch stands here that does not continue the one before it");
        }
        if head.extent() > self.header.largest_batch.into() || end > self.header.segment_bytes {
            return Some("a batch is longer than any that was ever written");
        }
        None
    }

    /// Whether something was written after an unfinished place. A batch is written only when the fsync of the one before
    /// has returned, so then that place had been durable.
    fn is_followed(&mut self, look: &Look) -> io::Result<bool> {
        let reach = match look.sight {
            Sight::Whole | Sight::HeadDamaged | Sight::BodyDamaged => return Ok(false),
            Sight::BodyUnfinished => look.head.map_or(0, |head| head.extent()),
            Sight::Zero | Sight::HeadUnfinished => self.header.largest_batch.into(),
        };
        let end = self.at.offset + reach;
        Ok(self.window.file.last_written(end)?.is_some() || (look.head.is_none() && self.holds_batch_before(end)?))
    }

    /// Whether a later batch of this start begins between here and `end`.
    fn holds_batch_before(&mut self, end: u64) -> io::Result<bool> {
        let (epoch, salt, first) = (self.header.epoch, self.header.salt, self.at.next);
        let mut at = self.at.offset + SECTOR;
        while at < end {
            let Some(raw) = self.window.get(at, HEAD)?.first_chunk() else { break };
            let stamped = raw.last() == Some(&STAMP);
            let head = if stamped { Head::decode(raw) } else { None };
            if head.is_some_and(|head| head.epoch == epoch && head.salt == salt && head.first >= first) {
                return Ok(true);
            }
            at += SECTOR;
        }
        Ok(false)
    }

    fn take(&mut self, head: Head, chain: u32, superseded: bool) -> Result<Step<'_>, OpenError> {
        let at = self.at;
        self.at.offset += head.extent();
        self.at.next = at.next.plus(head.count.into());
        self.at.chain = chain;
        let (end, disk) = (self.at, self.disk());
        let bytes = match head.packed {
            true => self.unpacked.as_slice(),
            false => self.window.get(at.offset + to_u64(HEAD), head.body()).map_err(disk)?,
        };
        let frames = codec::frames(bytes, head.count).ok_or_else(|| damage_at(at, UNFILLED))?;
        self.closed |= frames.iter().any(Frame::is_closed);
        Ok(Step::Batch(Batch { at, end, wall: head.wall, frames, packed: head.packed, superseded }))
    }

    fn damage(&self, why: &str) -> OpenError {
        damage_at(self.at, why)
    }

    fn disk(&self) -> impl FnOnce(io::Error) -> OpenError + use<> {
        reading(self.header.number)
    }
}

fn damage_at(Position { segment, offset, next, .. }: Position, why: &str) -> OpenError {
    Damage { segment, offset, lsn: next, why: why.to_owned() }.into()
}

fn why(look: &Look, witness: Witness) -> &'static str {
    match (look.sight, witness) {
        (Sight::HeadDamaged | Sight::BodyDamaged, _) => look.why,
        (_, Witness::Closed) => "something was written after the journal had been closed",
        (Sight::Zero | Sight::HeadUnfinished, _) => "the beginning of a batch that was durable reads as zeros",
        (Sight::BodyUnfinished | Sight::Whole, _) => "a part of a batch that was durable reads as zeros",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        journal::{
            Options, folder,
            samples::{WALL, news, start},
        },
        sim::SimDisk,
    };

    const SIZES: Options =
        Options { segment_bytes: 64 << 10, batch_bytes: 4 << 10, largest_batch_bytes: 8 << 10, verify_bytes: 0 };

    /// A segment of six batches of three sectors each, and the places between them.
    fn written() -> (Arc<dyn Disk>, Header, Vec<Position>) {
        let disk: Arc<dyn Disk> = Arc::new(SimDisk::new());
        let mut journal = start(&disk, SIZES);
        let mut places = vec![journal.position()];
        for _ in 0..6 {
            journal.append(WALL, &[vec![news(1_200)]]).expect("room");
            places.push(journal.position());
        }
        let header = folder::look_at(&disk, 1).expect("readable").0.expect("begun");
        (disk, header, places)
    }

    /// The ends of the batches from `from` on, each with whether it was recorded again; and how it ends.
    fn walked(bounds: Bounds, from: usize) -> (Vec<(Position, bool)>, Result<End, String>) {
        let (disk, header, places) = written();
        walk_through(Walk::new(&disk, header, bounds, places[from]).expect("there"))
    }

    fn walk_through(mut walk: Walk) -> (Vec<(Position, bool)>, Result<End, String>) {
        let mut seen = Vec::new();
        loop {
            match walk.next() {
                Ok(Step::Batch(batch)) => seen.push((batch.end, batch.superseded)),
                Ok(Step::End(end)) => return (seen, Ok(end)),
                Err(error) => return (seen, Err(error.to_string())),
            }
        }
    }

    #[test]
    fn the_last_segment_is_read_to_where_it_was_left() {
        let (_, _, places) = written();
        let all = places[1..].iter().map(|place| (*place, false)).collect::<Vec<_>>();
        assert_eq!(walked(Bounds::Last, 0), (all.clone(), Ok(End::default())));
        assert_eq!(walked(Bounds::Last, 4), (all[4..].to_vec(), Ok(End::default())));
    }

    #[test]
    fn an_older_segment_ends_where_the_next_ones_header_says_whatever_stands_behind() {
        let (_, _, places) = written();
        let (proven, seen) = (places[2], places[4]);
        let expected = [(places[1], false), (places[2], false), (places[3], true), (places[4], true)];
        assert_eq!(walked(Bounds::Followed { proven, seen }, 0), (expected.to_vec(), Ok(End::default())));
        let all_proven = Bounds::Followed { proven, seen: proven };
        assert_eq!(walked(all_proven, 0), (expected[..2].to_vec(), Ok(End::default())));
    }

    #[test]
    fn a_header_that_ends_its_predecessor_inside_a_batch_is_refused() {
        let (_, _, places) = written();
        let inside = Position { offset: places[3].offset - SECTOR, ..places[3] };
        let (batches, end) = walked(Bounds::Followed { proven: places[2], seen: inside }, 0);
        assert_eq!(batches.len(), 3);
        assert!(end.expect_err("it goes on").contains("goes on where the next segment's header says"));
    }

    #[test]
    fn a_header_that_tells_of_other_records_than_are_there_is_refused() {
        let (_, _, places) = written();
        let other = Position { chain: places[2].chain ^ 1, ..places[2] };
        for bounds in
            [Bounds::Followed { proven: other, seen: places[4] }, Bounds::Followed { proven: places[1], seen: other }]
        {
            let (batches, end) = walked(bounds, 0);
            assert_eq!(batches.len(), 2);
            assert!(end.expect_err("other records").contains("tells of other records"));
        }
    }

    #[test]
    fn what_is_being_written_is_read_as_far_as_it_is_durable() {
        let (_, _, places) = written();
        let durable = |lsn: Lsn| walked(Bounds::Durable(lsn), 0).0.len();
        assert_eq!(durable(places[2].next.before()), 2);
        assert_eq!(durable(places[0].next.before()), 0);
    }

    /// What is wrong with the second batch, if the header and the place before it are as changed.
    fn refused(change: impl FnOnce(&mut Header, &mut Position)) -> Option<String> {
        let (disk, mut header, mut places) = written();
        change(&mut header, &mut places[1]);
        let (batches, end) = walk_through(Walk::new(&disk, header, Bounds::Last, places[1]).expect("there"));
        assert_eq!(batches.is_empty(), end.is_err());
        end.err()
    }

    #[test]
    fn a_batch_that_does_not_belong_where_it_stands_is_refused() {
        let another = |why: Option<String>| why.is_some_and(|why| why.contains("a batch of another start stands here"));
        assert!(another(refused(|header, _| header.salt += 1)));
        assert!(another(refused(|header, _| header.epoch += 1)));
        let astray = |why: Option<String>| why.is_some_and(|why| why.contains("does not continue the one before it"));
        assert!(astray(refused(|_, at| at.chain ^= 1)));
        assert!(astray(refused(|_, at| at.next = at.next.plus(1))));
        let (disk, header, places) = written();
        let (file, at) = (SegmentFile::open(&disk, 1, Access::ReadWrite).expect("there"), places[1]);
        let raw = file.read(at.offset, HEAD).expect("readable");
        let head = Head::decode(raw.first_chunk().expect("whole")).expect("right");
        let boastful = Head { durable: head.first, ..head };
        file.write_and_sync(at.offset, &boastful.encode()).expect("a disk");
        let walk = Walk::new(&disk, header, Bounds::Last, at).expect("there");
        assert!(astray(walk_through(walk).1.err()), "no batch can say that it is durable itself");
    }

    #[test]
    fn a_batch_longer_than_any_or_than_its_segment_is_refused() {
        let (_, header, places) = written();
        let (extent, end) = (3 * SECTOR, places[6].offset);
        let most = u32::try_from(extent).expect("short");
        assert_eq!(refused(|header, _| header.largest_batch = most), None);
        assert_eq!(refused(|header, _| header.segment_bytes = end), None);
        let too_long =
            |why: Option<String>| why.is_some_and(|why| why.contains("longer than any that was ever written"));
        assert!(too_long(refused(|header, _| header.largest_batch = most - 1)));
        assert!(too_long(refused(|header, _| header.segment_bytes = places[2].offset - 1)));
        assert!(header.largest_batch > most && header.segment_bytes > end);
    }

    /// How a walk ends after the last segment's file was overwritten from some place on.
    fn overwritten(at: u64, bytes: &[u8]) -> (usize, Result<End, String>) {
        let (disk, header, places) = written();
        let file = SegmentFile::open(&disk, 1, Access::ReadWrite).expect("there");
        file.write_and_sync(at, bytes).expect("a disk");
        let (batches, end) = walk_through(Walk::new(&disk, header, Bounds::Last, places[0]).expect("there"));
        (batches.len(), end)
    }

    #[test]
    fn a_hole_is_damage_where_anything_follows_and_a_torn_end_where_nothing_does() {
        let (_, _, places) = written();
        for (place, sector, torn) in [
            (2, 0, Err("the beginning of a batch that was durable reads as zeros")),
            (2, 1, Err("a part of a batch that was durable reads as zeros")),
            (4, 2, Err("a part of a batch that was durable reads as zeros")),
            (5, 0, Ok(End { torn: true, proves: false })),
            (5, 1, Ok(End { torn: true, proves: true })),
            (5, 2, Ok(End { torn: true, proves: true })),
        ] {
            let (batches, end) = overwritten(places[place].offset + sector * SECTOR, &[0; 512]);
            assert_eq!(batches, place);
            match torn {
                Ok(torn) => assert_eq!(end, Ok(torn), "batch {place}, sector {sector}"),
                Err(why) => assert!(end.expect_err("noticed").contains(why), "batch {place}, sector {sector}"),
            }
        }
    }

    #[test]
    fn only_a_later_batch_of_the_same_start_proves_that_an_unfinished_one_was_durable() {
        let (_, header, places) = written();
        let Header { epoch, salt, .. } = header;
        let (end, first) = (places[6], places[6].next);
        for sector in [1, 3, 15] {
            for (epoch, salt, first, later) in [
                (epoch, salt, first, true),
                (epoch, salt, first.plus(9), true),
                (epoch + 1, salt, first, false),
                (epoch, salt + 1, first, false),
                (epoch, salt, first.before(), false),
            ] {
                let (length, wall) = (600, Timestamp::from_millis(1));
                let durable = first.before();
                let (count, previous, zero_sectors, packed) = (1, 0, 0, false);
                let head = Head { length, epoch, salt, first, durable, wall, count, previous, zero_sectors, packed };
                let (batches, found) = overwritten(end.offset + sector * SECTOR, &head.encode());
                assert_eq!((batches, found.is_err()), (6, later), "{head:?} in sector {sector}");
            }
        }
    }

    #[test]
    fn what_seemed_damaged_in_memory_and_is_whole_in_the_file_is_read() {
        let disk: Arc<dyn Disk> = Arc::new(SimDisk::new());
        let mut journal = start(&disk, SIZES);
        let header = folder::look_at(&disk, 1).expect("readable").0.expect("begun");
        let mut walk = Walk::new(&disk, header, Bounds::Last, header.start()).expect("there");
        assert!(walk.next().is_ok(), "all around it is in memory from here on");
        for _ in 0..9 {
            journal.append(WALL, &[vec![news(1_200)]]).expect("room");
        }
        let (batches, end) = walk_through(walk);
        assert_eq!((batches.len(), end), (9, Ok(End::default())));
    }
}
