//! A replica that answers when it is told to: what is under way stays so for as long as a claim needs.

use super::*;

/// A member whose proposals wait until they are let through.
pub(super) struct Held {
    pub(super) state: RwLock<State>,
    pub(super) is_choked: AtomicBool,
    pub(super) is_led: AtomicBool,
    /// How long who leads takes to say that it was told.
    pub(super) telling: Mutex<Duration>,
    pub(super) waiting: Mutex<(i64, Vec<Vec<u8>>)>,
    pub(super) teller: Mutex<Teller>,
    pub(super) barrier: Notify,
}

impl Held {
    pub(super) const ORIGIN: Origin = Origin {
        member: 1,
        incarnation: 1,
    };

    pub(super) fn new(desk: &Arc<Desk>) -> Arc<Self> {
        Arc::new(Self {
            state: RwLock::new(State::new()),
            is_choked: AtomicBool::new(false),
            is_led: AtomicBool::new(true),
            telling: Mutex::default(),
            waiting: Mutex::default(),
            teller: Mutex::new(desk.sink()),
            barrier: Notify::new(),
        })
    }

    /// Whether somebody leads.
    pub(super) fn lead(&self, is_led: bool) {
        self.is_led.store(is_led, Ordering::Relaxed);
    }

    /// Lets all through that wait; returns how many.
    pub(super) fn release(&self) -> usize {
        let waiting = std::mem::take(&mut self.waiting.lock().expect("whole").1);
        let mut teller = self.teller.lock().expect("whole");
        for entry in &waiting {
            let mut state = self.state.write().expect("whole");
            state.apply(entry, 1, &mut *teller).expect("well-formed");
        }
        teller.settled();
        waiting.len()
    }

    pub(super) async fn release_next(&self) {
        let wait = async {
            while self.release() == 0 {
                tokio::task::yield_now().await;
            }
        };
        timeout(PATIENCE, wait)
            .await
            .expect("something is proposed");
    }
}

impl Replica for Held {
    fn origin(&self) -> Origin {
        Self::ORIGIN
    }

    fn state(&self) -> &RwLock<State> {
        &self.state
    }

    fn propose(&self, proposal: Proposal<'_>, register: &mut dyn FnMut(i64)) {
        let mut waiting = self.waiting.lock().expect("whole");
        waiting.0 += 1;
        register(waiting.0);
        let operation = Operation {
            sequence: waiting.0,
            session: proposal.session,
            identities: proposal.identities,
            action: proposal.action,
        };
        let mut batch = Vec::new();
        Batch {
            origin: Self::ORIGIN,
            operations: vec![operation],
        }
        .write(&mut batch);
        let mut entry = Vec::new();
        Entry {
            time_ms: 1,
            enforce_quota: true,
            batches: vec![&batch],
        }
        .write(&mut entry);
        waiting.1.push(entry);
    }

    fn takes_writes(&self) -> bool {
        !self.is_choked.load(Ordering::Relaxed)
    }

    async fn barrier(&self) -> Result<(), NoQuorum> {
        self.barrier.notified().await;
        Ok(())
    }

    async fn touch(&self, _: &BTreeSet<i64>) -> Result<(), NoQuorum> {
        let takes = *self.telling.lock().expect("whole");
        sleep(takes).await;
        Ok(())
    }

    fn touched(&self) -> BTreeSet<i64> {
        BTreeSet::new()
    }

    fn standing(&self) -> Standing {
        let is_led = self.is_led.load(Ordering::Relaxed);
        Standing {
            term: 1,
            leader: is_led.then_some(1),
            is_leader: is_led,
            is_observer: false,
            disk: DiskStanding::Fine,
        }
    }
}
