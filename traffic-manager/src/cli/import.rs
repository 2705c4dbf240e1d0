//! `policy import`.

use std::{io, path::PathBuf};

use serde_json::{Value, json};
use weir_proto::policy::{API_VERSION, Policy};

use super::{
    Client, Failure, Output, Remote, Waiting,
    policy::{apply, read_text},
};
use crate::import::{Finding, Format, Severity, Source, translate};

/// Which files, and what to do with them.
#[derive(Debug, clap::Args)]
pub(super) struct Import {
    /// Whose files they are
    #[arg(long, value_name = "LIMITER")]
    format: Format,
    /// Their files, as they are; - reads standard input
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Only tell what would be done; with --output yaml or json the policies, and no server is asked
    #[arg(long)]
    dry_run: bool,
    /// Import what can be translated, and leave out what has no equivalent
    #[arg(long)]
    partial: bool,
    #[command(flatten)]
    waiting: Waiting,
    #[command(flatten)]
    remote: Remote,
}

/// Translates the files, and writes the policies unless it is a dry run.
pub(super) fn obey(options: &Import, out: &mut dyn io::Write) -> Result<(), Failure> {
    let files = options.files.iter().map(|file| read_text(file));
    let files = files.collect::<Result<Vec<_>, _>>()?;
    let sources: Vec<Source<'_>> = files.iter().map(|(name, text)| Source { name, text }).collect();
    let translation = translate(options.format, &sources);
    let faults: Vec<String> =
        translation.faults(options.partial).map(|fault| format!("  {fault}")).collect();
    if !faults.is_empty() {
        let hint = match translation.faults(true).next() {
            None => "; --partial leaves out what has no equivalent",
            Some(_) => "",
        };
        let text = faults.join("\n");
        return Err(Failure::Refused(format!(
            "the files cannot be translated as they are; nothing was changed{hint}\n{text}"
        )));
    }
    let format = options.remote.output;
    if options.dry_run && !format.is_table() {
        if format.is_yaml() {
            remarks(&translation.findings, "# ", out)?;
        }
        let document = document(&translation.policies);
        return Output::new(format).print(out, &document, |_| Vec::new());
    }
    remarks(&translation.findings, "", out)?;
    let client = Client::new(&options.remote)?;
    apply(&client, &translation.policies, options.dry_run, &options.waiting, out)
}

/// The findings that stopped nothing.
fn remarks(findings: &[Finding], before: &str, out: &mut dyn io::Write) -> io::Result<()> {
    for finding in findings {
        let kind = match finding.severity {
            Severity::Note => "note",
            Severity::NoEquivalent | Severity::Invalid => "left out",
        };
        // A value may have lines of its own, which would end a comment.
        let text = finding.to_string().replace(['\n', '\r'], " ");
        writeln!(out, "{before}{kind}: {text}")?;
    }
    Ok(())
}

fn document(policies: &[Policy]) -> Value {
    let policies: Vec<Value> = policies.iter().map(Policy::to_json).collect();
    json!({ "apiVersion": API_VERSION, "policies": policies })
}
