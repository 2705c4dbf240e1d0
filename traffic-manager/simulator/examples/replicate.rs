//! Runs random schedules of the replication among managers and looks for one that loses a write, or
//! after which they differ.
//!
//! ```text
//! replicate [--from SEED] [--runs N]   runs seeds in order; exits with 1 when one fails
//! replicate --replay SEED              what happened
//! ```
//!
//! Best built with `--release`: `cargo run --release -p weir-simulator --example replicate -- --runs 60000`
#![expect(
    clippy::disallowed_macros,
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "a program: only the library is pure"
)]

use std::{
    process::ExitCode,
    time::{Duration, Instant},
};

use weir_simulator::replicas::{Plan, run};

const USAGE: &str = "usage: replicate [--from SEED] [--runs N] [--replay SEED]";

#[derive(Debug, Default)]
struct Arguments {
    from: u64,
    runs: Option<u64>,
    replay: Option<u64>,
}

fn arguments(mut given: impl Iterator<Item = String>) -> Result<Arguments, String> {
    let mut arguments = Arguments::default();
    while let Some(name) = given.next() {
        let text = given.next().ok_or_else(|| format!("{name} needs a number"))?;
        let number = text.parse().map_err(|_| format!("{name} {text:?} is not a number"))?;
        match name.as_str() {
            "--from" => arguments.from = number,
            "--runs" => arguments.runs = Some(number),
            "--replay" => arguments.replay = Some(number),
            _ => return Err(format!("unknown argument {name:?}")),
        }
    }
    Ok(arguments)
}

fn main() -> ExitCode {
    let arguments = match arguments(std::env::args().skip(1)) {
        Ok(arguments) => arguments,
        Err(error) => {
            eprintln!("replicate: {error}\n{USAGE}");
            return ExitCode::from(2);
        }
    };
    if let Some(seed) = arguments.replay {
        return show(seed);
    }
    search(arguments.from, arguments.runs.unwrap_or(1_000))
}

/// Runs the seeds in order and tells which fail.
fn search(from: u64, runs: u64) -> ExitCode {
    let begun = Instant::now();
    let mut failures = Vec::new();
    let (mut writes, mut lost, mut conflicts, mut frames) = (0, 0, 0, 0);
    let mut slowest = Duration::ZERO;
    let to = from.saturating_add(runs);
    for seed in from..to {
        let outcome = run(&Plan::new(seed));
        writes += outcome.writes;
        lost += outcome.lost_with_disks;
        conflicts += outcome.conflicts;
        frames += outcome.frames;
        slowest = slowest.max(outcome.converged_after);
        if let Some(failure) = outcome.failures.first() {
            println!("seed {seed}: {failure}");
            failures.push(seed);
        }
    }
    let seconds = begun.elapsed().as_secs_f64();
    println!(
        "seeds {from} to {}: {runs} runs, {} failures {failures:?}, {writes} writes ({lost} lost with \
         their disks), {conflicts} conflicts, {frames} frames, converged after {slowest:?} at most, \
         {seconds:.1} s",
        to.saturating_sub(1),
        failures.len(),
    );
    if failures.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Prints the plan and what happened.
fn show(seed: u64) -> ExitCode {
    let plan = Plan { log: true, ..Plan::new(seed) };
    let outcome = run(&plan);
    println!("{plan:#?}");
    outcome.log.iter().for_each(|line| println!("{line}"));
    println!("{:#?}", outcome.failures);
    if outcome.failures.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
