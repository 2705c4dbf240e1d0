//! The cores, driven by hand, against models too simple to be wrong.
//!
//! `model/verdicts.rs`: a fleet of one agent gives the verdicts that a table of numbers gives.
//! `model/merging.rs`: usage frames may be lost, repeated and reordered.
//! `model/explore.rs`: every schedule of small fleets keeps the bound.
//! `model/room.rs`: a manager that has no room for more counters.
//! `model/endings.rs`: what is left of an agent that goes.
//! `model/rules.rs`: each rule of the credit protocol on its own, with one side played by hand.

#[path = "model/endings.rs"]
mod endings;
#[path = "model/explore.rs"]
mod explore;
#[path = "model/merging.rs"]
mod merging;
#[path = "model/pair.rs"]
mod pair;
#[path = "model/room.rs"]
mod room;
#[path = "model/rules.rs"]
mod rules;
#[path = "model/script.rs"]
mod script;
#[path = "model/verdicts.rs"]
mod verdicts;
