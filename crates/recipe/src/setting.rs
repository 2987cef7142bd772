//! A setting: one value that all follow.
//!
//! Prevents members that go on with an old value: a change is told, never polled for, and two
//! writers at once do not overwrite each other unseen.

use zookeeper_client::{Client, Error};

use crate::RecipeError;
use crate::patience::{patiently, provide};

/// A value and its version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Value {
    /// The value.
    pub data: Vec<u8>,
    /// Grows with each change.
    pub version: i32,
}

/// Follows a setting.
#[derive(Clone, Debug)]
pub struct Setting {
    client: Client,
    path: String,
    known: Option<(i64, i32)>,
}

impl Setting {
    /// The setting at `path`, which is made, with an empty value, where it is not there.
    ///
    /// # Errors
    ///
    /// [`RecipeError`].
    pub async fn follow(client: &Client, path: &str) -> Result<Self, RecipeError> {
        provide(client, path).await?;
        Ok(Self {
            client: client.clone(),
            path: path.to_owned(),
            known: None,
        })
    }

    /// The value: at once at first, then whenever it was changed. Changes between two calls are
    /// told as one, the last.
    ///
    /// # Errors
    ///
    /// [`RecipeError`], also when the node was removed.
    pub async fn next(&mut self) -> Result<Value, RecipeError> {
        let (client, path) = (&self.client, &*self.path);
        loop {
            let asked = patiently(client, path, || client.get_and_watch_data(path)).await?;
            let (data, stat, changed) = asked;
            // A node that was removed and made again begins its versions anew.
            let place = (stat.czxid, stat.version);
            if self.known != Some(place) {
                self.known = Some(place);
                let version = stat.version;
                return Ok(Value { data, version });
            }
            drop(changed.changed().await);
        }
    }

    /// Changes the value, if its version is still `expected`; says the new version, or `None` when
    /// somebody was faster.
    ///
    /// # Errors
    ///
    /// [`RecipeError`]. When the connection was lost under way nobody knows whether it changed:
    /// look with [`next`](Self::next).
    pub async fn change(&self, expected: i32, data: &[u8]) -> Result<Option<i32>, RecipeError> {
        match self.client.set_data(&self.path, data, Some(expected)).await {
            Ok(stat) => Ok(Some(stat.version)),
            Err(Error::BadVersion) => Ok(None),
            Err(error) => Err(RecipeError::of(&self.path, error)),
        }
    }
}
