//! Our book from a data folder: its journal folded, and nothing else read.

use std::{collections::HashMap, path::Path, sync::Arc};

use payonce::{
    Event, Payment, PaymentId, Timestamp,
    journal::{self, Found, OpenError, Record, ReplayFrom, decode_payment, encode_payment},
    payment::{Misfit, Operation, Reply, apply},
    settle::{Belief, Entry, Settlement},
};

use super::show::Counter;
use crate::journal::disk;

/// Enters every payment of the journal, or those of one gateway.
pub(super) fn read(data: &Path, gateway: Option<&str>, settlement: &mut Settlement) -> Result<(), String> {
    let found = journal::open(disk(data)?, journal::Options::default()).map_err(|error| error.to_string())?;
    let mut payments = folded(&found)?.into_values();
    payments.try_for_each(|known| known.enter(gateway, settlement)).map_err(|Unread(why)| why)
}

fn folded(found: &Found) -> Result<HashMap<PaymentId, Known>, String> {
    let mut payments: HashMap<PaymentId, Known> = HashMap::new();
    let mut records = Counter::new("records read");
    let replayed = found.replay(ReplayFrom::Beginning, &mut |_, _, record| {
        records.one();
        match record {
            Record::Event(event) => payments.entry(event.payment).or_default().fold(&event),
            Record::Carried(payment) => payments.entry(payment.id).or_default().carried(*payment),
            // Its payment is carried too; the others are not about payments.
            Record::Relogged(_)
            | Record::Inbox(_)
            | Record::Audit(_)
            | Record::Opened(_)
            | Record::Checkpoint(_)
            | Record::Closed(_) => Ok(()),
        }
    });
    records.clear();
    replayed.map_err(|Unread(why)| why)?;
    Ok(payments)
}

struct Unread(String);

impl From<OpenError> for Unread {
    fn from(error: OpenError) -> Unread {
        Unread(error.to_string())
    }
}

impl From<Misfit> for Unread {
    fn from(misfit: Misfit) -> Unread {
        Unread(format!("{misfit}; see `payonce journal verify`"))
    }
}

/// A payment as far as it was read. Every one ever made is held at once, so those at rest are held as bytes.
enum Known {
    Open(Box<Open>),
    Resting { payment: Box<[u8]>, ended: Box<[Option<Timestamp>]> },
}

#[derive(Default)]
struct Open {
    payment: Option<Payment>,
    /// When each operation became final.
    ended: Vec<Option<Timestamp>>,
}

impl Default for Known {
    fn default() -> Known {
        Known::Open(Box::default())
    }
}

impl Known {
    fn fold(&mut self, event: &Event) -> Result<(), Unread> {
        let mut open = self.wake()?;
        apply(&mut open.payment, event)?;
        self.keep(open, event.at);
        Ok(())
    }

    fn carried(&mut self, payment: Payment) -> Result<(), Unread> {
        let mut open = self.wake()?;
        let at = payment.settled_at.unwrap_or(payment.updated_at);
        open.payment = Some(payment);
        self.keep(open, at);
        Ok(())
    }

    /// Takes the payment out, whole.
    fn wake(&mut self) -> Result<Box<Open>, Unread> {
        match std::mem::take(self) {
            Known::Open(open) => Ok(open),
            Known::Resting { payment, ended } => {
                let payment = decode_payment(&payment).map_err(|error| Unread(error.to_string()))?;
                Ok(Box::new(Open { payment: Some(payment), ended: ended.into() }))
            }
        }
    }

    /// Notes what has ended, lets go of what is not compared, and puts the payment back.
    fn keep(&mut self, mut open: Box<Open>, at: Timestamp) {
        if let Some(payment) = &mut open.payment {
            open.ended.resize(payment.operations.len(), None);
            for (operation, ended) in payment.operations.iter().zip(&mut open.ended) {
                if operation.is_final() {
                    ended.get_or_insert(at);
                }
            }
            payment.timeline = Vec::new();
            let order = Arc::make_mut(&mut payment.order);
            order.description = None;
            order.metadata.clear();
            if payment.is_at_rest() {
                let payment = encode_payment(payment).into();
                *self = Known::Resting { payment, ended: open.ended.into() };
                return;
            }
        }
        *self = Known::Open(open);
    }

    fn enter(mut self, gateway: Option<&str>, settlement: &mut Settlement) -> Result<(), Unread> {
        let open = self.wake()?;
        let Some(payment) = &open.payment else { return Ok(()) };
        for (operation, ended) in payment.operations.iter().zip(&open.ended) {
            let there = &operation.gateway;
            if gateway.is_none_or(|wanted| *there.name == *wanted || *there.account == *wanted) {
                let reference = operation.reply().and_then(Reply::reference).or(operation.prepared.as_deref());
                settlement.enter(entry(payment, operation, *ended), reference);
            }
        }
        Ok(())
    }
}

fn entry(payment: &Payment, operation: &Operation, ended: Option<Timestamp>) -> Entry {
    Entry {
        payment: payment.id,
        number: operation.this.number,
        kind: operation.this.kind,
        operation_key: operation.operation_key,
        amount: operation.this.amount,
        currency: payment.order.currency,
        belief: Belief::from(&operation.standing),
        earliest: operation.first_sent.unwrap_or(payment.created_at),
        latest: ended.unwrap_or(payment.updated_at),
    }
}

#[cfg(test)]
mod tests {
    use payonce::{
        Amount, Currency, IdempotencyKey, Namespace, Order, Tenant,
        payment::{Cause, Evidence, Fact, Identity, Kind, OperationKey, OperationRef, Outcome},
        settle::{What, Window},
    };

    use super::*;

    fn intended(number: u32, kind: Kind, amount: u64) -> (OperationRef, Fact) {
        let operation = OperationRef { number, kind, amount: Amount::new(amount).expect("legal") };
        let fact = Fact::Intended {
            operation,
            key: IdempotencyKey::new("order-1").expect("legal"),
            operation_key: OperationKey::from_bytes([u8::try_from(number).expect("few"); 16]),
            gateway: Identity { name: "sandbox".into(), ..Identity::default() },
            request: Vec::new(),
        };
        (operation, fact)
    }

    /// Asked and done.
    fn done(number: u32, kind: Kind, amount: u64) -> [Fact; 3] {
        let (operation, intended) = intended(number, kind, amount);
        let (not_after, outcome) = (Timestamp::from_millis(0), Outcome::Succeeded(Reply::new("ok", "")));
        let ended = Fact::AttemptEnded { operation, attempt: 1, outcome, evidence: Evidence::Reply };
        [intended, Fact::AttemptStarted { operation, attempt: 1, not_after, cause: Cause::First }, ended]
    }

    fn accepted() -> Fact {
        let currency = Currency::new("USD").expect("a currency");
        Fact::Accepted {
            tenant: Tenant::default(),
            key: IdempotencyKey::new("order-1").expect("legal"),
            namespace: Namespace::default(),
            order: Arc::new(Order::new(Amount::new(1050).expect("legal"), currency, "a", "b").expect("legal")),
        }
    }

    /// Folds facts, one a second, the first at 1.
    fn known(facts: impl IntoIterator<Item = Fact>) -> Known {
        let mut known = Known::default();
        for (second, fact) in (1..).zip(facts) {
            let event =
                Event { payment: PaymentId::from_bytes([7; 16]), at: Timestamp::from_millis(second * 1000), fact };
            assert!(known.fold(&event).is_ok(), "{event:?}");
        }
        known
    }

    fn entered(known: Known, gateway: Option<&str>) -> Vec<(Kind, u64, u64)> {
        let (to, margin) = (Timestamp::from_millis(60_000), std::time::Duration::ZERO);
        let mut settlement = Settlement::new(Window { from: None, to, margin, as_of: to });
        assert!(known.enter(gateway, &mut settlement).is_ok());
        let missing = settlement.finish().filter(|finding| finding.what == What::MissingThere);
        let entries = missing.map(|finding| finding.ours.expect("an entry"));
        entries.map(|ours| (ours.kind, ours.earliest.as_millis(), ours.latest.as_millis())).collect()
    }

    #[test]
    fn a_payment_at_rest_is_woken_by_what_comes_later_and_keeps_its_times() {
        let charged = || std::iter::once(accepted()).chain(done(0, Kind::Charge, 1050));
        let resting = known(charged());
        assert!(matches!(resting, Known::Resting { .. }));
        assert_eq!(entered(resting, None), [(Kind::Charge, 3000, 4000)]);
        let refunded = known(charged().chain(done(1, Kind::Refund, 50)));
        assert!(matches!(refunded, Known::Resting { .. }));
        assert_eq!(entered(refunded, None), [(Kind::Charge, 3000, 4000), (Kind::Refund, 6000, 7000)]);
    }

    /// As a start does with what is not evidently durable, at rest or not.
    #[test]
    fn a_payment_that_is_carried_again_keeps_the_times_that_were_read_before() {
        let mut payments = known(std::iter::once(accepted()).chain(done(0, Kind::Charge, 1050)));
        let whole = payments.wake().ok().and_then(|open| open.payment).expect("a payment");
        payments = known(std::iter::once(accepted()).chain(done(0, Kind::Charge, 1050)));
        assert!(payments.carried(Payment { updated_at: Timestamp::from_millis(50_000), ..whole }).is_ok());
        assert_eq!(entered(payments, None), [(Kind::Charge, 3000, 4000)]);
    }

    #[test]
    fn of_one_gateway_only_what_was_sent_there_is_entered() {
        let charged = || known(std::iter::once(accepted()).chain(done(0, Kind::Charge, 1050)));
        assert_eq!(entered(charged(), Some("sandbox")).len(), 1);
        assert_eq!(entered(charged(), Some("another")), []);
    }
}
