//! The end of a run: what the daemon says, what callers were told, and what the gateways' ledgers say must agree.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;
use ureq::http::Method;

use super::{
    caller::Told,
    record::{Promise, Record},
    wire::{Wire, text},
};

/// Who compares, and with what.
pub(super) struct Audit<'a> {
    pub(super) record: &'a Record,
    pub(super) wire: Wire,
    /// Where the gateways are, each with a ledger of its own.
    pub(super) sandboxes: &'a [String],
    /// Whether the gateways deduplicate.
    pub(super) deduplicates: bool,
}

/// What moved, by operation: the amounts.
type Moved = BTreeMap<String, Vec<u64>>;

impl Audit<'_> {
    /// Turns every fault off.
    pub(super) fn calm(&self) -> Result<(), String> {
        let faults: BTreeMap<&str, f64> = super::troubles().map(|kind| (kind.as_str(), 0.0)).collect();
        let faults = serde_json::to_string(&faults).map_err(|error| error.to_string())?;
        for sandbox in self.sandboxes {
            let reply = self.wire.send(Method::PUT, &format!("{sandbox}/faults"), &[], faults.clone())?;
            if reply.status != 200 {
                return Err(format!("the sandbox would not be calmed: {}", reply.body));
            }
        }
        Ok(())
    }

    /// Compares everything. Errors are of the audit; what it finds is in the record.
    pub(super) fn run(&self, told: &[Told]) -> Result<(), String> {
        let Some(daemon) = self.record.daemon() else { return Ok(()) };
        let moved = self.moved()?;
        let mut known = BTreeSet::new();
        let mut states = BTreeMap::new();
        for id in self.payments(&daemon)? {
            let payment = self.wire.get(&format!("{daemon}/v1/payments/{id}"))?.value();
            self.check(&payment, &moved);
            known.insert(text(&payment, "/operations/0/key"));
            states.insert(id, text(&payment, "/state"));
        }
        for key in moved.keys().filter(|key| !known.contains(*key)) {
            self.record.broke(Promise::WrongMovement, format!("operation {key} moved money, and no payment knows it"));
        }
        self.compare(told, &states);
        Ok(())
    }

    /// Whether nothing is left to be found out, but what waits for another gateway.
    pub(super) fn is_quiet(&self) -> Result<bool, String> {
        let Some(daemon) = self.record.daemon() else { return Ok(true) };
        for state in ["in_doubt", "processing", "requires_action"] {
            let page = self.wire.get(&format!("{daemon}/v1/payments?limit=1&state={state}"))?.value();
            if page.pointer("/payments/0").is_some() {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Reads the ledgers.
    fn moved(&self) -> Result<Moved, String> {
        let mut moved = Moved::new();
        for sandbox in self.sandboxes {
            let summary = self.wire.get(&format!("{sandbox}/statement/summary"))?.value();
            let count = |name| summary.get(name).and_then(Value::as_u64).ok_or("the sandbox has no summary");
            let (operations, movements, twice) = (count("operations")?, count("movements")?, count("moved_twice")?);
            self.record.note(|seen| {
                seen.ledger.operations += operations;
                seen.ledger.movements += movements;
                seen.ledger.moved_twice += twice;
            });
            let mut after = 0;
            loop {
                let lines = self.wire.get(&format!("{sandbox}/statement?after={after}"))?.body;
                for line in lines.lines() {
                    let line: Value = serde_json::from_str(line).map_err(|error| error.to_string())?;
                    after = line.get("number").and_then(Value::as_u64).unwrap_or(after);
                    let amount = line.get("amount").and_then(Value::as_u64).unwrap_or(0);
                    moved.entry(text(&line, "/reference")).or_default().push(amount);
                }
                if lines.is_empty() {
                    break;
                }
            }
        }
        for (key, amounts) in moved.iter().filter(|(_, amounts)| amounts.len() > 1) {
            self.record.broke(Promise::MovedTwice, format!("operation {key} moved money more than once: {amounts:?}"));
        }
        Ok(moved)
    }

    /// The id of every payment that the daemon lists.
    fn payments(&self, daemon: &str) -> Result<Vec<String>, String> {
        let (mut ids, mut after) = (Vec::new(), String::new());
        loop {
            let page = self.wire.get(&format!("{daemon}/v1/payments?limit=500{after}"))?.value();
            let payments = page.get("payments").and_then(Value::as_array).ok_or("the daemon does not list payments")?;
            ids.extend(payments.iter().map(|payment| text(payment, "/id")));
            match page.get("next").and_then(Value::as_str) {
                Some(next) => after = format!("&after={next}"),
                None => return Ok(ids),
            }
        }
    }

    /// One payment against the ledger, and against the rules.
    fn check(&self, payment: &Value, moved: &Moved) {
        let (id, state) = (text(payment, "/id"), text(payment, "/state"));
        let amounts = moved.get(&text(payment, "/operations/0/key")).map_or(&[][..], Vec::as_slice);
        let amount = payment.get("amount").and_then(Value::as_u64).unwrap_or(0);
        let agrees = match state.as_str() {
            "succeeded" | "authorized" => amounts == [amount],
            "declined" | "canceled" => amounts.is_empty(),
            _ => amounts.is_empty() || amounts == [amount],
        };
        if !agrees {
            let what = format!("payment {id} of {amount} is {state}, but the ledger has {amounts:?}: {payment}");
            self.record.broke(Promise::WrongMovement, what);
        }
        self.count(payment, &state);
        if !self.deduplicates && sent_again(payment) {
            let what = format!("payment {id} was sent again after a byte of it may have left: {payment}");
            self.record.broke(Promise::SentAgain, what);
        }
    }

    fn count(&self, payment: &Value, state: &str) {
        let attempts = payment.pointer("/operations/0/attempts").and_then(Value::as_u64).unwrap_or(0);
        let reason = text(payment, "/outcome/code");
        self.record.note(|seen| {
            seen.payments += 1;
            seen.further_attempts += attempts.saturating_sub(1);
            match state {
                "succeeded" => seen.succeeded += 1,
                "authorized" => seen.authorized += 1,
                "declined" => seen.declined += 1,
                "canceled" => seen.canceled += 1,
                "parked" => {
                    seen.parked += 1;
                    *seen.parked_because.entry(reason.clone()).or_default() += 1;
                }
                _ => seen.in_doubt += 1,
            }
        });
        let may_rest = match state {
            "succeeded" | "authorized" | "declined" | "canceled" => true,
            // Where the gateway deduplicates, nothing has to be left to people.
            "parked" => !self.deduplicates && reason != "gateway_changed" && !reason.is_empty(),
            _ => false,
        };
        if !may_rest {
            let what = format!("with every fault off it is still {state} ({reason}): {payment}");
            self.record.broke(Promise::Unresolved, what);
        }
    }

    /// What callers were told, against what is said now.
    fn compare(&self, told: &[Told], states: &BTreeMap<String, String>) {
        for told in told {
            let state = told.state.clone();
            if states.get(&told.id) != Some(&state) {
                let what =
                    format!("{}: told {}\nbut listed as {:?}", told.asked.key, told.answer, states.get(&told.id));
                self.record.broke(Promise::LostAnswer, what);
            }
            if !told.check(self.record, &self.wire) {
                self.record.broke(Promise::LostAnswer, format!("{}: no answer in the end", told.asked.key));
            }
        }
    }
}

/// Whether an attempt was begun after one that may have acted.
fn sent_again(payment: &Value) -> bool {
    let moments = payment.get("timeline").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    let mut may_have_acted = false;
    for moment in moments.iter().map(|moment| text(moment, "/event")) {
        if may_have_acted && moment == "attempt_started" {
            return true;
        }
        let harmless = moment.starts_with("attempt_ended: not_sent") || moment.starts_with("attempt_ended: refused");
        may_have_acted |= moment.starts_with("attempt_ended") && !harmless;
    }
    false
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn with_moments(moments: &[&str]) -> Value {
        json!({"timeline": moments.iter().map(|event| json!({"event": event})).collect::<Vec<_>>()})
    }

    #[test]
    fn only_an_attempt_after_one_that_may_have_acted_is_sending_again() {
        for (ended, again) in
            [("not_sent (refused)", false), ("refused", false), ("unknown (reset)", true), ("pending", true)]
        {
            let ended = format!("attempt_ended: {ended}");
            let moments = ["accepted", "intended", "attempt_started", &ended, "attempt_started"];
            assert_eq!(sent_again(&with_moments(&moments)), again, "{ended}");
            assert!(!sent_again(&with_moments(&moments[..4])), "{ended}");
        }
    }
}
