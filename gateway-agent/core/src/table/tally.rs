//! A sum to which many threads add.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use parking_lot::Mutex;

/// Threads that have a cell of their own; all others share the last one.
const OWN: usize = 32;

/// Keeps threads from pulling one cache line back and forth.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Cell(AtomicU64);

/// The sum, in cells.
#[derive(Debug)]
pub struct Tally(Box<[Cell]>);

impl Default for Tally {
    fn default() -> Self {
        Tally((0..=OWN).map(|_| Cell::default()).collect())
    }
}

/// A number that no other living thread has. It decides about speed alone.
struct Number(usize);

static NEXT: AtomicUsize = AtomicUsize::new(0);
/// Numbers of threads that have ended. The lock also orders what the next owner reads after what the
/// former one wrote.
static RETURNED: Mutex<Vec<usize>> = Mutex::new(Vec::new());

thread_local! {
    static NUMBER: Number = Number::take();
}

impl Number {
    fn take() -> Self {
        let returned = RETURNED.lock().pop();
        Number(returned.unwrap_or_else(|| NEXT.fetch_add(1, Ordering::Relaxed)))
    }
}

impl Drop for Number {
    fn drop(&mut self) {
        RETURNED.lock().push(self.0);
    }
}

impl Tally {
    /// Adds one.
    #[inline]
    pub fn add(&self) {
        // A thread that is ending may have given its number back.
        let number = NUMBER.try_with(|number| number.0).unwrap_or(OWN);
        match self.0.get(number) {
            // Nobody else writes here: no need for a locked instruction.
            Some(Cell(own)) if number < OWN => {
                own.store(own.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
            }
            _ => self.add_shared(),
        }
    }

    #[cold]
    fn add_shared(&self) {
        if let Some(Cell(shared)) = self.0.last() {
            shared.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// The sum.
    pub fn sum(&self) -> u64 {
        self.0.iter().map(|cell| cell.0.load(Ordering::Relaxed)).sum()
    }
}
