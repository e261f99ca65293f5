//! JSON to orders, payments to JSON.
//!
//! What a settled POST answers is a function of the first operation's frozen facts and nothing else: it must be the
//! same bytes for as long as anybody may ask.

use std::collections::BTreeMap;

use jiff::Timestamp as Civil;
use serde::Serialize;
use utoipa::ToSchema;

use super::{json::Object, problems::Problem};
use crate::{
    payment::{
        Capture, Currency, Event, Evidence, Identity, Kind, Moment, Operation, OperationKey, Order, Payment, PaymentId,
        Person, Reply, Resolution, Standing, State, Timestamp, Verdict, is_spoken, without_card_number,
    },
    runtime::Page,
    told::{EventBody, Rfc3339, Text},
};

/// The fields of an order's body.
pub(super) const ORDER: &[&str] =
    &["amount", "currency", "source", "destination", "capture", "description", "metadata", "expires_at", "gateway"];
/// The fields of a resolution's body.
pub(super) const RESOLUTION: &[&str] = &["actor", "reason", "as", "operation", "gateway_reference"];
/// The longest `actor`, in characters: a name or an address.
pub(super) const MAX_ACTOR: usize = 255;
/// The longest `reason`, in characters: as long as a description.
pub(super) const MAX_REASON: usize = 1_000;

/// Reads an order.
pub(super) fn order(body: &[u8]) -> Result<Order, Problem> {
    let object = Object::read(body, ORDER)?;
    let currency = Currency::new(object.text("currency")?);
    let mut order =
        Order::new(object.amount("amount")?, currency?, object.text("source")?, object.text("destination")?)?;
    match object.optional_text("capture")? {
        None | Some("automatic") => {}
        Some("manual") => order = order.with_capture(Capture::Manual),
        Some(_) => return Err(Problem::invalid_request("capture must be \"automatic\" or \"manual\"")),
    }
    if let Some(description) = object.nullable_text("description")? {
        order = order.with_description(description)?;
    }
    for (key, value) in object.pairs("metadata")?.into_iter().flatten() {
        order = order.with_metadata(key, value)?;
    }
    if let Some(expires_at) = object.nullable_text("expires_at")? {
        order = order.with_expiry(instant("expires_at", expires_at)?);
    }
    if let Some(gateway) = object.nullable_text("gateway")? {
        order = order.with_gateway(gateway)?;
    }
    Ok(order)
}

/// Reads a person's decision.
pub(super) fn resolution(body: &[u8]) -> Result<Resolution, Problem> {
    let object = Object::read(body, RESOLUTION)?;
    let person = Person {
        actor: spoken("actor", object.text("actor")?, MAX_ACTOR)?,
        reason: spoken("reason", object.text("reason")?, MAX_REASON)?,
    };
    let verdict = match object.text("as")? {
        "succeeded" => Verdict::Succeeded,
        "declined" => Verdict::Declined,
        "resend" => Verdict::Resend,
        "canceled" => Verdict::Cancel,
        _ => {
            return Err(Problem::invalid_request("as must be \"succeeded\", \"declined\", \"resend\" or \"canceled\""));
        }
    };
    let reply = object.optional_text("gateway_reference")?.map(reply_of_reference).transpose()?;
    Ok(Resolution { operation: object.optional_number("operation")?, verdict, reply, person })
}

/// Words of a person that are kept for ever.
pub(super) fn spoken(field: &'static str, text: &str, max: usize) -> Result<String, Problem> {
    if !is_spoken(text, max) {
        return Err(Problem::invalid_request(format!(
            "{field} must be 1 to {max} characters that are not all blank, without control characters"
        )));
    }
    without_card_number(field, text)?;
    Ok(text.to_owned())
}

fn reply_of_reference(reference: &str) -> Result<Reply, Problem> {
    without_card_number("gateway_reference", reference)?;
    let reply = Reply::new("", "").with_reference(reference);
    match reply.reference() {
        Some(_) => Ok(reply),
        None => {
            Err(Problem::invalid_request("gateway_reference must be 1 to 255 characters, without control characters"))
        }
    }
}

/// Reads an RFC 3339 time, to the millisecond below.
fn instant(field: &str, text: &str) -> Result<Timestamp, Problem> {
    let civil = is_rfc_3339(text).then(|| text.parse::<Civil>().ok()).flatten();
    let millis = civil.and_then(|civil| u64::try_from(civil.as_millisecond()).ok());
    millis.map(Timestamp::from_millis).ok_or_else(|| {
        Problem::invalid_request(format!("{field} must be an RFC 3339 time from 1970 on, such as 2030-01-31T12:00:00Z"))
    })
}

/// Whether a text has the shape of an RFC 3339 time; jiff reads many more.
fn is_rfc_3339(text: &str) -> bool {
    let Some((seconds, rest)) = text.split_at_checked(19) else { return false };
    let offset = match rest.strip_prefix('.') {
        Some(fraction) => {
            let offset = fraction.trim_start_matches(|c: char| c.is_ascii_digit());
            if offset.len() == fraction.len() {
                return false;
            }
            offset
        }
        None => rest,
    };
    let zoned = offset.eq_ignore_ascii_case("z") || has_shape(offset, "+00:00") || has_shape(offset, "-00:00");
    zoned && has_shape(seconds, "0000-00-00t00:00:00")
}

/// Whether a text matches a shape in which 0 stands for any digit.
fn has_shape(text: &str, shape: &str) -> bool {
    let fits = |(c, s): (u8, u8)| if s == b'0' { c.is_ascii_digit() } else { c.eq_ignore_ascii_case(&s) };
    text.len() == shape.len() && text.bytes().zip(shape.bytes()).all(fits)
}

/// What a POST answers.
pub(super) fn payment(payment: &Payment) -> Vec<u8> {
    render(&Told::from(payment))
}

/// What a capture, void or refund is answered with: a function of its own frozen facts, as a payment's answer is.
pub(super) fn operation(payment: &Payment, operation: &Operation) -> Vec<u8> {
    render(&OperationTold {
        payment: Text(payment.id),
        operation: operation.into(),
        currency: payment.order.currency.as_str(),
        outcome: outcome(operation),
    })
}

/// What a GET of one payment answers: the same, and all that is known besides.
pub(super) fn detailed(payment: &Payment) -> Vec<u8> {
    render(&Detailed {
        told: as_of_now(payment),
        captured: payment.captured(),
        refunded: payment.refunded(),
        updated_at: Rfc3339(payment.updated_at),
        gateway: payment.first().map(|first| Text(&first.gateway)),
        operations: payment.operations.iter().map(OperationBody::from).collect(),
        timeline: payment.timeline.iter().map(MomentBody::from).collect(),
    })
}

/// What a GET of many answers.
pub(super) fn page(page: &Page) -> Vec<u8> {
    render(&PageBody {
        payments: page.payments.iter().map(|payment| as_of_now(payment)).collect(),
        next: page.next.map(Text),
    })
}

fn as_of_now(payment: &Payment) -> Told<'_> {
    Told { state: payment.state_now().as_str(), ..Told::from(payment) }
}

/// One line of the feed.
pub(super) fn event(event: &Event) -> Vec<u8> {
    render(&EventBody::from(event))
}

pub(super) fn render(body: &impl Serialize) -> Vec<u8> {
    // A payment without a description takes about 450 bytes.
    let mut bytes = Vec::with_capacity(512);
    // Writing strings and numbers to memory cannot fail.
    let _ = serde_json::to_writer(&mut bytes, body);
    bytes
}

/// A payment. What a settled one is answered with never changes again.
// The order of its fields is frozen.
#[derive(Serialize, ToSchema)]
#[schema(as = Payment)]
pub(super) struct Told<'a> {
    #[schema(value_type = PaymentId)]
    id: Text<PaymentId>,
    #[schema(value_type = State)]
    state: &'static str,
    /// In minor units: 1050 is 10.50 USD, or 1050 JPY.
    amount: u64,
    /// An ISO 4217 code.
    currency: &'a str,
    /// Who pays; null once that was erased.
    #[schema(required)]
    source: Option<&'a str>,
    /// Who is paid; null once that was erased.
    #[schema(required)]
    destination: Option<&'a str>,
    #[schema(value_type = Capture)]
    capture: &'static str,
    #[schema(required)]
    description: Option<&'a str>,
    metadata: &'a BTreeMap<String, String>,
    #[schema(required)]
    outcome: Option<OutcomeBody<'a>>,
    #[schema(required)]
    next_action: Option<NextActionBody<'a>>,
    /// The gateway's own name for the first operation.
    #[schema(required)]
    gateway_reference: Option<&'a str>,
    created_at: Rfc3339,
    /// Null until the payment is settled.
    #[schema(required)]
    settled_at: Option<Rfc3339>,
    /// Present, and true, once what is personal was erased: source, destination, description and metadata are gone.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = bool, required = false)]
    erased: Option<bool>,
}

impl<'a> From<&'a Payment> for Told<'a> {
    fn from(payment: &'a Payment) -> Told<'a> {
        let order = &payment.order;
        let next_action = payment.next_action();
        Told {
            id: Text(payment.id),
            state: payment.state().as_str(),
            amount: order.amount.minor_units(),
            currency: order.currency.as_str(),
            source: (!order.erased).then_some(order.source.as_str()),
            destination: (!order.erased).then_some(order.destination.as_str()),
            capture: order.capture.as_str(),
            description: order.description.as_deref(),
            metadata: &order.metadata,
            outcome: payment.first().and_then(outcome),
            next_action: next_action
                .map(|next| NextActionBody { url: &next.url, expires_at: next.expires_at.map(Rfc3339) }),
            gateway_reference: payment.first().and_then(reference),
            created_at: Rfc3339(payment.created_at),
            settled_at: payment.settled_at.map(Rfc3339),
            erased: order.erased.then_some(true),
        }
    }
}

/// Why it stands as it does, once there is a reason to tell.
#[derive(Serialize, ToSchema)]
#[schema(as = Outcome)]
struct OutcomeBody<'a> {
    /// The gateway's code, the reason why it is parked, or the state where there is neither.
    code: &'a str,
    message: &'a str,
}

/// Why an operation stands where it does, once there is a reason to tell.
fn outcome(operation: &Operation) -> Option<OutcomeBody<'_>> {
    let (reply, default) = match &operation.standing {
        Standing::Intended | Standing::Sent { .. } | Standing::AtGateway { .. } => return None,
        Standing::Parked { reason, .. } => {
            return Some(OutcomeBody { code: reason.as_str(), message: reason.message() });
        }
        Standing::InDoubt { reply, .. } => (reply, State::InDoubt),
        Standing::Succeeded(reply) | Standing::Declined { reply, .. } | Standing::Canceled(reply) => {
            (reply, operation.state())
        }
    };
    let code = if reply.code().is_empty() { default.as_str() } else { reply.code() };
    Some(OutcomeBody { code, message: reply.message() })
}

/// The gateway's own name for an operation.
fn reference(operation: &Operation) -> Option<&str> {
    operation.reply().and_then(Reply::reference).or(operation.prepared.as_deref())
}

/// What the payer has to do, such as 3-D Secure: go to this page.
#[derive(Serialize, ToSchema)]
#[schema(as = NextAction)]
struct NextActionBody<'a> {
    url: &'a str,
    #[schema(required)]
    expires_at: Option<Rfc3339>,
}

/// A payment as of now, with all that happened to it.
#[derive(Serialize, ToSchema)]
#[schema(as = PaymentDetails)]
pub(super) struct Detailed<'a> {
    #[serde(flatten)]
    told: Told<'a>,
    /// How much has really moved, in minor units.
    captured: u64,
    /// How much has moved back, in minor units.
    refunded: u64,
    updated_at: Rfc3339,
    /// Whom the first operation was asked of.
    #[schema(required, value_type = Option<String>)]
    gateway: Option<Text<&'a Identity>>,
    operations: Vec<OperationBody<'a>>,
    timeline: Vec<MomentBody<'a>>,
}

/// One thing asked of a gateway.
#[derive(Serialize, ToSchema)]
#[schema(as = Operation)]
struct OperationBody<'a> {
    /// Its place among the payment's operations, from 0.
    number: u32,
    #[schema(value_type = Kind)]
    kind: &'static str,
    /// Its idempotency key at the gateway.
    #[schema(value_type = String)]
    key: Text<OperationKey>,
    /// In minor units.
    amount: u64,
    #[schema(value_type = State)]
    state: &'static str,
    /// How often it was sent.
    attempts: u32,
    #[schema(required)]
    gateway_reference: Option<&'a str>,
}

impl<'a> From<&'a Operation> for OperationBody<'a> {
    fn from(operation: &'a Operation) -> OperationBody<'a> {
        OperationBody {
            number: operation.this.number,
            kind: operation.this.kind.as_str(),
            key: Text(operation.operation_key),
            amount: operation.this.amount.minor_units(),
            state: operation.state().as_str(),
            attempts: operation.attempts,
            gateway_reference: reference(operation),
        }
    }
}

/// What a capture, void or refund is answered with.
// The order of its fields is frozen.
#[derive(Serialize, ToSchema)]
#[schema(as = OperationAnswer)]
pub(super) struct OperationTold<'a> {
    #[schema(value_type = PaymentId)]
    payment: Text<PaymentId>,
    #[serde(flatten)]
    operation: OperationBody<'a>,
    /// The payment's.
    currency: &'a str,
    #[schema(required)]
    outcome: Option<OutcomeBody<'a>>,
}

/// One thing that happened to a payment.
#[derive(Serialize, ToSchema)]
#[schema(as = Moment)]
pub(super) struct MomentBody<'a> {
    at: Rfc3339,
    /// Which operation it is about.
    operation: u32,
    event: &'a str,
    /// Why it is believed.
    #[schema(required, value_type = Option<String>)]
    evidence: Option<Text<&'a Evidence>>,
}

impl<'a> From<&'a Moment> for MomentBody<'a> {
    fn from(moment: &'a Moment) -> MomentBody<'a> {
        let Moment { at, operation, what, evidence } = moment;
        MomentBody { at: Rfc3339(*at), operation: *operation, event: what, evidence: evidence.as_ref().map(Text) }
    }
}

/// Some payments, as of now.
#[derive(Serialize, ToSchema)]
#[schema(as = Page)]
pub(super) struct PageBody<'a> {
    payments: Vec<Told<'a>>,
    /// What to ask for as `after` to get the next page; null on the last one.
    #[schema(required, value_type = Option<PaymentId>)]
    next: Option<Text<PaymentId>>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(body: &str) -> String {
        format!("{:?}", order(body.as_bytes()).expect_err(body))
    }

    #[test]
    fn times_are_rfc_3339_and_nothing_looser() {
        for (text, millis) in [
            ("1970-01-01T00:00:00Z", 0),
            ("2026-11-24T04:05:06.789Z", 1_795_493_106_789),
            ("2026-11-24t04:05:06.789999z", 1_795_493_106_789),
            ("2026-11-24T05:35:06.789+01:30", 1_795_493_106_789),
            ("2026-11-23T23:05:06.789-05:00", 1_795_493_106_789),
        ] {
            assert_eq!(instant("at", text).expect(text), Timestamp::from_millis(millis), "{text}");
        }
        for text in [
            "",
            "now",
            "1795493106",
            "2026-11-24",
            "2026-11-24T04:05Z",
            "2026-11-24 04:05:06Z",
            "2026-11-24T04:05:06",
            "2026-11-24T04:05:06.Z",
            "2026-11-24T04:05:06,5Z",
            "2026-11-24T04:05:06+0130",
            "2026-11-24T04:05:06+01",
            "2026-02-30T04:05:06Z",
            "2026-11-24T24:05:06Z",
            "2026-11-24T04:05:06Z[UTC]",
            " 2026-11-24T04:05:06Z",
            "+002026-11-24T04:05:06Z",
            "1969-12-31T23:59:59Z",
            "0001-01-01T00:00:00Z",
            "20261124T040506Z",
            "2026-11-24T04:05:06\u{2212}01:00",
            "2026-11-24T04:05:06+99:00",
        ] {
            assert!(instant("at", text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_default_given_is_equal_to_one_left_out() {
        let least = r#"{"amount":1,"currency":"USD","source":"a","destination":"b"}"#;
        let most = r#"{"amount":1,"currency":"USD","source":"a","destination":"b","capture":"automatic",
            "description":null,"metadata":{},"expires_at":null}"#;
        assert_eq!(order(least.as_bytes()).expect("valid"), order(most.as_bytes()).expect("valid"));
    }

    #[test]
    fn no_refusal_repeats_a_value() {
        let secret = "4242424242424242";
        for body in [
            format!(r#"{{"amount":"{secret}"}}"#),
            format!(r#"{{"amount":1,"currency":"{secret}"}}"#),
            format!(r#"{{"amount":1,"currency":"USD","source":"{secret}","destination":"b"}}"#),
            format!(r#"{{"amount":1,"currency":"USD","source":"a","destination":"b","capture":"{secret}"}}"#),
            format!(r#"{{"amount":1,"currency":"USD","source":"a","destination":"b","metadata":{{"k":{secret}}}}}"#),
            format!(r#"{{"amount":1,"currency":"USD","source":"a","destination":"b","expires_at":"{secret}"}}"#),
            format!(r#"{{"amount":1,"unknown":"{secret}"}}"#),
            format!(r#""{secret}""#),
            secret.to_owned(),
        ] {
            assert!(!refused(&body).contains(secret), "{body}");
        }
    }

    #[test]
    fn that_a_body_is_no_json_goes_before_what_it_says() {
        assert!(refused(r#"{"amount":"x","amount":2,"#).contains("not valid JSON"));
        assert!(refused(r#"{"amount":1,"amount":2}"#).contains("amount must not be given twice"));
        assert!(refused(r#"{"amount":null}"#).contains("currency is required"));
    }
}
