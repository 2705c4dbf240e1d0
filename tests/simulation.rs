//! The real cores of agents and managers, under load and faults, on a virtual clock.
//!
//! A run is a pure function of its plan, so that these tests measure nothing but Weir: what they
//! assert holds on slow machines, too. `simulation/fuzz.rs` makes random schedules.

#[path = "simulation/churn.rs"]
mod churn;
#[path = "simulation/failover.rs"]
mod failover;
#[path = "simulation/fuzz.rs"]
mod fuzz;
#[path = "simulation/load.rs"]
mod load;
#[path = "simulation/regressions.rs"]
mod regressions;
#[path = "simulation/replication.rs"]
mod replication;
#[path = "simulation/roles.rs"]
mod roles;
#[path = "simulation/scenario.rs"]
mod scenario;
#[path = "simulation/scenarios.rs"]
mod scenarios;
#[path = "simulation/sliding.rs"]
mod sliding;
#[path = "simulation/splits.rs"]
mod splits;
