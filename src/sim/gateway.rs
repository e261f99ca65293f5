//! The other side: a gateway that is the ledger of truth, and a network that loses, delays and repeats, as far as the
//! contract allows and no further.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use super::{
    Rng,
    book::{Book, Ruling, Stands},
};
use crate::payment::{
    Call, Contract, Deduplication, Finality, Inquiry, Kind, Lasting, NextAction, Operation, OperationKey, Outcome,
    PaymentId, Reply,
};

/// What the gateway knows of one key.
#[derive(Clone, Debug)]
struct Known {
    call: Call,
    /// When it first saw the key.
    first_seen: u64,
    verdict: Verdict,
}

/// What it decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    Moved,
    Declined(Finality),
    /// Waiting; at the given time it becomes the given verdict.
    Pending {
        until: u64,
        moves: bool,
        asks_payer: bool,
    },
}

/// How troubled the world is: chances in a hundred.
#[derive(Clone, Copy, Debug)]
pub struct Weather {
    /// No byte leaves.
    pub not_sent: u64,
    /// The request is lost on the way.
    pub lost: u64,
    /// The request is acted on, and the reply is lost.
    pub reply_lost: u64,
    /// The request is acted on as late as the contract allows, long after the reply was given up.
    pub late: u64,
    /// The gateway says no.
    pub declined: u64,
    /// The gateway decides later.
    pub pending: u64,
    /// The gateway refuses, for now or for good.
    pub refused: u64,
    /// The reply speaks of another amount.
    pub mangled: u64,
    /// An inquiry gets no answer.
    pub blind: u64,
    /// An inquiry says "not found" although the gateway acted, as long as the contract says that it may.
    pub lagging: u64,
}

impl Weather {
    /// Nothing goes wrong.
    pub const CALM: Weather = Weather {
        not_sent: 0,
        lost: 0,
        reply_lost: 0,
        late: 0,
        declined: 0,
        pending: 0,
        refused: 0,
        mangled: 0,
        blind: 0,
        lagging: 0,
    };

    /// Each thing by a chance of its own, drawn anew for each seed: some seeds are stormy, some have one trouble only; in
    /// some no inquiry is answered before the sun comes out.
    pub fn draw(rng: &mut Rng) -> Weather {
        let dark = rng.one_in(8);
        let mut chance = |most: u64| if rng.one_in(2) { rng.below(most + 1) } else { 0 };
        Weather {
            not_sent: chance(20),
            lost: chance(25),
            reply_lost: chance(25),
            late: chance(20),
            declined: chance(15),
            pending: chance(15),
            refused: chance(10),
            mangled: chance(10),
            blind: if dark { 100 } else { chance(40) },
            lagging: chance(60),
        }
    }
}

/// What a call comes to: an answer at a time, and perhaps a delivery before or after it.
#[derive(Clone, Debug)]
pub struct Course {
    /// When the caller of the gateway has its outcome.
    pub answered_at: u64,
    /// When the request gets there, if it does.
    pub delivered_at: Option<u64>,
    /// What the outcome is, where it does not depend on what the gateway does.
    pub fixed: Option<Outcome>,
    /// The reply is lost, or comes too late: whatever the gateway does, nobody hears of it.
    pub unheard: bool,
    mangled: bool,
}

/// The ledger of truth: of one gateway, or of several that know nothing of each other. Money is counted for all of them.
#[derive(Debug)]
pub struct SimGateway {
    contract: Contract,
    /// By the gateway's name, too: none knows what another was asked.
    known: BTreeMap<(Arc<str>, OperationKey), Known>,
    moved: BTreeMap<OperationKey, u64>,
    book: Book,
    rng: Rng,
    /// How troubled the world is now.
    pub weather: Weather,
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

impl SimGateway {
    /// A gateway that keeps this contract.
    pub fn new(contract: Contract, weather: Weather, rng: Rng) -> SimGateway {
        SimGateway { contract, known: BTreeMap::new(), moved: BTreeMap::new(), book: Book::default(), rng, weather }
    }

    /// How often money moved under a key.
    pub fn moved(&self, key: &OperationKey) -> u64 {
        self.moved.get(key).copied().unwrap_or(0)
    }

    /// Every key under which money moved.
    pub fn movements(&self) -> impl Iterator<Item = (&OperationKey, &u64)> {
        self.moved.iter()
    }

    /// Whether it would say what became of an operation, to whoever asks long enough.
    pub fn can_tell(&self, operation: &Operation) -> bool {
        let known = self.known.contains_key(&(operation.gateway.name.clone(), operation.operation_key));
        known && matches!(self.contract.inquiry, Inquiry::ByKey { .. })
    }

    /// What moved of a payment and back, in minor units.
    pub fn balance(&self, payment: &PaymentId) -> (u64, u64) {
        self.book.moved(payment)
    }

    /// Mints an id, unless that is lost. Moves nothing.
    pub fn prepare(&mut self, call: &Call) -> Outcome {
        let Weather { not_sent, lost, reply_lost, refused, .. } = self.weather;
        if self.rng.percent(not_sent) {
            return Outcome::NotSent(Reply::new("refused", "nobody listens"));
        }
        if self.rng.percent(lost) || self.rng.percent(reply_lost) {
            return Outcome::Unknown(Reply::new("reset", "the connection broke"));
        }
        if self.rng.percent(refused) {
            return Outcome::Refused(Lasting::ForNow { retry_after: None }, Reply::new("refused", "never executed"));
        }
        Outcome::Succeeded(Reply::new("minted", "").with_reference(&minted(&call.operation_key)))
    }

    /// Plots what a sending comes to that starts now and may send bytes until `not_after`.
    pub fn send(&mut self, now: u64, not_after: u64, skew: u64) -> Course {
        let Weather { not_sent, lost, reply_lost, late, mangled, .. } = self.weather;
        let fixed = |at, outcome| Course {
            answered_at: at,
            delivered_at: None,
            fixed: Some(outcome),
            unheard: true,
            mangled: false,
        };
        if now >= not_after || self.rng.percent(not_sent) {
            let at = now + self.rng.below(50);
            return fixed(at, Outcome::NotSent(Reply::new("refused", "nobody listens")));
        }
        let given_up = not_after.max(now + 1);
        if self.rng.percent(lost) {
            let at = self.rng.between(now, given_up);
            return fixed(at, Outcome::Unknown(Reply::new("reset", "the connection broke")));
        }
        let travel = self.rng.between(1, 200);
        if self.rng.percent(late) {
            // The last byte leaves just in time, the network holds it back, and the gateway takes all the time it may.
            let latest = given_up + skew.saturating_sub(1) + millis(self.contract.max_processing);
            let at = if self.rng.one_in(2) { latest } else { self.rng.between(now + 1, latest) };
            let course = fixed(given_up, Outcome::Unknown(Reply::new("timeout", "no reply came in time")));
            return Course { delivered_at: Some(at), ..course };
        }
        let acts = now + travel;
        let reply = acts + self.rng.between(1, 200);
        let mangled = self.rng.percent(mangled);
        if self.rng.percent(reply_lost) || reply > given_up {
            let course = fixed(given_up, Outcome::Unknown(Reply::new("timeout", "no reply came in time")));
            return Course { delivered_at: Some(acts), ..course };
        }
        Course { answered_at: reply, delivered_at: Some(acts), fixed: None, unheard: false, mangled }
    }

    /// A request arrives. Returns what the reply will say.
    pub fn deliver(&mut self, now: u64, call: &Call, mangled: bool) -> Outcome {
        self.settle_payment(now, &call.payment);
        if let Some(known) = self.remembered(now, &page(call)) {
            return self.mangle(self.tell(now, &known), mangled);
        }
        let Weather { declined, pending, refused, .. } = self.weather;
        if self.rng.percent(refused) {
            let lasting = if self.rng.one_in(3) { Lasting::ForGood } else { Lasting::ForNow { retry_after: None } };
            return Outcome::Refused(lasting, Reply::new("refused", "never executed"));
        }
        let ruling = self.book.rule(call);
        if ruling == Ruling::Invalid {
            return Outcome::Refused(Lasting::ForGood, Reply::new("invalid", "nothing that this could act on"));
        }
        let verdict = if ruling == Ruling::Declined {
            Verdict::Declined(Finality::Hard)
        } else if self.rng.percent(declined) {
            let soft = self.contract.soft_decline_window.is_some() && self.rng.one_in(2);
            Verdict::Declined(if soft { Finality::Soft } else { Finality::Hard })
        } else if self.rng.percent(pending) && !self.lets_go_of_pending(call) {
            let longest = if self.rng.one_in(20) { 3 * 24 * 3_600_000 } else { 1_800_000 };
            let until = now + self.rng.between(1_000, longest);
            Verdict::Pending { until, moves: self.rng.one_in(2), asks_payer: self.rng.one_in(2) }
        } else {
            Verdict::Moved
        };
        let voided = match verdict {
            Verdict::Moved => {
                *self.moved.entry(call.operation_key).or_default() += 1;
                self.book.note(call, Stands::Done)
            }
            // Whoever lets go of what is pending does so at once.
            Verdict::Pending { .. } => self.book.note(call, Stands::Pending),
            Verdict::Declined(_) => None,
        };
        if let Some(first) = voided.and_then(|first| self.known.get_mut(&(call.gateway.name.clone(), first))) {
            first.verdict = Verdict::Declined(Finality::Hard);
        }
        let known = Known { call: call.clone(), first_seen: now, verdict };
        self.known.insert(page(call), known.clone());
        self.mangle(self.tell(now, &known), mangled)
    }

    fn lets_go_of_pending(&self, call: &Call) -> bool {
        call.kind == Kind::Void && self.book.moved(&call.payment) == (0, 0)
    }

    /// What a deduplicating gateway still remembers of a key.
    fn remembered(&mut self, now: u64, key: &(Arc<str>, OperationKey)) -> Option<Known> {
        self.settle_pending(now, key);
        let Deduplication::ByKey { ttl } = self.contract.deduplication else { return None };
        self.known.get(key).filter(|known| now < known.first_seen + millis(ttl)).cloned()
    }

    /// What is pending of a payment, and due, is decided before anything else is done to it.
    fn settle_payment(&mut self, now: u64, payment: &PaymentId) {
        let due = |known: &Known| {
            known.call.payment == *payment && matches!(known.verdict, Verdict::Pending { until, .. } if until <= now)
        };
        let keys: Vec<_> = self.known.iter().filter(|(_, known)| due(known)).map(|(key, _)| key.clone()).collect();
        keys.iter().for_each(|key| self.settle_pending(now, key));
    }

    /// A pending operation whose time has come is decided.
    fn settle_pending(&mut self, now: u64, key: &(Arc<str>, OperationKey)) {
        let Some(known) = self.known.get_mut(key) else { return };
        if let Verdict::Pending { until, moves, .. } = known.verdict
            && now >= until
        {
            self.book.decided(&known.call, moves);
            known.verdict = if moves { Verdict::Moved } else { Verdict::Declined(Finality::Hard) };
            if moves {
                *self.moved.entry(key.1).or_default() += 1;
            }
        }
    }

    fn tell(&self, _now: u64, known: &Known) -> Outcome {
        match known.verdict {
            Verdict::Moved => Outcome::Succeeded(Reply::new("approved", "").with_reference("sim_1")),
            Verdict::Declined(finality) => Outcome::Declined(finality, Reply::new("declined", "")),
            Verdict::Pending { asks_payer, .. } => {
                let url = "https://bank.example/3ds".to_owned();
                let next_action = asks_payer.then_some(NextAction { url, expires_at: None });
                Outcome::Pending(next_action, Reply::new("pending", ""))
            }
        }
    }

    fn mangle(&self, outcome: Outcome, mangled: bool) -> Outcome {
        if mangled { Outcome::Unknown(Reply::new("mismatched_reply", "it speaks of another amount")) } else { outcome }
    }

    /// What it says by itself of a key that it knows.
    pub(super) fn say(&mut self, now: u64, call: &Call) -> Outcome {
        let key = page(call);
        self.settle_pending(now, &key);
        self.known.get(&key).map_or(Outcome::NotFound, |known| self.tell(now, known))
    }

    /// Answers an inquiry that arrives now.
    pub fn answer(&mut self, now: u64, call: &Call) -> Outcome {
        let Weather { blind, lagging, .. } = self.weather;
        if self.rng.percent(blind) {
            return Outcome::Unknown(Reply::new("timeout", "no answer came"));
        }
        let key = page(call);
        self.settle_pending(now, &key);
        let lag = match self.contract.inquiry {
            Inquiry::None => return Outcome::Unknown(Reply::new("unsupported", "it cannot be asked")),
            Inquiry::ByKey { not_found_lag, .. } => millis(not_found_lag),
        };
        let Some(known) = self.known.get(&key) else { return Outcome::NotFound };
        // What it has once said to be pending it does not deny when that is decided.
        let fresh = now < known.first_seen + lag;
        if fresh && self.rng.percent(lagging) { Outcome::NotFound } else { self.tell(now, known) }
    }

    /// Lets every pending operation be decided by a time.
    pub fn settle(&mut self, now: u64) {
        let keys: Vec<_> = self.known.keys().cloned().collect();
        keys.iter().for_each(|key| self.settle_pending(now, key));
    }
}

impl Course {
    /// Whether the reply is garbled.
    pub const fn is_mangled(&self) -> bool {
        self.mangled
    }
}

/// Where what is known of a call is noted.
fn page(call: &Call) -> (Arc<str>, OperationKey) {
    (call.gateway.name.clone(), call.operation_key)
}

/// The id that is minted for a key: always the same.
pub(super) fn minted(key: &OperationKey) -> String {
    format!("minted_{key}")
}
