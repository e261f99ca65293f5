//! Model checking: `decide` and `apply` themselves, against everything that a gateway, a network, callers, an operator
//! and crashes may do, in any order. Every state that can be reached is visited; there are no samples.
//!
//! Time is not abstract: the product counts milliseconds, and so does the model. Only the contract's times are small.
//! All that ever matters of a time is how long ago it was, up to a limit; so there are finitely many states, although
//! time goes on without end. What may happen, may happen at any millisecond at which the contract allows it: the engine
//! may be late with everything, a request may be acted on until the network and the gateway may no longer hold it, and
//! to lose something is to let its time pass.
//!
//! Bounded are the sendings and the crashes. Not bounded: time, how often callers and operators ask, how often a gateway
//! that deduplicates gets the same request, inquiries and their answers. Not modelled: a wrong wall clock, a changed or
//! copied gateway or folder, `expires_at`, and what a person decides against the truth (the table's walk has those).
//!
//! Knows nothing of journals, stores, threads or sockets: the simulation puts those under the same promises.

mod gateway;

mod world;

mod properties;

use std::{collections::HashSet, sync::Mutex, time::Duration};

use stateright::Model;

use self::{
    gateway::{Flaw, Gateway, Nature, Said},
    world::{Sin, Worker, World},
};
use super::{Input, Outcome, Person, Reply, Resolution, Rules, Verdict};
use crate::payment::{Contract, Deduplication, Encoder, Identity, Inquiry, Schedule, Standing};

const fn millis(count: u64) -> Duration {
    Duration::from_millis(count)
}

/// What is modelled: our rules, how the gateway really is, and how far we look.
struct System {
    rules: Rules,
    nature: Nature,
    sendings: u32,
    crashes: u32,
    /// What callers ask: for the payment, and for another one under the same key.
    order: Input,
    other_order: Input,
    /// States that are known to end if the gateway answers from there on.
    ending: Mutex<HashSet<u64>>,
}

/// The four kinds of contract.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Kind {
    deduplicates: bool,
    can_be_asked: bool,
}

impl System {
    /// An honest one: the gateway keeps its contract.
    fn new(kind: Kind) -> System {
        let rules = Rules { schedule: schedule(), ..Rules::new(contract(kind), Encoder::plain()) };
        rules.schedule.check(&rules.contract).expect("a contract that an engine would open with");
        let nature = Nature {
            remembers: kind.deduplicates.then_some(TTL),
            max_processing: 1,
            held_back: 1,
            lag: u64::from(kind.can_be_asked),
            turns: None,
            flaw: None,
        };
        // What can be asked and sent again has by far the most states: here a million transitions with 3 and 2.
        let (sendings, crashes) = if kind.deduplicates && kind.can_be_asked { (2, 1) } else { (3, 2) };
        let (sendings, crashes) = (bound("SENDINGS", sendings), bound("CRASHES", crashes));
        let (order, other_order) = (world::pay(1050), world::pay(1));
        System { rules, nature, sendings, crashes, order, other_order, ending: Mutex::default() }
    }

    /// One whose first "not found" is a proof, if it was asked late enough.
    fn once(mut self) -> System {
        self.rules.contract.inquiry = Inquiry::ByKey { not_found_lag: millis(1), not_found_times: 1 };
        self
    }

    /// One whose declines are soft.
    fn soft(mut self) -> System {
        self.rules.contract.soft_decline_window = Some(millis(2));
        self.nature.turns = Some(2);
        self
    }
}

/// How many of something there are at most; more for whoever has the time: `PAYONCE_MODEL_CRASHES=3`.
fn bound(of: &str, otherwise: u32) -> u32 {
    let said = std::env::var(format!("PAYONCE_MODEL_{of}")).ok();
    said.map_or(otherwise, |number| number.parse().expect("a number"))
}

/// For how long the gateway remembers keys: the least with which a not-found can be proven and acted upon in time.
const TTL: u64 = 10;

fn contract(kind: Kind) -> Contract {
    let deduplication = if kind.deduplicates { Deduplication::ByKey { ttl: millis(TTL) } } else { Deduplication::None };
    let asked = Inquiry::ByKey { not_found_lag: millis(1), not_found_times: 2 };
    Contract {
        deduplication,
        inquiry: if kind.can_be_asked { asked } else { Inquiry::None },
        max_processing: millis(1),
        deadline: millis(1),
        park_after: millis(6),
        ..Contract::standard(Identity::default())
    }
}

fn schedule() -> Schedule {
    Schedule {
        pause_first: millis(1),
        pause_max: millis(1),
        not_found_spacing: millis(1),
        pause_parked: millis(1),
        skew: millis(1),
    }
}

/// Something that happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Deed {
    /// A caller asks for the payment, under its key: with its parameters, or with others.
    Ask { same: bool },
    /// The first byte of a request leaves.
    Leave,
    /// The gateway gets an attempt's request and makes this of it.
    Deliver(u32, Said),
    /// The attempt's worker reports; `lost`: all it knows is that it does not know.
    Report { lost: bool },
    /// The gateway decides about what it called pending, or turns a decline.
    Decide(Said),
    /// The gateway looks up what it was asked about, and answers this.
    Look(Said),
    /// Its answer arrives, and is processed.
    Answered,
    /// The schedule's time has come, and the engine gets to it.
    Due,
    /// A person wants the gateway asked now.
    Inquire,
    /// A person wants it sent again, or canceled.
    Resolve(Verdict),
    /// The process dies, and another one starts.
    Crash,
    /// A millisecond passes.
    Pass,
}

impl Model for System {
    type State = World;
    type Action = Deed;

    fn init_states(&self) -> Vec<World> {
        vec![World::new(self)]
    }

    fn actions(&self, world: &World, deeds: &mut Vec<Deed>) {
        deeds.push(Deed::Ask { same: true });
        let Some(operation) = world.operation() else { return };
        deeds.extend([Deed::Ask { same: false }, Deed::Pass]);
        far_deeds(world, deeds);
        if world.crashes < self.crashes || operation.is_at_rest() {
            deeds.push(Deed::Crash);
        }
        if world.is_due() {
            deeds.push(Deed::Due);
        }
        match operation.standing {
            Standing::AtGateway { .. } | Standing::InDoubt { .. } => {
                deeds.extend([Deed::Inquire, Deed::Resolve(Verdict::Resend)]);
            }
            Standing::Parked { .. } => deeds.extend(
                [Deed::Inquire, Deed::Resolve(Verdict::Resend), Deed::Resolve(Verdict::Cancel)], //
            ),
            Standing::Intended => deeds.push(Deed::Resolve(Verdict::Cancel)),
            Standing::Sent { .. } | Standing::Succeeded(_) | Standing::Declined { .. } | Standing::Canceled(_) => {}
        }
    }

    fn next_state(&self, world: &World, deed: Deed) -> Option<World> {
        let mut next = world.clone();
        next.undergo(self, deed);
        // Most of what callers and operators say changes nothing.
        Some(next).filter(|next| next != world)
    }

    fn properties(&self) -> Vec<stateright::Property<System>> {
        properties::all()
    }

    fn within_boundary(&self, world: &World) -> bool {
        world.operation().is_none_or(|operation| operation.attempts <= self.sendings)
    }
}

/// What workers, the wire and the gateway may do.
fn far_deeds(world: &World, deeds: &mut Vec<Deed>) {
    if world.may_leave() {
        deeds.push(Deed::Leave);
    }
    deeds.extend(world.deliveries().into_iter().map(|(attempt, said)| Deed::Deliver(attempt, said)));
    if let Some(worker) = world.worker {
        deeds.push(Deed::Report { lost: true });
        if worker.reply.is_some() || !worker.left {
            deeds.push(Deed::Report { lost: false });
        }
    }
    deeds.extend(world.decisions().iter().copied().map(Deed::Decide));
    deeds.extend(world.answers().into_iter().map(Deed::Look));
    if world.question.is_some_and(|question| question.answer.is_some()) {
        deeds.push(Deed::Answered);
    }
}

impl World {
    fn undergo(&mut self, system: &System, deed: Deed) {
        match deed {
            Deed::Ask { same } => self.ask(system, same),
            Deed::Leave => self.leave(),
            Deed::Deliver(attempt, said) => self.deliver(attempt, said),
            Deed::Report { lost } => self.report(system, lost),
            Deed::Decide(said) => self.gateway_decides(said),
            Deed::Look(said) => self.look(said),
            Deed::Answered => self.answered(system),
            Deed::Due if system.nature.flaw == Some(Flaw::NeverWakes) => {}
            Deed::Due => drop(self.step(system, &Input::Due)),
            Deed::Inquire => drop(self.step(system, &Input::Inquire)),
            Deed::Resolve(verdict) => {
                let person = Person { actor: "ann".to_owned(), reason: "looked it up".to_owned() };
                let resolution = Resolution { operation: None, verdict, reply: None, person };
                drop(self.step(system, &Input::Resolve(resolution)));
            }
            Deed::Crash => self.crash(system),
            Deed::Pass => self.pass(),
        }
    }
}
