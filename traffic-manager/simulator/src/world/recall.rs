//! Managers that start ask the others for what they know, and begin with what they stored.

use std::time::Duration;

use manager_core::{Export, checkpoint::Checkpoint};
use traffic_manager_core as manager_core;
use weir_proto::counters::{Counters, CountersCursor};

use super::{Event, World};

/// What was lost, or asked in vain, is asked again after this.
const AGAIN: Duration = Duration::from_millis(200);
/// So long a manager waits for its peers.
const PATIENCE: Duration = Duration::from_secs(3);
/// Small pieces: a counter's parts come in several.
const PIECE: usize = 200;
const INTERVAL: Duration = Duration::from_secs(1);

/// One step of a manager's recovery.
#[derive(Debug)]
pub(super) enum Recall {
    /// The question arrives.
    Ask(Way, Option<CountersCursor>),
    /// The answer arrives.
    Tell(Way, Vec<u8>),
}

/// Who asks whom.
#[derive(Debug, Clone, Copy)]
pub(super) struct Way {
    manager: usize,
    life: u64,
    peer: usize,
}

impl World {
    /// The manager has just started.
    pub(super) fn begin_recall(&mut self, i: usize) {
        let (life, time) = (self.managers[i].life, self.managers[i].time(self.now));
        if self.plan.checkpoints {
            let node = &mut self.managers[i];
            node.checkpoint = Checkpoint::new(Duration::ZERO, INTERVAL);
            let Some(core) = &mut node.core else { return };
            for (key, value) in &node.stored {
                match node.checkpoint.load(key, value, time) {
                    Ok(counters) => core.import_counters(&counters, time),
                    Err(error) => panic!("what was stored is refused: {error}"),
                };
            }
            self.schedule(self.now + INTERVAL, Event::Checkpoint(i, life));
        }
        if !self.plan.recall {
            return;
        }
        let peers: Vec<usize> = (0..self.managers.len()).filter(|peer| *peer != i).collect();
        if let Some(core) = &mut self.managers[i].core {
            core.recover(peers.iter().map(ToString::to_string), PATIENCE, time);
        }
        for peer in peers {
            let at = self.now + self.way();
            let way = Way { manager: i, life, peer };
            self.schedule(at, Event::Recall(Recall::Ask(way, None)));
        }
    }

    /// How long one message takes; what is lost is sent again.
    fn way(&mut self) -> Duration {
        let micros = |d: Duration| u64::try_from(d.as_micros()).unwrap_or(0);
        let (least, most) = self.plan.delay;
        let mut way = Duration::from_micros(self.chance.between(micros(least), micros(most) + 1));
        while self.plan.loss > 0 && self.chance.one_in(self.plan.loss) {
            way += AGAIN;
        }
        way
    }

    pub(super) fn recall(&mut self, recall: Recall) {
        let (Recall::Ask(way, _) | Recall::Tell(way, _)) = &recall;
        let Way { manager, life, peer } = *way;
        let asker = &self.managers[manager];
        if asker.life != life || asker.core.is_none() {
            return;
        }
        match recall {
            Recall::Ask(way, cursor) => {
                let time = self.managers[peer].time(self.now);
                let node = &self.managers[peer];
                let Some(core) = node.core.as_ref().filter(|_| !node.frozen) else {
                    let again = Event::Recall(Recall::Ask(way, cursor));
                    return self.schedule(self.now + AGAIN, again);
                };
                let export = Export { cursor, budget: PIECE, ..Export::all() };
                let bytes = core.export_counters(&export, time).to_bytes();
                let at = self.now + self.way();
                self.schedule(at, Event::Recall(Recall::Tell(way, bytes)));
            }
            Recall::Tell(way, bytes) if self.managers[manager].frozen => {
                let again = Event::Recall(Recall::Tell(way, bytes));
                self.schedule(self.now + AGAIN, again);
            }
            Recall::Tell(way, bytes) => match Counters::from_bytes(&bytes) {
                Ok(counters) => self.told(way, &counters),
                Err(error) => panic!("a manager's counters are refused: {error}"),
            },
        }
    }

    fn told(&mut self, way: Way, counters: &Counters) {
        let Way { manager, peer, .. } = way;
        let doubled = self.chance.one_in(4);
        let node = &mut self.managers[manager];
        let time = node.time(self.now);
        let Some(core) = &mut node.core else { return };
        core.import_counters(counters, time);
        if doubled {
            core.import_counters(counters, time);
        }
        if counters.next.is_none() {
            core.peer_told(&peer.to_string());
            return self.plan_manager(manager);
        }
        let at = self.now + self.way();
        self.schedule(at, Event::Recall(Recall::Ask(way, counters.next)));
    }

    /// Stores what changed.
    pub(super) fn checkpoint(&mut self, i: usize, life: u64) {
        let time = self.managers[i].time(self.now);
        let node = &mut self.managers[i];
        let Some(core) = node.core.as_ref().filter(|_| node.life == life) else { return };
        while !node.frozen && node.checkpoint.next_step() <= time {
            for (key, value) in node.checkpoint.step(core, time) {
                match value {
                    Some(value) => node.stored.insert(key, value),
                    None => node.stored.remove(&key),
                };
            }
        }
        self.schedule(self.now + INTERVAL, Event::Checkpoint(i, life));
    }
}
