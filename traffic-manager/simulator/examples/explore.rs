//! Tries every schedule of a small world and looks for one after which the ceilings in force exceed
//! the limit.
//!
//! ```text
//! explore [--scene NAME] [--agents N] [--limit L] [--order every|prompt] [--steps N] [--time MS]
//!         [--requests N] [--holds N] [--faults N] [--repairs N] [--states N]
//! ```
//!
//! Without `--scene` all of them, in turn; `--order every` wants few `--steps`. Exits with 1 when a schedule breaks the bound, and prints it.
//! Best built with `--release`.
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

use weir_simulator::explore::{Action, Order, Overdraft, Scene, Scope, explore};

const USAGE: &str = "usage: explore [--scene NAME] [--agents N] [--limit L] [--order every|prompt] \
[--steps N] [--time MS] [--requests N] [--holds N] [--faults N] [--repairs N] [--states N]";

struct Arguments {
    scenes: Vec<Scene>,
    agents: usize,
    limit: u64,
    scope: Scope,
}

fn arguments(mut given: impl Iterator<Item = String>) -> Result<Arguments, String> {
    let scope = Scope {
        order: Order::Prompt,
        steps: 400,
        time: Duration::from_millis(120),
        requests: 1,
        holds: 1,
        faults: 1,
        repairs: 1,
        states: 2_000_000,
    };
    let mut arguments = Arguments { scenes: Scene::ALL.to_vec(), agents: 2, limit: 3, scope };
    while let Some(name) = given.next() {
        let text = given.next().ok_or_else(|| format!("{name} needs a value"))?;
        let number = || text.parse::<u32>().map_err(|_| format!("{name} {text:?} is not a number"));
        let small = || text.parse::<u8>().map_err(|_| format!("{name} {text:?} is not below 256"));
        let scope = &mut arguments.scope;
        match name.as_str() {
            "--scene" => arguments.scenes = vec![scene(&text)?],
            "--agents" => arguments.agents = number()? as usize,
            "--limit" => arguments.limit = u64::from(number()?),
            "--order" if text == "every" => scope.order = Order::Every,
            "--order" if text == "prompt" => scope.order = Order::Prompt,
            "--steps" => scope.steps = number()?,
            "--time" => scope.time = Duration::from_millis(u64::from(number()?)),
            "--requests" => scope.requests = small()?,
            "--holds" => scope.holds = small()?,
            "--faults" => scope.faults = small()?,
            "--repairs" => scope.repairs = small()?,
            "--states" => scope.states = number()? as usize,
            _ => return Err(format!("unknown argument {name:?} {text:?}")),
        }
    }
    Ok(arguments)
}

fn scene(name: &str) -> Result<Scene, String> {
    let names = || Scene::ALL.map(|s| format!("{s:?}").to_lowercase()).join(", ");
    let found = Scene::ALL.into_iter().find(|s| format!("{s:?}").eq_ignore_ascii_case(name));
    found.ok_or_else(|| format!("unknown scene {name:?}, one of: {}", names()))
}

fn main() -> ExitCode {
    let arguments = match arguments(std::env::args().skip(1)) {
        Ok(arguments) => arguments,
        Err(error) => {
            eprintln!("explore: {error}\n{USAGE}");
            return ExitCode::from(2);
        }
    };
    let mut code = ExitCode::SUCCESS;
    for scene in &arguments.scenes {
        let world = scene.world(arguments.agents, arguments.limit);
        let begun = Instant::now();
        let report = explore(&world, &arguments.scope);
        println!(
            "{scene:?}: {} states, {} steps, at most {} in a row, {}, {:.1} s",
            report.states,
            report.steps,
            report.deepest,
            if report.complete { "complete" } else { "cut short" },
            begun.elapsed().as_secs_f64(),
        );
        if let Some((path, overdraft)) = report.found {
            show(*scene, &arguments, &path, overdraft);
            code = ExitCode::FAILURE;
        }
    }
    code
}

/// Prints the schedule, and what is in force in the window after each step.
fn show(scene: Scene, arguments: &Arguments, path: &[Action], overdraft: Overdraft) {
    let mut world = scene.world(arguments.agents, arguments.limit);
    println!("limit {}, {overdraft:?}", arguments.limit);
    for action in path {
        let age = world.age().as_secs_f64();
        let what = world.describe(*action);
        world.step(*action);
        let after = world.in_force(overdraft.window);
        println!("{age:.6} {what}  [used {} in force {}]", after.admitted, after.in_force);
    }
}
