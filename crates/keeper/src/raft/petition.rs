//! A change of the members that this member asks for, wherever the leader is.
//!
//! Prevents a change that is made twice: who was asked and may have made it is not asked again,
//! and the client hears that nobody knows.

use std::sync::Arc;
use std::time::Duration;

use mainstay_zk_proto::Code;
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

use super::codec::{decode, encode};
use super::courier::Route;
use super::frame::Kind;
use super::link::LinkError;
use super::machine::Progress;
use super::roster::{Refused, Roster};
use crate::disk::SharedDisk;
use crate::ensemble::Change;
use crate::replica::NoQuorum;

/// How long a change may take; those who are to vote catch up within.
const CHANGE_TIMEOUT: Duration = Duration::from_mins(1);

/// Before whoever leads then is asked.
const AGAIN_AFTER: Duration = Duration::from_millis(50);

/// Asks the leader for changes.
pub(super) struct Petition<D: SharedDisk> {
    pub(super) roster: Arc<Roster<D>>,
    pub(super) route: watch::Receiver<Option<Route>>,
    pub(super) progress: watch::Receiver<Progress>,
}

/// Who was asked does not lead, and did nothing.
struct NotMade;

impl<D: SharedDisk> Petition<D> {
    /// Asks for a change, and waits until this member has the new list.
    pub(super) async fn make(&self, change: Change) -> Result<Result<(), Code>, NoQuorum> {
        let made = timeout(CHANGE_TIMEOUT, async {
            loop {
                match self.ask(&change).await {
                    Ok(made) => return made,
                    Err(NotMade) => sleep(AGAIN_AFTER).await,
                }
            }
        });
        let index = match made.await.map_err(|_late| NoQuorum)? {
            Ok(index) => index,
            Err(Code::ConnectionLoss) => return Err(NoQuorum),
            Err(code) => return Ok(Err(code)),
        };
        let mut progress = self.progress.clone();
        let there = |progress: &Progress| progress.applied.is_some_and(|at| at.index >= index);
        let applied = timeout(CHANGE_TIMEOUT, progress.wait_for(there)).await;
        match applied {
            Ok(Ok(_)) => Ok(Ok(())),
            Ok(Err(_)) | Err(_) => Err(NoQuorum),
        }
    }

    async fn ask(&self, change: &Change) -> Result<Result<u64, Code>, NotMade> {
        let leader = self.route.borrow().ok_or(NotMade)?.leader;
        if leader == self.roster.member {
            return match self.roster.change(change).await {
                Ok(index) => Ok(Ok(index)),
                Err(Refused::Code(code)) => Ok(Err(code)),
                Err(Refused::NotLeader) => Err(NotMade),
            };
        }
        let link = self.roster.links.to(leader).ok_or(NotMade)?.control;
        let answer = link.call(Kind::Change, encode(change), CHANGE_TIMEOUT);
        match answer.await {
            Ok(answer) => Ok(decode(&answer).unwrap_or(Err(Code::ConnectionLoss))),
            Err(LinkError::Refused(_) | LinkError::Unreachable | LinkError::Full) => Err(NotMade),
            Err(LinkError::Lost | LinkError::Late) => Ok(Err(Code::ConnectionLoss)),
        }
    }
}
