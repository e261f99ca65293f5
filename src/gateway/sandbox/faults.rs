//! What can go wrong on purpose, how often, and the dice that decide.

use std::fmt;

use crate::payment::Invalid;

/// One way in which the sandbox misbehaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Fault {
    /// The connection is closed at once. Nothing was read; in process, nothing was sent.
    Refuse,
    /// The request is lost before it acted.
    DropBefore,
    /// It acted, and the reply is lost.
    DropAfter,
    /// It answers 500, and has not acted.
    ErrorBefore,
    /// It answers 500, and has acted.
    ErrorAfter,
    /// It takes up to two seconds, and then acts and answers, whether anybody still listens or not.
    Delay,
    /// The connection is lost, and one to three seconds later it acts.
    Late,
    /// It acts twice on one delivery. Only where it does not deduplicate does that move money twice.
    Twice,
    /// It answers `pending`, and settles by itself one to three seconds later.
    Pending,
    /// It answers `pending` with something for the payer to do, and waits for that.
    Challenge,
    /// It declines.
    Decline,
    /// It acts, but inquiries say "not found" for one to two seconds.
    NotFoundLag,
    /// It acts, and the answer speaks of another amount.
    WrongAmount,
    /// It acts, and the answer cannot be read.
    Garbage,
    /// It does not notice that it has seen the key before.
    Forget,
}

impl Fault {
    /// Every kind.
    pub const ALL: [Fault; 15] = [
        Fault::Refuse,
        Fault::DropBefore,
        Fault::DropAfter,
        Fault::ErrorBefore,
        Fault::ErrorAfter,
        Fault::Delay,
        Fault::Late,
        Fault::Twice,
        Fault::Pending,
        Fault::Challenge,
        Fault::Decline,
        Fault::NotFoundLag,
        Fault::WrongAmount,
        Fault::Garbage,
        Fault::Forget,
    ];

    /// As in flags and bodies.
    pub const fn as_str(self) -> &'static str {
        match self {
            Fault::Refuse => "refuse",
            Fault::DropBefore => "drop-before",
            Fault::DropAfter => "drop-after",
            Fault::ErrorBefore => "error-before",
            Fault::ErrorAfter => "error-after",
            Fault::Delay => "delay",
            Fault::Late => "late",
            Fault::Twice => "twice",
            Fault::Pending => "pending",
            Fault::Challenge => "challenge",
            Fault::Decline => "decline",
            Fault::NotFoundLag => "not-found-lag",
            Fault::WrongAmount => "wrong-amount",
            Fault::Garbage => "garbage",
            Fault::Forget => "forget",
        }
    }

    /// Reads what `as_str` wrote.
    pub fn parse(text: &str) -> Option<Fault> {
        Fault::ALL.into_iter().find(|fault| fault.as_str() == text)
    }

    const fn bit(self) -> u16 {
        match self {
            Fault::Refuse => 1,
            Fault::DropBefore => 1 << 1,
            Fault::DropAfter => 1 << 2,
            Fault::ErrorBefore => 1 << 3,
            Fault::ErrorAfter => 1 << 4,
            Fault::Delay => 1 << 5,
            Fault::Late => 1 << 6,
            Fault::Twice => 1 << 7,
            Fault::Pending => 1 << 8,
            Fault::Decline => 1 << 9,
            Fault::NotFoundLag => 1 << 10,
            Fault::WrongAmount => 1 << 11,
            Fault::Garbage => 1 << 12,
            Fault::Forget => 1 << 13,
            Fault::Challenge => 1 << 14,
        }
    }
}

/// How often each fault strikes. None does, by default.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Faults(Vec<(Fault, f64)>);

impl Faults {
    /// No fault ever.
    pub fn none() -> Faults {
        Faults::default()
    }

    /// Adds a fault, or replaces its probability (0 to 1).
    pub fn with(mut self, fault: Fault, probability: f64) -> Result<Faults, Invalid> {
        if !(0.0..=1.0).contains(&probability) {
            return Err(Invalid::new("fault", "must have a probability from 0 to 1"));
        }
        self.0.retain(|(known, _)| *known != fault);
        if probability > 0.0 {
            self.0.push((fault, probability));
            self.0.sort_by_key(|(fault, _)| *fault);
        }
        Ok(self)
    }

    /// Adds a fault by name.
    pub fn with_named(self, kind: &str, probability: f64) -> Result<Faults, Invalid> {
        let fault = Fault::parse(kind).ok_or(Invalid::new("fault", KINDS))?;
        self.with(fault, probability)
    }

    /// Adds a fault written as `KIND=PROBABILITY`.
    pub fn with_written(self, text: &str) -> Result<Faults, Invalid> {
        let (kind, probability) = text.split_once('=').ok_or(Invalid::new("fault", "must be KIND=PROBABILITY"))?;
        let probability = probability.parse().map_err(|_| Invalid::new("fault", "must have a probability from 0 to 1"));
        self.with_named(kind, probability?)
    }

    /// How often a fault strikes: 0 to 1.
    pub fn probability(&self, fault: Fault) -> f64 {
        self.0.iter().find(|(known, _)| *known == fault).map_or(0.0, |(_, probability)| *probability)
    }
}

impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return f.write_str("none");
        }
        for (place, (fault, probability)) in self.0.iter().enumerate() {
            let comma = if place == 0 { "" } else { ", " };
            write!(f, "{comma}{} {probability}", fault.as_str())?;
        }
        Ok(())
    }
}

const KINDS: &str = "must be one of refuse, drop-before, drop-after, error-before, error-after, delay, late, twice, \
                     pending, challenge, decline, not-found-lag, wrong-amount, garbage, forget";

/// The faults that strike one request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Struck(u16);

impl Struck {
    pub(super) fn by(self, fault: Fault) -> bool {
        self.0 & fault.bit() != 0
    }
}

/// A small seeded generator (splitmix64): one seed, one run of luck.
#[derive(Clone, Debug)]
pub(super) struct Dice(u64);

impl Dice {
    pub(super) fn new(seed: u64) -> Dice {
        Dice(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// Whether something of this probability happens: 0 never, 1 always.
    pub(super) fn happens(&mut self, probability: f64) -> bool {
        let part = u32::try_from(self.next() >> 32).unwrap_or(u32::MAX);
        f64::from(part) / 4_294_967_296.0 < probability
    }

    /// A number from `from` to `to`, both included.
    pub(super) fn between(&mut self, from: u64, to: u64) -> u64 {
        from + self.next() % (to - from + 1)
    }

    /// Draws the faults of one request. Faults that never strike draw nothing, so that setting one leaves the others'
    /// luck alone as far as possible.
    pub(super) fn strike(&mut self, faults: &Faults) -> Struck {
        let drawn = faults.0.iter().filter(|(fault, _)| *fault != Fault::Refuse);
        Struck(
            drawn.fold(0, |all, (fault, probability)| all | if self.happens(*probability) { fault.bit() } else { 0 }),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_has_its_own_name_and_bit_and_is_listed() {
        let mut bits = 0;
        for fault in Fault::ALL {
            assert_eq!(Fault::parse(fault.as_str()), Some(fault));
            assert_eq!(bits & fault.bit(), 0);
            assert!(KINDS.contains(fault.as_str()));
            bits |= fault.bit();
        }
        assert_eq!(Fault::parse("Refuse"), None);
    }

    #[test]
    fn naming_a_fault_replaces_it_and_leaves_the_others() {
        let faults = Faults::none().with_written("late=0.5").and_then(|f| f.with_written("twice=1")).expect("legal");
        let faults = faults.with_named("late", 0.25).expect("legal");
        assert_eq!(faults.to_string(), "late 0.25, twice 1");
        assert_eq!(faults.with_named("twice", 0.0).expect("legal").to_string(), "late 0.25");
    }

    #[test]
    fn unknown_kinds_and_impossible_probabilities_are_refused() {
        for text in ["late", "late=", "late=x", "late=1.01", "late=-0.1", "late=NaN", "tardy=0.1", "=0.1"] {
            assert!(Faults::none().with_written(text).is_err(), "{text}");
        }
    }

    #[test]
    fn one_seed_is_one_run_of_luck_and_probabilities_are_kept() {
        let faults = Faults::none().with(Fault::Late, 0.25).and_then(|f| f.with(Fault::Twice, 1.0)).expect("legal");
        let run = |seed| {
            let mut dice = Dice::new(seed);
            (0..10_000).map(|_| dice.strike(&faults)).collect::<Vec<_>>()
        };
        let drawn = run(1);
        assert_eq!(drawn, run(1));
        assert_ne!(drawn, run(2));
        let late = drawn.iter().filter(|struck| struck.by(Fault::Late)).count();
        assert!((2_200..2_800).contains(&late), "{late}");
        assert!(drawn.iter().all(|struck| struck.by(Fault::Twice) && !struck.by(Fault::Decline)));
        let mut dice = Dice::new(3);
        assert!((0..1_000).map(|_| dice.between(5, 7)).all(|n| (5..=7).contains(&n)));
    }
}
