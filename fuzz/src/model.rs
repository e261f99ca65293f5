//! The naive model: a gateway that keeps one verdict a key, and callers who remember what they were told.

use std::collections::{BTreeMap, BTreeSet};

use payonce::{
    Amount, Capture, Currency, IdempotencyKey, Order, Payment, PaymentId, State, Tenant, Timestamp,
    payment::{Deduplication, Finality, Kind, OperationKey, Outcome, Reply, Rules, Standing},
};

/// The wall clock at the beginning.
pub(super) const EPOCH_MS: u64 = 1_770_000_000_000;
/// How many payments there are.
pub(super) const PAYMENTS: usize = 6;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Moved,
    Declined(Finality),
    Pending,
}

struct Known {
    first_seen: u64,
    verdict: Verdict,
}

/// The gateway: acts on a key that it does not remember, repeats itself about one that it does.
#[derive(Default)]
pub(super) struct Ledger {
    known: BTreeMap<OperationKey, Known>,
    moved: BTreeMap<OperationKey, u32>,
}

impl Ledger {
    pub(super) fn moved(&self, key: &OperationKey) -> u32 {
        self.moved.get(key).copied().unwrap_or(0)
    }

    pub(super) fn knows(&self, key: &OperationKey) -> bool {
        self.known.contains_key(key)
    }

    pub(super) fn is_pending(&self, key: &OperationKey) -> bool {
        self.known.get(key).is_some_and(|known| known.verdict == Verdict::Pending)
    }

    /// A request arrives, and `new` is what it would come to.
    pub(super) fn deliver(&mut self, now: u64, key: OperationKey, new: Verdict, rules: &Rules) -> Outcome {
        let remembers = match rules.contract.deduplication {
            Deduplication::None => false,
            Deduplication::ByKey { ttl } => {
                self.known.get(&key).is_some_and(|known| now < known.first_seen + ttl.as_millis() as u64)
            }
        };
        if !remembers {
            self.known.insert(key, Known { first_seen: now, verdict: new });
            self.count(key, new);
        }
        self.tell(&key)
    }

    pub(super) fn settle(&mut self, key: OperationKey, moves: bool) {
        let verdict = if moves { Verdict::Moved } else { Verdict::Declined(Finality::Hard) };
        if let Some(known) = self.known.get_mut(&key).filter(|known| known.verdict == Verdict::Pending) {
            known.verdict = verdict;
            self.count(key, verdict);
        }
    }

    pub(super) fn pending(&self) -> Vec<OperationKey> {
        self.known.keys().filter(|key| self.is_pending(key)).copied().collect()
    }

    /// What an inquiry hears; a replica may lag for as long as the contract says.
    pub(super) fn answer(&self, now: u64, key: &OperationKey, lag: u64, lags: bool) -> Outcome {
        match self.known.get(key) {
            Some(known) if !(lags && now < known.first_seen + lag) => self.tell(key),
            Some(_) | None => Outcome::NotFound,
        }
    }

    fn count(&mut self, key: OperationKey, verdict: Verdict) {
        if verdict == Verdict::Moved {
            *self.moved.entry(key).or_default() += 1;
            assert_eq!(self.moved(&key), 1, "P2: money moved twice under {key}");
        }
    }

    fn tell(&self, key: &OperationKey) -> Outcome {
        match self.known.get(key).map(|known| known.verdict) {
            Some(Verdict::Moved) => Outcome::Succeeded(Reply::new("approved", "").with_reference("gw_1")),
            Some(Verdict::Declined(finality)) => Outcome::Declined(finality, Reply::new("declined", "")),
            Some(Verdict::Pending) => Outcome::Pending(None, Reply::new("pending", "")),
            None => Outcome::NotFound,
        }
    }

    /// What is said of a payment is what happened.
    pub(super) fn check_truth(&self, payment: &Payment) {
        for operation in &payment.operations {
            let moved = self.moved(&operation.operation_key);
            let holds = match &operation.standing {
                // A void that found nothing to undo was not asked of anybody, or in vain.
                Standing::Succeeded(reply) if matches!(reply.code(), "nothing_to_void" | "canceled") => {
                    operation.this.kind == Kind::Void && moved == 0
                }
                Standing::Succeeded(_) => moved == 1,
                Standing::Canceled(_) | Standing::Declined { .. } | Standing::Intended => moved == 0,
                Standing::Sent { .. }
                | Standing::AtGateway { .. }
                | Standing::InDoubt { .. }
                | Standing::Parked { .. } => moved <= 1,
            };
            assert!(holds, "P4: {:?}, but money moved {moved} times", operation.standing);
        }
    }
}

pub(super) fn key(number: usize) -> IdempotencyKey {
    IdempotencyKey::new(&format!("order-{number}")).expect("legal")
}

pub(super) fn id(number: usize) -> PaymentId {
    PaymentId::derive(&Tenant::default(), &key(number))
}

/// The order of a payment, and others that somebody may give under its key.
pub(super) fn order(number: usize, variant: usize) -> Order {
    let amount = Amount::new(if variant == 1 { 2 } else { 1 + number as u64 * 100 }).expect("legal");
    let destination = if variant == 3 { "carol" } else { "bob" };
    let mut order = Order::new(amount, Currency::new("USD").expect("a currency"), "alice", destination).expect("legal");
    if variant == 2 {
        order = order.with_capture(Capture::Manual);
    }
    if variant == 3 {
        order = order.with_description("other").expect("legal");
    }
    match number {
        4 => order.with_expiry(Timestamp::from_millis(EPOCH_MS + 3_600_000)),
        5 => order.with_expiry(Timestamp::from_millis(EPOCH_MS + 10_000)),
        _ => order,
    }
}

/// The fields in which two variants differ, as a person would list them.
pub(super) fn differing(one: usize, other: usize) -> Vec<&'static str> {
    let touched = |variant: usize| match variant {
        1 => vec!["amount"],
        2 => vec!["capture"],
        3 => vec!["destination", "description"],
        _ => vec![],
    };
    let all: BTreeSet<&str> = touched(one).into_iter().chain(touched(other)).collect();
    let order = ["amount", "currency", "source", "destination", "capture", "description", "metadata", "expires_at"];
    if one == other { Vec::new() } else { order.into_iter().filter(|name| all.contains(name)).collect() }
}

pub(super) fn request(number: usize, variant: usize) -> Vec<u8> {
    format!("{} {} {variant}", order(number, variant).amount, key(number)).into_bytes()
}

/// What a caller was told at last, and must be told for ever.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Final {
    state: State,
    standing: Standing,
    created_at: Timestamp,
    settled_at: Option<Timestamp>,
}

impl Final {
    fn of(payment: &Payment) -> Option<Final> {
        let mut standing = payment.operations.first()?.standing.clone();
        if let Standing::Declined { open_until, .. } = &mut standing {
            *open_until = None;
        }
        let (created_at, settled_at) = (payment.created_at, payment.settled_at);
        payment.is_settled().then(|| Final { state: payment.state(), standing, created_at, settled_at })
    }
}

/// What callers know of one payment.
#[derive(Default)]
pub(super) struct Book {
    /// The variant that was accepted.
    pub(super) accepted: Option<usize>,
    /// Variants that may have been, by a process that stopped before it said so.
    pub(super) perhaps: BTreeSet<usize>,
    told: Option<Final>,
}

impl Book {
    /// Somebody was answered with this payment.
    pub(super) fn answered(&mut self, payment: &Payment) {
        let now = Final::of(payment);
        if self.told.is_some() {
            assert_eq!(now, self.told, "P3: another answer than before");
        }
        self.told = now;
    }

    /// After a start: whatever was acknowledged is there, and final answers are what they were.
    pub(super) fn check(&self, number: usize, payment: Option<&Payment>) {
        let Some(variant) = self.accepted else { return };
        let payment = payment.expect("P6: an acknowledged payment is gone");
        assert_eq!(*payment.order, order(number, variant));
        if self.told.is_some() {
            assert_eq!(Final::of(payment), self.told, "P3: another answer after a start");
        }
    }
}
