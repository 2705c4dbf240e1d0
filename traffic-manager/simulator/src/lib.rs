//! Drives the real cores of agents and managers on a virtual clock over a virtual network.
//!
//! Pure and deterministic: one seed, one run. Whatever a schedule of faults does, the cores are the
//! ones that serve requests in production; only time, sockets and chance are made up.
//!
//! | module | holds |
//! |---|---|
//! | [`chance`] | seeded randomness |
//! | [`plan`] | a run: policies, fleet, traffic, faults |
//! | [`world`] | the event loop and the nodes |
//! | [`network`] | connections, delays, cuts, hangs |
//! | [`outcome`] | what was admitted, against what was allowed |
//! | [`fuzz`] | random plans |
//! | [`mod@explore`] | every schedule of a small world |
//! | [`mod@shrink`] | small plans out of failing ones |

pub mod chance;
pub mod explore;
pub mod fuzz;
pub mod network;
pub mod outcome;
pub mod plan;
pub mod shrink;
pub mod world;

pub use outcome::{Excess, Outcome};
pub use plan::{Fault, Plan, Traffic};
pub use shrink::shrink;
pub use world::World;
