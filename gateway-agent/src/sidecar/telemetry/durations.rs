//! How long checks took: a Prometheus histogram that request threads write without a lock or a queue.

use std::{
    fmt::Write,
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

/// Upper bounds in nanoseconds, and as Prometheus writes them in seconds: from a hit in the cache to
/// the longest wait for a manager.
const BUCKETS: [(u64, &str); 14] = [
    (500, "0.0000005"),
    (1_000, "0.000001"),
    (2_000, "0.000002"),
    (5_000, "0.000005"),
    (10_000, "0.00001"),
    (25_000, "0.000025"),
    (100_000, "0.0001"),
    (500_000, "0.0005"),
    (1_000_000, "0.001"),
    (2_500_000, "0.0025"),
    (5_000_000, "0.005"),
    (10_000_000, "0.01"),
    (100_000_000, "0.1"),
    (1_000_000_000, "1"),
];

/// Counts of durations, each in the first bucket that holds it; the last one holds the rest.
#[derive(Debug, Default)]
pub(super) struct Durations {
    counts: [AtomicU64; BUCKETS.len() + 1],
    nanos: AtomicU64,
}

impl Durations {
    /// Counts one.
    pub(super) fn record(&self, took: Duration) {
        let nanos = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        let bucket = BUCKETS.partition_point(|(most, _)| *most < nanos);
        if let Some(count) = self.counts.get(bucket) {
            count.fetch_add(1, Ordering::Relaxed);
        }
        self.nanos.fetch_add(nanos, Ordering::Relaxed);
    }

    /// Appends the histogram in Prometheus' text format.
    pub(super) fn render(&self, name: &str, help: &str, out: &mut String) {
        let counts = self.counts.each_ref().map(|count| count.load(Ordering::Relaxed));
        let mut sum = 0;
        // Writing to a string cannot fail.
        let _ = writeln!(out, "# HELP {name} {help}\n# TYPE {name} histogram");
        let bounds = BUCKETS.iter().map(|(_, bound)| *bound).chain(["+Inf"]);
        for (bound, count) in bounds.zip(counts) {
            sum += count;
            let _ = writeln!(out, "{name}_bucket{{le=\"{bound}\"}} {sum}");
        }
        let seconds = Duration::from_nanos(self.nanos.load(Ordering::Relaxed)).as_secs_f64();
        let _ = writeln!(out, "{name}_sum {seconds}\n{name}_count {sum}\n");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_duration_is_in_every_bucket_that_holds_it() {
        let durations = Durations::default();
        for nanos in [0, 500, 501, 24_000_000, 5_000_000_000] {
            durations.record(Duration::from_nanos(nanos));
        }
        let mut text = String::new();
        durations.render("d", "Help.", &mut text);
        for line in [
            "# TYPE d histogram",
            r#"d_bucket{le="0.0000005"} 2"#,
            r#"d_bucket{le="0.000001"} 3"#,
            r#"d_bucket{le="0.01"} 3"#,
            r#"d_bucket{le="0.1"} 4"#,
            r#"d_bucket{le="1"} 4"#,
            r#"d_bucket{le="+Inf"} 5"#,
            "d_sum 5.024001001",
            "d_count 5",
        ] {
            assert!(text.lines().any(|found| found == line), "{line} is not in\n{text}");
        }
    }
}
