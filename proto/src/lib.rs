//! The contract between gateway agents and traffic managers.
//!
//! Pure: no I/O, no clock, no randomness; the shells bring time and bytes. The map:
//!
//! | module | holds |
//! |---|---|
//! | [`id`] | names of agents and managers, incarnations |
//! | [`time`] | microseconds, and windows named by their start |
//! | [`key`] | the one canonical encoding of a counter's key |
//! | [`amount`] | what limits count, and how amounts are written |
//! | [`window`] | windows and the algorithms that roll them |
//! | [`calendar`], [`zone`] | windows that follow a calendar, in a time zone of this build |
//! | [`schedule`] | weekdays, hours and dates at which groups apply |
//! | [`policy`] | the policy document, valid by construction |
//! | [`expr`] | CEL, bounded so that no expression can hurt |
//! | [`request`] | the attributes that policies see |
//! | [`matcher`] | policies compiled into an index: request → counters |
//! | [`rule`] | which rule a rate limit descriptor meets, of all that policies name |
//! | [`share`] | fleet views and the share of a limit that each agent owns |
//! | [`usage`], [`decision`] | the two planes' messages as domain types |
//! | [`peer`] | what managers tell one another: replicated entries and their frames |
//! | [`counters`] | what managers tell each other of windows that go on |
//! | [`convert`] | the only gate from foreign bytes to these types |
//! | [`wire`] | generated code |

pub mod amount;
pub mod calendar;
pub mod convert;
pub mod counters;
pub mod decision;
pub mod expr;
pub mod id;
pub mod key;
pub mod matcher;
pub mod peer;
pub mod policy;
pub mod request;
pub mod rule;
pub mod schedule;
pub mod share;
pub mod time;
pub mod usage;
pub mod window;
pub mod wire;
pub mod zone;
