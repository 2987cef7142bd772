//! ZooKeeper's recipe of a lock, with the fencing token that makes it safe.
//!
//! The holder is whose node has the lowest number; everybody else watches the one before. The
//! token is the transaction that made the node. The resource takes no token lower than one that it
//! has seen.

use std::sync::{Arc, PoisonError};
use std::time::Duration;

use mainstay_check::lock::{Hold, Use};
use mainstay_core::random::Random;
use mainstay_zk_proto::Code;

use super::Stage;
use crate::keeper::history::{Answer, Asked, Life, Path};
use crate::keeper::session::Client;

/// How long the lock is held, at most.
const HELD_MAX: Duration = Duration::from_millis(20);

/// How long somebody waits for the one before, before looking again.
const PATIENCE: Duration = Duration::from_millis(500);

/// Digits that the store appends.
const DIGITS: usize = 10;

/// What lockers saw, and the resource that the lock protects.
#[derive(Clone, Debug, Default)]
pub(crate) struct LockLog {
    /// Who believed to have the lock, and when.
    pub(crate) holds: Vec<Hold>,
    /// What the resource accepted.
    pub(crate) uses: Vec<Use>,
    /// Tokens that the resource turned away.
    pub(crate) turned_away: u64,
    newest: u64,
    /// Counts what is done with the log: the time of holds and uses.
    ticks: u64,
}

impl LockLog {
    fn tick(&mut self) -> u64 {
        self.ticks += 1;
        self.ticks
    }

    /// The store confirmed that the lock was given back.
    fn release(&mut self, held: Option<usize>, began: u64) {
        if let Some(hold) = held.and_then(|held| self.holds.get_mut(held)) {
            hold.released = Some(began);
        }
    }

    /// The resource: takes the token or turns it away.
    fn use_resource(&mut self, client: u64, token: u64) {
        let invoked = self.tick();
        if token < self.newest {
            self.turned_away += 1;
            return;
        }
        self.newest = token;
        let returned = self.tick();
        self.uses.push(Use {
            client,
            token,
            invoked,
            returned,
        });
    }
}

/// A place in the queue.
struct Ticket {
    session: u64,
    path: Path,
    token: u64,
    invoked: u64,
}

pub(super) async fn work(client: Arc<Client>, stage: Arc<Stage>, mut random: Random) {
    while stage.goes_on() {
        let Some(ticket) = queue(&client, &stage).await else {
            // A node that nobody knows of would block the queue: it goes with its session.
            client.vanish().await;
            continue;
        };
        if wait(&client, &stage, &ticket).await {
            let held = with(&stage, |log| {
                let acquired = log.tick();
                log.holds.push(Hold {
                    client: ticket.session,
                    token: ticket.token,
                    invoked: ticket.invoked,
                    acquired,
                    released: None,
                });
                log.use_resource(ticket.session, ticket.token);
                log.holds.len() - 1
            });
            stage.pause(&mut random, HELD_MAX).await;
            with(&stage, |log| log.use_resource(ticket.session, ticket.token));
            release(&client, &stage, &ticket, Some(held)).await;
        } else {
            release(&client, &stage, &ticket, None).await;
        }
    }
}

fn with<T>(stage: &Stage, change: impl FnOnce(&mut LockLog) -> T) -> T {
    change(&mut stage.locks.lock().unwrap_or_else(PoisonError::into_inner))
}

/// Takes a place; `None` when the session ended meanwhile.
async fn queue(client: &Client, stage: &Stage) -> Option<Ticket> {
    let (session, value) = (client.session(), stage.value());
    let invoked = with(stage, LockLog::tick);
    let folder = stage.lock();
    let prefix = format!("{folder}/{value}-");
    let life = Life::Ephemeral;
    let made = client
        .ask(Asked::Append {
            prefix: prefix.clone().into(),
            value,
            life,
        })
        .await;
    let (path, token) = match made {
        Ok(Answer::Made { path, czxid }) => (path, czxid),
        Ok(_) => return None,
        // It may be there all the same: its name tells whose it is.
        Err(_) => found(client, (session, &folder), &format!("{value}-")).await?,
    };
    let token = token.unsigned_abs();
    (client.session() == session).then_some(Ticket {
        session,
        path,
        token,
        invoked,
    })
}

async fn found(
    client: &Client,
    (session, folder): (u64, &Path),
    name: &str,
) -> Option<(Path, i64)> {
    while client.session() == session {
        // What was asked before is older than what this reads, once it is behind a sync.
        client.ask(Asked::Sync).await.ok();
        let Some(names) = children(client, folder).await else {
            continue;
        };
        let own = names.into_iter().find(|child| child.starts_with(name))?;
        let path: Path = format!("{folder}/{own}").into();
        match client.ask(Asked::Exists { path: path.clone() }).await {
            Ok(Answer::Version { mzxid, .. }) => return Some((path, mzxid)),
            Ok(_) => return None,
            Err(_) => {},
        }
    }
    None
}

async fn children(client: &Client, folder: &Path) -> Option<Vec<String>> {
    match client
        .ask(Asked::Children {
            path: folder.clone(),
        })
        .await
    {
        Ok(Answer::Names(names)) => Some(names),
        Ok(_) | Err(_) => None,
    }
}

/// Waits for the lock; whether it was got before the session or the round ended.
async fn wait(client: &Client, stage: &Stage, ticket: &Ticket) -> bool {
    let folder = stage.lock();
    while client.session() == ticket.session {
        let Some(mut names) = children(client, &folder).await else {
            continue;
        };
        let number = |name: &str| {
            name.get(name.len().saturating_sub(DIGITS)..)
                .map(str::to_owned)
        };
        names.sort_by_key(|name| number(name));
        let own = names
            .iter()
            .position(|name| ticket.path.ends_with(&format!("/{name}")));
        let Some(own) = own else {
            return false;
        };
        let Some(before) = own.checked_sub(1).and_then(|at| names.get(at)) else {
            return client.session() == ticket.session;
        };
        if !stage.goes_on() {
            return false;
        }
        let path: Path = format!("{folder}/{before}").into();
        let there = client.ask(Asked::Exists { path }).await;
        if matches!(there, Ok(Answer::Version { .. })) {
            client.changes(PATIENCE).await;
        }
    }
    false
}

/// Gives the place back. Only what the store confirms counts as released: a holder whose session
/// ended may have been followed by another one.
async fn release(client: &Client, stage: &Stage, ticket: &Ticket, held: Option<usize>) {
    while client.session() == ticket.session {
        let began = with(stage, LockLog::tick);
        let path = ticket.path.clone();
        match client.ask(Asked::Delete { path }).await {
            Ok(Answer::Done) => {
                with(stage, |log| log.release(held, began));
                return;
            },
            Ok(Answer::Refused(Code::NoNode)) => return,
            Ok(_) | Err(_) => {},
        }
    }
}
