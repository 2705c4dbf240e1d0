//! Who gets how much of what is free.

/// What one agent wants.
#[derive(Debug, Clone, Copy)]
pub(super) struct Need {
    /// Its slot.
    pub(super) slot: usize,
    /// For requests that it has already.
    pub(super) waiting: u64,
    /// That, and what it expects until it can ask again.
    pub(super) all: u64,
    /// Its part in the demand.
    pub(super) weight: u64,
}

/// No less is free than wanted: each gets what it wants, and on top half of the rest by its weight, so
/// that it need not ask again soon. A sole member gets everything.
pub(super) fn generous(needs: &[Need], free: u64, sole: bool) -> Vec<u64> {
    let spare = free - needs.iter().map(|n| n.all).sum::<u64>();
    let weight: u64 = needs.iter().map(|n| n.weight).sum();
    let pot = if sole { spare } else { spare / 2 };
    needs.iter().map(|n| n.all + part(pot, n.weight, weight)).collect()
}

/// Less is free than wanted: first the requests that are there, then what is expected; each pro rata,
/// odd units by turns.
pub(super) fn scarce(needs: &[Need], free: u64, turn: usize) -> Vec<u64> {
    let waiting: Vec<u64> = needs.iter().map(|n| n.waiting).collect();
    let first = pro_rata(&waiting, free, turn);
    let rest = free - first.iter().sum::<u64>();
    let expected: Vec<u64> = needs.iter().zip(&first).map(|(n, gift)| n.all - gift).collect();
    let second = pro_rata(&expected, rest, turn);
    first.into_iter().zip(second).map(|(a, b)| a + b).collect()
}

/// As much as is wanted, if there is enough.
fn pro_rata(wanted: &[u64], free: u64, turn: usize) -> Vec<u64> {
    let total: u64 = wanted.iter().sum();
    if total <= free {
        return wanted.to_vec();
    }
    let mut gifts: Vec<u64> = wanted.iter().map(|want| part(free, *want, total)).collect();
    let mut rest = free - gifts.iter().sum::<u64>();
    let n = gifts.len();
    for i in (0..n).map(|k| (turn + k) % n) {
        if rest > 0 && gifts[i] < wanted[i] {
            gifts[i] += 1;
            rest -= 1;
        }
    }
    gifts
}

fn part(of: u64, weight: u64, total: u64) -> u64 {
    let part = u128::from(of) * u128::from(weight) / u128::from(total.max(1));
    u64::try_from(part).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn need(waiting: u64, all: u64) -> Need {
        Need { slot: 0, waiting, all, weight: all }
    }

    #[test]
    fn requests_that_wait_come_before_those_expected() {
        let needs = [need(0, 10), need(1, 2), need(1, 2)];
        assert_eq!(scarce(&needs, 2, 0), [0, 1, 1]);
        assert_eq!(scarce(&needs, 1, 1), [0, 1, 0]);
        assert_eq!(scarce(&needs, 1, 2), [0, 0, 1], "by turns");
    }

    #[test]
    fn what_is_given_adds_up_to_what_is_free() {
        let needs = [need(3, 7), need(0, 1), need(5, 50), need(2, 4)];
        for free in 0..62 {
            for turn in 0..5 {
                assert_eq!(scarce(&needs, free, turn).iter().sum::<u64>(), free);
            }
        }
        let gifts = generous(&needs, 100, false);
        assert!(
            gifts.iter().sum::<u64>() <= 81 && gifts.iter().zip(needs).all(|(g, n)| *g >= n.all)
        );
        assert_eq!(generous(&[need(1, 2)], 9, true), [9]);
    }
}
