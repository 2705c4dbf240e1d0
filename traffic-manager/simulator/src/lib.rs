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
//! | [`scenario`] | runs that people write: the file, checked |
//! | [`demand`] | which request comes when, and where |
//! | [`limiter`] | Weir, as one of those that a scenario can be run with |
//! | [`rivals`] | other ways to share a limit, for comparison |
//! | [`judge`] | admitted, exceeded, missed, refused in vain |
//! | [`contest`] | the same requests and faults for every limiter |
//! | [`report`] | what several runs came to |
//! | [`plot`] | a run as a picture |
//! | [`replicas`] | random schedules for the replication among managers |
//! | [`fuzz`] | random plans |
//! | [`mod@explore`] | every schedule of a small world |
//! | [`mod@shrink`] | small plans out of failing ones |

pub mod chance;
pub mod contest;
pub mod demand;
pub mod explore;
pub mod fuzz;
pub mod judge;
pub mod limiter;
pub mod network;
pub mod outcome;
pub mod plan;
pub mod plot;
pub mod replicas;
pub mod report;
pub mod rivals;
pub mod scenario;
pub mod shrink;
pub mod world;

pub use outcome::{Excess, Outcome};
pub use plan::{Fault, Plan, Traffic};
pub use scenario::Scenario;
pub use shrink::shrink;
pub use world::World;
