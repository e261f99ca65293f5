//! One line of a statement.

use crate::payment::{Currency, Kind, OperationKey, Timestamp};

/// One movement of money, as the gateway's statement has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// Where it stands in the statement, for people: a line of a file, or the gateway's own number.
    pub place: u64,
    /// Our name for the operation, if the gateway keeps it.
    pub operation_key: Option<OperationKey>,
    /// The gateway's name for it.
    pub reference: Option<String>,
    /// What it was; `None`: the statement does not say.
    pub kind: Option<LineKind>,
    /// How much, in minor units. Never negative: the kind says which way.
    pub amount: u64,
    /// Of which currency.
    pub currency: Currency,
    /// When, by the gateway's clock; `None`: the statement does not say.
    pub at: Option<Timestamp>,
}

/// What a line says that it was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LineKind {
    /// Something that we can ask for.
    Ours(Kind),
    /// Something that only the gateway can do, such as a dispute or a fee, in its own word.
    Theirs(String),
}

impl LineKind {
    /// Reads a statement's word, whatever its case.
    pub fn parse(word: &str) -> LineKind {
        let kinds = [Kind::Charge, Kind::Authorize, Kind::Capture, Kind::Void, Kind::Refund];
        let known = kinds.into_iter().find(|kind| kind.as_str().eq_ignore_ascii_case(word));
        known.map_or_else(|| LineKind::Theirs(word.to_owned()), LineKind::Ours)
    }

    /// The word.
    pub fn as_str(&self) -> &str {
        match self {
            LineKind::Ours(kind) => kind.as_str(),
            LineKind::Theirs(word) => word,
        }
    }
}
