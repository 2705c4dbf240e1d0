//! What the store refuses is done later, and nothing under an epoch that it has not.

use traffic_manager_core::{replica::Config, roles::RolesConfig};
use weir_proto::policy::Policy;

use super::*;

fn life() -> ManagerLife {
    ManagerLife { id: ManagerId::new("tm-1").expect("a name"), incarnation: 1 }
}

fn at(secs: u64) -> Time {
    Time::from_secs(1_000_000 + secs)
}

fn office() -> Office {
    let config = RolesConfig { me: life(), priority: 1, fail_back: false, group: 1 };
    Office::new(Roles::new(config, Epochs::default(), at(0)), at(0))
}

/// A replica with a deletion that is too old at `at(0)` + 31 days.
fn replica() -> Replica {
    let mut replica = Replica::new(Config::new(life(), 1), at(0));
    let limit = serde_json::json!({ "requests": 1, "window": "1m" });
    let document = serde_json::json!({ "name": "p", "level": "api", "limits": [limit] });
    let policy = Policy::from_json(&document).expect("valid");
    let change = replica.put(&policy, "anna", at(0)).expect("there is room");
    replica.apply(change, at(0), &mut Vec::new());
    let change = replica.delete("p", "anna", at(0)).expect("it is there");
    replica.apply(change, at(0), &mut Vec::new());
    replica
}

/// Lets time pass.
fn play(office: &mut Office, from: Time, ms: u64) -> Time {
    let mut now = from;
    for _ in 0..ms / 100 {
        now = now + Duration::from_millis(100);
        office.on_deadline(now);
    }
    now
}

#[test]
fn epochs_that_the_store_refused_are_stored_later_and_before_all_else() {
    let (mut office, replica) = (office(), replica());
    let now = play(&mut office, at(31 * 24 * 3_600), 1_000);
    let Some(Work::Epochs(epochs)) = office.work(&replica, now) else { panic!("epochs first") };
    office.failed(Undone::Epochs(epochs), now);
    assert!(office.work(&replica, now).is_none(), "nothing before them");
    assert!(office.next_deadline() > now && office.next_deadline() <= now + AGAIN);
    let now = play(&mut office, now, 1_000);
    let Some(Work::Epochs(again)) = office.work(&replica, now) else { panic!("epochs again") };
    assert_eq!(again, epochs);
    assert!(matches!(office.work(&replica, now), Some(Work::Sweep(_))), "then all else");
}

#[test]
fn a_clean_up_that_the_store_refused_comes_again() {
    let (mut office, replica) = (office(), replica());
    let mut now = play(&mut office, at(31 * 24 * 3_600), 1_000);
    assert!(matches!(office.work(&replica, now), Some(Work::Epochs(_))));
    for minute in 0..2 {
        assert!(matches!(office.work(&replica, now), Some(Work::Sweep(_))), "{minute}");
        office.failed(Undone::Sweep, now);
        assert!(office.work(&replica, now).is_none(), "not at once");
        now = play(&mut office, now, 60_000);
    }
}

/// An office that is no janitor.
fn another() -> Office {
    let config = RolesConfig { me: life(), priority: 1, fail_back: false, group: 2 };
    Office::new(Roles::new(config, Epochs::default(), at(0)), at(0))
}

/// The janitor's clock says `at`, and ours `now`.
fn told(replica: &mut Replica, at: Time, now: Time) {
    let audit = Audit {
        at,
        actor: "janitor".to_owned(),
        action: SWEPT.to_owned(),
        policy: String::new(),
        tag: String::new(),
        detail: String::new(),
    };
    let change = replica.record(vec![Record::Audit(audit)], now);
    replica.apply(change, now, &mut Vec::new());
}

#[test]
fn a_janitor_whose_clock_is_ahead_clears_away_nothing_here_before_its_time() {
    let (mut office, mut replica) = (another(), replica());
    let (month, early) = (at(31 * 24 * 3_600), at(60));
    told(&mut replica, month, early);
    assert!(office.work(&replica, early).is_none(), "the deletion is a minute old");
    // Others that are right, meanwhile, and the word of the future when that has come.
    told(&mut replica, at(100), at(120));
    assert!(office.work(&replica, at(120)).is_none());
    assert!(matches!(office.work(&replica, month), Some(Work::Sweep(_))));
}

#[test]
fn another_manager_cleans_up_as_it_was_told_also_after_a_refusal() {
    let (mut office, mut replica) = (another(), replica());
    let month = at(31 * 24 * 3_600);
    told(&mut replica, month, month);
    let told = month;
    assert!(matches!(office.work(&replica, told), Some(Work::Sweep(_))));
    office.failed(Undone::Sweep, told);
    assert!(matches!(office.work(&replica, told + SWEEP), Some(Work::Sweep(_))));
    assert!(office.work(&replica, told + SWEEP * 2).is_none(), "it was done");
}

#[test]
fn a_store_that_refuses_for_whatever_reason_takes_the_roles_until_it_writes_again() {
    let (place, detail) = (String::new(), String::new());
    let (mut office, replica) = (office(), replica());
    let mut now = play(&mut office, at(0), 10_000);
    let all = office.held(now);
    assert!(!all.is_empty());
    office.unwritten(&StoreError::TooLarge { what: "value", bytes: 2, limit: 1 }, now);
    assert_eq!(office.held(now), all, "that was the caller's fault");
    for error in [
        StoreError::Full { place: place.clone(), detail: detail.clone() },
        StoreError::Held { place: place.clone(), holder: String::new() },
        StoreError::Corrupt { place: place.clone(), detail },
        StoreError::Missing { place: place.clone() },
        StoreError::Newer { place, found: 2, known: 1 },
        StoreError::Stopped,
    ] {
        office.epochs = None;
        office.unwritten(&error, now);
        now = play(&mut office, now, 1_000);
        assert_eq!(office.held(now), [], "{error}");
        now = play(&mut office, now, 10_000);
        assert!(matches!(office.work(&replica, now), Some(Work::Epochs(_))), "it is tried again");
        office.written(now);
        now = play(&mut office, now, 10_000);
        assert_eq!(office.held(now), all, "{error}");
    }
}
