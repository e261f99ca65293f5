//! The `Idempotency-Key` header.

use axum::http::HeaderMap;

use super::problems::{Code, Problem};
use crate::payment::{IdempotencyKey, without_card_number};

/// The header's name, in the lower case in which headers are kept.
const NAME: &str = "idempotency-key";

/// Reads the key: an RFC 8941 string, or the same characters bare. An empty header is a missing one: that is what a
/// caller sends whose variable was never set.
pub(super) fn read(headers: &HeaderMap) -> Result<IdempotencyKey, Problem> {
    let mut values = headers.get_all(NAME).iter();
    let value = values.next().map(|value| value.as_bytes()).unwrap_or_default();
    if values.next().is_some() {
        return invalid("must be given once");
    }
    if value.is_empty() {
        return Err(Problem::new(
            Code::KeyRequired,
            "name the payment in an Idempotency-Key header, such as \"order-1234\": the same key never pays twice",
        ));
    }
    let Ok(text) = str::from_utf8(value) else { return invalid("must be visible ASCII characters") };
    let key = match text.strip_prefix('"') {
        Some(quoted) => IdempotencyKey::new(&unquoted(quoted)?),
        None => IdempotencyKey::new(bare(text)?),
    };
    let key = key.or_else(|_| invalid("must be 1 to 255 visible ASCII characters"))?;
    // It is kept as long as the payment is.
    without_card_number("Idempotency-Key", key.as_str())?;
    Ok(key)
}

/// The characters of an RFC 8941 string whose opening quote has been read.
fn unquoted(text: &str) -> Result<String, Problem> {
    let mut key = String::with_capacity(text.len());
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        match character {
            '"' if characters.as_str().is_empty() => return Ok(key),
            '"' => return invalid("must be one string: nothing may follow its closing quote"),
            '\\' => match characters.next() {
                Some(escaped @ ('"' | '\\')) => key.push(escaped),
                Some(_) | None => return invalid("may escape only \\\" and \\\\"),
            },
            plain => key.push(plain),
        }
    }
    invalid("has no closing quote")
}

/// A key without quotes; what would mean something else in a structured field has to be quoted.
fn bare(text: &str) -> Result<&str, Problem> {
    match text.find([',', ';', '"']) {
        Some(_) => invalid("must be one string: put a key that holds , ; or \" in quotes"),
        None => Ok(text),
    }
}

fn invalid<T>(why: &str) -> Result<T, Problem> {
    Err(Problem::invalid_request(format!("Idempotency-Key {why}")))
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn read_one(value: &[u8]) -> Option<String> {
        let mut headers = HeaderMap::new();
        headers.insert(NAME, HeaderValue::from_bytes(value).expect("a legal header value"));
        read(&headers).ok().map(|key| key.as_str().to_owned())
    }

    #[test]
    fn quoted_and_bare_name_the_same_key() {
        let longest = "k".repeat(255);
        for (value, key) in [
            ("\"order-1234\"", "order-1234"),
            ("order-1234", "order-1234"),
            (r#""a\"b\\c""#, r#"a"b\c"#),
            (r"a\b", r"a\b"),
            ("\"a,b;c=d\"", "a,b;c=d"),
            ("?1", "?1"),
            (":YQ==:", ":YQ==:"),
            ("Order-1234", "Order-1234"),
            (longest.as_str(), longest.as_str()),
        ] {
            assert_eq!(read_one(value.as_bytes()).as_deref(), Some(key), "{value}");
        }
    }

    #[test]
    fn anything_but_one_plain_key_is_refused() {
        let long = "k".repeat(256);
        for value in [
            "\"\"",
            "\"",
            "\"a",
            "a\"",
            "a\"b",
            "\"a\" ",
            "\"a\"b",
            "\"a\";p=1",
            "\"a\", \"b\"",
            "a,b",
            "a;b",
            "a b",
            "\"a b\"",
            r#""a\b""#,
            r#""a\"#,
            "\u{e9}",
            "\"\u{e9}\"",
            "a\tb",
            long.as_str(),
        ] {
            assert_eq!(read_one(value.as_bytes()), None, "{value}");
        }
        assert_eq!(read_one(b"\xff"), None);
    }

    #[test]
    fn a_repeated_header_is_refused_even_with_the_same_key() {
        let mut headers = HeaderMap::new();
        headers.append(NAME, HeaderValue::from_static("a"));
        headers.append(NAME, HeaderValue::from_static("a"));
        assert!(read(&headers).is_err());
    }
}
