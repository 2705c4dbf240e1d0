//! The traffic manager's brain.
//!
//! Pure: a function of (state, input, now). The shell brings frames and manager time, and carries
//! out what comes back. `ALGORITHM.md` beside this crate states the protocol and its bound.
//!
//! | module | holds |
//! |---|---|
//! | [`message`] | inputs and outputs |
//! | [`manager`] | the composition: what each input touches |
//! | [`fleet`] | agents, sessions, fleet views: who may grant what |
//! | [`ledger`] | counters, their windows, what each agent used and holds |
//! | [`meter`] | what a rolling window has spent |
//! | [`grants`] | free budget, grants and recalls of one counter |
//! | [`feed`] | revisions and interning of each subscriber's stream |
//! | [`policies`] | the policy set and its versions |
//! | [`replica`] | policies and records, replicated among managers: see `REPLICATION.md` |
//! | [`accounts`] | records of usage, once per counter and period |
//! | [`roles`] | who of the managers writes usage records and cleans up |
//! | [`checkpoint`] | long windows' counters as rows of a store |
//! | [`view`], [`explain`] | answers to operators' questions |

pub mod accounts;
pub mod checkpoint;
pub mod explain;
pub mod feed;
pub mod fleet;
pub mod grants;
pub mod ledger;
pub mod limits;
pub mod manager;
pub mod message;
pub mod meter;
pub mod policies;
pub mod replica;
pub mod roles;
pub mod view;

pub use manager::{Config, Export, Manager, Missing};
pub use message::{Input, Output, StreamId};
