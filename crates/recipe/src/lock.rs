//! A lock: one holder at a time, in the order in which they came.
//!
//! Prevents two at once, as far as a lock can: it ends with its session, which the holder may
//! notice late. What it guards has to look at the [`FencingToken`].

use std::fmt;

use zookeeper_client::{Acls, Client, CreateMode, LockOptions, LockPrefix, OwnedLockClient};

use crate::patience::{gone, patiently, remove};
use crate::{FencingToken, RecipeError};

/// Curator's name for what waits for a mutex: its clients and these exclude each other.
const NAME: &str = "lock-";

/// A lock that is held. Dropping it gives it back in the background.
pub struct Held {
    client: Client,
    lock: OwnedLockClient,
    token: FencingToken,
}

impl fmt::Debug for Held {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Held")
            .field("path", &self.path())
            .field("token", &self.token)
            .finish_non_exhaustive()
    }
}

/// Waits until the lock at `dir` is ours. Giving up is dropping the future: whoever waits behind
/// moves up.
///
/// # Errors
///
/// [`RecipeError`]; then nothing is held.
pub async fn acquire(client: &Client, dir: &str) -> Result<Held, RecipeError> {
    acquire_as(client, dir, (NAME, &[])).await
}

/// Like [`acquire`], for holders that others can read about.
pub(crate) async fn acquire_as(
    client: &Client,
    dir: &str,
    (name, data): (&str, &[u8]),
) -> Result<Held, RecipeError> {
    let refused = |error| RecipeError::of(dir, error);
    let options = LockOptions::new(Acls::anyone_all())
        .with_ancestor_options(CreateMode::Persistent.with_acls(Acls::anyone_all()))
        .map_err(refused)?;
    let prefix = LockPrefix::new_curator(dir, name).map_err(refused)?;
    let lock = client.lock(prefix, data, options).await.map_err(refused)?;
    let lock = lock.into_owned();
    let path = lock.lock_path().to_owned();
    let stat = patiently(client, &path, || client.check_stat(&path)).await?;
    let token = stat.map(|stat| FencingToken::new(stat.czxid));
    let token = token.ok_or(RecipeError::SessionOver { path })?;
    Ok(Held {
        client: client.clone(),
        lock,
        token,
    })
}

impl Held {
    /// Goes along with everything that the holder does to what the lock guards.
    pub const fn token(&self) -> FencingToken {
        self.token
    }

    /// The node that holds it.
    pub fn path(&self) -> &str {
        self.lock.lock_path()
    }

    /// Waits until it is not held any more: the session is over, or somebody removed the node.
    pub async fn lost(&self) {
        gone(&self.client, self.path()).await;
    }

    /// Gives it back, and waits until that is so.
    ///
    /// # Errors
    ///
    /// [`RecipeError::SessionOver`] when it was not held any more.
    pub async fn release(self) -> Result<(), RecipeError> {
        remove(&self.client, self.path()).await
    }
}
