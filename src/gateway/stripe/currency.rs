//! Amounts as Stripe counts them, which for a few currencies is not how ISO 4217 does.

use crate::payment::{Amount, Currency, Invalid};

/// No decimals with Stripe, two by ISO 4217.
const WHOLE_ONLY: [&str; 1] = ["MGA"];
/// No decimals by ISO 4217; Stripe wants two, both zero.
const TWO_ZEROS: [&str; 1] = ["ISK"];
/// Three decimals, of which Stripe wants the last to be zero.
const THREE_DECIMALS: [&str; 5] = ["BHD", "JOD", "KWD", "OMR", "TND"];
/// Stripe's documents count UGX among those without decimals, and among those that are written with two: a hundred
/// times too much or too little. The others have four decimals, which Stripe has for none.
const NOT_CERTAIN: [&str; 3] = ["UGX", "CLF", "UYW"];

/// An amount in ISO 4217's minor units, in Stripe's: all others, those without decimals too, are the same in both.
pub(super) fn units(amount: Amount, currency: Currency) -> Result<u64, Invalid> {
    let (units, code) = (amount.minor_units(), currency.as_str());
    if NOT_CERTAIN.contains(&code) {
        return Err(Invalid::new("currency", "is one of which it is not certain how Stripe counts it"));
    }
    if TWO_ZEROS.contains(&code) {
        return units.checked_mul(100).ok_or(Invalid::new("amount", "is too large for Stripe"));
    }
    if WHOLE_ONLY.contains(&code) {
        let whole = units.is_multiple_of(100).then_some(units / 100);
        return whole.ok_or(Invalid::new("amount", "must be a multiple of 100: Stripe has no decimals for it"));
    }
    if THREE_DECIMALS.contains(&code) && !units.is_multiple_of(10) {
        return Err(Invalid::new("amount", "must be a multiple of 10: Stripe wants the third decimal to be zero"));
    }
    Ok(units)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(amount: u64, currency: &str) -> Result<u64, &'static str> {
        let (amount, currency) = (Amount::new(amount).expect("legal"), Currency::new(currency).expect("known"));
        units(amount, currency).map_err(|invalid| invalid.field)
    }

    #[test]
    fn amounts_are_the_same_where_stripe_counts_as_iso_4217_does() {
        for code in ["USD", "EUR", "HUF", "TWD", "JPY", "KRW", "VND", "XAF", "CLP", "PYG"] {
            assert_eq!(of(1057, code), Ok(1057), "{code}");
        }
    }

    #[test]
    fn three_decimals_end_in_zero() {
        for code in THREE_DECIMALS {
            assert_eq!(of(5120, code), Ok(5120), "{code}");
            assert_eq!(of(5124, code), Err("amount"), "{code}");
        }
    }

    #[test]
    fn where_they_differ_the_same_money_is_asked_for() {
        assert_eq!(of(5, "ISK"), Ok(500));
        assert_eq!(of(Amount::MAX, "ISK"), Ok(Amount::MAX * 100));
        assert_eq!(of(500, "MGA"), Ok(5));
        assert_eq!(of(550, "MGA"), Err("amount"));
    }

    #[test]
    fn a_currency_that_could_be_counted_in_two_ways_is_refused() {
        for code in NOT_CERTAIN {
            assert_eq!(of(1000, code), Err("currency"), "{code}");
        }
    }
}
