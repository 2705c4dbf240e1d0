//! Joining is commutative, associative and idempotent, over states that histories lead to.

use proptest::prelude::*;

use super::*;

const MANAGERS: usize = 4;

#[derive(Debug, Clone)]
enum Step {
    Put(usize, u8),
    Delete(usize),
    /// A loser is restored (or only dismissed).
    Settle(usize, bool),
    Tell(usize, usize),
    /// An old state arrives.
    Late(usize, usize),
    /// A new life, with an old disk or without one.
    Restart(usize, usize),
}

fn step() -> impl Strategy<Value = Step> {
    let who = 0..MANAGERS;
    prop_oneof![
        4 => (who.clone(), any::<u8>()).prop_map(|(i, t)| Step::Put(i, t)),
        1 => who.clone().prop_map(Step::Delete),
        1 => (who.clone(), any::<bool>()).prop_map(|(i, r)| Step::Settle(i, r)),
        4 => (who.clone(), who.clone()).prop_map(|(i, j)| Step::Tell(i, j)),
        1 => (who.clone(), 0..100_usize).prop_map(|(i, n)| Step::Late(i, n)),
        1 => (who, 0..100_usize).prop_map(|(i, n)| Step::Restart(i, n)),
    ]
}

/// Runs a history; every state on the way.
fn history(steps: &[Step]) -> (Group, Vec<Rivals>) {
    let mut group = Group::new(MANAGERS);
    let mut states = vec![Rivals::default()];
    for (n, step) in steps.iter().enumerate() {
        let i = match *step {
            Step::Put(i, time) => {
                let body = format!("{n}");
                group.write_at(i, 1_000 + u64::from(time), Some(&body), None);
                i
            }
            Step::Delete(i) => {
                group.delete(i);
                i
            }
            Step::Settle(i, restore) => {
                let loser = group.held[i].losers().next().map(|(h, v)| (h, v.body.clone()));
                if let Some((hash, body)) = loser {
                    let winner = group.held[i].winner().and_then(|(_, v)| v.body.clone());
                    let body = if restore { body } else { winner };
                    let text = body.map(|b| String::from_utf8_lossy(&b).into_owned());
                    group.write_at(i, 1, text.as_deref(), Some(hash));
                }
                i
            }
            Step::Tell(i, j) => {
                group.tell(i, j);
                j
            }
            Step::Late(i, at) => {
                let old = states[at % states.len()].clone();
                group.hear(i, old);
                i
            }
            Step::Restart(i, at) => {
                group.lives[i].incarnation += 1;
                group.held[i] = states[at % states.len()].clone();
                i
            }
        };
        states.push(group.held[i].clone());
    }
    (group, states)
}

fn joined(one: &Rivals, other: &Rivals) -> Rivals {
    let mut both = one.clone();
    both.join(other.clone());
    both
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(200) })]

    #[test]
    fn joining_is_commutative_associative_and_idempotent(
        steps in prop::collection::vec(step(), 1..40),
        picks in prop::collection::vec((0..100_usize, 0..100_usize, 0..100_usize), 20),
    ) {
        let (_, states) = history(&steps);
        for (a, b, c) in picks {
            let [a, b, c] = [a, b, c].map(|n| &states[n % states.len()]);
            prop_assert_eq!(&joined(a, a), a);
            prop_assert_eq!(joined(a, b), joined(b, a));
            prop_assert_eq!(joined(&joined(a, b), c), joined(a, &joined(b, c)));
            // Whatever is joined stays: to take one of the two again changes nothing.
            let both = joined(a, b);
            prop_assert_eq!(&joined(&both, a), &both);
        }
    }

    #[test]
    fn equal_states_give_equal_winners_and_superseded_versions_never_win(
        steps in prop::collection::vec(step(), 1..60),
    ) {
        let (mut group, states) = history(&steps);
        group.meet();
        let all = states.iter().fold(Rivals::default(), |all, state| joined(&all, state));
        for held in &group.held {
            prop_assert_eq!(held, &group.held[0]);
            prop_assert_eq!(held.winner(), group.held[0].winner());
        }
        for state in states.iter().chain([&all]) {
            let versions: Vec<_> = state.versions().collect();
            for (older, newer) in versions.iter().flat_map(|o| versions.iter().map(move |n| (o, n))) {
                prop_assert!(!supersedes(newer, older));
            }
        }
    }

    /// Whatever was written is in a state that joined all others, or something there was truly written on
    /// top of it; and nothing is beside what was written on top of it.
    #[test]
    fn nothing_vanishes(steps in prop::collection::vec(step(), 1..60)) {
        let (group, states) = history(&steps);
        let all = states.iter().fold(Rivals::default(), |all, state| joined(&all, state));
        let mut known: BTreeSet<VersionHash> = all.hashes().copied().collect();
        for hash in all.hashes() {
            let ancestors = &group.ancestors[hash];
            prop_assert!(all.hashes().all(|held| !ancestors.contains(held)));
            known.extend(ancestors);
        }
        prop_assert!(group.ancestors.keys().all(|hash| known.contains(hash)));
    }

    #[test]
    fn a_register_reads_back(steps in prop::collection::vec(step(), 1..30)) {
        let (group, _) = history(&steps);
        for held in &group.held {
            prop_assert_eq!(&Rivals::of(held.register()), held);
        }
    }
}
