//! What really moved, by the books of all gateways together.

use std::collections::BTreeMap;

use serde_json::Value;

use super::{
    gateway::{ELSEWHERE, TWO},
    wire::text,
};

/// What moved, by operation: the amounts, at whichever gateway.
pub(super) type Moved = BTreeMap<String, Vec<u64>>;

/// The ledgers of all gateways.
#[derive(Default)]
pub(super) struct Ledgers {
    pub(super) moved: Moved,
    /// Where each operation moved it.
    at: BTreeMap<String, String>,
    /// What was captured there, less what went back.
    pub(super) kept: i128,
}

impl Ledgers {
    /// Takes in a line of one's statement.
    pub(super) fn add(&mut self, line: &Value, sandbox: &str) {
        let (key, amount) = (text(line, "/reference"), line.get("amount").and_then(Value::as_u64).unwrap_or(0));
        self.kept += match text(line, "/kind").as_str() {
            "charge" | "capture" => i128::from(amount),
            "refund" => -i128::from(amount),
            _ => 0,
        };
        self.at.insert(key.clone(), sandbox.to_owned());
        self.moved.entry(key).or_default().push(amount);
    }

    /// What a payment moved at another gateway than it says, or than it was to go to.
    pub(super) fn elsewhere<'a>(
        &self,
        payment: &Value,
        mut keys: impl Iterator<Item = &'a str>,
        sandboxes: &[String],
    ) -> Option<String> {
        let (says, named) = (text(payment, "/gateway"), text(payment, "/description"));
        // An account that was given a name says nothing of where it is.
        let says = says.split(',').next().filter(|says| sandboxes.iter().any(|sandbox| sandbox == says));
        let named = if text(payment, "/currency") == ELSEWHERE { TWO.last().copied() } else { Some(named.as_str()) };
        let place = TWO.iter().position(|name| Some(*name) == named);
        let meant = place.and_then(|place| sandboxes.get(place)).map(String::as_str);
        let is_elsewhere = |at: &&String| [says, meant].into_iter().flatten().any(|wanted| wanted != *at);
        let found = keys.find_map(|key| self.at.get(key).filter(is_elsewhere))?;
        Some(format!("it moved money at {found}, says {says:?}, and was meant for {meant:?}"))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_moved_at_another_gateway_than_the_payments_own_or_the_wanted_one_is_named() {
        let sandboxes = ["http://h:1", "http://h:2"].map(str::to_owned);
        for (says, currency, wanted, at, named) in [
            ("http://h:1", "USD", None, "http://h:1", false),
            ("http://h:2", "USD", None, "http://h:2", false),
            ("http, account another", "USD", None, "http://h:2", false),
            ("http://h:1", "USD", None, "http://h:2", true),
            ("http://h:2", "USD", Some(TWO[1]), "http://h:2", false),
            ("http://h:1", "USD", Some(TWO[1]), "http://h:1", true),
            ("http://h:2", ELSEWHERE, None, "http://h:2", false),
            ("http://h:1", ELSEWHERE, None, "http://h:1", true),
        ] {
            let mut ledgers = Ledgers::default();
            ledgers.add(&json!({"reference": "k", "kind": "charge", "amount": 7}), at);
            let payment = json!({"gateway": says, "currency": currency, "description": wanted});
            let found = ledgers.elsewhere(&payment, ["k"].into_iter(), &sandboxes);
            assert_eq!((found.is_some(), ledgers.kept), (named, 7), "{payment}");
        }
    }
}
