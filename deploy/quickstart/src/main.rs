//! `cargo quickstart`: two traffic managers and a gateway agent, to try Weir and to break it.
//!
//! The three are processes of their own, so that they can be killed and stopped. This program
//! becomes each of them by running itself with a hidden command: building one package is enough.
//!
//! | module | holds |
//! |---|---|
//! | `town` | starts the programs, starts them again, ends them |
//! | `part` | one program: its arguments, its process, its log |
//! | `leash` | ends a program whose parent is gone |
//! | `watch` | what happens to the agent, one line per change |
//! | `ports` | whether the addresses are free |
//! | `screen` | lines, colours |

use std::{ffi::OsString, process::ExitCode};

use clap::{Parser, Subcommand};

use crate::screen::Screen;

mod leash;
mod part;
mod ports;
mod screen;
mod town;
mod watch;

/// Runs two traffic managers and a gateway agent on this machine, with example policies.
///
/// Ctrl-C ends them all. A program that dies is started again after 5 seconds.
#[derive(Debug, Parser)]
#[command(name = "cargo quickstart", version, disable_help_subcommand = true)]
struct Cli {
    /// Print without colours
    #[arg(long, env = "NO_COLOR", value_name = "ANY", num_args = 0..=1, default_missing_value = "1")]
    no_color: Option<OsString>,
    #[command(subcommand)]
    part: Option<Part>,
}

#[derive(Debug, Subcommand)]
enum Part {
    /// Become a traffic manager
    #[command(hide = true)]
    Manager {
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<OsString>,
    },
    /// Become a gateway agent
    #[command(hide = true)]
    Agent {
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<OsString>,
    },
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let result = match cli.part {
        Some(Part::Manager { arguments }) => return manager(arguments),
        Some(Part::Agent { arguments }) => agent(arguments),
        None => run(&Screen::new(cli.no_color.is_none_or(|value| value.is_empty()))),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            screen::complain(&format!("{error:#}"));
            ExitCode::FAILURE
        }
    }
}

/// One thread: the system ties a child's life to the thread that started it.
fn run(screen: &Screen) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(town::run(screen))
}

fn manager(arguments: Vec<OsString>) -> ExitCode {
    leash::hold();
    let arguments = std::iter::once(OsString::from("traffic-manager")).chain(arguments);
    traffic_manager::cli::run(arguments, &mut std::io::stdout())
}

fn agent(arguments: Vec<OsString>) -> anyhow::Result<()> {
    leash::hold();
    let arguments = std::iter::once(OsString::from("gateway-agent")).chain(arguments);
    let cli = gateway_agent::sidecar::cli::Cli::try_parse_from(arguments)?;
    tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(cli.run())
}
