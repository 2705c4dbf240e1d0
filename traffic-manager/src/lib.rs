//! Weir's traffic manager: counts what every agent admitted, decides how much more each may admit,
//! and publishes the decisions and the policies.
//!
//! | module | holds |
//! |---|---|
//! | [`config`] | the TOML file, variables, flags |
//! | `clock` | the only reader of the clocks |
//! | `driver` | the one task that owns the core |
//! | `keeper` | the one task that owns the replica and the store |
//! | `peers` | links between managers |
//! | `group` | all of these, from start to end |
//! | `ingest`, `broker` | the usage and the decision plane, both by way of `streams` |
//! | `tls`, `auth`, `security` | certificates, tokens and roles; kept as their files are |
//! | `grpc`, `http`, `net` | the two ports and their bounds |
//! | `admin` | the HTTP API, the status page, the API's documentation |
//! | `import` | other limiters' files as policies |
//! | [`telemetry`] | metrics and log |
//! | `serve` | all of these, from start to shutdown |
//! | [`store`] | what outlives a manager |
//! | [`cli`] | the program's commands |

pub use self::{config::Config, serve::run};

mod admin;
mod audit;
pub mod auth;
mod broker;
mod checkpoint;
pub mod cli;
mod clock;
pub mod config;
mod driver;
mod group;
mod grpc;
mod http;
mod import;
mod ingest;
mod keeper;
mod net;
mod peers;
mod security;
mod serve;
mod stop;
pub mod store;
mod streams;
pub mod telemetry;
mod tls;
