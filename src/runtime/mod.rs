//! WAIT. A stand-in for the runtime: same public signatures, everything in memory, nothing durable.
//! To be replaced whole; the HTTP layer is tested against it meanwhile.
//!
//! Knows nothing of HTTP.

mod standin;
mod words;

pub use standin::{Engine, stand_in_gateway};
pub use words::{
    Answer, Delivery, Events, Filter, OpenError, OpenReport, Options, Page, Rejection, Resolution, Stopped, Verdict,
};
