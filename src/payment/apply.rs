//! Folding an event into a payment: the only thing that changes one, live and in replay alike.
//!
//! Deciding may change between versions; history may not. So nothing here looks at a contract, a clock or a rule.

use std::{borrow::Cow, fmt};

use super::{
    Contradiction, Event, Fact, Identity, Moment, Operation, OperationRef, Outcome, Payment, PaymentId, Reply,
    Standing, Timestamp, UNKNOWN_ATTEMPT,
};

/// An event that does not fit what was known: the journal is damaged, or was written by something else.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Misfit {
    /// Which payment.
    pub payment: PaymentId,
    /// What.
    pub fact: &'static str,
}

impl fmt::Display for Misfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "payment {}: the event `{}` does not fit what the journal says before it", self.payment, self.fact)
    }
}

impl std::error::Error for Misfit {}

/// Folds one event. [`Fact::Accepted`] begins a payment, whatever was there.
pub fn apply(payment: &mut Option<Payment>, event: &Event) -> Result<(), Misfit> {
    let misfit = Misfit { payment: event.payment, fact: event.fact.name() };
    if let Fact::Accepted { tenant, key, namespace, order } = &event.fact {
        *payment = Some(Payment {
            id: event.payment,
            tenant: tenant.clone(),
            key: key.clone(),
            namespace: namespace.clone(),
            order: order.clone(),
            operations: Vec::new(),
            created_at: event.at,
            settled_at: None,
            updated_at: event.at,
            timeline: vec![moment(event, 0)],
        });
        return Ok(());
    }
    let payment = payment.as_mut().filter(|payment| payment.id == event.payment).ok_or(misfit.clone())?;
    let number = fold(payment, &event.fact, event.at).ok_or(misfit)?;
    payment.updated_at = event.at;
    if payment.settled_at.is_none() && payment.first().is_some_and(Operation::is_final) {
        payment.settled_at = Some(event.at);
    }
    remember(&mut payment.timeline, moment(event, number));
    Ok(())
}

/// The first and the last moments; those between are counted. A gateway may be down for weeks, and what is carried at
/// each start must fit its record.
const MOMENTS: usize = 64;

/// What stands in place of the moments that are left out, before their number. The journal has them all.
const LEFT_OUT: &str = "left_out: ";

fn remember(timeline: &mut Vec<Moment>, moment: Moment) {
    timeline.push(moment);
    if timeline.len() <= MOMENTS {
        return;
    }
    let oldest = timeline.remove(MOMENTS / 2);
    if let Some(next) = timeline.get_mut(MOMENTS / 2) {
        let before = oldest.what.strip_prefix(LEFT_OUT).and_then(|count| count.parse::<u64>().ok());
        let what = format!("{LEFT_OUT}{}", before.map_or(2, |count| count + 1)).into();
        *next = Moment { what, evidence: None, ..oldest };
    }
}

/// Folds a fact about an operation and returns its number; `None` if it does not fit.
fn fold(payment: &mut Payment, fact: &Fact, at: Timestamp) -> Option<u32> {
    match fact {
        Fact::Accepted { .. } => None,
        Fact::Intended { operation, key, operation_key, gateway, request } => {
            let next = u32::try_from(payment.operations.len()).ok()?;
            let (key, gateway, request) = (key.clone(), gateway.clone(), request.clone());
            payment.operations.push(Operation::intended(*operation, key, *operation_key, gateway, request));
            (operation.number == next).then_some(next)
        }
        Fact::Rerouted { operation, gateway, request } => {
            let found = find(payment, operation).filter(|found| found.standing == Standing::Intended)?;
            reroute(found, gateway, request);
            Some(operation.number)
        }
        Fact::Prepared { operation, reference, request } => {
            let found = find(payment, operation)?;
            found.prepared = Some(reference.clone());
            found.request.clone_from(request);
            Some(operation.number)
        }
        Fact::AttemptStarted { operation, attempt, not_after, cause: _ } => {
            let found = find(payment, operation)?;
            // Of an earlier attempt whose time is not known, the key is not any younger.
            found.first_sent = found.first_sent.or((found.attempts == 0).then_some(at));
            found.attempts = *attempt;
            found.standing = Standing::Sent { not_after: *not_after };
            Some(operation.number)
        }
        Fact::AttemptEnded { operation, attempt, outcome, evidence: _ } => {
            let found = find(payment, operation)?;
            found.first_sent = found.first_sent.filter(|_| *attempt != UNKNOWN_ATTEMPT);
            ended(found, outcome, at);
            Some(operation.number)
        }
        Fact::Learned { operation, outcome, evidence: _, open_until } => {
            let found = find(payment, operation)?;
            // Learned with an attempt under way: it was that.
            found.may_have_acted |= matches!(found.standing, Standing::Sent { .. });
            learned(found, outcome, *open_until, at);
            Some(operation.number)
        }
        Fact::Parked { operation, reason, reply } => {
            let found = find(payment, operation)?;
            let since = in_doubt_since(found, at);
            // Parked with an attempt under way: nobody knows what it did.
            found.may_have_acted |= matches!(found.standing, Standing::Sent { .. });
            found.standing = Standing::Parked { reason: *reason, reply: reply.clone(), since };
            Some(operation.number)
        }
        Fact::Unparked { operation } => {
            unpark(find(payment, operation)?, at);
            Some(operation.number)
        }
        Fact::Canceled { operation, reply } => {
            conclude(find(payment, operation)?, Standing::Canceled(reply.clone()));
            Some(operation.number)
        }
        Fact::Contradicted { operation, outcome, evidence: _ } => {
            let found = find(payment, operation)?;
            found.contradicted = contradiction(outcome).or(found.contradicted);
            Some(operation.number)
        }
        Fact::WindowClosed { operation } => {
            if let Standing::Declined { open_until, .. } = &mut find(payment, operation)?.standing {
                *open_until = None;
            }
            Some(operation.number)
        }
    }
}

fn reroute(operation: &mut Operation, gateway: &Identity, request: &[u8]) {
    operation.gateway.clone_from(gateway);
    request.clone_into(&mut operation.request);
    // The other gateway's id. The key stays as old as it is: it may come back to a gateway that has seen it.
    operation.prepared = None;
}

fn contradiction(outcome: &Outcome) -> Option<Contradiction> {
    match outcome {
        Outcome::Succeeded(_) => Some(Contradiction::Moved),
        Outcome::Declined(_, _) => Some(Contradiction::Reversed),
        Outcome::Pending(_, _)
        | Outcome::NotSent(_)
        | Outcome::Refused(_, _)
        | Outcome::NotFound
        | Outcome::Unknown(_) => None,
    }
}

fn find<'a>(payment: &'a mut Payment, wanted: &OperationRef) -> Option<&'a mut Operation> {
    let place = usize::try_from(wanted.number).ok()?;
    payment.operations.get_mut(place).filter(|operation| operation.this == *wanted)
}

/// How an attempt's end changes its operation.
fn ended(operation: &mut Operation, outcome: &Outcome, at: Timestamp) {
    match outcome {
        Outcome::NotSent(reply) | Outcome::Refused(_, reply) if operation.may_have_acted => doubt(operation, reply, at),
        Outcome::NotSent(_) | Outcome::Refused(_, _) => operation.standing = Standing::Intended,
        Outcome::Succeeded(_)
        | Outcome::Declined(_, _)
        | Outcome::Pending(_, _)
        | Outcome::NotFound
        | Outcome::Unknown(_) => {
            learned(operation, outcome, None, at);
            operation.may_have_acted = true;
        }
    }
}

/// How the truth changes an operation. What is no truth leaves it in doubt.
fn learned(operation: &mut Operation, outcome: &Outcome, open_until: Option<Timestamp>, at: Timestamp) {
    match outcome {
        Outcome::Succeeded(reply) => conclude(operation, Standing::Succeeded(reply.clone())),
        Outcome::Declined(finality, reply) => {
            conclude(operation, Standing::Declined { finality: *finality, open_until, reply: reply.clone() });
        }
        Outcome::Pending(next_action, reply) => {
            let (next_action, reply) = (next_action.clone(), reply.clone());
            operation.standing = Standing::AtGateway { next_action, reply, since: at };
        }
        Outcome::NotSent(reply) | Outcome::Refused(_, reply) | Outcome::Unknown(reply) => doubt(operation, reply, at),
        Outcome::NotFound => doubt(operation, &Reply::new("not_found", "the gateway does not know it"), at),
    }
}

fn doubt(operation: &mut Operation, reply: &Reply, at: Timestamp) {
    operation.standing = Standing::InDoubt { reply: reply.clone(), since: in_doubt_since(operation, at) };
}

/// Doubt is never renewed: once something may have happened, it dates from the first sending.
fn in_doubt_since(operation: &Operation, at: Timestamp) -> Timestamp {
    match &operation.standing {
        Standing::InDoubt { since, .. } | Standing::Parked { since, .. } => *since,
        Standing::Sent { .. } if operation.may_have_acted => operation.first_sent.unwrap_or(at),
        Standing::Sent { .. }
        | Standing::Intended
        | Standing::AtGateway { .. }
        | Standing::Succeeded(_)
        | Standing::Declined { .. }
        | Standing::Canceled(_) => at,
    }
}

fn unpark(operation: &mut Operation, at: Timestamp) {
    let reply = operation.reply().cloned().unwrap_or_default();
    if operation.may_have_acted {
        doubt(operation, &reply, at);
    } else {
        operation.standing = Standing::Intended;
    }
}

/// Final: nothing will be sent any more, so the bytes go.
fn conclude(operation: &mut Operation, standing: Standing) {
    operation.standing = standing;
    operation.request = Vec::new();
}

fn moment(event: &Event, operation: u32) -> Moment {
    let name = event.fact.name();
    let (what, evidence) = match &event.fact {
        Fact::AttemptEnded { outcome, evidence, .. }
        | Fact::Learned { outcome, evidence, .. }
        | Fact::Contradicted { outcome, evidence, .. } => (told(name, outcome).into(), Some(evidence.clone())),
        Fact::Parked { reason, .. } => (format!("{name}: {}", reason.as_str()).into(), None),
        Fact::Canceled { reply, .. } => (format!("{name}: {}", reply.code()).into(), None),
        Fact::Accepted { .. }
        | Fact::Intended { .. }
        | Fact::Rerouted { .. }
        | Fact::Prepared { .. }
        | Fact::AttemptStarted { .. }
        | Fact::Unparked { .. }
        | Fact::WindowClosed { .. } => (Cow::Borrowed(name), None),
    };
    Moment { at: event.at, operation, what, evidence }
}

fn told(name: &str, outcome: &Outcome) -> String {
    match outcome.reply().map(Reply::code).filter(|code| !code.is_empty()) {
        Some(code) => format!("{name}: {} ({code})", outcome.name()),
        None => format!("{name}: {}", outcome.name()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::payment::{
        Evidence, Finality, Kind, Lasting, ParkReason,
        samples::{accepted, at, charge, ended, event, fold, intended, learned, reference, reply, started},
    };

    fn parked() -> Fact {
        Fact::Parked { operation: charge(), reason: ParkReason::Defect, reply: reply() }
    }

    fn folded(facts: &[Fact]) -> Payment {
        let begin = [accepted(), intended(charge())];
        fold(begin.into_iter().chain(facts.iter().cloned())).expect("in order")
    }

    fn standing(facts: &[Fact]) -> Standing {
        folded(facts).operations.remove(0).standing
    }

    #[test]
    fn an_event_that_does_not_fit_is_refused_and_named() {
        let other = [reference(1, Kind::Charge, 1050), reference(0, Kind::Refund, 1050), reference(0, Kind::Charge, 1)];
        for operation in other {
            let outcome = Outcome::NotFound;
            for fact in [
                Fact::Rerouted { operation, gateway: Identity::default(), request: Vec::new() },
                Fact::Prepared { operation, reference: String::new(), request: Vec::new() },
                Fact::Parked { operation, reason: ParkReason::Defect, reply: reply() },
                Fact::Unparked { operation },
                Fact::Canceled { operation, reply: reply() },
                Fact::Contradicted { operation, outcome, evidence: Evidence::Inquiry },
                Fact::WindowClosed { operation },
            ] {
                let misfit = fold([accepted(), intended(charge()), fact.clone()]).expect_err("another operation");
                assert_eq!(misfit.fact, fact.name());
            }
        }
        assert!(fold([accepted(), intended(reference(1, Kind::Charge, 1050))]).is_err(), "the first has number 0");
        assert!(fold([accepted(), intended(charge()), intended(charge())]).is_err(), "its number is taken");
        assert_eq!(
            fold([started(1)]).expect_err("nothing came before").to_string(),
            "payment 07070707-0707-0707-0707-070707070707: the event `attempt_started` does not fit what the journal \
             says before it"
        );
    }

    #[test]
    fn an_event_of_another_payment_changes_nothing() {
        let before = folded(&[]);
        let mut payment = Some(before.clone());
        let stranger = Event { payment: PaymentId::from_bytes([8; 16]), ..event(9, started(1)) };
        assert!(apply(&mut payment, &stranger).is_err());
        assert_eq!(payment, Some(before));
    }

    #[test]
    fn operations_are_numbered_in_the_order_of_their_intents() {
        let refund = reference(1, Kind::Refund, 50);
        let payment = folded(&[started(1), ended(1, Outcome::Succeeded(reply())), intended(refund)]);
        assert_eq!(payment.operations.iter().map(|operation| operation.this).collect::<Vec<_>>(), [charge(), refund]);
        assert_eq!(payment.timeline.last().map(|moment| moment.operation), Some(1));
    }

    #[test]
    fn what_ended_without_a_trace_may_be_sent_as_if_it_never_was() {
        let refused = Outcome::Refused(Lasting::ForNow { retry_after: None }, reply());
        for outcome in [Outcome::NotSent(reply()), refused] {
            let payment = folded(&[started(1), ended(1, outcome)]);
            assert_eq!(payment.operations[0].standing, Standing::Intended);
            assert!(!payment.operations[0].may_have_acted);
            assert_eq!(payment.operations[0].request, b"bytes");
        }
    }

    #[test]
    fn what_may_have_acted_once_stays_in_doubt_whatever_a_later_attempt_says() {
        let unknown = [started(1), ended(1, Outcome::Unknown(reply())), started(2)];
        for outcome in [Outcome::NotSent(reply()), Outcome::Refused(Lasting::ForGood, reply())] {
            let facts = [unknown.as_slice(), &[ended(2, outcome)]].concat();
            // Accepted at 1, intended at 2, first sent at 3.
            assert_eq!(standing(&facts), Standing::InDoubt { reply: reply(), since: at(3) });
        }
    }

    #[test]
    fn doubt_is_never_renewed() {
        let facts = [started(1), ended(1, Outcome::Unknown(reply())), learned(Outcome::Unknown(reply()))];
        assert_eq!(standing(&facts), Standing::InDoubt { reply: reply(), since: at(4) });
        let unparked = [parked(), Fact::Unparked { operation: charge() }];
        assert_eq!(
            standing(&[facts.as_slice(), &unparked].concat()),
            Standing::InDoubt { reply: reply(), since: at(4) }
        );
        let Standing::InDoubt { reply: heard, since } =
            standing(&[&facts[..2], &[learned(Outcome::NotFound)]].concat())
        else {
            panic!("not found is no truth");
        };
        assert_eq!((heard.code(), since), ("not_found", at(4)));
    }

    #[test]
    fn what_is_parked_under_way_may_have_acted_and_what_is_parked_before_has_not() {
        let payment = folded(&[started(1), parked()]);
        assert!(payment.operations[0].may_have_acted);
        let unparked = Fact::Unparked { operation: charge() };
        assert!(matches!(standing(&[started(1), parked(), unparked.clone()]), Standing::InDoubt { .. }));
        assert!(!folded(&[parked()]).operations[0].may_have_acted);
        assert_eq!(standing(&[parked(), unparked]), Standing::Intended);
        let doubtful = folded(&[started(1), ended(1, Outcome::Unknown(reply())), parked()]);
        assert!(doubtful.operations[0].may_have_acted, "parking takes nothing back");
    }

    #[test]
    fn a_payment_settles_once_and_then_keeps_no_bytes_to_send() {
        let declined = Outcome::Declined(Finality::Soft, reply());
        let soft = Fact::Learned {
            operation: charge(),
            outcome: declined.clone(),
            evidence: Evidence::Reply,
            open_until: Some(at(90)),
        };
        let begin = [started(1), ended(1, declined), soft];
        let open = folded(&begin);
        assert_eq!((open.settled_at, open.updated_at), (Some(at(4)), at(5)));
        assert_eq!(open.operations[0].request, b"");
        assert!(!open.operations[0].is_at_rest());
        let news = Fact::Contradicted {
            operation: charge(),
            outcome: Outcome::Succeeded(reply()),
            evidence: Evidence::Inquiry,
        };
        let closed = folded(&[begin.as_slice(), &[news, Fact::WindowClosed { operation: charge() }]].concat());
        assert_eq!((closed.settled_at, closed.updated_at), (Some(at(4)), at(7)));
        assert!(closed.is_contradicted() && closed.operations[0].is_at_rest());
        assert_eq!(folded(&[started(1), ended(1, Outcome::Unknown(reply()))]).settled_at, None);
    }

    #[test]
    fn a_timeline_says_what_happened_and_why_it_is_believed() {
        let unnamed = Outcome::Unknown(Reply::default());
        let canceled = Fact::Canceled { operation: charge(), reply: Reply::new("expired", "too late") };
        let payment = folded(&[started(1), ended(1, unnamed), learned(Outcome::NotSent(reply())), parked(), canceled]);
        let told: Vec<_> = payment.timeline.iter().map(|moment| (moment.what.as_ref(), &moment.evidence)).collect();
        assert_eq!(
            told,
            [
                ("accepted", &None),
                ("intended", &None),
                ("attempt_started", &None),
                ("attempt_ended: unknown", &Some(Evidence::Reply)),
                ("learned: not_sent (code)", &Some(Evidence::Inquiry)),
                ("parked: defect", &None),
                ("canceled: expired", &None),
            ]
        );
        assert_eq!(
            payment.timeline.iter().map(|moment| moment.at.as_millis()).collect::<Vec<_>>(),
            [1, 2, 3, 4, 5, 6, 7]
        );
    }

    #[test]
    fn what_a_gateway_prepared_is_what_will_be_sent() {
        let minted =
            Fact::Prepared { operation: charge(), reference: "pi_1".to_owned(), request: b"with pi_1".to_vec() };
        let operation = folded(&[minted]).operations.remove(0);
        assert_eq!((operation.prepared.as_deref(), operation.request.as_slice()), (Some("pi_1"), &b"with pi_1"[..]));
    }

    #[test]
    fn what_a_long_timeline_leaves_out_is_counted_and_dated_and_claims_no_evidence() {
        let answers = (0..200).map(|_| learned(Outcome::Unknown(reply())));
        let timeline =
            fold([accepted(), intended(charge()), started(1)].into_iter().chain(answers)).expect("fits").timeline;
        assert_eq!(timeline.len(), MOMENTS);
        let left_out = &timeline[MOMENTS / 2];
        // 203 moments, of which 63 are kept; the 33rd is the first that is not.
        assert_eq!(*left_out, Moment { at: at(33), operation: 0, what: "left_out: 140".into(), evidence: None });
        assert_eq!((timeline[MOMENTS / 2 - 1].at, timeline[MOMENTS / 2 + 1].at), (at(32), at(173)));
    }
}
