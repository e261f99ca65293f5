//! What an event says, for people. Frozen with the format: an old receipt is checked against what this says today.

use serde_json::{Map, Value, json};

use super::chain::{hex, rfc3339};
use crate::payment::{
    Cause, Event, Evidence, Fact, Finality, Identity, Lasting, NextAction, OperationRef, Order, Outcome, Person, Reply,
};

pub(super) fn event(event: &Event) -> Value {
    let mut said = Map::new();
    said.insert("at".to_owned(), json!(rfc3339(event.at)));
    said.insert("fact".to_owned(), json!(event.fact.name()));
    if let Some(operation) = event.fact.operation() {
        said.insert("operation".to_owned(), reference(&operation));
    }
    if let Value::Object(more) = fact(&event.fact) {
        said.extend(more);
    }
    Value::Object(said)
}

fn fact(fact: &Fact) -> Value {
    match fact {
        Fact::Accepted { tenant, key, namespace, order } => json!({
            "tenant": tenant.as_str(), "idempotency_key": key.as_str(), "namespace": namespace.as_str(),
            "order": self::order(order),
        }),
        Fact::Intended { operation: _, key, operation_key, gateway, request } => json!({
            "idempotency_key": key.as_str(), "operation_key": operation_key.to_string(), "gateway": identity(gateway),
            "request": text(request),
        }),
        Fact::Rerouted { operation: _, gateway, request } => {
            json!({"gateway": identity(gateway), "request": text(request)})
        }
        Fact::Prepared { operation: _, reference, request } => {
            json!({"gateway_reference": reference, "request": text(request)})
        }
        Fact::AttemptStarted { operation: _, attempt, not_after, cause } => {
            json!({"attempt": attempt, "not_after": rfc3339(*not_after), "cause": self::cause(cause)})
        }
        Fact::AttemptEnded { operation: _, attempt, outcome, evidence } => {
            json!({"attempt": attempt, "outcome": self::outcome(outcome), "evidence": self::evidence(evidence)})
        }
        Fact::Learned { operation: _, outcome, evidence, open_until } => json!({
            "outcome": self::outcome(outcome), "evidence": self::evidence(evidence), "open_until": open_until.map(rfc3339),
        }),
        Fact::Parked { operation: _, reason, reply } => json!({"reason": reason.as_str(), "reply": self::reply(reply)}),
        Fact::Canceled { operation: _, reply } => json!({"reply": self::reply(reply)}),
        Fact::Contradicted { operation: _, outcome, evidence } => {
            json!({"outcome": self::outcome(outcome), "evidence": self::evidence(evidence)})
        }
        Fact::Unparked { operation: _ } | Fact::WindowClosed { operation: _ } => json!({}),
    }
}

fn reference(operation: &OperationRef) -> Value {
    let OperationRef { number, kind, amount } = operation;
    json!({"number": number, "kind": kind.as_str(), "amount": amount.minor_units()})
}

fn order(order: &Order) -> Value {
    json!({
        "amount": order.amount.minor_units(), "currency": order.currency.as_str(), "source": order.source,
        "destination": order.destination, "capture": order.capture.as_str(), "description": order.description,
        "metadata": order.metadata, "expires_at": order.expires_at.map(rfc3339), "gateway": order.gateway,
    })
}

fn identity(gateway: &Identity) -> Value {
    let Identity { name, account, environment, api_version } = gateway;
    json!({"name": **name, "account": **account, "environment": **environment, "api_version": **api_version})
}

/// A request that is no text is in the bytes all the same.
fn text(request: &[u8]) -> Value {
    std::str::from_utf8(request).map_or_else(|_| json!({"hex": hex(request)}), |text| json!(text))
}

fn cause(cause: &Cause) -> Value {
    match cause {
        Cause::First => json!({"why": "first"}),
        Cause::NothingHappened => json!({"why": "nothing_happened"}),
        Cause::ProvenNotFound { times } => json!({"why": "proven_not_found", "times": times}),
        Cause::SameKey => json!({"why": "same_key"}),
        Cause::Person(person) => json!({"why": "person", "person": self::person(person)}),
    }
}

fn outcome(outcome: &Outcome) -> Value {
    let mut said = Map::new();
    said.insert("name".to_owned(), json!(outcome.name()));
    if let Some(words) = outcome.reply() {
        said.insert("reply".to_owned(), reply(words));
    }
    match outcome {
        Outcome::Declined(finality, _) => {
            said.insert("may_turn".to_owned(), json!(*finality == Finality::Soft));
        }
        Outcome::Pending(Some(NextAction { url, expires_at }), _) => {
            said.insert("next_action".to_owned(), json!({"url": url, "expires_at": expires_at.map(rfc3339)}));
        }
        Outcome::Refused(lasting, _) => {
            said.insert("lasting".to_owned(), self::lasting(lasting));
        }
        Outcome::Pending(None, _)
        | Outcome::Succeeded(_)
        | Outcome::NotSent(_)
        | Outcome::NotFound
        | Outcome::Unknown(_) => {}
    }
    Value::Object(said)
}

fn lasting(lasting: &Lasting) -> Value {
    match lasting {
        Lasting::ForNow { retry_after } => {
            let millis = retry_after.map(|time| u64::try_from(time.as_millis()).unwrap_or(u64::MAX));
            json!({"for": "now", "retry_after_ms": millis})
        }
        Lasting::ForGood => json!({"for": "good"}),
    }
}

fn evidence(evidence: &Evidence) -> Value {
    match evidence {
        Evidence::Person(person) => json!({"name": evidence.name(), "person": self::person(person)}),
        Evidence::NoByteLeft | Evidence::Reply | Evidence::Inquiry | Evidence::Webhook | Evidence::Stopped => {
            json!({"name": evidence.name()})
        }
    }
}

fn person(person: &Person) -> Value {
    let Person { actor, reason } = person;
    json!({"actor": actor, "reason": reason})
}

fn reply(reply: &Reply) -> Value {
    json!({"code": reply.code(), "message": reply.message(), "gateway_reference": reply.reference()})
}
