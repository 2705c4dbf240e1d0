//! Roles in small: each rule by itself. Random schedules are in `tests/simulation/roles.rs`.

use proptest::prelude::*;

use super::{claims::MAX_CLAIMS_BYTES, *};

fn life(id: &str, incarnation: u64) -> ManagerLife {
    ManagerLife { id: ManagerId::new(id).expect("a name"), incarnation }
}

fn manager(id: &str, group: usize, epochs: Epochs, now: Time) -> Roles {
    let config = RolesConfig { me: life(id, 1), priority: 100, fail_back: false, group };
    Roles::new(config, epochs, now)
}

fn at(ms: u64) -> Time {
    Time::from_secs(1_000) + Duration::from_millis(ms)
}

/// Lets time pass for some that all hear each other, each 100 ms.
fn together(all: &mut [&mut Roles], from: u64, to: u64) -> Vec<RoleChange> {
    let mut changes = Vec::new();
    for ms in (from..to).step_by(100) {
        all.iter_mut().for_each(|roles| roles.on_deadline(at(ms), &mut changes));
        for i in 0..all.len() {
            let (who, claims) = (all[i].config.me.clone(), all[i].claims(at(ms)));
            all.iter_mut().for_each(|roles| roles.hear(&who, &claims, at(ms + 1)));
        }
    }
    changes
}

#[test]
fn one_alone_takes_its_roles_at_once_and_stores_the_epoch_first() {
    let stored = Epochs([Epoch(7), Epoch(2)]);
    let mut roles = manager("a", 1, stored, at(0));
    assert_eq!(roles.next_deadline(), at(0) + BEAT);
    let mut out = Vec::new();
    roles.on_deadline(at(0), &mut out);
    let epochs = Epochs([Epoch(8), Epoch(3)]);
    let gained = [Role::Ledger, Role::Janitor].map(|r| RoleChange::Gained(r, epochs.of(r)));
    assert_eq!(out, [&[RoleChange::Store(epochs)], &gained[..]].concat());
    assert_eq!(roles.may(Role::Ledger, Epoch(8), at(500)), Ok(()));
    let former = roles.may(Role::Ledger, Epoch(7), at(500));
    assert!(matches!(former, Err(Fenced::Superseded { current: Epoch(8), .. })), "{former:?}");
}

#[test]
fn who_starts_waits_for_a_holder_that_it_has_not_heard() {
    let mut roles = manager("a", 2, Epochs::default(), at(0));
    let changes = together(&mut [&mut roles], 0, 1_300);
    assert_eq!(changes, []);
    assert!(!together(&mut [&mut roles], 1_300, 1_400).is_empty());
}

#[test]
fn who_has_heard_all_the_others_waits_only_until_they_know_it() {
    let (mut a, mut b) =
        (manager("a", 2, Epochs::default(), at(0)), manager("b", 2, Epochs::default(), at(0)));
    together(&mut [&mut a, &mut b], 0, 900);
    assert_eq!(a.holds(Role::Ledger, at(900)), Some(Epoch(1)));
    assert_eq!(b.holder(Role::Ledger).map(ManagerId::as_str), Some("a"));
    assert_eq!(b.holds(Role::Ledger, at(900)), None);
}

#[test]
fn a_role_goes_to_the_lowest_number_and_then_to_the_first_name() {
    let mut all: Vec<Roles> =
        ["c", "b", "a"].map(|id| manager(id, 3, Epochs::default(), at(0))).into();
    all[2].config.priority = 200;
    let mut group: Vec<&mut Roles> = all.iter_mut().collect();
    together(&mut group, 0, 2_000);
    assert_eq!(all[0].holder(Role::Janitor).map(ManagerId::as_str), Some("b"));
}

#[test]
fn a_manager_that_stood_still_has_stepped_down_before_it_does_anything() {
    let mut roles = manager("a", 1, Epochs::default(), at(0));
    roles.on_deadline(at(0), &mut Vec::new());
    let late = at(1_000);
    assert_eq!(roles.holds(Role::Ledger, late), None);
    assert!(matches!(
        roles.may(Role::Ledger, Epoch(1), late),
        Err(Fenced::Expired { role: Role::Ledger })
    ));
    assert_eq!(roles.claims(late).seats[0].tenure, None, "it claims nothing");
    let mut out = Vec::new();
    roles.on_deadline(late, &mut out);
    assert!(out.contains(&RoleChange::Lost(Role::Ledger, Epoch(1))), "{out:?}");
    assert!(roles.may(Role::Ledger, Epoch(1), late).is_err(), "what it was about to write is not");
}

#[test]
fn who_steps_down_is_replaced_within_a_beat() {
    let (mut a, mut b) =
        (manager("a", 2, Epochs::default(), at(0)), manager("b", 2, Epochs::default(), at(0)));
    together(&mut [&mut a, &mut b], 0, 2_000);
    a.set_able(false, at(2_000));
    assert!(a.may(Role::Ledger, Epoch(1), at(2_000)).is_err());
    together(&mut [&mut a, &mut b], 2_000, 2_300);
    assert_eq!(b.holds(Role::Ledger, at(2_300)), Some(Epoch(2)));
    a.set_able(true, at(2_300));
    together(&mut [&mut a, &mut b], 2_300, 9_000);
    assert_eq!(b.holds(Role::Ledger, at(8_900)), Some(Epoch(2)), "it does not come back for it");
}

#[test]
fn a_restarted_holder_is_not_taken_for_its_former_life() {
    let (mut a, mut b) =
        (manager("a", 2, Epochs::default(), at(0)), manager("b", 2, Epochs::default(), at(0)));
    together(&mut [&mut a, &mut b], 0, 2_000);
    let mut again = manager("a", 2, a.epochs(), at(2_050));
    again.config.me.incarnation = 2;
    together(&mut [&mut again, &mut b], 2_100, 2_400);
    assert_eq!(b.holds(Role::Ledger, at(2_400)), Some(Epoch(2)));
    b.hear(&life("a", 1), &a.claims(at(2_000)), at(2_400));
    assert_eq!(b.holds(Role::Ledger, at(2_400)), Some(Epoch(2)), "its last word came late");
}

#[test]
fn managers_that_do_not_hear_the_holder_believe_those_that_do() {
    let mut all: Vec<Roles> =
        ["a", "b", "c"].map(|id| manager(id, 3, Epochs::default(), at(0))).into();
    let mut group: Vec<&mut Roles> = all.iter_mut().collect();
    together(&mut group, 0, 1_000);
    let [a, b, c] = &mut all[..] else { panic!("three") };
    for ms in (1_000..10_000).step_by(200) {
        // Nothing passes between a and c.
        together(&mut [&mut *a, &mut *b], ms, ms + 100);
        together(&mut [&mut *b, &mut *c], ms + 100, ms + 200);
    }
    assert_eq!(a.holds(Role::Ledger, at(10_000)), Some(Epoch(1)));
    assert_eq!(c.holder(Role::Ledger).map(ManagerId::as_str), Some("a"));
}

#[test]
fn what_managers_repeat_keeps_no_dead_holder_alive() {
    let mut all: Vec<Roles> =
        ["a", "b", "c", "d"].map(|id| manager(id, 4, Epochs::default(), at(0))).into();
    let mut group: Vec<&mut Roles> = all.iter_mut().collect();
    together(&mut group, 0, 1_000);
    together(&mut group[1..], 1_000, 2_600);
    assert_eq!(all[1].holds(Role::Ledger, at(2_600)), Some(Epoch(2)));
}

#[test]
fn the_higher_epoch_stays_and_then_the_better_rank() {
    for (one, two, stays) in [(3, 9, "b"), (9, 3, "a"), (5, 5, "a")] {
        let epochs = |n| Epochs([Epoch(n), Epoch(n)]);
        let (mut a, mut b) =
            (manager("a", 1, epochs(one), at(0)), manager("b", 1, epochs(two), at(0)));
        for roles in [&mut a, &mut b] {
            roles.on_deadline(at(0), &mut Vec::new());
            roles.config.group = 2;
        }
        together(&mut [&mut a, &mut b], 100, 5_000);
        let holders = [a.holder(Role::Ledger), b.holder(Role::Ledger)];
        assert_eq!(holders.map(|id| id.map(ManagerId::as_str)), [Some(stays); 2]);
        let epoch = a.holds(Role::Ledger, at(5_000)).or(b.holds(Role::Ledger, at(5_000)));
        assert_eq!(epoch, Some(Epoch(one.max(two) + 1)), "without a new tenure");
    }
}

#[test]
fn who_is_always_called_a_little_late_takes_over_all_the_same() {
    let (mut a, mut b) =
        (manager("a", 2, Epochs::default(), at(0)), manager("b", 2, Epochs::default(), at(0)));
    together(&mut [&mut a, &mut b], 0, 2_000);
    assert_eq!(a.holds(Role::Ledger, at(1_950)), Some(Epoch(1)));
    // a is dead.
    for (pause, within) in [(200, 1_600), (301, 2_500), (900, 7_000)] {
        let (mut b, mut ms) = (b.clone(), 2_000);
        while b.holds(Role::Ledger, at(ms)).is_none() {
            ms += pause;
            assert!(ms < 2_000 + within, "called each {pause} ms");
            b.on_deadline(at(ms), &mut Vec::new());
        }
    }
}

#[test]
fn epochs_are_stored_in_sixteen_bytes() {
    let epochs = Epochs([Epoch(1), Epoch::MAX]);
    assert_eq!(Epochs::decode(&epochs.encode()), Some(epochs));
    assert_eq!(Epochs::decode(&[0; 15]), None);
    assert_eq!(Epochs::decode(&[255; 16]), None, "beyond what can be");
}

fn tenures() -> impl Strategy<Value = Option<Tenure>> {
    let name = "[a-zA-Z0-9._:/-]{1,128}";
    let fields = (0..=Epoch::MAX.0, any::<u32>(), any::<u64>(), name, any::<u64>());
    proptest::option::of(fields.prop_map(|(epoch, priority, beat, id, incarnation)| Tenure {
        epoch: Epoch(epoch),
        priority,
        holder: life(&id, incarnation),
        beat,
    }))
}

proptest! {
    #[test]
    fn claims_round_trip_within_their_bound(
        (sent, priority, ready) in (any::<u64>(), any::<u32>(), any::<bool>()),
        epochs in [0..=Epoch::MAX.0, 0..=Epoch::MAX.0],
        [one, two] in [tenures(), tenures()],
    ) {
        let [first, second] = epochs.map(Epoch);
        let seats = [
            SeatClaim { epoch: first, tenure: one },
            SeatClaim { epoch: second, tenure: two },
        ];
        let claims = Claims { sent, priority, ready, seats };
        let bytes = claims.encode();
        prop_assert!(bytes.len() <= MAX_CLAIMS_BYTES);
        prop_assert_eq!(Claims::decode(&bytes), Ok(claims));
        for cut in 0..bytes.len() {
            prop_assert!(Claims::decode(&bytes[..cut]).is_err());
        }
        prop_assert_eq!(Claims::decode(&[&bytes[..], &[0]].concat()), Err(ClaimsError::Length));
    }

    #[test]
    fn any_bytes_are_claims_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        if let Ok(claims) = Claims::decode(&bytes) {
            prop_assert_eq!(claims.encode(), bytes);
        }
    }
}
