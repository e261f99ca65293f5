//! Lists: the unresolved from memory, the others from the store in id order, with memory's word before the store's.

use std::sync::Arc;

use super::{Machine, Unread, decode};
use crate::payment::{IdempotencyKey, Payment, PaymentId, State, Tenant};

/// Rows looked at for one page: a rare state in a large store is found over several pages, not by stopping the engine.
const MAX_LOOKED_AT: usize = 2_000;

/// Rows read from the store at once.
const CHUNK: usize = 256;

/// Which payments.
#[derive(Clone, Debug)]
pub struct Filter {
    /// Whose; `None`: everybody's. One key of everybody is looked for among all payments, page by page.
    pub tenant: Option<Tenant>,
    /// Only those in this state.
    pub state: Option<State>,
    /// Only those that a person should look at.
    pub attention: bool,
    /// Only the one with this key.
    pub key: Option<IdempotencyKey>,
    /// Only those behind this one, in id order.
    pub after: Option<PaymentId>,
    /// How many at the most.
    pub limit: usize,
}

/// A page of payments.
#[derive(Clone, Debug, Default)]
pub struct Page {
    /// In id order.
    pub payments: Vec<Arc<Payment>>,
    /// Where the next page begins; `None`: there is none. A page may be short, even empty, and still have a next one.
    pub next: Option<PaymentId>,
}

impl Filter {
    fn admits(&self, payment: &Payment) -> bool {
        self.tenant.as_ref().is_none_or(|tenant| payment.tenant == *tenant)
            && self.state.is_none_or(|state| payment.is_in(state))
            && (!self.attention || payment.needs_attention())
            && self.key.as_ref().is_none_or(|key| payment.key == *key)
            && self.after.is_none_or(|after| payment.id > after)
    }
}

impl Machine {
    /// One page of payments.
    pub fn list(&self, filter: &Filter) -> Result<Page, Unread> {
        if let (Some(tenant), Some(key)) = (&filter.tenant, &filter.key) {
            let found = self.get(&PaymentId::derive(tenant, key))?;
            let payments = found.filter(|payment| filter.admits(payment)).into_iter().collect();
            return Ok(Page { payments, next: None });
        }
        match filter.state {
            Some(state) if !state.is_settled() => Ok(self.list_memory(filter)),
            Some(_) | None => self.list_all(filter),
        }
    }

    /// What is not settled is always in memory.
    fn list_memory(&self, filter: &Filter) -> Page {
        let entries = self.overlay.entries(filter.after.as_ref());
        let admitted = entries.map(|entry| &entry.payment).filter(|payment| filter.admits(payment));
        let mut payments: Vec<Arc<Payment>> = admitted.take(filter.limit + 1).cloned().collect();
        let more = payments.len() > filter.limit;
        payments.truncate(filter.limit);
        Page { next: payments.last().filter(|_| more).map(|last| last.id), payments }
    }

    /// Memory and store, merged in id order.
    fn list_all(&self, filter: &Filter) -> Result<Page, Unread> {
        let mut page = Page::default();
        let mut cursor = filter.after;
        let mut looked_at = 0;
        while looked_at < MAX_LOOKED_AT {
            let rows = self.store.page(cursor.as_ref(), CHUNK)?;
            let whole = rows.len() < CHUNK;
            let upto = rows.last().map(|(id, _)| *id).filter(|_| !whole);
            let mut chunk: Vec<Arc<Payment>> = Vec::with_capacity(rows.len());
            for (id, row) in &rows {
                if self.overlay.get(id).is_none() {
                    chunk.push(Arc::new(decode(id, row, self.seal.as_deref()).map_err(Unread::Bad)?.0));
                }
            }
            let in_memory = self.overlay.entries(cursor.as_ref()).map(|entry| &entry.payment);
            chunk.extend(in_memory.take_while(|payment| upto.is_none_or(|upto| payment.id <= upto)).cloned());
            chunk.sort_unstable_by_key(|payment| payment.id);
            for payment in chunk {
                looked_at += 1;
                if page.payments.len() == filter.limit {
                    page.next = page.payments.last().map(|last| last.id);
                    return Ok(page);
                }
                if filter.admits(&payment) {
                    page.payments.push(payment);
                }
            }
            if whole {
                return Ok(page);
            }
            cursor = upto;
        }
        page.next = cursor;
        Ok(page)
    }
}
