//! Placeholder while the programs are built.
fn main() {}
