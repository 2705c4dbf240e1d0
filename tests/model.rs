//! The cores, driven by hand, against models too simple to be wrong.
//!
//! `model/verdicts.rs`: a fleet of one agent gives the verdicts that a table of numbers gives.
//! `model/amounts.rs`: every kind of amount, and what a policy says of single keys.
//! `model/afterwards.rs`: what is told after the response counts like one number.
//! `model/calendar.rs`: days and hours of a calendar, over changes of the clocks.
//! `model/endings.rs`: what is left of an agent that goes.
//! `model/closing.rs`: windows that close, as records of usage need them.
//! `model/explained.rs`: what a manager says of a request is what the agent does with it.
//! `model/merging.rs`: usage frames may be lost, repeated and reordered.
//! `model/explore.rs`: every schedule of small fleets keeps the bound.
//! `model/rivals.rs`: two agents with one id.
//! `model/room.rs`: a manager that has no room for more counters.
//! `model/sliding.rs`: sliding windows lie between two naive logs.
//! `model/rules.rs`: each rule of the credit protocol on its own, with one side played by hand.

#[path = "model/afterwards.rs"]
mod afterwards;
#[path = "model/amounts.rs"]
mod amounts;
#[path = "model/calendar.rs"]
mod calendar;
#[path = "model/closing.rs"]
mod closing;
#[path = "model/endings.rs"]
mod endings;
#[path = "model/explained.rs"]
mod explained;
#[path = "model/explore.rs"]
mod explore;
#[path = "model/merging.rs"]
mod merging;
#[path = "model/pair.rs"]
mod pair;
#[path = "model/rivals.rs"]
mod rivals;
#[path = "model/room.rs"]
mod room;
#[path = "model/rules.rs"]
mod rules;
#[path = "model/script.rs"]
mod script;
#[path = "model/sliding.rs"]
mod sliding;
#[path = "model/verdicts.rs"]
mod verdicts;

/// Random cases of a property. The seed is that of `.cargo/config.toml`, the same in every run; look
/// for new ones with `PROPTEST_RNG_SEED=n PROPTEST_CASES=n cargo test --test model`.
fn cases(usual: u32) -> proptest::prelude::ProptestConfig {
    #[expect(clippy::disallowed_methods, reason = "how thorough a run is, is up to who runs it")]
    let asked = std::env::var_os("PROPTEST_CASES").is_some();
    let config = proptest::prelude::ProptestConfig::default();
    let cases = if asked { config.cases } else { usual };
    proptest::prelude::ProptestConfig { cases, failure_persistence: None, ..config }
}
