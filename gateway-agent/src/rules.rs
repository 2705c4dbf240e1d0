//! The rules that policies name, for those who ask which one a descriptor meets.

use std::{
    cell::Cell,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use weir_proto::rule::Rules;

/// Versions are unique in the process, so that a thread can serve several agents.
static VERSIONS: AtomicU64 = AtomicU64::new(1);
/// The version of a book without rules.
const NONE: u64 = 0;

/// The newest rules, shared by all threads that answer.
#[derive(Debug, Default)]
pub(crate) struct RuleBook {
    version: AtomicU64,
    newest: Mutex<Arc<Rules>>,
}

/// What a thread saw last.
struct Seen {
    version: u64,
    rules: Arc<Rules>,
}

thread_local! {
    /// Kept, so that a call touches nothing that other threads write. Taken while it is in use.
    static SEEN: Cell<Option<Seen>> = const { Cell::new(None) };
}

impl RuleBook {
    /// Puts other rules in the place of the former ones.
    pub(crate) fn replace(&self, rules: Rules) {
        let version =
            if rules.is_empty() { NONE } else { VERSIONS.fetch_add(1, Ordering::Relaxed) };
        let mut newest = self.newest();
        *newest = Arc::new(rules);
        self.version.store(version, Ordering::Release);
    }

    /// Runs `job` with the newest rules, if there are any.
    pub(crate) fn with<R>(&self, job: impl FnOnce(Option<&Rules>) -> R) -> R {
        let version = self.version.load(Ordering::Acquire);
        if version == NONE {
            return job(None);
        }
        let seen = SEEN.try_with(Cell::take).ok().flatten();
        let seen = seen.filter(|seen| seen.version == version).unwrap_or_else(|| {
            let newest = self.newest();
            Seen { version: self.version.load(Ordering::Acquire), rules: Arc::clone(&newest) }
        });
        let result = job(Some(&seen.rules));
        // Fails while the thread ends; then nothing is kept.
        let _ = SEEN.try_with(|kept| kept.set(Some(seen)));
        result
    }

    fn newest(&self) -> MutexGuard<'_, Arc<Rules>> {
        // Nothing can be half done in there.
        self.newest.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
