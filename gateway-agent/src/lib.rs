//! Weir's gateway agent: rate limits from local memory.
//!
//! An [`Agent`] answers checks without I/O, tells every traffic manager what it admitted, and
//! follows the decisions of the first reachable one. Embedded, it is this:
//!
//! ```no_run
//! use gateway_agent::{Agent, Config, Request};
//!
//! # async fn serve() -> Result<(), Box<dyn std::error::Error>> {
//! let config = Config::new("gw-1", ["http://tm1:9611", "http://tm2:9611"])?;
//! let agent = Agent::connect(config)?;
//!
//! let request = Request::new().application("shop").api("orders").method("POST");
//! let verdict = agent.check(&request);
//! if !verdict.allowed() {
//!     // Answer 429; `RateLimitHeaders` has the headers that say why and for how long.
//! }
//!
//! agent.shutdown().await;
//! # Ok(())
//! # }
//! ```
//!
//! | module | holds |
//! |---|---|
//! | [`Agent`], [`Config`] | the embeddable agent |
//! | [`RateLimitHeaders`] | what a verdict says to an HTTP client |
//! | `layer` (feature `tower`) | a limit in front of any tower service |
//! | `sidecar` (feature `sidecar`, on by default) | the program: HTTP, Envoy's service, metrics |
//!
//! Inside: `driver` owns the pure core (`gateway-agent-core`) and is the only reader of the clock;
//! `publish` and `receive` carry its frames, `access` has the credentials.

mod access;
mod agent;
mod clock;
mod config;
mod driver;
#[cfg(all(test, feature = "sidecar"))]
mod fake_manager;
mod headers;
mod link;
mod names;
mod publish;
mod receive;
mod rules;

#[cfg(feature = "tower")]
pub mod layer;
#[cfg(feature = "sidecar")]
pub mod sidecar;

pub use gateway_agent_core::{
    LeaseId, LimitStatus, Outcome, PolicyRef, Reason, Reported, UnknownAmount, Verdict,
    agent::{ManagerStatus, Status},
};
pub use weir_proto::{
    amount::{Amounts, Changes, Unit},
    policy::OnDisconnect,
    request::Request,
};

pub use crate::{
    agent::{Agent, ConnectError, MAX_WAITERS},
    config::{Config, ConfigError, DEFAULT_MAX_COUNTERS, MAX_MANAGERS, ManagerUrl},
    headers::{HeaderStyle, RateLimitHeaders, Tightest},
};
