//! DECIDE. What a payment is, and what may happen to it.
//!
//! An operation's life:
//!
//! ```text
//! Intended --attempt--> Sent --Succeeded / Declined--> final
//!    ^                    |-- Pending --> AtGateway: inquire on schedule, or when a webhook hints
//!    |                    |-- NotSent / Refused --> Intended, if *every* attempt so far ended so: back off,
//!    |                    |                      or go to another gateway
//!    |                    `-- Unknown, or no recorded end when the process starts --> InDoubt
//!    |                                                   |-- inquiry: Succeeded / Declined --> final
//!    `-- same key, same bytes, same gateway identity ----|-- NotFound, proven
//!                                                        `-- schedule exhausted --> Parked
//! ```
//!
//! Read in this order: what is named ([`PaymentId`], [`Amount`], [`Order`]), what is asked of a gateway and what it
//! answers ([`Operation`], [`Outcome`], [`Contract`]), what is recorded ([`Event`]) and what that adds up to
//! ([`Payment`]); then how it is decided and how it is folded.
//!
//! Knows nothing of files, sockets, threads, async, formats, or what time it is.

mod now;

mod id;

mod money;

mod order;

mod purchase;

mod operation;

mod outcome;

mod contract;

mod route;

mod event;

mod audit;

mod state;

mod balance;

mod schedule;

mod outlook;

mod decide;

mod apply;

#[cfg(test)]
mod samples;

pub use apply::{Misfit, apply};
pub use audit::{Audit, Deed, fold_pauses};
pub use contract::{Contract, Deduplication, Identity, Inquiry};
pub use decide::{
    Action, Call, Decision, Distrust, FollowUp, Input, Late, Manner, Policies, Resolution, Response, Rulebook, Rules,
    Verdict, decide, doubt, park_for_defect, repeat,
};
pub use event::{Cause, Event, Fact, UNKNOWN_ATTEMPT, Webhook};
pub use id::{IdempotencyKey, Namespace, OperationKey, PaymentId, Tenant};
pub use money::{Amount, Currency};
pub use now::{Clock, Now, Tick, Timestamp};
pub use operation::{Asked, Contradiction, Kind, Operation, OperationRef, ParkReason, Pursuit, Standing};
pub use order::{
    Capture, Invalid, MAX_DESCRIPTION, MAX_METADATA, MAX_METADATA_KEY, MAX_METADATA_VALUE, MAX_PARTY, Order,
};
pub(crate) use order::{is_spoken, without_card_number};
pub use outcome::{Evidence, Finality, Lasting, NextAction, Outcome, Person, Reply};
pub use outlook::{Next, Outlook, outlook};
pub use purchase::Purchase;
pub use route::{Encoder, Route, choose};
pub use schedule::{ImpossibleHorizon, Schedule};
pub use state::{Moment, Payment, State};
