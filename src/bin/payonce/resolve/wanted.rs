//! Which operations are wanted, and where each stands: told by the daemon, one question a page and two a payment.

use jiff::Timestamp as Civil;
use payonce::payment::ParkReason;
use serde_json::Value;

use super::ResolveArgs;
use crate::client::{Ask, Refusal, Target, encoded, field};

/// The states in which there is something to decide.
pub(super) const STATES: [&str; 4] = ["parked", "in_doubt", "requires_action", "processing"];

/// Why something can be parked, as in HTTP bodies.
pub(super) fn reasons() -> [&'static str; 7] {
    ParkReason::ALL.map(ParkReason::as_str)
}

/// An operation that is not final.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Open {
    pub(super) payment: String,
    pub(super) number: u32,
    pub(super) kind: String,
    pub(super) amount: u64,
    pub(super) currency: String,
    pub(super) state: String,
    /// Why it is parked, if it is.
    pub(super) reason: Option<String>,
    pub(super) gateway: String,
    pub(super) created_at: String,
}

/// Everything that fits the filters.
pub(super) fn find(args: &ResolveArgs) -> Result<Vec<Open>, Refusal> {
    let state = args.state.as_deref().unwrap_or_default();
    let mut found = Vec::new();
    let mut after = String::new();
    loop {
        let page = args.target.ask(Ask::get(format!("/v1/payments?state={}&limit=500{after}", encoded(state))))?.value;
        for payment in page.get("payments").and_then(Value::as_array).into_iter().flatten() {
            let Some(id) = field(payment, "id").filter(|_| is_old(args, payment)) else { continue };
            found.extend(of_payment(&args.target, id)?.into_iter().filter(|open| fits(args, open)));
        }
        match field(&page, "next") {
            Some(next) => after = format!("&after={}", encoded(next)),
            None => return Ok(found),
        }
    }
}

/// The operations of a payment as they are now.
pub(super) fn of_payment(target: &Target, id: &str) -> Result<Vec<Open>, Refusal> {
    let path = format!("/v1/payments/{}", encoded(id));
    let payment = target.ask(Ask::get(path.clone()))?.value;
    let outlook = target.ask(Ask::get(format!("{path}/outlook")))?.value;
    let list = |body: &Value, name: &str| body.get(name).and_then(Value::as_array).cloned().unwrap_or_default();
    let operations = list(&payment, "operations").into_iter().zip(list(&outlook, "operations"));
    let timeline = list(&payment, "timeline");
    Ok(operations.filter_map(|(operation, next)| open(&payment, &operation, &next, &timeline)).collect())
}

fn open(payment: &Value, operation: &Value, next: &Value, timeline: &[Value]) -> Option<Open> {
    let text = |body: &Value, name: &str| field(body, name).map(str::to_owned);
    let number = u32::try_from(operation.get("number")?.as_u64()?).ok()?;
    let state = text(operation, "state")?;
    let of_this = |moment: &&Value| moment.get("operation").and_then(Value::as_u64) == Some(number.into());
    let parked = |moment: &Value| field(moment, "event")?.strip_prefix("parked: ").map(str::to_owned);
    Some(Open {
        payment: text(payment, "id")?,
        number,
        kind: text(operation, "kind")?,
        amount: operation.get("amount")?.as_u64()?,
        currency: text(payment, "currency")?,
        reason: timeline.iter().filter(of_this).rev().find_map(parked).filter(|_| state == "parked"),
        state,
        gateway: text(next, "gateway")?,
        created_at: text(payment, "created_at")?,
    })
}

/// By the clock of this machine.
fn is_old(args: &ResolveArgs, payment: &Value) -> bool {
    let Some(age) = args.older_than else { return true };
    let made = field(payment, "created_at").and_then(|at| at.parse::<Civil>().ok());
    let now = Civil::now().as_millisecond();
    made.is_some_and(|made| u128::try_from(now - made.as_millisecond()).is_ok_and(|old| old > age.as_millis()))
}

fn fits(args: &ResolveArgs, open: &Open) -> bool {
    args.state.as_ref() == Some(&open.state)
        && args.gateway.as_ref().is_none_or(|name| is_named(&open.gateway, name))
        && (args.park_reason.is_none() || args.park_reason == open.reason)
}

/// An identity is told as its name, then `account NAME`, and more.
fn is_named(identity: &str, name: &str) -> bool {
    identity == name || identity.split(", ").any(|part| part == name || part.strip_prefix("account ") == Some(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gateway_is_meant_by_its_name_or_its_account_and_by_no_part_of_them() {
        let identity = "https://psp.example/v1, account main, environment live";
        for (name, is) in [
            ("https://psp.example/v1", true),
            ("main", true),
            (identity, true),
            ("psp", false),
            ("mai", false),
            ("live", false),
            ("", false),
        ] {
            assert_eq!(is_named(identity, name), is, "{name:?}");
        }
    }
}
