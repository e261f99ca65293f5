//! SETTLE. Our book against a gateway's statement, line by line.
//!
//! An [`Entry`] is what we know of one operation, a [`Line`] is one movement of money on the statement. A [`Settlement`]
//! takes the whole book first, then each line as it is read, and says for both what was found ([`What`]). Only the book
//! is kept, 130 to 250 bytes an operation; lines go by. A line names its operation by the operation key; where it
//! has none, by the gateway's own reference and the kind. Authorizations and voids move no money, and are compared with
//! nothing.
//!
//! # Edges
//!
//! A statement covers a [`Window`] of time, and an operation moves its money at some moment between our first sending and
//! our learning of it. It has to be on the statement only if that whole span lies in the window, a margin away from both
//! ends: clocks differ, and gateways post late. Otherwise its absence is [`What::TooEarly`] or [`What::TooRecent`], which
//! are not differences. So that nothing falls between two statements, let the second begin twice the margin before the
//! end of the first, at least.
//!
//! The book is not cut to the window: a line is known or unknown whatever its time. An unknown line is not held against
//! the book outside the window, nor when it is younger than the reading of the book by less than the margin.
//!
//! Knows nothing of files, formats, gateways, clocks, or how a finding is shown.

mod decimal;

mod entry;

mod finding;

mod line;

mod report;

mod settlement;

mod window;

pub use decimal::{minor_digits, minor_units};
pub use entry::{Belief, Entry};
pub use finding::{Finding, What};
pub use line::{Line, LineKind};
pub use report::Report;
pub use settlement::Settlement;
pub use window::{Place, Window};
