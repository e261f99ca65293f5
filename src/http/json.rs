//! Strict JSON objects: every name known and given once, every value of exactly its type.
//!
//! serde's derived readers would do most of this, but name no field in their complaints and repeat the refused value,
//! which may be a secret.

use std::{borrow::Cow, collections::BTreeMap, fmt};

use serde::{
    Deserialize, Deserializer,
    de::{DeserializeSeed, IgnoredAny, MapAccess, SeqAccess, Visitor},
};

use super::problems::Problem;
use crate::payment::{Amount, Invalid};

/// A JSON object of which every name is known.
pub(super) struct Object<'de> {
    fields: Vec<(&'static str, Given<'de>)>,
    /// The first complaint. Kept until the whole body has been read: that it is not JSON at all goes first.
    wrong: Option<String>,
}

/// A value, as far as it matters.
enum Given<'de> {
    Null,
    Text(Cow<'de, str>),
    Integer(u64),
    Pairs(Result<BTreeMap<String, String>, &'static str>),
    /// Something that no field can hold.
    Other,
}

impl<'de> Object<'de> {
    /// Reads a whole body.
    pub(super) fn read(body: &'de [u8], names: &'static [&'static str]) -> Result<Object<'de>, Problem> {
        let mut reader = serde_json::Deserializer::from_slice(body);
        let read = Names(names).deserialize(&mut reader).and_then(|object| reader.end().map(|()| object));
        let object = read.map_err(|error| not_an_object(&error))?;
        match object.wrong {
            Some(wrong) => Err(Problem::invalid_request(wrong)),
            None => Ok(object),
        }
    }

    /// A text that has to be there.
    pub(super) fn text(&self, name: &'static str) -> Result<&str, Problem> {
        self.optional_text(name)?.ok_or_else(|| Problem::invalid_request(format!("{name} is required")))
    }

    /// A text that may be left out, but not null.
    pub(super) fn optional_text(&self, name: &'static str) -> Result<Option<&str>, Problem> {
        match self.find(name) {
            None => Ok(None),
            Some(Given::Text(text)) => Ok(Some(text)),
            Some(Given::Null | Given::Integer(_) | Given::Pairs(_) | Given::Other) => must(name, "be a string"),
        }
    }

    /// A text that may be left out, or null, which is the same.
    pub(super) fn nullable_text(&self, name: &'static str) -> Result<Option<&str>, Problem> {
        match self.find(name) {
            Some(Given::Null) => Ok(None),
            Some(Given::Text(_) | Given::Integer(_) | Given::Pairs(_) | Given::Other) | None => {
                self.optional_text(name)
            }
        }
    }

    /// An amount that has to be there.
    pub(super) fn amount(&self, name: &'static str) -> Result<Amount, Problem> {
        match self.find(name) {
            None => Err(Problem::invalid_request(format!("{name} is required"))),
            Some(Given::Integer(units)) => Ok(Amount::new(*units)?),
            Some(Given::Null | Given::Text(_) | Given::Pairs(_) | Given::Other) => must(
                name,
                "be an integer from 1 to 9007199254740991, in minor units, without quotes, point or exponent",
            ),
        }
    }

    /// An amount that may be left out, but not null.
    pub(super) fn optional_amount(&self, name: &'static str) -> Result<Option<Amount>, Problem> {
        self.find(name).map(|_| self.amount(name)).transpose()
    }

    /// A small number that may be left out.
    pub(super) fn optional_number(&self, name: &'static str) -> Result<Option<u32>, Problem> {
        let number = match self.find(name) {
            None => return Ok(None),
            Some(Given::Integer(number)) => u32::try_from(*number).ok(),
            Some(Given::Null | Given::Text(_) | Given::Pairs(_) | Given::Other) => None,
        };
        number.map_or_else(|| must(name, "be an integer from 0 to 4294967295"), |number| Ok(Some(number)))
    }

    /// Strings to strings, that may be left out.
    pub(super) fn pairs(&self, name: &'static str) -> Result<Option<&BTreeMap<String, String>>, Problem> {
        match self.find(name) {
            None => Ok(None),
            Some(Given::Pairs(Ok(pairs))) => Ok(Some(pairs)),
            Some(Given::Pairs(Err(why))) => must(name, why),
            Some(Given::Null | Given::Text(_) | Given::Integer(_) | Given::Other) => {
                must(name, "be an object of strings")
            }
        }
    }

    fn find(&self, name: &str) -> Option<&Given<'de>> {
        self.fields.iter().find(|(known, _)| *known == name).map(|(_, given)| given)
    }
}

fn must<T>(name: &str, what: &str) -> Result<T, Problem> {
    Err(Problem::invalid_request(format!("{name} must {what}")))
}

impl From<Invalid> for Problem {
    fn from(invalid: Invalid) -> Problem {
        Problem::invalid_request(invalid.to_string())
    }
}

fn not_an_object(error: &serde_json::Error) -> Problem {
    use serde_json::error::Category;
    Problem::invalid_request(match error.classify() {
        Category::Data => "the body must be a JSON object".to_owned(),
        // These name a place and a rule of JSON, never a value.
        Category::Syntax | Category::Eof | Category::Io => format!("the body is not valid JSON: {error}"),
    })
}

/// Reads an object with these names.
struct Names(&'static [&'static str]);

impl<'de> DeserializeSeed<'de> for Names {
    type Value = Object<'de>;

    fn deserialize<D: Deserializer<'de>>(self, reader: D) -> Result<Object<'de>, D::Error> {
        reader.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Names {
    type Value = Object<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Object<'de>, A::Error> {
        let mut object = Object { fields: Vec::with_capacity(self.0.len()), wrong: None };
        while let Some(Name(name)) = map.next_key()? {
            let known = self.0.iter().find(|known| **known == name);
            let complaint = match known {
                None => Some(format!("\"{}\" is not a field of this body", shortened(&name))),
                Some(known) => object.find(known).map(|_| format!("{known} must not be given twice")),
            };
            match (known, complaint) {
                (Some(known), None) => object.fields.push((known, map.next_value()?)),
                (Some(_) | None, complaint) => {
                    map.next_value::<IgnoredAny>()?;
                    object.wrong = object.wrong.or(complaint);
                }
            }
        }
        Ok(object)
    }
}

/// Enough of a foreign name to find it by.
fn shortened(name: &str) -> String {
    name.chars().filter(|c| !c.is_control()).take(40).collect()
}

/// A name, borrowed where it has no escapes.
struct Name<'de>(Cow<'de, str>);

impl<'de> Deserialize<'de> for Name<'de> {
    fn deserialize<D: Deserializer<'de>>(reader: D) -> Result<Name<'de>, D::Error> {
        match Given::deserialize(reader)? {
            Given::Text(text) => Ok(Name(text)),
            Given::Null | Given::Integer(_) | Given::Pairs(_) | Given::Other => {
                Err(serde::de::Error::custom("a name must be a string"))
            }
        }
    }
}

impl<'de> Deserialize<'de> for Given<'de> {
    fn deserialize<D: Deserializer<'de>>(reader: D) -> Result<Given<'de>, D::Error> {
        reader.deserialize_any(AnyValue)
    }
}

struct AnyValue;

impl<'de> Visitor<'de> for AnyValue {
    type Value = Given<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E>(self) -> Result<Given<'de>, E> {
        Ok(Given::Null)
    }

    fn visit_bool<E>(self, _: bool) -> Result<Given<'de>, E> {
        Ok(Given::Other)
    }

    fn visit_u64<E>(self, integer: u64) -> Result<Given<'de>, E> {
        Ok(Given::Integer(integer))
    }

    fn visit_i64<E>(self, _: i64) -> Result<Given<'de>, E> {
        Ok(Given::Other)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Given<'de>, E> {
        Ok(Given::Other)
    }

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Given<'de>, E> {
        Ok(Given::Text(Cow::Borrowed(text)))
    }

    fn visit_str<E>(self, text: &str) -> Result<Given<'de>, E> {
        Ok(Given::Text(Cow::Owned(text.to_owned())))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<Given<'de>, A::Error> {
        while sequence.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Given::Other)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Given<'de>, A::Error> {
        let mut pairs = Ok(BTreeMap::new());
        while let Some((Name(name), value)) = map.next_entry::<_, Given<'de>>()? {
            let Ok(known) = &mut pairs else { continue };
            let Given::Text(text) = value else {
                pairs = Err("hold nothing but strings");
                continue;
            };
            if known.insert(name.into_owned(), text.into_owned()).is_some() {
                pairs = Err("not name a key twice");
            }
        }
        Ok(Given::Pairs(pairs))
    }
}
