//! The gateway of the model, and the wire to it. It does whatever its contract allows, at any time that it allows.
//!
//! To lose a request is not to deliver it; to delay or reorder requests is to deliver them late or in another order.

use crate::payment::{Finality, Lasting, Outcome, Reply};

/// What the gateway says, or that it says nothing that is understood.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Said {
    Succeeded,
    Declined,
    Pending,
    RefusedForNow,
    RefusedForGood,
    NotFound,
    Nothing,
}

/// How the gateway really is, whatever the contract claims. Times are in milliseconds; for a time means: for less.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Nature {
    /// For how long after it first saw a key it answers it with what it did; `None`: it executes what it gets.
    pub(super) remembers: Option<u64>,
    /// How long after it got a request it may still act on it.
    pub(super) max_processing: u64,
    /// How long the network may hold a request back.
    pub(super) held_back: u64,
    /// For how long after it acted it may still answer "not found".
    pub(super) lag: u64,
    /// For how long a decline of its may turn into a success; `None`: it stays.
    pub(super) turns: Option<u64>,
    /// What is wrong with this world: for the checks that the checks find it.
    pub(super) flaw: Option<Flaw>,
}

/// What no contract allows, and no engine survives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Flaw {
    /// The gateway acts on what it has refused.
    ActsOnRefused,
    /// The gateway says that it did what it declined.
    LiesWhenAsked,
    /// A crash loses the journal.
    LosesJournal,
    /// Actions leave before their facts are recorded.
    ReleasesEarly,
    /// The engine does not wake up when it is time.
    NeverWakes,
    /// The workers of a dead process go on.
    WorkersSurvive,
}

/// A request on the wire, or in the gateway's hands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Request {
    attempt: u32,
    left: u64,
    executed: bool,
}

/// Its ledger for the one operation key there is, and the requests that may still reach it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Gateway {
    nature: Nature,
    requests: Vec<Request>,
    /// How often money moved.
    pub(super) moved: u32,
    /// What it decided when it executed the operation: succeeded, declined or pending.
    pub(super) decision: Option<Said>,
    /// Whether it turned a decline into a success.
    pub(super) turned: bool,
    executed_at: u64,
    decided_at: u64,
    /// When it first saw the key, and on which attempt's request.
    seen_at: Option<(u64, u32)>,
}

impl Gateway {
    pub(super) const fn new(nature: Nature) -> Gateway {
        Gateway {
            nature,
            requests: Vec::new(),
            moved: 0,
            decision: None,
            turned: false,
            executed_at: 0,
            decided_at: 0,
            seen_at: None,
        }
    }

    /// A request leaves. The gateway may see its key at once, even if it acts late or never.
    pub(super) fn sent(&mut self, attempt: u32, now: u64) {
        self.requests.push(Request { attempt, left: now, executed: false });
        self.seen_at.get_or_insert((now, attempt));
    }

    /// What may happen to the requests under way: which attempt's, and what the gateway makes of it. `waiting` is the
    /// attempt whose reply somebody still waits for: a reply to another changes nothing.
    pub(super) fn deliveries(&self, now: u64, waiting: Option<u32>) -> Vec<(u32, Said)> {
        let mut possible = Vec::new();
        for request in &self.requests {
            let waited_for = waiting == Some(request.attempt);
            match self.decision.filter(|_| self.remembers(now)) {
                Some(decision) if waited_for || !request.executed => possible.push((request.attempt, decision)),
                Some(_) => {}
                None => possible.extend(
                    [Said::Succeeded, Said::Declined, Said::Pending].map(|decision| (request.attempt, decision)),
                ),
            }
            if waited_for && !request.executed {
                possible.extend([Said::RefusedForNow, Said::RefusedForGood].map(|said| (request.attempt, said)));
            }
        }
        possible
    }

    /// The gateway gets an attempt's request, perhaps for the second time where it deduplicates, and makes this of it.
    /// Returns whether it recognised the key.
    pub(super) fn deliver(&mut self, attempt: u32, said: Said, now: u64) -> bool {
        let refused = matches!(said, Said::RefusedForNow | Said::RefusedForGood);
        let recognised = !refused && self.knows(now);
        if !refused && !recognised {
            self.decision = Some(said);
            (self.executed_at, self.decided_at) = (now, now);
            self.moved += u32::from(said == Said::Succeeded);
        }
        let gone = refused && self.nature.flaw != Some(Flaw::ActsOnRefused);
        let once = gone || (!refused && self.nature.remembers.is_none());
        self.requests.retain(|request| !once || request.attempt != attempt);
        for request in self.requests.iter_mut().filter(|request| request.attempt == attempt) {
            request.executed |= !refused;
        }
        if refused && self.seen_at.is_some_and(|(_, by)| by == attempt) {
            // What was refused leaves no key behind.
            self.seen_at = self.requests.iter().map(|request| (request.left, request.attempt)).min();
        }
        self.forget(now);
        recognised
    }

    /// What it may decide by itself: about what it called pending, or against a decline of its own.
    pub(super) fn decisions(&self, now: u64) -> &'static [Said] {
        match self.decision {
            Some(Said::Pending) => &[Said::Succeeded, Said::Declined],
            Some(Said::Declined) if self.nature.turns.is_some_and(|time| now <= self.decided_at + time) => {
                &[Said::Succeeded]
            }
            _ => &[],
        }
    }

    pub(super) fn decide(&mut self, said: Said, now: u64) {
        self.turned = self.decision == Some(Said::Declined);
        self.decision = Some(said);
        self.decided_at = now;
        self.moved += u32::from(said == Said::Succeeded);
    }

    /// What it may answer to an inquiry now; the truth comes first.
    pub(super) fn answers(&self, now: u64) -> Vec<Said> {
        let truth = self.decision.unwrap_or(Said::NotFound);
        let mut possible = vec![truth, Said::Nothing];
        if self.decision.is_some() && now < self.executed_at + self.nature.lag {
            possible.push(Said::NotFound);
        }
        if self.nature.flaw == Some(Flaw::LiesWhenAsked) && self.decision == Some(Said::Declined) {
            possible.push(Said::Succeeded);
        }
        possible
    }

    /// Requests that the gateway can no longer act on are gone: too old, or executed under a key that it will remember
    /// for as long as it can get them once more.
    pub(super) fn forget(&mut self, now: u64) {
        let longest = self.nature.held_back + self.nature.max_processing;
        let (nature, seen) = (self.nature, self.seen());
        self.requests.retain(|request| {
            let harmless = request.executed && nature.remembers_at(seen, request.left + longest);
            now < request.left + longest && !harmless
        });
    }

    /// Whether a request that it has not acted on may still be acted on.
    pub(super) fn may_act(&self) -> bool {
        self.requests.iter().any(|request| !request.executed)
    }

    /// Whether it will still know the key when it acts on a request that left at `left`, as late as it may.
    pub(super) fn will_remember(&self, left: u64) -> bool {
        self.remembers(left + self.nature.held_back + self.nature.max_processing)
    }

    fn seen(&self) -> Option<u64> {
        self.seen_at.map(|(at, _)| at)
    }

    fn remembers(&self, at: u64) -> bool {
        self.nature.remembers_at(self.seen(), at)
    }

    /// Whether it would recognise the key.
    pub(super) fn knows(&self, now: u64) -> bool {
        self.decision.is_some() && self.remembers(now)
    }

    /// What it had not decided about it lets go of, because it was told to: no more comes of it.
    pub(super) fn let_go(&mut self, now: u64) {
        if self.decision == Some(Said::Pending) {
            (self.decision, self.decided_at) = (Some(Said::Declined), now);
        }
    }

    /// Everything that matters for what can still happen, with times relative to now and cut where they stop mattering.
    /// `rests`: nobody here sends or asks any more; then only what was done matters, if nothing is under way.
    pub(super) fn essence(&self, now: u64, waiting: Option<u32>, rests: bool) -> impl std::hash::Hash + use<> {
        let age = |at: u64, longest: u64| (now - at).min(longest);
        let requests: Vec<_> = self
            .requests
            .iter()
            .map(|request| (waiting == Some(request.attempt), now - request.left, request.executed))
            .collect();
        let seen =
            self.nature.remembers.and_then(|time| self.seen_at.map(|(at, by)| (age(at, time), waiting == Some(by))));
        let executed = self.decision.map(|_| age(self.executed_at, self.nature.lag));
        let declined = self.nature.turns.filter(|_| self.decision == Some(Said::Declined));
        let decided = declined.map(|time| age(self.decided_at, time + 1));
        let facts = (self.moved, self.decision, self.turned);
        let over = rests && requests.is_empty() && self.decisions(now).is_empty();
        (facts, (!over).then_some((requests, seen, executed, decided)))
    }
}

impl Nature {
    fn remembers_at(&self, seen: Option<u64>, at: u64) -> bool {
        match (self.remembers, seen) {
            (Some(time), Some(seen)) => at < seen + time,
            (Some(_), None) => true,
            (None, _) => false,
        }
    }
}

impl Said {
    pub(super) fn outcome(self, soft: bool) -> Outcome {
        let finality = if soft { Finality::Soft } else { Finality::Hard };
        match self {
            Said::Succeeded => Outcome::Succeeded(Reply::new("succeeded", "")),
            Said::Declined => Outcome::Declined(finality, Reply::new("declined", "")),
            Said::Pending => Outcome::Pending(None, Reply::new("pending", "")),
            Said::RefusedForNow => Outcome::Refused(Lasting::ForNow { retry_after: None }, Reply::new("busy", "")),
            Said::RefusedForGood => Outcome::Refused(Lasting::ForGood, Reply::new("invalid", "")),
            Said::NotFound => Outcome::NotFound,
            Said::Nothing => Outcome::Unknown(Reply::new("timeout", "")),
        }
    }
}
