//! Why a journal is not opened.

use std::{fmt, io};

use super::{Lsn, segment};

/// Damage that no crash explains. Nothing was changed, and nothing is guessed: the process must not start (exit 3).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damage {
    /// The segment's number.
    pub segment: u64,
    /// The byte in its file.
    pub offset: u64,
    /// The record that was expected there.
    pub lsn: Lsn,
    /// What is wrong.
    pub why: String,
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "the journal is damaged: {} at byte {}, where record {} belongs: {}. Nothing was changed. `payonce journal \
             verify` reads every segment and names each damage, `payonce journal dump` prints what can be read; then \
             bring the file back from a copy or from the disk it was moved from. Do not cut or delete it: what it \
             holds may have been acknowledged",
            segment::path(self.segment),
            self.offset,
            self.lsn,
            self.why
        )
    }
}

impl std::error::Error for Damage {}

/// Why a journal could not be read.
#[derive(Debug)]
pub enum OpenError {
    /// It is damaged.
    Damaged(Damage),
    /// The disk failed; nothing is known of the journal.
    Disk {
        /// Doing what.
        what: String,
        /// How.
        error: io::Error,
    },
    /// There is no space for what has to be written before a start: nothing is wrong with what is there.
    Full {
        /// Doing what.
        what: String,
        /// What the system said.
        error: io::Error,
    },
    /// Personal data is sealed in this folder, and its keys are missing, or are others; or it cannot be sealed here.
    Sealed(String),
}

impl OpenError {
    pub(super) fn disk(what: impl Into<String>) -> impl FnOnce(io::Error) -> OpenError {
        let what = what.into();
        move |error| if is_full(&error) { OpenError::Full { what, error } } else { OpenError::Disk { what, error } }
    }

    /// The damage, if it is damage.
    pub const fn damage(&self) -> Option<&Damage> {
        match self {
            OpenError::Damaged(damage) => Some(damage),
            OpenError::Disk { .. } | OpenError::Full { .. } | OpenError::Sealed(_) => None,
        }
    }
}

impl From<Damage> for OpenError {
    fn from(damage: Damage) -> OpenError {
        OpenError::Damaged(damage)
    }
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            OpenError::Damaged(damage) => damage.fmt(f),
            OpenError::Disk { what, error } => write!(f, "the journal could not be read: {what}: {error}"),
            OpenError::Full { what, error } => {
                write!(f, "{what}: {error}. Nothing that was recorded is harmed: make space, and start again")
            }
            OpenError::Sealed(why) => f.write_str(why),
        }
    }
}

impl std::error::Error for OpenError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            OpenError::Damaged(damage) => Some(damage),
            OpenError::Disk { error, .. } | OpenError::Full { error, .. } => Some(error),
            OpenError::Sealed(_) => None,
        }
    }
}

/// Whether there was merely no space.
pub(super) fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

#[cfg(test)]
mod tests {
    use std::error::Error;

    use super::*;

    #[test]
    fn damage_says_where_it_is_what_is_wrong_and_what_must_not_be_done() {
        let damage = Damage { segment: 7, offset: 4608, lsn: Lsn::new(99), why: "a batch reads as zeros".to_owned() };
        let told = damage.to_string();
        assert!(
            told.starts_with(
                "the journal is damaged: journal/0000000007.log at byte 4608, where record 99 belongs: a batch reads as zeros."
            ),
            "{told}"
        );
        assert!(told.contains("Nothing was changed.") && told.contains("Do not cut or delete it"), "{told}");
        let error = OpenError::from(damage.clone());
        assert_eq!((error.damage(), error.to_string()), (Some(&damage), told));
        assert_eq!(error.source().map(ToString::to_string), Some(damage.to_string()));
    }

    #[test]
    fn a_disk_that_failed_is_not_called_damage() {
        let error = OpenError::disk("reading journal/0000000007.log")(io::Error::other("I/O error"));
        assert_eq!(error.to_string(), "the journal could not be read: reading journal/0000000007.log: I/O error");
        assert!(error.damage().is_none());
        assert_eq!(error.source().map(ToString::to_string), Some("I/O error".to_owned()));
    }
}
