//! Roles in small: each rule by itself. Random schedules are in `tests/simulation/roles.rs`.
