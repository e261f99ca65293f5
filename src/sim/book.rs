//! The simulated gateway's rules of money: what may be done to what, and how much of it. Written on its own, so that the
//! engine's reservations have somebody to disagree with.

use std::collections::BTreeMap;

use crate::payment::{Call, Kind, OperationKey, PaymentId};

/// Everything that was asked for, by payment.
#[derive(Debug, Default)]
pub(super) struct Book {
    pages: BTreeMap<PaymentId, Page>,
}

/// What the gateway knows of one payment, in minor units. What is pending counts as done.
#[derive(Debug)]
struct Page {
    first: OperationKey,
    kind: Kind,
    amount: u64,
    /// Whether the first operation has happened, is pending, or has not.
    stands: Stands,
    captured: u64,
    refunded: u64,
    voided: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stands {
    Done,
    Pending,
    Not,
}

/// What the rules say of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ruling {
    Allowed,
    /// More than there is, or too late.
    Declined,
    /// About something that is not there: never executed.
    Invalid,
}

impl Book {
    /// Whether a request may be done.
    pub(super) fn rule(&self, call: &Call) -> Ruling {
        let amount = call.amount.minor_units();
        let allowed = match (call.kind, self.pages.get(&call.payment)) {
            (Kind::Charge | Kind::Authorize, _) => true,
            (Kind::Capture | Kind::Void | Kind::Refund, None) => return Ruling::Invalid,
            (Kind::Void, Some(page)) if page.stands == Stands::Pending => true,
            (Kind::Capture | Kind::Void | Kind::Refund, Some(page)) if page.stands != Stands::Done => {
                return Ruling::Invalid;
            }
            (Kind::Capture, Some(page)) => {
                page.kind == Kind::Authorize && !page.voided && page.captured + amount <= page.amount
            }
            (Kind::Void, Some(page)) => page.kind == Kind::Authorize && !page.voided && page.captured == 0,
            (Kind::Refund, Some(page)) => page.refunded + amount <= page.captured,
        };
        if allowed { Ruling::Allowed } else { Ruling::Declined }
    }

    /// Notes what is done, or pending. A void of what is pending ends that: its key is returned.
    pub(super) fn note(&mut self, call: &Call, stands: Stands) -> Option<OperationKey> {
        let amount = call.amount.minor_units();
        match (call.kind, self.pages.get_mut(&call.payment)) {
            (kind @ (Kind::Charge | Kind::Authorize), _) => {
                let captured = if kind == Kind::Charge { amount } else { 0 };
                let first = call.operation_key;
                let page = Page { first, kind, amount, stands, captured, refunded: 0, voided: false };
                self.pages.insert(call.payment, page);
            }
            (Kind::Capture, Some(page)) => page.captured += amount,
            (Kind::Refund, Some(page)) => page.refunded += amount,
            (Kind::Void, Some(page)) if page.stands == Stands::Pending => {
                page.stands = Stands::Not;
                return Some(page.first);
            }
            (Kind::Void, Some(page)) => page.voided = true,
            (Kind::Capture | Kind::Void | Kind::Refund, None) => {}
        }
        None
    }

    /// What was pending is done, or will not be.
    pub(super) fn decided(&mut self, call: &Call, done: bool) {
        let Some(page) = self.pages.get_mut(&call.payment) else { return };
        let amount = call.amount.minor_units();
        match call.kind {
            Kind::Charge | Kind::Authorize => page.stands = if done { Stands::Done } else { Stands::Not },
            Kind::Capture if !done => page.captured -= amount,
            Kind::Refund if !done => page.refunded -= amount,
            Kind::Void if !done => page.voided = false,
            Kind::Capture | Kind::Refund | Kind::Void => {}
        }
    }

    /// What moved of a payment and back, in minor units, with what is pending.
    pub(super) fn moved(&self, payment: &PaymentId) -> (u64, u64) {
        match self.pages.get(payment) {
            Some(page) if page.stands == Stands::Done => (page.captured, page.refunded),
            Some(_) | None => (0, 0),
        }
    }
}
