//! One method of one path, in words that become its part of the document.

use std::collections::BTreeMap;

use axum::http::StatusCode;
use serde_json::{Map, Value, json};

use super::super::problems::Code;

/// What is known of it so far.
pub(super) struct Route {
    /// Whether it takes an API key, where there are any.
    guarded: bool,
    head: Map<String, Value>,
    parameters: Vec<Value>,
    answers: BTreeMap<u16, Value>,
    refusals: BTreeMap<u16, Vec<(&'static str, &'static str)>>,
}

impl Route {
    /// `id`: how clients made from the document call it.
    pub(super) fn new(id: &str, tag: &str, summary: &str, description: &str) -> Route {
        let head = [("operationId", json!(id)), ("tags", json!([tag])), ("summary", json!(summary))];
        let mut head: Map<String, Value> = head.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        if !description.is_empty() {
            head.insert("description".to_owned(), json!(description));
        }
        let new =
            Route { guarded: true, head, parameters: Vec::new(), answers: BTreeMap::new(), refusals: BTreeMap::new() };
        new.refuses(&[Code::InvalidRequest, Code::Forbidden])
            .invalid_as(StatusCode::URI_TOO_LONG, "The path and the query are too long")
            .invalid_as(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, "The headers are too large")
    }

    /// It needs no API key.
    pub(super) fn for_anybody(mut self) -> Route {
        self.guarded = false;
        self
    }

    pub(super) fn takes(mut self, parameter: Value) -> Route {
        self.parameters.push(parameter);
        self
    }

    /// A JSON body.
    pub(super) fn body(self, schema: &str, required: bool) -> Route {
        let body = json!({ "required": required, "content": { "application/json": { "schema": of(schema) } } });
        self.content(body).refuses(&[Code::UnsupportedMediaType])
    }

    /// A body of any type.
    pub(super) fn content(mut self, body: Value) -> Route {
        self.head.insert("requestBody".to_owned(), body);
        self.refuses(&[Code::PayloadTooLarge])
            .invalid_as(StatusCode::REQUEST_TIMEOUT, "The body took too long to arrive")
    }

    /// Answers with JSON of this schema, under these headers.
    pub(super) fn answers(self, status: u16, what: &str, schema: &str, headers: &[&str]) -> Route {
        let content = json!({ "application/json": { "schema": of(schema) } });
        self.answers_as(status, what, content, headers)
    }

    /// Answers with any content.
    pub(super) fn answers_as(mut self, status: u16, what: &str, content: Value, headers: &[&str]) -> Route {
        let mut answer = json!({ "description": what });
        if !content.is_null() {
            answer = with(answer, "content", content);
        }
        if !headers.is_empty() {
            let headers: Map<String, Value> = headers.iter().map(|name| ((*name).to_owned(), header(name))).collect();
            answer = with(answer, "headers", Value::Object(headers));
        }
        self.answers.insert(status, answer);
        self
    }

    /// Asks the engine, which may not be there yet, or no more.
    pub(super) fn asks_the_engine(self) -> Route {
        self.refuses(&[Code::OutcomeUnknown, Code::Overloaded])
    }

    pub(super) fn refuses(self, codes: &[Code]) -> Route {
        codes.iter().fold(self, |route, code| {
            let (code, status, title) = code.words();
            route.refuses_as(status, code, title)
        })
    }

    /// The request is at fault in a way for which HTTP has a status of its own.
    fn invalid_as(self, status: StatusCode, what: &'static str) -> Route {
        let (code, ..) = Code::InvalidRequest.words();
        self.refuses_as(status, code, what)
    }

    fn refuses_as(mut self, status: StatusCode, code: &'static str, title: &'static str) -> Route {
        let known = self.refusals.entry(status.as_u16()).or_default();
        if !known.iter().any(|(known, _)| *known == code) {
            known.push((code, title));
        }
        self
    }

    /// Its part of the document.
    pub(super) fn into_json(mut self) -> Value {
        if self.guarded {
            // The second: a daemon that has no keys asks for none.
            self.head.insert("security".to_owned(), json!([{ "key": [] }, {}]));
            self = self.refuses(&[Code::Unauthorized, Code::RateLimited]);
        }
        let mut responses: Map<String, Value> =
            self.answers.into_iter().map(|(status, answer)| (status.to_string(), answer)).collect();
        for (status, codes) in &self.refusals {
            responses.insert(status.to_string(), refusal(*status, codes));
        }
        self.head.insert("parameters".to_owned(), Value::Array(self.parameters));
        self.head.insert("responses".to_owned(), Value::Object(responses));
        Value::Object(self.head)
    }
}

/// A problem document with one of these codes.
fn refusal(status: u16, codes: &[(&'static str, &'static str)]) -> Value {
    let words: Vec<String> = codes.iter().map(|(code, title)| format!("`{code}`: {title}.")).collect();
    let names: Vec<&str> = codes.iter().map(|(code, _)| *code).collect();
    let schema = json!({
        "allOf": [of("Problem"), { "type": "object", "properties": { "code": { "type": "string", "enum": names } } }],
    });
    let refusal = json!({
        "description": words.join("\n"),
        "content": { "application/problem+json": { "schema": schema } },
    });
    match status {
        429 | 503 => with(refusal, "headers", json!({ "Retry-After": header("Retry-After") })),
        _ => refusal,
    }
}

/// An object with one more member.
pub(super) fn with(mut object: Value, name: &str, value: Value) -> Value {
    if let Some(members) = object.as_object_mut() {
        members.insert(name.to_owned(), value);
    }
    object
}

pub(super) fn of(schema: &str) -> Value {
    json!({ "$ref": format!("#/components/schemas/{schema}") })
}

fn header(name: &str) -> Value {
    let (description, schema) = match name {
        "Location" => ("Where the payment is.", json!({ "type": "string" })),
        "Retry-After" => ("When to ask again, in seconds.", json!({ "type": "integer", "minimum": 1 })),
        "Preference-Applied" => ("What was made of `Prefer`, if anything.", json!({ "type": "string" })),
        _ => (
            "`true`: it was settled before, and nothing moved now. Not there otherwise.",
            json!({ "type": "string", "enum": ["true"] }),
        ),
    };
    // It is not always there: only Location and Retry-After are.
    json!({ "description": description, "required": name == "Location" || name == "Retry-After", "schema": schema })
}
