//! The feed of what happened: read from the journal itself, as far as it is durable.

use std::collections::VecDeque;

use tokio::{sync::watch, task::JoinHandle};

use crate::{
    journal::{Lsn, OpenError, Reader, Record},
    payment::Event,
};

/// Read from the journal at once: enough to be quick, little to hold.
const AT_ONCE: usize = 256;

/// Events in the journal's order, from a place on; waits for more. An event may come twice, under two places, if the
/// process was killed right after it: consumers go by payment and content.
pub struct Events {
    reader: Option<Reader>,
    /// A reading under way: a call that is dropped leaves it to the next one.
    reading: Option<JoinHandle<Read>>,
    durable: watch::Receiver<Lsn>,
    next: Lsn,
    ready: VecDeque<(Lsn, Event)>,
}

/// A reader, what it read, and up to where it was asked to.
type Read = (Reader, Result<Vec<(Lsn, Record)>, OpenError>, Lsn);

impl Events {
    pub(super) fn new(reader: Reader, durable: watch::Receiver<Lsn>, after: Lsn) -> Events {
        Events { reader: Some(reader), reading: None, durable, next: after.plus(1), ready: VecDeque::new() }
    }

    /// The next event and its place. Safe to drop while it waits. `None` when the engine has stopped, or the journal cannot be read.
    pub async fn next(&mut self) -> Option<(Lsn, Event)> {
        loop {
            if let Some(ready) = self.ready.pop_front() {
                return Some(ready);
            }
            let next = self.next;
            if self.reading.is_none() {
                let durable = *self.durable.wait_for(|durable| *durable >= next).await.ok()?;
                let mut reader = self.reader.take()?;
                self.reading = Some(tokio::task::spawn_blocking(move || {
                    let read = reader.read_from(next, durable, AT_ONCE);
                    (reader, read, durable)
                }));
            }
            let (reader, read, durable) = self.reading.as_mut()?.await.ok()?;
            self.reading = None;
            self.reader = Some(reader);
            let records = match read {
                Ok(records) => records,
                Err(error) => {
                    tracing::error!(%error, "the event feed cannot read the journal");
                    return None;
                }
            };
            // Fewer than asked for: there is nothing more up to `durable`, whatever kind of record that is.
            let whole = records.len() < AT_ONCE;
            self.next = match records.last() {
                Some((last, _)) if !whole => last.plus(1),
                Some(_) | None => durable.plus(1),
            };
            self.ready.extend(records.into_iter().filter_map(|(lsn, record)| event(record).map(|event| (lsn, event))));
        }
    }
}

fn event(record: Record) -> Option<Event> {
    match record {
        Record::Event(event) | Record::Relogged(event) => Some(event),
        Record::Carried(_)
        | Record::Inbox(_)
        | Record::Audit(_)
        | Record::Opened(_)
        | Record::Checkpoint(_)
        | Record::Closed(_) => None,
    }
}
