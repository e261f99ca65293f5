//! The end of a run: what the daemon says, what callers were told, and what the gateways' ledgers say must agree.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;
use ureq::http::Method;

use super::{
    asked::Told,
    ledgers::{Ledgers, Moved},
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
        let ledgers = self.ledgers()?;
        let mut kept = 0;
        let mut known = BTreeSet::new();
        let mut states = BTreeMap::new();
        for id in self.payments(&daemon)? {
            let payment = self.wire.get(&format!("{daemon}/v1/payments/{id}"))?.value();
            self.check(&payment, &ledgers);
            kept += number(&payment, "captured") - number(&payment, "refunded");
            for operation in Line::all(&payment) {
                states.insert((id.clone(), operation.number), operation.state);
                known.insert(operation.key);
            }
        }
        // What is parked may have moved, or not.
        if self.deduplicates && kept != ledgers.kept {
            let what = format!("payments have captured {kept} more than refunded, and all ledgers {}", ledgers.kept);
            self.record.broke(Promise::WrongMovement, what);
        }
        for key in ledgers.moved.keys().filter(|key| !known.contains(*key)) {
            self.record.broke(Promise::WrongMovement, format!("operation {key} moved money, and no payment knows it"));
        }
        self.compare(told, &states);
        self.sandboxes.iter().try_for_each(|sandbox| count_news(self.record, &self.wire, sandbox))
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
    fn ledgers(&self) -> Result<Ledgers, String> {
        let mut all = Ledgers::default();
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
                    all.add(&line, sandbox);
                }
                if lines.is_empty() {
                    break;
                }
            }
        }
        for (key, amounts) in all.moved.iter().filter(|(_, amounts)| amounts.len() > 1) {
            self.record.broke(Promise::MovedTwice, format!("operation {key} moved money more than once: {amounts:?}"));
        }
        Ok(all)
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

    /// One payment against the ledgers, and against the rules.
    fn check(&self, payment: &Value, ledgers: &Ledgers) {
        let operations = Line::all(payment);
        let keys = operations.iter().map(|one| one.key.as_str());
        let elsewhere = ledgers.elsewhere(payment, keys, self.sandboxes);
        for what in disagreements(payment, &operations, &ledgers.moved).into_iter().chain(elsewhere) {
            self.record.broke(Promise::WrongMovement, format!("{what}: {payment}"));
        }
        for operation in operations.iter().skip(1) {
            self.count_operation(payment, operation);
        }
        self.count(payment, operations.first().map_or("", |first| first.state.as_str()));
        if !self.deduplicates && sent_again(payment) {
            let what =
                format!("payment {} was sent again after a byte of it may have left: {payment}", text(payment, "/id"));
            self.record.broke(Promise::SentAgain, what);
        }
        if let Some(code) = asked_too_much(payment) {
            let what = format!("the gateway had to say {code}, which payonce should have known: {payment}");
            self.record.broke(Promise::AskedTooMuch, what);
        }
    }

    fn count_operation(&self, payment: &Value, operation: &Line) {
        let done = u64::from(operation.state == "succeeded");
        self.record.note(|seen| {
            seen.operations += 1;
            match operation.kind.as_str() {
                "capture" => seen.captures += done,
                "void" => seen.voids += done,
                _ => seen.refunds += done,
            }
        });
        let may_rest = operation.is_final() || (operation.state == "parked" && !self.deduplicates);
        if !may_rest {
            let what = format!("with every fault off a {} is still {}: {payment}", operation.kind, operation.state);
            self.record.broke(Promise::Unresolved, what);
        }
    }

    fn count(&self, payment: &Value, state: &str) {
        let attempts = payment.pointer("/operations/0/attempts").and_then(Value::as_u64).unwrap_or(0);
        let reason = text(payment, "/outcome/code");
        let rerouted = u64::from(moments(payment).iter().any(|moment| moment.starts_with("rerouted")));
        self.record.note(|seen| {
            seen.payments += 1;
            seen.rerouted += rerouted;
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
    fn compare(&self, told: &[Told], states: &BTreeMap<(String, u64), String>) {
        for told in told {
            let listed = states.get(&(told.id.clone(), told.number));
            if listed != Some(&told.state) {
                let what = format!("{}: told {}\nbut listed as {listed:?}", told.asked.key, told.answer);
                self.record.broke(Promise::LostAnswer, what);
            }
            if !told.check(self.record, &self.wire) {
                self.record.broke(Promise::LostAnswer, format!("{}: no answer in the end", told.asked.key));
            }
        }
    }
}

/// What came of what a gateway has said by itself, if it does.
pub(super) fn count_news(record: &Record, wire: &Wire, sandbox: &str) -> Result<(), String> {
    let news = wire.get(&format!("{sandbox}/news"))?.value();
    let [taken, refused, forged] =
        ["taken", "forged_refused", "forged_taken"].map(|name| news.get(name).and_then(Value::as_u64).unwrap_or(0));
    record.note(|seen| {
        seen.news += taken;
        seen.forged_refused += refused;
    });
    if forged > 0 {
        record.broke(Promise::HeardForgery, format!("{forged} times what was not signed by the gateway was taken"));
    }
    Ok(())
}

/// A number of a payment; 0 if it is not there.
fn number(payment: &Value, name: &str) -> i128 {
    payment.get(name).and_then(Value::as_u64).map_or(0, i128::from)
}

/// What happened to a payment, in words.
fn moments(payment: &Value) -> Vec<String> {
    let timeline = payment.get("timeline").and_then(Value::as_array);
    timeline.into_iter().flatten().map(|moment| text(moment, "/event")).collect()
}

/// One operation, as a payment lists it.
#[derive(Clone, Debug)]
struct Line {
    number: u64,
    kind: String,
    key: String,
    amount: u64,
    state: String,
    attempts: u64,
}

impl Line {
    fn all(payment: &Value) -> Vec<Line> {
        let operations = payment.get("operations").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
        let number = |one: &Value, name| one.get(name).and_then(Value::as_u64).unwrap_or(0);
        let line = |one| Line {
            number: number(one, "number"),
            kind: text(one, "/kind"),
            key: text(one, "/key"),
            amount: number(one, "amount"),
            state: text(one, "/state"),
            attempts: number(one, "attempts"),
        };
        operations.iter().map(line).collect()
    }

    fn is_final(&self) -> bool {
        ["succeeded", "authorized", "declined", "canceled"].contains(&self.state.as_str())
    }
}

/// Where a payment and the ledger differ: operation by operation, and in sum.
fn disagreements(payment: &Value, operations: &[Line], moved: &Moved) -> Vec<String> {
    let amounts = |key: &str| moved.get(key).map_or(&[][..], Vec::as_slice);
    let mut found = Vec::new();
    for one in operations {
        let (amounts, whole) = (amounts(&one.key), &[one.amount][..]);
        // What had not been set aside, its void does not have to move.
        let held = operations.first().is_some_and(|first| first.state == "authorized");
        let agrees = match one.state.as_str() {
            "succeeded" if one.kind == "void" && !held => amounts.is_empty(),
            "succeeded" | "authorized" => amounts == whole,
            "declined" | "canceled" => amounts.is_empty(),
            _ => amounts.is_empty() || amounts == whole,
        };
        if !agrees {
            let (number, kind, amount, state) = (one.number, &one.kind, one.amount, &one.state);
            found.push(format!("operation {number}, a {kind} of {amount}, is {state}, but the ledger has {amounts:?}"));
        }
    }
    let sum = |kinds: &[&str], of: &dyn Fn(&Line) -> u64| -> u64 {
        operations.iter().filter(|one| kinds.contains(&one.kind.as_str())).map(of).sum()
    };
    let did = |one: &Line| if one.state == "succeeded" { one.amount } else { 0 };
    let really = |one: &Line| amounts(&one.key).iter().sum();
    let [captured, refunded] =
        [&["charge", "capture"][..], &["refund"]].map(|kinds| (sum(kinds, &did), sum(kinds, &really)));
    let [amount, says_captured, says_refunded] =
        ["amount", "captured", "refunded"].map(|name| payment.get(name).and_then(Value::as_u64).unwrap_or(0));
    if (says_captured, says_refunded) != (captured.0, refunded.0) {
        found.push(format!("it says captured {says_captured} and refunded {says_refunded}, and its operations do not"));
    }
    if captured.1 > amount || refunded.1 > captured.1 {
        found.push(format!("of {amount}, {} moved there and {} back", captured.1, refunded.1));
    }
    if captured.1 > 0 && sum(&["void"], &really) > 0 {
        found.push("what was captured was also let go of".to_owned());
    }
    found
}

/// What a gateway says of an operation for which the payment has nothing left. It must not have to.
fn asked_too_much(payment: &Value) -> Option<&'static str> {
    let moments = moments(payment);
    let said = |code: &&str| moments.iter().any(|moment| moment.ends_with(&format!("({code})")));
    ["amount_too_large", "unknown_charge", "invalid_charge"].into_iter().find(said)
}

/// Whether an attempt was begun after one that may have acted. The timeline does not say of which operation; so with
/// several, whether there are more further attempts than ones that ended without an effect. Where moments were left out
/// of it, that cannot be told.
fn sent_again(payment: &Value) -> bool {
    let moments = moments(payment);
    let is_harmless =
        |moment: &str| moment.starts_with("attempt_ended: not_sent") || moment.starts_with("attempt_ended: refused");
    let operations = Line::all(payment);
    if operations.len() > 1 {
        let harmless = moments.iter().filter(|moment| is_harmless(moment)).count();
        let further: u64 = operations.iter().map(|one| one.attempts.saturating_sub(1)).sum();
        let whole = !moments.iter().any(|moment| moment.starts_with("left_out"));
        return whole && further > u64::try_from(harmless).unwrap_or(u64::MAX);
    }
    let mut may_have_acted = false;
    for moment in moments {
        if may_have_acted && moment == "attempt_started" {
            return true;
        }
        may_have_acted |= moment.starts_with("attempt_ended") && !is_harmless(&moment);
    }
    false
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// A payment of 100 with these operations after its first: kind, amount, state, and what moved under its key.
    fn found(operations: &[(&str, u64, &str, &[u64])], captured: u64, refunded: u64) -> usize {
        let listed: Vec<Value> = (0..).zip(operations).map(|(number, (kind, amount, state, _))| {
            json!({"number": number, "kind": kind, "key": number.to_string(), "amount": amount, "state": state})
        }).collect();
        let payment = json!({"amount": 100, "captured": captured, "refunded": refunded, "operations": listed});
        let moved = (0..).zip(operations).filter(|(_, one)| !one.3.is_empty());
        let moved = moved.map(|(number, one): (usize, _)| (number.to_string(), one.3.to_vec())).collect();
        disagreements(&payment, &Line::all(&payment), &moved).len()
    }

    #[test]
    fn a_payment_that_agrees_with_the_ledger_is_not_named() {
        let held = ("authorize", 100, "authorized", &[100][..]);
        assert_eq!(found(&[("charge", 100, "succeeded", &[100]), ("refund", 60, "succeeded", &[60])], 100, 60), 0);
        assert_eq!(found(&[held, ("capture", 60, "succeeded", &[60]), ("refund", 60, "declined", &[])], 60, 0), 0);
        assert_eq!(found(&[held, ("void", 100, "succeeded", &[100]), ("capture", 9, "declined", &[])], 0, 0), 0);
        assert_eq!(found(&[("charge", 100, "canceled", &[]), ("void", 100, "succeeded", &[])], 0, 0), 0);
        for moved in [&[][..], &[60]] {
            assert_eq!(found(&[held, ("capture", 60, "parked", moved)], 0, 0), 0, "it may have happened");
        }
    }

    #[test]
    fn every_way_in_which_a_payment_and_the_ledger_can_differ_is_named() {
        let paid = ("charge", 100, "succeeded", &[100][..]);
        let held = ("authorize", 100, "authorized", &[100][..]);
        for (operations, captured, refunded) in [
            (vec![paid, ("refund", 60, "succeeded", &[][..])], 100, 60),
            (vec![paid, ("refund", 60, "succeeded", &[60, 60])], 100, 60),
            (vec![paid, ("refund", 60, "succeeded", &[61])], 100, 60),
            (vec![paid, ("refund", 60, "declined", &[60])], 100, 0),
            (vec![paid, ("refund", 60, "succeeded", &[60])], 100, 0),
            (vec![paid, ("refund", 60, "succeeded", &[60]), ("refund", 60, "succeeded", &[60])], 100, 120),
            (vec![held, ("capture", 60, "succeeded", &[60]), ("capture", 60, "succeeded", &[60])], 120, 0),
            (vec![held, ("capture", 60, "succeeded", &[60])], 100, 0),
            (vec![held, ("capture", 60, "succeeded", &[60]), ("void", 100, "succeeded", &[100])], 60, 0),
            (vec![held, ("void", 100, "succeeded", &[])], 0, 0),
            (vec![("charge", 100, "declined", &[]), ("void", 100, "succeeded", &[100])], 0, 0),
        ] {
            assert!(found(&operations, captured, refunded) > 0, "{operations:?}");
        }
    }

    #[test]
    fn what_a_gateway_had_to_refuse_for_want_of_money_is_seen() {
        for (event, seen) in [
            ("attempt_ended: declined (amount_too_large)", Some("amount_too_large")),
            ("learned: declined (amount_too_large)", Some("amount_too_large")),
            ("attempt_ended: refused (unknown_charge)", Some("unknown_charge")),
            ("attempt_ended: declined (card_declined)", None),
        ] {
            assert_eq!(asked_too_much(&with_moments(&["accepted", event])), seen);
        }
    }

    #[test]
    fn with_several_operations_more_further_attempts_than_harmless_ends_are_sending_again() {
        for (attempts, ended, again) in
            [(1, "unknown (reset)", false), (2, "not_sent", false), (2, "unknown (reset)", true)]
        {
            let ended = format!("attempt_ended: {ended}");
            let with = |first: &str| {
                let timeline = json!([{"event": first}, {"event": ended}]);
                json!({"operations": [{"attempts": 1}, {"attempts": attempts}], "timeline": timeline})
            };
            assert_eq!(sent_again(&with("attempt_ended: succeeded")), again, "{ended}");
            assert!(!sent_again(&with("left_out: 2")));
        }
    }

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
