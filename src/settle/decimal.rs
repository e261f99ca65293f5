//! Decimal amounts to minor units, by the currency's exponent, without rounding.

use crate::payment::Currency;

/// Currencies whose minor unit is not a hundredth, and how many digits it has (ISO 4217, list one).
const EXCEPTIONS: [(u8, &str); 3] = [
    (0, "BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX UYI VND VUV XAF XOF XPF"),
    (3, "BHD IQD JOD KWD LYD OMR TND"),
    (4, "CLF UYW"),
];

/// Metals, funds and tests: ISO 4217 gives them no minor unit.
const WITHOUT: &str = "XAG XAU XBA XBB XBC XBD XDR XPD XPT XSU XTS XUA";

/// How many decimal digits a currency has; `None`: it has no minor unit.
pub fn minor_digits(currency: Currency) -> Option<u8> {
    let within = |codes: &str| codes.split(' ').any(|code| code == currency.as_str());
    if within(WITHOUT) {
        return None;
    }
    Some(EXCEPTIONS.iter().find(|(_, codes)| within(codes)).map_or(2, |(digits, _)| *digits))
}

/// Reads a plain decimal number, such as `10.50`, as minor units. `None`: it is no such number, has more digits than the
/// currency (zeros are no digits too many), is too large, or the currency has no minor unit.
pub fn minor_units(text: &str, currency: Currency) -> Option<u64> {
    let digits = usize::from(minor_digits(currency)?);
    let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
    let is_number = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    if !is_number(whole) || !is_number(fraction) {
        return None;
    }
    let fraction = fraction.trim_end_matches('0');
    if fraction.len() > digits {
        return None;
    }
    format!("{whole}{fraction:0<digits$}").parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str, currency: &str) -> Option<u64> {
        minor_units(text, Currency::new(currency).expect("a currency"))
    }

    #[test]
    fn every_exception_is_a_currency() {
        let codes = EXCEPTIONS.iter().flat_map(|(_, codes)| codes.split(' ')).chain(WITHOUT.split(' '));
        assert!(codes.clone().all(|code| Currency::new(code).is_ok()));
        assert_eq!(codes.count(), 38);
    }

    #[test]
    fn decimals_are_read_by_the_currencys_own_exponent() {
        for (text, currency, units) in [
            ("10.50", "USD", 1050),
            ("10.5", "USD", 1050),
            ("10", "USD", 1000),
            ("10.500", "USD", 1050),
            ("0.01", "EUR", 1),
            ("007.00", "EUR", 700),
            ("1050", "JPY", 1050),
            ("1050.00", "JPY", 1050),
            ("1.234", "KWD", 1234),
            ("1.2345", "CLF", 12345),
            ("184467440737095516.15", "USD", u64::MAX),
        ] {
            assert_eq!(read(text, currency), Some(units), "{text} {currency}");
        }
    }

    #[test]
    fn nothing_is_rounded_and_nothing_is_guessed() {
        for (text, currency) in [
            ("10.505", "USD"),
            ("0.001", "USD"),
            ("1050.5", "JPY"),
            ("1.2345", "KWD"),
            ("184467440737095516.16", "USD"),
            ("1,050.00", "USD"),
            ("1.050,00", "EUR"),
            ("10,50", "EUR"),
            ("1e3", "USD"),
            ("+1", "USD"),
            ("-1", "USD"),
            (" 1", "USD"),
            (".5", "USD"),
            ("5.", "USD"),
            ("1.2.3", "USD"),
            ("", "USD"),
            ("1", "XAU"),
        ] {
            assert_eq!(read(text, currency), None, "{text} {currency}");
        }
    }
}
