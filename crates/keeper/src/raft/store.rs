//! openraft's log on our log: one thread writes, everybody reads from memory.
//!
//! Prevents a promise before its time: openraft hears that something is durable after the flush
//! that made it so, and not from anybody else. All that waits when the thread is ready goes into
//! one flush; nothing waits for company.

use std::collections::VecDeque;
use std::fmt::Debug;
use std::io;
use std::ops::{Bound, RangeBounds};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use openraft::alias::{EntryOf, LogIdOf, VoteOf};
use openraft::storage::{IOFlushed, RaftLogStorage};
use openraft::{EntryPayload, LogState, OptionalSend, RaftLogReader};
use tokio::sync::{mpsc, oneshot};
use tokio::time::sleep;

use super::engine::{self, Engine};
use crate::disk::Disk;
use crate::inspection::{HeldEntry, Inspection};
use crate::log::{EntryKind, Log, LogError, LogId, Record, Recovered, Vote};
use crate::planted::{self, Bug};
use crate::process;

/// Jobs in one flush: what a leader has in flight at most, and a bound for the memory of it.
const JOBS_MAX: usize = 1_024;

/// Bytes of entries that are read at once, but for the last of them: what one message holds.
const READ_BYTES_MAX: usize = 2 * 1_024 * 1_024;

/// How long the thread waits for room, when the disk is full, before it tries again.
const FULL_PAUSE: Duration = Duration::from_millis(200);

/// The log, as openraft sees it. Clones are the same log.
#[derive(Clone, Debug)]
pub(crate) struct Store {
    memory: Arc<Mutex<Memory>>,
    asked: Arc<AtomicU64>,
    done: Arc<AtomicU64>,
    jobs: mpsc::UnboundedSender<Job>,
}

/// What was to be made durable since the start, and what was.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Flushes {
    pub(crate) asked: u64,
    pub(crate) done: u64,
}

/// The thread of a log.
#[derive(Debug)]
pub(crate) struct Writing {
    /// Closed when the thread has ended and the disk is free.
    ended: oneshot::Receiver<()>,
    stopping: Arc<AtomicBool>,
}

impl Writing {
    /// Waits until the thread has ended, which it does when the log's last clone is dropped. What
    /// waits for room on the disk then waits in vain.
    pub(crate) async fn ended(self) {
        self.stopping.store(true, Ordering::Relaxed);
        // The thread never sends anything.
        drop(self.ended.await);
    }
}

/// What was appended, durable or not.
#[derive(Debug, Default)]
struct Memory {
    vote: Option<Vote>,
    /// The last vote that was made durable.
    promised: Option<Vote>,
    committed: Option<LogId>,
    /// What the next flush shall say is committed.
    committed_unsaid: Option<LogId>,
    purged: Option<LogId>,
    entries: VecDeque<EntryOf<Engine>>,
    /// Bytes in `entries`.
    entry_bytes: usize,
    /// Bytes of entries since the start, also of those that are gone.
    appended_bytes: u64,
    /// The disk is full, and nothing is made durable.
    full: bool,
}

/// Something to be made durable, and who waits for it.
struct Job {
    words: Vec<Word>,
    waits: Waits,
}

/// A record that owns what it says.
enum Word {
    Vote(Vote),
    Entry(LogId, EntryKind, Arc<[u8]>),
    Truncate { from: u64 },
    Purge(LogId),
    Committed(LogId),
}

enum Waits {
    Engine(IOFlushed<Engine>),
    Caller(oneshot::Sender<io::Result<()>>),
    Nobody,
}

impl Store {
    /// The log with what was recovered of it. The thread ends when the last clone is dropped.
    ///
    /// # Errors
    ///
    /// When the thread cannot be started, or entries make no sense.
    pub(crate) fn start<D: Disk + Debug>(
        log: Log<D>,
        recovered: &Recovered,
    ) -> io::Result<(Self, Writing)> {
        let entries: Result<VecDeque<_>, _> = recovered
            .entries
            .iter()
            .map(engine::to_stored_entry)
            .collect();
        let entries = entries.map_err(io::Error::other)?;
        let memory = Memory {
            vote: recovered.vote,
            committed: recovered.committed,
            purged: recovered.purged,
            entry_bytes: entries.iter().map(bytes_of).sum(),
            entries,
            ..Memory::default()
        };
        let memory = Arc::new(Mutex::new(memory));
        let (jobs, waiting) = mpsc::unbounded_channel();
        let stopping = Arc::new(AtomicBool::new(false));
        let (running, ended) = oneshot::channel();
        let (asked, done) = (Arc::default(), Arc::default());
        let mut writer = Writer {
            log,
            done: Arc::clone(&done),
            memory: Arc::clone(&memory),
            stopping: Arc::clone(&stopping),
        };
        process::apart("keeper-log", async move {
            writer.write(waiting).await;
            drop(writer);
            drop::<oneshot::Sender<()>>(running);
        })?;
        let store = Self {
            memory,
            asked,
            done,
            jobs,
        };
        Ok((store, Writing { ended, stopping }))
    }

    /// Whether the disk is full, so that nothing is made durable.
    pub(crate) fn is_full(&self) -> bool {
        self.memory().full
    }

    /// What was to be made durable, and what was.
    pub(crate) fn flushes(&self) -> Flushes {
        // What is done was asked before, so this order gives no more done than asked.
        let done = self.done.load(Ordering::Acquire);
        let asked = self.asked.load(Ordering::Acquire);
        Flushes { asked, done }
    }

    /// The index of the last entry, durable or not; zero when there was none.
    pub(crate) fn last_index(&self) -> u64 {
        let memory = self.memory();
        let last = memory.entries.back().map(|entry| entry.log_id.index());
        let purged = memory.purged.map(|purged| purged.index);
        last.or(purged).unwrap_or_default()
    }

    /// Bytes of entries that were appended since the start.
    pub(crate) fn appended_bytes(&self) -> u64 {
        self.memory().appended_bytes
    }

    /// The last index that may go so that at most `kept_bytes` of entries are kept; `None` when
    /// there are no more than that.
    pub(crate) fn last_to_purge(&self, kept_bytes: usize) -> Option<u64> {
        let memory = self.memory();
        if memory.entry_bytes <= kept_bytes {
            return None;
        }
        let mut bytes = 0;
        let newest_first = memory.entries.iter().rev();
        let mut gone = newest_first.skip_while(|entry| {
            bytes += bytes_of(entry);
            bytes <= kept_bytes
        });
        gone.next().map(|entry| entry.log_id.index())
    }

    /// What is held, with entries from the index `from`.
    pub(crate) fn inspect(&self, from: u64) -> Inspection {
        let memory = self.memory();
        let held = |entry: &EntryOf<Engine>| {
            let (kind, content) = engine::content_of(entry);
            let id = engine::id_of(&entry.log_id);
            HeldEntry { id, kind, content }
        };
        Inspection {
            vote: memory.vote,
            promised: memory.promised,
            committed: memory.committed,
            purged: memory.purged,
            entries: memory
                .entries
                .iter()
                .skip(memory.place(from))
                .map(held)
                .collect(),
            ..Inspection::default()
        }
    }

    fn memory(&self) -> MutexGuard<'_, Memory> {
        lock(&self.memory)
    }

    fn send(&self, words: Vec<Word>, waits: Waits) -> io::Result<()> {
        self.asked.fetch_add(1, Ordering::AcqRel);
        self.jobs
            .send(Job { words, waits })
            .map_err(|_gone| io::Error::other("the thread of the log has ended"))
    }

    async fn flush(&self, words: Vec<Word>) -> io::Result<()> {
        let (done, wait) = oneshot::channel();
        self.send(words, Waits::Caller(done))?;
        wait.await
            .unwrap_or_else(|_gone| Err(io::Error::other("the thread of the log has ended")))
    }
}

fn lock(memory: &Mutex<Memory>) -> MutexGuard<'_, Memory> {
    memory.lock().unwrap_or_else(PoisonError::into_inner)
}

fn bytes_of(entry: &EntryOf<Engine>) -> usize {
    /// What an entry costs besides its content.
    const OVERHEAD: usize = 64;
    match &entry.payload {
        EntryPayload::Normal(payload) => payload.0.len() + OVERHEAD,
        EntryPayload::Blank | EntryPayload::Membership(_) => OVERHEAD,
    }
}

/// What the thread works with.
struct Writer<D: Disk> {
    log: Log<D>,
    done: Arc<AtomicU64>,
    memory: Arc<Mutex<Memory>>,
    stopping: Arc<AtomicBool>,
}

impl<D: Disk> Writer<D> {
    /// Takes all that waits, flushes it, tells who waited.
    async fn write(&mut self, mut waiting: mpsc::UnboundedReceiver<Job>) {
        let mut jobs = Vec::new();
        while waiting.recv_many(&mut jobs, JOBS_MAX).await > 0 {
            let committed = lock(&self.memory).committed_unsaid.take();
            let committed = committed.map(Word::Committed);
            let words = jobs.iter().flat_map(|job| &job.words).chain(&committed);
            let records: Vec<Record<'_>> = words.map(Word::as_record).collect();
            let result = self.flush(&records).await.map_err(as_io);
            self.done.fetch_add(jobs.len() as u64, Ordering::AcqRel);
            for job in jobs.drain(..) {
                job.waits.tell(&result);
            }
        }
    }

    /// Flushes; waits for room when there is none. A full disk harmed nothing: the member promises
    /// nothing new meanwhile, and goes on when there is room again.
    async fn flush(&mut self, records: &[Record<'_>]) -> Result<(), LogError> {
        loop {
            let done = self.log.flush(records);
            process::passed().await;
            let full = matches!(done, Err(LogError::Full));
            lock(&self.memory).full = full;
            if !full || self.stopping.load(Ordering::Relaxed) {
                return done;
            }
            sleep(FULL_PAUSE).await;
        }
    }
}

fn as_io(error: LogError) -> io::Error {
    let kind = match &error {
        LogError::Full => io::ErrorKind::StorageFull,
        LogError::Disk(_, _, error) => error.kind(),
        LogError::Broken(_) | LogError::Damaged { .. } => io::ErrorKind::Other,
    };
    io::Error::new(kind, error)
}

impl Waits {
    fn tell(self, result: &io::Result<()>) {
        let result = result
            .as_ref()
            .copied()
            .map_err(|error| io::Error::new(error.kind(), error.to_string()));
        match self {
            Self::Engine(flushed) => flushed.io_completed(result),
            // Who does not wait any more does not need to hear.
            Self::Caller(done) => drop(done.send(result)),
            Self::Nobody => {},
        }
    }
}

impl Word {
    fn as_record(&self) -> Record<'_> {
        match self {
            Self::Vote(vote) => Record::Vote(*vote),
            Self::Entry(id, kind, payload) => Record::Entry {
                id: *id,
                kind: *kind,
                payload,
            },
            Self::Truncate { from } => Record::Truncate { from: *from },
            Self::Purge(id) => Record::Purge(*id),
            Self::Committed(id) => Record::Committed(*id),
        }
    }
}

impl Memory {
    /// Where in `entries` the entry `index` is, or would be.
    fn place(&self, index: u64) -> usize {
        let first = self.entries.front().map_or(0, |entry| entry.log_id.index());
        usize::try_from(index.saturating_sub(first)).unwrap_or(usize::MAX)
    }
}

impl RaftLogReader<Engine> for Store {
    async fn try_get_log_entries<R: RangeBounds<u64> + Clone + Debug + OptionalSend>(
        &mut self,
        range: R,
    ) -> io::Result<Vec<EntryOf<Engine>>> {
        let memory = self.memory();
        let start = match range.start_bound() {
            Bound::Included(&index) => index,
            Bound::Excluded(&index) => index + 1,
            Bound::Unbounded => 0,
        };
        let wanted = memory.entries.iter().skip(memory.place(start));
        let found = wanted.take_while(|entry| range.contains(&entry.log_id.index()));
        Ok(found.cloned().collect())
    }

    async fn limited_get_log_entries(
        &mut self,
        start: u64,
        end: u64,
    ) -> io::Result<Vec<EntryOf<Engine>>> {
        let memory = self.memory();
        let mut bytes = 0;
        let wanted = memory.entries.iter().skip(memory.place(start));
        let found = wanted.take_while(|entry| {
            let fits = bytes < READ_BYTES_MAX && (start..end).contains(&entry.log_id.index());
            bytes += bytes_of(entry);
            fits
        });
        Ok(found.cloned().collect())
    }

    async fn read_vote(&mut self) -> io::Result<Option<VoteOf<Engine>>> {
        Ok(self.memory().vote.map(engine::to_vote))
    }
}

impl RaftLogStorage<Engine> for Store {
    type LogReader = Self;

    async fn get_log_state(&mut self) -> io::Result<LogState<Engine>> {
        let memory = self.memory();
        let purged = memory.purged.map(engine::to_id);
        let last = memory.entries.back().map(|entry| entry.log_id);
        Ok(LogState {
            last_log_id: last.or(purged),
            last_purged_log_id: purged,
        })
    }

    async fn get_log_reader(&mut self) -> Self {
        self.clone()
    }

    async fn save_vote(&mut self, vote: &VoteOf<Engine>) -> io::Result<()> {
        let vote = engine::vote_of(vote);
        self.memory().vote = Some(vote);
        if planted::is(Bug::VoteNotPersisted) {
            self.memory().promised = Some(vote);
            return Ok(());
        }
        self.flush(vec![Word::Vote(vote)]).await?;
        self.memory().promised = Some(vote);
        Ok(())
    }

    async fn save_committed(&mut self, committed: Option<LogIdOf<Engine>>) -> io::Result<()> {
        // Saves a replay after a start, no promise: it goes with the next flush.
        let mut memory = self.memory();
        memory.committed = committed.as_ref().map(engine::id_of);
        memory.committed_unsaid = memory.committed;
        Ok(())
    }

    async fn read_committed(&mut self) -> io::Result<Option<LogIdOf<Engine>>> {
        Ok(self.memory().committed.map(engine::to_id))
    }

    async fn append<I>(&mut self, entries: I, flushed: IOFlushed<Engine>) -> io::Result<()>
    where
        I: IntoIterator<Item = EntryOf<Engine>> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let mut words = Vec::new();
        let mut memory = self.memory();
        for entry in entries {
            let (kind, content) = engine::content_of(&entry);
            words.push(Word::Entry(engine::id_of(&entry.log_id), kind, content));
            let bytes = bytes_of(&entry);
            memory.entry_bytes += bytes;
            memory.appended_bytes += bytes as u64;
            memory.entries.push_back(entry);
        }
        drop(memory);
        self.send(words, Waits::Engine(flushed))
    }

    async fn truncate_after(&mut self, last: Option<LogIdOf<Engine>>) -> io::Result<()> {
        let from = last.map_or(0, |last| last.index() + 1);
        {
            let mut memory = self.memory();
            let place = memory.place(from).min(memory.entries.len());
            let gone: usize = memory
                .entries
                .drain(place..)
                .map(|entry| bytes_of(&entry))
                .sum();
            memory.entry_bytes -= gone;
        }
        self.flush(vec![Word::Truncate { from }]).await
    }

    async fn purge(&mut self, last: LogIdOf<Engine>) -> io::Result<()> {
        let id = engine::id_of(&last);
        {
            let mut memory = self.memory();
            memory.purged = Some(id);
            let mut place = memory.place(id.index + 1).min(memory.entries.len());
            if planted::is(Bug::SnapshotOverNewerLog) {
                place = memory.entries.len();
            }
            let gone: usize = memory
                .entries
                .drain(..place)
                .map(|entry| bytes_of(&entry))
                .sum();
            memory.entry_bytes -= gone;
        }
        self.send(vec![Word::Purge(id)], Waits::Nobody)
    }
}
