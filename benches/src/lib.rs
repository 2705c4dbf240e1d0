//! What benchmarks share. A benchmark is a `[[bench]]` of this package with `harness = false`; its
//! name is the thing measured. Run one with `cargo bench -p weir-benches --bench NAME`.
//!
//! A figure counts only beside its rival's from the same run: the machine decides more than the code.

pub mod gateway;
pub mod lanes;
pub mod traffic;
