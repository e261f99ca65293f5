//! What gateways said by themselves: kept before it is believed to have come, and each piece of news once.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::{Machine, Stopped, Unread, decode};
use crate::{
    journal::Record,
    payment::{OperationKey, Payment, PaymentId, Tenant, Timestamp, Webhook},
};

/// How many pieces of news are known again. Gateways repeat within days; one that comes again after so many others leads
/// to one question more, and to nothing else.
const KNOWN: usize = 10_000;

/// What a piece of news takes in the journal besides its body, in bytes: at the most.
const AROUND: u64 = 4 * 1024;

/// What became of news.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Received {
    /// It is durable, and will be known again.
    Kept,
    /// The disk is full: the gateway has to say it again.
    NoSpace,
}

/// The news that would be known again.
#[derive(Debug, Default)]
pub(super) struct Inbox {
    known: BTreeSet<(String, String)>,
    order: VecDeque<(String, String)>,
}

impl Inbox {
    /// Notes a piece of news; whether it is new.
    pub(super) fn note(&mut self, news: &Webhook) -> bool {
        let name = (news.gateway.clone(), news.event_id.clone());
        if !self.known.insert(name.clone()) {
            return false;
        }
        self.order.push_back(name);
        if self.order.len() > KNOWN
            && let Some(oldest) = self.order.pop_front()
        {
            self.known.remove(&oldest);
        }
        true
    }

    fn knows(&self, news: &Webhook) -> bool {
        self.known.contains(&(news.gateway.clone(), news.event_id.clone()))
    }
}

impl Machine {
    /// Whether a piece of news has come before.
    pub fn knows(&self, news: &Webhook) -> bool {
        self.inbox.knows(news)
    }

    /// Makes news durable, with one write and one fsync. What it is evidence of has to be recorded before: once it is known,
    /// nobody looks at it again.
    pub fn receive(&mut self, now: Timestamp, news: Vec<Webhook>) -> Result<Received, Stopped> {
        let now = now.max(self.last_wall);
        let bodies = news.iter().map(|news| u64::try_from(news.body.len()).unwrap_or(u64::MAX));
        let size = bodies.fold(0u64, |sum, body| sum.saturating_add(body).saturating_add(AROUND));
        let wanted = self.reserved().saturating_add(size);
        if !self.has_room(wanted, now) {
            return Ok(Received::NoSpace);
        }
        let owners = match self.seal.as_ref().map(|_| self.owners_of(&news)) {
            Some(Err(Unread::OutOfUse(_))) => return Ok(Received::NoSpace), // Whose it is cannot be told now.
            Some(Err(Unread::Bad(stopped))) => return Err(stopped),
            Some(Ok(owners)) => owners,
            None => BTreeMap::new(),
        };
        let owner_of = |news: &Webhook| news.operation_key.and_then(|key| owners.get(&key));
        if self.seal.as_ref().is_some_and(|seal| !news.iter().all(|one| seal.has_room_for(owner_of(one)))) {
            return Ok(Received::NoSpace);
        }
        let records: Vec<Vec<Record>> = news.iter().map(|news| vec![Record::Inbox(news.clone())]).collect();
        let owner = |record: &Record| owners.get(&operation_key(record)?).cloned();
        let appended = self.journal.append_of(now, &records, &owner)?;
        self.note(now, &appended);
        for news in &news {
            self.inbox.note(news);
        }
        Ok(Received::Kept)
    }

    /// Whose payments news is about, where that can be told.
    fn owners_of(&self, news: &[Webhook]) -> Result<BTreeMap<OperationKey, Tenant>, Unread> {
        let mut owners = BTreeMap::new();
        for key in news.iter().filter_map(|news| news.operation_key) {
            owners.extend(self.owner_of(&key)?.map(|tenant| (key, tenant)));
        }
        Ok(owners)
    }

    /// Whose payment has an operation of this key.
    pub(super) fn owner_of(&self, key: &OperationKey) -> Result<Option<Tenant>, Unread> {
        let payment = self.payment_of(key)?.map_or(Ok(None), |id| self.get(&id))?;
        Ok(payment.map(|payment| payment.tenant.clone()))
    }

    /// The payment that has an operation of this key: from memory, or else among the rows whose ids begin as the key does.
    pub fn payment_of(&self, key: &OperationKey) -> Result<Option<PaymentId>, Unread> {
        let has = |payment: &Payment| payment.operations.iter().any(|one| one.operation_key == *key);
        let first = key.first_candidate();
        let mut near = self.overlay.entries(Some(&first)).take_while(|entry| key.may_belong_to(&entry.payment.id));
        if let Some(entry) = near.find(|entry| has(&entry.payment)) {
            return Ok(Some(entry.payment.id));
        }
        let mut after = first;
        loop {
            let rows = self.store.page(Some(&after), NEIGHBOURS)?;
            for (id, row) in &rows {
                if !key.may_belong_to(id) {
                    return Ok(None);
                }
                if has(&decode(id, row, self.seal.as_deref()).map_err(Unread::Bad)?.0) {
                    return Ok(Some(*id));
                }
            }
            match rows.last() {
                Some((last, _)) if rows.len() == NEIGHBOURS => after = *last,
                Some(_) | None => return Ok(None),
            }
        }
    }
}

/// The operation that a record of news speaks of, where it says.
pub(super) fn operation_key(record: &Record) -> Option<OperationKey> {
    match record {
        Record::Inbox(news) => news.operation_key,
        Record::Event(_)
        | Record::Relogged(_)
        | Record::Carried(_)
        | Record::Audit(_)
        | Record::Opened(_)
        | Record::Checkpoint(_)
        | Record::Closed(_) => None,
    }
}

/// How many rows are read at once in search of a key's payment: seldom does one share its beginning with another.
const NEIGHBOURS: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;

    fn news(number: usize) -> Webhook {
        let at = Timestamp::default();
        Webhook {
            gateway: "a".to_owned(),
            event_id: format!("evt_{number}"),
            at,
            operation_key: None,
            body: Vec::new(),
        }
    }

    #[test]
    fn news_is_known_again_until_ten_thousand_others_have_come() {
        let mut inbox = Inbox::default();
        assert!(inbox.note(&news(0)));
        assert!(!inbox.note(&news(0)));
        assert!(
            inbox.note(&Webhook { gateway: "a, account shop".to_owned(), ..news(0) }),
            "another account's is another"
        );
        for number in 1..KNOWN {
            assert!(inbox.note(&news(number)));
        }
        assert!(inbox.knows(&news(1)) && !inbox.knows(&news(0)));
        assert_eq!((inbox.known.len(), inbox.order.len()), (KNOWN, KNOWN));
    }
}
