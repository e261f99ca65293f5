//! The shapes of bodies. What is answered: from the structs themselves. What is taken is read by hand, strictly, and so
//! described by hand, with the limits that are checked.

use std::borrow::Cow;

use serde_json::{Map, Value, json};
use utoipa::{
    PartialSchema, ToSchema,
    openapi::{ObjectBuilder, RefOr, Schema, SchemaFormat, schema::Type},
};

use super::{
    super::{auth, bodies, operator, problems, stats, webhooks},
    route::{of, with},
};
use crate::{
    payment::{
        Amount, Capture, Deed, Fact, Kind, MAX_DESCRIPTION, MAX_METADATA, MAX_METADATA_KEY, MAX_METADATA_VALUE,
        MAX_PARTY, Next, PaymentId, State,
    },
    told::{EventBody, Rfc3339},
};

/// Of anything that is written down for ever: the character U+0000 is refused.
const TEXT: &str = "^[^\\u0000]*$";
/// Of what people say: no control characters, and not all blank.
const SPOKEN: &str =
    "^[^\\u0000-\\u001f\\u007f-\\u009f]*[^\\s\\u0000-\\u001f\\u007f-\\u009f][^\\u0000-\\u001f\\u007f-\\u009f]*$";

/// All of them, by name.
pub(super) fn schemas() -> Value {
    let mut all = Map::new();
    add::<bodies::Told<'static>>(&mut all);
    add::<bodies::Detailed<'static>>(&mut all);
    add::<bodies::OperationTold<'static>>(&mut all);
    add::<bodies::PageBody<'static>>(&mut all);
    add::<stats::StatsBody<'static>>(&mut all);
    add::<stats::OutlookBody<'static>>(&mut all);
    add::<operator::AuditsBody<'static>>(&mut all);
    add::<operator::PauseBody<'static>>(&mut all);
    add::<operator::DrainBody>(&mut all);
    add::<webhooks::StandingsBody<'static>>(&mut all);
    add::<webhooks::Count>(&mut all);
    add::<problems::Document<'static>>(&mut all);
    add::<auth::KeyBody<'static>>(&mut all);
    add::<EventBody>(&mut all);
    let taken = [("Order", order()), ("Part", part()), ("Resolution", resolution()), ("Nothing", nothing())];
    for (name, schema) in
        taken.into_iter().chain(people()).chain(event_ids()).chain([("Standing", standing()), ("Letter", letter())])
    {
        all.insert(name.to_owned(), schema);
    }
    Value::Object(all)
}

/// A schema, and those that it names.
fn add<T: ToSchema>(all: &mut Map<String, Value>) {
    let mut named = vec![(T::name().into_owned(), T::schema())];
    T::schemas(&mut named);
    for (name, schema) in named {
        all.insert(name, serde_json::to_value(&schema).unwrap_or_default());
    }
}

fn order() -> Value {
    let text =
        |min: usize, max: usize| json!({ "type": "string", "minLength": min, "maxLength": max, "pattern": TEXT });
    let party = |who: &str| {
        let never = format!("{who}. Never a card number: such are refused.");
        with(text(1, MAX_PARTY), "description", json!(never))
    };
    json!({
        "type": "object",
        "description": "What is to be paid. Unknown fields are refused.",
        "additionalProperties": false,
        "required": ["amount", "currency", "source", "destination"],
        "properties": {
            "amount": amount(),
            "currency": {
                "type": "string", "pattern": "^[A-Z]{3}$", "minLength": 3, "maxLength": 3,
                "description": "An ISO 4217 code, in capitals.",
            },
            "source": party("Who pays"),
            "destination": party("Who is paid"),
            "capture": {
                "type": "string", "enum": [Capture::Automatic.as_str(), Capture::Manual.as_str()],
                "default": Capture::Automatic.as_str(), "description": "manual: authorize only; capture later.",
            },
            "description": or_null(text(0, MAX_DESCRIPTION), "For people."),
            "metadata": {
                "type": "object", "maxProperties": MAX_METADATA, "description": "For your own use.",
                "propertyNames": text(1, MAX_METADATA_KEY), "additionalProperties": text(0, MAX_METADATA_VALUE),
            },
            "expires_at": {
                "type": ["string", "null"], "format": "date-time",
                "description": "Nothing is sent after this time, which is from 1970 on.",
            },
            "gateway": or_null(
                text(1, MAX_METADATA_KEY),
                "The gateway that it must go to, by its name in the configuration; else the daemon chooses.",
            ),
        },
        "example": { "amount": 1050, "currency": "USD", "source": "acct_alice", "destination": "acct_bob" },
    })
}

fn or_null(schema: Value, description: &str) -> Value {
    with(with(schema, "description", json!(description)), "type", json!(["string", "null"]))
}

fn amount() -> Value {
    json!({
        "type": "integer", "minimum": 1, "maximum": Amount::MAX,
        "description": "In minor units: 1050 is 10.50 USD, or 1050 JPY. Digits only: no quotes, point or exponent.",
    })
}

fn part() -> Value {
    json!({
        "type": "object", "additionalProperties": false, "properties": { "amount": amount() },
        "description": "How much; without it, or without a body, all that is left.",
        "example": { "amount": 500 },
    })
}

fn spoken(max: usize) -> Value {
    json!({ "type": "string", "minLength": 1, "maxLength": max, "pattern": SPOKEN })
}

/// Who acts and why, where it has to be said and where not.
fn people() -> [(&'static str, Value); 2] {
    let of = |required: Value, description: &str| {
        json!({
            "type": "object", "additionalProperties": false, "required": required, "description": description,
            "properties": { "actor": spoken(bodies::MAX_ACTOR), "reason": spoken(bodies::MAX_REASON) },
            "example": { "actor": "carol", "reason": "the gateway asked us to wait" },
        })
    };
    let kept = "Who does it, and why. It is kept for ever.";
    [("Person", of(json!(operator::PERSON), kept)), ("PersonIfAny", of(json!([]), kept))]
}

fn resolution() -> Value {
    json!({
        "type": "object",
        "description": "What a person has found out, or decided. It is kept for ever, with who said it and why.",
        "additionalProperties": false,
        "required": ["actor", "reason", "as"],
        "properties": {
            "actor": spoken(bodies::MAX_ACTOR),
            "reason": spoken(bodies::MAX_REASON),
            "as": { "type": "string", "enum": ["succeeded", "declined", "resend", "canceled"] },
            "operation": {
                "type": "integer", "minimum": 0, "maximum": u32::MAX,
                "description": "Which operation; it may be left out where only one is unresolved.",
            },
            "gateway_reference": {
                "type": "string", "minLength": 1, "maxLength": 255,
                "pattern": "^[^\\u0000-\\u001f\\u007f-\\u009f]*$",
            },
        },
        "example": { "actor": "carol", "reason": "the gateway's report of May 3 shows it", "as": "succeeded" },
    })
}

fn nothing() -> Value {
    json!({ "type": "object", "additionalProperties": false, "description": "An empty object, or no body at all." })
}

fn event_ids() -> [(&'static str, Value); 2] {
    let of = |required: Value, description: &str| {
        json!({
            "type": "object", "additionalProperties": false, "required": required, "description": description,
            "properties": {
                "id": spoken(webhooks::MAX_EVENT),
                "actor": spoken(bodies::MAX_ACTOR), "reason": spoken(bodies::MAX_REASON),
            },
        })
    };
    [("EventId", of(json!([]), "Which event; without an id, all.")), ("OneEventId", of(json!(["id"]), "Which event."))]
}

fn standing() -> Value {
    json!({
        "type": "object", "required": ["status"],
        "properties": { "status": { "type": "string", "enum": ["alive", "ready"] } },
    })
}

/// As `deliver` writes it.
fn letter() -> Value {
    json!({
        "type": "object", "required": ["type", "timestamp", "data"],
        "properties": {
            "type": { "type": "string", "description": "What happened, such as payment.succeeded or refund.declined." },
            "timestamp": of("Time"),
            "data": {
                "type": "object", "required": ["lsn", "payment", "event"],
                "properties": {
                    "lsn": { "type": "integer", "minimum": 1, "description": "Its place in the journal." },
                    "payment": of("PaymentId"),
                    "event": of("Event"),
                },
            },
        },
    })
}

/// A schema with a name of its own, for what is a string in JSON.
macro_rules! component {
    ($type:ty, $name:literal, $schema:expr) => {
        impl PartialSchema for $type {
            fn schema() -> RefOr<Schema> {
                $schema
            }
        }

        impl ToSchema for $type {
            fn name() -> Cow<'static, str> {
                Cow::Borrowed($name)
            }
        }
    };
}

component!(PaymentId, "PaymentId", text("A payment's id: made of its key, so the same key has the same id.", "uuid"));
component!(Rfc3339, "Time", text("A time as in RFC 3339: UTC, to the millisecond.", "date-time"));
component!(Deed, "Deed", words("What was done.", &Deed::NAMES));
component!(Fact, "EventName", words("What happened.", &Fact::NAMES));
component!(Capture, "Capture", words("When money moves.", &[Capture::Automatic, Capture::Manual].map(Capture::as_str)));
component!(Kind, "Kind", words("What was asked for.", &KINDS.map(Kind::as_str)));
component!(Next, "Next", words("What is done next.", &NEXT.map(Next::as_str)));
component!(
    State,
    "State",
    words(
        "Settled: succeeded, declined, authorized, canceled. Not yet: processing, requires_action (see next_action), \
         in_doubt (being found out), parked (a person has to look).",
        &State::ALL.map(State::as_str)
    )
);

const KINDS: [Kind; 5] = [Kind::Charge, Kind::Authorize, Kind::Capture, Kind::Void, Kind::Refund];
const NEXT: [Next; 5] = [Next::Nothing, Next::AwaitGateway, Next::Send, Next::Ask, Next::AwaitNews];

fn text(description: &str, format: &str) -> RefOr<Schema> {
    let text = ObjectBuilder::new().schema_type(Type::String).format(Some(SchemaFormat::Custom(format.to_owned())));
    RefOr::T(Schema::from(text.description(Some(description))))
}

fn words(description: &str, words: &[&str]) -> RefOr<Schema> {
    let one_of = ObjectBuilder::new().schema_type(Type::String).enum_values(Some(words.iter().copied()));
    RefOr::T(Schema::from(one_of.description(Some(description))))
}

#[cfg(test)]
mod tests {
    use super::{super::super::operations, *};

    #[test]
    fn every_field_that_is_read_is_described_and_no_other() {
        let all = schemas();
        for (schema, fields) in [
            ("Order", bodies::ORDER),
            ("Resolution", bodies::RESOLUTION),
            ("Part", operations::PART),
            ("Person", operator::PERSON),
            ("PersonIfAny", operator::PERSON),
            ("EventId", webhooks::EVENT),
            ("OneEventId", webhooks::EVENT),
        ] {
            let described = all[schema]["properties"].as_object().expect("an object");
            let mut fields = fields.to_vec();
            fields.sort_unstable();
            let mut described: Vec<&str> = described.keys().map(String::as_str).collect();
            described.sort_unstable();
            assert_eq!(described, fields, "{schema}");
        }
    }

    #[test]
    fn every_schema_that_is_named_is_there() {
        let all = schemas();
        for name in all.to_string().split("#/components/schemas/").skip(1).filter_map(|rest| rest.split('"').next()) {
            assert!(all[name].is_object(), "{name}");
        }
    }
}
