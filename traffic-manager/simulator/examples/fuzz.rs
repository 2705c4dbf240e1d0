//! Runs random schedules of faults and looks for one that breaks the bound.
//!
//! ```text
//! fuzz [--from SEED] [--runs N]   runs seeds in order; exits with 1 when one fails
//! fuzz --replay SEED              what happened around the fullest window
//! fuzz --shrink SEED              the smallest failing plan made of it, and its log
//! ```
//!
//! With `--long` windows last for 8 to 20 s, and with `--recall` managers that start ask the others for what
//! they know, which they always do in long windows; with `--checkpoints` they have stored it.
//! With `--sliding` windows slide; with `--bucket` the limit is a token bucket; with `--balanced` agents may exceed their ceilings by the floor,
//! which the bound then holds; with `--ceilings` a run fails when more than the limit might be used, at
//! any time.
//!
//! Best built with `--release`: `cargo run --release -p weir-simulator --example fuzz -- --runs 60000`
#![expect(
    clippy::disallowed_macros,
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "a program: only the library is pure"
)]

use std::{process::ExitCode, time::Instant};

use weir_simulator::{Excess, Outcome, Plan, World, fuzz, shrink};

const USAGE: &str = "usage: fuzz [--from SEED] [--runs N] [--replay SEED] [--shrink SEED] [--sliding] \
                     [--bucket] [--balanced] [--ceilings] [--long] [--recall] [--checkpoints]";

/// By then the fleet should be founded, in seconds.
const FOUNDED: f64 = 1.5;

const FLAGS: [&str; 7] =
    ["--sliding", "--bucket", "--balanced", "--ceilings", "--long", "--recall", "--checkpoints"];

#[derive(Debug, Default)]
struct Arguments {
    from: u64,
    runs: Option<u64>,
    replay: Option<u64>,
    shrink: Option<u64>,
    sliding: bool,
    bucket: bool,
    balanced: bool,
    ceilings: bool,
    long: bool,
    recall: bool,
    checkpoints: bool,
}

fn arguments(mut given: impl Iterator<Item = String>) -> Result<Arguments, String> {
    let mut arguments = Arguments::default();
    while let Some(name) = given.next() {
        match name.as_str() {
            "--sliding" => arguments.sliding = true,
            "--bucket" => (arguments.bucket, arguments.sliding) = (true, true),
            "--balanced" => arguments.balanced = true,
            "--ceilings" => arguments.ceilings = true,
            "--long" => arguments.long = true,
            "--recall" => arguments.recall = true,
            "--checkpoints" => arguments.checkpoints = true,
            _ => {}
        }
        if FLAGS.contains(&name.as_str()) {
            continue;
        }
        if !matches!(name.as_str(), "--from" | "--runs" | "--replay" | "--shrink") {
            return Err(format!("unknown argument {name:?}"));
        }
        let text = given.next().ok_or_else(|| format!("{name} needs a number"))?;
        let number = text.parse().map_err(|_| format!("{name} {text:?} is not a number"))?;
        match name.as_str() {
            "--from" => arguments.from = number,
            "--runs" => arguments.runs = Some(number),
            "--replay" => arguments.replay = Some(number),
            _ => arguments.shrink = Some(number),
        }
    }
    Ok(arguments)
}

fn main() -> ExitCode {
    let arguments = match arguments(std::env::args().skip(1)) {
        Ok(arguments) => arguments,
        Err(error) => {
            eprintln!("fuzz: {error}\n{USAGE}");
            return ExitCode::from(2);
        }
    };
    let Arguments { sliding, bucket, balanced, ceilings, long, recall, checkpoints, .. } =
        arguments;
    let menu = fuzz::Menu { long, ..fuzz::Menu::ALL };
    let plan = |seed| Plan {
        sliding,
        bucket,
        balanced,
        ceilings,
        recall: recall || long,
        checkpoints,
        ..fuzz::plan(seed, menu)
    };
    if let Some(seed) = arguments.replay {
        return show(&plan(seed));
    }
    if let Some(seed) = arguments.shrink {
        let plan = plan(seed);
        if World::new(plan.clone()).run().excess(&plan).is_none() {
            println!("seed {seed} does not fail");
            return ExitCode::SUCCESS;
        }
        return show(&shrink(&plan, fuzz::fails));
    }
    search(arguments.from, arguments.runs.unwrap_or(1_000), plan)
}

/// Runs the seeds in order and tells which fail.
fn search(from: u64, runs: u64, plan: impl Fn(u64) -> Plan) -> ExitCode {
    let begun = Instant::now();
    let mut failures = Vec::new();
    let (mut requests, mut admitted) = (0, 0);
    for seed in from..from.saturating_add(runs) {
        let plan = plan(seed);
        let outcome = World::new(plan.clone()).run();
        requests += outcome.requests;
        admitted += outcome.admitted;
        if let Some((at, window)) = outcome.overdraft {
            println!(
                "seed {seed}: {} of {} might be used at {at:?}",
                window.admitted, window.bound
            );
            failures.push(seed);
        } else if let Some(excess) = outcome.excess(&plan) {
            println!("seed {seed}: {} of {}", excess.admitted, excess.bound);
            failures.push(seed);
        }
    }
    let seconds = begun.elapsed().as_secs_f64();
    println!(
        "seeds {from} to {}: {runs} runs, {} failures {failures:?}, {requests} requests, \
         {admitted} admitted, {seconds:.1} s",
        from.saturating_add(runs).saturating_sub(1),
        failures.len(),
    );
    if failures.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Prints the plan and what happened around its fullest window.
fn show(plan: &Plan) -> ExitCode {
    let plan = Plan { log: true, ..plan.clone() };
    let outcome = World::new(plan.clone()).run();
    println!("{plan:#?}");
    let excess = outcome.excess(&plan);
    for line in around(&plan, &outcome, excess) {
        println!("{line}");
    }
    if let Some((at, window)) = outcome.overdraft {
        println!(
            "at {at:?}, {} might be used in the window from {:?}",
            window.admitted, window.from
        );
    }
    let Some(Excess { from, admitted, bound, .. }) = excess else {
        println!("the bound holds: at most {} of {}", outcome.worst(&plan), plan.limit);
        return ExitCode::SUCCESS;
    };
    println!("the window from {from:?} holds {admitted}, the bound is {bound}");
    ExitCode::FAILURE
}

/// The log of the founding and around the window that broke the bound; all of it when none did.
/// Beats that carry nothing are left out.
fn around(plan: &Plan, outcome: &Outcome, excess: Option<Excess>) -> Vec<String> {
    let (from, to) = excess.map_or((0.0, f64::MAX), |excess| {
        let from = excess.from.as_secs_f64();
        (from - 4.0, from + plan.window.as_secs_f64() + 1.0)
    });
    let says_something = |text: &str| !text.ends_with("->") && !is_heartbeat(text);
    let seconds = |at: std::time::Duration| at.as_secs_f64();
    outcome
        .log
        .iter()
        .map(|(at, text)| (seconds(at.since(weir_proto::time::Time::ZERO)), text))
        .filter(|(at, text)| (*at < FOUNDED || *at > from) && *at < to && says_something(text))
        .map(|(at, text)| format!("{at:.6} {text}"))
        .collect()
}

/// Whether it is `manager 0 -> agent 1` and nothing more.
fn is_heartbeat(text: &str) -> bool {
    text.starts_with("manager")
        && text
            .rsplit_once("-> agent ")
            .is_some_and(|(_, rest)| rest.chars().all(|c| c.is_ascii_digit()))
}
