//! As much of JSON Schema as the document uses, and stricter: a member that no schema describes is a fault, and so is a
//! keyword that is not known here.

use serde_json::Value;

/// Says nothing to a schema's truth about a value.
const WORDS: [&str; 5] = ["description", "example", "default", "title", "pattern"];

/// Holds a value against a schema of this document; `at` says where, for people.
pub(crate) fn check(document: &Value, schema: &Value, value: &Value, at: &str) {
    if let Err(why) = fits(document, schema, value, at) {
        panic!("{why}");
    }
}

fn fits(document: &Value, schema: &Value, value: &Value, at: &str) -> Result<(), String> {
    described(document, schema, value, at)?;
    for (keyword, rule) in schema.as_object().expect("a schema") {
        holds(document, keyword, rule, schema, value, at)?;
    }
    Ok(())
}

/// Every member of an object is in some schema that it is held against.
fn described(document: &Value, schema: &Value, value: &Value, at: &str) -> Result<(), String> {
    let known = members(document, schema);
    let open = schema.get("properties").is_none() && schema.get("$ref").is_none() && schema.get("allOf").is_none();
    match value.as_object().filter(|_| !open) {
        Some(object) => match object.keys().find(|name| !known.contains(name)) {
            Some(name) => Err(format!("{at}: {name} is not described")),
            None => Ok(()),
        },
        None => Ok(()),
    }
}

fn members(document: &Value, schema: &Value) -> Vec<String> {
    let named = schema["$ref"].as_str().map(|name| resolve(document, name));
    let own = schema["properties"].as_object().into_iter().flat_map(|all| all.keys().cloned());
    let parts = schema["allOf"].as_array().into_iter().flatten().chain(named);
    own.chain(parts.flat_map(|part| members(document, part))).collect()
}

fn resolve<'a>(document: &'a Value, name: &str) -> &'a Value {
    let found = document.pointer(name.strip_prefix('#').expect("in this document"));
    found.unwrap_or_else(|| panic!("{name} is not there"))
}

fn holds(document: &Value, keyword: &str, rule: &Value, schema: &Value, value: &Value, at: &str) -> Result<(), String> {
    let wrong = || Err(format!("{at}: {value} breaks {keyword} {rule}"));
    let when = |fine: bool| if fine { Ok(()) } else { wrong() };
    let length = value.as_str().map(|text| text.chars().count() as u64);
    match keyword {
        "$ref" => fits(document, resolve(document, rule.as_str().expect("a name")), value, at),
        "allOf" => {
            // Each part is held against what it describes; that all is described was seen for the whole.
            let mut parts = rule.as_array().expect("a list").iter();
            parts.try_for_each(|part| loosely(document, part, value, at))
        }
        "oneOf" => {
            let fitting = rule.as_array().expect("a list").iter().filter(|one| fits(document, one, value, at).is_ok());
            when(fitting.count() == 1)
        }
        "type" => {
            let types = rule.as_array().cloned().unwrap_or_else(|| vec![rule.clone()]);
            when(types.iter().any(|name| is(name.as_str().expect("a type"), value)))
        }
        "enum" => when(rule.as_array().expect("a list").contains(value)),
        "properties" => {
            let members = rule.as_object().expect("members").iter();
            let mut given = members.filter_map(|(name, of)| value.get(name).map(|value| (name, of, value)));
            given.try_for_each(|(name, of, value)| fits(document, of, value, &format!("{at}.{name}")))
        }
        "required" => {
            let missing = rule
                .as_array()
                .expect("a list")
                .iter()
                .find(|name| value.get(name.as_str().expect("a name")).is_none());
            when(missing.is_none() || !value.is_object())
        }
        "additionalProperties" if rule.is_object() => {
            let mut others =
                value.as_object().into_iter().flatten().filter(|(name, _)| schema["properties"].get(name).is_none());
            others.try_for_each(|(name, value)| fits(document, rule, value, &format!("{at}.{name}")))
        }
        "propertyNames" => {
            let mut names = value.as_object().into_iter().flat_map(|all| all.keys());
            names.try_for_each(|name| fits(document, rule, &Value::from(name.as_str()), &format!("{at}.{name}")))
        }
        "items" => {
            let mut items = value.as_array().into_iter().flatten().enumerate();
            items.try_for_each(|(number, item)| fits(document, rule, item, &format!("{at}[{number}]")))
        }
        "minimum" => when(value.as_f64().is_none_or(|number| number >= rule.as_f64().expect("a number"))),
        "maximum" => when(value.as_f64().is_none_or(|number| number <= rule.as_f64().expect("a number"))),
        "minLength" => when(length.is_none_or(|length| length >= rule.as_u64().expect("a number"))),
        "maxLength" => when(length.is_none_or(|length| length <= rule.as_u64().expect("a number"))),
        "maxProperties" => {
            when(value.as_object().is_none_or(|all| all.len() as u64 <= rule.as_u64().expect("a number")))
        }
        "format" => when(value.as_str().is_none_or(|text| has_format(rule.as_str().expect("a name"), text))),
        "additionalProperties" => Ok(()),
        word => {
            assert!(WORDS.contains(&word), "{at}: {word} is a keyword that is not known here");
            Ok(())
        }
    }
}

/// As `fits`, but there may be more members.
fn loosely(document: &Value, schema: &Value, value: &Value, at: &str) -> Result<(), String> {
    let schema = schema["$ref"].as_str().map_or(schema, |name| resolve(document, name));
    let mut rules = schema.as_object().expect("a schema").iter();
    rules.try_for_each(|(keyword, rule)| holds(document, keyword, rule, schema, value, at))
}

fn is(name: &str, value: &Value) -> bool {
    match name {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "integer" => value.is_u64() || value.is_i64(),
        "number" => value.is_number(),
        "boolean" => value.is_boolean(),
        "null" => value.is_null(),
        other => panic!("{other} is no type"),
    }
}

fn has_format(name: &str, text: &str) -> bool {
    let shape = match name {
        "uuid" => "xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx",
        "date-time" => "0000-00-00T00:00:00.000Z",
        other => panic!("{other} is a format that is not known here"),
    };
    let fits = |(c, s): (char, char)| match s {
        'x' => c.is_ascii_hexdigit(),
        '0' => c.is_ascii_digit(),
        plain => c == plain,
    };
    text.len() == shape.len() && text.chars().zip(shape.chars()).all(fits)
}
