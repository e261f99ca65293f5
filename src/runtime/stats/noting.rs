//! What the engine thread notes of itself.

use std::{collections::BTreeMap, time::Instant};

use super::{JournalStats, Queue, meter::Standing};
use crate::{engine::Recorded, journal::Position, payment::State, runtime::turner::Turner};

/// The states in which a payment can be unresolved.
const UNRESOLVED: [State; 5] =
    [State::Processing, State::RequiresAction, State::InDoubt, State::Parked, State::Declined];

impl Turner {
    /// A turn that began at `began`, with the journal ending at `from`, is over.
    pub(in crate::runtime) fn note_turn(&self, began: Instant, from: Position, recorded: Recorded) {
        let to = self.machine.position();
        let records = to.next.get().saturating_sub(from.next.get());
        // In a new segment: what was left of the old one stays unused.
        let bytes = if to.segment == from.segment { to.offset.saturating_sub(from.offset) } else { to.offset };
        self.meter.turned(began.elapsed(), records, bytes, recorded);
    }

    /// The thread begins.
    pub(in crate::runtime) fn note_beginning(&self) {
        self.meter.begins(self.machine.durable());
        self.note_standing();
    }

    /// How things stand, for those who look without asking this thread.
    pub(in crate::runtime) fn note_standing(&self) {
        let (waiting, oldest_doubt) = self.machine.unresolved();
        let mut unresolved = BTreeMap::from(UNRESOLVED.map(|state| (state, 0)));
        unresolved.extend(waiting);
        let (_, in_memory) = self.machine.sizes();
        let Position { segment, offset, .. } = self.machine.position();
        self.meter.stands(Standing {
            unresolved,
            oldest_doubt,
            queue: Queue { waiting: 0, held: self.desk.held(), limit: self.options.queue },
            windows: self.desk.windows.iter().map(|window| (window.calling, window.most)).collect(),
            journal: JournalStats {
                durable: self.machine.durable(),
                segment,
                offset,
                segment_bytes: self.options.segment_bytes,
                since_checkpoint: self.machine.since_checkpoint(),
                ..JournalStats::default()
            },
            in_memory,
            troubles: self.troubles(),
        });
    }

    /// What keeps it from taking up new payments, or from sending.
    fn troubles(&self) -> BTreeMap<&'static str, bool> {
        BTreeMap::from([
            ("moved", !self.machine.rules().at(0).sending),
            ("storage_full", self.desk.cramped),
            ("store_failed", self.desk.store_failed.is_some()),
            ("stopping", self.desk.closing.is_some()),
        ])
    }
}
