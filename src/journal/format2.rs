//! Format 2: a payment in which news has contradicted what was told of a later operation, or more than once. Written
//! only where version 1 has no place for that, so that everything else can be read by the version before.
//!
//! In bytes: the payment as in version 1; then the number of contradictions (u64), and for each the operation's place
//! (u32) and what the news said (u32: 0 moved, 1 reversed).
//!
//! Knows nothing of frames, batches or files.

use serde::{Deserialize, Serialize};

use super::{codec::Malformed, format1};
use crate::payment as now;

#[derive(Serialize, Deserialize)]
pub(super) struct Payment {
    base: format1::Payment,
    contradictions: Vec<(u32, Contradiction)>,
}

#[derive(Serialize, Deserialize)]
enum Contradiction {
    Moved,    // 0
    Reversed, // 1
}

impl From<&now::Payment> for Payment {
    fn from(payment: &now::Payment) -> Payment {
        let placed = payment.operations.iter().zip(0..);
        let contradicted = placed.filter_map(|(operation, place)| operation.contradicted.map(|what| (place, what)));
        let contradictions = contradicted.map(|(place, what)| match what {
            now::Contradiction::Moved => (place, Contradiction::Moved),
            now::Contradiction::Reversed => (place, Contradiction::Reversed),
        });
        Payment { base: payment.into(), contradictions: contradictions.collect() }
    }
}

impl TryFrom<Payment> for now::Payment {
    type Error = Malformed;

    fn try_from(payment: Payment) -> Result<now::Payment, Malformed> {
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
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use crate::{
        journal::{Record, codec, decode_payment, encode_payment},
        payment::{
            Amount, Contradiction, Currency, IdempotencyKey, Identity, Kind, Namespace, Operation, OperationKey,
            OperationRef, Order, Payment, PaymentId, Tenant, Timestamp,
        },
    };

    fn payment(contradicted: &[Option<Contradiction>]) -> Payment {
        let (amount, key) = (Amount::new(7).expect("legal"), IdempotencyKey::new("k").expect("legal"));
        let operation = |(number, contradicted): (u32, &Option<Contradiction>)| {
            let this = OperationRef { number, kind: Kind::Charge, amount };
            let operation_key = OperationKey::from_bytes([1; 16]);
            let made = Operation::intended(this, key.clone(), operation_key, Identity::default(), Vec::new());
            Operation { contradicted: *contradicted, ..made }
        };
        Payment {
            id: PaymentId::from_bytes([2; 16]),
            tenant: Tenant::default(),
            namespace: Namespace::default(),
            order: Order::new(amount, Currency::new("USD").expect("legal"), "a", "b").expect("legal"),
            operations: (0..).zip(contradicted).map(operation).collect(),
            created_at: Timestamp::default(),
            settled_at: None,
            updated_at: Timestamp::default(),
            timeline: Vec::new(),
            key,
        }
    }

    /// The version, and what follows version 1's part: frozen.
    #[test]
    fn what_version_1_has_no_place_for_is_written_as_version_2_and_nothing_else_is() {
        let (moved, reversed) = (Some(Contradiction::Moved), Some(Contradiction::Reversed));
        for (contradicted, version, tail) in [
            (vec![None, None], 1, vec![]),
            (vec![moved, None], 1, vec![]),
            (vec![reversed], 2, vec![1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0]),
            (vec![None, moved], 2, vec![1, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0]),
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
        let place = bytes.len() - 8;
        bytes[place] = 2;
        let refused = decode_payment(&bytes).expect_err("no such operation").to_string();
        assert_eq!(refused, "operation 2 is contradicted, but there is none");
    }
}
