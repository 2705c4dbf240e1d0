//! Many policies at once: agents get them in frames that they take, and counters their limits.

use weir_proto::{
    convert::MAX_FRAME_BYTES,
    decision::{Attach, CreditFrame},
    id::{AgentId, AgentLife, ManagerId, ManagerLife},
    key::CounterKey,
    share::View,
    time::WindowStart,
    usage::{AgentIdentity, Names, UsageEntry, UsageFrame},
};

use super::*;
use crate::{Config, Input};

const NOW: Time = Time::from_secs(1_800_000_600);

fn manager() -> Manager {
    let id = ManagerId::new("tm").expect("a name");
    Manager::new(Config::new(ManagerLife { id, incarnation: 1 }), NOW)
}

fn identity() -> AgentIdentity {
    let life = AgentLife { id: AgentId::new("gw-1").expect("a name"), incarnation: 7 };
    AgentIdentity { life, gateway_group: String::new(), version: String::new() }
}

fn put(name: &str, requests: u64, overrides: usize) -> PolicyChange {
    let limits = serde_json::json!([{ "requests": requests, "window": "1h" }]);
    let overrides: Vec<_> = (0..overrides)
        .map(|i| serde_json::json!({ "key": [format!("application-{i}")], "limits": limits }))
        .collect();
    let policy = serde_json::json!({
        "name": name, "level": "application", "key": ["application"], "limits": limits,
        "overrides": overrides,
    });
    let policy = Arc::new(Policy::from_json(&policy).expect("a policy"));
    PolicyChange::Put(StoredPolicy { policy, tag: "1".to_owned(), revision: requests })
}

#[test]
fn thousands_of_policies_at_once_reach_an_agent_in_frames_that_it_takes() {
    let mut manager = manager();
    let attach = Attach {
        identity: identity(),
        view: View::default(),
        promised: None,
        eras: Vec::new(),
        pledged_until: Time::ZERO,
        former_manager: None,
    };
    let hello = CreditFrame { seq: 1, now: NOW, attach: Some(attach), ..CreditFrame::default() };
    let mut out = Vec::new();
    manager.handle(Input::Credit(StreamId(9), hello), NOW, &mut out);
    out.clear();
    let changes: Vec<_> = (0..4_500).map(|i| put(&format!("p-{i}"), 5, 15)).collect();
    let longest = |change: &PolicyChange| matches!(change, PolicyChange::Put(stored) if encode(&stored.policy).len() > 1_300);
    assert!(changes.iter().all(longest), "of 1.3 KB at least");
    manager.install_policies(changes, NOW, &mut out);
    let (mut frames, mut policies) = (0, 0);
    for output in &out {
        let Output::Decide(_, frame) = output else { continue };
        let Some(update) = &frame.policies else { continue };
        let bytes: usize = update.put.iter().map(|json| json.len() + 16).sum();
        assert!(bytes < MAX_FRAME_BYTES, "{bytes}");
        frames += 1;
        policies += update.put.len();
    }
    assert!(policies == 4_500 && frames > 4, "{policies} policies in {frames} frames");
}

#[test]
fn counters_of_all_policies_in_one_change_have_its_limits() {
    let mut manager = manager();
    let names = ["changed", "dropped", "kept", "twice"];
    manager.install_policies(names.map(|n| put(n, 1, 0)).into(), NOW, &mut Vec::new());
    let kept = manager.policy("kept").expect("the policy");
    let (id, _) = kept.policy.all_limits().next().expect("its limit");
    let keys = names.map(|name| CounterKey::new(name, &id, &["a"]).expect("a key"));
    let entry = |key| UsageEntry { key, window: WindowStart(1_800_000_000), used: 1, rejected: 0 };
    let frame = UsageFrame {
        identity: Some(identity()),
        seq: 1,
        names: (0..).zip(&keys).collect::<Names>(),
        entries: (0..4).map(entry).collect(),
        state_complete: true,
        ..UsageFrame::default()
    };
    manager.handle(Input::Usage(StreamId(1), frame), NOW, &mut Vec::new());
    let changes = vec![
        put("twice", 2, 0),
        put("changed", 3, 0),
        PolicyChange::Drop { name: "dropped".to_owned(), revision: 4 },
        put("twice", 5, 0),
    ];
    manager.install_policies(changes, NOW, &mut Vec::new());
    let limit = |key: &CounterKey| {
        let counter = manager.ledger.iter().find(|(_, counter)| counter.key == *key);
        counter.expect("counted").1.limit.as_ref().map(|limit| limit.amount)
    };
    assert_eq!(keys.each_ref().map(limit), [Some(3), None, Some(1), Some(5)]);
}
