//! One operation in our book.

use crate::payment::{Amount, Currency, Kind, OperationKey, PaymentId, Standing, Timestamp};

/// What our book says of one operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Of which payment.
    pub payment: PaymentId,
    /// Which operation of it.
    pub number: u32,
    /// What was asked.
    pub kind: Kind,
    /// Its name at the gateway.
    pub operation_key: OperationKey,
    /// How much.
    pub amount: Amount,
    /// Of which currency.
    pub currency: Currency,
    /// Whether money moved.
    pub belief: Belief,
    /// Money cannot have moved before this.
    pub earliest: Timestamp,
    /// It had moved by then, if at all; where that is not final, the last that was heard.
    pub latest: Timestamp,
}

/// Whether money moved, as far as our book knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Belief {
    /// It did.
    Moved,
    /// It may have, or may yet.
    MayHaveMoved,
    /// It did not: declined, or canceled.
    DidNotMove,
}

impl Belief {
    /// As in reports.
    pub const fn as_str(self) -> &'static str {
        match self {
            Belief::Moved => "moved",
            Belief::MayHaveMoved => "may_have_moved",
            Belief::DidNotMove => "did_not_move",
        }
    }
}

impl From<&Standing> for Belief {
    fn from(standing: &Standing) -> Belief {
        match standing {
            Standing::Succeeded(_) => Belief::Moved,
            // What is intended may be sent at any moment.
            Standing::Intended
            | Standing::Sent { .. }
            | Standing::AtGateway { .. }
            | Standing::InDoubt { .. }
            | Standing::Parked { .. } => Belief::MayHaveMoved,
            Standing::Declined { .. } | Standing::Canceled(_) => Belief::DidNotMove,
        }
    }
}

/// Whether such an operation moves money when it succeeds.
pub(super) const fn moves(kind: Kind) -> bool {
    match kind {
        Kind::Charge | Kind::Capture | Kind::Refund => true,
        Kind::Authorize | Kind::Void => false,
    }
}
