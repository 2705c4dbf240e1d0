//! Replicated entries: registers and records.

use std::{collections::BTreeMap, sync::Arc};

use super::MAX_US;
use crate::{
    convert::{MAX_TIME_MS, WireError, bounded, manager_life},
    id::ManagerId,
    peer::{
        Audit, AuditKey, Entry, MAX_AUTHOR, MAX_BODY, MAX_DETAIL, MAX_PARTS, MAX_SEEN, MAX_TEXT,
        MAX_USAGE_PARTS, MAX_VERSIONS, MAX_VOTES, Origin, Register, Stamp, Usage, UsageKey,
        UsagePart, Version, VersionHash, Vote,
    },
    policy::PolicyName,
    time::Time,
    wire::weir::v1 as wire,
};

/// Largest `ref_number`: far from overflow.
const MAX_REF: u64 = 1 << 62;

fn short(field: &'static str, text: &str, max: usize) -> Result<(), WireError> {
    bounded(field, text.len() as u64, max as u64).map(|_| ())
}

fn stamp(field: &'static str, stamp: u64) -> Result<Stamp, WireError> {
    bounded(field, stamp, MAX_US).map(Stamp)
}

impl TryFrom<wire::Entry> for Entry {
    type Error = WireError;
    fn try_from(w: wire::Entry) -> Result<Self, WireError> {
        use wire::entry::Kind;
        match w.kind.ok_or(WireError::Missing("entry.kind"))? {
            Kind::Policy(policy) => policy.try_into(),
            Kind::Audit(audit) => audit.try_into(),
            Kind::Usage(usage) => usage.try_into(),
        }
    }
}

impl From<&Entry> for wire::Entry {
    fn from(entry: &Entry) -> Self {
        use wire::entry::Kind;
        let kind = match entry {
            Entry::Policy(name, register) => Kind::Policy(policy(name, register)),
            Entry::Audit(key, audit) => Kind::Audit(wire::AuditEntry {
                origin: key.origin.id.to_string(),
                incarnation: key.origin.incarnation,
                seq: key.seq,
                at_us: audit.at.as_micros(),
                actor: audit.actor.clone(),
                action: audit.action.clone(),
                policy: audit.policy.clone(),
                tag: audit.tag.clone(),
                detail: audit.detail.clone(),
            }),
            Entry::Usage(key, usage) => Kind::Usage(wire::UsageRecord {
                policy: key.policy.clone(),
                limit: key.limit.clone(),
                key: key.key.clone(),
                start_secs: key.start_secs,
                length_secs: key.length_secs,
                admitted: usage.admitted,
                refused: usage.refused,
                parts: usage.parts.iter().map(|part| (*part).into()).collect(),
            }),
        };
        wire::Entry { kind: Some(kind) }
    }
}

impl TryFrom<wire::PolicyEntry> for Entry {
    type Error = WireError;
    fn try_from(w: wire::PolicyEntry) -> Result<Self, WireError> {
        let name = PolicyName::new(&w.name).map_err(|_| WireError::Missing("policy.name"))?;
        bounded("policy.versions", w.versions.len() as u64, MAX_VERSIONS as u64)?;
        bounded("policy.votes", w.votes.len() as u64, MAX_VOTES as u64)?;
        let versions = w
            .versions
            .into_iter()
            .map(|version| Version::try_from(version).map(Arc::new))
            .collect::<Result<_, _>>()?;
        let vote_ref = bounded("policy.vote_ref", w.vote_ref, MAX_REF)?;
        let vote = |vote: wire::PolicyVote| -> Result<(ManagerId, Vote), WireError> {
            let life = manager_life("policy.votes[].voter", &vote.voter, vote.incarnation)?;
            let hash = vote.hash.as_slice().try_into();
            let hash = hash.map_err(|_| WireError::Missing("policy.votes[].hash"))?;
            Ok((life.id, Vote { incarnation: life.incarnation, hash: VersionHash(hash) }))
        };
        let mut votes = BTreeMap::new();
        for cast in w.votes {
            let (voter, vote) = vote(cast)?;
            if votes.insert(voter, vote).is_some() {
                return Err(WireError::Repeated("policy.votes[].voter"));
            }
        }
        Ok(Entry::Policy(name, Register { versions, vote_ref, votes }))
    }
}

impl TryFrom<wire::VersionOrigin> for Origin {
    type Error = WireError;
    fn try_from(w: wire::VersionOrigin) -> Result<Self, WireError> {
        Ok(Origin {
            life: manager_life("policy.versions[].origin.id", &w.id, w.incarnation)?,
            // Those of start-up files are hashes: not a time, and not bounded like one.
            series: Stamp(w.series),
        })
    }
}

impl TryFrom<wire::PolicyVersion> for Version {
    type Error = WireError;
    fn try_from(w: wire::PolicyVersion) -> Result<Self, WireError> {
        short("policy.versions[].author length", &w.author, MAX_AUTHOR)?;
        let body = w.body.as_ref().map_or(0, |body| body.len());
        bounded("policy.versions[].body length", body as u64, MAX_BODY as u64)?;
        bounded("policy.versions[].seen", w.seen.len() as u64, MAX_SEEN as u64)?;
        let origin = w.origin.ok_or(WireError::Missing("policy.versions[].origin"))?;
        let mut seen = BTreeMap::new();
        for w in w.seen {
            let origin = w.origin.ok_or(WireError::Missing("policy.versions[].seen[].origin"))?;
            let until = stamp("policy.versions[].seen[].stamp", w.stamp)?;
            if seen.insert(origin.try_into()?, until).is_some() {
                return Err(WireError::Repeated("policy.versions[].seen[].origin"));
            }
        }
        Ok(Version {
            ref_number: bounded("policy.versions[].ref_number", w.ref_number, MAX_REF)?,
            stamp: stamp("policy.versions[].stamp", w.stamp)?,
            origin: origin.try_into()?,
            seen,
            author: w.author,
            body: w.body,
        })
    }
}

fn origin(origin: &Origin) -> wire::VersionOrigin {
    wire::VersionOrigin {
        id: origin.life.id.to_string(),
        incarnation: origin.life.incarnation,
        series: origin.series.0,
    }
}

fn policy(name: &PolicyName, register: &Register) -> wire::PolicyEntry {
    let version = |v: &Arc<Version>| wire::PolicyVersion {
        ref_number: v.ref_number,
        stamp: v.stamp.0,
        origin: Some(origin(&v.origin)),
        seen: v
            .seen
            .iter()
            .map(|(o, stamp)| wire::SeenVersion { origin: Some(origin(o)), stamp: stamp.0 })
            .collect(),
        author: v.author.clone(),
        body: v.body.clone(),
    };
    let vote = |(voter, vote): (&ManagerId, &Vote)| wire::PolicyVote {
        voter: voter.to_string(),
        incarnation: vote.incarnation,
        hash: vote.hash.0.to_vec(),
    };
    wire::PolicyEntry {
        name: name.to_string(),
        versions: register.versions.iter().map(version).collect(),
        vote_ref: register.vote_ref,
        votes: register.votes.iter().map(vote).collect(),
    }
}

impl TryFrom<wire::AuditEntry> for Entry {
    type Error = WireError;
    fn try_from(w: wire::AuditEntry) -> Result<Self, WireError> {
        short("audit.actor length", &w.actor, MAX_AUTHOR)?;
        short("audit.action length", &w.action, MAX_TEXT)?;
        short("audit.policy length", &w.policy, MAX_TEXT)?;
        short("audit.tag length", &w.tag, MAX_TEXT)?;
        short("audit.detail length", &w.detail, MAX_DETAIL)?;
        let origin = manager_life("audit.origin", &w.origin, w.incarnation)?;
        let audit = Audit {
            at: Time::from_micros(bounded("audit.at_us", w.at_us, MAX_US)?),
            actor: w.actor,
            action: w.action,
            policy: w.policy,
            tag: w.tag,
            detail: w.detail,
        };
        Ok(Entry::Audit(AuditKey { origin, seq: w.seq }, Arc::new(audit)))
    }
}

impl TryFrom<wire::UsageRecord> for Entry {
    type Error = WireError;
    fn try_from(w: wire::UsageRecord) -> Result<Self, WireError> {
        short("usage.policy length", &w.policy, MAX_TEXT)?;
        short("usage.limit length", &w.limit, MAX_TEXT)?;
        bounded("usage.key", w.key.len() as u64, MAX_PARTS as u64)?;
        let longest = w.key.iter().map(String::len).max().unwrap_or(0);
        bounded("usage.key[] length", longest as u64, MAX_TEXT as u64)?;
        let secs = MAX_TIME_MS / 1_000;
        let key = UsageKey {
            policy: w.policy,
            limit: w.limit,
            key: w.key,
            start_secs: bounded("usage.start_secs", w.start_secs, secs)?,
            length_secs: bounded("usage.length_secs", w.length_secs, secs)?,
        };
        bounded("usage.parts", w.parts.len() as u64, MAX_USAGE_PARTS as u64)?;
        let parts: Vec<UsagePart> = w.parts.into_iter().map(UsagePart::from).collect();
        let last = parts.iter().map(|part| part.offset_secs).max().unwrap_or(0);
        bounded("usage.parts[].offset_secs", u64::from(last), MAX_USAGE_PARTS as u64 - 1)?;
        if parts.windows(2).any(|pair| pair[0].offset_secs >= pair[1].offset_secs) {
            return Err(WireError::Missing("usage.parts[] in ascending order"));
        }
        let usage = Usage { admitted: w.admitted, refused: w.refused, parts };
        Ok(Entry::Usage(Arc::new(key), usage))
    }
}

impl From<UsagePart> for wire::UsagePart {
    fn from(part: UsagePart) -> Self {
        let UsagePart { offset_secs, admitted, refused } = part;
        wire::UsagePart { offset_secs, admitted, refused }
    }
}

impl From<wire::UsagePart> for UsagePart {
    fn from(part: wire::UsagePart) -> Self {
        let wire::UsagePart { offset_secs, admitted, refused } = part;
        UsagePart { offset_secs, admitted, refused }
    }
}
