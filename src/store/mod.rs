//! REMEMBER. The index.
