//! The person who ends what nothing else can: a charge whose caller has voided it is never sent again, and that the
//! gateway does not know it is no proof that it will never arrive. A person can see that it has not.

use serde_json::{Value, json};
use ureq::http::Method;

use super::{
    record::{Promise, Record},
    wire::{Wire, text},
};

/// The person, and where to look.
pub(super) struct Person<'a> {
    pub(super) record: &'a Record,
    pub(super) wire: Wire,
    pub(super) sandboxes: &'a [String],
}

impl Person<'_> {
    /// Ends every such charge that no gateway has. Called when the gateways have been calm for longer than they take.
    pub(super) fn look(&self) -> Result<(), String> {
        let Some(daemon) = self.record.daemon() else { return Ok(()) };
        for state in ["in_doubt", "parked"] {
            let page = self.wire.get(&format!("{daemon}/v1/payments?limit=500&state={state}"))?.value();
            for payment in page.get("payments").and_then(Value::as_array).into_iter().flatten() {
                let url = format!("{daemon}/v1/payments/{}", text(payment, "/id"));
                let payment = self.wire.get(&url)?.value();
                if is_left_to_people(&payment) && self.has_not_arrived(&text(&payment, "/operations/0/key"))? {
                    self.decline(&url)?;
                }
            }
        }
        Ok(())
    }

    fn has_not_arrived(&self, key: &str) -> Result<bool, String> {
        for sandbox in self.sandboxes {
            if self.wire.get(&format!("{sandbox}/operations/{key}"))?.status != 404 {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn decline(&self, url: &str) -> Result<(), String> {
        let decision = json!({"actor": "torture", "reason": "no gateway has it", "as": "declined", "operation": 0});
        let reply = self.wire.send(Method::POST, &format!("{url}/resolve"), &[], decision.to_string())?;
        match reply.status {
            200 => self.record.note(|seen| seen.decided += 1),
            // It has settled meanwhile, or the process is stopping.
            409 | 500 | 503 => {}
            status => {
                let what = format!("a person was not heard about {url}: {status} {}", reply.body);
                self.record.broke(Promise::WrongRefusal, what);
            }
        }
        Ok(())
    }
}

/// Whether a void waits for what becomes of a charge of which only the gateway knows.
fn is_left_to_people(payment: &Value) -> bool {
    let operations = payment.get("operations").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    let is = |one: &Value, kind: &str, states: &[&str]| {
        text(one, "/kind") == kind && states.contains(&text(one, "/state").as_str())
    };
    let open = ["in_doubt", "parked"];
    let doubted = |first: &Value| is(first, "charge", &open) || is(first, "authorize", &open);
    operations.first().is_some_and(doubted) && operations.iter().any(|one| is(one, "void", &["processing"]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_person_decides_only_where_a_void_waits() {
        for (first, kind, state, theirs) in [
            ("in_doubt", "void", "processing", true),
            ("parked", "void", "processing", true),
            ("processing", "void", "processing", false),
            ("in_doubt", "void", "in_doubt", false),
            ("succeeded", "refund", "in_doubt", false),
        ] {
            let operations = json!([{"kind": "charge", "state": first}, {"kind": kind, "state": state}]);
            assert_eq!(is_left_to_people(&json!({"operations": operations})), theirs, "{first} {kind} {state}");
        }
        assert!(!is_left_to_people(&json!({"operations": [{"kind": "charge", "state": "in_doubt"}]})));
    }
}
