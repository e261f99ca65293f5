//! Model checking: `decide` and `apply` themselves, against everything that a gateway, a network, callers, an operator
//! and crashes may do, in any order. Every state that can be reached is visited; there are no samples.
//!
//! Time is not abstract: the product counts milliseconds, and so does the model. Only the contract's times are small.
//! All that ever matters of a time is how long ago it was, up to a limit; so there are finitely many states, although
//! time goes on without end. What may happen, may happen at any millisecond at which the contract allows it: the engine
//! may be late with everything, a request may be acted on until the network and the gateway may no longer hold it, and
//! to lose something is to let its time pass.
//!
//! One charge alone, with the longer times ([`charges`]); and what goes on from a payment, with shorter ones ([`operations`]).
//!
//! Bounded are the sendings and the crashes. Not bounded: time, how often callers and operators ask, how often a gateway
//! that deduplicates gets the same request, inquiries and their answers, news. Not modelled: a wrong wall clock, a changed or
//! copied gateway or folder, `expires_at`, and what a person decides against the truth (the table's walk has those).
//!
//! Knows nothing of journals, stores, threads or sockets: the simulation puts those under the same promises.

mod gateway;

mod lane;

mod world;

mod properties;

mod charges;

mod operations;

use std::{collections::HashSet, sync::Mutex, time::Duration};

use stateright::Model;

use self::{
    gateway::{Flaw, Gateway, Nature, Said},
    lane::{Lane, Worker},
    world::{Sin, World},
};
use super::{FollowUp, Input, Person, Resolution, Rules, Verdict};
use crate::payment::{Capture, Contract, Deduplication, Encoder, Identity, Inquiry, Operation, Schedule, Standing};

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
    /// What callers go on with.
    asks: Vec<Ask>,
    /// Whether all begins with a payment whose first operation has succeeded.
    settled: bool,
    /// Whether the gateway also speaks up by itself.
    speaks: bool,
    /// Whether answers may be overtaken on their way back.
    stale: bool,
    /// States that are known to end if the gateway answers from there on.
    ending: Mutex<HashSet<u64>>,
}

/// What a caller goes on with from the payment, and what another one says under the same key.
#[derive(Clone, Copy, Debug)]
struct Ask {
    key: &'static str,
    follow_up: FollowUp,
    other: FollowUp,
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
        let [order, other_order] = [AMOUNT, 1].map(|amount| world::pay(amount, Capture::Automatic));
        let (asks, settled, speaks, stale, ending) = (Vec::new(), false, false, true, Mutex::default());
        System { rules, nature, sendings, crashes, order, other_order, asks, settled, speaks, stale, ending }
    }

    /// One whose first "not found" is a proof, if it was asked late enough.
    fn once(mut self) -> System {
        self.rules.contract.inquiry = Inquiry::ByKey { not_found_lag: millis(1), not_found_times: 1 };
        self
    }

    /// One with the shortest times with which anything can be proven: where more than one operation is looked at.
    fn brief(mut self) -> System {
        let contract = &mut self.rules.contract;
        contract.max_processing = millis(0);
        contract.park_after = millis(3);
        if self.nature.remembers.is_some() {
            contract.deduplication = Deduplication::ByKey { ttl: millis(6) };
            self.nature.remembers = Some(6);
        }
        if matches!(contract.inquiry, Inquiry::ByKey { .. }) {
            contract.inquiry = Inquiry::ByKey { not_found_lag: millis(0), not_found_times: 1 };
        }
        (self.nature.max_processing, self.nature.lag) = (0, 0);
        self.rules.schedule.check(&self.rules.contract).expect("a contract that an engine would open with");
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

/// What the payment is of.
const AMOUNT: u64 = 100;

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

/// Something that happens; numbers are those of operations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Deed {
    /// A caller asks for the payment, under its key: with its parameters, or with others.
    Ask { same: bool },
    /// A caller goes on from it, under that one's key: with its parameters, or with others.
    Operate { which: usize, same: bool },
    /// The first byte of a request leaves.
    Leave(u32),
    /// The gateway gets an attempt's request and makes this of it.
    Deliver(u32, u32, Said),
    /// The attempt's worker reports; `lost`: all it knows is that it does not know.
    Report(u32, Lost),
    /// The gateway decides about what it called pending, or turns a decline.
    Decide(u32, Said),
    /// The gateway looks up what it was asked about, and answers this.
    Look(u32, Said),
    /// Its answer arrives, and is processed.
    Answered(u32),
    /// It says by itself what became of it.
    News(u32),
    /// The schedule's time has come, and the engine gets to it.
    Due,
    /// A person wants the gateway asked now.
    Inquire,
    /// A person decides.
    Resolve(u32, Verdict),
    /// The process dies, and another one starts.
    Crash,
    /// A millisecond passes.
    Pass,
}

/// Whether a reply is lost, if there was any.
type Lost = bool;

impl Model for System {
    type State = World;
    type Action = Deed;

    fn init_states(&self) -> Vec<World> {
        let mut world = World::new(self);
        if self.settled {
            let done = [
                Deed::Ask { same: true },
                Deed::Leave(0),
                Deed::Deliver(0, 1, Said::Succeeded),
                Deed::Report(0, false),
            ];
            done.into_iter().for_each(|deed| world.undergo(self, deed));
        }
        vec![world]
    }

    fn actions(&self, world: &World, deeds: &mut Vec<Deed>) {
        if world.operation(0).is_none() {
            return deeds.push(Deed::Ask { same: true });
        }
        deeds.push(Deed::Pass);
        if self.asks.is_empty() {
            deeds.extend([true, false].map(|same| Deed::Ask { same }));
        }
        self.go_on(world, deeds);
        for (number, (operation, lane)) in (0..).zip(world.operations()) {
            far_deeds(world, number, lane, deeds);
            if self.speaks && matches!(lane.gateway.decision, Some(Said::Succeeded | Said::Declined)) {
                deeds.push(Deed::News(number));
            }
            self.rulings(number, operation, lane, deeds);
        }
        if world.crashes < self.crashes || world.is_at_rest() {
            deeds.push(Deed::Crash);
        }
        if world.is_due() {
            deeds.push(Deed::Due);
        }
    }

    fn next_state(&self, world: &World, deed: Deed) -> Option<World> {
        let mut next = world.clone();
        next.undergo(self, deed);
        // Most of what callers and operators say changes nothing.
        Some(next).filter(|next| next != world)
    }

    fn properties(&self) -> Vec<stateright::Property<System>> {
        properties::all(self)
    }

    fn within_boundary(&self, world: &World) -> bool {
        world.again < self.sendings
    }
}

impl System {
    /// What callers may ask who go on from the payment: again for what they know; and of those that are alike, one after
    /// the other.
    fn go_on(&self, world: &World, deeds: &mut Vec<Deed>) {
        let known = |ask: &Ask| world.operations().any(|(operation, _)| operation.key.as_str() == ask.key);
        for (which, ask) in self.asks.iter().enumerate() {
            if known(ask) {
                deeds.extend([true, false].map(|same| Deed::Operate { which, same }));
            } else if !self.asks.iter().take(which).any(|other| other.follow_up == ask.follow_up && !known(other)) {
                deeds.push(Deed::Operate { which, same: true });
            }
        }
    }

    /// What people may want done about an operation. About what really happened they do not lie, once it is certain and
    /// they are asked to look.
    fn rulings(&self, number: u32, operation: &Operation, lane: &Lane, deeds: &mut Vec<Deed>) {
        let ruling = |verdict| Deed::Resolve(number, verdict);
        match operation.standing {
            Standing::AtGateway { .. } | Standing::InDoubt { .. } => {
                deeds.extend([Deed::Inquire, ruling(Verdict::Resend)]);
            }
            Standing::Parked { .. } => {
                deeds.extend([Deed::Inquire, ruling(Verdict::Resend), ruling(Verdict::Cancel)]);
                match lane.gateway.decision {
                    _ if self.asks.is_empty() || lane.gateway.may_act() => {}
                    None | Some(Said::Declined) => deeds.push(ruling(Verdict::Declined)),
                    Some(_) => {}
                }
            }
            Standing::Intended => deeds.push(ruling(Verdict::Cancel)),
            Standing::Sent { .. } | Standing::Succeeded(_) | Standing::Declined { .. } | Standing::Canceled(_) => {}
        }
    }
}

/// What an operation's worker, the wire and the gateway may do.
fn far_deeds(world: &World, number: u32, lane: &Lane, deeds: &mut Vec<Deed>) {
    if world.may_leave(number) {
        deeds.push(Deed::Leave(number));
    }
    deeds.extend(world.deliveries(number).into_iter().map(|(attempt, said)| Deed::Deliver(number, attempt, said)));
    if let Some(worker) = lane.worker {
        deeds.push(Deed::Report(number, true));
        if worker.reply.is_some() || !worker.left {
            deeds.push(Deed::Report(number, false));
        }
    }
    deeds.extend(world.decisions(number).iter().map(|said| Deed::Decide(number, *said)));
    deeds.extend(world.answers(number).into_iter().map(|said| Deed::Look(number, said)));
    if lane.question.is_some_and(|question| question.answer.is_some()) {
        deeds.push(Deed::Answered(number));
    }
}

impl World {
    fn undergo(&mut self, system: &System, deed: Deed) {
        match deed {
            Deed::Ask { same } => self.ask(system, same),
            Deed::Operate { which, same } => self.operate(system, which, same),
            Deed::Leave(number) => self.leave(number),
            Deed::Deliver(number, attempt, said) => self.deliver(number, attempt, said),
            Deed::Report(number, lost) => self.report(system, number, lost),
            Deed::Decide(number, said) => self.gateway_decides(number, said),
            Deed::Look(number, said) => {
                self.look(number, said);
                if !system.stale {
                    self.answered(system, number);
                }
            }
            Deed::Answered(number) => self.answered(system, number),
            Deed::News(number) => self.news(system, number),
            Deed::Due if system.nature.flaw == Some(Flaw::NeverWakes) => {}
            Deed::Due => drop(self.step(system, &Input::Due)),
            Deed::Inquire => drop(self.step(system, &Input::Inquire)),
            Deed::Resolve(number, verdict) => {
                let person = Person { actor: "ann".to_owned(), reason: "looked it up".to_owned() };
                let resolution = Resolution { operation: Some(number), verdict, reply: None, person };
                drop(self.step(system, &Input::Resolve(resolution)));
            }
            Deed::Crash => self.crash(system),
            Deed::Pass => self.pass(),
        }
    }
}
