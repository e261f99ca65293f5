//! What happens next with an operation, and why, for a person who looks at it. Says what the chase will do at its due
//! time as far as that can be told beforehand; decides nothing.

use super::{Contract, Inquiry, Now, Operation, Pursuit, Standing, Timestamp};

/// What is done next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// Nothing: it is final.
    Nothing,
    /// A call to the gateway is under way.
    AwaitGateway,
    /// It is sent.
    Send,
    /// The gateway is asked what became of it.
    Ask,
    /// Nobody can be asked: news from the gateway, or a person, ends it.
    AwaitNews,
}

impl Next {
    /// As in HTTP bodies.
    pub const fn as_str(self) -> &'static str {
        match self {
            Next::Nothing => "nothing",
            Next::AwaitGateway => "await_gateway",
            Next::Send => "send",
            Next::Ask => "ask",
            Next::AwaitNews => "await_news",
        }
    }
}

/// What happens next with one operation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outlook {
    /// The operation's number.
    pub operation: u32,
    /// What is done next.
    pub next: Next,
    /// When, at the earliest.
    pub at: Option<Timestamp>,
    /// Why.
    pub why: String,
}

/// What happens next. `contract` is that of the operation's own gateway; none, if that is not configured.
pub fn outlook(operation: &Operation, pursuit: &Pursuit, contract: Option<&Contract>, now: &Now) -> Outlook {
    let asked = contract.map(|contract| contract.inquiry);
    let (next, why) = match &operation.standing {
        Standing::Succeeded(_) | Standing::Canceled(_) | Standing::Declined { open_until: None, .. } => {
            (Next::Nothing, "it is final".to_owned())
        }
        Standing::Sent { .. } => (Next::AwaitGateway, "a sending is under way".to_owned()),
        Standing::Intended
        | Standing::AtGateway { .. }
        | Standing::InDoubt { .. }
        | Standing::Parked { .. }
        | Standing::Declined { .. }
            if pursuit.calling =>
        {
            (Next::AwaitGateway, "the gateway is being asked, or is about to be".to_owned())
        }
        Standing::Intended => (Next::Send, untouched(operation, pursuit)),
        Standing::AtGateway { next_action, .. } => {
            let waits = if next_action.is_some() { "the payer has to act" } else { "the gateway has not decided yet" };
            (questions(asked), format!("the gateway has accepted it, and {waits}"))
        }
        Standing::InDoubt { .. } => doubt(pursuit, asked),
        Standing::Parked { .. } => {
            (questions(asked), "it is left to a person; the gateway is still asked, rarely, where it can be".to_owned())
        }
        Standing::Declined { open_until: Some(_), .. } => (
            questions(asked),
            "the decline may still turn: it is looked at once more when that time is over".to_owned(),
        ),
    };
    let at = match next {
        Next::Send | Next::Ask => Some(now.wall.plus(pursuit.due.since(now.tick))),
        Next::Nothing | Next::AwaitGateway | Next::AwaitNews => None,
    };
    Outlook { operation: operation.this.number, next, at, why }
}

const fn questions(asked: Option<Inquiry>) -> Next {
    match asked {
        Some(Inquiry::ByKey { .. }) => Next::Ask,
        Some(Inquiry::None) | None => Next::AwaitNews,
    }
}

fn untouched(operation: &Operation, pursuit: &Pursuit) -> String {
    match operation.attempts {
        0 => "it has not been sent yet".to_owned(),
        attempts => format!(
            "attempts so far: {attempts}, none of which had any effect ({} of them in a row by this process): the same \
             bytes go again",
            pursuit.setbacks
        ),
    }
}

fn doubt(pursuit: &Pursuit, asked: Option<Inquiry>) -> (Next, String) {
    match asked {
        None => (Next::AwaitNews, "its gateway is not configured: it goes on when that returns".to_owned()),
        Some(Inquiry::None) => (
            Next::Send,
            "the gateway cannot be asked: the same bytes go again under the same key, or it parks".to_owned(),
        ),
        Some(Inquiry::ByKey { not_found_times, .. }) => {
            let times = format!("asked {} times since its last sending", pursuit.inquiries);
            let why = match pursuit.not_founds {
                0 => format!("{times}, without a final answer"),
                founds => {
                    format!("{times}; {founds} of {not_found_times} answers say that the gateway does not know it")
                }
            };
            (Next::Ask, why)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::payment::{
        Clock, Identity, ParkReason, Tick,
        samples::{at, charge, operation, reply},
    };

    #[test]
    fn what_is_next_has_a_word_in_http_bodies_that_stays() {
        let all = [Next::Nothing, Next::AwaitGateway, Next::Send, Next::Ask, Next::AwaitNews];
        assert_eq!(all.map(Next::as_str), ["nothing", "await_gateway", "send", "ask", "await_news"]);
    }

    fn seen(standing: Standing, pursuit: Pursuit, contract: Option<&Contract>) -> (Next, Option<u64>, String) {
        let now = Now { wall: at(1_000), tick: Tick::from_millis(10), clock: Clock::Trusted };
        let Outlook { next, at, why, .. } = outlook(&operation(charge(), standing), &pursuit, contract, &now);
        (next, at.map(Timestamp::as_millis), why)
    }

    #[test]
    fn what_comes_next_is_told_with_its_time_and_its_reason() {
        let askable = Contract::standard(Identity::default());
        let silent = Contract { inquiry: Inquiry::None, ..askable.clone() };
        let due = Pursuit { due: Tick::from_millis(60), inquiries: 4, not_founds: 2, ..Pursuit::default() };
        let calling = Pursuit { calling: true, ..due };
        let doubt = || Standing::InDoubt { reply: reply(), since: at(1) };
        let parked = || Standing::Parked { reason: ParkReason::Exhausted, reply: reply(), since: at(1) };
        let later = Some(at(1_050).as_millis());
        for (standing, pursuit, contract, next, time, why) in [
            (Standing::Succeeded(reply()), due, Some(&askable), Next::Nothing, None, "final"),
            (Standing::Sent { not_after: at(5) }, due, Some(&askable), Next::AwaitGateway, None, "under way"),
            (Standing::Intended, due, Some(&askable), Next::Send, later, "none of which"),
            (doubt(), due, Some(&askable), Next::Ask, later, "2 of 3 answers"),
            (doubt(), calling, Some(&askable), Next::AwaitGateway, None, "being asked"),
            (doubt(), due, Some(&silent), Next::Send, later, "cannot be asked"),
            (doubt(), due, None, Next::AwaitNews, None, "not configured"),
            (parked(), due, Some(&askable), Next::Ask, later, "left to a person"),
            (parked(), due, Some(&silent), Next::AwaitNews, None, "left to a person"),
        ] {
            let (found, when, reason) = seen(standing, pursuit, contract);
            assert_eq!((found, when), (next, time), "{reason}");
            assert!(reason.contains(why), "{reason}");
        }
    }
}
