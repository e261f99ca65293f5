//! Worlds with two gateways: a payment goes to either, and to the other if it certainly did not happen. Each keeps books of
//! its own; what moved is counted for both.

use super::world::World;
use crate::{
    engine::Machine,
    payment::{Contract, Identity, Route, Rulebook, Rules},
};

/// The rules of a gateway, and of another one that is like it.
pub(super) fn two(rules: Rules) -> Rulebook {
    let ours = &rules.contract;
    let identity = Identity { name: format!("{}, the other", ours.identity.name).into(), ..ours.identity.clone() };
    let other = Contract { identity, ..ours.clone() };
    let routes = [("one", ours.clone()), ("other", other)];
    let routes = routes.map(|(name, contract)| Route::new(name, contract, rules.encoder.clone()));
    Rulebook::of_routes(rules, routes.to_vec())
}

impl World {
    /// The rules of each gateway that there is.
    pub(super) fn rulebook(&self) -> Rulebook {
        let rules = self.rules.clone();
        if self.routing.is_some() { two(rules) } else { rules.into() }
    }

    /// Now and then one of them, or both, or none, are held to be down.
    pub(super) fn change_shut(&mut self, machine: &mut Machine) {
        let Some(chance) = self.routing.as_mut() else { return };
        if chance.one_in(4) {
            let shut = chance.below(4);
            machine.note_shut(|place| !self.calm && shut & (1 << place) != 0);
        }
    }
}
