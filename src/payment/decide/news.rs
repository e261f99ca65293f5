//! A gateway speaks up by itself: a hint, which leads to a question.

use super::{Step, chase};
use crate::payment::{Identity, Inquiry, Operation, OperationKey, Outcome, Standing};

/// News about the operation of a key. Where the gateway can be asked, what the news says counts for nothing: whoever can
/// forge it could otherwise make money appear. Where it cannot, the news is all the evidence there will be, if key,
/// amount and currency are those of the operation.
pub(super) fn hinted(key: &OperationKey, from: &Identity, said: Option<&(Outcome, u64, String)>, step: &mut Step<'_>) {
    let Some(operation) = step.payment.operations.iter().find(|operation| operation.operation_key == *key) else {
        return;
    };
    let currency = step.payment.order.currency;
    let about = |amount: u64, of: &str| amount == operation.this.amount.minor_units() && of == currency.as_str();
    // A gateway calls what it let go of canceled: that contradicts nothing.
    let voided = operation.this.number == 0 && step.payment.voiding().is_some_and(Operation::has_happened);
    // What another gateway says of what was to go there once is not about this.
    let ours = operation.gateway == *from && chase::is_ours(operation, step);
    match (step.rules.contract.inquiry, said) {
        (Inquiry::ByKey { .. }, _) if has_left(operation) && !voided => {
            chase::ask_now(operation, step);
        }
        (Inquiry::None, Some((outcome, amount, of))) if ours && about(*amount, of) => {
            chase::told(operation, outcome, step);
        }
        (Inquiry::ByKey { .. } | Inquiry::None, _) => {}
    }
}

/// Whether there is something to ask about. The reply to a sending under way is on its way; if it is lost, that is asked
/// about at once.
fn has_left(operation: &Operation) -> bool {
    match operation.standing {
        Standing::Intended | Standing::Sent { .. } => false,
        Standing::AtGateway { .. }
        | Standing::InDoubt { .. }
        | Standing::Parked { .. }
        | Standing::Succeeded(_)
        | Standing::Declined { .. }
        | Standing::Canceled(_) => operation.may_have_acted || operation.is_final(),
    }
}
