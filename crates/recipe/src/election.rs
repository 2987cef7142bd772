//! An election: one leader at a time, whom everybody can find.
//!
//! Prevents a service with two heads, and one whose clients do not know which of them it is: the
//! leader's identity is stored with its [`FencingToken`], so a client never follows an older one.

use zookeeper_client::Client;

use crate::lock::{Held, acquire_as};
use crate::patience::{patiently, provide, read};
use crate::{FencingToken, RecipeError};

/// Curator's name for a candidate of a leader latch.
const NAME: &str = "latch-";
/// Digits of a sequence, which end a candidate's name.
const DIGITS: usize = 10;

/// Who leads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leader {
    /// What it said of itself when it stood for election.
    pub identity: Vec<u8>,
    /// Which term it is: the next leader has a higher one.
    pub token: FencingToken,
}

/// Stands for election at `dir` as `identity`, and waits until it is won. Dropping the future
/// withdraws. The lead ends when [`Held`] is dropped, released or [lost](Held::lost).
///
/// # Errors
///
/// [`RecipeError`]; then this candidate does not stand any more.
pub async fn lead(client: &Client, dir: &str, identity: &[u8]) -> Result<Held, RecipeError> {
    acquire_as(client, dir, (NAME, identity)).await
}

/// Follows who leads at `dir`.
#[derive(Clone, Debug)]
pub struct Election {
    client: Client,
    dir: String,
}

impl Election {
    /// The election at `dir`, which is made where it is not there.
    ///
    /// # Errors
    ///
    /// [`RecipeError`].
    pub async fn follow(client: &Client, dir: &str) -> Result<Self, RecipeError> {
        provide(client, dir).await?;
        Ok(Self {
            client: client.clone(),
            dir: dir.to_owned(),
        })
    }

    /// Waits until somebody leads who is not `known`.
    ///
    /// # Errors
    ///
    /// [`RecipeError`].
    pub async fn next(&self, known: Option<FencingToken>) -> Result<Leader, RecipeError> {
        let (client, dir) = (&self.client, &*self.dir);
        loop {
            let asked = patiently(client, dir, || client.list_and_watch_children(dir)).await?;
            let (candidates, changed) = asked;
            if let Some(leader) = self.first(candidates).await?
                && known.is_none_or(|known| known < leader.token)
            {
                return Ok(leader);
            }
            drop(changed.changed().await);
        }
    }

    /// The candidate that came first, unless it is gone by now.
    async fn first(&self, candidates: Vec<String>) -> Result<Option<Leader>, RecipeError> {
        let sequence = |name: &String| {
            let place = name.len().checked_sub(DIGITS)?;
            name.get(place..)?.parse::<i64>().ok()
        };
        let candidates = candidates.into_iter().filter(|name| name.contains(NAME));
        let numbered = candidates.filter_map(|name| Some((sequence(&name)?, name)));
        let Some((_, name)) = numbered.min() else {
            return Ok(None);
        };
        let path = format!("{}/{name}", self.dir);
        let read = read(&self.client, &path).await?;
        Ok(read.map(|(identity, stat)| Leader {
            identity,
            token: FencingToken::new(stat.czxid),
        }))
    }
}
