//! The same work on several threads at once, in CPU time: what other processes take does not count.

use std::{sync::Barrier, thread, time::Duration};

use rustix::time::{ClockId, clock_gettime};

use crate::traffic::ORDER;

/// CPU time of this thread so far. A system call: time many requests at once.
pub fn cpu() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    let secs = u64::try_from(time.tv_sec).unwrap_or(0);
    Duration::from_secs(secs) + Duration::from_nanos(u64::try_from(time.tv_nsec).unwrap_or(0))
}

/// Runs `lane(from, to)` on so many threads, each on `iterations` requests of its own part of the
/// order, and answers the mean of their times: nanoseconds per request *and thread*.
pub fn run(threads: usize, iterations: u64, lane: impl Fn(usize, usize) + Sync) -> Duration {
    let count = usize::try_from(iterations).unwrap_or(usize::MAX);
    if threads <= 1 {
        return timed(&lane, 0, count);
    }
    let start = Barrier::new(threads);
    let total: Duration = thread::scope(|scope| {
        let (start, lane) = (&start, &lane);
        let lanes: Vec<_> = (0..threads)
            .map(|i| {
                scope.spawn(move || {
                    start.wait();
                    timed(lane, i * ORDER / threads, count)
                })
            })
            .collect();
        lanes.into_iter().map(|lane| lane.join().unwrap_or_default()).sum()
    });
    total / u32::try_from(threads).unwrap_or(1)
}

fn timed(lane: &impl Fn(usize, usize), from: usize, count: usize) -> Duration {
    let begun = cpu();
    lane(from, from + count);
    cpu().saturating_sub(begun)
}
