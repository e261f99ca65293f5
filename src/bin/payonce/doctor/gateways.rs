//! What each gateway promises, and whether it answers. It is asked about a key that never existed: nothing can move.

use std::time::{Duration, Instant};

use payonce::{
    Amount, Currency,
    config::{GatewayChoice, GatewaySettings, Settings},
    gateway::{
        Gateway, Question,
        sandbox::{Faults, Sandbox, SandboxGateway},
    },
    payment::{Contract, Deduplication, Inquiry, Kind, OperationKey, Outcome},
};

use super::Check;
use crate::gateway::{Missing, build_one};

/// Longer than that, and callers who wait 10 s hear of nothing.
const SLOW: Duration = Duration::from_secs(5);
/// Stripe is asked by its own ids.
const NO_INTENT: &str = "pi_payonce_doctor_asks_about_none";

pub(super) async fn look(settings: &Settings, checks: &mut Vec<Check>) {
    for one in settings.gateways() {
        if one.choice == GatewayChoice::Sandbox {
            checks.extend(sandbox(&one));
            continue;
        }
        match build_one(settings, &one) {
            Ok(gateway) => {
                checks.push(promise(&one, gateway.contract()));
                checks.push(reach(&one, &*gateway).await);
            }
            Err(Missing::Config(error)) => {
                checks.push(Check::problem(name(&one), error.to_string(), "mend it: `payonce serve` refuses it too"));
            }
            Err(Missing::Ledger(_, error)) => {
                checks.push(Check::problem(name(&one), error.to_string(), "let the daemon's user read and write it"));
            }
        }
    }
}

fn name(one: &GatewaySettings) -> String {
    format!("gateway {}", one.name)
}

/// Its ledger is the daemon's: it is not opened here.
fn sandbox(one: &GatewaySettings) -> Vec<Check> {
    let usual = SandboxGateway::new(Sandbox::in_memory(0, Faults::none()));
    match one.contract(usual.contract()) {
        Ok(contract) => {
            let advice = "for trying out only: no money moves; name a real one with --gateway";
            vec![promise(one, &contract), Check::warning(name(one), "the sandbox, in the daemon itself", advice)]
        }
        Err(error) => vec![Check::problem(name(one), error.to_string(), "mend it: `payonce serve` refuses it too")],
    }
}

fn promise(one: &GatewaySettings, contract: &Contract) -> Check {
    let found = format!("{contract}; {}", contract.guarantee());
    match (contract.deduplication, contract.inquiry) {
        (Deduplication::None, Inquiry::None) => {
            Check::warning(name(one), found, "expect parked payments: a person has to end every doubt")
        }
        (Deduplication::ByKey { .. }, _) | (Deduplication::None, Inquiry::ByKey { .. }) => {
            Check::fine(name(one), found)
        }
    }
}

async fn reach(one: &GatewaySettings, gateway: &dyn Gateway) -> Check {
    if gateway.contract().inquiry == Inquiry::None {
        let advice = "nothing to do: whether it is there shows with the first payment";
        return Check::warning(name(one), "cannot be asked, and so was not tried", advice);
    }
    let Ok(question) = question(one, gateway.contract()) else { return Check::fine(name(one), "was not tried") };
    let began = Instant::now();
    let outcome = gateway.inquire(question).await;
    answered(one, &outcome, began.elapsed())
}

fn question(one: &GatewaySettings, contract: &Contract) -> Result<Question, payonce::Invalid> {
    Ok(Question {
        kind: Kind::Charge,
        operation_key: OperationKey::from_bytes(uuid::Uuid::new_v4().into_bytes()),
        amount: Amount::new(100)?,
        currency: Currency::new("USD")?,
        reference: matches!(one.choice, GatewayChoice::Stripe(_)).then(|| NO_INTENT.to_owned()),
        deadline: Instant::now() + contract.deadline,
    })
}

fn answered(one: &GatewaySettings, outcome: &Outcome, took: Duration) -> Check {
    let said = outcome.reply().map(|reply| format!("{}: {}", reply.code(), reply.message())).unwrap_or_default();
    let code = outcome.reply().map(|reply| reply.code()).unwrap_or_default();
    match outcome {
        Outcome::NotFound if took > SLOW => {
            let found = format!("answers, after {} ms", took.as_millis());
            Check::warning(name(one), found, "callers wait 10 s: find out what takes so long")
        }
        Outcome::NotFound => Check::fine(name(one), format!("answers, after {} ms", took.as_millis())),
        Outcome::NotSent(_) => {
            Check::problem(name(one), format!("cannot be reached: {said}"), "check its URL, and the network to it")
        }
        Outcome::Refused(..) if code == "rate_limited" => {
            Check::warning(name(one), format!("answers, and refuses: {said}"), "it is asked too much, by somebody")
        }
        Outcome::Refused(..) => {
            Check::problem(name(one), format!("answers, and refuses: {said}"), "check the credential and the account")
        }
        Outcome::Unknown(_) => {
            Check::problem(name(one), format!("does not answer as it should: {said}"), "check that it is the gateway")
        }
        Outcome::Succeeded(_) | Outcome::Declined(..) | Outcome::Pending(..) => Check::problem(
            name(one),
            "says that it knows a key that never existed",
            "do not use it: its answers about payments in doubt cannot be believed",
        ),
    }
}
