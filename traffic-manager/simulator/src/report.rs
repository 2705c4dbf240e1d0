//! What several runs of a scenario came to.

use serde::Serialize;

use crate::{
    contest::{self, Entrant, Run},
    judge::{self, Facts, Score},
    scenario::{Scenario, units::human},
};

/// Mean and worst over runs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Spread {
    /// Mean.
    pub mean: f64,
    /// Worst.
    pub worst: f64,
}

/// One limiter and one limit, over all runs. Parts are in per cent.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Row {
    /// Who limited.
    pub limiter: &'static str,
    /// Policy, and limit where it has several.
    pub policy: String,
    /// The limit.
    pub limit: u64,
    /// Requests, per run.
    pub offered: f64,
    /// Admitted, per run.
    pub admitted: f64,
    /// What an exact central limiter would have admitted of the same requests, per run.
    pub allowed: f64,
    /// Fullest window above the limit, in per cent of the limit.
    pub over: Spread,
    /// The same in requests, in the worst run.
    pub over_requests: u64,
    /// Seed of the run with the fullest window, when it exceeded the limit.
    pub over_seed: Option<u64>,
    /// Mean of what is missing in windows that an exact limiter fills, in per cent of the limit;
    /// nothing when there were no such windows.
    pub under: Option<Spread>,
    /// Refused in windows in which an exact limiter refuses nothing, in per cent of their requests.
    pub wrong: Spread,
    /// From the admission that reached the limit to the window's last one, in milliseconds.
    pub reaction_ms: Option<Spread>,
}

/// What a limiter sent, over all runs.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Traffic {
    /// Who limited.
    pub limiter: &'static str,
    /// Usage reports and acknowledgements per second, all managers together.
    pub usage_messages: f64,
    /// Their bytes per second.
    pub usage_bytes: f64,
    /// Decisions, questions and beats per second.
    pub decision_messages: f64,
    /// Their bytes per second.
    pub decision_bytes: f64,
    /// Until an agent that lost its manager followed another one, in milliseconds.
    pub failover_ms: Option<Spread>,
}

/// A demand that a run did not meet.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Failure {
    /// The field of the scenario.
    pub expectation: &'static str,
    /// Policy, and limit where it has several.
    pub policy: String,
    /// Of what the run was drawn: `--seed` repeats it.
    pub seed: u64,
    /// In words.
    pub message: String,
}

/// What came of a scenario.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Report {
    /// The scenario's title.
    pub title: String,
    /// First seed.
    pub seed: u64,
    /// So many seeds in a row.
    pub runs: u64,
    /// By limiter and limit.
    pub rows: Vec<Row>,
    /// By limiter.
    pub traffic: Vec<Traffic>,
    /// Requests at agents that were not ready, over all runs of Weir.
    pub unready: u64,
    /// Limits that were not judged, and why.
    pub unjudged: Vec<String>,
    /// Demands that were not met, and runs that judged nothing.
    pub failures: Vec<Failure>,
}

/// The report, and the first run of each limiter for pictures, if they are wanted.
pub fn simulate(
    scenario: &Scenario,
    seeds: std::ops::Range<u64>,
    entrants: &[Entrant],
    keep: bool,
) -> (Report, Vec<Run>) {
    let facts = judge::facts(&scenario.policies);
    let mut first = Vec::new();
    let mut all: Vec<Run> = Vec::new();
    for seed in seeds.clone() {
        let keep = keep && seed == seeds.start;
        let mut runs = contest::run(scenario, seed, entrants, keep);
        if keep {
            first.clone_from(&runs);
        }
        for run in &mut runs {
            run.tracks = Vec::new();
        }
        all.extend(runs);
    }
    let mut report = Report {
        title: scenario.title.clone(),
        seed: seeds.start,
        runs: seeds.end.saturating_sub(seeds.start),
        rows: Vec::new(),
        traffic: Vec::new(),
        unready: all.iter().map(|run| run.unready).sum(),
        unjudged: Vec::new(),
        failures: Vec::new(),
    };
    for entrant in entrants {
        let own: Vec<&Run> = all.iter().filter(|run| run.entrant == *entrant).collect();
        let mut unjudged_limits = Vec::new();
        for (i, facts) in facts.iter().enumerate() {
            report.rows.push(row(*entrant, facts, i, &own));
            unjudged_limits.extend(unjudged(scenario, facts, i, &own));
            for run in &own {
                report.failures.extend(failures(scenario, facts, &run.scores[i], run));
            }
        }
        report.unjudged.extend(unjudged_limits.iter().map(|limit| limit.message.clone()));
        // One limit of several may be longer than the run; to judge nothing at all is no success.
        if unjudged_limits.len() == facts.len() {
            report.failures.append(&mut unjudged_limits);
        }
        report.traffic.push(traffic(*entrant, &own));
    }
    (report, first)
}

#[expect(clippy::cast_precision_loss, reason = "counts of a run")]
fn row(entrant: Entrant, facts: &Facts, limit: usize, runs: &[&Run]) -> Row {
    let scores: Vec<&Score> = runs.iter().map(|run| &run.scores[limit]).collect();
    let of = |part: fn(&Score) -> f64| spread(scores.iter().map(|score| part(score)));
    let worst = runs
        .iter()
        .max_by_key(|run| (run.scores[limit].over_requests, std::cmp::Reverse(run.seed)));
    let over = worst.map_or(0, |run| run.scores[limit].over_requests);
    let full = scores.iter().filter(|score| score.saturated > 0).map(|score| score.under);
    let reached: Vec<_> = scores.iter().map(|s| s.reaction).filter(|r| r.windows > 0).collect();
    let reaction = reached.iter().map(|r| r.sum.as_secs_f64() * 1e3 / r.windows as f64);
    let reaction = spread(reaction).map(|mean| {
        let worst = reached.iter().map(|r| r.worst.as_secs_f64() * 1e3).fold(0.0, f64::max);
        Spread { mean: mean.mean, worst }
    });
    Row {
        limiter: entrant.name(),
        policy: facts.name.clone(),
        limit: facts.amount,
        offered: of(|s| s.offered as f64).unwrap_or_default().mean,
        admitted: of(|s| s.admitted as f64).unwrap_or_default().mean,
        allowed: of(|s| s.allowed as f64).unwrap_or_default().mean,
        over: of(|s| s.over).unwrap_or_default(),
        over_requests: over,
        over_seed: worst.filter(|_| over > 0).map(|run| run.seed),
        under: spread(full),
        wrong: of(|s| s.wrong).unwrap_or_default(),
        reaction_ms: reaction,
    }
}

#[expect(clippy::cast_precision_loss, reason = "counts of a run")]
fn traffic(entrant: Entrant, runs: &[&Run]) -> Traffic {
    let of = |part: fn(&Run) -> u64| {
        let rates = runs.iter().map(|run| part(run) as f64 / run.measured.as_secs_f64());
        spread(rates).unwrap_or_default().mean
    };
    let failover = runs.iter().filter_map(|run| run.failover).map(|d| d.as_secs_f64() * 1e3);
    Traffic {
        limiter: entrant.name(),
        usage_messages: of(|run| run.cost.usage_messages),
        usage_bytes: of(|run| run.cost.usage_bytes),
        decision_messages: of(|run| run.cost.decision_messages),
        decision_bytes: of(|run| run.cost.decision_bytes),
        failover_ms: spread(failover),
    }
}

#[expect(clippy::cast_precision_loss, reason = "runs are few")]
fn spread(values: impl Iterator<Item = f64>) -> Option<Spread> {
    let (mut sum, mut worst, mut count) = (0.0, f64::MIN, 0_u64);
    for value in values {
        sum += value;
        worst = worst.max(value);
        count += 1;
    }
    (count > 0).then(|| Spread { mean: sum / count as f64, worst })
}

/// Why Weir was not judged by this limit in any run; `None` = it was.
fn unjudged(scenario: &Scenario, facts: &Facts, limit: usize, runs: &[&Run]) -> Option<Failure> {
    let first =
        runs.first().filter(|run| matches!(run.entrant, Entrant::Weir | Entrant::Strict))?;
    let scores = || runs.iter().map(|run| &run.scores[limit]);
    if scores().any(|score| score.windows > 0) {
        return None;
    }
    let name = &facts.name;
    let (expectation, message) = if scores().any(|score| score.met > 0) {
        let least = human(scenario.warm_up + 2 * facts.window.duration());
        let why = format!("duration must exceed warm_up + two windows, {least}");
        ("duration", format!("no window of {name} was judged: {why}"))
    } else if runs.iter().any(|run| run.unready > 0) {
        ("traffic", format!("no request of {name} was answered: its agents were not ready"))
    } else {
        let why = "check key and attributes of the traffic against the policy";
        ("traffic", format!("no request met {name}: {why}"))
    };
    Some(Failure { expectation, policy: name.clone(), seed: first.seed, message })
}

/// What the scenario demanded of this run in vain. Only Weir is held to it, where a policy is
/// `balanced` not to `expect_over`; a comparison's `balanced` not to anything.
fn failures(scenario: &Scenario, facts: &Facts, score: &Score, run: &Run) -> Vec<Failure> {
    let strict = match run.entrant {
        Entrant::Weir => facts.strict,
        Entrant::Strict => true,
        Entrant::Balanced | Entrant::Flag | Entrant::Static | Entrant::Ratio => return Vec::new(),
    };
    let expect = scenario.expect;
    let under = (score.saturated > 0).then_some(score.under);
    let demands = [
        ("expect_over", expect.over.filter(|_| strict), Some(score.over), "above the limit"),
        ("expect_under", expect.under, under, "of the limit missing on average"),
        ("expect_wrong", expect.wrong, Some(score.wrong), "refused where there was room for all"),
    ];
    let failed = demands.into_iter().filter_map(|(expectation, allowed, found, what)| {
        let (allowed, found) = (allowed?, found?);
        (found > allowed).then(|| Failure {
            expectation,
            policy: facts.name.clone(),
            seed: run.seed,
            message: format!("{found:.2} % {what}, {allowed} % expected"),
        })
    });
    failed.collect()
}

impl Report {
    /// Whether every demand was met.
    pub fn passed(&self) -> bool {
        self.failures.is_empty()
    }
}
