//! The promises, asked after every step.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use super::{SimDisk, SimGateway, gateway::minted};
use crate::payment::{
    Action, Call, FollowUp, IdempotencyKey, Kind, Moment, Operation, Payment, PaymentId, Standing, State, Timestamp,
};

/// A promise of DESIGN section 1, broken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// Which, such as `P2`.
    pub promise: &'static str,
    /// About which payment.
    pub payment: Option<PaymentId>,
    /// What was seen.
    pub what: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} is broken", self.promise)?;
        if let Some(payment) = self.payment {
            write!(f, " for payment {payment}")?;
        }
        write!(f, ": {}", self.what)
    }
}

/// What a caller was told last, and must be told for ever.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Told {
    state: State,
    standing: Standing,
    settled_at: Option<Timestamp>,
    created_at: Timestamp,
    /// Only what cannot change the answer may follow it.
    timeline: Vec<Moment>,
}

impl Told {
    fn of(payment: &Payment) -> Option<Told> {
        let standing = told(payment.first()?);
        let (settled_at, created_at, timeline) = (payment.settled_at, payment.created_at, payment.timeline.clone());
        Some(Told { state: payment.state(), standing, settled_at, created_at, timeline })
    }

    /// Whether this is still what is told. Long timelines leave out their middle.
    fn is_still(&self, now: Option<&Told>) -> bool {
        let Some(now) = now else { return false };
        let Told { state, standing, settled_at, created_at, timeline } = self;
        let same =
            (state, standing, settled_at, created_at) == (&now.state, &now.standing, &now.settled_at, &now.created_at);
        let may_follow = |moment: &Moment| {
            let news = moment.what.starts_with("contradicted") || moment.what == "window_closed";
            news || moment.operation > 0
        };
        let rest = now.timeline.strip_prefix(timeline.as_slice());
        same && (timeline.len() > 32 || rest.is_some_and(|rest| rest.iter().all(may_follow)))
    }
}

/// What is told of an operation. Whether a soft decline's window is still open is nobody's answer.
fn told(operation: &Operation) -> Standing {
    match &operation.standing {
        Standing::Declined { finality, reply, .. } => {
            Standing::Declined { finality: *finality, open_until: None, reply: reply.clone() }
        }
        told @ (Standing::Intended
        | Standing::Sent { .. }
        | Standing::AtGateway { .. }
        | Standing::InDoubt { .. }
        | Standing::Parked { .. }
        | Standing::Succeeded(_)
        | Standing::Canceled(_)) => told.clone(),
    }
}

/// Remembers what the world has seen, and says when a promise is broken.
#[derive(Debug, Default)]
pub struct Oracle {
    /// Payments that somebody was answered about; with a final answer, what it was.
    told: BTreeMap<PaymentId, Option<Told>>,
    /// What was told of later operations once they were final.
    operations: BTreeMap<(PaymentId, u32), Standing>,
    /// The first thing that went wrong.
    pub violation: Option<Violation>,
    checks: u64,
}

impl Oracle {
    /// How often a promise was asked for.
    pub const fn checks(&self) -> u64 {
        self.checks
    }

    fn check(&mut self, promise: &'static str, payment: Option<PaymentId>, holds: bool, what: impl FnOnce() -> String) {
        self.checks += 1;
        if !holds && self.violation.is_none() {
            self.violation = Some(Violation { promise, payment, what: what() });
        }
    }

    /// P1: bytes are about to leave. P2: under the one name that was recorded, and not after the order has expired.
    pub fn sending(&mut self, action: &Action, payment: Option<&Payment>, now: Timestamp, disk: &SimDisk) {
        let Action::Send { call, attempt, request, not_after } = action else { return };
        let operation = payment.and_then(|payment| payment.operations.get(call.operation as usize));
        let recorded =
            operation.is_some_and(|operation| operation.attempts == *attempt && operation.request == *request);
        self.check("P1", Some(call.payment), recorded && disk.unsynced() == 0, || {
            format!("attempt {attempt} leaves, with {} bytes not synced, and recorded: {recorded}", disk.unsynced())
        });
        let same = operation.is_some_and(|operation| operation.operation_key == call.operation_key);
        self.check("P2", Some(call.payment), same, || format!("attempt {attempt} leaves under another key"));
        let expires_at = payment.and_then(|payment| payment.order.expires_at).filter(|_| call.operation == 0);
        let in_time = expires_at.is_none_or(|expiry| now < expiry && *not_after <= expiry);
        self.check("P2", Some(call.payment), in_time, || {
            format!(
                "attempt {attempt} may leave from {now:?} to {not_after:?}, but the order expires at {expires_at:?}"
            )
        });
    }

    /// P3: somebody is answered.
    pub fn answered(&mut self, payment: &Payment, gateway: &SimGateway, disk: &SimDisk) {
        self.check("P3", Some(payment.id), disk.unsynced() == 0, || {
            format!("an answer leaves with {} bytes not synced", disk.unsynced())
        });
        self.truth(payment, gateway);
        self.operations_are_as_told(payment);
        let now = Told::of(payment).filter(|_| payment.is_settled());
        let before = self.told.entry(payment.id).or_default().clone();
        if let Some(before) = before {
            let same = before.is_still(now.as_ref());
            self.check("P3", Some(payment.id), same, || format!("told {before:?}, now {now:?}"));
        } else {
            self.told.insert(payment.id, now);
        }
    }

    /// P3: what was told of a later operation stays so.
    fn operations_are_as_told(&mut self, payment: &Payment) {
        for operation in payment.operations.iter().skip(1) {
            let now = told(operation);
            match self.operations.get(&(payment.id, operation.this.number)).cloned() {
                Some(before) => self.check("P3", Some(payment.id), before == now, || {
                    format!("operation {}: told {before:?}, now {now:?}", operation.this.number)
                }),
                None if operation.is_final() => {
                    self.operations.insert((payment.id, operation.this.number), now);
                }
                None => {}
            }
        }
    }

    /// P5: an operation that was let through is the one that was asked for.
    pub fn went_on_as_asked(&mut self, payment: &Payment, key: &IdempotencyKey, asked: FollowUp) {
        let found = payment.follow_up(key).map(|operation| operation.this);
        let same = found
            .is_some_and(|this| this.kind == asked.kind() && asked.amount().is_none_or(|amount| amount == this.amount));
        self.check("P5", Some(payment.id), same, || format!("{asked:?} under {key} was answered with {found:?}"));
    }

    /// P1: an id is asked for, once what it is for is durable.
    pub fn asked_for_an_id(&mut self, payment: PaymentId, unsynced: usize) {
        self.check("P1", Some(payment), unsynced == 0, || {
            format!("an id is asked for with {unsynced} bytes not synced")
        });
    }

    /// P2: where the gateway mints ids, nothing leaves but under the one that is recorded.
    pub fn sent_under_its_id(&mut self, call: &Call, recorded: Option<&str>, mints: bool) {
        let first = matches!(call.kind, Kind::Charge | Kind::Authorize);
        let under = recorded == Some(minted(&call.operation_key).as_str());
        self.check("P2", Some(call.payment), !mints || !first || under, || format!("sent under the id {recorded:?}"));
    }

    /// P2: what its caller wants voided is not sent again, where the gateway can be asked instead.
    pub fn sending_is_wanted(&mut self, call: &Call, payment: Option<&Payment>) {
        let unwanted = payment.is_some_and(|payment| call.operation == 0 && payment.voiding().is_some());
        self.check("P2", Some(call.payment), !unwanted, || "sent, although its caller wants it voided".to_owned());
    }

    /// News is said to have come only once it is durable.
    pub fn took_news(&mut self, unsynced: usize) {
        self.check("P3", None, unsynced == 0, || format!("news is acknowledged with {unsynced} bytes not synced"));
    }

    /// What is said of a payment is what the gateway did.
    fn truth(&mut self, payment: &Payment, gateway: &SimGateway) {
        self.reserved(payment);
        for operation in &payment.operations {
            let moved = gateway.moved(&operation.operation_key);
            let (promise, holds) = match operation.standing {
                // A void that had nothing to undo.
                Standing::Succeeded(_) if operation.this.kind == Kind::Void && !operation.may_have_acted => {
                    ("P2", moved == 0)
                }
                Standing::Succeeded(_) => ("P2", moved == 1),
                Standing::Canceled(_) | Standing::Declined { .. } => ("P4", moved == 0),
                Standing::Intended => ("P2", moved == 0),
                Standing::Sent { .. }
                | Standing::AtGateway { .. }
                | Standing::InDoubt { .. }
                | Standing::Parked { .. } => ("P2", moved <= 1),
            };
            self.check(promise, Some(payment.id), holds, || {
                format!("{:?}, but money moved {moved} times", operation.standing)
            });
        }
    }

    /// P2: what may move, all of it together, is never more than there is. Counted afresh, not as the engine counts.
    fn reserved(&mut self, payment: &Payment) {
        let may_move = |kind: Kind| -> u64 {
            let open = payment.operations.iter().filter(|operation| {
                let over =
                    matches!(operation.standing, Standing::Canceled(_) | Standing::Declined { open_until: None, .. });
                operation.this.kind == kind && !over
            });
            open.map(|operation| operation.this.amount.minor_units()).sum()
        };
        let (back, captured) = (may_move(Kind::Refund), payment.captured());
        let (capture, most) = (may_move(Kind::Capture), payment.order.amount.minor_units());
        self.check("P2", Some(payment.id), back <= captured && capture <= most, || {
            format!("{back} may go back of {captured} captured, and {capture} may be captured of {most}")
        });
    }

    /// Money is conserved: what is captured never exceeds what was authorized, what goes back never what was captured, and
    /// the book says what the gateway did.
    fn conserved(&mut self, payment: &Payment, gateway: &SimGateway) {
        let (moved, back) = gateway.balance(&payment.id);
        let most = payment.order.amount.minor_units();
        self.check("P2", Some(payment.id), back <= moved && moved <= most, || {
            format!("{moved} of {most} moved, and {back} went back")
        });
        let says = (payment.captured(), payment.refunded());
        let settled = payment.operations.iter().all(Operation::is_final);
        self.check("P2", Some(payment.id), !settled || says == (moved, back), || {
            format!("the book says {says:?} moved and went back, the gateway {:?}", (moved, back))
        });
    }

    /// P2: bytes are about to leave for an operation again. What left before has arrived, or never will, and a gateway
    /// that can be asked has nothing to tell.
    pub fn sending_again(&mut self, call: &Call, under_way: bool, known: bool) {
        self.check("P2", Some(call.payment), !under_way && !known, || {
            format!("sent again; an earlier request is under way: {under_way}; the gateway knows it: {known}")
        });
    }

    /// P2: nothing ever moves twice.
    pub fn moved(&mut self, gateway: &SimGateway) {
        for (key, times) in gateway.movements() {
            self.check("P2", None, *times <= 1, || format!("money moved {times} times under the key {key}"));
        }
    }

    /// P3, P6: after a start, everything that anybody was told is still known.
    pub fn started(&mut self, find: impl Fn(&PaymentId) -> Option<Payment>) {
        for (id, told) in self.told.clone() {
            let payment = find(&id);
            self.check("P6", Some(id), payment.is_some(), || "an acknowledged payment is gone".to_owned());
            if let Some(payment) = &payment {
                self.operations_are_as_told(payment);
            }
            let now = payment.as_ref().and_then(Told::of);
            if let Some(told) = told {
                let same = told.is_still(now.as_ref());
                self.check("P3", Some(id), same, || format!("told {told:?}, after a start {now:?}"));
            }
        }
    }

    /// P5: the same key with another amount was not refused.
    pub fn conflict_let_through(&mut self, id: PaymentId) {
        self.check("P5", Some(id), false, || "other parameters under the same key were not refused".to_owned());
    }

    /// P6: what has just been recorded of a payment is the last that is known of it: by that place a checkpoint tells whom it
    /// has to carry, and a start what the store lacks.
    pub fn rests_as_recorded(&mut self, id: PaymentId, is_new: bool) {
        self.check("P6", Some(id), is_new, || "rests at an older place than that of its last record".to_owned());
    }

    /// P3: who reads beside the engine reads what it says.
    pub fn read_beside(&mut self, id: PaymentId, same: bool) {
        self.check("P3", Some(id), same, || "read from the store while memory knew more".to_owned());
    }

    /// P7: a start was refused although nothing but a crash had happened.
    pub fn refused(&mut self, why: &str) {
        self.check("P7", None, false, || format!("a start was refused: {why}"));
    }

    /// P2: to a paused gateway nothing is sent.
    pub fn sent_where_it_may_be(&mut self, call: &Call, paused: bool) {
        self.check("P2", Some(call.payment), !paused, || format!("sent to {}, which an operator paused", call.gateway));
    }

    /// P6: what was paused before a stop is paused after it.
    pub fn pauses_last(&mut self, known: &BTreeSet<String>, found: &BTreeSet<String>) {
        self.check("P6", None, known == found, || format!("paused were {known:?}, and after a start are {found:?}"));
    }

    /// P8: after a failure of the disk the engine went on.
    pub fn went_on(&mut self) {
        self.check("P8", None, false, || "the engine went on after a failed write or fsync".to_owned());
    }

    /// P2, P6: at the end of time every payment is settled, or parked and says why, and the gateway does not know better.
    pub fn ended(&mut self, payment: &Payment, gateway: &SimGateway) {
        self.truth(payment, gateway);
        self.conserved(payment, gateway);
        self.check("P6", Some(payment.id), has_ended(payment, gateway), || {
            let open: Vec<_> = payment.operations.iter().filter(|operation| !operation.is_final()).collect();
            format!("still {} at the end of time: {open:?}", payment.state().as_str())
        });
    }
}

/// Whether nothing of a payment is left that time alone, and a gateway that answers, would end. A void may wait for good
/// for what is parked for good.
pub(super) fn has_ended(payment: &Payment, gateway: &SimGateway) -> bool {
    let ended = |operation: &Operation| {
        operation.is_final() || (operation.state() == State::Parked && !gateway.can_tell(operation))
    };
    let first_parked = payment.state() == State::Parked;
    payment.operations.iter().all(|operation| {
        // It has certainly not acted: not sent yet, or sent in vain before what it is to undo came into doubt.
        let waits = operation.this.kind == Kind::Void && operation.standing == Standing::Intended && first_parked;
        ended(operation) || waits
    })
}
