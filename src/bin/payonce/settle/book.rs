//! Our book from a running daemon: its pages of payments, and each payment's operations.

use payonce::{
    Amount, Currency, PaymentId, State, Timestamp,
    payment::OperationKey,
    settle::{Belief, Entry, LineKind, Settlement},
};
use serde_json::Value;

use super::{instant, show::Counter, wire::Wire};
use crate::client::{encoded, field};

/// Enters every payment of the daemon.
pub(super) fn read(wire: &Wire, daemon: &str, settlement: &mut Settlement) -> Result<(), String> {
    let daemon = daemon.trim_end_matches('/');
    let mut read = Counter::new("payments read");
    let mut after = String::new();
    loop {
        let url = format!("{daemon}/v1/payments?limit=500{after}");
        let page = wire.value(&url)?;
        let payments = page.get("payments").and_then(Value::as_array);
        for payment in payments.ok_or_else(|| format!("{url} lists no payments: is this payonce?"))? {
            let id = field(payment, "id").unwrap_or_default();
            let url = format!("{daemon}/v1/payments/{}", encoded(id));
            let payment = wire.value(&url)?;
            let entered = enter(&payment, settlement);
            entered.ok_or_else(|| format!("{url}: this is no payment that this version can read"))?;
            read.one();
        }
        match field(&page, "next") {
            Some(next) => after = format!("&after={}", encoded(next)),
            None => break,
        }
    }
    read.clear();
    Ok(())
}

/// Enters the operations of a payment; `None`: something is missing in it.
fn enter(payment: &Value, settlement: &mut Settlement) -> Option<()> {
    let id = PaymentId::parse(field(payment, "id")?)?;
    let currency = Currency::new(field(payment, "currency")?).ok()?;
    let time = |name| field(payment, name).and_then(|text| instant(text).ok());
    let (created, updated) = (time("created_at")?, time("updated_at")?);
    let operations = payment.get("operations").and_then(Value::as_array)?;
    let intended = intended(payment, operations.len());
    for (place, operation) in operations.iter().enumerate() {
        let LineKind::Ours(kind) = LineKind::parse(field(operation, "kind")?) else { return None };
        let settled = time("settled_at").filter(|_| place == 0);
        let entry = Entry {
            payment: id,
            number: u32::try_from(operation.get("number")?.as_u64()?).ok()?,
            kind,
            operation_key: OperationKey::parse(field(operation, "key")?)?,
            amount: Amount::new(operation.get("amount")?.as_u64()?).ok()?,
            currency,
            belief: belief(State::parse(field(operation, "state")?)?),
            earliest: intended.as_ref().and_then(|times| times.get(place).copied()).unwrap_or(created),
            latest: settled.unwrap_or(updated),
        };
        settlement.enter(entry, field(operation, "gateway_reference"));
    }
    Some(())
}

/// When each operation was intended, by the timeline; `None` if that does not have them all.
fn intended(payment: &Value, operations: usize) -> Option<Vec<Timestamp>> {
    let moments = payment.get("timeline").and_then(Value::as_array)?;
    let intended = moments.iter().filter(|moment| field(moment, "event") == Some("intended"));
    let times: Vec<Timestamp> = intended.filter_map(|moment| instant(field(moment, "at")?).ok()).collect();
    (times.len() == operations).then_some(times)
}

fn belief(state: State) -> Belief {
    match state {
        State::Succeeded | State::Authorized => Belief::Moved,
        State::Declined | State::Canceled => Belief::DidNotMove,
        State::Processing | State::RequiresAction | State::InDoubt | State::Parked => Belief::MayHaveMoved,
    }
}

#[cfg(test)]
mod tests {
    use payonce::settle::{Line, What, Window};
    use serde_json::json;

    use super::*;

    const KEY: &str = "00000000-0000-8000-8000-000000000001";

    fn payment() -> Value {
        json!({
            "id": "c4d27dc8-fc8b-8dba-b307-ab7b907f7933", "currency": "USD", "created_at": "1970-01-01T00:00:01Z",
            "settled_at": "1970-01-01T00:00:02Z", "updated_at": "1970-01-01T00:00:09Z",
            "operations": [
                {"number": 0, "kind": "charge", "key": KEY, "amount": 1050, "state": "succeeded",
                 "gateway_reference": "sb_1"},
            ],
            "timeline": [{"at": "1970-01-01T00:00:01.5Z", "event": "intended"}],
        })
    }

    fn settlement() -> Settlement {
        let window = Window {
            from: None,
            to: Timestamp::from_millis(60_000),
            margin: std::time::Duration::ZERO,
            as_of: Timestamp::from_millis(60_000),
        };
        Settlement::new(window)
    }

    #[test]
    fn an_operation_moves_between_its_intent_and_the_end_that_was_told() {
        let mut settlement = settlement();
        enter(&payment(), &mut settlement).expect("a payment");
        let findings: Vec<_> = settlement.finish().collect();
        let [finding] = &findings[..] else { panic!("{findings:?}") };
        let ours = finding.ours.expect("an entry");
        assert_eq!(
            (finding.what, ours.belief, ours.operation_key.to_string().as_str()),
            (What::MissingThere, Belief::Moved, KEY)
        );
        assert_eq!((ours.earliest.as_millis(), ours.latest.as_millis()), (1500, 2000));
    }

    #[test]
    fn its_reference_is_known() {
        let mut settlement = settlement();
        enter(&payment(), &mut settlement).expect("a payment");
        let currency = Currency::new("USD").expect("a currency");
        let reference = Some("sb_1".to_owned());
        let line = Line { place: 1, operation_key: None, reference, kind: None, amount: 1050, currency, at: None };
        assert_eq!(settlement.compare(line).what, What::Matched);
    }

    #[test]
    fn what_is_missing_is_not_made_up() {
        for name in ["id", "currency", "created_at", "updated_at", "operations"] {
            let mut payment = payment();
            payment.as_object_mut().expect("an object").remove(name);
            assert_eq!(enter(&payment, &mut settlement()), None, "{name}");
        }
        for name in ["number", "kind", "key", "amount", "state"] {
            let mut payment = payment();
            payment["operations"][0].as_object_mut().expect("an object").remove(name);
            assert_eq!(enter(&payment, &mut settlement()), None, "{name}");
        }
    }
}
