//! What the engine thread keeps in mind between turns: who waits, and what is under way where.

use std::{
    collections::{HashMap, VecDeque},
    time::Instant,
};

use tokio::sync::oneshot;

use super::{
    gateways::{Line, Lines},
    handle::{Answer, Delivery, Rejection},
    intake::Pay,
};
use crate::{engine::Carrying, payment::PaymentId};

/// Where a caller waits for its answer.
pub(super) type Reply = oneshot::Sender<Result<Answer, Rejection>>;

/// A caller who waits.
pub(super) struct Waiter {
    /// For which operation of the payment.
    pub(super) operation: u32,
    pub(super) delivery: Delivery,
    pub(super) reply: Reply,
}

/// What the thread keeps in mind between turns.
#[derive(Default)]
pub(super) struct Desk {
    /// What is under way at each gateway, and waits for it, by its place.
    pub(super) windows: Vec<Window>,
    /// Calls under way that are not a new payment's first sending.
    pub(super) chasing: usize,
    /// Callers who wait for an operation to be final.
    pub(super) waiters: HashMap<PaymentId, Vec<Waiter>>,
    pub(super) checkpoint: Option<Carrying>,
    /// Of that checkpoint some is still to be carried.
    pub(super) carrying: bool,
    /// Why the store takes no more rows; it is rebuilt or caught up at the next start.
    pub(super) store_failed: Option<String>,
    pub(super) confirm_at: Option<Instant>,
    /// The disk is full: nothing is begun that could wait.
    pub(super) cramped: bool,
    pub(super) closing: Option<Closing>,
}

/// What the desk knows of one gateway.
pub(super) struct Window {
    /// Calls that it may be sent at once.
    pub(super) most: usize,
    /// Calls under way.
    pub(super) calling: usize,
    /// New payments that wait for a call to be free.
    pub(super) held: VecDeque<Pay>,
}

impl Window {
    pub(super) fn free(&self) -> usize {
        self.most.saturating_sub(self.calling)
    }
}

impl Desk {
    pub(super) fn new(lines: &Lines) -> Desk {
        let window = |line: &Line| Window { most: line.most, calling: 0, held: VecDeque::new() };
        Desk { windows: lines.iter().map(window).collect(), ..Desk::default() }
    }

    /// A new payment for which no call is free.
    pub(super) fn hold(&mut self, place: usize, pay: Pay) {
        let last = self.windows.len().saturating_sub(1);
        if let Some(window) = self.windows.get_mut(place.min(last)) {
            window.held.push_back(pay);
        }
    }

    /// Those who are held for the gateways at these places.
    pub(super) fn let_go(&mut self, of: impl Fn(usize) -> bool) -> Vec<Pay> {
        let windows = self.windows.iter_mut().enumerate().filter(|(place, _)| of(*place));
        windows.flat_map(|(_, window)| window.held.drain(..)).collect()
    }

    pub(super) fn held(&self) -> usize {
        self.windows.iter().map(|window| window.held.len()).sum()
    }

    /// Calls that are free at any gateway.
    pub(super) fn free(&self) -> usize {
        self.windows.iter().map(Window::free).sum()
    }

    pub(super) fn most(&self) -> usize {
        self.windows.iter().map(|window| window.most).sum()
    }

    pub(super) fn calling(&self) -> usize {
        self.windows.iter().map(|window| window.calling).sum()
    }

    pub(super) fn began(&mut self, place: usize, chase: bool) {
        if let Some(window) = self.windows.get_mut(place) {
            window.calling += 1;
        }
        self.chasing += usize::from(chase);
    }

    pub(super) fn ended(&mut self, place: usize, chase: bool) {
        if let Some(window) = self.windows.get_mut(place) {
            window.calling = window.calling.saturating_sub(1);
        }
        self.chasing = self.chasing.saturating_sub(usize::from(chase));
    }
}

pub(super) struct Closing {
    pub(super) replies: Vec<oneshot::Sender<()>>,
    pub(super) until: Instant,
}
