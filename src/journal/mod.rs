//! RECORD. The write-ahead log: the truth.

mod record;

pub use record::Lsn;
