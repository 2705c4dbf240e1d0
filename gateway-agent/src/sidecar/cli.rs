//! The command line.

use std::{
    io::IsTerminal,
    path::{Path, PathBuf},
};

use anyhow::Context;
use clap::{Parser, Subcommand};
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;

use super::{
    Sidecar,
    settings::{Overrides, Settings},
};
use crate::agent::check_files;

/// Weir's gateway agent: answers rate limit checks from local memory.
#[derive(Debug, Parser)]
#[command(name = "gateway-agent", version)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the sidecar
    Run {
        /// The configuration file
        #[arg(long, env = "WEIR_CONFIG")]
        config: Option<PathBuf>,
        /// What to log, like "info" or "gateway_agent=debug"
        #[arg(long, env = "WEIR_LOG", default_value = "info")]
        log: String,
        #[command(flatten)]
        overrides: Box<Overrides>,
    },
    /// Check a configuration file and the files that it names, with the environment's overrides, and exit
    /// with 0 or 1
    CheckConfig {
        /// The configuration file
        file: PathBuf,
        #[command(flatten)]
        overrides: Box<Overrides>,
    },
}

impl Cli {
    /// Does what the command line says.
    ///
    /// # Errors
    /// A wrong configuration, or a port that cannot be listened on.
    pub async fn run(self) -> anyhow::Result<()> {
        match self.command {
            Command::Run { config, log, overrides } => {
                start_log(&log)?;
                serve(config.as_deref(), *overrides).await
            }
            Command::CheckConfig { file, overrides } => {
                let settings = Settings::load(Some(&file), *overrides)?;
                check_files(&settings.agent).with_context(|| file.display().to_string())?;
                announce(&format!("{}: valid; agent {}", file.display(), settings.agent.id()));
                Ok(())
            }
        }
    }
}

async fn serve(config: Option<&Path>, overrides: Overrides) -> anyhow::Result<()> {
    let settings = Settings::load(config, overrides)?;
    let mut terminate = signal(SignalKind::terminate()).context("cannot listen for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot listen for SIGINT")?;
    let sidecar = Sidecar::start(settings).await?;
    let shutdown = async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    };
    sidecar.serve(shutdown).await?;
    Ok(())
}

fn start_log(filter: &str) -> anyhow::Result<()> {
    let filter =
        EnvFilter::try_new(filter).with_context(|| format!("the log filter {filter:?}"))?;
    // Colours are for eyes, not for files.
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr)
        .init();
    Ok(())
}

#[expect(clippy::print_stdout, reason = "the answer of a command line program")]
fn announce(line: &str) {
    println!("{line}");
}
