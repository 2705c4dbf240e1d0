//! Whatever a peer or a disk holds is a valid frame or an error.

use std::{collections::BTreeMap, sync::Arc};

use proptest::prelude::*;

use super::*;
use crate::{
    id::{ManagerId, ManagerLife},
    peer::{
        Audit, AuditKey, MAX_AUTHOR, MAX_BODY, MAX_SEEN, MAX_VERSIONS, MAX_VOTES, Origin, Register,
        Usage, UsageKey, UsagePart, Version, VersionHash, Vote,
    },
    policy::PolicyName,
};

fn life(n: u64) -> ManagerLife {
    ManagerLife { id: ManagerId::new(&format!("tm-{n}")).expect("a name"), incarnation: n }
}

fn version(body: Option<&str>) -> Version {
    let origin = |n| Origin { life: life(n), series: Stamp(n * 10) };
    Version {
        ref_number: 7,
        stamp: Stamp(1_000),
        origin: origin(1),
        seen: BTreeMap::from([(origin(2), Stamp(20)), (origin(3), Stamp(0))]),
        author: "anna".to_owned(),
        body: body.map(|text| Bytes::copy_from_slice(text.as_bytes())),
    }
}

fn policy() -> Entry {
    let vote = Vote { incarnation: 3, hash: VersionHash([9; 32]) };
    let register = Register {
        versions: vec![Arc::new(version(Some("{}"))), Arc::new(version(None))],
        vote_ref: 7,
        votes: BTreeMap::from([(life(4).id, vote)]),
    };
    Entry::Policy(PolicyName::new("p").expect("a name"), register)
}

fn audit() -> Entry {
    let audit = Audit {
        at: Time::from_secs(5),
        actor: "anna".to_owned(),
        action: "create".to_owned(),
        policy: "p".to_owned(),
        tag: "1-ab".to_owned(),
        detail: "why".to_owned(),
    };
    Entry::Audit(AuditKey { origin: life(1), seq: 3 }, Arc::new(audit))
}

fn usage() -> Entry {
    let key = UsageKey {
        policy: "p".to_owned(),
        limit: "1m".to_owned(),
        key: vec!["a".to_owned(), String::new()],
        start_secs: 60,
        length_secs: 60,
    };
    Entry::Usage(
        Arc::new(key),
        Usage {
            admitted: 5,
            refused: 6,
            parts: vec![UsagePart { offset_secs: 7, admitted: 5, refused: 6 }],
        },
    )
}

fn read(frame: wire::PeerFrame) -> Result<PeerFrame, WireError> {
    let bytes = frame.encode_to_vec();
    wire::PeerFrame::decode(bytes.as_slice()).expect("its own encoding").try_into()
}

#[test]
fn every_frame_reads_back() {
    let hello = PeerHello { life: life(1), version: "0.1.0".to_owned() };
    let heartbeat = Heartbeat {
        now: Time::from_secs(9),
        stamp: Stamp(8),
        revision: 7,
        root: u64::MAX,
        entries: 6,
        ready: true,
        priority: 5,
        claims: Bytes::from_static(b"claims"),
        policies_revision: 12,
    };
    let buckets = vec![SummaryBucket { bucket: 1_023, entries: vec![(1, 2), (u64::MAX, 4)] }];
    for frame in [
        PeerFrame::Hello(hello),
        PeerFrame::Heartbeat(heartbeat),
        PeerFrame::Delta(Delta { number: 1, entries: vec![policy(), audit(), usage()] }),
        PeerFrame::Ack(Ack { number: 3, refused: Vec::new() }),
        PeerFrame::Ack(Ack { number: 4, refused: vec![0, u64::MAX] }),
        PeerFrame::Digest(Digest { round: 2, buckets: (0..BUCKETS as u64).collect() }),
        PeerFrame::Summary(Summary { round: 2, parts: 2, part: 1, buckets }),
        PeerFrame::Want(vec![1, u64::MAX]),
    ] {
        assert_eq!(read(frame.clone().into()), Ok(frame));
    }
    assert_eq!(
        read(wire::PeerFrame { kind: None, refused: Vec::new() }),
        Err(WireError::Missing("kind"))
    );
}

/// What is wrong with an entry after a change to a valid one.
fn fault(change: impl FnOnce(&mut wire::PolicyEntry)) -> String {
    let Some(wire::entry::Kind::Policy(mut entry)) = wire::Entry::from(&policy()).kind else {
        panic!("a policy");
    };
    change(&mut entry);
    Entry::try_from(entry).expect_err("it is refused").to_string()
}

#[test]
fn registers_beyond_their_bounds_are_refused_by_field() {
    let too_many = |e: &mut wire::PolicyEntry| {
        e.versions = vec![e.versions[0].clone(); MAX_VERSIONS + 1];
    };
    assert_eq!(fault(too_many), "policy.versions is 33, more than 32");
    let votes = |e: &mut wire::PolicyEntry| e.votes = vec![e.votes[0].clone(); MAX_VOTES + 1];
    assert_eq!(fault(votes), "policy.votes is 65, more than 64");
    assert_eq!(
        fault(|e| e.votes = vec![e.votes[0].clone(); 2]),
        "policy.votes[].voter is repeated"
    );
    assert_eq!(fault(|e| e.votes[0].hash = vec![1; 31]), "policy.votes[].hash is missing");
    assert_eq!(fault(|e| e.name = "a b".to_owned()), "policy.name is missing");
    let version = |change: fn(&mut wire::PolicyVersion)| fault(|e| change(&mut e.versions[0]));
    assert_eq!(version(|v| v.origin = None), "policy.versions[].origin is missing");
    assert!(version(|v| v.author = "x".repeat(MAX_AUTHOR + 1)).contains("author length is 257"));
    assert!(version(|v| v.body = Some(vec![b'x'; MAX_BODY + 1].into())).contains("body length"));
    assert!(version(|v| v.seen = vec![v.seen[0].clone(); MAX_SEEN + 1]).contains("seen is 33"));
    assert!(version(|v| v.seen = vec![v.seen[0].clone(); 2]).contains("seen[].origin is repeated"));
    assert!(version(|v| v.ref_number = u64::MAX).contains("ref_number"));
    assert!(version(|v| v.stamp = u64::MAX).contains("stamp"));
}

#[test]
fn frames_beyond_their_bounds_are_refused() {
    use wire::peer_frame::Kind;
    let refused = |kind: Kind| {
        read(wire::PeerFrame { kind: Some(kind), refused: Vec::new() }).expect_err("refused")
    };
    let want = wire::PeerWant { keys: vec![0; MAX_HASHES + 1] };
    assert!(refused(Kind::Want(want)).to_string().contains("want.keys is 16385"));
    let digest = |n| Kind::Digest(wire::PeerDigest { round: 1, buckets: vec![0; n] });
    assert!(refused(digest(BUCKETS - 1)).to_string().contains("digest.buckets"));
    assert!(refused(digest(BUCKETS + 1)).to_string().contains("digest.buckets"));
    let summary = |bucket, keys, states| {
        let bucket = wire::SummaryBucket { bucket, keys: vec![0; keys], states: vec![0; states] };
        Kind::Summary(wire::PeerSummary { buckets: vec![bucket], ..Default::default() })
    };
    assert!(refused(summary(1_024, 0, 0)).to_string().contains("buckets[].bucket is 1024"));
    assert!(refused(summary(0, 2, 1)).to_string().contains("states is missing"));
    assert!(refused(summary(0, MAX_HASHES + 1, 0)).to_string().contains("keys is 16385"));
    let heartbeat =
        wire::PeerHeartbeat { claims: vec![0; MAX_CLAIMS + 1].into(), ..Default::default() };
    assert!(refused(Kind::Heartbeat(heartbeat)).to_string().contains("claims length is 4097"));
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// A disk that lost some bits.
    #[test]
    fn damaged_entries_are_refused_or_valid(at in 0_usize..400, bit in 0_u8..8, cut in 0_usize..400) {
        for entry in [policy(), audit(), usage()] {
            let whole = entry.encode();
            prop_assert_eq!(Entry::decode(&whole), Ok(entry));
            let mut bytes = whole.to_vec();
            let at = at % bytes.len();
            bytes[at] ^= 1 << bit;
            bytes.truncate(cut.max(1));
            if let Ok(read) = Entry::decode(&bytes) {
                prop_assert_eq!(Entry::decode(&read.encode()), Ok(read));
            }
        }
    }

    #[test]
    fn any_bytes_are_a_frame_or_an_error(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        if let Ok(frame) = wire::PeerFrame::decode(bytes.as_slice()) {
            let _ = PeerFrame::try_from(frame);
        }
        let _ = Entry::decode(&bytes);
    }
}
