//! Random schedules of faults for a group of managers.

use weir_simulator::chance::Chance;

/// What happens to the group, apart from messages that get lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// A manager dies.
    Kill(usize),
    /// It starts again, with its disk or with an empty one.
    Start(usize, Disk),
    /// It stands still for so many milliseconds.
    Pause(usize, u64),
    /// Nothing passes from the one to the other.
    Cut(usize, usize),
    /// It passes again.
    Heal(usize, usize),
    /// Nothing passes between managers whose bits differ.
    Split(u8),
    /// Everything passes again.
    HealAll,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Disk {
    Kept,
    Empty,
}

/// One run. Times are in milliseconds.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    pub(crate) seed: u64,
    /// Priority of each.
    pub(crate) priorities: Vec<u32>,
    pub(crate) fail_back: bool,
    /// Messages that are lost, in percent.
    pub(crate) loss: u64,
    pub(crate) delay: (u64, u64),
    pub(crate) faults: Vec<(u64, Fault)>,
    /// No fault after this, and everybody is there.
    pub(crate) calm: u64,
    pub(crate) length: u64,
    /// Usage is recorded, too.
    pub(crate) books: bool,
}

impl Plan {
    /// Managers of equal priority, no faults.
    pub(crate) fn new(seed: u64, managers: usize, length: u64) -> Plan {
        Plan {
            seed,
            priorities: vec![100; managers],
            fail_back: false,
            loss: 0,
            delay: (1, 20),
            faults: Vec::new(),
            calm: length,
            length,
            books: false,
        }
    }

    pub(crate) fn fault(mut self, at: u64, fault: Fault) -> Plan {
        self.faults.push((at, fault));
        self.calm = at;
        self
    }

    /// The schedule of this seed.
    pub(crate) fn random(seed: u64, books: bool) -> Plan {
        let mut chance = Chance::new(seed);
        let managers = usize::try_from(chance.between(2, 5)).unwrap_or(2);
        let calm = 35_000;
        let mut plan = Plan::new(seed, managers, if books { calm + 115_000 } else { calm + 9_000 });
        plan.priorities = (0..managers)
            .map(|_| u32::try_from(chance.between(1, 3) * 50).unwrap_or(100))
            .collect();
        plan.fail_back = chance.one_in(4);
        plan.loss = *chance.pick(&[0, 0, 0, 5, 20]);
        plan.delay = *chance.pick(&[(1, 5), (1, 50), (20, 120)]);
        for _ in 0..chance.between(1, 9) {
            let at = chance.between(0, calm - 1_000);
            plan.faults.push((at, Self::any(&mut chance, managers)));
        }
        plan.faults.sort_by_key(|(at, _)| *at);
        plan.faults.push((calm, Fault::HealAll));
        plan.faults.extend((0..managers).map(|m| (calm, Fault::Start(m, Disk::Kept))));
        plan.calm = calm;
        plan.books = books;
        plan
    }

    fn any(chance: &mut Chance, managers: usize) -> Fault {
        let one = |chance: &mut Chance| {
            usize::try_from(chance.below(managers as u64)).unwrap_or_default()
        };
        match chance.below(8) {
            0 | 1 => Fault::Kill(one(chance)),
            2 => Fault::Start(one(chance), if chance.one_in(3) { Disk::Empty } else { Disk::Kept }),
            3 => Fault::Pause(one(chance), chance.between(100, 4_000)),
            4 => Fault::Cut(one(chance), one(chance)),
            5 => Fault::Heal(one(chance), one(chance)),
            6 => Fault::Split(u8::try_from(chance.between(1, 30)).unwrap_or(1)),
            _ => Fault::HealAll,
        }
    }
}
