//! Our book from a data folder: its journal folded, and nothing else read.

use std::{collections::HashMap, path::Path};

use payonce::{
    Event, Payment, PaymentId, Timestamp,
    journal::{self, Found, OpenError, Record, ReplayFrom},
    payment::{Misfit, Operation, Reply, apply},
    settle::{Belief, Entry, Settlement},
};

use super::show::Counter;
use crate::journal::disk;

/// Enters every payment of the journal, or those of one gateway.
pub(super) fn read(data: &Path, gateway: Option<&str>, settlement: &mut Settlement) -> Result<(), String> {
    let found = journal::open(disk(data)?, journal::Options::default()).map_err(|error| error.to_string())?;
    for known in folded(&found)?.values() {
        known.enter(gateway, settlement);
    }
    Ok(())
}

fn folded(found: &Found) -> Result<HashMap<PaymentId, Known>, String> {
    let mut payments: HashMap<PaymentId, Known> = HashMap::new();
    let mut records = Counter::new("records read");
    let replayed = found.replay(ReplayFrom::Beginning, &mut |_, _, record| {
        records.one();
        match record {
            Record::Event(event) => payments.entry(event.payment).or_default().fold(&event),
            Record::Carried(payment) => {
                payments.entry(payment.id).or_default().carried(*payment);
                Ok(())
            }
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

/// A payment as far as it was read.
#[derive(Default)]
struct Known {
    payment: Option<Payment>,
    /// When each operation became final.
    ended: Vec<Option<Timestamp>>,
}

impl Known {
    fn fold(&mut self, event: &Event) -> Result<(), Unread> {
        apply(&mut self.payment, event)?;
        self.note(event.at);
        Ok(())
    }

    fn carried(&mut self, payment: Payment) {
        let at = payment.settled_at.unwrap_or(payment.updated_at);
        self.payment = Some(payment);
        self.note(at);
    }

    /// Notes what has ended, and lets go of what is not compared: every payment ever made is held at once.
    fn note(&mut self, at: Timestamp) {
        let Some(payment) = &mut self.payment else { return };
        self.ended.resize(payment.operations.len(), None);
        for (operation, ended) in payment.operations.iter().zip(&mut self.ended) {
            if operation.is_final() {
                ended.get_or_insert(at);
            }
        }
        payment.timeline = Vec::new();
        payment.order.description = None;
        payment.order.metadata.clear();
        payment.order.source = String::new();
        payment.order.destination = String::new();
    }

    fn enter(&self, gateway: Option<&str>, settlement: &mut Settlement) {
        let Some(payment) = &self.payment else { return };
        for (operation, ended) in payment.operations.iter().zip(&self.ended) {
            let there = &operation.gateway;
            if gateway.is_none_or(|wanted| there.name == wanted || there.account == wanted) {
                let reference = operation.reply().and_then(Reply::reference).or(operation.prepared.as_deref());
                settlement.enter(entry(payment, operation, *ended), reference);
            }
        }
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
