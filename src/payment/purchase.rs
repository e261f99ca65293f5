//! What makes two orders look like one purchase that was asked for twice, under two keys.

use std::fmt;

use super::{Order, Tenant, id::digest};

/// Frozen with nothing: it is never recorded.
const PURCHASE_DOMAIN: &str = "payonce purchase";

/// A short name for who buys what of whom: equal for orders that differ in their keys only.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Purchase([u8; 16]);

impl Purchase {
    /// Of a tenant's order: its payer, payee, amount, currency, and what its metadata says under `reference`, the caller's
    /// own name for the sale, if it has one.
    pub fn of(tenant: &Tenant, order: &Order, reference: &str) -> Purchase {
        let amount = order.amount.minor_units().to_be_bytes();
        let named = order.metadata.get(reference);
        Purchase(digest(&[
            PURCHASE_DOMAIN.as_bytes(),
            tenant.as_str().as_bytes(),
            order.source.as_bytes(),
            order.destination.as_bytes(),
            &amount,
            order.currency.as_str().as_bytes(),
            if named.is_some() { b"named" } else { b"unnamed" },
            named.map_or("", String::as_str).as_bytes(),
        ]))
    }
}

impl fmt::Debug for Purchase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Purchase")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::payment::{Amount, Capture, Currency};

    fn order(amount: u64, currency: &str, source: &str, destination: &str) -> Order {
        let (amount, currency) = (Amount::new(amount).expect("legal"), Currency::new(currency).expect("legal"));
        Order::new(amount, currency, source, destination).expect("legal")
    }

    #[test]
    fn payer_payee_amount_currency_and_reference_make_a_purchase_and_nothing_else_does() {
        let (tenant, other) = (Tenant::default(), Tenant::new("other").expect("legal"));
        let of = |order: &Order| Purchase::of(&tenant, order, "reference");
        let plain = order(5, "USD", "a", "b");
        let with = |key: &str, value: &str| plain.clone().with_metadata(key, value).expect("legal");
        for same in [
            plain.clone().with_description("again").expect("legal"),
            plain.clone().with_capture(Capture::Manual),
            with("note", "x"),
        ] {
            assert_eq!(of(&same), of(&plain));
        }
        for another in [
            order(6, "USD", "a", "b"),
            order(5, "EUR", "a", "b"),
            order(5, "USD", "ab", "b"),
            order(5, "USD", "a", "c"),
            with("reference", ""),
            with("reference", "7"),
        ] {
            assert_ne!(of(&another), of(&plain), "{another:?}");
        }
        assert_ne!(of(&with("reference", "7")), of(&with("reference", "8")));
        assert_ne!(Purchase::of(&other, &plain, "reference"), of(&plain));
    }
}
