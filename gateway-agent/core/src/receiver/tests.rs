//! The order in which managers are tried.

use super::*;

fn ms(n: u64) -> Time {
    Time::from_millis(1_000 + n)
}

fn connect_step(steps: &mut Vec<Step>) -> (ManagerIndex, ConnectionId) {
    match steps.as_slice() {
        [.., Step::Connect(manager, connection)] => {
            let found = (*manager, *connection);
            steps.clear();
            found
        }
        other => panic!("no connection attempt in {other:?}"),
    }
}

fn follow(receiver: &mut Receiver, connection: ConnectionId, now: Time) {
    let mut steps = Vec::new();
    assert!(receiver.opened(connection, now, &mut steps));
    receiver.hear(connection, now);
}

#[test]
fn the_first_in_the_list_then_the_next_then_home_again() {
    let mut receiver = Receiver::new(2, Some(Duration::from_secs(3)), ms(0));
    let mut steps = Vec::new();
    receiver.advance(|_| None, ms(0), &mut steps);
    let (manager, first) = connect_step(&mut steps);
    assert_eq!(manager, 0);
    follow(&mut receiver, first, ms(1));

    receiver.closed(first, "reset", ms(500), &mut steps);
    assert_eq!(steps.pop(), Some(Step::Lost(0, "reset".to_owned())));
    receiver.advance(|_| None, ms(500), &mut steps);
    let (manager, second) = connect_step(&mut steps);
    assert_eq!(manager, 1);
    follow(&mut receiver, second, ms(501));
    assert_eq!(receiver.failovers, 1);

    // Manager 0 has been well since 1,000 ms: home at 4,000 ms, not before.
    let well = |i: usize| (i == 0).then_some(ms(1_000));
    receiver.hear(second, ms(3_999));
    receiver.advance(well, ms(3_999), &mut steps);
    assert_eq!(steps, []);
    receiver.advance(well, ms(4_000), &mut steps);
    let (manager, home) = connect_step(&mut steps);
    assert_eq!(manager, 0);
    assert_eq!(
        receiver.active(),
        Some((1, second)),
        "follows the old one until the new one answers"
    );
    assert!(receiver.opened(home, ms(4_001), &mut steps));
    assert_eq!(steps, [Step::Disconnect(second), Step::Attach(0, home)]);
}

#[test]
fn silence_is_a_loss() {
    let mut receiver = Receiver::new(2, None, ms(0));
    let mut steps = Vec::new();
    receiver.advance(|_| None, ms(0), &mut steps);
    let (_, first) = connect_step(&mut steps);
    follow(&mut receiver, first, ms(0));
    assert_eq!(receiver.next_deadline(), Some(ms(700)));
    receiver.advance(|_| None, ms(700), &mut steps);
    assert_eq!(connect_step(&mut steps).0, 1);
}

#[test]
fn a_list_that_fails_whole_is_tried_again_after_a_pause() {
    let mut receiver = Receiver::new(2, None, ms(0));
    let mut steps = Vec::new();
    for expected in [0, 1] {
        receiver.advance(|_| None, ms(1), &mut steps);
        let (manager, connection) = connect_step(&mut steps);
        assert_eq!(manager, expected);
        receiver.closed(connection, "refused", ms(1), &mut steps);
    }
    receiver.advance(|_| None, ms(1), &mut steps);
    assert_eq!(steps, []);
    assert_eq!(receiver.next_deadline(), Some(ms(51)));
    receiver.advance(|_| None, ms(51), &mut steps);
    assert_eq!(connect_step(&mut steps).0, 0);
}

#[test]
fn managers_known_to_be_well_come_first() {
    let mut receiver = Receiver::new(3, None, ms(0));
    let mut steps = Vec::new();
    receiver.advance(|i| (i == 2).then_some(ms(0)), ms(1), &mut steps);
    assert_eq!(connect_step(&mut steps).0, 2);
}
