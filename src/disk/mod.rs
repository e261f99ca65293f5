//! The one door to files.
