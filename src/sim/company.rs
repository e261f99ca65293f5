//! Worlds in which a turn takes what several payments have waited with, as it does while a batch is synced; and in which
//! not every new payment finds a gateway's call free, so that some of a turn are refused among others that are not.

use std::{collections::BTreeMap, sync::Arc};

use super::{
    Rng,
    world::{What, World},
};
use crate::{
    engine::{Admission, Machine},
    payment::{Input, Payment, PaymentId},
};

/// The longest that anything waits for company, in milliseconds: long beside what a disk takes, but callers come seldom.
const LONGEST: u64 = 60_000;

/// What waits for the next turn, and its chances.
pub(super) struct Company {
    rng: Rng,
    waiting: Vec<(PaymentId, Input)>,
}

/// Payments that somebody goes on with in the very turn that may send them.
pub(super) type Crossed = BTreeMap<PaymentId, Option<Arc<Payment>>>;

impl Company {
    pub(super) const fn new(seed: u64) -> Company {
        Company { rng: Rng::new(seed), waiting: Vec::new() }
    }
}

impl World {
    /// What callers and the gateway say: decided now, or with what comes next.
    pub(super) fn turn(&mut self, inputs: Vec<(PaymentId, Input)>) {
        let waits = !self.calm && self.machine.is_some();
        let Some(company) = self.company.as_mut().filter(|_| waits) else { return self.turn_at_once(inputs) };
        if !company.rng.one_in(2) {
            return self.turn_at_once(inputs);
        }
        company.waiting.extend(inputs);
        let at = self.now + company.rng.below(LONGEST);
        self.at(at, What::Company { life: self.life });
    }

    /// What the process decides on by itself: first what waits has come.
    pub(super) fn turn_at_once(&mut self, inputs: Vec<(PaymentId, Input)>) {
        let mut all = self.company.as_mut().map(|company| std::mem::take(&mut company.waiting)).unwrap_or_default();
        all.extend(inputs);
        let admission = self.admission();
        self.decide(&all, admission);
    }

    /// What has waited long enough is decided on, unless it went with what came since.
    pub(super) fn decide_what_waits(&mut self) {
        if self.company.as_ref().is_some_and(|company| !company.waiting.is_empty()) {
            self.turn_at_once(Vec::new());
        }
    }

    fn admission(&mut self) -> Admission {
        let mut free = 64;
        if let Some(company) = self.company.as_mut().filter(|_| !self.calm)
            && company.rng.one_in(2)
        {
            free = company.rng.below(3) as usize;
        }
        Admission { new_payments: vec![free; 2] }
    }

    /// What waited is lost with the process: of callers nothing was recorded, and replies are heard by nobody.
    pub(super) fn part_company(&mut self) {
        if let Some(company) = &mut self.company {
            company.waiting.clear();
        }
    }
}

/// What one input sends, and a later one of the same turn voids, crosses its void as if that had come a moment after: it was
/// wanted as the payment stood before.
pub(super) fn crossed(inputs: &[(PaymentId, Input)], machine: &Machine) -> Crossed {
    let sends = |(id, input): &(PaymentId, Input), of: &PaymentId| id == of && input.follow_up().is_none();
    let sent_before = |at: usize, of: &PaymentId| inputs.iter().take(at).any(|input| sends(input, of));
    let late =
        inputs.iter().enumerate().filter(|(at, (id, input))| input.follow_up().is_some() && sent_before(*at, id));
    late.map(|(_, (id, _))| (*id, machine.get(id).ok().flatten())).collect()
}
