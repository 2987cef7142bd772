//! What this member proposed and has not applied yet.
//!
//! Prevents a proposal that is lost when leaders change: it stays here until this member applied it
//! itself. Proposals gather while as many batches as may be are under way, so that a batch is as
//! large as the load makes it, and nobody lingers for company.
//!
//! Always holds: batches are in the order of their operations' numbers, without a gap; those before
//! `unsent` were sent since the last [`rewind`](Outbox::rewind).

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use mainstay_zk_proto::jute::Jute as _;
use tokio::sync::Notify;

use crate::proposal::{Batch, Operation, Origin};
use crate::replica::Proposal;

/// No batch gets longer, but by its last operation.
const BATCH_BYTES_MAX: usize = 1_024 * 1_024;

/// Bytes that wait beyond which clients are refused: a leader is away, or cannot keep up.
const BYTES_MAX: usize = 64 * 1_024 * 1_024;

/// What this member proposed.
#[derive(Debug)]
pub(super) struct Outbox {
    origin: Origin,
    pending: Mutex<Pending>,
    /// Bytes in its batches.
    bytes: AtomicUsize,
    /// Something was proposed.
    pub(super) proposed: Notify,
}

#[derive(Debug)]
struct Pending {
    /// The last number that was given.
    sequence: i64,
    /// A batch in the making, in its encoding.
    gathering: Vec<u8>,
    /// Operations in it.
    gathered: i32,
    batches: VecDeque<Sealed>,
    unsent: usize,
}

#[derive(Debug)]
struct Sealed {
    /// The number of its last operation.
    last: i64,
    bytes: Arc<[u8]>,
}

impl Outbox {
    pub(super) fn new(origin: Origin) -> Self {
        Self {
            origin,
            pending: Mutex::new(Pending {
                sequence: 0,
                gathering: Vec::new(),
                gathered: 0,
                batches: VecDeque::new(),
                unsent: 0,
            }),
            bytes: AtomicUsize::new(0),
            proposed: Notify::new(),
        }
    }

    pub(super) const fn origin(&self) -> Origin {
        self.origin
    }

    fn pending(&self) -> MutexGuard<'_, Pending> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a proposal; `register` hears its number.
    pub(super) fn propose(&self, proposal: Proposal<'_>, register: &mut dyn FnMut(i64)) {
        let mut pending = self.pending();
        pending.sequence += 1;
        register(pending.sequence);
        let operation = Operation {
            sequence: pending.sequence,
            session: proposal.session,
            identities: proposal.identities,
            action: proposal.action,
        };
        if pending.gathered == 0 {
            let empty = Batch {
                origin: self.origin,
                operations: Vec::new(),
            };
            empty.write(&mut pending.gathering);
        }
        operation.write(&mut pending.gathering);
        pending.gathered += 1;
        if pending.gathering.len() >= BATCH_BYTES_MAX {
            self.seal(&mut pending);
        }
        drop(pending);
        self.proposed.notify_one();
    }

    /// Whether more may be proposed for clients.
    pub(super) fn has_room(&self) -> bool {
        self.bytes.load(Ordering::Relaxed) < BYTES_MAX
    }

    /// The next batch to send.
    pub(super) fn next(&self) -> Option<Arc<[u8]>> {
        let mut pending = self.pending();
        if pending.unsent == pending.batches.len() && pending.gathered > 0 {
            self.seal(&mut pending);
        }
        let batch = pending.batches.get(pending.unsent)?;
        let bytes = Arc::clone(&batch.bytes);
        pending.unsent += 1;
        Some(bytes)
    }

    /// All that was not applied is to be sent again.
    pub(super) fn rewind(&self) {
        self.pending().unsent = 0;
    }

    /// Batches that were sent since the last [`rewind`](Self::rewind) and not applied here.
    pub(super) fn unapplied(&self) -> usize {
        self.pending().unsent
    }

    /// Operations up to `sequence` were applied here.
    pub(super) fn applied(&self, sequence: i64) {
        let mut pending = self.pending();
        while let Some(oldest) = pending.batches.front()
            && oldest.last <= sequence
        {
            self.bytes.fetch_sub(oldest.bytes.len(), Ordering::Relaxed);
            pending.batches.pop_front();
            pending.unsent = pending.unsent.saturating_sub(1);
        }
    }

    /// What gathered becomes a batch.
    fn seal(&self, pending: &mut Pending) {
        // Behind the origin: how many operations follow.
        const COUNT: std::ops::Range<usize> = 16..20;
        pending.gathering[COUNT].copy_from_slice(&pending.gathered.to_be_bytes());
        let sealed = Sealed {
            last: pending.sequence,
            bytes: Arc::from(&*pending.gathering),
        };
        self.bytes.fetch_add(sealed.bytes.len(), Ordering::Relaxed);
        pending.batches.push_back(sealed);
        pending.gathering.clear();
        pending.gathered = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proposal::Action;

    fn propose(outbox: &Outbox) -> i64 {
        let mut number = 0;
        let proposal = Proposal {
            session: 7,
            identities: Vec::new(),
            action: Action::Close,
        };
        outbox.propose(proposal, &mut |sequence| number = sequence);
        number
    }

    fn sequences(bytes: Option<Arc<[u8]>>) -> Vec<i64> {
        let bytes = bytes.expect("there is a batch");
        let batch = Batch::read(&bytes).expect("well-formed");
        batch.operations.iter().map(|one| one.sequence).collect()
    }

    #[test]
    fn what_gathered_is_sent_again_in_order_until_it_was_applied() {
        let outbox = Outbox::new(Origin {
            member: 1,
            incarnation: 1,
        });
        assert_eq!(outbox.next(), None);
        assert_eq!([propose(&outbox), propose(&outbox)], [1, 2]);
        assert_eq!(sequences(outbox.next()), [1, 2]);
        propose(&outbox);
        assert_eq!(sequences(outbox.next()), [3]);
        assert_eq!(outbox.next(), None);

        outbox.rewind();
        propose(&outbox);
        assert_eq!(sequences(outbox.next()), [1, 2]);
        outbox.applied(2);
        assert_eq!(outbox.unapplied(), 0, "nothing else was sent since");
        assert_eq!(sequences(outbox.next()), [3]);
        outbox.applied(2);
        assert_eq!(outbox.unapplied(), 1, "3 was sent and not applied");
        assert_eq!(sequences(outbox.next()), [4]);
    }

    #[test]
    fn when_too_much_waits_there_is_no_room_until_it_was_applied() {
        let outbox = Outbox::new(Origin {
            member: 1,
            incarnation: 1,
        });
        let body = vec![0; BATCH_BYTES_MAX];
        let mut last = 0;
        while outbox.has_room() {
            let action = Action::Request {
                opcode: mainstay_zk_proto::Opcode::SetData,
                body: &body,
            };
            let proposal = Proposal {
                session: 7,
                identities: Vec::new(),
                action,
            };
            outbox.propose(proposal, &mut |sequence| last = sequence);
            assert!(last <= 64, "it is bounded");
        }
        assert_eq!(last, 64);
        outbox.applied(last - 1);
        assert!(outbox.has_room());
        outbox.applied(last);
        assert_eq!(outbox.bytes.load(Ordering::Relaxed), 0);
    }
}
