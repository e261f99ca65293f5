//! When to leave a gateway alone that does not answer: what is not sent to it is not in doubt, holds no call, and can go
//! to another.
//!
//! Time is an argument, and nothing here is about one payment: what is in doubt stays so, whoever is asked when.

use std::time::{Duration, Instant};

use crate::payment::{Lasting, Outcome};

/// So many calls in a row without an answer. At a gateway that loses every third, that is one call in 59,000.
const FAILURES: u32 = 10;

/// How long it is left alone at first: callers wait 10 s, and a restart behind a load balancer takes about one.
const FIRST: Duration = Duration::from_secs(1);

/// And at most: an hour's outage is over for payments a minute after it is over.
const LONGEST: Duration = Duration::from_secs(60);

/// Whether a call may begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ticket {
    /// It may, like any other.
    Open,
    /// It may, and shows whether the gateway answers again; nobody else may until then.
    Probe,
    /// It may not.
    Shut,
    /// A question about what is in doubt: it may always be asked, at its own pace, and shows nothing of whether payments
    /// are taken. Questions without an answer must not hold up callers, nor answered ones send them to a gateway that
    /// takes nothing.
    Question,
}

/// What is known of one gateway's answering.
#[derive(Debug, Default)]
pub(super) struct Breaker {
    failures: u32,
    times_shut: u32,
    shut_until: Option<Instant>,
}

impl Breaker {
    /// Asks to begin a call.
    pub(super) fn ticket(&mut self, now: Instant) -> Ticket {
        match self.shut_until {
            None => Ticket::Open,
            Some(until) if now < until => Ticket::Shut,
            Some(_) => {
                // If the probe never reports, another may follow.
                self.shut_until = Some(now + LONGEST);
                Ticket::Probe
            }
        }
    }

    /// Whether it is left alone at present.
    pub(super) fn is_shut(&self, now: Instant) -> bool {
        self.shut_until.is_some_and(|until| now < until)
    }

    /// A call has ended.
    pub(super) fn note(&mut self, ticket: Ticket, outcome: &Outcome, now: Instant) {
        let open = self.shut_until.is_none();
        match (answered(outcome), ticket) {
            (_, Ticket::Question) => {}
            (true, _) => *self = Breaker::default(),
            (false, Ticket::Probe) => self.shut(now),
            (false, Ticket::Open) if open => {
                self.failures += 1;
                if self.failures >= FAILURES {
                    self.shut(now);
                }
            }
            // It was begun before the gateway was found not to answer.
            (false, Ticket::Open | Ticket::Shut) => {}
        }
    }

    fn shut(&mut self, now: Instant) {
        let pause = FIRST.saturating_mul(1 << self.times_shut.min(6)).min(LONGEST);
        self.times_shut += 1;
        self.shut_until = Some(now + pause);
    }
}

/// Whether the gateway is there, and lets us in.
const fn answered(outcome: &Outcome) -> bool {
    match outcome {
        Outcome::Succeeded(_)
        | Outcome::Declined(_, _)
        | Outcome::Pending(_, _)
        | Outcome::NotFound
        | Outcome::Refused(Lasting::ForGood, _) => true,
        Outcome::NotSent(_) | Outcome::Refused(Lasting::ForNow { .. }, _) | Outcome::Unknown(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::payment::Reply;

    fn lost() -> Outcome {
        Outcome::Unknown(Reply::default())
    }

    fn fail(breaker: &mut Breaker, times: u32, now: Instant) {
        for _ in 0..times {
            let ticket = breaker.ticket(now);
            breaker.note(ticket, &lost(), now);
        }
    }

    #[test]
    fn it_shuts_after_ten_failures_in_a_row_and_an_answer_between_begins_anew() {
        let (mut breaker, now) = (Breaker::default(), Instant::now());
        fail(&mut breaker, FAILURES - 1, now);
        breaker.note(Ticket::Open, &Outcome::NotFound, now);
        fail(&mut breaker, FAILURES - 1, now);
        assert_eq!((breaker.is_shut(now), breaker.ticket(now)), (false, Ticket::Open));
        fail(&mut breaker, 1, now);
        assert_eq!((breaker.is_shut(now), breaker.ticket(now)), (true, Ticket::Shut));
    }

    #[test]
    fn one_call_probes_and_the_others_wait_for_what_it_shows() {
        let (mut breaker, now) = (Breaker::default(), Instant::now());
        fail(&mut breaker, FAILURES, now);
        let later = now + FIRST;
        assert!(!breaker.is_shut(later));
        assert_eq!((breaker.ticket(later), breaker.ticket(later)), (Ticket::Probe, Ticket::Shut));
        breaker.note(Ticket::Probe, &Outcome::Succeeded(Reply::default()), later);
        assert_eq!(breaker.ticket(later), Ticket::Open);
        assert_eq!(breaker.ticket(later), Ticket::Open);
    }

    #[test]
    fn each_probe_that_fails_doubles_the_pause_up_to_a_minute() {
        let (mut breaker, mut now) = (Breaker::default(), Instant::now());
        fail(&mut breaker, FAILURES, now);
        for seconds in [1, 2, 4, 8, 16, 32, 60, 60] {
            let until = now + Duration::from_secs(seconds);
            assert!(breaker.is_shut(until - Duration::from_millis(1)) && !breaker.is_shut(until), "{seconds}");
            now = until;
            fail(&mut breaker, 1, now);
        }
    }

    #[test]
    fn what_was_under_way_when_it_shut_neither_lengthens_the_pause_nor_counts_twice() {
        let (mut breaker, now) = (Breaker::default(), Instant::now());
        fail(&mut breaker, FAILURES, now);
        for _ in 0..400 {
            breaker.note(Ticket::Open, &lost(), now);
        }
        assert!(!breaker.is_shut(now + FIRST));
        breaker.note(Ticket::Open, &Outcome::NotFound, now);
        assert_eq!(breaker.ticket(now), Ticket::Open, "any answer opens it");
    }

    #[test]
    fn questions_neither_shut_it_nor_open_it() {
        let (mut breaker, now) = (Breaker::default(), Instant::now());
        for _ in 0..400 {
            breaker.note(Ticket::Question, &lost(), now);
        }
        assert!(!breaker.is_shut(now));
        fail(&mut breaker, FAILURES, now);
        breaker.note(Ticket::Question, &Outcome::NotFound, now);
        assert!(breaker.is_shut(now));
    }

    #[test]
    fn a_probe_that_never_reports_is_followed_by_another() {
        let (mut breaker, now) = (Breaker::default(), Instant::now());
        fail(&mut breaker, FAILURES, now);
        assert_eq!(breaker.ticket(now + FIRST), Ticket::Probe);
        assert_eq!(breaker.ticket(now + FIRST + LONGEST), Ticket::Probe);
    }
}
