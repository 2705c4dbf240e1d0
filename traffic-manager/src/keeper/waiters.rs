//! Who waits for a write to reach how many peers.

use tokio::sync::oneshot;

/// A request that is answered once enough peers have its write.
#[derive(Debug)]
struct Waiter<W> {
    write: W,
    peers: usize,
    done: oneshot::Sender<usize>,
}

/// All of them. Bounded by the requests that the HTTP port serves at once.
#[derive(Debug)]
pub(super) struct Waiters<W>(Vec<Waiter<W>>);

impl<W> Default for Waiters<W> {
    fn default() -> Self {
        Waiters(Vec::new())
    }
}

impl<W> Waiters<W> {
    /// Answers `done` once `peers` peers have the write.
    pub(super) fn add(&mut self, write: W, peers: usize, done: oneshot::Sender<usize>) {
        self.0.push(Waiter { write, peers, done });
    }

    /// Looks again: `holders` tells how many peers have a write.
    pub(super) fn look(&mut self, holders: impl Fn(&W) -> usize) {
        for place in (0..self.0.len()).rev() {
            let waiter = &self.0[place];
            let count = holders(&waiter.write);
            if count >= waiter.peers || waiter.done.is_closed() {
                let waiter = self.0.swap_remove(place);
                // Fails if the one who asked has gone.
                let _ = waiter.done.send(count);
            }
        }
    }
}
