//! The comparison itself.

use std::collections::HashMap;

use sha2::{Digest, Sha256};

use super::{Belief, Entry, Finding, Line, LineKind, Place, What, Window, entry::moves};
use crate::payment::{Kind, OperationKey};

/// Our book, held against a statement that goes by.
pub struct Settlement {
    window: Window,
    entries: Vec<Held>,
    by_key: HashMap<OperationKey, usize>,
    /// By a hash of reference and kind: gateways' references have any length.
    by_reference: HashMap<[u8; 16], usize>,
}

struct Held {
    entry: Entry,
    /// Whether a line was about it.
    seen: bool,
}

impl Settlement {
    /// An empty book.
    pub fn new(window: Window) -> Settlement {
        Settlement { window, entries: Vec::new(), by_key: HashMap::new(), by_reference: HashMap::new() }
    }

    /// Adds an entry to our book, with the gateway's name for it if known. One of the same key takes its place. The whole
    /// book comes before the first line.
    pub fn enter(&mut self, entry: Entry, reference: Option<&str>) {
        let held = Held { entry, seen: false };
        let place = *self.by_key.entry(entry.operation_key).or_insert(self.entries.len());
        match self.entries.get_mut(place) {
            Some(known) => *known = held,
            None => self.entries.push(held),
        }
        if let Some(reference) = reference {
            self.by_reference.entry(digest(reference, entry.kind)).or_insert(place);
        }
    }

    /// How many entries the book has.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether the book has none.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Compares one line of the statement.
    pub fn compare(&mut self, line: Line) -> Finding {
        let found = match &line.kind {
            Some(LineKind::Theirs(_)) => None,
            Some(LineKind::Ours(kind)) => self.find(&line, &[*kind]),
            None => self.find(&line, &[Kind::Charge, Kind::Capture, Kind::Refund, Kind::Authorize, Kind::Void]),
        };
        match found.and_then(|place| self.entries.get_mut(place)) {
            Some(held) => {
                let what = judge(held, &line, &self.window);
                held.seen |= what != What::NoMovement;
                Finding { what, ours: Some(held.entry), line: Some(line) }
            }
            None => self.unknown(line),
        }
    }

    /// What is left when the statement has ended: the entries that no line was about.
    pub fn finish(self) -> impl Iterator<Item = Finding> {
        let window = self.window;
        let unseen = self.entries.into_iter().filter(|held| !held.seen).map(|held| held.entry);
        unseen.filter_map(move |entry| {
            absent(&entry, &window).map(|what| Finding { what, ours: Some(entry), line: None })
        })
    }

    /// The entry that a line is about: by our key, or where it has none, by the gateway's reference.
    fn find(&self, line: &Line, kinds: &[Kind]) -> Option<usize> {
        match (&line.operation_key, &line.reference) {
            (Some(key), _) => self.by_key.get(key).copied(),
            (None, Some(reference)) => {
                kinds.iter().find_map(|kind| self.by_reference.get(&digest(reference, *kind)).copied())
            }
            (None, None) => None,
        }
    }

    /// A line about no operation of ours; perhaps about something that was done to one.
    fn unknown(&self, line: Line) -> Finding {
        let related = self.find(&line, &[Kind::Charge, Kind::Capture, Kind::Authorize, Kind::Refund, Kind::Void]);
        let ours = related.and_then(|place| self.entries.get(place)).map(|held| held.entry);
        let what = match &line.kind {
            Some(LineKind::Ours(kind)) if !moves(*kind) => What::NoMovement,
            Some(LineKind::Ours(_) | LineKind::Theirs(_)) | None => {
                if !self.window.covers(line.at) {
                    What::Outside
                } else if line.at.is_some_and(|at| self.window.is_recent(at)) {
                    What::TooRecent
                } else {
                    What::MissingHere
                }
            }
        };
        Finding { what, ours, line: Some(line) }
    }
}

/// A line and the entry that it is about. Of several differences the first counts: what it is, of what, how much.
fn judge(held: &Held, line: &Line, window: &Window) -> What {
    let entry = &held.entry;
    let same_kind = match &line.kind {
        Some(LineKind::Ours(kind)) => *kind == entry.kind,
        Some(LineKind::Theirs(_)) => false,
        None => true,
    };
    if !same_kind {
        What::KindDiffers
    } else if !moves(entry.kind) {
        What::NoMovement
    } else if held.seen {
        What::Twice
    } else if line.currency != entry.currency {
        What::CurrencyDiffers
    } else if line.amount != entry.amount.minor_units() {
        What::AmountDiffers
    } else {
        match entry.belief {
            Belief::Moved => What::Matched,
            // Perhaps the reply is on its way, or the first inquiry.
            Belief::MayHaveMoved if window.is_recent(entry.earliest) => What::TooRecent,
            Belief::MayHaveMoved => What::UndecidedHere,
            Belief::DidNotMove => What::DeniedHere,
        }
    }
}

/// An entry that no line was about; `None` if none had to be.
fn absent(entry: &Entry, window: &Window) -> Option<What> {
    if !moves(entry.kind) {
        return None;
    }
    let (latest, inside) = match entry.belief {
        Belief::DidNotMove => return None,
        Belief::Moved => (entry.latest, What::MissingThere),
        // Nobody knows when it ends: what counts is whether it may have begun in time.
        Belief::MayHaveMoved => (entry.earliest, What::Unconfirmed),
    };
    match window.place(entry.earliest, latest) {
        Place::Before | Place::After => None,
        Place::AtStart => Some(What::TooEarly),
        Place::Inside => Some(inside),
        Place::AtEnd => Some(What::TooRecent),
    }
}

/// Half of a SHA-256: short, and never the same for two.
fn digest(reference: &str, kind: Kind) -> [u8; 16] {
    let mut hash = Sha256::new();
    hash.update(kind.as_str());
    hash.update([0]);
    hash.update(reference);
    let mut short = [0; 16];
    short.iter_mut().zip(hash.finalize()).for_each(|(to, from)| *to = from);
    short
}

#[cfg(test)]
mod tests;
