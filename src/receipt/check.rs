//! Checking a receipt, from its bytes alone; and against a journal, where there is one.

use super::{
    Claim, Entry, FORMAT, Receipt,
    chain::{Chain, rfc3339, unhex},
    spoken,
};
use crate::{
    journal::{Found, OpenError, Record, decode_record},
    payment::{Event, Payment, PaymentId, Timestamp, apply},
};

/// What came of checking a receipt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checked {
    /// The head that its bytes lead to.
    pub head: Option<String>,
    /// What its bytes add up to.
    pub claim: Option<Claim>,
    /// Everything that is wrong with it. None: it agrees with itself.
    pub faults: Vec<String>,
}

/// Checks that the chain is whole, that what is said of each record is what its bytes say, and that the records add up to
/// what is claimed. Believes nothing but the bytes.
pub fn check(receipt: &Receipt) -> Checked {
    if receipt.format != FORMAT {
        let fault = format!("its format is {:?}, and this payonce knows {FORMAT:?} only", receipt.format);
        return Checked { head: None, claim: None, faults: vec![fault] };
    }
    let (journal, id) = (uuid(&receipt.journal), PaymentId::parse(&receipt.claim.payment));
    let (Some(journal), Some(id)) = (journal, id) else {
        let fault = "it does not name a journal and a payment".to_owned();
        return Checked { head: None, claim: None, faults: vec![fault] };
    };
    let chain = Chain::start(&journal, &id);
    let mut reading = Reading { id, chain, broken: false, payment: None, last: 0, faults: Vec::new() };
    receipt.entries.iter().for_each(|entry| reading.take(entry));
    reading.end(receipt)
}

/// Looks each record up in a journal: what is not there, byte for byte and at its place, is named. `Ok` and empty: all of
/// it is there, and nothing was left out.
pub fn compare(receipt: &Receipt, found: &Found) -> Result<Vec<String>, OpenError> {
    let Some(id) = PaymentId::parse(&receipt.claim.payment) else {
        return Ok(vec!["it names no payment".to_owned()]);
    };
    if uuid(&receipt.journal) != found.store_uuid() {
        return Ok(vec!["it is from another journal than this one".to_owned()]);
    }
    if receipt.upto > found.proven().get() {
        let (upto, last) = (receipt.upto, found.proven());
        return Ok(vec![format!(
            "it was made up to record {upto}, and this journal ends at {last}: this is an older copy of it"
        )]);
    }
    let quotes = found.quote(&id)?;
    let known = quotes.iter().filter(|quote| quote.lsn.get() <= receipt.upto);
    let known = known.filter(|quote| matches!(quote.record, Record::Event(_) | Record::Relogged(_)));
    let mut known: Vec<_> = known.map(|q| (q.lsn.get(), q.segment, q.offset, q.chain, super::hex(&q.bytes))).collect();
    let mut faults = Vec::new();
    for entry in &receipt.entries {
        let Entry { lsn, segment, offset, chain, bytes, .. } = entry;
        match known.iter().position(|one| *one == (*lsn, *segment, *offset, *chain, bytes.clone())) {
            Some(place) => drop(known.remove(place)),
            None => faults.push(format!("record {lsn} does not stand like this in the journal")),
        }
    }
    faults.extend(known.iter().map(|(lsn, ..)| format!("record {lsn} of the journal is not in it")));
    Ok(faults)
}

fn uuid(text: &str) -> Option<[u8; 16]> {
    unhex(text)?.try_into().ok()
}

/// How far a receipt was read.
struct Reading {
    id: PaymentId,
    chain: Chain,
    /// From the first hash that is wrong, all are.
    broken: bool,
    payment: Option<Payment>,
    last: u64,
    faults: Vec<String>,
}

impl Reading {
    fn take(&mut self, entry: &Entry) {
        let lsn = entry.lsn;
        if lsn <= self.last {
            self.faults.push(format!("record {lsn} stands after record {}", self.last));
        }
        self.last = lsn;
        let Some(bytes) = unhex(&entry.bytes) else {
            return self.faults.push(format!("record {lsn}: its bytes are not hexadecimal"));
        };
        if self.chain.link(entry, &bytes) != entry.hash && !std::mem::replace(&mut self.broken, true) {
            let why = "its hash is not that of its bytes, place and time and of what is before it";
            self.faults.push(format!("record {lsn}: {why}"));
        }
        if rfc3339(Timestamp::from_millis(entry.wall_ms)) != entry.wall {
            self.faults.push(format!("record {lsn}: its time is given in two ways that differ"));
        }
        match self.read(entry, &bytes) {
            Ok(event) => self.fold(lsn, &event),
            Err(why) => self.faults.push(format!("record {lsn}: {why}")),
        }
    }

    fn read(&self, entry: &Entry, bytes: &[u8]) -> Result<Event, String> {
        let record = decode_record(bytes).map_err(|why| why.to_string())?;
        let name = record.name();
        let event = match record {
            Record::Event(event) | Record::Relogged(event) => event,
            Record::Carried(_)
            | Record::Inbox(_)
            | Record::Audit(_)
            | Record::Opened(_)
            | Record::Checkpoint(_)
            | Record::Closed(_) => {
                return Err(format!("it is no event, but `{name}`"));
            }
        };
        if name != entry.record || spoken::event(&event) != entry.event {
            return Err("what is said of it is not what its bytes say".to_owned());
        }
        if event.payment != self.id {
            return Err(format!("it is about payment {}", event.payment));
        }
        Ok(event)
    }

    fn fold(&mut self, lsn: u64, event: &Event) {
        if let Err(misfit) = apply(&mut self.payment, event) {
            self.faults.push(format!("record {lsn}: {misfit}"));
        }
    }

    fn end(self, receipt: &Receipt) -> Checked {
        let Reading { chain, payment, last, mut faults, .. } = self;
        let head = chain.head(receipt.entries.len(), receipt.upto);
        if head != receipt.head {
            faults.push("its head is not the one that its records lead to".to_owned());
        }
        if last > receipt.upto {
            faults.push(format!("it was made up to record {}, and holds record {last}", receipt.upto));
        }
        let claim = payment.as_ref().map(Claim::of);
        if claim.as_ref() != Some(&receipt.claim) {
            faults.push("its records do not add up to what it claims".to_owned());
        }
        Checked { head: Some(head), claim, faults }
    }
}
