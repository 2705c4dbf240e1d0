//! `--wait`: how many peers are to have a write before a command ends.

use std::io;

use super::client::Answer;

/// For how many peers a command waits.
#[derive(Debug, Clone, Default, clap::Args)]
pub(super) struct Waiting {
    /// End only when so many peers have it on their disks: a number, or all; exit 1 if they have not
    /// within 5 s
    #[arg(long, value_name = "N|all", value_parser = peers)]
    wait: Option<String>,
}

fn peers(text: &str) -> Result<String, String> {
    let number = text.parse::<usize>().is_ok();
    (text == "all" || number)
        .then(|| text.to_owned())
        .ok_or_else(|| "write a number of peers, or all".to_owned())
}

impl Waiting {
    /// Whether a command waits.
    pub(super) fn is_on(&self) -> bool {
        self.wait.is_some()
    }

    /// The path of a call that waits.
    pub(super) fn path(&self, path: &str) -> String {
        match &self.wait {
            Some(wait) => format!("{path}?wait={wait}"),
            None => path.to_owned(),
        }
    }
}

/// Says how many peers have it, if that was asked.
pub(super) fn tell(answer: &Answer, out: &mut dyn io::Write) -> io::Result<()> {
    match answer.replicas {
        Some(1) => writeln!(out, "1 peer has it"),
        Some(count) => writeln!(out, "{count} peers have it"),
        None => Ok(()),
    }
}
