//! What a counter costs.

use weir_proto::policy::Policy;

use super::*;

#[test]
fn a_million_counters_with_keys_of_40_bytes_take_less_than_200_bytes_each() {
    let document = serde_json::json!({ "name": "p", "level": "api", "key": ["user"],
        "limits": [{ "requests": 1, "window": "1m" }] });
    let policy = Policy::from_json(&document).expect("the policy is valid");
    let table = Table::new(1_000_000, OnDisconnect::Local, 7, Arc::new(|| ()));
    table.enforce(Arc::new(PolicySet::compile(1, [Arc::new(policy)])));
    let family = Arc::clone(&table.snapshot().families[0].own);
    for n in 0..1_000_000 {
        let key = format!("\x28tenant-{:03}/route-{:04}/user-{n:013}", n % 1_000, n % 7_919);
        let name = table.name(&family, key.as_bytes());
        let found = table.open(&name, WindowStart(60)).expect("there is room");
        assert!(found.counter.parts().len() == 41 && !found.counter.has_box());
    }
    assert_eq!(table.len(), 1_000_000);
    let each = (table.index.bytes() + table.slots.bytes()) / 1_000_000;
    assert!(each < 200, "{each} bytes");
}
