//! `simulate`: scenarios on a virtual clock, without any server.

use std::{
    fs,
    io::{self, Read as _},
    path::{Path, PathBuf},
};

use serde_json::{Value, json};
use weir_simulator::{
    Scenario,
    contest::{Entrant, Run},
    judge, plot,
    report::{self, Failure as Failed, Report, Row, Spread, Traffic},
    scenario::ScenarioError,
};

use super::{Failure, Output, output::OutputFormat, table::Table};

/// Longest scenario or policy file, in bytes.
const MAX_BYTES: u64 = 1 << 20;
/// Most seeds of one command.
const MAX_RUNS: u64 = 10_000;

/// What to simulate, and how to show it.
#[derive(Debug, clap::Args)]
pub(super) struct Simulate {
    /// Scenario files (TOML); deploy/scenarios has examples
    #[arg(required = true, value_name = "SCENARIO")]
    scenarios: Vec<PathBuf>,
    /// Seed of the first run [default: the scenario's]
    #[arg(long, value_name = "NUMBER")]
    seed: Option<u64>,
    /// How many seeds to run, one after the other
    #[arg(long, value_name = "COUNT", default_value = "1",
          value_parser = clap::value_parser!(u64).range(1..=MAX_RUNS))]
    runs: u64,
    /// Draw the first run of the only scenario
    #[arg(long, value_name = "FILE.svg")]
    plot: Option<PathBuf>,
    /// Also run throttle flags, static shares and drop ratios, and Weir strict and balanced
    #[arg(long)]
    compare: bool,
    /// One Markdown table for all scenarios: over / under / wrong
    #[arg(long, conflicts_with = "output")]
    markdown: bool,
    /// How to print
    #[arg(long, short, value_name = "FORMAT", default_value = "table")]
    output: OutputFormat,
}

/// Runs every scenario; refused when one of them did not come up to its expectations.
pub(super) fn obey(options: &Simulate, out: &mut dyn io::Write) -> Result<(), Failure> {
    let out: &mut dyn io::Write = &mut Patient(out);
    if options.plot.is_some() && options.scenarios.len() > 1 {
        let message = "--plot draws one scenario; name only one";
        return Err(Failure::Unreachable(message.to_owned()));
    }
    let read = options.scenarios.iter().map(|file| Ok((file.as_path(), load(file)?)));
    let scenarios: Vec<(&Path, Scenario)> = read.collect::<Result<_, Failure>>()?;
    let entrants = if options.compare { &Entrant::COMPARED[..] } else { &[Entrant::Weir] };
    let mut failures = Vec::new();
    let mut reports = Vec::new();
    for (place, (file, scenario)) in scenarios.iter().enumerate() {
        let seed = options.seed.unwrap_or(scenario.seed);
        let end = seed.checked_add(options.runs).ok_or_else(|| too_high(seed, options.runs))?;
        let seeds = seed..end;
        let (report, runs) = report::simulate(scenario, seeds, entrants, options.plot.is_some());
        if let Some(picture) = &options.plot {
            draw(picture, &titled(scenario, file), &runs)?;
        }
        failures.extend(report.failures.iter().map(|failure| {
            let Failed { expectation, policy, seed, message } = failure;
            let file = file.display();
            format!("{file}: {expectation}: policy {policy}, seed {seed}: {message}")
        }));
        if options.output == OutputFormat::Table && !options.markdown {
            if place > 0 {
                writeln!(out)?;
            }
            show(file, &report, out)?;
        }
        reports.push((*file, report));
    }
    if options.markdown {
        markdown(&reports, entrants, out)?;
    } else if options.output != OutputFormat::Table {
        let value =
            Value::Array(reports.iter().map(|(file, report)| named(file, report)).collect());
        Output::new(options.output).print(out, &value, |_| Vec::new())?;
    }
    if failures.is_empty() { Ok(()) } else { Err(Failure::Refused(failures.join("\n"))) }
}

/// Output whose reader may leave early, as `head` does: the runs go on, and so does the verdict.
struct Patient<'a>(&'a mut dyn io::Write);

impl io::Write for Patient<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self.0.write(bytes) {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(bytes.len()),
            result => result,
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self.0.flush() {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
            result => result,
        }
    }
}

fn too_high(seed: u64, runs: u64) -> Failure {
    let most = u64::MAX - runs;
    Failure::Unreachable(format!("--seed {seed} is too high for --runs {runs}; at most {most}"))
}

/// Devices and pipes tell no length: what is read is bounded, not what is told.
fn text_of(file: &Path) -> Result<String, String> {
    let unreadable = |error: io::Error| format!("cannot be read: {error}");
    let mut bytes = Vec::new();
    let mut source = fs::File::open(file).map_err(unreadable)?.take(MAX_BYTES + 1);
    source.read_to_end(&mut bytes).map_err(unreadable)?;
    if bytes.len() as u64 > MAX_BYTES {
        return Err("is longer than 1 MiB, the most that is read".to_owned());
    }
    String::from_utf8(bytes).map_err(|error| {
        let at = error.utf8_error().valid_up_to() + 1;
        format!("is not text: byte {at} is not UTF-8")
    })
}

fn load(file: &Path) -> Result<Scenario, Failure> {
    let refuse = |message: String| Failure::Refused(format!("{}: {message}", file.display()));
    let text = text_of(file).map_err(refuse)?;
    let beside = |name: &str| file.parent().unwrap_or(Path::new("")).join(name);
    Scenario::parse(&text, |name| text_of(&beside(name))).map_err(|error| {
        let told: Vec<String> = match error {
            ScenarioError::Malformed(text) => {
                text.lines().map(|line| format!("{}: {line}", file.display())).collect()
            }
            ScenarioError::Invalid(refusals) => refusals
                .into_iter()
                .map(|refusal| {
                    let source = refusal.file.as_ref().map_or(file.to_owned(), |name| beside(name));
                    format!("{}: {} {}", source.display(), refusal.field, refusal.message)
                })
                .collect(),
        };
        Failure::Refused(told.join("\n"))
    })
}

fn draw(picture: &Path, scenario: &Scenario, runs: &[Run]) -> Result<(), Failure> {
    let svg = plot::svg(scenario, &judge::facts(&scenario.policies), runs);
    fs::write(picture, svg).map_err(|error| {
        Failure::Unreachable(format!("cannot write {}: {error}", picture.display()))
    })
}

/// The scenario's name: that of its file.
fn name(file: &Path) -> String {
    file.file_stem().unwrap_or_default().to_string_lossy().into_owned()
}

/// Pictures of scenarios without a title are headed by the file's name.
fn titled(scenario: &Scenario, file: &Path) -> Scenario {
    let mut scenario = scenario.clone();
    if scenario.title.is_empty() {
        scenario.title = name(file);
    }
    scenario
}

fn named(file: &Path, report: &Report) -> Value {
    let mut value = serde_json::to_value(report).unwrap_or_default();
    if let Value::Object(fields) = &mut value {
        fields.insert("scenario".to_owned(), json!(name(file)));
    }
    value
}

fn show(file: &Path, report: &Report, out: &mut dyn io::Write) -> Result<(), Failure> {
    let title = if report.title.is_empty() { name(file) } else { report.title.clone() };
    let runs = match report.runs {
        1 => format!("seed {}", report.seed),
        runs => {
            format!("seeds {} to {}; mean (worst)", report.seed, report.seed + runs - 1)
        }
    };
    writeln!(out, "{title}\n{runs}\n")?;
    let mut table = Table::new(&[
        "LIMITER", "POLICY", "LIMIT", "ADMITTED", "ALLOWED", "OVER", "REQUESTS", "UNDER", "WRONG",
        "REACTION",
    ]);
    for row in &report.rows {
        table.row(cells(row, report.runs));
    }
    table.print(out)?;
    writeln!(out)?;
    let mut table =
        Table::new(&["LIMITER", "USAGE/S", "BYTES/S", "DECISIONS/S", "BYTES/S", "FAILOVER"]);
    for traffic in &report.traffic {
        table.row(messages(traffic, report.runs));
    }
    table.print(out)?;
    if report.unready > 0 {
        writeln!(out, "\n{} requests met an agent that was not ready", report.unready)?;
    }
    for unjudged in &report.unjudged {
        writeln!(out, "\n{unjudged}")?;
    }
    for row in &report.rows {
        if let Some(seed) = row.over_seed.filter(|_| row.limiter.starts_with("weir")) {
            let Row { limiter, policy, over_requests, .. } = row;
            writeln!(out, "{limiter}, {policy}: {over_requests} above the limit with seed {seed}")?;
        }
    }
    Ok(())
}

fn cells(row: &Row, runs: u64) -> [String; 10] {
    let part = |spread: Spread| shown(spread, runs, "%", 2);
    [
        row.limiter.to_owned(),
        row.policy.clone(),
        row.limit.to_string(),
        format!("{:.0}", row.admitted),
        format!("{:.0}", row.allowed),
        part(row.over),
        row.over_requests.to_string(),
        row.under.map_or(String::new(), part),
        part(row.wrong),
        row.reaction_ms.map_or(String::new(), |reaction| shown(reaction, runs, "ms", 0)),
    ]
}

fn messages(traffic: &Traffic, runs: u64) -> [String; 6] {
    [
        traffic.limiter.to_owned(),
        format!("{:.0}", traffic.usage_messages),
        format!("{:.0}", traffic.usage_bytes),
        format!("{:.0}", traffic.decision_messages),
        format!("{:.0}", traffic.decision_bytes),
        traffic.failover_ms.map_or(String::new(), |failover| shown(failover, runs, "ms", 0)),
    ]
}

/// Of one run the value, of several the mean and the worst.
fn shown(spread: Spread, runs: u64, unit: &str, digits: usize) -> String {
    let Spread { mean, worst } = spread;
    if runs == 1 && unit == "%" {
        return format!("{mean:.digits$} {unit}");
    }
    format!("{mean:.digits$} ({worst:.digits$}) {unit}")
}

/// Over (worst) / under (mean) / wrong (mean), of the limit that did worst where there are several.
fn markdown(
    reports: &[(&Path, Report)],
    entrants: &[Entrant],
    out: &mut dyn io::Write,
) -> Result<(), Failure> {
    let names: Vec<&str> = entrants.iter().map(|entrant| entrant.name()).collect();
    writeln!(out, "| scenario | {} |", names.join(" | "))?;
    writeln!(out, "|---|{}", "---|".repeat(names.len()))?;
    for (file, report) in reports {
        let cell = |name: &&str| {
            let own = || report.rows.iter().filter(|row| row.limiter == *name);
            let most = |part: fn(&Row) -> f64| brief(own().map(part).fold(0.0, f64::max));
            let over = most(|row| row.over.worst);
            let under = most(|row| row.under.unwrap_or_default().mean);
            format!("{over} / {under} / {}", most(|row| row.wrong.mean))
        };
        let cells: Vec<String> = names.iter().map(cell).collect();
        writeln!(out, "| {} | {} |", name(file), cells.join(" | "))?;
    }
    Ok(())
}

/// One digit behind the point where it says something.
fn brief(percent: f64) -> String {
    if percent == 0.0 {
        "0".to_owned()
    } else if percent < 0.05 {
        "<0.1".to_owned()
    } else if percent < 10.0 {
        format!("{percent:.1}")
    } else {
        format!("{percent:.0}")
    }
}
