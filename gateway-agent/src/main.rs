//! The gateway agent as a program: see `gateway-agent --help`.

use std::process::ExitCode;

use clap::Parser;
use gateway_agent::sidecar::cli::Cli;
use mimalloc::MiMalloc;

/// A request allocates some forty times, mostly in HTTP/2.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

// Requests have threads of their own; this one is for the links to the managers.
#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    match Cli::parse().run().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("gateway-agent: {error:#}");
            ExitCode::FAILURE
        }
    }
}
