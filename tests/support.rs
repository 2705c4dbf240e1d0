//! Helpers for tests that start real programs. A target takes them in with `mod support;`, and no
//! target uses all of them.
#![allow(dead_code, reason = "every target uses its part")]

pub(crate) mod envoy;
pub(crate) mod fleet;
pub(crate) mod group;
pub(crate) mod http;
pub(crate) mod load;
pub(crate) mod peers;
pub(crate) mod ports;
pub(crate) mod postgres;
pub(crate) mod process;
pub(crate) mod proxy;
pub(crate) mod upstream;
pub(crate) mod wait;
