//! Operators in worlds with two gateways: now and then they pause one of them, and after a while let it be sent to again.

use std::collections::BTreeSet;

use super::{Rng, world::World};
use crate::{
    engine::{Machine, Received},
    payment::{Action, Audit, Deed, Person},
};

/// What operators have done so far.
pub(super) struct Operators {
    /// Of their own, so that the rest of the world is as it was without them.
    chance: Rng,
    /// The gateways that are paused.
    paused: BTreeSet<String>,
    /// The process died while a deed was being recorded: a start shows whether it was.
    unsure: bool,
}

impl Operators {
    pub(super) fn new(seed: u64) -> Operators {
        Operators { chance: Rng::new(seed), paused: BTreeSet::new(), unsure: false }
    }
}

impl World {
    /// Pauses or resumes, or lets things be; in the end everything is resumed. Returns whether the journal goes on.
    pub(super) fn operate(&mut self, machine: &mut Machine) -> bool {
        let (calm, now) = (self.calm, self.clocks().wall);
        let Some(operators) = self.operators.as_mut() else { return true };
        // Seldom, and not for long: most of what happens is to happen without.
        let seldom = if operators.paused.is_empty() { 60 } else { 10 };
        let deeds = if calm { operators.paused.len() } else { usize::from(operators.chance.one_in(seldom)) };
        for _ in 0..deeds {
            let first = |name: &String| **name == *machine.rules().at(0).contract.identity.name;
            // One at a time: whatever is paused is resumed first.
            let place = match operators.paused.first() {
                Some(paused) => usize::from(!first(paused)),
                None => usize::from(operators.chance.one_in(2)),
            };
            let gateway = machine.rules().at(place).contract.identity.clone();
            let name = gateway.name.to_string();
            let resumes = operators.paused.contains(&name);
            let deed = match resumes {
                true => Deed::Resume { name: name.clone(), gateway },
                false => Deed::Pause { name: name.clone(), gateway },
            };
            let person = Person { actor: "ann".to_owned(), reason: "to see what happens".to_owned() };
            match machine.act(now, Audit { at: now, key: None, person, deed, carried: false }) {
                Ok(Received::Kept) if resumes => drop(operators.paused.remove(&name)),
                Ok(Received::Kept) => drop(operators.paused.insert(name)),
                Ok(Received::NoSpace) => {}
                Err(_) => {
                    operators.unsure = true;
                    return false;
                }
            }
        }
        true
    }

    /// A start: what was paused still is.
    pub(super) fn pauses_last(&mut self, machine: &Machine) {
        let Some(operators) = self.operators.as_mut() else { return };
        let named = |audit: &Audit| audit.deed.target().unwrap_or_default();
        let found: BTreeSet<String> = machine.pauses().iter().map(named).collect();
        if std::mem::take(&mut operators.unsure) {
            operators.paused = found;
        } else {
            self.oracle.pauses_last(&operators.paused, &found);
        }
    }

    /// Whether an action would send to a gateway that is paused.
    pub(super) fn obeys_pauses(&mut self, action: &Action) {
        let (Action::Prepare { call, .. } | Action::Send { call, .. }) = action else { return };
        let Some(operators) = self.operators.as_ref() else { return };
        self.oracle.sent_where_it_may_be(call, operators.paused.contains(&*call.gateway.name));
    }
}
