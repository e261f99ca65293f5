//! What a caller asks for under one key, what it remembers of the answers, and that these never change.

use payonce::sim::Rng;
use serde_json::{Value, json};
use ureq::http::Method;

use super::{
    record::{Promise, Record},
    wire::{Reply, Wire, text},
};

/// What is asked for under one key: a payment, or a capture, void or refund of one.
#[derive(Clone, Debug)]
pub(super) struct Asked {
    pub(super) key: String,
    /// From the slash on.
    path: String,
    body: String,
    /// What the daemon said the first time that it had taken this on: when it made the payment, or which operation it is.
    acknowledged: Option<Value>,
    /// The payment's id, as soon as it is known.
    id: Option<String>,
}

/// A final answer that a caller was given.
#[derive(Clone, Debug)]
pub(super) struct Told {
    pub(super) asked: Asked,
    pub(super) answer: String,
    pub(super) id: String,
    /// The operation's number in its payment.
    pub(super) number: u64,
    pub(super) state: String,
}

impl Asked {
    /// A payment.
    pub(super) fn payment(key: String, body: String) -> Asked {
        Asked { key, path: "/v1/payments".to_owned(), body, acknowledged: None, id: None }
    }

    /// A capture, void or refund of a payment: of a part, or without an amount of all that is left.
    pub(super) fn follow_up(key: String, payment: &str, what: &str, amount: Option<u64>) -> Asked {
        let body = amount.map_or_else(|| json!({}), |amount| json!({ "amount": amount })).to_string();
        let (path, id) = (format!("/v1/payments/{payment}/{what}"), Some(payment.to_owned()));
        Asked { key, path, body, acknowledged: None, id }
    }

    /// Whether the daemon has said that it took this on.
    pub(super) fn is_acknowledged(&self) -> bool {
        self.acknowledged.is_some()
    }

    /// The id of the payment that it makes, once that is known; none of what goes on from one.
    pub(super) fn makes(&self) -> Option<&str> {
        self.id.as_deref().filter(|_| self.is_payment())
    }

    fn is_payment(&self) -> bool {
        self.path == "/v1/payments"
    }

    /// Takes note that the daemon has it. It must be the same that it had before.
    pub(super) fn acknowledge(&mut self, record: &Record, reply: &Reply) {
        let value = reply.value();
        let (identity, id) = if self.is_payment() { ("/created_at", "/id") } else { ("/number", "/payment") };
        let identity = value.pointer(identity).cloned().unwrap_or_default();
        self.id = Some(text(&value, id));
        if let Some(known) = self.acknowledged.replace(identity.clone())
            && known != identity
        {
            let what = format!("{}: acknowledged as {known}, and then made anew: {}", self.key, reply.body);
            record.broke(Promise::LostAnswer, what);
        }
    }

    /// Sends it once; `None`: nothing is known about what became of it. While nothing has been heard of it yet, it counts
    /// as in flight.
    pub(super) fn send(&self, record: &Record, wire: &Wire, prefer: &str) -> Option<Reply> {
        self.send_as(record, wire, self.body.clone(), prefer)
    }

    /// Sends the same with another amount; `None` also where it names none.
    pub(super) fn send_another_amount(&self, record: &Record, wire: &Wire) -> Option<Reply> {
        let body = self.body.replacen("\"amount\":", "\"amount\":7", 1);
        if body == self.body { None } else { self.send_as(record, wire, body, "wait=0") }
    }

    fn send_as(&self, record: &Record, wire: &Wire, body: String, prefer: &str) -> Option<Reply> {
        let url = format!("{}{}", record.daemon()?, self.path);
        let key = format!("\"{}\"", self.key);
        record.note(|seen| seen.asked += 1);
        let send = || wire.send(Method::POST, &url, &[("Idempotency-Key", &key), ("Prefer", prefer)], body);
        let reply = if self.is_acknowledged() { send() } else { record.in_flight(send) }.ok()?;
        let no_room = u64::from(reply.status == 503 && reply.text("/code") == "storage_full");
        record.note(|seen| {
            seen.answered += 1;
            seen.no_room += no_room;
        });
        Some(reply)
    }
}

impl Told {
    pub(super) fn new(asked: Asked, reply: &Reply) -> Told {
        let number = reply.value().pointer("/number").and_then(Value::as_u64).unwrap_or(0);
        let (id, state) = (asked.id.clone().unwrap_or_default(), reply.text("/state"));
        Told { asked, answer: reply.body.clone(), id, number, state }
    }

    /// Asks again: the answer must be the same bytes, and say that it is a replay. Returns whether it was answered.
    pub(super) fn check(&self, record: &Record, wire: &Wire) -> bool {
        let Some(reply) = self.asked.send(record, wire, "wait=0") else { return false };
        match reply.status {
            500 | 503 => return false,
            201 if reply.replayed && reply.body == self.answer => record.note(|seen| seen.replays += 1),
            201 if reply.replayed => {
                let what = format!("{}: told {}\nand later {}", self.asked.key, self.answer, reply.body);
                record.broke(Promise::ChangedAnswer, what);
            }
            status => {
                let what = format!("{}: told {}\nand later {status} {}", self.asked.key, self.answer, reply.body);
                record.broke(Promise::LostAnswer, what);
            }
        }
        true
    }

    /// What can be done next with this payment, and how much of it: often enough not what is left of it by then.
    pub(super) fn next(&self, dice: &mut Rng) -> Option<(&'static str, Option<u64>)> {
        if !self.asked.is_payment() {
            return None;
        }
        let what = match (self.state.as_str(), dice.below(8)) {
            ("authorized", 0..4) => "capture",
            ("authorized", 4) => "void",
            ("authorized" | "succeeded", _) => "refunds",
            (_, _) => return None,
        };
        let answer: Value = serde_json::from_str(&self.answer).unwrap_or_default();
        let amount = answer.pointer("/amount").and_then(Value::as_u64).unwrap_or(1);
        let part = (what != "void" && !dice.one_in(4)).then(|| dice.between(1, amount));
        Some((what, part))
    }
}
