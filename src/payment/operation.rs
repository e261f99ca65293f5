//! One thing asked of a gateway, and where it stands.

use super::{Amount, Finality, IdempotencyKey, Identity, NextAction, OperationKey, Order, Reply, Tick, Timestamp};

/// How the keys of operations begin that are the engine's own. Callers' keys may not.
pub(super) const OWN_KEYS: &str = "payonce:";

/// What is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// Move the money now.
    Charge,
    /// Set it aside.
    Authorize,
    /// Move what was set aside.
    Capture,
    /// Let go of what was set aside.
    Void,
    /// Move it back.
    Refund,
}

impl Kind {
    /// As in operation keys and HTTP bodies. Frozen: operation keys are made of it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Kind::Charge => "charge",
            Kind::Authorize => "authorize",
            Kind::Capture => "capture",
            Kind::Void => "void",
            Kind::Refund => "refund",
        }
    }
}

/// Which operation of a payment an event is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OperationRef {
    /// Its place in the payment; 0 is the first.
    pub number: u32,
    /// What it is.
    pub kind: Kind,
    /// How much it reserves.
    pub amount: Amount,
}

/// An operation to be put into its gateway's words.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    /// What is asked.
    pub kind: Kind,
    /// Under which key.
    pub operation_key: OperationKey,
    /// How much.
    pub amount: Amount,
    /// What the caller asked for.
    pub order: &'a Order,
    /// For captures, voids and refunds: the operation that they act on.
    pub charge: Option<OperationKey>,
    /// The gateway's own id: the one that it minted for this operation, or that of the operation that it acts on.
    pub reference: Option<&'a str>,
}

/// An operation: its frozen request, its attempts, and where it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Operation {
    /// Place, kind and amount.
    pub this: OperationRef,
    /// The caller's name for it; for the first operation, the payment's own.
    pub key: IdempotencyKey,
    /// Its idempotency key at the gateway.
    pub operation_key: OperationKey,
    /// The only gateway that is ever asked about it, once anything can have happened there.
    pub gateway: Identity,
    /// The exact bytes to send, without secrets. Dropped when nothing can be sent any more.
    pub request: Vec<u8>,
    /// The id that the gateway minted for it before it was sent, where the contract asks for that.
    pub prepared: Option<String>,
    /// How many sendings were started.
    pub attempts: u32,
    /// When the first sending was started: the age of the key at the gateway.
    pub first_sent: Option<Timestamp>,
    /// Whether some attempt may have been executed: it ended neither NotSent nor Refused.
    pub may_have_acted: bool,
    /// Where it stands.
    pub standing: Standing,
    /// What news has said since against what was told. Changes no answer.
    pub contradicted: Option<Contradiction>,
}

/// News against what was told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Contradiction {
    /// Told declined or canceled; it happened.
    Moved,
    /// Told succeeded; it has not happened, or was undone.
    Reversed,
}

/// Where an operation stands. The diagram is in `payment/mod.rs`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Nothing is under way, and nothing can have happened: every attempt so far ended NotSent or Refused.
    Intended,
    /// An attempt is under way, or was when the process stopped.
    Sent {
        /// Not one byte leaves after this.
        not_after: Timestamp,
    },
    /// Accepted by the gateway, which has not decided yet.
    AtGateway {
        /// What the payer has to do first.
        next_action: Option<NextAction>,
        /// What the gateway said.
        reply: Reply,
        /// Since when.
        since: Timestamp,
    },
    /// Something may have happened, and only the gateway knows.
    InDoubt {
        /// Why: what came instead of an answer.
        reply: Reply,
        /// Since when. Kept across restarts.
        since: Timestamp,
    },
    /// In doubt, and left to people. Slow inquiries go on.
    Parked {
        /// Why nothing more is sent.
        reason: ParkReason,
        /// What was known when it was parked.
        reply: Reply,
        /// Since when in doubt.
        since: Timestamp,
    },
    /// Final.
    Succeeded(Reply),
    /// Final for the caller.
    Declined {
        /// Whether the gateway may still reverse it.
        finality: Finality,
        /// When to ask for the last time whether it did; only for soft declines.
        open_until: Option<Timestamp>,
        /// What the gateway said.
        reply: Reply,
    },
    /// Final: nothing was done, and nothing will be.
    Canceled(Reply),
}

/// Why an operation was left to people.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ParkReason {
    /// The gateway did not say what became of it for as long as the schedule asks.
    Exhausted,
    /// The gateway says that it does not know it, but would not notice if it got it twice.
    NotFoundWithoutDeduplication,
    /// The gateway says that it does not know it, but the key's time there is over, or nearly, or how old the key is
    /// is not known.
    KeyExpired,
    /// The gateway can neither be asked, nor would notice if it got it twice.
    NoWayToKnow,
    /// The configured gateway is another one than the one that it belongs to, whether it was sent there or not.
    GatewayChanged,
    /// It may no longer be sent: the order's `expires_at` has passed.
    OrderExpired,
    /// Deciding about it failed in this program. A defect: please report it.
    Defect,
}

impl ParkReason {
    /// All of them.
    pub const ALL: [ParkReason; 7] = [
        ParkReason::Exhausted,
        ParkReason::NotFoundWithoutDeduplication,
        ParkReason::KeyExpired,
        ParkReason::NoWayToKnow,
        ParkReason::GatewayChanged,
        ParkReason::OrderExpired,
        ParkReason::Defect,
    ];

    /// As in HTTP bodies.
    pub const fn as_str(self) -> &'static str {
        match self {
            ParkReason::Exhausted => "schedule_exhausted",
            ParkReason::NotFoundWithoutDeduplication => "not_found_without_deduplication",
            ParkReason::KeyExpired => "key_expired",
            ParkReason::NoWayToKnow => "no_way_to_know",
            ParkReason::GatewayChanged => "gateway_changed",
            ParkReason::OrderExpired => "order_expired",
            ParkReason::Defect => "defect",
        }
    }

    /// A sentence for the person who has to decide.
    pub const fn message(self) -> &'static str {
        match self {
            ParkReason::Exhausted => "the gateway has not said what became of it for as long as the schedule asks",
            ParkReason::NotFoundWithoutDeduplication => {
                "the gateway does not know it, but would not notice a second sending, so it is not sent again"
            }
            ParkReason::KeyExpired => {
                "the gateway does not know it, but may have forgotten its key by now, so it is not sent again"
            }
            ParkReason::NoWayToKnow => "the gateway can neither be asked nor notice a second sending",
            ParkReason::GatewayChanged => {
                "it belongs to another gateway or account than the configured one, and goes on when that returns"
            }
            ParkReason::OrderExpired => "the gateway does not know it, and the order's expires_at has passed",
            ParkReason::Defect => "deciding about it failed: a defect in this program, please report it",
        }
    }
}

impl Operation {
    /// As it is when it has been decided on: nothing has left.
    pub fn intended(
        this: OperationRef,
        key: IdempotencyKey,
        operation_key: OperationKey,
        gateway: Identity,
        request: Vec<u8>,
    ) -> Operation {
        Operation {
            this,
            key,
            operation_key,
            gateway,
            request,
            prepared: None,
            attempts: 0,
            first_sent: None,
            may_have_acted: false,
            standing: Standing::Intended,
            contradicted: None,
        }
    }

    /// Whether the engine began it by itself.
    pub fn is_own(&self) -> bool {
        self.this.number > 0 && self.key.as_str().starts_with(OWN_KEYS)
    }

    /// Whether the caller's answer can no longer change.
    pub fn is_final(&self) -> bool {
        match self.standing {
            Standing::Succeeded(_) | Standing::Declined { .. } | Standing::Canceled(_) => true,
            Standing::Intended
            | Standing::Sent { .. }
            | Standing::AtGateway { .. }
            | Standing::InDoubt { .. }
            | Standing::Parked { .. } => false,
        }
    }

    /// Whether nothing is left to find out: final, and not a soft decline with its window open.
    pub fn is_at_rest(&self) -> bool {
        let window_open = matches!(self.standing, Standing::Declined { open_until: Some(_), .. });
        self.is_final() && !window_open
    }

    /// Whether it happened, as far as is known today: news counts, also against what was told.
    pub fn has_happened(&self) -> bool {
        match (self.contradicted, &self.standing) {
            (Some(Contradiction::Moved), _) | (None, Standing::Succeeded(_)) => true,
            (Some(Contradiction::Reversed), _)
            | (
                None,
                Standing::Intended
                | Standing::Sent { .. }
                | Standing::AtGateway { .. }
                | Standing::InDoubt { .. }
                | Standing::Parked { .. }
                | Standing::Declined { .. }
                | Standing::Canceled(_),
            ) => false,
        }
    }

    /// Whether its amount counts against the payment: it moved, it may have moved, or it may still move.
    pub fn holds_reservation(&self) -> bool {
        match (self.contradicted, &self.standing) {
            (Some(Contradiction::Moved), _) => true,
            (Some(Contradiction::Reversed), _)
            | (None, Standing::Canceled(_) | Standing::Declined { open_until: None, .. }) => false,
            (
                None,
                Standing::Declined { open_until: Some(_), .. }
                | Standing::Succeeded(_)
                | Standing::Intended
                | Standing::Sent { .. }
                | Standing::AtGateway { .. }
                | Standing::InDoubt { .. }
                | Standing::Parked { .. },
            ) => true,
        }
    }

    /// The gateway's own id: the one that was minted first, or the one that came with a reply.
    pub fn gateway_id(&self) -> Option<&str> {
        self.prepared.as_deref().or(self.reply().and_then(Reply::reference))
    }

    /// What the gateway said last, or what was said for it.
    pub fn reply(&self) -> Option<&Reply> {
        match &self.standing {
            Standing::Intended | Standing::Sent { .. } => None,
            Standing::AtGateway { reply, .. }
            | Standing::InDoubt { reply, .. }
            | Standing::Parked { reply, .. }
            | Standing::Declined { reply, .. }
            | Standing::Succeeded(reply)
            | Standing::Canceled(reply) => Some(reply),
        }
    }
}

/// How far the chase for one operation's truth has come. In memory only: it starts anew with each process, which
/// only ever makes us more patient.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pursuit {
    /// A sending or an inquiry is under way, or the process has not taken the operation up yet: nothing may start.
    pub calling: bool,
    /// Sendings ended without an effect, in a row: the back-off.
    pub setbacks: u32,
    /// Inquiries without a final answer.
    pub inquiries: u32,
    /// "Not found" answers that counted.
    pub not_founds: u32,
    /// When the last of them was asked for: the next counts only if it was asked some time later.
    pub not_found_asked: Tick,
    /// When the gateway last said that it is still deciding; or when the process started.
    pub heard: Tick,
    /// The earliest time at which "not found" may be believed.
    pub believable_from: Tick,
    /// When to act next.
    pub due: Tick,
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::payment::samples::{at, charge, operation, reply};

    /// A payment's caller may choose a key that looks like one of the engine's.
    #[test]
    fn the_first_operation_is_never_the_engines_own_whatever_its_key() {
        let mut one = operation(charge(), Standing::Intended);
        one.key = IdempotencyKey::new(&format!("{OWN_KEYS}x")).expect("legal");
        assert!(!one.is_own());
        one.this.number = 1;
        assert!(one.is_own());
    }

    const REASONS: [(ParkReason, &str); 7] = [
        (ParkReason::Exhausted, "schedule_exhausted"),
        (ParkReason::NotFoundWithoutDeduplication, "not_found_without_deduplication"),
        (ParkReason::KeyExpired, "key_expired"),
        (ParkReason::NoWayToKnow, "no_way_to_know"),
        (ParkReason::GatewayChanged, "gateway_changed"),
        (ParkReason::OrderExpired, "order_expired"),
        (ParkReason::Defect, "defect"),
    ];

    #[test]
    fn the_words_of_kinds_and_reasons_never_change() {
        let kinds = [Kind::Charge, Kind::Authorize, Kind::Capture, Kind::Void, Kind::Refund];
        assert_eq!(kinds.map(Kind::as_str), ["charge", "authorize", "capture", "void", "refund"]);
        for (reason, word) in REASONS {
            assert_eq!(reason.as_str(), word);
        }
    }

    #[test]
    fn every_reason_explains_itself_to_the_person_who_decides() {
        let messages: BTreeSet<&str> = REASONS.iter().map(|(reason, _)| reason.message()).collect();
        assert_eq!(messages.len(), REASONS.len());
        assert!(messages.iter().all(|message| message.contains(' ')), "sentences, not words");
    }

    /// Each standing: is it final, is it at rest, does it hold its amount?
    #[test]
    fn an_amount_is_let_go_only_when_it_can_no_longer_move() {
        let (reply, since) = (reply(), at(5));
        let declined = |finality, open_until| Standing::Declined { finality, open_until, reply: reply.clone() };
        let parked = Standing::Parked { reason: ParkReason::Exhausted, reply: reply.clone(), since };
        for (standing, answer) in [
            (Standing::Intended, (false, false, true)),
            (Standing::Sent { not_after: since }, (false, false, true)),
            (Standing::AtGateway { next_action: None, reply: reply.clone(), since }, (false, false, true)),
            (Standing::InDoubt { reply: reply.clone(), since }, (false, false, true)),
            (parked, (false, false, true)),
            (Standing::Succeeded(reply.clone()), (true, true, true)),
            (declined(Finality::Soft, Some(since)), (true, false, true)),
            (declined(Finality::Soft, None), (true, true, false)),
            (declined(Finality::Hard, None), (true, true, false)),
            (Standing::Canceled(reply.clone()), (true, true, false)),
        ] {
            let operation = operation(charge(), standing);
            let found = (operation.is_final(), operation.is_at_rest(), operation.holds_reservation());
            assert_eq!(found, answer, "{operation:?}");
            let says = !matches!(operation.standing, Standing::Intended | Standing::Sent { .. });
            assert_eq!(operation.reply(), says.then_some(&reply), "{operation:?}");
        }
    }
}
