//! What Stripe's objects say about an operation: one table for PaymentIntents, one for refunds.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::request::{CAPTURE, OPERATION};
use crate::payment::{Currency, Finality, Kind, NextAction, OperationKey, Outcome, Reply};

/// What an answer must speak of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Expected {
    pub(super) kind: Kind,
    pub(super) operation_key: OperationKey,
    /// In Stripe's units.
    pub(super) units: u64,
    pub(super) currency: Currency,
    /// The PaymentIntent; `None`: not known yet.
    pub(super) intent: Option<String>,
}

/// A PaymentIntent, as far as it matters.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Intent {
    pub(super) id: String,
    pub(super) amount: u64,
    pub(super) currency: String,
    pub(super) status: String,
    amount_received: Option<u64>,
    metadata: Option<BTreeMap<String, String>>,
    last_payment_error: Option<Trouble>,
    next_action: Option<Next>,
}

/// What Stripe says of a failure.
#[derive(Clone, Debug, Default, Deserialize)]
pub(super) struct Trouble {
    pub(super) code: Option<String>,
    /// The issuer's reason: more precise than the code.
    pub(super) decline_code: Option<String>,
    pub(super) message: Option<String>,
}

#[derive(Clone, Debug, Deserialize)]
struct Next {
    redirect_to_url: Option<Redirect>,
}

#[derive(Clone, Debug, Deserialize)]
struct Redirect {
    url: Option<String>,
}

/// A refund, as far as it matters.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Refund {
    pub(super) id: String,
    amount: u64,
    currency: String,
    status: String,
    payment_intent: Option<String>,
    failure_reason: Option<String>,
    metadata: Option<BTreeMap<String, String>>,
}

impl Intent {
    /// Whether its metadata names an operation.
    fn bears(&self, name: &str, key: OperationKey) -> bool {
        bears(self.metadata.as_ref(), name, key)
    }
}

impl Refund {
    pub(super) fn is(&self, key: OperationKey) -> bool {
        bears(self.metadata.as_ref(), OPERATION, key)
    }
}

fn bears(metadata: Option<&BTreeMap<String, String>>, name: &str, key: OperationKey) -> bool {
    metadata.and_then(|pairs| pairs.get(name)).and_then(|named| OperationKey::parse(named)) == Some(key)
}

impl Trouble {
    pub(super) fn reply(&self, otherwise: &str) -> Reply {
        let code = self.decline_code.as_deref().or(self.code.as_deref()).filter(|code| !code.is_empty());
        Reply::new(code.unwrap_or(otherwise), self.message.as_deref().unwrap_or_default())
    }
}

/// What the state of a PaymentIntent says about an operation on it. [`Outcome::NotFound`]: that it has not happened.
///
/// | status                    | charge, authorize    | capture               | void           |
/// |---------------------------|----------------------|-----------------------|----------------|
/// | `requires_confirmation`   | not found            | not found             | not found      |
/// | `requires_payment_method` | declined, if there is an error; else not found | declined | not found |
/// | `requires_action`         | pending              | not found             | not found      |
/// | `processing`              | pending              | pending, if by it     | not found      |
/// | `requires_capture`        | authorize: succeeded | not found             | not found      |
/// | `succeeded`               | succeeded            | succeeded, if by it; else declined | declined |
/// | `canceled`                | declined             | declined              | succeeded      |
///
/// A PaymentIntent is confirmed once: that of a charge is only ever asked to be confirmed, and Stripe refuses to confirm
/// one that is past that. That makes "not found" safe here, and a confirmation that goes out twice harmless, even if
/// the key were forgotten.
pub(super) fn judge(expected: &Expected, intent: &Intent) -> Outcome {
    if let Some(what) = mismatch(expected, intent) {
        return mismatched(what, &intent.id);
    }
    match expected.kind {
        Kind::Charge | Kind::Authorize => judge_first(expected.kind, intent),
        Kind::Capture => judge_capture(expected, intent),
        Kind::Void => judge_void(intent),
        Kind::Refund => Outcome::Unknown(Reply::new("unreadable_reply", "a PaymentIntent where a refund was expected")),
    }
}

fn judge_first(kind: Kind, intent: &Intent) -> Outcome {
    let reply = said(intent);
    match (intent.status.as_str(), &intent.last_payment_error) {
        ("succeeded", _) => Outcome::Succeeded(reply),
        ("requires_capture", _) if kind == Kind::Authorize => Outcome::Succeeded(reply),
        ("requires_action", _) => Outcome::Pending(next_action(intent), reply),
        ("processing", _) => Outcome::Pending(None, reply),
        ("requires_payment_method", Some(trouble)) => {
            Outcome::Declined(Finality::Hard, trouble.reply("declined").with_reference(&intent.id))
        }
        ("requires_payment_method", None) | ("requires_confirmation", _) => Outcome::NotFound,
        ("canceled", _) => Outcome::Declined(Finality::Hard, reply),
        _ => unexpected(intent),
    }
}

fn judge_capture(expected: &Expected, intent: &Intent) -> Outcome {
    let by_it = intent.bears(CAPTURE, expected.operation_key);
    let other_amount = intent.amount_received.is_some_and(|received| received != expected.units);
    match intent.status.as_str() {
        "succeeded" if by_it && other_amount => mismatched("amount", &intent.id),
        "succeeded" if by_it => Outcome::Succeeded(said(intent)),
        "succeeded" => {
            let reply = Reply::new("captured_otherwise", "the authorization was used up by another capture");
            Outcome::Declined(Finality::Hard, reply.with_reference(&intent.id))
        }
        "processing" if by_it => Outcome::Pending(None, said(intent)),
        "canceled" | "requires_payment_method" => Outcome::Declined(Finality::Hard, said(intent)),
        "requires_capture" | "requires_confirmation" | "requires_action" => Outcome::NotFound,
        _ => unexpected(intent),
    }
}

fn judge_void(intent: &Intent) -> Outcome {
    match intent.status.as_str() {
        "canceled" => Outcome::Succeeded(said(intent)),
        "succeeded" => Outcome::Declined(Finality::Hard, said(intent)),
        "requires_confirmation" | "requires_payment_method" | "requires_action" | "requires_capture" | "processing" => {
            Outcome::NotFound
        }
        _ => unexpected(intent),
    }
}

/// What the state of a refund says about the operation that made it. A refund may still fail after it succeeded; that is
/// news for a webhook.
pub(super) fn judge_refund(expected: &Expected, refund: &Refund) -> Outcome {
    let other_intent = refund.payment_intent.is_some() && refund.payment_intent != expected.intent;
    if !refund.is(expected.operation_key) || other_intent {
        return mismatched("operation", &refund.id);
    }
    if refund.amount != expected.units {
        return mismatched("amount", &refund.id);
    }
    if !same(&refund.currency, expected.currency) {
        return mismatched("currency", &refund.id);
    }
    let code = refund.failure_reason.as_deref().unwrap_or(&refund.status);
    let reply = Reply::new(code, "").with_reference(&refund.id);
    match refund.status.as_str() {
        "succeeded" => Outcome::Succeeded(reply),
        "pending" | "requires_action" => Outcome::Pending(None, reply),
        "failed" | "canceled" => Outcome::Declined(Finality::Hard, reply),
        _ => Outcome::Unknown(Reply::new("unexpected_state", &format!("the refund is {}", refund.status))),
    }
}

/// What a PaymentIntent that was just created says: its id, if nothing has been done with it.
pub(super) fn judge_created(expected: &Expected, intent: &Intent) -> Outcome {
    match (mismatch(expected, intent), intent.status.as_str()) {
        (Some(what), _) => mismatched(what, &intent.id),
        (None, "requires_confirmation") => Outcome::Succeeded(said(intent)),
        (None, _) => unexpected(intent),
    }
}

/// The charge's key stands in the metadata; that of what acts on the charge does not, but then the id is known.
fn mismatch(expected: &Expected, intent: &Intent) -> Option<&'static str> {
    let Expected { kind, operation_key, units, currency, intent: id } = expected;
    let first = matches!(kind, Kind::Charge | Kind::Authorize);
    let other_id = id.as_ref().map_or(!first, |id| *id != intent.id);
    // What is captured may be less than what was authorized.
    let whole = matches!(kind, Kind::Charge | Kind::Authorize | Kind::Void);
    let charged = *kind == Kind::Charge && intent.status == "succeeded";
    let other_sum = charged && intent.amount_received.is_some_and(|received| received != *units);
    if other_id || first && !intent.bears(OPERATION, *operation_key) {
        Some("operation")
    } else if whole && intent.amount != *units || other_sum {
        Some("amount")
    } else if !same(&intent.currency, *currency) {
        Some("currency")
    } else {
        None
    }
}

fn same(said: &str, currency: Currency) -> bool {
    said.eq_ignore_ascii_case(currency.as_str())
}

fn mismatched(what: &str, id: &str) -> Outcome {
    let message = format!("the answer is about another {what} than the one asked about");
    Outcome::Unknown(Reply::new("mismatched_reply", &message).with_reference(id))
}

fn unexpected(intent: &Intent) -> Outcome {
    let message = format!("the PaymentIntent is {}", intent.status);
    Outcome::Unknown(Reply::new("unexpected_state", &message).with_reference(&intent.id))
}

fn said(intent: &Intent) -> Reply {
    Reply::new(&intent.status, "").with_reference(&intent.id)
}

/// Only a URL can be passed on: with `return_url` configured, Stripe gives one.
fn next_action(intent: &Intent) -> Option<NextAction> {
    let url = intent.next_action.as_ref()?.redirect_to_url.as_ref()?.url.clone()?;
    Some(NextAction { url, expires_at: None })
}
