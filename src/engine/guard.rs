//! The guard against one purchase under two keys: a button that was pressed twice, a form that was sent again.
//!
//! It holds nothing up for good and loses nothing: its memory is what the journal says of the last minutes, and a caller
//! who means it says so.

use std::{
    collections::{BTreeMap, VecDeque},
    time::Duration,
};

use super::{Machine, OpenError};
use crate::{
    journal::Record,
    payment::{Fact, Input, Order, Payment, PaymentId, Purchase, State, Tenant, Timestamp},
};

/// What counts as the same purchase, and for how long.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Watch {
    /// For how long after one payment another that looks like it is held.
    pub window: Duration,
    /// The metadata in which callers name their sale. Two sales that are named differently are two.
    pub reference: String,
}

/// How many records are read at once to fill the memory at a start.
const AT_ONCE: usize = 4096;

/// The purchases of the last minutes.
#[derive(Debug)]
pub(super) struct Guard {
    watch: Watch,
    known: BTreeMap<Purchase, (PaymentId, Timestamp)>,
    order: VecDeque<(Timestamp, Purchase)>,
}

impl Guard {
    fn new(watch: Watch) -> Guard {
        Guard { watch, known: BTreeMap::new(), order: VecDeque::new() }
    }

    /// Another payment that this one looks like.
    pub(super) fn like(&self, now: Timestamp, id: &PaymentId, tenant: &Tenant, order: &Order) -> Option<PaymentId> {
        let (other, at) = self.known.get(&Purchase::of(tenant, order, &self.watch.reference))?;
        (other != id && now < at.plus(self.watch.window)).then_some(*other)
    }

    pub(super) fn note(&mut self, at: Timestamp, id: PaymentId, fact: &Fact) {
        let Fact::Accepted { tenant, order, .. } = fact else { return };
        let purchase = Purchase::of(tenant, order, &self.watch.reference);
        self.known.insert(purchase, (id, at));
        self.order.push_back((at, purchase));
        while let Some((oldest, purchase)) =
            self.order.front().copied().filter(|(o, _)| o.plus(self.watch.window) <= at)
        {
            self.order.pop_front();
            // It may have been bought again since.
            if self.known.get(&purchase).is_some_and(|(_, noted)| *noted == oldest) {
                self.known.remove(&purchase);
            }
        }
    }
}

/// Whether a payment that another looks like is a reason to ask: money has moved for it, or may yet.
pub(super) fn counts(payment: &Payment) -> bool {
    match payment.state() {
        State::Processing
        | State::RequiresAction
        | State::InDoubt
        | State::Parked
        | State::Authorized
        | State::Succeeded => true,
        // A second try under another key is what their callers are told to make.
        State::Declined | State::Canceled => false,
    }
}

/// A new payment that its caller has not said is meant.
pub(super) fn is_unsaid(input: &Input) -> Option<(&Tenant, &Order)> {
    match input {
        Input::Pay { tenant, order, manner, .. } if !manner.meant => Some((tenant, order)),
        Input::Pay { .. }
        | Input::Operate { .. }
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

impl Machine {
    /// Holds purchases that look like one of the last minutes, those before this start too: the journal has them.
    pub fn watch(&mut self, watch: Watch, now: Timestamp) -> Result<(), OpenError> {
        let mut guard = Guard::new(watch);
        let mut reader = self.reader();
        let since = Timestamp::from_millis(now.as_millis().saturating_sub(millis(guard.watch.window)));
        let mut from = reader.first_after(since)?;
        loop {
            let records = reader.read_from(from, self.durable(), AT_ONCE)?;
            let Some((last, _)) = records.last() else { break };
            from = last.plus(1);
            for (_, record) in &records {
                if let Record::Event(event) | Record::Relogged(event) = record {
                    guard.note(event.at, event.payment, &event.fact);
                }
            }
        }
        self.guard = Some(guard);
        Ok(())
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::payment::{Amount, Currency, IdempotencyKey, Namespace};

    fn order(reference: Option<&str>) -> Order {
        let (amount, currency) = (Amount::new(5).expect("legal"), Currency::new("USD").expect("legal"));
        let order = Order::new(amount, currency, "a", "b").expect("legal");
        reference.map_or(order.clone(), |name| order.with_metadata("sale", name).expect("legal"))
    }

    fn fact(order: &Order) -> Fact {
        Fact::Accepted {
            tenant: Tenant::default(),
            key: IdempotencyKey::new("k").expect("legal"),
            namespace: Namespace::default(),
            order: Arc::new(order.clone()),
        }
    }

    #[test]
    fn a_purchase_is_known_for_as_long_as_the_window_and_forgotten_behind_it() {
        let mut guard = Guard::new(Watch { window: Duration::from_secs(60), reference: "sale".to_owned() });
        let (one, other) = (PaymentId::from_bytes([1; 16]), PaymentId::from_bytes([2; 16]));
        let at = |seconds: u64| Timestamp::from_millis(seconds * 1_000);
        let like = |guard: &Guard, seconds, id: &PaymentId, named: Option<&str>| {
            guard.like(at(seconds), id, &Tenant::default(), &order(named))
        };
        guard.note(at(10), one, &fact(&order(None)));
        assert_eq!(like(&guard, 11, &one, None), None, "a payment is not like itself");
        assert_eq!((like(&guard, 69, &other, None), like(&guard, 70, &other, None)), (Some(one), None));
        assert_eq!(like(&guard, 11, &other, Some("7")), None, "another sale");
        guard.note(at(20), other, &fact(&order(None)));
        guard.note(at(71), one, &fact(&order(Some("7"))));
        assert_eq!(
            like(&guard, 72, &one, None),
            Some(other),
            "the later one is still known when the first is forgotten"
        );
        guard.note(at(200), one, &fact(&order(Some("8"))));
        assert_eq!((guard.known.len(), guard.order.len()), (1, 1));
    }
}
