//! What a leader does with the batches that came to it: entries of the log.
//!
//! Prevents one entry, one flush and one round of messages per request: all batches that wait when
//! an entry may be written go into it, and each entry is written as soon as it may be.

use std::sync::{Arc, Mutex, PoisonError};

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use mainstay_zk_proto::jute::Jute as _;
use openraft::Raft;
use openraft::impls::ProgressResponder;
use tokio::sync::{Notify, oneshot};

use super::engine::{Engine, Payload};
use super::machine::Machine;
use crate::disk::SharedDisk;
use crate::proposal::Entry;

/// Entries under way. More would make them smaller, not faster.
const ENTRIES_MAX: usize = 2;

/// A second entry goes at once beside one that is shorter: few ask, and nobody shall wait for
/// another's flush.
const SHORT_BYTES: usize = 4 * 1_024;

/// Beside a longer one it goes when so much waits. Less goes into the next entry, which takes half
/// of the flushes and messages where many ask.
const MUCH_BYTES: usize = 16 * 1_024;

/// No entry gets longer, but by its last batch.
const ENTRY_BYTES_MAX: usize = 1_024 * 1_024;

/// Bytes of batches that wait beyond which no more are taken: members send a few at a time, of which
/// each is at most a little longer than an entry.
const WAITING_BYTES_MAX: usize = 64 * 1_024 * 1_024;

/// Where in the log a batch went; `None` when this member did not write it, or does not know.
pub(super) type Fate = Option<u64>;

/// The batches that wait.
#[derive(Debug, Default)]
pub(super) struct Scribe {
    waiting: Mutex<Vec<Waiting>>,
    submitted: Notify,
}

#[derive(Debug)]
struct Waiting {
    batch: Arc<[u8]>,
    told: oneshot::Sender<Fate>,
}

impl Scribe {
    /// A batch for the log, behind those that were submitted before.
    pub(super) fn submit(&self, batch: Arc<[u8]>) -> oneshot::Receiver<Fate> {
        let (told, fate) = oneshot::channel();
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let bytes: usize = waiting.iter().map(|one| one.batch.len()).sum();
        if bytes > WAITING_BYTES_MAX {
            // Whoever asked keeps it, and tries again.
            return fate;
        }
        waiting.push(Waiting { batch, told });
        drop(waiting);
        self.submitted.notify_one();
        fate
    }

    /// Whether an entry may begin beside those under way, how many and of how many bytes.
    fn may_begin(&self, entries: usize, bytes: usize) -> bool {
        match entries {
            0 => true,
            ENTRIES_MAX.. => false,
            _ => bytes < SHORT_BYTES || self.waiting_bytes() >= MUCH_BYTES,
        }
    }

    fn waiting_bytes(&self) -> usize {
        let waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.iter().map(|one| one.batch.len()).sum()
    }

    /// As many of those that wait as one entry takes.
    fn take(&self) -> Vec<Waiting> {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let mut bytes = 0;
        let fits = waiting.iter().take_while(|one| {
            let fits = bytes < ENTRY_BYTES_MAX;
            bytes += one.batch.len();
            fits
        });
        let count = fits.count();
        waiting.drain(..count).collect()
    }

    /// Writes entries, until it is dropped.
    pub(super) async fn write<D: SharedDisk>(
        self: Arc<Self>,
        raft: Raft<Engine, Machine<D>>,
        (time_ms, enforce_quota): (fn() -> i64, bool),
    ) {
        let mut entries = FuturesUnordered::new();
        let mut under_way = 0;
        loop {
            while self.may_begin(entries.len(), under_way)
                && let Some((bytes, entry)) = self.begin(&raft, (time_ms, enforce_quota)).await
            {
                under_way += bytes;
                entries.push(entry);
            }
            tokio::select! {
                () = self.submitted.notified(), if entries.len() < ENTRIES_MAX => {},
                Some(bytes) = entries.next() => under_way -= bytes,
            }
        }
    }

    /// Writes an entry of what waits, and says how long it is; the future tells those who submitted it
    /// what became of it, and says so again.
    async fn begin<D: SharedDisk>(
        &self,
        raft: &Raft<Engine, Machine<D>>,
        (time_ms, enforce_quota): (fn() -> i64, bool),
    ) -> Option<(usize, impl Future<Output = usize> + Send + use<D>)> {
        let waiting = self.take();
        if waiting.is_empty() {
            return None;
        }
        let (responder, written) = ProgressResponder::complete_only();
        // When it fails, the responder is dropped, which says so.
        let payload = entry(&waiting, time_ms(), enforce_quota);
        let bytes = payload.0.len();
        drop(raft.client_write_ff(payload, Some(responder)).await);
        let told = async move {
            let fate = match written.await {
                Ok(Ok(written)) => Some(written.log_id.index()),
                Ok(Err(_)) | Err(_) => None,
            };
            for one in waiting {
                // Who does not wait any more does not need to hear.
                one.told.send(fate).ok();
            }
            bytes
        };
        Some((bytes, told))
    }
}

fn entry(waiting: &[Waiting], time_ms: i64, enforce_quota: bool) -> Payload {
    let entry = Entry {
        time_ms,
        enforce_quota,
        batches: waiting.iter().map(|one| &*one.batch).collect(),
    };
    let mut bytes = Vec::new();
    entry.write(&mut bytes);
    Payload(bytes.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn when_too_much_waits_a_batch_is_refused_and_nothing_of_it_is_kept() {
        let scribe = Scribe::default();
        let batch: Arc<[u8]> = vec![0; 1_024 * 1_024].into();
        let mut waiting: Vec<oneshot::Receiver<Fate>> = Vec::new();
        while waiting.last_mut().is_none_or(is_waiting) {
            waiting.push(scribe.submit(Arc::clone(&batch)));
            assert!(waiting.len() <= 66, "it is bounded");
        }
        assert_eq!(
            waiting.len(),
            66,
            "64 MiB, and one that goes beyond, and one too many"
        );
        assert_eq!(scribe.take().len(), 1, "an entry holds as much");
        assert!(is_waiting(&mut scribe.submit(batch)), "there is room again");
    }

    #[test]
    fn a_second_entry_waits_while_a_long_one_is_under_way_and_little_waits() {
        let scribe = Scribe::default();
        let submit = |bytes: usize| drop(scribe.submit(vec![0; bytes].into()));
        submit(100);
        assert!(scribe.may_begin(0, 0));
        assert!(scribe.may_begin(1, SHORT_BYTES - 1), "few ask");
        assert!(!scribe.may_begin(1, SHORT_BYTES));
        submit(MUCH_BYTES);
        assert!(scribe.may_begin(1, SHORT_BYTES), "many ask");
        assert!(!scribe.may_begin(2, 0));
    }

    fn is_waiting(fate: &mut oneshot::Receiver<Fate>) -> bool {
        fate.try_recv() == Err(oneshot::error::TryRecvError::Empty)
    }
}
