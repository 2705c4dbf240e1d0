//! Scratch: steady load and fuzz.
use std::time::Duration;
use weir_simulator::{Plan, World, fuzz};
fn main() {
    let a: Vec<String> = std::env::args().collect();
    if a.get(1).map(String::as_str) == Some("fuzz") {
        let from: u64 = a[2].parse().unwrap();
        let n: u64 = a[3].parse().unwrap();
        let (mut bad, mut req, mut adm) = (0, 0, 0);
        for seed in from..from + n {
            let plan = fuzz::plan(seed, fuzz::Menu::ALL);
            let o = World::new(plan.clone()).run();
            req += o.requests;
            adm += o.admitted;
            let w = o.worst(&plan);
            if w > plan.limit {
                bad += 1;
                println!(
                    "seed {seed}: worst {w} of {} agents {} managers {} faults {:?}",
                    plan.limit, plan.agents, plan.managers, plan.faults
                );
            }
        }
        println!("{n} runs, {bad} bad, {req} requests {adm} admitted");
        return;
    }
    if a.get(1).map(String::as_str) == Some("trace") {
        let mut plan = fuzz::plan(a[2].parse().unwrap(), fuzz::Menu::ALL);
        plan.log = true;
        println!("{plan:?}");
        let o = World::new(plan.clone()).run();
        let (bad, n) = o
            .windows
            .iter()
            .map(|(k, n)| (k.1.0 - 1_800_000_000, *n))
            .find(|(_, n)| *n > plan.limit)
            .unwrap_or((0, 0));
        println!("window {bad}: {n}");
        let lo = (bad as f64 - 4.0) * 1.0;
        let hi = bad as f64 + plan.window.as_secs_f64() + 1.0;
        for (t, l) in o.log {
            let s = t.as_micros() as f64 / 1e6;
            if s < 1.5 || (s > 2.3) || (s > lo && s < hi) {
                if l.ends_with("->")
                    || (l.starts_with("manager") && l.len() < 24)
                    || (l.contains("admits") && a.len() < 4)
                {
                    continue;
                }
                println!("{s:.6} {l}");
            }
        }
        return;
    }
    for (n, l, w, rate) in [
        (1usize, 100u64, 1u64, 200.0),
        (4, 100, 1, 200.0),
        (20, 100, 1, 200.0),
        (20, 100, 1, 90.0),
        (20, 1000, 10, 1000.0),
        (4, 1000, 60, 100.0),
        (20, 10, 1, 20.0),
    ] {
        for wait in [0u64, 5] {
            let mut plan =
                Plan::new(1, n, l, Duration::from_secs(w), Duration::from_secs(2 + w * 5))
                    .steady(rate);
            plan.max_wait = Duration::from_millis(wait);
            let t = std::time::Instant::now();
            let o = World::new(plan.clone()).run();
            println!(
                "n={n} L={l}/{w}s rate={rate} wait={wait}: worst {} short {:.3} req {} adm {} waited {} msgs {} credit {} in {:?}",
                o.worst(&plan),
                o.shortfall(&plan, Duration::from_secs(2), plan.length),
                o.requests,
                o.admitted,
                o.waited,
                o.messages,
                o.credit_messages,
                t.elapsed()
            );
        }
    }
}
