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
        loop {
            while entries.len() < ENTRIES_MAX
                && let Some(entry) = self.begin(&raft, (time_ms, enforce_quota)).await
            {
                entries.push(entry);
            }
            tokio::select! {
                () = self.submitted.notified(), if entries.len() < ENTRIES_MAX => {},
                Some(()) = entries.next() => {},
            }
        }
    }

    /// Writes an entry of what waits; the future tells those who submitted it what became of it.
    async fn begin<D: SharedDisk>(
        &self,
        raft: &Raft<Engine, Machine<D>>,
        (time_ms, enforce_quota): (fn() -> i64, bool),
    ) -> Option<impl Future<Output = ()> + Send + use<D>> {
        let waiting = self.take();
        if waiting.is_empty() {
            return None;
        }
        let (responder, written) = ProgressResponder::complete_only();
        // When it fails, the responder is dropped, which says so.
        let payload = entry(&waiting, time_ms(), enforce_quota);
        drop(raft.client_write_ff(payload, Some(responder)).await);
        Some(async move {
            let fate = match written.await {
                Ok(Ok(written)) => Some(written.log_id.index()),
                Ok(Err(_)) | Err(_) => None,
            };
            for one in waiting {
                // Who does not wait any more does not need to hear.
                one.told.send(fate).ok();
            }
        })
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

    fn is_waiting(fate: &mut oneshot::Receiver<Fate>) -> bool {
        fate.try_recv() == Err(oneshot::error::TryRecvError::Empty)
    }
}
