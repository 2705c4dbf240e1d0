//! The gateway agent's brain.
//!
//! Pure: a function of (state, input, now); the shell brings frames and a monotonic clock, and
//! carries out what comes back. Two halves share one table of counters:
//!
//! - [`Checker`], on every request thread: match, count, decide. No I/O, no waiting.
//! - [`Agent`], in one owner task: reports usage to every manager, follows one for ceilings.
//!
//! | module | holds |
//! |---|---|
//! | [`message`] | inputs and outputs of the owner |
//! | [`check`] | verdicts: evaluation order, all or nothing |
//! | [`counter`] | one counter's window, use and ceiling |
//! | [`table`] | all counters, bounded |
//! | [`standing`] | what checks must know of the owner's state |
//! | [`usage`] | batches for the managers, each link at its own pace |
//! | [`credit`] | what is told to and asked of the manager that it follows |
//! | [`receiver`] | the ordered failover list |
//! | [`mod@agent`] | the composition |

pub mod agent;
pub mod check;
pub mod counter;
pub mod credit;
pub mod message;
pub mod receiver;
pub mod standing;
pub mod table;
pub mod usage;

pub use agent::{Agent, Config, agent};
pub use check::{
    Checker, LimitStatus, Outcome, PolicyRef, Reason, Reported, UnknownAmount, Verdict,
};
pub use message::{ConnectionId, Input, ManagerIndex, Notice, Output};
pub use table::LeaseId;
