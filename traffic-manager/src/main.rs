//! The `traffic-manager` program.

use std::process::ExitCode;

fn main() -> ExitCode {
    traffic_manager::cli::main()
}
