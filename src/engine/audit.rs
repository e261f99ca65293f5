//! What operators do: recorded before it takes effect. A pause is kept by the journal itself: each start and each checkpoint
//! carries those that are in force, so that none is forgotten with what need not be replayed.

use super::{Machine, Received, Stopped};
use crate::{
    journal::Record,
    payment::{Audit, Deed, Timestamp, fold_pauses},
};

/// What a deed takes in the journal, in bytes: at the most. Its texts have limits where they come in.
const DEED: usize = 16 * 1024;

impl Machine {
    /// Makes durable what an operator does, with one write and one fsync; then it is in force.
    pub fn act(&mut self, now: Timestamp, audit: Audit) -> Result<Received, Stopped> {
        let now = now.max(self.last_wall);
        let wanted = self.reserved().saturating_add(u64::try_from(DEED).unwrap_or(u64::MAX));
        if !self.has_room(wanted, now) {
            return Ok(Received::NoSpace);
        }
        let audit = Audit { at: now, carried: false, ..audit };
        let appended = self.journal.append(now, &[vec![Record::Audit(audit.clone())]])?;
        self.note(now, &appended);
        self.put_in_force(&audit);
        Ok(Received::Kept)
    }

    fn put_in_force(&mut self, audit: &Audit) {
        match audit.deed {
            Deed::Pause { .. } | Deed::Resume { .. } => {
                fold_pauses(&mut self.pauses, audit);
                self.note_pauses();
            }
            Deed::Drain => self.draining = true,
            Deed::Admit => self.draining = false,
            // Others carry these out.
            Deed::Inquire(_) | Deed::Replay { .. } | Deed::Discard { .. } | Deed::Resolve(_) | Deed::Erase { .. } => {}
        }
    }

    pub(super) fn note_pauses(&mut self) {
        let pauses = &self.pauses;
        self.rules.note_paused(|gateway| pauses.iter().any(|pause| pause.is_pause_of(gateway)));
    }

    /// The pauses in force, of gateways that are not configured too.
    pub fn pauses(&self) -> &[Audit] {
        &self.pauses
    }

    /// Whether nothing new is taken at present.
    pub const fn is_draining(&self) -> bool {
        self.draining
    }

    /// The pauses in force, for the next start to find.
    pub(super) fn carried_pauses(&self) -> Vec<Record> {
        self.pauses.iter().map(|pause| Record::Audit(Audit { carried: true, ..pause.clone() })).collect()
    }

    /// How many bytes of the journal those may take.
    pub(super) fn size_of_pauses(&self) -> usize {
        self.pauses.len().saturating_mul(DEED)
    }
}
