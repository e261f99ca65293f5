//! The sandbox as a gateway in the same process: what a wire would have shown, without one.

use std::{
    future::Future,
    time::{Duration, Instant},
};

use super::{Instruction, MAX_PROCESSING, NOT_FOUND_LAG, Sandbox, Shown};
use crate::{
    gateway::{
        Answer, Asked, Gateway, Question, Sending,
        judge::{Expected, Said, judge},
    },
    payment::{Contract, Identity, Inquiry, Invalid, Kind, Lasting, NextAction, Outcome, Reply},
};

/// The sandbox, to be used in this process.
#[derive(Clone, Debug)]
pub struct SandboxGateway {
    sandbox: Sandbox,
    contract: Contract,
}

impl SandboxGateway {
    /// Under the sandbox's own contract, which covers every fault but [`super::Fault::Forget`].
    pub fn new(sandbox: Sandbox) -> SandboxGateway {
        let identity = Identity {
            name: "sandbox".into(),
            account: sandbox.account().into(),
            environment: "test".into(),
            api_version: "1".into(),
        };
        let contract = Contract {
            max_processing: Duration::from_millis(MAX_PROCESSING),
            // Three askings: the faults strike each one anew.
            inquiry: Inquiry::ByKey { not_found_lag: Duration::from_millis(NOT_FOUND_LAG), not_found_times: 3 },
            ..Contract::standard(identity)
        };
        SandboxGateway { sandbox, contract }
    }

    /// Under another contract, which may promise less: without deduplication, for one. The identity stays.
    #[must_use]
    pub fn with_contract(mut self, contract: Contract) -> SandboxGateway {
        self.contract = Contract { identity: self.contract.identity, ..contract };
        self
    }

    /// The sandbox behind it.
    pub fn sandbox(&self) -> &Sandbox {
        &self.sandbox
    }
}

impl Gateway for SandboxGateway {
    fn contract(&self) -> &Contract {
        &self.contract
    }

    fn encode(&self, asked: &Asked<'_>) -> Result<Vec<u8>, Invalid> {
        let Asked { kind, operation_key, amount, order, charge, .. } = *asked;
        let (source, destination) = match kind {
            Kind::Charge | Kind::Authorize => (order.source.clone(), order.destination.clone()),
            Kind::Capture | Kind::Void | Kind::Refund => (String::new(), String::new()),
        };
        let currency = order.currency;
        let mut line = String::new();
        Instruction { kind, operation_key, amount, currency, charge, source, destination }.write(&mut line);
        Ok(line.into_bytes())
    }

    fn send(&self, sending: Sending) -> Answer<'_> {
        Box::pin(async move {
            if Instant::now() >= sending.deadline {
                return Outcome::NotSent(Reply::new("deadline", "the time to send it had passed"));
            }
            if self.sandbox.refuses() {
                return Outcome::NotSent(Reply::new("refused", "the sandbox refused the connection"));
            }
            let Some(instruction) = decode(&sending.request) else {
                let reply = Reply::new("malformed", "the sandbox cannot read this request");
                return Outcome::Refused(Lasting::ForGood, reply);
            };
            let Sending { operation_key, amount, currency, deadline, .. } = sending;
            let expected = Expected { operation_key, amount, currency };
            let shown = self.sandbox.deliver(instruction);
            until(deadline, shown).await.map_or_else(timeout, |shown| outcome(&expected, shown, true))
        })
    }

    fn inquire(&self, question: Question) -> Answer<'_> {
        Box::pin(async move {
            if self.sandbox.refuses() {
                return Outcome::NotSent(Reply::new("refused", "the sandbox refused the connection"));
            }
            let Question { operation_key, amount, currency, deadline, .. } = question;
            let expected = Expected { operation_key, amount, currency };
            let shown = self.sandbox.inquire(operation_key);
            until(deadline, shown).await.map_or_else(timeout, |shown| outcome(&expected, shown, false))
        })
    }
}

fn decode(request: &[u8]) -> Option<Instruction> {
    Instruction::read(&mut str::from_utf8(request).ok()?.split(' '))
}

async fn until<T>(deadline: Instant, shown: impl Future<Output = T>) -> Option<T> {
    tokio::time::timeout_at(deadline.into(), shown).await.ok()
}

fn timeout() -> Outcome {
    Outcome::Unknown(Reply::new("timeout", "the sandbox did not answer in time"))
}

fn outcome(expected: &Expected, shown: Shown, sending: bool) -> Outcome {
    let unknown = |code, message| Outcome::Unknown(Reply::new(code, message));
    match shown {
        Shown::Dropped => unknown("reset", "the connection ended without a reply"),
        Shown::Failed => unknown("server_error", "the sandbox answered 500"),
        Shown::Garbage => unknown("unreadable_reply", "the sandbox's answer cannot be read"),
        Shown::InProgress => unknown("in_progress", "the sandbox is working on it"),
        Shown::NotFound if !sending => Outcome::NotFound,
        Shown::NotFound => unknown("unexpected_status", "the sandbox answered 404"),
        Shown::Rejected { code, message } => Outcome::Refused(Lasting::ForGood, Reply::new(code, message)),
        Shown::Answer(answer) => {
            let reference = answer.reference.to_string();
            let next_action = answer
                .challenge_until
                .map(|until| NextAction { url: format!("sandbox:/challenges/{reference}"), expires_at: Some(until) });
            judge(
                expected,
                &Said {
                    reference: &reference,
                    gateway_reference: &answer.gateway_reference,
                    status: answer.status,
                    amount: answer.amount,
                    currency: answer.currency.as_str(),
                    code: answer.code,
                    message: answer.message,
                    next_action: next_action.as_ref(),
                },
            )
        }
    }
}
