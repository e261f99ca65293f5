//! The segments of a data folder, and which of them count.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    sync::Arc,
};

use crate::disk::{Access, Disk};

use super::{
    Damage, Lsn, OpenError,
    batch::SECTOR,
    bytes::{round_up, to_usize},
    codec::Frame,
    segment::{FOLDER, HEADER, Header, SegmentFile, number_of, path},
    walk::{Bounds, Step, Walk},
};

/// What lies in the folder.
pub(super) struct Folder {
    pub(super) begun: BTreeMap<u64, Segment>,
    /// Segments without a header and without a batch, and their lengths.
    pub(super) unbegun: BTreeMap<u64, u64>,
    /// Files that were being made when the process stopped.
    pub(super) unfinished: Vec<String>,
}

/// A segment that was begun.
#[derive(Clone, Copy, Debug)]
pub(super) struct Segment {
    pub(super) header: Header,
    /// The file's length.
    pub(super) bytes: u64,
}

impl Folder {
    /// Lists the folder and reads every header. A folder that is not there is an empty one.
    pub(super) fn read(disk: &Arc<dyn Disk>) -> Result<Folder, OpenError> {
        let names = names(disk)?;
        let unfinished = names.iter().filter(|name| name.ends_with(".tmp")).cloned().collect();
        let mut folder = Folder { begun: BTreeMap::new(), unbegun: BTreeMap::new(), unfinished };
        for number in names.iter().filter_map(|name| number_of(name)) {
            match look_at(disk, number)? {
                (Some(header), bytes) => drop(folder.begun.insert(number, Segment { header, bytes })),
                (None, bytes) => drop(folder.unbegun.insert(number, bytes)),
            }
        }
        folder.check_identity()?;
        folder.check_no_gap()?;
        Ok(folder)
    }

    /// The highest number that any file has.
    pub(super) fn highest(&self) -> u64 {
        let last = |number: Option<(&u64, _)>| number.map_or(0, |(number, ())| *number);
        last(self.begun.last_key_value().map(|(number, _)| (number, ())))
            .max(last(self.unbegun.last_key_value().map(|(number, _)| (number, ()))))
    }

    /// The segments that count, oldest first: those of the newest epoch that has its `Opened`, and all that they follow.
    pub(super) fn counted(&self, disk: &Arc<dyn Disk>) -> Result<Vec<Segment>, OpenError> {
        let epochs: BTreeSet<u64> = self.begun.values().map(|segment| segment.header.epoch).collect();
        for epoch in epochs.into_iter().rev() {
            let of_epoch = self.begun.values().filter(|segment| segment.header.epoch == epoch);
            let Some(last) = of_epoch.clone().next_back() else { continue };
            let line = self.line_up_to(last)?;
            let run: Vec<Segment> = line.iter().filter(|segment| segment.header.epoch == epoch).copied().collect();
            if let Some(stray) = of_epoch.clone().find(|one| run.iter().all(|other| other.header != one.header)) {
                return Err(damage(
                    stray.header.number,
                    stray.header.start().next,
                    "no segment of its start follows it",
                ));
            }
            if is_opened(disk, &run)? {
                let line = without_bare_end(disk, line)?;
                line.last().map_or(Ok(()), check_length)?;
                return Ok(line);
            }
        }
        Ok(Vec::new())
    }

    /// The segment and all that it follows, oldest first.
    fn line_up_to(&self, last: &Segment) -> Result<Vec<Segment>, OpenError> {
        let mut line = vec![*last];
        let mut next = last.header;
        while let Some(number) = next.predecessor() {
            let Some(segment) = self.begun.get(&number) else {
                let why = format!("the segment is missing or empty, but {} follows it", path(next.number));
                return Err(damage(number, next.seen.next, &why));
            };
            check_link(segment, &next)?;
            line.push(*segment);
            next = segment.header;
        }
        if next.seen.next != Lsn::new(1) {
            return Err(damage(next.number, next.seen.next, "nothing comes before it, but it is not the first"));
        }
        line.reverse();
        Ok(line)
    }

    fn check_identity(&self) -> Result<(), OpenError> {
        let first = self.begun.values().next();
        let foreign = self.begun.values().find(|segment| first.is_some_and(|f| f.header.store != segment.header.store));
        match foreign {
            Some(segment) => {
                let why = "the segment belongs to another journal than the ones before it";
                Err(damage(segment.header.number, segment.header.start().next, why))
            }
            None => Ok(()),
        }
    }

    /// Spares are made with the numbers after the last begun segment, one after another: a gap before one is a segment
    /// lost. Seen at once, and not only when the spares before it are used up.
    fn check_no_gap(&self) -> Result<(), OpenError> {
        let begun = self.begun.last_key_value().map_or(0, |(number, _)| *number);
        let spares = self.unbegun.keys().filter(|number| **number > begun);
        match spares.zip(begun + 1..).find(|(spare, expected)| *spare != expected) {
            Some((&spare, lost)) => {
                let why = format!("the segment is missing, but {} had been made to follow it", path(spare));
                Err(damage(lost, Lsn::ZERO, &why))
            }
            None => Ok(()),
        }
    }
}

/// The numbers of the segments in the folder, in order.
pub(super) fn numbers(disk: &Arc<dyn Disk>) -> Result<BTreeSet<u64>, OpenError> {
    Ok(names(disk)?.iter().filter_map(|name| number_of(name)).collect())
}

/// A segment's header, or `None` if it was not begun, and its file's length.
pub(super) fn look_at(disk: &Arc<dyn Disk>, number: u64) -> Result<(Option<Header>, u64), OpenError> {
    let file = SegmentFile::open(disk, number, Access::Read).map_err(reading(number))?;
    Ok((read_header(&file, number)?, file.bytes()))
}

fn names(disk: &Arc<dyn Disk>) -> Result<Vec<String>, OpenError> {
    match disk.list(FOLDER) {
        Ok(names) => Ok(names),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(OpenError::disk("listing its folder")(error)),
    }
}

fn read_header(file: &SegmentFile, number: u64) -> Result<Option<Header>, OpenError> {
    if number == 0 {
        // Segments are counted from 1; a header says with 0 that it follows none.
        return Err(damage(
            number,
            Lsn::ZERO,
            "no segment has this number: the file was renamed, or is not of a journal",
        ));
    }
    let bytes = file.read(0, to_usize(HEADER)).map_err(reading(number))?;
    match Header::decode(&bytes) {
        Some(header) if header.is_out_of_reach() => {
            Err(damage(number, header.start().next, "its header holds numbers that no journal ever comes to"))
        }
        Some(header) if header.number == number => Ok(Some(header)),
        Some(header) => {
            let why = format!("the file holds segment {}", header.number);
            Err(damage(number, header.start().next, &why))
        }
        None => {
            if let Some(format) = Header::of_another_format(&bytes) {
                let why = format!("its format is {format}, which this payonce does not know: use a newer one");
                return Err(damage(number, Lsn::ZERO, &why));
            }
            match file.last_written(HEADER).map_err(reading(number))? {
                None => Ok(None),
                Some(_) => Err(damage(number, Lsn::ZERO, "its header is damaged, and batches follow it")),
            }
        }
    }
}

/// Leaves out a last segment that has a header and nothing else. Its header may have been seen and not be durable, so it
/// must be neither believed nor followed; once a batch had been written after it, it was durable.
fn without_bare_end(disk: &Arc<dyn Disk>, mut line: Vec<Segment>) -> Result<Vec<Segment>, OpenError> {
    if let Some(last) = line.last() {
        let number = last.header.number;
        let file = SegmentFile::open(disk, number, Access::Read).map_err(reading(number))?;
        if file.last_written(HEADER).map_err(reading(number))?.is_none() {
            line.pop();
        }
    }
    Ok(line)
}

fn is_opened(disk: &Arc<dyn Disk>, run: &[Segment]) -> Result<bool, OpenError> {
    for (index, segment) in run.iter().enumerate() {
        let bounds = run.get(index + 1).map_or(Bounds::Last, |next| Bounds::before(&next.header));
        let mut walk = Walk::new(disk, segment.header, bounds, segment.header.start())?;
        while let Step::Batch(batch) = walk.next()? {
            if batch.frames.iter().any(Frame::is_opened) {
                return Ok(true);
            }
        }
    }
    Ok(false)
}

/// Whether a segment can be what the next one's header says it follows.
fn check_link(segment: &Segment, next: &Header) -> Result<(), OpenError> {
    let header = &segment.header;
    let same_start = header.epoch == next.epoch;
    let in_order = header.number < next.number
        && header.epoch <= next.epoch
        && (!same_start || (header.salt == next.salt && next.proven == next.seen));
    let ends = header.start().offset <= next.proven.offset
        && next.proven.offset <= next.seen.offset
        && header.start().next <= next.proven.next
        && next.proven.next <= next.seen.next;
    if !in_order || !ends {
        let why = format!("it does not follow {} as its header says", path(header.number));
        return Err(damage(next.number, next.seen.next, &why));
    }
    if segment.bytes < round_up(next.proven.offset, SECTOR) {
        let why = format!("the file ends at byte {}, before its last durable batch does", segment.bytes);
        return Err(Damage { segment: header.number, offset: segment.bytes, lsn: next.proven.next, why }.into());
    }
    Ok(())
}

/// The last segment's unused zeros are never given back.
fn check_length(last: &Segment) -> Result<(), OpenError> {
    let Segment { header, bytes } = last;
    if *bytes == header.segment_bytes {
        return Ok(());
    }
    let why = format!("the file is {bytes} bytes long, but was made with {}", header.segment_bytes);
    Err(Damage { segment: header.number, offset: *bytes, lsn: header.start().next, why }.into())
}

pub(super) fn damage(segment: u64, lsn: Lsn, why: &str) -> OpenError {
    Damage { segment, offset: 0, lsn, why: why.to_owned() }.into()
}

/// Words are made only when there is an error: this is asked for at every read.
pub(super) fn reading(number: u64) -> impl FnOnce(io::Error) -> OpenError {
    move |error| OpenError::Disk { what: format!("reading {}", path(number)), error }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::journal::Position;

    fn place(segment: u64, offset: u64, next: u64) -> Position {
        Position { segment, offset, next: Lsn::new(next), chain: 5 }
    }

    fn header(number: u64, epoch: u64, proven: Position, seen: Position) -> Header {
        Header { segment_bytes: 64 << 10, store: [1; 16], epoch, salt: 7, number, proven, seen, ..Header::default() }
    }

    /// Segment 3, whose first record is 10, and what says that it ends at 8192, before record 20.
    fn linked() -> (Segment, Header) {
        let begin = place(2, 9000, 10);
        let (end, first) = (place(3, 8192, 20), header(3, 2, begin, begin));
        (Segment { header: first, bytes: 64 << 10 }, header(4, 2, end, end))
    }

    fn link(change: impl FnOnce(&mut Segment, &mut Header)) -> Result<(), String> {
        let (mut segment, mut next) = linked();
        change(&mut segment, &mut next);
        check_link(&segment, &next).map_err(|error| error.to_string())
    }

    #[test]
    fn a_segment_follows_another_of_its_own_start_or_of_an_earlier_one() {
        assert_eq!(link(|_, _| ()), Ok(()));
        let later = |next: &mut Header| (next.epoch, next.salt) = (3, 8);
        assert_eq!(link(|_, next| later(next)), Ok(()));
        let unproven = |next: &mut Header| (next.epoch, next.salt, next.proven) = (3, 8, place(3, 4096, 10));
        assert_eq!(link(|_, next| unproven(next)), Ok(()), "nothing of it may be proven");
        let nothing_seen = |next: &mut Header| (next.proven, next.seen) = (place(3, 4096, 10), place(3, 4096, 10));
        assert_eq!(link(|_, next| nothing_seen(next)), Ok(()), "nothing of it may have been seen");
        assert_eq!(link(|segment, _| segment.bytes = 8192), Ok(()), "its unused zeros were given back");
        let inside = |next: &mut Header| (next.proven.offset, next.seen.offset) = (8192 - 511, 8192 - 511);
        assert!(link(|segment, next| (inside(next), segment.bytes = 8191).1).is_err(), "its padding belongs to it");
    }

    #[test]
    fn a_segment_that_cannot_be_what_the_next_one_says_is_refused() {
        type Change = fn(&mut Segment, &mut Header);
        let changes: [Change; 10] = [
            |_, next| next.number = 3,
            |_, next| next.number = 2,
            |_, next| next.epoch = 1,
            |_, next| next.salt = 8,
            |_, next| next.proven = place(3, 4096, 10),
            |_, next| (next.epoch, next.proven.offset) = (3, 4095),
            |_, next| (next.epoch, next.proven.offset) = (3, 8193),
            |_, next| (next.epoch, next.proven.next) = (3, Lsn::new(9)),
            |_, next| (next.epoch, next.proven.next) = (3, Lsn::new(21)),
            |segment, _| segment.header.seen.next = Lsn::new(21),
        ];
        for (case, change) in changes.into_iter().enumerate() {
            let refused = link(change).expect_err("it cannot follow");
            assert!(
                refused.contains("it does not follow journal/0000000003.log as its header says"),
                "{case}: {refused}"
            );
        }
        let short = link(|segment, _| segment.bytes = 8191).expect_err("a durable batch is missing");
        assert!(
            short.contains("journal/0000000003.log at byte 8191") && short.contains("before its last durable batch")
        );
    }

    #[test]
    fn the_last_segment_is_as_long_as_it_was_made() {
        let (segment, _) = linked();
        assert!(check_length(&segment).is_ok());
        for bytes in [segment.bytes - 1, segment.bytes + 1, 0] {
            let refused = check_length(&Segment { bytes, ..segment }).expect_err("another length").to_string();
            assert!(refused.contains(&format!("the file is {bytes} bytes long, but was made with 65536")), "{refused}");
        }
    }

    fn folder(begun: &[u64], unbegun: &[u64]) -> Folder {
        let segment = |number| Segment { header: header(number, 1, Position::default(), place(0, 0, 1)), bytes: 9 };
        Folder {
            begun: begun.iter().map(|number| (*number, segment(*number))).collect(),
            unbegun: unbegun.iter().map(|number| (*number, 9)).collect(),
            unfinished: Vec::new(),
        }
    }

    #[test]
    fn a_new_segment_gets_a_number_that_no_file_has() {
        for (begun, unbegun, highest) in
            [(&[][..], &[][..], 0), (&[1, 4], &[], 4), (&[], &[2], 2), (&[1, 2], &[3, 5], 5), (&[1, 7], &[3], 7)]
        {
            assert_eq!(folder(begun, unbegun).highest(), highest, "{begun:?} {unbegun:?}");
        }
    }

    #[test]
    fn a_gap_before_a_spare_is_a_segment_lost() {
        for (begun, unbegun) in [(&[1, 2][..], &[3][..]), (&[1, 2], &[]), (&[], &[1]), (&[3], &[1, 4, 5])] {
            assert!(folder(begun, unbegun).check_no_gap().is_ok(), "{begun:?} {unbegun:?}");
        }
        for (begun, unbegun, lost) in
            [(&[1, 2][..], &[4][..], 3), (&[], &[2, 3], 1), (&[3], &[1, 5], 4), (&[1], &[2, 6], 3)]
        {
            let refused = folder(begun, unbegun).check_no_gap().expect_err("a gap");
            assert_eq!(refused.damage().map(|damage| damage.segment), Some(lost), "{begun:?} {unbegun:?}");
        }
    }

    #[test]
    fn segments_of_two_journals_in_one_folder_are_refused() {
        let mut two = folder(&[1, 2, 3], &[]);
        assert!(two.check_identity().is_ok());
        if let Some(segment) = two.begun.get_mut(&2) {
            segment.header.store = [9; 16];
        }
        let refused = two.check_identity().expect_err("a stranger");
        assert_eq!(refused.damage().map(|damage| damage.segment), Some(2));
    }
}
