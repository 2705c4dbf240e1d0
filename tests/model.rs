//! One agent and one manager, driven by hand, against models too simple to be wrong.
fn main() {}
