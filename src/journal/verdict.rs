//! What a place in a segment means: the decision table of every start.

/// What stands at a place where a batch may begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sight {
    /// Zeros, for as far as the largest batch could reach.
    Zero,
    /// A batch header whose end stamp is zero, with something in it or after it.
    HeadUnfinished,
    /// A batch header with its end stamp, that is not the one that belongs here.
    HeadDamaged,
    /// A right header; the trailer's end stamp, or a sector that was written with content, is zero.
    BodyUnfinished,
    /// A right header, and everything was written; but it does not add up.
    BodyDamaged,
    /// A right batch.
    Whole,
}

/// What else is known of that place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Witness {
    /// Nothing: it is the last thing in the journal.
    Nothing,
    /// Something was written after it in the same segment: its own fsync had returned before that.
    Later,
    /// The next segment's header says that it was durable.
    Proven,
    /// The next segment's header says that it was seen, but not whether it was durable; what it held was written again.
    Superseded,
    /// A close mark stands before it: nothing was written here any more.
    Closed,
}

/// What to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Take the batch, and go on after it.
    Batch,
    /// The segment ends here, as it was left.
    End,
    /// The segment ends here, before a batch that was never acknowledged.
    Torn,
    /// Refuse.
    Corrupt,
}

/// The table. Assumes of the disk that sectors are written whole or front to back, and that an fsynced sector does not
/// later read as zeros.
pub(super) const fn verdict(sight: Sight, witness: Witness) -> Verdict {
    match (sight, witness) {
        // The usual end: the process was killed between batches, or closed the journal.
        (Sight::Zero, Witness::Nothing | Witness::Closed) => Verdict::End,
        // Power went before the first sector of the last batch, or of a batch that was written again, had landed.
        (Sight::Zero, Witness::Superseded) => Verdict::Torn,
        // Power went while the last batch was on its way: the front of it is there, or some of its sectors.
        (Sight::HeadUnfinished | Sight::BodyUnfinished, Witness::Nothing | Witness::Superseded) => Verdict::Torn,
        // A durable batch reads as zeros, whole or in part: a lost extent, a bad repair, a file shortened and refilled.
        (Sight::Zero | Sight::HeadUnfinished | Sight::BodyUnfinished, Witness::Later | Witness::Proven) => {
            Verdict::Corrupt
        }
        // Somebody wrote into a closed journal.
        (Sight::HeadUnfinished | Sight::BodyUnfinished | Sight::Whole, Witness::Closed) => Verdict::Corrupt,
        // Bits changed, or sectors of another file or time were put here. No crash does that, so it is not guessed at,
        // not even in the last batch: it was fully written, and may have been acknowledged.
        (
            Sight::HeadDamaged | Sight::BodyDamaged,
            Witness::Nothing | Witness::Later | Witness::Proven | Witness::Superseded | Witness::Closed,
        ) => Verdict::Corrupt,
        // All is well.
        (Sight::Whole, Witness::Nothing | Witness::Later | Witness::Proven | Witness::Superseded) => Verdict::Batch,
    }
}

#[cfg(test)]
mod tests {
    use super::{Sight::*, Verdict::*, Witness::*, *};

    #[test]
    fn the_table_is_what_it_was_decided_to_be_in_every_cell() {
        let witnesses = [Nothing, Later, Proven, Superseded, Closed];
        for (sight, row) in [
            (Zero, [End, Corrupt, Corrupt, Torn, End]),
            (HeadUnfinished, [Torn, Corrupt, Corrupt, Torn, Corrupt]),
            (HeadDamaged, [Corrupt, Corrupt, Corrupt, Corrupt, Corrupt]),
            (BodyUnfinished, [Torn, Corrupt, Corrupt, Torn, Corrupt]),
            (BodyDamaged, [Corrupt, Corrupt, Corrupt, Corrupt, Corrupt]),
            (Whole, [Batch, Batch, Batch, Batch, Corrupt]),
        ] {
            for (witness, expected) in witnesses.into_iter().zip(row) {
                assert_eq!(verdict(sight, witness), expected, "{sight:?}, {witness:?}");
            }
        }
    }
}
