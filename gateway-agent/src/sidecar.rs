//! The program around the agent: an HTTP API, Envoy's rate limit service, metrics.
//!
//! | module | holds |
//! |---|---|
//! | [`settings`] | the configuration file, environment and flags |
//! | [`cli`] | the command line |
//! | `server` | listening, accepting, ending |
//! | `workers` | threads that serve connections, each alone |
//! | `connection`, `patient` | one connection, HTTP or gRPC; how long its client may take nothing |
//! | `gate` | a check, measured |
//! | `http` | `/v1/check`, `/v1/auth`, `/v1/status`, probes |
//! | `rls` | Envoy's `ShouldRateLimit` |
//! | `telemetry` | `/metrics` |

pub mod cli;
pub mod settings;

mod connection;
mod gate;
mod http;
mod patient;
mod proxy;
mod rls;
mod server;
mod telemetry;
mod workers;

pub use self::server::{ServeError, Sidecar};
