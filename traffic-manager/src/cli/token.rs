//! `token new`: makes a token, which is shown once, and the lines by which managers know it.

use std::{
    fs::OpenOptions,
    io::{self, IsTerminal, Write},
    path::{Path, PathBuf},
    time::Duration,
};

use clap::Subcommand;
use jiff::Timestamp;
use weir_proto::window::Window;

use super::Failure;
use crate::auth::{
    Role, scope_fault,
    token::{Secret, TokenHash, generate},
};

/// What to do with tokens.
#[derive(Debug, Subcommand)]
pub(super) enum TokenCommand {
    /// Make a token; needs no server
    ///
    /// Prints the lines for the file that auth.tokens_file names at every manager, so that they can be
    /// appended to it (>> tokens.toml). They hold the token's hash alone. The token itself goes to the file of
    /// --write; without it, it is shown once on the terminal (standard error), and nowhere else.
    New {
        /// Who will have it; shown in logs and audit
        #[arg(long, value_name = "NAME")]
        name: String,
        /// agent, peer, viewer or admin
        #[arg(long, value_name = "ROLE", value_parser = role)]
        role: Role,
        /// Ids that an agent's token may speak for, like gw-1 or gw-*; {name} is NAME [default: any]
        #[arg(long, value_name = "ID", value_delimiter = ',')]
        agents: Vec<String>,
        /// Ids that a peer's token may speak for, likewise
        #[arg(long, value_name = "ID", value_delimiter = ',')]
        managers: Vec<String>,
        /// How long it holds, like 12h or 90d [default: for ever]
        #[arg(long, value_name = "DURATION", value_parser = lifetime)]
        expires: Option<Duration>,
        /// Write the token to this new file, for its owner alone to read, and do not print it
        #[arg(long, value_name = "FILE")]
        write: Option<PathBuf>,
    },
}

fn role(name: &str) -> Result<Role, String> {
    Role::parse(name).ok_or_else(|| "it may be agent, peer, viewer or admin".to_owned())
}

fn lifetime(text: &str) -> Result<Duration, String> {
    let window = text.parse::<Window>();
    window.map(Window::duration).map_err(|_| "write it like 12h or 90d, 365d at most".to_owned())
}

/// Runs the command.
pub(super) fn obey(command: TokenCommand, out: &mut dyn io::Write) -> Result<(), Failure> {
    let mut terminal = io::stderr();
    let terminal: Option<&mut dyn io::Write> =
        if terminal.is_terminal() { Some(&mut terminal) } else { None };
    make(command, out, terminal)
}

/// Hands the token to whoever will have it, and then prints the lines: those of a token that nobody has would
/// be of no use. What is printed never has the token in it, for it is meant to be appended to a file.
fn make(
    command: TokenCommand,
    out: &mut dyn io::Write,
    terminal: Option<&mut dyn io::Write>,
) -> Result<(), Failure> {
    let TokenCommand::New { name, role, agents, managers, expires, write } = command;
    if name.is_empty() || name.len() > 128 || name.chars().any(char::is_control) {
        return Err(refused("--name takes 1 to 128 bytes without control characters"));
    }
    for (option, ids, needed) in
        [("--agents", &agents, Role::Agent), ("--managers", &managers, Role::Peer)]
    {
        if !ids.is_empty() && role != needed {
            return Err(refused(format!("{option} goes with --role {needed}")));
        }
        if let Some(fault) = scope_fault(ids).filter(|_| !ids.is_empty()) {
            return Err(refused(format!("{option} {fault}")));
        }
    }
    let token = generate().map_err(refused)?;
    match (&write, terminal) {
        (Some(file), _) => {
            keep(&token, file)
                .map_err(|error| refused(format!("cannot write {}: {error}", file.display())))?;
            writeln!(out, "# The token of {name} is in {}", file.display())?;
        }
        (None, Some(terminal)) => {
            let token = token.expose();
            writeln!(terminal, "The token of {name}; it is shown this once:\n\n  {token}\n")?;
        }
        (None, None) => {
            return Err(refused(
                "standard error is no terminal, and the token is not shown where it could end in a file or \
                 a log; --write FILE keeps it in a new file, for its owner alone to read",
            ));
        }
    }
    writeln!(out, "[[tokens]]")?;
    writeln!(out, "name = {}", toml::Value::from(name))?;
    writeln!(out, "role = \"{role}\"")?;
    for (field, ids) in [("agents", agents), ("managers", managers)] {
        if !ids.is_empty() {
            writeln!(out, "{field} = {}", toml::Value::from(ids))?;
        }
    }
    writeln!(out, "sha256 = \"{}\"", TokenHash::of(token.expose().as_bytes()))?;
    if let Some(lifetime) = expires {
        let end = Timestamp::now().saturating_add(lifetime);
        let end = end.map_err(|error| refused(format!("--expires: {error}")))?;
        let end = Timestamp::from_second(end.as_second()).unwrap_or(end);
        writeln!(out, "expires = \"{end}\"")?;
    }
    Ok(())
}

fn refused(text: impl Into<String>) -> Failure {
    Failure::Refused(text.into())
}

/// A file that only its owner may read, and that was not there.
fn keep(token: &Secret, file: &Path) -> io::Result<()> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    writeln!(options.open(file)?, "{}", token.expose())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn new(write: Option<PathBuf>) -> TokenCommand {
        TokenCommand::New {
            name: "ann".to_owned(),
            role: Role::Viewer,
            agents: Vec::new(),
            managers: Vec::new(),
            expires: None,
            write,
        }
    }

    #[test]
    fn what_is_printed_for_the_tokens_file_never_has_the_token_in_it() {
        let (mut lines, mut screen) = (Vec::new(), Vec::new());
        make(new(None), &mut lines, Some(&mut screen)).unwrap();
        let (lines, screen) =
            (String::from_utf8(lines).unwrap(), String::from_utf8(screen).unwrap());
        let token = screen.lines().find_map(|line| line.strip_prefix("  weir_")).unwrap();
        assert!(!lines.contains(token), "{lines}");
        let hash = TokenHash::of(format!("weir_{token}").as_bytes()).to_string();
        let table: toml::Table = lines.parse().unwrap();
        assert_eq!(table["tokens"][0]["sha256"].as_str(), Some(&*hash));
    }

    #[test]
    fn without_a_terminal_a_token_is_made_only_into_a_file() {
        let mut lines = Vec::new();
        let Err(Failure::Refused(why)) = make(new(None), &mut lines, None) else {
            panic!("refused");
        };
        assert!(lines.is_empty() && why.contains("--write FILE"), "{why}");
        let folder = tempfile::tempdir().unwrap();
        make(new(Some(folder.path().join("ann.token"))), &mut lines, None).unwrap();
        assert!(!lines.is_empty());
    }
}
