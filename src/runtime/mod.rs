//! WAIT. Everything that takes time: threads, clocks, queues, and calls to the gateway.
//!
//! [`Engine`] is the library's face: cheap to clone, called from any task. Behind it one thread owns the
//! [`Machine`](crate::engine::Machine) and turns it whenever something has come in; whatever queued during the last
//! fsync is the next batch. Gateway calls are tokio tasks, as many at once as there are slots; each reports back
//! through the same door. What has come to rest is read on callers' own threads. A gateway that answers at once is called on that one thread. A second thread keeps the
//! store, a third makes segments ahead of need.
//!
//! Knows nothing of HTTP, of how a gateway is spoken to, or of what an outcome means.

mod options;

mod handle;

mod opening;

mod rested;

mod intake;

mod desk;

mod turner;

mod telling;

mod traces;

mod news;

mod calls;

mod gateways;

mod breaker;

mod storekeeper;

mod spares;

mod chance;

mod clock;

mod events;

mod outlook;

mod operator;

mod stats;

mod offline;

pub use crate::{
    engine::{Filter, Page, Stopped, Watch},
    gateway::{Forged, Post},
    journal::{Audits, Lsn},
};
pub use events::Events;
pub use gateways::GatewayRoute;
pub use handle::{Answer, Delivery, Engine, Operated, Rejection};
pub use offline::{Erasure, NotErased, Rebuilt, erase, rebuild_store};
pub use opening::{OpenError, OpenReport};
pub use options::Options;
pub use outlook::Outlooks;
pub use stats::{CallStats, GatewayStats, Histogram, JournalStats, Queue, Stats, StoreStats};
