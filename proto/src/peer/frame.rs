//! Frames between two managers. Each makes sense by itself, whatever was lost before it.

use bytes::Bytes;

use super::{Entry, Stamp};
use crate::{
    counters::{Counters, CountersAsk},
    id::ManagerLife,
    time::Time,
};

/// First on every link: who speaks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerHello {
    /// The sender.
    pub life: ManagerLife,
    /// Version of its build.
    pub version: String,
}

/// How a manager is, each 200 ms.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Heartbeat {
    /// Manager time at the sender.
    pub now: Time,
    /// The latest stamp that it has seen.
    pub stamp: Stamp,
    /// Of its entries; grows with every change there.
    pub revision: u64,
    /// Digest of all its entries: equal ones mean equal entries.
    pub root: u64,
    /// How many entries it has.
    pub entries: u64,
    /// Whether it serves.
    pub ready: bool,
    /// Its priority for roles; lower goes first.
    pub priority: u32,
    /// The roles that it claims, in the roles' own encoding; at most
    /// [`MAX_CLAIMS`](super::MAX_CLAIMS) bytes.
    pub claims: Bytes,
    /// Of its policies as they are with `root`: its agents report it once they have them.
    pub policies_revision: u64,
}

/// Entries that changed. The receiver acknowledges the number once they are durable there.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Delta {
    /// Grows over the sender's life; 0 asks for no acknowledgement.
    pub number: u64,
    /// At most [`MAX_DELTA_ENTRIES`](super::MAX_DELTA_ENTRIES). A large register may come in parts.
    pub entries: Vec<Entry>,
}

/// A delta is durable, as far as it could be kept.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Ack {
    /// The delta's.
    pub number: u64,
    /// Hashes of the keys whose entries had no room; at most
    /// [`MAX_DELTA_ENTRIES`](super::MAX_DELTA_ENTRIES).
    pub refused: Vec<u64>,
}

/// Asks for a [`Summary`] of the buckets that differ.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Digest {
    /// Grows over the sender's life.
    pub round: u64,
    /// [`BUCKETS`](super::BUCKETS) digests.
    pub buckets: Vec<u64>,
}

/// The entries of some buckets that differ; an answer to a [`Digest`] has one or several.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Summary {
    /// Of the digest that it answers.
    pub round: u64,
    /// How many summaries answer that digest.
    pub parts: u32,
    /// Which one this is, from 0.
    pub part: u32,
    /// At most [`MAX_HASHES`](super::MAX_HASHES) entries in all.
    pub buckets: Vec<SummaryBucket>,
}

/// Every entry of one bucket, as (hash of its key, hash of its state), or a range of them.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SummaryBucket {
    /// Which one, below [`BUCKETS`](super::BUCKETS).
    pub bucket: u32,
    /// In ascending order of the key's hash.
    pub entries: Vec<(u64, u64)>,
}

/// What travels between two managers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PeerFrame {
    /// First on a link; for the shell.
    Hello(PeerHello),
    /// Each 200 ms.
    Heartbeat(Heartbeat),
    /// Entries.
    Delta(Delta),
    /// A delta is durable at the sender of this frame.
    Ack(Ack),
    /// Digests of all buckets.
    Digest(Digest),
    /// Answer to digests.
    Summary(Summary),
    /// Hashes of the keys whose entries the sender lacks or has otherwise; at most
    /// [`MAX_HASHES`](super::MAX_HASHES).
    Want(Vec<u64>),
    /// Asks for a piece of what the receiver knows of windows that go on; for the shell.
    AskCounters(CountersAsk),
    /// Answer to that; for the shell.
    Counters(Counters),
}
