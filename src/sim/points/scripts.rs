//! The scripted lives: between them they pass every kind of write, of outcome and of housekeeping.

use crate::payment::{Contract, Deduplication, Identity, Inquiry};

/// One thing that happens. Numbers are those of payments.
#[derive(Clone, Copy, Debug)]
pub(super) enum Act {
    /// Callers ask for these payments, in one turn.
    Pay(u32, u32),
    /// Callers ask for these to be authorized only.
    Authorize(u32, u32),
    /// A caller goes on from one, under a key.
    Then(u32, &'static str, Part),
    /// The latest attempts of the payments themselves end so, in one turn.
    End(u32, u32, End),
    /// The latest attempt of one's later operation ends so.
    EndOf(u32, u32, End),
    /// An inquiry about one is answered so.
    Answer(u32, End),
    /// An inquiry about one's later operation is answered so.
    AnswerOf(u32, u32, End),
    /// The gateway has been asked for ids of its own for these, and that ended so.
    Prepared(u32, u32, End),
    /// The gateway says by itself that this became of one, under a name of its own for that piece of news.
    News(u32, &'static str, End),
    /// Hours pass, and the schedule acts on what is due.
    Due,
    /// A person ends one.
    Resolve(u32),
    /// A checkpoint, and between its halves the first attempt of one succeeds.
    Checkpoint(u32),
    /// Nothing follows for a while.
    Confirm,
    /// The process is killed and started again.
    Kill,
    /// An orderly stop, and a start.
    Close,
}

/// What a caller goes on with, and how much, in minor units; a payment is of 1,000 and more.
#[derive(Clone, Copy, Debug)]
pub(super) enum Part {
    Capture(u64),
    Void,
    Refund(u64),
}

/// How an attempt ends, or what an inquiry says.
#[derive(Clone, Copy, Debug)]
pub(super) enum End {
    Succeeded,
    Declined,
    Refused,
    /// Refused for now.
    Busy,
    NotSent,
    Pending,
    Unknown,
    NotFound,
}

/// What the gateway is like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Like {
    /// It deduplicates, and can be asked.
    Deduplicating,
    /// It can be asked.
    Forgetting,
    /// It deduplicates, can be asked, and mints an id of its own first.
    Minting,
    /// It does none of that: what it says by itself is all the evidence there is.
    Mute,
    /// It deduplicates, and can be asked; and there is another one like it.
    Two,
}

/// A life, and the gateway that it is lived with.
pub(super) struct Script {
    pub(super) like: Like,
    pub(super) acts: &'static [Act],
}

impl Script {
    pub(super) fn contract(&self) -> Contract {
        let mut contract = Contract::standard(Identity { name: "sim".into(), ..Identity::default() });
        contract.inquiry = Inquiry::ByKey { not_found_lag: std::time::Duration::ZERO, not_found_times: 2 };
        match self.like {
            Like::Deduplicating | Like::Two => {}
            Like::Forgetting => contract.deduplication = Deduplication::None,
            Like::Minting => contract.mints_id_first = true,
            Like::Mute => (contract.deduplication, contract.inquiry) = (Deduplication::None, Inquiry::None),
        }
        contract
    }
}

use Act::{
    Answer, AnswerOf, Authorize, Checkpoint, Close, Confirm, Due, EndOf, Kill, News, Pay, Prepared, Resolve, Then,
};
use End::{Busy, Declined, NotFound, NotSent, Pending, Refused, Succeeded, Unknown};

/// A payment that there is none of.
const NOBODY: u32 = 99;

pub(super) const SCRIPTS: &[Script] = &[
    // Plain payments, and one in doubt that is found.
    Script {
        like: Like::Deduplicating,
        acts: &[
            Pay(0, 3),
            Act::End(0, 2, Succeeded),
            Confirm,
            Act::End(2, 3, Unknown),
            Answer(2, Succeeded),
            Pay(3, 5),
        ],
    },
    // A checkpoint with something between its halves, a kill, and more.
    Script {
        like: Like::Deduplicating,
        acts: &[Pay(0, 4), Checkpoint(0), Act::End(1, 4, Succeeded), Kill, Pay(4, 6), Act::End(4, 5, Succeeded)],
    },
    // Orderly stops and kills in turn.
    Script {
        like: Like::Deduplicating,
        acts: &[Pay(0, 2), Act::End(0, 1, Succeeded), Close, Pay(2, 3), Kill, Checkpoint(1), Close, Pay(3, 4)],
    },
    // More than a segment holds.
    Script {
        like: Like::Deduplicating,
        acts: &[
            Pay(0, 7),
            Act::End(0, 7, Succeeded),
            Pay(7, 14),
            Act::End(7, 12, Succeeded),
            Kill,
            Pay(14, 18),
            Act::End(14, 18, Declined),
        ],
    },
    // A request that was lost, is proven not to be there, and is sent again under its own key.
    Script {
        like: Like::Deduplicating,
        acts: &[
            Pay(0, 2),
            Act::End(0, 1, Unknown),
            Due,
            Answer(0, NotFound),
            Kill,
            Due,
            Answer(0, NotFound),
            Due,
            Answer(0, NotFound),
            Act::End(0, 1, Succeeded),
        ],
    },
    // Nothing left; a refusal; a decline; a payment that waits at the gateway.
    Script {
        like: Like::Deduplicating,
        acts: &[
            Pay(0, 4),
            Act::End(0, 1, NotSent),
            Act::End(1, 2, Refused),
            Act::End(2, 3, Declined),
            Act::End(3, 4, Pending),
            Due,
            Checkpoint(0),
            Answer(3, Succeeded),
            Kill,
        ],
    },
    // Without deduplication: what is not found is parked, and a person ends it.
    Script {
        like: Like::Forgetting,
        acts: &[
            Pay(0, 2),
            Act::End(0, 2, Unknown),
            Due,
            Answer(0, NotFound),
            Due,
            Answer(0, NotFound),
            Kill,
            Due,
            Answer(0, NotFound),
            Answer(1, Succeeded),
            Resolve(0),
            Close,
        ],
    },
    // Two refunds at once of which only one fits, one of them in doubt; a capture of what came to rest long before.
    Script {
        like: Like::Deduplicating,
        acts: &[
            Authorize(0, 2),
            Act::End(0, 2, Succeeded),
            Checkpoint(NOBODY),
            Then(0, "c1", Part::Capture(400)),
            EndOf(0, 1, Succeeded),
            Then(0, "r1", Part::Refund(300)),
            Then(0, "r2", Part::Refund(300)),
            EndOf(0, 2, Unknown),
            Kill,
            AnswerOf(0, 2, Succeeded),
            Then(1, "v", Part::Void),
            EndOf(1, 1, Succeeded),
            Close,
        ],
    },
    // Voids that cross: one of a charge that happened, which goes back; one of a charge that did not; one that waits.
    Script {
        like: Like::Deduplicating,
        acts: &[
            Pay(0, 3),
            Then(0, "v", Part::Void),
            Then(1, "v", Part::Void),
            Then(2, "v", Part::Void),
            Act::End(0, 1, Succeeded),
            Due,
            Due,
            EndOf(0, 2, Unknown),
            Act::End(1, 2, NotSent),
            Kill,
            AnswerOf(0, 2, Succeeded),
            Answer(2, Declined),
            Due,
        ],
    },
    // Ids that are minted first: recorded, lost before they were recorded, refused; and what is sent under one again.
    Script {
        like: Like::Minting,
        acts: &[
            Pay(0, 4),
            Prepared(0, 2, Succeeded),
            Prepared(2, 3, Unknown),
            Prepared(3, 4, Refused),
            Act::End(0, 1, Succeeded),
            Act::End(1, 2, Unknown),
            Due,
            Kill,
            Prepared(2, 3, Succeeded),
            Due,
            Answer(1, NotFound),
            Due,
            Answer(1, NotFound),
            Checkpoint(2),
            Kill,
            Answer(1, Succeeded),
        ],
    },
    // News: before the reply, twice, out of order, of what is over, and across stops.
    Script {
        like: Like::Deduplicating,
        acts: &[
            Pay(0, 3),
            News(0, "e1", Succeeded),
            Act::End(0, 1, Unknown),
            News(0, "e1", Succeeded),
            News(1, "e2", Declined),
            Act::End(1, 2, Succeeded),
            Kill,
            News(0, "e3", Declined),
            Answer(0, Succeeded),
            News(1, "e2", Declined),
            Checkpoint(2),
            News(2, "e4", Succeeded),
            Close,
            News(2, "e4", Succeeded),
        ],
    },
    // News as the only evidence: it ends what is parked and what is under way, and contradicts what was told.
    Script {
        like: Like::Mute,
        acts: &[
            Pay(0, 3),
            Act::End(0, 1, Unknown),
            News(0, "e1", Succeeded),
            News(1, "e2", Declined),
            Act::End(1, 2, Unknown),
            Kill,
            News(0, "e1", Succeeded),
            News(2, "e3", Succeeded),
            Checkpoint(NOBODY),
            News(1, "e4", Succeeded),
            Close,
            News(1, "e4", Succeeded),
        ],
    },
    // What the first gateway is not reached with, or refuses for now, goes to the other; there it is done, or lost as well.
    Script {
        like: Like::Two,
        acts: &[
            Pay(0, 3),
            Act::End(0, 1, NotSent),
            Act::End(1, 2, Busy),
            Due,
            Act::End(0, 1, Succeeded),
            Act::End(1, 2, NotSent),
            Kill,
            Due,
            Act::End(1, 2, Succeeded),
            Then(0, "r", Part::Refund(300)),
            EndOf(0, 1, Succeeded),
            Checkpoint(2),
            Close,
        ],
    },
    // A doubt at the first gateway stays there, also when what is sent again does not arrive; a kill before what goes to
    // the other has left, and one before it has ended.
    Script {
        like: Like::Two,
        acts: &[
            Pay(0, 3),
            Act::End(0, 1, Unknown),
            Act::End(1, 3, NotSent),
            Kill,
            Act::End(1, 2, Succeeded),
            Due,
            Answer(0, NotFound),
            Due,
            Answer(0, NotFound),
            Act::End(0, 1, NotSent),
            Kill,
            Due,
            Answer(2, Succeeded),
            Answer(0, Succeeded),
        ],
    },
];
