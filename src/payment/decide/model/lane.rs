//! One operation of the model: who is at work on it, its gateway, and what its caller was told.

use std::hash::Hash;

use super::{Contract, Gateway, Inquiry, Nature, Said, System};
use crate::payment::{
    Cause, Fact, Kind, Operation, Outcome, Pursuit, Reply, Standing, Tick, Timestamp,
    decide::model::world::{START, Sin},
};

/// The task that sends an attempt: volatile.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Worker {
    pub(super) attempt: u32,
    /// Whether a byte of it has left.
    pub(super) left: bool,
    /// The reply that is on its way back.
    pub(super) reply: Option<Said>,
    /// Whether the gateway recognised the key, and said what it did before.
    pub(super) recognised: bool,
}

/// The task that asks the gateway: volatile.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Question {
    pub(super) asked: Tick,
    /// What the gateway has answered, on its way back.
    pub(super) answer: Option<Said>,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) struct Lane {
    pub(super) worker: Option<Worker>,
    pub(super) question: Option<Question>,
    pub(super) gateway: Gateway,
    /// What whoever waited was told when it became final.
    pub(super) told: Option<Standing>,
    /// Whether its declines are soft.
    soft: bool,
}

impl Lane {
    pub(super) const fn new(nature: Nature) -> Lane {
        let soft = nature.turns.is_some();
        Lane { worker: None, question: None, gateway: Gateway::new(nature), told: None, soft }
    }

    /// The first byte of the request leaves.
    pub(super) fn leave(&mut self, now: u64) {
        if let Some(worker) = &mut self.worker {
            worker.left = true;
            self.gateway.sent(worker.attempt, now);
        }
    }

    /// Whether the worker may let its first byte go.
    pub(super) fn may_leave(&self, operation: &Operation, wall: Timestamp) -> bool {
        let in_time = match &operation.standing {
            Standing::Sent { not_after } => wall <= *not_after,
            _ => false,
        };
        in_time && self.worker.is_some_and(|worker| !worker.left)
    }

    /// The attempt that waits for a reply.
    pub(super) fn waiting(&self) -> Option<u32> {
        self.worker.filter(|worker| worker.left && worker.reply.is_none()).map(|worker| worker.attempt)
    }

    /// The gateway gets an attempt's request; returns whether it acted.
    pub(super) fn deliver(&mut self, attempt: u32, said: Said, now: u64) -> bool {
        let waited_for = self.waiting() == Some(attempt);
        let recognised = self.gateway.deliver(attempt, said, now);
        if let Some(worker) = self.worker.as_mut().filter(|_| waited_for) {
            (worker.reply, worker.recognised) = (Some(said), recognised);
        }
        !recognised && !matches!(said, Said::RefusedForNow | Said::RefusedForGood)
    }

    /// The worker reports: the reply if there is one and it is not lost, else that nothing is known, or nothing left.
    pub(super) fn report(&mut self, lost: bool) -> Option<(u32, Outcome)> {
        let worker = self.worker.take()?;
        let outcome = match worker.reply.filter(|_| !lost) {
            Some(said) => self.outcome(said),
            None if worker.left || lost => Said::Nothing.outcome(false),
            None => Outcome::NotSent(Reply::new("unreachable", "")),
        };
        Some((worker.attempt, outcome))
    }

    pub(super) fn answers(&self, now: u64) -> Vec<Said> {
        let unanswered = self.question.is_some_and(|question| question.answer.is_none());
        if unanswered { self.gateway.answers(now) } else { Vec::new() }
    }

    pub(super) fn look(&mut self, said: Said) {
        if let Some(question) = &mut self.question {
            question.answer = Some(said);
        }
    }

    /// The answer that has come back, and when it was asked for.
    pub(super) fn answered(&mut self) -> Option<(Tick, Outcome)> {
        let question = self.question.take()?;
        Some((question.asked, self.outcome(question.answer?)))
    }

    pub(super) fn outcome(&self, said: Said) -> Outcome {
        said.outcome(self.soft)
    }

    /// Whether an attempt may be started here, by what the gateway really did and may still do.
    pub(super) fn examine(&self, operation: Option<&Operation>, fact: &Fact, contract: &Contract) -> Option<Sin> {
        let Fact::AttemptStarted { not_after, cause, .. } = fact else { return None };
        let acted = self.gateway.decision.is_some();
        let believed = operation.is_some_and(|operation| operation.may_have_acted);
        if !acted && !self.gateway.may_act() && !believed {
            return None;
        }
        let pending = matches!(operation.map(|operation| &operation.standing), Some(Standing::AtGateway { .. }));
        let proven = match (contract.inquiry, cause) {
            // Asked about the one truth, it must have told it.
            (Inquiry::ByKey { .. }, Cause::ProvenNotFound { .. } | Cause::Person(_)) => {
                !acted && !self.gateway.may_act()
            }
            // It cannot say what it did, but all it did is done, or it has said that it has it.
            (Inquiry::None, Cause::SameKey | Cause::Person(_)) => pending || !self.gateway.may_act(),
            (Inquiry::ByKey { .. }, Cause::SameKey)
            | (Inquiry::None, Cause::ProvenNotFound { .. })
            | (_, Cause::First | Cause::NothingHappened) => false,
        };
        if !proven {
            Some(Sin::Unproven)
        } else if !self.gateway.will_remember(not_after.as_millis() - START) {
            Some(Sin::DeadKey)
        } else {
            None
        }
    }
}

/// What a caller is told of a final operation.
pub(super) fn answer(operation: &Operation) -> Option<Standing> {
    match &operation.standing {
        Standing::Declined { finality, reply, .. } => {
            Some(Standing::Declined { finality: *finality, open_until: None, reply: reply.clone() })
        }
        other => Some(other.clone()).filter(|_| operation.is_final()),
    }
}

/// Which times a rule of this system can ask about at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Relevance {
    /// Where nothing is sent again after doubt, nobody asks how old a key is.
    key: bool,
    /// Where the gateway can be asked, a pending operation is patient since it was last heard of.
    asked: bool,
    /// The longest age that makes a difference.
    longest: u64,
}

impl Relevance {
    pub(super) fn of(system: &System) -> Relevance {
        let life = system.rules.schedule.key_life(&system.rules.contract);
        let longest = life.unwrap_or_default().max(system.rules.contract.park_after);
        Relevance {
            key: life.is_some(),
            asked: matches!(system.rules.contract.inquiry, Inquiry::ByKey { .. }),
            longest: u64::try_from(longest.as_millis()).expect("small") + 1,
        }
    }
}

/// What is seen of an operation at a time: all that can still make a difference. Words and absolute times do not, nor
/// does what no rule looks at where the operation stands.
#[derive(Clone, Copy, Debug)]
pub(super) struct Lens {
    pub(super) relevance: Relevance,
    pub(super) now: u64,
    pub(super) wall: Timestamp,
    pub(super) tick: Tick,
}

impl Lens {
    pub(super) fn operation(self, operation: &Operation) -> impl Hash + use<> {
        let (wall, relevant) = (self.wall, self.relevance);
        let age = |at: Timestamp| u64::try_from(wall.since(at).as_millis()).expect("small").min(relevant.longest);
        let ahead = |at: Timestamp| (at.as_millis() + 1).saturating_sub(wall.as_millis());
        let (standing, time) = match &operation.standing {
            Standing::Intended => (0, 0),
            Standing::Sent { not_after } => (1, ahead(*not_after)),
            Standing::AtGateway { .. } if relevant.asked => (2, 0),
            Standing::AtGateway { since, .. } => (2, age(*since)),
            Standing::InDoubt { since, .. } => (3, age(*since)),
            // Its `since` is asked about only once it is in doubt again, because another gateway was configured.
            Standing::Parked { .. } => (4, 0),
            Standing::Succeeded(_) => (5, 0),
            Standing::Declined { open_until: None, .. } => (6, 0),
            Standing::Declined { open_until: Some(until), .. } => (7, ahead(*until)),
            Standing::Canceled(_) => (8, 0),
        };
        let sendings =
            (operation.attempts, operation.may_have_acted, operation.first_sent.filter(|_| relevant.key).map(age));
        // Of a void that is over, whether anything of it may have left tells whether it may have let go of something.
        let ended = (operation.this.kind == Kind::Void && operation.is_final()).then_some(operation.may_have_acted);
        let moved = operation.contradicted.map(|_| operation.has_happened());
        (standing, time, moved, ended, Some(sendings).filter(|_| !operation.is_final()))
    }

    pub(super) fn chase(
        self,
        operation: &Operation,
        pursuit: &Pursuit,
        question: Option<Question>,
    ) -> impl Hash + use<> {
        let tick = self.tick;
        let ahead = |at: Tick| at.as_millis().saturating_sub(tick.as_millis());
        let age = |at: Tick| (tick.as_millis() - at.as_millis()).min(self.relevance.longest);
        // Whether times matter: of a call under way, or where nothing is chased, some do not.
        let (waits, doubt, pending) = match &operation.standing {
            Standing::InDoubt { .. } | Standing::Parked { .. } => (true, true, false),
            Standing::AtGateway { .. } => (true, true, true),
            Standing::Intended | Standing::Declined { open_until: Some(_), .. } => (true, false, false),
            _ => (false, false, false),
        };
        let heard = Some(age(pursuit.heard)).filter(|_| pending && self.relevance.asked);
        // Only whether the next question comes a spacing after the last that counted: one millisecond.
        let counted = Some((pursuit.not_founds.min(2), age(pursuit.not_found_asked).min(1)));
        let question = question.map(|question| {
            let believable = question.asked >= pursuit.believable_from;
            let apart = pursuit.not_founds == 0 || question.asked > pursuit.not_found_asked;
            (question.answer, doubt.then(|| (believable, apart, age(question.asked).min(1))))
        });
        let believable_from = Some(ahead(pursuit.believable_from)).filter(|_| !operation.is_at_rest());
        // Every pause is one millisecond here: the engine may be late anyway, which is a longer pause.
        let due = Some(ahead(pursuit.due)).filter(|_| waits && !pursuit.calling);
        let counted = counted.filter(|(times, _)| doubt && *times > 0);
        (pursuit.calling, doubt && pursuit.inquiries > 0, counted, heard, believable_from, due, question)
    }

    /// Who is at work on it, and the gateway.
    pub(super) fn lane(self, lane: &Lane, rests: bool) -> impl Hash + use<> {
        let worker = lane.worker.map(|worker| (worker.left, worker.reply, worker.recognised));
        (worker, lane.gateway.essence(self.now, lane.waiting(), rests))
    }
}
