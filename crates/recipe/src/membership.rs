//! A group: who is there now.
//!
//! Prevents a list that somebody has to keep up to date: who is in it ends with its session.

use std::collections::BTreeMap;
use std::fmt;

use zookeeper_client::{Acls, Client, CreateMode, Error};

use crate::RecipeError;
use crate::patience::{connected, gone, patiently, provide, read, remove};

/// A place in a group, which is given back when the session ends or [`leave`](Self::leave) is
/// called.
pub struct Membership {
    client: Client,
    path: String,
}

impl fmt::Debug for Membership {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Membership")
            .field("path", &self.path)
            .finish_non_exhaustive()
    }
}

/// Joins the group at `dir` as `name`; `data` is what the others read, an address for instance.
///
/// # Errors
///
/// [`RecipeError::Taken`] when another session has the name.
pub async fn join(
    client: &Client,
    dir: &str,
    name: &str,
    data: &[u8],
) -> Result<Membership, RecipeError> {
    provide(client, dir).await?;
    let path = format!("{dir}/{name}");
    let options = CreateMode::Ephemeral.with_acls(Acls::anyone_all());
    loop {
        match client.create(&path, data, &options).await {
            Ok(_) => break,
            // It may have been made: the next answer tells by whom.
            Err(Error::ConnectionLoss) => connected(client, &path).await?,
            Err(Error::NodeExists) => {
                let stat = patiently(client, &path, || client.check_stat(&path)).await?;
                match stat {
                    Some(stat) if stat.ephemeral_owner == client.session_id().0 => break,
                    Some(_) => return Err(RecipeError::Taken { path }),
                    // It was somebody's who has just left.
                    None => {},
                }
            },
            Err(error) => return Err(RecipeError::of(&path, error)),
        }
    }
    let client = client.clone();
    Ok(Membership { client, path })
}

impl Membership {
    /// Waits until this place is lost: the session is over, or somebody removed the node.
    pub async fn lost(&self) {
        gone(&self.client, &self.path).await;
    }

    /// Leaves, and waits until that is so.
    ///
    /// # Errors
    ///
    /// [`RecipeError::SessionOver`] when the place was lost before.
    pub async fn leave(self) -> Result<(), RecipeError> {
        remove(&self.client, &self.path).await
    }
}

/// Follows who is in a group.
#[derive(Clone, Debug)]
pub struct Group {
    client: Client,
    dir: String,
    known: Option<BTreeMap<String, Vec<u8>>>,
}

impl Group {
    /// The group at `dir`, which is made where it is not there.
    ///
    /// # Errors
    ///
    /// [`RecipeError`].
    pub async fn follow(client: &Client, dir: &str) -> Result<Self, RecipeError> {
        provide(client, dir).await?;
        Ok(Self {
            client: client.clone(),
            dir: dir.to_owned(),
            known: None,
        })
    }

    /// The members and their data: at once at first, then whenever somebody came or left. What
    /// happened between two calls is told as one.
    ///
    /// # Errors
    ///
    /// [`RecipeError`].
    pub async fn next(&mut self) -> Result<BTreeMap<String, Vec<u8>>, RecipeError> {
        let (client, dir) = (&self.client, &*self.dir);
        loop {
            let asked = patiently(client, dir, || client.list_and_watch_children(dir)).await?;
            let (names, changed) = asked;
            let members = self.read(names).await?;
            if self.known.as_ref() != Some(&members) {
                self.known = Some(members.clone());
                return Ok(members);
            }
            drop(changed.changed().await);
        }
    }

    async fn read(&self, names: Vec<String>) -> Result<BTreeMap<String, Vec<u8>>, RecipeError> {
        let mut members = BTreeMap::new();
        for name in names {
            let path = format!("{}/{name}", self.dir);
            // Who left meanwhile is what the watch tells next.
            if let Some((data, _)) = read(&self.client, &path).await? {
                members.insert(name, data);
            }
        }
        Ok(members)
    }
}
