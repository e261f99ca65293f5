//! The records about one payment, word for word.

use crate::payment::{PaymentId, Timestamp};

use super::{
    Found, Lsn, OpenError, Record,
    walk::{Batch, Bounds, Step, Walk},
};

/// A record about a payment, its exact bytes, and where they stand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Quote {
    /// Its place.
    pub lsn: Lsn,
    /// The segment that it is in.
    pub segment: u64,
    /// The byte at which its batch begins.
    pub offset: u64,
    /// The chain value after its batch: a checksum of everything in the segment up to there.
    pub chain: u32,
    /// When its batch was written.
    pub wall: Timestamp,
    /// Its frame, as it stands in the batch, or in the block of a packed one.
    pub bytes: Vec<u8>,
    /// What they say; what is sealed of it is taken as erased.
    pub record: Record,
}

impl Found {
    /// Every record about a payment that is durable beyond doubt, in order; what a later start has recorded again is
    /// left out of its first place. Reads the whole journal, also while a process is writing it.
    pub fn quote(&self, payment: &PaymentId) -> Result<Vec<Quote>, OpenError> {
        let mut quotes = Vec::new();
        self.each_batch(self.proven(), &mut |batch| {
            if batch.superseded { Ok(()) } else { take(batch, payment, &mut quotes) }
        })?;
        Ok(quotes)
    }

    /// Walks through all that counts, up to a record that was found, whatever is written meanwhile.
    pub(super) fn each_batch(
        &self,
        upto: Lsn,
        take: &mut dyn FnMut(&Batch<'_>) -> Result<(), OpenError>,
    ) -> Result<(), OpenError> {
        for (index, segment) in self.segments.iter().enumerate() {
            let next = self.segments.get(index + 1);
            let bounds = next.map_or(Bounds::Durable(upto), |next| Bounds::before(&next.header));
            let mut walk = Walk::new(&self.disk, segment.header, bounds, segment.header.start())?;
            while let Step::Batch(batch) = walk.next()? {
                take(&batch)?;
            }
        }
        Ok(())
    }
}

fn take(batch: &Batch<'_>, payment: &PaymentId, quotes: &mut Vec<Quote>) -> Result<(), OpenError> {
    for (lsn, frame) in batch.records() {
        let record = frame.decode_clear().map_err(|why| batch.malformed(lsn, &why))?;
        if about(&record) == Some(payment) {
            let (segment, offset, wall) = (batch.at.segment, batch.at.offset, batch.wall);
            quotes.push(Quote { lsn, segment, offset, chain: batch.end.chain, wall, bytes: frame.bytes(), record });
        }
    }
    Ok(())
}

fn about(record: &Record) -> Option<&PaymentId> {
    match record {
        Record::Event(event) | Record::Relogged(event) => Some(&event.payment),
        Record::Carried(payment) => Some(&payment.id),
        Record::Inbox(_) | Record::Audit(_) | Record::Opened(_) | Record::Checkpoint(_) | Record::Closed(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::{
        disk::Disk,
        journal::{
            Options, dump, open,
            samples::{WALL, start},
        },
        payment::{Amount, Event, Fact, Identity, Kind, OperationRef},
        sim::SimDisk,
    };

    const SIZES: Options =
        Options { segment_bytes: 16 << 10, batch_bytes: 4 << 10, largest_batch_bytes: 8 << 10, verify_bytes: 0 };

    fn event(payment: u8) -> Record {
        let operation = OperationRef { number: 0, kind: Kind::Charge, amount: Amount::new(7).expect("legal") };
        let fact = Fact::Rerouted { operation, gateway: Identity::default(), request: vec![payment; 300] };
        Record::Event(Event { payment: PaymentId::from_bytes([payment; 16]), at: WALL, fact })
    }

    /// What the first start wrote last, the second has recorded again; what the second wrote last is not proven.
    fn written() -> Arc<dyn Disk> {
        let disk: Arc<dyn Disk> = Arc::new(SimDisk::new());
        for _ in 0..2 {
            let mut journal = start(&disk, SIZES);
            for number in 0..30 {
                journal.append(WALL, &[vec![event(number % 3)]]).expect("room");
            }
        }
        disk
    }

    #[test]
    fn what_is_proven_of_a_payment_is_quoted_once_and_word_for_word() {
        let disk = written();
        let found = open(Arc::clone(&disk), SIZES).expect("readable");
        let all: Vec<_> = dump(disk).expect("readable").map(|entry| entry.expect("whole")).collect();
        assert!(all.iter().any(|entry| entry.superseded));
        for number in 0..4 {
            let payment = PaymentId::from_bytes([number; 16]);
            let of = |record: &Record| matches!(record, Record::Event(e) | Record::Relogged(e) if e.payment == payment);
            let wanted: Vec<_> = (all.iter())
                .filter(|entry| of(&entry.record) && !entry.superseded && entry.lsn <= found.proven())
                .map(|entry| (entry.lsn, entry.segment, entry.offset, entry.record.clone()))
                .collect();
            let quotes = found.quote(&payment).expect("readable");
            let told: Vec<_> = quotes.iter().map(|q| (q.lsn, q.segment, q.offset, q.record.clone())).collect();
            assert_eq!((told.len() > 5, &told), (number < 3, &wanted), "{number}");
            assert!(quotes.iter().all(|quote| quote.bytes.windows(300).any(|bytes| bytes == [number; 300])));
        }
    }
}
