//! What a reply of Stripe's means: one table, by status, type of error, and what had been asked.

use std::time::Duration;

use serde::Deserialize;
use serde_json::Value;

use super::object::{Expected, Intent, Refund, Trouble, judge, judge_created, judge_refund};
use crate::payment::{Finality, Kind, Lasting, Outcome, Reply};

/// What a reply answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Call {
    /// The creation of a PaymentIntent, which moves nothing.
    Create,
    /// A sending of an operation.
    Send,
    /// A question about a PaymentIntent.
    Ask,
}

/// A whole reply, as it came.
#[derive(Clone, Copy, Debug)]
pub(super) struct Came<'a> {
    pub(super) status: u16,
    pub(super) retry_after: Option<Duration>,
    /// `Stripe-Should-Retry`.
    pub(super) should_retry: Option<bool>,
    pub(super) body: &'a [u8],
}

/// The table.
///
/// | status     | sending                                     | question               |
/// |------------|---------------------------------------------|------------------------|
/// | 200        | what the object says, if it is about this   | the same               |
/// | 400        | what the PaymentIntent in it says; without one, never executed: refused for good | unknown |
/// | 400 `idempotency_error` | unknown: under this key something else was asked | unknown     |
/// | 401, 403   | refused for now: no usable key              | no answer              |
/// | 402        | declined                                    | unknown                |
/// | 404        | refused for now: another account's key; a creation: for good | unknown |
/// | 409        | unknown: the first one is in progress       | unknown                |
/// | 429        | refused for now: it comes before anything is done | no answer        |
/// | all others | unknown                                     | unknown                |
///
/// A 4xx counts only with an error of Stripe's in its body: a proxy's page proves nothing. `Stripe-Should-Retry` is
/// about whether to send again, not about what was done: on a 5xx it changes nothing, for a 500 may have charged, and
/// `false` only says that the same 500 would come again. On what was not executed, `true` makes it a refusal for now.
pub(super) fn classify(call: Call, expected: &Expected, came: &Came<'_>) -> Outcome {
    if came.status == 200 {
        return answered(call, expected, came.body);
    }
    let for_now = Lasting::ForNow { retry_after: came.retry_after };
    let Some(error) = Error::read(came.body).filter(|_| (400..500).contains(&came.status)) else {
        let code = if came.status >= 500 { "server_error" } else { "unexpected_status" };
        return Outcome::Unknown(Reply::new(code, &format!("Stripe answered {}", came.status)));
    };
    let unknown = |code| Outcome::Unknown(error.trouble.reply(code));
    let lasting = if came.should_retry == Some(true) { for_now } else { Lasting::ForGood };
    match (came.status, call) {
        (401, _) => Outcome::Refused(for_now, error.trouble.reply("unauthorized")),
        (403, _) => Outcome::Refused(for_now, error.trouble.reply("forbidden")),
        (429, _) => Outcome::Refused(for_now, error.trouble.reply("rate_limited")),
        (409, _) => unknown("in_progress"),
        _ if error.kind == "idempotency_error" => unknown("idempotency_error"),
        (400, Call::Send) => refused(expected, &error, lasting),
        (400 | 404, Call::Create) => Outcome::Refused(lasting, error.trouble.reply("invalid_request")),
        (402, Call::Send | Call::Create) => declined(expected, &error),
        (404, Call::Send) => Outcome::Refused(for_now, error.trouble.reply("resource_missing")),
        (_, Call::Create | Call::Send | Call::Ask) => unknown("unexpected_status"),
    }
}

fn answered(call: Call, expected: &Expected, body: &[u8]) -> Outcome {
    let intent = |judge: fn(&Expected, &Intent) -> Outcome| {
        read::<Intent>(body, "payment_intent").map_or_else(unreadable, |intent| judge(expected, &intent))
    };
    match (call, expected.kind) {
        (Call::Create, _) => intent(judge_created),
        (Call::Send, Kind::Refund) => {
            read::<Refund>(body, "refund").map_or_else(unreadable, |refund| judge_refund(expected, &refund))
        }
        (Call::Send | Call::Ask, _) => intent(judge),
    }
}

/// A 400: nothing was done now. The PaymentIntent in it says whether that is because it was done before: Stripe's
/// `payment_intent_unexpected_state` answers a confirmation of what is confirmed already.
fn refused(expected: &Expected, error: &Error, lasting: Lasting) -> Outcome {
    let reply = error.trouble.reply("invalid_request");
    let Some(intent) = &error.payment_intent else { return Outcome::Refused(lasting, reply) };
    let Some(intent) = Intent::deserialize(intent).ok() else { return unreadable() };
    match judge(expected, &intent) {
        // A payment under way cannot be canceled, but may be when that has failed.
        Outcome::NotFound if intent.status == "processing" => {
            Outcome::Refused(Lasting::ForNow { retry_after: None }, reply)
        }
        Outcome::NotFound => Outcome::Refused(lasting, reply),
        // A refund's 400 shows the PaymentIntent too, which says nothing about refunds.
        Outcome::Unknown(_) if expected.kind == Kind::Refund => Outcome::Refused(lasting, reply),
        told @ (Outcome::Succeeded(_)
        | Outcome::Declined(_, _)
        | Outcome::Pending(_, _)
        | Outcome::NotSent(_)
        | Outcome::Refused(_, _)
        | Outcome::Unknown(_)) => told,
    }
}

/// A 402: it was asked for, and was not granted.
fn declined(expected: &Expected, error: &Error) -> Outcome {
    let reply = error.trouble.reply("declined");
    let intent = error.payment_intent.as_ref().map(Intent::deserialize);
    match intent {
        None => Outcome::Declined(Finality::Hard, reply),
        Some(Err(_)) => unreadable(),
        Some(Ok(intent)) => {
            let reply = reply.with_reference(&intent.id);
            match (expected.kind, judge(expected, &intent)) {
                (Kind::Charge | Kind::Authorize, told @ (Outcome::Succeeded(_) | Outcome::Pending(_, _))) => {
                    // It says two things: believe neither.
                    Outcome::Unknown(told.reply().cloned().unwrap_or_default())
                }
                (Kind::Charge | Kind::Authorize, told @ Outcome::Unknown(_)) => told,
                _ => Outcome::Declined(Finality::Hard, reply),
            }
        }
    }
}

/// An error of Stripe's.
struct Error {
    kind: String,
    trouble: Trouble,
    payment_intent: Option<Value>,
}

impl Error {
    fn read(body: &[u8]) -> Option<Error> {
        let body: Value = serde_json::from_slice(body).ok()?;
        let error = body.get("error")?;
        Some(Error {
            kind: error.get("type")?.as_str()?.to_owned(),
            trouble: Trouble::deserialize(error).ok()?,
            payment_intent: error.get("payment_intent").filter(|intent| !intent.is_null()).cloned(),
        })
    }
}

/// Reads an object, if it is of that kind.
pub(super) fn read<T: for<'de> Deserialize<'de>>(body: &[u8], object: &str) -> Option<T> {
    let body: Value = serde_json::from_slice(body).ok()?;
    (body.get("object")?.as_str()? == object).then(|| T::deserialize(&body).ok())?
}

pub(super) fn unreadable() -> Outcome {
    Outcome::Unknown(Reply::new("unreadable_reply", "the answer is not what Stripe answers to this"))
}
