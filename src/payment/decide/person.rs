//! A person speaks: ask now, or decide.

use super::{Resolution, Response, Step, Verdict, chase};
use crate::payment::{Evidence, Fact, Finality, Operation, Outcome, Reply, Standing};

/// Asks the gateway about everything that is not final, now.
pub(super) fn inquire(step: &mut Step<'_>) {
    let open: Vec<&Operation> =
        step.payment.operations.iter().filter(|operation| may_be_asked_about(operation)).collect();
    if open.is_empty() {
        let why = format!("the payment is {}: there is nothing to ask the gateway", step.payment.state().as_str());
        step.response = Some(Response::InvalidState(why));
        return;
    }
    let asked = open.into_iter().filter(|operation| chase::ask_now(operation, step)).count();
    step.response = Some(match asked {
        0 => Response::InvalidState("the configured gateway cannot be asked about this payment".to_owned()),
        1.. => Response::Done,
    });
}

fn may_be_asked_about(operation: &Operation) -> bool {
    match operation.standing {
        Standing::AtGateway { .. } | Standing::InDoubt { .. } | Standing::Parked { .. } => operation.may_have_acted,
        Standing::Intended
        | Standing::Sent { .. }
        | Standing::Succeeded(_)
        | Standing::Declined { .. }
        | Standing::Canceled(_) => false,
    }
}

/// Ends an operation by a person's word, or sends it again under the ordinary rules.
pub(super) fn resolve(resolution: &Resolution, step: &mut Step<'_>) {
    let wanted = |operation: &&Operation| match resolution.operation {
        Some(number) => operation.this.number == number,
        None => !operation.is_final(),
    };
    let response = match step.payment.operations.iter().find(wanted) {
        None => Response::InvalidState("the payment has no such operation that is unresolved".to_owned()),
        Some(operation) => match rule(operation, resolution, step) {
            Ok(()) => Response::Done,
            Err(why) => Response::InvalidState(why),
        },
    };
    step.response = Some(response);
}

/// Which verdict is possible where. "Succeeded" and "declined" end a doubt; "cancel" ends what has not happened.
fn rule(operation: &Operation, resolution: &Resolution, step: &mut Step<'_>) -> Result<(), String> {
    let doubtful = match operation.standing {
        Standing::AtGateway { .. } | Standing::InDoubt { .. } | Standing::Parked { .. } => operation.may_have_acted,
        Standing::Intended
        | Standing::Sent { .. }
        | Standing::Succeeded(_)
        | Standing::Declined { .. }
        | Standing::Canceled(_) => false,
    };
    let untouched = match operation.standing {
        Standing::Intended | Standing::Parked { .. } => !operation.may_have_acted,
        Standing::InDoubt { .. }
        | Standing::Sent { .. }
        | Standing::AtGateway { .. }
        | Standing::Succeeded(_)
        | Standing::Declined { .. }
        | Standing::Canceled(_) => false,
    };
    let reply = |code, message| resolution.reply.clone().unwrap_or_else(|| Reply::new(code, message));
    match resolution.verdict {
        Verdict::Succeeded if doubtful => {
            learn(operation, Outcome::Succeeded(reply("succeeded", "decided by a person")), resolution, step);
            Ok(())
        }
        Verdict::Declined if doubtful => {
            let reply = reply("declined", "decided by a person");
            learn(operation, Outcome::Declined(Finality::Hard, reply), resolution, step);
            Ok(())
        }
        Verdict::Resend if doubtful => chase::resend_for(operation, &resolution.person, step),
        Verdict::Cancel if untouched => {
            // Who it was, and why, is not for the caller: it is among the deeds.
            let reply = Reply::new("canceled", "canceled by a person before it was sent; no money moved");
            step.facts.push(Fact::Canceled { operation: operation.this, reply });
            Ok(())
        }
        Verdict::Succeeded | Verdict::Declined | Verdict::Resend if untouched => Err(format!(
            "operation {} is {}, and certainly has not happened: all that can be decided about it is `canceled`",
            operation.this.number,
            operation.state().as_str()
        )),
        Verdict::Succeeded | Verdict::Declined | Verdict::Resend => {
            Err(format!("operation {} is {}, not in doubt", operation.this.number, operation.state().as_str()))
        }
        Verdict::Cancel => Err(format!(
            "operation {} is {}: only what certainly has not happened, and is not under way, can be canceled",
            operation.this.number,
            operation.state().as_str()
        )),
    }
}

fn learn(operation: &Operation, outcome: Outcome, resolution: &Resolution, step: &mut Step<'_>) {
    let evidence = Evidence::Person(resolution.person.clone());
    step.facts.push(Fact::Learned { operation: operation.this, outcome, evidence, open_until: None });
}
