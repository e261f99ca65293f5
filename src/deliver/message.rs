//! From an event to a letter: its id, its kind and its body.
//!
//! The id is made of what happened, not of where it is recorded: after a kill the last events are recorded again, under
//! new places, and a receiver must know them for the same.

use serde::Serialize;
use sha2::{Digest, Sha256};

use super::{kind::Kind, plan::Letter};
use crate::{
    payment::{Event, Evidence, Fact, PaymentId, Reply},
    runtime::Lsn,
    told::{EventBody, Rfc3339, Text},
};

/// What ids are derived from besides, so that they are nothing else's.
const DOMAIN: &[u8] = b"payonce webhook 1";

/// Writes an event out.
pub(super) fn letter(lsn: Lsn, event: &Event) -> Letter {
    let kind = Kind::of(&event.fact);
    Letter { lsn, payment: event.payment, id: id(event), kind: kind.to_string(), body: body(lsn, event, kind) }
}

/// The same for the same event wherever it is recorded; another for any other.
fn id(event: &Event) -> String {
    let mut hash = Sha256::new();
    let mut add = |part: &[u8]| {
        hash.update(u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes());
        hash.update(part);
    };
    add(DOMAIN);
    add(event.payment.as_bytes());
    add(&event.at.as_millis().to_be_bytes());
    add(event.fact.name().as_bytes());
    let Details { attempt, outcome, reply, evidence } = Details::of(&event.fact);
    add(&event.fact.operation().map_or(u32::MAX, |operation| operation.number).to_be_bytes());
    add(&attempt.to_be_bytes());
    add(outcome.as_bytes());
    let reply = reply.map(|reply| (reply.code(), reply.message(), reply.reference().unwrap_or_default()));
    let (code, message, reference) = reply.unwrap_or_default();
    [code, message, reference].into_iter().for_each(|text| add(text.as_bytes()));
    add(evidence.map(Evidence::to_string).unwrap_or_default().as_bytes());
    if let Fact::Rerouted { gateway, .. } = &event.fact {
        add(gateway.to_string().as_bytes()); // It may go on twice within a millisecond.
    }
    let mut id = "evt_".to_owned();
    for byte in hash.finalize().iter().take(16) {
        id.push_str(&format!("{byte:02x}"));
    }
    id
}

/// What tells one fact about an operation from another of its name.
#[derive(Default)]
struct Details<'a> {
    attempt: u32,
    outcome: &'static str,
    reply: Option<&'a Reply>,
    evidence: Option<&'a Evidence>,
}

impl<'a> Details<'a> {
    fn of(fact: &'a Fact) -> Details<'a> {
        match fact {
            Fact::Accepted { .. }
            | Fact::Intended { .. }
            | Fact::Rerouted { .. }
            | Fact::Prepared { .. }
            | Fact::Unparked { .. }
            | Fact::WindowClosed { .. } => Details::default(),
            Fact::AttemptStarted { attempt, .. } => Details { attempt: *attempt, ..Details::default() },
            Fact::AttemptEnded { attempt, outcome, evidence, .. } => {
                Details { attempt: *attempt, outcome: outcome.name(), reply: outcome.reply(), evidence: Some(evidence) }
            }
            Fact::Learned { outcome, evidence, .. } | Fact::Contradicted { outcome, evidence, .. } => Details {
                outcome: outcome.name(),
                reply: outcome.reply(),
                evidence: Some(evidence),
                ..Details::default()
            },
            Fact::Parked { reason, reply, .. } => {
                Details { outcome: reason.as_str(), reply: Some(reply), ..Details::default() }
            }
            Fact::Canceled { reply, .. } => Details { reply: Some(reply), ..Details::default() },
        }
    }
}

fn body(lsn: Lsn, event: &Event, kind: Kind) -> String {
    let data = Data { lsn: lsn.get(), payment: Text(event.payment), event: event.into() };
    // Writing strings and numbers to memory cannot fail.
    serde_json::to_string(&Body { kind: Text(kind), timestamp: Rfc3339(event.at), data }).unwrap_or_default()
}

#[derive(Serialize)]
struct Body {
    #[serde(rename = "type")]
    kind: Text<Kind>,
    timestamp: Rfc3339,
    data: Data,
}

#[derive(Serialize)]
struct Data {
    lsn: u64,
    payment: Text<PaymentId>,
    event: EventBody,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::payment::{Amount, Kind as Operation, OperationRef, Outcome, Timestamp};

    fn ended(at: u64, attempt: u32, message: &str) -> Event {
        let operation =
            OperationRef { number: 0, kind: Operation::Charge, amount: Amount::new(1050).expect("positive") };
        let outcome = Outcome::Succeeded(Reply::new("ok", message));
        let fact = Fact::AttemptEnded { operation, attempt, outcome, evidence: Evidence::Reply };
        Event { payment: PaymentId::from_bytes([7; 16]), at: Timestamp::from_millis(at), fact }
    }

    #[test]
    fn a_letter_is_written_byte_for_byte_as_documented() {
        let letter = letter(Lsn::new(41), &ended(1_795_493_106_789, 1, "done"));
        assert_eq!(
            letter.body,
            "{\"type\":\"payment.succeeded\",\"timestamp\":\"2026-11-24T04:05:06.789Z\",\"data\":{\"lsn\":41,\
             \"payment\":\"07070707-0707-0707-0707-070707070707\",\"event\":{\
             \"payment\":\"07070707-0707-0707-0707-070707070707\",\"at\":\"2026-11-24T04:05:06.789Z\",\
             \"event\":\"attempt_ended\",\"operation\":0}}}"
        );
        // Frozen: a newer version may have to repeat what an older one has delivered.
        assert_eq!(letter.id, "evt_79a5fc8f9a0f0e7c7853f528e2d63c3b");
    }

    #[test]
    fn an_event_keeps_its_id_where_it_is_recorded_again_and_shares_it_with_no_other() {
        let first = ended(5, 1, "done");
        assert_eq!(letter(Lsn::new(1), &first).id, letter(Lsn::new(900), &first).id);
        let mut elsewhere = first.clone();
        elsewhere.payment = PaymentId::from_bytes([8; 16]);
        let mut other_fact = first.clone();
        other_fact.fact = Fact::Accepted {
            tenant: Default::default(),
            key: crate::payment::IdempotencyKey::new("k").expect("a key"),
            namespace: Default::default(),
            order: std::sync::Arc::new(
                crate::payment::Order::new(
                    Amount::new(1).expect("positive"),
                    crate::payment::Currency::new("USD").expect("a currency"),
                    "a",
                    "b",
                )
                .expect("an order"),
            ),
        };
        let rerouted = |name: &str| {
            let operation = first.fact.operation().expect("an operation");
            let gateway = crate::payment::Identity { name: name.into(), ..Default::default() };
            let fact = Fact::Rerouted { operation, gateway, request: Vec::new() };
            Event { fact, ..first.clone() }
        };
        let (eu, us) = (rerouted("eu"), rerouted("us"));
        let all = [first, ended(6, 1, "done"), ended(5, 2, "done"), ended(5, 1, "told"), elsewhere, other_fact, eu, us];
        let ids: std::collections::BTreeSet<String> = all.iter().map(|event| letter(Lsn::new(1), event).id).collect();
        assert_eq!(ids.len(), all.len());
        assert!(ids.iter().all(|id| !id.contains('.')), "the signature joins with full stops");
    }
}
