//! Takes what this member proposed to the leader, wherever that is.
//!
//! Prevents a proposal that is lost or done twice when leaders change: a new leader is told when
//! its first entry was applied here, since all that an earlier one wrote and that survived is
//! applied by then; all the rest is sent again, in order. Whatever comes twice or out of order all
//! the same is known by its number, see [`State`](crate::state::State).

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

use super::frame::Kind;
use super::link::LinkError;
use super::links::Links;
use super::machine::Progress;
use super::outbox::Outbox;
use super::scribe::{Fate, Scribe};

/// Batches that were sent and not applied here yet. More would make them smaller, not faster.
const BATCHES_MAX: usize = 4;

/// Batches of which nothing was heard yet: that they were written is told later than they are
/// applied, when something else is to be told as well.
const FATES_MAX: usize = 64;

/// How long a leader may take to commit a batch, before it is sent again.
const FORWARD_DEADLINE: Duration = Duration::from_secs(10);

/// After a batch that was refused or lost.
const AGAIN_AFTER: Duration = Duration::from_millis(50);

/// Who leads, and since when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Route {
    pub(super) term: u64,
    pub(super) leader: u64,
}

/// Takes batches to the leader.
pub(super) struct Courier {
    pub(super) member: u64,
    pub(super) outbox: Arc<Outbox>,
    pub(super) scribe: Arc<Scribe>,
    pub(super) links: Links,
    pub(super) route: watch::Receiver<Option<Route>>,
    pub(super) progress: watch::Receiver<Progress>,
}

/// Batches on their way to one leader.
struct UnderWay {
    route: Option<Route>,
    fates: FuturesUnordered<BoxFuture<'static, Fate>>,
    /// The last entry that batches went into.
    settled: Option<u64>,
    /// After a failure.
    not_before: Instant,
}

impl Courier {
    /// Carries, until it is dropped or nobody says any more who leads.
    pub(super) async fn carry(mut self) {
        let mut way = UnderWay {
            route: None,
            fates: FuturesUnordered::new(),
            settled: None,
            not_before: Instant::now(),
        };
        loop {
            let progress = *self.progress.borrow_and_update();
            let leader = *self.route.borrow_and_update();
            self.turn(&mut way, leader, progress);
            let pause = Instant::now() < way.not_before;
            if !pause {
                self.send_all(&mut way);
            }
            let takes_more = way.route.is_some() && self.has_room(&way);
            tokio::select! {
                () = self.outbox.proposed.notified(), if takes_more && !pause => {},
                Some(fate) = way.fates.next() => self.heard(&mut way, fate),
                () = sleep_until(way.not_before), if pause => {},
                changed = self.progress.changed() => if changed.is_err() { return },
                changed = self.route.changed() => if changed.is_err() { return },
            }
        }
    }

    /// Begins again, when another leads or something is missing.
    fn turn(&self, way: &mut UnderWay, leader: Option<Route>, progress: Progress) {
        self.outbox.applied(progress.own);
        let applied = progress.applied.unwrap_or_default();
        let leader = leader.filter(|leader| applied.term == leader.term);
        // Batches that were written, and applied to no effect: one before them is missing.
        let gap = self.outbox.unapplied() > 0
            && way.fates.is_empty()
            && way.settled.is_some_and(|settled| applied.index >= settled);
        if leader != way.route || gap {
            way.route = leader;
            self.begin_again(way);
        }
    }

    fn begin_again(&self, way: &mut UnderWay) {
        way.fates.clear();
        way.settled = None;
        self.outbox.rewind();
    }

    fn heard(&self, way: &mut UnderWay, fate: Fate) {
        if fate.is_some() {
            way.settled = way.settled.max(fate);
        } else {
            self.begin_again(way);
            way.not_before = Instant::now() + AGAIN_AFTER;
        }
    }

    fn has_room(&self, way: &UnderWay) -> bool {
        self.outbox.unapplied() < BATCHES_MAX && way.fates.len() < FATES_MAX
    }

    fn send_all(&self, way: &mut UnderWay) {
        let Some(route) = way.route else {
            return;
        };
        while self.has_room(way)
            && let Some(batch) = self.outbox.next()
        {
            way.fates.push(self.send(route, batch));
        }
    }

    /// Sends a batch now; the future is what became of it.
    fn send(&self, route: Route, batch: Arc<[u8]>) -> BoxFuture<'static, Fate> {
        if route.leader == self.member {
            let fate = self.scribe.submit(batch);
            return Box::pin(async move { fate.await.ok().flatten() });
        }
        let link = self.links.to(route.leader).ok_or(LinkError::Unreachable);
        let begun = link.and_then(|peer| peer.bulk.begin(Kind::Forward, batch.to_vec()));
        Box::pin(async move {
            let answer = begun.ok()?.answer(FORWARD_DEADLINE).await.ok()?;
            let index = answer.first_chunk().copied()?;
            Some(u64::from_le_bytes(index))
        })
    }
}
