//! Every crash point: scripted lives, stopped at each IO step, with many kinds of damage; the next start stopped at each
//! of its IO steps too, and at times the one after it; and then everything that anybody had been told must still be true.
//!
//! Besides stops: a write or fsync that fails, a disk that is full from there on, and media that rot, where a start may
//! refuse but never lose or make up anything.
//!
//! Knows nothing of callers, gateways or the network: what they say is in the script.

mod life;

mod scripts;

use super::{Damage, Fault, Loss, Rng, Violation};
use life::{Life, Start};
use scripts::{SCRIPTS, Script};

/// How many crash points were tried.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Points {
    /// All of them: an ending of a life, or of a start, with one kind of damage, and a start after it that was checked.
    pub points: u64,
    /// Those at which a start was stopped that followed a stop.
    pub in_recovery: u64,
    /// Those at which a write or an fsync failed, or space ran out.
    pub failed: u64,
    /// Those at which the media had rotted.
    pub rotten: u64,
    /// Those of the last whose damage a start refused by name; the others had lost nothing.
    pub refused: u64,
    /// The first promise that broke.
    pub violation: Option<Violation>,
}

impl Points {
    /// Both together.
    #[must_use]
    pub fn plus(self, other: Points) -> Points {
        Points {
            points: self.points + other.points,
            in_recovery: self.in_recovery + other.in_recovery,
            failed: self.failed + other.failed,
            rotten: self.rotten + other.rotten,
            refused: self.refused + other.refused,
            violation: self.violation.or(other.violation),
        }
    }
}

/// How many scripts there are.
pub const fn scripts() -> usize {
    SCRIPTS.len()
}

/// Tries every point of one script, with the chance of one seed; or one step in so many, chosen by chance.
pub fn every_crash_point(script: usize, seed: u64, one_in: u64) -> Points {
    let mut points = Points::default();
    let Some(script) = SCRIPTS.get(script) else { return points };
    let mut rng = Rng::new(seed.wrapping_mul(31));
    let mut whole = Life::new(script);
    whole.live();
    points.violation = whole.broken.take();
    for step in 0..whole.disk.steps() {
        if points.violation.is_none() && rng.one_in(one_in) {
            let mut trial = Trial { script, step, rng: rng.fork(), points: &mut points };
            trial.stops();
            trial.failures();
            trial.rot();
        }
    }
    points
}

/// One step of one script, and what can happen there.
struct Trial<'a> {
    script: &'static Script,
    step: u64,
    rng: Rng,
    points: &'a mut Points,
}

impl Trial<'_> {
    /// Lives up to the step, where the fault strikes.
    fn live(&mut self, fault: Fault) -> Life {
        let mut life = Life::new(self.script);
        life.fault = Some((self.step, fault));
        life.disk.fail_at(self.step, fault);
        life.live();
        self.broke(life.broken.take());
        life
    }

    fn broke(&mut self, violation: Option<Violation>) {
        if let Some(violation) = violation {
            self.points.violation.get_or_insert(violation);
        }
    }

    /// The process or the machine stops: each kind of damage twice, each with a chance of its own, and a mere kill.
    fn stops(&mut self) {
        let life = self.live(Fault::Stop);
        let losses = Damage::ALL.into_iter().flat_map(|damage| [Loss::Machine(damage); 2]).chain([Loss::Process]);
        for loss in losses {
            let dead = life.die(loss, &mut self.rng);
            let steps_before = dead.disk.steps();
            let again = self.check(dead.fork());
            for stop in steps_before..again.disk.steps() {
                self.stop_the_start(&dead, stop);
            }
        }
    }

    /// A start is stopped at one of its steps, or fails there; what is left is damaged again. At times the next one too.
    fn stop_the_start(&mut self, dead: &Life, mut stop: u64) {
        self.points.in_recovery += 1;
        let mut last = dead.fork();
        loop {
            let fault = if self.rng.one_in(5) { Fault::Io } else { Fault::Stop };
            last.disk.fail_at(stop, fault);
            drop(last.start());
            self.broke(last.broken.take());
            let loss = self.loss();
            last = last.die(loss, &mut self.rng);
            if !self.rng.one_in(4) {
                break;
            }
            stop = last.disk.steps() + self.rng.below(6);
        }
        self.check(last);
    }

    fn loss(&mut self) -> Loss {
        let damage = Damage::ALL.get(self.rng.below(8) as usize).copied().unwrap_or(Damage::Nothing);
        if self.rng.one_in(3) { Loss::Process } else { Loss::Machine(damage) }
    }

    /// A write or an fsync fails; or there is no space from here on, and then the life goes on as well as it can.
    fn failures(&mut self) {
        for fault in [Fault::Io, Fault::Full] {
            let life = self.live(fault);
            for loss in [Loss::Process, self.loss(), self.loss()] {
                self.points.failed += 1;
                let dead = life.die(loss, &mut self.rng);
                self.check(dead);
            }
        }
    }

    /// After a kill, a bit has flipped, or a sector was written over by another one that strayed, or is lost.
    fn rot(&mut self) {
        let life = self.live(Fault::Stop);
        for kind in 0..6 {
            let mut dead = life.die(Loss::Process, &mut self.rng);
            let rotted = match kind {
                0 | 1 => dead.disk.flip_any(&mut self.rng),
                2 | 3 => dead.disk.stray(&mut self.rng),
                _ => dead.disk.blank(&mut self.rng),
            };
            if !rotted {
                continue;
            }
            self.points.points += 1;
            self.points.rotten += 1;
            match dead.start_and_check() {
                Start::Refused(_) => self.points.refused += 1,
                Start::Broken(violation) => self.broke(Some(violation)),
                Start::Kept => {}
            }
        }
    }

    /// One point: a start after a stop, which must neither refuse nor have lost anything.
    fn check(&mut self, mut dead: Life) -> Life {
        self.points.points += 1;
        match dead.start_and_check() {
            Start::Kept => {}
            Start::Broken(violation) => self.broke(Some(violation)),
            Start::Refused(why) => {
                let what = format!("a start was refused: {why}");
                self.broke(Some(Violation { promise: "P7", payment: None, what }));
            }
        }
        dead
    }
}
