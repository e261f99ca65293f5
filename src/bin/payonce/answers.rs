//! The three questions of a night, answered in sentences: was this customer charged, how do we know, what happens next. As
//! the dashboard answers them.

use serde_json::Value;

use crate::client::field;

/// A payment as it is shown, and its outlook.
pub(crate) struct Case<'a> {
    payment: &'a Value,
    outlook: &'a Value,
}

impl<'a> Case<'a> {
    pub(crate) const fn new(payment: &'a Value, outlook: &'a Value) -> Case<'a> {
        Case { payment, outlook }
    }

    /// Each question, and its answer.
    pub(crate) fn answers(&self) -> [(&'static str, String); 3] {
        [("charged?", self.charged()), ("how known?", self.known()), ("what next?", self.ahead())]
    }

    fn charged(&self) -> String {
        let (captured, refunded) = (self.number("captured"), self.number("refunded"));
        let currency = field(self.payment, "currency").unwrap_or_default();
        let doubt = self.is_open("parked") || self.is_open("in_doubt");
        let state = field(self.payment, "state").unwrap_or_default();
        let said = match state {
            _ if captured > 0 => {
                let back = match refunded {
                    0 => String::new(),
                    back => format!(", and {back} {currency} went back"),
                };
                let unsure = if doubt { " A later operation on it is not certain yet." } else { "" };
                format!("Yes: {captured} {currency} in minor units{back}.{unsure}")
            }
            _ if doubt => {
                "Not known yet. It may or may not have happened: do not charge by other means, and do not tell \
                           the customer yet that it worked, or that it did not."
                    .to_owned()
            }
            "authorized" => "No, but the amount is set aside: it moves when it is captured.".to_owned(),
            "declined" => "No: the gateway decided against it.".to_owned(),
            "canceled" => "No: nothing was done, and nothing will be.".to_owned(),
            "requires_action" => "No, not yet: the payer has to act first.".to_owned(),
            "succeeded" => "No, as the gateway says by now: its caller was told that it succeeded.".to_owned(),
            _ if self.is_untouched() => "No, not yet: nothing that was sent so far had any effect.".to_owned(),
            _ => "Not known yet: it is at the gateway right now.".to_owned(),
        };
        match self.outlook.get("contradicted").and_then(Value::as_bool) {
            Some(true) => format!("{said} News contradicts what the caller was told: see the timeline."),
            Some(false) | None => said,
        }
    }

    fn known(&self) -> String {
        let Some(proof) = self.proof() else {
            return "From our own journal: nothing has come back from the gateway yet.".to_owned();
        };
        let (event, at) = (field(proof, "event").unwrap_or_default(), field(proof, "at").unwrap_or_default());
        let evidence = field(proof, "evidence").unwrap_or_default();
        let reference = field(self.payment, "gateway_reference");
        let name = reference.map(|name| format!(" The gateway's own name for it is {name}.")).unwrap_or_default();
        let said = match evidence.strip_prefix("person ") {
            Some(person) => format!("A person decided, {person}"),
            None => format!("By {}", source(evidence, event)),
        };
        let open = self.number("captured") == 0 && (self.is_open("parked") || self.is_open("in_doubt"));
        match open {
            true => format!("There is no proof yet. The last that came, at {at}: {event}.{name}"),
            false => format!("{said} ({event}, at {at}).{name}"),
        }
    }

    fn ahead(&self) -> String {
        let todo: Vec<&Value> = self.next().filter(|one| field(one, "next") != Some("nothing")).collect();
        let Some(first) = todo.first() else {
            return "Nothing: it is final, and whoever repeats its key gets the same answer.".to_owned();
        };
        let at = field(first, "at").map(|at| format!(" from {at} on")).unwrap_or_default();
        let what = match field(first, "next").unwrap_or_default() {
            "send" => "It is sent",
            "ask" => "The gateway is asked",
            "await_gateway" => "The gateway's answer is awaited",
            _ => "The gateway's news, or a person's word, is awaited",
        };
        let why = field(first, "why").unwrap_or_default();
        let more = match todo.len().saturating_sub(1) {
            0 => String::new(),
            more => format!(" {more} more operations wait too."),
        };
        match self.is_open("parked") {
            true => format!("A person has to decide: {why}. See `payonce resolve --help`.{more}"),
            false => format!("{what}{at}: {why}.{more}"),
        }
    }

    /// What money moved by is proven by the charge or the capture; else the last that came counts.
    fn proof(&self) -> Option<&'a Value> {
        let moves = |moment: &Value| {
            let place = moment.get("operation").and_then(Value::as_u64);
            let of = |one: &&Value| one.get("number").and_then(Value::as_u64) == place;
            let kind = self.operations().find(of).and_then(|operation| field(operation, "kind"));
            matches!(kind, Some("charge" | "capture"))
                && field(moment, "event").is_some_and(|event| event.contains(": succeeded"))
        };
        let proofs = || list(self.outlook, "timeline").filter(|moment| field(moment, "evidence").is_some());
        let moved = proofs().filter(|moment| moves(moment)).last();
        moved.filter(|_| self.number("captured") > 0).or_else(|| proofs().last())
    }

    /// Whether nothing that was sent had any effect.
    fn is_untouched(&self) -> bool {
        let attempts = self.operations().next().and_then(|first| first.get("attempts")).and_then(Value::as_u64);
        attempts == Some(0) || self.next().next().and_then(|first| field(first, "next")) == Some("send")
    }

    fn is_open(&self, state: &str) -> bool {
        self.operations().any(|operation| field(operation, "state") == Some(state))
    }

    fn operations(&self) -> impl Iterator<Item = &'a Value> {
        list(self.payment, "operations")
    }

    fn next(&self) -> impl Iterator<Item = &'a Value> {
        list(self.outlook, "operations")
    }

    fn number(&self, name: &str) -> u64 {
        self.payment.get(name).and_then(Value::as_u64).unwrap_or_default()
    }
}

fn list<'a>(body: &'a Value, name: &str) -> impl Iterator<Item = &'a Value> {
    body.get(name).and_then(Value::as_array).into_iter().flatten()
}

fn source<'a>(evidence: &'a str, event: &str) -> &'a str {
    match evidence {
        "reply" if event.contains(": unknown") || event.contains(": not_found") => "what came in place of a reply",
        "reply" => "the gateway's own reply",
        "inquiry" => "the gateway's answer when it was asked",
        "webhook" => "the gateway, which said so by itself",
        "no_byte_left" => "our own socket: not one byte of the request left",
        "stopped" => "nothing: the process stopped with the sending under way",
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// `story`: the payment's state, what was captured, its operation's state, what is next, the last event, its evidence.
    fn answers(story: &str) -> String {
        let [state, captured, first, next, event, evidence] =
            story.split('|').collect::<Vec<_>>().try_into().expect("six parts");
        let captured: u64 = captured.parse().expect("a number");
        let payment = json!({
            "state": state, "captured": captured, "refunded": captured / 2, "currency": "USD",
            "gateway_reference": "ch_1", "operations": [{ "number": 0, "kind": "charge", "state": first, "attempts": 1 }],
        });
        let evidence = Some(evidence).filter(|evidence| !evidence.is_empty());
        let outlook = json!({
            "contradicted": event.starts_with("contradicted"),
            "operations": [{ "number": 0, "next": next, "at": null, "why": "so it is" }],
            "timeline": [{ "at": "then", "operation": 0, "event": event, "evidence": evidence }],
        });
        Case::new(&payment, &outlook).answers().map(|(_, answer)| answer).join("|")
    }

    #[test]
    fn each_question_is_answered_wherever_a_payment_stands() {
        for (story, wanted) in [
            (
                "succeeded|8|succeeded|nothing|attempt_ended: succeeded|reply",
                "Yes: 8 USD in minor units, and 4 USD went back.|By the gateway's own reply|Nothing: it is final",
            ),
            (
                "succeeded|8|succeeded|nothing|learned: succeeded|person ann: seen",
                "Yes: |A person decided, ann: seen|Nothing: it is final",
            ),
            (
                "in_doubt|0|in_doubt|ask|attempt_ended: unknown|reply",
                "Not known yet. It may or may not|There is no proof yet. The last that came|The gateway is asked: so",
            ),
            (
                "parked|0|parked|ask|attempt_ended: unknown|reply",
                "Not known yet. It may or may not|There is no proof yet|A person has to decide: so it is.",
            ),
            (
                "processing|0|processing|send|attempt_ended: not_sent|no_byte_left",
                "No, not yet: nothing that was sent|By our own socket|It is sent: so it is.",
            ),
            (
                "processing|0|processing|await_gateway|intended|",
                "Not known yet: it is at the gateway|From our own journal|The gateway's answer is awaited",
            ),
            (
                "authorized|0|authorized|nothing|attempt_ended: succeeded|reply",
                "No, but the amount is set aside|By the gateway's own reply|Nothing",
            ),
            (
                "declined|0|declined|nothing|attempt_ended: declined|reply",
                "No: the gateway decided against it.|By the gateway's own reply|Nothing",
            ),
            (
                "succeeded|0|succeeded|nothing|contradicted: declined|inquiry",
                "No, as the gateway says by now|By the gateway's answer when it was asked|Nothing",
            ),
        ] {
            let told = answers(story);
            assert!(told.split('|').zip(wanted.split('|')).all(|(told, wanted)| told.starts_with(wanted)), "{told}");
            assert_eq!(told.contains("News contradicts"), story.contains("contradicted"), "{told}");
        }
    }
}
