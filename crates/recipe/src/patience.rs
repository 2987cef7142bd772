//! Waiting for a connection: what only looks is asked again when the answer was lost.
//!
//! Prevents a recipe that fails whenever a server does: a session outlives its connections.

use std::future::Future;

use zookeeper_client::{Client, Error, SessionState, Stat};

use crate::RecipeError;

/// Asks until there is an answer; `ask` must do no harm when it is asked twice.
pub(crate) async fn patiently<T, F>(
    client: &Client,
    path: &str,
    mut ask: impl FnMut() -> F,
) -> Result<T, RecipeError>
where
    F: Future<Output = Result<T, Error>>,
{
    loop {
        match ask().await {
            Err(Error::ConnectionLoss) => connected(client, path).await?,
            answer => return answer.map_err(|error| RecipeError::of(path, error)),
        }
    }
}

/// Waits until the session has a connection again.
pub(crate) async fn connected(client: &Client, path: &str) -> Result<(), RecipeError> {
    let mut states = client.state_watcher();
    let mut state = states.state();
    loop {
        match state {
            SessionState::SyncConnected | SessionState::ConnectedReadOnly => return Ok(()),
            SessionState::Disconnected => state = states.changed().await,
            SessionState::AuthFailed | SessionState::Expired | SessionState::Closed => {
                let path = path.to_owned();
                return Err(RecipeError::SessionOver { path });
            },
        }
    }
}

/// Makes `path` and what is above it, as nodes that stay.
pub(crate) async fn provide(client: &Client, path: &str) -> Result<(), RecipeError> {
    use zookeeper_client::{Acls, CreateMode};
    let options = CreateMode::Persistent.with_acls(Acls::anyone_all());
    // It is there already when its answer was lost, which `mkdir` takes for done.
    patiently(client, path, || client.mkdir(path, &options)).await
}

/// Waits until the node at `path` is gone, or the session that asks is over.
pub(crate) async fn gone(client: &Client, path: &str) {
    loop {
        let stat = patiently(client, path, || client.check_and_watch_stat(path)).await;
        match stat {
            Ok((Some(_), watcher)) => drop(watcher.changed().await),
            // Whether it is gone cannot be known any more: that is as good as gone.
            Ok((None, _)) | Err(_) => return,
        }
    }
}

/// What is at `path`, if anything is.
pub(crate) async fn read(
    client: &Client,
    path: &str,
) -> Result<Option<(Vec<u8>, Stat)>, RecipeError> {
    let ask = || async {
        match client.get_data(path).await {
            Ok(read) => Ok(Some(read)),
            Err(Error::NoNode) => Ok(None),
            Err(error) => Err(error),
        }
    };
    patiently(client, path, ask).await
}

/// Removes the node at `path`. One that is gone is taken for removed: the answer may have been
/// lost.
pub(crate) async fn remove(client: &Client, path: &str) -> Result<(), RecipeError> {
    let ask = || async {
        match client.delete(path, None).await {
            Err(Error::NoNode) => Ok(()),
            other => other,
        }
    };
    patiently(client, path, ask).await
}
