//! The cores, driven by hand, against models too simple to be wrong.
//!
//! `model/verdicts.rs`: a fleet of one agent gives the verdicts that a table of numbers gives.
//! `model/merging.rs`: usage frames may be lost, repeated and reordered.

#[path = "model/merging.rs"]
mod merging;
#[path = "model/pair.rs"]
mod pair;
#[path = "model/verdicts.rs"]
mod verdicts;
