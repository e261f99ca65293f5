//! Money: an amount in minor units and a currency. Checked arithmetic only.

use std::{fmt, sync::LazyLock};

use super::order::Invalid;

/// An amount in minor units (cents, for USD): 1 to 2^53-1, so that every JSON reader holds it exactly.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Amount(u64);

impl Amount {
    /// The largest amount: the largest integer that JavaScript's numbers hold exactly.
    pub const MAX: u64 = (1 << 53) - 1;

    /// Checks the range.
    pub fn new(minor_units: u64) -> Result<Amount, Invalid> {
        if minor_units == 0 || minor_units > Amount::MAX {
            return Err(Invalid::new("amount", "must be an integer from 1 to 9007199254740991, in minor units"));
        }
        Ok(Amount(minor_units))
    }

    /// The number of minor units.
    pub const fn minor_units(self) -> u64 {
        self.0
    }
}

impl fmt::Display for Amount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// An ISO 4217 alphabetic code, in capitals.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Currency([u8; 3]);

impl Currency {
    /// Looks the code up in ISO 4217. Codes are only ever added: an order accepted once stays valid.
    pub fn new(code: &str) -> Result<Currency, Invalid> {
        let letters: Option<[u8; 3]> = code.as_bytes().try_into().ok();
        match letters {
            Some(letters) if KNOWN.binary_search(&letters).is_ok() => Ok(Currency(letters)),
            Some(_) | None => Err(Invalid::new("currency", "must be an ISO 4217 code in capitals, such as USD")),
        }
    }

    /// The three letters.
    pub fn as_str(&self) -> &str {
        str::from_utf8(&self.0).unwrap_or("???")
    }
}

impl fmt::Display for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// In order. One is looked for in every order that is read, from a caller or from the disk.
static KNOWN: LazyLock<Vec<[u8; 3]>> = LazyLock::new(|| {
    let mut known: Vec<[u8; 3]> =
        CODES.split_ascii_whitespace().filter_map(|code| code.as_bytes().try_into().ok()).collect();
    known.sort_unstable();
    known
});

/// ISO 4217, list one (current currency and funds codes), with the testing code XTS. XXX, "no currency", is left out.
const CODES: &str = "
    AED AFN ALL AMD ANG AOA ARS AUD AWG AZN BAM BBD BDT BGN BHD BIF BMD BND BOB BOV BRL BSD BTN BWP BYN BZD CAD CDF
    CHE CHF CHW CLF CLP CNY COP COU CRC CUC CUP CVE CZK DJF DKK DOP DZD EGP ERN ETB EUR FJD FKP GBP GEL GHS GIP GMD
    GNF GTQ GYD HKD HNL HRK HTG HUF IDR ILS INR IQD IRR ISK JMD JOD JPY KES KGS KHR KMF KPW KRW KWD KYD KZT LAK LBP
    LKR LRD LSL LYD MAD MDL MGA MKD MMK MNT MOP MRU MUR MVR MWK MXN MXV MYR MZN NAD NGN NIO NOK NPR NZD OMR PAB PEN
    PGK PHP PKR PLN PYG QAR RON RSD RUB RWF SAR SBD SCR SDG SEK SGD SHP SLE SLL SOS SRD SSP STN SVC SYP SZL THB TJS
    TMT TND TOP TRY TTD TWD TZS UAH UGX USD USN UYI UYU UYW UZS VED VES VND VUV WST XAF XAG XAU XBA XBB XBC XBD XCD
    XCG XDR XOF XPD XPF XPT XSU XTS XUA YER ZAR ZMW ZWG ZWL";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_outside_what_json_holds_exactly_are_refused() {
        assert!(Amount::new(0).is_err());
        assert!(Amount::new(1).is_ok());
        assert!(Amount::new(Amount::MAX).is_ok());
        assert!(Amount::new(Amount::MAX + 1).is_err());
        assert!(Amount::new(u64::MAX).is_err());
    }

    #[test]
    fn only_iso_4217_codes_in_capitals_are_currencies() {
        assert!(Currency::new("USD").is_ok());
        assert!(Currency::new("EUR").is_ok());
        for code in ["", "usd", "US", "USDX", "USD ", "ABC", "\u{20ac}", "AED AFN"] {
            assert!(Currency::new(code).is_err(), "{code:?}");
        }
    }

    #[test]
    fn the_largest_amount_is_the_largest_that_javascript_holds_exactly() {
        assert_eq!(Amount::MAX, 9_007_199_254_740_991);
        let most = Amount::new(Amount::MAX).expect("legal");
        assert_eq!((most.minor_units(), most.to_string().as_str()), (Amount::MAX, "9007199254740991"));
        assert_eq!(Amount::new(1050).map(Amount::minor_units), Ok(1050));
    }

    #[test]
    fn a_currency_is_shown_as_its_code() {
        let currency = Currency::new("CHF").expect("legal");
        assert_eq!((currency.as_str(), format!("{currency} {currency:?}").as_str()), ("CHF", "CHF CHF"));
    }
}
