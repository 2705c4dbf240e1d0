//! The program's commands: the manager itself, and the client of its admin API.

use std::{ffi::OsString, io, path::PathBuf, process::ExitCode};

use clap::{Parser, Subcommand};

use self::{
    client::{Client, ClientError},
    conflicts::ConflictCommand,
    explain::Question,
    output::{Output, OutputFormat},
    policy::PolicyCommand,
    records::Span,
    simulate::Simulate,
    store::StoreCommand,
    token::TokenCommand,
    wait::Waiting,
};
use crate::{auth::token::Secret, config::Settings};

mod access;
mod backup;
mod client;
mod conflicts;
mod explain;
mod import;
mod live;
mod output;
mod policy;
mod reach;
mod records;
mod server;
mod simulate;
mod store;
mod table;
mod token;
mod units;
mod wait;

/// Refused by the server, or not valid.
const REFUSED: u8 = 1;
/// Not understood, or the server cannot be reached.
const FAILED: u8 = 2;

/// Weir's traffic manager, and the command-line client of its admin API
#[derive(Debug, Parser)]
#[command(name = "traffic-manager", version, about, propagate_version = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run a traffic manager
    Serve {
        /// Configuration file (TOML); WEIR_… variables and flags override it
        #[arg(long, env = "WEIR_CONFIG", value_name = "FILE")]
        config: Option<PathBuf>,
        #[command(flatten)]
        settings: Box<Settings>,
    },
    /// Check a configuration file and its policies file; exit 0 if a manager could run with it
    CheckConfig {
        /// The file
        file: PathBuf,
    },
    /// Read and write policies
    #[command(subcommand)]
    Policy(PolicyCommand),
    /// Show the managers and the agents
    Status {
        #[command(flatten)]
        remote: Remote,
    },
    /// Show live usage
    Counters {
        #[command(flatten)]
        filter: Filter,
        #[command(flatten)]
        remote: Remote,
    },
    /// Set counters back to nothing, at every agent
    Reset {
        /// The policy
        policy: String,
        /// The value of each part of the policy's key, in its order; without it all counters
        #[arg(long, value_name = "VALUE", num_args = 1..)]
        key: Option<Vec<String>>,
        #[command(flatten)]
        waiting: Waiting,
        #[command(flatten)]
        remote: Remote,
    },
    /// Show who is throttled now
    Decisions {
        #[command(flatten)]
        filter: Filter,
        #[command(flatten)]
        remote: Remote,
    },
    /// Show and settle concurrent edits of policies
    #[command(subcommand)]
    Conflicts(ConflictCommand),
    /// Show who changed what
    Audit {
        #[command(flatten)]
        span: Span,
        #[command(flatten)]
        remote: Remote,
    },
    /// Show what was used in periods that are over
    Usage {
        #[command(flatten)]
        span: Span,
        #[command(flatten)]
        remote: Remote,
    },
    /// Show which policies a request would meet, its counters, and why it would be refused
    Explain {
        #[command(flatten)]
        question: Question,
        #[command(flatten)]
        remote: Remote,
    },
    /// Examine, back up and restore what a manager keeps
    #[command(subcommand)]
    Store(StoreCommand),
    /// Make tokens for agents, managers and people
    #[command(subcommand)]
    Token(TokenCommand),
    /// Run policies on a virtual clock, with traffic and faults of your own; needs no server
    ///
    /// Exit code 1 when a scenario does not come up to its expect_over, expect_under or expect_wrong.
    Simulate(Simulate),
}

/// Which manager is asked, and how the answer is shown.
#[derive(Debug, clap::Args)]
struct Remote {
    /// Admin API of any manager
    #[arg(long, env = "WEIR_SERVER", value_name = "URL", default_value = "http://127.0.0.1:9610")]
    server: String,
    #[command(flatten)]
    credentials: Credentials,
    /// How to print
    #[arg(long, short, value_name = "FORMAT", default_value = "table")]
    output: OutputFormat,
}

/// What a manager is shown, and by what it is known.
#[derive(Debug, clap::Args)]
struct Credentials {
    /// A file with the token to show
    #[arg(long, env = "WEIR_TOKEN_FILE", value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// The token itself; other users of the machine can read the flag, not the variable
    #[arg(long, env = "WEIR_TOKEN", hide_env_values = true, value_name = "TOKEN")]
    token: Option<Secret>,
    /// Who signs the managers' certificates, PEM; needed for an https server
    #[arg(long, env = "WEIR_CA", value_name = "FILE")]
    ca: Option<PathBuf>,
    /// A certificate to show instead of a token, PEM
    #[arg(long, env = "WEIR_CLIENT_CERT", value_name = "FILE", requires = "client_key")]
    client_cert: Option<PathBuf>,
    /// The private key of --client-cert, PEM
    #[arg(long, env = "WEIR_CLIENT_KEY", value_name = "FILE", requires = "client_cert")]
    client_key: Option<PathBuf>,
}

/// Which counters or decisions to show.
#[derive(Debug, clap::Args)]
struct Filter {
    /// Only those of this policy
    #[arg(long, value_name = "NAME")]
    policy: Option<String>,
    /// Only those with this text in a part of their key
    #[arg(long, value_name = "TEXT")]
    key: Option<String>,
    /// At most this many
    #[arg(long, value_name = "COUNT", default_value = "100")]
    limit: u32,
}

/// Why a command failed.
#[derive(Debug)]
enum Failure {
    /// Refused by the server, or not valid: exit code 1.
    Refused(String),
    /// The server cannot be reached: exit code 2.
    Unreachable(String),
}

impl From<ClientError> for Failure {
    fn from(error: ClientError) -> Self {
        match error {
            ClientError::Refused(text) | ClientError::Late(text) => Failure::Refused(text),
            ClientError::Unreachable(text) => Failure::Unreachable(text),
        }
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Failure::Unreachable(format!("cannot write the answer: {error}"))
    }
}

/// Runs the command of the program's arguments.
pub fn main() -> ExitCode {
    run(std::env::args_os(), &mut io::stdout().lock())
}

/// Runs the command that `arguments` name and prints what it answers to `out`.
pub fn run(arguments: impl IntoIterator<Item = OsString>, out: &mut dyn io::Write) -> ExitCode {
    let cli = match Cli::try_parse_from(arguments) {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version go to standard output with code 0. A closed pipe is no fault.
            let _ = error.print();
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(FAILED));
        }
    };
    match obey(cli.command, out) {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failure::Refused(text)) => complain(&text, REFUSED),
        Err(Failure::Unreachable(text)) => complain(&text, FAILED),
    }
}

fn obey(command: Command, out: &mut dyn io::Write) -> Result<(), Failure> {
    let connect =
        |remote: Remote| Ok::<_, Failure>((Client::new(&remote)?, Output::new(remote.output)));
    match command {
        Command::Serve { config, settings } => server::serve(config.as_deref(), *settings),
        Command::CheckConfig { file } => server::check(&file, out),
        Command::Policy(command) => policy::obey(command, out),
        Command::Status { remote } => {
            let (client, mut output) = connect(remote)?;
            live::status(&client, &mut output, out)
        }
        Command::Counters { filter, remote } => {
            let (client, mut output) = connect(remote)?;
            live::counters(&client, &filter, &mut output, out)
        }
        Command::Reset { policy, key, waiting, remote } => {
            let (client, mut output) = connect(remote)?;
            let order = live::order(&policy, key.as_deref());
            live::reset(&client, &order, &waiting, &mut output, out)
        }
        Command::Decisions { filter, remote } => {
            let (client, mut output) = connect(remote)?;
            live::decisions(&client, &filter, &mut output, out)
        }
        Command::Conflicts(command) => conflicts::obey(command, connect, out),
        Command::Audit { span, remote } => {
            let (client, mut output) = connect(remote)?;
            records::audit(&client, &span, &mut output, out)
        }
        Command::Usage { span, remote } => {
            let (client, mut output) = connect(remote)?;
            records::usage(&client, &span, &mut output, out)
        }
        Command::Explain { question, remote } => {
            let (client, mut output) = connect(remote)?;
            explain::obey(&question, &client, &mut output, out)
        }
        Command::Store(command) => store::obey(command, out),
        Command::Token(command) => token::obey(command, out),
        Command::Simulate(options) => simulate::obey(&options, out),
    }
}

#[expect(clippy::print_stderr, reason = "a command answers on the terminal")]
fn complain(text: &str, code: u8) -> ExitCode {
    eprintln!("traffic-manager: {text}");
    ExitCode::from(code)
}

#[cfg(test)]
mod tests;
