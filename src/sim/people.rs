//! Who and what a world is populated with: a contract, callers who ask again and conflict, and deaths among them.

use std::{sync::Arc, time::Duration};

use super::{
    Rng,
    world::{Caller, EPOCH_MS, What, World},
};
use crate::{
    engine::Told,
    payment::{
        Amount, Capture, Contract, Currency, Deduplication, FollowUp, IdempotencyKey, Identity, Input, Inquiry, Manner,
        Order, PaymentId, Person, Resolution, Response, Tenant, Timestamp, Verdict,
    },
};

/// A contract of any kind, with times of any length that it allows.
pub(super) fn contract(rng: &mut Rng) -> Contract {
    let mut contract = Contract::standard(Identity { name: "sim".into(), ..Identity::default() });
    if rng.one_in(4) {
        contract.deduplication = Deduplication::None;
    }
    if rng.one_in(5) {
        contract.inquiry = Inquiry::None;
    }
    contract.max_processing = Duration::from_secs(rng.between(1, 60));
    contract.deadline = Duration::from_secs(rng.between(1, 15));
    if let Inquiry::ByKey { not_found_lag, not_found_times } = &mut contract.inquiry {
        *not_found_lag = Duration::from_secs(rng.below(30));
        *not_found_times = rng.between(1, 4) as u32;
    }
    if rng.one_in(3) {
        // Sooner than a gateway's bad hour is over: some is parked that it could still tell of.
        contract.park_after = Duration::from_secs(rng.between(120, 3_600));
    }
    contract.mints_id_first = rng.one_in(6);
    contract.soft_decline_window = rng.one_in(2).then(|| Duration::from_secs(3600 * rng.between(1, 72)));
    contract
}

impl World {
    /// Callers over a span of minutes or days, and deaths among them.
    pub(super) fn populate(&mut self) {
        let span = [60_000, 3_600_000, 48 * 3_600_000].get(self.rng.below(3) as usize).copied().unwrap_or(60_000);
        for number in 0..self.options.payments {
            let caller = self.caller(number, span);
            self.callers.push(caller);
            for _ in 0..self.rng.between(1, 3) {
                let at = self.rng.below(span);
                self.at(at, What::Ask(number as usize));
            }
            for _ in 0..self.rng.below(4) {
                let at = self.rng.below(span + span / 4);
                self.at(at, What::GoOn(number as usize));
            }
        }
        for _ in 0..self.rng.below(u64::from(self.options.payments / 4 + 1)) {
            let (at, caller) = (self.rng.below(span + span / 4), self.rng.below(u64::from(self.options.payments)));
            self.at(at, What::Person(caller as usize));
        }
        for _ in 0..self.rng.below(12) {
            let at = self.rng.below(span + span / 4);
            self.at(at, What::Crash);
        }
        for _ in 0..self.rng.below(6) {
            let at = self.rng.below(span);
            self.at(at, What::Checkpoint);
        }
        self.at(0, What::Start);
    }

    pub(super) fn caller(&mut self, number: u32, span: u64) -> Caller {
        let amount = Amount::new(self.rng.between(1, 100_000)).unwrap_or_else(|_| unreachable!("in range"));
        let currency = Currency::new("USD").unwrap_or_else(|_| unreachable!("a currency"));
        let order = Order::new(amount, currency, "alice", "bob").unwrap_or_else(|_| unreachable!("legal"));
        let expiry = Timestamp::from_millis(EPOCH_MS + self.rng.below(span));
        let order = if self.rng.one_in(8) { order.with_expiry(expiry) } else { order };
        let order = if self.rng.one_in(3) { order.with_capture(Capture::Manual) } else { order };
        let key = IdempotencyKey::new(&format!("order-{number}")).unwrap_or_else(|_| unreachable!("legal"));
        Caller { tenant: Tenant::default(), key, order, done: false, asks_left: self.rng.between(1, 20) as u32 }
    }

    /// A caller asks; often with company: the same turn then takes several.
    pub(super) fn ask(&mut self, number: usize) {
        let again = self.rng.between(10, 120_000);
        let conflicts = self.rng.one_in(10);
        let Some(caller) = self.callers.get_mut(number).filter(|caller| !caller.done && caller.asks_left > 0) else {
            return;
        };
        caller.asks_left -= 1;
        let id = caller.id();
        let route = self.routing.as_mut().map_or(0, |chance| chance.below(2) as usize);
        let input = |order: &Order| Input::Pay {
            tenant: caller.tenant.clone(),
            key: caller.key.clone(),
            order: Arc::new(order.clone()),
            request: Ok(format!("{} {}", order.amount, caller.key).into_bytes()),
            manner: Manner { route, ..Manner::default() },
        };
        let mut inputs = vec![(id, input(&caller.order))];
        if conflicts {
            inputs.push((id, input(&another(&caller.order, number))));
        }
        let left = caller.asks_left;
        self.turn(inputs);
        if left > 0 {
            self.at(self.now + again, What::Ask(number));
        }
    }

    /// What a caller is told is kept in mind, and looked at.
    pub(super) fn told(&mut self, id: PaymentId, input: &Input, told: &Told) {
        let order = if let Input::Pay { order, .. } = input { Some(order) } else { None };
        if order.is_none() && input.follow_up().is_none() {
            return; // No caller's.
        }
        let Told::Decided { response: Some(response), payment: Some(payment) } = told else { return };
        match response {
            Response::Fresh | Response::Attached | Response::Replayed => {
                if order.is_some_and(|order| payment.order != *order) {
                    self.oracle.conflict_let_through(id);
                }
                if let Some((key, follow_up)) = input.follow_up() {
                    self.oracle.went_on_as_asked(payment, key, follow_up);
                }
                self.oracle.answered(payment, &self.gateway, &self.disk);
            }
            Response::Conflict(_)
            | Response::Inexpressible(_)
            | Response::Moved
            | Response::Done
            | Response::InvalidState(_)
            | Response::AmountTooLarge { .. }
            | Response::NotFound => {}
        }
        self.note(|| format!("caller: {id} -> {response:?}, {}", payment.state().as_str()));
    }

    /// A caller captures, voids or refunds, some of it or all; often with company, and at times under a key that it has
    /// used before, for the same or for something else.
    pub(super) fn go_on(&mut self, number: usize) {
        let Some(caller) = self.callers.get(number) else { return };
        let (id, tenant, most) = (caller.id(), caller.tenant.clone(), caller.order.amount);
        let inputs: Vec<(PaymentId, Input)> = (0..self.rng.between(1, 3))
            .map(|_| {
                let part = Amount::new(self.rng.between(1, most.minor_units())).ok().filter(|_| !self.rng.one_in(3));
                let follow_up = match self.rng.below(5) {
                    0 | 1 => FollowUp::Capture(part),
                    2 | 3 => FollowUp::Refund(part),
                    _ => FollowUp::Void,
                };
                let key = IdempotencyKey::new(&format!("then-{}", self.rng.below(6)));
                let key = key.unwrap_or_else(|_| unreachable!("legal"));
                (id, Input::Operate { tenant: tenant.clone(), key, follow_up })
            })
            .collect();
        self.turn(inputs);
    }

    /// A person has the gateway asked, or decides: from the gateway's own books, which are right, or within what the
    /// engine allows.
    pub(super) fn person(&mut self, number: usize) {
        let Some(caller) = self.callers.get(number) else { return };
        let id = caller.id();
        let payment = self.machine.as_ref().and_then(|machine| machine.get(&id).ok().flatten());
        let open = payment.as_ref().and_then(|payment| payment.operations.iter().find(|one| !one.is_final()));
        let moved = open.map(|operation| operation.operation_key);
        let moved = moved.is_some_and(|key| self.gateway.moved(&key) > 0);
        let verdict = match self.rng.below(4) {
            0 => Verdict::Cancel,
            1 => Verdict::Resend,
            _ if moved => Verdict::Succeeded,
            _ => return self.turn(vec![(id, Input::Inquire)]),
        };
        let person = Person { actor: "ann".to_owned(), reason: "looked into it".to_owned() };
        self.note(|| format!("person: {verdict:?} for {id}"));
        self.turn(vec![(id, Input::Resolve(Resolution { operation: None, verdict, reply: None, person }))]);
    }
}

/// The same order but for one field, another one for each caller.
fn another(order: &Order, number: usize) -> Order {
    let mut other = order.clone();
    match number % 8 {
        0 => other.amount = Amount::new(order.amount.minor_units() + 1).unwrap_or(order.amount),
        1 => other.currency = Currency::new("EUR").unwrap_or(order.currency),
        2 => other.source.push('2'),
        3 => other.destination.push('2'),
        4 => other.capture = Capture::Manual,
        5 => other.description = Some("another".to_owned()),
        6 => drop(other.metadata.insert("table".to_owned(), "2".to_owned())),
        _ => {
            other.expires_at =
                Some(order.expires_at.map_or(Timestamp::from_millis(u64::MAX), |at| at.plus(Duration::from_secs(1))))
        }
    }
    other
}
