//! Checkpoints, deaths of the process and of the machine, and what a start makes of them.

use super::{
    Damage, Fault, Loss,
    start::{Boot, keep, start},
    world::{JOURNAL, What, World},
};
use crate::{
    engine::{self, Carrying, Machine, Recovered, Stopped},
    journal,
    payment::{Clock, Distrust},
    store::Store,
};

impl World {
    /// The store takes all that has waited for it, in order.
    pub(super) fn keep(&mut self) {
        let Some(machine) = &mut self.machine else { return };
        for (rows, mark) in std::mem::take(&mut self.lag) {
            // What the store refuses stays in memory.
            let _ = keep(&self.store, machine, rows, &mark);
        }
    }

    /// It takes only some of what has waited longest: memory lets go of them, and the mark is the old one still.
    pub(super) fn keep_some(&mut self) {
        let (Some(machine), Ok(Some(old))) = (&mut self.machine, self.store.mark()) else { return };
        let Some((rows, _)) = self.lag.front_mut() else { return };
        let rest = rows.split_off(rows.len().div_ceil(2));
        let _ = keep(&self.store, machine, std::mem::replace(rows, rest), &old);
    }

    /// Begun, and finished some events later: whatever happens in between must not matter.
    pub(super) fn checkpoint(&mut self) {
        let wall = self.clocks().wall;
        if self.checkpoint.is_some() {
            // The flush comes after whatever was on its way before.
            self.keep();
        }
        let Some(mut machine) = self.machine.take() else { return };
        let done = match self.checkpoint.take() {
            None => {
                self.lag.push_back((Vec::new(), machine.mark()));
                let begun = machine.begin_checkpoint(wall, 1);
                let again = self.now + self.rng.below(2_000);
                self.at(again, What::Checkpoint);
                begun.map(|carrying| self.checkpoint = Some(carrying))
            }
            Some(carrying) => self.go_on_with(carrying, &mut machine),
        };
        match done {
            Ok(()) => self.machine = Some(machine),
            Err(_) => self.die(),
        }
    }

    /// Carries a few payments more, or all that is left of them: then it is finished.
    fn go_on_with(&mut self, carrying: Carrying, machine: &mut Machine) -> Result<(), Stopped> {
        let wall = self.clocks().wall;
        if self.rng.one_in(2) && !machine.carry_on(wall, 2)? {
            let again = self.now + self.rng.below(500);
            self.at(again, What::Checkpoint);
            self.checkpoint = Some(carrying);
            return Ok(());
        }
        let files = self.store.flush()?;
        machine.finish_checkpoint(wall, carrying, files).map(drop)
    }

    /// The process dies, or the machine; it may stay dead for days.
    pub(super) fn crash(&mut self) {
        if self.rng.one_in(3) {
            // Not now, but at some step of the disk from here on.
            let step = self.disk.steps() + self.rng.below(12);
            let fault = match self.rng.below(4) {
                0 => Fault::Io,
                1 => Fault::Full,
                _ => Fault::Stop,
            };
            self.disk.fail_at(step, fault);
            return;
        }
        self.die();
    }

    pub(super) fn die(&mut self) {
        self.report.crashes += 1;
        self.machine = None;
        self.checkpoint = None;
        self.lag.clear();
        self.part_company();
        self.life += 1;
        self.lose();
        self.cut_short();
        let pause = match self.rng.below(4) {
            0 => 0,
            1 => self.rng.below(5_000),
            2 => self.rng.below(120_000),
            _ => self.rng.below(30 * 3_600_000),
        };
        self.wall_off += if self.rng.one_in(6) { self.rng.below(7_200_000) as i64 - 3_600_000 } else { 0 };
        self.at(self.now + pause, What::Start);
    }

    pub(super) fn lose(&mut self) {
        let mut rng = self.rng.fork();
        let loss = if self.rng.one_in(2) {
            Loss::Process
        } else {
            Loss::Machine(Damage::ALL.get(self.rng.below(8) as usize).copied().unwrap_or(Damage::Nothing))
        };
        self.note(|| format!("crash: {loss:?}"));
        self.disk.crash(loss, &mut rng);
        match loss {
            Loss::Process => {
                let mut left = self.rng.below(50);
                self.store.crash(|| {
                    left = left.saturating_sub(1);
                    left > 0
                });
            }
            Loss::Machine(_) => {
                self.boot += 1;
                self.store.crash(|| rng.one_in(2));
            }
        }
        self.store.lose_layers(|| rng.one_in(2));
    }

    /// A dead process sends nothing: what the network holds of it arrives, and is acted on, within the contract's time.
    pub(super) fn cut_short(&mut self) {
        let skew = self.rules.schedule.skew.as_millis() as u64;
        let last = self.now + skew.saturating_sub(1) + self.rules.contract.max_processing.as_millis() as u64;
        let late: Vec<(u64, u64)> = self.queue.range((last + 1, 0)..).map(|(at, _)| *at).collect();
        for at in late {
            if let Some(what) = self.queue.remove(&at) {
                let then = if matches!(what, What::Deliver { .. }) { last } else { at.0 };
                self.at(then, what);
            }
        }
    }

    pub(super) fn start(&mut self) {
        if self.machine.is_some() {
            return;
        }
        self.life += 1;
        self.life_started = self.now;
        if !self.calm && self.rng.one_in(4) {
            let step = self.disk.steps() + self.rng.below(20);
            self.disk.fail_at(step, Fault::Stop);
        }
        match self.recover() {
            Ok(Recovered { machine, resume, .. }) => {
                self.note(|| format!("started; {} unresolved", resume.len()));
                self.oracle.started(|id| machine.get(id).ok().flatten().map(|payment| payment.as_ref().clone()));
                self.pauses_last(&machine);
                self.machine = Some(machine);
                self.turn_at_once(resume);
            }
            Err(_) if self.disk.has_failed() => {
                self.report.crashes_in_recovery += 1;
                self.die();
            }
            Err(engine::OpenError::Append(journal::AppendError::Full(_)))
            | Err(engine::OpenError::Journal(journal::OpenError::Full { .. })) => self.die(),
            Err(error) => self.oracle.refused(&error.to_string()),
        }
    }

    /// What the runtime does at a start, with the simulated disk and store.
    pub(super) fn recover(&mut self) -> Result<Recovered, engine::OpenError> {
        // In one world of eight what is personal is sealed: then its keys are files that a crash can lose.
        let sealed = cfg!(feature = "erasure") && self.report.seed % 8 == 7;
        let found = journal::open(self.disk.clone(), JOURNAL)?.sealing(sealed, [7; 32])?;
        let recorded = found.last_wall().unwrap_or_default();
        let behind = recorded.since(self.clocks().wall) > self.rules.schedule.skew;
        self.clock = if behind { Clock::Diverged } else { Clock::Trusted };
        self.clock_noted |= behind;
        let boot = Boot {
            rules: self.rulebook(),
            boot_id: u128::from(self.boot).to_le_bytes(),
            salt: self.rng.draw(),
            distrust: self.clock_noted.then_some(Distrust::Clock),
            now: self.clocks().wall,
        };
        let recovered = start(found, &mut self.store, boot)?;
        self.clock_noted = behind;
        Ok(recovered)
    }
}
