//! How the rest of the program reaches the driver.

use super::*;

/// The driver is gone: the manager shuts down, or its task died.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the manager is shutting down")]
pub(crate) struct Stopped;

/// A handle on the driver; cheap to clone.
#[derive(Clone)]
pub(crate) struct Driver {
    commands: mpsc::Sender<Command>,
    /// In bytes; see [`FRAME_BYTES`].
    room: Arc<Semaphore>,
    streams: Arc<AtomicU64>,
    life: ManagerLife,
    started: Time,
}

impl Driver {
    pub(super) fn new(commands: mpsc::Sender<Command>, life: ManagerLife, started: Time) -> Self {
        let room = Arc::new(Semaphore::new(FRAME_BYTES as usize));
        Driver { commands, room, streams: Arc::new(AtomicU64::new(1)), life, started }
    }

    /// One whose commands wait until the test takes them.
    #[cfg(test)]
    pub(crate) fn unattended(life: ManagerLife) -> (Self, mpsc::Receiver<Command>) {
        let (commands, queue) = mpsc::channel(COMMANDS);
        (Driver::new(commands, life, Time::ZERO), queue)
    }

    /// A number for a new stream; never given twice.
    pub(crate) fn next_stream(&self) -> StreamId {
        StreamId(self.streams.fetch_add(1, Ordering::Relaxed))
    }

    /// This manager's name.
    pub(crate) fn id(&self) -> &ManagerId {
        &self.life.id
    }

    /// Which life of this manager it is.
    pub(crate) fn incarnation(&self) -> Incarnation {
        self.life.incarnation
    }

    /// When this life began, in manager time.
    pub(crate) fn started(&self) -> Time {
        self.started
    }

    /// Whether the driver takes commands.
    pub(crate) fn runs(&self) -> bool {
        !self.commands.is_closed()
    }

    /// Hands a command in; waits while the queue is full.
    pub(crate) async fn send(&self, command: Command) -> Result<(), Stopped> {
        self.commands.send(command).await.map_err(|_| Stopped)
    }

    /// Hands in a frame that takes so many bytes of memory; waits while the queue is full of commands or
    /// of bytes. Frames get in in the order in which they came, large or small.
    pub(crate) async fn send_frame(&self, input: Input, bytes: usize) -> Result<(), Stopped> {
        let bytes = bytes.saturating_add(size_of::<Command>());
        // A frame that is larger than all room has the room for itself.
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX).min(FRAME_BYTES);
        let room = Arc::clone(&self.room).acquire_many_owned(bytes).await.map_err(|_| Stopped)?;
        self.send(Command::Frame(input, room)).await
    }

    /// Bytes that frames may still take.
    #[cfg(test)]
    pub(crate) fn room(&self) -> usize {
        self.room.available_permits()
    }

    /// Runs `job` where the core is and returns what it returns.
    pub(crate) async fn with<R, F>(&self, job: F) -> Result<R, Stopped>
    where
        R: Send + 'static,
        F: FnOnce(&mut Manager, Time, &mut Vec<Output>) -> R + Send + 'static,
    {
        let (answer, result) = oneshot::channel();
        self.send(Command::With(Box::new(move |manager, now, outputs| {
            // Fails if the asker has gone; the job is done all the same.
            let _ = answer.send(job(manager, now, outputs));
        })))
        .await?;
        result.await.map_err(|_| Stopped)
    }

    /// Runs a `question`, which changes nothing, where the core is; not at all once the asker has gone. A few
    /// slow ones that nobody waits for any more would keep the driver from everything else.
    pub(crate) async fn ask<R, F>(&self, question: F) -> Result<R, Stopped>
    where
        R: Send + 'static,
        F: FnOnce(&mut Manager, Time, &mut Vec<Output>) -> R + Send + 'static,
    {
        let (answer, result) = oneshot::channel();
        self.send(Command::With(Box::new(move |manager, now, outputs| {
            if !answer.is_closed() {
                let _ = answer.send(question(manager, now, outputs));
            }
        })))
        .await?;
        result.await.map_err(|_| Stopped)
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;
    use weir_proto::{id::ManagerId, usage::UsageFrame};

    use super::*;

    fn driver() -> (Driver, mpsc::Receiver<Command>) {
        Driver::unattended(ManagerLife { id: ManagerId::new("tm-1").unwrap(), incarnation: 1 })
    }

    fn frame(seq: u64) -> Input {
        Input::Usage(StreamId(1), UsageFrame { seq, ..UsageFrame::default() })
    }

    fn seq(command: Option<Command>) -> Option<u64> {
        match command {
            Some(Command::Frame(Input::Usage(_, frame), _)) => Some(frame.seq),
            _ => None,
        }
    }

    #[test]
    fn large_frames_wait_for_room_and_get_in_in_order() {
        let (driver, mut queue) = driver();
        let bytes = 4 << 20;
        let mut sent = 0;
        while driver.send_frame(frame(sent), bytes).now_or_never().is_some() {
            sent += 1;
        }
        assert_eq!(sent, 15, "so many of 4 MiB and a header each fit into 64 MiB");
        let mut large = Box::pin(driver.send_frame(frame(sent), bytes));
        let mut small = Box::pin(driver.send_frame(frame(sent + 1), 1));
        assert!(large.as_mut().now_or_never().is_none());
        assert!(small.as_mut().now_or_never().is_none(), "it does not overtake");
        assert_eq!(seq(queue.try_recv().ok()), Some(0), "and leaves room");
        assert_eq!(large.now_or_never(), Some(Ok(())));
        assert_eq!(small.now_or_never(), Some(Ok(())));
        let rest: Vec<u64> = std::iter::from_fn(|| seq(queue.try_recv().ok())).collect();
        assert_eq!(rest, (1..=sent + 1).collect::<Vec<_>>(), "nothing is dropped");
    }

    #[test]
    fn many_small_frames_fill_the_queue_before_the_room() {
        let (driver, _queue) = driver();
        let mut sent = 0;
        while driver.send_frame(frame(sent), 1_000).now_or_never().is_some() {
            sent += 1;
        }
        assert_eq!(sent, COMMANDS as u64);
        let free = driver.room();
        assert!(free > FRAME_BYTES as usize / 2, "the one that waits gave its room back: {free}");
    }

    #[test]
    fn a_frame_beyond_all_room_gets_in_alone() {
        let (driver, mut queue) = driver();
        assert_eq!(driver.send_frame(frame(0), usize::MAX).now_or_never(), Some(Ok(())));
        assert_eq!(driver.send_frame(frame(1), 1).now_or_never(), None);
        assert_eq!(seq(queue.try_recv().ok()), Some(0));
        assert_eq!(driver.send_frame(frame(1), 1).now_or_never(), Some(Ok(())));
    }

    #[test]
    fn a_question_whose_asker_has_gone_is_not_asked() {
        let (driver, mut queue) = driver();
        let mut manager = Manager::new(CoreConfig::new(driver.life.clone()), Time::ZERO);
        for gone in [true, false] {
            let (tell, asked) = std::sync::mpsc::sync_channel(1);
            let mut waits = Box::pin(driver.ask(move |_, _, _| tell.send(()).is_ok()));
            assert_eq!(waits.as_mut().now_or_never(), None);
            let waits = (!gone).then_some(waits);
            let Ok(Command::With(job)) = queue.try_recv() else { panic!("no job") };
            job(&mut manager, Time::ZERO, &mut Vec::new());
            assert_eq!(asked.try_recv().is_err(), gone);
            assert_eq!(waits.and_then(FutureExt::now_or_never), (!gone).then_some(Ok(true)));
        }
    }

    #[test]
    fn whoever_waits_hears_of_the_end() {
        let (driver, queue) = driver();
        assert_eq!(driver.send_frame(frame(0), usize::MAX).now_or_never(), Some(Ok(())));
        let mut waits = Box::pin(driver.send_frame(frame(1), 1));
        assert_eq!(waits.as_mut().now_or_never(), None);
        drop(queue);
        assert_eq!(waits.now_or_never(), Some(Err(Stopped)));
    }
}
