//! The gateway agent as a program: see `gateway-agent --help`.

use std::process::ExitCode;

use clap::Parser;
use gateway_agent::sidecar::cli::Cli;

#[tokio::main]
async fn main() -> ExitCode {
    match Cli::parse().run().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("gateway-agent: {error:#}");
            ExitCode::FAILURE
        }
    }
}
