//! How much of a payment has moved, and how much is left to be moved.
//!
//! An operation holds its amount from its intent on, until it is certain that it did not happen: two at the same moment
//! can never exceed the payment, whatever becomes of one of them (HAZARDS: refunds that race).

use super::{Kind, Operation, Payment};

impl Payment {
    /// How much has moved to the destination, in minor units.
    pub fn captured(&self) -> u64 {
        self.sum(|operation| is_capture(operation) && operation.has_happened())
    }

    /// How much has moved back, in minor units.
    pub fn refunded(&self) -> u64 {
        self.sum(|operation| operation.this.kind == Kind::Refund && operation.has_happened())
    }

    /// How much of an authorization may still be captured, in minor units: nothing while it is being voided.
    pub fn capturable(&self) -> u64 {
        let authorized = |one: &&Operation| one.this.kind == Kind::Authorize && one.has_happened();
        match self.first().filter(authorized) {
            Some(first) if self.voiding().is_none() => {
                first.this.amount.minor_units().saturating_sub(self.held(Kind::Capture))
            }
            Some(_) | None => 0,
        }
    }

    /// How much may still be refunded, in minor units.
    pub fn refundable(&self) -> u64 {
        self.captured().saturating_sub(self.held(Kind::Refund))
    }

    /// The void that was done, may have been done, or will be.
    pub fn voiding(&self) -> Option<&Operation> {
        // One that ended although nothing of it can have reached the gateway let go of nothing: there was nothing.
        let sent = |one: &&Operation| one.may_have_acted || !one.is_final();
        self.operations.iter().filter(sent).find(|one| one.this.kind == Kind::Void && one.holds_reservation())
    }

    /// How much is held by operations of a kind, in minor units.
    pub fn held(&self, kind: Kind) -> u64 {
        self.sum(|operation| operation.this.kind == kind && operation.holds_reservation())
    }

    fn sum(&self, counts: impl Fn(&Operation) -> bool) -> u64 {
        let counted = self.operations.iter().filter(|operation| counts(operation));
        counted.fold(0, |sum, operation| sum.saturating_add(operation.this.amount.minor_units()))
    }
}

const fn is_capture(operation: &Operation) -> bool {
    match operation.this.kind {
        Kind::Charge | Kind::Capture => true,
        Kind::Authorize | Kind::Void | Kind::Refund => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::payment::{
        Contradiction, Standing,
        samples::{accepted, at, charge, fold, intended, operation, reference, reply},
    };

    fn payment(operations: Vec<Operation>) -> Payment {
        Payment { operations, ..fold([accepted()]).expect("the first fact") }
    }

    fn done() -> Standing {
        Standing::Succeeded(reply())
    }

    fn doubt() -> Standing {
        Standing::InDoubt { reply: reply(), since: at(5) }
    }

    #[test]
    fn only_what_succeeded_counts_as_moved() {
        let moved = payment(vec![
            operation(reference(0, Kind::Authorize, 1000), done()),
            operation(reference(1, Kind::Capture, 300), done()),
            operation(reference(2, Kind::Capture, 200), done()),
            operation(reference(3, Kind::Capture, 70), doubt()),
            operation(reference(4, Kind::Refund, 40), done()),
            operation(reference(5, Kind::Refund, 5), doubt()),
        ]);
        assert_eq!((moved.captured(), moved.refunded()), (500, 40));
        let charged = fold([accepted(), intended(charge())]).expect("in order");
        assert_eq!((charged.captured(), charged.refunded()), (0, 0));
        assert_eq!(payment(vec![operation(charge(), done())]).captured(), 1050);
    }

    #[test]
    fn what_may_have_moved_is_not_left_to_be_moved_again() {
        let mut operations = vec![operation(reference(0, Kind::Authorize, 1000), done())];
        for (number, kind, amount, standing, capturable, refundable) in [
            (1, Kind::Capture, 300, done(), 700, 300),
            (2, Kind::Capture, 200, doubt(), 500, 300),
            (3, Kind::Refund, 100, Standing::Intended, 500, 200),
            (4, Kind::Refund, 150, Standing::Canceled(reply()), 500, 200),
            (5, Kind::Refund, 200, doubt(), 500, 0),
        ] {
            operations.push(operation(reference(number, kind, amount), standing));
            let payment = payment(operations.clone());
            assert_eq!((payment.capturable(), payment.refundable()), (capturable, refundable), "{number}");
        }
        operations.push(operation(reference(6, Kind::Void, 1000), doubt()));
        assert_eq!(payment(operations.clone()).capturable(), 0, "it is being voided");
        operations[6].standing = Standing::Canceled(reply());
        assert_eq!(payment(operations).capturable(), 500);
    }

    #[test]
    fn news_counts_against_what_was_told() {
        let declined = Standing::Canceled(reply());
        let late = Operation { contradicted: Some(Contradiction::Moved), ..operation(charge(), declined) };
        let late = payment(vec![late]);
        assert_eq!((late.captured(), late.refundable(), late.is_contradicted()), (1050, 1050, true));
        let gone = Operation { contradicted: Some(Contradiction::Reversed), ..operation(charge(), done()) };
        assert_eq!((payment(vec![gone.clone()]).captured(), gone.holds_reservation()), (0, false));
    }
}
