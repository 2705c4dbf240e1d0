//! Frames between managers, and entries as the store keeps them.

mod entries;

use bytes::Bytes;
use prost::Message;

use super::{MAX_TIME_MS, WireError, bounded, manager_life};
use crate::{
    peer::{
        Ack, BUCKETS, Delta, Digest, Entry, Heartbeat, MAX_CLAIMS, MAX_DELTA_ENTRIES, MAX_HASHES,
        PeerFrame, PeerHello, Stamp, Summary, SummaryBucket,
    },
    time::Time,
    wire::weir::v1 as wire,
};

/// Latest stamp and time accepted, in microseconds.
const MAX_US: u64 = MAX_TIME_MS * 1_000;

impl TryFrom<wire::PeerFrame> for PeerFrame {
    type Error = WireError;
    fn try_from(w: wire::PeerFrame) -> Result<Self, WireError> {
        use wire::peer_frame::Kind;
        Ok(match w.kind.ok_or(WireError::Missing("kind"))? {
            Kind::Hello(hello) => PeerFrame::Hello(hello.try_into()?),
            Kind::Heartbeat(heartbeat) => PeerFrame::Heartbeat(heartbeat.try_into()?),
            Kind::Delta(delta) => PeerFrame::Delta(delta.try_into()?),
            Kind::Ack(number) => {
                bounded("refused", w.refused.len() as u64, MAX_DELTA_ENTRIES as u64)?;
                PeerFrame::Ack(Ack { number, refused: w.refused })
            }
            Kind::Digest(digest) => PeerFrame::Digest(digest.try_into()?),
            Kind::Summary(summary) => PeerFrame::Summary(summary.try_into()?),
            Kind::Want(want) => {
                bounded("want.keys", want.keys.len() as u64, MAX_HASHES as u64)?;
                PeerFrame::Want(want.keys)
            }
            Kind::AskCounters(ask) => PeerFrame::AskCounters(ask.try_into()?),
            Kind::Counters(counters) => PeerFrame::Counters(counters.try_into()?),
        })
    }
}

impl From<PeerFrame> for wire::PeerFrame {
    fn from(frame: PeerFrame) -> Self {
        use wire::peer_frame::Kind;
        let mut refused = Vec::new();
        let kind = match frame {
            PeerFrame::Hello(hello) => Kind::Hello(hello.into()),
            PeerFrame::Heartbeat(heartbeat) => Kind::Heartbeat(heartbeat.into()),
            PeerFrame::Delta(delta) => Kind::Delta(delta.into()),
            PeerFrame::Ack(ack) => {
                refused = ack.refused;
                Kind::Ack(ack.number)
            }
            PeerFrame::Digest(digest) => {
                Kind::Digest(wire::PeerDigest { round: digest.round, buckets: digest.buckets })
            }
            PeerFrame::Summary(summary) => Kind::Summary(summary.into()),
            PeerFrame::Want(keys) => Kind::Want(wire::PeerWant { keys }),
            PeerFrame::AskCounters(ask) => Kind::AskCounters(ask.into()),
            PeerFrame::Counters(counters) => Kind::Counters(counters.into()),
        };
        wire::PeerFrame { kind: Some(kind), refused }
    }
}

impl TryFrom<wire::PeerHello> for PeerHello {
    type Error = WireError;
    fn try_from(w: wire::PeerHello) -> Result<Self, WireError> {
        bounded("hello.version length", w.version.len() as u64, 128)?;
        Ok(PeerHello { life: manager_life("hello.id", &w.id, w.incarnation)?, version: w.version })
    }
}

impl From<PeerHello> for wire::PeerHello {
    fn from(h: PeerHello) -> Self {
        wire::PeerHello {
            id: h.life.id.to_string(),
            incarnation: h.life.incarnation,
            version: h.version,
        }
    }
}

impl TryFrom<wire::PeerHeartbeat> for Heartbeat {
    type Error = WireError;
    fn try_from(w: wire::PeerHeartbeat) -> Result<Self, WireError> {
        bounded("heartbeat.claims length", w.claims.len() as u64, MAX_CLAIMS as u64)?;
        Ok(Heartbeat {
            now: Time::from_micros(bounded("heartbeat.now_us", w.now_us, MAX_US)?),
            stamp: Stamp(bounded("heartbeat.stamp", w.stamp, MAX_US)?),
            revision: w.revision,
            root: w.root,
            entries: w.entries,
            ready: w.ready,
            priority: w.priority,
            claims: w.claims,
            policies_revision: w.policies_revision,
        })
    }
}

impl From<Heartbeat> for wire::PeerHeartbeat {
    fn from(h: Heartbeat) -> Self {
        wire::PeerHeartbeat {
            now_us: h.now.as_micros(),
            stamp: h.stamp.0,
            revision: h.revision,
            root: h.root,
            entries: h.entries,
            ready: h.ready,
            priority: h.priority,
            claims: h.claims,
            policies_revision: h.policies_revision,
        }
    }
}

impl TryFrom<wire::PeerDelta> for Delta {
    type Error = WireError;
    fn try_from(w: wire::PeerDelta) -> Result<Self, WireError> {
        bounded("delta.entries", w.entries.len() as u64, MAX_DELTA_ENTRIES as u64)?;
        let entries = w.entries.into_iter().map(Entry::try_from).collect::<Result<_, _>>()?;
        Ok(Delta { number: w.number, entries })
    }
}

impl From<Delta> for wire::PeerDelta {
    fn from(d: Delta) -> Self {
        wire::PeerDelta {
            number: d.number,
            entries: d.entries.iter().map(wire::Entry::from).collect(),
        }
    }
}

impl TryFrom<wire::PeerDigest> for Digest {
    type Error = WireError;
    fn try_from(w: wire::PeerDigest) -> Result<Self, WireError> {
        bounded("digest.buckets", w.buckets.len() as u64, BUCKETS as u64)?;
        if w.buckets.len() < BUCKETS {
            return Err(WireError::Missing("digest.buckets"));
        }
        Ok(Digest { round: w.round, buckets: w.buckets })
    }
}

impl TryFrom<wire::PeerSummary> for Summary {
    type Error = WireError;
    fn try_from(w: wire::PeerSummary) -> Result<Self, WireError> {
        bounded("summary.buckets", w.buckets.len() as u64, BUCKETS as u64)?;
        let hashes: usize = w.buckets.iter().map(|b| b.keys.len()).sum();
        bounded("summary.buckets[].keys", hashes as u64, MAX_HASHES as u64)?;
        let bucket = |b: wire::SummaryBucket| -> Result<SummaryBucket, WireError> {
            bounded("summary.buckets[].bucket", u64::from(b.bucket), BUCKETS as u64 - 1)?;
            if b.states.len() != b.keys.len() {
                return Err(WireError::Missing("summary.buckets[].states"));
            }
            Ok(SummaryBucket {
                bucket: b.bucket,
                entries: b.keys.into_iter().zip(b.states).collect(),
            })
        };
        Ok(Summary {
            round: w.round,
            parts: w.parts,
            part: w.part,
            buckets: w.buckets.into_iter().map(bucket).collect::<Result<_, _>>()?,
        })
    }
}

impl From<Summary> for wire::PeerSummary {
    fn from(s: Summary) -> Self {
        let bucket = |b: SummaryBucket| {
            let (keys, states) = b.entries.into_iter().unzip();
            wire::SummaryBucket { bucket: b.bucket, keys, states }
        };
        wire::PeerSummary {
            round: s.round,
            parts: s.parts,
            part: s.part,
            buckets: s.buckets.into_iter().map(bucket).collect(),
        }
    }
}

impl Entry {
    /// As the store keeps it.
    pub fn encode(&self) -> Bytes {
        Bytes::from(wire::Entry::from(self).encode_to_vec())
    }

    /// What [`Entry::encode`] wrote.
    ///
    /// # Errors
    /// [`WireError`] if the bytes are not a valid entry.
    pub fn decode(bytes: &[u8]) -> Result<Entry, WireError> {
        wire::Entry::decode(bytes).map_err(|_| WireError::Missing("entry"))?.try_into()
    }
}

#[cfg(test)]
mod tests;
