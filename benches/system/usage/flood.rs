//! Reports as fast as a manager takes them, on one stream, as an agent writes them.

use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Channel;
use weir_benches::traffic::{Random, key, parts};
use weir_proto::{
    key::CounterKey,
    time::WindowStart,
    usage::{EntryWriter, KeyId, NameWriter, UsageEntry},
    wire::weir::v1::{AgentIdentity, UsageFrame, usage_client::UsageClient},
};

use crate::{
    Failure,
    process::{Manager, cpu_of_process},
};

/// How long the manager is watched.
const WATCH: Duration = Duration::from_secs(4);
/// Different frames; they are sent in turn, under new stamps.
const FRAMES: usize = 64;
/// Frames that wait for the network.
const QUEUE: usize = 16;

/// What it cost.
pub(crate) struct Flood {
    pub(crate) entries: u64,
    pub(crate) wall: Duration,
    pub(crate) manager: Duration,
    pub(crate) sender: Duration,
}

fn id(n: usize) -> Result<KeyId, Failure> {
    Ok(KeyId::try_from(n)?)
}

/// The window of one hour that is now, as the policy has it.
fn window() -> WindowStart {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    WindowStart(now.unwrap_or_default().as_secs() / 3_600 * 3_600)
}

/// Names all counters.
fn naming(counters: usize) -> Result<Vec<UsageFrame>, Failure> {
    let mut frames = Vec::new();
    for first in (0..counters).step_by(4_000) {
        let (mut names, mut entries) = (NameWriter::default(), EntryWriter::default());
        for n in first..counters.min(first + 4_000) {
            let text = key(n);
            let (tenant, route, user) = parts(&text);
            let limit = "requests/1h/fixed_window";
            names.push(id(n)?, &CounterKey::new("per-user", limit, &[tenant, route, user])?);
            entries.push(&UsageEntry { key: id(n)?, window: window(), used: 1, rejected: 0 });
        }
        let (names, entries) = (names.finish(), entries.finish());
        frames.push(UsageFrame { names, entries, ..UsageFrame::default() });
    }
    let life = AgentIdentity { id: "gw-flood".to_owned(), incarnation: 1, ..Default::default() };
    frames[0].identity = Some(life);
    Ok(frames)
}

/// Entries about counters in any order.
fn reports(counters: usize, per_frame: usize) -> Result<Vec<Bytes>, Failure> {
    let mut random = Random::new(7);
    let mut frame = |round: u64| -> Result<Bytes, Failure> {
        let mut entries = EntryWriter::default();
        for _ in 0..per_frame {
            let key = id(random.below(counters))?;
            entries.push(&UsageEntry { key, window: window(), used: 2 + round, rejected: 0 });
        }
        Ok(entries.finish())
    };
    (0..FRAMES as u64).map(&mut frame).collect()
}

/// Names the counters, then reports on them for [`WATCH`].
pub(crate) async fn run(
    manager: &Manager,
    counters: usize,
    per_frame: usize,
) -> Result<Flood, Failure> {
    let (naming, reports) = (naming(counters)?, reports(counters, per_frame)?);
    let (frames, outbound) = mpsc::channel(QUEUE);
    let mut client = UsageClient::new(Channel::from_shared(manager.url())?.connect().await?);
    let mut acks = client.report(ReceiverStream::new(outbound)).await?.into_inner();
    let reader = tokio::spawn(async move { while let Ok(Some(_)) = acks.message().await {} });
    let mut seq = 0;
    let mut send = async |mut frame: UsageFrame| {
        seq += 1;
        frame.seq = seq;
        frames.send(frame).await.map_err(|_| "the manager ended the stream")
    };
    for frame in naming {
        send(frame).await?;
    }
    while manager.entries()? < counters as u64 {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let (before, cpu, own) = (manager.entries()?, manager.cpu()?, cpu_of_process()?);
    let begun = Instant::now();
    while begun.elapsed() < WATCH {
        for entries in &reports {
            send(UsageFrame { entries: entries.clone(), ..UsageFrame::default() }).await?;
        }
    }
    let wall = begun.elapsed();
    let flood = Flood {
        entries: manager.entries()? - before,
        wall,
        manager: manager.cpu()?.saturating_sub(cpu),
        sender: cpu_of_process()?.saturating_sub(own),
    };
    drop(frames);
    reader.await?;
    Ok(flood)
}
