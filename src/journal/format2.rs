//! Format 2, where version 1 has no place: payments whose caller named a gateway, or that went to another; and those in
//! which news contradicted what was told of a later operation, or more than once. Everything else is written as before,
//! so that the version before can read it.
//!
//! In bytes. A payment: as in version 1; then the number of contradictions (u64), and for each the operation's place (u32)
//! and what the news said (u32: 0 moved, 1 reversed); then the gateway that its caller named, if any. An event: payment
//! and time as in version 1, then the fact: 0, and what version 1 has of an acceptance, and the named gateway; or 1, and
//! the operation, the gateway's identity and the bytes for it.
//!
//! Knows nothing of frames, batches or files.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{
    codec::Malformed,
    format1::{self, bytes, from_time, id, time},
};
use crate::payment as now;

#[derive(Serialize, Deserialize)]
pub(super) struct Event<'a> {
    #[serde(with = "id")]
    payment: [u8; 16],
    at: u64,
    #[serde(borrow)]
    fact: Fact<'a>,
}

#[derive(Serialize, Deserialize)]
enum Fact<'a> {
    /// 0
    Accepted {
        tenant: &'a str,
        key: &'a str,
        namespace: &'a str,
        #[serde(borrow)]
        order: format1::Order<'a>,
        #[serde(borrow)]
        gateway: Option<&'a str>,
    },
    /// 1
    Rerouted {
        operation: format1::OperationRef,
        #[serde(borrow)]
        gateway: format1::Identity<'a>,
        #[serde(serialize_with = "bytes::serialize")]
        request: &'a [u8],
    },
}

impl<'a> Event<'a> {
    /// As written in version 2; `None` for what is written in version 1 only.
    pub(super) fn of(event: &'a now::Event) -> Option<Event<'a>> {
        let fact = match &event.fact {
            now::Fact::Accepted { tenant, key, namespace, order } => Fact::Accepted {
                tenant: tenant.as_str(),
                key: key.as_str(),
                namespace: namespace.as_str(),
                order: order.as_ref().into(),
                gateway: order.gateway.as_deref(),
            },
            now::Fact::Rerouted { operation, gateway, request } => {
                Fact::Rerouted { operation: (*operation).into(), gateway: gateway.into(), request }
            }
            now::Fact::Intended { .. }
            | now::Fact::Prepared { .. }
            | now::Fact::AttemptStarted { .. }
            | now::Fact::AttemptEnded { .. }
            | now::Fact::Learned { .. }
            | now::Fact::Parked { .. }
            | now::Fact::Unparked { .. }
            | now::Fact::Canceled { .. }
            | now::Fact::Contradicted { .. }
            | now::Fact::WindowClosed { .. } => return None,
        };
        Some(Event { payment: *event.payment.as_bytes(), at: time(event.at), fact })
    }
}

impl TryFrom<Event<'_>> for now::Event {
    type Error = Malformed;

    fn try_from(event: Event<'_>) -> Result<now::Event, Malformed> {
        let fact = match event.fact {
            Fact::Accepted { tenant, key, namespace, order, gateway } => now::Fact::Accepted {
                tenant: now::Tenant::new(tenant)?,
                key: now::IdempotencyKey::new(key)?,
                namespace: now::Namespace::new(namespace)?,
                order: with_gateway(order.try_into()?, gateway)?,
            },
            Fact::Rerouted { operation, gateway, request } => now::Fact::Rerouted {
                operation: operation.try_into()?,
                gateway: gateway.into(),
                request: request.to_owned(),
            },
        };
        Ok(now::Event { payment: now::PaymentId::from_bytes(event.payment), at: from_time(event.at), fact })
    }
}

fn with_gateway(order: now::Order, gateway: Option<&str>) -> Result<Arc<now::Order>, Malformed> {
    match gateway {
        Some(name) => Ok(Arc::new(order.with_gateway(name)?)),
        None => Ok(Arc::new(order)),
    }
}

#[derive(Serialize, Deserialize)]
pub(super) struct Payment<'a> {
    #[serde(borrow)]
    base: format1::Payment<'a>,
    contradictions: Vec<(u32, Contradiction)>,
    #[serde(borrow)]
    gateway: Option<&'a str>,
}

#[derive(Serialize, Deserialize)]
enum Contradiction {
    Moved,    // 0
    Reversed, // 1
}

impl<'a> From<&'a now::Payment> for Payment<'a> {
    fn from(payment: &'a now::Payment) -> Payment<'a> {
        let placed = payment.operations.iter().zip(0..);
        let contradicted = placed.filter_map(|(operation, place)| operation.contradicted.map(|what| (place, what)));
        let contradictions = contradicted.map(|(place, what)| match what {
            now::Contradiction::Moved => (place, Contradiction::Moved),
            now::Contradiction::Reversed => (place, Contradiction::Reversed),
        });
        let gateway = payment.order.gateway.as_deref();
        Payment { base: payment.into(), contradictions: contradictions.collect(), gateway }
    }
}

impl TryFrom<Payment<'_>> for now::Payment {
    type Error = Malformed;

    fn try_from(payment: Payment<'_>) -> Result<now::Payment, Malformed> {
        let mut read: now::Payment = payment.base.try_into()?;
        // Version 1's word for the first of them is not needed here: all are listed.
        read.operations.iter_mut().for_each(|operation| operation.contradicted = None);
        for (place, what) in payment.contradictions {
            let found = usize::try_from(place).ok().and_then(|place| read.operations.get_mut(place));
            let found = found.ok_or(Malformed(format!("operation {place} is contradicted, but there is none")))?;
            found.contradicted = Some(match what {
                Contradiction::Moved => now::Contradiction::Moved,
                Contradiction::Reversed => now::Contradiction::Reversed,
            });
        }
        if payment.gateway.is_some() {
            read.order = with_gateway(Arc::unwrap_or_clone(read.order), payment.gateway)?;
        }
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use crate::{
        journal::{Record, codec, decode_payment, encode_payment, samples::payment},
        payment::{Contradiction, Event, Fact, Identity, Order, Timestamp},
    };

    /// The version, and what follows version 1's part: frozen.
    #[test]
    fn what_version_1_has_no_place_for_is_written_as_version_2_and_nothing_else_is() {
        let (moved, reversed) = (Some(Contradiction::Moved), Some(Contradiction::Reversed));
        for (contradicted, version, tail) in [
            (vec![None, None], 1, vec![]),
            (vec![moved, None], 1, vec![]),
            (vec![reversed], 2, vec![1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0]),
            (vec![None, moved], 2, vec![1, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0]),
        ] {
            let payment = payment(&contradicted);
            let bytes = encode_payment(&payment);
            assert_eq!((bytes[0], bytes.ends_with(&tail)), (version, true), "{contradicted:?}");
            assert_eq!(decode_payment(&bytes), Ok(payment.clone()));
            let record = Record::Carried(Box::new(payment));
            let frame = codec::encode_record(&record).expect("short");
            assert_eq!((frame[5], codec::decode_record(&frame)), (version, Ok(record)));
        }
    }

    #[test]
    fn a_contradiction_of_an_operation_that_is_not_there_is_refused() {
        let mut bytes = encode_payment(&payment(&[None, Some(Contradiction::Moved)]));
        let place = bytes.len() - 9;
        bytes[place] = 2;
        let refused = decode_payment(&bytes).expect_err("no such operation").to_string();
        assert_eq!(refused, "operation 2 is contradicted, but there is none");
    }

    /// Frozen: the version, the fact's tag, and how it ends.
    #[test]
    fn what_a_caller_named_and_where_a_payment_went_is_written_as_version_2() {
        let mut payment = payment(&[None]);
        let (tenant, key, namespace) = (payment.tenant.clone(), payment.key.clone(), payment.namespace.clone());
        let named = Order::clone(&payment.order).with_gateway("eu").expect("legal");
        let accepted = |order: &Order| {
            let (tenant, key, namespace, order) = (tenant.clone(), key.clone(), namespace.clone(), order.clone());
            Fact::Accepted { tenant, key, namespace, order: Arc::new(order) }
        };
        let gateway = Identity { name: "b".into(), ..Identity::default() };
        let operation = payment.operations[0].this;
        let text =
            |text: &str| [&[u8::try_from(text.len()).expect("short"), 0, 0, 0, 0, 0, 0, 0], text.as_bytes()].concat();
        for (fact, version, tag, tail) in [
            (accepted(&payment.order), 1, 0, vec![]),
            (accepted(&named), 2, 0, [vec![1], text("eu")].concat()),
            (Fact::Rerouted { operation, gateway, request: b"pay".to_vec() }, 2, 1, text("pay")),
        ] {
            let event = Event { payment: payment.id, at: Timestamp::from_millis(5), fact };
            for record in [Record::Event(event.clone()), Record::Relogged(event)] {
                let frame = codec::encode_record(&record).expect("short");
                assert_eq!(
                    (frame[5], &frame[6 + 24..6 + 28], frame.ends_with(&tail)),
                    (version, &[tag, 0, 0, 0][..], true)
                );
                assert_eq!(codec::decode_record(&frame), Ok(record));
            }
        }
        payment.order = Arc::new(named);
        let bytes = encode_payment(&payment);
        assert_eq!((bytes[0], bytes.ends_with(&text("eu"))), (2, true));
        assert_eq!(decode_payment(&bytes), Ok(payment));
    }
}
