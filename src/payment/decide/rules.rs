//! What holds for every decision: the gateway's contract and bytes, our schedule, and what becomes of money that moved late.
//!
//! Knows nothing of what is decided.

use std::sync::Arc;

use crate::payment::{Contract, Encoder, Identity, Namespace, Payment, Route, Schedule};

/// What holds for decisions about the payments of one gateway.
#[derive(Clone, Debug)]
pub struct Rules {
    /// The gateway's side.
    pub contract: Contract,
    /// Our side.
    pub schedule: Schedule,
    /// What goes into operation keys besides.
    pub namespace: Namespace,
    /// Whether anything may be sent: not from a copied folder.
    pub sending: bool,
    /// Whether this process found its folder copied or restored: what it takes up may have gone on elsewhere since.
    pub restored: bool,
    /// How the gateway's adapter puts an operation into bytes.
    pub encoder: Encoder,
    /// What becomes of money that has moved although a caller was told, or wished, that it would not.
    pub policies: Policies,
    /// Every gateway that there is, this one too: where a payment may go that certainly has not happened here. Without
    /// any, it stays.
    pub routes: Arc<Vec<Route>>,
}

impl Rules {
    /// The rules of a folder of its own with one gateway, with the default schedule and policies.
    pub fn new(contract: Contract, encoder: Encoder) -> Rules {
        Rules {
            contract,
            schedule: Schedule::default(),
            namespace: Namespace::default(),
            sending: true,
            restored: false,
            encoder,
            policies: Policies::default(),
            routes: Arc::default(),
        }
    }

    /// Whether the gateway does not answer at present.
    pub(super) fn is_shut(&self) -> bool {
        self.routes.iter().any(|route| route.contract.identity == self.contract.identity && route.shut)
    }
}

/// The rules of each gateway.
#[derive(Clone, Debug)]
pub struct Rulebook {
    /// Of those that no route names: payments of a gateway that is not configured any more are judged by these, and find
    /// that it is another one.
    first: Rules,
    rest: Vec<Rules>,
}

impl From<Rules> for Rulebook {
    fn from(first: Rules) -> Rulebook {
        Rulebook { first, rest: Vec::new() }
    }
}

impl Rulebook {
    /// The same rules for several gateways; `rules` are those of the first.
    pub fn of_routes(rules: Rules, routes: Vec<Route>) -> Rulebook {
        let routes = Arc::new(routes);
        let of = |route: &Route| Rules {
            contract: route.contract.clone(),
            encoder: route.encoder.clone(),
            routes: routes.clone(),
            ..rules.clone()
        };
        let mut all: Vec<Rules> = routes.iter().map(of).collect();
        if all.is_empty() {
            return rules.into();
        }
        Rulebook { first: all.remove(0), rest: all }
    }

    /// For a new payment, by the place of its route.
    pub fn at(&self, place: usize) -> &Rules {
        place.checked_sub(1).and_then(|place| self.rest.get(place)).unwrap_or(&self.first)
    }

    /// For a payment: those of the gateway that its first operation is, or may have been, sent to.
    pub fn of(&self, payment: &Payment) -> &Rules {
        payment.first().and_then(|first| self.with(&first.gateway)).unwrap_or(&self.first)
    }

    fn with(&self, gateway: &Identity) -> Option<&Rules> {
        std::iter::once(&self.first).chain(&self.rest).find(|rules| rules.contract.identity == *gateway)
    }

    /// The place of a gateway's route.
    pub fn place_of(&self, gateway: &Identity) -> Option<usize> {
        std::iter::once(&self.first).chain(&self.rest).position(|rules| rules.contract.identity == *gateway)
    }

    /// Notes which gateways do not answer at present, by the places of their routes.
    pub fn note_shut(&mut self, is_shut: impl Fn(usize) -> bool) {
        if self.first.routes.iter().enumerate().all(|(place, route)| route.shut == is_shut(place)) {
            return;
        }
        let noted = |(place, route): (usize, &Route)| Route { shut: is_shut(place), ..route.clone() };
        let routes: Arc<Vec<Route>> = Arc::new(self.first.routes.iter().enumerate().map(noted).collect());
        for rules in std::iter::once(&mut self.first).chain(&mut self.rest) {
            rules.routes = routes.clone();
        }
    }
}

/// What becomes of money that has moved although a caller was told, or wished, that it would not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policies {
    /// After it was told declined or canceled.
    pub late_success: Late,
    /// After a void that came too late.
    pub late_void: Late,
}

impl Default for Policies {
    fn default() -> Policies {
        Policies {
            // Nobody asked for it back, and by now the goods may have been sent on other evidence: a person looks.
            late_success: Late::Adopt,
            // The caller has asked for it.
            late_void: Late::Refund,
        }
    }
}

/// What to do about money that moved late.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Late {
    /// It stays where it is, and is shown.
    Adopt,
    /// It goes back, by one operation of our own.
    Refund,
}
