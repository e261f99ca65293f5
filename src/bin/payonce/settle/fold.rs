//! Our book from a data folder: its journal folded, and nothing else read.

use std::{collections::HashMap, path::Path};

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
            Record::Relogged(_) | Record::Inbox(_) | Record::Opened(_) | Record::Checkpoint(_) | Record::Closed(_) => {
                Ok(())
            }
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
            payment.order.description = None;
            payment.order.metadata.clear();
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
            if gateway.is_none_or(|wanted| there.name == wanted || there.account == wanted) {
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
