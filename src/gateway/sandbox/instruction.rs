//! What one request asks the sandbox for, and its one line of text: the in-process request, and part of the ledger.

use std::fmt::Write;

use crate::payment::{Amount, Currency, Kind, OperationKey};

const KINDS: [Kind; 5] = [Kind::Charge, Kind::Authorize, Kind::Capture, Kind::Void, Kind::Refund];

/// What one request asks for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Instruction {
    /// What to do.
    pub kind: Kind,
    /// Under which key.
    pub operation_key: OperationKey,
    /// How much.
    pub amount: Amount,
    /// Of which currency.
    pub currency: Currency,
    /// For captures, voids and refunds: the operation that they act on.
    pub charge: Option<OperationKey>,
    /// Who pays; empty for captures, voids and refunds.
    pub source: String,
    /// Who is paid; empty for captures, voids and refunds.
    pub destination: String,
}

impl Instruction {
    /// Whether it concerns a payer: captures, voids and refunds do not.
    pub(super) fn is_first(&self) -> bool {
        match self.kind {
            Kind::Charge | Kind::Authorize => true,
            Kind::Capture | Kind::Void | Kind::Refund => false,
        }
    }

    /// Appends its line, without the line's end: words between single spaces, everything else escaped.
    pub(super) fn write(&self, line: &mut String) {
        let charge = self.charge.map_or_else(|| "-".to_owned(), |charge| charge.to_string());
        let Instruction { kind, operation_key, amount, currency, source, destination, .. } = self;
        // Writing to a String cannot fail.
        let _ = write!(line, "{} {operation_key} {amount} {currency} {charge} ", kind.as_str());
        escape(line, source);
        line.push(' ');
        escape(line, destination);
    }

    /// Reads the words that `write` wrote; `None` if they are anything else.
    pub(super) fn read<'a>(words: &mut impl Iterator<Item = &'a str>) -> Option<Instruction> {
        Some(Instruction {
            kind: words.next().and_then(|word| KINDS.into_iter().find(|kind| kind.as_str() == word))?,
            operation_key: words.next().and_then(OperationKey::parse)?,
            amount: words.next().and_then(|word| Amount::new(word.parse().ok()?).ok())?,
            currency: words.next().and_then(|word| Currency::new(word).ok())?,
            charge: words.next().and_then(|word| match word {
                "-" => Some(None),
                key => OperationKey::parse(key).map(Some),
            })?,
            source: words.next().and_then(unescape)?,
            destination: words.next().and_then(unescape)?,
        })
    }
}

/// A lone `%` is the empty text: a word is never empty.
fn escape(line: &mut String, text: &str) {
    if text.is_empty() {
        line.push('%');
    }
    for byte in text.bytes() {
        if byte.is_ascii_graphic() && byte != b'%' {
            line.push(char::from(byte));
        } else {
            let _ = write!(line, "%{byte:02x}");
        }
    }
}

fn unescape(word: &str) -> Option<String> {
    if word == "%" {
        return Some(String::new());
    }
    let mut bytes = Vec::with_capacity(word.len());
    let mut rest = word;
    while let Some((plain, escaped)) = rest.split_once('%') {
        bytes.extend_from_slice(plain.as_bytes());
        bytes.push(u8::from_str_radix(escaped.get(..2)?, 16).ok()?);
        rest = escaped.get(2..)?;
    }
    bytes.extend_from_slice(rest.as_bytes());
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_reads_back_whatever_the_parties_are_called() {
        for source in ["acct_alice", "", "%", "-", "a b\nc\u{e9}%20", "\u{0}", "succeeded"] {
            for (kind, charge) in
                KINDS.into_iter().zip([None, Some(OperationKey::from_bytes([3; 16]))].into_iter().cycle())
            {
                let instruction = Instruction {
                    kind,
                    operation_key: OperationKey::from_bytes([1; 16]),
                    amount: Amount::new(7).expect("legal"),
                    currency: Currency::new("EUR").expect("legal"),
                    charge,
                    source: source.to_owned(),
                    destination: "acct_bob".to_owned(),
                };
                let mut line = String::new();
                instruction.write(&mut line);
                assert!(!line.contains('\n'));
                assert_eq!(Instruction::read(&mut line.split(' ')), Some(instruction), "{line}");
            }
        }
    }

    #[test]
    fn a_damaged_line_is_not_an_instruction() {
        let key = OperationKey::from_bytes([1; 16]);
        for line in [
            String::new(),
            format!("pay {key} 7 EUR - a b"),
            format!("charge {key} 0 EUR - a b"),
            format!("charge {key} 7 EUR - a"),
            format!("charge {key} 7 EUR - a %f"),
            format!("charge {key} 7 EUR - a %ff"),
            format!("charge {key} 7 EUR x a b"),
        ] {
            assert_eq!(Instruction::read(&mut line.split(' ')), None, "{line}");
        }
    }
}
