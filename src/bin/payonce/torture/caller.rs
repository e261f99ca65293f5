//! A caller as callers should be: one key a payment, and one for each thing that it goes on with, the same request again until it is answered, and a good memory.

use std::{collections::BTreeMap, thread, time::Duration};

use payonce::sim::Rng;
use serde_json::json;

use super::{
    asked::{Asked, Told},
    gateway::{ELSEWHERE, TWO},
    record::{Promise, Record},
    wire::{Reply, Wire},
};

/// How many payments a caller has under way: enough to leave some in doubt behind, few enough to come back to each.
const AT_ONCE: usize = 8;
/// The longest pause between two requests, in milliseconds, and how many of them ask for a new payment: one in so many.
/// With 64 callers some are always in flight; and of what only a rest of the daemon's can find out, which is every eighth,
/// so little gathers that a hundred kills fit between two rests.
const PAUSE: u64 = 300;
const NEW: u64 = 10;
/// The same for who is to fill a disk.
const BULKY_PAUSE: u64 = 60;
const BULKY_NEW: u64 = 2;
/// How many answers a caller keeps to look at again during the run; all of them are looked at in the end.
const REPEATED: u64 = 12;

/// How many texts of how many characters go with an order that is to fill a disk: nearly as many as are legal, so that
/// a segment of the journal is full within seconds.
const BULK: (usize, usize) = (40, 500);

/// One caller.
pub(super) struct Caller<'a> {
    record: &'a Record,
    wire: Wire,
    dice: Rng,
    name: String,
    /// Goes with every order.
    metadata: BTreeMap<String, String>,
    made: u64,
    open: Vec<Asked>,
    told: Vec<Told>,
    habits: Habits,
}

/// What callers of a round do, or do not.
#[derive(Clone, Copy, Debug)]
pub(super) struct Habits {
    /// Their orders are to fill a disk.
    pub(super) bulky: bool,
    /// They void what is under way.
    pub(super) crosses: bool,
    /// Some of their orders are for one of two gateways only.
    pub(super) chooses: bool,
}

impl<'a> Caller<'a> {
    pub(super) fn new(record: &'a Record, number: u64, dice: Rng, habits: Habits) -> Caller<'a> {
        let text = |number| (format!("note-{number}"), "x".repeat(BULK.1));
        let metadata = if habits.bulky { (0..BULK.0).map(text).collect() } else { BTreeMap::new() };
        let name = format!("caller-{number}");
        Caller { record, wire: Wire::new(), dice, name, metadata, made: 0, open: Vec::new(), told: Vec::new(), habits }
    }

    /// Makes payments until the run is to be brought to an end, then brings its own to an end. Returns every final
    /// answer it was given.
    pub(super) fn run(mut self) -> Vec<Told> {
        while !self.record.is_over() && !self.record.is_finishing() {
            self.act();
            self.pause();
        }
        while !self.record.is_over() && !self.open.is_empty() {
            self.pursue(0);
            self.pause();
        }
        if let Some(asked) = self.open.first().filter(|_| self.record.is_finishing() && !self.record.is_broken()) {
            self.record.broke(Promise::Unresolved, format!("{}: no final answer in the end", asked.key));
        }
        self.told
    }

    fn pause(&mut self) {
        let longest = if self.metadata.is_empty() { PAUSE } else { BULKY_PAUSE };
        thread::sleep(Duration::from_millis(self.dice.below(longest)));
    }

    fn act(&mut self) {
        match self.dice.below(100) {
            0..10 => self.repeat(),
            10..15 => self.ask_for_another_amount(),
            15..40 if self.may_go_on() => self.go_on(),
            _ if self.may_begin() => {
                let asked = self.invent();
                self.open.push(asked);
                self.pursue(self.open.len() - 1);
            }
            _ => {
                let place = self.dice.below(u64::try_from(self.open.len()).unwrap_or(0));
                self.pursue(usize::try_from(place).unwrap_or(0));
            }
        }
    }

    /// Whether the next request is for a new payment. While the daemon rests it is to come to an end with the old ones.
    fn may_begin(&mut self) -> bool {
        let one_in = if self.metadata.is_empty() { NEW } else { BULKY_NEW };
        let busy = self.open.len() >= AT_ONCE || (self.metadata.is_empty() && self.record.is_resting());
        !busy && self.dice.one_in(one_in)
    }

    /// Whether anything may be begun that goes on from a payment: not while the daemon rests either.
    fn may_go_on(&self) -> bool {
        self.open.len() < AT_ONCE && !self.record.is_resting()
    }

    /// Captures, voids or refunds, at times twice at once: whatever there is, or as if there was.
    fn go_on(&mut self) {
        for _ in 0..self.dice.between(1, 2) {
            if let Some(asked) = self.cross().or_else(|| self.follow_up()) {
                self.open.push(asked);
                self.pursue(self.open.len() - 1);
            }
        }
    }

    /// Voids a payment that is still under way, at times.
    fn cross(&mut self) -> Option<Asked> {
        if !self.habits.crosses || !self.dice.one_in(3) {
            return None;
        }
        let payment = self.open.iter().find_map(Asked::makes)?.to_owned();
        Some(Asked::follow_up(self.key(), &payment, "void", None))
    }

    fn follow_up(&mut self) -> Option<Asked> {
        let recent = self.dice.below(REPEATED);
        let told = self.told.iter().rev().nth(usize::try_from(recent).unwrap_or(0))?;
        let (what, amount) = told.next(&mut self.dice)?;
        let payment = told.id.clone();
        Some(Asked::follow_up(self.key(), &payment, what, amount))
    }

    /// A key that was never used before.
    fn key(&mut self) -> String {
        self.made += 1;
        format!("{}-{}", self.name, self.made)
    }

    fn invent(&mut self) -> Asked {
        let amount = self.dice.between(1, 1_000_000);
        let source = if self.dice.one_in(20) { "acct_decline" } else { "acct_alice" };
        let capture = if self.dice.one_in(3) { "manual" } else { "automatic" };
        let (currency, gateway) = match self.habits.chooses.then(|| self.dice.below(10)) {
            Some(0) => (ELSEWHERE, None),
            Some(1) => ("USD", TWO.last()),
            Some(2) => ("USD", TWO.first()),
            Some(_) | None => ("USD", None),
        };
        let body = json!({
            "amount": amount, "currency": currency, "source": source, "destination": "acct_bob", "capture": capture,
            "metadata": self.metadata, "gateway": gateway, "description": gateway,
        });
        Asked::payment(self.key(), body.to_string())
    }

    /// Asks, or asks again, for a payment that is not settled as far as this caller knows.
    fn pursue(&mut self, place: usize) {
        let Some(asked) = self.open.get(place).cloned() else { return };
        // Who is to fill a disk does not wait.
        let longest = if self.metadata.is_empty() { 4 } else { 1 };
        let wait = format!("wait={}", self.dice.below(longest));
        let Some(reply) = asked.send(self.record, &self.wire, &wait) else { return };
        match reply.status {
            201 | 202 => self.remember(place, asked, &reply),
            // Nothing was recorded; or the process is stopping.
            500 | 503 => {}
            // Nothing was recorded: the payment does not have that, or not any more. Never said of what was recorded.
            409 if asked.makes().is_none() && !asked.is_acknowledged() => {
                self.open.swap_remove(place);
                self.record.note(|seen| seen.impossible += 1);
            }
            status => {
                let what =
                    format!("{}: a request like all others was refused with {status}: {}", asked.key, reply.body);
                self.record.broke(Promise::WrongRefusal, what);
            }
        }
    }

    fn remember(&mut self, place: usize, mut asked: Asked, reply: &Reply) {
        asked.acknowledge(self.record, reply);
        if reply.status == 201 {
            self.open.swap_remove(place);
            self.record.note_settled();
            return self.told.push(Told::new(asked, reply));
        }
        let rests = reply.text("/state") == "parked" && reply.text("/outcome/code") != "gateway_changed";
        if rests && self.record.is_finishing() {
            self.open.swap_remove(place);
        } else if let Some(open) = self.open.get_mut(place) {
            *open = asked;
        }
    }

    /// Asks for something settled once more.
    fn repeat(&mut self) {
        let recent = self.dice.below(REPEATED.min(u64::try_from(self.told.len()).unwrap_or(0)));
        if let Some(told) = self.told.iter().rev().nth(usize::try_from(recent).unwrap_or(0)) {
            told.check(self.record, &self.wire);
        }
    }

    /// Says something else under a key that the daemon knows.
    fn ask_for_another_amount(&mut self) {
        let known = self.open.iter().filter(|asked| asked.is_acknowledged());
        let Some(asked) = known.chain(self.told.last().map(|told| &told.asked)).next() else { return };
        let Some(reply) = asked.send_another_amount(self.record, &self.wire) else { return };
        let differing = reply.value().pointer("/differing_fields").cloned();
        match reply.status {
            422 if differing == Some(json!(["amount"])) => self.record.note(|seen| seen.conflicts += 1),
            500 | 503 => {}
            status => {
                let what = format!("{}: another amount under a known key got {status}: {}", asked.key, reply.body);
                self.record.broke(Promise::WrongRefusal, what);
            }
        }
    }
}
