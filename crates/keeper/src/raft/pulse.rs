//! Tells the leader which sessions this member heard.
//!
//! Prevents a member that keeps its clients although nobody counts with them any more: whoever
//! tells learns whether somebody took it who leads a quorum.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use super::courier::Route;
use super::frame::Kind;
use super::link::LinkError;
use super::roster::Roster;
use super::standing::{Heard, standing};
use crate::disk::SharedDisk;
use crate::replica::{NoQuorum, Standing};
use crate::touch::{self, MESSAGE_SESSIONS_MAX, Touches};

/// How long the leader may take for one message: what is late is said again with the next one.
const TOUCH_DEADLINE: Duration = Duration::from_millis(500);

/// What telling needs.
pub(super) struct Pulse<D: SharedDisk> {
    roster: Arc<Roster<D>>,
    route: watch::Receiver<Option<Route>>,
    pub(super) heard: Heard,
    /// What this member was told, as a leader.
    touches: Touches,
}

impl<D: SharedDisk> Pulse<D> {
    pub(super) fn new(roster: Arc<Roster<D>>, route: watch::Receiver<Option<Route>>) -> Self {
        Self {
            roster,
            route,
            heard: Heard::default(),
            touches: Touches::default(),
        }
    }

    /// Tells the leader.
    pub(super) async fn tell(&self, sessions: &BTreeSet<i64>) -> Result<(), NoQuorum> {
        let Route { term, leader } = self.route.borrow().ok_or(NoQuorum)?;
        if leader == self.roster.member {
            return self.take(sessions.iter().copied());
        }
        let link = self.roster.links.to(leader).ok_or(NoQuorum)?.control;
        let mut rest = sessions.iter().copied().peekable();
        loop {
            let message = touch::write(rest.by_ref().take(MESSAGE_SESSIONS_MAX));
            let taken = link.call(Kind::Touch, message, TOUCH_DEADLINE).await;
            match &taken {
                Ok(_) => self.heard.takes(term, true),
                Err(LinkError::Refused(_)) => self.heard.takes(term, false),
                // Silence is counted by itself.
                Err(
                    LinkError::Unreachable | LinkError::Lost | LinkError::Late | LinkError::Full,
                ) => {},
            }
            taken.map_err(|_| NoQuorum)?;
            if rest.peek().is_none() {
                return Ok(());
            }
        }
    }

    /// Notes whom a member heard; whoever leads nobody takes nothing.
    pub(super) fn take(&self, sessions: impl IntoIterator<Item = i64>) -> Result<(), NoQuorum> {
        if !self.standing().is_leader {
            return Err(NoQuorum);
        }
        self.touches.add(sessions);
        Ok(())
    }

    /// All of whom this member was told since this was last asked.
    pub(super) fn touched(&self) -> BTreeSet<i64> {
        self.touches.take()
    }

    /// How the ensemble is.
    pub(super) fn standing(&self) -> Standing {
        standing(&self.roster, &self.heard)
    }
}
