//! What operators did, as written in version 1.

use serde::{Deserialize, Serialize};

use super::{Identity, from_time, id, time};
use crate::payment as now;

#[derive(Serialize, Deserialize)]
pub(in super::super) struct Audit<'a> {
    at: u64,
    #[serde(borrow)]
    key: Option<&'a str>,
    actor: &'a str,
    reason: &'a str,
    #[serde(borrow)]
    deed: Deed<'a>,
    carried: bool,
}

#[derive(Serialize, Deserialize)]
enum Deed<'a> {
    /// 0
    Inquire {
        #[serde(with = "id")]
        payment: [u8; 16],
    },
    /// 1
    Pause {
        name: &'a str,
        #[serde(borrow)]
        gateway: Identity<'a>,
    },
    /// 2
    Resume {
        name: &'a str,
        #[serde(borrow)]
        gateway: Identity<'a>,
    },
    /// 3
    Drain,
    /// 4
    Admit,
    /// 5
    Replay {
        webhook: &'a str,
        #[serde(borrow)]
        event: Option<&'a str>,
    },
    /// 6
    Discard { webhook: &'a str, event: &'a str },
    /// 7
    Erase { tenant: &'a str },
    /// 8
    Resolve {
        #[serde(with = "id")]
        payment: [u8; 16],
    },
}

impl<'a> From<&'a now::Audit> for Audit<'a> {
    fn from(audit: &'a now::Audit) -> Audit<'a> {
        let now::Audit { at, key, person, deed, carried } = audit;
        let deed = match deed {
            now::Deed::Inquire(payment) => Deed::Inquire { payment: *payment.as_bytes() },
            now::Deed::Pause { name, gateway } => Deed::Pause { name, gateway: gateway.into() },
            now::Deed::Resume { name, gateway } => Deed::Resume { name, gateway: gateway.into() },
            now::Deed::Drain => Deed::Drain,
            now::Deed::Admit => Deed::Admit,
            now::Deed::Replay { webhook, event } => Deed::Replay { webhook, event: event.as_deref() },
            now::Deed::Discard { webhook, event } => Deed::Discard { webhook, event },
            now::Deed::Erase { tenant } => Deed::Erase { tenant },
            now::Deed::Resolve(payment) => Deed::Resolve { payment: *payment.as_bytes() },
        };
        let (actor, reason) = (&person.actor, &person.reason);
        Audit { at: time(*at), key: key.as_deref(), actor, reason, deed, carried: *carried }
    }
}

impl From<Audit<'_>> for now::Audit {
    fn from(audit: Audit<'_>) -> now::Audit {
        let deed = match audit.deed {
            Deed::Inquire { payment } => now::Deed::Inquire(now::PaymentId::from_bytes(payment)),
            Deed::Pause { name, gateway } => now::Deed::Pause { name: name.to_owned(), gateway: gateway.into() },
            Deed::Resume { name, gateway } => now::Deed::Resume { name: name.to_owned(), gateway: gateway.into() },
            Deed::Drain => now::Deed::Drain,
            Deed::Admit => now::Deed::Admit,
            Deed::Replay { webhook, event } => {
                now::Deed::Replay { webhook: webhook.to_owned(), event: event.map(str::to_owned) }
            }
            Deed::Discard { webhook, event } => {
                now::Deed::Discard { webhook: webhook.to_owned(), event: event.to_owned() }
            }
            Deed::Resolve { payment } => now::Deed::Resolve(now::PaymentId::from_bytes(payment)),
            Deed::Erase { tenant } => now::Deed::Erase { tenant: tenant.to_owned() },
        };
        let person = now::Person { actor: audit.actor.to_owned(), reason: audit.reason.to_owned() };
        let (at, key) = (from_time(audit.at), audit.key.map(str::to_owned));
        now::Audit { at, key, person, deed, carried: audit.carried }
    }
}
