//! What benchmarks share. A benchmark is a `[[bench]]` of this package with `harness = false`; its
//! name is the thing measured. Run one with `cargo bench -p weir-benches --bench NAME`.
//!
//! A figure counts only beside its rival's from the same run: the machine decides more than the code.

pub mod gateway;
pub mod lanes;
pub mod traffic;

/// Resident bytes of this process.
pub fn resident() -> usize {
    let text = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages = text.split(' ').nth(1).and_then(|n| n.parse::<usize>().ok());
    pages.unwrap_or(0) * 4_096
}
