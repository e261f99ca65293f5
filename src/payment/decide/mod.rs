//! The transition table: what to do about an input, given a payment, the clocks and the contract. Pure.
//!
//! It proposes facts, and actions that may start only once those facts are durable. The table is cut by who speaks:
//! a caller who pays ([`pay`]) or goes on from there ([`operate`]), the gateway and the schedule ([`chase`], [`window`]), a person
//! ([`person`]), a gateway by itself ([`news`]); what one operation means for another ([`gate`]), which
//! gateway a payment may still go to ([`failover`]),
//! gateways that mint their own id first ([`prepare`]); and what a start takes for less certain than it was ([`distrust`]). What holds for all of it is in [`rules`].
//!
//! Knows nothing of how a fact is folded, recorded or undone, or of who carries an action out.

mod rules;

mod pay;

mod operate;

mod gate;

mod failover;

mod prepare;

mod distrust;

mod chase;

mod window;

mod person;

mod news;

#[cfg(test)]
mod table;

#[cfg(test)]
mod stories;

#[cfg(test)]
mod model;

use std::sync::Arc;

pub use distrust::{Distrust, doubt};
pub use pay::repeat;
pub use rules::{Late, Policies, Rulebook, Rules};

use super::{
    Amount, Currency, Event, Fact, IdempotencyKey, Identity, Invalid, Kind, Now, Operation, OperationKey, Order,
    Outcome, ParkReason, Payment, PaymentId, Person, Pursuit, Reply, Standing, Tenant, Tick, Timestamp, apply,
};

/// Something that a payment has to answer to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Input {
    /// A caller asks for a payment.
    Pay {
        /// Whose key.
        tenant: Tenant,
        /// Under which key.
        key: IdempotencyKey,
        /// What for.
        order: Arc<Order>,
        /// The bytes that the gateway's adapter would send for it, or why it cannot.
        request: Result<Vec<u8>, Invalid>,
        /// Where to, and whether it is meant.
        manner: Manner,
    },
    /// A caller goes on from a payment.
    Operate {
        /// Whose payment it has to be.
        tenant: Tenant,
        /// Under which key; apart from the keys of payments, and from those of other payments' operations.
        key: IdempotencyKey,
        /// What for.
        follow_up: FollowUp,
    },
    /// A sending has ended: its worker says so.
    Ended {
        /// Of which operation.
        operation: u32,
        /// Which attempt.
        attempt: u32,
        /// How.
        outcome: Outcome,
    },
    /// The gateway was asked for an id of its own, and answered, or did not.
    Prepared {
        /// For which operation.
        operation: u32,
        /// What came of it: with success, the id is the reply's reference.
        outcome: Outcome,
    },
    /// An inquiry was answered, or was not.
    Answered {
        /// About which operation.
        operation: u32,
        /// When it was asked.
        asked: Tick,
        /// What was said.
        outcome: Outcome,
    },
    /// The schedule says that it is time.
    Due,
    /// The process has started, and found the payment unresolved.
    Resume,
    /// The gateway has said something by itself about one of its operations.
    Hint {
        /// Its name at the gateway.
        operation: OperationKey,
        /// Which gateway says so.
        from: Identity,
        /// What was said, of how much and of which currency, where the gateway's adapter understood it.
        said: Option<(Outcome, u64, String)>,
    },
    /// A person wants the gateway asked now.
    Inquire,
    /// A person decides.
    Resolve(Resolution),
}

impl Input {
    /// One word for logs, which never hold what callers say.
    pub const fn name(&self) -> &'static str {
        match self {
            Input::Pay { .. } => "pay",
            Input::Operate { .. } => "operate",
            Input::Ended { .. } => "ended",
            Input::Prepared { .. } => "prepared",
            Input::Answered { .. } => "answered",
            Input::Due => "due",
            Input::Resume => "resume",
            Input::Hint { .. } => "hint",
            Input::Inquire => "inquire",
            Input::Resolve(_) => "resolve",
        }
    }

    /// What a caller goes on with, and under which key.
    pub const fn follow_up(&self) -> Option<(&IdempotencyKey, FollowUp)> {
        match self {
            Input::Operate { tenant: _, key, follow_up } => Some((key, *follow_up)),
            Input::Pay { .. }
            | Input::Ended { .. }
            | Input::Prepared { .. }
            | Input::Answered { .. }
            | Input::Due
            | Input::Resume
            | Input::Hint { .. }
            | Input::Inquire
            | Input::Resolve(_) => None,
        }
    }
}

/// How a new payment is to be made, beside what it is for. No part of what its key stands for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Manner {
    /// To which gateway: the place of its route.
    pub route: usize,
    /// Whether its caller says that it is no mistake, although it looks like one that was made a moment ago.
    pub meant: bool,
}

/// What a caller may ask for once there is a payment. Without an amount: all that is left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FollowUp {
    /// Move what was authorized.
    Capture(Option<Amount>),
    /// Let go of it; before anything was sent: cancel.
    Void,
    /// Move back what was captured.
    Refund(Option<Amount>),
}

impl FollowUp {
    /// What is asked of the gateway for it.
    pub const fn kind(self) -> Kind {
        match self {
            FollowUp::Capture(_) => Kind::Capture,
            FollowUp::Void => Kind::Void,
            FollowUp::Refund(_) => Kind::Refund,
        }
    }

    /// How much the caller says.
    pub const fn amount(self) -> Option<Amount> {
        match self {
            FollowUp::Capture(amount) | FollowUp::Refund(amount) => amount,
            FollowUp::Void => None,
        }
    }
}

/// What a person decides about an operation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resolution {
    /// Which; `None`: the first that is unresolved.
    pub operation: Option<u32>,
    /// What.
    pub verdict: Verdict,
    /// What to tell the caller; `None`: a standard sentence.
    pub reply: Option<Reply>,
    /// Who, and why.
    pub person: Person,
}

/// A person's verdict.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The gateway did it.
    Succeeded,
    /// It did not, and will not.
    Declined,
    /// Send it again: under the same rules as the schedule's own resending.
    Resend,
    /// Do not send it: only before anything may have happened.
    Cancel,
}

/// What may start once the facts are durable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Have the gateway mint an id for an operation that has not been sent. Moves nothing, and may be repeated.
    Prepare {
        /// Which operation.
        call: Call,
        /// The bytes.
        request: Vec<u8>,
    },
    /// Send an operation's frozen bytes.
    Send {
        /// Which operation.
        call: Call,
        /// Which attempt.
        attempt: u32,
        /// The bytes.
        request: Vec<u8>,
        /// Not one byte leaves after this.
        not_after: Timestamp,
    },
    /// Ask what became of an operation.
    Inquire(Call),
}

/// Which operation a gateway is called about, and what its answer must speak of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    /// Of which payment.
    pub payment: PaymentId,
    /// Which gateway.
    pub gateway: Identity,
    /// Which operation.
    pub operation: u32,
    /// What it is.
    pub kind: Kind,
    /// Its name at the gateway.
    pub operation_key: OperationKey,
    /// How much.
    pub amount: Amount,
    /// Of which currency.
    pub currency: Currency,
    /// The gateway's own id: the one that it minted for this operation, or that of the operation that it acts on.
    pub reference: Option<String>,
}

/// What the one who asked is told. Not before the facts are durable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Response {
    /// A new payment was accepted.
    Fresh,
    /// The payment is under way: the caller joins it.
    Attached,
    /// The payment was settled before: the caller gets the same answer again.
    Replayed,
    /// The key was used with other parameters; nothing was done.
    Conflict(Vec<&'static str>),
    /// The gateway's adapter cannot express the order; nothing was recorded.
    Inexpressible(Invalid),
    /// Nothing may be sent from this folder yet; nothing was recorded.
    Moved,
    /// More than the payment has left for it; nothing was recorded.
    AmountTooLarge {
        /// How much is left, in minor units.
        left: u64,
    },
    /// Done as the person asked.
    Done,
    /// Not possible where the payment stands; nothing was done.
    InvalidState(String),
    /// No such payment.
    NotFound,
}

/// What is proposed. Its actions and response are out of reach until `release`, which is called in one
/// place: after the facts are durable.
#[must_use]
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    /// To be recorded, in order.
    pub facts: Vec<Fact>,
    /// How far the chase has come, one per operation, once the facts are folded.
    pub pursuits: Vec<Pursuit>,
    actions: Vec<Action>,
    response: Option<Response>,
}

impl Decision {
    fn nothing(pursuits: &[Pursuit], response: Option<Response>) -> Decision {
        Decision { facts: Vec::new(), pursuits: pursuits.to_vec(), actions: Vec::new(), response }
    }

    /// What may leave, now that the facts are durable.
    pub(crate) fn release(self) -> (Vec<Action>, Option<Response>) {
        (self.actions, self.response)
    }
}

/// Decides about one input.
pub fn decide(payment: Option<&Payment>, pursuits: &[Pursuit], input: &Input, now: &Now, rules: &Rules) -> Decision {
    let Some(payment) = payment else {
        return match input {
            Input::Pay { tenant, key, order, request, manner: _ } => {
                pay::accept(tenant, key, order, request, now, rules)
            }
            Input::Operate { .. } | Input::Inquire | Input::Resolve(_) => {
                Decision::nothing(pursuits, Some(Response::NotFound))
            }
            Input::Ended { .. }
            | Input::Prepared { .. }
            | Input::Answered { .. }
            | Input::Due
            | Input::Resume
            | Input::Hint { .. } => Decision::nothing(pursuits, None),
        };
    };
    let mut step = Step::new(payment, pursuits, now, rules);
    match input {
        Input::Pay { tenant, key, order, request: _, manner: _ } => {
            step.response = Some(repeat(payment, tenant, key, order))
        }
        Input::Operate { tenant, key, follow_up } => operate::operate(tenant, key, *follow_up, &mut step),
        Input::Ended { operation, attempt, outcome } => {
            step.on(*operation, |operation, step| chase::ended(operation, *attempt, outcome, step));
        }
        Input::Prepared { operation, outcome } => {
            step.on(*operation, |operation, step| prepare::prepared(operation, outcome, step));
        }
        Input::Answered { operation, asked, outcome } => {
            step.on(*operation, |operation, step| chase::answered(operation, *asked, outcome, step));
        }
        Input::Due => step.on_each(chase::due),
        Input::Resume => step.on_each(chase::resume),
        Input::Hint { operation, from, said } => news::hinted(operation, from, said.as_ref(), &mut step),
        Input::Inquire => person::inquire(&mut step),
        Input::Resolve(resolution) => person::resolve(resolution, &mut step),
    }
    gate::refund_in_place_of_void(&mut step);
    step.finish()
}

/// Leaves what is unresolved of a payment to people, because deciding about it panicked.
pub fn park_for_defect(payment: &Payment) -> Vec<Fact> {
    let unresolved = payment.operations.iter().filter(|operation| !operation.is_final());
    let unparked = unresolved.filter(|operation| !matches!(operation.standing, Standing::Parked { .. }));
    unparked.map(|operation| parked(operation, ParkReason::Defect)).collect()
}

fn parked(operation: &Operation, reason: ParkReason) -> Fact {
    let reply = operation.reply().cloned().unwrap_or_default();
    Fact::Parked { operation: operation.this, reason, reply }
}

/// A decision in the making.
struct Step<'a> {
    payment: &'a Payment,
    now: &'a Now,
    rules: &'a Rules,
    facts: Vec<Fact>,
    actions: Vec<Action>,
    response: Option<Response>,
    pursuits: Vec<Pursuit>,
}

impl<'a> Step<'a> {
    fn new(payment: &'a Payment, pursuits: &[Pursuit], now: &'a Now, rules: &'a Rules) -> Step<'a> {
        let mut pursuits = pursuits.to_vec();
        pursuits.resize(payment.operations.len(), Pursuit::default());
        Step { payment, now, rules, facts: Vec::new(), actions: Vec::new(), response: None, pursuits }
    }

    fn on(&mut self, number: u32, act: impl FnOnce(&'a Operation, &mut Step<'a>)) {
        let place = usize::try_from(number).unwrap_or(usize::MAX);
        if let Some(operation) = self.payment.operations.get(place) {
            act(operation, self);
        }
    }

    fn on_each(&mut self, act: impl Fn(&'a Operation, &mut Step<'a>)) {
        self.payment.operations.iter().for_each(|operation| act(operation, self));
    }

    /// Another operation of the payment, from here on.
    fn intend(&mut self, intended: Operation) {
        let Operation { this, key, operation_key, gateway, request, .. } = intended;
        self.facts.push(Fact::Intended { operation: this, key, operation_key, gateway, request });
        self.pursuits.push(Pursuit::default());
    }

    /// The chase for an operation: always there, since `new` made one for each.
    fn pursuit(&mut self, operation: &Operation) -> &mut Pursuit {
        let place = usize::try_from(operation.this.number).unwrap_or(usize::MAX);
        let last = self.pursuits.len().saturating_sub(1);
        #[expect(clippy::indexing_slicing, reason = "one for each operation, and never behind the last")]
        &mut self.pursuits[place.min(last)]
    }

    fn call(&self, operation: &Operation) -> Call {
        Call {
            payment: self.payment.id,
            gateway: operation.gateway.clone(),
            operation: operation.this.number,
            kind: operation.this.kind,
            operation_key: operation.operation_key,
            amount: operation.this.amount,
            currency: self.payment.order.currency,
            reference: self.payment.reference_for(operation).map(str::to_owned),
        }
    }

    /// Whether something has been decided about an operation in this step.
    fn speaks_of(&self, operation: &Operation) -> bool {
        self.facts.iter().any(|fact| fact.operation() == Some(operation.this))
    }

    /// The payment as it will be when this is recorded.
    fn folded(&self) -> Option<Payment> {
        let mut payment = Some(self.payment.clone());
        for fact in &self.facts {
            let event = Event { payment: self.payment.id, at: self.now.wall, fact: fact.clone() };
            apply(&mut payment, &event).ok()?;
        }
        payment
    }

    /// When the last byte of a sending that starts now may leave. The order's expiry is that of its first operation:
    /// money can be given back at any time.
    fn not_after(&self, operation: &Operation) -> Timestamp {
        match operation.this.number {
            0 => not_after(&self.payment.order, self.now, self.rules),
            1.. => self.now.wall.plus(self.rules.contract.deadline),
        }
    }

    /// What has not been sent may have waited for what is known now.
    fn finish(mut self) -> Decision {
        if !self.facts.is_empty() {
            let waiting = |operation: &&Operation| operation.standing == Standing::Intended && operation.attempts == 0;
            for operation in self.payment.operations.iter().skip(1).filter(waiting) {
                self.pursuit(operation).due = Tick::default();
            }
        }
        let Step { facts, actions, response, pursuits, .. } = self;
        Decision { facts, pursuits, actions, response }
    }
}

fn not_after(order: &Order, now: &Now, rules: &Rules) -> Timestamp {
    let deadline = now.wall.plus(rules.contract.deadline);
    order.expires_at.map_or(deadline, |expiry| expiry.min(deadline))
}
