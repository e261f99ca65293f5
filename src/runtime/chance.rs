//! Where the runtime takes its random numbers from: the core has none.

#[cfg(feature = "erasure")]
use std::io;

use super::OpenError;
#[cfg(feature = "erasure")]
use super::opening::system;

/// A name that no other has.
pub(super) fn random() -> [u8; 16] {
    *uuid::Uuid::new_v4().as_bytes()
}

/// What new keys for personal data are made from.
#[cfg(feature = "erasure")]
pub(super) fn seed() -> Result<[u8; 32], OpenError> {
    let mut seed = [0; 32];
    let filled = getrandom::fill(&mut seed).map_err(|error| io::Error::other(error.to_string()));
    filled.map(|()| seed).map_err(system("the system gave no random numbers"))
}

/// No key is made.
#[cfg(not(feature = "erasure"))]
pub(super) fn seed() -> Result<[u8; 32], OpenError> {
    Ok([0; 32])
}

/// What tells one start's journal from another's.
pub(super) fn random_salt() -> u64 {
    uuid::Uuid::new_v4().as_u64_pair().1
}
