//! The payonce program.

fn main() {}
