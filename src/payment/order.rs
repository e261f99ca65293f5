//! The order: what the caller asked for. Kept whole, and compared field by field when its key comes again.

use std::{collections::BTreeMap, fmt};

use super::{Amount, Currency, Timestamp};

/// A value that an order or a name cannot hold: which field, and what it must be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Invalid {
    /// The field's name, as in the HTTP body.
    pub field: &'static str,
    /// What the field must be; never the refused value, which may be a secret.
    pub why: &'static str,
}

impl Invalid {
    pub(crate) fn new(field: &'static str, why: &'static str) -> Invalid {
        Invalid { field, why }
    }
}

impl fmt::Display for Invalid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.field, self.why)
    }
}

impl std::error::Error for Invalid {}

/// Whether money moves with the first operation, or is only authorized by it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Capture {
    /// Charge at once.
    #[default]
    Automatic,
    /// Authorize; capture later.
    Manual,
}

impl Capture {
    /// As in the HTTP body.
    pub const fn as_str(self) -> &'static str {
        match self {
            Capture::Automatic => "automatic",
            Capture::Manual => "manual",
        }
    }
}

/// The longest `source` and `destination`, in characters.
pub const MAX_PARTY: usize = 255;
/// The longest `description`, in characters.
pub const MAX_DESCRIPTION: usize = 1_000;
/// The most pairs of `metadata`.
pub const MAX_METADATA: usize = 50;
/// The longest key of `metadata`, in characters.
pub const MAX_METADATA_KEY: usize = 40;
/// The longest value of `metadata`, in characters.
pub const MAX_METADATA_VALUE: usize = 500;

/// What the caller asked for.
///
/// ```
/// use payonce::{Amount, Currency, Order};
///
/// let order = Order::new(Amount::new(1050)?, Currency::new("USD")?, "acct_alice", "acct_bob")?
///     .with_description("two coffees")?
///     .with_metadata("table", "7")?;
/// assert_eq!(order.amount.minor_units(), 1050);
/// # Ok::<(), payonce::Invalid>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Order {
    /// How much, in minor units.
    pub amount: Amount,
    /// Of which currency.
    pub currency: Currency,
    /// Who pays, in the gateway's terms.
    pub source: String,
    /// Who is paid, in the gateway's terms.
    pub destination: String,
    /// Charge, or authorize only.
    pub capture: Capture,
    /// For people; not sent to the gateway.
    pub description: Option<String>,
    /// For the caller's own use; not sent to the gateway.
    pub metadata: BTreeMap<String, String>,
    /// Never sent after this; canceled instead.
    pub expires_at: Option<Timestamp>,
    /// The name of the gateway that it must go to; none: whichever is for it.
    pub gateway: Option<String>,
    /// Its personal data was erased: `source` and `destination` are empty, as no caller's can be, and description and
    /// metadata are gone.
    pub erased: bool,
}

impl Order {
    /// How many bytes its caller wrote that are not of a fixed length: what it takes besides.
    pub(crate) fn written(&self) -> usize {
        let metadata = self.metadata.iter().map(|(key, value)| key.len() + value.len()).sum::<usize>();
        metadata + self.description.as_ref().map_or(0, String::len) + self.source.len() + self.destination.len()
    }

    /// An order with the four fields that every order has.
    pub fn new(amount: Amount, currency: Currency, source: &str, destination: &str) -> Result<Order, Invalid> {
        Ok(Order {
            amount,
            currency,
            source: text("source", source, 1, MAX_PARTY, "must be 1 to 255 characters")?,
            destination: text("destination", destination, 1, MAX_PARTY, "must be 1 to 255 characters")?,
            capture: Capture::Automatic,
            description: None,
            metadata: BTreeMap::new(),
            expires_at: None,
            gateway: None,
            erased: false,
        })
    }

    /// Charges at once (the default), or authorizes only.
    #[must_use]
    pub fn with_capture(mut self, capture: Capture) -> Order {
        self.capture = capture;
        self
    }

    /// Adds a description of up to 1,000 characters.
    pub fn with_description(mut self, description: &str) -> Result<Order, Invalid> {
        let checked = text("description", description, 0, MAX_DESCRIPTION, "must be up to 1000 characters")?;
        self.description = Some(checked);
        Ok(self)
    }

    /// Adds one pair of metadata: a key of 1 to 40 characters, a value of up to 500, 50 pairs at the most.
    pub fn with_metadata(mut self, key: &str, value: &str) -> Result<Order, Invalid> {
        let key = text("metadata", key, 1, MAX_METADATA_KEY, "must have keys of 1 to 40 characters")?;
        let value = text("metadata", value, 0, MAX_METADATA_VALUE, "must have values of up to 500 characters")?;
        self.metadata.insert(key, value);
        if self.metadata.len() > MAX_METADATA {
            return Err(Invalid::new("metadata", "must have up to 50 pairs"));
        }
        Ok(self)
    }

    /// Sets a time after which nothing is sent. One in the past is no error: a new payment is then canceled at once.
    #[must_use]
    pub fn with_expiry(mut self, expires_at: Timestamp) -> Order {
        self.expires_at = Some(expires_at);
        self
    }

    /// Names the gateway that it must go to, as it is configured: 1 to 40 characters.
    pub fn with_gateway(mut self, name: &str) -> Result<Order, Invalid> {
        self.gateway = Some(text("gateway", name, 1, MAX_METADATA_KEY, "must be 1 to 40 characters")?);
        Ok(self)
    }

    /// What is left of it once its personal data is erased: everything that says how much money moves, and when.
    #[must_use]
    pub fn erased(&self) -> Order {
        // Put together field by field so that a new one is either kept or erased on purpose.
        Order {
            amount: self.amount,
            currency: self.currency,
            source: String::new(),
            destination: String::new(),
            capture: self.capture,
            description: None,
            metadata: BTreeMap::new(),
            expires_at: self.expires_at,
            gateway: self.gateway.clone(),
            erased: true,
        }
    }

    /// The top-level names of the fields in which `other` differs, in the order of the HTTP body. What was erased of either
    /// cannot be compared, and does not differ: the key has had its one payment, and must go on to be answered with it.
    pub fn differing_fields(&self, other: &Order) -> Vec<&'static str> {
        // Taken apart so that a new field cannot be forgotten here.
        let Order {
            amount,
            currency,
            source,
            destination,
            capture,
            description,
            metadata,
            expires_at,
            gateway,
            erased,
        } = self;
        let known = !erased && !other.erased;
        let fields = [
            ("amount", *amount != other.amount),
            ("currency", *currency != other.currency),
            ("source", known && *source != other.source),
            ("destination", known && *destination != other.destination),
            ("capture", *capture != other.capture),
            ("description", known && *description != other.description),
            ("metadata", known && *metadata != other.metadata),
            ("expires_at", *expires_at != other.expires_at),
            ("gateway", *gateway != other.gateway),
        ];
        fields.into_iter().filter(|(_, differs)| *differs).map(|(name, _)| name).collect()
    }

    /// Whether it may no longer be sent.
    pub fn expired(&self, now: Timestamp) -> bool {
        self.expires_at.is_some_and(|expiry| now >= expiry)
    }
}

/// Whether a person's words may be kept for ever, as far as their form goes.
pub(crate) fn is_spoken(text: &str, max: usize) -> bool {
    !text.trim().is_empty() && text.chars().count() <= max && !text.chars().any(char::is_control)
}

/// Refuses what holds a card number, wherever else it would be kept.
pub(crate) fn without_card_number(field: &'static str, value: &str) -> Result<(), Invalid> {
    match holds_card_number(value) {
        true => Err(Invalid::new(field, "must not contain a card number; use the gateway's token for it")),
        false => Ok(()),
    }
}

fn text(field: &'static str, value: &str, min: usize, max: usize, why: &'static str) -> Result<String, Invalid> {
    let length = value.chars().count();
    if length < min || length > max {
        return Err(Invalid::new(field, why));
    }
    if value.contains('\0') {
        return Err(Invalid::new(field, "must not contain the character U+0000"));
    }
    without_card_number(field, value)?;
    Ok(value.to_owned())
}

/// The length of the shortest card number.
const FEWEST_DIGITS: usize = 13;

/// Whether a text holds what can only be meant as a card number: 13 to 19 digits, with no more than single spaces or
/// hyphens between them, that start as the large issuers' do (ISO/IEC 7812) and end in the right Luhn digit.
/// The journal never forgets, so such a number must never reach it. Digits that a letter or an underscore touches are
/// part of a name, such as `acct_4929..`: of random hexadecimal ones, one in ten thousand looks like a card number.
fn holds_card_number(text: &str) -> bool {
    if text.bytes().filter(u8::is_ascii_digit).count() < FEWEST_DIGITS {
        return false; // As most are, and every text of every order is looked at.
    }
    let of_a_name = |c: char| c.is_alphabetic() || c == '_';
    // The digits of a run, and where its groups begin.
    let (mut digits, mut groups): (Vec<u32>, Vec<usize>) = Default::default();
    let (mut gap, mut named, mut before) = (false, false, '.');
    for c in text.chars().chain(['.']) {
        match c.to_digit(10) {
            Some(digit) => {
                named = if digits.is_empty() { of_a_name(before) } else { named };
                if digits.is_empty() || gap {
                    groups.push(digits.len());
                }
                digits.push(digit);
                gap = false;
            }
            None if (c == ' ' || c == '-') && !gap => gap = true,
            None => {
                named |= of_a_name(c) && !gap;
                if !named && is_in(&digits, &groups) {
                    return true;
                }
                digits.clear();
                groups.clear();
                gap = false;
            }
        }
        before = c;
    }
    false
}

/// Whether some groups of digits, side by side, are a card number: an expiry date may stand behind it, or a count before.
fn is_in(digits: &[u32], groups: &[usize]) -> bool {
    let ends = || groups.iter().copied().skip(1).chain([digits.len()]);
    groups.iter().any(|start| ends().any(|end| digits.get(*start..end).is_some_and(is_card_number)))
}

fn is_card_number(digits: &[u32]) -> bool {
    let issuer = digits.iter().take(4).fold(0, |number, digit| number * 10 + digit);
    let known_issuer = (2221..=2720).contains(&issuer) || (3000..=6999).contains(&issuer);
    (FEWEST_DIGITS..=19).contains(&digits.len()) && known_issuer && luhn(digits)
}

fn luhn(digits: &[u32]) -> bool {
    let doubled = |digit: u32| if digit > 4 { digit * 2 - 9 } else { digit * 2 };
    let sum: u32 = digits.iter().rev().enumerate().map(|(i, d)| if i % 2 == 1 { doubled(*d) } else { *d }).sum();
    sum.is_multiple_of(10)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order() -> Order {
        Order::new(Amount::new(1050).expect("legal"), Currency::new("USD").expect("legal"), "alice", "bob")
            .expect("legal")
    }

    #[test]
    fn words_are_kept_that_are_there_fit_and_control_nothing() {
        for (text, spoken) in [
            ("a b", true),
            ("", false),
            (" \u{2003}", false),
            ("a\nb", false),
            ("abc", true),
            ("abcd", false),
            ("\u{e4}\u{f6}\u{fc}", true),
        ] {
            assert_eq!(is_spoken(text, 3), spoken, "{text:?}");
        }
    }

    #[test]
    fn every_field_that_differs_is_named() {
        let other = Order::new(Amount::new(1).expect("legal"), Currency::new("EUR").expect("legal"), "a", "b")
            .and_then(|order| order.with_description("d")?.with_metadata("k", "v")?.with_gateway("g"))
            .expect("legal")
            .with_capture(Capture::Manual)
            .with_expiry(Timestamp::from_millis(1));
        assert_eq!(order().differing_fields(&order()), Vec::<&str>::new());
        assert_eq!(
            order().differing_fields(&other),
            [
                "amount",
                "currency",
                "source",
                "destination",
                "capture",
                "description",
                "metadata",
                "expires_at",
                "gateway"
            ]
        );
    }

    #[test]
    fn lengths_are_counted_in_characters() {
        let amount = Amount::new(1).expect("legal");
        let currency = Currency::new("USD").expect("legal");
        assert!(Order::new(amount, currency, &"\u{e9}".repeat(255), "b").is_ok());
        assert_eq!(Order::new(amount, currency, &"a".repeat(256), "b").map_err(|e| e.field), Err("source"));
        assert_eq!(Order::new(amount, currency, "a", "").map_err(|e| e.field), Err("destination"));
        assert!(Order::new(amount, currency, &"a".repeat(255), "b").is_ok());
        assert!(Order::new(amount, currency, "a", "b").is_ok());
        assert!(order().with_description(&"d".repeat(1_000)).is_ok());
        assert!(order().with_description(&"d".repeat(1_001)).is_err());
        assert!(order().with_metadata(&"k".repeat(41), "v").is_err());
        assert!(order().with_metadata("k", &"v".repeat(501)).is_err());
        let full = (0..50).try_fold(order(), |order, n| order.with_metadata(&format!("k{n}"), "v")).expect("50 fit");
        assert!(full.with_metadata("one more", "v").is_err());
    }

    #[test]
    fn card_numbers_never_reach_the_journal() {
        for text in [
            "4242424242424242",
            "card 4242 4242 4242 4242, thanks",
            "5555-5555-5555-4444",
            "378282246310005",
            "4242 4242 4242 4242 12/26",
            "2 4242424242424242-123",
        ] {
            assert!(order().with_description(text).is_err(), "{text}");
            assert!(order().with_metadata("note", text).is_err(), "{text}");
        }
        for text in ["4242424242424241", "order 17324123456781", "424242", "4242  4242  4242  4242", "1732412345678"] {
            assert!(order().with_description(text).is_ok(), "{text}");
        }
    }

    #[test]
    fn an_order_keeps_what_it_was_given() {
        let order = order()
            .with_capture(Capture::Manual)
            .with_expiry(Timestamp::from_millis(9))
            .with_description("two coffees")
            .and_then(|order| order.with_metadata("table", "7"))
            .expect("legal");
        assert_eq!((order.source.as_str(), order.destination.as_str()), ("alice", "bob"));
        assert_eq!((order.amount.minor_units(), order.currency.as_str()), (1050, "USD"));
        assert_eq!((order.capture, order.expires_at), (Capture::Manual, Some(Timestamp::from_millis(9))));
        assert_eq!(order.description.as_deref(), Some("two coffees"));
        assert_eq!(order.metadata.get("table").map(String::as_str), Some("7"));
        assert_eq!([Capture::Automatic, Capture::Manual].map(Capture::as_str), ["automatic", "manual"]);
    }

    #[test]
    fn one_field_that_differs_is_the_one_that_is_named() {
        let as_asked = order();
        for (name, other) in [
            ("amount", Order { amount: Amount::new(1051).expect("legal"), ..order() }),
            ("currency", Order { currency: Currency::new("EUR").expect("legal"), ..order() }),
            ("source", Order { source: "carol".to_owned(), ..order() }),
            ("destination", Order { destination: "carol".to_owned(), ..order() }),
            ("capture", order().with_capture(Capture::Manual)),
            ("description", order().with_description("").expect("legal")),
            ("metadata", order().with_metadata("k", "").expect("legal")),
            ("expires_at", order().with_expiry(Timestamp::from_millis(1))),
        ] {
            assert_eq!(as_asked.differing_fields(&other), [name]);
        }
    }

    #[test]
    fn an_order_expires_at_its_time_and_one_without_a_time_never() {
        let expires = order().with_expiry(Timestamp::from_millis(9));
        assert!(!expires.expired(Timestamp::from_millis(8)));
        assert!(expires.expired(Timestamp::from_millis(9)));
        assert!(expires.expired(Timestamp::from_millis(10)));
        assert!(!order().expired(Timestamp::from_millis(u64::MAX)));
    }

    #[test]
    fn what_was_erased_is_not_compared_and_everything_else_is() {
        let whole = order().with_description("two coffees").and_then(|order| order.with_gateway("eu")).expect("legal");
        let erased = whole.erased();
        assert!(erased.erased && erased.source.is_empty() && erased.destination.is_empty());
        assert_eq!((erased.description.as_ref(), erased.metadata.len()), (None, 0));
        assert_eq!(
            (erased.amount, erased.currency, erased.gateway.as_deref()),
            (whole.amount, whole.currency, Some("eu"))
        );
        assert_eq!(erased.differing_fields(&whole), Vec::<&str>::new());
        let other = Order { source: "carol".to_owned(), amount: Amount::new(7).expect("legal"), ..whole };
        assert_eq!(erased.differing_fields(&other), ["amount"]);
        assert_eq!(other.differing_fields(&erased), ["amount"]);
    }

    #[test]
    fn a_refusal_names_the_field_and_what_it_must_be_but_not_the_value() {
        let refused = order().with_description("4242424242424242").expect_err("a card number").to_string();
        assert!(refused.starts_with("description must not contain a card number"), "{refused}");
        assert!(!refused.contains("4242"), "{refused}");
        assert!(order().with_metadata("k", "a\0b").is_err());
    }

    #[test]
    fn card_numbers_of_every_length_and_issuer_are_seen_and_numbers_of_nobody_are_not() {
        for text in [
            "4222222222222",
            "card: 4222222222222",
            "4222222222222 please",
            "6304000000000000000",
            "2221000000000009",
            "2720999999999996",
            "3000000000000004",
            "6999999999999991",
        ] {
            assert!(holds_card_number(text), "{text}");
        }
        for text in [
            "422222222222",
            "63040000000000000000",
            "2220999999999991",
            "2721000000000004",
            "2999999999999990",
            "7000000000000005",
            "4242_4242_4242_4242",
            "acct_4242424242424242",
            "4242424242424242af",
        ] {
            assert!(!holds_card_number(text), "{text}");
        }
    }
}
