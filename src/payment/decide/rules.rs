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
            encoder,
            policies: Policies::default(),
            routes: Arc::default(),
        }
    }

    /// Whether nothing new is worth sending to the gateway at present, or must not be.
    pub(super) fn is_closed(&self) -> bool {
        self.route().is_some_and(Route::is_closed)
    }

    /// Whether an operator has nothing sent to the gateway.
    pub fn is_paused(&self) -> bool {
        self.route().is_some_and(|route| route.paused)
    }

    /// Whether what may have happened may be sent again. Asking goes on in any case.
    pub(super) fn may_send_again(&self) -> bool {
        self.sending && !self.is_paused()
    }

    fn route(&self) -> Option<&Route> {
        self.routes.iter().find(|route| route.contract.identity == self.contract.identity)
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
        self.note(|place, route| Route { shut: is_shut(place), ..route.clone() });
    }

    /// Notes to which gateways operators have nothing sent.
    pub fn note_paused(&mut self, is_paused: impl Fn(&Identity) -> bool) {
        self.note(|_, route| Route { paused: is_paused(&route.contract.identity), ..route.clone() });
    }

    fn note(&mut self, noted: impl Fn(usize, &Route) -> Route) {
        let routes = self.first.routes.iter().enumerate().map(|(place, route)| noted(place, route));
        let routes: Arc<Vec<Route>> = Arc::new(routes.collect());
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::payment::{Asked, Fact, OperationKey, samples};

    fn identity(name: &str) -> Identity {
        Identity { name: name.into(), ..Identity::default() }
    }

    fn routes(names: &[&str]) -> Vec<Route> {
        let route = |name: &&str| {
            let bytes = format!("for {name}");
            let encoder = Encoder::new(move |_| Ok(bytes.clone().into_bytes()));
            Route::new(name, Contract::standard(identity(name)), encoder)
        };
        names.iter().map(route).collect()
    }

    /// The rules of three gateways, in a folder where nothing is sent.
    fn book() -> Rulebook {
        let rules = Rules { sending: false, ..Rules::new(Contract::standard(identity("other")), Encoder::plain()) };
        Rulebook::of_routes(rules, routes(&["a", "b", "c"]))
    }

    fn at(gateway: &str) -> Payment {
        let mut intended = samples::intended(samples::charge());
        if let Fact::Intended { gateway: of, .. } = &mut intended {
            *of = identity(gateway);
        }
        samples::fold([samples::accepted(), intended]).expect("it fits")
    }

    fn name(rules: &Rules) -> &str {
        &rules.contract.identity.name
    }

    /// What a charge is in the bytes of these rules.
    fn bytes(rules: &Rules) -> String {
        let payment = at("a");
        let (order, this) = (&payment.order, samples::charge());
        let operation_key = OperationKey::from_bytes([1; 16]);
        let asked = Asked { kind: this.kind, operation_key, amount: this.amount, order, charge: None, reference: None };
        String::from_utf8(rules.encoder.encode(&asked).expect("it can")).expect("it is text")
    }

    #[test]
    fn each_payment_is_judged_by_the_rules_of_the_gateway_that_it_is_at() {
        let book = book();
        for (place, gateway) in ["a", "b", "c"].into_iter().enumerate() {
            assert_eq!((name(book.at(place)), name(book.of(&at(gateway)))), (gateway, gateway));
            assert_eq!(book.place_of(&identity(gateway)), Some(place));
            assert_eq!(bytes(book.at(place)), format!("for {gateway}"));
            assert_eq!((book.at(place).sending, book.at(place).routes.len()), (false, 3), "the rest is one for all");
        }
        // One that is not configured any more: the first one's rules find that it is another.
        assert_eq!((name(book.of(&at("d"))), book.place_of(&identity("d"))), ("a", None));
        assert_eq!(name(book.of(&samples::fold([samples::accepted()]).expect("it fits"))), "a");
    }

    #[test]
    fn without_routes_the_rules_are_those_of_the_one_gateway() {
        let rules = Rules::new(Contract::standard(identity("a")), Encoder::plain());
        let book = Rulebook::of_routes(rules, Vec::new());
        assert_eq!((name(book.at(0)), name(book.at(1)), book.at(0).is_closed()), ("a", "a", false));
    }

    #[test]
    fn which_gateways_are_shut_is_noted_in_the_rules_of_each_and_forgotten_when_they_are_back() {
        let mut book = book();
        for shut in [[false, true, false], [true, true, false], [true, false, true], [false; 3]] {
            book.note_shut(|place| shut[place]);
            assert_eq!([0, 1, 2].map(|place| book.at(place).is_closed()), shut);
            for place in 0..3 {
                let noted: Vec<bool> = book.at(place).routes.iter().map(|route| route.shut).collect();
                assert_eq!(noted, shut);
            }
            book.note_paused(|gateway| *gateway.name == *"c");
            assert_eq!([0, 1, 2].map(|place| book.at(place).is_paused()), [false, false, true]);
            assert_eq!([0, 1, 2].map(|place| book.at(place).is_closed()), [shut[0], shut[1], true]);
            book.note_paused(|_| false);
            let before = book.at(2).routes.clone();
            book.note_shut(|place| shut[place]);
            assert!(Arc::ptr_eq(&before, &book.at(2).routes), "nothing new, and nothing is made anew");
        }
    }
}
