//! What operators do beside deciding about a payment, which is in that payment's own facts: kept for ever, with who did it
//! and why.

use super::{Identity, PaymentId, Person, Timestamp};

/// One thing that an operator did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Audit {
    /// When.
    pub at: Timestamp,
    /// The name of the API key that it was done with; none, where there are no keys.
    pub key: Option<String>,
    /// Who it was, by their own word, and why.
    pub person: Person,
    /// What.
    pub deed: Deed,
    /// A copy of what is still in force, for a start to find: not done again.
    pub carried: bool,
}

/// What an operator can do, and to what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Deed {
    /// Has the gateway asked now about a payment.
    Inquire(PaymentId),
    /// Has nothing more sent to a gateway.
    Pause {
        /// How the operator named it.
        name: String,
        /// Which it is.
        gateway: Identity,
    },
    /// Ends that.
    Resume {
        /// How the operator named it.
        name: String,
        /// Which it is.
        gateway: Identity,
    },
    /// Has nothing new taken, and what is under way finished.
    Drain,
    /// Ends that.
    Admit,
    /// Has an event told again to a receiver of webhooks, or all that it was not told.
    Replay {
        /// The receiver's name.
        webhook: String,
        /// Which event; none: all.
        event: Option<String>,
    },
    /// Gives up telling it.
    Discard {
        /// The receiver's name.
        webhook: String,
        /// Which event.
        event: String,
    },
    /// Decides what became of an operation that is in doubt, or cancels what has not been sent.
    Resolve(PaymentId),
    /// Has destroyed the key that a tenant's personal data was sealed under, while no daemon ran.
    Erase {
        /// Whose it was.
        tenant: String,
    },
}

impl Deed {
    /// What [`Deed::name`] says, of every deed.
    pub const NAMES: [&'static str; 9] =
        ["inquire", "pause", "resume", "drain", "admit", "replay", "discard", "resolve", "erase"];

    /// One word for lists and logs.
    pub const fn name(&self) -> &'static str {
        match self {
            Deed::Inquire(_) => "inquire",
            Deed::Pause { .. } => "pause",
            Deed::Resume { .. } => "resume",
            Deed::Drain => "drain",
            Deed::Admit => "admit",
            Deed::Replay { .. } => "replay",
            Deed::Discard { .. } => "discard",
            Deed::Resolve(_) => "resolve",
            Deed::Erase { .. } => "erase",
        }
    }

    /// To what, in a few words; none, where it is the whole daemon.
    pub fn target(&self) -> Option<String> {
        match self {
            Deed::Inquire(payment) | Deed::Resolve(payment) => Some(payment.to_string()),
            Deed::Pause { name, .. } | Deed::Resume { name, .. } => Some(name.clone()),
            Deed::Drain | Deed::Admit => None,
            Deed::Replay { webhook, event } => {
                Some(event.as_ref().map_or(webhook.clone(), |event| format!("{webhook} {event}")))
            }
            Deed::Discard { webhook, event } => Some(format!("{webhook} {event}")),
            Deed::Erase { tenant } => Some(tenant.clone()),
        }
    }
}

/// The pauses in force after one more deed: of each gateway the last.
pub fn fold_pauses(pauses: &mut Vec<Audit>, audit: &Audit) {
    let (Deed::Pause { gateway, .. } | Deed::Resume { gateway, .. }) = &audit.deed else { return };
    pauses.retain(|pause| !pause.is_pause_of(gateway));
    if audit.is_pause_of(gateway) {
        pauses.push(audit.clone());
    }
}

impl Audit {
    /// Whether it has nothing more sent to this gateway.
    pub fn is_pause_of(&self, gateway: &Identity) -> bool {
        matches!(&self.deed, Deed::Pause { gateway: paused, .. } if paused == gateway)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn audit(deed: Deed) -> Audit {
        let person = Person { actor: "ann".to_owned(), reason: "why not".to_owned() };
        Audit { at: Timestamp::default(), key: None, person, deed, carried: false }
    }

    fn deeds() -> [Deed; 9] {
        let (name, gateway) = ("eu".to_owned(), Identity::default());
        let (webhook, event) = ("shop".to_owned(), "evt".to_owned());
        [
            Deed::Inquire(PaymentId::from_bytes([7; 16])),
            Deed::Pause { name: name.clone(), gateway: gateway.clone() },
            Deed::Resume { name, gateway },
            Deed::Drain,
            Deed::Admit,
            Deed::Replay { webhook: webhook.clone(), event: None },
            Deed::Discard { webhook, event },
            Deed::Resolve(PaymentId::from_bytes([7; 16])),
            Deed::Erase { tenant: "books".to_owned() },
        ]
    }

    #[test]
    fn every_deed_has_a_word_and_says_what_it_was_done_to() {
        assert_eq!(deeds().map(|deed| deed.name()), Deed::NAMES);
        let targets = deeds().map(|deed| deed.target());
        let id = PaymentId::from_bytes([7; 16]).to_string();
        let (own, eu) = (Some(id.as_str()), Some("eu"));
        let wanted = [own, eu, eu, None, None, Some("shop"), Some("shop evt"), own, Some("books")];
        assert_eq!(targets.each_ref().map(Option::as_deref), wanted);
    }

    #[test]
    fn of_each_gateway_the_last_pause_is_in_force_until_it_is_resumed() {
        let of = |name: &str| Identity { name: name.into(), ..Identity::default() };
        let pause = |name: &str| audit(Deed::Pause { name: name.to_owned(), gateway: of(name) });
        let resume = |name: &str| audit(Deed::Resume { name: name.to_owned(), gateway: of(name) });
        let mut pauses = Vec::new();
        for done in [pause("a"), pause("b"), audit(Deed::Drain), pause("a"), resume("b"), resume("c")] {
            fold_pauses(&mut pauses, &done);
        }
        assert_eq!(pauses, [pause("a")]);
        fold_pauses(&mut pauses, &resume("a"));
        assert_eq!(pauses, []);
    }
}
