//! Strict query strings: every name known and given once.

use super::problems::Problem;

/// Reads a query into the values of these names, in their order.
pub(super) fn read<const N: usize>(
    query: Option<&str>,
    names: [&'static str; N],
) -> Result<[Option<String>; N], Problem> {
    let mut values = [const { None }; N];
    for pair in query.unwrap_or_default().split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let name = decoded(name)?;
        let known = names.iter().zip(&mut values).find(|(known, _)| **known == name);
        let Some((known, place)) = known else {
            return Err(Problem::invalid_request(format!("the query may hold {} only", names.join(", "))));
        };
        if place.replace(decoded(value)?).is_some() {
            return Err(Problem::invalid_request(format!("{known} must not be given twice")));
        }
    }
    Ok(values)
}

/// Undoes `+` and percent-encoding.
fn decoded(text: &str) -> Result<String, Problem> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'+' => b' ',
            b'%' => match (hex(rest.next()), hex(rest.next())) {
                (Some(high), Some(low)) => high * 16 + low,
                (Some(_) | None, Some(_) | None) => return malformed(),
            },
            plain => plain,
        });
    }
    String::from_utf8(bytes).or_else(|_| malformed())
}

fn hex(digit: Option<u8>) -> Option<u8> {
    char::from(digit?).to_digit(16).and_then(|digit| u8::try_from(digit).ok())
}

fn malformed<T>() -> Result<T, Problem> {
    Err(Problem::invalid_request("the query must be percent-encoded UTF-8"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_decoded_and_put_in_their_places() {
        let read = |query| read(Some(query), ["state", "key"]).ok();
        assert_eq!(read(""), Some([None, None]));
        assert_eq!(read("key=a%2Cb+c%C3%A9&state=x"), Some([Some("x".to_owned()), Some("a,b c\u{e9}".to_owned())]));
        assert_eq!(read("%73tate=x&"), Some([Some("x".to_owned()), None]));
        assert_eq!(read("state"), Some([Some(String::new()), None]));
        for query in ["other=1", "state=x&state=x", "State=x", "state=%", "state=%f", "state=%zz", "state=%ff", "=x"] {
            assert_eq!(read(query), None, "{query}");
        }
    }
}
